/*
 * probe.c - rows and records of loops, timers, watches and turns.
 */
#include "probe_impl.h"

#include <string.h>
#include <time.h>

#if defined(__linux__)
#  include <sys/syscall.h>
#  include <unistd.h>
#endif

struct qi_clock qi_probe_clock;

static uint32_t
thread_number(void)
{
#if defined(__linux__)
    return (uint32_t)syscall(SYS_gettid);
#else
    return (uint32_t)PyThread_get_thread_ident();
#endif
}

/*********** loops ***********/

/* Event loops of Qt that run on the thread, as the host tells.  A binding host runs
   Python code for that, which an exception that is on its way must not meet. */
static uint32_t
depth_of(LoopObject *self)
{
    if (self->host == NULL) {
        return 0;
    }
    PyObject *exc = PyErr_Occurred() ? qi_take_exception() : NULL;
    uint32_t depth = (uint32_t)self->host->depth(self->host->impl);
    if (exc != NULL) {
        qi_raise_exception(exc);
    }
    return depth;
}

static void
write_loop_row(struct qi_probe *p, LoopObject *self, unsigned state)
{
    struct qi_loop_view *view = &self->view;
    int within = self->modal_depth > 0; /* else it does not change between turns */
    uint32_t depth = within ? depth_of(self) : 0;
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    struct qi_loop_row *row = &slot->row.loop_;

    QI_PUT(slot->state, (uint8_t)state);
    QI_PUT(row->current, view->current);
    QI_PUT(row->busy_since, view->busy_since);
    QI_PUT(row->iterations, self->stats.iterations);
    QI_PUT(row->turns, self->stats.turns);
    QI_PUT(row->callbacks, self->stats.callbacks);
    QI_PUT(row->ready, (uint32_t)self->ready.len);
    QI_PUT(row->timers, view->timers);
    QI_PUT(row->watches, view->watches);
    QI_PUT(row->tasks, view->tasks);
    QI_PUT(row->asyncio, view->asyncio_ns);
    QI_PUT(row->qt, view->qt_ns);
    QI_PUT(row->max_lag, view->max_lag);
    QI_PUT(row->unseen, view->unseen);
    QI_PUT(row->qt_busy, view->qt_busy_ns);
    if (within) {
        QI_PUT(row->depth, depth);
    }
    qi_row_end(p->client, view->row);
}

static unsigned
take_number(struct qi_probe *p)
{
    for (unsigned i = 1; i < sizeof(p->numbers); i++) {
        if (!p->numbers[i]) {
            p->numbers[i] = 1;
            return i;
        }
    }
    return 0;
}

int
qi_probe_view_anew(struct qi_probe *p, LoopObject *self)
{
    struct qi_loop_view *view = &self->view;

    if (p->level == 0) {
        return 0;
    }
    *view = (struct qi_loop_view){.session = p->session, .number = take_number(p)};
    view->row = qi_row_new(p->client, QI_LOOP, view->number, &view->id);
    if (view->row == QI_NO_SLOT) {
        return 0;
    }
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->state, (uint8_t)QI_LOOP_STOPPED);
    qi_row_end(p->client, view->row);
    qi_probe_note(p, qi_probe_now(), QI_EV_LOOP_CREATED, view->number, 0, view->id, 0);
    return 1;
}

/* A request from outside wakes the loop through its poller. */
static void
set_woken(struct qi_probe *p, LoopObject *self, struct qi_poller *poller)
{
    pthread_mutex_lock(&p->wake_lock);
    int place = -1;
    for (int i = QI_LOOPS_WOKEN - 1; i >= 0; i--) {
        if (p->woken[i].loop == self) {
            place = i;
            break;
        }
        if (poller != NULL && p->woken[i].loop == NULL) {
            place = i;
        }
    }
    if (place >= 0) {
        p->woken[place].loop = poller != NULL ? self : NULL;
        p->woken[place].poller = poller;
    }
    pthread_mutex_unlock(&p->wake_lock);
}

void
qi_probe_waiter_gone(LoopObject *self)
{
    set_woken(self->st->probe, self, NULL);
}

static unsigned
mode_of(const LoopObject *self)
{
    switch (self->running) {
    case QI_RUNNING_ATTACHED:
        return QI_MODE_ATTACHED;
    case QI_RUNNING_NESTED:
        return QI_MODE_NESTED;
    default:
        return QI_MODE_NATIVE;
    }
}

void
qi_probe_loop_started(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (self->waiter != NULL) {
        set_woken(p, self,
                  &self->waiter->poller); /* at level 0 too: to hear of another */
    }
    if (!qi_probe_view(p, self)) {
        return;
    }
    view->shown = 1;
    const char *host = self->running == QI_RUNNING_NATIVE || self->host_name == NULL
                           ? ""
                           : self->host_name;
    uint32_t text = qi_text(p->client, host, strlen(host));
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->row.loop_.mode, mode_of(self));
    QI_PUT(slot->row.loop_.thread, thread_number());
    QI_PUT(slot->row.loop_.host, text);
    qi_row_end(p->client, view->row);
    view->turn_ended = 0;
    view->cpu_read = 0; /* perhaps it was another thread's */
    /* A native run is one turn, but for the time that it waits. */
    view->is_native = self->running == QI_RUNNING_NATIVE;
    view->turn_began = view->is_native ? qi_probe_now() : 0;
    view->callbacks = self->stats.callbacks;
    write_loop_row(p, self, QI_LOOP_IDLE);
    qi_probe_note(p, qi_probe_now(), QI_EV_LOOP_STARTED, view->number, mode_of(self),
                  view->id, 0);
}

void
qi_probe_loop_stopped(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    set_woken(p, self, NULL);
    if (p->adopted_by == self) {
        qi_probe_settle_adopted(p, self);
    }
    if (self->st->probe != p || view->session != p->session || view->row == QI_NO_SLOT) {
        return;
    }
    if (view->is_native) {
        qi_probe_turn_ended(self);
    }
    view->current = 0;
    view->busy_since = 0;
    view->shown = 0;
    view->smooth = 0;
    view->thread = 0;
    write_loop_row(p, self, QI_LOOP_STOPPED);
    qi_probe_note(p, qi_probe_now(), QI_EV_LOOP_STOPPED, view->number, 0,
                  self->stats.iterations, view->id);
}

/* The number of the loop that an entry belongs to.  An entry without a row keeps it
   itself. */
static unsigned
loop_of(const struct qi_probe *p, const struct qi_known *known)
{
    return known->row != QI_NO_SLOT ? qi_row_loop(p->client, known->row) : known->text;
}

/* Forgets what belongs to a loop that is no more, or, for 0, everything. */
static void
retire_all_of(struct qi_probe *p, unsigned number)
{
    size_t i = 0;

    while (p->known.len > 0 && i < p->known.capacity) {
        struct qi_known *known = &p->known.entries[i];
        if (known->object == NULL || (number != 0 && loop_of(p, known) != number)) {
            i++;
            continue;
        }
        if (known->row != QI_NO_SLOT) {
            /* A task is not known to have ended; the loop will not run it any more. */
            qi_row_retire(p->client, known->row,
                          number == 0                          ? QI_STATE_GONE
                          : QI_REF_KIND(known->ref) == QI_TASK ? QI_TASK_DESTROYED
                                                               : QI_OVER);
        }
        qi_known_remove(&p->known, known->object); /* may bring another one here */
    }
}

void
qi_probe_loop_closed(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    set_woken(p, self, NULL);
    if (view->session != p->session) {
        return;
    }
    qi_probe_note(p, qi_probe_now(), QI_EV_LOOP_CLOSED, view->number, view->tasks,
                  view->id, 0);
    if (p->adopted_by == self) {
        Py_CLEAR(p->adopted);
        p->adopted_by = NULL;
    }
    if (view->number != 0) {
        retire_all_of(p, view->number);
    }
    if (view->row != QI_NO_SLOT) {
        view->tasks = view->timers = view->watches = 0;
        write_loop_row(p, self, QI_LOOP_IS_CLOSED);
        qi_row_retire(p->client, view->row, QI_LOOP_IS_CLOSED);
    }
    p->numbers[view->number & 0xff] = 0;
    view->session = view->smooth = 0;
}

void
qi_probe_set_level(qi_state *st, int level)
{
    struct qi_probe *p = st->probe;

    p->level = level;
    st->observed = level > 0 ? p : NULL;
    if (level > 0) {
        return;
    }
    /* What happens from here on is not seen, so nothing that is shown would stay true. */
    retire_all_of(p, 0);
    Py_CLEAR(p->adopted);
    p->adopted_by = NULL;
    p->cause = p->caused = 0;
    p->session = ++qi_probe_sessions; /* the loops' views are void */
    memset(p->numbers, 0, sizeof(p->numbers));
}

/*********** timers ***********/

void
qi_probe_timer_over(struct qi_probe *p, LoopObject *self, PyObject *handle)
{
    struct qi_known *known = qi_known_find(&p->known, handle);

    if (known == NULL) {
        return;
    }
    uint64_t ref = known->ref;
    if (known->row != QI_NO_SLOT) {
        qi_row_retire(p->client, known->row, QI_OVER);
    }
    qi_known_remove(&p->known, handle);
    self->view.timers -= self->view.timers > 0;
    PyObject *future = qi_handle_own(self->st, handle)->nargs == 2
                           ? QI_SLOT(self->st, handle, args)
                           : NULL;
    known = future == NULL ? NULL : qi_known_find(&p->known, future);
    if (known != NULL && known->ref == ref) {
        qi_known_remove(&p->known, future);
    }
}

void
qi_probe_timer_set(LoopObject *self, PyObject *handle)
{
    qi_state *st = self->st;
    struct qi_probe *p = st->probe;
    uint64_t id;

    if (!qi_probe_view(p, self)) {
        return;
    }
    PyObject *callback = QI_SLOT(st, handle, callback);
    qi_probe_hold(p);
    uint32_t code = qi_name_callable(p, callback);
    if (!qi_probe_let_go(p)) {
        return;
    }
    int64_t now = qi_probe_now();
    int64_t when = qi_loop_deadline_ns(self, qi_handle_own(st, handle)->when, now);
    uint64_t current = self->view.current;
    uint32_t index = qi_row_new(p->client, QI_TIMER, self->view.number, &id);

    {
        struct qi_timer_row *t = &qi_row_begin(p->client, index)->row.timer;
        QI_PUT(t->code, code);
        QI_PUT(t->when, when);
        QI_PUT(t->created, now);
        QI_PUT(t->task, QI_REF_KIND(current) == QI_TASK ? QI_REF_ID(current) : 0);
        qi_row_end(p->client, index);
    }
    struct qi_known *known = qi_known_enter(&p->known, handle, QI_MAX_KNOWN);
    if (known != NULL) {
        known->ref = QI_REF(QI_TIMER, id);
        known->row = index;
        self->view.timers++;
    }
    else {
        qi_row_retire(p->client, index, QI_OVER); /* nobody would do so later */
    }
    /* sleep(): whoever waits for the future waits for this timer. */
    if (callback == p->wake_up_sleeper && qi_handle_own(st, handle)->nargs == 2) {
        known = qi_known_enter(&p->known, QI_SLOT(st, handle, args), QI_MAX_KNOWN);
        if (known != NULL) {
            known->ref = QI_REF(QI_TIMER, id);
            known->row = QI_NO_SLOT;
            known->text = self->view.number;
        }
    }
    qi_probe_note(p, now, QI_EV_TIMER_SET, self->view.number, code, id,
                  when > now ? (uint64_t)(when - now) : 0);
}

void
qi_probe_timer_dropped(LoopObject *self, PyObject *handle)
{
    struct qi_probe *p = self->st->probe;
    struct qi_known *known = qi_known_find(&p->known, handle);

    if (known == NULL) {
        return;
    }
    qi_probe_note(p, qi_probe_now(), QI_EV_TIMER_CANCELLED, self->view.number, 0,
                  QI_REF_ID(known->ref), 0);
    qi_probe_timer_over(p, self, handle);
}

/*********** watches ***********/

/* Watches are known by loop and descriptor: an odd number is no object's address. */
static const void *
watch_key(const LoopObject *self, int fd)
{
    return (const void *)((uintptr_t)self->view.number << 40 | (uintptr_t)fd << 1 | 1);
}

void
qi_probe_watch(LoopObject *self, int fd, int events, PyObject *handle)
{
    struct qi_probe *p = self->st->probe;

    if (!qi_probe_view(p, self)) {
        return;
    }
    const void *key = watch_key(self, fd);
    struct qi_known *known = qi_known_find(&p->known, key);
    int64_t now = qi_probe_now();
    uint64_t id;

    if (events == 0) {
        qi_probe_note(p, now, QI_EV_WATCH_REMOVED, self->view.number, (uint32_t)fd, 0, 0);
        if (known != NULL) {
            qi_row_retire(p->client, known->row, QI_OVER);
            qi_known_remove(&p->known, key);
            self->view.watches -= self->view.watches > 0;
        }
        return;
    }
    PyObject *callback = handle != NULL && qi_is_handle(self->st, handle)
                             ? QI_SLOT(self->st, handle, callback)
                             : NULL;
    qi_probe_hold(p);
    uint32_t code = callback == NULL ? 0 : qi_name_callable(p, callback);
    if (!qi_probe_let_go(p)) {
        return;
    }
    known = qi_known_find(&p->known, key);
    if (known == NULL) {
        uint32_t index = qi_row_new(p->client, QI_WATCH, self->view.number, &id);
        known = index == QI_NO_SLOT ? NULL : qi_known_enter(&p->known, key, QI_MAX_KNOWN);
        if (known == NULL) {
            if (index != QI_NO_SLOT) {
                qi_row_retire(p->client, index, QI_OVER);
            }
            return;
        }
        known->row = index;
        known->ref = QI_REF(QI_WATCH, id);
        self->view.watches++;
        struct qi_watch_row *w = &qi_row_begin(p->client, index)->row.watch;
        QI_PUT(w->fd, (uint32_t)fd);
        QI_PUT(w->created, now);
        qi_row_end(p->client, index);
    }
    struct qi_watch_row *w = &qi_row_begin(p->client, known->row)->row.watch;
    QI_PUT(w->events, (uint32_t)events);
    QI_PUT(w->code, code);
    qi_row_end(p->client, known->row);
    qi_probe_note(p, now, QI_EV_WATCH_ADDED, self->view.number, (uint32_t)fd,
                  (uint64_t)events, code);
}

void
qi_probe_watch_fired(LoopObject *self, int fd, int events)
{
    struct qi_probe *p = self->st->probe;
    struct qi_known *known = qi_known_find(&p->known, watch_key(self, fd));

    if (known != NULL) {
        struct qi_watch_row *w = &qi_row_begin(p->client, known->row)->row.watch;
        QI_PUT(w->fired, w->fired + 1);
        qi_row_end(p->client, known->row);
    }
    qi_probe_note(p, qi_probe_now(), QI_EV_WATCH_FIRED, self->view.number, (uint32_t)fd,
                  (uint64_t)events, 0);
}

/*********** what exists when the inspection begins ***********/

static int
adopt_timers(LoopObject *self)
{
    qi_state *st = self->st;
    PyObject *handles = PyList_New(0); /* naming them may run Python code */

    for (size_t i = 0; handles != NULL && i < self->timers.len; i++) {
        if (PyList_Append(handles, self->timers.heap[i].item) < 0) {
            Py_CLEAR(handles);
        }
    }
    if (handles == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; st->observed != NULL && i < PyList_GET_SIZE(handles); i++) {
        PyObject *handle = PyList_GET_ITEM(handles, i);
        if (qi_is_timer(st, handle)
            && !(qi_handle_own(st, handle)->flags & QI_HANDLE_CANCELLED)
            && qi_known_find(&st->probe->known, handle) == NULL) {
            qi_probe_timer_set(self, handle);
        }
    }
    Py_DECREF(handles);
    return 0;
}

static void
adopt_watches(LoopObject *self)
{
    SelectorObject *waiter = self->waiter;

    for (int fd = 0; waiter != NULL && fd < waiter->watches_len; fd++) {
        const struct qi_watch *watch = qi_selector_watch(waiter, fd);
        if (watch == NULL || self->st->observed == NULL) {
            continue;
        }
        PyObject *handle = NULL;
        for (Py_ssize_t i = 0; handle == NULL && PyTuple_CheckExact(watch->data)
                               && i < PyTuple_GET_SIZE(watch->data);
             i++) {
            PyObject *item = PyTuple_GET_ITEM(watch->data, i);
            handle = item == Py_None ? NULL : item;
        }
        Py_XINCREF(handle);
        qi_probe_watch(self, fd, watch->events, handle);
        Py_XDECREF(handle);
    }
}

int
qi_probe_adopt_loop(LoopObject *self)
{
    if (self->running) {
        qi_probe_loop_started(self);
    }
    if (adopt_timers(self) < 0) {
        return -1;
    }
    adopt_watches(self);
    return 0;
}

/*********** turns, modal functions, nested loops ***********/

/*
 * How much of the time between turns Qt was busy.  No dispatcher tells truly when it
 * sleeps (GLib's says aboutToBlock() and awake() around its whole iteration), but the
 * system knows how long the thread ran.  That is a system call, so it is asked at most
 * every CPU_EVERY, at the beginning or the end of a turn: what the thread used since the
 * last time, less its turns, was Qt's.  An interval is mostly one long time outside or
 * one long turn, and then this is exact; else a turn that slept is taken from what Qt
 * had, which is less than CPU_EVERY then.
 */
#define CPU_EVERY 200000 /* ns */

static void
count_qt_busy(struct qi_loop_view *view, int64_t now)
{
    if (view->is_native || now - view->cpu_read < CPU_EVERY) {
        return;
    }
    struct timespec ts;
    if (clock_gettime(CLOCK_THREAD_CPUTIME_ID, &ts) < 0) {
        return;
    }
    int64_t cpu = (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
    int64_t used = cpu - view->cpu_ns - (int64_t)view->cpu_turns_ns;
    if (view->cpu_read != 0 && used > 0) {
        view->qt_busy_ns +=
            (uint64_t)used < view->cpu_qt_ns ? (uint64_t)used : view->cpu_qt_ns;
    }
    view->cpu_read = now;
    view->cpu_ns = cpu;
    view->cpu_qt_ns = view->cpu_turns_ns = 0;
}

void
qi_probe_turn_began(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (!qi_probe_view(p, self)) {
        return;
    }
    if (QI_UNLIKELY(!view->shown) && self->running) {
        qi_probe_loop_started(self); /* it ran before the inspection began */
    }
    view->turn_began = qi_probe_now();
    view->callbacks = self->stats.callbacks;
    view->mark = 0;
    p->cause = 0;
    if (view->turn_ended == 0 || view->turn_began <= view->turn_ended) {
        return;
    }
    uint64_t outside = (uint64_t)(view->turn_began - view->turn_ended);
    if (!view->is_native) {
        view->qt_ns += outside;
        view->cpu_qt_ns += outside;
        count_qt_busy(view, view->turn_began);
    }
    else { /* there is no Qt: the loop waited */
        qi_probe_note(p, view->turn_began, QI_EV_IDLE, view->number, 0, outside, 0);
    }
}

void
qi_probe_time_told(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    double told = self->told;

    if (qi_probe_view(p, self) && told != self->view.told && told > 0
        && told < QI_TOLD_MAX) {
        self->view.told = told;
        qi_probe_note(p, qi_probe_now(), QI_EV_LOOP_TIME, self->view.number, 0,
                      (uint64_t)(told * 1e9), 0);
    }
}

void
qi_probe_turn_ended(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (QI_UNLIKELY(p->adopted_by == self)) {
        qi_probe_settle_adopted(p, self);
        p = self->st->observed;
    }
    if (p == NULL || view->session != p->session || view->turn_began == 0) {
        return;
    }
    int64_t now = qi_probe_now();
    uint64_t turn = (uint64_t)(now - view->turn_began);
    uint64_t outside = view->turn_ended != 0 && view->turn_began > view->turn_ended
                           ? (uint64_t)(view->turn_began - view->turn_ended)
                           : 0;
    uint64_t callbacks = self->stats.callbacks - view->callbacks;
    view->asyncio_ns += turn;
    view->cpu_turns_ns += turn;
    count_qt_busy(view, now);
    view->turn_ended = now;
    view->turn_began = 0;
    view->mark = 0;
    if (view->row != QI_NO_SLOT) {
        write_loop_row(p, self, self->running ? QI_LOOP_IDLE : QI_LOOP_STOPPED);
    }
    uint64_t qt = view->is_native ? 0 : outside;
    qi_probe_note(p, now, QI_EV_TURN, view->number, (uint32_t)callbacks, qt, turn);
}

void
qi_probe_nested(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (view->session != p->session || view->row == QI_NO_SLOT) {
        return;
    }
    unsigned depth = depth_of(self);
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->state, (uint8_t)QI_LOOP_NESTED);
    QI_PUT(slot->row.loop_.depth, depth);
    qi_row_end(p->client, view->row);
    if (view->nested_at != 0) {
        return;
    }
    view->nested_at = qi_probe_now();
    uint64_t current = view->current;
    qi_probe_note(p, view->nested_at, QI_EV_NESTED_ENTERED, view->number, depth,
                  QI_REF_KIND(current) == QI_TASK ? QI_REF_ID(current) : 0, 0);
}

void
qi_probe_note_nested_left(struct qi_probe *p, LoopObject *self, int64_t now)
{
    struct qi_loop_view *view = &self->view;

    qi_probe_note(p, now, QI_EV_NESTED_LEFT, view->number, 1,
                  (uint64_t)(now - view->nested_at), 0);
    view->nested_at = 0;
    uint32_t depth = depth_of(self);
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->row.loop_.depth, depth);
    qi_row_end(p->client, view->row);
}

void
qi_probe_modal_entered(LoopObject *self, PyObject *function)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (!qi_probe_view(p, self)) {
        return;
    }
    qi_probe_hold(p);
    uint32_t code = qi_name_callable(p, function);
    if (!qi_probe_let_go(p)) {
        return;
    }
    view->modal_at = qi_probe_now();
    qi_probe_note(p, view->modal_at, QI_EV_MODAL_ENTERED, view->number,
                  (uint32_t)self->modal_depth, code, 0);
    qi_probe_show_current(p, view, 0, 0);
    unsigned depth = depth_of(self);
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->state, (uint8_t)QI_LOOP_NESTED);
    QI_PUT(slot->row.loop_.depth, depth);
    qi_row_end(p->client, view->row);
}

void
qi_probe_modal_left(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (view->session != p->session || view->row == QI_NO_SLOT) {
        return;
    }
    int64_t now = qi_probe_now();
    qi_probe_note(p, now, QI_EV_MODAL_LEFT, view->number, (uint32_t)self->modal_depth,
                  (uint64_t)(now - view->modal_at), 0);
    unsigned depth = depth_of(self);
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->state, (uint8_t)QI_LOOP_IDLE);
    QI_PUT(slot->row.loop_.depth, depth);
    qi_row_end(p->client, view->row);
}
