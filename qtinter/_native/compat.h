/*
 * compat.h - the differences between CPython versions, all in one place.
 *
 * The only file of the extension that looks at PY_VERSION_HEX.  Every C file that
 * uses the Python C API includes this one instead of <Python.h>.
 *
 * pythoncapi_compat.h gives newer API functions to older interpreters.  It is kept
 * unedited; its origin: github.com/python/pythoncapi-compat (0BSD), the revision
 * that multidict 7.2.1 ships,
 * sha256 bac7a94e7625cf3eed5ff54104f46d370f9d82e1c5acf2af1e11d0e3029c15a6.
 * What it does not cover is below.
 */
#ifndef QI_NATIVE_COMPAT_H
#define QI_NATIVE_COMPAT_H

#define PY_SSIZE_T_CLEAN
#include <Python.h>

#include <stddef.h>

/* Our own code is compiled with -Wconversion, the vendored header is not ours. */
#if defined(__GNUC__)
#  pragma GCC diagnostic push
#  pragma GCC diagnostic ignored "-Wconversion"
#  pragma GCC diagnostic ignored "-Wsign-conversion"
#endif
#include "pythoncapi_compat.h"
#if defined(__GNUC__)
#  pragma GCC diagnostic pop
#endif

#include <structmember.h> /* PyMemberDef and its T_ codes before 3.12 */

/* Before 3.9 PyMODINIT_FUNC leaves the visibility alone, and ours is hidden. */
#if PY_VERSION_HEX < 0x03090000 && defined(__GNUC__)
#  undef PyMODINIT_FUNC
#  define PyMODINIT_FUNC __attribute__((visibility("default"))) PyObject *
#endif

/* An instance of a heap type owns a reference to its type.  From 3.9 on tp_traverse
   has to visit it (bpo-40217); before, subtype_traverse() does and a second visit
   would break the collector's count. */
#if PY_VERSION_HEX >= 0x03090000
#  define QI_VISIT_TYPE(self) Py_VISIT(Py_TYPE(self))
#else
#  define QI_VISIT_TYPE(self) ((void)0)
#endif

/* Weak references: 3.9+ reads the offset from a member of that name, 3.8 wants it
   written into the type after creation.  Use both, one of them does nothing. */
#if PY_VERSION_HEX >= 0x03090000
#  define QI_WEAKLIST_MEMBER(type, field)                                                \
      {"__weaklistoffset__", T_PYSSIZET, offsetof(type, field), READONLY, NULL},
#  define QI_TYPE_SET_WEAKLIST(tp, type, field) ((void)0)
#else
#  define QI_WEAKLIST_MEMBER(type, field)
#  define QI_TYPE_SET_WEAKLIST(tp, type, field)                                          \
      ((void)((tp)->tp_weaklistoffset = offsetof(type, field)))
#endif

#ifndef Py_TPFLAGS_IMMUTABLETYPE /* 3.10 */
#  define Py_TPFLAGS_IMMUTABLETYPE 0
#endif
#ifndef Py_TPFLAGS_HAVE_VECTORCALL /* 3.9; 3.8: under a private name, 3.7: not at all */
#  if PY_VERSION_HEX >= 0x03080000
#    define Py_TPFLAGS_HAVE_VECTORCALL _Py_TPFLAGS_HAVE_VECTORCALL
#  else
#    define Py_TPFLAGS_HAVE_VECTORCALL 0UL
#  endif
#endif
#ifndef Py_TPFLAGS_DISALLOW_INSTANTIATION /* 3.10; also set tp_new to NULL */
#  define Py_TPFLAGS_DISALLOW_INSTANTIATION 0
#endif

#ifndef Py_TRASHCAN_BEGIN /* 3.8; before, the end of the pair names the object, too */
#  define Py_TRASHCAN_BEGIN(op, dealloc)                                                 \
      PyObject *qi_trash = (PyObject *)(op);                                             \
      Py_TRASHCAN_SAFE_BEGIN(qi_trash)
#  define Py_TRASHCAN_END Py_TRASHCAN_SAFE_END(qi_trash)
#endif

/* The reference that an instance of a heap type owns to its type (bpo-35810).  Since 3.8
   PyObject_Init() takes it, and the tp_dealloc of a C type gives it back for instances of
   Python subclasses as well.  In 3.7 only tp_alloc takes it, and subtype_dealloc() gives
   back that of a Python subclass itself. */
static inline PyObject *
qi_object_init(PyObject *memory, PyTypeObject *type)
{
#if PY_VERSION_HEX < 0x03080000
    Py_INCREF(type);
#endif
    return PyObject_Init(memory, type);
}

/* To be called last in `dealloc`, a tp_dealloc, with the type of what it freed. */
static inline void
qi_release_type(PyTypeObject *type, destructor dealloc)
{
#if PY_VERSION_HEX < 0x03080000
    if (type->tp_dealloc != dealloc) {
        return;
    }
#else
    (void)dealloc;
#endif
    Py_DECREF(type);
}

/* Slots of a module whose state is all in the module object: one instance per
   interpreter.  Py_mod_gil is left out until the free-threading audit is done; the
   interpreter then keeps the GIL on and says so. */
#if PY_VERSION_HEX >= 0x030C0000
#  define QI_MODULE_COMPAT_SLOTS                                                         \
      {Py_mod_multiple_interpreters, Py_MOD_PER_INTERPRETER_GIL_SUPPORTED},
#else
#  define QI_MODULE_COMPAT_SLOTS
#endif

/* [loop]  Makes a heap type that belongs to the module.  Returns a new reference, or
   NULL with an exception.  bases: NULL, a type or a tuple of types.

   3.8 has no link from a type to its module; the type's dict holds one there, because
   the module state must outlive every instance. */
static inline PyTypeObject *
qi_type_new(PyObject *module, PyType_Spec *spec, PyObject *bases)
{
#if PY_VERSION_HEX >= 0x030A0000
    return (PyTypeObject *)PyType_FromModuleAndSpec(module, spec, bases);
#else
    /* A single type is accepted as bases from 3.10 on only. */
    PyObject *type = NULL;
    PyObject *tuple = NULL;

    if (bases != NULL && !PyTuple_Check(bases)) {
        tuple = PyTuple_Pack(1, bases);
        if (tuple == NULL) {
            return NULL;
        }
        bases = tuple;
    }
#  if PY_VERSION_HEX >= 0x03090000
    type = PyType_FromModuleAndSpec(module, spec, bases);
#  else
    type = PyType_FromSpecWithBases(spec, bases);
    if (type != NULL && PyObject_SetAttrString(type, "__qi_module__", module) < 0) {
        Py_CLEAR(type);
    }
#  endif
    Py_XDECREF(tuple);
    return (PyTypeObject *)type;
#endif
}

/* The module state behind a heap type made by qi_type_new(), borrowed. */
static inline void *
qi_type_module_state(PyTypeObject *type)
{
#if PY_VERSION_HEX >= 0x03090000
    return PyType_GetModuleState(type);
#else
    PyObject *module = PyDict_GetItemString(type->tp_dict, "__qi_module__");
    return module == NULL ? NULL : PyModule_GetState(module);
#endif
}

/* Whether the exception that is set ends the run of a loop, instead of being reported:
   what asyncio of the running Python lets out of a callback. */
static inline int
qi_exception_ends_run(void)
{
#if PY_VERSION_HEX >= 0x03080000
    return PyErr_ExceptionMatches(PyExc_SystemExit)
           || PyErr_ExceptionMatches(PyExc_KeyboardInterrupt);
#else
    return !PyErr_ExceptionMatches(PyExc_Exception);
#endif
}

/* Takes the current exception: a new reference to the exception object with its
   traceback set, NULL when there is none.  3.12 has it as one call. */
static inline PyObject *
qi_take_exception(void)
{
#if PY_VERSION_HEX >= 0x030C0000
    return PyErr_GetRaisedException();
#else
    PyObject *type = NULL;
    PyObject *value = NULL;
    PyObject *tb = NULL;

    PyErr_Fetch(&type, &value, &tb);
    if (type == NULL) {
        return NULL;
    }
    PyErr_NormalizeException(&type, &value, &tb);
    if (tb != NULL && value != NULL) {
        (void)PyException_SetTraceback(value, tb);
    }
    Py_XDECREF(type);
    Py_XDECREF(tb);
    return value;
#endif
}

/* Raises exc again; steals the reference. */
static inline void
qi_raise_exception(PyObject *exc)
{
#if PY_VERSION_HEX >= 0x030C0000
    PyErr_SetRaisedException(exc);
#else
    PyErr_Restore(Py_NewRef((PyObject *)Py_TYPE(exc)), exc,
                  PyException_GetTraceback(exc));
#endif
}

/* A number that changes when the type or one of its bases does; 0: there is none, the
   type may have changed.  Looking an attribute up on the type makes one. */
static inline unsigned int
qi_type_version(PyTypeObject *type)
{
#if PY_VERSION_HEX < 0x030C0000 /* an outdated number stays in place */
    if (!PyType_HasFeature(type, Py_TPFLAGS_VALID_VERSION_TAG)) {
        return 0;
    }
#endif
    return (unsigned int)type->tp_version_tag;
}

/* The Python frame that called into C, borrowed; NULL when there is none. */
static inline PyFrameObject *
qi_current_frame(void)
{
    return PyEval_GetFrame();
}

/* What asyncio.Task() can be given. */
#define QI_TASKS_HAVE_NAMES (PY_VERSION_HEX >= 0x03080000)
#define QI_TASKS_START_EAGERLY (PY_VERSION_HEX >= 0x030C0000)

/* The calling thread's current contextvars.Context, borrowed; NULL while it has none. */
static inline PyObject *
qi_current_context(void)
{
    return PyThreadState_Get()->context;
}

/* A number for the calling thread's state that no other thread state ever has. */
static inline uint64_t
qi_thread_state_id(void)
{
#if PY_VERSION_HEX >= 0x03090000
    return PyThreadState_GetID(PyThreadState_Get());
#else
    return PyThreadState_Get()->id;
#endif
}

/* True while the interpreter is being torn down: Python must not be entered. */
static inline int
qi_interpreter_gone(void)
{
    return !Py_IsInitialized() || Py_IsFinalizing();
}

#endif
