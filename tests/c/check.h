/*
 * What the tests of the C interface share: checks, a fresh store for each test, and calls with a
 * request whose bytes end where it ends and are gone when the call returns.
 */
#ifndef CHECK_H
#define CHECK_H

#include <dcb.h>

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/types.h>

/* Ends the program with the place and the reason. */
_Noreturn void fail(const char *file, int line, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define CHECK(condition)                                                                           \
    do {                                                                                           \
        if (!(condition))                                                                          \
            fail(__FILE__, __LINE__, "%s", #condition);                                            \
    } while (0)

#define CHECK_INT(actual, expected)                                                                \
    do {                                                                                           \
        long long actual_ = (long long)(actual), expected_ = (long long)(expected);                \
        if (actual_ != expected_)                                                                  \
            fail(__FILE__, __LINE__, "%s is %lld, not %s", #actual, actual_, #expected);           \
    } while (0)

/* The status of a call; `err` is what it filled. */
#define CHECK_STATUS(call, expected)                                                               \
    do {                                                                                           \
        dcb_status status_ = (call);                                                               \
        if (status_ != (expected))                                                                 \
            fail(__FILE__, __LINE__, "%s is %s (%s), not %s", #call, dcb_status_name(status_),     \
                 err.message, #expected);                                                          \
        CHECK_INT(err.status, status_);                                                            \
    } while (0)

/* One test, and the tests of one file. */
typedef struct {
    const char *name;
    void (*run)(void);
} test;

extern const test layout_tests[], argument_tests[], ownership_tests[], status_tests[],
    cursor_tests[], thread_tests[], fork_tests[], limit_tests[], file_tests[], backup_tests[],
    panic_tests[];

/* Ends a test that cannot run here, and says why. */
#define SKIP(reason)                                                                               \
    do {                                                                                           \
        printf("    skipped: %s\n", reason);                                                       \
        return;                                                                                    \
    } while (0)

/* Whether the program runs under valgrind or with address sanitizer, which need the memory. */
bool is_instrumented(void);

/* This program's path. */
extern const char *program;

/* Forks; 0 in the child, which ends itself by leave_child() and if it hangs by an alarm. */
pid_t begin_child(void);
_Noreturn void leave_child(void);
/* Waits for the child, which has to have found nothing wrong. */
void end_child(pid_t child);

/* Appends to the store until that is refused; the status of the refusal. */
dcb_status fill_the_disk(const char *store_uri);
/* Has threads append and wait, and ends the program after so many milliseconds. */
_Noreturn void exit_with_everything_open(const char *uri, int ms);

/* The kind of store under test: `memory:`, `sqlite::memory:` or `sqlite:` (a file). */
extern const char *store_kind;
bool is_file_store(void);
/* Bytes of the name of a folder, of a path in it, and of its uri. */
enum { MAX_FOLDER = 256, MAX_PATH = MAX_FOLDER + 32, MAX_URI = MAX_PATH + 16 };
/* Makes a folder for temporary files; its name ends in six random characters. */
const char *make_folder(const char *name);
/* The uri of a store that does not exist yet; valid until the next call. */
const char *fresh_uri(void);
/* A path in the folder of this run; valid until the next call. */
const char *fresh_path(void);
/* A new store, empty. */
dcb_store *fresh_store(void);
dcb_store *open_store(const char *uri);

/*
 * The bytes of `text`, each ' in it turned into ", on the heap and without a terminator: a read
 * beyond its end is seen. The caller frees them.
 */
char *request_bytes(const char *text, size_t *len);

dcb_status try_append(dcb_store *store, const char *text, const dcb_call *call, int64_t *last,
                      dcb_error *err);
/* Appends, which has to succeed; gives the last position. */
int64_t append(dcb_store *store, const char *text);
/* Appends `count` events {"type": "T", "tags": ["n:N"], "data": N}. */
void append_many(dcb_store *store, int count);
dcb_status try_read(dcb_store *store, const char *text, dcb_buf *result, dcb_error *err);
/* Whether what is read contains `part` (' for "). */
bool read_contains(dcb_store *store, const char *text, const char *part);
int64_t head_of(dcb_store *store);
dcb_cursor *open_cursor(dcb_store *store, const char *text);
/* The next batch, which has to come. */
size_t next_batch(dcb_cursor *cursor, size_t max, const dcb_event **events);
bool str_is(dcb_str string, const char *text);

#endif
