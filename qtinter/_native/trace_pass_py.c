/*
 * trace_pass_py.c - trace_pass.c for Python: the types TraceTasks and TracePass.
 *
 * Both hold numbers only.  A TracePass is fed with the records of one chunk after the
 * other; those that tell of more than tasks go on to Python functions.
 */
#include "probe_impl.h"

#include "columns.h"
#include "trace_py.h"

#include <string.h>

typedef struct {
    PyObject_HEAD
    struct qi_traced_tasks tasks;
} TasksObject;

typedef struct {
    PyObject_HEAD
    TasksObject *known; /* owned */
    struct qi_trace_pass pass;
} PassObject;

/* --- rows that were kept ------------------------------------------------------------ */

int
qi_traced_row_put(PyObject *self, const struct qi_traced_task *row)
{
    struct qi_traced_task *task =
        qi_traced_task_put(&((TasksObject *)self)->tasks, row->id);

    if (task == NULL) {
        return -1;
    }
    if (!task->is_last || row->is_last) {
        *task = *row;
    }
    return 0;
}

/* What is no unsigned number of 64 bits is cut off: nothing of ours is. */
static int
number_at(PyObject *row, Py_ssize_t at, uint64_t *ret_number)
{
    *ret_number = 0;
    if (at >= PySequence_Fast_GET_SIZE(row)) {
        return 0;
    }
    *ret_number = PyLong_AsUnsignedLongLongMask(PySequence_Fast_GET_ITEM(row, at));
    return *ret_number == UINT64_MAX && PyErr_Occurred() ? -1 : 0;
}

static PyObject *
tasks_put(TasksObject *self, PyObject *args)
{
    struct qi_traced_task task;
    uint64_t head[4];
    PyObject *row;
    int is_last;

    memset(&task, 0, sizeof(task));
    if (!PyArg_ParseTuple(args, "Op", &row, &is_last)
        || (row = PySequence_Fast(row, "a row is a sequence")) == NULL) {
        return NULL;
    }
    int r = 0;
    for (Py_ssize_t i = 0; r == 0 && i < 4; i++) {
        r = number_at(row, i, &head[i]);
    }
    for (Py_ssize_t i = 0; r == 0 && i < QI_TASK_COLUMNS; i++) {
        r = number_at(row, 4 + i, &task.column[i]);
    }
    Py_DECREF(row);
    if (r < 0) {
        return NULL;
    }
    task.id = head[1];
    task.state = (uint32_t)head[2];
    task.loop = (uint32_t)head[3];
    task.is_last = (uint8_t)is_last;
    if (qi_traced_row_put((PyObject *)self, &task) < 0) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

static Py_ssize_t
tasks_length(TasksObject *self)
{
    return (Py_ssize_t)self->tasks.count;
}

static void
tasks_dealloc(TasksObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    qi_traced_tasks_free(&self->tasks);
    type->tp_free((PyObject *)self);
    qi_release_type(type, (destructor)tasks_dealloc);
}

int
qi_is_traced_tasks(PyObject *object)
{
    return Py_TYPE(object)->tp_dealloc == (destructor)tasks_dealloc;
}

static PyMethodDef tasks_methods[] = {
    {"put", (PyCFunction)tasks_put, METH_VARARGS,
     PyDoc_STR("put($self, row, is_last, /)\n--\n\n"
               "Takes in a row; one that is the last replaces others, and no other it.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot tasks_slots[] = {
    {Py_tp_doc, (void *)"TraceTasks()\n--\n\nRows of tasks that a recording has kept."},
    {Py_tp_new, (void *)PyType_GenericNew},
    {Py_tp_dealloc, (void *)tasks_dealloc},
    {Py_tp_methods, tasks_methods},
    {Py_sq_length, (void *)tasks_length},
    {0, NULL},
};

static PyType_Spec tasks_spec = {
    .name = "qtinter._core.TraceTasks",
    .basicsize = sizeof(TasksObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = tasks_slots,
};

/* --- the pass ----------------------------------------------------------------------- */

static PyObject *
pass_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", NULL};
    PyObject *known;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:TracePass", names, &known)) {
        return NULL;
    }
    if (!qi_is_traced_tasks(known)) {
        return PyErr_Format(PyExc_TypeError, "TracePass takes a TraceTasks, not %.100s",
                            Py_TYPE(known)->tp_name);
    }
    PassObject *self = (PassObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->known = (TasksObject *)Py_NewRef(known);
        self->pass.known = &self->known->tasks;
    }
    return (PyObject *)self;
}

static void
pass_dealloc(PassObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    qi_trace_pass_free(&self->pass);
    Py_XDECREF(self->known);
    type->tp_free((PyObject *)self);
    qi_release_type(type, (destructor)pass_dealloc);
}

static int
hand_on(PyObject *handlers, const struct qi_record *r)
{
    PyObject *kind = PyLong_FromLong(r->kind);
    PyObject *handler = kind == NULL ? NULL : PyDict_GetItemWithError(handlers, kind);

    Py_XDECREF(kind);
    if (handler == NULL) {
        return PyErr_Occurred() ? -1 : 0;
    }
    Py_INCREF(handler); /* the dictionary is the caller's */
    PyObject *result = PyObject_CallFunction(
        handler, "LIIKK", (long long)r->ts, (unsigned)r->aux, (unsigned)r->x,
        (unsigned long long)r->a, (unsigned long long)r->b);
    Py_DECREF(handler);
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

static PyObject *
pass_feed(PassObject *self, PyObject *args)
{
    long long t0;
    long long t1;
    PyObject *bytes;
    PyObject *handlers;
    struct qi_record record;

    if (!PyArg_ParseTuple(args, "O!LLO!", &PyBytes_Type, &bytes, &t0, &t1, &PyDict_Type,
                          &handlers)) {
        return NULL;
    }
    const char *at = PyBytes_AS_STRING(bytes);
    size_t n = (size_t)PyBytes_GET_SIZE(bytes) / sizeof(record);
    for (size_t i = 0; i < n; i++) {
        memcpy(&record, at + i * sizeof(record), sizeof(record));
        if (record.ts < t0 || record.ts > t1) {
            continue;
        }
        int r = qi_trace_pass_record(&self->pass, &record);
        if (r < 0) {
            return PyErr_NoMemory();
        }
        if (r == 0 && hand_on(handlers, &record) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyObject *
pass_finish(PassObject *self, PyObject *args)
{
    long long kept;
    long long t0;
    long long t1;

    if (!PyArg_ParseTuple(args, "LLL", &kept, &t0, &t1)) {
        return NULL;
    }
    qi_trace_pass_sort(&self->pass);
    if (qi_trace_pass_finish(&self->pass, kept, t0, t1) < 0) {
        return PyErr_NoMemory();
    }
    Py_RETURN_NONE;
}

/* --- tasks of it -------------------------------------------------------------------- */

#define OWN_VALUES 5 /* behind the columns: state, loop, is_new, ended, ready */

/* Times may be below 0, all else is not. */
static PyObject *
value_of(const struct qi_traced_task *task, unsigned at)
{
    switch (at) {
    case QI_TASK_AT_created:
    case QI_TASK_AT_changed:
        return PyLong_FromLongLong((long long)task->column[at]);
    case QI_TASK_COLUMNS:
        return PyLong_FromUnsignedLong(task->state);
    case QI_TASK_COLUMNS + 1:
        return PyLong_FromUnsignedLong(task->loop);
    case QI_TASK_COLUMNS + 2:
        return PyLong_FromLong(task->is_new);
    case QI_TASK_COLUMNS + 3:
        return PyLong_FromLongLong(task->ended);
    case QI_TASK_COLUMNS + 4:
        return PyLong_FromLongLong(task->ready);
    default:
        return PyLong_FromUnsignedLongLong(task->column[at]);
    }
}

static PyObject *
values_of(const struct qi_traced_task *task)
{
    PyObject *list = PyList_New(QI_TASK_COLUMNS + OWN_VALUES);

    for (unsigned i = 0; list != NULL && i < QI_TASK_COLUMNS + OWN_VALUES; i++) {
        PyObject *number = value_of(task, i);
        if (number == NULL) {
            Py_CLEAR(list);
            break;
        }
        PyList_SET_ITEM(list, (Py_ssize_t)i, number);
    }
    return list;
}

/* Borrowed; NULL with an exception: the argument is no int; without: there is none. */
static struct qi_traced_task *
task_by(PassObject *self, PyObject *ident)
{
    if (!PyLong_Check(ident)) {
        PyErr_Format(PyExc_TypeError, "the id of a task is an int, not %.100s",
                     Py_TYPE(ident)->tp_name);
        return NULL;
    }
    unsigned long long id = PyLong_AsUnsignedLongLong(ident);
    if (id == ULLONG_MAX && PyErr_Occurred()) {
        PyErr_Clear(); /* too large, or below 0: no task has it */
        return NULL;
    }
    return qi_traced_task_find(&self->pass.tasks, id);
}

static PyObject *
pass_task(PassObject *self, PyObject *ident)
{
    const struct qi_traced_task *task = task_by(self, ident);

    if (task == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        Py_RETURN_NONE;
    }
    return values_of(task);
}

/* One of the values of a task, without the others; None: there is none. */
static PyObject *
pass_value(PassObject *self, PyObject *args)
{
    PyObject *ident;
    unsigned at;

    if (!PyArg_ParseTuple(args, "OI", &ident, &at)) {
        return NULL;
    }
    const struct qi_traced_task *task = task_by(self, ident);
    if (task == NULL && PyErr_Occurred()) {
        return NULL;
    }
    if (task == NULL || at >= QI_TASK_COLUMNS + OWN_VALUES) {
        Py_RETURN_NONE;
    }
    return value_of(task, at);
}

static PyObject *
pass_call(PassObject *self, PyObject *args)
{
    PyObject *ident;
    unsigned long long slot;

    if (!PyArg_ParseTuple(args, "OK", &ident, &slot)) {
        return NULL;
    }
    struct qi_traced_task *task = task_by(self, ident);
    if (task == NULL && PyErr_Occurred()) {
        return NULL;
    }
    if (task == NULL) {
        Py_RETURN_NONE;
    }
    task->column[QI_TASK_AT_slot] = slot;
    task->column[QI_TASK_AT_role] = 1;
    if (!task->is_new) {
        Py_RETURN_NONE;
    }
    return value_of(task, QI_TASK_AT_created);
}

static int
append_id(PyObject *list, const struct qi_traced_task *task)
{
    PyObject *id = PyLong_FromUnsignedLongLong(task->id);
    int r = id == NULL ? -1 : PyList_Append(list, id);

    Py_XDECREF(id);
    return r;
}

static PyObject *
pass_ids(PassObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);

    for (size_t i = 0; list != NULL && i < self->pass.tasks.count; i++) {
        if (append_id(list, &self->pass.tasks.items[i]) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *
pass_pending(PassObject *self, PyObject *Py_UNUSED(ignored))
{
    PyObject *list = PyList_New(0);

    for (size_t i = 0; list != NULL && i < self->pass.tasks.count; i++) {
        const struct qi_traced_task *task = &self->pass.tasks.items[i];
        if (!qi_state_is_final(QI_TASK, task->state) && append_id(list, task) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *
pass_remarkable(PassObject *self, PyObject *args)
{
    unsigned long long wakes;
    PyObject *list;

    if (!PyArg_ParseTuple(args, "K", &wakes)) {
        return NULL;
    }
    list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < self->pass.tasks.count; i++) {
        const struct qi_traced_task *task = &self->pass.tasks.items[i];
        int ended_well = task->state >= QI_TASK_DONE && task->state <= QI_TASK_CANCELLED;
        if ((!ended_well || task->column[QI_TASK_AT_wakes] >= wakes)
            && append_id(list, task) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *
pass_sum(PassObject *self, PyObject *args)
{
    unsigned column;
    PyObject *sum = PyLong_FromLong(0);

    if (!PyArg_ParseTuple(args, "I", &column)) {
        Py_XDECREF(sum);
        return NULL;
    }
    if (column >= QI_TASK_COLUMNS) {
        Py_XDECREF(sum);
        return PyErr_Format(PyExc_IndexError, "a task has columns 0 to %d, not %u",
                            QI_TASK_COLUMNS - 1, column);
    }
    for (size_t i = 0; sum != NULL && i < self->pass.tasks.count; i++) {
        PyObject *value = value_of(&self->pass.tasks.items[i], column);
        PyObject *more = value == NULL ? NULL : PyNumber_Add(sum, value);
        Py_XDECREF(value);
        Py_SETREF(sum, more);
    }
    return sum;
}

static Py_ssize_t
pass_length(PassObject *self)
{
    return (Py_ssize_t)self->pass.tasks.count;
}

/* --- what it adds up to ------------------------------------------------------------- */

static PyObject *
histogram_of(const struct qi_histogram *h)
{
    PyObject *counts = PyDict_New();

    for (unsigned i = 0; counts != NULL && i < QI_HISTOGRAM_KEYS; i++) {
        if (h->counts[i] == 0) {
            continue;
        }
        PyObject *key = PyLong_FromUnsignedLong(i);
        PyObject *count = PyLong_FromUnsignedLong(h->counts[i]);
        if (key == NULL || count == NULL || PyDict_SetItem(counts, key, count) < 0) {
            Py_CLEAR(counts);
        }
        Py_XDECREF(key);
        Py_XDECREF(count);
    }
    if (counts == NULL) {
        return NULL;
    }
    return Py_BuildValue("(KKKN)", (unsigned long long)h->count,
                         (unsigned long long)h->total, (unsigned long long)h->longest,
                         counts);
}

static PyObject *
longest_of(const struct qi_trace_pass *pass)
{
    PyObject *list = PyList_New(0);

    for (size_t i = 0; list != NULL && i < pass->longest_count; i++) {
        const struct qi_traced_step *s = &pass->longest[i];
        PyObject *step = Py_BuildValue("(KLKKI)", (unsigned long long)s->ns,
                                       (long long)s->end, (unsigned long long)s->task,
                                       (unsigned long long)s->code, (unsigned)s->loop);
        if (step == NULL || PyList_Append(list, step) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(step);
    }
    return list;
}

static PyObject *
pass_totals(PassObject *self, PyObject *Py_UNUSED(ignored))
{
    const struct qi_trace_pass *p = &self->pass;
    size_t made = 0;

    for (size_t i = 0; i < p->tasks.count; i++) {
        made += p->tasks.items[i].is_new;
    }
    return Py_BuildValue(
        "{sN sN sN s(KLK) sn sK sL sL sK sK sK sK}", "step_times",
        histogram_of(&p->steps), "lags", histogram_of(&p->lags), "longest", longest_of(p),
        "lag_most", (unsigned long long)p->lag_most, (long long)p->lag_since,
        (unsigned long long)p->lag_task, "made", (Py_ssize_t)made, "count",
        (unsigned long long)p->count, "last", (long long)p->last, "alive_most",
        (long long)p->alive_most, "turns", (unsigned long long)p->turns, "qt_ns",
        (unsigned long long)p->qt_ns, "asyncio_ns", (unsigned long long)p->asyncio_ns,
        "idle_ns", (unsigned long long)p->idle_ns);
}

static PyMethodDef pass_methods[] = {
    {"feed", (PyCFunction)pass_feed, METH_VARARGS,
     PyDoc_STR("feed($self, records, t0, t1, handlers, /)\n--\n\n"
               "Takes in the records, native ones in bytes, with t0 <= ts <= t1.")},
    {"finish", (PyCFunction)pass_finish, METH_VARARGS,
     PyDoc_STR("finish($self, kept, t0, t1, /)\n--\n\n"
               "Takes from the rows what held at t1; no record may follow.")},
    {"task", (PyCFunction)pass_task, METH_O,
     PyDoc_STR("task($self, id, /)\n--\n\nThe values of a task; None: there is none.")},
    {"value", (PyCFunction)pass_value, METH_VARARGS,
     PyDoc_STR("value($self, id, at, /)\n--\n\nOne of them.")},
    {"call", (PyCFunction)pass_call, METH_VARARGS,
     PyDoc_STR("call($self, id, slot, /)\n--\n\n"
               "A task is a call of a slot: when it was created, if that was in the "
               "range.")},
    {"ids", (PyCFunction)pass_ids, METH_NOARGS,
     PyDoc_STR("ids($self, /)\n--\n\nThe ids of the tasks, in the order they came.")},
    {"pending", (PyCFunction)pass_pending, METH_NOARGS,
     PyDoc_STR("pending($self, /)\n--\n\nThe ids of those that are not over.")},
    {"remarkable", (PyCFunction)pass_remarkable, METH_VARARGS,
     PyDoc_STR("remarkable($self, wakes, /)\n--\n\n"
               "The ids of those that did not end well, or have so many wakes.")},
    {"sum", (PyCFunction)pass_sum, METH_VARARGS,
     PyDoc_STR("sum($self, column, /)\n--\n\nOf a column of all tasks.")},
    {"totals", (PyCFunction)pass_totals, METH_NOARGS,
     PyDoc_STR("totals($self, /)\n--\n\nWhat the records add up to; see _core.pyi.")},
    {NULL, NULL, 0, NULL},
};

static PyType_Slot pass_slots[] = {
    {Py_tp_doc, (void *)"TracePass(known, /)\n--\n\nWhat records say of tasks."},
    {Py_tp_new, (void *)pass_new},
    {Py_tp_dealloc, (void *)pass_dealloc},
    {Py_tp_methods, pass_methods},
    {Py_sq_length, (void *)pass_length},
    {0, NULL},
};

static PyType_Spec pass_spec = {
    .name = "qtinter._core.TracePass",
    .basicsize = sizeof(PassObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = pass_slots,
};

int
qi_trace_pass_init(PyObject *module)
{
    PyTypeObject *tasks = qi_type_new(module, &tasks_spec, NULL);
    PyTypeObject *pass = tasks == NULL ? NULL : qi_type_new(module, &pass_spec, NULL);
    int r = pass == NULL ? -1
                         : PyModule_AddObjectRef(module, "TraceTasks", (PyObject *)tasks);

    if (r == 0) {
        r = PyModule_AddObjectRef(module, "TracePass", (PyObject *)pass);
    }
    Py_XDECREF((PyObject *)tasks);
    Py_XDECREF((PyObject *)pass);
    return r;
}
