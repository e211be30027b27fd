// Deciders, the command handler, and its retries.

#include "unit.hpp"

#include <dcb/decider.hpp>

#include <atomic>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <tuple>

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

/// A decider that is always too late: a rival subscribes between its read and its append. Counts
/// its decisions.
dcb::decider<state, subscribe> late_decider(dcb::store &store, int &decisions) {
    auto decider = course_decider();
    decider.decide = [&](const state &, const subscribe &) -> std::vector<dcb::event> {
        ++decisions;
        store.append(dcb::event("Subscribed", {"course:c1", "student:rival"}));
        return {dcb::event("Subscribed", {"course:c1", "student:s1"})};
    };
    return decider;
}

dcb::retry_policy quickly(int attempts) {
    return {attempts, 10us, 100us};
}

} // namespace

TEST_CASE("a decider folds events of any kind") {
    const auto decider = course_decider("s1");
    dcb::sequenced_event e;
    e.type = "Subscribed";
    e.tags = {"course:c1", "student:s1"};
    const state s = decider.fold(std::vector<dcb::sequenced_event>{e, e});
    CHECK(s.taken == 2);
    CHECK(s.has_seat);
}

TEST_CASE("a handler appends the events of a decision") {
    dcb::store store = unit::fresh_store();
    const dcb::command_handler handler(store, course_decider("s1"));
    const dcb::decision<> made = handler.handle({"c1", "s1"});
    CHECK(made.first == 1);
    CHECK(made.last == 1);
    CHECK(made.attempts == 1);
    CHECK(!made.repeated);
    const dcb::decision<> nothing = handler.handle({"c1", "s1"});
    CHECK(nothing.first == 0);
    CHECK(nothing.last == 0);
    CHECK(nothing.attempts == 1);
    CHECK(store.head() == 1);
}

TEST_CASE("an exception of decide is passed on") {
    dcb::store store = unit::fresh_store();
    const dcb::command_handler handler(store, course_decider());
    for (int i = 0; i < seats; ++i) {
        handler.handle({"c1", std::to_string(i)});
    }
    CHECK_THROWS_AS(handler.handle({"c1", "late"}), course_full);
    CHECK(store.head() == seats);
}

TEST_CASE("a decision is made again after a conflict") {
    dcb::store store = unit::fresh_store();
    auto decider = course_decider();
    int decisions = 0;
    decider.decide = [&](const state &s, const subscribe &) -> std::vector<dcb::event> {
        if (++decisions < 3) {
            store.append(dcb::event("Subscribed", {"course:c1", "student:rival"}));
        }
        CHECK(s.taken == decisions - 1);
        return {dcb::event("Subscribed", {"course:c1", "student:s1"})};
    };
    const dcb::command_handler handler(store, decider, quickly(3));
    const dcb::decision<> made = handler.handle({"c1", "s1"});
    CHECK(made.last == 3);
    CHECK(made.attempts == 3);
    CHECK(decisions == 3);
}

TEST_CASE("retries are bounded") {
    dcb::store store = unit::fresh_store();
    int decisions = 0;
    const auto decider = late_decider(store, decisions);
    const dcb::command_handler handler(store, decider, quickly(4));
    try {
        handler.handle({"c1", "s1"});
        FAIL_CHECK("the attempts were not used up");
    } catch (const dcb::retry_error &e) {
        CHECK(e.status() == dcb::status::condition_failed);
        CHECK(e.position() == 4);
        CHECK(e.condition() == 0);
        CHECK(e.attempts() == 4);
        CHECK(e.elapsed() > 0us);
        const std::string what = e.what();
        CHECK(what.rfind("gave up after 4 attempts in ", 0) == 0);
        CHECK(what.find(" ms: ") != std::string::npos);
        // The rest is what a store says of such an append.
        try {
            store.append(dcb::event("A"), {dcb::tagged("course:c1"), 3});
            FAIL_CHECK("the condition holds");
        } catch (const dcb::condition_failed &own) {
            CHECK(what.substr(what.find(": ") + 2) == std::string(own.what()));
        }
    }
    CHECK(decisions == 4);
    CHECK(store.head() == 4);
    CHECK_FAILS(invalid_argument, dcb::command_handler(store, decider, quickly(-1)));
}

TEST_CASE("retries are bounded by time") {
    dcb::store store = unit::fresh_store();
    int decisions = 0;
    const auto decider = late_decider(store, decisions);
    const auto attempts_with = [&](const dcb::retry_policy &retry) {
        try {
            dcb::command_handler(store, decider, retry).handle({"c1", "s1"});
        } catch (const dcb::retry_error &e) {
            return e.attempts();
        }
        return 0;
    };
    CHECK(attempts_with({0, 10us, 100us, 0us}) == 1);
    CHECK(attempts_with({1, 10us, 100us, dcb::forever}) == 1);
    CHECK(attempts_with({3, 10us, 100us, dcb::forever}) == 3);
    const auto start = std::chrono::steady_clock::now();
    decisions = 0;
    CHECK(attempts_with({0, 10us, 100us, 50ms}) == decisions);
    CHECK(std::chrono::steady_clock::now() - start < 1h); // it ends
    // A wait that does not fit is not begun. It is random, so one in 360,000 may fit.
    decisions = 0;
    static_cast<void>(attempts_with({0, 1h, 1h, 10ms}));
    CHECK(decisions < 3);
}

TEST_CASE("a cancel ends the wait between attempts") {
    dcb::store store = unit::fresh_store();
    const dcb::cancel stop;
    int decisions = 0;
    const auto decider = late_decider(store, decisions);
    // The wait is so long that only the cancel can end it before the test times out.
    const dcb::command_handler handler(store, decider, {3, 1h, 1h, dcb::forever});
    std::thread canceller([&] {
        static_cast<void>(store.wait(0));
        stop.trigger();
    });
    CHECK_FAILS(cancelled, handler.handle({"c1", "s1"}, {{}, &stop}));
    canceller.join();
    CHECK(decisions <= 2);
}

TEST_CASE("a decision on composed projections is made again") {
    dcb::store store = unit::fresh_store();
    const auto count = [](int state, const dcb::event_view &) { return state + 1; };
    const auto both = dcb::compose(dcb::projection<int>{dcb::tagged("course:c1"), 0, count},
                                   dcb::projection<int>{dcb::tagged("student:s1"), 0, count});
    int decisions = 0;
    const auto decide = [&](const std::tuple<int, int> &state) -> std::vector<dcb::event> {
        if (++decisions == 1) {
            store.append(dcb::event("Subscribed", {"course:c2", "student:s1"}));
        }
        CHECK(std::get<0>(state) == 0);
        CHECK(std::get<1>(state) == decisions - 1);
        return {dcb::event("Subscribed", {"course:c1", "student:s1"})};
    };
    const auto made = dcb::decide(store, both, decide, {}, quickly(3));
    CHECK(made.last == 2);
    CHECK(made.attempts == 2);
    CHECK(decisions == 2);

    const auto nothing = [](const std::tuple<int, int> &) { return std::vector<dcb::event>{}; };
    CHECK(dcb::decide(store, both, nothing).last == 0);
    CHECK(store.head() == 2);

    const auto never = [&](const std::tuple<int, int> &) -> std::vector<dcb::event> {
        store.append(dcb::event("Subscribed", {"course:c1", "student:s2"}));
        return {dcb::event("Subscribed", {"course:c1", "student:s1"})};
    };
    CHECK_FAILS(condition_failed, dcb::decide(store, both, never, {}, quickly(2)));
    CHECK(store.head() == 4);
    CHECK_FAILS(invalid_argument, dcb::decide(store, both, nothing, {}, quickly(-1)));
}

TEST_CASE("a decision has a value of its own") {
    dcb::store store = unit::fresh_store();
    const dcb::projection<int> numbers{dcb::of_type("Numbered"), 0,
                                       [](int n, const dcb::event_view &) { return n + 1; }};
    const auto next = [](int known) {
        return dcb::decided<int>{{dcb::event("Numbered"), dcb::event("Printed")}, known + 1};
    };
    CHECK(dcb::decide(store, numbers, next).value == 1);
    const dcb::decision<int> second = dcb::decide(store, numbers, next);
    CHECK(second.value == 2);
    CHECK(second.first == 3);
    CHECK(second.last == 4);
    const auto known = [](int count) { return dcb::decided<int>{{}, count}; };
    CHECK(dcb::decide(store, numbers, known).value == 2);
    CHECK(dcb::decide(store, numbers, known).last == 0);

    dcb::decider<int, std::string, std::string> decider;
    decider.query = [](const std::string &) -> dcb::query { return dcb::of_type("Numbered"); };
    decider.evolve = [](int n, const dcb::event_view &) { return n + 1; };
    decider.decide = [](const int &n, const std::string &name) {
        return dcb::decided<std::string>{{dcb::event("Numbered")}, name + std::to_string(n)};
    };
    const dcb::command_handler handler(store, decider);
    const dcb::decision<std::string> named = handler.handle("n");
    CHECK(named.value == "n2");
    CHECK(named.last == 5);
    CHECK(dcb::project(store, decider.model("n")).state == 3);
}

TEST_CASE("an append that repeats another one is a repeated decision") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("A").id("1"), dcb::event("B").id("2")});
    store.append(dcb::event("C"));
    const dcb::projection<int> nobody{dcb::of_type("D"), 0,
                                      [](int n, const dcb::event_view &) { return n + 1; }};
    const auto made = dcb::decide(store, nobody, [](int) -> std::vector<dcb::event> {
        return {dcb::event("A").id("1"), dcb::event("B").id("2")};
    });
    CHECK(made.repeated);
    CHECK(made.first == 1);
    CHECK(made.last == 2);
    CHECK(store.head() == 3);
}

TEST_CASE("a decider without a required function is refused") {
    dcb::store store = unit::fresh_store();
    auto decider = course_decider();
    decider.query = nullptr;
    CHECK_THROWS_WITH_AS(dcb::command_handler(store, decider), "decider::query is not set",
                         std::invalid_argument);
    decider = course_decider();
    decider.decide = nullptr;
    CHECK_THROWS_WITH_AS(dcb::command_handler(store, decider), "decider::decide is not set",
                         std::invalid_argument);
    CHECK(decider.fold(std::vector<dcb::sequenced_event>{}).taken == 0);
    decider = course_decider();
    decider.evolve = nullptr;
    CHECK_THROWS_WITH_AS(dcb::command_handler(store, decider), "decider::evolve is not set",
                         std::invalid_argument);
    CHECK_THROWS_WITH_AS(decider.fold(std::vector<dcb::sequenced_event>{}),
                         "decider::evolve is not set", std::invalid_argument);

    dcb::projection<int> projection{dcb::tagged("course:c1"), 0, {}};
    const auto nothing = [](int) { return std::vector<dcb::event>{}; };
    CHECK_THROWS_WITH_AS(dcb::decide(store, projection, nothing), "projection::evolve is not set",
                         std::invalid_argument);
    projection.evolve = [](int n, const dcb::event_view &) { return n + 1; };
    std::function<std::vector<dcb::event>(int)> missing;
    CHECK_THROWS_WITH_AS(dcb::decide(store, projection, missing), "decide is not set",
                         std::invalid_argument);
    missing = nothing;
    CHECK(dcb::decide(store, projection, missing).last == 0);
}

TEST_CASE("a decider reads the newest events only") {
    dcb::store store = unit::fresh_store();
    auto decider = course_decider();
    int taken = -1;
    decider.decide = [&](const state &s, const subscribe &) -> std::vector<dcb::event> {
        taken = s.taken;
        return {dcb::event("Subscribed", {"course:c1"})};
    };
    decider.last = 2;
    for (const int expected : {0, 1, 2, 2}) {
        static_cast<void>(dcb::command_handler(store, decider).handle({"c1", "s1"}));
        CHECK(taken == expected);
    }
    decider.last = 0;
    decider.since = "Subscribed";
    static_cast<void>(dcb::command_handler(store, decider).handle({"c1", "s1"}));
    CHECK(taken == 1);
    CHECK(store.head() == 5);
}

TEST_CASE("a decider composes what it knows about a command") {
    dcb::store store = unit::fresh_store();
    dcb::decider<std::tuple<int, int>, subscribe> decider;
    const auto count = [](int n, const dcb::event_view &) { return n + 1; };
    decider.projection = [&](const subscribe &c) {
        return dcb::compose(
            dcb::projection<int>{dcb::tagged(dcb::tag("course", c.course)), 0, count},
            dcb::projection<int>{dcb::tagged(dcb::tag("student", c.student)), 0, count});
    };
    std::tuple<int, int> seen;
    decider.decide = [&](const std::tuple<int, int> &s,
                         const subscribe &c) -> std::vector<dcb::event> {
        seen = s;
        return {dcb::event("Subscribed", {{"course", c.course}, {"student", c.student}})};
    };
    for (const char *course : {"c1", "c2", "c1"}) {
        static_cast<void>(dcb::command_handler(store, decider).handle({course, "s1"}));
    }
    CHECK(seen == std::make_tuple(1, 2));
    CHECK(store.head() == 3);

    decider.last = 1;
    const std::string refused = "decider::projection takes the place of query, evolve, last and "
                                "since, and one of these is set";
    CHECK_THROWS_WITH_AS(dcb::command_handler(store, decider), refused.c_str(),
                         std::invalid_argument);
    decider.last = 0;
    decider.projection = [](const subscribe &) {
        return dcb::projection<std::tuple<int, int>>{dcb::query::all(), {}, {}};
    };
    CHECK_THROWS_WITH_AS(dcb::command_handler(store, decider).handle({"c1", "s1"}),
                         "projection::evolve is not set", std::invalid_argument);
}

TEST_CASE("a decider starts from its initial state") {
    dcb::store store = unit::fresh_store();
    auto decider = course_decider();
    decider.initial_state.taken = seats;
    CHECK(decider.fold(std::vector<dcb::sequenced_event>{}).taken == seats);
    CHECK_THROWS_AS(dcb::command_handler(store, decider).handle({"c1", "s1"}), course_full);
}

TEST_CASE("rivals never overfill a course") {
    dcb::store store = unit::fresh_store();
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
    CHECK(seated.load() == seats);
    CHECK(refused.load() == 20 - seats);
    CHECK(store.count() == seats);
}

TEST_CASE("a condition query guards the append in place of the decider's") {
    for (const char *name : {"Renamed", "Subscribed"}) {
        CAPTURE(name);
        dcb::store store = unit::fresh_store();
        int decisions = 0;
        auto decider = course_decider();
        decider.decide = [&](const state &, const subscribe &c) {
            if (++decisions == 1) {
                store.append(dcb::event(name, {"course:c1"}));
            }
            return std::vector<dcb::event>{
                dcb::event("Subscribed", {{"course", c.course}, {"student", c.student}})};
        };
        // It misses one kind of event that the decision reads, and sees one that it does not.
        const auto guard = [](const subscribe &c) -> dcb::query {
            return dcb::of_type("Renamed").tagged(dcb::tag("course", c.course));
        };
        const dcb::command_handler<state, subscribe> handler(store, decider, quickly(3), guard);
        const auto made = handler.handle({"c1", "s1"});
        CHECK(made.attempts == (name == std::string("Renamed") ? 2 : 1));
        CHECK(made.last == 2);
        // What was stored before the read makes no append fail.
        CHECK(handler.handle({"c1", "s2"}).attempts == 1);
    }
}
