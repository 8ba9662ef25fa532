/*
 * fake_kqueue.c - kqueue(2) on Linux, as far as poller_kqueue.c goes, for its tests.
 *
 * One queue per process at a time.  The descriptor it hands out is an epoll set with
 * the watched descriptors, one timerfd for each timer and one eventfd for each user
 * event in it, so that it blocks, and is pollable, as a kqueue is.  Which filters have
 * something to report is then asked of each descriptor with poll().
 */
#include <sys/event.h>

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#define MAX_NOTES 64

struct note {
    int used;
    uintptr_t ident;
    int16_t filter;
    uint16_t flags;
    int own_fd; /* timerfd or eventfd, -1 for a descriptor */
};

struct failure {
    int error;
    int16_t filter;
    uint16_t flags;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static struct note notes[MAX_NOTES];
static int set = -1;
static int changes_made;
static int64_t timer_ns;
static int refusal;
static int wait_error;
static struct failure change_failure;
static struct kevent reported;
static int has_reported;

/*********** handles of the test ***********/

void
fake_kqueue_refuse(int error)
{
    refusal = error;
}

void
fake_kqueue_fail_change(int16_t filter, uint16_t flags, int error)
{
    change_failure = (struct failure){error, filter, flags};
}

void
fake_kqueue_fail_wait(int error)
{
    wait_error = error;
}

void
fake_kqueue_report(const struct kevent *event)
{
    reported = *event;
    has_reported = 1;
}

int
fake_kqueue_filters(void)
{
    int n = 0;

    for (int i = 0; i < MAX_NOTES; i++) {
        n += notes[i].used;
    }
    return n;
}

int
fake_kqueue_changes(void)
{
    return changes_made;
}

int64_t
fake_kqueue_timer_ns(void)
{
    return timer_ns;
}

static int
take(int *error)
{
    int taken = *error;

    *error = 0;
    return taken;
}

/*********** filters ***********/

static int
is_descriptor(int16_t filter)
{
    return filter == EVFILT_READ || filter == EVFILT_WRITE;
}

static struct note *
find(uintptr_t ident, int16_t filter)
{
    for (int i = 0; i < MAX_NOTES; i++) {
        if (notes[i].used && notes[i].ident == ident && notes[i].filter == filter) {
            return &notes[i];
        }
    }
    return NULL;
}

/* Makes the epoll set watch a descriptor for what its filters want. */
static int
watch(int fd)
{
    struct epoll_event event;

    memset(&event, 0, sizeof(event));
    event.data.fd = fd;
    event.events = (find((uintptr_t)fd, EVFILT_READ) ? (uint32_t)EPOLLIN : 0)
                   | (find((uintptr_t)fd, EVFILT_WRITE) ? (uint32_t)EPOLLOUT : 0);
    if (event.events == 0) {
        (void)epoll_ctl(set, EPOLL_CTL_DEL, fd, &event);
        return 0;
    }
    if (epoll_ctl(set, EPOLL_CTL_MOD, fd, &event) == 0) {
        return 0;
    }
    return epoll_ctl(set, EPOLL_CTL_ADD, fd, &event);
}

static void
forget(struct note *note)
{
    note->used = 0;
    if (note->own_fd >= 0) {
        (void)close(note->own_fd);
    }
    else {
        (void)watch((int)note->ident);
    }
}

static int
own_fd(int16_t filter)
{
    struct epoll_event event;
    int fd = filter == EVFILT_TIMER
                 ? timerfd_create(CLOCK_MONOTONIC, TFD_CLOEXEC | TFD_NONBLOCK)
                 : eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);

    memset(&event, 0, sizeof(event));
    event.events = EPOLLIN;
    event.data.fd = fd;
    if (fd >= 0 && epoll_ctl(set, EPOLL_CTL_ADD, fd, &event) < 0) {
        (void)close(fd);
        return -1;
    }
    return fd;
}

static struct note *
new_note(const struct kevent *change)
{
    for (int i = 0; i < MAX_NOTES; i++) {
        struct note *note = &notes[i];
        if (note->used) {
            continue;
        }
        *note = (struct note){1, change->ident, change->filter, change->flags, -1};
        if (is_descriptor(change->filter)) {
            if (watch((int)change->ident) < 0) {
                note->used = 0; /* EBADF, as kevent() has it */
                return NULL;
            }
        }
        else {
            note->own_fd = own_fd(change->filter);
        }
        return note;
    }
    errno = ENOMEM;
    return NULL;
}

static void
set_timer(struct note *note, int64_t ns)
{
    struct itimerspec spec;

    if (ns < 0) {
        abort(); /* kevent() says EINVAL; the poller must not get there */
    }
    timer_ns = ns;
    memset(&spec, 0, sizeof(spec));
    spec.it_value.tv_sec = (time_t)(ns / 1000000000);
    spec.it_value.tv_nsec = (long)(ns % 1000000000);
    if (ns == 0) {
        spec.it_value.tv_nsec = 1;
    }
    (void)timerfd_settime(note->own_fd, 0, &spec, NULL);
}

/* 0, or an errno. */
static int
apply(const struct kevent *change)
{
    struct note *note = find(change->ident, change->filter);
    uint16_t verbs = change->flags & (EV_ADD | EV_DELETE);

    changes_made++;
    if (change_failure.error != 0 && change_failure.filter == change->filter
        && change_failure.flags == verbs) {
        return take(&change_failure.error);
    }
    if (change->flags & EV_DELETE) {
        if (note == NULL) {
            return ENOENT;
        }
        forget(note);
        return 0;
    }
    if (note == NULL && !(change->flags & EV_ADD)) {
        return ENOENT;
    }
    if (note == NULL) {
        note = new_note(change);
        if (note == NULL) {
            return errno;
        }
    }
    if (change->filter == EVFILT_TIMER) {
        set_timer(note, change->data);
    }
    if (change->filter == EVFILT_USER && change->fflags & NOTE_TRIGGER) {
        const uint64_t one = 1;
        if (write(note->own_fd, &one, sizeof(one)) != (ssize_t)sizeof(one)) {
            return errno;
        }
    }
    return 0;
}

/*********** waiting ***********/

static int
report(struct note *note, struct kevent *event)
{
    struct pollfd asked = {.fd = note->own_fd >= 0 ? note->own_fd : (int)note->ident,
                           .events = note->filter == EVFILT_WRITE ? POLLOUT : POLLIN};
    uint64_t count;

    if (poll(&asked, 1, 0) <= 0) {
        return 0;
    }
    if (asked.revents & POLLNVAL) {
        forget(note); /* closed: the kernel does this at once */
        return 0;
    }
    EV_SET(event, note->ident, note->filter, 0, 0, 0, NULL);
    if (is_descriptor(note->filter)) {
        if (asked.revents & (POLLHUP | POLLERR)) {
            event->flags |= EV_EOF;
        }
        return 1;
    }
    (void)!read(note->own_fd, &count, sizeof(count)); /* EV_CLEAR */
    if (note->flags & EV_ONESHOT) {
        forget(note);
    }
    return 1;
}

/* What was reported goes to the end of the queue, as in the kernel. */
static int
collect(struct kevent *events, int n_events)
{
    static int next;
    int first = next;
    int n = 0;

    if (has_reported && n_events > 0) {
        has_reported = 0;
        events[n++] = reported;
    }
    for (int i = 0; i < MAX_NOTES && n < n_events; i++) {
        int at = (first + i) % MAX_NOTES;
        if (notes[at].used && report(&notes[at], &events[n])) {
            next = at + 1;
            n++;
        }
    }
    return n;
}

static int
wait_for_events(struct kevent *events, int n_events, const struct timespec *timeout)
{
    struct epoll_event ignored;
    int ms = timeout == NULL
                 ? -1
                 : (int)(timeout->tv_sec * 1000 + (timeout->tv_nsec + 999999) / 1000000);

    if (wait_error != 0) {
        errno = take(&wait_error);
        return -1;
    }
    if (has_reported) {
        ms = 0;
    }
    if (epoll_wait(set, &ignored, 1, ms) < 0) {
        return -1;
    }
    (void)pthread_mutex_lock(&lock);
    int n = collect(events, n_events);
    (void)pthread_mutex_unlock(&lock);
    return n;
}

int
kqueue(void)
{
    if (refusal != 0) {
        errno = take(&refusal);
        return -1;
    }
    /* A closed kqueue takes its filters along. */
    for (int i = 0; i < MAX_NOTES; i++) {
        if (notes[i].used && notes[i].own_fd >= 0) {
            (void)close(notes[i].own_fd);
        }
        notes[i].used = 0;
    }
    set = epoll_create1(EPOLL_CLOEXEC);
    return set;
}

int
kevent(int kq, const struct kevent *changes, int n_changes, struct kevent *events,
       int n_events, const struct timespec *timeout)
{
    int error = 0;

    if (kq != set) {
        errno = EBADF;
        return -1;
    }
    (void)pthread_mutex_lock(&lock);
    for (int i = 0; i < n_changes && error == 0; i++) {
        error = apply(&changes[i]);
    }
    (void)pthread_mutex_unlock(&lock);
    if (error != 0) {
        errno = error;
        return -1;
    }
    return n_events > 0 ? wait_for_events(events, n_events, timeout) : 0;
}
