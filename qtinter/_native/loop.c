/*
 * loop.c - the Loop type: its attributes, and the methods that queue work.
 *
 * Threads: everything runs with the GIL held.  call_soon_threadsafe() may be called
 * by any thread; the rest belongs to the thread that runs the loop, and is harmless
 * from another one (a handle is queued, the loop is woken through its descriptor).
 */
#include "loop.h"

#include <math.h>

#define MAX_TASK_KEYWORDS 8 /* of create_task(); asyncio has three */

static qi_state *state_of_type(PyTypeObject *type);

double
qi_loop_clock(LoopObject *self)
{
    struct qi_host *host = self->host;
    int64_t ns =
        host != NULL && host->now_ns != NULL ? host->now_ns(host->impl) : qi_clock_ns();
    return (double)ns * 1e-9;
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
    return 0;
}

static int
loop_setattro(LoopObject *self, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr((PyObject *)self, name, value) < 0) {
        return -1;
    }
    for (size_t i = 0; i < N_HOOKS && PyUnicode_Check(name); i++) {
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
    }
    return 0;
}

/*********** the queues, and their Python faces ***********/

/*
 * Code in the wild reads loop._ready and loop._scheduled, and some of it (debuggers,
 * nest_asyncio, asyncio's tests) changes them.  Reading one hands out a real deque or
 * list with the contents, and as long as somebody holds that object it *is* the queue.
 * When only the loop is left holding it, its contents move back.
 */

/*
 * Making a Python object may run the collector, and the collector finalizers that call
 * call_soon() or read loop._ready again.  So what is copied below is copied until
 * nothing changed meanwhile, and only then moved, without any allocation in Python.
 */

/* A list with the contents of a deque. */
static PyObject *
snapshot_of(PyObject *deque)
{
    for (;;) {
        PyObject *items = PySequence_List(deque);
        Py_ssize_t len = items == NULL ? -1 : PyObject_Length(deque);
        if (len < 0 || len == PyList_GET_SIZE(items)) {
            return items;
        }
        Py_DECREF(items);
    }
}

int
qi_loop_reclaim_ready(LoopObject *self)
{
    PyObject *out = self->ready_out;

    if (out == NULL) {
        return 1;
    }
    if (Py_REFCNT(out) > 1) {
        return 0;
    }
    Py_INCREF(out); /* held: what a finalizer queues now is appended to it */
    PyObject *items = snapshot_of(out);
    if (items == NULL || self->ready_out != out) {
        Py_XDECREF(items);
        Py_DECREF(out);
        return items == NULL ? -1 : 0;
    }
    int r = 1;
    for (Py_ssize_t i = 0; r == 1 && i < PyList_GET_SIZE(items); i++) {
        if (qi_ready_push(&self->ready, PyList_GET_ITEM(items, i)) < 0) {
            PyErr_NoMemory();
            r = -1;
        }
        else {
            Py_INCREF(PyList_GET_ITEM(items, i));
        }
    }
    self->ready_out = NULL;
    Py_DECREF(out); /* the loop's own reference */
    Py_DECREF(out);
    Py_DECREF(items);
    return r;
}

static int
when_of(LoopObject *self, PyObject *handle, double *ret_when)
{
    if (qi_is_timer(self->st, handle)) {
        *ret_when = qi_handle_own(self->st, handle)->when;
        return 0;
    }
    PyObject *when = PyObject_GetAttr(handle, self->st->str_when);
    if (when == NULL) {
        return -1;
    }
    *ret_when = PyFloat_AsDouble(when);
    Py_DECREF(when);
    return *ret_when == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static int
adopt_timers(LoopObject *self, PyObject *list)
{
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(list); i++) {
        PyObject *handle = PyList_GET_ITEM(list, i);
        double when;
        if (when_of(self, handle, &when) < 0) {
            return -1;
        }
        if (qi_timers_push(&self->timers, when, handle) < 0) {
            PyErr_NoMemory();
            return -1;
        }
        Py_INCREF(handle);
    }
    return 0;
}

int
qi_loop_reclaim_scheduled(LoopObject *self)
{
    PyObject *out = self->scheduled_out;

    if (out == NULL) {
        return 1;
    }
    if (Py_REFCNT(out) > 1) {
        return 0;
    }
    self->scheduled_out = NULL;
    int r = adopt_timers(self, out);
    Py_DECREF(out);
    return r < 0 ? -1 : 1;
}

Py_ssize_t
qi_loop_ready_len(LoopObject *self)
{
    if (self->ready_out == NULL) {
        return (Py_ssize_t)self->ready.len;
    }
    return PyObject_Length(self->ready_out);
}

/* A deque with what the C queue holds, NULL with an exception; *ret_same tells whether
   the queue is still what was copied. */
static PyObject *
copy_ready(LoopObject *self, int *ret_same)
{
    size_t len = self->ready.len;
    PyObject *list = PyList_New((Py_ssize_t)len);

    *ret_same = 0;
    if (list == NULL || self->ready_out != NULL || self->ready.len != len) {
        return list;
    }
    for (size_t i = 0; i < len; i++) {
        PyObject *handle = qi_ready_at(&self->ready, i);
        PyList_SET_ITEM(list, (Py_ssize_t)i, Py_NewRef(handle));
    }
    PyObject *deque = PyObject_CallOneArg(self->st->deque, list);
    Py_DECREF(list);
    *ret_same = self->ready_out == NULL && self->ready.len == len;
    return deque;
}

static PyObject *
loop_get_ready(LoopObject *self, void *Py_UNUSED(closure))
{
    while (self->ready_out == NULL) {
        int same;
        PyObject *copy = copy_ready(self, &same);
        if (copy == NULL) {
            return NULL;
        }
        if (!same) {
            Py_DECREF(copy);
            continue;
        }
        self->ready_out = copy;
        PyObject *handle;
        while ((handle = qi_ready_pop(&self->ready)) != NULL) {
            Py_DECREF(handle); /* the deque holds it */
        }
    }
    return Py_NewRef(self->ready_out);
}

static void
drop_ready(LoopObject *self)
{
    PyObject *handle;

    while ((handle = qi_ready_pop(&self->ready)) != NULL) {
        Py_DECREF(handle);
    }
    Py_CLEAR(self->ready_out);
    self->batch_left = 0;
}

static int
refuse_delete(PyObject *value, const char *name)
{
    if (value == NULL) {
        PyErr_Format(PyExc_AttributeError, "cannot delete %s of an event loop", name);
        return -1;
    }
    return 0;
}

static int
loop_set_ready(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (refuse_delete(value, "_ready") < 0) {
        return -1;
    }
    Py_INCREF(value);
    drop_ready(self);
    self->ready_out = value;
    return 0;
}

static PyObject *
loop_get_scheduled(LoopObject *self, void *Py_UNUSED(closure))
{
    while (self->scheduled_out == NULL) {
        size_t len = self->timers.len;
        PyObject *out = PyList_New((Py_ssize_t)len);
        if (out == NULL) {
            return NULL;
        }
        if (self->scheduled_out != NULL || self->timers.len != len) {
            Py_DECREF(out);
            continue;
        }
        /* In order of time, which is also a heap in heapq's sense. */
        for (size_t i = 0; i < len; i++) {
            PyList_SET_ITEM(out, (Py_ssize_t)i, (PyObject *)qi_timers_pop(&self->timers));
        }
        self->scheduled_out = out;
    }
    return Py_NewRef(self->scheduled_out);
}

static void
drop_scheduled(LoopObject *self)
{
    PyObject *handle;

    while ((handle = qi_timers_pop(&self->timers)) != NULL) {
        Py_DECREF(handle);
    }
    Py_CLEAR(self->scheduled_out);
}

static int
loop_set_scheduled(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (refuse_delete(value, "_scheduled") < 0) {
        return -1;
    }
    if (!PyList_Check(value)) {
        PyErr_Format(PyExc_TypeError, "loop._scheduled must be a list, not %.100s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    Py_INCREF(value);
    drop_scheduled(self);
    self->scheduled_out = value;
    return 0;
}

int
qi_loop_push_ready(LoopObject *self, PyObject *handle)
{
    if (QI_UNLIKELY(self->ready_out != NULL)) {
        int reclaimed = qi_loop_reclaim_ready(self);
        if (reclaimed == 0) {
            PyObject *r = PyObject_CallMethod(self->ready_out, "append", "O", handle);
            Py_DECREF(handle);
            Py_XDECREF(r);
            return r == NULL ? -1 : 0;
        }
        if (reclaimed < 0) {
            Py_DECREF(handle);
            return -1;
        }
    }
    if (QI_UNLIKELY(qi_ready_push(&self->ready, handle) < 0)) {
        Py_DECREF(handle);
        PyErr_NoMemory();
        return -1;
    }
    return 0;
}

void
qi_loop_kick(LoopObject *self)
{
    if (self->in_turn || self->host == NULL || self->ended) {
        return;
    }
    if (PyThread_get_thread_ident() != self->host_thread_id) {
        if (!self->threadsafe_pending && self->waiter != NULL) {
            self->threadsafe_pending = 1;
            (void)qi_poller_wake(&self->waiter->poller);
        }
        return;
    }
    if (!self->wake_requested) {
        self->wake_requested = 1;
        self->stats.wakeups++;
        self->host->wake(self->host->impl);
    }
}

/*********** call_soon() and its relatives ***********/

struct call_arguments {
    PyObject *leading;  /* delay or when, for functions that take one */
    PyObject *callback; /* borrowed, as all here */
    PyObject *const *args;
    Py_ssize_t nargs;
    PyObject *context; /* NULL: copy the current one */
};

static int
check_context(const char *function, PyObject *value, PyObject **ret_context)
{
    if (value == Py_None) {
        return 0;
    }
    if (!PyContext_CheckExact(value)) {
        PyErr_Format(PyExc_TypeError,
                     "%s(): context must be a contextvars.Context, not %.100s", function,
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    *ret_context = value;
    return 0;
}

/* Where a keyword argument goes; NULL with TypeError when nowhere. */
static PyObject **
keyword_target(LoopObject *self, const char *function, const char *leading,
               PyObject *name, struct call_arguments *call)
{
    PyObject **target = NULL;

    if (name == self->st->str_context
        || PyUnicode_CompareWithASCIIString(name, "context") == 0) {
        return &call->context;
    }
    if (PyUnicode_CompareWithASCIIString(name, "callback") == 0) {
        target = &call->callback;
    }
    else if (leading != NULL && PyUnicode_CompareWithASCIIString(name, leading) == 0) {
        target = &call->leading;
    }
    if (target == NULL) {
        PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R",
                     function, name);
    }
    else if (*target != NULL) {
        PyErr_Format(PyExc_TypeError, "%s() got multiple values for argument %R",
                     function, name);
        target = NULL;
    }
    return target;
}

static int
parse_keywords(LoopObject *self, const char *function, const char *leading,
               PyObject *const *values, PyObject *kwnames, struct call_arguments *call)
{
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject **target =
            keyword_target(self, function, leading, PyTuple_GET_ITEM(kwnames, i), call);
        if (target == NULL) {
            return -1;
        }
        if (target != &call->context) {
            *target = values[i];
        }
        else if (check_context(function, values[i], target) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The arguments of call_soon() and so on; leading: name of the argument in front of
   the callback, or NULL. */
static inline int
parse_call(LoopObject *self, const char *function, const char *leading,
           PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames,
           struct call_arguments *call)
{
    Py_ssize_t first = leading != NULL;

    call->leading = leading != NULL && nargs > 0 ? args[0] : NULL;
    call->callback = nargs > first ? args[first] : NULL;
    call->args = args + first + 1;
    call->nargs = nargs > first ? nargs - first - 1 : 0;
    call->context = NULL;
    if (kwnames != NULL
        && parse_keywords(self, function, leading, args + nargs, kwnames, call) < 0) {
        return -1;
    }
    if (QI_UNLIKELY(leading != NULL && call->leading == NULL)) {
        PyErr_Format(PyExc_TypeError, "%s() missing required argument: '%s'", function,
                     leading);
        return -1;
    }
    if (QI_UNLIKELY(call->callback == NULL)) {
        PyErr_Format(PyExc_TypeError, "%s() missing required argument: 'callback'",
                     function);
        return -1;
    }
    return 0;
}

/* Debug mode: asyncio's own checks of thread and callback. */
static int
check_in_debug(LoopObject *self, PyObject *callback, const char *method, int check_thread)
{
    PyObject *r;

    if (check_thread) {
        r = PyObject_CallMethod((PyObject *)self, "_check_thread", NULL);
        if (r == NULL) {
            return -1;
        }
        Py_DECREF(r);
    }
    r = PyObject_CallMethod((PyObject *)self, "_check_callback", "Os", callback, method);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* The new handle, which the queue holds too. */
static PyObject *
queue_call(LoopObject *self, const struct call_arguments *call)
{
    PyObject *handle =
        qi_handle_new(self->st, self->st->HandleType, (PyObject *)self, call->callback,
                      call->args, call->nargs, call->context, self->debug);
    if (handle != NULL && qi_loop_push_ready(self, Py_NewRef(handle)) < 0) {
        Py_CLEAR(handle);
    }
    return handle;
}

static PyObject *
loop_call_soon(LoopObject *self, PyObject *const *args, Py_ssize_t nargs,
               PyObject *kwnames)
{
    struct call_arguments call;

    if (qi_loop_check_open(self) < 0
        || parse_call(self, "call_soon", NULL, args, nargs, kwnames, &call) < 0) {
        return NULL;
    }
    if (QI_UNLIKELY(self->debug)
        && check_in_debug(self, call.callback, "call_soon", 1) < 0) {
        return NULL;
    }
    PyObject *handle = queue_call(self, &call);
    if (handle != NULL && !self->in_turn) {
        qi_loop_kick(self);
    }
    return handle;
}

static PyObject *
loop_call_soon_threadsafe(LoopObject *self, PyObject *const *args, Py_ssize_t nargs,
                          PyObject *kwnames)
{
    struct call_arguments call;

    if (qi_loop_check_open(self) < 0
        || parse_call(self, "call_soon_threadsafe", NULL, args, nargs, kwnames, &call)
               < 0) {
        return NULL;
    }
    if (QI_UNLIKELY(self->debug)
        && check_in_debug(self, call.callback, "call_soon_threadsafe", 0) < 0) {
        return NULL;
    }
    PyObject *handle = queue_call(self, &call);
    if (handle == NULL) {
        return NULL;
    }
    /* A foreign selector does not hear the waiter: asyncio's own pipe wakes it. */
    if (qi_loop_hooked(self, QI_HOOK_WRITE_TO_SELF) || !qi_loop_is_plain(self)) {
        PyObject *r = PyObject_CallMethodObjArgs((PyObject *)self,
                                                 self->st->str_write_to_self, NULL);
        if (r == NULL) {
            Py_DECREF(handle);
            return NULL;
        }
        Py_DECREF(r);
    }
    else if (self->thread_id != 0 && PyThread_get_thread_ident() == self->thread_id) {
        qi_loop_kick(self);
    }
    else if (!self->threadsafe_pending) {
        self->threadsafe_pending = 1;
        (void)qi_poller_wake(&self->waiter->poller); /* a plain loop has a waiter */
    }
    return handle;
}

static int
push_timer(LoopObject *self, double when, PyObject *handle)
{
    int reclaimed = qi_loop_reclaim_scheduled(self);

    if (reclaimed < 0) {
        return -1;
    }
    qi_handle_own(self->st, handle)->flags |= QI_HANDLE_SCHEDULED;
    if (reclaimed == 0) {
        PyObject *r = PyObject_CallFunctionObjArgs(self->st->heappush,
                                                   self->scheduled_out, handle, NULL);
        Py_XDECREF(r);
        return r == NULL ? -1 : 0;
    }
    if (qi_timers_push(&self->timers, when, handle) < 0) {
        PyErr_NoMemory();
        return -1;
    }
    Py_INCREF(handle);
    return 0;
}

/* Outside a turn the host sleeps on the waiter: its deadline may have to move. */
static int
rearm_outside_turn(LoopObject *self, double when)
{
    if (self->in_turn || self->host == NULL || self->ended) {
        return 0;
    }
    if (qi_loop_is_plain(self) && self->host->arm == NULL
        && PyThread_get_thread_ident() == self->host_thread_id && when < 9e9
        && self->scheduled_out == NULL) {
        if (qi_timers_top(&self->timers)->when < when) {
            return 0;
        }
        (void)qi_poller_arm(&self->waiter->poller, qi_deadline_ns(when));
        return 0;
    }
    qi_loop_kick(self); /* the turn arms whatever applies */
    return 0;
}

static PyObject *
schedule_call(LoopObject *self, double when, const struct call_arguments *call)
{
    if (QI_UNLIKELY(isnan(when))) {
        PyErr_SetString(PyExc_ValueError, "a timer cannot be set to NaN");
        return NULL;
    }
    PyObject *handle =
        qi_handle_new(self->st, self->st->TimerType, (PyObject *)self, call->callback,
                      call->args, call->nargs, call->context, self->debug);
    if (handle == NULL) {
        return NULL;
    }
    struct qi_handle_own *own = qi_handle_own(self->st, handle);
    own->when = when;
    own->seq = ++self->timer_seq & 0xffffffffffff;
    if (push_timer(self, when, handle) < 0 || rearm_outside_turn(self, when) < 0) {
        Py_CLEAR(handle);
    }
    return handle;
}

/* A time given by the caller, in seconds; -1 with an exception. */
static int
parse_seconds(PyObject *value, const char *function, const char *name, double *ret)
{
    if (PyFloat_CheckExact(value)) {
        *ret = PyFloat_AS_DOUBLE(value);
        return 0;
    }
    if (value == Py_None) {
        PyErr_Format(PyExc_TypeError, "%s(): %s cannot be None", function, name);
        return -1;
    }
    *ret = PyFloat_AsDouble(value);
    return *ret == -1.0 && PyErr_Occurred() ? -1 : 0;
}

static PyObject *
loop_call_at(LoopObject *self, PyObject *const *args, Py_ssize_t nargs, PyObject *kwnames)
{
    struct call_arguments call;
    double when;

    if (parse_call(self, "call_at", "when", args, nargs, kwnames, &call) < 0
        || parse_seconds(call.leading, "call_at", "when", &when) < 0
        || qi_loop_check_open(self) < 0) {
        return NULL;
    }
    if (QI_UNLIKELY(self->debug)
        && check_in_debug(self, call.callback, "call_at", 1) < 0) {
        return NULL;
    }
    return schedule_call(self, when, &call);
}

static double
loop_time_of_instance(LoopObject *self)
{
    if (!qi_loop_hooked(self, QI_HOOK_TIME)) {
        return qi_loop_clock(self);
    }
    PyObject *now =
        PyObject_CallMethodObjArgs((PyObject *)self, self->st->str_time, NULL);
    if (now == NULL) {
        return -1.0;
    }
    double seconds = PyFloat_AsDouble(now);
    Py_DECREF(now);
    return seconds;
}

/* call_at() is replaced: pass the call on to it, as asyncio's call_later() does. */
static PyObject *
call_at_of_instance(LoopObject *self, double when, const struct call_arguments *call)
{
    PyObject *method = PyObject_GetAttr((PyObject *)self, self->st->str_call_at);
    PyObject *args = PyTuple_New(2 + call->nargs);
    PyObject *deadline = PyFloat_FromDouble(when);
    PyObject *kwargs = NULL;
    PyObject *result = NULL;

    if (method == NULL || args == NULL || deadline == NULL) {
        goto done;
    }
    PyTuple_SET_ITEM(args, 0, Py_NewRef(deadline));
    PyTuple_SET_ITEM(args, 1, Py_NewRef(call->callback));
    for (Py_ssize_t i = 0; i < call->nargs; i++) {
        PyTuple_SET_ITEM(args, 2 + i, Py_NewRef(call->args[i]));
    }
    if (call->context != NULL) {
        kwargs = Py_BuildValue("{OO}", self->st->str_context, call->context);
        if (kwargs == NULL) {
            goto done;
        }
    }
    result = PyObject_Call(method, args, kwargs);
done:
    Py_XDECREF(method);
    Py_XDECREF(args);
    Py_XDECREF(deadline);
    Py_XDECREF(kwargs);
    return result;
}

static PyObject *
loop_call_later(LoopObject *self, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    struct call_arguments call;
    double delay;

    if (parse_call(self, "call_later", "delay", args, nargs, kwnames, &call) < 0
        || parse_seconds(call.leading, "call_later", "delay", &delay) < 0) {
        return NULL;
    }
    double now = loop_time_of_instance(self);
    if (now == -1.0 && PyErr_Occurred()) {
        return NULL;
    }
    if (QI_UNLIKELY(qi_loop_hooked(self, QI_HOOK_CALL_AT))) {
        return call_at_of_instance(self, now + delay, &call);
    }
    if (qi_loop_check_open(self) < 0) {
        return NULL;
    }
    if (QI_UNLIKELY(self->debug)
        && check_in_debug(self, call.callback, "call_later", 1) < 0) {
        return NULL;
    }
    return schedule_call(self, now + delay, &call);
}

static PyObject *
loop_time(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    return PyFloat_FromDouble(qi_loop_clock(self));
}

/*********** cancelled timers ***********/

int
qi_loop_timer_cancelled(LoopObject *self, PyObject *handle)
{
    if (QI_UNLIKELY(qi_loop_hooked(self, QI_HOOK_TIMER_CANCELLED))) {
        PyObject *r = PyObject_CallMethodObjArgs(
            (PyObject *)self, self->st->str_timer_handle_cancelled, handle, NULL);
        Py_XDECREF(r);
        return r == NULL ? -1 : 0;
    }
    self->timer_cancelled_count++;
    return 0;
}

static PyObject *
loop_timer_handle_cancelled(LoopObject *self, PyObject *handle)
{
    PyObject *scheduled = PyObject_GetAttr(handle, self->st->str_scheduled);

    if (scheduled == NULL) {
        return NULL;
    }
    int r = PyObject_IsTrue(scheduled);
    Py_DECREF(scheduled);
    if (r < 0) {
        return NULL;
    }
    self->timer_cancelled_count += r;
    Py_RETURN_NONE;
}

/*********** reporting ***********/

int
qi_loop_report_callback(LoopObject *self, PyObject *handle)
{
    if (PyErr_ExceptionMatches(PyExc_SystemExit)
        || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
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
    if (PyErr_ExceptionMatches(PyExc_SystemExit)
        || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt)) {
        return -1;
    }
    PyErr_WriteUnraisable(handle);
    return 0;
}

/*********** small methods that asyncio calls all the time ***********/

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
loop_add_callback(LoopObject *self, PyObject *handle)
{
    PyObject *cancelled = PyObject_GetAttr(handle, self->st->str_cancelled);

    if (cancelled == NULL) {
        return NULL;
    }
    int skip = PyObject_IsTrue(cancelled);
    Py_DECREF(cancelled);
    if (skip < 0 || (!skip && qi_loop_push_ready(self, Py_NewRef(handle)) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
loop_pop_last_ready(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    int reclaimed = qi_loop_reclaim_ready(self);

    if (reclaimed < 0) {
        return NULL;
    }
    if (reclaimed == 0) {
        if (qi_loop_ready_len(self) == 0) {
            Py_RETURN_NONE;
        }
        return PyObject_CallMethod(self->ready_out, "pop", NULL);
    }
    PyObject *handle = qi_ready_pop_last(&self->ready);
    if (handle == NULL) {
        Py_RETURN_NONE;
    }
    if (self->batch_left > self->ready.len) {
        self->batch_left = self->ready.len;
    }
    return handle;
}

static PyObject *
loop_close_waiter(LoopObject *self, PyObject *Py_UNUSED(ignored))
{
    SelectorObject *waiter = self->waiter;

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
    if (refuse_delete(value, "a state attribute") < 0) {
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
loop_get_cancelled_count(LoopObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(self->timer_cancelled_count);
}

static int
loop_set_cancelled_count(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (refuse_delete(value, "_timer_cancelled_count") < 0) {
        return -1;
    }
    Py_ssize_t count = PyLong_AsSsize_t(value);
    if (count == -1 && PyErr_Occurred()) {
        return -1;
    }
    self->timer_cancelled_count = count;
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
    if (refuse_delete(value, "_clock_resolution") < 0) {
        return -1;
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
    if (refuse_delete(value, "slice_ms") < 0) {
        return -1;
    }
    double ms = PyFloat_AsDouble(value);
    if (ms == -1.0 && PyErr_Occurred()) {
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
    {"_ready", (getter)loop_get_ready, (setter)loop_set_ready, NULL, NULL},
    {"_scheduled", (getter)loop_get_scheduled, (setter)loop_set_scheduled, NULL, NULL},
    {"_timer_cancelled_count", (getter)loop_get_cancelled_count,
     (setter)loop_set_cancelled_count, NULL, NULL},
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
    {"_opaque_selector", (getter)loop_get_int, NULL, NULL, OFFSET(opaque_selector)},
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
    self->clock_resolution = 1e-9;
    self->slice_ns = 2000000;
    self->min_scheduled = 100;
    self->min_cancelled_fraction = 0.5;
    self->clock_every = 1;
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
    drop_ready(self);
    drop_scheduled(self);
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
    qi_loop_drop_host(self);
    (void)loop_clear(self);
    qi_ready_fini(&self->ready);
    qi_timers_fini(&self->timers);
    type->tp_free((PyObject *)self);
    Py_DECREF(type);
    st->counts.loops--;
    qi_state_released(st);
}

#define FASTCALL(function)                                                               \
    (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

static PyMethodDef queue_methods[] = {
    {"call_soon", FASTCALL(loop_call_soon),
     PyDoc_STR("call_soon($self, callback, /, *args, context=None)\n--\n\n"
               "Run callback(*args) in the next iteration; see asyncio.")},
    {"call_soon_threadsafe", FASTCALL(loop_call_soon_threadsafe),
     PyDoc_STR("call_soon_threadsafe($self, callback, /, *args, context=None)\n--\n\n"
               "call_soon() for any thread and for signal handlers; see asyncio.")},
    {"call_later", FASTCALL(loop_call_later),
     PyDoc_STR("call_later($self, delay, callback, /, *args, context=None)\n--\n\n"
               "Run callback(*args) after delay seconds, never earlier; see asyncio.")},
    {"call_at", FASTCALL(loop_call_at),
     PyDoc_STR("call_at($self, when, callback, /, *args, context=None)\n--\n\n"
               "Run callback(*args) when time() reaches when; see asyncio.")},
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
    {"create_task", FASTCALL(loop_create_task),
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
    {"_add_callback", (PyCFunction)loop_add_callback, METH_O, NULL},
    {"_timer_handle_cancelled", (PyCFunction)loop_timer_handle_cancelled, METH_O, NULL},
    {"_close_waiter", (PyCFunction)loop_close_waiter, METH_NOARGS, NULL},
    {"_pop_last_ready", (PyCFunction)loop_pop_last_ready, METH_NOARGS, NULL},
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
    {Py_tp_methods, queue_methods},
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

/* Methods of other files; a type spec takes one table. */
static int
add_methods(PyTypeObject *type, PyMethodDef *methods)
{
    for (PyMethodDef *def = methods; def->ml_name != NULL; def++) {
        PyObject *descr = PyDescr_NewMethod(type, def);
        if (descr == NULL) {
            return -1;
        }
        int r = PyObject_SetAttrString((PyObject *)type, def->ml_name, descr);
        Py_DECREF(descr);
        if (r < 0) {
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
    if (add_methods(st->LoopType, qi_run_methods) < 0
        || add_methods(st->LoopType, qi_io_methods) < 0) {
        return -1;
    }
    return 0;
}
