// A price that changes while the customer looks at it.
//
// An order is accepted at the price that the customer was shown, if the product still has that
// price or had it until a short while ago. One decision covers all products of an order, and its
// condition depends on the prices of these products only.

#include <dcb.hpp>
#include <dcb/json.hpp>

#include <chrono>
#include <iostream>
#include <map>
#include <string>
#include <vector>

namespace {

using clock = std::chrono::system_clock;
constexpr auto grace = std::chrono::minutes(10);

/// The prices that the customer was shown, in cents.
using displayed_prices = std::map<std::string, int>;

struct price {
    int cents;
    dcb::timestamp since;
};

/// The prices that each product has had, the oldest first.
using price_lists = std::map<std::string, std::vector<price>>;

/// Returns whether a price is valid: it is the last one, or was until less than ten minutes ago.
bool is_valid(const std::vector<price> &history, int cents, clock::time_point now) {
    for (std::size_t i = 0; i < history.size(); ++i) {
        const bool current = i + 1 == history.size();
        if (history[i].cents == cents && (current || now - history[i + 1].since <= grace)) {
            return true;
        }
    }
    return false;
}

dcb::decider<price_lists, displayed_prices> order_at(clock::time_point now) {
    dcb::decider<price_lists, displayed_prices> decider;
    decider.query = [](const displayed_prices &order) {
        std::vector<dcb::query_item> items;
        for (const auto &[product, cents] : order) {
            items.push_back(dcb::of_type("ProductPriceSet").tagged(dcb::tag("product", product)));
        }
        return dcb::query(items);
    };
    decider.evolve = [](price_lists lists, const dcb::event_view &e) {
        lists[std::string(*e.tag_value("product"))].push_back(
            {dcb::json_data(e).at("cents").get<int>(), e.timestamp()});
        return lists;
    };
    decider.decide = [now](const price_lists &lists, const displayed_prices &order) {
        std::vector<dcb::tag> tags;
        for (const auto &[product, cents] : order) {
            const auto list = lists.find(product);
            if (list == lists.end() || !is_valid(list->second, cents, now)) {
                throw std::runtime_error("the price of " + product + " has changed");
            }
            tags.emplace_back("product", product);
        }
        return std::vector<dcb::event>{
            dcb::json_event("ProductsOrdered", tags, nlohmann::json(order))};
    };
    return decider;
}

void set_price(dcb::store &store, const std::string &product, int cents) {
    store.append(dcb::json_event("ProductPriceSet", {{"product", product}},
                                 nlohmann::json{{"cents", cents}}));
}

void order(dcb::store &store, const displayed_prices &shown, clock::time_point now) {
    try {
        dcb::command_handler(store, order_at(now)).handle(shown);
        std::cout << "ordered\n";
    } catch (const std::runtime_error &e) {
        std::cout << "refused: " << e.what() << '\n';
    }
}

} // namespace

int main(int argc, char **argv) {
    dcb::store store(argc > 1 ? argv[1] : "memory:");
    const auto now = clock::now();
    set_price(store, "tea", 300);
    set_price(store, "milk", 100);
    order(store, {{"tea", 300}, {"milk", 100}}, now);
    order(store, {{"tea", 250}}, now);
    set_price(store, "tea", 350);
    order(store, {{"tea", 300}, {"milk", 100}}, now);
    order(store, {{"tea", 300}, {"milk", 100}}, now + std::chrono::hours(1));
    order(store, {{"tea", 350}}, now + std::chrono::hours(1));
}
