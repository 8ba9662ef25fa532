/*
 * iterate.c - one iteration of a loop.
 *
 * It has asyncio's phases (numbered in docs/internals.md too):
 *
 *   1  drop cancelled timers
 *   2  poll the selector, queue the handles of ready descriptors
 *   3  queue due timers
 *   4  run the batch: the ready queue as it stands now, in order
 *
 * Two economies, neither visible in the order of callbacks:
 *   - while iterations are short and polls find nothing, phase 2 is done every
 *     POLL_EVERY callbacks or POLL_SECONDS instead of in each iteration: a poll costs as
 *     much as the callback that a chain of call_soon() runs between two of them;
 *   - the clock is read every few callbacks while they are quick.
 */
#include "iterate.h"

#include "contexts.h"
#include "probe.h"

#include <errno.h>

#define QUIET_POLLS 8       /* polls without an event before polling gets rarer */
#define POLL_EVERY 64       /* callbacks between two polls then, at most */
#define POLL_SECONDS 100e-6 /* and time, as far as the clock is read */
#define QUICK_SECONDS 2e-6  /* a callback this fast lets the clock rest */
#define CLOCK_EVERY_MAX 8   /* callbacks between two readings, at most */
#define TIMER_MARGIN 100e-6 /* a deadline this near is checked in every iteration */

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
int
qi_borrow_scheduled(LoopObject *self, PyObject **ret_list)
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

int
qi_return_scheduled(LoopObject *self, PyObject *list)
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

int
qi_raise_poll_error(int negative_errno)
{
    if (negative_errno == -EINTR) {
        return PyErr_CheckSignals();
    }
    errno = -negative_errno;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

/* Besides work, a wakeup may bring a request of the inspector. */
void
qi_note_wakeup(LoopObject *self)
{
    if (QI_PROBED(self)) {
        qi_probe_woken(self);
    }
}

/* block: wait until something comes, with the GIL released. */
static int
poll_selector(LoopObject *self, SelectorObject *waiter, int block)
{
    struct qi_poll_event events[QI_MAX_EVENTS];
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
            qi_poller_wait(&waiter->poller, -1, events, QI_MAX_EVENTS, &got);
        Py_END_ALLOW_THREADS if (QI_OBSERVED(self))
        {
            qi_probe_turn_began(self);
        }
    }
    else {
        r = qi_poller_wait(&waiter->poller, 0, events, QI_MAX_EVENTS, &got);
    }
    if (r < 0) {
        return qi_raise_poll_error(r);
    }
    if (got.woken) {
        waiter->wake_pending = 0;
        qi_note_wakeup(self);
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
int
qi_arm_waiter(LoopObject *self)
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
    return r < 0 ? qi_raise_poll_error(r) : 0;
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

/* Runs what is left of the batch, until `end` (seconds). */
enum qi_turn_result
qi_run_batch(LoopObject *self, double end)
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
            r = qi_pay_attention(self);
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

void
qi_read_clock(LoopObject *self)
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
int
qi_begin_iteration(LoopObject *self, int block)
{
    PyObject *list;
    int r = 0;

    self->stats.iterations++;
    if (qi_handle_refresh_run(self->st) < 0) {
        return -1;
    }
    if (QI_UNLIKELY(self->scheduled_out != NULL)) {
        if (qi_borrow_scheduled(self, &list) < 0) {
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
        r = qi_arm_waiter(self);
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
            qi_read_clock(self);
        }
        r = queue_due_timers(self, self->now);
    }
    if (qi_return_scheduled(self, list) < 0 || r < 0) {
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
    return PyFloat_FromDouble(left > QI_FAR_SECONDS ? QI_FAR_SECONDS : left);
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
int
qi_selector_is_opaque(LoopObject *self)
{
    return self->opaque_selector || qi_loop_hooked(self, QI_HOOK_SELECTOR)
           || (self->waiter != NULL && self->selector == (PyObject *)self->waiter
               && self->waiter->patched);
}

int
qi_begin_replaced_iteration(LoopObject *self, int block)
{
    PyObject *list;

    self->stats.iterations++;
    if (qi_handle_refresh_run(self->st) < 0 || qi_borrow_scheduled(self, &list) < 0) {
        return -1;
    }
    int r = drop_cancelled_timers(self);
    if (r == 0) {
        r = select_and_process(self, block);
    }
    if (r == 0) {
        self->now = qi_loop_time(self);
        if (QI_OBSERVED(self) && qi_loop_hooked(self, QI_HOOK_TIME)) {
            qi_probe_time_told(self);
        }
        r = self->now == -1.0 && PyErr_Occurred() ? -1
                                                  : queue_due_timers(self, self->now);
    }
    if (qi_return_scheduled(self, list) < 0 || r < 0) {
        return -1;
    }
    Py_ssize_t len = qi_loop_ready_len(self);
    self->batch_left = len < 0 ? 0 : (size_t)len;
    return len < 0 ? -1 : 0;
}
