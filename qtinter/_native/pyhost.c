/*
 * pyhost.c - a qi_host over a Python object.
 *
 * The object (qtinter._hosts.BindingHost, or a hand-cranked one in tests) has methods
 * of the same names as struct qi_host.  start() receives a callable turn(reason); it
 * never raises, and does nothing once the host was stopped.
 *
 *   required   start(fd, turn)  stop()  watch(enabled)  wake()
 *              enter() -> int   leave() quit()          depth() -> int
 *   optional   listen(fd), now_ns() -> int and arm(deadline_ns)
 *
 * An exception of a method that the core cannot pass on goes to sys.unraisablehook.
 */
#include "loop.h"

struct pyhost {
    PyObject *object; /* owned */
    PyObject *turn;   /* owned; the callable given to start(), NULL when stopped */
};

/* Behind the callable: what it calls, cut off by stop(). */
struct turn_target {
    qi_turn_fn turn;
    void *core;
};

#define TURN_CAPSULE "qtinter._native.turn"

static void
turn_capsule_free(PyObject *capsule)
{
    PyMem_Free(PyCapsule_GetPointer(capsule, TURN_CAPSULE));
}

static PyObject *
turn_call(PyObject *capsule, PyObject *reason)
{
    struct turn_target *target = PyCapsule_GetPointer(capsule, TURN_CAPSULE);
    long number = PyLong_AsLong(reason);

    if (target == NULL || (number == -1 && PyErr_Occurred())) {
        return NULL;
    }
    if (target->turn != NULL) {
        target->turn(target->core, (int)number);
    }
    Py_RETURN_NONE;
}

static PyMethodDef turn_def = {
    "turn", turn_call, METH_O,
    PyDoc_STR("turn(reason, /)\n--\n\nGive the loop a turn: 0 descriptor, 1 wake.")};

static PyObject *
turn_new(qi_turn_fn turn, void *core)
{
    struct turn_target *target = PyMem_Malloc(sizeof(*target));

    if (target == NULL) {
        return PyErr_NoMemory();
    }
    target->turn = turn;
    target->core = core;
    PyObject *capsule = PyCapsule_New(target, TURN_CAPSULE, turn_capsule_free);
    if (capsule == NULL) {
        PyMem_Free(target);
        return NULL;
    }
    PyObject *callable = PyCFunction_New(&turn_def, capsule);
    Py_DECREF(capsule);
    return callable;
}

static void
turn_cut_off(PyObject *callable)
{
    PyObject *capsule = PyCFunction_GetSelf(callable);
    struct turn_target *target = PyCapsule_GetPointer(capsule, TURN_CAPSULE);

    target->turn = NULL;
}

/* Result of a call nobody can pass an exception on from. */
static void
finish_call(struct pyhost *self, PyObject *result)
{
    if (result == NULL) {
        PyErr_WriteUnraisable(self->object);
    }
    Py_XDECREF(result);
}

static int
pyhost_start(void *impl, int fd, qi_turn_fn turn, void *core)
{
    struct pyhost *self = impl;

    self->turn = turn_new(turn, core);
    if (self->turn == NULL) {
        return -1;
    }
    PyObject *r = PyObject_CallMethod(self->object, "start", "iO", fd, self->turn);
    if (r == NULL) {
        turn_cut_off(self->turn);
        Py_CLEAR(self->turn);
        return -1;
    }
    Py_DECREF(r);
    return 0;
}

static void
pyhost_stop(void *impl)
{
    struct pyhost *self = impl;

    if (self->turn == NULL) {
        return;
    }
    turn_cut_off(self->turn);
    Py_CLEAR(self->turn);
    finish_call(self, PyObject_CallMethod(self->object, "stop", NULL));
}

static void
pyhost_watch(void *impl, int enabled)
{
    struct pyhost *self = impl;
    finish_call(self, PyObject_CallMethod(self->object, "watch", "O",
                                          enabled ? Py_True : Py_False));
}

static void
pyhost_listen(void *impl, int fd)
{
    struct pyhost *self = impl;
    finish_call(self, PyObject_CallMethod(self->object, "listen", "i", fd));
}

static void
pyhost_wake(void *impl)
{
    struct pyhost *self = impl;
    finish_call(self, PyObject_CallMethod(self->object, "wake", NULL));
}

/* An int-valued method; on failure the exception stays set. */
static int
call_int(struct pyhost *self, const char *name)
{
    PyObject *r = PyObject_CallMethod(self->object, name, NULL);
    if (r == NULL) {
        return -1;
    }
    /* Before 3.10 PyLong_AsLong() takes a float, too, with a warning. */
    PyObject *index = PyNumber_Index(r);
    Py_DECREF(r);
    long number = index == NULL ? -1 : PyLong_AsLong(index);
    Py_XDECREF(index);
    return (int)number;
}

static int
pyhost_enter(void *impl)
{
    return call_int(impl, "enter");
}

static void
pyhost_leave(void *impl)
{
    struct pyhost *self = impl;
    finish_call(self, PyObject_CallMethod(self->object, "leave", NULL));
}

static void
pyhost_quit(void *impl)
{
    struct pyhost *self = impl;
    finish_call(self, PyObject_CallMethod(self->object, "quit", NULL));
}

static int
pyhost_depth(void *impl)
{
    struct pyhost *self = impl;
    int depth = call_int(self, "depth");

    if (depth == -1 && PyErr_Occurred()) {
        PyErr_WriteUnraisable(self->object);
    }
    return depth;
}

static const char *
pyhost_error(void *impl)
{
    (void)impl;
    return "its start() failed"; /* the exception tells more, and is set */
}

static int64_t
pyhost_now_ns(void *impl)
{
    struct pyhost *self = impl;
    PyObject *r = PyObject_CallMethod(self->object, "now_ns", NULL);
    long long ns = r == NULL ? -1 : PyLong_AsLongLong(r);

    Py_XDECREF(r);
    if (ns == -1 && PyErr_Occurred()) {
        PyErr_WriteUnraisable(self->object);
        return qi_clock_ns();
    }
    return ns;
}

static void
pyhost_arm(void *impl, int64_t deadline_ns)
{
    struct pyhost *self = impl;
    finish_call(self,
                PyObject_CallMethod(self->object, "arm", "L", (long long)deadline_ns));
}

static void
pyhost_free(struct qi_host *host)
{
    struct pyhost *self = host->impl;

    pyhost_stop(self);
    Py_DECREF(self->object);
    PyMem_Free(self);
    PyMem_Free(host);
}

static const char *
known_name(PyObject *object)
{
    PyObject *name = PyObject_GetAttrString(object, "name");
    const char *known = "python";

    if (name == NULL) {
        PyErr_Clear();
    }
    else if (PyUnicode_Check(name)) {
        if (PyUnicode_CompareWithASCIIString(name, "binding") == 0) {
            known = "binding";
        }
        else if (PyUnicode_CompareWithASCIIString(name, "fake") == 0) {
            known = "fake";
        }
    }
    Py_XDECREF(name);
    return known;
}

struct qi_host *
qi_pyhost_new(PyObject *object)
{
    static const char *const required[] = {"start", "stop",  "watch", "wake",
                                           "enter", "leave", "quit",  "depth"};

    for (size_t i = 0; i < sizeof(required) / sizeof(required[0]); i++) {
        if (!PyObject_HasAttrString(object, required[i])) {
            PyErr_Format(PyExc_TypeError,
                         "%.100s cannot be a host: it has no method %s()",
                         Py_TYPE(object)->tp_name, required[i]);
            return NULL;
        }
    }
    struct qi_host *host = PyMem_Calloc(1, sizeof(*host));
    struct pyhost *self = PyMem_Calloc(1, sizeof(*self));
    if (host == NULL || self == NULL) {
        PyMem_Free(host);
        PyMem_Free(self);
        PyErr_NoMemory();
        return NULL;
    }
    self->object = Py_NewRef(object);
    *host = (struct qi_host){
        .name = known_name(object),
        .needs_gil = 1,
        .impl = self,
        .start = pyhost_start,
        .stop = pyhost_stop,
        .watch = pyhost_watch,
        .wake = pyhost_wake,
        .enter = pyhost_enter,
        .leave = pyhost_leave,
        .quit = pyhost_quit,
        .depth = pyhost_depth,
        .error = pyhost_error,
        .free = pyhost_free,
    };
    if (PyObject_HasAttrString(object, "listen")) {
        host->listen = pyhost_listen;
    }
    if (PyObject_HasAttrString(object, "now_ns")) {
        host->now_ns = pyhost_now_ns;
        host->arm = pyhost_arm;
    }
    return host;
}
