/*
 * run.c - turns, and the three ways to run a loop.
 *
 * A turn is as many iterations (see iterate.c) as fit into one time slice.  It may end
 * between any two callbacks; what is left of the batch runs first in the next turn.
 *
 *   native    iterations for ever, blocking in phase 2
 *   nested    run_forever() executes a Qt loop, which gives turns
 *   attached  the user's Qt loop gives turns, between start() and stop()
 */
#include "contexts.h"
#include "iterate.h"
#include "probe.h"

#include <math.h>

#define NEVER INFINITY /* the end of a batch that is not sliced */

/*********** an iteration ***********/

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
        r = qi_begin_iteration(self, !hosted);
    }
    else {
        r = qi_begin_replaced_iteration(self, !hosted || qi_selector_is_opaque(self));
    }
    if (r == 0) {
        r = qi_run_batch(self, NEVER) == TURN_ERROR ? -1 : 0;
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

/* Iterations, begun by qi_begin_iteration() or qi_begin_replaced_iteration(), until
   nothing is ready or the slice is over. */
static enum qi_turn_result
sliced_turn(LoopObject *self, int (*begin)(LoopObject *self, int block))
{
    int plain = qi_loop_is_plain(self);

    qi_read_clock(self);
    double end = self->now + (double)self->slice_ns * 1e-9;

    self->quiet_polls = 0;
    for (;;) {
        if (self->batch_left == 0) {
            if (begin(self, 0) < 0) {
                return TURN_ERROR;
            }
        }
        enum qi_turn_result result = qi_run_batch(self, end);
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
    struct qi_poll_event events[QI_MAX_EVENTS];
    struct qi_poll_result got;

    if (self->selector == (PyObject *)self->waiter) {
        return 0;
    }
    int r = qi_poller_wait(&self->waiter->poller, 0, events, QI_MAX_EVENTS, &got);
    if (r < 0) {
        return qi_raise_poll_error(r);
    }
    if (got.woken) {
        self->waiter->wake_pending = 0;
        qi_note_wakeup(self);
    }
    return 0;
}

static enum qi_turn_result
replaced_turn(LoopObject *self)
{
    unsigned hooks = self->hooks_of_class | self->hooks_of_instance;

    if (drain_waiter(self) < 0) {
        return TURN_ERROR;
    }
    if (!qi_selector_is_opaque(self) && !(hooks & (QI_HOOK_RUN_ONCE | QI_HOOK_TIME))) {
        return sliced_turn(self, qi_begin_replaced_iteration); /* a proactor, say */
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
    return len > 0 || qi_selector_is_opaque(self) ? TURN_MORE : TURN_IDLE;
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
    left = left < 0 ? 0 : left > QI_FAR_SECONDS ? QI_FAR_SECONDS : left;
    int r =
        qi_poller_arm(&self->waiter->poller, qi_clock_ns() + (int64_t)ceil(left * 1e9));
    return r < 0 ? qi_raise_poll_error(r) : 0;
}

/* Before the host sleeps: its alarm, and its copy of what a foreign selector watches. */
static int
prepare_sleep(LoopObject *self)
{
    PyObject *list;
    int r;

    if (qi_borrow_scheduled(self, &list) < 0) {
        return -1;
    }
    if (qi_loop_is_plain(self)) {
        r = qi_arm_waiter(self);
    }
    else {
        r = watch_foreign_selector(self);
        r = r < 0 ? -1 : arm_for_instance(self);
    }
    if (r == 0) {
        r = qi_poller_sleep(&self->waiter->poller);
        r = r < 0 ? qi_raise_poll_error(r) : 0;
    }
    return qi_return_scheduled(self, list) < 0 || r < 0 ? -1 : 0;
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
    enum qi_turn_result result;

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
        int r = self->attention ? qi_pay_attention(self) : 0;
        result = r < 0                    ? TURN_ERROR
                 : r == 1                 ? (self->stopping ? TURN_STOP : TURN_MORE)
                 : qi_loop_is_plain(self) ? sliced_turn(self, qi_begin_iteration)
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
    if (qi_exception_ends_run()) {
        return -1;
    }
    PyObject *exc = qi_take_exception();
    r = PyObject_CallMethod((PyObject *)self, "_modal_failed", "O", exc);
    Py_DECREF(exc);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

int
qi_pay_attention(LoopObject *self)
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
    if (qi_begin_iteration(self, 1) < 0) {
        return -1;
    }
    return qi_run_batch(self, NEVER) == TURN_ERROR ? -1 : 0;
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
