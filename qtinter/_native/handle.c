/*
 * handle.c - the two handle types; see handle.h for their layout.
 *
 * A dead handle's memory is kept for the next one (a bounded number of them): with
 * the allocator out of the way a handle costs a few stores.  Free-threaded builds
 * keep none, because the list has no lock.
 */
#include "handle.h"

#include "contexts.h"
#include "loop.h"
#include "probe.h"

#include <math.h>

/*********** memory ***********/

static PyObject *
handle_alloc(qi_state *st, PyTypeObject *type)
{
    if (st->free_handles_len > 0) {
        PyObject *h = st->free_handles[--st->free_handles_len];
        return qi_object_init(h, type); /* takes a reference to the type */
    }
    /* Zeroed, and tracked by the collector: untrack until it is filled. */
    PyObject *h = type->tp_alloc(type, 0);
    if (h != NULL) {
        PyObject_GC_UnTrack(h);
    }
    return h;
}

void
qi_handle_clear_free_list(qi_state *st)
{
    while (st->free_handles_len > 0) {
        PyObject_GC_Del(st->free_handles[--st->free_handles_len]);
    }
}

static int
handle_clear_refs(qi_state *st, PyObject *h)
{
    Py_CLEAR(QI_SLOT(st, h, callback));
    Py_CLEAR(QI_SLOT(st, h, args));
    Py_CLEAR(QI_SLOT(st, h, repr));
    Py_CLEAR(QI_SLOT(st, h, context));
    Py_CLEAR(QI_SLOT(st, h, loop));
    Py_CLEAR(QI_SLOT(st, h, source_traceback));
    struct qi_handle_own *own = qi_handle_own(st, h);
    own->nargs = 0;
    own->flags &=
        (uint8_t) ~(QI_HANDLE_HAS_REPR | QI_HANDLE_ARGS_TUPLE | QI_HANDLE_SHARED_CONTEXT);
    return 0;
}

/* The collector may see a handle while its type is being torn down; the state is
   reached through the instance, which the type keeps alive. */
static qi_state *
handle_state(PyObject *h)
{
    Py_ssize_t own = ((PyTypeObject *)Py_TYPE(h))->tp_basicsize
                     - (Py_ssize_t)sizeof(struct qi_handle_own);
    return ((struct qi_handle_own *)((char *)h + own))->st;
}

static int
handle_traverse(PyObject *h, visitproc visit, void *arg)
{
    qi_state *st = handle_state(h);

    QI_VISIT_TYPE(h);
    Py_VISIT(QI_SLOT(st, h, callback));
    Py_VISIT(QI_SLOT(st, h, args));
    Py_VISIT(QI_SLOT(st, h, repr));
    Py_VISIT(QI_SLOT(st, h, context));
    Py_VISIT(QI_SLOT(st, h, loop));
    Py_VISIT(QI_SLOT(st, h, source_traceback));
    return 0;
}

static int
handle_clear(PyObject *h)
{
    return handle_clear_refs(handle_state(h), h);
}

/* Gives the memory back to the list or to the allocator. */
static void
handle_free(qi_state *st, PyObject *h)
{
    PyTypeObject *type = Py_TYPE(h);

#ifndef Py_GIL_DISABLED
    if (st->free_handles_len < QI_FREE_HANDLES && st->HandleType != NULL) {
        st->free_handles[st->free_handles_len++] = h;
        Py_DECREF(type);
        return;
    }
#endif
    type->tp_free(h);
    Py_DECREF(type);
}

static void
handle_dealloc(PyObject *h)
{
    qi_state *st = handle_state(h);

    PyObject_GC_UnTrack(h);
    /* A handle may be an argument of another, and so on: their deaths must not nest. */
    Py_TRASHCAN_BEGIN(h, handle_dealloc) if (QI_SLOT(st, h, weakrefs) != NULL)
    {
        PyObject_ClearWeakRefs(h);
    }
    /* Not by st->TimerType, which may have been cleared. */
    int is_timer = qi_handle_own(st, h)->flags & QI_HANDLE_TIMER;
    Py_ssize_t *count = is_timer ? &st->counts.timers : &st->counts.handles;
    (void)handle_clear_refs(st, h);
    handle_free(st, h);
    --*count;
    qi_state_released(st);
    Py_TRASHCAN_END
}

/*********** making, calling, cancelling ***********/

static PyObject *
caller_stack(qi_state *st)
{
    PyObject *frame = (PyObject *)qi_current_frame();

    /* No Python frame: called from Qt.  An empty list is falsy, as asyncio wants. */
    if (frame == NULL) {
        return PyList_New(0);
    }
    return PyObject_CallMethod(st->format_helpers, "extract_stack", "O", frame);
}

PyObject *
qi_handle_new(qi_state *st, PyTypeObject *type, PyObject *loop, PyObject *callback,
              PyObject *const *args, Py_ssize_t nargs, PyObject *context, int debug)
{
    PyObject *the_context = NULL;
    PyObject *tuple = NULL;
    PyObject *stack = NULL;
    int shared = 0;

    the_context =
        context != NULL ? Py_NewRef(context) : qi_context_of_caller(st, &shared);
    if (the_context == NULL) {
        return NULL;
    }
    if (nargs > 2) {
        tuple = PyTuple_New(nargs);
        if (tuple == NULL) {
            goto fail;
        }
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(tuple, i, Py_NewRef(args[i]));
        }
    }
    if (debug) {
        stack = caller_stack(st);
        if (stack == NULL) {
            goto fail;
        }
    }
    PyObject *h = handle_alloc(st, type);
    if (h == NULL) {
        goto fail;
    }
    struct qi_handle_own *own = qi_handle_own(st, h);
    own->st = st;
    own->when = 0;
    own->seq = 0;
    own->flags = shared ? QI_HANDLE_SHARED_CONTEXT : 0;
    QI_SLOT(st, h, callback) = Py_NewRef(callback);
    QI_SLOT(st, h, context) = the_context;
    QI_SLOT(st, h, loop) = Py_NewRef(loop);
    QI_SLOT(st, h, source_traceback) = stack;
    if (tuple != NULL) {
        QI_SLOT(st, h, args) = tuple;
        own->flags |= QI_HANDLE_ARGS_TUPLE;
        own->nargs = 3;
    }
    else {
        QI_SLOT(st, h, args) = nargs > 0 ? Py_NewRef(args[0]) : NULL;
        QI_SLOT(st, h, repr) = nargs > 1 ? Py_NewRef(args[1]) : NULL;
        own->nargs = (uint8_t)(nargs & 3);
    }
    if (type == st->TimerType) {
        own->flags |= QI_HANDLE_TIMER;
        st->counts.timers++;
    }
    else {
        st->counts.handles++;
    }
    PyObject_GC_Track(h);
    return h;

fail:
    Py_DECREF(the_context);
    Py_XDECREF(tuple);
    Py_XDECREF(stack);
    return NULL;
}

/* A callable without vectorcall and without arguments: in practice the step of an
   asyncio task.  Going to tp_call directly saves building a tuple and a dict. */
static inline PyObject *
call_no_args(qi_state *st, PyObject *callback)
{
    ternaryfunc call = Py_TYPE(callback)->tp_call;

    if (call == NULL
        || PyType_HasFeature(Py_TYPE(callback), Py_TPFLAGS_HAVE_VECTORCALL)) {
        return PyObject_CallNoArgs(callback);
    }
    return call(callback, st->empty_tuple, NULL);
}

static inline PyObject *
call_with_args(qi_state *st, PyObject *h, PyObject *callback)
{
    struct qi_handle_own *own = qi_handle_own(st, h);
    PyObject *result;

    if (own->nargs == 0) {
        return call_no_args(st, callback);
    }
    /* The callback may cancel its own handle, which lets go of the arguments. */
    PyObject *first = Py_NewRef(QI_SLOT(st, h, args));
    if (own->nargs == 1) {
        PyObject *stack[2] = {NULL, first};
        result = PyObject_Vectorcall(callback, stack + 1,
                                     1 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
    }
    else if (own->nargs == 2) {
        PyObject *second = Py_NewRef(QI_SLOT(st, h, repr));
        PyObject *stack[3] = {NULL, first, second};
        result = PyObject_Vectorcall(callback, stack + 1,
                                     2 | PY_VECTORCALL_ARGUMENTS_OFFSET, NULL);
        Py_DECREF(second);
    }
    else {
        result = PyObject_Call(callback, first, NULL);
    }
    Py_DECREF(first);
    return result;
}

/* Gives the handle a context of its own, if it shares one.  0 or -1. */
static inline int
own_context(qi_state *st, PyObject *h)
{
    struct qi_handle_own *own = qi_handle_own(st, h);

    if (!(own->flags & QI_HANDLE_SHARED_CONTEXT)) {
        return 0;
    }
    own->flags &= (uint8_t)~QI_HANDLE_SHARED_CONTEXT;
    return qi_context_take(st, &QI_SLOT(st, h, context));
}

int
qi_handle_call(qi_state *st, PyObject *h)
{
    /* Otherwise it is the user's, or stays with a handle that runs again. */
    int ours = qi_handle_own(st, h)->flags & QI_HANDLE_SHARED_CONTEXT;

    if (own_context(st, h) < 0) {
        return -1;
    }
    PyObject *context = Py_NewRef(QI_SLOT(st, h, context));
    PyObject *callback = QI_SLOT(st, h, callback);
    PyObject *result = NULL;
    int r = -1;

    /* NULL when somebody took _cancelled back: calling None says what is wrong. */
    callback = Py_NewRef(callback != NULL ? callback : Py_None);
    if (PyContext_Enter(context) < 0) {
        goto done;
    }
    result = call_with_args(st, h, callback);
    if (PyContext_Exit(context) < 0) {
        Py_CLEAR(result);
    }
    if (result != NULL) {
        Py_DECREF(result);
        r = 0;
    }
    if (ours) {
        qi_context_give_back(st, context);
    }
done:
    Py_DECREF(callback);
    Py_DECREF(context);
    return r;
}

int
qi_handle_cancel(qi_state *st, PyObject *h, int debug)
{
    struct qi_handle_own *own = qi_handle_own(st, h);
    PyObject *repr = NULL;

    if (own->flags & QI_HANDLE_CANCELLED) {
        return 0;
    }
    own->flags |= QI_HANDLE_CANCELLED;
    if (debug) {
        repr = PyObject_Repr(h);
        if (repr == NULL) {
            return -1;
        }
    }
    Py_CLEAR(QI_SLOT(st, h, callback));
    Py_CLEAR(QI_SLOT(st, h, args));
    Py_CLEAR(QI_SLOT(st, h, repr));
    own->nargs = 0;
    own->flags &= (uint8_t)~QI_HANDLE_ARGS_TUPLE;
    if (repr != NULL) {
        QI_SLOT(st, h, repr) = repr;
        own->flags |= QI_HANDLE_HAS_REPR;
    }
    return 0;
}

int
qi_handle_is_cancelled(qi_state *st, PyObject *h)
{
    if (qi_is_handle(st, h)) {
        return (qi_handle_own(st, h)->flags & QI_HANDLE_CANCELLED) != 0;
    }
    PyObject *cancelled = PyObject_GetAttr(h, st->str_cancelled);
    int r = cancelled == NULL ? -1 : PyObject_IsTrue(cancelled);
    Py_XDECREF(cancelled);
    return r;
}

int
qi_handle_look_at_run(qi_state *st)
{
    PyObject *run = PyObject_GetAttr((PyObject *)st->asyncio_handle, st->str_run);

    if (run == NULL) {
        return -1;
    }
    /* By where it was written: it may have been replaced before we were imported. */
    st->handle_run_replaced =
        !PyFunction_Check(run) || PyFunction_GetGlobals(run) != st->events_globals;
    st->handle_version = qi_type_version(st->asyncio_handle);
    Py_DECREF(run);
    return 0;
}

uint64_t
qi_handle_seq(const void *item)
{
    PyObject *h = (PyObject *)item;
    PyTypeObject *type = Py_TYPE(h);

    /* A timer made by asyncio or by a test has no number: oldest. */
    if (type->tp_dealloc != handle_dealloc) {
        return 0;
    }
    return qi_handle_own(handle_state(h), h)->seq;
}

/*********** methods ***********/

static PyObject *
handle_cancel_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    qi_state *st = handle_state(h);
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
    qi_state *st = handle_state(h);
    return PyBool_FromLong(qi_handle_own(st, h)->flags & QI_HANDLE_CANCELLED);
}

static PyObject *
handle_run_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    qi_state *st = handle_state(h);
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

static PyObject *
handle_when_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    return PyFloat_FromDouble(qi_handle_own(handle_state(h), h)->when);
}

static PyObject *
handle_get_context_method(PyObject *h, PyObject *Py_UNUSED(ignored))
{
    qi_state *st = handle_state(h);

    if (own_context(st, h) < 0) {
        return NULL;
    }
    PyObject *context = QI_SLOT(st, h, context);
    return Py_NewRef(context != NULL ? context : Py_None);
}

/*********** the attributes that asyncio's slots would show ***********/

static PyObject *
handle_get_callback(PyObject *h, void *Py_UNUSED(closure))
{
    PyObject *callback = QI_SLOT(handle_state(h), h, callback);
    return Py_NewRef(callback != NULL ? callback : Py_None);
}

static int
handle_set_callback(PyObject *h, PyObject *value, void *Py_UNUSED(closure))
{
    Py_XSETREF(QI_SLOT(handle_state(h), h, callback),
               value == NULL || value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

static PyObject *
handle_get_args(PyObject *h, void *Py_UNUSED(closure))
{
    qi_state *st = handle_state(h);

    if (QI_SLOT(st, h, callback) == NULL) {
        Py_RETURN_NONE;
    }
    switch (qi_handle_own(st, h)->nargs) {
    case 0:
        return Py_NewRef(st->empty_tuple);
    case 1:
        return PyTuple_Pack(1, QI_SLOT(st, h, args));
    case 2:
        return PyTuple_Pack(2, QI_SLOT(st, h, args), QI_SLOT(st, h, repr));
    default:
        return Py_NewRef(QI_SLOT(st, h, args));
    }
}

static int
handle_set_args(PyObject *h, PyObject *value, void *Py_UNUSED(closure))
{
    qi_state *st = handle_state(h);
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
    qi_state *st = handle_state(h);
    return PyBool_FromLong(qi_handle_own(st, h)->flags & (uint8_t)(uintptr_t)flag);
}

static int
handle_set_flag(PyObject *h, PyObject *value, void *flag)
{
    struct qi_handle_own *own = qi_handle_own(handle_state(h), h);
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
    if (value == NULL || !PyContext_CheckExact(value)) {
        PyErr_SetString(PyExc_TypeError,
                        "_context of a handle must be a contextvars.Context");
        return -1;
    }
    qi_state *st = handle_state(h);

    qi_handle_own(st, h)->flags &= (uint8_t)~QI_HANDLE_SHARED_CONTEXT;
    Py_XSETREF(QI_SLOT(st, h, context), Py_NewRef(value));
    return 0;
}

static PyObject *
handle_get_loop(PyObject *h, void *Py_UNUSED(closure))
{
    PyObject *loop = QI_SLOT(handle_state(h), h, loop);
    return Py_NewRef(loop != NULL ? loop : Py_None);
}

static PyObject *
handle_get_source_traceback(PyObject *h, void *Py_UNUSED(closure))
{
    PyObject *stack = QI_SLOT(handle_state(h), h, source_traceback);
    return Py_NewRef(stack != NULL ? stack : Py_None);
}

static int
handle_set_source_traceback(PyObject *h, PyObject *value, void *Py_UNUSED(closure))
{
    qi_state *st = handle_state(h);

    Py_XSETREF(QI_SLOT(st, h, source_traceback),
               value == NULL || value == Py_None ? NULL : Py_NewRef(value));
    return 0;
}

static PyObject *
handle_get_repr(PyObject *h, void *Py_UNUSED(closure))
{
    qi_state *st = handle_state(h);

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
    qi_state *st = handle_state(h);
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
        {Py_tp_dealloc, (void *)handle_dealloc},
        {Py_tp_traverse, (void *)handle_traverse},
        {Py_tp_clear, (void *)handle_clear},
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
        r = 0;
    }
done:
    Py_XDECREF(timer);
    Py_XDECREF(handle);
    Py_DECREF(events);
    return r;
}
