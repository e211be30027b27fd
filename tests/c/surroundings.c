/*
 * What the library takes from its surroundings, and leaves there: nothing of the environment, no
 * network, no file outside of the store's folder, and the rights that the umask allows.
 *
 * This program's own functions stand before the system's, so that they see each call of the
 * library's, of its SQLite's and of Rust's standard library.
 */
#include "check.h"

#include <dirent.h>
#include <dlfcn.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

static atomic_bool watched;
static atomic_int files_opened;
static const char *folder;
static char path[MAX_PATH];
static const char *const suffixes[] = {"", "-wal", "-shm"};

/* Calls that the library has no business with. */
static void refuse(const char *call, const char *with) {
    if (watched)
        fail(__FILE__, __LINE__, "the library called %s(%s)", call, with);
}

typedef void (*any_function)(void);

static any_function next(const char *name) {
    void *found = dlsym(RTLD_NEXT, name);
    any_function function;
    CHECK(found != NULL);
    /* ISO C has no cast from the one to the other. */
    memcpy(&function, &found, sizeof function);
    return function;
}

char *getenv(const char *name) {
    refuse("getenv", name);
    return ((char *(*)(const char *))next("getenv"))(name);
}

char *secure_getenv(const char *name) {
    refuse("secure_getenv", name);
    return ((char *(*)(const char *))next("secure_getenv"))(name);
}

int socket(int domain, int type, int protocol) {
    refuse("socket", "");
    return ((int (*)(int, int, int))next("socket"))(domain, type, protocol);
}

int mkstemp(char *template) {
    refuse("mkstemp", template);
    return ((int (*)(char *))next("mkstemp"))(template);
}

/* Whoever opens a file for more than reading, may do so only beside the database. */
static void look_at(const char *name, int flags) {
    if (!watched)
        return;
    files_opened++;
    if ((flags & O_ACCMODE) != O_RDONLY || (flags & O_CREAT) != 0) {
        char target[MAX_PATH] = "";
        /* The lock hooks open a file of theirs once more by its descriptor. */
        if (strncmp(name, "/proc/self/fd/", 14) != 0 ||
            readlink(name, target, sizeof target - 1) < 0)
            snprintf(target, sizeof target, "%s", name);
        if (strncmp(target, folder, strlen(folder)) != 0)
            fail(__FILE__, __LINE__, "the library opened %s for writing", name);
    }
}

typedef int (*open_function)(const char *, int, ...);

#define DEFINE_OPEN(function)                                                                      \
    int function(const char *name, int flags, ...) {                                               \
        va_list arguments;                                                                         \
        va_start(arguments, flags);                                                                \
        mode_t mode = (flags & O_CREAT) != 0 ? va_arg(arguments, mode_t) : 0;                      \
        va_end(arguments);                                                                         \
        look_at(name, flags);                                                                      \
        return ((open_function)next(#function))(name, flags, mode);                                \
    }

DEFINE_OPEN(open)
DEFINE_OPEN(open64)

/* Everything that the library can do, in a file at `path`, with enough events for an index. */
static void use(void) {
    char uri[MAX_URI];
    snprintf(uri, sizeof uri, "sqlite:%s", path);
    for (int round = 0; round < 2; round++) {
        dcb_store *store = open_store(uri);
        for (int n = 0; n < 20; n++) {
            enum { EVENTS = 1000 };
            static char request[EVENTS * 64 + 64];
            size_t len = (size_t)sprintf(request, "{'events': [");
            for (int i = 0; i < EVENTS; i++)
                len += (size_t)sprintf(request + len, "%s{'type': 'T', 'tags': ['n:%d']}",
                                       i > 0 ? "," : "", i);
            sprintf(request + len, "]}");
            append(store, request);
        }
        CHECK(read_contains(store, "{'query': {'items': [{'tags': ['n:7']}]}, 'limit': 3}", "n:7"));
        CHECK(read_contains(store, "{'backwards': true, 'limit': 9}", "'position'"));
        dcb_error err;
        int64_t head;
        CHECK_STATUS(dcb_wait(store, 1, NULL, &head, &err), DCB_OK);
        CHECK_STATUS(dcb_count(store, NULL, &head, &err), DCB_OK);
        dcb_buf diagnosis;
        CHECK_STATUS(dcb_diagnose(store, NULL, &diagnosis, &err), DCB_OK);
        dcb_buf_free(&diagnosis);
        dcb_cursor *cursor = open_cursor(store, "{}");
        const dcb_event *events;
        CHECK(next_batch(cursor, 100, &events) > 0);
        dcb_cursor_close(cursor);
        CHECK(try_append(store, "{'events': []}", NULL, &head, &err) != DCB_OK);
        dcb_close(store);
    }
}

/* The names in the folder; each has to be the database's. */
static int entries(void) {
    DIR *stream = opendir(folder);
    CHECK(stream != NULL);
    int count = 0;
    for (struct dirent *entry; (entry = readdir(stream)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        CHECK(strncmp(entry->d_name, "events.db", 9) == 0);
        count++;
    }
    closedir(stream);
    return count;
}

static void has_rights(mode_t mode) {
    for (int i = 0; i < 3; i++) {
        char name[MAX_PATH + 8];
        struct stat found;
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        CHECK_INT(stat(name, &found), 0);
        CHECK_INT(found.st_mode & 0777, mode);
    }
}

static void remove_files(void) {
    for (int i = 0; i < 3; i++) {
        char name[MAX_PATH + 8];
        snprintf(name, sizeof name, "%s%s", path, suffixes[i]);
        unlink(name);
    }
}

/* The files may be read and written by whom the umask allows, and by no other. */
static void rights_follow_the_umask(void) {
    const mode_t masks[] = {022, 077, 027, 0};
    for (int i = 0; i < 4; i++) {
        mode_t before = umask(masks[i]);
        char uri[MAX_URI];
        snprintf(uri, sizeof uri, "sqlite:%s", path);
        dcb_store *store = open_store(uri);
        append_many(store, 1);
        has_rights(0666 & ~masks[i]);
        dcb_close(store);
        CHECK_INT(entries(), 1);
        umask(before);
        remove_files();
    }
}

int main(int argc, char **argv) {
    (void)argc;
    program = argv[0];
    folder = make_folder("dcb s\xc3\xbcrroundings");
    snprintf(path, sizeof path, "%s/events.db", folder);

    watched = true;
    use();
    watched = false;
    /* Otherwise nobody has looked. */
    CHECK(files_opened > 5);
    CHECK_INT(entries(), 1);
    remove_files();
    rights_follow_the_umask();
    CHECK_INT(rmdir(folder), 0);
    puts("nothing was taken from the surroundings, and nothing left there");
    return EXIT_SUCCESS;
}
