// A user name belongs to whoever claims it first: a claim in C.
#include <dcb.h>
#include <stdio.h>
#include <string.h>

int main(void) {
    const char *claim =
        "{\"events\": [{\"type\": \"NameClaimed\", \"tags\": [\"name:ada\"], \"data\": \"in C\"}],"
        " \"condition\": {\"failIfEventsMatch\": {\"items\": [{\"tags\": [\"name:ada\"]}]}}}";
    dcb_store *store;
    dcb_error error;
    int64_t position;
    if (dcb_open("sqlite:names.db", NULL, &store, &error) == DCB_OK &&
        dcb_append(store, claim, strlen(claim), NULL, &position, &error) == DCB_OK)
        printf("ada is ours, by event %lld\n", (long long)position);
    else
        printf("%s: %s\n", dcb_status_name(error.status), error.message);
    dcb_close(store);
}
