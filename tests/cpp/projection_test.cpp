// Projections, alone and composed.

#include "unit.hpp"

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

TEST_CASE("a projection is read from a store") {
    dcb::store store = unit::fresh_store();
    const auto before = dcb::project(store, exists("c1"));
    CHECK(!before.state);
    store.append(
        {dcb::event("CourseDefined", {"course:c1"}), dcb::event("CourseDefined", {"course:c2"})},
        before.condition);
    CHECK(dcb::project(store, exists("c1")).state);
    CHECK(!dcb::project(store, exists("c3")).state);
    CHECK_FAILS(condition_failed, store.append(dcb::event("X"), before.condition));
}

TEST_CASE("each composed projection sees its own events") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("CourseDefined", {"course:c1"}),
                  dcb::event("StudentSubscribed", {"course:c1", "student:s1"}),
                  dcb::event("StudentSubscribed", {"course:c2", "student:s1"}),
                  dcb::event("StudentSubscribed", {"course:c1", "student:s2"})});
    const auto model = dcb::project(store, dcb::compose(exists("c1"), taken("course:c1"),
                                                        taken("student:s1"), taken("no:one")));
    const auto &[defined, in_course, of_student, nobody] = model.state;
    CHECK(defined);
    CHECK(in_course == 2);
    CHECK(of_student == 2);
    CHECK(nobody == 0);
    CHECK(model.condition.after == 4);
    CHECK(model.condition.fail_if_events_match.items().size() == 4u);
}

TEST_CASE("a composed projection is guarded by the union of queries") {
    dcb::store store = unit::fresh_store();
    const auto both = dcb::compose(taken("course:c1"), taken("student:s1"));
    const auto model = dcb::project(store, both);
    store.append(dcb::event("StudentSubscribed", {"course:c2", "student:s2"}));
    CHECK(static_cast<bool>(store.try_append(dcb::event("X"), model.condition)));
    store.append(dcb::event("StudentSubscribed", {"course:c2", "student:s1"}));
    CHECK(store.try_append(dcb::event("X"), model.condition).position() == 3);

    const auto everything = dcb::projection<int>{
        dcb::query::all(), 0, [](int state, const dcb::event_view &) { return state + 1; }};
    const auto wide = dcb::project(store, dcb::compose(both, everything));
    CHECK(wide.condition.fail_if_events_match.is_all());
    CHECK(std::get<0>(std::get<0>(wide.state)) == 0);
    CHECK(std::get<1>(wide.state) == 3);
}

TEST_CASE("projections are composed into a struct") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("CourseDefined", {"course:c1"}),
                  dcb::event("StudentSubscribed", {"course:c1", "student:s1"}),
                  dcb::event("StudentSubscribed", {"course:c2", "student:s1"}),
                  dcb::event("StudentSubscribed", {"course:c1", "student:s2"})});
    const auto model = dcb::project(store, seats_of("c1", "s1"));
    CHECK(model.state.defined);
    CHECK(model.state.in_course == 2);
    CHECK(model.state.of_student == 2);
    CHECK(model.state.other == 7);
    CHECK(model.condition.fail_if_events_match.items().size() == 3u);

    // A composed projection can be composed again.
    auto absent = taken("no:one");
    absent.initial_state = 5;
    const auto nested = dcb::compose(dcb::part_of(seats_of("c2", "s2"), &nested_state::both),
                                     dcb::part_of(absent, &nested_state::nobody));
    const auto wide = dcb::project(store, nested);
    CHECK(!wide.state.both.defined);
    CHECK(wide.state.both.in_course == 1);
    CHECK(wide.state.both.of_student == 1);
    CHECK(wide.state.nobody == 5);
    CHECK(wide.condition.fail_if_events_match.items().size() == 4u);
}

TEST_CASE("a projection folds the events that its query matches") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("StudentSubscribed", {"course:c1"}),
                  dcb::event("StudentSubscribed", {"course:c2"}),
                  dcb::event("StudentSubscribed", {"course:c1"})});
    const auto all = dcb::query::all();
    CHECK(taken("course:c1").fold(store.read_all(all).events) == 2);
    CHECK(taken("course:c2").fold(store.read(all)) == 1);
    CHECK(std::get<0>(dcb::compose(taken("course:c1")).fold(store.read(all))) == 2);
}

TEST_CASE("a projection without evolve is refused") {
    const dcb::store store = unit::fresh_store();
    dcb::projection<int> incomplete{dcb::tagged("course:c1"), 0, {}};
    CHECK_THROWS_WITH_AS(dcb::project(store, incomplete), "projection::evolve is not set",
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(incomplete.fold(std::vector<dcb::sequenced_event>{}),
                         "projection::evolve is not set", std::invalid_argument);
    CHECK_THROWS_WITH_AS(dcb::compose(taken("course:c1"), incomplete),
                         "projection::evolve is not set", std::invalid_argument);
    CHECK_THROWS_WITH_AS(dcb::part_of(incomplete, &seats_state::in_course),
                         "projection::evolve is not set", std::invalid_argument);
}
