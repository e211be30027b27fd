/*
 * A decision in C: who gets the last seat?
 *
 * A course has 3 seats, and 8 threads want one each. Every thread reads the seats taken, decides,
 * and subscribes on condition that nobody has been faster; whoever was beaten reads again.
 */

#include <dcb.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SEATS 3
#define STUDENTS 8
#define QUERY "{\"items\": [{\"types\": [\"StudentSubscribed\"], \"tags\": [\"course:c1\"]}]}"

struct student {
    dcb_store *store;
    int number;
    int has_seat;
};

static void fail(const char *what, const dcb_error *err) {
    fprintf(stderr, "%s: %s: %s\n", what, dcb_status_name(err->status), err->message);
    exit(1);
}

/* The seats taken, and the position up to which that is known. */
static size_t count_seats(dcb_store *store, int64_t *position) {
    const char *request = "{\"query\": " QUERY "}";
    const dcb_event *events;
    dcb_cursor *cursor;
    dcb_error err;
    size_t taken = 0, len;

    if (dcb_cursor_open(store, request, strlen(request), NULL, &cursor, &err) != DCB_OK) {
        fail("open a cursor", &err);
    }
    do {
        if (dcb_cursor_next(cursor, 100, NULL, &events, &len, &err) != DCB_OK) {
            fail("read", &err);
        }
        taken += len;
    } while (len > 0);
    *position = dcb_cursor_position(cursor);
    dcb_cursor_close(cursor);
    return taken;
}

static void *subscribe(void *argument) {
    struct student *student = argument;
    dcb_status status = DCB_CONDITION_FAILED;

    while (status == DCB_CONDITION_FAILED) {
        char request[512];
        int64_t position, last;
        dcb_error err;

        if (count_seats(student->store, &position) >= SEATS) {
            return NULL;
        }
        snprintf(request, sizeof request,
                 "{\"events\": [{\"type\": \"StudentSubscribed\","
                 "              \"tags\": [\"course:c1\", \"student:s%d\"]}],"
                 " \"condition\": {\"failIfEventsMatch\": " QUERY ", \"after\": %lld}}",
                 student->number, (long long)position);
        status = dcb_append(student->store, request, strlen(request), NULL, &last, &err);
        if (status != DCB_OK && status != DCB_CONDITION_FAILED) {
            fail("append", &err);
        }
    }
    student->has_seat = 1;
    return NULL;
}

int main(int argc, char **argv) {
    struct student students[STUDENTS];
    pthread_t threads[STUDENTS];
    dcb_store *store;
    dcb_error err;
    int64_t position;
    int seated = 0;

    if (dcb_open(argc > 1 ? argv[1] : "memory:", NULL, &store, &err) != DCB_OK) {
        fail("open", &err);
    }
    for (int i = 0; i < STUDENTS; i++) {
        students[i] = (struct student){store, i, 0};
        if (pthread_create(&threads[i], NULL, subscribe, &students[i]) != 0) {
            perror("pthread_create");
            return 1;
        }
    }
    for (int i = 0; i < STUDENTS; i++) {
        pthread_join(threads[i], NULL);
        seated += students[i].has_seat;
    }
    printf("%d of %d students have a seat; %zu seats are taken\n", seated, STUDENTS,
           count_seats(store, &position));
    dcb_close(store);
    return 0;
}
