/*
 * export_lines.c - rows of words as lines of JSON and of CSV, and items of a timeline as
 * trace events of Chrome, for qtinter.trace.export.
 *
 * A row is a dictionary with names as keys.  What is no text (half a surrogate pair)
 * becomes a question mark in lines, and is written as it is in trace events, which are
 * of ASCII.
 */
#include "trace_py.h"

#include <stdio.h>
#include <string.h>

struct text {
    PyObject *buffer; /* borrowed: a bytearray, longer than what is in it */
    char *bytes;
    size_t size, capacity;
};

static int
text_open(struct text *t, PyObject *buffer)
{
    if (!PyByteArray_Check(buffer)) {
        PyErr_Format(PyExc_TypeError, "lines are put into a bytearray, not %.100s",
                     Py_TYPE(buffer)->tp_name);
        return -1;
    }
    t->buffer = buffer;
    t->bytes = PyByteArray_AS_STRING(buffer);
    t->size = t->capacity = (size_t)PyByteArray_GET_SIZE(buffer);
    return 0;
}

/* Makes room for so many bytes more. */
static int
text_reserve(struct text *t, size_t more)
{
    if (more <= t->capacity - t->size) {
        return 0;
    }
    size_t capacity = t->size + more + 4096;
    if (PyByteArray_Resize(t->buffer, (Py_ssize_t)capacity) < 0) {
        return -1;
    }
    t->bytes = PyByteArray_AS_STRING(t->buffer);
    t->capacity = capacity;
    return 0;
}

static int
text_put(struct text *t, const char *bytes, size_t size)
{
    if (text_reserve(t, size) < 0) {
        return -1;
    }
    memcpy(t->bytes + t->size, bytes, size);
    t->size += size;
    return 0;
}

static int
text_close(struct text *t, int r)
{
    if (PyByteArray_Resize(t->buffer, (Py_ssize_t)t->size) < 0) {
        return -1;
    }
    return r;
}

/* --- values ------------------------------------------------------------------------- */

/* Calls put() with the UTF-8 of a text. */
static int
put_unicode(struct text *t, PyObject *text,
            int (*put)(struct text *, const char *, size_t))
{
    Py_ssize_t size;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &size);

    if (bytes != NULL) {
        return put(t, bytes, (size_t)size);
    }
    PyErr_Clear();
    PyObject *encoded = PyUnicode_AsEncodedString(text, "utf-8", "replace");
    if (encoded == NULL) {
        return -1;
    }
    int r = put(t, PyBytes_AS_STRING(encoded), (size_t)PyBytes_GET_SIZE(encoded));
    Py_DECREF(encoded);
    return r;
}

/* As str() says it. */
static int
put_str(struct text *t, PyObject *value, int (*put)(struct text *, const char *, size_t))
{
    PyObject *text = PyObject_Str(value);
    int r = text == NULL ? -1 : put_unicode(t, text, put);

    Py_XDECREF(text);
    return r;
}

static int
put_int(struct text *t, PyObject *value)
{
    int overflow = 0;
    char digits[24];
    long long number = PyLong_AsLongLongAndOverflow(value, &overflow);

    if (overflow != 0) {
        return put_str(t, value, text_put);
    }
    int size = snprintf(digits, sizeof(digits), "%lld", number);
    return text_put(t, digits, (size_t)size);
}

static int
put_float(struct text *t, PyObject *value)
{
    char *digits =
        PyOS_double_to_string(PyFloat_AS_DOUBLE(value), 'r', 0, Py_DTSF_ADD_DOT_0, NULL);
    int r = digits == NULL ? -1 : text_put(t, digits, strlen(digits));

    PyMem_Free(digits);
    return r;
}

/* --- JSON --------------------------------------------------------------------------- */

static int
put_quoted(struct text *t, const char *bytes, size_t size)
{
    static const char hex[] = "0123456789abcdef";

    if (size > (PY_SSIZE_T_MAX - 2) / 6 || text_reserve(t, 6 * size + 2) < 0) {
        return -1;
    }
    char *at = t->bytes + t->size;
    *at++ = '"';
    for (size_t i = 0; i < size; i++) {
        unsigned char c = (unsigned char)bytes[i];
        const char *known = c == 0 ? NULL : strchr("\"\\\nn\rr\tt\bb\ff", c);
        if (c >= 0x20 && c != '"' && c != '\\') {
            *at++ = (char)c;
            continue;
        }
        *at++ = '\\';
        if (c == '"' || c == '\\') {
            *at++ = (char)c;
        }
        else if (known != NULL) {
            *at++ = known[1];
        }
        else {
            memcpy(at, "u00", 3);
            at[3] = hex[c >> 4];
            at[4] = hex[c & 15];
            at += 5;
        }
    }
    *at++ = '"';
    t->size = (size_t)(at - t->bytes);
    return 0;
}

static int
put_json(struct text *t, PyObject *value)
{
    if (PyUnicode_CheckExact(value)) {
        return put_unicode(t, value, put_quoted);
    }
    if (PyBool_Check(value)) {
        return value == Py_True ? text_put(t, "true", 4) : text_put(t, "false", 5);
    }
    if (PyLong_CheckExact(value)) {
        return put_int(t, value);
    }
    if (PyFloat_CheckExact(value)) {
        return put_float(t, value);
    }
    return value == Py_None ? text_put(t, "null", 4) : put_str(t, value, put_quoted);
}

/* put_json_line(buffer, row, /) */
static PyObject *
put_json_line(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *buffer;
    PyObject *row;
    PyObject *key;
    PyObject *value;
    Py_ssize_t place = 0;
    struct text t;

    if (!PyArg_ParseTuple(args, "OO!", &buffer, &PyDict_Type, &row)
        || text_open(&t, buffer) < 0) {
        return NULL;
    }
    const char *before = "{";
    int r = 0;
    while (r == 0 && PyDict_Next(row, &place, &key, &value)) {
        r = text_put(&t, before, 1);
        before = ",";
        r = r < 0 ? r : put_json(&t, key);
        r = r < 0 ? r : text_put(&t, ":", 1);
        r = r < 0 ? r : put_json(&t, value);
    }
    r = r < 0 ? r : *before == '{' ? text_put(&t, "{}\n", 3) : text_put(&t, "}\n", 2);
    if (text_close(&t, r) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* --- CSV ---------------------------------------------------------------------------- */

/* As RFC 4180 says: in quotes if need be. */
static int
put_cell(struct text *t, const char *bytes, size_t size)
{
    int plain = 1;

    for (size_t i = 0; i < size && plain; i++) {
        plain = strchr(",\"\r\n", bytes[i]) == NULL || bytes[i] == '\0';
    }
    if (plain) {
        return text_put(t, bytes, size);
    }
    if (size > (PY_SSIZE_T_MAX - 2) / 2 || text_reserve(t, 2 * size + 2) < 0) {
        return -1;
    }
    char *at = t->bytes + t->size;
    *at++ = '"';
    for (size_t i = 0; i < size; i++) {
        if (bytes[i] == '"') {
            *at++ = '"';
        }
        *at++ = bytes[i];
    }
    *at++ = '"';
    t->size = (size_t)(at - t->bytes);
    return 0;
}

/* A name that begins like a formula is no formula to a spreadsheet. */
static int
put_name(struct text *t, const char *bytes, size_t size)
{
    if (size == 0 || bytes[0] == '\0' || strchr("=+-@\t\r", bytes[0]) == NULL) {
        return put_cell(t, bytes, size);
    }
    char few[64];
    char *marked = size < sizeof(few) ? few : PyMem_Malloc(size + 1);
    if (marked == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    marked[0] = '\'';
    memcpy(marked + 1, bytes, size);
    int r = put_cell(t, marked, size + 1);
    if (marked != few) {
        PyMem_Free(marked);
    }
    return r;
}

static int
put_value(struct text *t, PyObject *value)
{
    if (PyUnicode_CheckExact(value)) {
        return put_unicode(t, value, put_name);
    }
    if (PyLong_CheckExact(value)) {
        return put_int(t, value);
    }
    if (PyFloat_CheckExact(value)) {
        return put_float(t, value);
    }
    return value == Py_None ? 0 : put_str(t, value, put_cell);
}

static int
is_nothing(PyObject *value)
{
    if (PyUnicode_CheckExact(value)) {
        return PyUnicode_GET_LENGTH(value) == 0;
    }
    return value != Py_None && (PyLong_Check(value) || PyFloat_Check(value))
           && !PyObject_IsTrue(value);
}

/* What has no column of its own: name=value, with spaces between. */
static int
put_details(struct text *t, PyObject *columns, PyObject *row)
{
    PyObject *key;
    PyObject *value;
    Py_ssize_t place = 0;
    size_t began = t->size;

    while (PyDict_Next(row, &place, &key, &value)) {
        int has_column = PyDict_Contains(columns, key);
        if (has_column < 0) {
            return -1;
        }
        if (has_column || is_nothing(value)) {
            continue;
        }
        if ((t->size > began && text_put(t, " ", 1) < 0) || put_str(t, key, text_put) < 0
            || text_put(t, "=", 1) < 0 || put_str(t, value, text_put) < 0) {
            return -1;
        }
    }
    /* What was put becomes the cell. */
    size_t size = t->size - began;
    if (size == 0) {
        return 0;
    }
    char *details = PyMem_Malloc(size);
    if (details == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    memcpy(details, t->bytes + began, size);
    t->size = began;
    int r = put_cell(t, details, size);
    PyMem_Free(details);
    return r;
}

/* put_csv_line(buffer, columns, row, /): the last cell is what has no column. */
static PyObject *
put_csv_line(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *buffer;
    PyObject *columns;
    PyObject *row;
    PyObject *column;
    Py_ssize_t place = 0;
    struct text t;
    int r = 0;

    if (!PyArg_ParseTuple(args, "OO!O!", &buffer, &PyDict_Type, &columns, &PyDict_Type,
                          &row)
        || text_open(&t, buffer) < 0) {
        return NULL;
    }
    while (r == 0 && PyDict_Next(columns, &place, &column, NULL)) {
        PyObject *value = PyDict_GetItemWithError(row, column);
        if (value != NULL) {
            Py_INCREF(value);
            r = put_value(&t, value);
            Py_DECREF(value);
        }
        else if (PyErr_Occurred()) {
            r = -1;
        }
        r = r < 0 ? r : text_put(&t, ",", 1);
    }
    r = r < 0 ? r : put_details(&t, columns, row);
    r = r < 0 ? r : text_put(&t, "\r\n", 2);
    if (text_close(&t, r) < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* --- trace events ------------------------------------------------------------------- */

struct events {
    struct text t;
    uint64_t count;
    long long zero; /* ns; times are since then */
    long long pid;
    PyObject *tracks;   /* borrowed: a set of the numbers of those that were described */
    PyObject *counters; /* borrowed: {number: the head of its events} */
    PyObject *describe; /* borrowed: of a track, bytes */
};

static int
put_unit(struct text *t, unsigned unit)
{
    char escaped[8];
    int size = snprintf(escaped, sizeof(escaped), "\\u%04x", unit & 0xffff);

    return text_put(t, escaped, (size_t)size);
}

static int
put_ascii(struct text *t, PyObject *text)
{
    int kind = PyUnicode_KIND(text);
    const void *data = PyUnicode_DATA(text);
    Py_ssize_t n = PyUnicode_GET_LENGTH(text);
    int r = text_put(t, "\"", 1);

    for (Py_ssize_t i = 0; r == 0 && i < n; i++) {
        Py_UCS4 c = PyUnicode_READ(kind, data, i);
        const char *known =
            c == 0 || c > '\\' ? NULL : strchr("\"\"\\\\\nn\rr\tt\bb\ff", (int)c);
        char plain = (char)c;
        if (c >= ' ' && c <= '~' && c != '"' && c != '\\') {
            r = text_put(t, &plain, 1);
        }
        else if (known != NULL && (c < ' ' || c == '"' || c == '\\')) {
            char escaped[2] = {'\\', known[1]};
            r = text_put(t, escaped, 2);
        }
        else if (c < 0x10000) {
            r = put_unit(t, c);
        }
        else {
            r = put_unit(t, 0xd800 + ((c - 0x10000) >> 10));
            r = r < 0 ? r : put_unit(t, 0xdc00 + ((c - 0x10000) & 0x3ff));
        }
    }
    return r < 0 ? r : text_put(t, "\"", 1);
}

static int
put_chars(struct text *t, const char *chars)
{
    return text_put(t, chars, strlen(chars));
}

static int
put_name_of(struct text *t, PyObject *text)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "an item has texts, not %.100s",
                     Py_TYPE(text)->tp_name);
        return -1;
    }
    return put_ascii(t, text);
}

/* Microseconds, exactly: a float would lose digits after some hours. */
static int
put_microseconds(struct text *t, PyObject *ns, long long since)
{
    char digits[40];
    int64_t number = qi_nearest_int64(ns);

    if (number == -1 && PyErr_Occurred()) {
        return -1;
    }
    number = (int64_t)((uint64_t)number - (uint64_t)since);
    unsigned long long size =
        number < 0 ? 0 - (unsigned long long)number : (unsigned long long)number;
    int n = snprintf(digits, sizeof(digits), "%s%llu.%03llu", number < 0 ? "-" : "",
                     size / 1000, size % 1000);
    return text_put(t, digits, (size_t)n);
}

static int
put_arguments(struct text *t, PyObject *args)
{
    PyObject *key;
    PyObject *value;
    Py_ssize_t place = 0;
    const char *before = "{";
    int r = 0;

    if (!PyDict_Check(args)) {
        PyErr_SetString(PyExc_TypeError, "the arguments of an item are a dict");
        return -1;
    }
    while (r == 0 && PyDict_Next(args, &place, &key, &value)) {
        r = put_chars(t, before);
        before = ",";
        r = r < 0 ? r : put_name_of(t, key);
        r = r < 0 ? r : put_chars(t, ":");
        if (r == 0) {
            r = PyUnicode_Check(value) ? put_ascii(t, value) : put_json(t, value);
        }
    }
    return r < 0 ? r : put_chars(t, *before == '{' ? "{}" : "}");
}

/* What each event has: when it was, and where it is shown. */
static int
end_event(struct events *e, PyObject *ts, PyObject *track)
{
    struct text *t = &e->t;

    e->count++;
    if (put_chars(t, ",\"ts\":") < 0 || put_microseconds(t, ts, e->zero) < 0) {
        return -1;
    }
    char pid[40];
    int size = snprintf(pid, sizeof(pid), ",\"pid\":%lld,\"tid\":", e->pid);
    return text_put(t, pid, (size_t)size) < 0
                   || (track == NULL ? put_chars(t, "0") : put_int(t, track)) < 0
                   || put_chars(t, "}") < 0
               ? -1
               : 0;
}

static int
put_flow(struct events *e, const char *head, PyObject *flow, const char *more,
         PyObject *ts, PyObject *track)
{
    if (!PyLong_Check(flow)) {
        PyErr_SetString(PyExc_TypeError, "an arrow has a number");
        return -1;
    }
    return put_chars(&e->t, head) < 0 || put_int(&e->t, flow) < 0
                   || put_chars(&e->t, ",\"name\":\"wake\",\"cat\":\"wake\"") < 0
                   || put_chars(&e->t, more) < 0 || end_event(e, ts, track) < 0
               ? -1
               : 0;
}

/* The arrows that end at a slice. */
static int
put_targets(struct events *e, PyObject *targets, long long began, PyObject *end,
            PyObject *track)
{
    if (!PyTuple_Check(targets)) {
        PyErr_SetString(PyExc_TypeError, "arrows are a tuple");
        return -1;
    }
    if (PyTuple_GET_SIZE(targets) == 0) {
        return 0;
    }
    int64_t ended = qi_nearest_int64(end);
    if (ended == -1 && PyErr_Occurred()) {
        return -1;
    }
    /* At the very start chrome://tracing finds the slice that ends there. */
    PyObject *inside = PyLong_FromLongLong(began + (ended > began));
    int r = inside == NULL ? -1 : 0;
    for (Py_ssize_t i = 0; r == 0 && i < PyTuple_GET_SIZE(targets); i++) {
        r = put_flow(e, ",\n{\"ph\":\"f\",\"id\":", PyTuple_GET_ITEM(targets, i),
                     ",\"bp\":\"e\"", inside, track);
    }
    Py_XDECREF(inside);
    return r;
}

/* Those that leave from there. */
static int
put_flows(struct events *e, PyObject *sources, PyObject *track)
{
    if (!PyTuple_Check(sources)) {
        PyErr_SetString(PyExc_TypeError, "arrows are a tuple");
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(sources); i++) {
        PyObject *source = PyTuple_GET_ITEM(sources, i);
        if (!PyTuple_Check(source) || PyTuple_GET_SIZE(source) != 2) {
            PyErr_SetString(PyExc_TypeError, "an arrow that leaves has a time");
            return -1;
        }
        if (put_flow(e, ",\n{\"ph\":\"s\",\"id\":", PyTuple_GET_ITEM(source, 0), "",
                     PyTuple_GET_ITEM(source, 1), track)
            < 0) {
            return -1;
        }
    }
    return 0;
}

/* A slice or an instant, see put_item() of export_perfetto.c. */
static int
put_event(struct events *e, PyObject *item, PyObject *track)
{
    int is_slice = PyTuple_GET_SIZE(item) == 8;
    Py_ssize_t at = is_slice ? 3 : 2;
    PyObject *start = PyTuple_GET_ITEM(item, 1);
    struct text *t = &e->t;
    long long began = 0;

    if (is_slice) {
        began = qi_nearest_int64(start);
        if ((began == -1 && PyErr_Occurred())
            || put_chars(t, ",\n{\"ph\":\"X\",\"dur\":") < 0
            || put_microseconds(t, PyTuple_GET_ITEM(item, 2), began) < 0) {
            return -1;
        }
    }
    else if (put_chars(t, ",\n{\"ph\":\"i\",\"s\":\"t\"") < 0) {
        return -1;
    }
    return put_chars(t, ",\"name\":") < 0
                   || put_name_of(t, PyTuple_GET_ITEM(item, at)) < 0
                   || put_chars(t, ",\"cat\":") < 0
                   || put_name_of(t, PyTuple_GET_ITEM(item, at + 1)) < 0
                   || put_chars(t, ",\"args\":") < 0
                   || put_arguments(t, PyTuple_GET_ITEM(item, at + 2)) < 0
                   || end_event(e, start, track) < 0
                   || (is_slice
                       && put_targets(e, PyTuple_GET_ITEM(item, at + 4), began,
                                      PyTuple_GET_ITEM(item, 2), track)
                              < 0)
                   || put_flows(e, PyTuple_GET_ITEM(item, at + 3), track) < 0
               ? -1
               : 0;
}

static int
put_count(struct events *e, PyObject *item, PyObject *head)
{
    PyObject *value = PyTuple_GET_ITEM(item, 2);

    if (!PyBytes_Check(head) || !PyLong_Check(value)) {
        PyErr_SetString(PyExc_TypeError, "a counter has bytes and numbers");
        return -1;
    }
    return text_put(&e->t, PyBytes_AS_STRING(head), (size_t)PyBytes_GET_SIZE(head)) < 0
                   || put_int(&e->t, value) < 0 || put_chars(&e->t, "}") < 0
                   || end_event(e, PyTuple_GET_ITEM(item, 1), NULL) < 0
               ? -1
               : 0;
}

/* The bytes that describe a track.  describe() may do what it likes but with the
   buffer, which is closed meanwhile. */
static PyObject *
describe_track(struct events *e, PyObject *track)
{
    PyObject *buffer = e->t.buffer;

    if (text_close(&e->t, 0) < 0) {
        return NULL;
    }
    PyObject *bytes = PyObject_CallFunctionObjArgs(e->describe, track, NULL);
    if (bytes != NULL && (text_open(&e->t, buffer) < 0 || !PyBytes_Check(bytes))) {
        PyErr_SetString(PyExc_TypeError, "what describes a track is bytes");
        Py_CLEAR(bytes);
    }
    return bytes;
}

static int
put_item(struct events *e, PyObject *item)
{
    Py_ssize_t size = PyTuple_Check(item) ? PyTuple_GET_SIZE(item) : 0;

    if (size != 8 && size != 6 && size != 3) {
        PyErr_SetString(PyExc_TypeError, "that is no item of a timeline");
        return -1;
    }
    PyObject *track = PyTuple_GET_ITEM(item, 0);
    PyObject *number = PyObject_GetAttrString(track, "number");
    if (number == NULL || !PyLong_Check(number)) {
        Py_XDECREF(number);
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_TypeError, "a track has a number");
        }
        return -1;
    }
    int r;
    if (size == 3) {
        PyObject *head = PyDict_GetItemWithError(e->counters, number);
        PyObject *made = NULL;
        if (head == NULL && !PyErr_Occurred()) {
            head = made = describe_track(e, track);
        }
        r = head == NULL || (made && PyDict_SetItem(e->counters, number, made) < 0)
                ? -1
                : put_count(e, item, head);
        Py_XDECREF(made);
    }
    else {
        r = PySet_Contains(e->tracks, number);
        if (r == 0) {
            PyObject *bytes = describe_track(e, track);
            r = bytes == NULL || PySet_Add(e->tracks, number) < 0
                    ? -1
                    : text_put(&e->t, PyBytes_AS_STRING(bytes),
                               (size_t)PyBytes_GET_SIZE(bytes));
            Py_XDECREF(bytes);
        }
        r = r < 0 ? r : put_event(e, item, number);
    }
    Py_DECREF(number);
    return r;
}

/* put_trace_events(buffer, items, zero, pid, tracks, counters, describe, /) -> count */
static PyObject *
put_trace_events(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *buffer;
    PyObject *items;
    struct events e = {.count = 0};

    if (!PyArg_ParseTuple(args, "OO!LLO!O!O", &buffer, &PyList_Type, &items, &e.zero,
                          &e.pid, &PySet_Type, &e.tracks, &PyDict_Type, &e.counters,
                          &e.describe)
        || text_open(&e.t, buffer) < 0) {
        return NULL;
    }
    int r = 0;
    for (Py_ssize_t i = 0; r == 0 && i < PyList_GET_SIZE(items); i++) {
        PyObject *item = Py_NewRef(PyList_GET_ITEM(items, i));
        r = put_item(&e, item);
        Py_DECREF(item);
    }
    if (text_close(&e.t, r) < 0) {
        return NULL;
    }
    return PyLong_FromUnsignedLongLong(e.count);
}

PyMethodDef qi_export_functions[] = {
    {"put_json_line", put_json_line, METH_VARARGS, NULL},
    {"put_csv_line", put_csv_line, METH_VARARGS, NULL},
    {"put_trace_events", put_trace_events, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
