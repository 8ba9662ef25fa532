/*
 * contexts.c - see contexts.h.
 */
#include "contexts.h"

static inline void *
map_of(const qi_state *st, PyObject *context)
{
    return *(void **)((char *)context + st->context_map);
}

/* Nobody but the caller's one reference can reach the context. */
static inline int
is_unseen(PyObject *context)
{
    PyObject *weak = *(PyObject **)((char *)context + PyContext_Type.tp_weaklistoffset);
    return Py_REFCNT(context) == 1 && weak == NULL;
}

#ifndef Py_GIL_DISABLED
/* True if a copy has the same map, and setting a variable gives another one. */
static int
map_lies_there(qi_state *st)
{
    PyObject *context = PyContext_New();
    PyObject *before = context == NULL ? NULL : PyContext_Copy(context);
    PyObject *after = NULL;
    PyObject *var = PyContextVar_New("qtinter", NULL);
    PyObject *token = NULL;
    int found = 0;

    if (before == NULL || var == NULL || PyContext_Enter(context) < 0) {
        goto done;
    }
    token = PyContextVar_Set(var, Py_None);
    if (PyContext_Exit(context) < 0 || token == NULL) {
        goto done;
    }
    after = PyContext_Copy(context);
    if (after != NULL) {
        void *old = map_of(st, before);
        void *new = map_of(st, context);
        found = old != NULL && new != NULL &&old != new &&map_of(st, after) == new;
    }
done:
    Py_XDECREF(token);
    Py_XDECREF(var);
    Py_XDECREF(after);
    Py_XDECREF(before);
    Py_XDECREF(context);
    return found;
}
#endif

int
qi_contexts_init(qi_state *st)
{
    st->context_map = 0;
#ifndef Py_GIL_DISABLED /* the counts of references say nothing there */
    /* The map is the last field before the list of weak references. */
    Py_ssize_t offset = PyContext_Type.tp_weaklistoffset - (Py_ssize_t)sizeof(PyObject *);
    if (offset < (Py_ssize_t)sizeof(PyObject)) {
        return 0;
    }
    st->context_map = offset;
    if (!map_lies_there(st)) {
        st->context_map = 0;
    }
    if (PyErr_Occurred()) {
        return -1;
    }
#endif
    return 0;
}

PyObject *
qi_context_of_caller(qi_state *st, int *ret_shared)
{
    PyObject *current = qi_current_context();

    *ret_shared = 0;
    if (st->context_map == 0 || current == NULL) {
        return PyContext_CopyCurrent();
    }
    *ret_shared = 1;
    PyObject *snapshot = st->context_snapshot;
    if (snapshot == NULL || map_of(st, snapshot) != map_of(st, current)) {
        snapshot = PyContext_CopyCurrent();
        if (snapshot == NULL) {
            return NULL;
        }
        Py_XSETREF(st->context_snapshot, Py_NewRef(snapshot));
        return snapshot;
    }
    return Py_NewRef(snapshot);
}

int
qi_context_take(qi_state *st, PyObject **context)
{
    PyObject *shared = *context;
    PyObject *spare = st->context_spare;
    PyObject *own;

    if (spare != NULL && is_unseen(spare) && map_of(st, spare) == map_of(st, shared)) {
        st->context_spare = NULL;
        own = spare;
    }
    else if (Py_REFCNT(shared) == 1) {
        return 0; /* those who shared it have gone */
    }
    else {
        own = PyContext_Copy(shared);
        if (own == NULL) {
            return -1;
        }
    }
    *context = own;
    Py_DECREF(shared);
    return 0;
}

void
qi_context_give_back(qi_state *st, PyObject *context)
{
    PyObject *snapshot = st->context_snapshot;

    /* Not with another map: it would keep alive what the callback has set. */
    if (snapshot == NULL || map_of(st, snapshot) != map_of(st, context)) {
        return;
    }
    PyObject *spare = st->context_spare;
    if (spare == NULL || !is_unseen(spare) || map_of(st, spare) != map_of(st, context)) {
        st->context_spare = Py_NewRef(context);
        Py_XDECREF(spare);
    }
}

void
qi_contexts_release(qi_state *st)
{
    if (st->context_snapshot != NULL && Py_REFCNT(st->context_snapshot) == 1) {
        Py_CLEAR(st->context_spare);
        Py_CLEAR(st->context_snapshot);
    }
}
