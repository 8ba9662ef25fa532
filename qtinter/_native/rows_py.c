/*
 * rows_py.c - rows of entities for Python: the type Row, and those of a frame at once.
 *
 * A tool that comes to an application with 100,000 tasks gets as many rows of 26 numbers
 * each.  They stay what they are on the wire, numbers in one block of memory, and become
 * Python objects when somebody looks at them.
 */
#include "probe_impl.h"

#include "columns.h"
#include "wire.h"

#include <string.h>

typedef struct {
    PyObject_VAR_HEAD /* ob_size: columns, QI_COLUMNS_MAX at most */
        uint64_t id;
    uint32_t kind, state, loop;
    uint32_t negative; /* bit for each column that is below 0 */
    uint64_t column[1];
} RowObject;

static PyObject *
number_from(uint64_t bits, int is_negative)
{
    return is_negative ? PyLong_FromLongLong((long long)bits)
                       : PyLong_FromUnsignedLongLong(bits);
}

static PyObject *
column_at(const RowObject *self, Py_ssize_t i)
{
    return number_from(self->column[i], self->negative >> i & 1);
}

static void
put_column(RowObject *self, Py_ssize_t i, uint64_t bits, int is_negative)
{
    self->column[i] = bits;
    self->negative &= ~(1u << i);
    self->negative |= (uint32_t)is_negative << i;
}

/* An int of 64 bits, signed or not; what is further away is the nearest one. */
static int
take_number(PyObject *object, uint64_t *ret_bits, int *ret_negative)
{
    int overflow = 0;

    if (!PyLong_Check(object)) {
        PyErr_Format(PyExc_TypeError, "a column of a row is an int, not %.100s",
                     Py_TYPE(object)->tp_name);
        return -1;
    }
    long long number = PyLong_AsLongLongAndOverflow(object, &overflow);
    if (overflow < 0) {
        number = PY_LLONG_MIN;
    }
    *ret_negative = overflow <= 0 && number < 0;
    *ret_bits = (uint64_t)number;
    if (overflow > 0) {
        *ret_bits = PyLong_AsUnsignedLongLong(object);
        if (PyErr_Occurred()) { /* it returns all ones then, which is the nearest */
            PyErr_Clear();
        }
    }
    return 0;
}

static RowObject *
row_alloc(PyTypeObject *type, Py_ssize_t columns)
{
    return (RowObject *)type->tp_alloc(type, columns);
}

static PyObject *
row_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "", "", "", "", NULL};
    unsigned int kind;
    unsigned int state;
    unsigned int loop;
    unsigned long long id;
    PyObject *values;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "IKIIO:Row", names, &kind, &id, &state,
                                     &loop, &values)) {
        return NULL;
    }
    values = PySequence_Fast(values, "the columns of a row are a sequence");
    if (values == NULL) {
        return NULL;
    }
    Py_ssize_t n = PySequence_Fast_GET_SIZE(values);
    n = n < QI_COLUMNS_MAX ? n : QI_COLUMNS_MAX;
    RowObject *self = row_alloc(type, n);
    for (Py_ssize_t i = 0; self != NULL && i < n; i++) {
        uint64_t bits;
        int is_negative;
        if (take_number(PySequence_Fast_GET_ITEM(values, i), &bits, &is_negative) < 0) {
            Py_CLEAR(self);
            break;
        }
        put_column(self, i, bits, is_negative);
    }
    Py_DECREF(values);
    if (self != NULL) {
        self->kind = kind;
        self->id = id;
        self->state = state;
        self->loop = loop;
    }
    return (PyObject *)self;
}

static void
row_dealloc(RowObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    type->tp_free((PyObject *)self);
    qi_release_type(type, (destructor)row_dealloc);
}

/* row["column"]: 0 where an older version has no such column. */
static PyObject *
row_subscript(RowObject *self, PyObject *name)
{
    const struct qi_column *columns = NULL;
    unsigned n = qi_columns(self->kind, &columns);
    const char *text = PyUnicode_Check(name) ? PyUnicode_AsUTF8(name) : NULL;

    for (unsigned i = 0; text != NULL && i < n; i++) {
        if (strcmp(columns[i].name, text) == 0) {
            return (Py_ssize_t)i < Py_SIZE(self) ? column_at(self, (Py_ssize_t)i)
                                                 : PyLong_FromLong(0);
        }
    }
    if (!PyErr_Occurred()) {
        PyErr_SetObject(PyExc_KeyError, name);
    }
    return NULL;
}

static int
change_one(RowObject *self, PyObject *key, PyObject *value)
{
    int overflow = 0;
    long long column =
        PyLong_Check(key) ? PyLong_AsLongLongAndOverflow(key, &overflow) : Py_SIZE(self);
    uint64_t bits;
    int is_negative;

    if (take_number(value, &bits, &is_negative) < 0) {
        return -1;
    }
    if (overflow == 0 && column == -1) {
        self->state = (uint32_t)bits;
    }
    else if (overflow == 0 && column == -2) {
        self->loop = (uint32_t)bits;
    }
    else if (overflow == 0 && column >= 0 && column < Py_SIZE(self)) {
        put_column(self, (Py_ssize_t)column, bits, is_negative);
    }
    return 0;
}

static PyObject *
row_change(RowObject *self, PyObject *columns)
{
    PyObject *key;
    PyObject *value;
    Py_ssize_t place = 0;

    if (!PyDict_Check(columns)) {
        return PyErr_Format(PyExc_TypeError, "changed columns are a dict, not %.100s",
                            Py_TYPE(columns)->tp_name);
    }
    while (PyDict_Next(columns, &place, &key, &value)) {
        if (change_one(self, key, value) < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

static PyObject *
row_copy(RowObject *self, PyObject *Py_UNUSED(ignored))
{
    RowObject *copy = row_alloc(Py_TYPE(self), Py_SIZE(self));

    if (copy != NULL) {
        copy->id = self->id;
        copy->kind = self->kind;
        copy->state = self->state;
        copy->loop = self->loop;
        copy->negative = self->negative;
        memcpy(copy->column, self->column, (size_t)Py_SIZE(self) * sizeof(uint64_t));
    }
    return (PyObject *)copy;
}

static PyObject *
row_get(RowObject *self, void *which)
{
    switch (*(const char *)which) {
    case 'i':
        return PyLong_FromUnsignedLongLong(self->id);
    case 'k':
        return PyLong_FromUnsignedLong(self->kind);
    case 's':
        return PyLong_FromUnsignedLong(self->state);
    case 'l':
        return PyLong_FromUnsignedLong(self->loop);
    default:
        return PyBool_FromLong(qi_state_is_final(self->kind, self->state));
    }
}

static PyObject *
row_values(RowObject *self, void *Py_UNUSED(closure))
{
    PyObject *tuple = PyTuple_New(Py_SIZE(self));

    for (Py_ssize_t i = 0; tuple != NULL && i < Py_SIZE(self); i++) {
        PyObject *number = column_at(self, i);
        if (number == NULL) {
            Py_CLEAR(tuple);
            break;
        }
        PyTuple_SET_ITEM(tuple, i, number);
    }
    return tuple;
}

static PyMethodDef row_methods[] = {
    {"copy", (PyCFunction)row_copy, METH_NOARGS,
     PyDoc_STR("copy($self, /)\n--\n\nAnother row with the same contents.")},
    {"change", (PyCFunction)row_change, METH_O,
     PyDoc_STR("change($self, columns, /)\n--\n\n"
               "Takes in changed columns, by number; -1: the state, -2: the loop.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef row_attributes[] = {
    {"id", (getter)row_get, NULL, NULL, "id"},
    {"kind", (getter)row_get, NULL, NULL, "kind"},
    {"state", (getter)row_get, NULL, NULL, "state"},
    {"loop", (getter)row_get, NULL, NULL, "loop"},
    {"is_over", (getter)row_get, NULL, NULL, "over"},
    {"values", (getter)row_values, NULL, PyDoc_STR("The columns, a tuple."), NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot row_slots[] = {
    {Py_tp_doc, (void *)"Row(kind, id, state, loop, values, /)\n--\n\nAn entity."},
    {Py_tp_new, (void *)row_new},
    {Py_tp_dealloc, (void *)row_dealloc},
    {Py_tp_methods, row_methods},
    {Py_tp_getset, row_attributes},
    {Py_mp_subscript, (void *)row_subscript},
    {0, NULL},
};

static PyType_Spec row_spec = {
    .name = "qtinter._core.Row",
    .basicsize = offsetof(RowObject, column),
    .itemsize = sizeof(uint64_t),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = row_slots,
};

/* --- the rows of a frame ------------------------------------------------------------ */

static int
next_u32(struct qi_cursor *cursor, uint32_t *ret_number)
{
    uint64_t number = 0;
    int there = qi_cursor_number(cursor, &number) == QI_NUMBER && number <= UINT32_MAX;

    *ret_number = (uint32_t)number;
    return there;
}

/* [kind, id, state, loop, columns...]; columns of a later version than QI_COLUMNS_MAX
   allows are left out. */
static RowObject *
row_from(PyTypeObject *type, struct qi_cursor *cursor)
{
    uint32_t elements, kind, state, loop;
    uint64_t id;

    if (!qi_cursor_enter(cursor, &elements) || elements < 4 || !next_u32(cursor, &kind)
        || qi_cursor_number(cursor, &id) != QI_NUMBER || !next_u32(cursor, &state)
        || !next_u32(cursor, &loop)) {
        PyErr_SetString(PyExc_ValueError, "a row that is none");
        return NULL;
    }
    uint32_t columns = elements - 4;
    RowObject *row = row_alloc(type, columns < QI_COLUMNS_MAX ? columns : QI_COLUMNS_MAX);
    if (row == NULL) {
        return NULL;
    }
    row->kind = kind;
    row->id = id;
    row->state = state;
    row->loop = loop;
    for (uint32_t i = 0; i < columns; i++) {
        uint64_t bits;
        enum qi_number number = qi_cursor_number(cursor, &bits);
        if (number == QI_NUMBER_NONE) {
            PyErr_SetString(PyExc_ValueError, "a row that is none");
            Py_DECREF(row);
            return NULL;
        }
        if (i < QI_COLUMNS_MAX) {
            row->column[i] = bits;
            row->negative |= (uint32_t)(number == QI_NUMBER_NEGATIVE) << i;
        }
    }
    return row;
}

static PyObject *
key_of(const RowObject *row)
{
    PyObject *kind = PyLong_FromUnsignedLong(row->kind);
    PyObject *id = PyLong_FromUnsignedLongLong(row->id);
    PyObject *key = kind != NULL && id != NULL ? PyTuple_New(2) : NULL;

    if (key == NULL) {
        Py_XDECREF(kind);
        Py_XDECREF(id);
        return NULL;
    }
    PyTuple_SET_ITEM(key, 0, kind);
    PyTuple_SET_ITEM(key, 1, id);
    return key;
}

/* {(kind, id): Row}; NULL with an exception, ValueError if one of them is none. */
static PyObject *
rows_by_key(PyTypeObject *type, const struct qi_value *list)
{
    struct qi_cursor cursor = qi_cursor_in(list);
    PyObject *rows = PyDict_New();

    while (rows != NULL && cursor.at != cursor.end) {
        RowObject *row = row_from(type, &cursor);
        PyObject *key = row == NULL ? NULL : key_of(row);
        if (key == NULL || PyDict_SetItem(rows, key, (PyObject *)row) < 0) {
            Py_CLEAR(rows);
        }
        Py_XDECREF(key);
        Py_XDECREF(row);
    }
    return rows;
}

/* rows_decode(payload, /) -> (seq, sub, pid, {(kind, id): Row}) of a SUB_ROWS; None: it
   is another message.  ValueError: the peer broke the protocol. */
static PyObject *
rows_decode(PyObject *module, PyObject *payload)
{
    struct qi_frame frame;
    struct qi_cursor head;
    uint32_t elements;
    uint64_t number = 0;

    if (!PyBytes_Check(payload)) {
        return PyErr_Format(PyExc_TypeError, "a payload is bytes, not %.100s",
                            Py_TYPE(payload)->tp_name);
    }
    const uint8_t *bytes = (const uint8_t *)PyBytes_AS_STRING(payload);
    size_t size = (size_t)PyBytes_GET_SIZE(payload);
    head = (struct qi_cursor){bytes, bytes + size};
    if (!qi_cursor_enter(&head, &elements)
        || qi_cursor_number(&head, &number) != QI_NUMBER || number != QI_MSG_SUB_ROWS) {
        Py_RETURN_NONE;
    }
    int r = qi_frame_decode(bytes, size, &frame);
    if (r < 0) {
        PyErr_SetString(PyExc_ValueError, qi_wire_text(r));
        return NULL;
    }
    PyObject *type = PyObject_GetAttrString(module, "Row");
    PyObject *rows = type == NULL ? NULL
                                  : rows_by_key((PyTypeObject *)type,
                                                &frame.fields[QI_KEY_SUB_ROWS_rows]);
    Py_XDECREF(type);
    if (rows == NULL) {
        return NULL;
    }
    return Py_BuildValue(
        "(kKKN)", (unsigned long)frame.seq,
        (unsigned long long)qi_frame_uint(&frame, QI_KEY_SUB_ROWS_sub, 0),
        (unsigned long long)qi_frame_uint(&frame, QI_KEY_SUB_ROWS_pid, 0), rows);
}

static PyMethodDef rows_functions[] = {
    {"rows_decode", rows_decode, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

int
qi_rows_init(PyObject *module)
{
    PyTypeObject *type = qi_type_new(module, &row_spec, NULL);
    int r = type == NULL ? -1 : PyModule_AddObjectRef(module, "Row", (PyObject *)type);

    Py_XDECREF((PyObject *)type);
    return r < 0 ? r : PyModule_AddFunctions(module, rows_functions);
}
