/*
 * An import of newline-delimited JSON, one event to a line, that may be broken off and repeated.
 *
 *     import STORE < events.ndjson
 *
 * Events are appended a thousand at a time, so that the disk is waited for once for all of them.
 * Every event gets an id from its line's number: so an import that is run again, after it was
 * interrupted or just so, finds what it has stored already and stores nothing twice. (The lines
 * must be the same ones: other events under the ids of stored ones are refused. An id of the
 * event's own would be the same key twice, and is refused too.)
 */

#define _POSIX_C_SOURCE 200809L

#include <dcb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 1000

struct text {
    char *data;
    size_t len, cap;
};

static void add(struct text *text, const char *data, size_t len) {
    while (text->cap - text->len < len) {
        text->cap = text->cap > 0 ? 2 * text->cap : 65536;
        text->data = realloc(text->data, text->cap);
        if (text->data == NULL) {
            perror("realloc");
            exit(1);
        }
    }
    memcpy(text->data + text->len, data, len);
    text->len += len;
}

/* Appends the batch's events, and empties it. */
static void flush(dcb_store *store, struct text *batch, long first_line) {
    int64_t last;
    dcb_error err;

    if (batch->len == 0) {
        return;
    }
    add(batch, "]}", 2);
    if (dcb_append(store, batch->data, batch->len, NULL, &last, &err) != DCB_OK) {
        /* events[0] of the message is this line */
        fprintf(stderr, "from line %ld: %s: %s\n", first_line, dcb_status_name(err.status),
                err.message);
        exit(1);
    }
    batch->len = 0;
}

int main(int argc, char **argv) {
    struct text batch = {0};
    char *line = NULL;
    size_t line_cap = 0;
    ssize_t len;
    long number = 0, first = 1;
    dcb_store *store;
    dcb_error err;
    int64_t before, after;

    if (argc != 2) {
        fprintf(stderr, "usage: %s STORE < events.ndjson\n", argv[0]);
        return 2;
    }
    if (dcb_open(argv[1], NULL, &store, &err) != DCB_OK ||
        dcb_count(store, NULL, &before, &err) != DCB_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    while ((len = getline(&line, &line_cap, stdin)) > 0) {
        char id[48];
        int id_len;

        /* The id becomes the object's first key; the rest of the line stays as it is. */
        number++;
        if (line[0] != '{') {
            fprintf(stderr, "line %ld: not an event\n", number);
            exit(1);
        }
        id_len = snprintf(id, sizeof id, "%s{\"id\": \"line-%ld\", ",
                          batch.len == 0 ? "{\"events\": [" : ",", number);
        add(&batch, id, (size_t)id_len);
        add(&batch, line + 1, (size_t)len - 1);
        if (number - first + 1 == BATCH) {
            flush(store, &batch, first);
            first = number + 1;
        }
    }
    flush(store, &batch, first);
    if (dcb_count(store, NULL, &after, &err) != DCB_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    printf("%ld lines, %lld events stored\n", number, (long long)(after - before));
    free(line);
    free(batch.data);
    dcb_close(store);
    return 0;
}
