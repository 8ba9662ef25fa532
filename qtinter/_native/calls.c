/*
 * calls.c - call_soon(), call_soon_threadsafe(), call_later() and call_at().
 *
 * Threads: everything runs with the GIL held.  call_soon_threadsafe() may be called
 * by any thread; the rest belongs to the thread that runs the loop, and is harmless
 * from another one (a handle is queued, the loop is woken through its descriptor).
 */
#include "loop.h"
#include "probe.h"

#include <math.h>

struct call_arguments {
    PyObject *leading;  /* delay or when, for functions that take one */
    PyObject *callback; /* borrowed, as all here */
    PyObject *const *args;
    Py_ssize_t nargs;
    PyObject *context; /* NULL: copy the current one */
};

int
qi_check_context(const char *function, PyObject *value, PyObject **ret_context)
{
    if (value == Py_None) {
        return 0;
    }
    if (!qi_is_context(value)) {
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
        else if (qi_check_context(function, values[i], target) < 0) {
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

/* Puts a new handle (stolen, NULL with an exception) into the queue.  The handle. */
static inline PyObject *
queue_handle(LoopObject *self, PyObject *handle, int foreign)
{
    if (handle != NULL && qi_loop_push_ready(self, Py_NewRef(handle)) < 0) {
        Py_CLEAR(handle);
    }
    if (QI_OBSERVED(self) && handle != NULL) {
        qi_probe_queued(self, handle, foreign);
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
    PyObject *handle = queue_handle(
        self,
        qi_handle_new(self->st, self->st->HandleType, (PyObject *)self, call.callback,
                      call.args, call.nargs, call.context, self->debug),
        0);
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
    PyObject *handle = queue_handle(
        self,
        qi_handle_new_threadsafe(self->st, (PyObject *)self, call.callback, call.args,
                                 call.nargs, call.context, self->debug),
        self->thread_id != 0 && PyThread_get_thread_ident() != self->thread_id);
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
    else {
        qi_selector_wake(self->waiter); /* a plain loop has a waiter */
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
    else if (QI_OBSERVED(self)) {
        qi_probe_timer_set(self, handle);
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
    double now = qi_loop_time(self);
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

/*********** table ***********/

PyMethodDef qi_call_methods[] = {
    {"call_soon", QI_FASTCALL(loop_call_soon),
     PyDoc_STR("call_soon($self, callback, /, *args, context=None)\n--\n\n"
               "Run callback(*args) in the next iteration; see asyncio.")},
    {"call_soon_threadsafe", QI_FASTCALL(loop_call_soon_threadsafe),
     PyDoc_STR("call_soon_threadsafe($self, callback, /, *args, context=None)\n--\n\n"
               "call_soon() for any thread and for signal handlers; see asyncio.")},
    {"call_later", QI_FASTCALL(loop_call_later),
     PyDoc_STR("call_later($self, delay, callback, /, *args, context=None)\n--\n\n"
               "Run callback(*args) after delay seconds, never earlier; see asyncio.")},
    {"call_at", QI_FASTCALL(loop_call_at),
     PyDoc_STR("call_at($self, when, callback, /, *args, context=None)\n--\n\n"
               "Run callback(*args) when time() reaches when; see asyncio.")},
    {NULL, NULL, 0, NULL},
};
