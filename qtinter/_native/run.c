/*
 * run.c - iterations, turns, and the three ways to run a loop.
 *
 * An iteration has asyncio's phases (numbered in docs/internals.md too):
 *
 *   1  drop cancelled timers
 *   2  poll the selector, queue the handles of ready descriptors
 *   3  queue due timers
 *   4  run the batch: the ready queue as it stands now, in order
 *
 * A turn is as many iterations as fit into one time slice.  It may end between any
 * two callbacks; what is left of the batch runs first in the next turn.
 *
 *   native    iterations for ever, blocking in phase 2
 *   nested    run_forever() executes a Qt loop, which gives turns
 *   attached  the user's Qt loop gives turns, between start() and stop()
 *
 * Two economies, neither visible in the order of callbacks:
 *   - while iterations are short and polls find nothing, phase 2 is done every
 *     POLL_EVERY callbacks or POLL_SECONDS instead of in each iteration: a poll costs as
 *     much as the callback that a chain of call_soon() runs between two of them;
 *   - the clock is read every few callbacks while they are quick.
 */
#include "contexts.h"
#include "loop.h"
#include "probe.h"

#include <errno.h>
#include <math.h>

#define MAX_EVENTS 128

#define QUIET_POLLS 8       /* polls without an event before polling gets rarer */
#define POLL_EVERY 64       /* callbacks between two polls then, at most */
#define POLL_SECONDS 100e-6 /* and time, as far as the clock is read */
#define QUICK_SECONDS 2e-6  /* a callback this fast lets the clock rest */
#define CLOCK_EVERY_MAX 8   /* callbacks between two readings, at most */
#define TIMER_MARGIN 100e-6 /* a deadline this near is checked in every iteration */
#define FAR_SECONDS 86400.0 /* asyncio's longest wait */
#define NEVER INFINITY      /* the end of a batch that is not sliced */

enum turn_result {
    TURN_ERROR = -1, /* exception set: the run is over */
    TURN_IDLE,       /* nothing left to run */
    TURN_MORE,       /* time used up */
    TURN_STOP        /* stop() was called and its iteration is complete */
};

/*********** phase 1 and 3: timers ***********/

static int
leave_heap(LoopObject *self, PyObject *handle)
{
    if (qi_is_timer(self->st, handle)) {
        qi_handle_own(self->st, handle)->flags &= (uint8_t)~QI_HANDLE_SCHEDULED;
        return 0;
    }
    return PyObject_SetAttr(handle, self->st->str_scheduled, Py_False);
}

struct sweep {
    LoopObject *loop;
    PyObject *removed; /* list: released after the heap is in order again */
    int failed;
};

static int
keep_timer(void *item, void *ctx)
{
    struct sweep *sweep = ctx;
    PyObject *handle = item;
    int cancelled = qi_handle_is_cancelled(sweep->loop->st, handle);

    if (cancelled <= 0) {
        sweep->failed |= cancelled < 0;
        return 1;
    }
    if (leave_heap(sweep->loop, handle) < 0
        || PyList_Append(sweep->removed, handle) < 0) {
        sweep->failed = 1;
        return 1;
    }
    Py_DECREF(handle); /* the list holds it */
    return 0;
}

static int
sweep_cancelled(LoopObject *self)
{
    struct sweep sweep = {.loop = self, .removed = PyList_New(0)};

    if (sweep.removed == NULL) {
        return -1;
    }
    qi_timers_filter(&self->timers, keep_timer, &sweep);
    self->timer_cancelled_count = 0;
    Py_DECREF(sweep.removed);
    return sweep.failed ? -1 : 0;
}

static int
drop_cancelled_timers(LoopObject *self)
{
    if (QI_UNLIKELY(self->timer_cancelled_count > 0)) {
        double len = (double)self->timers.len;
        if ((Py_ssize_t)self->timers.len > self->min_scheduled
            && (double)self->timer_cancelled_count / len > self->min_cancelled_fraction) {
            return sweep_cancelled(self);
        }
    }
    const struct qi_timer *top;
    while ((top = qi_timers_top(&self->timers)) != NULL) {
        int cancelled = qi_handle_is_cancelled(self->st, top->item);
        if (cancelled <= 0) {
            return cancelled;
        }
        PyObject *handle = qi_timers_pop(&self->timers);
        self->timer_cancelled_count -= self->timer_cancelled_count > 0;
        int r = leave_heap(self, handle);
        Py_DECREF(handle);
        if (r < 0) {
            return -1;
        }
    }
    return 0;
}

static int
queue_due_timers(LoopObject *self, double now)
{
    const struct qi_timer *top;
    double end = now + self->clock_resolution;

    while ((top = qi_timers_top(&self->timers)) != NULL && top->when < end) {
        PyObject *handle = qi_timers_pop(&self->timers);
        int cancelled = qi_handle_is_cancelled(self->st, handle);
        if (cancelled < 0 || leave_heap(self, handle) < 0) {
            Py_DECREF(handle);
            return -1;
        }
        if (cancelled) {
            self->timer_cancelled_count -= self->timer_cancelled_count > 0;
            Py_DECREF(handle);
        }
        else if (qi_loop_push_ready(self, handle) < 0) {
            return -1;
        }
    }
    return 0;
}

/*
 * While somebody holds loop._scheduled, that list is the heap.  Its contents are taken
 * over for the phases above and given back after them, into the same object.
 */
static int
borrow_scheduled(LoopObject *self, PyObject **ret_list)
{
    *ret_list = NULL;
    int reclaimed = qi_loop_reclaim_scheduled(self);
    if (reclaimed != 0) {
        return reclaimed < 0 ? -1 : 0;
    }
    PyObject *list = self->scheduled_out;
    PyObject *copy = PyList_GetSlice(list, 0, PyList_GET_SIZE(list));
    while (copy != NULL && PyList_GET_SIZE(copy) != PyList_GET_SIZE(list)) {
        /* The collector ran a finalizer that set a timer. */
        Py_SETREF(copy, PyList_GetSlice(list, 0, PyList_GET_SIZE(list)));
    }
    if (copy == NULL || PyList_SetSlice(list, 0, PyList_GET_SIZE(list), NULL) < 0) {
        Py_XDECREF(copy);
        return -1;
    }
    *ret_list = list;
    self->scheduled_out = copy; /* held by nobody else: comes back in */
    return qi_loop_reclaim_scheduled(self) < 0 ? -1 : 0;
}

static int
return_scheduled(LoopObject *self, PyObject *list)
{
    PyObject *handle;
    int r = 0;

    if (list == NULL) {
        return 0;
    }
    if (self->scheduled_out != NULL && qi_loop_reclaim_scheduled(self) < 0) {
        r = -1;
    }
    while ((handle = qi_timers_pop(&self->timers)) != NULL) {
        if (PyList_Append(list, handle) < 0) {
            r = -1;
        }
        Py_DECREF(handle);
    }
    Py_XSETREF(self->scheduled_out, list);
    return r;
}

/*********** phase 2: poll ***********/

static int
raise_poll_error(int negative_errno)
{
    if (negative_errno == -EINTR) {
        return PyErr_CheckSignals();
    }
    errno = -negative_errno;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

/* Besides work, a wakeup may bring a request of the inspector. */
static void
note_wakeup(LoopObject *self)
{
    if (QI_PROBED(self)) {
        qi_probe_woken(self);
    }
}

/* block: wait until something comes, with the GIL released. */
static int
poll_selector(LoopObject *self, SelectorObject *waiter, int block)
{
    struct qi_poll_event events[MAX_EVENTS];
    struct qi_poll_result got;
    int r;

    self->stats.polls++;
    self->since_poll = 0;
    self->polled = self->latest;
    self->view.mark = 0;
    if (block) {
        self->quiet_polls = 0;
        if (QI_OBSERVED(self)) {
            qi_probe_turn_ended(self);
        }
        Py_BEGIN_ALLOW_THREADS r =
            qi_poller_wait(&waiter->poller, -1, events, MAX_EVENTS, &got);
        Py_END_ALLOW_THREADS if (QI_OBSERVED(self))
        {
            qi_probe_turn_began(self);
        }
    }
    else {
        r = qi_poller_wait(&waiter->poller, 0, events, MAX_EVENTS, &got);
    }
    if (r < 0) {
        return raise_poll_error(r);
    }
    if (got.woken) {
        waiter->wake_pending = 0;
        note_wakeup(self);
    }
    self->quiet_polls = got.n + got.woken == 0 ? self->quiet_polls + 1 : 0;
    for (int i = 0; i < got.n; i++) {
        struct qi_watch *watch = qi_selector_watch(waiter, events[i].fd);
        int mask = watch == NULL ? 0 : watch->events & events[i].events;
        if (mask == 0) {
            continue;
        }
        PyObject *fileobj = Py_NewRef(watch->fileobj);
        PyObject *data = Py_NewRef(watch->data);
        if (QI_OBSERVED(self)) {
            qi_probe_watch_fired(self, events[i].fd, mask);
        }
        r = qi_loop_deliver(self, fileobj, data, mask);
        Py_DECREF(fileobj);
        Py_DECREF(data);
        if (r < 0) {
            return -1;
        }
    }
    return 0;
}

static int
poll_waiter(LoopObject *self, int block)
{
    /* Held: another thread may replace it meanwhile. */
    SelectorObject *waiter = (SelectorObject *)Py_NewRef((PyObject *)self->waiter);
    int r = poll_selector(self, waiter, block);

    Py_DECREF(waiter);
    return r;
}

/* Makes the waiter report the nearest deadline, if there is one. */
static int
arm_waiter(LoopObject *self)
{
    const struct qi_timer *top = qi_timers_top(&self->timers);
    struct qi_host *host = self->host;

    if (host != NULL && host->arm != NULL) {
        host->arm(host->impl, top == NULL ? -1 : qi_deadline_ns(top->when));
        return 0;
    }
    if (top == NULL) {
        return 0;
    }
    int r = qi_poller_arm(&self->waiter->poller, qi_deadline_ns(top->when));
    return r < 0 ? raise_poll_error(r) : 0;
}

/*********** phase 4: run ***********/

static PyObject *
next_ready(LoopObject *self)
{
    if (QI_UNLIKELY(self->ready_out != NULL)) {
        int reclaimed = qi_loop_reclaim_ready(self);
        if (reclaimed < 0 || (reclaimed == 0 && qi_loop_ready_len(self) <= 0)) {
            return NULL;
        }
        if (reclaimed == 0) {
            return PyObject_CallMethod(self->ready_out, "popleft", NULL);
        }
    }
    return qi_ready_pop(&self->ready);
}

/* A handle that is not ours (asyncio.Handle made elsewhere, or something like it), or
   any handle while asyncio.Handle._run is replaced. */
static int
run_by_method(LoopObject *self, PyObject *handle)
{
    int cancelled = qi_handle_is_cancelled(self->st, handle);

    if (cancelled != 0) {
        return cancelled < 0 ? -1 : 0;
    }
    PyObject *r = PyObject_CallMethodObjArgs(handle, self->st->str_run, NULL);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* 0, or -1 with the exception that ends the run. */
static int
run_handle(LoopObject *self, PyObject *handle)
{
    qi_state *st = self->st;

    self->stats.callbacks++;
    if (QI_UNLIKELY(self->debug)) {
        int cancelled = qi_handle_is_cancelled(self->st, handle);
        if (cancelled != 0) {
            return cancelled < 0 ? -1 : 0;
        }
        PyObject *r = PyObject_CallMethod((PyObject *)self, "_run_timed", "O", handle);
        Py_XDECREF(r);
        return r == NULL ? -1 : 0;
    }
    if (QI_UNLIKELY(!qi_is_handle(st, handle) || st->handle_run_replaced)) {
        return run_by_method(self, handle);
    }
    if (qi_handle_own(st, handle)->flags & QI_HANDLE_CANCELLED) {
        if (QI_OBSERVED(self) && qi_is_timer(st, handle)) {
            qi_probe_timer_dropped(self, handle); /* cancelled when it was due */
        }
        return 0;
    }
    if (QI_UNLIKELY(qi_loop_call_handle(self, handle) < 0)) {
        return qi_loop_report_callback(self, handle);
    }
    return 0;
}

/* True when the clock says that the turn's time is over.  Reads it rarely while
   callbacks are quick. */
static int
time_is_up(LoopObject *self, double end)
{
    if (--self->clock_in > 0) {
        return 0;
    }
    double now = qi_loop_clock(self);
    double each = (now - self->now) / self->clock_every;
    self->now = now;
    if (each > QUICK_SECONDS) {
        self->clock_every = 1;
    }
    else if (self->clock_every < CLOCK_EVERY_MAX) {
        self->clock_every *= 2;
    }
    self->clock_in = self->clock_every;
    return now >= end;
}

static int run_modal(LoopObject *self);

/* What the attention bits ask for, between two callbacks.  0: go on, 1: end the turn,
   -1: error. */
static int
pay_attention(LoopObject *self)
{
    if (self->attention & QI_ATTENTION_INTERRUPT) {
        self->attention &= ~QI_ATTENTION_INTERRUPT;
        PyObject *exc = self->interruption;
        self->interruption = NULL;
        if (exc != NULL) {
            qi_raise_exception(exc);
            return -1;
        }
    }
    if (self->attention & QI_ATTENTION_MODAL && self->running != QI_RUNNING_NATIVE) {
        return run_modal(self) < 0 ? -1 : 1;
    }
    return 0;
}

/* Runs what is left of the batch, until `end` (seconds). */
static enum turn_result
run_batch(LoopObject *self, double end)
{
    while (self->batch_left > 0) {
        PyObject *handle = next_ready(self);
        if (handle == NULL) {
            self->batch_left = 0;
            return PyErr_Occurred() ? TURN_ERROR : TURN_IDLE;
        }
        self->batch_left--;
        self->since_poll++;
        int r = run_handle(self, handle);
        Py_DECREF(handle);
        if (QI_UNLIKELY(r < 0)) {
            self->batch_left = 0;
            return TURN_ERROR;
        }
        if (QI_UNLIKELY(self->attention)) {
            r = pay_attention(self);
            if (r < 0) {
                self->batch_left = 0;
                return TURN_ERROR;
            }
            if (r > 0) {
                return TURN_MORE;
            }
        }
        if (time_is_up(self, end)) {
            self->stats.slices++;
            return TURN_MORE;
        }
    }
    return TURN_IDLE;
}

/*********** one iteration ***********/

static void
read_clock(LoopObject *self)
{
    self->now = qi_loop_clock(self);
    self->clock_in = self->clock_every;
}

/* Nothing is ready, and the loop may sleep. */
static int
is_idle(LoopObject *self)
{
    if (qi_loop_ready_len(self) != 0 || self->stopping) {
        return 0;
    }
    qi_contexts_release(self->st); /* whose values may queue something as they go */
    return qi_loop_ready_len(self) == 0;
}

/* Whether a poll that does not wait should be made now. */
static int
poll_is_due(LoopObject *self)
{
    return self->quiet_polls < QUIET_POLLS || self->since_poll >= POLL_EVERY
           || self->latest - self->polled > POLL_SECONDS;
}

/* Phases 1 to 3 of a plain loop; sets the batch.  block: phase 2 may wait. */
static int
begin_iteration(LoopObject *self, int block)
{
    PyObject *list;
    int r = 0;

    self->stats.iterations++;
    if (qi_handle_refresh_run(self->st) < 0) {
        return -1;
    }
    if (QI_UNLIKELY(self->scheduled_out != NULL)) {
        if (borrow_scheduled(self, &list) < 0) {
            return -1;
        }
    }
    else {
        list = NULL;
    }
    if (self->timers.len > 0) {
        r = drop_cancelled_timers(self);
    }
    if (r == 0 && block && is_idle(self)) {
        r = arm_waiter(self);
        if (r == 0) {
            r = poll_waiter(self, 1);
        }
    }
    else if (r == 0 && poll_is_due(self)) {
        r = poll_waiter(self, 0);
    }
    if (r == 0 && self->timers.len > 0) {
        /* An old reading is good enough for far deadlines.  One that was just computed
           is not far from the latest. */
        if (self->since_poll == 0
            || qi_timers_top(&self->timers)->when < self->latest + TIMER_MARGIN) {
            read_clock(self);
        }
        r = queue_due_timers(self, self->now);
    }
    if (return_scheduled(self, list) < 0 || r < 0) {
        return -1;
    }
    Py_ssize_t len = qi_loop_ready_len(self);
    if (len < 0) {
        return -1;
    }
    self->batch_left = (size_t)len;
    return 0;
}

/*********** an iteration through the object's attributes ***********/

/* The timeout asyncio would give to select(): 0, None, or seconds. */
static PyObject *
select_timeout(LoopObject *self, int block)
{
    Py_ssize_t len = qi_loop_ready_len(self);
    const struct qi_timer *top = qi_timers_top(&self->timers);

    if (len < 0) {
        return NULL;
    }
    if (len > 0 || self->stopping || !block) {
        return PyLong_FromLong(0);
    }
    if (top == NULL) {
        Py_RETURN_NONE;
    }
    double now = qi_loop_time(self);
    if (now == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    double left = top->when - now;
    left = left < 0 ? 0 : left;
    return PyFloat_FromDouble(left > FAR_SECONDS ? FAR_SECONDS : left);
}

static int
select_and_process(LoopObject *self, int block)
{
    PyObject *timeout = select_timeout(self, block);
    PyObject *selector = NULL;
    PyObject *events = NULL;
    PyObject *r = NULL;

    if (timeout == NULL) {
        return -1;
    }
    self->stats.polls++;
    selector = PyObject_GetAttr((PyObject *)self, self->st->str_selector);
    if (selector != NULL) {
        events =
            PyObject_CallMethodObjArgs(selector, self->st->str_select, timeout, NULL);
    }
    if (events != NULL) {
        r = PyObject_CallMethodObjArgs((PyObject *)self, self->st->str_process_events,
                                       events, NULL);
    }
    Py_DECREF(timeout);
    Py_XDECREF(selector);
    Py_XDECREF(events);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* The selector waits in a way of its own, so its select() gets the true timeout even
   under Qt: a virtual clock, a mock. */
static int
selector_is_opaque(LoopObject *self)
{
    return self->opaque_selector || qi_loop_hooked(self, QI_HOOK_SELECTOR)
           || (self->waiter != NULL && self->selector == (PyObject *)self->waiter
               && self->waiter->patched);
}

static int
begin_replaced_iteration(LoopObject *self, int block)
{
    PyObject *list;

    self->stats.iterations++;
    if (qi_handle_refresh_run(self->st) < 0 || borrow_scheduled(self, &list) < 0) {
        return -1;
    }
    int r = drop_cancelled_timers(self);
    if (r == 0) {
        r = select_and_process(self, block);
    }
    if (r == 0) {
        self->now = qi_loop_time(self);
        r = self->now == -1.0 && PyErr_Occurred() ? -1
                                                  : queue_due_timers(self, self->now);
    }
    if (return_scheduled(self, list) < 0 || r < 0) {
        return -1;
    }
    Py_ssize_t len = qi_loop_ready_len(self);
    self->batch_left = len < 0 ? 0 : (size_t)len;
    return len < 0 ? -1 : 0;
}

/* _run_once(): one whole iteration.  Blocks unless a host gives the turns. */
static PyObject *
loop_run_once(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    int hosted = self->host != NULL;
    int was_in_turn = self->in_turn;
    int r;

    self->in_turn = 1;
    self->quiet_polls = 0;
    if (qi_loop_is_plain(self)) {
        r = begin_iteration(self, !hosted);
    }
    else {
        r = begin_replaced_iteration(self, !hosted || selector_is_opaque(self));
    }
    if (r == 0) {
        r = run_batch(self, NEVER) == TURN_ERROR ? -1 : 0;
    }
    self->in_turn = was_in_turn;
    if (r < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static int
run_once_of_instance(LoopObject *self)
{
    PyObject *r =
        PyObject_CallMethodObjArgs((PyObject *)self, self->st->str_run_once, NULL);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/*********** a turn ***********/

/* How many Qt event loops are on the C stack now. */
static int
host_depth(LoopObject *self)
{
    return self->host == NULL ? 0 : self->host->depth(self->host->impl);
}

static int
take_sigint(LoopObject *self)
{
    if (QI_UNLIKELY(self->sigint_guarded)) {
        self->sigint_guarded = 0;
        PyObject *r = PyObject_CallMethod((PyObject *)self, "_sigint_over", NULL);
        Py_XDECREF(r);
        if (r == NULL) {
            return -1;
        }
    }
    if (QI_UNLIKELY(self->sigint_pending)) {
        self->sigint_pending = 0;
        PyErr_SetNone(PyExc_KeyboardInterrupt);
        return -1;
    }
    /* Runs the Python handlers of signals that came while Qt was waiting. */
    return PyErr_CheckSignals();
}

/* Iterations, begun by begin_iteration() or begin_replaced_iteration(), until nothing is
   ready or the slice is over. */
static enum turn_result
sliced_turn(LoopObject *self, int (*begin)(LoopObject *self, int block))
{
    int plain = qi_loop_is_plain(self);

    read_clock(self);
    double end = self->now + (double)self->slice_ns * 1e-9;

    self->quiet_polls = 0;
    for (;;) {
        if (self->batch_left == 0) {
            if (begin(self, 0) < 0) {
                return TURN_ERROR;
            }
        }
        enum turn_result result = run_batch(self, end);
        if (result != TURN_IDLE) {
            return result;
        }
        if (self->stopping) {
            return TURN_STOP;
        }
        if (qi_loop_refresh_class_hooks(self) < 0) {
            return TURN_ERROR;
        }
        if (qi_loop_is_plain(self) != plain) {
            return TURN_MORE; /* a callback has just replaced something */
        }
        Py_ssize_t len = qi_loop_ready_len(self);
        if (len <= 0) {
            return len < 0 ? TURN_ERROR : TURN_IDLE;
        }
    }
}

/* Takes note of the waiter's deadline and wakeup when another selector is polled: they
   stay ready, and Qt would not sleep, until they are read. */
static int
drain_waiter(LoopObject *self)
{
    struct qi_poll_event events[MAX_EVENTS];
    struct qi_poll_result got;

    if (self->selector == (PyObject *)self->waiter) {
        return 0;
    }
    int r = qi_poller_wait(&self->waiter->poller, 0, events, MAX_EVENTS, &got);
    if (r < 0) {
        return raise_poll_error(r);
    }
    if (got.woken) {
        self->waiter->wake_pending = 0;
        note_wakeup(self);
    }
    return 0;
}

static enum turn_result
replaced_turn(LoopObject *self)
{
    unsigned hooks = self->hooks_of_class | self->hooks_of_instance;

    if (drain_waiter(self) < 0) {
        return TURN_ERROR;
    }
    if (!selector_is_opaque(self) && !(hooks & (QI_HOOK_RUN_ONCE | QI_HOOK_TIME))) {
        return sliced_turn(self, begin_replaced_iteration); /* a proactor, say */
    }
    if (run_once_of_instance(self) < 0) {
        return TURN_ERROR;
    }
    if (self->stopping) {
        return TURN_STOP;
    }
    Py_ssize_t len = qi_loop_ready_len(self);
    if (len < 0) {
        return TURN_ERROR;
    }
    return len > 0 || selector_is_opaque(self) ? TURN_MORE : TURN_IDLE;
}

static int
watch_foreign_selector(LoopObject *self)
{
    PyObject *r = PyObject_CallMethod((PyObject *)self, "_watch_foreign_selector", NULL);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* The loop's clock may be its own: only the distance to the deadline counts. */
static int
arm_for_instance(LoopObject *self)
{
    const struct qi_timer *top = qi_timers_top(&self->timers);

    if (top == NULL) {
        return 0;
    }
    double now = qi_loop_time(self);
    if (now == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    double left = top->when - now;
    left = left < 0 ? 0 : left > FAR_SECONDS ? FAR_SECONDS : left;
    int r =
        qi_poller_arm(&self->waiter->poller, qi_clock_ns() + (int64_t)ceil(left * 1e9));
    return r < 0 ? raise_poll_error(r) : 0;
}

/* Before the host sleeps: its alarm, and its copy of what a foreign selector watches. */
static int
prepare_sleep(LoopObject *self)
{
    PyObject *list;
    int r;

    if (borrow_scheduled(self, &list) < 0) {
        return -1;
    }
    if (qi_loop_is_plain(self)) {
        r = arm_waiter(self);
    }
    else {
        r = watch_foreign_selector(self);
        r = r < 0 ? -1 : arm_for_instance(self);
    }
    if (r == 0) {
        r = qi_poller_sleep(&self->waiter->poller);
        r = r < 0 ? raise_poll_error(r) : 0;
    }
    return return_scheduled(self, list) < 0 || r < 0 ? -1 : 0;
}

static void
pause_watch(LoopObject *self)
{
    struct qi_host *host = self->host;

    if (!self->watch_paused) {
        self->watch_paused = 1;
        host->watch(host->impl, 0);
        if (host->listen != NULL && self->signal_fd >= 0) {
            host->listen(host->impl, self->signal_fd);
        }
    }
}

static void
resume_watch(LoopObject *self)
{
    struct qi_host *host = self->host;

    if (self->watch_paused && host != NULL) {
        self->watch_paused = 0;
        if (host->listen != NULL) {
            host->listen(host->impl, -1);
        }
        host->watch(host->impl, 1);
    }
}

/* Ends the Qt event loops inside of this run, which the user may have nested in it.
   Qt has no way to end them and spare those around run_forever(): if there are any,
   the inner ones have to end by themselves. */
static void
quit_inner_loops(LoopObject *self)
{
    if (self->running == QI_RUNNING_ATTACHED || self->base_depth == 0) {
        self->host->quit(self->host->impl);
    }
}

/* The run is over: exc (stolen, may be NULL) ended it, otherwise stop() did. */
static void
end_hosted_run(LoopObject *self, PyObject *exc)
{
    self->ended = 1;
    if (exc != NULL) {
        Py_XSETREF(self->interruption, exc);
    }
    if (self->running == QI_RUNNING_NESTED) {
        self->host->leave(self->host->impl);
        if (self->interruption != NULL) {
            quit_inner_loops(self);
        }
        return;
    }
    PyObject *r = PyObject_CallMethod((PyObject *)self, "_attached_run_ended", NULL);
    if (r == NULL) {
        PyErr_WriteUnraisable((PyObject *)self);
    }
    Py_XDECREF(r);
}

static void
give_turn(LoopObject *self)
{
    enum turn_result result;

    self->turn_depth = host_depth(self);
    self->in_turn = 1;
    self->stats.turns++;
    if (QI_OBSERVED(self)) {
        qi_probe_turn_began(self);
    }
    if (take_sigint(self) < 0 || qi_loop_refresh_class_hooks(self) < 0) {
        result = TURN_ERROR;
    }
    else {
        int r = self->attention ? pay_attention(self) : 0;
        result = r < 0                    ? TURN_ERROR
                 : r == 1                 ? (self->stopping ? TURN_STOP : TURN_MORE)
                 : qi_loop_is_plain(self) ? sliced_turn(self, begin_iteration)
                                          : replaced_turn(self);
    }
    if (QI_OBSERVED(self)) {
        qi_probe_turn_ended(self);
    }
    if (self->ended || self->host == NULL) {
        self->in_turn = 0; /* a slot inside a modal function ended the run */
        return;
    }
    if (result == TURN_MORE && self->stopping && self->batch_left == 0) {
        result = TURN_STOP; /* a modal function called stop() */
    }
    if (result == TURN_IDLE && prepare_sleep(self) < 0) {
        result = TURN_ERROR;
    }
    self->in_turn = 0;
    if (result == TURN_ERROR) {
        end_hosted_run(self, qi_take_exception());
    }
    else if (result == TURN_STOP) {
        end_hosted_run(self, NULL);
    }
    else if (self->host != NULL) {
        resume_watch(self);
        if (result == TURN_MORE) {
            self->wake_requested = 1;
            self->host->wake(self->host->impl);
        }
    }
    if (result != TURN_MORE) {
        qi_contexts_release(self->st); /* out of the turn: what this queues wakes it */
    }
}

/* Keeps exc (stolen) until the callback on the stack returns, and makes the Qt event
   loop that this callback runs end. */
static void
interrupt_callback(LoopObject *self, PyObject *exc)
{
    if (self->interruption == NULL) {
        self->interruption = exc;
    }
    else {
        Py_DECREF(exc);
    }
    self->attention |= QI_ATTENTION_INTERRUPT;
    quit_inner_loops(self);
}

/* asyncio pauses, signals do not: their Python handlers run, and what
   add_signal_handler() knows is queued. */
static void
hear_signals(LoopObject *self)
{
    PyObject *exc = NULL;

    if (self->signal_fd < 0) {
        return;
    }
    PyObject *r = PyObject_CallMethod((PyObject *)self, "_read_from_self", NULL);
    Py_XDECREF(r);
    if (r == NULL || PyErr_CheckSignals() < 0) {
        exc = qi_take_exception();
    }
    else if (self->sigint_pending) {
        self->sigint_pending = 0;
        exc = PyObject_CallNoArgs(PyExc_KeyboardInterrupt);
        exc = exc != NULL ? exc : qi_take_exception();
    }
    if (exc != NULL && self->host != NULL) {
        interrupt_callback(self, exc);
    }
    else {
        Py_XDECREF(exc);
    }
}

/* stop() and free() run Python code in some hosts, which may raise and must not
   disturb an exception that is on its way. */
static void
free_host(struct qi_host *host)
{
    PyObject *exc = qi_take_exception();

    host->free(host);
    if (PyErr_Occurred()) {
        PyErr_WriteUnraisable(NULL);
    }
    if (exc != NULL) {
        qi_raise_exception(exc);
    }
}

static void
turn_loop(LoopObject *self, int reason)
{
    Py_INCREF(self);
    if (reason == QI_TURN_WAKE) {
        self->wake_requested = 0;
    }
    if (self->ended || self->host == NULL) {
        /* Stopped, and Qt had this call under way already. */
    }
    else if (reason == QI_TURN_GONE) {
        end_hosted_run(self, NULL); /* the thread ends, and nobody called stop() */
    }
    else if (self->in_turn || self->outer_steps > 0
             || (self->stopping && self->modal_depth > 0)) {
        /* A bare nested Qt loop inside a callback: asyncio pauses until the callback
           returns.  A readable descriptor would make that Qt loop spin. */
        pause_watch(self);
        if (QI_OBSERVED(self) && (self->in_turn || self->outer_steps > 0)) {
            qi_probe_nested(self);
        }
        hear_signals(self);
    }
    else {
        give_turn(self);
    }
    Py_DECREF(self);
}

/* turn() of struct qi_host: the only way from Qt into the loop. */
static void
hosted_turn(void *core, int reason)
{
    if (qi_interpreter_gone()) {
        return;
    }
    PyGILState_STATE gil = PyGILState_Ensure();
    struct qi_hosted *hosted = core;

    if (hosted->loop == NULL) {
        free_host(hosted->host);
        PyMem_Free(hosted);
    }
    else if (Py_REFCNT(hosted->loop) > 0) { /* else: it is being collected */
        turn_loop(hosted->loop, reason);
    }
    PyGILState_Release(gil);
}

/*********** modal functions ***********/

/* Calls the function of exec_modal() outside of any callback.  The turn that runs it
   is over afterwards; nested Qt loops inside the function get turns of their own. */
static int
run_modal(LoopObject *self)
{
    PyObject *function = self->modal;
    int turn_depth = self->turn_depth;

    self->modal = NULL;
    self->attention &= ~QI_ATTENTION_MODAL;
    if (prepare_sleep(self) < 0) {
        Py_DECREF(function);
        return -1;
    }
    self->in_turn = 0;
    self->modal_depth++;
    resume_watch(self);
    if (qi_loop_ready_len(self) > 0) {
        qi_loop_kick(self);
    }
    if (QI_OBSERVED(self)) {
        qi_probe_modal_entered(self, function);
    }
    PyObject *r = PyObject_CallNoArgs(function);
    self->modal_depth--;
    if (QI_OBSERVED(self)) {
        qi_probe_modal_left(self);
    }
    self->in_turn = 1;
    self->turn_depth = turn_depth; /* turns inside of the function have changed it */
    Py_DECREF(function);
    if (r != NULL) {
        Py_DECREF(r);
        return 0;
    }
    if (PyErr_ExceptionMatches(PyExc_SystemExit)
        || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        return -1;
    }
    PyObject *exc = qi_take_exception();
    r = PyObject_CallMethod((PyObject *)self, "_modal_failed", "O", exc);
    Py_DECREF(exc);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

static PyObject *
loop_request_modal(LoopObject *self, PyObject *function)
{
    Py_INCREF(function);
    Py_XSETREF(self->modal, function);
    self->attention |= QI_ATTENTION_MODAL;
    qi_loop_kick(self);
    Py_RETURN_NONE;
}

static PyObject *
loop_modal_pending(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->modal != NULL);
}

/*********** hosts ***********/

static struct qi_host *
take_host(PyObject *object)
{
    if (!PyCapsule_CheckExact(object)) {
        return qi_pyhost_new(object);
    }
    struct qi_host *host = PyCapsule_GetPointer(object, QI_HOST_CAPSULE);
    if (host == NULL || PyCapsule_SetName(object, QI_HOST_CAPSULE_TAKEN) < 0) {
        return NULL;
    }
    return host;
}

/*
 * A thread that Python did not start (a QThread that runs Qt's own exec()) has a Python
 * thread state only while Python code runs on it: the binding makes one for each slot
 * and deletes it after.  With it would go what asyncio keeps there: the running loop and
 * the hooks of asynchronous generators.  One more PyGILState_Ensure() keeps the state
 * for as long as the loop is attached.
 */
static void
pin_thread_state(LoopObject *self)
{
    (void)PyGILState_Ensure(); /* the GIL is held: this counts, no more */
    self->pinned_thread_state = qi_thread_state_id();
}

static void
unpin_thread_state(LoopObject *self)
{
    uint64_t pinned = self->pinned_thread_state;

    self->pinned_thread_state = 0;
    /* The state of a thread that has ended is not ours to release, nor is that of a
       later thread with the same ident. */
    if (pinned != 0 && pinned == qi_thread_state_id()) {
        PyGILState_Release(PyGILState_LOCKED);
    }
}

void
qi_loop_drop_host(LoopObject *self)
{
    struct qi_host *host = self->host;
    struct qi_hosted *hosted = self->hosted;

    if (host == NULL) {
        return;
    }
    self->host = NULL;
    self->hosted = NULL;
    unpin_thread_state(self);
    if (self->host_thread_id == PyThread_get_thread_ident()) {
        free_host(host);
        PyMem_Free(hosted);
    }
    else {
        hosted->loop = NULL;
    }
}

static int
start_host(LoopObject *self, PyObject *object, enum qi_running running)
{
    if (self->host != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "This event loop is already running");
        return -1;
    }
    if (qi_loop_ensure_waiter(self) == NULL || qi_loop_find_class_hooks(self) < 0) {
        return -1;
    }
    struct qi_host *host = take_host(object);
    struct qi_hosted *hosted = PyMem_Malloc(sizeof(*hosted));
    if (host == NULL || hosted == NULL) {
        if (host != NULL) {
            free_host(host);
            PyErr_NoMemory();
        }
        PyMem_Free(hosted);
        return -1;
    }
    *hosted = (struct qi_hosted){.loop = self, .host = host};
    self->ended = 0;
    self->wake_requested = 0;
    self->watch_paused = 0;
    self->sigint_pending = 0;
    self->host_thread_id = PyThread_get_thread_ident();
    if (host->start(host->impl, self->waiter->poller.fd, hosted_turn, hosted) < 0) {
        if (!PyErr_Occurred()) {
            PyErr_Format(PyExc_RuntimeError, "the %s Qt host cannot start: %s",
                         host->name, host->error(host->impl));
        }
        free_host(host);
        PyMem_Free(hosted);
        return -1;
    }
    self->host = host;
    self->hosted = hosted;
    self->base_depth = host_depth(self);
    self->host_name = host->name;
    self->running = running;
    if (QI_PROBED(self)) {
        qi_probe_loop_started(self);
    }
    return 0;
}

static int
stop_host(LoopObject *self)
{
    if (QI_PROBED(self)) {
        qi_probe_loop_stopped(self);
    }
    qi_loop_drop_host(self);
    self->running = QI_NOT_RUNNING;
    self->in_turn = 0;
    return 0;
}

/* The run ended with an exception: raise it. */
static int
raise_interruption(LoopObject *self)
{
    PyObject *exc = self->interruption;

    self->attention &= ~QI_ATTENTION_INTERRUPT;
    if (exc == NULL) {
        return 0;
    }
    self->interruption = NULL;
    qi_raise_exception(exc);
    return -1;
}

/*********** the three ways to run ***********/

static PyObject *
loop_attach(LoopObject *self, PyObject *host)
{
    if (start_host(self, host, QI_RUNNING_ATTACHED) < 0) {
        return NULL;
    }
    pin_thread_state(self);
    qi_loop_kick(self); /* for whatever was queued before */
    Py_RETURN_NONE;
}

static PyObject *
loop_detach(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    (void)stop_host(self);
    Py_RETURN_NONE;
}

static PyObject *
loop_quit_host(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    if (self->host != NULL) {
        self->host->quit(self->host->impl);
    }
    Py_RETURN_NONE;
}

static PyObject *
loop_run_nested(LoopObject *self, PyObject *host_object)
{
    int code;

    if (start_host(self, host_object, QI_RUNNING_NESTED) < 0) {
        return NULL;
    }
    struct qi_host *host = self->host;
    qi_loop_kick(self);
    if (host->needs_gil) {
        code = host->enter(host->impl);
    }
    else {
        Py_BEGIN_ALLOW_THREADS code = host->enter(host->impl);
        Py_END_ALLOW_THREADS
    }
    int ended = self->ended;
    int failed = PyErr_Occurred() != NULL;
    (void)stop_host(self);
    if (failed || raise_interruption(self) < 0) {
        return NULL;
    }
    if (!ended && code != 0) {
        return PyErr_Format(PyExc_RuntimeError, "Qt event loop exited with code '%d'",
                            code);
    }
    return PyBool_FromLong(ended);
}

static int
native_iteration(LoopObject *self)
{
    if (qi_loop_refresh_class_hooks(self) < 0) {
        return -1;
    }
    if (!qi_loop_is_plain(self)) {
        return run_once_of_instance(self);
    }
    if (begin_iteration(self, 1) < 0) {
        return -1;
    }
    return run_batch(self, NEVER) == TURN_ERROR ? -1 : 0;
}

static PyObject *
loop_run_native(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    int r = 0;

    if (qi_loop_find_class_hooks(self) < 0) {
        return NULL;
    }
    self->running = QI_RUNNING_NATIVE;
    self->in_turn = 1;
    self->quiet_polls = 0;
    self->batch_left = 0;
    if (QI_PROBED(self)) {
        (void)qi_loop_ensure_waiter(self);
        PyErr_Clear();
        qi_probe_loop_started(self);
    }
    do {
        r = native_iteration(self);
    } while (r == 0 && !self->stopping);
    self->in_turn = 0;
    self->running = QI_NOT_RUNNING;
    if (QI_PROBED(self)) {
        qi_probe_loop_stopped(self);
    }
    qi_contexts_release(self->st);
    if (r < 0 || raise_interruption(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
loop_interrupt(LoopObject *self, PyObject *exc)
{
    if (!PyExceptionInstance_Check(exc)) {
        PyErr_Format(PyExc_TypeError, "an exception is expected, not %.100s",
                     Py_TYPE(exc)->tp_name);
        return NULL;
    }
    if (self->interruption == NULL) {
        self->interruption = Py_NewRef(exc);
    }
    if (self->in_turn) {
        self->attention |= QI_ATTENTION_INTERRUPT;
    }
    else if (self->host != NULL && !self->ended) {
        end_hosted_run(self, NULL);
    }
    Py_RETURN_NONE;
}

/* Whether the Python code that runs now is that of a callback, which an exception may
   leave, and not of a slot in a Qt event loop that the callback runs. */
static PyObject *
loop_in_callback(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(
        self->in_turn && (self->host == NULL || host_depth(self) == self->turn_depth));
}

/* A slot runs the first step of a task, maybe outside of any turn: a bare nested Qt loop
   in it pauses asyncio, too, or another task would be entered inside of this one. */
static PyObject *
loop_hold_turns(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    self->outer_steps++;
    Py_RETURN_NONE;
}

void
qi_loop_step_over(LoopObject *self)
{
    self->outer_steps--;
    if (self->outer_steps == 0 && self->watch_paused && !self->in_turn
        && self->host != NULL && !self->ended) {
        resume_watch(self);
        qi_loop_kick(self); /* for what became due meanwhile */
    }
}

static PyObject *
loop_let_turns_go(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    qi_loop_step_over(self);
    Py_RETURN_NONE;
}

static PyObject *
loop_read_limits(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *minimum =
        PyObject_GetAttrString(self->st->base_events, "_MIN_SCHEDULED_TIMER_HANDLES");
    PyObject *fraction = PyObject_GetAttrString(self->st->base_events,
                                                "_MIN_CANCELLED_TIMER_HANDLES_FRACTION");

    if (minimum != NULL && fraction != NULL) {
        self->min_scheduled = PyLong_AsSsize_t(minimum);
        self->min_cancelled_fraction = PyFloat_AsDouble(fraction);
    }
    Py_XDECREF(minimum);
    Py_XDECREF(fraction);
    if (PyErr_Occurred()) {
        return NULL;
    }
    Py_RETURN_NONE;
}

PyMethodDef qi_run_methods[] = {
    {"_run_once", (PyCFunction)loop_run_once, METH_NOARGS, NULL},
    {"_attach", (PyCFunction)loop_attach, METH_O, NULL},
    {"_detach", (PyCFunction)loop_detach, METH_NOARGS, NULL},
    {"_quit_host", (PyCFunction)loop_quit_host, METH_NOARGS, NULL},
    {"_run_nested", (PyCFunction)loop_run_nested, METH_O, NULL},
    {"_run_native", (PyCFunction)loop_run_native, METH_NOARGS, NULL},
    {"_interrupt", (PyCFunction)loop_interrupt, METH_O, NULL},
    {"_in_callback", (PyCFunction)loop_in_callback, METH_NOARGS, NULL},
    {"_hold_turns", (PyCFunction)loop_hold_turns, METH_NOARGS, NULL},
    {"_let_turns_go", (PyCFunction)loop_let_turns_go, METH_NOARGS, NULL},
    {"_request_modal", (PyCFunction)loop_request_modal, METH_O, NULL},
    {"_modal_pending", (PyCFunction)loop_modal_pending, METH_NOARGS, NULL},
    {"_read_limits", (PyCFunction)loop_read_limits, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
