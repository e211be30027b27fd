/* A course has two seats. Subscribes the student that the command line names, if one is free. */
#include <dcb.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char query[] =
    "{\"items\": [{\"types\": [\"Subscribed\"], \"tags\": [\"course:c1\"]}]}";

/* Counts the taken seats. `position` is then safe as the `after` of a condition. */
static dcb_status count_seats(dcb_store *store, int *taken, int64_t *position, dcb_error *error) {
    char request[256];
    int len = snprintf(request, sizeof request, "{\"query\": %s}", query);
    dcb_cursor *cursor;
    const dcb_event *events;
    size_t count;
    dcb_status status = dcb_cursor_open(store, request, (size_t)len, NULL, &cursor, error);
    *taken = 0;
    while (status == DCB_OK &&
           (status = dcb_cursor_next(cursor, 100, NULL, &events, &count, error)) == DCB_OK &&
           count > 0)
        *taken += (int)count;
    *position = dcb_cursor_position(cursor);
    dcb_cursor_close(cursor);
    return status;
}

int main(int argc, char **argv) {
    const char *student = argc > 1 ? argv[1] : "s1";
    dcb_store *store;
    dcb_error error;
    dcb_status status = dcb_open("sqlite:courses.db", NULL, &store, &error);
    do {
        int taken;
        int64_t position, last;
        if (status == DCB_OK || status == DCB_CONDITION_FAILED)
            status = count_seats(store, &taken, &position, &error);
        if (status != DCB_OK)
            break;
        if (taken >= 2) {
            printf("the course is full\n");
            break;
        }
        char request[1024];
        int len = snprintf(request, sizeof request,
                           "{\"events\": [{\"type\": \"Subscribed\","
                           " \"tags\": [\"course:c1\", \"student:%s\"]}],"
                           " \"condition\": {\"failIfEventsMatch\": %s, \"after\": %" PRId64 "}}",
                           student, query, position);
        status = dcb_append(store, request, (size_t)len, NULL, &last, &error);
        if (status == DCB_OK)
            printf("%s has a seat\n", student);
    } while (status == DCB_CONDITION_FAILED); /* somebody was faster: look again */
    if (status != DCB_OK)
        printf("%s: %s\n", dcb_status_name(status), error.message);
    dcb_close(store);
    return status == DCB_OK ? 0 : 1;
}
