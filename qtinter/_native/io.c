/*
 * io.c - readers and writers of the loop: what asyncio's transports and add_reader()
 * stand on.
 *
 * With the loop's own selector the handles go straight into its table.  With any other
 * selector asyncio's own methods do the work, since they are written against the
 * selectors API.
 */
#include "loop.h"
#include "probe.h"

struct direction {
    const char *asyncio_add; /* asyncio's method for foreign selectors */
    const char *asyncio_remove;
    int event;
    int index; /* of the handle in the tuple (reader, writer) */
};

static const struct direction reading = {"_add_reader", "_remove_reader", QI_POLL_READ,
                                         0};
static const struct direction writing = {"_add_writer", "_remove_writer", QI_POLL_WRITE,
                                         1};

static int
own_selector(const LoopObject *self)
{
    return self->selector != NULL && self->selector == (PyObject *)self->waiter
           && !qi_loop_hooked(self, QI_HOOK_SELECTOR);
}

/* (reader, writer) with one of them replaced; other may be NULL. */
static PyObject *
handle_pair(const struct direction *dir, PyObject *handle, PyObject *other)
{
    PyObject *pair = PyTuple_New(2);

    if (pair != NULL) {
        PyTuple_SET_ITEM(pair, dir->index, Py_NewRef(handle));
        PyTuple_SET_ITEM(pair, 1 - dir->index,
                         Py_NewRef(other != NULL ? other : Py_None));
    }
    return pair;
}

/* The handle of a watch, borrowed; NULL when there is none in that direction. */
static PyObject *
handle_of(const struct qi_watch *watch, int index)
{
    if (!PyTuple_CheckExact(watch->data) || PyTuple_GET_SIZE(watch->data) != 2) {
        return NULL;
    }
    PyObject *handle = PyTuple_GET_ITEM(watch->data, index);
    return handle == Py_None ? NULL : handle;
}

static int
cancel_handle(LoopObject *self, PyObject *handle)
{
    if (qi_is_handle(self->st, handle)) {
        return qi_handle_cancel(self->st, handle, self->debug);
    }
    PyObject *r = PyObject_CallMethod(handle, "cancel", NULL);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/* Calls asyncio's BaseSelectorEventLoop.<name>(self, *args); a context is only passed on
   if there is one, because before 3.15 asyncio has no such argument. */
static PyObject *
call_asyncio(LoopObject *self, const char *name, PyObject *const *args, Py_ssize_t nargs,
             PyObject *context)
{
    PyObject *function = PyObject_GetAttrString(self->st->selector_loop, name);
    PyObject *all = PyTuple_New(nargs + 1);
    PyObject *kwargs = NULL;
    PyObject *result = NULL;

    if (context != NULL) {
        kwargs = Py_BuildValue("{OO}", self->st->str_context, context);
    }
    if (function != NULL && all != NULL && (context == NULL || kwargs != NULL)) {
        PyTuple_SET_ITEM(all, 0, Py_NewRef((PyObject *)self));
        for (Py_ssize_t i = 0; i < nargs; i++) {
            PyTuple_SET_ITEM(all, i + 1, Py_NewRef(args[i]));
        }
        result = PyObject_Call(function, all, kwargs);
    }
    Py_XDECREF(function);
    Py_XDECREF(all);
    Py_XDECREF(kwargs);
    if (result != NULL) {
        qi_loop_kick(self); /* the host's copy of the interest is out of date */
    }
    return result;
}

static int
watch_events(LoopObject *self, int fd)
{
    const struct qi_watch *watch = qi_selector_watch(self->waiter, fd);
    return watch == NULL ? 0 : watch->events;
}

/* Puts the handle in place of an earlier one, which is cancelled. */
static int
watch_with(LoopObject *self, const struct direction *dir, PyObject *fileobj, int fd,
           PyObject *handle)
{
    struct qi_watch *watch = qi_selector_watch(self->waiter, fd);
    PyObject *replaced = watch == NULL ? NULL : handle_of(watch, dir->index);
    PyObject *other = watch == NULL ? NULL : handle_of(watch, 1 - dir->index);
    PyObject *pair = handle_pair(dir, handle, other);
    int r;

    if (pair == NULL) {
        return -1;
    }
    Py_XINCREF(replaced);
    if (watch == NULL) {
        r = qi_selector_register(self->waiter, fileobj, fd, dir->event, pair);
    }
    else {
        r = qi_selector_modify(self->waiter, fileobj, fd, watch->events | dir->event,
                               pair);
    }
    if (r == 0 && QI_OBSERVED(self)) {
        qi_probe_watch(self, fd, watch_events(self, fd), handle);
    }
    if (r == 0 && replaced != NULL) {
        r = cancel_handle(self, replaced);
    }
    Py_XDECREF(replaced);
    Py_DECREF(pair);
    return r;
}

/* The one keyword argument, context, which asyncio's transports pass from 3.15 on. */
static int
parse_context(const struct direction *dir, PyObject *const *values, PyObject *kwnames,
              PyObject **ret_context)
{
    *ret_context = NULL;
    for (Py_ssize_t i = 0; kwnames != NULL && i < PyTuple_GET_SIZE(kwnames); i++) {
        PyObject *name = PyTuple_GET_ITEM(kwnames, i);
        if (PyUnicode_CompareWithASCIIString(name, "context") != 0) {
            PyErr_Format(PyExc_TypeError, "%s() got an unexpected keyword argument %R",
                         dir->asyncio_add, name);
            return -1;
        }
        if (qi_check_context(dir->asyncio_add, values[i], ret_context) < 0) {
            return -1;
        }
    }
    return 0;
}

static PyObject *
add_watch(LoopObject *self, const struct direction *dir, PyObject *const *args,
          Py_ssize_t nargs, PyObject *kwnames)
{
    PyObject *context;

    if (qi_loop_check_open(self) < 0
        || parse_context(dir, args + nargs, kwnames, &context) < 0) {
        return NULL;
    }
    if (nargs < 2) {
        PyErr_Format(PyExc_TypeError, "%s() takes a descriptor and a callback",
                     dir->asyncio_add);
        return NULL;
    }
    if (!own_selector(self)) {
        return call_asyncio(self, dir->asyncio_add, args, nargs, context);
    }
    int fd = qi_selector_find(self->waiter, args[0]);
    if (fd < 0) {
        return NULL;
    }
    PyObject *handle = qi_handle_new(self->st, self->st->HandleType, (PyObject *)self,
                                     args[1], args + 2, nargs - 2, context, self->debug);
    if (handle != NULL && watch_with(self, dir, args[0], fd, handle) < 0) {
        Py_CLEAR(handle);
    }
    return handle;
}

static PyObject *
remove_watch(LoopObject *self, const struct direction *dir, PyObject *fileobj)
{
    if (self->closed) {
        Py_RETURN_FALSE;
    }
    if (!own_selector(self)) {
        return call_asyncio(self, dir->asyncio_remove, &fileobj, 1, NULL);
    }
    int fd = qi_selector_find(self->waiter, fileobj);
    if (fd < 0) {
        return NULL;
    }
    struct qi_watch *watch = qi_selector_watch(self->waiter, fd);
    if (watch == NULL) {
        Py_RETURN_FALSE;
    }
    PyObject *handle = Py_XNewRef(handle_of(watch, dir->index));
    int events = watch->events & ~dir->event;
    int r;
    if (events == 0) {
        r = qi_selector_unregister(self->waiter, fileobj, fd);
    }
    else {
        PyObject *pair = handle_pair(dir, Py_None, handle_of(watch, 1 - dir->index));
        r = pair == NULL ? -1
                         : qi_selector_modify(self->waiter, fileobj, fd, events, pair);
        Py_XDECREF(pair);
    }
    if (r == 0 && QI_OBSERVED(self)) {
        qi_probe_watch(self, fd, events, handle);
    }
    if (r == 0 && handle != NULL) {
        r = cancel_handle(self, handle);
    }
    int removed = handle != NULL;
    Py_XDECREF(handle);
    return r < 0 ? NULL : PyBool_FromLong(removed);
}

static PyObject *
loop_add_reader(LoopObject *self, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    return add_watch(self, &reading, args, nargs, kwnames);
}

static PyObject *
loop_add_writer(LoopObject *self, PyObject *const *args, Py_ssize_t nargs,
                PyObject *kwnames)
{
    return add_watch(self, &writing, args, nargs, kwnames);
}

static PyObject *
loop_remove_reader(LoopObject *self, PyObject *fileobj)
{
    return remove_watch(self, &reading, fileobj);
}

static PyObject *
loop_remove_writer(LoopObject *self, PyObject *fileobj)
{
    return remove_watch(self, &writing, fileobj);
}

/*********** ready descriptors ***********/

/* Through the instance when it is not plain: tests replace _add_callback there. */
static int
queue_or_remove(LoopObject *self, const struct direction *dir, PyObject *fileobj,
                PyObject *handle)
{
    int cancelled = qi_handle_is_cancelled(self->st, handle);
    PyObject *r;

    if (cancelled < 0) {
        return -1;
    }
    if (qi_loop_is_plain(self)) {
        if (!cancelled) {
            return qi_loop_push_ready(self, Py_NewRef(handle));
        }
        r = remove_watch(self, dir, fileobj);
    }
    else if (cancelled) {
        r = PyObject_CallMethod((PyObject *)self, dir->asyncio_remove, "O", fileobj);
    }
    else {
        r = PyObject_CallMethod((PyObject *)self, "_add_callback", "O", handle);
    }
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

int
qi_loop_deliver(LoopObject *self, PyObject *fileobj, PyObject *data, int events)
{
    if (!PyTuple_Check(data) || PyTuple_GET_SIZE(data) != 2) {
        PyErr_Format(PyExc_TypeError,
                     "%R was registered on the loop's selector with data %R; use "
                     "loop.add_reader() and loop.add_writer()",
                     fileobj, data);
        return -1;
    }
    PyObject *reader = PyTuple_GET_ITEM(data, 0);
    PyObject *writer = PyTuple_GET_ITEM(data, 1);
    if (events & QI_POLL_READ && reader != Py_None
        && queue_or_remove(self, &reading, fileobj, reader) < 0) {
        return -1;
    }
    if (events & QI_POLL_WRITE && writer != Py_None
        && queue_or_remove(self, &writing, fileobj, writer) < 0) {
        return -1;
    }
    return 0;
}

/* What select() returned, one (key, events) each.  QiBaseSelectorEventLoop has it as
   _process_events(); loops without a selector have asyncio's, which refuses. */
static PyObject *
loop_process_selector_events(LoopObject *self, PyObject *event_list)
{
    PyObject *iterator = PyObject_GetIter(event_list);
    PyObject *pair = NULL;

    if (iterator == NULL) {
        return NULL;
    }
    while ((pair = PyIter_Next(iterator)) != NULL) {
        PyObject *key;
        int events;
        if (!PyArg_ParseTuple(pair, "Oi", &key, &events)) {
            break;
        }
        PyObject *fileobj = PyObject_GetAttrString(key, "fileobj");
        PyObject *data = PyObject_GetAttrString(key, "data");
        int r = fileobj == NULL || data == NULL
                    ? -1
                    : qi_loop_deliver(self, fileobj, data, events);
        Py_XDECREF(fileobj);
        Py_XDECREF(data);
        if (r < 0) {
            break;
        }
        Py_DECREF(pair);
    }
    Py_XDECREF(pair);
    Py_DECREF(iterator);
    if (PyErr_Occurred()) {
        return NULL;
    }
    Py_RETURN_NONE;
}

#define FASTCALL(function)                                                               \
    (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

PyMethodDef qi_io_methods[] = {
    {"_add_reader", FASTCALL(loop_add_reader), NULL},
    {"_add_writer", FASTCALL(loop_add_writer), NULL},
    {"_remove_reader", (PyCFunction)loop_remove_reader, METH_O, NULL},
    {"_remove_writer", (PyCFunction)loop_remove_writer, METH_O, NULL},
    {"_process_selector_events", (PyCFunction)loop_process_selector_events, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
