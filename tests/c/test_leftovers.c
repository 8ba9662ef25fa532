/* test_leftovers.c - the promises of proto/leftovers.h, and that the client keeps them.
 */
#include "qi_test.h"

#include "client_internal.h"
#include "leftovers.h"
#include "segment_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/file.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define NOBODY 1999999999 /* a number that no process has */
#define DAY 86400
#define APPLICATIONS 4

static char directory[64];

static const char *
path_of(const char *name)
{
    static char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    return path;
}

static int
is_there(const char *name)
{
    struct stat st;

    return lstat(path_of(name), &st) == 0;
}

/* A file so old, of so many real bytes. */
static void
leave(const char *name, int64_t age_s, size_t bytes)
{
    int fd = open(path_of(name), O_RDWR | O_CREAT | O_EXCL, 0600);
    struct timespec times[2] = {{.tv_nsec = UTIME_OMIT}, {.tv_sec = time(NULL) - age_s}};

    CHECK(fd >= 0);
    CHECK(bytes == 0 || posix_fallocate(fd, 0, (off_t)bytes) == 0);
    CHECK_INT(futimens(fd, times), 0);
    (void)close(fd);
}

static const char *
dead_name(unsigned number)
{
    static char name[QI_LEFTOVER_NAME];

    (void)snprintf(name, sizeof(name), "%u-%u.qiseg", NOBODY, number);
    return name;
}

static void
leave_dead(unsigned number, int64_t age_s)
{
    leave(dead_name(number), age_s, 4096);
}

/* Files of the directory that end like a segment, as many as there are. */
static size_t
count_files(void)
{
    DIR *opened = opendir(directory);
    const struct dirent *entry;
    size_t n = 0;

    CHECK(opened != NULL);
    while ((entry = readdir(opened)) != NULL) {
        n += strstr(entry->d_name, ".qiseg") != NULL;
    }
    (void)closedir(opened);
    return n;
}

static void
remove_all(void)
{
    DIR *opened = opendir(directory);
    const struct dirent *entry;

    CHECK(opened != NULL);
    while ((entry = readdir(opened)) != NULL) {
        if (entry->d_name[0] != '.') {
            CHECK_INT(remove(path_of(entry->d_name)), 0);
        }
    }
    (void)closedir(opened);
}

static size_t
clear(size_t files, uint64_t bytes, int64_t age_s)
{
    struct qi_leftover_limits limits = {files, bytes, age_s};

    return qi_leftovers_remove(directory, &limits);
}

/*********** bounds ***********/

static void
the_newest_stay_up_to_a_number(void)
{
    for (unsigned i = 0; i < 6; i++) {
        leave_dead(i, 100 + i);
    }
    CHECK_INT(clear(4, UINT64_MAX, DAY), 2);
    for (unsigned i = 0; i < 6; i++) {
        CHECK_INT(is_there(dead_name(i)), i < 4);
    }
    CHECK_INT(clear(4, UINT64_MAX, DAY), 0);
    remove_all();
}

static void
the_newest_stay_up_to_a_size_and_one_in_any_case(void)
{
    for (unsigned i = 0; i < 4; i++) {
        leave(dead_name(i), 100 + i, 1 << 20);
    }
    CHECK_INT(clear(16, 3 << 20, DAY), 1);
    CHECK(!is_there(dead_name(3)));
    CHECK_INT(clear(16, 1000, DAY), 2);
    CHECK(is_there(dead_name(0)));
    remove_all();
}

static void
the_old_go(void)
{
    leave_dead(1, 2 * DAY);
    CHECK_INT(clear(16, UINT64_MAX, 3 * DAY), 0);
    CHECK_INT(clear(16, UINT64_MAX, DAY), 1);
    CHECK(!is_there(dead_name(1)));
}

/*********** what is never touched ***********/

static void
those_of_the_living_stay(void)
{
    char name[QI_LEFTOVER_NAME];
    unsigned long long start = qi_runtime_start_time((uint64_t)getpid());

    (void)snprintf(name, sizeof(name), "%d-%llu.qiseg", (int)getpid(), start);
    leave(name, 30 * DAY, 4096);
    CHECK_INT(clear(0, 0, 0), 0);
    CHECK(is_there(name));
    remove_all();
    /* The number was given to another process. */
    (void)snprintf(name, sizeof(name), "%d-%llu.qiseg", (int)getpid(), start + 1);
    leave(name, 30 * DAY, 4096);
    CHECK_INT(clear(0, 0, DAY), start == 0 ? 0 : 1);
    remove_all();
}

static void
those_of_zombies_go(void)
{
    char name[QI_LEFTOVER_NAME];
    siginfo_t info;
    pid_t child = fork();

    if (child == 0) {
        _exit(0);
    }
    CHECK(child > 0);
    unsigned long long start = qi_runtime_start_time((uint64_t)child);
    CHECK_INT(waitid(P_PID, (id_t)child, &info, WEXITED | WNOWAIT), 0);
    (void)snprintf(name, sizeof(name), "%d-%llu.qiseg", (int)child, start);
    leave(name, 2 * DAY, 4096);
    CHECK_INT(clear(16, UINT64_MAX, DAY), start == 0 ? 0 : 1);
    CHECK_INT(waitpid(child, NULL, 0), child);
}

static void
one_that_is_held_stays_and_does_not_count(void)
{
    leave_dead(1, 100);
    leave_dead(2, 200);
    leave_dead(3, 30 * DAY);
    int newest = open(path_of(dead_name(1)), O_RDONLY);
    int oldest = open(path_of(dead_name(3)), O_RDONLY);
    CHECK_INT(flock(newest, LOCK_SH), 0);
    CHECK_INT(flock(oldest, LOCK_SH), 0);
    CHECK_INT(clear(1, UINT64_MAX, DAY), 0);
    CHECK_INT(count_files(), 3);
    (void)close(newest);
    (void)close(oldest);
    CHECK_INT(clear(1, UINT64_MAX, DAY), 2);
    CHECK(is_there(dead_name(1)));
    remove_all();
}

static void
other_files_are_nobodys_business(void)
{
    static const char *const names[] = {
        "notes.qiseg",   "1-2-3-4.qiseg",
        "-1-2.qiseg",    "1999999999-6.qiseg.old",
        "1-+2.qiseg",    "19999999990000-1.qiseg",
        "1-.qiseg",      "1999999999-99999999999999999999.qiseg",
        "1-2-.qiseg",    " 1-2.qiseg",
        "1-2-3x.qiseg",  "1999999999-1-1234567890.qiseg",
        "qtinterd.sock", "key"};

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        leave(names[i], 30 * DAY, 0);
    }
    CHECK_INT(symlink("notes.qiseg", path_of(dead_name(1))), 0);
    CHECK_INT(mkfifo(path_of(dead_name(2)), 0600), 0);
    CHECK_INT(mkdir(path_of(dead_name(3)), 0700), 0);
    CHECK_INT(clear(0, 0, 0), 0);
    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        CHECK(is_there(names[i]));
    }
    remove_all();
    CHECK_INT(qi_leftovers_remove("/dev/null/not-there",
                                  &(struct qi_leftover_limits)QI_LEFTOVER_LIMITS),
              0);
}

static void
without_descriptors_nothing_is_removed(void)
{
    struct rlimit before, none;

    leave_dead(1, 30 * DAY);
    CHECK_INT(getrlimit(RLIMIT_NOFILE, &before), 0);
    none = before;
    none.rlim_cur = 3;
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &none), 0);
    size_t removed = clear(0, 0, 0);
    CHECK_INT(setrlimit(RLIMIT_NOFILE, &before), 0);
    CHECK_INT(removed, 0);
    CHECK(is_there(dead_name(1)));
    remove_all();
}

/*********** finding ***********/

static void
found_are_segments_the_newest_first(void)
{
    struct qi_client_options options = {
        .name = "died", .directory = directory, .level = 2, .ring_count = 1024};
    struct qi_leftover found[8];
    char own[QI_PATH_MAX];
    qi_client *c = NULL;

    CHECK_INT(qi_client_open(&options, &c), QI_OK);
    for (unsigned i = 1; i <= 3; i++) {
        char copy[QI_PATH_MAX];
        (void)snprintf(copy, sizeof(copy), "%s", path_of(dead_name(i)));
        CHECK_INT(qi_client_dump(c, copy), QI_OK);
        struct timespec times[2] = {{.tv_nsec = UTIME_OMIT},
                                    {.tv_sec = time(NULL) - 10 * (int)i}};
        CHECK_INT(utimensat(AT_FDCWD, copy, times, 0), 0);
    }
    leave(dead_name(4), 1, 8192); /* no segment */
    (void)snprintf(own, sizeof(own), "%s", qi_client_segment_path(c));
    CHECK_INT(qi_leftovers_find(directory, found, 8), 3);
    for (unsigned i = 0; i < 3; i++) {
        CHECK(strcmp(found[i].name, dead_name(i + 1)) == 0);
        CHECK(strcmp(found[i].header.name, "died") == 0);
        CHECK(found[i].written > 0);
    }
    CHECK_INT(qi_leftovers_find(directory, found, 2), 2);
    qi_client_close(c, 1000, 0);
    remove_all();
}

/*********** the client ***********/

/* An application that begins and dies; in between it waits for the end of `gate`, a
   pipe; NULL: it does not. */
static pid_t
start_application(const int *gate)
{
    struct qi_client_options options = {
        .name = "dies", .directory = directory, .level = 2, .ring_count = 1024};
    qi_client *c = NULL;
    pid_t child = fork();
    char byte;

    if (child == 0) {
        int r = qi_client_open(&options, &c);
        if (r == QI_OK && gate != NULL) {
            (void)close(gate[1]);
            (void)!read(gate[0], &byte, 1);
        }
        if (r != QI_OK || access(qi_client_segment_path(c), F_OK) < 0) {
            _exit(1);
        }
        (void)raise(SIGKILL);
    }
    CHECK(child > 0);
    return child;
}

static void
wait_for_its_death(pid_t child)
{
    int status = 0;

    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK(WIFSIGNALED(status) && WTERMSIG(status) == SIGKILL);
}

static void
programs_that_die_leave_a_bounded_number(void)
{
    for (unsigned i = 0; i < 2 * QI_LEFTOVERS_FILES; i++) {
        wait_for_its_death(start_application(NULL));
        /* The bound, and the one that came after it was kept. */
        CHECK(count_files() <= QI_LEFTOVERS_FILES + 1);
    }
    CHECK_INT(count_files(), QI_LEFTOVERS_FILES + 1);
    remove_all();
}

static void
any_number_may_begin_at_once(void)
{
    pid_t children[APPLICATIONS];

    for (int round = 0; round < 8; round++) {
        int gate[2];
        CHECK_INT(pipe(gate), 0);
        for (unsigned i = 0; i < 3 * QI_LEFTOVERS_FILES; i++) {
            leave_dead(i, 100 + i);
        }
        for (int i = 0; i < APPLICATIONS; i++) {
            children[i] = start_application(gate);
        }
        /* Each then looks whether its own is there. */
        (void)close(gate[1]);
        (void)close(gate[0]);
        for (int i = 0; i < APPLICATIONS; i++) {
            wait_for_its_death(children[i]);
        }
        for (unsigned i = 0; i < QI_LEFTOVERS_FILES - APPLICATIONS; i++) {
            CHECK(is_there(dead_name(i)));
        }
        CHECK(count_files() <= QI_LEFTOVERS_FILES + 2 * APPLICATIONS);
        remove_all();
    }
}

static void
a_file_that_is_made_waits_for_whoever_looks_at_it(void)
{
    int fd, other;

    leave_dead(1, 1);
    fd = open(path_of(dead_name(1)), O_RDWR);
    other = open(path_of(dead_name(1)), O_RDONLY);
    CHECK_INT(flock(other, LOCK_EX), 0);
    CHECK_INT(qi_leftovers_hold(fd), 0); /* for too long */
    (void)close(other);
    CHECK_INT(qi_leftovers_hold(fd), 1);
    other = open(path_of(dead_name(1)), O_RDONLY);
    CHECK(flock(other, LOCK_EX | LOCK_NB) < 0 && errno == EWOULDBLOCK);
    CHECK_INT(unlink(path_of(dead_name(1))), 0);
    CHECK_INT(qi_leftovers_hold(fd), 0); /* it is no name's any more */
    (void)close(fd);
    (void)close(other);
}

int
main(void)
{
    strcpy(directory, "/tmp/qi-leftovers-XXXXXX");
    if (mkdtemp(directory) == NULL) {
        return 1;
    }
    RUN(the_newest_stay_up_to_a_number);
    RUN(the_newest_stay_up_to_a_size_and_one_in_any_case);
    RUN(the_old_go);
    RUN(those_of_the_living_stay);
    RUN(those_of_zombies_go);
    RUN(one_that_is_held_stays_and_does_not_count);
    RUN(other_files_are_nobodys_business);
    RUN(without_descriptors_nothing_is_removed);
    RUN(found_are_segments_the_newest_first);
    RUN(programs_that_die_leave_a_bounded_number);
    RUN(any_number_may_begin_at_once);
    RUN(a_file_that_is_made_waits_for_whoever_looks_at_it);
    CHECK_INT(rmdir(directory), 0);
    return 0;
}
