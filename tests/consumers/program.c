/* What somebody writes who has just installed the library: one guarded append and a read. */

#include <dcb.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    const char *request = "{\"events\": [{\"type\": \"CourseDefined\", \"tags\": [\"course:c1\"]}],"
                          " \"condition\": {\"failIfEventsMatch\":"
                          "                 {\"items\": [{\"tags\": [\"course:c1\"]}]}}}";
    dcb_store *store;
    dcb_error err;
    dcb_buf events = {0};
    int64_t last;
    dcb_status again;

    if (dcb_open("sqlite:program.db", NULL, &store, &err) != DCB_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    dcb_append(store, request, strlen(request), NULL, &last, NULL);
    again = dcb_append(store, request, strlen(request), NULL, &last, &err);
    if (again != DCB_CONDITION_FAILED || err.position != 1 ||
        dcb_read(store, NULL, 0, NULL, &events, &err) != DCB_OK) {
        fprintf(stderr, "%s: %s\n", dcb_status_name(again), err.message);
        return 1;
    }
    printf("%s: %.*s\n", dcb_version(), (int)events.len, events.data);
    dcb_buf_free(&events);
    dcb_close(store);
    return 0;
}
