/* A program under thread sanitizer that uses a store from several threads. With the argument `race`
 * it has a race of its own. */

#include <dcb.h>
#include <pthread.h>
#include <stdio.h>
#include <string.h>

enum { THREADS = 8, ROUNDS = 50 };

static dcb_store *store;
static int is_racing, shared, failures;
static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;

static void *work(void *unused) {
    const char *append =
        "{\"events\": [{\"type\": \"A\", \"tags\": [\"k:v\"], \"data\": {\"a\": 1}}]}";
    const char *read = "{\"query\": {\"items\": [{\"tags\": [\"k:v\"]}]}, \"limit\": 5}";
    (void)unused;
    for (int i = 0; i < ROUNDS; i++) {
        int64_t last;
        dcb_buf events = {0};
        int failed = dcb_append(store, append, strlen(append), NULL, &last, NULL) != DCB_OK ||
                     dcb_read(store, read, strlen(read), NULL, &events, NULL) != DCB_OK;
        dcb_buf_free(&events);
        pthread_mutex_lock(&mutex);
        failures += failed;
        pthread_mutex_unlock(&mutex);
        if (is_racing) {
            shared++;
        }
    }
    return NULL;
}

int main(int count, char **arguments) {
    pthread_t threads[THREADS];
    is_racing = count > 2 && strcmp(arguments[2], "race") == 0;
    if (count < 2 || dcb_open(arguments[1], NULL, &store, NULL) != DCB_OK) {
        return 1;
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_create(&threads[i], NULL, work, NULL);
    }
    for (int i = 0; i < THREADS; i++) {
        pthread_join(threads[i], NULL);
    }
    dcb_close(store);
    return failures > 0;
}
