/*
 * A subscription from a second thread.
 *
 * A thread keeps a running total of what is paid in and out. It begins with the events that are
 * there already, goes on with those that are appended while it runs, and ends when it is told to.
 * To catch up and to follow are the same loop: read what is new, then wait for more.
 */

#include <dcb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct follower {
    dcb_store *store;
    dcb_cancel *stop;
    long long total;
    int64_t position; /* everything up to here is in the total */
};

static void fail(const char *what, const dcb_error *err) {
    fprintf(stderr, "%s: %s: %s\n", what, dcb_status_name(err->status), err->message);
    exit(1);
}

/* Adds what lies above the follower's position. */
static void catch_up(struct follower *follower) {
    char request[128];
    const dcb_event *events;
    dcb_cursor *cursor;
    dcb_error err;
    size_t len;

    snprintf(request, sizeof request,
             "{\"query\": {\"items\": [{\"types\": [\"Paid\"]}]}, \"after\": %lld}",
             (long long)follower->position);
    if (dcb_cursor_open(follower->store, request, strlen(request), NULL, &cursor, &err) != DCB_OK) {
        fail("open a cursor", &err);
    }
    do {
        if (dcb_cursor_next(cursor, 100, NULL, &events, &len, &err) != DCB_OK) {
            fail("read", &err);
        }
        for (size_t i = 0; i < len; i++) {
            /* The data is JSON text, here an integer. It has no terminating NUL. */
            char amount[32];
            snprintf(amount, sizeof amount, "%.*s", (int)events[i].data.len, events[i].data.data);
            follower->total += strtoll(amount, NULL, 10);
        }
    } while (len > 0);
    follower->position = dcb_cursor_position(cursor);
    dcb_cursor_close(cursor);
}

static void *follow(void *argument) {
    struct follower *follower = argument;
    dcb_call call = {sizeof call, -1, follower->stop};
    dcb_status status;
    dcb_error err;

    do {
        int64_t head;
        catch_up(follower);
        status = dcb_wait(follower->store, follower->position, &call, &head, &err);
    } while (status == DCB_OK);
    if (status != DCB_CANCELLED) {
        fail("wait", &err);
    }
    /* What came between the last read and the cancel. */
    catch_up(follower);
    return NULL;
}

static void pay(dcb_store *store, int amount) {
    char request[128];
    int64_t last;
    dcb_error err;

    snprintf(request, sizeof request, "{\"events\": [{\"type\": \"Paid\", \"data\": %d}]}", amount);
    if (dcb_append(store, request, strlen(request), NULL, &last, &err) != DCB_OK) {
        fail("append", &err);
    }
}

int main(int argc, char **argv) {
    struct follower follower = {0};
    pthread_t thread;
    dcb_error err;

    if (dcb_open(argc > 1 ? argv[1] : "memory:", NULL, &follower.store, &err) != DCB_OK) {
        fail("open", &err);
    }
    follower.stop = dcb_cancel_new();
    pay(follower.store, 1000);
    if (pthread_create(&thread, NULL, follow, &follower) != 0) {
        perror("pthread_create");
        return 1;
    }
    for (int i = 1; i <= 100; i++) {
        pay(follower.store, i % 2 == 0 ? 10 : -5);
    }
    dcb_cancel_trigger(follower.stop);
    pthread_join(thread, NULL);
    printf("%lld after %lld events\n", follower.total, (long long)follower.position);
    dcb_cancel_free(follower.stop);
    dcb_close(follower.store);
    return 0;
}
