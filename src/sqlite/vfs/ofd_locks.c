/*
 * Lock hooks for the library's own copy of SQLite.
 *
 * POSIX locks belong to the process: two copies of SQLite in one process do not see each other's,
 * and a close() of any descriptor of a file drops all that the process holds on it, the other
 * copy's included. So this copy takes open-file-description locks, all of a file's through one
 * descriptor of their own, and does not close a descriptor while anyone may hold a lock on its
 * file. It keeps it for the next opening instead. Only a WAL, which nobody locks, is closed at
 * once.
 *
 * SQLite arbitrates between its own connections before it calls these (unixInodeInfo and
 * unixShmNode, one for each inode): one set of locks for an inode is what it expects.
 */
#define _GNU_SOURCE
#define _FILE_OFFSET_BITS 64 /* as SQLite is compiled: both have to mean the same struct flock */

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HOOK __attribute__((visibility("hidden")))

struct inode;

/* One descriptor of a regular file. */
struct file {
    int fd;
    int access; /* O_RDONLY or O_RDWR */
    struct inode *inode;
    struct file *next; /* in its bucket while SQLite has it open, in its inode's pool after */
};

/* A file, known from its first opening until nothing of it has to be kept. Its descriptors keep
 * the inode alive, so no other file can come to have the same number meanwhile. */
struct inode {
    dev_t dev;
    ino_t ino;
    unsigned open;     /* descriptors that SQLite has open */
    bool ordinary;     /* open-file-description locks cannot be had: SQLite's own rules hold */
    struct file *lock; /* takes the locks; made by the first of them */
    struct file *pool; /* closed by SQLite, but not by us */
    struct inode *next;
};

#define BUCKETS 256

static pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER; /* guards all that follows */
static struct file *open_files[BUCKETS];
static struct inode *inodes;

/* The process that owns the locks. A child of fork() has copies of the descriptors, not the right
 * to their locks: in it the hooks touch nothing above, and no lock is given. */
static pid_t owner;

static bool in_child(void) {
    return getpid() != owner;
}

/* The place of the pointer to the record of fd, which is NULL for a file that is not tracked. */
static struct file **find(int fd) {
    struct file **at = &open_files[(unsigned)fd % BUCKETS];
    while (*at && (*at)->fd != fd) {
        at = &(*at)->next;
    }
    return at;
}

static void shut(struct file *file) {
    close(file->fd);
    free(file);
}

static int lock_whole(int fd, int command, short type, struct flock *answer) {
    *answer = (struct flock){.l_type = type, .l_whence = SEEK_SET};
    return fcntl(fd, command, answer);
}

/* The descriptor that takes the locks of file's inode; NULL with errno set. It has an open file
 * description of its own, which the child of a fork can let go of by closing it. */
static struct file *lock_file(struct file *file) {
    struct inode *inode = file->inode;
    struct flock none;
    char path[32];
    int fd;
    int access = O_RDWR; /* also for a read-only file: a later one may want a write lock */

    if (inode->lock) {
        return inode->lock;
    }
    struct file *lock = malloc(sizeof *lock);
    if (!lock) {
        return NULL;
    }
    /* A file must not come to be the host's standard output. */
    do {
        fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    } while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd >= 0) {
        close(fd);
    }
    snprintf(path, sizeof path, "/proc/self/fd/%d", file->fd);
    fd = open(path, O_RDWR | O_CLOEXEC);
    if (fd < 0 && file->access == O_RDONLY) {
        access = O_RDONLY;
        fd = open(path, O_RDONLY | O_CLOEXEC);
    }
    bool shared = fd < 0;
    if (shared) { /* no /proc, or rights that were given up since */
        access = file->access;
        fd = fcntl(file->fd, F_DUPFD_CLOEXEC, STDERR_FILENO + 1);
    }
    if (fd < 0) {
        free(lock);
        return NULL;
    }
    *lock = (struct file){.fd = fd, .access = access, .inode = inode};
    inode->lock = lock;
    /* What no writer could share is no place for the locks of all. */
    inode->ordinary =
        (shared && access == O_RDONLY) || lock_whole(fd, F_OFD_SETLK, F_UNLCK, &none) != 0;
    return lock;
}

/* Whether a real close() of the descriptors of inode, which SQLite has closed, harms nobody; if so,
 * *last is the one to close last. The answer is a write lock on the whole file: while *last holds
 * it, nobody in this process or another has a lock that could be lost, or comes to have one. */
static bool disposable(struct inode *inode, struct file **last) {
    struct flock whole;
    struct stat st;

    *last = inode->lock ? inode->lock : inode->pool;
    if (fstat((*last)->fd, &st) == 0 && st.st_nlink == 0) {
        return true;
    }
    if ((*last)->access == O_RDONLY && lock_file(*last)) {
        *last = inode->lock;
    }
    if (inode->ordinary || lock_whole((*last)->fd, F_OFD_SETLK, F_WRLCK, &whole) == 0) {
        return true;
    }
    if (errno == EBADF) { /* a file that may only be read: looking is all that can be done */
        return lock_whole((*last)->fd, F_OFD_GETLK, F_WRLCK, &whole) == 0 &&
               whole.l_type == F_UNLCK;
    }
    /* Any other error is a file system that refuses such locks, where SQLite's own rules hold. */
    return errno != EAGAIN && errno != EACCES && errno != EINTR;
}

/* Closes what has to be kept no longer of files that SQLite does not have open. */
static void sweep(void) {
    struct inode **at = &inodes;
    while (*at) {
        struct inode *inode = *at;
        struct file *last;
        if (inode->open > 0 || !disposable(inode, &last)) {
            at = &inode->next;
            continue;
        }
        *at = inode->next;
        if (inode->lock && inode->lock != last) {
            shut(inode->lock);
        }
        while (inode->pool) {
            struct file *file = inode->pool;
            inode->pool = file->next;
            if (file != last) {
                shut(file);
            }
        }
        shut(last); /* and with it, the write lock */
        free(inode);
    }
}

static struct inode *find_inode(dev_t dev, ino_t ino) {
    struct inode *inode = inodes;
    while (inode && (inode->dev != dev || inode->ino != ino)) {
        inode = inode->next;
    }
    return inode;
}

/* SQLite has file open from now on. */
static void attach(struct file *file, struct inode *inode) {
    struct file *lock = inode->lock;
    if (inode->open++ == 0 && lock && lock->access == O_RDONLY && file->access == O_RDWR) {
        /* It could not give a write lock, and holds none now: the next lock makes a better one. */
        lock->next = inode->pool;
        inode->pool = lock;
        inode->lock = NULL;
    }
    struct file **bucket = &open_files[(unsigned)file->fd % BUCKETS];
    file->inode = inode;
    file->next = *bucket;
    *bucket = file;
}

/* Whether path is that of the WAL of a database that SQLite has open. No SQLite ever locks a WAL,
 * so its descriptors can be closed at any time. Its name alone does not tell: a database may be
 * called so. */
static bool is_wal(const char *path) {
    static const char suffix[] = "-wal";
    char database[PATH_MAX];
    struct stat st;
    size_t length = strlen(path);

    if (length < sizeof suffix || length >= sizeof database) {
        return false;
    }
    length -= sizeof suffix - 1;
    if (strcmp(path + length, suffix) != 0) {
        return false;
    }
    memcpy(database, path, length);
    database[length] = '\0';
    if (lstat(database, &st) != 0) {
        return false;
    }
    struct inode *inode = find_inode(st.st_dev, st.st_ino);
    return inode && inode->open > 0;
}

/* A pooled descriptor of the file that is at path now, or -1. */
static int take(const char *path, int access) {
    struct stat st;
    if (lstat(path, &st) != 0) {
        return -1;
    }
    struct inode *inode = find_inode(st.st_dev, st.st_ino);
    for (struct file **at = inode ? &inode->pool : NULL; at && *at; at = &(*at)->next) {
        struct file *file = *at;
        /* SQLite refuses the descriptors of the standard streams, and would be given it again. */
        if (file->access == access && file->fd > STDERR_FILENO) {
            *at = file->next;
            attach(file, inode);
            return file->fd;
        }
    }
    return -1;
}

/* open() */
HOOK int dcb_locks_open(const char *path, int flags, int mode) {
    int access = flags & O_ACCMODE;
    struct stat st;

    flags |= O_CLOEXEC;
    if (in_child() || (flags & O_EXCL)) { /* a temporary file: nobody else has it */
        return open(path, flags, mode);
    }
    struct file *file = malloc(sizeof *file);
    struct inode *fresh = malloc(sizeof *fresh);
    if (!file || !fresh) {
        free(file);
        free(fresh);
        errno = ENOMEM;
        return -1;
    }
    pthread_mutex_lock(&mutex);
    int fd = take(path, access);
    if (fd < 0) {
        sweep();
    }
    bool untracked = is_wal(path);
    pthread_mutex_unlock(&mutex);

    bool track = false;
    if (fd < 0) {
        /* Not under the mutex: opening may block, and fork() takes it. */
        fd = open(path, flags, mode);
        track = fd >= 0 && !untracked && fstat(fd, &st) == 0 && S_ISREG(st.st_mode);
    }
    if (track) {
        *file = (struct file){.fd = fd, .access = access};
        pthread_mutex_lock(&mutex);
        struct inode *inode = find_inode(st.st_dev, st.st_ino);
        if (!inode) {
            *fresh = (struct inode){.dev = st.st_dev, .ino = st.st_ino, .next = inodes};
            inodes = inode = fresh;
            fresh = NULL;
        }
        attach(file, inode);
        file = NULL;
        pthread_mutex_unlock(&mutex);
    }
    int saved = errno;
    free(file);
    free(fresh);
    errno = saved;
    return fd;
}

/* close() */
HOOK int dcb_locks_close(int fd) {
    if (in_child()) {
        return close(fd);
    }
    pthread_mutex_lock(&mutex);
    struct file **at = find(fd);
    struct file *file = *at;
    if (file) {
        struct inode *inode = file->inode;
        *at = file->next;
        file->next = inode->pool;
        inode->pool = file;
        if (--inode->open == 0) {
            struct flock none;
            /* SQLite leaves it to close() to let go of the shared memory's file. */
            if (inode->lock) {
                lock_whole(inode->lock->fd, F_OFD_SETLK, F_UNLCK, &none);
            }
            sweep();
        }
    }
    pthread_mutex_unlock(&mutex);
    return file ? 0 : close(fd);
}

/* fcntl() */
HOOK int dcb_locks_fcntl(int fd, int command, ...) {
    va_list arguments;
    va_start(arguments, command);
    void *argument = va_arg(arguments, void *);
    va_end(arguments);

    int own = command == F_SETLK    ? F_OFD_SETLK
              : command == F_SETLKW ? F_OFD_SETLKW
              : command == F_GETLK  ? F_OFD_GETLK
                                    : -1;
    if (own == -1) {
        return fcntl(fd, command, argument);
    }
    if (in_child()) {
        errno = ENOLCK;
        return -1;
    }
    pthread_mutex_lock(&mutex);
    struct file *file = *find(fd);
    struct file *lock = file ? lock_file(file) : NULL;
    int through = lock ? lock->fd : -1; /* stays open as long as fd does */
    bool ordinary = !file || (lock && file->inode->ordinary);
    pthread_mutex_unlock(&mutex);
    if (ordinary) {
        return fcntl(fd, command, argument);
    }
    if (through < 0) {
        return -1;
    }
    ((struct flock *)argument)->l_pid = 0; /* the kernel asks for it */
    return fcntl(through, own, argument);
}

/* What is known of a file: 0 if the library does not lock it; else bit 0, and bit 1 if its locks
 * are open-file-description locks, and bit 2 if this process has a POSIX lock on it besides. */
HOOK int dcb_locks_inspect(uint64_t dev, uint64_t ino) {
    struct flock whole;
    int found = 0;
    if (in_child()) {
        return 0;
    }
    pthread_mutex_lock(&mutex);
    struct inode *inode = find_inode((dev_t)dev, (ino_t)ino);
    if (inode && inode->lock && inode->open > 0) {
        found = inode->ordinary ? 1 : 3;
        if (!inode->ordinary && lock_whole(inode->lock->fd, F_OFD_GETLK, F_WRLCK, &whole) == 0 &&
            whole.l_type != F_UNLCK && whole.l_pid == owner) {
            found |= 4;
        }
    }
    pthread_mutex_unlock(&mutex);
    return found;
}

static void before_fork(void) {
    pthread_mutex_lock(&mutex);
}

static void after_fork_in_parent(void) {
    pthread_mutex_unlock(&mutex);
}

/* An open-file-description lock lives until the last copy of its descriptor is closed. Only close()
 * is called, which may be after a fork() of a process with threads. */
static void after_fork_in_child(void) {
    for (struct inode *inode = inodes; inode; inode = inode->next) {
        if (inode->lock) {
            close(inode->lock->fd);
        }
        for (struct file *file = inode->pool; file; file = file->next) {
            close(file->fd);
        }
    }
    inodes = NULL; /* a child of the child must not close them again */
    owner = -1;    /* nor may one that is given the owner's number take itself for the owner */
    pthread_mutex_unlock(&mutex);
}

/* To be called before files are opened, in a process in whose parent none was open at the fork: it
 * becomes the owner of its own locks. What the parent had kept open is closed, if the fork did not
 * do that, since it was not one of the C library's. */
HOOK void dcb_locks_adopt(void) {
    if (!in_child()) {
        return;
    }
    pthread_mutex_lock(&mutex);
    if (in_child()) {
        while (inodes) {
            struct inode *inode = inodes;
            inodes = inode->next;
            if (inode->lock) {
                shut(inode->lock);
            }
            while (inode->pool) {
                struct file *file = inode->pool;
                inode->pool = file->next;
                shut(file);
            }
            free(inode);
        }
        owner = getpid();
    }
    pthread_mutex_unlock(&mutex);
}

/* To be called once, before the hooks are. Whether the system has open-file-description locks; if
 * not, the hooks are not to be used. */
HOOK int dcb_locks_prepare(void) {
    struct flock none;
    int fd = memfd_create("dcb-locks", MFD_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    bool offered = lock_whole(fd, F_OFD_SETLK, F_UNLCK, &none) == 0;
    close(fd);
    owner = getpid();
    return offered && pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) == 0;
}
