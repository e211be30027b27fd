/* Structs, constants and versions: what a binding in another language has built on. */
#include "check.h"

#include <dcb_host.h>

#include <stddef.h>
#include <stdio.h>

_Static_assert(sizeof(dcb_status) == 4, "dcb_status");
_Static_assert(sizeof(dcb_error) == 256, "dcb_error is frozen");
_Static_assert(offsetof(dcb_error, status) == 0, "dcb_error");
_Static_assert(offsetof(dcb_error, detail) == 4, "dcb_error");
_Static_assert(offsetof(dcb_error, position) == 8, "dcb_error");
_Static_assert(offsetof(dcb_error, message) == 16, "dcb_error");

#if UINTPTR_MAX == UINT64_MAX
_Static_assert(sizeof(dcb_str) == 16, "dcb_str");
_Static_assert(offsetof(dcb_str, len) == 8, "dcb_str");
_Static_assert(sizeof(dcb_buf) == 24, "dcb_buf");
_Static_assert(offsetof(dcb_buf, len) == 8, "dcb_buf");
_Static_assert(offsetof(dcb_buf, cap) == 16, "dcb_buf");
_Static_assert(sizeof(dcb_call) == 24, "dcb_call of version 0");
_Static_assert(offsetof(dcb_call, timeout_ms) == 8, "dcb_call");
_Static_assert(offsetof(dcb_call, cancel) == 16, "dcb_call");
_Static_assert(sizeof(dcb_event) == 96, "dcb_event is frozen");
_Static_assert(offsetof(dcb_event, timestamp_us) == 8, "dcb_event");
_Static_assert(offsetof(dcb_event, type) == 16, "dcb_event");
_Static_assert(offsetof(dcb_event, data) == 32, "dcb_event");
_Static_assert(offsetof(dcb_event, metadata) == 48, "dcb_event");
_Static_assert(offsetof(dcb_event, id) == 64, "dcb_event");
_Static_assert(offsetof(dcb_event, tags) == 80, "dcb_event");
_Static_assert(offsetof(dcb_event, tags_len) == 88, "dcb_event");
_Static_assert(sizeof(dcb_value) == 32, "dcb_value");
_Static_assert(offsetof(dcb_value, integer) == 8, "dcb_value");
_Static_assert(offsetof(dcb_value, bytes) == 16, "dcb_value");
_Static_assert(sizeof(dcb_reply) == 272, "dcb_reply");
_Static_assert(offsetof(dcb_reply, changes) == 16, "dcb_reply");
_Static_assert(offsetof(dcb_reply, is_more) == 24, "dcb_reply");
_Static_assert(offsetof(dcb_reply, message) == 28, "dcb_reply");
_Static_assert(sizeof(dcb_host) == 64, "dcb_host of version 0");
_Static_assert(offsetof(dcb_host, acquire) == 16, "dcb_host");
_Static_assert(offsetof(dcb_host, release) == 56, "dcb_host");
#endif

static void statuses_have_their_names(void) {
    const struct {
        dcb_status status;
        int number;
        const char *name;
    } table[] = {
        {DCB_OK, 0, "ok"},
        {DCB_CONDITION_FAILED, 1, "condition_failed"},
        {DCB_DUPLICATE_ID, 2, "duplicate_id"},
        {DCB_INVALID_ARGUMENT, 3, "invalid_argument"},
        {DCB_TOO_LARGE, 4, "too_large"},
        {DCB_BUSY, 5, "busy"},
        {DCB_TIMEOUT, 6, "timeout"},
        {DCB_CANCELLED, 7, "cancelled"},
        {DCB_READ_ONLY, 8, "read_only"},
        {DCB_FULL, 9, "full"},
        {DCB_IO, 10, "io"},
        {DCB_CORRUPT, 11, "corrupt"},
        {DCB_UNSUPPORTED_FORMAT, 12, "unsupported_format"},
        {DCB_CLOSED, 13, "closed"},
        {DCB_UNAVAILABLE, 14, "unavailable"},
        {DCB_INTERNAL, 15, "internal"},
        {DCB_NO_MEMORY, 16, "no_memory"},
    };
    for (size_t i = 0; i < sizeof table / sizeof *table; i++) {
        CHECK_INT(table[i].status, table[i].number);
        CHECK(strcmp(dcb_status_name(table[i].status), table[i].name) == 0);
    }
    const dcb_status unknown[] = {-1, 17, INT32_MAX, INT32_MIN};
    for (size_t i = 0; i < sizeof unknown / sizeof *unknown; i++)
        CHECK(strcmp(dcb_status_name(unknown[i]), "unknown") == 0);
}

static void versions_agree(void) {
    char version[32];
    snprintf(version, sizeof version, "%d.%d.%d", DCB_VERSION_MAJOR, DCB_VERSION_MINOR,
             DCB_VERSION_PATCH);
    CHECK(strcmp(version, DCB_VERSION) == 0);
    CHECK(strcmp(dcb_version(), DCB_VERSION) == 0);
    CHECK_INT(dcb_abi_version(), DCB_ABI_VERSION);
}

const test layout_tests[] = {
    {"statuses_have_their_names", statuses_have_their_names},
    {"versions_agree", versions_agree},
    {NULL, NULL},
};
