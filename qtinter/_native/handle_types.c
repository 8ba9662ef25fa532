/*
 * handle_types.c - what Python sees of handles: methods, attributes, and the types.
 */
#include "handle.h"

#include "loop.h"
#include "probe.h"

#include <math.h>

/*********** methods ***********/

static PyObject *
handle_cancel_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    qi_state *st = qi_handle_state(h);
    struct qi_handle_own *own = qi_handle_own(st, h);
    PyObject *loop = QI_SLOT(st, h, loop);

    if (own->flags & QI_HANDLE_CANCELLED || loop == NULL) {
        Py_RETURN_NONE;
    }
    Py_INCREF(loop);
    int r = 0;
    if (own->flags & QI_HANDLE_SCHEDULED) {
        r = qi_loop_timer_cancelled((LoopObject *)loop, h);
    }
    if (r == 0) {
        r = qi_handle_cancel(st, h, ((LoopObject *)loop)->debug);
    }
    Py_DECREF(loop);
    if (r < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
handle_cancelled_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    qi_state *st = qi_handle_state(h);
    return PyBool_FromLong(qi_handle_own(st, h)->flags & QI_HANDLE_CANCELLED);
}

static PyObject *
handle_run_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    qi_state *st = qi_handle_state(h);
    PyObject *loop = QI_SLOT(st, h, loop);

    if (QI_SLOT(st, h, callback) == NULL || loop == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "cannot run a cancelled handle");
        return NULL;
    }
    if (qi_handle_refresh_run(st) < 0) {
        return NULL;
    }
    if (QI_UNLIKELY(st->handle_run_replaced) && st->asyncio_handle != NULL) {
        return PyObject_CallMethodObjArgs((PyObject *)st->asyncio_handle, st->str_run, h,
                                          NULL);
    }
    Py_INCREF(h);
    Py_INCREF(loop);
    int r = qi_loop_call_handle((LoopObject *)loop, h);
    if (r < 0) {
        r = qi_loop_report_callback((LoopObject *)loop, h);
    }
    Py_DECREF(loop);
    Py_DECREF(h);
    if (r < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/*********** methods of thread-safe handles ***********/

/* Calls a method of handles while the lock of this one is held. */
static PyObject *
with_lock(PyObject *h, PyCFunction method)
{
    qi_state *st = qi_handle_state(h);
    PyObject *lock = QI_SLOT(st, h, lock);

    if (lock == NULL) {
        Py_RETURN_NONE; /* the collector cleared it: nobody else can reach it */
    }
    Py_INCREF(lock);
    PyObject *result = PyObject_CallMethodObjArgs(lock, st->str_acquire, NULL);
    if (result != NULL) {
        Py_DECREF(result);
        result = method(h, NULL);
        PyObject *exc = result == NULL ? qi_take_exception() : NULL;
        PyObject *released = PyObject_CallMethodObjArgs(lock, st->str_release, NULL);
        if (released == NULL) {
            Py_CLEAR(result);
            Py_XDECREF(exc);
        }
        else if (exc != NULL) {
            qi_raise_exception(exc);
        }
        Py_XDECREF(released);
    }
    Py_DECREF(lock);
    return result;
}

static PyObject *
locked_cancel_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    return with_lock(h, handle_cancel_method);
}

static PyObject *
locked_cancelled_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    return with_lock(h, handle_cancelled_method);
}

/* The loop looked before it had the lock. */
static PyObject *
run_if_not_cancelled(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    if (qi_handle_own(qi_handle_state(h), h)->flags & QI_HANDLE_CANCELLED) {
        Py_RETURN_NONE;
    }
    return handle_run_method(h, NULL);
}

static PyObject *
locked_run_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    return with_lock(h, run_if_not_cancelled);
}

static PyObject *
handle_when_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    return PyFloat_FromDouble(qi_handle_own(qi_handle_state(h), h)->when);
}

static PyObject *
handle_get_context_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    qi_state *st = qi_handle_state(h);

    if (qi_handle_own_context(st, h) < 0) {
        return NULL;
    }
    PyObject *context = QI_SLOT(st, h, context);
    return Py_NewRef(context != NULL ? context : Py_None);
}

/*********** the attributes that asyncio's slots would show ***********/

static PyObject *
handle_get_callback(PyObject *h, void *Py_UNUSED(closure))
{
    PyObject *callback = QI_SLOT(qi_handle_state(h), h, callback);
    return Py_NewRef(callback != NULL ? callback : Py_None);
}

static int
handle_set_callback(PyObject *h, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(QI_SLOT(qi_handle_state(h), h, callback),
               value == NULL || value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

static PyObject *
handle_get_args(PyObject *h, void *Py_UNUSED(closure))
{
    if (QI_SLOT(qi_handle_state(h), h, callback) == NULL) {
        Py_RETURN_NONE;
    }
    return qi_handle_args(qi_handle_state(h), h);
}

static int
handle_set_args(PyObject *h, PyObject *value, void *Py_UNUSED(closure))
{
    qi_state *st = qi_handle_state(h);
    struct qi_handle_own *own = qi_handle_own(st, h);
    PyObject *tuple = value == NULL || value == Py_None ? Py_NewRef(st->empty_tuple)
                                                        : PySequence_Tuple(value);

    if (tuple == NULL) {
        return -1;
    }
    own->nargs = 3;
    own->flags |= QI_HANDLE_ARGS_TUPLE;
    if (!(own->flags & QI_HANDLE_HAS_REPR)) {
        PyObject *second = QI_SLOT(st, h, repr);
        QI_SLOT(st, h, repr) = NULL;
        Py_XDECREF(second);
    }
    Py_XSETREF(QI_SLOT(st, h, args), tuple);
    return 0;
}

static PyObject *
handle_get_flag(PyObject *h, void *flag)
{
    qi_state *st = qi_handle_state(h);
    return PyBool_FromLong(qi_handle_own(st, h)->flags & (uint8_t)(uintptr_t)flag);
}

static int
handle_set_flag(PyObject *h, PyObject *value, void *flag)
{
    struct qi_handle_own *own = qi_handle_own(qi_handle_state(h), h);
    int on = value == NULL ? 0 : PyObject_IsTrue(value);

    if (on < 0) {
        return -1;
    }
    if (on) {
        own->flags |= (uint8_t)(uintptr_t)flag;
    }
    else {
        own->flags &= (uint8_t) ~(uintptr_t)flag;
    }
    return 0;
}

static PyObject *
handle_get_context(PyObject *h, void *Py_UNUSED(closure))
{
    return handle_get_context_method(h, NULL);
}

static int
handle_set_context(PyObject *h, PyObject *value, void *Py_UNUSED(closure))
{
    if (value == NULL || !qi_is_context(value)) {
        PyErr_SetString(PyExc_TypeError,
                        "_context of a handle must be a contextvars.Context");
        return -1;
    }
    qi_state *st = qi_handle_state(h);

    qi_handle_own(st, h)->flags &= (uint8_t)~QI_HANDLE_SHARED_CONTEXT;
    Py_XSETREF(QI_SLOT(st, h, context), Py_NewRef(value));
    return 0;
}

static PyObject *
handle_get_loop(PyObject *h, void *Py_UNUSED(closure))
{
    PyObject *loop = QI_SLOT(qi_handle_state(h), h, loop);
    return Py_NewRef(loop != NULL ? loop : Py_None);
}

static PyObject *
handle_get_source_traceback(PyObject *h, void *Py_UNUSED(closure))
{
    PyObject *stack = QI_SLOT(qi_handle_state(h), h, source_traceback);
    return Py_NewRef(stack != NULL ? stack : Py_None);
}

static int
handle_set_source_traceback(PyObject *h, PyObject *value, void *Py_UNUSED(closure))
{
    qi_state *st = qi_handle_state(h);

    Py_XSETREF(QI_SLOT(st, h, source_traceback),
               value == NULL || value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

static PyObject *
handle_get_repr(PyObject *h, void *Py_UNUSED(closure))
{
    qi_state *st = qi_handle_state(h);

    if (qi_handle_own(st, h)->flags & QI_HANDLE_HAS_REPR) {
        return Py_NewRef(QI_SLOT(st, h, repr));
    }
    Py_RETURN_NONE;
}

static PyObject *
handle_get_when(PyObject *h, void *Py_UNUSED(closure))
{
    return handle_when_method(h, NULL);
}

static int
handle_set_when(PyObject *h, PyObject *value, void *Py_UNUSED(closure))
{
    qi_state *st = qi_handle_state(h);
    struct qi_handle_own *own = qi_handle_own(st, h);
    PyObject *loop = QI_SLOT(st, h, loop);

    if (value == NULL) {
        PyErr_SetString(PyExc_AttributeError, "cannot delete _when of a timer");
        return -1;
    }
    double when = PyFloat_AsDouble(value);
    if (when == -1.0 && PyErr_Occurred()) {
        return -1;
    }
    if (isnan(when)) {
        PyErr_SetString(PyExc_ValueError, "a timer cannot be set to NaN");
        return -1;
    }
    own->when = when;
    if (own->flags & QI_HANDLE_SCHEDULED && loop != NULL) {
        return qi_loop_timer_moved((LoopObject *)loop);
    }
    return 0;
}

/*********** types ***********/

static PyMethodDef handle_methods[] = {
    {"cancel", handle_cancel_method, METH_NOARGS,
     PyDoc_STR(
         "cancel($self, /)\n--\n\nCancel the callback; a second call does nothing.")},
    {"cancelled", handle_cancelled_method, METH_NOARGS,
     PyDoc_STR("cancelled($self, /)\n--\n\nTrue if the callback was cancelled.")},
    {"get_context", handle_get_context_method, METH_NOARGS,
     PyDoc_STR("get_context($self, /)\n--\n\nThe contextvars.Context of the callback.")},
    {"_run", handle_run_method, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef locked_methods[] = {
    {"cancel", locked_cancel_method, METH_NOARGS,
     PyDoc_STR("cancel($self, /)\n--\n\n"
               "Cancel the callback, unless it runs: then wait for its end.  "
               "Any thread.")},
    {"cancelled", locked_cancelled_method, METH_NOARGS,
     PyDoc_STR("cancelled($self, /)\n--\n\n"
               "True if the callback was cancelled; waits while it runs.  Any thread.")},
    {"get_context", handle_get_context_method, METH_NOARGS,
     PyDoc_STR("get_context($self, /)\n--\n\nThe contextvars.Context of the callback.")},
    {"_run", locked_run_method, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

static PyMethodDef timer_methods[] = {
    {"cancel", handle_cancel_method, METH_NOARGS,
     PyDoc_STR(
         "cancel($self, /)\n--\n\nCancel the callback; a second call does nothing.")},
    {"cancelled", handle_cancelled_method, METH_NOARGS,
     PyDoc_STR("cancelled($self, /)\n--\n\nTrue if the callback was cancelled.")},
    {"get_context", handle_get_context_method, METH_NOARGS,
     PyDoc_STR("get_context($self, /)\n--\n\nThe contextvars.Context of the callback.")},
    {"when", handle_when_method, METH_NOARGS,
     PyDoc_STR("when($self, /)\n--\n\nThe deadline, in seconds on loop.time()'s clock.")},
    {"_run", handle_run_method, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};

/* The macro brings its own comma. */
/* clang-format off */
#define COMMON_ATTRIBUTES                                                                \
    {"_callback", handle_get_callback, handle_set_callback, NULL, NULL},                 \
    {"_args", handle_get_args, handle_set_args, NULL, NULL},                             \
    {"_context", handle_get_context, handle_set_context, NULL, NULL},                    \
    {"_loop", handle_get_loop, NULL, NULL, NULL},                                        \
    {"_repr", handle_get_repr, NULL, NULL, NULL},                                        \
    {"_source_traceback", handle_get_source_traceback, handle_set_source_traceback,      \
     NULL, NULL},                                                                        \
    {"_cancelled", handle_get_flag, handle_set_flag, NULL,                               \
     (void *)(uintptr_t)QI_HANDLE_CANCELLED},

static PyGetSetDef handle_attributes[] = {
    COMMON_ATTRIBUTES
    {NULL, NULL, NULL, NULL, NULL},
};

static PyGetSetDef timer_attributes[] = {
    COMMON_ATTRIBUTES
    {"_scheduled", handle_get_flag, handle_set_flag, NULL,
     (void *)(uintptr_t)QI_HANDLE_SCHEDULED},
    {"_when", handle_get_when, handle_set_when, NULL, NULL},
    {NULL, NULL, NULL, NULL, NULL},
};
/* clang-format on */

static PyTypeObject *
make_type(PyObject *module, const char *name, const char *doc, PyMethodDef *methods,
          PyGetSetDef *attributes, PyObject *base, Py_ssize_t basicsize)
{
    PyType_Slot slots[] = {
        {Py_tp_doc, (void *)doc},
        {Py_tp_dealloc, (void *)qi_handle_dealloc},
        {Py_tp_traverse, (void *)qi_handle_traverse},
        {Py_tp_clear, (void *)qi_handle_clear},
        {Py_tp_methods, methods},
        {Py_tp_getset, attributes},
        {0, NULL},
    };
    PyType_Spec spec = {
        .name = name,
        .basicsize = (int)basicsize,
        /* Not immutable: a type with a mutable base, as asyncio.Handle is, may not be
           from 3.14 on. */
        .flags =
            Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_DISALLOW_INSTANTIATION,
        .slots = slots,
    };
    PyTypeObject *type = qi_type_new(module, &spec, base);
    if (type != NULL) {
        type->tp_new = NULL; /* 3.8, 3.9: there is no flag for it */
        type->tp_init = NULL;
    }
    return type;
}

/* The offset of one of asyncio's slots, from its descriptor; -1 with an exception. */
static Py_ssize_t
slot_offset(PyObject *type, const char *name)
{
    PyObject *descr = PyObject_GetAttrString(type, name);
    Py_ssize_t offset = -1;

    if (descr == NULL) {
        return -1;
    }
    if (PyObject_TypeCheck(descr, &PyMemberDescr_Type)) {
        offset = (Py_ssize_t)((PyMemberDescrObject *)descr)->d_member->offset;
    }
    else {
        PyErr_Format(PyExc_ImportError,
                     "asyncio's %R has no slot %s; this Python is not supported by "
                     "this version of qtinter",
                     type, name);
    }
    Py_DECREF(descr);
    return offset;
}

static int
read_layout(struct qi_handle_layout *layout, PyObject *handle, PyObject *timer)
{
    const struct {
        const char *name;
        Py_ssize_t *offset;
    } slots[] = {
        {"_callback", &layout->callback},
        {"_args", &layout->args},
        {"_context", &layout->context},
        {"_loop", &layout->loop},
        {"_repr", &layout->repr},
        {"_source_traceback", &layout->source_traceback},
    };

    for (size_t i = 0; i < sizeof(slots) / sizeof(slots[0]); i++) {
        *slots[i].offset = slot_offset(handle, slots[i].name);
        if (*slots[i].offset < 0) {
            return -1;
        }
    }
    /* Negative from 3.12 on: there the list lies in front of the object. */
    layout->weakrefs = ((PyTypeObject *)handle)->tp_weaklistoffset;
    layout->own = ((PyTypeObject *)timer)->tp_basicsize;
    if (layout->weakrefs == 0 || ((PyTypeObject *)timer)->tp_dictoffset != 0) {
        PyErr_SetString(PyExc_ImportError,
                        "asyncio.Handle is not laid out as expected; this Python is "
                        "not supported by this version of qtinter");
        return -1;
    }
    return 0;
}

/* Where asyncio has no such handles, the type stays NULL.  0 or -1. */
static int
init_threadsafe_type(PyObject *module, qi_state *st, PyObject *events,
                     Py_ssize_t basicsize)
{
    PyObject *base = PyObject_GetAttrString(events, "_ThreadSafeHandle");
    PyObject *threading = NULL;
    int r = -1;

    if (base == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    threading = PyImport_ImportModule("threading");
    st->RLock = threading == NULL ? NULL : PyObject_GetAttrString(threading, "RLock");
    st->layout.lock = slot_offset(base, "_lock");
    if (st->RLock == NULL || st->layout.lock < 0) {
        goto done;
    }
    if (st->layout.lock + (Py_ssize_t)sizeof(PyObject *) > st->layout.own) {
        PyErr_SetString(PyExc_ImportError,
                        "asyncio's thread-safe handles are not laid out as expected; "
                        "this Python is not supported by this version of qtinter");
        goto done;
    }
    st->ThreadSafeType = make_type(module, "qtinter._core.ThreadSafeHandle",
                                   "A callback that call_soon_threadsafe() will run.",
                                   locked_methods, handle_attributes, base, basicsize);
    r = st->ThreadSafeType == NULL ? -1 : 0;
done:
    Py_XDECREF(threading);
    Py_DECREF(base);
    return r;
}

int
qi_handle_init_types(PyObject *module, qi_state *st)
{
    PyObject *events = PyImport_ImportModule("asyncio.events");
    PyObject *handle = NULL;
    PyObject *timer = NULL;
    int r = -1;

    if (events == NULL) {
        return -1;
    }
    handle = PyObject_GetAttrString(events, "Handle");
    timer = PyObject_GetAttrString(events, "TimerHandle");
    if (handle == NULL || timer == NULL) {
        goto done;
    }
    if (read_layout(&st->layout, handle, timer) < 0) {
        goto done;
    }
    st->asyncio_handle = (PyTypeObject *)Py_NewRef(handle);
    st->events_globals = Py_NewRef(PyModule_GetDict(events));
    if (qi_handle_look_at_run(st) < 0) {
        goto done;
    }
    Py_ssize_t basicsize = st->layout.own + (Py_ssize_t)sizeof(struct qi_handle_own);
    st->HandleType = make_type(module, "qtinter._core.Handle",
                               "A callback that call_soon() or a watch will run.",
                               handle_methods, handle_attributes, handle, basicsize);
    st->TimerType = make_type(module, "qtinter._core.TimerHandle",
                              "A callback that call_later() or call_at() will run.",
                              timer_methods, timer_attributes, timer, basicsize);
    if (st->HandleType != NULL && st->TimerType != NULL) {
        r = init_threadsafe_type(module, st, events, basicsize);
    }
done:
    Py_XDECREF(timer);
    Py_XDECREF(handle);
    Py_DECREF(events);
    return r;
}
