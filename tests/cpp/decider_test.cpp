// Deciders, the command handler, and its retries.

#include "check.hpp"

#include <dcb/decider.hpp>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>

using namespace std::chrono_literals;

namespace {

constexpr int seats = 10;

struct subscribe {
    std::string course;
    std::string student;
};

struct course_full : std::runtime_error {
    course_full() : std::runtime_error("the course is full") {}
};

/// The state of a course with ten seats, as one student sees it.
struct state {
    int taken = 0;
    bool has_seat = false;
};

dcb::decider<state, subscribe> course_decider(const std::string &me = "") {
    dcb::decider<state, subscribe> decider;
    decider.query = [](const subscribe &c) -> dcb::query {
        return dcb::of_type("Subscribed").tagged(dcb::tag("course", c.course));
    };
    decider.decide = [](const state &s, const subscribe &c) -> std::vector<dcb::event> {
        if (s.has_seat) {
            return {};
        }
        if (s.taken == seats) {
            throw course_full();
        }
        return {dcb::event("Subscribed", {{"course", c.course}, {"student", c.student}})};
    };
    decider.evolve = [me](state s, const dcb::event_view &e) {
        ++s.taken;
        s.has_seat = s.has_seat || e.tag_value("student") == me;
        return s;
    };
    return decider;
}

dcb::retry_policy quickly(int attempts) {
    return {attempts, 10us, 100us};
}

} // namespace

TEST(a_decider_folds_events_of_any_kind) {
    const auto decider = course_decider("s1");
    dcb::sequenced_event e;
    e.type = "Subscribed";
    e.tags = {"course:c1", "student:s1"};
    const state s = decider.fold(std::vector<dcb::sequenced_event>{e, e});
    CHECK_EQUAL(s.taken, 2);
    CHECK(s.has_seat);
}

TEST(a_handler_appends_the_events_of_a_decision) {
    dcb::store store = check::fresh_store();
    const dcb::command_handler handler(store, course_decider("s1"));
    CHECK_EQUAL(handler.handle({"c1", "s1"}).value(), 1);
    CHECK(!handler.handle({"c1", "s1"}));
    CHECK_EQUAL(store.head(), 1);
}

TEST(an_exception_of_decide_is_passed_on) {
    dcb::store store = check::fresh_store();
    const dcb::command_handler handler(store, course_decider());
    for (int i = 0; i < seats; ++i) {
        handler.handle({"c1", std::to_string(i)});
    }
    bool full = false;
    try {
        handler.handle({"c1", "late"});
    } catch (const course_full &) {
        full = true;
    }
    CHECK(full);
    CHECK_EQUAL(store.head(), seats);
}

TEST(a_decision_is_made_again_after_a_conflict) {
    dcb::store store = check::fresh_store();
    auto decider = course_decider();
    int decisions = 0;
    decider.decide = [&](const state &s, const subscribe &) -> std::vector<dcb::event> {
        if (++decisions < 3) {
            store.append(dcb::event("Subscribed", {"course:c1", "student:rival"}));
        }
        CHECK_EQUAL(s.taken, decisions - 1);
        return {dcb::event("Subscribed", {"course:c1", "student:s1"})};
    };
    const dcb::command_handler handler(store, decider, quickly(3));
    CHECK_EQUAL(handler.handle({"c1", "s1"}).value(), 3);
    CHECK_EQUAL(decisions, 3);
}

TEST(retries_are_bounded) {
    dcb::store store = check::fresh_store();
    auto decider = course_decider();
    int decisions = 0;
    decider.decide = [&](const state &, const subscribe &) -> std::vector<dcb::event> {
        ++decisions;
        store.append(dcb::event("Subscribed", {"course:c1", "student:rival"}));
        return {dcb::event("Subscribed", {"course:c1", "student:s1"})};
    };
    const dcb::command_handler handler(store, decider, quickly(4));
    bool used_up = false;
    try {
        handler.handle({"c1", "s1"});
    } catch (const dcb::condition_failed &e) {
        used_up = true;
        CHECK_EQUAL(e.position(), 4);
    }
    CHECK(used_up);
    CHECK_EQUAL(decisions, 4);
    CHECK_EQUAL(store.head(), 4);
    CHECK_THROWS(invalid_argument, dcb::command_handler(store, decider, quickly(0)));
}

TEST(a_cancel_ends_the_wait_between_attempts) {
    dcb::store store = check::fresh_store();
    const dcb::cancel stop;
    auto decider = course_decider();
    int decisions = 0;
    decider.decide = [&](const state &, const subscribe &) -> std::vector<dcb::event> {
        ++decisions;
        store.append(dcb::event("Subscribed", {"course:c1", "student:rival"}));
        return {dcb::event("Subscribed", {"course:c1", "student:s1"})};
    };
    // The wait is so long that only the cancel can end it before the test times out.
    const dcb::command_handler handler(store, decider, {2, 1h, 1h});
    std::thread canceller([&] {
        static_cast<void>(store.wait(0));
        stop.trigger();
    });
    CHECK_THROWS(cancelled, handler.handle({"c1", "s1"}, {{}, &stop}));
    canceller.join();
    CHECK(decisions <= 1);
}

TEST(a_decision_on_composed_projections_is_made_again) {
    dcb::store store = check::fresh_store();
    const auto count = [](int state, const dcb::event_view &) { return state + 1; };
    const auto both = dcb::compose(dcb::projection<int>{dcb::tagged("course:c1"), 0, count},
                                   dcb::projection<int>{dcb::tagged("student:s1"), 0, count});
    int decisions = 0;
    const auto decide = [&](const std::tuple<int, int> &state) -> std::vector<dcb::event> {
        if (++decisions == 1) {
            store.append(dcb::event("Subscribed", {"course:c2", "student:s1"}));
        }
        CHECK_EQUAL(std::get<0>(state), 0);
        CHECK_EQUAL(std::get<1>(state), decisions - 1);
        return {dcb::event("Subscribed", {"course:c1", "student:s1"})};
    };
    CHECK_EQUAL(dcb::decide(store, both, decide, {}, quickly(3)).value(), 2);
    CHECK_EQUAL(decisions, 2);

    const auto nothing = [](const std::tuple<int, int> &) { return std::vector<dcb::event>{}; };
    CHECK(!dcb::decide(store, both, nothing));
    CHECK_EQUAL(store.head(), 2);

    const auto never = [&](const std::tuple<int, int> &) -> std::vector<dcb::event> {
        store.append(dcb::event("Subscribed", {"course:c1", "student:s2"}));
        return {dcb::event("Subscribed", {"course:c1", "student:s1"})};
    };
    CHECK_THROWS(condition_failed, dcb::decide(store, both, never, {}, quickly(2)));
    CHECK_EQUAL(store.head(), 4);
    CHECK_THROWS(invalid_argument, dcb::decide(store, both, nothing, {}, quickly(0)));
}

TEST(a_decider_without_a_required_function_is_refused) {
    dcb::store store = check::fresh_store();
    auto decider = course_decider();
    decider.query = nullptr;
    CHECK_NOT_SET("decider::query", dcb::command_handler(store, decider));
    decider = course_decider();
    decider.decide = nullptr;
    CHECK_NOT_SET("decider::decide", dcb::command_handler(store, decider));
    CHECK_EQUAL(decider.fold(std::vector<dcb::sequenced_event>{}).taken, 0);
    decider = course_decider();
    decider.evolve = nullptr;
    CHECK_NOT_SET("decider::evolve", dcb::command_handler(store, decider));
    CHECK_NOT_SET("decider::evolve", decider.fold(std::vector<dcb::sequenced_event>{}));

    dcb::projection<int> projection{dcb::tagged("course:c1"), 0, {}};
    const auto nothing = [](int) { return std::vector<dcb::event>{}; };
    CHECK_NOT_SET("projection::evolve", dcb::decide(store, projection, nothing));
    projection.evolve = [](int n, const dcb::event_view &) { return n + 1; };
    std::function<std::vector<dcb::event>(int)> missing;
    CHECK_NOT_SET("decide", dcb::decide(store, projection, missing));
    missing = nothing;
    CHECK(!dcb::decide(store, projection, missing));
}

TEST(a_decider_starts_from_its_initial_state) {
    dcb::store store = check::fresh_store();
    auto decider = course_decider();
    decider.initial_state.taken = seats;
    CHECK_EQUAL(decider.fold(std::vector<dcb::sequenced_event>{}).taken, seats);
    bool full = false;
    try {
        dcb::command_handler(store, decider).handle({"c1", "s1"});
    } catch (const course_full &) {
        full = true;
    }
    CHECK(full);
}

TEST(rivals_never_overfill_a_course) {
    dcb::store store = check::fresh_store();
    std::atomic<int> refused{0};
    std::atomic<int> seated{0};
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&, t] {
            const dcb::command_handler handler(store, course_decider(), quickly(1000));
            for (int i = 0; i < 5; ++i) {
                try {
                    handler.handle({"c1", std::to_string(t * 100 + i)});
                    ++seated;
                } catch (const course_full &) {
                    ++refused;
                }
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    CHECK_EQUAL(seated.load(), seats);
    CHECK_EQUAL(refused.load(), 20 - seats);
    CHECK_EQUAL(store.count(), seats);
}
