/* selector.c - see selector.h. */
#include "selector.h"

#ifdef _WIN32
#  include "windows/port.h"
#endif

#include <errno.h>
#include <limits.h>
#include <string.h>

#define MAX_EVENTS 128

static qi_state *state_of_type(PyTypeObject *type);

/*********** the table ***********/

static int
grow_table(SelectorObject *self, int fd)
{
    if (fd < self->watches_len) {
        return 0;
    }
    int len = self->watches_len == 0 ? 64 : self->watches_len;
    while (len <= fd) {
        len = len > INT_MAX / 2 ? INT_MAX : len * 2;
    }
    struct qi_watch *grown =
        PyMem_Realloc(self->watches, (size_t)len * sizeof(*self->watches));
    if (grown == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    memset(grown + self->watches_len, 0,
           (size_t)(len - self->watches_len) * sizeof(*grown));
    self->watches = grown;
    self->watches_len = len;
    return 0;
}

static int
forget_watch(SelectorObject *self, int fd)
{
    struct qi_watch gone = self->watches[fd];

    memset(&self->watches[fd], 0, sizeof(self->watches[fd]));
    self->registered--;
    self->st->counts.watches--;
    Py_DECREF(gone.fileobj);
    Py_DECREF(gone.data);
    return 0;
}

static void
forget_all(SelectorObject *self)
{
    for (int fd = 0; fd < self->watches_len; fd++) {
        if (self->watches[fd].fileobj != NULL) {
            (void)forget_watch(self, fd);
        }
    }
}

static int
raise_errno(int negative_errno)
{
    errno = -negative_errno;
    PyErr_SetFromErrno(PyExc_OSError);
    return -1;
}

static int
check_open(SelectorObject *self)
{
    if (self->poller.fd < 0) {
        PyErr_SetString(PyExc_RuntimeError, "the selector is closed");
        return -1;
    }
    return 0;
}

static int
check_events(int events)
{
    if (events == 0 || events & ~(QI_POLL_READ | QI_POLL_WRITE)) {
        PyErr_Format(PyExc_ValueError, "Invalid events: %d", events);
        return -1;
    }
    return 0;
}

/* int() of what fileno() gives, as the selectors module has it. */
static PyObject *
descriptor_of(PyObject *fileobj)
{
    if (PyLong_Check(fileobj)) {
        return Py_NewRef(fileobj);
    }
    PyObject *fileno = PyObject_CallMethod(fileobj, "fileno", NULL);
    if (fileno == NULL) {
        return NULL;
    }
    PyObject *number = PyNumber_Long(fileno);
    Py_DECREF(fileno);
    return number;
}

int
qi_fileobj_to_fd(PyObject *fileobj)
{
    PyObject *number = descriptor_of(fileobj);
    long fd = number == NULL ? -1 : PyLong_AsLong(number);

    Py_XDECREF(number);
    if (fd >= 0 && fd <= INT_MAX) {
        return (int)fd;
    }
    if (PyErr_Occurred() && !PyErr_ExceptionMatches(PyExc_AttributeError)
        && !PyErr_ExceptionMatches(PyExc_TypeError)
        && !PyErr_ExceptionMatches(PyExc_ValueError)
        && !PyErr_ExceptionMatches(PyExc_OverflowError)) {
        return -1;
    }
    PyErr_Format(PyExc_ValueError,
                 "Invalid file object: %R (a descriptor or an open object with "
                 "fileno() is expected)",
                 fileobj);
    return -1;
}

int
qi_selector_register(SelectorObject *self, PyObject *fileobj, int fd, int events,
                     PyObject *data)
{
    if (check_open(self) < 0 || check_events(events) < 0) {
        return -1;
    }
    if (qi_selector_watch(self, fd) != NULL) {
        PyErr_Format(PyExc_KeyError, "%R (FD %d) is already registered", fileobj, fd);
        return -1;
    }
    /* The kernel first: it refuses a number that is no descriptor, for which the
       table must not grow. */
    int r = qi_poller_add(&self->poller, fd, events);
    if (r < 0) {
        return raise_errno(r);
    }
    if (grow_table(self, fd) < 0) {
        (void)qi_poller_remove(&self->poller, fd, events);
        return -1;
    }
    self->watches[fd] = (struct qi_watch){
        .fileobj = Py_NewRef(fileobj), .data = Py_NewRef(data), .events = events};
    self->registered++;
    self->st->counts.watches++;
    return 0;
}

int
qi_selector_modify(SelectorObject *self, PyObject *fileobj, int fd, int events,
                   PyObject *data)
{
    if (check_open(self) < 0 || check_events(events) < 0) {
        return -1;
    }
    struct qi_watch *watch = qi_selector_watch(self, fd);
    if (watch == NULL) {
        PyErr_Format(PyExc_KeyError, "%R is not registered", fileobj);
        return -1;
    }
    if (events != watch->events) {
        int r = qi_poller_modify(&self->poller, fd, watch->events, events);
        if (r < 0) {
            (void)raise_errno(r);
            PyObject *exc = qi_take_exception();
            (void)qi_selector_unregister(self, fileobj, fd);
            PyErr_Clear();
            qi_raise_exception(exc);
            return -1;
        }
        watch->events = events;
    }
    Py_INCREF(data);
    Py_SETREF(watch->data, data);
    return 0;
}

int
qi_selector_unregister(SelectorObject *self, PyObject *fileobj, int fd)
{
    struct qi_watch *watch = qi_selector_watch(self, fd);

    if (watch == NULL) {
        PyErr_Format(PyExc_KeyError, "%R is not registered", fileobj);
        return -1;
    }
    /* The descriptor may have been closed since, which took it out of the set. */
    (void)qi_poller_remove(&self->poller, fd, watch->events);
    return forget_watch(self, fd);
}

PyObject *
qi_selector_key(SelectorObject *self, int fd)
{
    struct qi_watch *watch = &self->watches[fd];
    return PyObject_CallFunction(self->st->SelectorKey, "OiiO", watch->fileobj, fd,
                                 watch->events, watch->data);
}

int
qi_selector_find(SelectorObject *self, PyObject *fileobj)
{
    int fd = qi_fileobj_to_fd(fileobj);

    if (fd >= 0 || !PyErr_ExceptionMatches(PyExc_ValueError)) {
        return fd;
    }
    for (int i = 0; i < self->watches_len; i++) {
        if (self->watches[i].fileobj == fileobj) {
            PyErr_Clear();
            return i;
        }
    }
    return -1;
}

/* The descriptor under which fileobj is registered; -1 with KeyError or ValueError. */
static int
lookup(SelectorObject *self, PyObject *fileobj)
{
    int fd = qi_selector_find(self, fileobj);

    if (fd >= 0 && qi_selector_watch(self, fd) == NULL) {
        PyErr_Format(PyExc_KeyError, "%R is not registered", fileobj);
        return -1;
    }
    return fd;
}

/*********** methods ***********/

static PyObject *
selector_register(SelectorObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fileobj", "events", "data", NULL};
    PyObject *fileobj;
    PyObject *data = Py_None;
    int events;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oi|O:register", names, &fileobj,
                                     &events, &data)) {
        return NULL;
    }
    int fd = qi_fileobj_to_fd(fileobj);
    if (fd < 0 || qi_selector_register(self, fileobj, fd, events, data) < 0) {
        return NULL;
    }
    return qi_selector_key(self, fd);
}

static PyObject *
selector_modify(SelectorObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"fileobj", "events", "data", NULL};
    PyObject *fileobj;
    PyObject *data = Py_None;
    int events;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "Oi|O:modify", names, &fileobj,
                                     &events, &data)) {
        return NULL;
    }
    int fd = lookup(self, fileobj);
    if (fd < 0 || qi_selector_modify(self, fileobj, fd, events, data) < 0) {
        return NULL;
    }
    return qi_selector_key(self, fd);
}

static PyObject *
selector_unregister(SelectorObject *self, PyObject *fileobj)
{
    int fd = lookup(self, fileobj);

    if (fd < 0) {
        return NULL;
    }
    PyObject *key = qi_selector_key(self, fd);
    if (key != NULL && qi_selector_unregister(self, fileobj, fd) < 0) {
        Py_CLEAR(key);
    }
    return key;
}

static PyObject *
selector_get_key(SelectorObject *self, PyObject *fileobj)
{
    if (check_open(self) < 0) {
        return NULL;
    }
    int fd = lookup(self, fileobj);
    return fd < 0 ? NULL : qi_selector_key(self, fd);
}

static PyObject *
selector_descriptors(SelectorObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);

    for (int fd = 0; list != NULL && fd < self->watches_len; fd++) {
        if (self->watches[fd].fileobj == NULL) {
            continue;
        }
        PyObject *number = PyLong_FromLong(fd);
        if (number == NULL || PyList_Append(list, number) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(number);
    }
    return list;
}

/* Milliseconds for the poller: None waits for ever, a positive fraction is rounded up
   so that the wait never ends early.  -2 with an exception. */
static int
timeout_to_ms(PyObject *timeout)
{
    if (timeout == NULL || timeout == Py_None) {
        return -1;
    }
    double seconds = PyFloat_AsDouble(timeout);
    if (seconds == -1.0 && PyErr_Occurred()) {
        return -2;
    }
    if (!(seconds > 0)) {
        return 0;
    }
    double ms = seconds * 1000;
    if (ms >= INT_MAX - 1) {
        return INT_MAX - 1;
    }
    int whole = (int)ms;
    return whole < ms ? whole + 1 : whole;
}

static int
wait_without_gil(SelectorObject *self, int timeout_ms, struct qi_poll_event *events,
                 struct qi_poll_result *result)
{
    int r;

    Py_BEGIN_ALLOW_THREADS r =
        qi_poller_wait(&self->poller, timeout_ms, events, MAX_EVENTS, result);
    Py_END_ALLOW_THREADS return r;
}

static PyObject *
selector_select(SelectorObject *self, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"timeout", NULL};
    struct qi_poll_event events[MAX_EVENTS];
    struct qi_poll_result result;
    PyObject *timeout = NULL;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "|O:select", names, &timeout)
        || check_open(self) < 0) {
        return NULL;
    }
    int timeout_ms = timeout_to_ms(timeout);
    if (timeout_ms == -2) {
        return NULL;
    }
    int r = wait_without_gil(self, timeout_ms, events, &result);
    if (r == 0 && result.woken) {
        self->wake_pending = 0;
    }
    if (r < 0 && r != -EINTR) {
        (void)raise_errno(r);
        return NULL;
    }
    PyObject *list = PyList_New(0);
    for (int i = 0; list != NULL && r == 0 && i < result.n; i++) {
        struct qi_watch *watch = qi_selector_watch(self, events[i].fd);
        int mask = watch == NULL ? 0 : events[i].events & watch->events;
        if (mask == 0) {
            continue;
        }
        PyObject *key = qi_selector_key(self, events[i].fd);
        PyObject *pair = key == NULL ? NULL : Py_BuildValue("(Ni)", key, mask);
        if (pair == NULL || PyList_Append(list, pair) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(pair);
    }
    return list;
}

static PyObject *
selector_fileno(SelectorObject *self, PyObject *Py_UNUSED(ignored))
{
    return check_open(self) < 0 ? NULL : PyLong_FromLong(self->poller.fd);
}

static PyObject *
selector_close(SelectorObject *self, PyObject *Py_UNUSED(ignored))
{
    forget_all(self);
    qi_poller_fini(&self->poller);
    Py_RETURN_NONE;
}

#ifdef _WIN32
/* The HANDLE of a completion port whose packets wake the host as well; None: no more. */
static PyObject *
selector_watch_port(SelectorObject *self, PyObject *handle)
{
    struct qi_port port;
    int r;

    if (check_open(self) < 0) {
        return NULL;
    }
    if (handle == Py_None) {
        r = qi_poller_watch_port(&self->poller, NULL);
    }
    else {
        port = qi_port_iocp(PyLong_AsVoidPtr(handle));
        if (PyErr_Occurred()) {
            return NULL;
        }
        r = qi_poller_watch_port(&self->poller, &port);
    }
    if (r < 0) {
        (void)raise_errno(r);
        return NULL;
    }
    Py_RETURN_NONE;
}
#endif

static PyObject *
selector_get_closed(SelectorObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(self->poller.fd < 0);
}

/*********** type ***********/

static PyObject *
selector_new(PyTypeObject *type, PyObject *Py_UNUSED(args), PyObject *Py_UNUSED(kwargs))
{
    qi_state *st = state_of_type(type);

    if (st == NULL) {
        return NULL;
    }
    SelectorObject *self = (SelectorObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->st = st;
    self->poller.fd = self->poller.wake_fd = self->poller.timer_fd = -1;
    st->counts.selectors++;
    int r = qi_poller_init(&self->poller);
    if (r < 0) {
        (void)raise_errno(r);
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

static int
selector_setattro(SelectorObject *self, PyObject *name, PyObject *value)
{
    if (PyObject_GenericSetAttr((PyObject *)self, name, value) < 0) {
        return -1;
    }
    if (PyUnicode_Check(name) && PyUnicode_Compare(name, self->st->str_select) == 0) {
        self->patched = value != NULL;
    }
    return 0;
}

static int
selector_traverse(SelectorObject *self, visitproc visit, void *arg)
{
    QI_VISIT_TYPE(self);
    for (int fd = 0; fd < self->watches_len; fd++) {
        Py_VISIT(self->watches[fd].fileobj);
        Py_VISIT(self->watches[fd].data);
    }
    return 0;
}

static int
selector_clear(SelectorObject *self)
{
    forget_all(self);
    return 0;
}

static void
selector_dealloc(SelectorObject *self)
{
    PyTypeObject *type = Py_TYPE(self);
    qi_state *st = self->st;

    PyObject_GC_UnTrack(self);
    forget_all(self);
    PyMem_Free(self->watches);
    qi_poller_fini(&self->poller);
    type->tp_free((PyObject *)self);
    qi_release_type(type, (destructor)selector_dealloc);
    st->counts.selectors--;
    qi_state_released(st);
}

static PyMethodDef selector_methods[] = {
    {"register", (PyCFunction)(void (*)(void))selector_register,
     METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("register($self, /, fileobj, events, data=None)\n--\n\n"
               "Watch a descriptor; see selectors.BaseSelector.register().")},
    {"modify", (PyCFunction)(void (*)(void))selector_modify, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("modify($self, /, fileobj, events, data=None)\n--\n\n"
               "Change events and data of a watched descriptor.")},
    {"unregister", (PyCFunction)selector_unregister, METH_O,
     PyDoc_STR("unregister($self, fileobj, /)\n--\n\nStop watching a descriptor.")},
    {"get_key", (PyCFunction)selector_get_key, METH_O,
     PyDoc_STR("get_key($self, fileobj, /)\n--\n\n"
               "The selectors.SelectorKey of a watched descriptor.")},
    {"select", (PyCFunction)(void (*)(void))selector_select, METH_VARARGS | METH_KEYWORDS,
     PyDoc_STR("select($self, /, timeout=None)\n--\n\n"
               "Wait, with the GIL released, at most timeout seconds (None: for ever)\n"
               "and return the ready ones as a list of (SelectorKey, events).")},
    {"fileno", (PyCFunction)selector_fileno, METH_NOARGS,
     PyDoc_STR("fileno($self, /)\n--\n\n"
               "The descriptor that is readable whenever select() has something (over\n"
               "the poller \"thread\": while the loop that owns it sleeps).")},
    {"close", (PyCFunction)selector_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\nForget all descriptors and close our own.")},
    {"_descriptors", (PyCFunction)selector_descriptors, METH_NOARGS, NULL},
#ifdef _WIN32
    {"_watch_port", (PyCFunction)selector_watch_port, METH_O, NULL},
#endif
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef selector_attributes[] = {
    {"closed", (getter)selector_get_closed, NULL,
     PyDoc_STR("True once close() was called."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot selector_slots[] = {
    {Py_tp_doc, (void *)"The selector of a qtinter loop: one pollable kernel object."},
    {Py_tp_new, (void *)selector_new},
    {Py_tp_dealloc, (void *)selector_dealloc},
    {Py_tp_traverse, (void *)selector_traverse},
    {Py_tp_clear, (void *)selector_clear},
    {Py_tp_setattro, (void *)selector_setattro},
    {Py_tp_methods, selector_methods},
    {Py_tp_getset, selector_attributes},
    {0, NULL},
};

static PyType_Spec selector_spec = {
    .name = "qtinter._core.Selector",
    .basicsize = sizeof(SelectorObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_BASETYPE,
    .slots = selector_slots,
};

/* The state of a subclass made in Python is that of the C type it derives from. */
static qi_state *
state_of_type(PyTypeObject *type)
{
    while (type != NULL && type->tp_dealloc != (destructor)selector_dealloc) {
        type = type->tp_base;
    }
    return type == NULL ? NULL : qi_state_of_type(type);
}

int
qi_selector_init_type(PyObject *module, qi_state *st)
{
    st->SelectorType = qi_type_new(module, &selector_spec, NULL);
    return st->SelectorType == NULL ? -1 : 0;
}
