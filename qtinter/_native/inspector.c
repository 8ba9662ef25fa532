/*
 * inspector.c - the functions of _core with which qtinter.inspect works.
 *
 * The package decides what is observed and says what only it knows (asyncslots, signal
 * waits, QObjects); what happens with every handle is observed by probe.c.  All functions
 * hold the GIL.
 */
#include "probe_impl.h"

#include <limits.h>
#include <string.h>
#include <time.h>

/* A process has one client, whatever the number of interpreters and modules. */
_Thread_local int qi_probe_held;
uint64_t qi_probe_sessions; /* guarded by the GIL of whoever gets the client */

/*********** making and releasing a probe ***********/

/* [sender] Wakes every loop that runs. */
static void
wake_loops(void *ctx)
{
    struct qi_probe *p = ctx;

    pthread_mutex_lock(&p->wake_lock);
    for (int i = 0; i < QI_LOOPS_WOKEN; i++) {
        if (p->woken[i].loop != NULL) {
            (void)qi_poller_wake(p->woken[i].poller);
        }
    }
    pthread_mutex_unlock(&p->wake_lock);
}

static PyObject *
attribute_or_none(PyObject *object, const char *name)
{
    PyObject *value = PyObject_GetAttrString(object, name);

    if (value == NULL) {
        PyErr_Clear();
    }
    return value;
}

/* type: in whose dict (or whose bases') the descriptor is. */
static void
find_fast(struct qi_fast_attribute *attribute, PyTypeObject *type, const char *name)
{
    PyObject *descr = attribute_or_none((PyObject *)type, name);

    attribute->name = name;
    attribute->type = type;
    if (descr != NULL && Py_IS_TYPE(descr, &PyGetSetDescr_Type)) {
        /* Instances of the class the descriptor is of, which may be a base. */
        attribute->type = ((PyGetSetDescrObject *)descr)->d_common.d_type;
        attribute->get = ((PyGetSetDescrObject *)descr)->d_getset->get;
        attribute->closure = ((PyGetSetDescrObject *)descr)->d_getset->closure;
    }
    Py_XDECREF(descr);
}

/* A method in C that takes nothing; NULL: there is none. */
static PyCFunction
find_method(PyTypeObject *type, const char *name)
{
    PyObject *descr = attribute_or_none((PyObject *)type, name);
    PyCFunction method = NULL;

    if (descr != NULL && Py_IS_TYPE(descr, &PyMethodDescr_Type)
        && PyType_IsSubtype(type, ((PyMethodDescrObject *)descr)->d_common.d_type)
        && ((PyMethodDescrObject *)descr)->d_method->ml_flags == METH_NOARGS) {
        method = ((PyMethodDescrObject *)descr)->d_method->ml_meth;
    }
    Py_XDECREF(descr);
    return method;
}

static int
find_asyncio(struct qi_probe *p, qi_state *st)
{
    PyObject *future = PyObject_GetAttrString(st->futures, "Future");

    if (future == NULL) {
        return -1;
    }
    p->task_type = (PyTypeObject *)PyObject_GetAttrString(st->tasks, "Task");
    p->py_task_type = (PyTypeObject *)attribute_or_none(st->tasks, "_PyTask");
    p->wake_up_sleeper =
        PyObject_GetAttrString(st->futures, "_set_result_unless_cancelled");
    p->gathering_type = attribute_or_none(st->tasks, "_GatheringFuture");
    if (p->task_type == NULL || p->wake_up_sleeper == NULL
        || !PyType_Check((PyObject *)p->task_type) || !PyType_Check(future)) {
        Py_DECREF(future);
        return -1;
    }
    if (p->py_task_type != NULL) {
        p->py_step = attribute_or_none((PyObject *)p->py_task_type, "_Task__step");
        p->py_wakeup = attribute_or_none((PyObject *)p->py_task_type, "_Task__wakeup");
    }
    find_fast(&p->waiter, p->task_type, "_fut_waiter");
    find_fast(&p->coro, p->task_type, "_coro");
    find_fast(&p->state, (PyTypeObject *)future, "_state");
    find_fast(&p->exception, (PyTypeObject *)future, "_exception");
    const struct qi_fast_attribute *four[] = {&p->waiter, &p->coro, &p->state,
                                              &p->exception};
    p->quick_task = p->task_type;
    for (size_t i = 0; i < sizeof(four) / sizeof(four[0]); i++) {
        if (four[i]->get == NULL || !PyType_IsSubtype(p->task_type, four[i]->type)) {
            p->quick_task = NULL;
        }
    }
    p->get_name = find_method(p->task_type, "get_name");
    find_fast(&p->cr_await, &PyCoro_Type, "cr_await");
    find_fast(&p->cr_frame, &PyCoro_Type, "cr_frame");
    find_fast(&p->gi_yieldfrom, &PyGen_Type, "gi_yieldfrom");
    find_fast(&p->gi_frame, &PyGen_Type, "gi_frame");
    /* A base of Task keeps it; asyncio does anyway. */
    if (strcmp(((PyTypeObject *)future)->tp_name, "_asyncio.Future") == 0) {
        p->plain_future = (PyTypeObject *)future;
    }
    else {
        Py_DECREF(future);
    }
    p->str_get_name = PyUnicode_InternFromString("get_name");
    p->str_cr_code = PyUnicode_InternFromString("cr_code");
    p->str_qualname = PyUnicode_InternFromString("__qualname__");
    p->str_cancelling = PyUnicode_InternFromString("cancelling");
    p->str_cancelled = PyUnicode_InternFromString("CANCELLED");
    return p->str_get_name == NULL || p->str_cr_code == NULL || p->str_qualname == NULL
                   || p->str_cancelling == NULL || p->str_cancelled == NULL
               ? -1
               : 0;
}

static void
release(struct qi_probe *p)
{
    qi_known_fini(&p->known);
    for (size_t i = 0; i < p->codes.capacity; i++) {
        if (p->codes.entries[i].object != NULL && p->codes.entries[i].ref == 1) {
            Py_DECREF((PyObject *)p->codes.entries[i].object);
        }
    }
    qi_known_fini(&p->codes);
    for (int i = 0; i < p->step_types_len; i++) {
        Py_DECREF((PyObject *)p->step_types[i].type);
    }
    Py_XDECREF((PyObject *)p->task_type);
    Py_XDECREF((PyObject *)p->py_task_type);
    Py_XDECREF(p->wake_up_sleeper);
    Py_XDECREF(p->gathering_type);
    Py_XDECREF(p->answer);
    Py_XDECREF(p->py_step);
    Py_XDECREF(p->py_wakeup);
    Py_XDECREF(p->adopted);
    Py_XDECREF(p->str_get_name);
    Py_XDECREF(p->str_cr_code);
    Py_XDECREF(p->str_qualname);
    Py_XDECREF(p->str_cancelling);
    Py_XDECREF(p->str_cancelled);
    Py_XDECREF((PyObject *)p->plain_future);
    pthread_mutex_destroy(&p->wake_lock);
    PyMem_Free(p);
}

void
qi_probe_release(struct qi_probe *p)
{
    PyObject *exc = PyErr_Occurred() ? qi_take_exception() : NULL;

    /* The sender may be inside wake_loops(), which takes no lock that we hold. */
    Py_BEGIN_ALLOW_THREADS qi_client_close(p->client, p->close_timeout_ms, p->close_keep);
    Py_END_ALLOW_THREADS release(p);
    if (exc != NULL) {
        qi_raise_exception(exc);
    }
}

void
qi_probe_free(qi_state *st, int timeout_ms, int keep)
{
    struct qi_probe *p = st->probe;

    if (p == NULL) {
        return;
    }
    st->probe = st->observed = NULL;
    p->close_timeout_ms = timeout_ms;
    p->close_keep = keep;
    /* Another thread's hook may be in some Python code: it is soon done with it. */
    for (int ms = 0; p->users > qi_probe_held && ms < timeout_ms; ms++) {
        Py_BEGIN_ALLOW_THREADS nanosleep(&(struct timespec){.tv_nsec = 1000000}, NULL);
        Py_END_ALLOW_THREADS
    }
    p->doomed = 1;
    if (p->users == 0) {
        qi_probe_release(p);
    }
}

/* UTF-8 of a value of the options; NULL if it is absent or None.  -1: wrong type. */
static int
text_option(PyObject *options, const char *name, const char **ret)
{
    PyObject *value = PyDict_GetItemString(options, name); /* borrowed */

    *ret = NULL;
    if (value == NULL || value == Py_None) {
        return 0;
    }
    *ret = PyUnicode_AsUTF8(value);
    return *ret == NULL ? -1 : 0;
}

static int
int_option(PyObject *options, const char *name, int *ret)
{
    PyObject *value = PyDict_GetItemString(options, name); /* borrowed */
    long number;

    if (value == NULL || value == Py_None) {
        return 0;
    }
    number = PyLong_AsLong(value);
    if (number == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (number < INT_MIN || number > INT_MAX) {
        PyErr_Format(PyExc_ValueError, "%s is out of range", name);
        return -1;
    }
    *ret = (int)number;
    return 0;
}

static int
read_options(PyObject *options, struct qi_client_options *ret)
{
    const struct {
        const char *name;
        const char **value;
    } texts[] = {
        {"name", &ret->name},
        {"directory", &ret->directory},
        {"address", &ret->address},
        {"qtinter", &ret->qtinter},
        {"python", &ret->python},
        {"binding", &ret->binding},
        {"qt", &ret->qt},
        {"lints", &ret->lints},
        {"trace_id", &ret->trace_id},
    };

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        if (text_option(options, texts[i].name, texts[i].value) < 0) {
            return -1;
        }
    }
    return int_option(options, "level", &ret->level) < 0
                   || int_option(options, "control", &ret->control) < 0
                   || int_option(options, "ring", &ret->ring_count) < 0
                   || int_option(options, "connect", &ret->connect) < 0
               ? -1
               : 0;
}

struct qi_probe *
qi_inspector_probe(PyObject *module)
{
    struct qi_probe *p = qi_inspector_state(module)->probe;

    if (p == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "inspection is not enabled");
    }
    return p;
}

static PyObject *
inspect_open(PyObject *module, PyObject *options)
{
    qi_state *st = qi_inspector_state(module);
    struct qi_client_options client_options = {.level = 2, .connect = 1};

    if (!PyDict_Check(options)) {
        PyErr_SetString(PyExc_TypeError, "options must be a dict");
        return NULL;
    }
    if (st->probe != NULL) {
        PyErr_SetString(PyExc_RuntimeError, "inspection is enabled already");
        return NULL;
    }
    if (read_options(options, &client_options) < 0) {
        return NULL;
    }
    struct qi_probe *p = PyMem_Calloc(1, sizeof(*p));
    if (p == NULL) {
        return PyErr_NoMemory();
    }
    pthread_mutex_init(&p->wake_lock, NULL);
    p->session = ++qi_probe_sessions;
    p->level = client_options.level;
    p->answer = Py_XNewRef(PyDict_GetItemString(options, "answer"));
    client_options.wake = wake_loops;
    client_options.wake_ctx = p;
    if (find_asyncio(p, st) < 0) {
        release(p);
        return NULL;
    }
    int r = qi_client_open(&client_options, &p->client);
    if (r < 0) {
        PyErr_Format(r == QI_E_INVALID ? PyExc_ValueError
                     : r == QI_E_OS    ? PyExc_OSError
                                       : PyExc_RuntimeError,
                     "cannot enable inspection: %s", qi_client_last_error());
        release(p);
        return NULL;
    }
    st->probe = p;
    qi_probe_set_level(st, p->level);
    Py_RETURN_NONE;
}

static PyObject *
inspect_close(PyObject *module, PyObject *args)
{
    int timeout_ms = 1000;
    int keep = 0;

    if (!PyArg_ParseTuple(args, "|ii", &timeout_ms, &keep)) {
        return NULL;
    }
    qi_probe_free(qi_inspector_state(module), timeout_ms, keep);
    Py_RETURN_NONE;
}

static PyObject *
inspect_is_open(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    return PyBool_FromLong(qi_inspector_state(module)->probe != NULL);
}

/*********** level, counters, files ***********/

static PyObject *
inspect_level(PyObject *module, PyObject *args)
{
    struct qi_probe *p = qi_inspector_probe(module);
    int level = -1;

    if (p == NULL || !PyArg_ParseTuple(args, "|i", &level)) {
        return NULL;
    }
    if (PyTuple_GET_SIZE(args) > 0) {
        if (level < 0 || level > 4) {
            PyErr_Format(PyExc_ValueError, "level must be 0 to 4, not %d", level);
            return NULL;
        }
        if (level >= 2 || p->level < 2) {
            qi_client_set_level(p->client, level);
        }
        qi_record(p->client, qi_probe_now(), QI_EV_LEVEL, 0, (uint32_t)level, 0, 0);
        qi_client_set_level(p->client, level);
        qi_probe_set_level(qi_inspector_state(module), level);
    }
    return PyLong_FromLong(p->level);
}

static PyObject *
inspect_set_binding(PyObject *module, PyObject *args)
{
    struct qi_probe *p = qi_inspector_state(module)->probe;
    const char *binding = NULL;
    const char *qt = NULL;

    if (!PyArg_ParseTuple(args, "ss", &binding, &qt)) {
        return NULL;
    }
    if (p != NULL) {
        qi_client_set_binding(p->client, binding, qt);
    }
    Py_RETURN_NONE;
}

static PyObject *
inspect_stats(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct qi_probe *p = qi_inspector_probe(module);
    struct qi_client_stats s;

    if (p == NULL) {
        return NULL;
    }
    qi_client_stats(p->client, &s);
    return Py_BuildValue(
        "{sK sK sK sK sK sK sK si ss sn sK sL ss}", "connects",
        (unsigned long long)s.connects, "frames", (unsigned long long)s.frames, "bytes",
        (unsigned long long)s.bytes, "rows", (unsigned long long)s.rows, "records",
        (unsigned long long)s.records, "gaps", (unsigned long long)s.gaps, "socket_full",
        (unsigned long long)s.socket_full, "connected", s.connected, "state", s.state,
        "known", (Py_ssize_t)p->known.len, "stacks", (unsigned long long)s.stacks,
        "stack_longest", (long long)s.stack_longest, "stacks_state", s.stacks_state);
}

static PyObject *
inspect_segment_path(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    struct qi_probe *p = qi_inspector_probe(module);
    return p == NULL ? NULL
                     : PyUnicode_DecodeFSDefault(qi_client_segment_path(p->client));
}

static PyObject *
inspect_dump(PyObject *module, PyObject *path)
{
    struct qi_probe *p = qi_inspector_probe(module);
    PyObject *bytes = NULL;

    if (p == NULL || !PyUnicode_FSConverter(path, &bytes)) {
        return NULL;
    }
    int r = qi_client_dump(p->client, PyBytes_AS_STRING(bytes));
    Py_DECREF(bytes);
    if (r < 0) {
        PyErr_Format(PyExc_OSError, "cannot write %R: %s", path, qi_client_last_error());
        return NULL;
    }
    Py_RETURN_NONE;
}

/*********** rows that the package writes ***********/

struct column {
    unsigned kind;
    const char *name;
    size_t offset; /* in struct qi_slot */
    size_t size;
};

#define COLUMN_OF(KIND, member, field)                                                   \
    {QI_##KIND, #field, offsetof(struct qi_slot, row.member.field),                      \
     sizeof(((struct qi_slot *)0)->row.member.field)}

static const struct column columns[] = {
    COLUMN_OF(TASK, task, role),
    COLUMN_OF(TASK, task, slot),
    COLUMN_OF(TASK, task, name),
    COLUMN_OF(TASK, task, creator),
    COLUMN_OF(TASK, task, wait_detail),
    COLUMN_OF(SLOT, slot, name),
    COLUMN_OF(SLOT, slot, code),
    COLUMN_OF(SLOT, slot, receiver),
    COLUMN_OF(SLOT, slot, calls),
    COLUMN_OF(SLOT, slot, live),
    COLUMN_OF(SLOT, slot, overlap_max),
    COLUMN_OF(SLOT, slot, refused),
    COLUMN_OF(SLOT, slot, total),
    COLUMN_OF(SLOT, slot, max),
    COLUMN_OF(SLOT, slot, policy),
    COLUMN_OF(SLOT, slot, created),
    COLUMN_OF(SLOT, slot, last_call),
    COLUMN_OF(SLOT, slot, ignore),
    COLUMN_OF(SLOT, slot, answer),
    COLUMN_OF(WAIT, wait, signal),
    COLUMN_OF(WAIT, wait, sender),
    COLUMN_OF(WAIT, wait, task),
    COLUMN_OF(WAIT, wait, since),
    COLUMN_OF(WAIT, wait, form),
    COLUMN_OF(WAIT, wait, buffered),
    COLUMN_OF(WAIT, wait, dropped),
    COLUMN_OF(WAIT, wait, fired),
    COLUMN_OF(WAIT, wait, sender_alive),
    COLUMN_OF(WAIT, wait, code),
    COLUMN_OF(WAIT, wait, foreign),
    COLUMN_OF(OBJECT, object, name),
    COLUMN_OF(OBJECT, object, created),
    COLUMN_OF(OBJECT, object, destroyed),
    COLUMN_OF(OBJECT, object, parent),
    COLUMN_OF(JOB, job, code),
    COLUMN_OF(JOB, job, task),
    COLUMN_OF(JOB, job, created),
    {QI_OBJECT, "class", offsetof(struct qi_slot, row.object.class_), sizeof(uint32_t)},
};

static const struct column *
find_column(unsigned kind, PyObject *name)
{
    for (size_t i = 0; i < sizeof(columns) / sizeof(columns[0]); i++) {
        if (columns[i].kind == kind
            && PyUnicode_CompareWithASCIIString(name, columns[i].name) == 0) {
            return &columns[i];
        }
    }
    PyErr_Format(PyExc_ValueError, "rows of kind %u have no column %R", kind, name);
    return NULL;
}

static void
put_number(struct qi_slot *slot, const struct column *column, uint64_t value)
{
    char *field = (char *)slot + column->offset;

    switch (column->size) {
    case 1:
        QI_PUT(*(uint8_t *)field, (uint8_t)value);
        break;
    case 2:
        QI_PUT(*(uint16_t *)field, (uint16_t)value);
        break;
    case 4:
        QI_PUT(*(uint32_t *)field, (uint32_t)value);
        break;
    default:
        QI_PUT(*(uint64_t *)field, value);
        break;
    }
}

/* Writes the columns of a dict; the row exists and is of this kind.  0 or -1. */
static int
put_columns(struct qi_probe *p, uint32_t index, unsigned kind, PyObject *values)
{
    struct {
        const struct column *column;
        uint64_t value;
    } todo[sizeof(columns) / sizeof(columns[0])];
    size_t n = 0;
    PyObject *name, *value;
    Py_ssize_t at = 0;

    /* Everything that can fail comes before the row is opened. */
    while (values != NULL && PyDict_Next(values, &at, &name, &value)) {
        todo[n].column = find_column(kind, name);
        if (todo[n].column == NULL) {
            return -1;
        }
        todo[n].value = PyLong_AsUnsignedLongLongMask(value);
        if (todo[n].value == (uint64_t)-1 && PyErr_Occurred()) {
            return -1;
        }
        n++;
    }
    struct qi_slot *slot = qi_row_begin(p->client, index);
    for (size_t i = 0; i < n; i++) {
        put_number(slot, todo[i].column, todo[i].value);
    }
    qi_row_end(p->client, index);
    return 0;
}

static int
check_row(struct qi_probe *p, unsigned long index, unsigned kind)
{
    if (index >= QI_SEGMENT_SLOTS || qi_row_kind(p->client, (uint32_t)index) != kind) {
        PyErr_Format(PyExc_ValueError, "row %lu is not of kind %u", index, kind);
        return -1;
    }
    return 0;
}

static PyObject *
inspect_row_new(PyObject *module, PyObject *args)
{
    struct qi_probe *p = qi_inspector_probe(module);
    unsigned kind;
    PyObject *loop;
    PyObject *values = NULL;
    uint64_t id;
    unsigned number = 0;

    if (p == NULL
        || !PyArg_ParseTuple(args, "IO|O!", &kind, &loop, &PyDict_Type, &values)) {
        return NULL;
    }
    if (PyObject_TypeCheck(loop, qi_inspector_state(module)->LoopType)
        && qi_probe_view(p, (LoopObject *)loop)) {
        number = ((LoopObject *)loop)->view.number;
    }
    uint32_t index = qi_row_new(p->client, kind, number, &id);
    if (index == QI_NO_SLOT) {
        Py_RETURN_NONE;
    }
    if (put_columns(p, index, kind, values) < 0) {
        qi_row_retire(p->client, index, QI_OVER);
        return NULL;
    }
    return Py_BuildValue("(kK)", (unsigned long)index, (unsigned long long)id);
}

static PyObject *
inspect_row_set(PyObject *module, PyObject *args)
{
    struct qi_probe *p = qi_inspector_probe(module);
    unsigned kind;
    unsigned long index;
    PyObject *values;

    if (p == NULL || !PyArg_ParseTuple(args, "IkO!", &kind, &index, &PyDict_Type, &values)
        || check_row(p, index, kind) < 0
        || put_columns(p, (uint32_t)index, kind, values) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
inspect_row_retire(PyObject *module, PyObject *args)
{
    struct qi_probe *p = qi_inspector_probe(module);
    unsigned kind;
    unsigned long index;

    if (p == NULL || !PyArg_ParseTuple(args, "Ik", &kind, &index)
        || check_row(p, index, kind) < 0) {
        return NULL;
    }
    qi_row_retire(p->client, (uint32_t)index, QI_OVER);
    Py_RETURN_NONE;
}

/* inspect_record(kind, loop, x, a, b) */
static PyObject *
inspect_record(PyObject *module, PyObject *args)
{
    struct qi_probe *p = qi_inspector_probe(module);
    unsigned kind, x;
    PyObject *loop;
    unsigned long long a, b;
    unsigned number = 0;

    if (p == NULL || !PyArg_ParseTuple(args, "IOIKK", &kind, &loop, &x, &a, &b)) {
        return NULL;
    }
    if (PyObject_TypeCheck(loop, qi_inspector_state(module)->LoopType)) {
        number = ((LoopObject *)loop)->view.number;
    }
    qi_probe_note(p, qi_probe_now(), kind, number, x, a, b);
    Py_RETURN_NONE;
}

/* inspect_mark(name): of no loop; nothing happens while inspection is off */
static PyObject *
inspect_mark(PyObject *module, PyObject *name)
{
    struct qi_probe *p = qi_inspector_state(module)->probe;

    if (p != NULL) {
        qi_probe_note(p, qi_probe_now(), QI_EV_MARK, 0, qi_name_text(p, name), 0, 0);
    }
    Py_RETURN_NONE;
}

/*********** names, objects, causes ***********/

static PyObject *
inspect_text(PyObject *module, PyObject *text)
{
    struct qi_probe *p = qi_inspector_probe(module);
    return p == NULL ? NULL : PyLong_FromUnsignedLong(qi_name_text(p, text));
}

static PyObject *
inspect_code(PyObject *module, PyObject *callable)
{
    struct qi_probe *p = qi_inspector_probe(module);

    if (p == NULL) {
        return NULL;
    }
    qi_probe_hold(p);
    uint32_t code = qi_name_callable(p, callable);
    (void)qi_probe_let_go(p);
    return PyLong_FromUnsignedLong(code);
}

/* inspect_known(object, kind, id): whoever waits for the object waits for that row. */
static PyObject *
inspect_known(PyObject *module, PyObject *args)
{
    struct qi_probe *p = qi_inspector_probe(module);
    PyObject *object;
    unsigned kind;
    unsigned long long id;
    unsigned long row = QI_NO_SLOT;

    if (p == NULL || !PyArg_ParseTuple(args, "OIK|k", &object, &kind, &id, &row)) {
        return NULL;
    }
    struct qi_known *known = qi_known_enter(&p->known, object, QI_MAX_KNOWN);
    if (known != NULL) {
        known->ref = QI_REF(kind, id);
        known->row = (uint32_t)row;
        p->had_jobs |= kind == QI_JOB;
    }
    Py_RETURN_NONE;
}

static PyObject *
inspect_forget(PyObject *module, PyObject *object)
{
    struct qi_probe *p = qi_inspector_probe(module);

    if (p == NULL) {
        return NULL;
    }
    qi_known_remove(&p->known, object);
    Py_RETURN_NONE;
}

/* inspect_adopt_tasks(loop, tasks): those that exist when the inspection begins. */
static PyObject *
inspect_adopt_tasks(PyObject *module, PyObject *args)
{
    qi_state *st = qi_inspector_state(module);
    struct qi_probe *p = qi_inspector_probe(module);
    PyObject *loop, *tasks;

    if (p == NULL
        || !PyArg_ParseTuple(args, "O!O!", st->LoopType, &loop, &PyList_Type, &tasks)) {
        return NULL;
    }
    qi_probe_hold(p);
    /* All are known before one is said to wait for another. */
    for (int pass = 0; pass < 2; pass++) {
        for (Py_ssize_t i = 0; i < PyList_GET_SIZE(tasks); i++) {
            qi_probe_adopt_task((LoopObject *)loop, PyList_GET_ITEM(tasks, i), pass);
        }
    }
    (void)qi_probe_let_go(p);
    Py_RETURN_NONE;
}

/* The task whose step is running: what is known of it begins here. */
static PyObject *
inspect_adopt_running(PyObject *module, PyObject *args)
{
    struct qi_probe *p = qi_inspector_probe(module);
    PyObject *loop, *task;

    if (p == NULL
        || !PyArg_ParseTuple(args, "O!O", qi_inspector_state(module)->LoopType, &loop,
                             &task)) {
        return NULL;
    }
    qi_probe_adopt_running((LoopObject *)loop, task);
    Py_RETURN_NONE;
}

/* A task that is pending is being freed. */
static PyObject *
inspect_task_gone(PyObject *module, PyObject *args)
{
    struct qi_probe *p = qi_inspector_probe(module);
    PyObject *loop, *task;

    if (p == NULL
        || !PyArg_ParseTuple(args, "O!O", qi_inspector_state(module)->LoopType, &loop,
                             &task)) {
        return NULL;
    }
    qi_probe_task_gone((LoopObject *)loop, task);
    Py_RETURN_NONE;
}

/* inspect_step(loop, task, coro, step): calls step(), which runs the first step of the
   task, and observes it. */
static PyObject *
inspect_step(PyObject *module, PyObject *args)
{
    qi_state *st = qi_inspector_state(module);
    struct qi_probe *p = st->observed;
    uint64_t session = p == NULL ? 0 : p->session;
    PyObject *loop, *task, *coro, *step;
    struct qi_step_token token;

    if (!PyArg_ParseTuple(args, "OOOO", &loop, &task, &coro, &step)) {
        return NULL;
    }
    if (p == NULL || !PyObject_TypeCheck(loop, st->LoopType)) {
        return PyObject_CallNoArgs(step);
    }
    qi_probe_step_begins((LoopObject *)loop, task, coro, &token);
    PyObject *result = PyObject_CallNoArgs(step);
    if (st->observed == p && p->session == session) {
        PyObject *exc = result == NULL ? qi_take_exception() : NULL;
        qi_probe_step_ended((LoopObject *)loop, task, &token);
        if (exc != NULL) {
            qi_raise_exception(exc);
        }
    }
    return result;
}

/* inspect_cause(kind, id): what the emission under way is; 0, 0: nothing. */
static PyObject *
inspect_cause(PyObject *module, PyObject *args)
{
    struct qi_probe *p = qi_inspector_probe(module);
    unsigned kind;
    unsigned long long id;

    if (p == NULL || !PyArg_ParseTuple(args, "IK", &kind, &id)) {
        return NULL;
    }
    p->cause = QI_REF(kind, id);
    p->caused = 0;
    Py_RETURN_NONE;
}

/* The ref of what runs on a loop: (kind, id). */
static PyObject *
inspect_current(PyObject *module, PyObject *loop)
{
    struct qi_probe *p = qi_inspector_probe(module);

    if (p == NULL) {
        return NULL;
    }
    if (!PyObject_TypeCheck(loop, qi_inspector_state(module)->LoopType)) {
        return Py_BuildValue("(iK)", 0, 0ULL);
    }
    uint64_t current = ((LoopObject *)loop)->view.current;
    return Py_BuildValue("(IK)", QI_REF_KIND(current),
                         (unsigned long long)QI_REF_ID(current));
}

/* A loop that runs already when the inspection begins. */
static PyObject *
inspect_adopt_loop(PyObject *module, PyObject *loop)
{
    struct qi_probe *p = qi_inspector_probe(module);

    if (p == NULL) {
        return NULL;
    }
    if (!PyObject_TypeCheck(loop, qi_inspector_state(module)->LoopType)) {
        PyErr_SetString(PyExc_TypeError, "not a loop of qtinter");
        return NULL;
    }
    return qi_probe_adopt_loop((LoopObject *)loop) < 0 ? NULL : Py_NewRef(Py_None);
}

/*********** table ***********/

PyMethodDef qi_inspector_functions[] = {
    {"inspect_open", inspect_open, METH_O, NULL},
    {"inspect_close", inspect_close, METH_VARARGS, NULL},
    {"inspect_is_open", inspect_is_open, METH_NOARGS, NULL},
    {"inspect_level", inspect_level, METH_VARARGS, NULL},
    {"inspect_set_binding", inspect_set_binding, METH_VARARGS, NULL},
    {"inspect_stats", inspect_stats, METH_NOARGS, NULL},
    {"inspect_segment_path", inspect_segment_path, METH_NOARGS, NULL},
    {"inspect_dump", inspect_dump, METH_O, NULL},
    {"inspect_row_new", inspect_row_new, METH_VARARGS, NULL},
    {"inspect_row_set", inspect_row_set, METH_VARARGS, NULL},
    {"inspect_row_retire", inspect_row_retire, METH_VARARGS, NULL},
    {"inspect_record", inspect_record, METH_VARARGS, NULL},
    {"inspect_mark", inspect_mark, METH_O, NULL},
    {"inspect_text", inspect_text, METH_O, NULL},
    {"inspect_code", inspect_code, METH_O, NULL},
    {"inspect_known", inspect_known, METH_VARARGS, NULL},
    {"inspect_forget", inspect_forget, METH_O, NULL},
    {"inspect_step", inspect_step, METH_VARARGS, NULL},
    {"inspect_cause", inspect_cause, METH_VARARGS, NULL},
    {"inspect_current", inspect_current, METH_O, NULL},
    {"inspect_adopt_tasks", inspect_adopt_tasks, METH_VARARGS, NULL},
    {"inspect_adopt_running", inspect_adopt_running, METH_VARARGS, NULL},
    {"inspect_task_gone", inspect_task_gone, METH_VARARGS, NULL},
    {"inspect_adopt_loop", inspect_adopt_loop, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};
