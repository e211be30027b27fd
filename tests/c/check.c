#include "check.h"

#include <limits.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>

const char *store_kind = "memory:", *program;
static const char *folder;

void fail(const char *file, int line, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    fprintf(stderr, "%s:%d: ", file, line);
    vfprintf(stderr, format, arguments);
    fputc('\n', stderr);
    va_end(arguments);
    _exit(1);
}

bool is_instrumented(void) {
#ifdef __SANITIZE_ADDRESS__
    return true;
#else
    const char *preload = getenv("LD_PRELOAD");
    return preload != NULL && strstr(preload, "vgpreload") != NULL;
#endif
}

pid_t begin_child(void) {
    fflush(NULL);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0)
        alarm(120);
    return child;
}

void leave_child(void) {
    /* What its parent's other threads held is lost to a child, and valgrind would report it. The
     * program that takes its place has nothing to lose. */
    if (is_instrumented())
        execl("/bin/true", "true", (char *)NULL);
    _exit(0);
}

void end_child(pid_t child) {
    int status;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    CHECK_INT(WEXITSTATUS(status), 0);
}

bool is_file_store(void) {
    return strcmp(store_kind, "sqlite:") == 0;
}

const char *make_folder(const char *name) {
    static char made[PATH_MAX];
    char wanted[PATH_MAX];
    const char *parent = getenv("TMPDIR");
    if (parent == NULL || parent[0] == '\0')
        parent = "/tmp";
    snprintf(wanted, sizeof wanted, "%s/%s-XXXXXX", parent, name);
    CHECK(mkdtemp(wanted) != NULL);
    /* As the system names it: links are followed. */
    CHECK(realpath(wanted, made) != NULL);
    CHECK(strlen(made) < MAX_FOLDER);
    return made;
}

static void remove_folder(void) {
    char command[MAX_PATH + 16];
    snprintf(command, sizeof command, "rm -rf '%s'", folder);
    CHECK_INT(system(command), 0);
}

const char *fresh_path(void) {
    static char path[MAX_PATH];
    static int paths;
    if (folder == NULL) {
        folder = make_folder("dcb-c");
        atexit(remove_folder);
    }
    snprintf(path, sizeof path, "%s/%d.db", folder, ++paths);
    return path;
}

const char *fresh_uri(void) {
    static char uri[MAX_URI];
    snprintf(uri, sizeof uri, "%s%s", store_kind, is_file_store() ? fresh_path() : "");
    return uri;
}

dcb_store *open_store(const char *uri) {
    dcb_store *store;
    dcb_error err;
    CHECK_STATUS(dcb_open(uri, NULL, &store, &err), DCB_OK);
    CHECK(store != NULL);
    return store;
}

dcb_store *fresh_store(void) {
    return open_store(fresh_uri());
}

char *request_bytes(const char *text, size_t *len) {
    *len = strlen(text);
    char *bytes = malloc(*len > 0 ? *len : 1);
    CHECK(bytes != NULL);
    for (size_t i = 0; i < *len; i++)
        bytes[i] = text[i] == '\'' ? '"' : text[i];
    return bytes;
}

dcb_status try_append(dcb_store *store, const char *text, const dcb_call *call, int64_t *last,
                      dcb_error *err) {
    size_t len;
    char *request = request_bytes(text, &len);
    dcb_status status = dcb_append(store, request, len, call, last, err);
    memset(request, 'x', len);
    free(request);
    return status;
}

int64_t append(dcb_store *store, const char *text) {
    int64_t last;
    dcb_error err;
    CHECK_STATUS(try_append(store, text, NULL, &last, &err), DCB_OK);
    return last;
}

void append_many(dcb_store *store, int count) {
    size_t room = 64 + (size_t)count * 64, len = 0;
    char *text = malloc(room);
    CHECK(text != NULL);
    len += (size_t)snprintf(text, room, "{'events': [");
    for (int i = 1; i <= count; i++)
        len += (size_t)snprintf(text + len, room - len,
                                "%s{'type': 'T', 'tags': ['n:%d'], 'data': %d}", i > 1 ? "," : "",
                                i, i);
    snprintf(text + len, room - len, "]}");
    append(store, text);
    free(text);
}

dcb_status try_read(dcb_store *store, const char *text, dcb_buf *result, dcb_error *err) {
    size_t len;
    char *request = request_bytes(text, &len);
    dcb_status status = dcb_read(store, request, len, NULL, result, err);
    memset(request, 'x', len);
    free(request);
    return status;
}

bool read_contains(dcb_store *store, const char *text, const char *part) {
    dcb_buf result;
    dcb_error err;
    size_t part_len, at = 0;
    char *wanted = request_bytes(part, &part_len);
    CHECK_STATUS(try_read(store, text, &result, &err), DCB_OK);
    while (at + part_len <= result.len && memcmp(result.data + at, wanted, part_len) != 0)
        at++;
    bool found = at + part_len <= result.len;
    free(wanted);
    dcb_buf_free(&result);
    return found;
}

int64_t head_of(dcb_store *store) {
    int64_t head;
    dcb_error err;
    CHECK_STATUS(dcb_head(store, NULL, &head, &err), DCB_OK);
    return head;
}

dcb_cursor *open_cursor(dcb_store *store, const char *text) {
    size_t len;
    dcb_cursor *cursor;
    dcb_error err;
    char *request = request_bytes(text, &len);
    CHECK_STATUS(dcb_cursor_open(store, request, len, NULL, &cursor, &err), DCB_OK);
    memset(request, 'x', len);
    free(request);
    CHECK(cursor != NULL);
    return cursor;
}

size_t next_batch(dcb_cursor *cursor, size_t max, const dcb_event **events) {
    size_t len;
    dcb_error err;
    CHECK_STATUS(dcb_cursor_next(cursor, max, NULL, events, &len, &err), DCB_OK);
    CHECK(len <= max);
    CHECK((*events == NULL) == (len == 0));
    return len;
}

bool str_is(dcb_str string, const char *text) {
    if (text == NULL)
        return string.data == NULL && string.len == 0;
    return string.data != NULL && string.len == strlen(text) &&
           memcmp(string.data, text, string.len) == 0;
}
