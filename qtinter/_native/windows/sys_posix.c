/* sys_posix.c - sys.h on POSIX. */
#include "sys.h"

#include "../poller.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

int64_t
qi_clock_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/*********** threads ***********/

void
qi_mutex_init(qi_mutex *mutex)
{
    (void)pthread_mutex_init(mutex, NULL);
}

void
qi_mutex_fini(qi_mutex *mutex)
{
    (void)pthread_mutex_destroy(mutex);
}

void
qi_mutex_lock(qi_mutex *mutex)
{
    (void)pthread_mutex_lock(mutex);
}

void
qi_mutex_unlock(qi_mutex *mutex)
{
    (void)pthread_mutex_unlock(mutex);
}

void
qi_condition_init(qi_condition *condition)
{
    (void)pthread_cond_init(condition, NULL);
}

void
qi_condition_fini(qi_condition *condition)
{
    (void)pthread_cond_destroy(condition);
}

void
qi_condition_wait(qi_condition *condition, qi_mutex *mutex)
{
    (void)pthread_cond_wait(condition, mutex);
}

void
qi_condition_broadcast(qi_condition *condition)
{
    (void)pthread_cond_broadcast(condition);
}

struct start {
    void (*function)(void *);
    void *argument;
};

static void *
run_thread(void *start_ptr)
{
    struct start start = *(struct start *)start_ptr;

    free(start_ptr);
    start.function(start.argument);
    return NULL;
}

int
qi_thread_start(qi_thread *thread, void (*function)(void *), void *argument)
{
    struct start *start = malloc(sizeof(*start));
    sigset_t all;
    sigset_t before;

    if (start == NULL) {
        return -ENOMEM;
    }
    *start = (struct start){function, argument};
    /* Signals are for threads that expect them. */
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    int r = pthread_create(thread, NULL, run_thread, start);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (r != 0) {
        free(start);
    }
    return -r;
}

void
qi_thread_join(qi_thread *thread)
{
    (void)pthread_join(*thread, NULL);
}

void
qi_thread_pause(void)
{
    struct timespec ms = {.tv_sec = 0, .tv_nsec = 1000000};

    (void)nanosleep(&ms, NULL);
}

/*********** sockets ***********/

int
qi_sys_pair(int fds[2])
{
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, fds) < 0) {
        fds[0] = fds[1] = -1;
        return -errno;
    }
    for (int i = 0; i < 2; i++) {
        (void)fcntl(fds[i], F_SETFD, FD_CLOEXEC);
        (void)fcntl(fds[i], F_SETFL, O_NONBLOCK);
    }
    return 0;
}

void
qi_sys_close(int fd)
{
    (void)close(fd);
}

void
qi_sys_send(int fd)
{
    (void)!write(fd, "", 1);
}

void
qi_sys_drain(int fd)
{
    char buffer[64];

    while (read(fd, buffer, sizeof(buffer)) == (ssize_t)sizeof(buffer)) {
    }
}

int
qi_sys_check(int fd)
{
    return fcntl(fd, F_GETFD) < 0 ? -errno : 0;
}

int
qi_sys_poll(struct pollfd *fds, int n, int timeout_ms)
{
    int ready = poll(fds, (nfds_t)n, timeout_ms);

    return ready < 0 ? -errno : ready;
}
