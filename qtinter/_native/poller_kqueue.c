/*
 * poller_kqueue.c - the poller of macOS and the BSDs: one kqueue.
 *
 * EVFILT_TIMER is the deadline and EVFILT_USER the wakeup, so the kqueue is the only
 * descriptor.  Reading and writing are separate filters of one descriptor: they are
 * added and removed one by one, and what they report is put together again.
 *
 * A kqueue is pollable: QSocketNotifier watches it under the CoreFoundation dispatcher
 * (whose CFSocket waits in select()) and under the Unix one.
 */
#include "poller.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MAX_EVENTS 128
#define IDENT_WAKE 0
#define IDENT_TIMER 1

/* macOS lets timers be late to save power; an event loop's deadline is not of those. */
#ifdef NOTE_CRITICAL
#  define TIMER_UNIT (NOTE_NSECONDS | NOTE_CRITICAL)
#else
#  define TIMER_UNIT NOTE_NSECONDS
#endif

/* time.monotonic() of macOS is mach_absolute_time(), which stands still while the
   machine sleeps; CLOCK_MONOTONIC goes on there. */
#ifdef __APPLE__
#  define MONOTONIC CLOCK_UPTIME_RAW
#else
#  define MONOTONIC CLOCK_MONOTONIC
#endif

const char qi_poller_kind[] = "kqueue";

static const struct {
    int event;
    int16_t filter;
} directions[] = {{QI_POLL_READ, EVFILT_READ}, {QI_POLL_WRITE, EVFILT_WRITE}};
#define N_DIRECTIONS 2

int64_t
qi_clock_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int
change(struct qi_poller *p, uintptr_t ident, int16_t filter, uint16_t flags,
       uint32_t fflags, int64_t data)
{
    struct kevent kev;

    EV_SET(&kev, ident, filter, flags, fflags, (intptr_t)data, NULL);
    return kevent(p->fd, &kev, 1, NULL, 0, NULL) < 0 ? -errno : 0;
}

int
qi_poller_init(struct qi_poller *p)
{
    int r;

    p->wake_fd = -1;
    p->timer_fd = -1;
    p->armed_ns = 0;
    p->fd = kqueue();
    if (p->fd < 0) {
        return -errno;
    }
    (void)fcntl(p->fd, F_SETFD, FD_CLOEXEC);
    r = change(p, IDENT_WAKE, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0);
    if (r < 0) {
        qi_poller_fini(p);
    }
    return r;
}

void
qi_poller_fini(struct qi_poller *p)
{
    if (p->fd >= 0) {
        (void)close(p->fd);
        p->fd = -1;
    }
    p->armed_ns = 0;
}

/* Adds the filters of `events`; all of them or, with -errno, none. */
static int
add_filters(struct qi_poller *p, int fd, int events)
{
    for (int i = 0; i < N_DIRECTIONS; i++) {
        if (!(events & directions[i].event)) {
            continue;
        }
        int r = change(p, (uintptr_t)fd, directions[i].filter, EV_ADD, 0, 0);
        if (r < 0) {
            while (--i >= 0) {
                if (events & directions[i].event) {
                    (void)change(p, (uintptr_t)fd, directions[i].filter, EV_DELETE, 0, 0);
                }
            }
            return r;
        }
    }
    return 0;
}

/* Deletes the filters of `events`, whatever happens to each; the first error counts. */
static int
delete_filters(struct qi_poller *p, int fd, int events)
{
    int first = 0;

    for (int i = 0; i < N_DIRECTIONS; i++) {
        if (events & directions[i].event) {
            int r = change(p, (uintptr_t)fd, directions[i].filter, EV_DELETE, 0, 0);
            first = first < 0 ? first : r;
        }
    }
    return first;
}

int
qi_poller_modify(struct qi_poller *p, int fd, int old_events, int events)
{
    int r = add_filters(p, fd, events & ~old_events);

    return r < 0 ? r : delete_filters(p, fd, old_events & ~events);
}

int
qi_poller_add(struct qi_poller *p, int fd, int events)
{
    return add_filters(p, fd, events);
}

int
qi_poller_remove(struct qi_poller *p, int fd, int old_events)
{
    return delete_filters(p, fd, old_events);
}

/* The entry of a descriptor among those reported so far, or a new one. */
static struct qi_poll_event *
event_of(struct qi_poll_event *events, struct qi_poll_result *ret, int fd)
{
    for (int i = 0; i < ret->n; i++) {
        if (events[i].fd == fd) {
            return &events[i];
        }
    }
    events[ret->n] = (struct qi_poll_event){.fd = fd, .events = 0};
    return &events[ret->n++];
}

int
qi_poller_wait(struct qi_poller *p, int timeout_ms, struct qi_poll_event *events, int max,
               struct qi_poll_result *ret)
{
    struct kevent got[MAX_EVENTS];
    struct timespec limit;
    struct timespec *limit_ptr = NULL;

    memset(ret, 0, sizeof(*ret));
    if (timeout_ms >= 0) {
        limit.tv_sec = timeout_ms / 1000;
        limit.tv_nsec = (long)(timeout_ms % 1000) * 1000000;
        limit_ptr = &limit;
    }
    int n = kevent(p->fd, NULL, 0, got, max < MAX_EVENTS ? max : MAX_EVENTS, limit_ptr);
    if (n < 0) {
        return -errno;
    }
    for (int i = 0; i < n; i++) {
        if (got[i].filter == EVFILT_USER) {
            ret->woken = 1;
        }
        else if (got[i].filter == EVFILT_TIMER) {
            ret->deadline = 1;
            p->armed_ns = 0;
        }
        else {
            /* EV_EOF needs no care: the direction that it concerns is ready. */
            event_of(events, ret, (int)got[i].ident)->events |=
                got[i].filter == EVFILT_READ ? QI_POLL_READ : QI_POLL_WRITE;
        }
    }
    return 0;
}

int
qi_poller_arm(struct qi_poller *p, int64_t deadline_ns)
{
    if (p->armed_ns != 0 && p->armed_ns <= deadline_ns) {
        return 0;
    }
    int64_t left = deadline_ns - qi_clock_ns();
    /* Not 0, which some systems take for "never".  Adding a timer that exists moves it.
     */
    int r = change(p, IDENT_TIMER, EVFILT_TIMER, EV_ADD | EV_ONESHOT, TIMER_UNIT,
                   left > 1 ? left : 1);
    if (r == 0) {
        p->armed_ns = deadline_ns;
    }
    return r;
}

int
qi_poller_wake(struct qi_poller *p)
{
    return change(p, IDENT_WAKE, EVFILT_USER, 0, NOTE_TRIGGER, 0);
}

int
qi_poller_sleep(struct qi_poller *p)
{
    (void)p; /* a kqueue is pollable by itself */
    return 0;
}
