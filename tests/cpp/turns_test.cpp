// The order of decisions that have lost to others.

#include "unit.hpp"

#include <dcb/decider.hpp>

#include <algorithm>
#include <chrono>
#include <stdexcept>
#include <string>
#include <thread>
#include <utility>
#include <vector>

using namespace std::chrono_literals;
using dcb::detail::guard_queries;
using dcb::detail::turns;

namespace {

/// Counts the events of a tag, and adds one.
dcb::decider<int, std::string> counter() {
    dcb::decider<int, std::string> counts;
    counts.query = [](const std::string &tag) { return dcb::query(dcb::tagged(tag)); };
    counts.evolve = [](int n, const dcb::event_view &) { return n + 1; };
    counts.decide = [](const int &n, const std::string &tag) {
        // So that the others have read, too, before it appends.
        std::this_thread::sleep_for(500us);
        return std::vector<dcb::event>{
            dcb::event("Counted", {dcb::tag::parse(tag)}, std::to_string(n))};
    };
    return counts;
}

} // namespace

TEST_CASE("the oldest loser goes next, and those that it affects wait") {
    const dcb::query c1 = dcb::tagged("c:1");
    const dcb::query c2 = dcb::tagged("c:2");
    const dcb::query c3 = dcb::tagged("c:3");
    const dcb::query s1 = dcb::tagged("s:1");
    const auto about = [](const dcb::query &q) { return guard_queries{&q, nullptr}; };
    const auto events = [](std::vector<dcb::tag> tags) {
        return std::vector<dcb::event>{dcb::event("A", std::move(tags))};
    };
    turns queue;
    CHECK_FALSE(queue.visit(about(c1)));
    {
        auto first = queue.enter(about(c1), events({{"c", "1"}, {"s", "1"}}));
        auto second = queue.enter(about(c1), events({{"c", "1"}, {"s", "2"}}));
        auto other = queue.enter(about(c2), events({{"c", "2"}, {"s", "1"}}));
        // What the first and the other one append concerns it.
        auto student = queue.enter(about(s1), events({{"s", "1"}}));
        auto visitor = queue.visit(guard_queries{&c3, &c2});
        CHECK_FALSE(queue.visit(about(c3)));
        const auto are_next = [&] {
            return std::vector<bool>{first.is_next(), second.is_next(), other.is_next(),
                                     student.is_next(), visitor.is_next()};
        };
        CHECK(are_next() == std::vector<bool>{true, false, true, false, false});
        first = turns::turn();
        CHECK(are_next() == std::vector<bool>{true, true, true, false, false});
        other = turns::turn();
        CHECK(are_next() == std::vector<bool>{true, true, true, true, true});
    }
    CHECK_FALSE(queue.visit(about(c1)));

    const auto blocker = queue.enter(about(c1), events({{"c", "1"}}));
    const auto waits = queue.visit(about(c1));
    const auto never = turns::clock::now() + 1h;
    const auto cancel = [] { throw std::runtime_error("cancelled"); };
    CHECK_THROWS_WITH_AS(waits.wait(never, cancel), "cancelled", std::runtime_error);
    // One that does not finish is waited for no longer than this, and than the time that is left.
    waits.wait(never, [] {});
    waits.wait(turns::clock::now(), [] { FAIL_CHECK("there is no time to wait"); });
    CHECK_FALSE(waits.is_next());
}

TEST_CASE("a turn may be given up before those that it waits for") {
    const dcb::query c1 = dcb::tagged("c:1");
    const guard_queries guards{&c1, nullptr};
    const std::vector<dcb::event> events{dcb::event("A", {"c:1"})};
    turns queue;
    auto first = queue.enter(guards, events);
    auto second = queue.enter(guards, events);
    const auto third = queue.enter(guards, events);
    second = turns::turn();
    CHECK_FALSE(third.is_next());
    first = turns::turn();
    CHECK(third.is_next());
}

TEST_CASE("of threads that decide about one entity, none loses again and again") {
    constexpr int threads = 16;
    constexpr int times = 10;
    dcb::store store = unit::fresh_store();
    const dcb::command_handler handler(store, counter());
    std::vector<int> most(threads, 0); // attempts for one decision
    std::vector<std::thread> running;
    for (int &own : most) {
        running.emplace_back([&] {
            for (int time = 0; time < times; ++time) {
                own = std::max(own, handler.handle("c:1").attempts);
            }
        });
    }
    for (std::thread &thread : running) {
        thread.join();
    }
    CHECK(store.head() == threads * times);
    int n = 0;
    for (const dcb::event_view &e : store.read(dcb::tagged("c:1"))) {
        CHECK(e.data() == std::to_string(n++));
    }
    // It is 3. Without the queue, it was from 10 to 29.
    CHECK(*std::max_element(most.begin(), most.end()) < 8);
}
