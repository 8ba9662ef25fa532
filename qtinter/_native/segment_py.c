/*
 * segment_py.c - a segment file as Python objects: for snapshots and post-mortems.
 *
 * The file may be anybody's and hold any bytes: proto/segment_read.c sees to that.
 */
#include "probe_impl.h"

#include "columns.h"
#include "segment_read.h"

#define RECORDS_AT_ONCE 512

static PyObject *
header_of(const struct qi_view *view)
{
    const struct qi_segment_header *h = &view->header;

    return Py_BuildValue(
        "{sK sK sK sL sL ss ss ss ss ss ss sI sI sK sK sK sK}", "pid",
        (unsigned long long)h->pid, "start", (unsigned long long)h->start_time, "uid",
        (unsigned long long)h->uid, "mono0", (long long)h->mono0, "wall0",
        (long long)h->wall0, "name", h->name, "qtinter", h->qtinter, "python", h->python,
        "binding", h->binding, "qt", h->qt, "trace_id", h->trace_id, "level",
        (unsigned int)h->level, "closed", (unsigned int)h->closed, "records",
        (unsigned long long)h->ring_head, "texts_missed",
        (unsigned long long)h->arena_missed, "rows_missed",
        (unsigned long long)h->slots_missed, "heartbeat",
        (unsigned long long)h->heartbeat);
}

/* Appends an object, which may be NULL with an exception; takes the reference. */
static int
append_new(PyObject *list, PyObject *object)
{
    int r = object == NULL ? -1 : PyList_Append(list, object);

    Py_XDECREF(object);
    return r;
}

/* [kind, id, state, loop, columns...] */
static PyObject *
row_of(const struct qi_slot *slot)
{
    const struct qi_column *columns;
    unsigned n = qi_columns(slot->kind, &columns);
    PyObject *row = PyList_New((Py_ssize_t)n + 4);

    if (row == NULL) {
        return NULL;
    }
    PyList_SET_ITEM(row, 0, PyLong_FromLong(slot->kind));
    PyList_SET_ITEM(row, 1, PyLong_FromUnsignedLongLong(slot->id));
    PyList_SET_ITEM(row, 2, PyLong_FromLong(slot->state));
    PyList_SET_ITEM(row, 3, PyLong_FromLong(slot->loop));
    for (unsigned i = 0; i < n; i++) {
        PyList_SET_ITEM(row, (Py_ssize_t)i + 4,
                        PyLong_FromUnsignedLongLong(qi_column_value(&columns[i], slot)));
    }
    if (PyErr_Occurred()) {
        Py_CLEAR(row);
    }
    return row;
}

static PyObject *
rows_of(const struct qi_view *view)
{
    PyObject *list = PyList_New(0);
    uint32_t used = qi_view_slots_used(view);

    for (uint32_t i = 0; list != NULL && i < used; i++) {
        struct qi_slot slot;
        (void)qi_view_slot(view, i, &slot); /* a torn one is better than none */
        if (slot.kind != 0 && append_new(list, row_of(&slot)) < 0) {
            Py_CLEAR(list);
        }
    }
    return list;
}

/* The records from the first one on that is not older than `since`. */
static PyObject *
records_of(const struct qi_view *view, int64_t since, uint64_t *ret_first,
           uint64_t *ret_lost)
{
    struct qi_record records[RECORDS_AT_ONCE];
    PyObject *list = PyList_New(0);
    uint64_t position = qi_view_oldest(view);
    size_t n;

    *ret_first = position;
    *ret_lost = 0;
    do {
        uint64_t lost = 0;
        n = qi_view_records(view, &position, records, RECORDS_AT_ONCE, &lost);
        *ret_lost += lost;
        for (size_t i = 0; list != NULL && i < n; i++) {
            const struct qi_record *r = &records[i];
            if (r->ts < since && PyList_GET_SIZE(list) == 0) {
                ++*ret_first;
                continue;
            }
            if (append_new(list, Py_BuildValue("(LIIIKK)", (long long)r->ts,
                                               (unsigned)r->kind, (unsigned)r->aux,
                                               (unsigned)r->x, (unsigned long long)r->a,
                                               (unsigned long long)r->b))
                < 0) {
                Py_CLEAR(list);
            }
        }
    } while (list != NULL && n > 0);
    return list;
}

static PyObject *
entry_value(const struct qi_entry *entry)
{
    uint32_t file, name, line, codes[16];

    switch (entry->type) {
    case 't':
        return PyUnicode_DecodeUTF8((const char *)entry->bytes, (Py_ssize_t)entry->size,
                                    "replace");
    case 'c':
        if (qi_entry_code(entry, &file, &name, &line) == 0) {
            return Py_BuildValue("(III)", file, name, line);
        }
        Py_RETURN_NONE;
    case 'k': {
        size_t n = qi_entry_stack(entry, codes, 16);
        PyObject *list = PyList_New(0);
        for (size_t i = 0; list != NULL && i < n; i++) {
            if (append_new(list, PyLong_FromUnsignedLong(codes[i])) < 0) {
                Py_CLEAR(list);
            }
        }
        return list;
    }
    default:
        Py_RETURN_NONE;
    }
}

static PyObject *
entries_of(const struct qi_view *view)
{
    PyObject *dict = PyDict_New();
    struct qi_arena_place place = {0};
    struct qi_entry entry;

    while (dict != NULL && qi_view_next_entry(view, &place, &entry)) {
        PyObject *key = PyLong_FromUnsignedLong(entry.id);
        PyObject *value = entry_value(&entry);
        if (key == NULL || value == NULL || PyDict_SetItem(dict, key, value) < 0) {
            Py_CLEAR(dict);
        }
        Py_XDECREF(key);
        Py_XDECREF(value);
    }
    return dict;
}

/* inspect_read_segment(path, since=0) -> dict; OSError or ValueError.  "first" is the
   number of the first of its "records", "oldest" that of the first one in the segment. */
static PyObject *
inspect_read_segment(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *path, *bytes = NULL;
    long long since = 0;
    struct qi_segment segment;
    uint64_t first = 0, lost = 0;
    int r;

    if (!PyArg_ParseTuple(args, "O|L", &path, &since)
        || !PyUnicode_FSConverter(path, &bytes)) {
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS r = qi_segment_load(PyBytes_AS_STRING(bytes), &segment);
    Py_END_ALLOW_THREADS Py_DECREF(bytes);
    if (r == QI_VIEW_E_OS) {
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    }
    if (r == QI_VIEW_E_NOMEM) {
        return PyErr_NoMemory();
    }
    if (r < 0) {
        return PyErr_Format(PyExc_ValueError, "cannot read %R: %s", path,
                            qi_view_text(r));
    }
    PyObject *header = header_of(&segment.view);
    PyObject *rows = header == NULL ? NULL : rows_of(&segment.view);
    PyObject *records =
        rows == NULL ? NULL : records_of(&segment.view, since, &first, &lost);
    PyObject *entries = records == NULL ? NULL : entries_of(&segment.view);
    PyObject *result =
        entries == NULL
            ? NULL
            : Py_BuildValue("{sO sO sO sO sK sK sK sI}", "header", header, "rows", rows,
                            "records", records, "entries", entries, "first",
                            (unsigned long long)first, "oldest",
                            (unsigned long long)qi_view_oldest(&segment.view), "lost",
                            (unsigned long long)lost, "torn", segment.torn);
    Py_XDECREF(header);
    Py_XDECREF(rows);
    Py_XDECREF(records);
    Py_XDECREF(entries);
    qi_segment_unload(&segment);
    return result;
}

PyMethodDef qi_segment_functions[] = {
    {"inspect_read_segment", inspect_read_segment, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
