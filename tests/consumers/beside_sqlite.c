/*
 * libdcb.a beside a SQLite of the program's own, both linked statically: each has to keep to its
 * own functions, and both may have the same file open.
 */

#include <dcb.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

static int print_row(void *count, int columns, char **values, char **names) {
    (void)names;
    printf("%s\n", columns == 1 && values[0] != NULL ? values[0] : "?");
    ++*(int *)count;
    return 0;
}

int main(void) {
    const char *request =
        "{\"events\": [{\"type\": \"CourseDefined\", \"tags\": [\"course:c1\"]}]}";
    dcb_store *store;
    dcb_error err;
    sqlite3 *database;
    int64_t last = 0;
    int rows = 0;

    /* The header says which SQLite the program was compiled for. */
    if (strcmp(sqlite3_libversion(), SQLITE_VERSION) != 0 ||
        strcmp(sqlite3_sourceid(), SQLITE_SOURCE_ID) != 0) {
        fprintf(stderr, "compiled for SQLite %s, linked with %s\n", SQLITE_VERSION,
                sqlite3_libversion());
        return 1;
    }
    if (dcb_open("sqlite:beside.db", NULL, &store, &err) != DCB_OK ||
        dcb_append(store, request, strlen(request), NULL, &last, &err) != DCB_OK) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (sqlite3_open_v2("beside.db", &database, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_exec(database, "SELECT name FROM sqlite_schema WHERE name LIKE 'dcb!_%' ESCAPE '!'",
                     print_row, &rows, NULL) != SQLITE_OK) {
        fprintf(stderr, "%s\n", sqlite3_errmsg(database));
        return 1;
    }
    sqlite3_close(database);
    if (dcb_append(store, request, strlen(request), NULL, &last, &err) != DCB_OK || last != 2) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    dcb_close(store);
    return rows > 0 ? 0 : 1;
}
