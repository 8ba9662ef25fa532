/*
 * handle.c - making, calling and cancelling handles; see handle.h for their layout.
 *
 * A dead handle's memory is kept for the next one (a bounded number of them): with
 * the allocator out of the way a handle costs a few stores.  Free-threaded builds
 * keep none, because the list has no lock.
 */
#include "handle.h"

#include "contexts.h"
#include "loop.h"
#include "probe.h"

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
    if (own->flags & QI_HANDLE_LOCK) {
        Py_CLEAR(QI_SLOT(st, h, lock));
    }
    own->nargs = 0;
    own->flags &=
        (uint8_t) ~(QI_HANDLE_HAS_REPR | QI_HANDLE_ARGS_TUPLE | QI_HANDLE_SHARED_CONTEXT);
    return 0;
}

int
qi_handle_traverse(PyObject *h, visitproc visit, void *arg)
{
    qi_state *st = qi_handle_state(h);

    QI_VISIT_TYPE(h);
    Py_VISIT(QI_SLOT(st, h, callback));
    Py_VISIT(QI_SLOT(st, h, args));
    Py_VISIT(QI_SLOT(st, h, repr));
    Py_VISIT(QI_SLOT(st, h, context));
    Py_VISIT(QI_SLOT(st, h, loop));
    Py_VISIT(QI_SLOT(st, h, source_traceback));
    if (qi_handle_own(st, h)->flags & QI_HANDLE_LOCK) {
        Py_VISIT(QI_SLOT(st, h, lock));
    }
    return 0;
}

int
qi_handle_clear(PyObject *h)
{
    return handle_clear_refs(qi_handle_state(h), h);
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

void
qi_handle_dealloc(PyObject *h)
{
    qi_state *st = qi_handle_state(h);

    PyObject_GC_UnTrack(h);
    /* A handle may be an argument of another, and so on: their deaths must not nest. */
    Py_TRASHCAN_BEGIN(h, qi_handle_dealloc) if (QI_SLOT(st, h, weakrefs) != NULL)
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

PyObject *
qi_handle_new_threadsafe(qi_state *st, PyObject *loop, PyObject *callback,
                         PyObject *const *args, Py_ssize_t nargs, PyObject *context,
                         int debug)
{
    if (st->ThreadSafeType == NULL) {
        return qi_handle_new(st, st->HandleType, loop, callback, args, nargs, context,
                             debug);
    }
    PyObject *lock = PyObject_CallNoArgs(st->RLock);
    PyObject *h = lock == NULL ? NULL
                               : qi_handle_new(st, st->ThreadSafeType, loop, callback,
                                               args, nargs, context, debug);
    if (h == NULL) {
        Py_XDECREF(lock);
        return NULL;
    }
    QI_SLOT(st, h, lock) = lock;
    qi_handle_own(st, h)->flags |= QI_HANDLE_LOCK;
    return h;
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

int
qi_handle_own_context(qi_state *st, PyObject *h)
{
    struct qi_handle_own *own = qi_handle_own(st, h);

    if (!(own->flags & QI_HANDLE_SHARED_CONTEXT)) {
        return 0;
    }
    own->flags &= (uint8_t)~QI_HANDLE_SHARED_CONTEXT;
    return qi_context_take(st, &QI_SLOT(st, h, context));
}

PyObject *
qi_handle_args(qi_state *st, PyObject *h)
{
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

int
qi_is_context(PyObject *value)
{
    return PyContext_CheckExact(value)
           || (!PyType_Check(value) && PyObject_HasAttrString(value, "run"));
}

/* context.run(callback, *args), for what is no Context but acts as one. */
static PyObject *
call_by_run(qi_state *st, PyObject *h, PyObject *context, PyObject *callback)
{
    PyObject *run = PyObject_GetAttrString(context, "run");
    PyObject *args = run == NULL ? NULL : qi_handle_args(st, h);
    PyObject *all = args == NULL ? NULL : PyTuple_New(1 + PyTuple_GET_SIZE(args));
    PyObject *result = NULL;

    if (all != NULL) {
        PyTuple_SET_ITEM(all, 0, Py_NewRef(callback));
        for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(args); i++) {
            PyTuple_SET_ITEM(all, 1 + i, Py_NewRef(PyTuple_GET_ITEM(args, i)));
        }
        result = PyObject_CallObject(run, all);
    }
    Py_XDECREF(all);
    Py_XDECREF(args);
    Py_XDECREF(run);
    return result;
}

int
qi_handle_call(qi_state *st, PyObject *h)
{
    /* Otherwise it is the user's, or stays with a handle that runs again. */
    int ours = qi_handle_own(st, h)->flags & QI_HANDLE_SHARED_CONTEXT;

    if (qi_handle_own_context(st, h) < 0) {
        return -1;
    }
    PyObject *context = Py_NewRef(QI_SLOT(st, h, context));
    PyObject *callback = QI_SLOT(st, h, callback);
    PyObject *result = NULL;
    int r = -1;

    /* NULL when somebody took _cancelled back: calling None says what is wrong. */
    callback = Py_NewRef(callback != NULL ? callback : Py_None);
    if (PyContext_Enter(context) == 0) {
        result = call_with_args(st, h, callback);
        if (PyContext_Exit(context) < 0) {
            Py_CLEAR(result);
        }
    }
    else if (!PyContext_CheckExact(context)) {
        PyErr_Clear();
        result = call_by_run(st, h, context, callback);
    }
    if (result != NULL) {
        Py_DECREF(result);
        r = 0;
    }
    if (ours) {
        qi_context_give_back(st, context);
    }
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
    if (type->tp_dealloc != qi_handle_dealloc) {
        return 0;
    }
    return qi_handle_own(qi_handle_state(h), h)->seq;
}
