/*
 * capture_linux.c - see capture.h.
 *
 * The handler runs in whatever the thread was doing, so it makes system calls and touches
 * atomics, nothing else.  Each request has a number: `asked` is the last one sent,
 * `answered` the last one whose text is complete, `left` the last one whose handler is
 * out of this memory; asked == left means that nothing is in flight.
 *
 * A signal whose thread blocks it stays pending, perhaps for ever; were the handler taken
 * away then, its default action would end the process.  So it is first ignored, which
 * makes the kernel drop it.
 */
#include "capture.h"

#include "client_internal.h"
#include "qi_atomic.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

/* How long qi_capture_disarm() waits for a handler: one takes about a millisecond. */
#define DISARM_MS 100

static const char is_on[] = "on";
static const char is_off[] = "off: inspection is being disabled";
static const char is_new[] = "off: the handler is not installed yet";
static const char is_replaced[] = "off: the program uses the signal for something else";
static const char is_child[] = "off: in a forked child";

struct qi_capture {
    /* constant */
    int signal;
    int file;  /* owned; faulthandler writes it, we read it */
    int event; /* owned */
    pid_t process;

    pthread_mutex_t lock; /* guards armed, and sending against disarming */
    int armed;
    int aside;         /* the program has replaced the handler, and may have kept it */
    void (*dump)(int); /* faulthandler's handler */
    const char *state; /* atomic */

    /* [sender] writes, the handler reads */
    uint32_t asked;
    uint32_t thread;
    /* the handler writes */
    uint32_t answered, left;
    int64_t longest;
    uint64_t count;
    /* [sender] */
    uint32_t taken;

    struct qi_capture *next_kept;
};

/* What the handler works on; NULL: nothing. */
static struct qi_capture *the_capture;

/* Those that cannot be freed, because a handler may still use them. */
static struct qi_capture *kept;

static int64_t
now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
on_signal(int number, siginfo_t *info, void *context)
{
    int before = errno;
    struct qi_capture *c = __atomic_load_n(&the_capture, __ATOMIC_ACQUIRE);
    uint64_t one = 1;

    (void)context;
    if (c == NULL || info->si_code != SI_TKILL || info->si_pid != c->process) {
        return; /* somebody else's */
    }
    uint32_t asked = QI_LOAD_ACQUIRE(c->asked);
    if (asked == QI_LOAD(c->answered)
        || (uint32_t)syscall(SYS_gettid) != QI_LOAD(c->thread)) {
        errno = before;
        return; /* nobody asked, or not this thread */
    }
    int64_t began = now_ns();
    c->dump(number);
    int64_t took = now_ns() - began;
    if (took > QI_LOAD(c->longest)) {
        QI_STORE(c->longest, took);
    }
    QI_ADD(c->count, 1);
    QI_STORE_RELEASE(c->answered, asked);
    ssize_t n = write(c->event, &one, sizeof(one));
    (void)n;
    QI_STORE_RELEASE(c->left, asked);
    errno = before;
}

/* --- making ----------------------------------------------------------------------- */

int
qi_capture_new(int signal, struct qi_capture **ret_capture)
{
    struct sigaction now;

    if (sigaction(signal, NULL, &now) < 0 || signal == SIGKILL || signal == SIGSTOP) {
        qi_client_set_error("there is no signal %d that could be used", signal);
        return QI_CAPTURE_OS;
    }
    if ((now.sa_flags & SA_SIGINFO) != 0 || now.sa_handler != SIG_DFL) {
        qi_client_set_error("signal %d is in use", signal);
        return QI_CAPTURE_OFF;
    }
    struct qi_capture *c = calloc(1, sizeof(*c));
    if (c == NULL) {
        qi_client_set_error("no memory");
        return QI_CAPTURE_OS;
    }
    c->signal = signal;
    c->process = getpid();
    c->state = is_new;
    c->file = memfd_create("qtinter-stack", MFD_CLOEXEC);
    c->event = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (c->file < 0 || c->event < 0 || pthread_mutex_init(&c->lock, NULL) != 0) {
        qi_client_set_error("no file for stacks: %s", strerror(errno));
        (void)close(c->file);
        (void)close(c->event);
        free(c);
        return QI_CAPTURE_OS;
    }
    *ret_capture = c;
    return QI_CAPTURE_OK;
}

int
qi_capture_file(const struct qi_capture *c)
{
    return c->file;
}

/* The handler that is installed now is ours. */
static int
is_installed(const struct qi_capture *c)
{
    struct sigaction now;

    return sigaction(c->signal, NULL, &now) == 0 && (now.sa_flags & SA_SIGINFO) != 0
           && now.sa_sigaction == on_signal;
}

int
qi_capture_arm(struct qi_capture *c)
{
    struct sigaction action;

    if (sigaction(c->signal, NULL, &action) < 0 || (action.sa_flags & SA_SIGINFO) != 0
        || action.sa_handler == SIG_DFL || action.sa_handler == SIG_IGN) {
        qi_client_set_error("faulthandler has not taken signal %d", c->signal);
        return QI_CAPTURE_OFF;
    }
    c->dump = action.sa_handler;
    /* As faulthandler has it (its stack, system calls go on), but not within itself. */
    action.sa_sigaction = on_signal;
    action.sa_flags = (action.sa_flags | SA_SIGINFO) & ~SA_NODEFER;
    __atomic_store_n(&the_capture, c, __ATOMIC_RELEASE);
    if (sigaction(c->signal, &action, NULL) < 0) {
        __atomic_store_n(&the_capture, NULL, __ATOMIC_RELEASE);
        qi_client_set_error("signal %d: %s", c->signal, strerror(errno));
        return QI_CAPTURE_OS;
    }
    (void)pthread_mutex_lock(&c->lock);
    c->armed = 1;
    QI_STORE(c->state, is_on);
    (void)pthread_mutex_unlock(&c->lock);
    return QI_CAPTURE_OK;
}

/* --- ending ----------------------------------------------------------------------- */

static int
is_in_flight(const struct qi_capture *c)
{
    return QI_LOAD(c->asked) != QI_LOAD_ACQUIRE(c->left);
}

static int
stop_sending(struct qi_capture *c, const char *state)
{
    (void)pthread_mutex_lock(&c->lock);
    int armed = c->armed;
    c->armed = 0;
    QI_STORE(c->state, state);
    (void)pthread_mutex_unlock(&c->lock);
    return armed;
}

int
qi_capture_disarm(struct qi_capture *c)
{
    if (c == NULL || !stop_sending(c, is_off)) {
        return 0;
    }
    for (int ms = 0; ms < DISARM_MS && is_in_flight(c); ms++) {
        (void)nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
    }
    if (!is_installed(c)) {
        c->aside = 1;
        return 0;
    }
    if (is_in_flight(c)) {
        struct sigaction ignored = {.sa_handler = SIG_IGN};
        (void)sigaction(c->signal, &ignored, NULL);
    }
    return 1;
}

void
qi_capture_at_exit(struct qi_capture *c)
{
    if (c != NULL) {
        (void)stop_sending(c, is_off);
    }
}

void
qi_capture_free(struct qi_capture *c)
{
    if (c == NULL) {
        return;
    }
    /* A handler that has begun and not ended (its thread is stopped in the kernel), or
       one that the program has put aside, keeps what it needs. */
    if (__atomic_load_n(&the_capture, __ATOMIC_RELAXED) == c) {
        __atomic_store_n(&the_capture, NULL, __ATOMIC_RELEASE);
        if (is_in_flight(c) || c->aside) {
            c->next_kept = kept; /* one client at a time, so no lock */
            kept = c;
            return;
        }
    }
    (void)pthread_mutex_destroy(&c->lock);
    (void)close(c->file);
    (void)close(c->event);
    free(c);
}

/* --- asking ----------------------------------------------------------------------- */

const char *
qi_capture_state(const struct qi_capture *c)
{
    return QI_LOAD(c->state);
}

int64_t
qi_capture_longest(const struct qi_capture *c)
{
    return QI_LOAD(c->longest);
}

uint64_t
qi_capture_count(const struct qi_capture *c)
{
    return QI_LOAD(c->count);
}

int
qi_capture_event(const struct qi_capture *c)
{
    return c->event;
}

/* The lock is held. */
static int
send_signal(struct qi_capture *c, uint32_t thread)
{
    uint32_t number = QI_LOAD(c->asked) + 1;

    if (ftruncate(c->file, 0) < 0 || lseek(c->file, 0, SEEK_SET) < 0) {
        return QI_CAPTURE_OS;
    }
    QI_STORE(c->thread, thread);
    QI_STORE_RELEASE(c->asked, number);
    /* With the process's id: a number that another thread of the system has is refused.
     */
    if (syscall(SYS_tgkill, c->process, (pid_t)thread, c->signal) == 0) {
        return QI_CAPTURE_OK;
    }
    int error = errno;
    QI_STORE_RELEASE(c->asked, number - 1);
    errno = error;
    return error == ESRCH ? QI_CAPTURE_GONE : QI_CAPTURE_OS;
}

int
qi_capture_ask(struct qi_capture *c, uint32_t thread)
{
    int r = QI_CAPTURE_OFF;

    if (thread == 0 || thread > INT32_MAX) {
        return QI_CAPTURE_GONE;
    }
    (void)pthread_mutex_lock(&c->lock);
    if (c->armed && !is_installed(c)) {
        c->armed = 0;
        c->aside = 1;
        QI_STORE(c->state, is_replaced);
    }
    if (c->armed) {
        r = is_in_flight(c) ? QI_CAPTURE_BUSY : send_signal(c, thread);
    }
    (void)pthread_mutex_unlock(&c->lock);
    return r;
}

int
qi_capture_take(struct qi_capture *c, char *ret_text, size_t size, size_t *ret_size)
{
    uint64_t count;

    /* The event may be a moment ahead of `left`: then it stays, and poll() returns. */
    if (is_in_flight(c) || QI_LOAD(c->asked) == c->taken) {
        return 0;
    }
    ssize_t n = read(c->event, &count, sizeof(count));
    c->taken = QI_LOAD(c->asked);
    n = pread(c->file, ret_text, size, 0);
    *ret_size = n > 0 ? (size_t)n : 0;
    return 1;
}

/* --- fork ------------------------------------------------------------------------- */

void
qi_capture_before_fork(struct qi_capture *c)
{
    if (c != NULL) {
        (void)pthread_mutex_lock(&c->lock);
    }
}

void
qi_capture_after_fork(struct qi_capture *c, int in_child)
{
    if (c == NULL) {
        return;
    }
    if (in_child) {
        __atomic_store_n(&the_capture, NULL, __ATOMIC_RELEASE);
        /* It writes to the file that we share with the parent, if anything does. */
        QI_STORE(c->left, QI_LOAD(c->asked));
        QI_STORE(c->state, is_child);
    }
    (void)pthread_mutex_unlock(&c->lock);
}
