/*
 * probe_names.c - intern ids of what the probe meets: code, texts, stacks.
 *
 * The client makes equal contents equal ids; what is remembered here only saves the way
 * to the contents.  Every function returns 0 instead of failing.
 */
#include "probe_impl.h"

#include <string.h>

#define MAX_CHAIN 64 /* awaits followed to the innermost one */
#define TASK_PREFIX "Task-"

uint32_t
qi_name_text(struct qi_probe *p, PyObject *text)
{
    Py_ssize_t size;
    const char *utf8 = text != NULL && PyUnicode_Check(text)
                           ? PyUnicode_AsUTF8AndSize(text, &size)
                           : NULL;
    if (utf8 == NULL) {
        PyErr_Clear(); /* surrogates: there is no UTF-8 form */
        return 0;
    }
    return qi_text(p->client, utf8, (size_t)size);
}

/* Attribute as an intern id; 0 if it is missing or no text. */
static uint32_t
text_attribute(struct qi_probe *p, PyObject *object, const char *name)
{
    PyObject *text = PyObject_GetAttrString(object, name);
    uint32_t id = qi_name_text(p, text);

    Py_XDECREF(text);
    PyErr_Clear();
    return id;
}

static uint32_t
line_attribute(PyObject *object, const char *name)
{
    PyObject *line = PyObject_GetAttrString(object, name);
    long value = line != NULL && PyLong_Check(line) ? PyLong_AsLong(line) : 0;

    Py_XDECREF(line);
    PyErr_Clear();
    return value > 0 && value < INT32_MAX ? (uint32_t)value : 0;
}

/* A code object at a line of its own. */
static uint32_t
code_at(struct qi_probe *p, PyObject *code, PyObject *qualname, uint32_t line)
{
    uint32_t file = text_attribute(p, code, "co_filename");
    uint32_t name = qi_name_text(p, qualname);

    if (name == 0) {
        name = text_attribute(p, code, "co_qualname"); /* from 3.11 on */
    }
    if (name == 0) {
        name = text_attribute(p, code, "co_name");
    }
    return qi_code(p->client, file, name, line);
}

uint32_t
qi_name_code(struct qi_probe *p, PyObject *code, PyObject *qualname)
{
    struct qi_known *known = qi_known_find(&p->codes, code);

    if (known != NULL) {
        return known->text;
    }
    uint32_t id = code_at(p, code, qualname, line_attribute(code, "co_firstlineno"));
    known = qi_known_enter(&p->codes, code, QI_MAX_CODES);
    if (known != NULL) {
        known->text = id;
        known->ref = 1; /* the key is a reference of ours */
        Py_INCREF(code);
    }
    return id;
}

/* Where a frame is whose code runs `instruction`.  To find the line takes the longer the
   further down a function it is, so what is remembered belongs to the instruction: the
   key is the address of the code with the instruction's number above it.  The code object
   is kept by its own entry, so nothing else gets that address.  owner: has the qualified
   name; may be NULL.  *ret_kept: the code object is kept. */
static uint32_t
name_frame(struct qi_probe *p, PyFrameObject *frame, PyObject *code, int instruction,
           PyObject *owner, int *ret_kept)
{
    uint64_t address = (uint64_t)(uintptr_t)code;
    int64_t number = (int64_t)instruction / 2 + 1;
    int fits = number > 0 && number <= UINT16_MAX && address >> 48 == 0;
    const void *key = (const void *)(uintptr_t)(address | (uint64_t)number << 48);
    struct qi_known *known = fits ? qi_known_find(&p->codes, key) : NULL;

    *ret_kept = 1;
    if (known != NULL) {
        return known->text;
    }
    int line = PyFrame_GetLineNumber(frame);
    PyObject *qualname = owner == NULL ? NULL : PyObject_GetAttr(owner, p->str_qualname);
    PyErr_Clear();
#if PY_VERSION_HEX >= 0x030B0000 /* before, a code object has no qualified name */
    (void)qi_name_code(p, code, qualname);
#endif
    uint32_t id = code_at(p, code, qualname, line > 0 ? (uint32_t)line : 0);
    Py_XDECREF(qualname);
    *ret_kept = qi_known_find(&p->codes, code) != NULL;
    if (fits && *ret_kept) {
        known = qi_known_enter(&p->codes, key, QI_MAX_CODES);
        if (known != NULL) {
            known->text = id;
        }
    }
    return id;
}

/* Something without Python code: its qualified name, else its type's. */
static uint32_t
name_of_other(struct qi_probe *p, PyObject *callable)
{
    uint32_t name = text_attribute(p, callable, "__qualname__");

    if (name == 0) {
        name = text_attribute(p, (PyObject *)Py_TYPE(callable), "__qualname__");
    }
    return qi_code(p->client, 0, name, 0);
}

static uint32_t
name_of_builtin(struct qi_probe *p, PyObject *callable)
{
    const void *key = (const void *)(uintptr_t)PyCFunction_GET_FUNCTION(callable);
    struct qi_known *known = qi_known_find(&p->codes, key);

    if (known != NULL) {
        return known->text;
    }
    uint32_t id = name_of_other(p, callable);
    known = qi_known_enter(&p->codes, key, QI_MAX_CODES);
    if (known != NULL) {
        known->text = id;
    }
    return id;
}

uint32_t
qi_name_callable(struct qi_probe *p, PyObject *callable)
{
    uint32_t id;

    if (PyMethod_Check(callable)) {
        callable = PyMethod_GET_FUNCTION(callable);
    }
    if (PyFunction_Check(callable)) {
        return qi_name_code(p, PyFunction_GET_CODE(callable),
                            ((PyFunctionObject *)callable)->func_qualname);
    }
    if (PyCFunction_Check(callable)) {
        return name_of_builtin(p, callable);
    }
    /* functools.partial and what resembles it. */
    PyObject *inner = PyObject_GetAttrString(callable, "func");
    PyErr_Clear();
    if (inner != NULL && inner != callable && PyCallable_Check(inner)
        && (PyFunction_Check(inner) || PyMethod_Check(inner)
            || PyCFunction_Check(inner))) {
        id = qi_name_callable(p, inner);
    }
    else {
        id = name_of_other(p, callable);
    }
    Py_XDECREF(inner);
    return id;
}

/* cr_code, gi_code or ag_code; NULL without an exception. */
static PyObject *
code_of_coroutine(struct qi_probe *p, PyObject *coro)
{
    PyObject *code;

    if (PyCoro_CheckExact(coro)) { /* nearly always: without a look-up */
#if PY_VERSION_HEX >= 0x030C0000
        return (PyObject *)PyGen_GetCode((PyGenObject *)coro);
#else
        return Py_XNewRef((PyObject *)((PyGenObject *)coro)->gi_code);
#endif
    }
    code = PyObject_GetAttr(coro, p->str_cr_code);
    if (code == NULL) {
        PyErr_Clear();
        code = PyObject_GetAttrString(coro, "gi_code");
    }
    if (code == NULL) {
        PyErr_Clear();
    }
    return code;
}

uint32_t
qi_name_coroutine(struct qi_probe *p, PyObject *coro)
{
    PyObject *code = code_of_coroutine(p, coro);
    uint32_t id;

    if (code == NULL) {
        return name_of_other(p, coro);
    }
    struct qi_known *known = qi_known_find(&p->codes, code);
    if (known != NULL) {
        id = known->text;
    }
    else {
        PyObject *qualname = PyObject_GetAttr(coro, p->str_qualname);
        PyErr_Clear();
        id = qi_name_code(p, code, qualname);
        Py_XDECREF(qualname);
    }
    Py_DECREF(code);
    return id;
}

/* The number N of a text "Task-N" that fits; -1 for any other. */
static long
task_number(const char *name, Py_ssize_t size)
{
    const Py_ssize_t prefix = (Py_ssize_t)strlen(TASK_PREFIX);
    long number = 0;

    if (size <= prefix || size > prefix + 9 || memcmp(name, TASK_PREFIX, (size_t)prefix)
        || name[prefix] == '0') {
        return -1;
    }
    for (Py_ssize_t i = prefix; i < size; i++) {
        if (name[i] < '0' || name[i] > '9') {
            return -1;
        }
        number = number * 10 + (name[i] - '0');
    }
    return number;
}

uint32_t
qi_name_task(struct qi_probe *p, PyObject *task)
{
    PyObject *name = p->get_name != NULL && Py_IS_TYPE(task, p->task_type)
                         ? p->get_name(task, NULL)
                         : PyObject_CallMethodObjArgs(task, p->str_get_name, NULL);
    Py_ssize_t size = 0;
    const char *utf8 = name != NULL && PyUnicode_Check(name)
                           ? PyUnicode_AsUTF8AndSize(name, &size)
                           : NULL;
    long number = utf8 != NULL ? task_number(utf8, size) : -1;
    uint32_t id = number >= 0 ? QI_TASK_N | (uint32_t)number : qi_name_text(p, name);

    Py_XDECREF(name);
    PyErr_Clear();
    return id;
}

/* To make a frame object may start the collector, hence Python code that makes tasks: so
   what is remembered of the whole is void while a part of it is new. */
uint32_t
qi_name_stack(struct qi_probe *p)
{
    struct qi_stack_memory *last = &p->last_stack;
    uint64_t use = ++last->uses;
    uint32_t codes[QI_STACK_DEPTH];
    size_t n = 0;
    PyFrameObject *frame = PyThreadState_GetFrame(PyThreadState_Get());

    while (frame != NULL && n < QI_STACK_DEPTH) {
        PyObject *code = (PyObject *)PyFrame_GetCode(frame);
        int instruction = PyFrame_GetLasti(frame);
        if (last->at[n].code != code || last->at[n].instruction != instruction) {
            int kept;
            last->at[n].id = name_frame(p, frame, code, instruction, NULL, &kept);
            last->at[n].code = kept ? code : NULL;
            last->at[n].instruction = instruction;
            last->len = 0;
        }
        codes[n] = last->at[n].id;
        n++;
        Py_DECREF(code);
        PyFrameObject *back = n < QI_STACK_DEPTH ? PyFrame_GetBack(frame) : NULL;
        Py_DECREF(frame);
        frame = back;
    }
    Py_XDECREF(frame);
    if (n == 0 || last->uses != use) {
        last->len = 0;
        return qi_stack(p->client, codes, n);
    }
    if (n != last->len) {
        last->id = qi_stack(p->client, codes, n);
        last->len = n;
    }
    return last->id;
}

/* What a coroutine or generator awaits; NULL without an exception. */
static PyObject *
awaited_by(const struct qi_probe *p, PyObject *coro)
{
    return PyCoro_CheckExact(coro)  ? qi_read_attribute(&p->cr_await, coro)
           : PyGen_CheckExact(coro) ? qi_read_attribute(&p->gi_yieldfrom, coro)
                                    : NULL;
}

uint32_t
qi_name_innermost(struct qi_probe *p, PyObject *coro)
{
    PyObject *at = Py_NewRef(coro);
    uint32_t id = 0;

    for (int i = 0; i < MAX_CHAIN; i++) {
        PyObject *next = awaited_by(p, at);
        if (next == NULL || !(PyCoro_CheckExact(next) || PyGen_CheckExact(next))) {
            Py_XDECREF(next);
            break;
        }
        Py_SETREF(at, next);
    }
    PyObject *frame =
        qi_read_attribute(PyCoro_CheckExact(at) ? &p->cr_frame : &p->gi_frame, at);
    if (frame != NULL && PyFrame_Check(frame)) {
        PyObject *code = (PyObject *)PyFrame_GetCode((PyFrameObject *)frame);
        int instruction = PyFrame_GetLasti((PyFrameObject *)frame);
        int kept;
        id = name_frame(p, (PyFrameObject *)frame, code, instruction, at, &kept);
        Py_DECREF(code);
    }
    Py_XDECREF(frame);
    Py_DECREF(at);
    return id;
}
