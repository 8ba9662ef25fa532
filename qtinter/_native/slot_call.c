/*
 * slot_call.c - the hot path of asyncslot: from an emission to a task.
 *
 * SlotCall holds what the wrapper of one asyncslot needs.  start(args) does what
 * qtinter/_slots.py describes for the case that nearly every emission is: a running loop
 * of ours and of this slot, no task factory, no options.  Everything else is left to
 * `general`, a Python function.
 */
#include "slot_call.h"

#include "first_step.h"
#include "probe.h"
#include "slot_record.h"

typedef struct {
    PyObject_HEAD
    qi_state *st;       /* borrowed: the type keeps the module alive */
    PyObject *slot;     /* with the attributes home, failed(), report_later() */
    PyObject *function; /* makes the coroutine */
    PyObject *general;  /* general(args) */
    PyObject *copy;     /* copy(args): without values that a binding only lends */
    PyObject *live;     /* set of the pending tasks of all slots */
    Py_ssize_t limit;   /* of arguments; -1: none */
    int simple;         /* no option is in use */
    PyObject *record;   /* of the inspection, as was last used; may be NULL */
    PyTypeObject *type; /* of the first argument last seen; NULL: none yet */
    int is_receiver;    /* it was the object whose method is called */
} SlotCallObject;

/*--- the conditions ---*/

/* The loop that runs on this thread, if the slot may run in it and it is ours; NULL
   without an exception otherwise. */
static PyObject *
own_running_loop(SlotCallObject *self)
{
    qi_state *st = self->st;
    PyObject *loop = PyObject_CallNoArgs(st->get_running_loop);
    PyObject *home = NULL;
    PyObject *home_loop = NULL;
    int fits = 0;

    if (loop == NULL || !PyObject_TypeCheck(loop, st->LoopType)) {
        goto done;
    }
    home = PyObject_GetAttr(self->slot, st->str_home);
    if (home == Py_None) {
        fits = 1;
    }
    else if (home != NULL && PyWeakref_Check(home)) {
        fits = PyWeakref_GetRef(home, &home_loop) > 0 && home_loop == loop;
    }
done:
    Py_XDECREF(home);
    Py_XDECREF(home_loop);
    if (!fits) {
        PyErr_Clear();
        Py_CLEAR(loop);
    }
    return loop;
}

/* Of these, from the first on, nothing is lent, and most signals carry nothing else. */
static int
are_plain(PyObject *args, Py_ssize_t first)
{
    for (Py_ssize_t i = first; i < PyTuple_GET_SIZE(args); i++) {
        PyObject *arg = PyTuple_GET_ITEM(args, i);
        if (!PyBool_Check(arg) && !PyLong_CheckExact(arg) && !PyFloat_CheckExact(arg)
            && !PyUnicode_CheckExact(arg) && !PyBytes_CheckExact(arg) && arg != Py_None) {
            return 0;
        }
    }
    return 1;
}

static int
has_task_factory(qi_state *st, PyObject *loop)
{
    PyObject *factory = PyObject_GetAttr(loop, st->str_task_factory);
    int has = factory != Py_None;

    Py_XDECREF(factory);
    if (PyErr_Occurred()) {
        PyErr_Clear();
    }
    return has;
}

/*--- the invocation ---*/

static PyObject *
call_function(SlotCallObject *self, PyObject *args)
{
    Py_ssize_t nargs = PyTuple_GET_SIZE(args);

    if (self->limit >= 0 && self->limit < nargs) {
        nargs = self->limit;
    }
    return PyObject_Vectorcall(self->function, ((PyTupleObject *)args)->ob_item,
                               (size_t)nargs, NULL);
}

/* An exception is set that prevented the task. */
static PyObject *
fail(SlotCallObject *self, PyObject *loop, PyObject *args)
{
    PyObject *exc = qi_take_exception();
    PyObject *result = PyObject_CallMethodObjArgs(self->slot, self->st->str_failed, loop,
                                                  args, exc, NULL);
    Py_XDECREF(exc);
    return result;
}

/* Whether the task, which is done, has an exception that nobody has retrieved; not if it
   was cancelled.  1, 0, or -1. */
static int
has_failed(qi_state *st, PyObject *task)
{
    PyObject *failed = PyObject_GetAttr(task, st->str_log_traceback);

    if (failed == NULL) { /* not asyncio's */
        PyErr_Clear();
        return 0;
    }
    int r = PyObject_IsTrue(failed);
    Py_DECREF(failed);
    return r;
}

/* Keeps the task alive until it is done, or reports it if it has failed already. */
static int
look_after(SlotCallObject *self, PyObject *task)
{
    qi_state *st = self->st;
    PyObject *done = PyObject_CallMethodObjArgs(task, st->str_done, NULL);
    PyObject *finished = NULL;
    PyObject *r = NULL;

    if (done == NULL) {
        return -1;
    }
    if (done == Py_True) {
        int failed = has_failed(st, task);
        r = failed < 0    ? NULL
            : failed == 0 ? Py_NewRef(Py_None)
                          : PyObject_CallMethodObjArgs(self->slot, st->str_ended_at_once,
                                                       task, NULL);
    }
    else if (PySet_Add(self->live, task) == 0) {
        finished = PyObject_GetAttr((PyObject *)self, st->str_finished);
        r = finished == NULL ? NULL
                             : PyObject_CallMethodObjArgs(task, st->str_add_done_callback,
                                                          finished, NULL);
    }
    Py_DECREF(done);
    Py_XDECREF(finished);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/*--- the inspection ---*/

#ifdef QI_WITH_INSPECT

/* The object whose method is called, borrowed; NULL for a function, or with an exception.
 */
static PyObject *
receiver_of(SlotCallObject *self, PyObject *args)
{
    PyObject *first = PyTuple_GET_SIZE(args) > 0 ? PyTuple_GET_ITEM(args, 0) : NULL;

    if (first != NULL && Py_TYPE(first) != self->type) {
        PyObject *found =
            PyObject_CallMethodObjArgs(self->slot, self->st->str_receiver_of, args, NULL);
        if (found == NULL) {
            return NULL;
        }
        self->is_receiver = found == first;
        Py_XSETREF(self->type, (PyTypeObject *)Py_NewRef(Py_TYPE(first)));
        Py_DECREF(found);
    }
    return first != NULL && self->is_receiver ? first : NULL;
}

/* Before an invocation: tells the inspection.  What it is counted in, or None; NULL with
   an exception.  What is said of the emission is owned by the caller in any case. */
static PyObject *
observing(SlotCallObject *self, PyObject *args, struct qi_emission *ret_emission)
{
    PyObject *receiver = receiver_of(self, args);

    if (receiver == NULL && PyErr_Occurred()) {
        return NULL;
    }
    if (!qi_slot_record_is_of(self->record, self->st, receiver)) {
        PyObject *record =
            PyObject_CallMethodObjArgs(self->slot, self->st->str_observed_by,
                                       receiver == NULL ? Py_None : receiver, NULL);
        if (record == NULL) {
            return NULL;
        }
        Py_XSETREF(self->record, record);
        if (!qi_slot_record_is_of(record, self->st, receiver)) {
            Py_RETURN_NONE;
        }
    }
    PyObject *record = Py_NewRef(self->record);
    qi_state *st = self->st;
    if (!are_plain(args, receiver != NULL)) {
        ret_emission->answer =
            PyObject_CallMethodObjArgs(self->slot, st->str_answer_to, args, NULL);
    }
    if (!PyErr_Occurred() && qi_slot_record_wants_signal(record)) {
        ret_emission->signal = PyObject_CallMethodObjArgs(
            self->slot, st->str_signal_to, receiver == NULL ? Py_None : receiver, NULL);
    }
    if (PyErr_Occurred()) {
        Py_DECREF(record);
        return NULL;
    }
    qi_slot_record_calling(record);
    return record;
}

/* After the first step of its task; NULL: there is none.  An exception that is set stays,
   one that comes of this is reported as the slot's. */
static void
observed(SlotCallObject *self, PyObject *record, PyObject *loop, PyObject *args,
         PyObject *task, const struct qi_emission *emission)
{
    PyObject *exc = qi_take_exception();

    if (qi_slot_record_called(record, loop, task == NULL ? Py_None : task, emission)
        < 0) {
        PyObject *r = fail(self, loop, args);
        Py_XDECREF(r);
    }
    if (exc != NULL) {
        qi_raise_exception(exc);
    }
}

/* Makes the task, and tells the inspection. */
static PyObject *
start_observed(SlotCallObject *self, PyObject *loop, PyObject *args, PyObject *coro)
{
    struct qi_emission emission = {NULL, NULL};
    PyObject *record = observing(self, args, &emission);
    PyObject *task = NULL;

    if (record != NULL) {
        task = qi_loop_start_task((LoopObject *)loop, coro, NULL, NULL);
        if (record != Py_None) {
            observed(self, record, loop, args, task, &emission);
        }
        Py_DECREF(record);
    }
    Py_XDECREF(emission.answer);
    Py_XDECREF(emission.signal);
    return task;
}

#else
#  define start_observed(self, loop, args, coro) NULL /* there is no probe */
#endif

static PyObject *
slot_call_start(SlotCallObject *self, PyObject *args)
{
    qi_state *st = self->st;
    PyObject *loop = NULL;
    PyObject *task = NULL;

    if (!PyTuple_CheckExact(args)) {
        PyErr_SetString(PyExc_TypeError, "start() takes a tuple");
        return NULL;
    }
    if (self->simple) {
        loop = own_running_loop(self);
    }
    if (loop == NULL || has_task_factory(st, loop)) {
        Py_XDECREF(loop);
        return PyObject_CallFunctionObjArgs(self->general, args, NULL);
    }
    args = are_plain(args, 0) ? Py_NewRef(args)
                              : PyObject_CallFunctionObjArgs(self->copy, args, NULL);
    PyObject *coro = args == NULL ? NULL : call_function(self, args);
    if (coro != NULL) {
        task = st->probe == NULL
                   ? qi_loop_start_task((LoopObject *)loop, coro, NULL, NULL)
                   : start_observed(self, loop, args, coro);
        Py_DECREF(coro);
    }
    if (task == NULL) {
        task = fail(self, loop, args != NULL ? args : st->empty_tuple);
    }
    else if (look_after(self, task) < 0) {
        Py_CLEAR(task);
    }
    Py_XDECREF(args);
    Py_DECREF(loop);
    return task;
}

/* Done callback of an invocation. */
static PyObject *
slot_call_finished(SlotCallObject *self, PyObject *task)
{
    qi_state *st = self->st;

    if (PySet_Discard(self->live, task) < 0) {
        return NULL;
    }
    int failed = has_failed(st, task);
    if (failed < 0) {
        return NULL;
    }
    if (failed > 0) {
        return PyObject_CallMethodObjArgs(self->slot, st->str_report_later, task, NULL);
    }
    Py_RETURN_NONE;
}

/*--- the type ---*/

static int
slot_call_traverse(SlotCallObject *self, visitproc visit, void *arg)
{
    QI_VISIT_TYPE(self);
    Py_VISIT(self->slot);
    Py_VISIT(self->function);
    Py_VISIT(self->general);
    Py_VISIT(self->copy);
    Py_VISIT(self->live);
    Py_VISIT(self->record);
    Py_VISIT(self->type);
    return 0;
}

static int
slot_call_clear(SlotCallObject *self)
{
    Py_CLEAR(self->slot);
    Py_CLEAR(self->function);
    Py_CLEAR(self->general);
    Py_CLEAR(self->copy);
    Py_CLEAR(self->live);
    Py_CLEAR(self->record);
    Py_CLEAR(self->type);
    return 0;
}

static void
slot_call_dealloc(SlotCallObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)slot_call_clear(self);
    type->tp_free(self);
    qi_release_type(type, (destructor)slot_call_dealloc);
}

/* SlotCall(slot, function, limit, simple, general, copy, live) */
static PyObject *
slot_call_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    PyObject *slot, *function, *general, *copy, *live;
    Py_ssize_t limit;
    int simple;

    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "SlotCall() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "OOnpOOO!:SlotCall", &slot, &function, &limit, &simple,
                          &general, &copy, &PySet_Type, &live)) {
        return NULL;
    }
    SlotCallObject *self = (SlotCallObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = qi_state_of_type(type);
        self->slot = Py_NewRef(slot);
        self->function = Py_NewRef(function);
        self->general = Py_NewRef(general);
        self->copy = Py_NewRef(copy);
        self->live = Py_NewRef(live);
        self->limit = limit;
        self->simple = simple;
    }
    return (PyObject *)self;
}

static PyMethodDef slot_call_methods[] = {
    {"start", (PyCFunction)slot_call_start, METH_O,
     PyDoc_STR("start($self, args, /)\n--\n\n"
               "Start an invocation with a tuple of arguments; return its task.")},
    {"finished", (PyCFunction)slot_call_finished, METH_O,
     PyDoc_STR("finished($self, task, /)\n--\n\nDone callback of an invocation.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot slot_call_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("What an emission of a signal to an asyncslot does.")},
    {Py_tp_new, (void *)slot_call_new},
    {Py_tp_dealloc, (void *)slot_call_dealloc},
    {Py_tp_traverse, (void *)slot_call_traverse},
    {Py_tp_clear, (void *)slot_call_clear},
    {Py_tp_methods, slot_call_methods},
    {0, NULL},
};

static PyType_Spec slot_call_spec = {
    .name = "qtinter._core.SlotCall",
    .basicsize = sizeof(SlotCallObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slot_call_slots,
};

int
qi_slot_call_init_type(PyObject *module)
{
    PyTypeObject *type = qi_type_new(module, &slot_call_spec, NULL);
    int r =
        type == NULL ? -1 : PyModule_AddObjectRef(module, "SlotCall", (PyObject *)type);

    Py_XDECREF(type);
    return r;
}
