/* Every limit of a request: what is at it passes, what is one beyond is too large. */
#include "check.h"

#include <stdlib.h>

#define TOO_SLOW "too slow with instrumentation"

/* A request under construction; ' stands for ". */
typedef struct {
    char *text;
    size_t len, room;
} builder;

static void add(builder *request, const char *text, size_t count) {
    size_t len = strlen(text), needed = request->len + len * count + 1;
    if (needed > request->room) {
        request->room = needed * 2;
        request->text = realloc(request->text, request->room);
        CHECK(request->text != NULL);
    }
    for (size_t i = 0; i < count; i++, request->len += len)
        memcpy(request->text + request->len, text, len);
    request->text[request->len] = '\0';
}

/* `head`, `count` times `part` with commas between, `tail`. */
static builder repeated(const char *head, const char *part, size_t count, const char *tail) {
    builder request = {0};
    char with_comma[600];
    snprintf(with_comma, sizeof with_comma, "%s,", part);
    add(&request, head, 1);
    if (count > 0) {
        add(&request, with_comma, count - 1);
        add(&request, part, 1);
    }
    add(&request, tail, 1);
    return request;
}

/* `head`, `count` times `filling` without anything between, `tail`. */
static builder filled(const char *head, const char *filling, size_t count, const char *tail) {
    builder request = {0};
    add(&request, head, 1);
    add(&request, filling, count);
    add(&request, tail, 1);
    return request;
}

/* Appends and frees the request. What is too large names the limit, and nothing is stored. */
static void expect_append(dcb_store *store, builder request, dcb_status expected) {
    dcb_error err;
    int64_t last, before = head_of(store);
    CHECK_STATUS(try_append(store, request.text, NULL, &last, &err), expected);
    if (expected == DCB_OK)
        CHECK(last > before);
    else
        CHECK(last == 0 && head_of(store) == before);
    free(request.text);
}

static void expect_read(dcb_store *store, builder request, dcb_status expected) {
    dcb_error err;
    dcb_buf result;
    CHECK_STATUS(try_read(store, request.text, &result, &err), expected);
    CHECK((result.data != NULL) == (expected == DCB_OK));
    dcb_buf_free(&result);
    free(request.text);
}

/* "n" names of 255 and 256 bytes, the last of two-byte characters. */
static void names(void) {
    dcb_store *store = fresh_store();
    const char *heads[] = {"{'events': [{'type': '", "{'events': [{'type': 'T', 'tags': ['",
                           "{'events': [{'type': 'T', 'id': '"};
    const char *tails[] = {"'}]}", "']}]}", "'}]}"};
    for (int i = 0; i < 3; i++) {
        expect_append(store, filled(heads[i], "n", DCB_MAX_NAME_BYTES, tails[i]), DCB_OK);
        expect_append(store, filled(heads[i], "n", DCB_MAX_NAME_BYTES + 1, tails[i]),
                      DCB_TOO_LARGE);
        expect_append(store, filled(heads[i], "\xc3\xa9", 127, tails[i]), DCB_OK);
        expect_append(store, filled(heads[i], "\xc3\xa9", 128, tails[i]), DCB_TOO_LARGE);
    }
    expect_read(store,
                filled("{'query': {'items': [{'tags': ['", "n", DCB_MAX_NAME_BYTES, "']}]}}"),
                DCB_OK);
    expect_read(store,
                filled("{'query': {'items': [{'types': ['", "n", DCB_MAX_NAME_BYTES + 1, "']}]}}"),
                DCB_TOO_LARGE);
    dcb_close(store);
}

static void events_in_an_append(void) {
    if (is_instrumented())
        SKIP(TOO_SLOW);
    dcb_store *store = fresh_store();
    const char *event = "{'type':'T'}";
    expect_append(store, repeated("{'events':[", event, DCB_MAX_EVENTS_PER_APPEND, "]}"), DCB_OK);
    expect_append(store, repeated("{'events':[", event, DCB_MAX_EVENTS_PER_APPEND + 1, "]}"),
                  DCB_TOO_LARGE);
    CHECK_INT(head_of(store), DCB_MAX_EVENTS_PER_APPEND);
    dcb_close(store);
}

/* Repeated tags count as given. */
static void tags_on_an_event(void) {
    dcb_store *store = fresh_store();
    const char *head = "{'events': [{'type': 'T', 'tags': [";
    expect_append(store, repeated(head, "'k:v'", DCB_MAX_TAGS_PER_EVENT, "]}]}"), DCB_OK);
    expect_append(store, repeated(head, "'k:v'", DCB_MAX_TAGS_PER_EVENT + 1, "]}]}"),
                  DCB_TOO_LARGE);
    builder request = {0};
    add(&request, head, 1);
    for (int i = 0; i < DCB_MAX_TAGS_PER_EVENT; i++) {
        char tag[32];
        snprintf(tag, sizeof tag, "%s't:%d'", i > 0 ? "," : "", i);
        add(&request, tag, 1);
    }
    add(&request, "]}]}", 1);
    expect_append(store, request, DCB_OK);
    dcb_cursor *cursor = open_cursor(store, "{'after': 1}");
    const dcb_event *events;
    CHECK_INT(next_batch(cursor, 1, &events), 1);
    CHECK_INT(events[0].tags_len, DCB_MAX_TAGS_PER_EVENT);
    CHECK(str_is(events[0].tags[255], "t:255"));
    dcb_cursor_close(cursor);
    dcb_close(store);
}

static void items_in_a_query(void) {
    dcb_store *store = fresh_store();
    const char *head = "{'query': {'items': [", *item = "{'tags':['k:v']}";
    expect_read(store, repeated(head, item, DCB_MAX_ITEMS_PER_QUERY, "]}}"), DCB_OK);
    expect_read(store, repeated(head, item, DCB_MAX_ITEMS_PER_QUERY + 1, "]}}"), DCB_TOO_LARGE);
    head = "{'events': [{'type': 'T'}], 'condition': {'failIfEventsMatch': {'items': [";
    expect_append(store, repeated(head, item, DCB_MAX_ITEMS_PER_QUERY, "]}}}"), DCB_OK);
    expect_append(store, repeated(head, item, DCB_MAX_ITEMS_PER_QUERY + 1, "]}}}"), DCB_TOO_LARGE);
    dcb_close(store);
}

static void types_and_tags_in_a_query(void) {
    dcb_store *store = fresh_store();
    const char *head = "{'query': {'items': [{'types': ['T']}, {'tags': [";
    expect_read(store, repeated(head, "'k:v'", DCB_MAX_NAMES_PER_QUERY - 1, "]}]}}"), DCB_OK);
    expect_read(store, repeated(head, "'k:v'", DCB_MAX_NAMES_PER_QUERY, "]}]}}"), DCB_TOO_LARGE);
    dcb_close(store);
}

static void conditions_in_an_append(void) {
    dcb_store *store = fresh_store();
    const char *head = "{'events': [{'type': 'T'}], 'condition': [";
    const char *condition = "{'failIfEventsMatch': {'items': [{'types': ['other']}]}}";
    expect_append(store, repeated(head, condition, DCB_MAX_CONDITIONS_PER_APPEND, "]}"), DCB_OK);
    expect_append(store, repeated(head, condition, DCB_MAX_CONDITIONS_PER_APPEND + 1, "]}"),
                  DCB_TOO_LARGE);
    dcb_close(store);
}

/* The quotes or braces count. */
static void bytes_of_data_and_metadata(void) {
    if (is_instrumented())
        SKIP(TOO_SLOW);
    dcb_store *store = fresh_store();
    const char *data = "{'events': [{'type': 'T', 'data': '", *data_tail = "'}]}";
    expect_append(store, filled(data, "d", DCB_MAX_DATA_BYTES - 2, data_tail), DCB_OK);
    expect_append(store, filled(data, "d", DCB_MAX_DATA_BYTES - 1, data_tail), DCB_TOO_LARGE);
    dcb_cursor *cursor = open_cursor(store, "{}");
    const dcb_event *events;
    CHECK_INT(next_batch(cursor, 9, &events), 1);
    CHECK_INT(events[0].data.len, DCB_MAX_DATA_BYTES);
    dcb_cursor_close(cursor);
    const char *metadata = "{'events': [{'type': 'T', 'metadata': {'m': '",
               *metadata_tail = "'}}]}";
    expect_append(store, filled(metadata, "m", DCB_MAX_DATA_BYTES - 9, metadata_tail), DCB_OK);
    expect_append(store, filled(metadata, "m", DCB_MAX_DATA_BYTES - 8, metadata_tail),
                  DCB_TOO_LARGE);
    dcb_close(store);
}

/* White space makes a request long without making it large in any other way. */
static void bytes_of_a_request(void) {
    if (is_instrumented())
        SKIP(TOO_SLOW);
    dcb_store *store = fresh_store();
    size_t len = DCB_MAX_REQUEST_BYTES;
    char *request = malloc(len + 1);
    CHECK(request != NULL);
    memset(request, ' ', len + 1);
    request[0] = '{';
    request[len - 1] = '}';
    dcb_buf result;
    dcb_error err;
    CHECK_STATUS(dcb_read(store, request, len, NULL, &result, &err), DCB_OK);
    dcb_buf_free(&result);
    CHECK_STATUS(dcb_read(store, request, len + 1, NULL, &result, &err), DCB_TOO_LARGE);
    free(request);
    dcb_close(store);
}

/* Data is inside three: the request, its list of events, the event. */
static void depth(void) {
    dcb_store *store = fresh_store();
    const char *opening[] = {"[", "{'a':"}, *closing[] = {"]", "}"};
    for (int i = 0; i < 2; i++) {
        for (size_t levels = DCB_MAX_JSON_DEPTH - 3; levels <= DCB_MAX_JSON_DEPTH - 2; levels++) {
            builder request = filled("{'events': [{'type': 'T', 'data': ", opening[i], levels, "1");
            add(&request, closing[i], levels);
            add(&request, "}]}", 1);
            expect_append(store, request,
                          levels <= DCB_MAX_JSON_DEPTH - 3 ? DCB_OK : DCB_TOO_LARGE);
        }
    }
    /* Far beyond, where recursion would end the process. */
    size_t far = is_instrumented() ? 100000 : 5000000;
    expect_append(store, filled("{'events': [{'type': 'T', 'data': ", "[", far, "}]}"),
                  DCB_TOO_LARGE);
    expect_read(store, filled("", "[", far, ""), DCB_TOO_LARGE);
    dcb_close(store);
}

const test limit_tests[] = {
    {"limit: names", names},
    {"limit: events_in_an_append", events_in_an_append},
    {"limit: tags_on_an_event", tags_on_an_event},
    {"limit: items_in_a_query", items_in_a_query},
    {"limit: types_and_tags_in_a_query", types_and_tags_in_a_query},
    {"limit: conditions_in_an_append", conditions_in_an_append},
    {"limit: bytes_of_data_and_metadata", bytes_of_data_and_metadata},
    {"limit: bytes_of_a_request", bytes_of_a_request},
    {"limit: depth", depth},
    {NULL, NULL},
};
