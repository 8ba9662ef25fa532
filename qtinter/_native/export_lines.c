/*
 * export_lines.c - rows of words as lines of JSON and of CSV, for qtinter.trace.export.
 *
 * A row is a dictionary with names as keys.  What is no text (half a surrogate pair)
 * becomes a question mark.
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

PyMethodDef qi_export_functions[] = {
    {"put_json_line", put_json_line, METH_VARARGS, NULL},
    {"put_csv_line", put_csv_line, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
