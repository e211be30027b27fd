/* A panic in the library, and what the caller sees of it. Needs `--features testing`. */
#include "check.h"

#ifdef DCB_TESTING

#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <unistd.h>

dcb_status dcb_testing_panic(dcb_store *store, dcb_error *err);

static void a_panic_is_an_error(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    append_many(store, 2);
    for (int i = 0; i < 3; i++) {
        CHECK_STATUS(dcb_testing_panic(store, &err), DCB_INTERNAL);
        CHECK(strncmp(err.message, "a bug in the library, at src/capi/failpoints.rs:", 48) == 0);
        CHECK_INT(dcb_testing_panic(store, NULL), DCB_INTERNAL);
    }
    append_many(store, 1);
    CHECK_INT(head_of(store), 3);
    dcb_close(store);
}

static void a_panic_is_not_written_to_stderr(void) {
    dcb_store *store = fresh_store();
    dcb_error err;
    FILE *file = tmpfile();
    int saved = dup(STDERR_FILENO);
    CHECK(file != NULL && saved >= 0);
    CHECK(dup2(fileno(file), STDERR_FILENO) >= 0);
    dcb_status status = dcb_testing_panic(store, &err);
    CHECK(dup2(saved, STDERR_FILENO) >= 0);
    close(saved);
    CHECK_INT(status, DCB_INTERNAL);
    CHECK_INT(lseek(fileno(file), 0, SEEK_END), 0);
    fclose(file);
    dcb_close(store);
}

static void *panic_again_and_again(void *store) {
    dcb_error err;
    for (int i = 0; i < 100; i++) {
        CHECK_STATUS(dcb_testing_panic(store, &err), DCB_INTERNAL);
        head_of(store);
    }
    return NULL;
}

static void panics_in_several_threads_are_contained(void) {
    dcb_store *store = fresh_store();
    pthread_t threads[4];
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, panic_again_and_again, store), 0);
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    dcb_close(store);
}

const test panic_tests[] = {
    {"a_panic_is_an_error", a_panic_is_an_error},
    {"a_panic_is_not_written_to_stderr", a_panic_is_not_written_to_stderr},
    {"panics_in_several_threads_are_contained", panics_in_several_threads_are_contained},
    {NULL, NULL},
};
#endif
