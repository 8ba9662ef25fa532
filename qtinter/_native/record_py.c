/*
 * record_py.c - the functions of _core that make recordings: of what happens from now on,
 * of what the segment has now, of a segment that a process left.
 */
#include "probe_impl.h"

#include "qi_recorder.h"
#include "state.h"
#include "trace_segment.h"

#include <string.h>

/* The errors of trace_write.h; errno is as the failure left it. */
static PyObject *
raise_write_error(PyObject *path, int status)
{
    if (status == QI_TRACE_E_NOMEM) {
        return PyErr_NoMemory();
    }
    if (status == QI_TRACE_E_OS) {
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, path);
    }
    if (status == QI_TRACE_E_EXISTS) {
        return PyErr_Format(PyExc_FileExistsError, "%S: %s", path, qi_trace_text(status));
    }
    return PyErr_Format(PyExc_ValueError, "%S: %s", path, qi_trace_text(status));
}

/* segment_to_trace(segment_path, trace_path, trace_id=None): what a segment file still
   holds; None: with the segment's own id. */
static PyObject *
segment_to_trace(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *from;
    PyObject *to;
    PyObject *from_bytes = NULL;
    PyObject *to_bytes = NULL;
    struct qi_segment segment;
    struct qi_trace_info info;
    const char *trace_id = NULL;
    int written = QI_TRACE_OK;
    int r;

    if (!PyArg_ParseTuple(args, "OO|z", &from, &to, &trace_id)
        || !PyUnicode_FSConverter(from, &from_bytes)) {
        return NULL;
    }
    if (!PyUnicode_FSConverter(to, &to_bytes)) {
        Py_DECREF(from_bytes);
        return NULL;
    }
    Py_BEGIN_ALLOW_THREADS r = qi_segment_load(PyBytes_AS_STRING(from_bytes), &segment);
    if (r == QI_VIEW_OK) {
        qi_trace_info_of_segment(&segment.view.header, "segment", &info);
        info.trace_id = trace_id != NULL ? trace_id : info.trace_id;
        written = qi_trace_save(&segment.view, &info, PyBytes_AS_STRING(to_bytes), 0, 0);
        int saved = errno;
        qi_segment_unload(&segment);
        errno = saved;
    }
    Py_END_ALLOW_THREADS Py_DECREF(from_bytes);
    Py_DECREF(to_bytes);
    if (r == QI_VIEW_E_OS) {
        return PyErr_SetFromErrnoWithFilenameObject(PyExc_OSError, from);
    }
    if (r < 0) {
        return r == QI_VIEW_E_NOMEM ? PyErr_NoMemory()
                                    : PyErr_Format(PyExc_ValueError, "cannot read %R: %s",
                                                   from, qi_view_text(r));
    }
    return written < 0 ? raise_write_error(to, written) : Py_NewRef(Py_None);
}

static struct qi_probe *
probe_of(PyObject *module)
{
    struct qi_probe *p = (*(qi_state **)PyModule_GetState(module))->probe;

    if (p == NULL) {
        PyErr_SetString(PyExc_RuntimeError, "inspection is not enabled");
    }
    return p;
}

static PyObject *
raise_client_error(int status)
{
    PyErr_SetString(status == QI_E_INVALID  ? PyExc_ValueError
                    : status == QI_E_EXISTS ? PyExc_FileExistsError
                    : status == QI_E_OS     ? PyExc_OSError
                    : status == QI_E_NOMEM  ? PyExc_MemoryError
                                            : PyExc_RuntimeError,
                    qi_client_last_error());
    return NULL;
}

/* inspect_save_trace(path, first_record=0, trace_id=None): what the segment has. */
static PyObject *
inspect_save_trace(PyObject *module, PyObject *args)
{
    struct qi_probe *p = probe_of(module);
    unsigned long long first = 0;
    const char *trace_id = NULL;
    PyObject *path;
    PyObject *bytes = NULL;
    int r;

    if (p == NULL || !PyArg_ParseTuple(args, "O|Kz", &path, &first, &trace_id)
        || !PyUnicode_FSConverter(path, &bytes)) {
        return NULL;
    }
    qi_probe_hold(p); /* another thread may end the inspection meanwhile */
    Py_BEGIN_ALLOW_THREADS r =
        qi_client_save_trace(p->client, PyBytes_AS_STRING(bytes), first, trace_id);
    Py_END_ALLOW_THREADS(void) qi_probe_let_go(p);
    Py_DECREF(bytes);
    return r < 0 ? raise_client_error(r) : Py_NewRef(Py_None);
}

/* An option that is a number; absent or None: 0.  -1 with an exception: it is none. */
static int
number_option(PyObject *options, const char *name, int64_t *ret)
{
    PyObject *value = PyDict_GetItemString(options, name); /* borrowed */

    *ret = 0;
    if (value == NULL || value == Py_None) {
        return 0;
    }
    *ret = PyLong_AsLongLong(value);
    if (*ret == -1 && PyErr_Occurred()) {
        return -1;
    }
    if (*ret < 0) {
        PyErr_Format(PyExc_ValueError, "%s must not be negative", name);
        return -1;
    }
    return 0;
}

static int
read_options(PyObject *options, struct qi_recorder_options *ret)
{
    PyObject *on = PyDict_GetItemString(options, "on"); /* borrowed */
    int64_t max_bytes = 0;

    memset(ret, 0, sizeof(*ret));
    if (number_option(options, "max_bytes", &max_bytes) < 0
        || number_option(options, "max_age_ns", &ret->max_age_ns) < 0
        || number_option(options, "chunk_ns", &ret->chunk_ns) < 0
        || number_option(options, "pre_ns", &ret->trigger.pre_ns) < 0
        || number_option(options, "post_ns", &ret->trigger.post_ns) < 0) {
        return -1;
    }
    ret->max_bytes = (uint64_t)max_bytes;
    if (on != NULL) {
        const char *text = PyUnicode_Check(on) ? PyUnicode_AsUTF8(on) : NULL;
        if (text == NULL || qi_trigger_parse(&ret->trigger, text) < 0) {
            PyErr_Format(PyExc_ValueError, "on is %R; " QI_TRIGGER_SYNTAX, on);
            return -1;
        }
    }
    return 0;
}

/* inspect_record_start(path, options) -> handle */
static PyObject *
inspect_record_start(PyObject *module, PyObject *args)
{
    struct qi_probe *p = probe_of(module);
    struct qi_recorder_options options;
    PyObject *path;
    PyObject *dict;
    PyObject *bytes = NULL;
    uint32_t handle = 0;
    int r;

    if (p == NULL || !PyArg_ParseTuple(args, "OO!", &path, &PyDict_Type, &dict)
        || read_options(dict, &options) < 0 || !PyUnicode_FSConverter(path, &bytes)) {
        return NULL;
    }
    options.path = PyBytes_AS_STRING(bytes);
    /* It takes some time for each live row: a tenth of a second for 200,000. */
    qi_probe_hold(p);
    Py_BEGIN_ALLOW_THREADS r = qi_recorder_start(p->client, &options, &handle);
    Py_END_ALLOW_THREADS(void) qi_probe_let_go(p);
    Py_DECREF(bytes);
    return r < 0 ? raise_client_error(r) : PyLong_FromUnsignedLong(handle);
}

static PyObject *
recorder_stats(const struct qi_recorder_stats *s)
{
    return Py_BuildValue(
        "{ss ss sK sK sK sK sK sK sK sK sL ss}", "state", s->state, "reason", s->reason,
        "records", (unsigned long long)s->records, "lost", (unsigned long long)s->lost,
        "chunks", (unsigned long long)s->chunks, "chunks_dropped",
        (unsigned long long)s->chunks_dropped, "bytes", (unsigned long long)s->bytes,
        "written", (unsigned long long)s->written, "notes_lost",
        (unsigned long long)s->notes_lost, "captures", (unsigned long long)s->captures,
        "last_capture", (long long)s->last_capture, "last_trigger", s->last_trigger);
}

/* inspect_record_stop(handle, timeout_ms=5000) -> statistics */
static PyObject *
inspect_record_stop(PyObject *module, PyObject *args)
{
    struct qi_probe *p = probe_of(module);
    struct qi_recorder_stats stats;
    unsigned int handle;
    int timeout_ms = 5000;
    int r;

    if (p == NULL || !PyArg_ParseTuple(args, "I|i", &handle, &timeout_ms)) {
        return NULL;
    }
    qi_probe_hold(p);
    Py_BEGIN_ALLOW_THREADS r = qi_recorder_stop(p->client, handle, timeout_ms, &stats);
    Py_END_ALLOW_THREADS(void) qi_probe_let_go(p);
    return r < 0 ? raise_client_error(r) : recorder_stats(&stats);
}

static PyObject *
inspect_record_stats(PyObject *module, PyObject *arg)
{
    struct qi_probe *p = probe_of(module);
    unsigned long handle = p == NULL ? 0 : PyLong_AsUnsignedLong(arg);
    struct qi_recorder_stats stats;

    if (p == NULL || (handle == (unsigned long)-1 && PyErr_Occurred())) {
        return NULL;
    }
    int r = qi_recorder_stats(p->client, (uint32_t)handle, &stats);
    return r < 0 ? raise_client_error(r) : recorder_stats(&stats);
}

PyMethodDef qi_record_functions[] = {
    {"inspect_record_start", inspect_record_start, METH_VARARGS, NULL},
    {"inspect_record_stop", inspect_record_stop, METH_VARARGS, NULL},
    {"inspect_record_stats", inspect_record_stats, METH_O, NULL},
    {"inspect_save_trace", inspect_save_trace, METH_VARARGS, NULL},
    {"segment_to_trace", segment_to_trace, METH_VARARGS, NULL},
    {NULL, NULL, 0, NULL},
};
