// Invoice numbers without gaps.
//
// The number of an invoice is one more than that of the invoice before it. A database sequence
// leaves a gap when a transaction fails. Here the number is part of the event, so there is no gap.
// Only the last invoice is read. A clerk that asks again with the same request id gets the number
// that the first attempt was given, and makes no second invoice.

#include <dcb.hpp>
#include <dcb/json.hpp>

#include <atomic>
#include <cstdint>
#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

struct create_invoice {
    std::string customer;
};

/// The number of the last invoice, or 0. However many there are, it reads no more than that one.
dcb::projection<std::int64_t> last_number() {
    dcb::projection<std::int64_t> number{
        dcb::of_type("InvoiceCreated"), 0, [](std::int64_t, const dcb::event_view &e) {
            return dcb::json_data(e).at("number").get<std::int64_t>();
        }};
    number.last = 1;
    return number;
}

/// Returns the number of the new invoice, or of the one that the request has made before.
dcb::decision<std::int64_t> create(dcb::store &store, const create_invoice &command,
                                   const dcb::request_id &request) {
    const auto decide = [&](std::int64_t last) {
        return dcb::decided<std::int64_t>{
            {dcb::json_event("InvoiceCreated", {{"customer", command.customer}},
                             nlohmann::json{{"number", last + 1}})},
            last + 1};
    };
    // If another clerk takes this number first, it decides again on the next one.
    return dcb::decide(store, last_number(), decide, request);
}

} // namespace

int main(int argc, char **argv) {
    dcb::store store(argc > 1 ? argv[1] : "memory:");
    std::atomic<int> surprises{0};
    std::vector<std::thread> clerks;
    for (int clerk = 0; clerk < 4; ++clerk) {
        clerks.emplace_back([&store, &surprises, clerk] {
            const std::string name = "c" + std::to_string(clerk);
            for (int i = 0; i < 10; ++i) {
                const dcb::request_id request(name + ", request " + std::to_string(i));
                const auto made = create(store, {name}, request);
                const auto again = create(store, {name}, request); // the answer was lost
                if (!again.repeated || again.value != made.value || again.last != made.last) {
                    ++surprises;
                }
            }
        });
    }
    for (std::thread &clerk : clerks) {
        clerk.join();
    }
    if (surprises != 0) {
        std::cout << surprises << " retries had another answer\n";
        return 1;
    }
    std::int64_t expected = 1;
    for (const dcb::event_view &e : store.read(dcb::of_type("InvoiceCreated"))) {
        if (dcb::json_data(e).at("number") != expected++) {
            std::cout << "there is a gap before position " << e.position() << '\n';
            return 1;
        }
    }
    std::cout << "invoices 1 to " << expected - 1 << " without a gap\n";
}
