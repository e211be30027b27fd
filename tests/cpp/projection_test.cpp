// Projections, alone and composed.

#include "check.hpp"

#include <dcb/projection.hpp>

#include <stdexcept>
#include <string>
#include <utility>

namespace {

dcb::projection<bool> exists(const std::string &course) {
    return {dcb::of_type("CourseDefined").tagged(dcb::tag("course", course)), false,
            [](bool, const dcb::event_view &) { return true; }};
}

dcb::projection<int> taken(const std::string &tag) {
    return {dcb::of_type("StudentSubscribed").tagged(tag), 0,
            [](int state, const dcb::event_view &) { return state + 1; }};
}

/// The state of a decision about a course and a student.
struct seats_state {
    bool defined = false;
    int in_course = 0;
    int of_student = 0;
    int other = 7;
};

struct nested_state {
    seats_state both;
    int nobody = 0;
};

dcb::projection<seats_state> seats_of(const std::string &course, const std::string &student) {
    return dcb::compose(dcb::part_of(exists(course), &seats_state::defined),
                        dcb::part_of(taken("course:" + course), &seats_state::in_course),
                        dcb::part_of(taken("student:" + student), &seats_state::of_student));
}

} // namespace

TEST(a_projection_is_read_from_a_store) {
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

TEST(each_composed_projection_sees_its_own_events) {
    dcb::store store = check::fresh_store();
    store.append({dcb::event("CourseDefined", {"course:c1"}),
                  dcb::event("StudentSubscribed", {"course:c1", "student:s1"}),
                  dcb::event("StudentSubscribed", {"course:c2", "student:s1"}),
                  dcb::event("StudentSubscribed", {"course:c1", "student:s2"})});
    const auto model = dcb::project(store, dcb::compose(exists("c1"), taken("course:c1"),
                                                        taken("student:s1"), taken("no:one")));
    const auto &[defined, in_course, of_student, nobody] = model.state;
    CHECK(defined);
    CHECK_EQUAL(in_course, 2);
    CHECK_EQUAL(of_student, 2);
    CHECK_EQUAL(nobody, 0);
    CHECK_EQUAL(model.condition.after, 4);
    CHECK_EQUAL(model.condition.fail_if_events_match.items().size(), 4u);
}

TEST(a_composed_projection_is_guarded_by_the_union_of_queries) {
    dcb::store store = check::fresh_store();
    const auto both = dcb::compose(taken("course:c1"), taken("student:s1"));
    const auto model = dcb::project(store, both);
    store.append(dcb::event("StudentSubscribed", {"course:c2", "student:s2"}));
    CHECK(static_cast<bool>(store.try_append(dcb::event("X"), model.condition)));
    store.append(dcb::event("StudentSubscribed", {"course:c2", "student:s1"}));
    CHECK_EQUAL(store.try_append(dcb::event("X"), model.condition).position(), 3);

    const auto everything = dcb::projection<int>{
        dcb::query::all(), 0, [](int state, const dcb::event_view &) { return state + 1; }};
    const auto wide = dcb::project(store, dcb::compose(both, everything));
    CHECK(wide.condition.fail_if_events_match.is_all());
    CHECK_EQUAL(std::get<0>(std::get<0>(wide.state)), 0);
    CHECK_EQUAL(std::get<1>(wide.state), 3);
}

TEST(projections_are_composed_into_a_struct) {
    dcb::store store = check::fresh_store();
    store.append({dcb::event("CourseDefined", {"course:c1"}),
                  dcb::event("StudentSubscribed", {"course:c1", "student:s1"}),
                  dcb::event("StudentSubscribed", {"course:c2", "student:s1"}),
                  dcb::event("StudentSubscribed", {"course:c1", "student:s2"})});
    const auto model = dcb::project(store, seats_of("c1", "s1"));
    CHECK(model.state.defined);
    CHECK_EQUAL(model.state.in_course, 2);
    CHECK_EQUAL(model.state.of_student, 2);
    CHECK_EQUAL(model.state.other, 7);
    CHECK_EQUAL(model.condition.fail_if_events_match.items().size(), 3u);

    // A composed projection can be composed again.
    auto absent = taken("no:one");
    absent.initial_state = 5;
    const auto nested = dcb::compose(dcb::part_of(seats_of("c2", "s2"), &nested_state::both),
                                     dcb::part_of(absent, &nested_state::nobody));
    const auto wide = dcb::project(store, nested);
    CHECK(!wide.state.both.defined);
    CHECK_EQUAL(wide.state.both.in_course, 1);
    CHECK_EQUAL(wide.state.both.of_student, 1);
    CHECK_EQUAL(wide.state.nobody, 5);
    CHECK_EQUAL(wide.condition.fail_if_events_match.items().size(), 4u);
}

TEST(a_projection_folds_the_events_that_its_query_matches) {
    dcb::store store = check::fresh_store();
    store.append({dcb::event("StudentSubscribed", {"course:c1"}),
                  dcb::event("StudentSubscribed", {"course:c2"}),
                  dcb::event("StudentSubscribed", {"course:c1"})});
    const auto all = dcb::query::all();
    CHECK_EQUAL(taken("course:c1").fold(store.read_all(all).events), 2);
    CHECK_EQUAL(taken("course:c2").fold(store.read(all)), 1);
    CHECK_EQUAL(std::get<0>(dcb::compose(taken("course:c1")).fold(store.read(all))), 2);
}

TEST(a_projection_without_evolve_is_refused) {
    const dcb::store store = check::fresh_store();
    dcb::projection<int> incomplete{dcb::tagged("course:c1"), 0, {}};
    CHECK_NOT_SET("projection::evolve", dcb::project(store, incomplete));
    CHECK_NOT_SET("projection::evolve", incomplete.fold(std::vector<dcb::sequenced_event>{}));
    CHECK_NOT_SET("projection::evolve", dcb::compose(taken("course:c1"), incomplete));
    CHECK_NOT_SET("projection::evolve", dcb::part_of(incomplete, &seats_state::in_course));
}
