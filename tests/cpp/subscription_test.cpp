// Subscriptions.

#include "unit.hpp"

#include <dcb/subscription.hpp>

#include <chrono>
#include <cstdlib>
#include <string>
#include <string_view>
#include <thread>
#include <vector>

#if __cplusplus >= 202002L
#include <ranges>
#include <stop_token>
static_assert(std::ranges::input_range<dcb::subscription>);
#endif

using namespace std::chrono_literals;

TEST_CASE("a subscription catches up and follows") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("A", {"x:1"}), dcb::event("A", {"y:1"}), dcb::event("A", {"x:1"})});
    const dcb::cancel stop;
    std::thread appender([&] {
        for (int i = 0; i < 20; ++i) {
            store.append({dcb::event("A", {"x:1"}), dcb::event("A", {"y:1"})});
        }
    });
    std::vector<std::int64_t> seen;
    dcb::subscription events = store.subscribe(dcb::tagged("x:1"), 0, {{}, &stop});
    for (const dcb::event_view &e : events) {
        CHECK(e.has_tag("x:1"));
        CHECK(events.position() == e.position());
        seen.push_back(e.position());
        if (seen.size() == 22) {
            stop.trigger();
        }
    }
    appender.join();
    CHECK(events.status() == dcb::status::cancelled);
    CHECK(seen.size() == 22u);
    CHECK(seen.front() == 1);
    CHECK(seen.back() == 42);
    for (std::size_t i = 3; i < seen.size(); ++i) {
        CHECK(seen[i] - seen[i - 1] == 2);
    }
}

TEST_CASE("a subscription ends after its timeout and continues") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("A"), dcb::event("B")});
    dcb::subscription events = store.subscribe(dcb::of_type("A"), 0, {20ms});
    int seen = 0;
    for (const dcb::event_view &e : events) {
        static_cast<void>(e);
        ++seen;
    }
    CHECK(seen == 1);
    CHECK(events.status() == dcb::status::timeout);
    CHECK(events.position() == 2);
    store.append(dcb::event("A"));
    dcb::subscription moved = std::move(events);
    for (const dcb::event_view &e : moved) {
        CHECK(e.position() == 3);
        ++seen;
    }
    CHECK(seen == 2);
}

TEST_CASE("a subscription starts after a position") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("A"), dcb::event("A"), dcb::event("A")});
    dcb::subscription events = store.subscribe(dcb::query::all(), 2, {0ms});
    CHECK(events.position() == 2);
    CHECK((*events.begin()).position() == 3);
    CHECK(events.begin() == events.end());
    CHECK_FAILS(invalid_argument, store.subscribe(dcb::query::all(), -2).begin());
}

TEST_CASE("a cancel ends a waiting subscription") {
    dcb::store store = unit::fresh_store();
    const dcb::cancel stop;
    dcb::subscription events = store.subscribe(dcb::query::all(), 0, {{}, &stop});
    std::thread canceller([&] {
        std::this_thread::sleep_for(10ms);
        stop.trigger();
    });
    CHECK(events.begin() == events.end());
    CHECK(events.status() == dcb::status::cancelled);
    canceller.join();
}

TEST_CASE("a subscription above the head says that the history was rewound") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("A"), dcb::event("A")});
    dcb::subscription at_the_head = store.subscribe(dcb::query::all(), 2, {0ms});
    CHECK(at_the_head.begin() == at_the_head.end());
    dcb::subscription events = store.subscribe(dcb::query::all(), 3);
    for (int i = 0; i < 2; ++i) {
        try {
            static_cast<void>(events.begin());
            FAIL_CHECK("the subscription does not fail");
        } catch (const dcb::history_rewound &e) {
            CHECK(e.status() == dcb::status::corrupt);
            CHECK(e.after() == 3);
            CHECK(e.position() == 2);
            CHECK(std::string_view(e.what()).find("history was rewound") != std::string_view::npos);
        }
        CHECK(events.position() == 3);
    }
}

TEST_CASE("a subscription notices between loops that the history was rewound") {
    dcb::store store = unit::fresh_store();
    store.append({dcb::event("A"), dcb::event("B"), dcb::event("B")});
    dcb::subscription events = store.subscribe(dcb::of_type("A"), 0, {0ms});
    for (const dcb::event_view &e : events) {
        CHECK(e.position() == 1);
    }
    // It has read past the last event that matches.
    CHECK(events.position() == 3);
    store = unit::fresh_store();
    store.append({dcb::event("A"), dcb::event("A")});
    CHECK_FAILS(corrupt, events.begin());
    store.append(dcb::event("A"));
    CHECK(events.begin() == events.end());
}

TEST_CASE("a waiting subscription notices that the history was rewound") {
    if (!unit::persists()) {
        return;
    }
    const std::string uri = unit::fresh_uri();
    const std::string file = uri.substr(uri.find(':') + 1);
    const auto shell = [&](const std::string &command) {
        return std::system(
            ("sqlite3 '" + file + "' \"" + command + " '" + file + ".backup'\"").c_str());
    };
    dcb::store store(uri);
    store.append(dcb::event("A"));
    CHECK(shell(".backup") == 0);
    store.append({dcb::event("A"), dcb::event("A")});

    dcb::subscription events = store.subscribe(dcb::query::all(), 0, {1min});
    std::thread restorer;
    std::int64_t rewound_at = 0;
    try {
        for (const dcb::event_view &e : events) {
            if (e.position() == 3) {
                restorer = std::thread([&] {
                    std::this_thread::sleep_for(50ms);
                    CHECK(shell(".restore") == 0);
                });
            }
        }
    } catch (const dcb::history_rewound &e) {
        rewound_at = e.position();
    }
    restorer.join();
    CHECK(rewound_at == 1);

    // The store may still announce the head that it had: then a read does not find the events, and
    // a subscription that tried again and again would never end.
    dcb::subscription from_the_head = store.subscribe(dcb::query::all(), 1, {20ms});
    if (store.wait(1, {0ms})) {
        CHECK_FAILS(corrupt, from_the_head.begin());
    } else {
        CHECK(from_the_head.begin() == from_the_head.end());
    }
}

#if defined(__cpp_lib_jthread)
TEST_CASE("a stop token ends a subscription") {
    dcb::store store = unit::fresh_store();
    std::jthread follower([&](const std::stop_token &token) {
        const dcb::cancel stop;
        const std::stop_callback link(token, [&] { stop.trigger(); });
        dcb::subscription events = store.subscribe(dcb::query::all(), 0, {{}, &stop});
        CHECK(events.begin() == events.end());
    });
    follower.request_stop();
}
#endif

TEST_CASE("the history that a server has lost is rewound") {
    dcb_error failure{};
    failure.detail = dcb::detail::rewound;
    CHECK_THROWS_AS(dcb::detail::raise(DCB_CORRUPT, failure), dcb::history_rewound);
}
