// Invoice numbers without gaps.
//
// The number of an invoice is one more than that of the invoice before it. A database sequence
// leaves a gap when a transaction fails. Here the number is part of the event, so there is no gap.
// Only the last invoice is read: backwards, with a limit of one.

#include <dcb.hpp>
#include <dcb/json.hpp>

#include <iostream>
#include <string>
#include <thread>
#include <vector>

namespace {

struct create_invoice {
    std::string customer;
};

std::int64_t create(dcb::store &store, const create_invoice &command) {
    const dcb::query invoices = dcb::of_type("InvoiceCreated");
    dcb::read_options last;
    last.backwards = true;
    last.limit = 1;
    for (;;) {
        std::int64_t number = 1;
        dcb::cursor newest = store.read(invoices, last);
        for (const dcb::event_view &e : newest) {
            number = dcb::json_data(e).at("number").get<std::int64_t>() + 1;
        }
        // The position of a backward read is the head, so the condition sees every newer invoice.
        if (store.try_append(dcb::json_event("InvoiceCreated", {{"customer", command.customer}},
                                             nlohmann::json{{"number", number}}),
                             {invoices, newest.position()})) {
            return number;
        }
        // Another clerk has taken this number, so try the next one.
    }
}

} // namespace

int main(int argc, char **argv) {
    dcb::store store(argc > 1 ? argv[1] : "memory:");
    std::vector<std::thread> clerks;
    for (int clerk = 0; clerk < 4; ++clerk) {
        clerks.emplace_back([&store, clerk] {
            for (int i = 0; i < 10; ++i) {
                create(store, {"c" + std::to_string(clerk)});
            }
        });
    }
    for (std::thread &clerk : clerks) {
        clerk.join();
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
