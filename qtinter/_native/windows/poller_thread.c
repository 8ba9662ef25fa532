/*
 * poller_thread.c - the poller of Windows: a thread that waits while Qt does.
 *
 * Windows has no kernel object that holds the waiting for many sockets and that Qt could
 * watch.  So a thread, the sentry, goes on watch whenever the loop thread is about to
 * sleep in Qt (qi_poller_sleep), and raises an alarm when there is something to do: it
 * makes p->fd, a socket, readable.  Then it rests until the loop thread sleeps again.
 *
 *      loop thread                                sentry
 *      turn: qi_poller_wait(0), callbacks         rests
 *      qi_poller_sleep()        ---- order --->   on watch: poll() or port->get()
 *      Qt sleeps on p->fd       <--- alarm ----   something is there, or the deadline
 *      turn ...                                   rests
 *
 * The sentry handles nothing and never takes the GIL; what it saw is still there for the
 * loop thread, which asks the kernel itself (descriptors), or whose proactor does (the
 * completion port).  From a port a packet must be taken to learn that there is one: the
 * sentry puts it back before it raises the alarm.  Rejected: a sentry that dequeues for
 * good would need a queue of its own and a copy of the code that handles packets, which
 * is asyncio's (IocpProactor) and changes with it.
 *
 * The loop thread may ask while the sentry is on watch (a turn for another reason): both
 * look at the same kernel object, and the worst outcome is a turn that finds nothing.
 *
 * The lock is held for a few instructions, at changes and hand-overs, never for a
 * callback and never while waiting.
 *
 * With poll() and pthreads (sys_posix.c) this is a complete poller for POSIX systems.
 */
#include "../poller.h"
#include "port.h"
#include "sys.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAX_PACKETS 64
#define FIRST_WATCHES 16
#define MAX_WATCHES (QI_SYS_MAX_FDS - 1) /* one place is for a descriptor of our own */

const char qi_poller_kind[] = "thread";

struct watch {
    int fd;
    int events;
};

struct qi_sentry {
    qi_mutex lock;
    qi_condition changed;

    /* constant after qi_poller_init() */
    int alarm[2];  /* [0] is p->fd; written to by raise_alarm() */
    int recall[2]; /* [0] is watched by the sentry; written to by recall_sentry() */

    /* written by the loop thread under the lock; read by it without */
    struct watch *watches; /* owned */
    int watches_len;
    int watches_size;
    int next; /* [loop] where the next wait begins to report: nobody starves */

    /* [loop] */
    struct pollfd *fds; /* owned; watches_size + 1 */

    /* under the lock */
    int on_watch; /* the sentry is to wait */
    int waiting;  /* it does, or is about to: it uses the port or its descriptors */
    int recalled; /* it was told to look at its orders again */
    int quit;     /* it is to end */
    int alarmed;  /* a byte is in the alarm pair */
    int woken;    /* qi_poller_wake() was called */
    int has_port; /* port is to be watched, instead of the descriptors */
    int64_t deadline_ns; /* 0: none */
    struct qi_port port;

    /* the thread */
    int started; /* [loop] */
    qi_thread thread;
    struct pollfd *own_fds; /* owned by the thread; a copy of what is watched */
    int own_fds_size;
};

/*********** alarm and recall ***********/

static void
raise_alarm(struct qi_sentry *s)
{
    if (!s->alarmed) {
        s->alarmed = 1;
        qi_sys_send(s->alarm[1]);
    }
}

/* [loop]  1 when qi_poller_wake() was called since. */
static int
take_alarm(struct qi_sentry *s)
{
    qi_mutex_lock(&s->lock);
    int woken = s->woken;
    s->woken = 0;
    if (s->alarmed) {
        s->alarmed = 0;
        qi_sys_drain(s->alarm[0]);
    }
    qi_mutex_unlock(&s->lock);
    return woken;
}

/* Under the lock: makes a waiting sentry look at its orders again. */
static void
recall_sentry(struct qi_sentry *s)
{
    if (!s->waiting || s->recalled) {
        return;
    }
    s->recalled = 1;
    if (s->has_port) {
        s->port.alert(&s->port, &s->thread);
    }
    else {
        qi_sys_send(s->recall[1]);
    }
}

/*********** the sentry ***********/

/* Milliseconds from now to the deadline, rounded up: nothing is early. */
static int
ms_until(int64_t deadline_ns)
{
    int64_t left;

    if (deadline_ns == 0) {
        return -1;
    }
    left = deadline_ns - qi_clock_ns();
    if (left <= 0) {
        return 0;
    }
    left = (left + 999999) / 1000000;
    return left < 86400000 ? (int)left : 86400000;
}

static void
fill(struct pollfd *pollfd, int fd, int events)
{
    memset(pollfd, 0, sizeof(*pollfd));
#ifdef _WIN32
    pollfd->fd = (SOCKET)fd;
#else
    pollfd->fd = fd;
#endif
    pollfd->events = (short)((events & QI_POLL_READ ? POLLIN : 0)
                             | (events & QI_POLL_WRITE ? POLLOUT : 0));
}

/* Under the lock: copies what is watched.  0, or -ENOMEM. */
static int
copy_watches(struct qi_sentry *s)
{
    if (s->own_fds_size < s->watches_len + 1) {
        int size = s->watches_size + 1;
        struct pollfd *grown = realloc(s->own_fds, (size_t)size * sizeof(*grown));
        if (grown == NULL) {
            return -ENOMEM;
        }
        s->own_fds = grown;
        s->own_fds_size = size;
    }
    fill(&s->own_fds[0], s->recall[0], QI_POLL_READ);
    for (int i = 0; i < s->watches_len; i++) {
        fill(&s->own_fds[i + 1], s->watches[i].fd, s->watches[i].events);
    }
    return 0;
}

/* Puts packets back.  The system may be short of memory for a while; losing one would
   leave an operation without an end. */
static void
return_packets(struct qi_port *port, const struct qi_packet *packets, int n)
{
    for (int i = 0; i < n; i++) {
        while (port->post(port, &packets[i]) < 0) {
            qi_thread_pause();
        }
    }
}

/* Without the lock: waits.  1: something is there, or time is up; 0: recalled. */
static int
watch_port(struct qi_port *port, int timeout_ms)
{
    struct qi_packet packets[MAX_PACKETS];
    int n = port->get(port, packets, MAX_PACKETS, timeout_ms);

    if (n > 0) {
        return_packets(port, packets, n);
    }
    return n != -EINTR;
}

static int
watch_fds(struct qi_sentry *s, int n, int timeout_ms)
{
    int ready = qi_sys_poll(s->own_fds, n, timeout_ms);

    if (ready == -EINTR) {
        return 0;
    }
    if (ready > 0 && s->own_fds[0].revents != 0) {
        qi_sys_drain(s->recall[0]);
        return ready > 1;
    }
    return 1; /* also after an error: the loop thread meets the same one and raises it */
}

/* Under the lock, which is given up while waiting. */
static void
keep_watch(struct qi_sentry *s)
{
    int has_port = s->has_port;
    struct qi_port port = s->port;
    int n = s->watches_len + 1;
    int timeout_ms = ms_until(s->deadline_ns);
    int seen = has_port ? 0 : copy_watches(s) < 0;

    if (!seen) {
        s->waiting = 1;
        qi_mutex_unlock(&s->lock);
        seen = has_port ? watch_port(&port, timeout_ms) : watch_fds(s, n, timeout_ms);
        qi_mutex_lock(&s->lock);
        s->waiting = 0;
        s->recalled = 0;
        qi_condition_broadcast(&s->changed);
    }
    if (seen) {
        s->on_watch = 0;
        raise_alarm(s);
    }
}

static void
sentry_run(void *sentry)
{
    struct qi_sentry *s = sentry;

    qi_mutex_lock(&s->lock);
    while (!s->quit) {
        if (s->on_watch) {
            keep_watch(s);
        }
        else {
            qi_condition_wait(&s->changed, &s->lock);
        }
    }
    qi_mutex_unlock(&s->lock);
}

int
qi_poller_sleep(struct qi_poller *p)
{
    struct qi_sentry *s = p->sentry;

    if (s == NULL) {
        return -EBADF;
    }
    if (!s->started) {
        int r = qi_thread_start(&s->thread, sentry_run, s);
        if (r < 0) {
            return r;
        }
        s->started = 1;
    }
    qi_mutex_lock(&s->lock);
    if (!s->on_watch) {
        s->on_watch = 1;
        qi_condition_broadcast(&s->changed);
    }
    qi_mutex_unlock(&s->lock);
    return 0;
}

int
qi_poller_watch_port(struct qi_poller *p, const struct qi_port *port)
{
    struct qi_sentry *s = p->sentry;

    if (s == NULL) {
        return -EBADF;
    }
    qi_mutex_lock(&s->lock);
    s->on_watch = 0;
    while (s->waiting) {
        recall_sentry(s);
        qi_condition_wait(&s->changed, &s->lock);
    }
    s->has_port = port != NULL;
    if (port != NULL) {
        s->port = *port;
    }
    qi_mutex_unlock(&s->lock);
    return 0;
}

/*********** what is watched ***********/

static struct watch *
find_watch(struct qi_sentry *s, int fd)
{
    for (int i = 0; i < s->watches_len; i++) {
        if (s->watches[i].fd == fd) {
            return &s->watches[i];
        }
    }
    return NULL;
}

static int
grow_watches(struct qi_sentry *s)
{
    if (s->watches_len < s->watches_size) {
        return 0;
    }
    if (s->watches_len >= MAX_WATCHES) {
        return -EMFILE;
    }
    int size = s->watches_size == 0 ? FIRST_WATCHES : 2 * s->watches_size;
    size = size < MAX_WATCHES ? size : MAX_WATCHES;
    struct watch *watches = malloc((size_t)size * sizeof(*watches));
    struct pollfd *fds = malloc(((size_t)size + 1) * sizeof(*fds));
    if (watches == NULL || fds == NULL) {
        free(watches);
        free(fds);
        return -ENOMEM;
    }
    if (s->watches_len > 0) {
        memcpy(watches, s->watches, (size_t)s->watches_len * sizeof(*watches));
    }
    qi_mutex_lock(&s->lock);
    struct watch *old = s->watches;
    s->watches = watches;
    s->watches_size = size;
    qi_mutex_unlock(&s->lock);
    free(old);
    free(s->fds);
    s->fds = fds;
    return 0;
}

int
qi_poller_add(struct qi_poller *p, int fd, int events)
{
    struct qi_sentry *s = p->sentry;
    int r = s == NULL ? -EBADF : qi_sys_check(fd);

    if (r == 0 && find_watch(s, fd) != NULL) {
        r = -EEXIST;
    }
    if (r == 0) {
        r = grow_watches(s);
    }
    if (r < 0) {
        return r;
    }
    qi_mutex_lock(&s->lock);
    s->watches[s->watches_len++] = (struct watch){fd, events};
    recall_sentry(s);
    qi_mutex_unlock(&s->lock);
    return 0;
}

int
qi_poller_modify(struct qi_poller *p, int fd, int old_events, int events)
{
    struct qi_sentry *s = p->sentry;
    struct watch *watch = s == NULL ? NULL : find_watch(s, fd);

    (void)old_events;
    if (watch == NULL) {
        return -ENOENT;
    }
    qi_mutex_lock(&s->lock);
    watch->events = events;
    recall_sentry(s);
    qi_mutex_unlock(&s->lock);
    return 0;
}

static void
forget(struct qi_sentry *s, struct watch *watch)
{
    qi_mutex_lock(&s->lock);
    *watch = s->watches[--s->watches_len];
    recall_sentry(s);
    qi_mutex_unlock(&s->lock);
}

int
qi_poller_remove(struct qi_poller *p, int fd, int old_events)
{
    struct qi_sentry *s = p->sentry;
    struct watch *watch = s == NULL ? NULL : find_watch(s, fd);

    (void)old_events;
    if (watch == NULL) {
        return -ENOENT;
    }
    forget(s, watch);
    return 0;
}

/*********** waiting on the loop thread ***********/

static int
take_deadline(struct qi_poller *p)
{
    if (p->armed_ns == 0 || qi_clock_ns() < p->armed_ns) {
        return 0;
    }
    p->armed_ns = 0;
    qi_mutex_lock(&p->sentry->lock);
    p->sentry->deadline_ns = 0;
    qi_mutex_unlock(&p->sentry->lock);
    return 1;
}

static int
shorter(int timeout_ms, int other_ms)
{
    if (timeout_ms < 0 || other_ms < 0) {
        return timeout_ms < 0 ? other_ms : timeout_ms;
    }
    return timeout_ms < other_ms ? timeout_ms : other_ms;
}

/* Reports what poll() found in s->fds, from s->next on. */
static void
collect(struct qi_sentry *s, int n, struct qi_poll_event *events, int max,
        struct qi_poll_result *ret)
{
    int first = n > 0 ? s->next % n : 0;

    for (int i = 0; i < n && ret->n < max; i++) {
        int at = (first + i) % n;
        const struct pollfd *got = &s->fds[at + 1];
        if (got->revents == 0) {
            continue;
        }
        s->next = at + 1;
        if (got->revents & POLLNVAL) {
            continue; /* closed: see drop_closed() */
        }
        events[ret->n++] = (struct qi_poll_event){
            .fd = (int)got->fd,
            .events = (got->revents & ~POLLOUT ? QI_POLL_READ : 0)
                      | (got->revents & ~POLLIN ? QI_POLL_WRITE : 0)};
    }
}

/* A descriptor that was closed is not watched any more, as an epoll set has it. */
static void
drop_closed(struct qi_sentry *s, int n)
{
    for (int i = 0; i < n; i++) {
        if (s->fds[i + 1].revents & POLLNVAL) {
            struct watch *watch = find_watch(s, (int)s->fds[i + 1].fd);
            if (watch != NULL) {
                forget(s, watch);
            }
        }
    }
}

int
qi_poller_wait(struct qi_poller *p, int timeout_ms, struct qi_poll_event *events, int max,
               struct qi_poll_result *ret)
{
    struct qi_sentry *s = p->sentry;
    int n;

    memset(ret, 0, sizeof(*ret));
    if (s == NULL) {
        return -EBADF;
    }
    n = s->watches_len;
    ret->woken = take_alarm(s);
    ret->deadline = take_deadline(p);
    if (ret->woken || ret->deadline) {
        timeout_ms = 0;
    }
    else {
        timeout_ms = shorter(timeout_ms, ms_until(p->armed_ns));
    }
    if (n == 0 && timeout_ms == 0) {
        return 0;
    }
    fill(&s->fds[0], s->alarm[0], QI_POLL_READ);
    for (int i = 0; i < n; i++) {
        fill(&s->fds[i + 1], s->watches[i].fd, s->watches[i].events);
    }
    int ready = qi_sys_poll(s->fds, n + 1, timeout_ms);
    if (ready < 0) {
        return ready;
    }
    ret->woken |= take_alarm(s);
    ret->deadline |= take_deadline(p);
    collect(s, n, events, max, ret);
    drop_closed(s, n);
    return 0;
}

int
qi_poller_arm(struct qi_poller *p, int64_t deadline_ns)
{
    struct qi_sentry *s = p->sentry;

    if (s == NULL) {
        return -EBADF;
    }
    if (p->armed_ns != 0 && p->armed_ns <= deadline_ns) {
        return 0;
    }
    p->armed_ns = deadline_ns < 1 ? 1 : deadline_ns; /* zero would be none */
    qi_mutex_lock(&s->lock);
    s->deadline_ns = p->armed_ns;
    recall_sentry(s);
    qi_mutex_unlock(&s->lock);
    return 0;
}

int
qi_poller_wake(struct qi_poller *p)
{
    struct qi_sentry *s = p->sentry;

    if (s == NULL) {
        return -EBADF;
    }
    qi_mutex_lock(&s->lock);
    s->woken = 1;
    raise_alarm(s);
    qi_mutex_unlock(&s->lock);
    return 0;
}

/*********** begin and end ***********/

int
qi_poller_init(struct qi_poller *p)
{
    struct qi_sentry *s = calloc(1, sizeof(*s));
    int r;

    p->fd = p->wake_fd = p->timer_fd = -1;
    p->armed_ns = 0;
    p->sentry = s;
    if (s == NULL) {
        return -ENOMEM;
    }
    qi_mutex_init(&s->lock);
    qi_condition_init(&s->changed);
    s->alarm[0] = s->alarm[1] = s->recall[0] = s->recall[1] = -1;
    r = grow_watches(s);
    if (r == 0) {
        r = qi_sys_pair(s->alarm);
    }
    if (r == 0) {
        p->fd = s->alarm[0];
        r = qi_sys_pair(s->recall);
    }
    if (r < 0) {
        qi_poller_fini(p);
    }
    return r;
}

static void
end_thread(struct qi_sentry *s)
{
    if (!s->started) {
        return;
    }
    qi_mutex_lock(&s->lock);
    s->quit = 1;
    s->on_watch = 0;
    recall_sentry(s);
    qi_condition_broadcast(&s->changed);
    qi_mutex_unlock(&s->lock);
    qi_thread_join(&s->thread);
}

void
qi_poller_fini(struct qi_poller *p)
{
    struct qi_sentry *s = p->sentry;

    p->fd = -1;
    p->armed_ns = 0;
    p->sentry = NULL;
    if (s == NULL) {
        return;
    }
    end_thread(s);
    for (int i = 0; i < 2; i++) {
        if (s->alarm[i] >= 0) {
            qi_sys_close(s->alarm[i]);
        }
        if (s->recall[i] >= 0) {
            qi_sys_close(s->recall[i]);
        }
    }
    qi_condition_fini(&s->changed);
    qi_mutex_fini(&s->lock);
    free(s->watches);
    free(s->fds);
    free(s->own_fds);
    free(s);
}
