/*
 * inspector_requests.c - what the outside asks of this process, and stacks of loop
 * threads that do not answer.
 *
 * All functions hold the GIL.
 */
#include "probe_impl.h"

#include <limits.h>

/*********** requests from outside ***********/

/* A task by its id; borrowed. */
static PyObject *
task_by_id(struct qi_probe *p, uint64_t id)
{
    for (size_t i = 0; i < p->known.capacity; i++) {
        const struct qi_known *known = &p->known.entries[i];
        if (known->object != NULL && known->ref == QI_REF(QI_TASK, id)) {
            return (PyObject *)known->object;
        }
    }
    return NULL;
}

/* Runs answer(kind, task or None, message, level) and sends its text. */
static void
serve(struct qi_probe *p, const struct qi_request *request)
{
    static const char *const kinds[] = {"", "cancel", "level", "stack"};
    int is_level = request->kind == QI_REQUEST_LEVEL;
    PyObject *task =
        is_level || request->task == 0 ? Py_None : task_by_id(p, request->task);
    PyObject *text = NULL;

    if (task == NULL) {
        qi_client_answer(p->client, request->token, 0, "there is no such task any more");
        return;
    }
    Py_INCREF(task);
    qi_probe_hold(p);
    if (p->answer != NULL && p->answer != Py_None) {
        text = PyObject_CallFunction(p->answer, "sOsi", kinds[request->kind], task,
                                     request->message, request->level);
    }
    const char *utf8 =
        text != NULL && PyUnicode_Check(text) ? PyUnicode_AsUTF8(text) : NULL;
    if (is_level) {
        /* needs no answer */
    }
    else if (utf8 != NULL) {
        qi_client_answer(p->client, request->token, 1, utf8);
    }
    else {
        qi_client_answer(p->client, request->token, 0,
                         "the application could not answer");
    }
    PyErr_Clear(); /* nothing of a tool's request reaches the user's program */
    Py_XDECREF(text);
    Py_DECREF(task);
    (void)qi_probe_let_go(p);
}

void
qi_probe_woken(LoopObject *self)
{
    qi_state *st = self->st;
    struct qi_request request;
    int budget = 16;

    while (st->probe != NULL && budget-- > 0
           && qi_client_take_request(st->probe->client, &request)) {
        PyObject *exc = PyErr_Occurred() ? qi_take_exception() : NULL;
        serve(st->probe, &request);
        if (exc != NULL) {
            qi_raise_exception(exc);
        }
    }
}

/*********** stacks by a signal ***********/

/* inspect_stacks_prepare(signal): the descriptor to be given to faulthandler. */
static PyObject *
inspect_stacks_prepare(PyObject *module, PyObject *number)
{
    struct qi_probe *p = qi_inspector_probe(module);
    long value = p == NULL ? -1 : PyLong_AsLong(number);
    int file = -1;

    if (p == NULL || (value == -1 && PyErr_Occurred())) {
        return NULL;
    }
    if (value < 1 || value > INT_MAX
        || qi_client_stacks_prepare(p->client, (int)value, &file) < 0) {
        PyErr_SetString(PyExc_OSError, value < 1 || value > INT_MAX
                                           ? "a signal's number is positive"
                                           : qi_client_last_error());
        return NULL;
    }
    return PyLong_FromLong(file);
}

static PyObject *
inspect_stacks_arm(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct qi_probe *p = qi_inspector_probe(module);

    if (p == NULL) {
        return NULL;
    }
    if (qi_client_stacks_arm(p->client) < 0) {
        PyErr_SetString(PyExc_OSError, qi_client_last_error());
        return NULL;
    }
    Py_RETURN_NONE;
}

/* True: faulthandler.unregister() is to be called. */
static PyObject *
inspect_stacks_disarm(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct qi_probe *p = qi_inspector_state(module)->probe;
    int ours = 0;

    if (p != NULL) {
        qi_probe_hold(p); /* another thread may disable() meanwhile */
        Py_BEGIN_ALLOW_THREADS ours = qi_client_stacks_disarm(p->client);
        Py_END_ALLOW_THREADS(void) qi_probe_let_go(p);
    }
    return PyBool_FromLong(ours);
}

/*********** table ***********/

PyMethodDef qi_stacks_functions[] = {
    {"inspect_stacks_prepare", inspect_stacks_prepare, METH_O, NULL},
    {"inspect_stacks_arm", inspect_stacks_arm, METH_NOARGS, NULL},
    {"inspect_stacks_disarm", inspect_stacks_disarm, METH_NOARGS, NULL},
    {NULL, NULL, 0, NULL},
};
