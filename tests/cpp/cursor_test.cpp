// Cursors: iteration, batches, and the position.

#include "unit.hpp"

#include <dcb/store.hpp>

#include <optional>
#include <vector>

#if __cplusplus >= 202002L
#include <ranges>
static_assert(std::ranges::input_range<dcb::cursor>);
static_assert(std::ranges::range<dcb::tag_views>);
#endif

namespace {

dcb::store with_events(int count) {
    dcb::store store = unit::fresh_store();
    std::vector<dcb::event> events;
    for (int i = 0; i < count; ++i) {
        events.emplace_back(i % 2 == 0 ? "Even" : "Odd");
    }
    store.append(events);
    return store;
}

dcb::read_options batches_of(std::size_t size) {
    dcb::read_options options;
    options.batch_size = size;
    return options;
}

std::vector<std::int64_t> positions(dcb::cursor &&cursor) {
    std::vector<std::int64_t> seen;
    for (const dcb::event_view &e : cursor) {
        seen.push_back(e.position());
    }
    return seen;
}

} // namespace

TEST_CASE("a cursor is a range") {
    const dcb::store store = with_events(10);
    std::int64_t expected = 0;
    for (const dcb::event_view &e : store.read(dcb::query::all())) {
        CHECK(e.position() == ++expected);
    }
    CHECK(expected == 10);
    for (std::size_t size : {1u, 2u, 3u, 9u, 10u, 11u}) {
        CAPTURE(size);
        CHECK(positions(store.read(dcb::query::all(), batches_of(size))).size() == 10u);
    }
    CHECK(positions(store.read(dcb::of_type("None"))).empty());
    CHECK_FAILS(invalid_argument, positions(store.read(dcb::query::all(), batches_of(0))));
}

TEST_CASE("a read has bounds, a limit and a direction") {
    const dcb::store store = with_events(10);
    dcb::read_options options;
    options.after = 2;
    options.before = 9;
    CHECK(positions(store.read(dcb::of_type("Even"), options)) ==
          std::vector<std::int64_t>{3, 5, 7});
    options.limit = 2;
    options.backwards = true;
    CHECK(
        (positions(store.read(dcb::of_type("Even"), options)) == std::vector<std::int64_t>{7, 5}));
    options.limit = -1;
    CHECK_FAILS(invalid_argument, store.read(dcb::query::all(), options));
}

TEST_CASE("the position of a cursor is that of its event") {
    const dcb::store store = with_events(10);
    for (std::size_t size : {1u, 3u, 100u}) {
        CAPTURE(size);
        dcb::cursor cursor = store.read(dcb::of_type("Even"), batches_of(size));
        CHECK(cursor.position() == 0);
        for (const dcb::event_view &e : cursor) {
            CHECK(cursor.position() == e.position());
        }
        CHECK(cursor.position() == 10);
    }
    dcb::read_options backwards;
    backwards.backwards = true;
    dcb::cursor cursor = store.read(dcb::of_type("Even"), backwards);
    for (const dcb::event_view &e : cursor) {
        CHECK(e.position() < 10);
        CHECK(cursor.position() == 10);
    }
}

TEST_CASE("a second loop continues the first") {
    const dcb::store store = with_events(5);
    dcb::cursor cursor = store.read(dcb::query::all(), batches_of(2));
    std::vector<std::int64_t> seen;
    for (const dcb::event_view &e : cursor) {
        seen.push_back(e.position());
        if (e.position() == 3) {
            break;
        }
    }
    CHECK(cursor.position() == 3);
    dcb::cursor moved = std::move(cursor);
    for (const dcb::event_view &e : moved) {
        seen.push_back(e.position());
    }
    CHECK(seen == std::vector<std::int64_t>{1, 2, 3, 4, 5});
    CHECK(moved.begin() == moved.end());
    CHECK_FAILS(invalid_argument, cursor.begin());
    CHECK_FAILS(invalid_argument, cursor.next(1));
    cursor = store.read(dcb::query::all(), batches_of(2));
    CHECK(cursor.begin()->position() == 1);
}

TEST_CASE("next returns a batch") {
    const dcb::store store = with_events(5);
    dcb::cursor cursor = store.read(dcb::query::all());
    const dcb::event_batch first = cursor.next(2);
    CHECK(first.size() == 2u);
    CHECK(first[1].position() == 2);
    CHECK(cursor.position() == 2);
    CHECK(cursor.next(100).size() == 3u);
    CHECK(cursor.next(100).empty());
    CHECK(cursor.position() == 5);
    CHECK_FAILS(invalid_argument, cursor.next(0));
}

TEST_CASE("a cursor reads a snapshot") {
    dcb::store store = with_events(3);
    dcb::cursor cursor = store.read(dcb::query::all(), batches_of(1));
    store.append(dcb::event("Later"));
    CHECK(positions(std::move(cursor)).size() == 3u);
}

TEST_CASE("a cancelled read can continue") {
    const dcb::store store = with_events(3);
    const dcb::cancel stop;
    dcb::cursor cursor = store.read(dcb::query::all());
    CHECK(cursor.next(1).size() == 1u);
    stop.trigger();
    CHECK_FAILS(cancelled, cursor.next(1, {{}, &stop}));
    CHECK(cursor.position() == 1);
    CHECK(cursor.next(1)[0].position() == 2);
}

TEST_CASE("a cursor outlives its store") {
    std::optional<dcb::store> store(with_events(3));
    dcb::cursor cursor = store->read(dcb::query::all(), batches_of(1));
    CHECK((*cursor.begin()).position() == 1);
    store.reset();
    CHECK_FAILS(closed, cursor.begin());
}
