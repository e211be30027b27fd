/*
 * The tests of the C interface that need more than a request and an answer: who owns what, wrong
 * pointers, threads, forks, limits.
 *
 *     cc -std=c11 -D_GNU_SOURCE -pthread -Iinclude tests/c/[a-z]*.c -L DIR -ldcb -o c-tests
 *     ./c-tests memory: [NAME]     the same with sqlite::memory:, and with sqlite: on files
 *
 * With -DDCB_TESTING, and a library built with `--features testing`, also that a panic is
 * contained. NAME runs only the tests whose name contains it.
 */
#include "check.h"

#include <stdio.h>
#include <stdlib.h>

int main(int argc, char **argv) {
    program = argv[0];
    if (argc == 4 && strcmp(argv[1], "--exit") == 0)
        exit_with_everything_open(argv[2], atoi(argv[3]));
    if (argc == 3 && strcmp(argv[1], "--fill") == 0)
        return fill_the_disk(argv[2]);
    if (argc == 3 && (strcmp(argv[1], "--open") == 0 || strcmp(argv[1], "--append") == 0)) {
        /* What the tests execute to have another process open the file. */
        dcb_store *store = open_store(argv[2]);
        if (strcmp(argv[1], "--append") == 0)
            append_many(store, 1);
        dcb_close(store);
        return EXIT_SUCCESS;
    }
    if (argc < 2 || argc > 3) {
        fprintf(stderr, "usage: %s memory: | sqlite::memory: | sqlite: [NAME]\n", argv[0]);
        return 2;
    }
    store_kind = argv[1];
    const test *files[] = {layout_tests, argument_tests, ownership_tests, status_tests,
                           cursor_tests, thread_tests,   fork_tests,      limit_tests,
                           file_tests,   backup_tests,
#ifdef DCB_TESTING
                           panic_tests,
#endif
                           NULL};
    int ran = 0;
    for (const test **file = files; *file != NULL; file++) {
        for (const test *each = *file; each->name != NULL; each++) {
            if (argc == 3 && strstr(each->name, argv[2]) == NULL)
                continue;
            printf("%s\n", each->name);
            fflush(stdout);
            each->run();
            ran++;
        }
    }
    printf("%d tests passed on %s\n", ran, store_kind);
    return ran > 0 ? EXIT_SUCCESS : EXIT_FAILURE;
}
