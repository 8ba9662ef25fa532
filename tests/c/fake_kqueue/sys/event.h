/*
 * sys/event.h - the part of kqueue(2) that poller_kqueue.c uses, for systems without.
 *
 * The names, the values and the meaning are those of the manual page (FreeBSD and macOS
 * agree on all that is here).  fake_kqueue.c implements it; the functions below the line
 * are the handles by which a test moves the fake kernel.
 */
#ifndef QI_TESTS_FAKE_SYS_EVENT_H
#define QI_TESTS_FAKE_SYS_EVENT_H

#include <stdint.h>
#include <time.h>

#define EVFILT_READ (-1)
#define EVFILT_WRITE (-2)
#define EVFILT_TIMER (-7)
#define EVFILT_USER (-10)

#define EV_ADD 0x0001
#define EV_DELETE 0x0002
#define EV_ONESHOT 0x0010
#define EV_CLEAR 0x0020
#define EV_RECEIPT 0x0040
#define EV_ERROR 0x4000
#define EV_EOF 0x8000

#define NOTE_TRIGGER 0x01000000
#define NOTE_NSECONDS 0x00000004

struct kevent {
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    uint32_t fflags;
    intptr_t data;
    void *udata;
};

#define EV_SET(kev, a, b, c, d, e, f)                                                    \
    do {                                                                                 \
        struct kevent *qi_kev = (kev);                                                   \
        qi_kev->ident = (a);                                                             \
        qi_kev->filter = (b);                                                            \
        qi_kev->flags = (c);                                                             \
        qi_kev->fflags = (d);                                                            \
        qi_kev->data = (e);                                                              \
        qi_kev->udata = (f);                                                             \
    } while (0)

int kqueue(void);
int kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events,
           int n_events, const struct timespec *timeout);

/*--- what a test does with it ---*/

/* The next kqueue() fails with this errno. */
void fake_kqueue_refuse(int error);

/* The next change of a filter (EVFILT_...) with one of `flags` in it (EV_ADD, EV_DELETE;
   0: a change without either) fails with this errno. */
void fake_kqueue_fail_change(int16_t filter, uint16_t flags, int error);

/* The next wait fails with this errno. */
void fake_kqueue_fail_wait(int error);

/* The next wait returns this event, whatever is registered. */
void fake_kqueue_report(const struct kevent *event);

/* How many filters are registered; how many changes were made since the start. */
int fake_kqueue_filters(void);
int fake_kqueue_changes(void);

/* What was asked for in the last change of a timer, nanoseconds. */
int64_t fake_kqueue_timer_ns(void);

#endif
