/*
 * loop.c - the Loop type: its attributes and hooks, the small methods, its life.
 *
 * Threads: everything runs with the GIL held, on the thread that runs the loop; reading
 * an attribute is harmless from any.
 */
#include "loop.h"

#include "first_step.h"
#include "probe.h"

#include <math.h>

#define MAX_TASK_KEYWORDS 8 /* of create_task(); asyncio has three */

#define CLOCK_RESOLUTION 1e-9 /* seconds; what time.get_clock_info("monotonic") says */

static qi_state *state_of_type(PyTypeObject *type);

double
qi_loop_clock(LoopObject *self)
{
    struct qi_host *host = self->host;
    int64_t ns =
        host != NULL && host->now_ns != NULL ? host->now_ns(host->impl) : qi_clock_ns();
    self->latest = (double)ns * 1e-9;
    return self->latest;
}

double
qi_loop_time(LoopObject *self)
{
    if (!qi_loop_hooked(self, QI_HOOK_TIME)) {
        return qi_loop_clock(self);
    }
    PyObject *now =
        PyObject_CallMethodObjArgs((PyObject *)self, self->st->str_time, NULL);
    double seconds = now == NULL ? -1.0 : PyFloat_AsDouble(now);
    Py_XDECREF(now);
    self->told = seconds;
    return seconds;
}

int64_t
qi_loop_deadline_ns(const LoopObject *self, double when, int64_t now)
{
    if (!qi_loop_hooked(self, QI_HOOK_TIME)) {
        return qi_deadline_ns(when);
    }
    double left = when - self->told;
    left = left < QI_TOLD_MAX ? left : QI_TOLD_MAX; /* also what is no number */
    left = left > -QI_TOLD_MAX ? left : -QI_TOLD_MAX;
    return now + (int64_t)(left * 1e9);
}

int
qi_loop_check_open(LoopObject *self)
{
    if (QI_UNLIKELY(self->closed)) {
        PyErr_SetString(PyExc_RuntimeError, "Event loop is closed");
        return -1;
    }
    return 0;
}

int64_t
qi_deadline_ns(double when)
{
    double ns = ceil(when * 1e9);

    if (ns < 0) {
        return 0;
    }
    return ns < 9e18 ? (int64_t)ns : INT64_MAX / 2;
}

SelectorObject *
qi_loop_ensure_waiter(LoopObject *self)
{
    if (self->waiter == NULL) {
        self->waiter =
            (SelectorObject *)PyObject_CallNoArgs((PyObject *)self->st->SelectorType);
    }
    return self->waiter;
}

/*********** hooks ***********/

static const struct {
    const char *name;
    unsigned hook;
} hook_names[] = {
    {"_process_events", QI_HOOK_PROCESS_EVENTS},
    {"_run_once", QI_HOOK_RUN_ONCE},
    {"_selector", QI_HOOK_SELECTOR},
    {"_timer_handle_cancelled", QI_HOOK_TIMER_CANCELLED},
    {"_write_to_self", QI_HOOK_WRITE_TO_SELF},
    {"call_at", QI_HOOK_CALL_AT},
    {"time", QI_HOOK_TIME},
};
#define N_HOOKS (sizeof(hook_names) / sizeof(hook_names[0]))

/* What the class attribute is while nobody replaced it. */
static PyObject *
original_of(qi_state *st, size_t i)
{
    switch (hook_names[i].hook) {
    case QI_HOOK_WRITE_TO_SELF:
        return Py_NewRef(st->write_to_self);
    case QI_HOOK_PROCESS_EVENTS:
        return PyObject_GetAttrString((PyObject *)st->LoopType,
                                      "_process_selector_events");
    default:
        return PyObject_GetAttrString((PyObject *)st->LoopType, hook_names[i].name);
    }
}

int
qi_loop_find_class_hooks(LoopObject *self)
{
    unsigned hooks = 0;

    for (size_t i = 0; i < N_HOOKS; i++) {
        const char *name = hook_names[i].name;
        PyObject *ours = original_of(self->st, i);
        PyObject *theirs = PyObject_GetAttrString((PyObject *)Py_TYPE(self), name);
        if (ours == NULL || theirs == NULL) {
            Py_XDECREF(ours);
            Py_XDECREF(theirs);
            return -1;
        }
        if (ours != theirs) {
            hooks |= hook_names[i].hook;
        }
        Py_DECREF(ours);
        Py_DECREF(theirs);
    }
    self->hooks_of_class = hooks;
    self->class_version = qi_type_version(Py_TYPE(self));
    return 0;
}

static int
loop_setattro(LoopObject *self, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr((PyObject *)self, name, value) < 0) {
        return -1;
    }
    if (PyUnicode_CompareWithASCIIString(name, "__class__") == 0) {
        return qi_loop_find_class_hooks(self);
    }
    for (size_t i = 0; i < N_HOOKS; i++) {
        if (PyUnicode_CompareWithASCIIString(name, hook_names[i].name) != 0) {
            continue;
        }
        /* Our own _selector is a data descriptor and looks after itself. */
        if (hook_names[i].hook == QI_HOOK_SELECTOR
            && !(self->hooks_of_class & QI_HOOK_SELECTOR)) {
            break;
        }
        if (value != NULL) {
            self->hooks_of_instance |= hook_names[i].hook;
        }
        else {
            self->hooks_of_instance &= ~hook_names[i].hook;
        }
        qi_loop_kick(self); /* what the host sleeps for may not apply any more */
    }
    return 0;
}

/*********** waking, reporting ***********/

void
qi_loop_kick(LoopObject *self)
{
    if (self->in_turn || self->host == NULL || self->ended) {
        return;
    }
    if (PyThread_get_thread_ident() != self->host_thread_id) {
        if (self->waiter != NULL) {
            qi_selector_wake(self->waiter);
        }
        return;
    }
    if (!self->wake_requested) {
        self->wake_requested = 1;
        self->stats.wakeups++;
        self->host->wake(self->host->impl);
    }
}

int
qi_loop_report_callback(LoopObject *self, PyObject *handle)
{
    if (qi_exception_ends_run()) {
        return -1;
    }
    PyObject *exc = qi_take_exception();
    PyObject *r =
        PyObject_CallMethod((PyObject *)self, "_callback_failed", "OO", handle, exc);
    Py_DECREF(exc);
    if (r != NULL) {
        Py_DECREF(r);
        return 0;
    }
    if (qi_exception_ends_run()) {
        return -1;
    }
    PyErr_WriteUnraisable(handle);
    return 0;
}

int
qi_refuse_delete(PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "cannot delete %s of an event loop", name);
        return -1;
    }
    return 0;
}

/*********** small methods that asyncio calls all the time ***********/

static PyObject *
loop_time(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyFloat_FromDouble(qi_loop_clock(self));
}
static PyObject *
loop_get_debug(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->debug);
}

static PyObject *
loop_is_running(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->thread_id != 0);
}

static PyObject *
loop_is_closed(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(self->closed);
}

static PyObject *
loop_check_closed(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    if (qi_loop_check_open(self) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
loop_create_future(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    /* Looked up each time: tests swap asyncio.futures.Future. */
    PyObject *future = PyObject_GetAttrString(self->st->futures, "Future");
    if (future == NULL) {
        return NULL;
    }
    PyObject *stack[2] = {NULL, (PyObject *)self};
    PyObject *result = PyObject_Vectorcall(
        future, stack + 1, 0 | PY_VECTORCALL_ARGUMENTS_OFFSET, self->st->loop_kwnames);
    Py_DECREF(future);
    return result;
}

/* ("loop", *kwnames); the two forms that asyncio itself uses are made once. */
static PyObject *
task_kwnames(qi_state *st, PyObject *kwnames)
{
    Py_ssize_t given = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);

    if (given == 0) {
        return Py_NewRef(st->loop_kwnames);
    }
    if (given == 1
        && PyUnicode_CompareWithASCIIString(PyTuple_GET_ITEM(kwnames, 0), "name") == 0) {
        return Py_NewRef(st->loop_name_kwnames);
    }
    return PySequence_Concat(st->loop_kwnames, kwnames);
}

/* asyncio.Task(coro, loop=self, **kwargs) without a Python frame in between. */
static PyObject *
new_task(LoopObject *self, PyObject *const *args, PyObject *kwnames)
{
    Py_ssize_t given = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);
    PyObject *stack[MAX_TASK_KEYWORDS + 3];
    PyObject *result = NULL;
    PyObject *names = task_kwnames(self->st, kwnames);
    /* Looked up each time: tests swap asyncio.tasks.Task. */
    PyObject *task_type = PyObject_GetAttrString(self->st->tasks, "Task");

    if (names != NULL && task_type != NULL) {
        stack[0] = NULL;
        stack[1] = args[0];
        stack[2] = (PyObject *)self;
        for (Py_ssize_t i = 0; i < given; i++) {
            stack[3 + i] = args[1 + i];
        }
        result = PyObject_Vectorcall(task_type, stack + 1,
                                     1 | PY_VECTORCALL_ARGUMENTS_OFFSET, names);
    }
    Py_XDECREF(task_type);
    Py_XDECREF(names);
    return result;
}

static PyObject *
loop_create_task(LoopObject *self, PyObject *const *args, Py_ssize_t nargs,
                 PyObject *kwnames)
{
    Py_ssize_t given = kwnames == NULL ? 0 : PyTuple_GET_SIZE(kwnames);

    if (self->task_factory == NULL && !self->debug && nargs == 1
        && given <= MAX_TASK_KEYWORDS) {
        return qi_loop_check_open(self) < 0 ? NULL : new_task(self, args, kwnames);
    }
    /* A factory, debug mode, an unusual call: asyncio's own code. */
    PyObject *method = PyObject_CallMethod(self->st->create_task, "__get__", "O", self);
    if (method == NULL) {
        return NULL;
    }
    PyObject *task = PyObject_Vectorcall(method, args, (size_t)nargs, kwnames);
    Py_DECREF(method);
    if (QI_OBSERVED(self) && task != NULL) {
        qi_probe_task_made(self, task, nargs > 0 ? args[0] : NULL);
    }
    return task;
}

static PyObject *
loop_get_task_factory(LoopObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->task_factory != NULL ? self->task_factory : Py_None);
}

static int
loop_set_task_factory(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(self->task_factory,
               value == NULL || value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

static PyObject *
loop_close_waiter(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    SelectorObject *waiter = self->waiter;

    if (QI_PROBED(self)) {
        qi_probe_loop_closed(self);
    }
    if (waiter == NULL) {
        Py_RETURN_NONE;
    }
    self->waiter = NULL;
    PyObject *r = PyObject_CallMethod((PyObject *)waiter, "close", NULL);
    Py_DECREF(waiter);
    return r;
}

static PyObject *
loop_statistics(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("{sK sK sK sK sK sK}", "turns",
                         (unsigned long long)self->stats.turns, "iterations",
                         (unsigned long long)self->stats.iterations, "callbacks",
                         (unsigned long long)self->stats.callbacks, "polls",
                         (unsigned long long)self->stats.polls, "wakeups",
                         (unsigned long long)self->stats.wakeups, "slices",
                         (unsigned long long)self->stats.slices);
}

/*********** attributes ***********/

static PyObject *
loop_get_selector(LoopObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->selector != NULL ? self->selector : Py_None);
}

/* 1 for a selector of the selectors module, or derived from one with its select(). */
static int
waits_like_stdlib(qi_state *st, PyObject *selector)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(st->stdlib_selectors); i++) {
        PyTypeObject *type = (PyTypeObject *)PyTuple_GET_ITEM(st->stdlib_selectors, i);
        if (!PyObject_TypeCheck(selector, type)) {
            continue;
        }
        PyObject *ours = PyObject_GetAttr((PyObject *)type, st->str_select);
        PyObject *theirs =
            PyObject_GetAttr((PyObject *)Py_TYPE(selector), st->str_select);
        int same = ours == NULL || theirs == NULL ? -1 : ours == theirs;
        Py_XDECREF(ours);
        Py_XDECREF(theirs);
        if (same != 0) {
            return same;
        }
    }
    return 0;
}

static int
loop_set_selector(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL || value == Py_None) {
        Py_CLEAR(self->selector);
        return 0;
    }
    if (PyObject_TypeCheck(value, self->st->SelectorType)) {
        if (QI_PROBED(self)) {
            qi_probe_waiter_gone(self);
        }
        Py_INCREF(value);
        Py_XSETREF(self->waiter, (SelectorObject *)value);
    }
    int known = waits_like_stdlib(self->st, value);
    if (known < 0) {
        return -1;
    }
    self->opaque_selector = !known && value != (PyObject *)self->waiter;
    Py_INCREF(value);
    Py_XSETREF(self->selector, value);
    return 0;
}

static PyObject *
loop_get_int(LoopObject *self, void *offset)
{
    return PyBool_FromLong(*(int *)((char *)self + (size_t)offset));
}

static int
loop_set_int(LoopObject *self, PyObject *value, void *offset)
{
    if (qi_refuse_delete(value, "a state attribute") < 0) {
        return -1;
    }
    int on = PyObject_IsTrue(value);
    if (on < 0) {
        return -1;
    }
    *(int *)((char *)self + (size_t)offset) = on;
    return 0;
}

static int
loop_set_stopping(LoopObject *self, PyObject *value, void *offset)
{
    if (loop_set_int(self, value, offset) < 0) {
        return -1;
    }
    if (self->stopping) {
        qi_loop_kick(self); /* a sleeping host has to notice */
    }
    return 0;
}

static PyObject *
loop_get_thread_id(LoopObject *self, void *Py_UNUSED(closure))
{
    if (self->thread_id == 0) {
        Py_RETURN_NONE;
    }
    return PyLong_FromUnsignedLong(self->thread_id);
}

static int
loop_set_thread_id(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL || value == Py_None) {
        self->thread_id = 0;
        return 0;
    }
    unsigned long id = PyLong_AsUnsignedLong(value);
    if (id == (unsigned long)-1 && PyErr_Occurred()) {
        return -1;
    }
    self->thread_id = id;
    return 0;
}

static PyObject *
loop_get_clock_resolution(LoopObject *self, void *Py_UNUSED(closure))
{
    return PyFloat_FromDouble(self->clock_resolution);
}

static int
loop_set_clock_resolution(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL) { /* mock.patch.object() does that at its end */
        self->clock_resolution = CLOCK_RESOLUTION;
        return 0;
    }
    double seconds = PyFloat_AsDouble(value);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    self->clock_resolution = seconds;
    return 0;
}

static PyObject *
loop_get_slice_ms(LoopObject *self, void *Py_UNUSED(closure))
{
    return PyFloat_FromDouble((double)self->slice_ns * 1e-6);
}

static int
loop_set_slice_ms(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (qi_refuse_delete(value, "slice_ms") < 0) {
        return -1;
    }
    double ms = PyFloat_AsDouble(value);
    if (ms == -1.0 && PyErr_Occurred()) {
        if (PyErr_ExceptionMatches(PyExc_TypeError)) {
            PyErr_Format(PyExc_TypeError,
                         "slice_ms must be a number of milliseconds, not %R", value);
        }
        return -1;
    }
    if (!(ms > 0 && ms <= 1000)) {
        PyErr_Format(PyExc_ValueError,
                     "slice_ms must be more than 0 and at most 1000 ms, not %R", value);
        return -1;
    }
    self->slice_ns = (int64_t)(ms * 1e6);
    return 0;
}

static PyObject *
loop_get_host_name(LoopObject *self, void *Py_UNUSED(closure))
{
    if (self->host_name == NULL) {
        Py_RETURN_NONE;
    }
    return PyUnicode_FromString(self->host_name);
}

static PyObject *
loop_get_interruption(LoopObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->interruption != NULL ? self->interruption : Py_None);
}

static int
loop_set_interruption(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(self->interruption,
               value == NULL || value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

static int
loop_set_signal_fd(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (qi_refuse_delete(value, "_signal_fd") < 0) {
        return -1;
    }
    long fd = PyLong_AsLong(value);
    if (fd == -1 && PyErr_Occurred()) {
        return -1;
    }
    self->signal_fd = (int)fd;
    return 0;
}

static PyObject *
loop_get_modal_depth(LoopObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLong(self->modal_depth);
}

static PyObject *
loop_get_waiter(LoopObject *self, void *Py_UNUSED(closure))
{
    return Py_XNewRef((PyObject *)qi_loop_ensure_waiter(self));
}

#define OFFSET(field) ((void *)offsetof(LoopObject, field))

static PyGetSetDef loop_attributes[] = {
    {"_selector", (getter)loop_get_selector, (setter)loop_set_selector, NULL, NULL},
    {"_task_factory", (getter)loop_get_task_factory, (setter)loop_set_task_factory, NULL,
     NULL},
    {"_clock_resolution", (getter)loop_get_clock_resolution,
     (setter)loop_set_clock_resolution, NULL, NULL},
    {"_closed", (getter)loop_get_int, (setter)loop_set_int, NULL, OFFSET(closed)},
    {"_stopping", (getter)loop_get_int, (setter)loop_set_stopping, NULL,
     OFFSET(stopping)},
    {"_debug", (getter)loop_get_int, (setter)loop_set_int, NULL, OFFSET(debug)},
    {"_sigint_pending", (getter)loop_get_int, (setter)loop_set_int, NULL,
     OFFSET(sigint_pending)},
    {"_sigint_guarded", (getter)loop_get_int, (setter)loop_set_int, NULL,
     OFFSET(sigint_guarded)},
    {"_signal_fd", NULL, (setter)loop_set_signal_fd, NULL, NULL},
    {"_opaque_selector", (getter)loop_get_int, (setter)loop_set_int, NULL,
     OFFSET(opaque_selector)},
    {"_waiter", (getter)loop_get_waiter, NULL, NULL, NULL},
    {"_modal_depth", (getter)loop_get_modal_depth, NULL, NULL, NULL},
    {"_in_turn", (getter)loop_get_int, NULL, NULL, OFFSET(in_turn)},
    {"_thread_id", (getter)loop_get_thread_id, (setter)loop_set_thread_id, NULL, NULL},
    {"_interruption", (getter)loop_get_interruption, (setter)loop_set_interruption, NULL,
     NULL},
    {"host_name", (getter)loop_get_host_name, NULL,
     PyDoc_STR("What gives the loop its turns: \"native\" (C++) or \"binding\" (Python\n"
               "objects of the Qt binding).  While the loop is not running, what it had\n"
               "last; None before its first run with Qt.  QTINTER_HOST in the\n"
               "environment forces one of them."),
     NULL},
    {"slice_ms", (getter)loop_get_slice_ms, (setter)loop_set_slice_ms,
     PyDoc_STR("Longest time, in milliseconds, that callbacks run before Qt gets the\n"
               "thread back; 2 by default, more than 0 and at most 1000.  A callback is\n"
               "never interrupted: one that takes longer keeps the thread longer."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

/*********** type ***********/

static PyObject *
loop_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    qi_state *st = state_of_type(type);

    if (st == NULL) {
        return NULL;
    }
    LoopObject *self = (LoopObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    qi_ready_init(&self->ready);
    qi_timers_init(&self->timers, qi_handle_seq);
    self->clock_resolution = CLOCK_RESOLUTION;
    self->slice_ns = 2000000;
    self->min_scheduled = 100;
    self->min_cancelled_fraction = 0.5;
    self->clock_every = 1;
    self->signal_fd = -1;
    st->counts.loops++;
    if (qi_loop_find_class_hooks(self) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
loop_traverse(LoopObject *self, visitproc visit, void *arg)
{
    QI_VISIT_TYPE(self);
    for (size_t i = 0; i < self->ready.len; i++) {
        Py_VISIT((PyObject *)qi_ready_at(&self->ready, i));
    }
    for (size_t i = 0; i < self->timers.len; i++) {
        Py_VISIT((PyObject *)self->timers.heap[i].item);
    }
    Py_VISIT(self->ready_out);
    Py_VISIT(self->scheduled_out);
    Py_VISIT((PyObject *)self->waiter);
    Py_VISIT(self->selector);
    Py_VISIT(self->modal);
    Py_VISIT(self->task_factory);
    Py_VISIT(self->interruption);
    return 0;
}

static int
loop_clear(LoopObject *self)
{
    qi_loop_drop_host(self);
    qi_loop_drop_ready(self);
    qi_loop_drop_scheduled(self);
    Py_CLEAR(self->selector);
    Py_CLEAR(self->waiter);
    Py_CLEAR(self->modal);
    Py_CLEAR(self->task_factory);
    Py_CLEAR(self->interruption);
    return 0;
}

static void
loop_dealloc(LoopObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    qi_state *st = self->st;

    PyObject_GC_UnTrack(self);
    if (QI_PROBED(self)) {
        qi_probe_loop_closed(self);
    }
    (void)loop_clear(self);
    qi_ready_fini(&self->ready);
    qi_timers_fini(&self->timers);
    type->tp_free((PyObject *)self);
    qi_release_type(type, (destructor)loop_dealloc);
    st->counts.loops--;
    qi_state_released(st);
}

static PyMethodDef loop_methods[] = {
    {"time", (PyCFunction)loop_time, METH_NOARGS,
     PyDoc_STR("time($self, /)\n--\n\nThe loop's clock: time.monotonic(), in seconds.")},
    {"get_debug", (PyCFunction)loop_get_debug, METH_NOARGS,
     PyDoc_STR("get_debug($self, /)\n--\n\nTrue in debug mode.")},
    {"is_running", (PyCFunction)loop_is_running, METH_NOARGS,
     PyDoc_STR("is_running($self, /)\n--\n\nTrue while the loop runs or is attached.")},
    {"is_closed", (PyCFunction)loop_is_closed, METH_NOARGS,
     PyDoc_STR("is_closed($self, /)\n--\n\nTrue after close().")},
    {"create_future", (PyCFunction)loop_create_future, METH_NOARGS,
     PyDoc_STR("create_future($self, /)\n--\n\nA new asyncio.Future of this loop.")},
    {"create_task", QI_FASTCALL(loop_create_task),
     PyDoc_STR("create_task($self, coro, /, **kwargs)\n--\n\n"
               "Wrap a coroutine in a task that starts in the next iteration; see\n"
               "asyncio, which also defines the keyword arguments.")},
    {"statistics", (PyCFunction)loop_statistics, METH_NOARGS,
     PyDoc_STR("statistics($self, /)\n--\n\n"
               "Counters since the loop was made, as a dict: turns (times Qt gave the\n"
               "thread), iterations, callbacks, polls (times the kernel was asked),\n"
               "wakeups (turns asked of Qt for work queued outside one), slices (turns\n"
               "that used up slice_ms).")},
    {"_check_closed", (PyCFunction)loop_check_closed, METH_NOARGS, NULL},
    {"_close_waiter", (PyCFunction)loop_close_waiter, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot loop_slots[] = {
    {Py_tp_doc,
     (void *)"The C half of a qtinter event loop; see qtinter.QiBaseEventLoop."},
    {Py_tp_new, (void *)loop_new},
    {Py_tp_dealloc, (void *)loop_dealloc},
    {Py_tp_traverse, (void *)loop_traverse},
    {Py_tp_clear, (void *)loop_clear},
    {Py_tp_setattro, (void *)loop_setattro},
    {Py_tp_methods, loop_methods},
    {Py_tp_getset, loop_attributes},
    {0, NULL},
};

static PyType_Spec loop_spec = {
    .name = "qtinter._core.Loop",
    .basicsize = sizeof(LoopObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = loop_slots,
};

static qi_state *
state_of_type(PyTypeObject *type)
{
    while (type != NULL && type->tp_dealloc != (destructor)loop_dealloc) {
        type = type->tp_base;
    }
    return type == NULL ? NULL : qi_state_of_type(type);
}

/* Takes the reference to a descriptor, which may be NULL with an exception. */
static int
add_descriptor(PyTypeObject *type, const char *name, PyObject *descr)
{
    int r = descr == NULL ? -1 : PyObject_SetAttrString((PyObject *)type, name, descr);
    Py_XDECREF(descr);
    return r;
}

/* Methods and attributes of other files; a type spec takes one table of each. */
static int
add_methods(PyTypeObject *type, PyMethodDef *def)
{
    for (; def->ml_name != NULL; def++) {
        if (add_descriptor(type, def->ml_name, PyDescr_NewMethod(type, def)) < 0) {
            return -1;
        }
    }
    return 0;
}

static int
add_attributes(PyTypeObject *type, PyGetSetDef *def)
{
    for (; def->name != NULL; def++) {
        if (add_descriptor(type, def->name, PyDescr_NewGetSet(type, def)) < 0) {
            return -1;
        }
    }
    return 0;
}

int
qi_loop_init_type(PyObject *module, qi_state *st)
{
    st->LoopType = qi_type_new(module, &loop_spec, NULL);
    if (st->LoopType == NULL) {
        return -1;
    }
    if (add_methods(st->LoopType, qi_queue_methods) < 0
        || add_methods(st->LoopType, qi_first_step_methods) < 0
        || add_methods(st->LoopType, qi_call_methods) < 0
        || add_methods(st->LoopType, qi_run_methods) < 0
        || add_methods(st->LoopType, qi_io_methods) < 0
        || add_attributes(st->LoopType, qi_queue_attributes) < 0) {
        return -1;
    }
    return 0;
}
