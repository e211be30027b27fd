/* Cursors: batches, positions, snapshots, and how long their events live. */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

static void events_have_all_their_parts(void) {
    dcb_store *store = fresh_store();
    int64_t now_us = (int64_t)time(NULL) * 1000000;
    append(store,
           "{'events': [{'type': 'Bare'},"
           " {'type': 'Tagged', 'tags': ['a:1', 'b', 'a:1', 'c:\\u00e9'], 'data': [1,  2]}]}");
    append(store, "{'events': [{'type': 'Full', 'tags': ['x:y'], 'data': 'd', 'id': 'the id',"
                  " 'metadata': {}}]}");
    dcb_cursor *cursor = open_cursor(store, "{}");
    const dcb_event *events;
    CHECK_INT(next_batch(cursor, 10, &events), 3);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(events[i].position, i + 1);
        CHECK(events[i].timestamp_us >= now_us - 1000000);
        CHECK(events[i].timestamp_us <= now_us + 600 * 1000000LL);
    }
    CHECK_INT(events[0].timestamp_us, events[1].timestamp_us);
    CHECK(str_is(events[0].type, "Bare") && str_is(events[0].data, "null"));
    CHECK(str_is(events[0].metadata, NULL) && str_is(events[0].id, NULL));
    CHECK(events[0].tags == NULL && events[0].tags_len == 0);
    CHECK(str_is(events[1].type, "Tagged") && str_is(events[1].data, "[1,  2]"));
    CHECK_INT(events[1].tags_len, 3);
    CHECK(str_is(events[1].tags[0], "a:1") && str_is(events[1].tags[1], "b"));
    CHECK(str_is(events[1].tags[2], "c:\xc3\xa9"));
    CHECK(str_is(events[2].type, "Full") && str_is(events[2].data, "\"d\""));
    CHECK(str_is(events[2].metadata, "{}") && str_is(events[2].id, "the id"));
    CHECK_INT(events[2].tags_len, 1);
    CHECK(str_is(events[2].tags[0], "x:y"));
    CHECK_INT(next_batch(cursor, 10, &events), 0);
    dcb_cursor_close(cursor);
    dcb_close(store);
}

static void position_is_that_of_the_last_event_given_and_at_the_end_the_snapshot_s(void) {
    dcb_store *store = fresh_store();
    const dcb_event *events;
    append_many(store, 5);
    append(store, "{'events': [{'type': 'Other'}]}");
    dcb_cursor *cursor = open_cursor(store, "{'query': {'items': [{'types': ['T']}]}}");
    append_many(store, 3); /* not in the snapshot */
    CHECK_INT(dcb_cursor_position(cursor), 0);
    CHECK_INT(next_batch(cursor, 2, &events), 2);
    CHECK_INT(dcb_cursor_position(cursor), 2);
    /* Asking for the position ends no event's life. */
    CHECK(str_is(events[1].data, "2"));
    CHECK_INT(next_batch(cursor, 2, &events), 2);
    CHECK_INT(dcb_cursor_position(cursor), 4);
    CHECK_INT(next_batch(cursor, SIZE_MAX, &events), 1);
    CHECK_INT(events[0].position, 5);
    for (int i = 0; i < 3; i++) {
        CHECK_INT(next_batch(cursor, 1, &events), 0);
        CHECK_INT(dcb_cursor_position(cursor), 6);
    }
    dcb_cursor_close(cursor);
    dcb_close(store);
}

static void bounds_and_directions(void) {
    dcb_store *store = fresh_store();
    append_many(store, 9);
    const struct {
        const char *request;
        int first, last, at_start, at_end;
    } table[] = {
        {"{'after': 3}", 4, 9, 3, 9},
        {"{'after': 3, 'limit': 2}", 4, 5, 3, 5},
        {"{'after': 3, 'before': 6}", 4, 5, 3, 5},
        {"{'after': 3, 'limit': 0}", 0, 0, 3, 3},
        {"{'after': 20}", 0, 0, 20, 20},
        {"{'before': 1}", 0, 0, 0, 0},
        {"{'backwards': true}", 9, 1, 9, 9},
        {"{'backwards': true, 'before': 6, 'limit': 2}", 5, 4, 5, 5},
        {"{'backwards': true, 'after': 7}", 9, 8, 9, 9},
        {"{'backwards': true, 'limit': 0}", 0, 0, 0, 0},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        dcb_cursor *cursor = open_cursor(store, table[i].request);
        const dcb_event *events;
        int64_t first = 0, last = 0;
        CHECK_INT(dcb_cursor_position(cursor), table[i].at_start);
        while (next_batch(cursor, 1, &events) == 1) {
            first = first == 0 ? events[0].position : first;
            last = events[0].position;
        }
        CHECK_INT(first, table[i].first);
        CHECK_INT(last, table[i].last);
        CHECK_INT(dcb_cursor_position(cursor), table[i].at_end);
        dcb_cursor_close(cursor);
    }
    dcb_close(store);
}

static void an_empty_store_ends_at_once(void) {
    dcb_store *store = fresh_store();
    const dcb_event *events;
    dcb_cursor *cursor = open_cursor(store, "{}");
    append_many(store, 1);
    CHECK_INT(next_batch(cursor, 8, &events), 0);
    CHECK_INT(dcb_cursor_position(cursor), 0);
    dcb_cursor_close(cursor);
    dcb_close(store);
}

static void a_long_read_comes_whole_in_bounded_batches(void) {
    enum { EVENTS = 20000 };
    dcb_store *store = fresh_store();
    append_many(store, EVENTS);
    for (int backwards = 0; backwards < 2; backwards++) {
        dcb_cursor *cursor = open_cursor(store, backwards ? "{'backwards': true}" : "{}");
        const dcb_event *events;
        int64_t expected = backwards ? EVENTS : 1;
        size_t len, batches = 0;
        while ((len = next_batch(cursor, SIZE_MAX, &events)) > 0) {
            batches++;
            for (size_t i = 0; i < len; i++) {
                char text[16], tag[16];
                CHECK_INT(events[i].position, expected);
                snprintf(text, sizeof text, "%d", (int)expected);
                snprintf(tag, sizeof tag, "n:%d", (int)expected);
                CHECK(str_is(events[i].data, text) && str_is(events[i].tags[0], tag));
                expected += backwards ? -1 : 1;
            }
        }
        CHECK_INT(expected, backwards ? 0 : EVENTS + 1);
        CHECK(batches > 1);
        CHECK_INT(dcb_cursor_position(cursor), EVENTS);
        dcb_cursor_close(cursor);
    }
    dcb_close(store);
}

/* The batch of a cursor, which began at a position, is what was appended. */
static void check_batch(const dcb_event *events, size_t len, int64_t first) {
    for (size_t i = 0; i < len; i++) {
        char text[16], tag[16];
        CHECK_INT(events[i].position, first + (int64_t)i);
        snprintf(text, sizeof text, "%d", (int)events[i].position);
        snprintf(tag, sizeof tag, "n:%d", (int)events[i].position);
        CHECK(str_is(events[i].type, "T") && str_is(events[i].data, text));
        CHECK(events[i].tags_len == 1 && str_is(events[i].tags[0], tag));
    }
}

/* A scan of a file gives views of its pages, whose memory is used again. */
static void a_batch_stays_as_it_is_while_others_read(void) {
    enum { EVENTS = 8000 };
    char uri[MAX_URI];
    strcpy(uri, is_file_store() ? fresh_uri() : store_kind);
    dcb_store *store = open_store(uri);
    append_many(store, EVENTS);
    if (is_file_store()) {
        /* This moves the events from the WAL into the file. */
        dcb_close(store);
        store = open_store(uri);
    }
    dcb_cursor *slow = open_cursor(store, "{}");
    const dcb_event *kept, *events;
    size_t len, kept_len;
    int64_t first = 1;
    while ((kept_len = next_batch(slow, SIZE_MAX, &kept)) > 0) {
        for (int backwards = 0; backwards < 2; backwards++) {
            dcb_cursor *other = open_cursor(store, backwards ? "{'backwards': true}" : "{}");
            while ((len = next_batch(other, SIZE_MAX, &events)) > 0)
                CHECK(str_is(events[len - 1].type, "T"));
            dcb_cursor_close(other);
        }
        check_batch(kept, kept_len, first);
        first += (int64_t)kept_len;
    }
    CHECK_INT(first, EVENTS + 1);
    dcb_cursor_close(slow);
    slow = open_cursor(store, "{}");
    kept_len = next_batch(slow, 256, &kept);
    first = 1 + (int64_t)kept_len;
    kept_len = next_batch(slow, SIZE_MAX, &kept);
    dcb_close(store);
    check_batch(kept, kept_len, first);
    dcb_cursor_close(slow);
}

static void large_events_make_short_batches(void) {
    enum { EVENTS = 6, DATA = 700 * 1024 };
    dcb_store *store = fresh_store();
    char *text = malloc(6 * DATA + 64);
    CHECK(text != NULL);
    for (int i = 0; i < EVENTS; i++) {
        /* The third is larger than any batch is otherwise. */
        size_t data = i == 2 ? 6 * DATA : DATA;
        size_t len = (size_t)sprintf(text, "{'events': [{'type': 'A', 'data': '");
        memset(text + len, 'a' + i, data);
        strcpy(text + len + data, "'}]}");
        append(store, text);
    }
    free(text);
    dcb_cursor *cursor = open_cursor(store, "{}");
    const dcb_event *events;
    size_t len, given = 0;
    while ((len = next_batch(cursor, 100, &events)) > 0) {
        CHECK(len < EVENTS);
        for (size_t i = 0; i < len; i++, given++) {
            size_t data = given == 2 ? 6 * DATA : DATA;
            CHECK_INT(events[i].data.len, data + 2);
            CHECK_INT(events[i].data.data[1], 'a' + (int)given);
            CHECK_INT(events[i].data.data[data], 'a' + (int)given);
        }
    }
    CHECK_INT(given, EVENTS);
    dcb_cursor_close(cursor);
    dcb_close(store);
}

static void a_cancelled_cursor_goes_on(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    const dcb_event *events;
    size_t len;
    append_many(store, 6);
    dcb_cancel *cancel = dcb_cancel_new();
    dcb_call call = {sizeof call, -1, cancel};
    dcb_cancel_trigger(cancel);
    dcb_cursor *cursor = open_cursor(store, "{}");
    CHECK_INT(next_batch(cursor, 2, &events), 2);
    CHECK_STATUS(dcb_cursor_next(cursor, 2, &call, &events, &len, &err), DCB_CANCELLED);
    CHECK(events == NULL && len == 0);
    CHECK_INT(dcb_cursor_position(cursor), 2);
    CHECK_INT(next_batch(cursor, 2, &events), 2);
    CHECK_INT(events[0].position, 3);
    CHECK_STATUS(dcb_cursor_next(cursor, 2, &call, &events, &len, &err), DCB_CANCELLED);
    CHECK_INT(next_batch(cursor, 9, &events), 2);
    CHECK_INT(events[1].position, 6);
    CHECK_INT(next_batch(cursor, 9, &events), 0);
    dcb_cancel_free(cancel);
    dcb_cursor_close(cursor);
    dcb_close(store);
}

/* A cursor that is forgotten, at its start or in the middle, blocks nobody. */
static void open_cursors_block_nothing(void) {
    enum { CURSORS = 50 };
    dcb_store *store = fresh_store();
    dcb_cursor *cursors[CURSORS];
    const dcb_event *events;
    append_many(store, 3);
    for (int i = 0; i < CURSORS; i++) {
        cursors[i] = open_cursor(store, "{}");
        if (i % 2 == 0)
            CHECK_INT(next_batch(cursors[i], 1, &events), 1);
        append_many(store, 1);
    }
    CHECK_INT(head_of(store), 3 + CURSORS);
    for (int i = 0; i < CURSORS; i++) {
        size_t len, total = 0;
        while ((len = next_batch(cursors[i], 7, &events)) > 0)
            total += len;
        CHECK_INT(total, 3 + i - (i % 2 == 0));
        dcb_cursor_close(cursors[i]);
    }
    dcb_close(store);
}

/* The cursor over the event with an id, which is on the heap without a terminator. */
static dcb_cursor *find(dcb_store *store, const char *id) {
    dcb_error err;
    dcb_cursor *cursor;
    size_t len;
    char *bytes = request_bytes(id, &len);
    CHECK_STATUS(dcb_find(store, bytes, len, NULL, &cursor, &err), DCB_OK);
    free(bytes);
    return cursor;
}

static void an_event_is_found_by_its_id(void) {
    dcb_store *store = fresh_store();
    const dcb_event *events;
    append_many(store, 5);
    append(store, "{'events': [{'type': 'Full', 'tags': ['x:y', 'z'], 'data': 'd', 'id': 'the id',"
                  " 'metadata': {}}, {'type': 'Bare', 'id': 'other'}]}");
    append_many(store, 400);
    for (int turn = 0; turn < 2; turn++) {
        dcb_cursor *cursor = find(store, "the id");
        CHECK_INT(dcb_cursor_position(cursor), 0);
        CHECK_INT(next_batch(cursor, turn == 0 ? 1 : SIZE_MAX, &events), 1);
        CHECK_INT(events[0].position, 6);
        CHECK_INT(dcb_cursor_position(cursor), 6);
        CHECK(str_is(events[0].type, "Full") && str_is(events[0].data, "\"d\""));
        CHECK(str_is(events[0].metadata, "{}") && str_is(events[0].id, "the id"));
        CHECK_INT(events[0].tags_len, 2);
        CHECK(str_is(events[0].tags[0], "x:y") && str_is(events[0].tags[1], "z"));
        for (int i = 0; i < 2; i++) {
            CHECK_INT(next_batch(cursor, 1, &events), 0);
            CHECK(events == NULL);
            CHECK_INT(dcb_cursor_position(cursor), 6);
        }
        dcb_cursor_close(cursor);
    }
    dcb_cursor *cursor = find(store, "other");
    CHECK_INT(next_batch(cursor, 9, &events), 1);
    CHECK(events[0].position == 7 && str_is(events[0].type, "Bare") && events[0].tags == NULL);
    dcb_cursor_close(cursor);
    dcb_close(store);
}

static void an_id_that_no_event_has_is_an_empty_cursor(void) {
    dcb_store *store = fresh_store();
    const dcb_event *events;
    for (int turn = 0; turn < 2; turn++) {
        dcb_cursor *cursor = find(store, "T");
        for (int i = 0; i < 2; i++) {
            CHECK_INT(next_batch(cursor, 1, &events), 0);
            CHECK_INT(dcb_cursor_position(cursor), 0);
        }
        dcb_cursor_close(cursor);
        append_many(store, 3);
    }
    dcb_close(store);
}

static void a_look_up_checks_its_id_and_its_call(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    const dcb_event *events;
    size_t len;
    dcb_cursor *cursor;
    char longest[DCB_MAX_NAME_BYTES + 1];
    memset(longest, 'i', sizeof longest);
    CHECK_STATUS(dcb_find(store, longest, DCB_MAX_NAME_BYTES, NULL, &cursor, &err), DCB_OK);
    dcb_cursor_close(cursor);
    CHECK_STATUS(dcb_find(store, longest, sizeof longest, NULL, &cursor, &err), DCB_TOO_LARGE);
    CHECK(cursor == NULL);
    const struct {
        const char *id;
        size_t len;
    } wrong[] = {{"", 0}, {"a\0b", 3}, {"\xff", 1}, {"\xc3", 1}};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        CHECK_STATUS(dcb_find(store, wrong[i].id, wrong[i].len, NULL, &cursor, &err),
                     DCB_INVALID_ARGUMENT);
        CHECK(cursor == NULL && strncmp(err.message, "id: ", 4) == 0);
    }

    append(store, "{'events': [{'type': 'A', 'id': 'i'}]}");
    dcb_cancel *cancel = dcb_cancel_new();
    dcb_call call = {sizeof call, -1, cancel};
    CHECK_STATUS(dcb_find(store, "i", 1, &call, &cursor, &err), DCB_OK);
    dcb_cancel_trigger(cancel);
    CHECK_STATUS(dcb_cursor_next(cursor, 1, &call, &events, &len, &err), DCB_CANCELLED);
    dcb_cursor *none;
    CHECK_STATUS(dcb_find(store, "i", 1, &call, &none, &err), DCB_CANCELLED);
    CHECK(none == NULL);
    CHECK_INT(next_batch(cursor, 1, &events), 1);
    dcb_cancel_free(cancel);
    /* The cursor outlives its store, and what it has returned stays. */
    dcb_close(store);
    CHECK(str_is(events[0].id, "i"));
    CHECK_STATUS(dcb_cursor_next(cursor, 1, NULL, &events, &len, &err), DCB_CLOSED);
    dcb_cursor_close(cursor);
}

const test cursor_tests[] = {
    {"events_have_all_their_parts", events_have_all_their_parts},
    {"position_is_that_of_the_last_event_given_and_at_the_end_the_snapshot_s",
     position_is_that_of_the_last_event_given_and_at_the_end_the_snapshot_s},
    {"bounds_and_directions", bounds_and_directions},
    {"an_empty_store_ends_at_once", an_empty_store_ends_at_once},
    {"a_long_read_comes_whole_in_bounded_batches", a_long_read_comes_whole_in_bounded_batches},
    {"a_batch_stays_as_it_is_while_others_read", a_batch_stays_as_it_is_while_others_read},
    {"large_events_make_short_batches", large_events_make_short_batches},
    {"a_cancelled_cursor_goes_on", a_cancelled_cursor_goes_on},
    {"open_cursors_block_nothing", open_cursors_block_nothing},
    {"an_event_is_found_by_its_id", an_event_is_found_by_its_id},
    {"an_id_that_no_event_has_is_an_empty_cursor", an_id_that_no_event_has_is_an_empty_cursor},
    {"a_look_up_checks_its_id_and_its_call", a_look_up_checks_its_id_and_its_call},
    {NULL, NULL},
};
