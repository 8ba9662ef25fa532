/* worker.c - see worker.h. */
#include "worker.h"

#include "qi_atomic.h"
#include "transport.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define STACK_SIZE (512u * 1024u)

static int64_t
now_ms(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000 + ts.tv_nsec / 1000000;
}

/* First the field, then the descriptor: a child forked in between closes nobody else's.
 */
static void
close_end(int *end)
{
    int fd = QI_LOAD(*end);

    QI_STORE(*end, -1);
    if (fd >= 0) {
        (void)close(fd);
    }
}

static void *
run(void *argument)
{
    struct qi_worker *w = argument;

    w->work(w->ctx);
    close_end(&w->ended_ends[1]); /* from here on nothing is touched */
    return NULL;
}

static int
start_thread(struct qi_worker *w, const char *name)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    int error = pthread_attr_init(&attributes);

    if (error != 0) {
        return error;
    }
    /* If this size is too small for the system, its default is taken. */
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&w->thread, &attributes, run, w);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
#ifdef __linux__
    if (error == 0) {
        (void)pthread_setname_np(w->thread, name);
    }
#else
    (void)name;
#endif
    return error;
}

int
qi_worker_start(struct qi_worker *w, const char *name, void (*work)(void *ctx), void *ctx)
{
    int error = 0;

    memset(w, 0, sizeof(*w));
    w->work = work;
    w->ctx = ctx;
    w->wake_ends[0] = w->wake_ends[1] = w->ended_ends[0] = w->ended_ends[1] = -1;
    if (qi_transport_pipe(w->wake_ends) < 0 || qi_transport_pipe(w->ended_ends) < 0) {
        error = errno;
    }
    if (error == 0) {
        error = start_thread(w, name);
    }
    if (error != 0) {
        qi_worker_fini(w);
    }
    return error;
}

int
qi_worker_wait(struct qi_worker *w, int timeout_ms)
{
    struct pollfd wake = {.fd = w->wake_ends[0], .events = POLLIN};
    uint8_t bytes[64];

    if (!QI_LOAD_ACQUIRE(w->stop) && poll(&wake, 1, timeout_ms) > 0) {
        while (read(w->wake_ends[0], bytes, sizeof(bytes)) > 0) {
            ;
        }
    }
    return !QI_LOAD_ACQUIRE(w->stop);
}

void
qi_worker_nudge(struct qi_worker *w)
{
    static const uint8_t byte = 1;

    /* A full pipe wakes as well. */
    ssize_t n = write(w->wake_ends[1], &byte, sizeof(byte));
    (void)n;
}

int
qi_worker_stop(struct qi_worker *w, int timeout_ms)
{
    int64_t deadline = now_ms() + (timeout_ms > 0 ? timeout_ms : 0);
    struct pollfd end = {.fd = w->ended_ends[0], .events = POLLIN};

    QI_STORE_RELEASE(w->stop, 1);
    qi_worker_nudge(w);
    for (;;) {
        int64_t left = deadline - now_ms();
        int r = poll(&end, 1, left > 0 ? (int)left : 0);
        if (r > 0) {
            break;
        }
        if (r == 0 || errno != EINTR) {
            (void)pthread_detach(w->thread);
            return 0;
        }
    }
    (void)pthread_join(w->thread, NULL);
    return 1;
}

void
qi_worker_fini(struct qi_worker *w)
{
    for (int i = 0; i < 2; i++) {
        close_end(&w->wake_ends[i]);
        close_end(&w->ended_ends[i]);
    }
}

void
qi_worker_forget(struct qi_worker *w)
{
    qi_worker_fini(w);
}
