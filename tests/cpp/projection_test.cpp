// Projections, alone and composed.

#include "unit.hpp"

#include <dcb/projection.hpp>

#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

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

namespace {

/// The types and tags of random events.
const std::vector<std::string> types{"Opened", "Moved", "Closed"};
const std::vector<std::string> accounts{"account:a", "account:b"};

/// Records which events it sees.
dcb::projection<std::string> trace(dcb::query q, std::int64_t last, std::string since) {
    dcb::projection<std::string> p{std::move(q), "from", [](std::string seen, const auto &e) {
                                       return seen + ' ' + std::to_string(e.position());
                                   }};
    p.last = last;
    p.since = std::move(since);
    return p;
}

/// What trace sees of the events, written as simply as possible.
std::string traced(const std::vector<dcb::sequenced_event> &events, const dcb::query &q,
                   std::int64_t last, const std::string &since) {
    std::vector<dcb::sequenced_event> seen;
    for (const dcb::sequenced_event &e : events) {
        if (q.matches(e)) {
            if (e.type == since) {
                seen.clear();
            }
            seen.push_back(e);
        }
    }
    while (last > 0 && seen.size() > static_cast<std::size_t>(last)) {
        seen.erase(seen.begin());
    }
    std::string text = "from";
    for (const dcb::sequenced_event &e : seen) {
        text += ' ' + std::to_string(e.position);
    }
    return text;
}

} // namespace

TEST_CASE("projections of the newest events see no others") {
    std::minstd_rand random{20};
    const auto pick = [&](int below) {
        return std::uniform_int_distribution<int>(0, below - 1)(random);
    };
    const auto any = [&](const std::vector<std::string> &from) {
        return from[static_cast<std::size_t>(pick(static_cast<int>(from.size())))];
    };
    for (int round = 0; round < 60; ++round) {
        CAPTURE(round);
        dcb::store store = unit::fresh_store();
        for (int i = pick(12); i > 0; --i) {
            store.append(dcb::event(any(types), {any(accounts)}));
        }
        const auto all = store.read_all(dcb::query::all()).events;
        std::vector<dcb::projection<std::string>> parts;
        std::string expected;
        for (int i = 0; i < 4; ++i) {
            const std::vector<dcb::query> queries{
                dcb::query::all(), dcb::of_type("Moved"), dcb::tagged("account:a"),
                dcb::of_type("Opened", "Moved").tagged("account:a") |
                    dcb::of_type("Closed").tagged("account:b")};
            const dcb::query q = queries[static_cast<std::size_t>(pick(4))];
            const std::int64_t last = pick(4);
            const std::string since = pick(2) == 0 ? "" : any(types);
            parts.push_back(trace(q, last, since));
            const std::string alone = traced(all, q, last, since);
            CHECK(dcb::project(store, parts.back()).state == alone);
            CHECK(parts.back().fold(all) == alone);
            CHECK(parts.back().fold(store.read(dcb::query::all())) == alone);
            expected += alone + '/';
        }
        const auto composed =
            dcb::compose(dcb::compose(parts[0], parts[1]), parts[2], dcb::compose(parts[3]));
        const auto text = [](const auto &state) {
            const auto &[first, second, third] = state;
            return std::get<0>(first) + '/' + std::get<1>(first) + '/' + second + '/' +
                   std::get<0>(third) + '/';
        };
        const auto model = dcb::project(store, composed);
        CHECK(text(model.state) == expected);
        CHECK(text(composed.fold(all)) == expected);
        // The condition is as strict as without a limit.
        CHECK(model.condition.after == static_cast<std::int64_t>(all.size()));
        for (const std::string &type : types) {
            const dcb::sequenced_event next{0, {}, type, {"account:b"}, "null", {}, {}};
            bool affects = false;
            for (const auto &part : parts) {
                affects = affects || part.query.matches(next);
            }
            CHECK(model.condition.fail_if_events_match.matches(next) == affects);
        }
    }
}

TEST_CASE("a composed projection can be restricted as a whole") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("StudentSubscribed", {"course:c1"}),
                  dcb::event("StudentSubscribed", {"course:c2"}),
                  dcb::event("StudentSubscribed", {"course:c1"})});
    auto first = taken("course:c1");
    first.last = 1;
    auto both = dcb::compose(first, taken("course:c2"));
    CHECK(dcb::project(store, both).state == std::make_tuple(1, 1));
    both.last = 3;
    CHECK(dcb::project(store, both).state == std::make_tuple(2, 1));
    both.last = 1;
    CHECK(dcb::project(store, both).state == std::make_tuple(1, 0));
    both.since = "StudentSubscribed";
    both.last = 0;
    CHECK(dcb::project(store, both).state == std::make_tuple(1, 0));
}

TEST_CASE("a limit that makes no sense is an error") {
    const dcb::store store = unit::fresh_store();
    auto negative = taken("course:c1");
    negative.last = -1;
    CHECK_FAILS(invalid_argument, dcb::project(store, negative));
    CHECK_FAILS(invalid_argument, negative.fold(std::vector<dcb::sequenced_event>{}));
    CHECK_FAILS(invalid_argument, dcb::compose(negative));
    auto nameless = taken("course:c1");
    nameless.since = std::string(1, '\0');
    CHECK(dcb::project(store, nameless).state == 0); // no item of the query has such a type
    auto invalid = dcb::projection<int>{dcb::tagged("course:c1"), 0, nameless.evolve};
    invalid.since = nameless.since;
    CHECK_FAILS(invalid_argument, dcb::project(store, invalid));
}

TEST_CASE("a state without a default is composed into a tuple") {
    struct number {
        explicit number(int n) : value(n) {}
        int value;
    };
    dcb::store store = unit::fresh_store();
    store.append(dcb::event("A"));
    const dcb::projection<number> one{
        dcb::query::all(), number(4),
        [](number n, const dcb::event_view &) { return number(n.value + 1); }};
    CHECK(std::get<0>(dcb::project(store, dcb::compose(one, one)).state).value == 5);
}
