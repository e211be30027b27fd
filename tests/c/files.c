/* What a file, its system and other programs bring about. */
#include "check.h"

#include <dirent.h>
#include <fcntl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define ONLY_ON_FILES                                                                              \
    if (!is_file_store())                                                                          \
    SKIP("for stores in files")

static char path[MAX_PATH], uri[MAX_URI];

/* A path that nothing is at yet, and its uri. */
static void new_place(void) {
    strcpy(path, fresh_path());
    snprintf(uri, sizeof uri, "sqlite:%s", path);
}

static dcb_store *open_with(const char *options) {
    dcb_store *store;
    dcb_error err;
    CHECK_STATUS(dcb_open(uri, options, &store, &err), DCB_OK);
    return store;
}

static void expect_open(const char *options, dcb_status expected) {
    dcb_store *store;
    dcb_error err;
    CHECK_STATUS(dcb_open(uri, options, &store, &err), expected);
    CHECK(store == NULL);
    CHECK(err.message[0] != '\0');
}

static bool has_shell(void) {
    return system("command -v sqlite3 >/dev/null 2>&1") == 0;
}

/* Runs SQL by the sqlite3 program: another process, another copy of SQLite. */
static void shell(const char *sql) {
    char command[MAX_PATH + 256];
    snprintf(command, sizeof command, "sqlite3 '%s' \"%s\" >/dev/null", path, sql);
    CHECK_INT(system(command), 0);
}

/* The bytes of the file; the caller frees them. */
static char *contents(size_t *len) {
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    CHECK_INT(fseek(file, 0, SEEK_END), 0);
    *len = (size_t)ftell(file);
    rewind(file);
    char *bytes = malloc(*len + 1);
    CHECK(bytes != NULL);
    CHECK_INT(fread(bytes, 1, *len, file), *len);
    fclose(file);
    return bytes;
}

/* Not a byte of the file changes. */
static void expect_unsupported(void) {
    size_t len, len_after;
    char *before = contents(&len);
    expect_open(NULL, DCB_UNSUPPORTED_FORMAT);
    expect_open("{\"read_only\": true}", DCB_UNSUPPORTED_FORMAT);
    char *after = contents(&len_after);
    CHECK(len == len_after && memcmp(before, after, len) == 0);
    free(before);
    free(after);
}

/* Nor does anything appear beside it. A database that is in log mode already has its log opened
 * by whoever looks at it. */
static void expect_nothing_beside(void) {
    const char *suffixes[] = {"-wal", "-shm", "-journal"};
    for (int i = 0; i < 3; i++) {
        char beside[MAX_PATH + 16];
        snprintf(beside, sizeof beside, "%s%s", path, suffixes[i]);
        CHECK(access(beside, F_OK) != 0);
    }
}

static void a_file_of_something_else_is_left_alone(void) {
    ONLY_ON_FILES;
    new_place();
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL);
    for (int i = 0; i < 1000; i++)
        fputs("not a database\n", file);
    fclose(file);
    expect_unsupported();
    expect_nothing_beside();
    if (!has_shell())
        SKIP("the sqlite3 program is not installed");
    new_place();
    shell("CREATE TABLE t (x); INSERT INTO t VALUES (1);");
    expect_unsupported();
    expect_nothing_beside();
    dcb_store *store = open_with("{\"adopt\": true}");
    append_many(store, 2);
    dcb_close(store);
    store = open_store(uri);
    CHECK_INT(head_of(store), 2);
    dcb_close(store);
    shell("INSERT INTO t VALUES (2);");
}

static void a_newer_format_is_left_alone(void) {
    ONLY_ON_FILES;
    if (!has_shell())
        SKIP("the sqlite3 program is not installed");
    new_place();
    dcb_store *store = open_store(uri);
    append_many(store, 2);
    dcb_close(store);
    shell("UPDATE dcb_meta SET value = value + 1 WHERE key = 'format';");
    expect_unsupported();
}

static void a_read_only_store_reads_and_refuses_appends(void) {
    ONLY_ON_FILES;
    const char *options[] = {"{\"read_only\": true}", "{\"immutable\": true}"};
    new_place();
    dcb_store *store = open_store(uri);
    append_many(store, 3);
    dcb_close(store);
    for (int i = 0; i < 2; i++) {
        dcb_error err;
        int64_t last = 99;
        store = open_with(options[i]);
        CHECK_STATUS(try_append(store, "{'events': [{'type': 'A'}]}", NULL, &last, &err),
                     DCB_READ_ONLY);
        CHECK_INT(last, 0);
        /* The request is judged first. */
        CHECK_STATUS(try_append(store, "{'events': []}", NULL, &last, &err), DCB_INVALID_ARGUMENT);
        CHECK_INT(head_of(store), 3);
        CHECK(read_contains(store, "{}", "'data':3"));
        dcb_close(store);
    }
}

static void a_missing_file_is_made_only_where_that_is_wanted(void) {
    ONLY_ON_FILES;
    new_place();
    expect_open("{\"create\": false}", DCB_IO);
    expect_open("{\"read_only\": true}", DCB_IO);
    CHECK(access(path, F_OK) != 0);
    char in_no_folder[MAX_URI + 16];
    snprintf(in_no_folder, sizeof in_no_folder, "sqlite:%s/none/x.db", path);
    dcb_store *store;
    dcb_error err;
    CHECK_STATUS(dcb_open(in_no_folder, NULL, &store, &err), DCB_IO);
    CHECK(err.detail != 0);
}

static void a_damaged_file_is_corrupt(void) {
    ONLY_ON_FILES;
    new_place();
    dcb_store *store = open_store(uri);
    append_many(store, 5000);
    dcb_close(store);
    size_t len;
    char *bytes = contents(&len);
    /* All but the first pages, which hold the schema. */
    FILE *file = fopen(path, "r+b");
    CHECK(file != NULL && len > 100000);
    memset(bytes, 0xa5, len);
    CHECK_INT(fseek(file, 65536, SEEK_SET), 0);
    CHECK_INT(fwrite(bytes, 1, len - 65536, file), len - 65536);
    fclose(file);
    free(bytes);
    dcb_error err;
    dcb_status status = dcb_open(uri, NULL, &store, &err);
    if (status == DCB_OK) {
        dcb_buf result;
        status = try_read(store, "{}", &result, &err);
        CHECK(result.data == NULL);
    }
    CHECK_STATUS(status, DCB_CORRUPT);
    dcb_close(store);
}

static void a_lock_that_is_not_had_in_time_is_busy(void) {
    ONLY_ON_FILES;
    if (!has_shell())
        SKIP("the sqlite3 program is not installed");
    new_place();
    dcb_store *store = open_store(uri);
    append_many(store, 1);
    char command[MAX_PATH + 16];
    snprintf(command, sizeof command, "sqlite3 '%s'", path);
    FILE *other = popen(command, "w");
    CHECK(other != NULL);
    /* Without patience of its own it gives up where one of the appends below is faster. */
    fputs(".timeout 10000\nBEGIN IMMEDIATE;\n", other);
    fflush(other);
    dcb_call at_once = {sizeof at_once, 0, NULL}, soon = {sizeof soon, 30, NULL};
    dcb_error err;
    int64_t last, stored = 1;
    dcb_status status;
    /* Until the other program has its lock. */
    while ((status = try_append(store, "{'events': [{'type': 'A'}]}", &at_once, &last, &err)) ==
           DCB_OK) {
        stored++;
        usleep(1000);
    }
    CHECK_STATUS(status, DCB_BUSY);
    CHECK_STATUS(try_append(store, "{'events': [{'type': 'A'}]}", &soon, &last, &err), DCB_BUSY);
    CHECK_INT(last, 0);
    dcb_cancel *cancel = dcb_cancel_new();
    dcb_cancel_trigger(cancel);
    dcb_call cancelled = {sizeof cancelled, -1, cancel};
    CHECK_STATUS(try_append(store, "{'events': [{'type': 'A'}]}", &cancelled, &last, &err),
                 DCB_CANCELLED);
    dcb_cancel_free(cancel);
    /* Readers do not wait for it. */
    CHECK_INT(head_of(store), stored);
    fputs("ROLLBACK;\n", other);
    pclose(other);
    append_many(store, 1);
    CHECK_INT(head_of(store), stored + 1);
    dcb_close(store);
}

/* Appends until the disk, or what stands for it, refuses; no part of the last append is there. */
static dcb_status fill_up(dcb_store *store) {
    enum { DATA = 64 * 1024 };
    char text[DATA + 64];
    int64_t last = 0, stored = 0;
    dcb_error err;
    size_t len = (size_t)sprintf(text, "{'events': [{'type': 'A', 'data': '");
    memset(text + len, 'x', DATA);
    strcpy(text + len + DATA, "'}]}");
    dcb_status status;
    while ((status = try_append(store, text, NULL, &last, &err)) == DCB_OK)
        stored = last;
    CHECK(err.detail != 0);
    CHECK(stored > 0);
    CHECK_INT(head_of(store), stored);
    return status;
}

dcb_status fill_the_disk(const char *store_uri) {
    dcb_store *store = open_store(store_uri);
    dcb_status status = fill_up(store);
    dcb_close(store);
    return status;
}

static bool write_file(const char *name, const char *text) {
    FILE *file = fopen(name, "w");
    if (file == NULL)
        return false;
    fputs(text, file);
    return fclose(file) == 0;
}

/* Gives this process mounts of its own: at once if it is root's, else as root of a namespace in
 * which there is only this user. */
static bool unshare_mounts(void) {
    char users[32], groups[32];
    snprintf(users, sizeof users, "0 %u 1", (unsigned)geteuid());
    snprintf(groups, sizeof groups, "0 %u 1", (unsigned)getegid());
    if (unshare(CLONE_NEWNS) == 0)
        return mount("none", "/", "none", MS_REC | MS_PRIVATE, NULL) == 0;
    return unshare(CLONE_NEWUSER | CLONE_NEWNS) == 0 &&
           write_file("/proc/self/setgroups", "deny") && write_file("/proc/self/uid_map", users) &&
           write_file("/proc/self/gid_map", groups);
}

static void a_full_disk_is_full(void) {
    ONLY_ON_FILES;
    enum { CANNOT_MOUNT = 77 };
    new_place();
    CHECK_INT(mkdir(path, 0700), 0);
    pid_t child = begin_child();
    if (child == 0) {
        if (!unshare_mounts() || mount("none", path, "tmpfs", 0, "size=2m") != 0)
            _exit(CANNOT_MOUNT);
        /* Another program, since the library is not to be used after a fork. */
        char in_it[MAX_URI + 8];
        snprintf(in_it, sizeof in_it, "%s/f.db", uri);
        execl(program, program, "--fill", in_it, (char *)NULL);
        _exit(1);
    }
    int status;
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFEXITED(status));
    if (WEXITSTATUS(status) == CANNOT_MOUNT)
        SKIP("a small file system cannot be mounted here");
    CHECK_INT(WEXITSTATUS(status), DCB_FULL);
}

static void a_write_that_the_system_refuses_is_io(void) {
    ONLY_ON_FILES;
    new_place();
    dcb_store *store = open_store(uri);
    struct rlimit before, limit;
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 1024 * 1024;
    signal(SIGXFSZ, SIG_IGN);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
    CHECK_INT(fill_up(store), DCB_IO);
    int64_t head = head_of(store);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &before), 0);
    signal(SIGXFSZ, SIG_DFL);
    append_many(store, 1);
    CHECK_INT(head_of(store), head + 1);
    dcb_close(store);
    store = open_store(uri);
    CHECK_INT(head_of(store), head + 1);
    dcb_close(store);
}

static void every_descriptor_is_closed_by_exec(void) {
    ONLY_ON_FILES;
    new_place();
    dcb_store *store = open_store(uri);
    append_many(store, 1);
    CHECK(read_contains(store, "{}", "'data':1"));
    DIR *folder = opendir("/proc/self/fd");
    CHECK(folder != NULL);
    int checked = 0;
    for (struct dirent *entry; (entry = readdir(folder)) != NULL;) {
        char link[300], target[MAX_PATH];
        snprintf(link, sizeof link, "/proc/self/fd/%s", entry->d_name);
        ssize_t len = readlink(link, target, sizeof target);
        if (len < (ssize_t)strlen(path) || memcmp(target, path, strlen(path)) != 0)
            continue;
        CHECK(fcntl(atoi(entry->d_name), F_GETFD) & FD_CLOEXEC);
        checked++;
    }
    closedir(folder);
    CHECK(checked > 0);
    dcb_close(store);
}

/* Appends in another process, and waits for that process to end. */
static void append_elsewhere(void) {
    pid_t child = begin_child();
    if (child == 0) {
        execl(program, program, "--append", uri, (char *)NULL);
        _exit(1);
    }
    end_child(child);
}

static void processes_and_handles_share_a_file(void) {
    ONLY_ON_FILES;
    new_place();
    dcb_store *one = open_store(uri), *two = open_store(uri);
    append_many(one, 1);
    CHECK_INT(head_of(two), 1);
    append_elsewhere();
    append_many(two, 1);
    CHECK_INT(head_of(one), 3);
    dcb_cursor *cursor = open_cursor(one, "{}");
    append_elsewhere();
    const dcb_event *events;
    CHECK_INT(next_batch(cursor, 9, &events), 3);
    dcb_cursor_close(cursor);
    dcb_error err;
    int64_t head;
    CHECK_STATUS(dcb_wait(one, 3, NULL, &head, &err), DCB_OK);
    CHECK_INT(head, 4);
    CHECK_STATUS(dcb_count(two, NULL, &head, &err), DCB_OK);
    CHECK_INT(head, 4);
    dcb_close(one);
    append_many(two, 1);
    dcb_close(two);
}

const test file_tests[] = {
    {"a_file_of_something_else_is_left_alone", a_file_of_something_else_is_left_alone},
    {"a_newer_format_is_left_alone", a_newer_format_is_left_alone},
    {"a_read_only_store_reads_and_refuses_appends", a_read_only_store_reads_and_refuses_appends},
    {"a_missing_file_is_made_only_where_that_is_wanted",
     a_missing_file_is_made_only_where_that_is_wanted},
    {"a_damaged_file_is_corrupt", a_damaged_file_is_corrupt},
    {"a_lock_that_is_not_had_in_time_is_busy", a_lock_that_is_not_had_in_time_is_busy},
    {"a_full_disk_is_full", a_full_disk_is_full},
    {"a_write_that_the_system_refuses_is_io", a_write_that_the_system_refuses_is_io},
    {"every_descriptor_is_closed_by_exec", every_descriptor_is_closed_by_exec},
    {"processes_and_handles_share_a_file", processes_and_handles_share_a_file},
    {NULL, NULL},
};
