// Cursors: iteration, batches, and the position.

#include "check.hpp"

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
    dcb::store store = check::fresh_store();
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

TEST(a_cursor_is_a_range) {
    const dcb::store store = with_events(10);
    std::int64_t expected = 0;
    for (const dcb::event_view &e : store.read(dcb::query::all())) {
        CHECK_EQUAL(e.position(), ++expected);
    }
    CHECK_EQUAL(expected, 10);
    for (std::size_t size : {1u, 2u, 3u, 9u, 10u, 11u}) {
        CHECK_EQUAL(positions(store.read(dcb::query::all(), batches_of(size))).size(), 10u);
    }
    CHECK(positions(store.read(dcb::of_type("None"))).empty());
    CHECK_THROWS(invalid_argument, positions(store.read(dcb::query::all(), batches_of(0))));
}

TEST(a_read_has_bounds_a_limit_and_a_direction) {
    const dcb::store store = with_events(10);
    dcb::read_options options;
    options.after = 2;
    options.before = 9;
    CHECK((positions(store.read(dcb::of_type("Even"), options)) ==
           std::vector<std::int64_t>{3, 5, 7}));
    options.limit = 2;
    options.backwards = true;
    CHECK(
        (positions(store.read(dcb::of_type("Even"), options)) == std::vector<std::int64_t>{7, 5}));
    options.limit = -1;
    CHECK_THROWS(invalid_argument, store.read(dcb::query::all(), options));
}

TEST(the_position_of_a_cursor_is_that_of_its_event) {
    const dcb::store store = with_events(10);
    for (std::size_t size : {1u, 3u, 100u}) {
        dcb::cursor cursor = store.read(dcb::of_type("Even"), batches_of(size));
        CHECK_EQUAL(cursor.position(), 0);
        for (const dcb::event_view &e : cursor) {
            CHECK_EQUAL(cursor.position(), e.position());
        }
        CHECK_EQUAL(cursor.position(), 10);
    }
    dcb::read_options backwards;
    backwards.backwards = true;
    dcb::cursor cursor = store.read(dcb::of_type("Even"), backwards);
    for (const dcb::event_view &e : cursor) {
        CHECK(e.position() < 10);
        CHECK_EQUAL(cursor.position(), 10);
    }
}

TEST(a_second_loop_continues_the_first) {
    const dcb::store store = with_events(5);
    dcb::cursor cursor = store.read(dcb::query::all(), batches_of(2));
    std::vector<std::int64_t> seen;
    for (const dcb::event_view &e : cursor) {
        seen.push_back(e.position());
        if (e.position() == 3) {
            break;
        }
    }
    CHECK_EQUAL(cursor.position(), 3);
    dcb::cursor moved = std::move(cursor);
    for (const dcb::event_view &e : moved) {
        seen.push_back(e.position());
    }
    CHECK((seen == std::vector<std::int64_t>{1, 2, 3, 4, 5}));
    CHECK(moved.begin() == moved.end());
    CHECK_THROWS(invalid_argument, cursor.begin());
    CHECK_THROWS(invalid_argument, cursor.next(1));
    cursor = store.read(dcb::query::all(), batches_of(2));
    CHECK_EQUAL(cursor.begin()->position(), 1);
}

TEST(next_returns_a_batch) {
    const dcb::store store = with_events(5);
    dcb::cursor cursor = store.read(dcb::query::all());
    const dcb::event_batch first = cursor.next(2);
    CHECK_EQUAL(first.size(), 2u);
    CHECK_EQUAL(first[1].position(), 2);
    CHECK_EQUAL(cursor.position(), 2);
    CHECK_EQUAL(cursor.next(100).size(), 3u);
    CHECK(cursor.next(100).empty());
    CHECK_EQUAL(cursor.position(), 5);
    CHECK_THROWS(invalid_argument, cursor.next(0));
}

TEST(a_cursor_reads_a_snapshot) {
    dcb::store store = with_events(3);
    dcb::cursor cursor = store.read(dcb::query::all(), batches_of(1));
    store.append(dcb::event("Later"));
    CHECK_EQUAL(positions(std::move(cursor)).size(), 3u);
}

TEST(a_cancelled_read_can_continue) {
    const dcb::store store = with_events(3);
    const dcb::cancel stop;
    dcb::cursor cursor = store.read(dcb::query::all());
    CHECK_EQUAL(cursor.next(1).size(), 1u);
    stop.trigger();
    CHECK_THROWS(cancelled, cursor.next(1, {{}, &stop}));
    CHECK_EQUAL(cursor.position(), 1);
    CHECK_EQUAL(cursor.next(1)[0].position(), 2);
}

TEST(a_cursor_outlives_its_store) {
    std::optional<dcb::store> store(with_events(3));
    dcb::cursor cursor = store->read(dcb::query::all(), batches_of(1));
    CHECK_EQUAL((*cursor.begin()).position(), 1);
    store.reset();
    CHECK_THROWS(closed, cursor.begin());
}
