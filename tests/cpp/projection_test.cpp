// Decision models, joined.

#include "check.hpp"

#include <dcb/projection.hpp>

namespace {

dcb::projection<bool> exists(const std::string &course) {
    return {dcb::of_type("CourseDefined").tagged(dcb::tag("course", course)), false,
            [](bool &state, const dcb::event_view &) { state = true; }};
}

dcb::projection<int> taken(const std::string &tag) {
    return {dcb::of_type("StudentSubscribed").tagged(tag), 0,
            [](int &state, const dcb::event_view &) { ++state; }};
}

} // namespace

TEST(a_projection_sees_its_events) {
    dcb::store store = check::fresh_store();
    const auto before = dcb::project(store, exists("c1"));
    CHECK(!before.state);
    store.append(
        {dcb::event("CourseDefined", {"course:c1"}), dcb::event("CourseDefined", {"course:c2"})},
        before.condition);
    CHECK(dcb::project(store, exists("c1")).state);
    CHECK(!dcb::project(store, exists("c3")).state);
    CHECK_THROWS(condition_failed, store.append(dcb::event("X"), before.condition));
}

TEST(a_join_shows_each_part_its_own_events) {
    dcb::store store = check::fresh_store();
    store.append({dcb::event("CourseDefined", {"course:c1"}),
                  dcb::event("StudentSubscribed", {"course:c1", "student:s1"}),
                  dcb::event("StudentSubscribed", {"course:c2", "student:s1"}),
                  dcb::event("StudentSubscribed", {"course:c1", "student:s2"})});
    const auto model = dcb::project(
        store, dcb::join(exists("c1"), taken("course:c1"), taken("student:s1"), taken("no:one")));
    const auto &[defined, in_course, of_student, nobody] = model.state;
    CHECK(defined);
    CHECK_EQUAL(in_course, 2);
    CHECK_EQUAL(of_student, 2);
    CHECK_EQUAL(nobody, 0);
    CHECK_EQUAL(model.condition.after, 4);
    CHECK_EQUAL(model.condition.fail_if_events_match.items().size(), 4u);
}

TEST(a_join_is_guarded_by_the_union) {
    dcb::store store = check::fresh_store();
    const auto joined = dcb::join(taken("course:c1"), taken("student:s1"));
    const auto model = dcb::project(store, joined);
    store.append(dcb::event("StudentSubscribed", {"course:c2", "student:s2"}));
    CHECK(static_cast<bool>(store.try_append(dcb::event("X"), model.condition)));
    store.append(dcb::event("StudentSubscribed", {"course:c2", "student:s1"}));
    CHECK_EQUAL(store.try_append(dcb::event("X"), model.condition).position(), 3);

    const auto everything = dcb::projection<int>{
        dcb::query::all(), 0, [](int &state, const dcb::event_view &) { ++state; }};
    const auto wide = dcb::project(store, dcb::join(joined, everything));
    CHECK(wide.condition.fail_if_events_match.is_all());
    CHECK_EQUAL(std::get<0>(std::get<0>(wide.state)), 0);
    CHECK_EQUAL(std::get<1>(wide.state), 3);
}
