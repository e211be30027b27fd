// Subscriptions.

#include "check.hpp"

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

TEST(a_subscription_catches_up_and_follows) {
    dcb::store store = check::fresh_store();
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
        CHECK_EQUAL(events.position(), e.position());
        seen.push_back(e.position());
        if (seen.size() == 22) {
            stop.trigger();
        }
    }
    appender.join();
    CHECK(events.status() == dcb::status::cancelled);
    CHECK_EQUAL(seen.size(), 22u);
    CHECK_EQUAL(seen.front(), 1);
    CHECK_EQUAL(seen.back(), 42);
    for (std::size_t i = 3; i < seen.size(); ++i) {
        CHECK_EQUAL(seen[i] - seen[i - 1], 2);
    }
}

TEST(a_subscription_ends_after_its_timeout_and_continues) {
    dcb::store store = check::fresh_store();
    store.append({dcb::event("A"), dcb::event("B")});
    dcb::subscription events = store.subscribe(dcb::of_type("A"), 0, {20ms});
    int seen = 0;
    for (const dcb::event_view &e : events) {
        static_cast<void>(e);
        ++seen;
    }
    CHECK_EQUAL(seen, 1);
    CHECK(events.status() == dcb::status::timeout);
    CHECK_EQUAL(events.position(), 2);
    store.append(dcb::event("A"));
    dcb::subscription moved = std::move(events);
    for (const dcb::event_view &e : moved) {
        CHECK_EQUAL(e.position(), 3);
        ++seen;
    }
    CHECK_EQUAL(seen, 2);
}

TEST(a_subscription_starts_after_a_position) {
    dcb::store store = check::fresh_store();
    store.append({dcb::event("A"), dcb::event("A"), dcb::event("A")});
    dcb::subscription events = store.subscribe(dcb::query::all(), 2, {0ms});
    CHECK_EQUAL(events.position(), 2);
    CHECK_EQUAL((*events.begin()).position(), 3);
    CHECK(events.begin() == events.end());
    CHECK_THROWS(invalid_argument, store.subscribe(dcb::query::all(), -2).begin());
}

TEST(a_cancel_ends_a_waiting_subscription) {
    dcb::store store = check::fresh_store();
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

TEST(a_subscription_above_the_head_says_that_the_history_was_rewound) {
    dcb::store store = check::fresh_store();
    store.append({dcb::event("A"), dcb::event("A")});
    dcb::subscription at_the_head = store.subscribe(dcb::query::all(), 2, {0ms});
    CHECK(at_the_head.begin() == at_the_head.end());
    dcb::subscription events = store.subscribe(dcb::query::all(), 3);
    for (int i = 0; i < 2; ++i) {
        try {
            static_cast<void>(events.begin());
            CHECK(false && "the subscription fails");
        } catch (const dcb::history_rewound &e) {
            CHECK(e.status() == dcb::status::corrupt);
            CHECK_EQUAL(e.after(), 3);
            CHECK_EQUAL(e.position(), 2);
            CHECK(std::string_view(e.what()).find("history was rewound") != std::string_view::npos);
        }
        CHECK_EQUAL(events.position(), 3);
    }
}

TEST(a_subscription_notices_between_loops_that_the_history_was_rewound) {
    dcb::store store = check::fresh_store();
    store.append({dcb::event("A"), dcb::event("B"), dcb::event("B")});
    dcb::subscription events = store.subscribe(dcb::of_type("A"), 0, {0ms});
    for (const dcb::event_view &e : events) {
        CHECK_EQUAL(e.position(), 1);
    }
    // It has read past the last event that matches.
    CHECK_EQUAL(events.position(), 3);
    store = check::fresh_store();
    store.append({dcb::event("A"), dcb::event("A")});
    CHECK_THROWS(corrupt, events.begin());
    store.append(dcb::event("A"));
    CHECK(events.begin() == events.end());
}

TEST(a_waiting_subscription_notices_that_the_history_was_rewound) {
    if (!check::persists()) {
        return;
    }
    const std::string uri = check::fresh_uri();
    const std::string file = uri.substr(uri.find(':') + 1);
    const auto shell = [&](const std::string &command) {
        return std::system(
            ("sqlite3 '" + file + "' \"" + command + " '" + file + ".backup'\"").c_str());
    };
    dcb::store store(uri);
    store.append(dcb::event("A"));
    CHECK_EQUAL(shell(".backup"), 0);
    store.append({dcb::event("A"), dcb::event("A")});

    dcb::subscription events = store.subscribe(dcb::query::all(), 0, {1min});
    std::thread restorer;
    std::int64_t rewound_at = 0;
    try {
        for (const dcb::event_view &e : events) {
            if (e.position() == 3) {
                restorer = std::thread([&] {
                    std::this_thread::sleep_for(50ms);
                    CHECK_EQUAL(shell(".restore"), 0);
                });
            }
        }
    } catch (const dcb::history_rewound &e) {
        rewound_at = e.position();
    }
    restorer.join();
    CHECK_EQUAL(rewound_at, 1);

    // The store may still announce the head that it had: then a read does not find the events, and
    // a subscription that tried again and again would never end.
    dcb::subscription from_the_head = store.subscribe(dcb::query::all(), 1, {20ms});
    if (store.wait(1, {0ms})) {
        CHECK_THROWS(corrupt, from_the_head.begin());
    } else {
        CHECK(from_the_head.begin() == from_the_head.end());
    }
}

#if defined(__cpp_lib_jthread)
TEST(a_stop_token_ends_a_subscription) {
    dcb::store store = check::fresh_store();
    std::jthread follower([&](const std::stop_token &token) {
        const dcb::cancel stop;
        const std::stop_callback link(token, [&] { stop.trigger(); });
        dcb::subscription events = store.subscribe(dcb::query::all(), 0, {{}, &stop});
        CHECK(events.begin() == events.end());
    });
    follower.request_stop();
}
#endif
