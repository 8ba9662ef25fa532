/*
 * trace_py.c - recordings for Python: TraceReader.
 *
 * The file may be anybody's and hold any bytes: proto/trace_read.c sees to that.  Files
 * are read and unpacked without the GIL; reading changes nothing of a reader, so several
 * threads may do it.
 */
#include "probe_impl.h"

#include "columns.h"
#include "rows.h"
#include "state.h"
#include "trace_py.h"
#include "trace_read.h"

#include <string.h>

typedef struct {
    PyObject_HEAD
    struct qi_trace trace;
    int is_open;
    Py_buffer buffer; /* .obj NULL: a file */
    PyObject *source; /* the path, or a text that stands for the bytes */
    PyObject *header, *chunks, *problems;
} ReaderObject;

/* Appends an object, which may be NULL with an exception; takes the reference. */
static int
append_new(PyObject *list, PyObject *object)
{
    int r = object == NULL ? -1 : PyList_Append(list, object);

    Py_XDECREF(object);
    return r;
}

static int
set_new(PyObject *dict, const char *name, PyObject *object)
{
    int r = object == NULL ? -1 : PyDict_SetItemString(dict, name, object);

    Py_XDECREF(object);
    return r;
}

/* --- values ----------------------------------------------------------------------- */

static PyObject *object_of(const struct qi_value *value);

static PyObject *
list_of(const struct qi_value *value)
{
    struct qi_cursor cursor = qi_cursor_in(value);
    PyObject *list = PyList_New(0);
    struct qi_value item;

    while (list != NULL && qi_cursor_next(&cursor, &item)) {
        if (append_new(list, object_of(&item)) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *
dict_of(const struct qi_value *value)
{
    struct qi_cursor cursor = qi_cursor_in(value);
    PyObject *dict = PyDict_New();
    struct qi_value key;
    struct qi_value item;

    while (dict != NULL && qi_cursor_next(&cursor, &key)
           && qi_cursor_next(&cursor, &item)) {
        if (key.type > QI_VALUE_BYTES) {
            continue; /* nothing of ours has such a key */
        }
        PyObject *name = object_of(&key);
        PyObject *object = name == NULL ? NULL : object_of(&item);
        if (object == NULL || PyDict_SetItem(dict, name, object) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(name);
        Py_XDECREF(object);
    }
    return dict;
}

/* Nested no deeper than QI_DEPTH_MAX: the frame was looked at. */
static PyObject *
object_of(const struct qi_value *value)
{
    switch (value->type) {
    case QI_VALUE_BOOL:
        return PyBool_FromLong(value->u != 0);
    case QI_VALUE_UINT:
        return PyLong_FromUnsignedLongLong(value->u);
    case QI_VALUE_NEGATIVE:
        return PyLong_FromLongLong(value->i);
    case QI_VALUE_FLOAT:
        return PyFloat_FromDouble(value->f);
    case QI_VALUE_TEXT:
        return PyUnicode_DecodeUTF8((const char *)value->bytes, (Py_ssize_t)value->size,
                                    "replace");
    case QI_VALUE_BYTES:
        return PyBytes_FromStringAndSize((const char *)value->bytes,
                                         (Py_ssize_t)value->size);
    case QI_VALUE_LIST:
        return list_of(value);
    case QI_VALUE_MAP:
        return dict_of(value);
    default:
        Py_RETURN_NONE;
    }
}

/* --- errors ----------------------------------------------------------------------- */

static PyObject *
raise_status(ReaderObject *self, int status)
{
    uint64_t major = 0;
    uint64_t minor = 0;

    if (status == QI_TRACE_READ_E_OS) {
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, self->source);
    }
    if (status == QI_TRACE_READ_E_NOMEM) {
        return PyErr_NoMemory();
    }
    if (status == QI_TRACE_READ_E_MAJOR) {
        (void)qi_value_uint(&self->trace.fields[QI_TRACE_KEY_major], &major);
        (void)qi_value_uint(&self->trace.fields[QI_TRACE_KEY_minor], &minor);
        return PyErr_Format(PyExc_ValueError,
                            "%S: a recording of version %llu.%llu; this qtinter reads "
                            "version %d",
                            self->source, (unsigned long long)major,
                            (unsigned long long)minor, QI_TRACE_MAJOR);
    }
    return PyErr_Format(PyExc_ValueError, "%S: %s", self->source,
                        qi_trace_read_text(status));
}

static PyObject *
raise_in_chunk(ReaderObject *self, const struct qi_trace_place *place, int status)
{
    if (status == QI_TRACE_READ_E_OS || status == QI_TRACE_READ_E_NOMEM) {
        return raise_status(self, status);
    }
    return PyErr_Format(PyExc_ValueError, "%S: chunk %llu: %s", self->source,
                        (unsigned long long)place->seq, qi_trace_read_text(status));
}

/* --- opening ---------------------------------------------------------------------- */

static PyObject *
header_of(const struct qi_trace *t)
{
    static const char *const names[QI_TRACE_KEYS] = {
        [QI_TRACE_KEY_pid] = "pid",         [QI_TRACE_KEY_start] = "start",
        [QI_TRACE_KEY_name] = "name",       [QI_TRACE_KEY_mono0] = "mono0",
        [QI_TRACE_KEY_wall0] = "wall0",     [QI_TRACE_KEY_level] = "level",
        [QI_TRACE_KEY_control] = "control", [QI_TRACE_KEY_versions] = "versions",
        [QI_TRACE_KEY_host] = "host",       [QI_TRACE_KEY_redacted] = "redacted",
        [QI_TRACE_KEY_writer] = "writer",   [QI_TRACE_KEY_trace_id] = "trace_id",
    };
    /* What a file that leaves something out is taken to say. */
    static const char types[QI_TRACE_KEYS] = {
        [QI_TRACE_KEY_pid] = 'i',     [QI_TRACE_KEY_start] = 'i',
        [QI_TRACE_KEY_name] = 's',    [QI_TRACE_KEY_mono0] = 'i',
        [QI_TRACE_KEY_wall0] = 'i',   [QI_TRACE_KEY_level] = 'i',
        [QI_TRACE_KEY_control] = 'b', [QI_TRACE_KEY_versions] = 'm',
        [QI_TRACE_KEY_host] = 's',    [QI_TRACE_KEY_redacted] = 'b',
        [QI_TRACE_KEY_writer] = 's',  [QI_TRACE_KEY_trace_id] = 's',
    };
    PyObject *dict = PyDict_New();
    uint64_t major = 0;
    uint64_t minor = 0;

    (void)qi_value_uint(&t->fields[QI_TRACE_KEY_major], &major);
    (void)qi_value_uint(&t->fields[QI_TRACE_KEY_minor], &minor);
    if (dict == NULL
        || set_new(dict, "format",
                   Py_BuildValue("(KK)", (unsigned long long)major,
                                 (unsigned long long)minor))
               < 0) {
        Py_XDECREF(dict);
        return NULL;
    }
    for (int key = 0; key < QI_TRACE_KEYS; key++) {
        const struct qi_value *v = &t->fields[key];
        struct qi_value otherwise = {.type = QI_VALUE_UINT};
        int fits = v->type == QI_VALUE_UINT || v->type == QI_VALUE_NEGATIVE;
        if (names[key] == NULL) {
            continue;
        }
        if (types[key] == 's') {
            otherwise.type = QI_VALUE_TEXT;
            fits = v->type == QI_VALUE_TEXT;
        }
        else if (types[key] == 'b') {
            otherwise.type = QI_VALUE_BOOL;
            fits = v->type == QI_VALUE_BOOL;
        }
        else if (types[key] == 'm') {
            otherwise.type = QI_VALUE_MAP;
            fits = v->type == QI_VALUE_MAP;
        }
        otherwise.bytes = (const uint8_t *)"";
        if (set_new(dict, names[key], object_of(fits ? v : &otherwise)) < 0) {
            Py_DECREF(dict);
            return NULL;
        }
    }
    return dict;
}

static PyObject *
chunks_of(const struct qi_trace *t)
{
    PyObject *list = PyList_New(0);

    for (size_t i = 0; list != NULL && i < t->count; i++) {
        const struct qi_trace_place *p = &t->chunks[i];
        if (append_new(list,
                       Py_BuildValue("(KLLKIIK)", (unsigned long long)p->seq,
                                     (long long)p->t0, (long long)p->t1,
                                     (unsigned long long)p->first, (unsigned)p->n,
                                     (unsigned)p->flags, (unsigned long long)p->size))
            < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

static PyObject *
problems_of(const struct qi_trace *t)
{
    PyObject *list = PyList_New(0);
    size_t n = t->problem_count < QI_TRACE_PROBLEMS_MAX ? t->problem_count
                                                        : QI_TRACE_PROBLEMS_MAX;

    for (size_t i = 0; list != NULL && i < n; i++) {
        if (append_new(list, PyUnicode_FromString(t->problems[i])) < 0) {
            Py_CLEAR(list);
        }
    }
    if (list != NULL && t->problem_count > n
        && append_new(list,
                      PyUnicode_FromFormat("and %zu problems more", t->problem_count - n))
               < 0) {
        Py_CLEAR(list);
    }
    return list;
}

static int
open_source(ReaderObject *self, PyObject *source)
{
    PyObject *bytes = NULL;
    int r;

    if (PyObject_CheckBuffer(source)) {
        if (PyObject_GetBuffer(source, &self->buffer, PyBUF_SIMPLE) < 0) {
            return -1;
        }
        self->source = PyUnicode_FromString("<bytes>");
        if (self->source == NULL) {
            return -1;
        }
        r = qi_trace_open_memory(self->buffer.buf, (size_t)self->buffer.len,
                                 &self->trace);
    }
    else {
        if (!PyUnicode_FSConverter(source, &bytes)) {
            return -1;
        }
        self->source = PyUnicode_DecodeFSDefaultAndSize(PyBytes_AS_STRING(bytes),
                                                        PyBytes_GET_SIZE(bytes));
        if (self->source == NULL) {
            Py_DECREF(bytes);
            return -1;
        }
        Py_BEGIN_ALLOW_THREADS r = qi_trace_open(PyBytes_AS_STRING(bytes), &self->trace);
        Py_END_ALLOW_THREADS Py_DECREF(bytes);
    }
    self->is_open = 1;
    if (r < 0) {
        (void)raise_status(self, r);
        return -1;
    }
    self->header = header_of(&self->trace);
    self->chunks = self->header == NULL ? NULL : chunks_of(&self->trace);
    self->problems = self->chunks == NULL ? NULL : problems_of(&self->trace);
    return self->problems == NULL ? -1 : 0;
}

static PyObject *
reader_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", NULL};
    PyObject *source;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "O:TraceReader", names, &source)) {
        return NULL;
    }
    ReaderObject *self = (ReaderObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    if (open_source(self, source) < 0) {
        Py_DECREF(self);
        return NULL;
    }
    return (PyObject *)self;
}

/* --- reading a chunk -------------------------------------------------------------- */

/* What of a chunk becomes objects; all of it is checked. */
enum part { PART_TEXTS = 1, PART_ROWS = 2, PART_ENDED = 4, PART_RECORDS = 8 };
#define PARTS_ALL 15u

struct contents {
    PyObject *entries, *rows, *ended, *gaps, *notes;
    PyObject *tasks; /* borrowed: a TraceTasks that takes the rows of tasks, or NULL */
    unsigned parts;
    unsigned rows_seen, ended_seen;
    int64_t state_ts;
    int has_state;
};

static int
put_row(struct contents *c, const struct qi_value *value, const struct qi_wire_row *row)
{
    int is_over = qi_state_is_final(row->kind, row->state);
    unsigned *seen = is_over ? &c->ended_seen : &c->rows_seen;

    if ((*seen)++ >= QI_TRACE_ROWS_MAX) {
        return QI_TRACE_READ_E_DAMAGED;
    }
    if ((c->parts & (is_over ? PART_ENDED : PART_ROWS)) == 0) {
        return QI_TRACE_READ_OK;
    }
    int r;
    if (c->tasks != NULL && row->kind == QI_TASK) {
        struct qi_traced_task task = {.id = row->id,
                                      .state = row->state,
                                      .loop = row->loop,
                                      .is_last = (uint8_t)is_over};
        memcpy(task.column, row->column, sizeof(task.column));
        r = qi_traced_row_put(c->tasks, &task);
    }
    else {
        r = append_new(is_over ? c->ended : c->rows, list_of(value));
    }
    return r < 0 ? QI_TRACE_READ_E_NOMEM : QI_TRACE_READ_OK;
}

static int
put_rows(struct contents *c, const struct qi_frame *frame)
{
    struct qi_cursor cursor = qi_cursor_in(&frame->fields[QI_KEY_STATE_rows]);
    struct qi_value value;
    struct qi_wire_row row;

    if (!c->has_state) {
        c->state_ts = qi_frame_int(frame, QI_KEY_STATE_ts, 0);
        c->has_state = 1;
    }
    while (qi_cursor_next(&cursor, &value)) {
        if (!qi_row_decode(&value, &row)) {
            return QI_TRACE_READ_E_DAMAGED;
        }
        int r = put_row(c, &value, &row);
        if (r < 0) {
            return r;
        }
    }
    return QI_TRACE_READ_OK;
}

static int
put_entries(struct contents *c, const struct qi_frame *frame)
{
    struct qi_cursor cursor = qi_cursor_in(&frame->fields[QI_KEY_INTERN_entries]);
    struct qi_wire_entry entry;
    struct qi_value value;

    while (qi_cursor_next(&cursor, &value)) {
        if (!qi_entry_decode(&value, &entry)) {
            continue; /* a type of a later version */
        }
        if (PyList_GET_SIZE(c->entries) >= (Py_ssize_t)QI_TRACE_IDS_MAX) {
            return QI_TRACE_READ_E_DAMAGED;
        }
        PyObject *list = list_of(&value);
        if (append_new(c->entries, list == NULL ? NULL : PyList_AsTuple(list)) < 0) {
            Py_XDECREF(list);
            return QI_TRACE_READ_E_NOMEM;
        }
        Py_DECREF(list);
    }
    return QI_TRACE_READ_OK;
}

/* The fields of a message by name; those of a later version by number. */
static PyObject *
fields_of(const struct qi_value *body, const struct qi_message_info *info)
{
    struct qi_cursor cursor = qi_cursor_in(body);
    PyObject *dict = PyDict_New();
    struct qi_value key;
    struct qi_value item;

    while (dict != NULL && qi_cursor_next(&cursor, &key)
           && qi_cursor_next(&cursor, &item)) {
        if (key.type != QI_VALUE_UINT) {
            continue;
        }
        PyObject *name =
            info != NULL && key.u < QI_FIELDS_MAX && info->fields[key.u].known
                ? PyUnicode_FromString(info->fields[key.u].name)
                : PyUnicode_FromFormat("%llu", (unsigned long long)key.u);
        PyObject *object = name == NULL ? NULL : object_of(&item);
        if (object == NULL || PyDict_SetItem(dict, name, object) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(name);
        Py_XDECREF(object);
    }
    return dict;
}

static PyObject *
note_of(const struct qi_trace_note *note)
{
    const struct qi_message_info *info = qi_message_info(note->message);
    const char *kind = info != NULL ? info->name : "UNKNOWN";
    char lower[32] = "";

    for (size_t i = 0; kind[i] != '\0' && i + 1 < sizeof(lower); i++) {
        lower[i] =
            kind[i] >= 'A' && kind[i] <= 'Z' ? (char)(kind[i] - 'A' + 'a') : kind[i];
    }
    return Py_BuildValue("(LsN)", (long long)note->ts, lower,
                         fields_of(&note->body, info));
}

static int
put_own_frame(struct contents *c, const struct qi_frame *frame)
{
    struct qi_trace_loss loss;
    struct qi_trace_note note;
    int r = 0;

    if (qi_trace_loss(frame, &loss)) {
        if (PyList_GET_SIZE(c->gaps) >= (Py_ssize_t)QI_TRACE_LOSSES_MAX) {
            return QI_TRACE_READ_E_DAMAGED;
        }
        r = append_new(c->gaps, Py_BuildValue("(KKsLL)", (unsigned long long)loss.first,
                                              (unsigned long long)loss.count, loss.cause,
                                              (long long)loss.t0, (long long)loss.t1));
    }
    else if (qi_trace_note(frame, &note)) {
        if (PyList_GET_SIZE(c->notes) >= (Py_ssize_t)QI_TRACE_NOTES_MAX) {
            return QI_TRACE_READ_E_DAMAGED;
        }
        r = append_new(c->notes, note_of(&note));
    }
    return r < 0 ? QI_TRACE_READ_E_NOMEM : QI_TRACE_READ_OK;
}

static int
put_frames(struct contents *c, const struct qi_trace_body *body)
{
    struct qi_trace_cursor cursor = qi_trace_frames(body);
    struct qi_frame frame;
    int r;

    while ((r = qi_trace_next_frame(&cursor, &frame)) > 0) {
        switch (frame.message) {
        case QI_MSG_INTERN:
            r = c->parts & PART_TEXTS ? put_entries(c, &frame) : 0;
            break;
        case QI_MSG_STATE:
            r = c->parts == PART_RECORDS ? 0 : put_rows(c, &frame);
            break;
        default:
            r = c->parts & PART_TEXTS ? put_own_frame(c, &frame) : 0;
            break;
        }
        if (r < 0) {
            break;
        }
    }
    return r;
}

/* Reads a chunk without the GIL: its body, and its records into new bytes.  Texts are
   what a file is opened with: then the records are looked at, too. */
static int
load_chunk(ReaderObject *self, size_t index, unsigned parts,
           struct qi_trace_body *ret_body, PyObject **ret_records)
{
    const struct qi_trace_place *place = &self->trace.chunks[index];
    int with_records = (parts & (PART_RECORDS | PART_TEXTS)) != 0;
    Py_ssize_t wanted = with_records ? place->n : 0;
    int64_t n;
    int r;

    *ret_records = PyBytes_FromStringAndSize(
        NULL, (place->status < 0 ? 0 : wanted) * (Py_ssize_t)sizeof(struct qi_record));
    if (*ret_records == NULL) {
        return QI_TRACE_READ_E_NOMEM;
    }
    void *records = PyBytes_AS_STRING(*ret_records);
    Py_BEGIN_ALLOW_THREADS r = qi_trace_read(&self->trace, index, ret_body);
    if (r == QI_TRACE_READ_OK && with_records) {
        n = qi_trace_records(ret_body, place->first, records, place->n);
        r = n < 0 ? (int)n : n == place->n ? QI_TRACE_READ_OK : QI_TRACE_READ_E_DAMAGED;
    }
    Py_END_ALLOW_THREADS return r;
}

static PyObject *
build_chunk(const struct contents *c, PyObject *records, uint64_t first)
{
    return Py_BuildValue("{sO sL sO sO sO sK sO sO}", "entries", c->entries, "state_ts",
                         (long long)c->state_ts, "rows", c->rows, "ended", c->ended,
                         "records", records, "first", (unsigned long long)first, "gaps",
                         c->gaps, "notes", c->notes);
}

static PyObject *
read_chunk(ReaderObject *self, size_t index, unsigned parts, PyObject *tasks)
{
    const struct qi_trace_place *place = &self->trace.chunks[index];
    struct contents c = {PyList_New(0),
                         PyList_New(0),
                         PyList_New(0),
                         PyList_New(0),
                         PyList_New(0),
                         tasks,
                         parts,
                         0,
                         0,
                         place->t0,
                         0};
    struct qi_trace_body body = {NULL, 0};
    PyObject *records = NULL;
    PyObject *result = NULL;
    int r = QI_TRACE_READ_E_NOMEM;

    if (c.entries != NULL && c.rows != NULL && c.ended != NULL && c.gaps != NULL
        && c.notes != NULL) {
        r = load_chunk(self, index, parts, &body, &records);
    }
    if (r == QI_TRACE_READ_OK) {
        r = put_frames(&c, &body);
    }
    if (r == QI_TRACE_READ_OK) {
        result = build_chunk(&c, parts & PART_RECORDS ? records : Py_None, place->first);
    }
    else if (!PyErr_Occurred()) {
        (void)raise_in_chunk(self, place, r);
    }
    qi_trace_body_free(&body);
    Py_XDECREF(records);
    Py_XDECREF(c.entries);
    Py_XDECREF(c.rows);
    Py_XDECREF(c.ended);
    Py_XDECREF(c.gaps);
    Py_XDECREF(c.notes);
    return result;
}

static PyObject *
reader_read(ReaderObject *self, PyObject *args)
{
    Py_ssize_t index;
    unsigned parts = PARTS_ALL;
    PyObject *tasks = Py_None;

    if (!PyArg_ParseTuple(args, "n|IO:read", &index, &parts, &tasks)) {
        return NULL;
    }
    if (tasks != Py_None && !qi_is_traced_tasks(tasks)) {
        return PyErr_Format(PyExc_TypeError, "read() takes a TraceTasks, not %.100s",
                            Py_TYPE(tasks)->tp_name);
    }
    if (index < 0 || (size_t)index >= self->trace.count) {
        return PyErr_Format(PyExc_IndexError, "%S has chunks 0 to %zd, not %zd",
                            self->source, (Py_ssize_t)self->trace.count - 1, index);
    }
    return read_chunk(self, (size_t)index, parts, tasks == Py_None ? NULL : tasks);
}

/* --- the type --------------------------------------------------------------------- */

static int
reader_traverse(ReaderObject *self, visitproc visit, void *arg)
{
    QI_VISIT_TYPE(self);
    Py_VISIT(self->buffer.obj);
    Py_VISIT(self->header);
    Py_VISIT(self->chunks);
    Py_VISIT(self->problems);
    return 0;
}

static int
reader_clear(ReaderObject *self)
{
    Py_CLEAR(self->header);
    Py_CLEAR(self->chunks);
    Py_CLEAR(self->problems);
    return 0;
}

static void
reader_dealloc(ReaderObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    PyObject_GC_UnTrack(self);
    (void)reader_clear(self);
    Py_CLEAR(self->source);
    if (self->is_open) {
        qi_trace_close(&self->trace);
    }
    if (self->buffer.obj != NULL) {
        PyBuffer_Release(&self->buffer);
    }
    type->tp_free((PyObject *)self);
    qi_release_type(type, (destructor)reader_dealloc);
}

static PyObject *
get_header(ReaderObject *self, void *Py_UNUSED(closure))
{
    return Py_XNewRef(self->header);
}

static PyObject *
get_chunks(ReaderObject *self, void *Py_UNUSED(closure))
{
    return Py_XNewRef(self->chunks);
}

static PyObject *
get_problems(ReaderObject *self, void *Py_UNUSED(closure))
{
    return Py_XNewRef(self->problems);
}

static PyObject *
get_complete(ReaderObject *self, void *Py_UNUSED(closure))
{
    return PyBool_FromLong(qi_trace_is_complete(&self->trace));
}

/* (first, count, t0, t1) of an edge, if there is one. */
static int
append_edge(PyObject *list, const struct qi_trace_edge *edge)
{
    return edge->count == 0
               ? 0
               : append_new(list,
                            Py_BuildValue("(KKLL)", (unsigned long long)edge->first,
                                          (unsigned long long)edge->count,
                                          (long long)edge->t0, (long long)edge->t1));
}

static PyObject *
get_missing(ReaderObject *self, void *Py_UNUSED(closure))
{
    PyObject *list = PyList_New(0);

    if (list != NULL
        && (append_edge(list, &self->trace.before) < 0
            || append_edge(list, &self->trace.after) < 0)) {
        Py_CLEAR(list);
    }
    return list;
}

static PyMethodDef reader_methods[] = {
    {"read", (PyCFunction)reader_read, METH_VARARGS,
     PyDoc_STR("read($self, index, parts=15, tasks=None, /)\n--\n\n"
               "The contents of a chunk, a dict; see _core.pyi.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef reader_attributes[] = {
    {"header", (getter)get_header, NULL,
     PyDoc_STR("What the recording says of its process, a dict."), NULL},
    {"chunks", (getter)get_chunks, NULL,
     PyDoc_STR("(seq, t0, t1, first, n, flags, size) of each chunk."), NULL},
    {"problems", (getter)get_problems, NULL,
     PyDoc_STR("What is missing or damaged, one line each."), NULL},
    {"missing", (getter)get_missing, NULL,
     PyDoc_STR("(first, count, t0, t1) of the records before the first chunk and after\n"
               "the last one that only the footer tells of."),
     NULL},
    {"complete", (getter)get_complete, NULL,
     PyDoc_STR("The recording ended in good order, and nothing is wrong with it."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot reader_slots[] = {
    {Py_tp_doc, (void *)"TraceReader(path_or_bytes, /)\n--\n\nReads a recording."},
    {Py_tp_new, (void *)reader_new},
    {Py_tp_dealloc, (void *)reader_dealloc},
    {Py_tp_traverse, (void *)reader_traverse},
    {Py_tp_clear, (void *)reader_clear},
    {Py_tp_methods, reader_methods},
    {Py_tp_getset, reader_attributes},
    {0, NULL},
};

static PyType_Spec reader_spec = {
    .name = "qtinter._core.TraceReader",
    .basicsize = sizeof(ReaderObject),
    .flags = Py_TPFLAGS_DEFAULT | Py_TPFLAGS_HAVE_GC,
    .slots = reader_slots,
};

int
qi_trace_init(PyObject *module)
{
    PyTypeObject *type = qi_type_new(module, &reader_spec, NULL);
    int r = type == NULL ? -1
                         : PyModule_AddObjectRef(module, "TraceReader", (PyObject *)type);

    Py_XDECREF((PyObject *)type);
    if (r < 0 || qi_rows_init(module) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, qi_record_functions);
}
