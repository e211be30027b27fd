// Deciders that remember states: they decide as they would without, and read less.

#include "unit.hpp"

#include <dcb/decider.hpp>

#include <cstddef>
#include <cstdint>
#include <random>
#include <stdexcept>
#include <string>
#include <thread>
#include <vector>

namespace {

using position_list = std::vector<std::int64_t>;

/// Returns queries that match all, some and few of the random events.
std::vector<dcb::query> queries() {
    return {dcb::query::all(), dcb::of_type("A"), dcb::tagged("k:0"),
            dcb::of_type("A", "B").tagged("k:1") | dcb::of_type("C").tagged("k:0")};
}

/// A decider over the queries, whose commands are their indexes, and whose state is the positions
/// that it has seen. It counts the events that it evolves with.
struct subject {
    std::vector<position_list> seen;
    std::vector<dcb::event> decided;
    dcb::store *store = nullptr;
    std::vector<dcb::event> rival; ///< appended between the first read and its append
    std::size_t evolved = 0;

    dcb::decider<position_list, std::size_t> decider() {
        dcb::decider<position_list, std::size_t> of;
        of.query = [](std::size_t i) { return queries()[i]; };
        of.evolve = [this](position_list at, const dcb::event_view &e) {
            ++evolved;
            at.push_back(e.position());
            return at;
        };
        of.decide = [this](const position_list &at, std::size_t) {
            seen.push_back(at);
            if (seen.size() == 1 && !rival.empty()) {
                store->append(rival);
            }
            return decided;
        };
        of.initial_state = {0};
        return of;
    }
};

/// What a decider without a memory sees of all events.
position_list matching(const dcb::store &in, const dcb::query &q) {
    position_list at{0};
    for (const dcb::sequenced_event &e : in.read_all(dcb::query::all()).events) {
        if (q.matches(e)) {
            at.push_back(e.position);
        }
    }
    return at;
}

} // namespace

TEST_CASE("a cached decider sees and conflicts with what one without a memory does") {
    std::minstd_rand random{7};
    const auto pick = [&](int below) {
        return std::uniform_int_distribution<int>(0, below - 1)(random);
    };
    const auto events = [&](int count) {
        std::vector<dcb::event> made;
        for (int i = 0; i < count; ++i) {
            const std::string type(1, static_cast<char>('A' + pick(3)));
            made.emplace_back(type, std::vector<dcb::tag>{{"k", std::to_string(pick(2))}});
        }
        return made;
    };
    for (int round = 0; round < 12; ++round) {
        CAPTURE(round);
        std::vector<dcb::store> stores;
        stores.push_back(unit::fresh_store());
        stores.push_back(unit::fresh_store());
        subject its;
        const auto cached = its.decider().cached(static_cast<std::size_t>(1 + pick(5)));
        for (int step = 0; step < 40; ++step) {
            CAPTURE(step);
            dcb::store &store = stores[static_cast<std::size_t>(pick(4) / 3)];
            if (pick(2) == 0) {
                store.append(events(1 + pick(3)));
            }
            const auto command = static_cast<std::size_t>(pick(4));
            its.seen.clear();
            its.store = &store;
            its.decided = pick(2) == 0 ? events(1 + pick(2)) : std::vector<dcb::event>{};
            its.rival =
                pick(2) == 0 && !its.decided.empty() ? events(1) : std::vector<dcb::event>{};
            std::vector<position_list> expected{matching(store, queries()[command])};
            if (!its.rival.empty()) {
                dcb::sequenced_event next;
                next.position = store.head() + 1;
                next.type = its.rival[0].type();
                next.tags = {its.rival[0].tags()[0].text()};
                if (queries()[command].matches(next)) {
                    expected.push_back(expected[0]);
                    expected[1].push_back(next.position);
                }
            }
            const dcb::command_handler<position_list, std::size_t> handler(store, cached);
            const bool is_request = pick(3) == 0;
            const dcb::request_id request("r" + std::to_string(step));
            const auto made =
                is_request ? handler.handle(command, request) : handler.handle(command);
            CHECK(its.seen == expected);
            CHECK(made.attempts == static_cast<int>(expected.size()));
            if (is_request && !its.decided.empty()) {
                const auto again = handler.handle(command, request);
                CHECK(again.repeated);
                CHECK(again.first == made.first);
                CHECK(again.last == made.last);
            }
        }
    }
}

TEST_CASE("a cached decider reads the last event that it has seen, and those after it") {
    dcb::store store = unit::fresh_store();
    store.append(std::vector<dcb::event>(600, dcb::event("A")));
    subject its;
    const dcb::command_handler<position_list, std::size_t> handler(store, its.decider().cached(1));
    for (const std::size_t most : {600, 0, 1, 1}) {
        its.evolved = 0;
        handler.handle(1);
        CHECK(its.evolved == most);
        CHECK(its.seen.back() == matching(store, dcb::of_type("A")));
        if (most != 600) {
            store.append({dcb::event("A"), dcb::event("B")});
        }
    }
    // The memory has room for one state.
    handler.handle(0);
    its.evolved = 0;
    handler.handle(1);
    CHECK(its.evolved == 603);
}

TEST_CASE("a cached state is not used with another history") {
    dcb::store store = unit::fresh_store();
    store.append(std::vector<dcb::event>(3, dcb::event("A")));
    subject its;
    const auto cached = its.decider().cached(8);
    const dcb::command_handler<position_list, std::size_t> handler(store, cached);
    using remembered = dcb::detail::state_cache<position_list>::remembered;
    const auto remember = [&](dcb::sequenced_event last) {
        const std::string key = dcb::detail::state_key(store, queries()[1]);
        const remembered wrong{std::move(last), position_list{99}};
        cached.cache->keep(key, std::make_shared<const remembered>(wrong));
    };
    const auto events = store.read_all(dcb::query::all()).events;
    remember(events[1]);
    handler.handle(1);
    CHECK(its.seen.back() == position_list{99, 3}); // this one would be used
    for (const int wrong : {0, 1, 2}) {
        CAPTURE(wrong);
        dcb::sequenced_event last = events[1];
        if (wrong == 0) {
            last.timestamp += std::chrono::microseconds(1);
        } else if (wrong == 1) {
            last.data = "1";
        } else {
            last.position = 7;
        }
        remember(last);
        handler.handle(1);
        CHECK(its.seen.back() == position_list{0, 1, 2, 3});
    }
    // Another store at the same place is another one.
    store = unit::fresh_store();
    handler.handle(1);
    CHECK(its.seen.back() == position_list{0});
}

TEST_CASE("a decider that cannot be cached is refused") {
    subject its;
    const auto decider = its.decider();
    CHECK_THROWS_WITH_AS((void)decider.cached(0), "decider::cached: states must be 1 or more",
                         std::invalid_argument);
    auto limited = decider;
    limited.last = 1;
    CHECK_THROWS_AS((void)limited.cached(1), std::invalid_argument);
    dcb::store store = unit::fresh_store();
    auto changed = decider.cached(1);
    changed.since = "A";
    CHECK_THROWS_AS((dcb::command_handler<position_list, std::size_t>(store, changed)),
                    std::invalid_argument);
}

TEST_CASE("threads share what a cached decider remembers") {
    dcb::store store = unit::fresh_store();
    dcb::decider<int, std::string> decider;
    decider.query = [](const std::string &counter) { return dcb::tagged(counter); };
    decider.evolve = [](int n, const dcb::event_view &) { return n + 1; };
    decider.decide = [](int n, const std::string &counter) {
        return std::vector<dcb::event>{dcb::event("Counted", {counter}, std::to_string(n))};
    };
    const dcb::command_handler<int, std::string> handler(store, decider.cached(2),
                                                         {0, std::chrono::microseconds(10)});
    std::vector<std::thread> threads;
    for (int t = 0; t < 4; ++t) {
        threads.emplace_back([&handler, t] {
            for (int i = 0; i < 15; ++i) {
                handler.handle("c:" + std::to_string((i + t) % 3));
            }
        });
    }
    for (std::thread &thread : threads) {
        thread.join();
    }
    for (const char *counter : {"c:0", "c:1", "c:2"}) {
        int n = 0;
        for (const dcb::sequenced_event &e : store.read_all(dcb::tagged(counter)).events) {
            CHECK(e.data == std::to_string(n++));
        }
        CHECK(n == 20);
    }
}
