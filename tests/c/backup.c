/* dcb_backup: its arguments, its answers, and a copy beside threads that append. */
#include "check.h"

#include <dirent.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

/* What the progress function sees, and what it does. */
typedef struct {
    int steps;
    int64_t done, total;
    pthread_t thread;
    dcb_cancel *cancel;
    /* The step that ends the backup; 0: none does. */
    int last;
} progress;

static int32_t note(void *context, int64_t done_pages, int64_t total_pages) {
    progress *seen = context;
    CHECK(pthread_equal(seen->thread, pthread_self()));
    CHECK(seen->steps == 0 || total_pages == seen->total);
    CHECK(done_pages > seen->done && done_pages <= total_pages);
    seen->steps++;
    seen->done = done_pages;
    seen->total = total_pages;
    dcb_cancel_trigger(seen->cancel);
    return seen->steps == seen->last ? 1 : 0;
}

/* A path that nothing is at yet. */
static void new_path(char path[static 64]) {
    strcpy(path, fresh_path());
}

static bool is_memory_store(void) {
    return strcmp(store_kind, "memory:") == 0;
}

static void a_backup_checks_its_arguments(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t head = 99;
    char path[64];
    new_path(path);
    CHECK_STATUS(dcb_backup(NULL, path, NULL, NULL, NULL, &head, &err), DCB_INVALID_ARGUMENT);
    CHECK_INT(head, 0);
    CHECK_STATUS(dcb_backup(store, NULL, NULL, NULL, NULL, &head, &err), DCB_INVALID_ARGUMENT);
    CHECK(strstr(err.message, "path") != NULL);
    CHECK_STATUS(dcb_backup(store, path, NULL, NULL, NULL, NULL, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_backup(store, "", NULL, NULL, NULL, &head, &err), DCB_INVALID_ARGUMENT);
    CHECK_STATUS(dcb_backup(store, "\xff", NULL, NULL, NULL, &head, &err), DCB_INVALID_ARGUMENT);
    dcb_call call = {sizeof call - 1, -1, NULL};
    CHECK_STATUS(dcb_backup(store, path, &call, NULL, NULL, &head, &err), DCB_INVALID_ARGUMENT);
    CHECK_INT(dcb_backup(NULL, NULL, NULL, NULL, NULL, NULL, NULL), DCB_INVALID_ARGUMENT);
    CHECK(access(path, F_OK) != 0);
    dcb_close(store);
}

static void a_store_in_memory_only_has_nothing_to_copy(void) {
    if (!is_memory_store())
        SKIP("for memory: only");
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t head = 99;
    char path[64];
    new_path(path);
    CHECK_STATUS(dcb_backup(store, path, NULL, NULL, NULL, &head, &err), DCB_INVALID_ARGUMENT);
    CHECK_INT(head, 0);
    CHECK(access(path, F_OK) != 0);
    dcb_close(store);
}

static void a_copy_is_a_store_of_its_own(void) {
    if (is_memory_store())
        SKIP("not for memory:");
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t head;
    char path[64], uri[80];
    append_many(store, 300);
    new_path(path);
    progress seen = {0, 0, 0, pthread_self(), NULL, 0};
    CHECK_STATUS(dcb_backup(store, path, NULL, note, &seen, &head, &err), DCB_OK);
    CHECK_INT(head, 300);
    CHECK(seen.steps > 0 && seen.done == seen.total);
    append_many(store, 1);
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    dcb_store *copy = open_store(uri);
    CHECK_INT(head_of(copy), 300);
    CHECK(read_contains(copy, "{}", "'data':300"));
    CHECK_INT(append(copy, "{'events': [{'type': 'Other'}]}"), 301);
    CHECK(!read_contains(store, "{}", "Other"));
    dcb_close(copy);
    /* It is not replaced. */
    CHECK_STATUS(dcb_backup(store, path, NULL, NULL, NULL, &head, &err), DCB_INVALID_ARGUMENT);
    CHECK_INT(err.detail, EEXIST);
    CHECK_INT(head, 0);
    copy = open_store(uri);
    CHECK_INT(head_of(copy), 301);
    dcb_close(copy);
    dcb_close(store);
}

static void a_backup_that_is_ended_leaves_nothing(void) {
    if (is_memory_store())
        SKIP("not for memory:");
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t head = 99;
    char folder[64], path[80];
    append_many(store, 300);
    new_path(folder);
    CHECK_INT(mkdir(folder, 0700), 0);
    snprintf(path, sizeof path, "%s/copy.db", folder);
    dcb_cancel *cancel = dcb_cancel_new();
    dcb_call call = {sizeof call, -1, cancel};
    progress seen = {0, 0, 0, pthread_self(), cancel, 0};
    CHECK_STATUS(dcb_backup(store, path, &call, note, &seen, &head, &err), DCB_CANCELLED);
    CHECK_INT(head, 0);
    CHECK_INT(seen.steps, 1);
    CHECK_STATUS(dcb_backup(store, path, &call, note, &seen, &head, &err), DCB_CANCELLED);
    CHECK_INT(seen.steps, 1);
    dcb_cancel_free(cancel);
    seen = (progress){0, 0, 0, pthread_self(), NULL, 1};
    CHECK_STATUS(dcb_backup(store, path, NULL, note, &seen, &head, &err), DCB_CANCELLED);
    CHECK_INT(seen.steps, 1);
    dcb_call at_once = {sizeof at_once, 0, NULL};
    CHECK_STATUS(dcb_backup(store, path, &at_once, NULL, NULL, &head, &err), DCB_TIMEOUT);
    char in_no_folder[100];
    snprintf(in_no_folder, sizeof in_no_folder, "%s/none/copy.db", folder);
    CHECK_STATUS(dcb_backup(store, in_no_folder, NULL, NULL, NULL, &head, &err), DCB_IO);
    CHECK_INT(err.detail, ENOENT);
    /* It is empty. */
    CHECK_INT(rmdir(folder), 0);
    dcb_close(store);
}

static void a_full_disk_takes_no_part_of_a_copy(void) {
    if (is_memory_store())
        SKIP("not for memory:");
    dcb_store *store = fresh_store();
    dcb_error err;
    int64_t head;
    char folder[64], path[80];
    for (int i = 0; i < 10; i++)
        append_many(store, 1000);
    new_path(folder);
    CHECK_INT(mkdir(folder, 0700), 0);
    if (mount("none", folder, "tmpfs", 0, "size=256k") != 0)
        SKIP("a small file system cannot be mounted here");
    snprintf(path, sizeof path, "%s/copy.db", folder);
    CHECK_STATUS(dcb_backup(store, path, NULL, NULL, NULL, &head, &err), DCB_FULL);
    DIR *entries = opendir(folder);
    CHECK(entries != NULL);
    for (struct dirent *entry; (entry = readdir(entries)) != NULL;)
        CHECK(strcmp(entry->d_name, ".") == 0 || strcmp(entry->d_name, "..") == 0);
    closedir(entries);
    CHECK_INT(umount(folder), 0);
    append_many(store, 1);
    dcb_close(store);
}

typedef struct {
    dcb_store *store;
    atomic_bool ended;
} load;

static void *append_on(void *context) {
    load *shared = context;
    while (!atomic_load(&shared->ended))
        append(shared->store, "{'events': [{'type': 'A'}, {'type': 'B'}]}");
    return NULL;
}

static void copies_are_whole_appends_while_threads_append(void) {
    if (is_memory_store())
        SKIP("not for memory:");
    load shared = {.store = fresh_store()};
    append_many(shared.store, 2);
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, append_on, &shared), 0);
    char paths[5][64];
    int64_t heads[5];
    for (int i = 0; i < 5; i++) {
        dcb_error err;
        new_path(paths[i]);
        CHECK_STATUS(dcb_backup(shared.store, paths[i], NULL, NULL, NULL, &heads[i], &err), DCB_OK);
    }
    atomic_store(&shared.ended, true);
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    for (int i = 0; i < 5; i++) {
        char uri[sizeof "sqlite:" + sizeof paths];
        snprintf(uri, sizeof uri, "sqlite:%s", paths[i]);
        dcb_store *copy = open_store(uri);
        CHECK_INT(head_of(copy), heads[i]);
        CHECK(heads[i] % 2 == 0 && (i == 0 || heads[i] >= heads[i - 1]));
        dcb_close(copy);
    }
    dcb_close(shared.store);
}

const test backup_tests[] = {
    {"a_backup_checks_its_arguments", a_backup_checks_its_arguments},
    {"a_store_in_memory_only_has_nothing_to_copy", a_store_in_memory_only_has_nothing_to_copy},
    {"a_copy_is_a_store_of_its_own", a_copy_is_a_store_of_its_own},
    {"a_backup_that_is_ended_leaves_nothing", a_backup_that_is_ended_leaves_nothing},
    {"a_full_disk_takes_no_part_of_a_copy", a_full_disk_takes_no_part_of_a_copy},
    {"copies_are_whole_appends_while_threads_append",
     copies_are_whole_appends_while_threads_append},
    {NULL, NULL},
};
