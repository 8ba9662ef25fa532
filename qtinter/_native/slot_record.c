/*
 * slot_record.c - counting the invocations of an asyncslot; see slot_record.h.
 *
 * qtinter/inspect/_observer.py makes a record when it sees a slot for the first time;
 * what each emission does is here, in the path that slot_call.c makes fast.
 */
#include "slot_record.h"

#include "probe_impl.h"

typedef struct {
    PyObject_HEAD
    qi_state *st;           /* borrowed: the type keeps the module alive */
    PyObject *links;        /* list of the weak references that tell of the end */
    const PyObject *object; /* the receiver, for comparing; NULL: none */
    uint64_t session;       /* of the probe that has the row */
    uint64_t id, receiver;
    uint64_t total, max; /* ns, of invocations that have ended */
    uint32_t row;        /* QI_NO_SLOT once it is over */
    uint32_t calls, live, overlap, refused;
} SlotRecordObject;

/* Done callback of an invocation. */
typedef struct {
    PyObject_HEAD
    SlotRecordObject *record;
    PyObject *loop;
    int64_t began;
    uint64_t id; /* of its task */
} SlotCallEndObject;

/* The probe that the record's row is of; NULL: it is over. */
static struct qi_probe *
probe_of(const SlotRecordObject *self)
{
    struct qi_probe *p = self->st->probe;

    return p != NULL && p->session == self->session && self->row != QI_NO_SLOT ? p : NULL;
}

static unsigned
number_of(const qi_state *st, PyObject *loop)
{
    return PyObject_TypeCheck(loop, st->LoopType) ? ((LoopObject *)loop)->view.number : 0;
}

static void
show(struct qi_probe *p, const SlotRecordObject *self, int64_t called)
{
    struct qi_slot_row *row = &qi_row_begin(p->client, self->row)->row.slot;

    QI_PUT(row->calls, self->calls);
    QI_PUT(row->live, self->live);
    QI_PUT(row->overlap_max, self->overlap);
    QI_PUT(row->total, self->total);
    QI_PUT(row->max, self->max);
    if (called != 0) {
        QI_PUT(row->last_call, called);
    }
    qi_row_end(p->client, self->row);
}

/*--- the state of a task, which may be one of the user's own ---*/

/* The truth of a method without arguments; 0 if there is no such method, -1 with an
   exception. */
static int
ask(PyObject *task, PyObject *method)
{
    PyObject *r = PyObject_CallMethodObjArgs(task, method, NULL);

    if (r == NULL) {
        if (!PyErr_ExceptionMatches(PyExc_AttributeError)) {
            return -1;
        }
        PyErr_Clear();
        return 0;
    }
    int truth = PyObject_IsTrue(r);
    Py_DECREF(r);
    return truth;
}

/* How an invocation has ended, as enum qi_task_state; -1 with an exception. */
static int
state_of(const qi_state *st, PyObject *task)
{
    int cancelled = task == Py_None ? 0 : ask(task, st->str_is_cancelled);

    if (cancelled != 0) {
        return cancelled < 0 ? -1 : QI_TASK_CANCELLED;
    }
    /* Not exception(): that would pass for somebody having looked at it. */
    PyObject *exception = PyObject_GetAttr(task, st->str_exception_of);
    if (exception == NULL) {
        PyErr_Clear();
    }
    int failed = exception != NULL && exception != Py_None;
    Py_XDECREF(exception);
    return failed ? QI_TASK_FAILED : QI_TASK_DONE;
}

/*--- the end of an invocation ---*/

static PyObject *
slot_call_end_call(SlotCallEndObject *self, PyObject *args, PyObject *kwargs)
{
    SlotRecordObject *record = self->record;
    PyObject *task;
    (void)kwargs;

    if (!PyArg_ParseTuple(args, "O:SlotCallEnd", &task)) {
        return NULL;
    }
    int state = state_of(record->st, task);
    struct qi_probe *p = probe_of(record);
    if (state >= 0 && p != NULL) {
        int64_t now = qi_probe_now();
        uint64_t duration = now > self->began ? (uint64_t)(now - self->began) : 0;
        record->live--;
        record->total += duration;
        record->max = record->max > duration ? record->max : duration;
        qi_probe_note(p, now, QI_EV_SLOT_ENDED, number_of(record->st, self->loop),
                      (uint32_t)state, self->id, record->id);
        show(p, record, 0);
    }
    return state < 0 ? NULL : Py_NewRef(Py_None);
}

static int
slot_call_end_traverse(SlotCallEndObject *self, visitproc visit, void *arg)
{
    QI_VISIT_TYPE(self);
    Py_VISIT(self->record);
    Py_VISIT(self->loop);
    return 0;
}

static int
slot_call_end_clear(SlotCallEndObject *self)
{
    Py_CLEAR(self->loop);
    return 0;
}

static void
slot_call_end_dealloc(SlotCallEndObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)slot_call_end_clear(self);
    Py_XDECREF(self->record);
    type->tp_free(self);
    qi_release_type(type, (destructor)slot_call_end_dealloc);
}

/* Has the end of the task counted.  0, or -1 with an exception. */
static int
watch(SlotRecordObject *self, PyObject *loop, PyObject *task, int64_t began, uint64_t id)
{
    PyTypeObject *type = self->st->SlotCallEndType;
    SlotCallEndObject *end = (SlotCallEndObject *)type->tp_alloc(type, 0);

    if (end == NULL) {
        return -1;
    }
    end->record = (SlotRecordObject *)Py_NewRef(self);
    end->loop = Py_NewRef(loop);
    end->began = began;
    end->id = id;
    PyObject *r = PyObject_CallMethodObjArgs(task, self->st->str_add_done_callback,
                                             (PyObject *)end, NULL);
    Py_DECREF(end);
    Py_XDECREF(r);
    return r == NULL ? -1 : 0;
}

/*--- the beginning of an invocation ---*/

int
qi_slot_record_is_of(PyObject *record, const qi_state *st, const PyObject *receiver)
{
    return record != NULL && Py_TYPE(record) == st->SlotRecordType
           && ((SlotRecordObject *)record)->object == receiver
           && probe_of((SlotRecordObject *)record) != NULL;
}

void
qi_slot_record_calling(PyObject *record)
{
    SlotRecordObject *self = (SlotRecordObject *)record;
    struct qi_probe *p = probe_of(self);

    if (p != NULL) {
        p->cause = QI_REF(QI_SLOT, self->id);
        p->caused = 0;
    }
}

/* The id of the task, which is pending; 0 if there was no room. */
static uint64_t
task_id(struct qi_probe *p, const qi_state *st, PyObject *loop, PyObject *task)
{
    struct qi_known *known = qi_known_find(&p->known, task);

    if (known == NULL && PyObject_TypeCheck(loop, st->LoopType)) {
        qi_probe_task_made((LoopObject *)loop, task, NULL);
        known = st->probe == p ? qi_known_find(&p->known, task) : NULL;
    }
    return known == NULL ? 0 : QI_REF_ID(known->ref);
}

int
qi_slot_record_wants_signal(PyObject *record)
{
    struct qi_probe *p = probe_of((SlotRecordObject *)record);

    return p != NULL && p->level >= 3;
}

static uint32_t
text_id(struct qi_probe *p, PyObject *text)
{
    return text != NULL && PyUnicode_Check(text) && PyUnicode_GET_LENGTH(text) > 0
               ? qi_name_text(p, text)
               : 0;
}

int
qi_slot_record_called(PyObject *record, PyObject *loop, PyObject *task,
                      const struct qi_emission *emission)
{
    SlotRecordObject *self = (SlotRecordObject *)record;
    const qi_state *st = self->st;
    struct qi_probe *p = probe_of(self);

    if (p == NULL) {
        return 0;
    }
    uint64_t id = p->caused;
    p->cause = p->caused = 0;
    if (task == Py_None) {
        return 0;
    }
    /* What a runner of the user's own returned may have no such methods. */
    int can_tell = PyObject_HasAttr(task, st->str_done)
                   && PyObject_HasAttr(task, st->str_add_done_callback);
    int done = can_tell ? ask(task, st->str_done) : 1;
    int state = done > 0 ? state_of(st, task) : 0;
    if (done < 0 || state < 0) {
        return -1;
    }
    if (!done) {
        uint64_t found = task_id(p, st, loop, task);
        id = found != 0 ? found : id;
    }
    p = probe_of(self); /* the task's methods may have ended it */
    if (p == NULL) {
        return 0;
    }
    int64_t now = qi_probe_now();
    unsigned number = number_of(st, loop);
    if (!done && watch(self, loop, task, now, id) < 0) {
        return -1;
    }
    self->calls++;
    self->live += !done;
    uint32_t most = self->live > 0 ? self->live : 1;
    self->overlap = self->overlap > most ? self->overlap : most;
    qi_probe_note(p, now, QI_EV_SLOT_CALLED, number, text_id(p, emission->signal), id,
                  self->id);
    if (done) {
        qi_probe_note(p, now, QI_EV_SLOT_ENDED, number, (uint32_t)state, id, self->id);
    }
    uint32_t answer = done ? 0 : text_id(p, emission->answer);
    if (answer != 0) {
        QI_PUT(qi_row_begin(p->client, self->row)->row.slot.answer, answer);
        qi_row_end(p->client, self->row);
    }
    show(p, self, now);
    return 0;
}

/*--- the type ---*/

static PyObject *
slot_record_calling(SlotRecordObject *self, PyObject *Py_UNUSED(ignored))
{
    qi_slot_record_calling((PyObject *)self);
    Py_RETURN_NONE;
}

static PyObject *
slot_record_called(SlotRecordObject *self, PyObject *args)
{
    PyObject *loop, *task;
    struct qi_emission emission;

    if (!PyArg_ParseTuple(args, "OOOO:called", &loop, &task, &emission.answer,
                          &emission.signal)
        || qi_slot_record_called((PyObject *)self, loop, task, &emission) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

static PyObject *
slot_record_refused(SlotRecordObject *self, PyObject *args)
{
    struct qi_probe *p = probe_of(self);
    PyObject *loop;
    unsigned policy;

    if (!PyArg_ParseTuple(args, "OI:refused", &loop, &policy)) {
        return NULL;
    }
    if (p != NULL) {
        self->refused++;
        QI_PUT(qi_row_begin(p->client, self->row)->row.slot.refused, self->refused);
        qi_row_end(p->client, self->row);
        qi_probe_note(p, qi_probe_now(), QI_EV_SLOT_REFUSED, number_of(self->st, loop),
                      policy, self->id, 0);
    }
    Py_RETURN_NONE;
}

static PyObject *
slot_record_retire(SlotRecordObject *self, PyObject *Py_UNUSED(ignored))
{
    struct qi_probe *p = probe_of(self);

    if (p != NULL) {
        qi_row_retire(p->client, self->row, QI_OVER);
    }
    self->row = QI_NO_SLOT;
    Py_RETURN_NONE;
}

static PyObject *
slot_record_number(SlotRecordObject *self, void *which)
{
    return PyLong_FromUnsignedLongLong(*(const char *)which == 'i' ? self->id
                                                                   : self->receiver);
}

static PyObject *
slot_record_links(SlotRecordObject *self, void *Py_UNUSED(closure))
{
    return Py_NewRef(self->links);
}

/* SlotRecord(row, id, receiver_id, receiver) */
static PyObject *
slot_record_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    qi_state *st = qi_state_of_type(type);
    unsigned row;
    unsigned long long id, receiver;
    PyObject *object;

    if (kwargs != NULL && PyDict_GET_SIZE(kwargs) > 0) {
        PyErr_SetString(PyExc_TypeError, "SlotRecord() takes no keyword arguments");
        return NULL;
    }
    if (!PyArg_ParseTuple(args, "IKKO:SlotRecord", &row, &id, &receiver, &object)) {
        return NULL;
    }
    if (st->probe == NULL || row >= QI_SEGMENT_SLOTS
        || qi_row_kind(st->probe->client, row) != QI_SLOT) {
        return PyErr_Format(PyExc_ValueError, "row %u is not of a slot", row);
    }
    SlotRecordObject *self = (SlotRecordObject *)type->tp_alloc(type, 0);
    if (self != NULL) {
        self->st = st;
        self->object = object == Py_None ? NULL : object;
        self->session = st->probe->session;
        self->row = row;
        self->id = id;
        self->receiver = receiver;
        self->links = PyList_New(0);
        if (self->links == NULL) {
            Py_CLEAR(self);
        }
    }
    return (PyObject *)self;
}

static int
slot_record_traverse(SlotRecordObject *self, visitproc visit, void *arg)
{
    QI_VISIT_TYPE(self);
    Py_VISIT(self->links);
    return 0;
}

static int
slot_record_clear(SlotRecordObject *self)
{
    Py_CLEAR(self->links);
    return 0;
}

static void
slot_record_dealloc(SlotRecordObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)slot_record_clear(self);
    type->tp_free(self);
    qi_release_type(type, (destructor)slot_record_dealloc);
}

static PyMethodDef slot_record_methods[] = {
    {"calling", (PyCFunction)slot_record_calling, METH_NOARGS,
     PyDoc_STR("calling($self, /)\n--\n\n"
               "An emission is about to start an invocation.")},
    {"called", (PyCFunction)slot_record_called, METH_VARARGS,
     PyDoc_STR("called($self, loop, task, answer, signal, /)\n--\n\n"
               "The first step of its task has run; None: there is none.")},
    {"refused", (PyCFunction)slot_record_refused, METH_VARARGS,
     PyDoc_STR("refused($self, loop, policy, /)\n--\n\n"
               "An emission has started nothing.")},
    {"retire", (PyCFunction)slot_record_retire, METH_NOARGS,
     PyDoc_STR("retire($self, /)\n--\n\nThe slot or its receiver is gone.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef slot_record_attributes[] = {
    {"id", (getter)slot_record_number, NULL, NULL, "id"},
    {"receiver", (getter)slot_record_number, NULL, PyDoc_STR("Its id."), "receiver"},
    {"links", (getter)slot_record_links, NULL, PyDoc_STR("What tells of the end."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot slot_record_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("SlotRecord(row, id, receiver_id, receiver, /)\n--\n\n"
                                  "What is counted of an asyncslot and a receiver.")},
    {Py_tp_new, (void *)slot_record_new},
    {Py_tp_dealloc, (void *)slot_record_dealloc},
    {Py_tp_traverse, (void *)slot_record_traverse},
    {Py_tp_clear, (void *)slot_record_clear},
    {Py_tp_methods, slot_record_methods},
    {Py_tp_getset, slot_record_attributes},
    {0, NULL},
};

static PyType_Spec slot_record_spec = {
    .name = "qtinter._core.SlotRecord",
    .basicsize = sizeof(SlotRecordObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slot_record_slots,
};

static PyType_Slot slot_call_end_slots[] = {
    {Py_tp_doc, (void *)PyDoc_STR("Counts the end of an invocation.")},
    {Py_tp_call, (void *)slot_call_end_call},
    {Py_tp_dealloc, (void *)slot_call_end_dealloc},
    {Py_tp_traverse, (void *)slot_call_end_traverse},
    {Py_tp_clear, (void *)slot_call_end_clear},
    {0, NULL},
};

static PyType_Spec slot_call_end_spec = {
    .name = "qtinter._core.SlotCallEnd",
    .basicsize = sizeof(SlotCallEndObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC | Py_TPFLAGS_IMMUTABLETYPE,
    .slots = slot_call_end_slots,
};

int
qi_slot_record_init_types(PyObject *module)
{
    qi_state *st = *(qi_state **)PyModule_GetState(module);

    st->SlotRecordType = qi_type_new(module, &slot_record_spec, NULL);
    st->SlotCallEndType = qi_type_new(module, &slot_call_end_spec, NULL);
    if (st->SlotRecordType == NULL || st->SlotCallEndType == NULL) {
        return -1;
    }
    return PyModule_AddObjectRef(module, "SlotRecord", (PyObject *)st->SlotRecordType);
}
