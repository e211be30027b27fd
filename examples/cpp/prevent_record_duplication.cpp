// The same order, sent twice.
//
// A customer presses the button twice, or a proxy repeats a request, but the order must be placed
// once. The client puts a random token into the form, and the order is tagged with it. The append
// fails if there is already an order with that token. Different orders never conflict.

#include <dcb.hpp>

#include <iostream>
#include <string>

namespace {

void place(dcb::store &store, const std::string &order, const std::string &token) {
    const dcb::tag once("idempotency", token);
    try {
        // The condition alone makes the decision, so nothing has to be read.
        store.append(dcb::event("OrderPlaced", {{"order", order}, once}), {dcb::tagged(once), 0});
        std::cout << order << " is placed\n";
    } catch (const dcb::condition_failed &e) {
        std::cout << order << " is refused: the event at position " << e.position()
                  << " has this token\n";
    }
}

/// Places an order by means of event ids. Appending the same events with the same ids again
/// succeeds and stores nothing, which suits a caller that has lost the answer.
void place_again_and_again(dcb::store &store, const std::string &order, const std::string &id) {
    for (int i = 0; i < 3; ++i) {
        const auto position = store.append(dcb::event("OrderPlaced", {{"order", order}}).id(id));
        std::cout << order << " is at position " << position << '\n';
    }
}

} // namespace

int main(int argc, char **argv) {
    dcb::store store(argc > 1 ? argv[1] : "memory:");
    place(store, "o1", "11111");
    place(store, "o2", "11111");
    place(store, "o3", "22222");
    place_again_and_again(store, "o4", "7d9f");
    std::cout << store.count() << " orders\n";
}
