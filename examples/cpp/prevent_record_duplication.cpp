// The same order, sent twice.
//
// A customer presses the button again, a proxy repeats a request: the order is to be placed once.
// The form carries a token that the client made up, the order is tagged with it, and an order with
// that token must not be there yet. Nothing else is guarded, so orders are never in each other's
// way.

#include <dcb.hpp>

#include <iostream>
#include <string>

namespace {

void place(dcb::store &store, const std::string &order, const std::string &token) {
    const dcb::tag once("idempotency", token);
    try {
        // Nothing has to be read: the condition alone is the decision.
        store.append(dcb::event("OrderPlaced", {{"order", order}, once}), {dcb::tagged(once), 0});
        std::cout << order << " is placed\n";
    } catch (const dcb::condition_failed &e) {
        std::cout << order << " is refused: the event at position " << e.position()
                  << " has this token\n";
    }
}

/// As above, by the store's own means: an append of the same events with the same ids succeeds
/// again, and stores them once. It suits a caller that lost the answer and asks again.
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
