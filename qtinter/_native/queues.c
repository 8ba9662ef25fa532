/*
 * queues.c - the ready queue and the timers, and the faces they show to Python.
 *
 * Threads: everything runs with the GIL held.  Appending to the ready queue is done by
 * any thread; the rest belongs to the thread that runs the loop.
 */
#include "loop.h"
#include "probe.h"

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

void
qi_loop_drop_ready(LoopObject *self)
{
    PyObject *handle;

    while ((handle = qi_ready_pop(&self->ready)) != NULL) {
        Py_DECREF(handle);
    }
    Py_CLEAR(self->ready_out);
    self->batch_left = 0;
}

static int
loop_set_ready(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (qi_refuse_delete(value, "_ready") < 0) {
        return -1;
    }
    Py_INCREF(value);
    qi_loop_drop_ready(self);
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

int
qi_loop_timer_moved(LoopObject *self)
{
    /* Taken out of the heap here, they come back by their deadlines of then. */
    PyObject *list = loop_get_scheduled(self, NULL);

    if (list == NULL) {
        return -1;
    }
    Py_DECREF(list);
    qi_loop_kick(self);
    return 0;
}

void
qi_loop_drop_scheduled(LoopObject *self)
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
    if (qi_refuse_delete(value, "_scheduled") < 0) {
        return -1;
    }
    if (!PyList_Check(value)) {
        PyErr_Format(PyExc_TypeError, "loop._scheduled must be a list, not %.100s",
                     Py_TYPE(value)->tp_name);
        return -1;
    }
    Py_INCREF(value);
    qi_loop_drop_scheduled(self);
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

static PyObject *
loop_add_callback(LoopObject *self, PyObject *handle)
{
    int skip = qi_handle_is_cancelled(self->st, handle);

    if (skip < 0 || (!skip && qi_loop_push_ready(self, Py_NewRef(handle)) < 0)) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Whether callback is a method of owner; 0 when it cannot be told. */
static int
is_bound_to(LoopObject *self, PyObject *callback, PyObject *owner)
{
    PyObject *bound =
        callback == NULL ? NULL : PyObject_GetAttr(callback, self->st->str_self);

    if (bound == NULL) {
        PyErr_Clear();
        return 0;
    }
    Py_DECREF(bound);
    return bound == owner;
}

int
qi_loop_take_newest(LoopObject *self, PyObject *owner, PyObject **ret_handle)
{
    struct qi_ready *ready = &self->ready;
    int reclaimed = qi_loop_reclaim_ready(self);

    *ret_handle = NULL;
    if (reclaimed <= 0 || ready->len == 0) {
        return reclaimed < 0 ? -1 : 0;
    }
    PyObject *handle = (PyObject *)qi_ready_at(ready, ready->len - 1);
    if (!qi_is_handle(self->st, handle)) {
        return 0;
    }
    Py_INCREF(handle);
    int found = is_bound_to(self, QI_SLOT(self->st, handle, callback), owner);
    if (!found || self->ready_out != NULL || ready->len == 0
        || qi_ready_at(ready, ready->len - 1) != handle) {
        Py_DECREF(handle);
        return 0;
    }
    Py_DECREF((PyObject *)qi_ready_pop_last(ready)); /* we hold one of our own */
    if (self->batch_left > ready->len) {
        self->batch_left = ready->len;
    }
    *ret_handle = handle;
    return 0;
}

/*********** cancelled timers ***********/

int
qi_loop_timer_cancelled(LoopObject *self, PyObject *handle)
{
    if (QI_OBSERVED(self)) {
        qi_probe_timer_dropped(self, handle);
    }
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

static PyObject *
loop_get_cancelled_count(LoopObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromSsize_t(self->timer_cancelled_count);
}

static int
loop_set_cancelled_count(LoopObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    if (qi_refuse_delete(value, "_timer_cancelled_count") < 0) {
        return -1;
    }
    Py_ssize_t count = PyLong_AsSsize_t(value);
    if (count == -1 && PyErr_Occurred()) {
        return -1;
    }
    self->timer_cancelled_count = count;
    return 0;
}

/*********** tables ***********/

PyMethodDef qi_queue_methods[] = {
    {"_add_callback", (PyCFunction)loop_add_callback, METH_O, NULL},
    {"_timer_handle_cancelled", (PyCFunction)loop_timer_handle_cancelled, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

PyGetSetDef qi_queue_attributes[] = {
    {"_ready", (getter)loop_get_ready, (setter)loop_set_ready, NULL, NULL},
    {"_scheduled", (getter)loop_get_scheduled, (setter)loop_set_scheduled, NULL, NULL},
    {"_timer_cancelled_count", (getter)loop_get_cancelled_count,
     (setter)loop_set_cancelled_count, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
