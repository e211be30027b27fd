// Conversions between events and values of nlohmann/json.

#include "unit.hpp"

#include <dcb/json.hpp>
#include <dcb/store.hpp>

namespace {

struct capacity {
    int seats = 0;
};
void to_json(nlohmann::json &j, const capacity &c) {
    j = {{"seats", c.seats}};
}
void from_json(const nlohmann::json &j, capacity &c) {
    j.at("seats").get_to(c.seats);
}

} // namespace

TEST_CASE("JSON values are appended and read") {
    dcb::store store = unit::fresh_store();
    store.append(dcb::json_event("CapacityChanged", {"course:c1"}, capacity{12})
                     .metadata(nlohmann::json{{"by", "me"}}.dump()));
    const auto all = store.read_all(dcb::query::all()).events;
    CHECK(all.at(0).data == R"({"seats":12})");
    CHECK(dcb::data_as<capacity>(all.at(0)).seats == 12);
    CHECK(dcb::json_data(all.at(0)).at("seats") == 12);
    CHECK(dcb::json_metadata(all.at(0)).at("by") == "me");
    store.append(dcb::json_event("B", {}, nullptr));
    CHECK(dcb::json_metadata(store.read_all(dcb::of_type("B")).events.at(0)).is_null());
}
