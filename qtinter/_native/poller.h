/*
 * poller.h - everything the loop waits for, behind one pollable descriptor.
 *
 *     sockets, pipes --+
 *     next deadline ---+--> one kernel object --> qi_poller.fd (readable = "come")
 *     wake from thread-+
 *
 * Linux: an epoll set with a timerfd and an eventfd in it (poller_epoll.c); macOS and
 * the BSDs: a kqueue with a timer and a user event (poller_kqueue.c).  Both are
 * pollable, so a Qt event loop watches exactly one descriptor for the whole asyncio
 * loop.  Windows has no pollable kernel object: there the descriptor is a socket, into
 * which a thread of the poller writes (windows/poller_thread.c).
 *
 * Watched descriptors are level-triggered, as asyncio's are.  The deadline and the
 * wakeup are edge-triggered: qi_poller_wait() reports each once and nothing has to be
 * read back.
 *
 * Thread: [loop] for all but qi_poller_wake(), which is [any].  Errors are negative
 * errno values.
 */
#ifndef QI_NATIVE_POLLER_H
#define QI_NATIVE_POLLER_H

#include <stdint.h>

/* The values of selectors.EVENT_READ and EVENT_WRITE. */
#define QI_POLL_READ 1
#define QI_POLL_WRITE 2

struct qi_poll_event {
    int fd;
    int events; /* QI_POLL_READ | QI_POLL_WRITE; on hang-up and error all that are
                   watched, and possibly one that is not */
};

struct qi_poll_result {
    int n;        /* events filled in */
    int deadline; /* 1: the armed deadline has passed */
    int woken;    /* 1: qi_poller_wake() was called */
};

struct qi_sentry; /* windows/poller_thread.c */

struct qi_poller {
    int fd;                   /* the pollable descriptor; -1 when closed */
    int wake_fd;              /* eventfd, -1 where the kernel object has a user event */
    int timer_fd;             /* timerfd; -1 elsewhere */
    int64_t armed_ns;         /* deadline in force on CLOCK_MONOTONIC, 0 when none */
    struct qi_sentry *sentry; /* owned; unused on systems with a pollable kernel object */
};

/* "epoll", "kqueue" or "thread". */
extern const char qi_poller_kind[];

/* 0 or -errno; on failure nothing is left open. */
int qi_poller_init(struct qi_poller *p);

/* Closes what is open; a second call does nothing. */
void qi_poller_fini(struct qi_poller *p);

/* Watch a descriptor that is not watched / change it / forget it. */
int qi_poller_add(struct qi_poller *p, int fd, int events);
int qi_poller_modify(struct qi_poller *p, int fd, int old_events, int events);
int qi_poller_remove(struct qi_poller *p, int fd, int old_events);

/* Waits at most timeout_ms (-1: for ever, 0: not at all) and fills at most max events.
   0 or -errno (-EINTR when a signal came). */
int qi_poller_wait(struct qi_poller *p, int timeout_ms, struct qi_poll_event *events,
                   int max, struct qi_poll_result *ret);

/* Makes qi_poller_wait() report a deadline at deadline_ns (CLOCK_MONOTONIC).  An
   earlier deadline already in force stays: being called once too early is cheaper
   than a system call each time the nearest timer is cancelled. */
int qi_poller_arm(struct qi_poller *p, int64_t deadline_ns);

/* The thread will not come back before p->fd is readable: whoever lets another loop wait
   calls this first, after each qi_poller_wait().  What changes in the poller afterwards
   is taken note of.  Does nothing where the kernel object is pollable.  0 or -errno. */
int qi_poller_sleep(struct qi_poller *p);

/* [any]  Makes qi_poller_wait() report a wakeup; async-signal-safe on Linux. */
int qi_poller_wake(struct qi_poller *p);

/* The monotonic clock, nanoseconds: the clock of time.monotonic(). */
int64_t qi_clock_ns(void);

#endif
