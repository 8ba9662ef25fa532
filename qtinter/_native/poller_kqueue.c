/*
 * poller_kqueue.c - the poller of macOS and the BSDs: one kqueue.
 *
 * EVFILT_TIMER is the deadline and EVFILT_USER the wakeup, so the kqueue is the only
 * descriptor.  Reading and writing are separate filters of one descriptor; adding and
 * removing happen per direction.
 */
#include "poller.h"

#include <errno.h>
#include <string.h>
#include <sys/types.h>
#include <sys/event.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MAX_EVENTS 128
#define IDENT_WAKE 0
#define IDENT_TIMER 1

int64_t
qi_clock_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int
change(struct qi_poller *p, uintptr_t ident, int16_t filter, uint16_t flags,
       uint32_t fflags, int64_t data)
{
    struct kevent kev;

    EV_SET(&kev, ident, filter, flags, fflags, data, NULL);
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

int
qi_poller_modify(struct qi_poller *p, int fd, int old_events, int events)
{
    static const struct {
        int event;
        int16_t filter;
    } directions[] = {{QI_POLL_READ, EVFILT_READ}, {QI_POLL_WRITE, EVFILT_WRITE}};

    for (int i = 0; i < 2; i++) {
        int had = old_events & directions[i].event;
        int want = events & directions[i].event;
        if (had == want) {
            continue;
        }
        int r = change(p, (uintptr_t)fd, directions[i].filter, want ? EV_ADD : EV_DELETE,
                       0, 0);
        if (r < 0) {
            return r;
        }
    }
    return 0;
}

int
qi_poller_add(struct qi_poller *p, int fd, int events)
{
    return qi_poller_modify(p, fd, 0, events);
}

int
qi_poller_remove(struct qi_poller *p, int fd, int old_events)
{
    return qi_poller_modify(p, fd, old_events, 0);
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
            struct qi_poll_event *ev = &events[ret->n++];
            ev->fd = (int)got[i].ident;
            ev->events = got[i].filter == EVFILT_READ ? QI_POLL_READ : QI_POLL_WRITE;
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
    int r = change(p, IDENT_TIMER, EVFILT_TIMER, EV_ADD | EV_ONESHOT, NOTE_NSECONDS,
                   left > 0 ? left : 0);
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
