/*
 * qtglue_module.c - the modules _qtglue and _qtglue5: hand native Qt hosts to Python.
 *
 * The same source is compiled once for Qt 6 (_qtglue) and once for Qt 5 (_qtglue5);
 * QI_QTGLUE is the module's name.
 *
 * The only unit that knows both Python and the glue, and it knows nothing else: what a
 * host does is in qt_glue.cpp, who uses it in _core.  Kept apart from _core so that
 * _core needs no Qt and no C++ library, and so that this module is loaded only after a
 * binding has loaded its Qt: the dynamic loader then resolves our need for libQt6Core
 * or libQt5Core to that copy.  Imported earlier, or with a binding for the other Qt, it
 * would bring in the system's Qt as a second one.
 */
#include "compat.h"

#include "qt_glue.h"

#ifndef QI_QTGLUE
#  define QI_QTGLUE _qtglue
#endif
#define QI_CONCAT_(a, b) a##b
#define QI_CONCAT(a, b) QI_CONCAT_(a, b)
#define QI_TEXT_(a) #a
#define QI_TEXT(a) QI_TEXT_(a)
#define QI_QTGLUE_NAME "qtinter." QI_TEXT(QI_QTGLUE)
#define QI_QTGLUE_INIT QI_CONCAT(PyInit_, QI_QTGLUE)

PyMODINIT_FUNC QI_QTGLUE_INIT(void); /* -Wmissing-prototypes wants it before 3.13 */

static void
capsule_free_host(PyObject *capsule)
{
    /* Renamed: _core has taken the host over and frees it. */
    if (!PyCapsule_IsValid(capsule, QI_HOST_CAPSULE)) {
        return;
    }
    struct qi_host *host =
        (struct qi_host *)PyCapsule_GetPointer(capsule, QI_HOST_CAPSULE);
    host->free(host);
}

PyDoc_STRVAR(
    new_host_doc,
    "new_host()\n--\n\n"
    "Return a new native Qt host for the loop core, in a capsule.\n\n"
    "The host is not started and may be used on any one thread.  The loop core\n"
    "takes it out of the capsule; if nobody does, it is freed with the capsule.");

static PyObject *
qtglue_new_host(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    struct qi_host *host = qi_qt_host_new();
    if (host == NULL) {
        return PyErr_NoMemory();
    }
    PyObject *capsule = PyCapsule_New(host, QI_HOST_CAPSULE, capsule_free_host);
    if (capsule == NULL) {
        host->free(host);
    }
    return capsule;
}

PyDoc_STRVAR(qt_version_doc,
             "qt_version()\n--\n\n"
             "Return the Qt versions (compiled against, loaded in this process), each\n"
             "as a string \"major.minor.patch\".");

static PyObject *
qtglue_qt_version(PyObject *Py_UNUSED(module), PyObject *Py_UNUSED(ignored))
{
    return Py_BuildValue("(ss)", qi_qt_compiled_version(), qi_qt_runtime_version());
}

static int
module_exec(PyObject *Py_UNUSED(module))
{
    if (!qi_qt_runtime_is_compatible()) {
        PyErr_Format(PyExc_ImportError,
                     QI_QTGLUE_NAME " was compiled against Qt %s and does not work with "
                                    "Qt %s, which is loaded in this process",
                     qi_qt_compiled_version(), qi_qt_runtime_version());
        return -1;
    }
    return 0;
}

static PyMethodDef module_methods[] = {
    {"new_host", qtglue_new_host, METH_NOARGS, new_host_doc},
    {"qt_version", qtglue_qt_version, METH_NOARGS, qt_version_doc},
    {NULL, NULL, 0, NULL},
};

/* No Py_mod_multiple_interpreters slot: Qt's objects belong to the process, so an
   interpreter with a lock of its own must be refused, which is what its absence means.
   No state and no global variable: a second module object is harmless. */
static PyModuleDef_Slot module_slots[] = {
    {Py_mod_exec, (void *)module_exec},
    {0, NULL},
};

static struct PyModuleDef module_def = {
    PyModuleDef_HEAD_INIT,
    .m_name = QI_QTGLUE_NAME,
    .m_doc = "Native Qt event loop host of qtinter's loop core.",
    .m_size = 0,
    .m_methods = module_methods,
    .m_slots = module_slots,
};

PyMODINIT_FUNC
QI_QTGLUE_INIT(void)
{
    return PyModuleDef_Init(&module_def);
}
