/* leftovers.c - see leftovers.h. */
#include "leftovers.h"

#include "runtime.h"
#include "segment_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* A directory with more files than these is somebody's joke, or a program's that dies
   again and again: the next time it is the others' turn. */
#define NAMES_MAX 8192u
#define NAMES_FIRST 64u
#define SECOND INT64_C(1000000000)
/* Whoever tries a lock has it for some microseconds. */
#define LOCK_TRIES 20
#define LOCK_PAUSE_NS 1000000

struct named {
    char name[QI_LEFTOVER_NAME];
    int64_t written;
    uint64_t bytes;
};

struct names {
    struct named *at; /* owned */
    size_t len, capacity;
};

/* Digits at *at, at most `most` of them, and no sign; 0 if there are none. */
static int
take_number(const char **at, int most, uint64_t *ret_value)
{
    const char *begin = *at;

    *ret_value = 0;
    for (; **at >= '0' && **at <= '9' && *at - begin < most; ++*at) {
        *ret_value = *ret_value * 10 + (uint64_t)(**at - '0');
    }
    return *at != begin;
}

/* PID-START.qiseg or PID-START-N.qiseg. */
static int
is_segment_name(const char *name, uint64_t *ret_pid, uint64_t *ret_start)
{
    uint64_t again;

    if (!take_number(&name, 10, ret_pid) || *name++ != '-'
        || !take_number(&name, 19, ret_start)) {
        return 0;
    }
    if (*name == '-') {
        name++;
        if (!take_number(&name, 9, &again)) {
            return 0;
        }
    }
    return strcmp(name, QI_SEGMENT_SUFFIX) == 0;
}

static int64_t
written_at(const struct stat *st)
{
#if defined(__APPLE__)
    return (int64_t)st->st_mtimespec.tv_sec * SECOND + st->st_mtimespec.tv_nsec;
#else
    return (int64_t)st->st_mtim.tv_sec * SECOND + st->st_mtim.tv_nsec;
#endif
}

static int
is_ours(const struct stat *st)
{
    return S_ISREG(st->st_mode) && st->st_uid == geteuid();
}

static int
newest_first(const void *left, const void *right)
{
    const struct named *a = left;
    const struct named *b = right;

    if (a->written != b->written) {
        return a->written > b->written ? -1 : 1;
    }
    return strcmp(a->name, b->name); /* the same in each process */
}

static struct named *
new_name(struct names *names)
{
    if (names->len == names->capacity) {
        size_t capacity = names->capacity == 0 ? NAMES_FIRST : names->capacity * 2;
        void *bigger = realloc(names->at, capacity * sizeof(*names->at));
        if (bigger == NULL) {
            return NULL;
        }
        names->at = bigger;
        names->capacity = capacity;
    }
    return &names->at[names->len++];
}

/* The files whose processes do not run, the newest first. */
static void
list_names(DIR *directory, struct names *names)
{
    const struct dirent *entry;

    for (unsigned i = 0; i < NAMES_MAX && (entry = readdir(directory)) != NULL; i++) {
        uint64_t pid, start;
        struct stat st;
        if (strlen(entry->d_name) >= QI_LEFTOVER_NAME
            || !is_segment_name(entry->d_name, &pid, &start)
            || qi_runtime_process_runs(pid, start)
            || fstatat(dirfd(directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0
            || !is_ours(&st)) {
            continue;
        }
        struct named *found = new_name(names);
        if (found == NULL) {
            break;
        }
        strcpy(found->name, entry->d_name);
        found->written = written_at(&st);
        found->bytes = (uint64_t)st.st_blocks * 512;
    }
    if (names->len > 1) {
        qsort(names->at, names->len, sizeof(*names->at), newest_first);
    }
}

static int
open_one(DIR *directory, const char *name)
{
    return openat(dirfd(directory), name, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
}

static void
pause_a_moment(void)
{
    struct timespec pause = {.tv_nsec = LOCK_PAUSE_NS};

    (void)nanosleep(&pause, NULL);
}

/* Takes the lock that nobody else may have: 1.  0: somebody has one. */
static int
take_alone(int fd, int tries)
{
    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK || --tries <= 0) {
            return 0;
        }
        pause_a_moment();
    }
    return 1;
}

int
qi_leftovers_hold(int fd)
{
    struct stat st;

    for (int i = 0; flock(fd, LOCK_SH | LOCK_NB) < 0; i++) {
        if (errno != EWOULDBLOCK) {
            return 1; /* a file system without locks: the pid must do */
        }
        if (i == LOCK_TRIES) {
            return 0;
        }
        pause_a_moment();
    }
    return fstat(fd, &st) == 0 && st.st_nlink > 0;
}

size_t
qi_leftovers_find(const char *path, struct qi_leftover *ret_found, size_t most)
{
    DIR *directory = opendir(path);
    struct names names = {0};
    size_t n = 0;

    if (directory == NULL) {
        return 0;
    }
    list_names(directory, &names);
    for (size_t i = 0; i < names.len && n < most; i++) {
        struct qi_leftover *found = &ret_found[n];
        int fd = open_one(directory, names.at[i].name);
        if (fd < 0) {
            continue;
        }
        /* Whoever looks at it too has it for a moment only. */
        if (take_alone(fd, LOCK_TRIES)
            && qi_segment_peek(fd, &found->header) == QI_VIEW_OK) {
            memcpy(found->name, names.at[i].name, sizeof(found->name));
            found->written = names.at[i].written;
            n++;
        }
        (void)close(fd);
    }
    free(names.at);
    (void)closedir(directory);
    return n;
}

/* Does the name still stand for this file? */
static int
is_still_there(DIR *directory, const char *name, int fd)
{
    struct stat here, there;

    return fstat(fd, &here) == 0
           && fstatat(dirfd(directory), name, &there, AT_SYMLINK_NOFOLLOW) == 0
           && here.st_dev == there.st_dev && here.st_ino == there.st_ino;
}

size_t
qi_leftovers_remove(const char *path, const struct qi_leftover_limits *limits)
{
    DIR *directory = opendir(path);
    struct names names = {0};
    size_t kept = 0, removed = 0;
    uint64_t bytes = 0;
    int64_t oldest = ((int64_t)time(NULL) - limits->age_s) * SECOND;

    if (directory == NULL) {
        return 0;
    }
    list_names(directory, &names);
    for (size_t i = 0; i < names.len; i++) {
        const struct named *file = &names.at[i];
        int fd = open_one(directory, file->name);
        if (fd < 0) {
            continue;
        }
        /* One that is held counts as the living do, that is, not. */
        if (take_alone(fd, 1)) {
            int fits = kept == 0
                       || (kept < limits->files && bytes + file->bytes <= limits->bytes);
            if (fits && file->written >= oldest) {
                kept++;
                bytes += file->bytes;
            }
            else if (is_still_there(directory, file->name, fd)
                     && unlinkat(dirfd(directory), file->name, 0) == 0) {
                removed++;
            }
        }
        (void)close(fd);
    }
    free(names.at);
    (void)closedir(directory);
    return removed;
}
