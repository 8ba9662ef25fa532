/*
 * process.c - what Python does not tell about its own process: libraries and memory.
 *
 * _loaded_libraries()           used by _hosts.py: one Qt in the process, and which
 * _pointers_in(), _object_at(), _pointer_at()
 *                               used by _qt.py: the sender that PyQt's bound signal
 *                               holds, of which it owns no reference
 *
 * Libraries come from the dynamic loader's own list: some microseconds.  The text of
 * /proc/self/maps takes the kernel 1 to 10 ms to write, with the widgets of Qt loaded.
 *
 * The memory functions never fault: what may be gone is read only where it is mapped,
 * and trusted only as far as it looks like an object of a type the caller expects.
 */
#include "process.h"

#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#if defined(__ELF__)
#  include <link.h>
#elif defined(__APPLE__)
#  include <mach-o/dyld.h>
#endif
#if defined(_WIN32)
#  define WIN32_LEAN_AND_MEAN
#  include <windows.h>
#else
#  include <sys/mman.h>
#  include <unistd.h>
#endif

/*********** libraries ***********/

struct paths {
    const char *prefix; /* of the file name */
    char **items;       /* owned, as are the strings */
    size_t count;
    int out_of_memory;
};

/* Returns 0 if the search may go on. */
static int
paths_add(struct paths *paths, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash != NULL ? slash + 1 : path;

    if (strncmp(name, paths->prefix, strlen(paths->prefix)) != 0) {
        return 0;
    }
    char **items = realloc(paths->items, (paths->count + 1) * sizeof(*items));
    char *copy = strdup(path);
    if (items != NULL) {
        paths->items = items;
    }
    if (items == NULL || copy == NULL) {
        free(copy);
        paths->out_of_memory = 1;
        return 1;
    }
    items[paths->count++] = copy;
    return 0;
}

#if defined(__ELF__)
/* The loader holds its lock meanwhile: no Python here, which might load a library. */
static int
visit_library(struct dl_phdr_info *info, size_t Py_UNUSED(size), void *data)
{
    return paths_add(data, info->dlpi_name != NULL ? info->dlpi_name : "");
}

static void
paths_collect(struct paths *paths)
{
    (void)dl_iterate_phdr(visit_library, paths);
}
#elif defined(__APPLE__)
static void
paths_collect(struct paths *paths)
{
    for (uint32_t i = 0; i < _dyld_image_count(); i++) {
        const char *path = _dyld_get_image_name(i);
        if (path != NULL && paths_add(paths, path) != 0) {
            return;
        }
    }
}
#else
static void
paths_collect(struct paths *Py_UNUSED(paths))
{
}
#endif

static PyObject *
paths_as_list(const struct paths *paths)
{
    if (paths->out_of_memory) {
        return PyErr_NoMemory();
    }
    PyObject *list = PyList_New(0);
    for (size_t i = 0; list != NULL && i < paths->count; i++) {
        PyObject *path = PyUnicode_DecodeFSDefault(paths->items[i]);
        if (path == NULL || PyList_Append(list, path) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(path);
    }
    return list;
}

PyDoc_STRVAR(
    loaded_libraries_doc,
    "_loaded_libraries(prefix)\n--\n\n"
    "Return the paths of the libraries loaded in this process, in the order of the\n"
    "dynamic loader, whose file name begins with prefix.  Each library is there once,\n"
    "whatever the number of its names.  Empty where the loader cannot be asked "
    "(Windows).");

static PyObject *
process_loaded_libraries(PyObject *Py_UNUSED(module), PyObject *arg)
{
    struct paths paths = {.prefix = PyUnicode_AsUTF8(arg)};

    if (paths.prefix == NULL) {
        return NULL;
    }
    paths_collect(&paths);
    PyObject *list = paths_as_list(&paths);
    while (paths.count > 0) {
        free(paths.items[--paths.count]);
    }
    free(paths.items);
    return list;
}

/*********** memory ***********/

/* Whether size bytes from start can be read. */
static int
is_mapped(const void *start, size_t size)
{
#if defined(_WIN32)
    MEMORY_BASIC_INFORMATION info;
    if (VirtualQuery(start, &info, sizeof(info)) == 0) {
        return 0;
    }
    uintptr_t end = (uintptr_t)info.BaseAddress + info.RegionSize;
    return info.State == MEM_COMMIT && (info.Protect & (PAGE_NOACCESS | PAGE_GUARD)) == 0
           && (uintptr_t)start + size <= end;
#else
    /* POSIX: ENOMEM if a page is not mapped; nothing is written (MS_ASYNC). */
    uintptr_t page = (uintptr_t)sysconf(_SC_PAGESIZE);
    uintptr_t first = (uintptr_t)start & ~(page - 1);
    return msync((void *)first, (uintptr_t)start - first + size, MS_ASYNC) == 0;
#endif
}

PyDoc_STRVAR(pointers_in_doc,
             "_pointers_in(obj, skip, count)\n--\n\n"
             "Return count pointers out of the memory of obj, as a tuple of integers,\n"
             "beginning skip pointers after the object's header.\n\n"
             "Raises ValueError if the objects of this type are not as large.");

static PyObject *
process_pointers_in(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *obj;
    Py_ssize_t skip;
    Py_ssize_t count;

    if (!PyArg_ParseTuple(args, "Onn:_pointers_in", &obj, &skip, &count)) {
        return NULL;
    }
    const Py_ssize_t room = (Py_TYPE(obj)->tp_basicsize - (Py_ssize_t)sizeof(PyObject))
                            / (Py_ssize_t)sizeof(void *);
    if (skip < 0 || count < 0 || skip > room || count > room - skip) {
        PyErr_Format(PyExc_ValueError, "an object of type %.200s has only %zd pointers",
                     Py_TYPE(obj)->tp_name, room);
        return NULL;
    }
    void *const *fields = (void *const *)(obj + 1) + skip;
    PyObject *result = PyTuple_New(count);
    for (Py_ssize_t i = 0; result != NULL && i < count; i++) {
        PyObject *value = PyLong_FromVoidPtr(fields[i]);
        if (value == NULL) {
            Py_CLEAR(result);
            break;
        }
        PyTuple_SET_ITEM(result, i, value);
    }
    return result;
}

PyDoc_STRVAR(
    object_at_doc,
    "_object_at(address, types)\n--\n\n"
    "Return the object at an address (its id) at which there may be none any more, or\n"
    "None.  types is a set of the addresses of the types that it may have.\n\n"
    "An object is returned if the memory is mapped, has a reference count above zero\n"
    "and the address of one of the types where an object has it.  That is no proof: to\n"
    "be used for types that the collector tracks, whose objects keep their header when\n"
    "they are freed, and to be verified by what the caller knows.  Always None without\n"
    "the GIL: another thread might free the object meanwhile.");

/* Reads memory that has been freed perhaps, which the sanitizer is not to see; hence
   the fields themselves and none of the API's functions.  Without the GIL, what is seen
   alive may be freed before it is taken. */
#if defined(__GNUC__)
__attribute__((no_sanitize_address, noinline))
#endif
static PyTypeObject *
type_if_alive(const PyObject *obj)
{
#ifdef Py_GIL_DISABLED
    (void)obj;
    return NULL;
#else
    return obj->ob_refcnt > 0 ? obj->ob_type : NULL;
#endif
}

static PyObject *
process_object_at(PyObject *Py_UNUSED(module), PyObject *args)
{
    PyObject *address;
    PyObject *types;

    if (!PyArg_ParseTuple(args, "O!O!:_object_at", &PyLong_Type, &address, &PySet_Type,
                          &types)) {
        return NULL;
    }
    PyObject *obj = PyLong_AsVoidPtr(address);
    if (obj == NULL) {
        if (PyErr_Occurred()) {
            return NULL;
        }
        Py_RETURN_NONE;
    }
    if ((uintptr_t)obj % sizeof(void *) != 0 || !is_mapped(obj, sizeof(PyObject))) {
        Py_RETURN_NONE;
    }
    PyTypeObject *type = type_if_alive(obj);
    if (type == NULL) {
        Py_RETURN_NONE;
    }
    PyObject *key = PyLong_FromVoidPtr(type);
    int found = key != NULL ? PySet_Contains(types, key) : -1;
    Py_XDECREF(key);
    if (found < 0) {
        return NULL;
    }
    return Py_NewRef(found ? obj : Py_None);
}

PyDoc_STRVAR(pointer_at_doc,
             "_pointer_at(address)\n--\n\n"
             "Return the pointer that lies at an address, as an integer, or None if the\n"
             "address is not that of a pointer in mapped memory.");

/* As above: hidden from the sanitizer. */
#if defined(__GNUC__)
__attribute__((no_sanitize_address, noinline))
#endif
static void *
read_pointer(void *const *address)
{
    return *address;
}

static PyObject *
process_pointer_at(PyObject *Py_UNUSED(module), PyObject *arg)
{
    if (!PyLong_Check(arg)) {
        PyErr_Format(PyExc_TypeError, "_pointer_at() takes an int, not %.100s",
                     Py_TYPE(arg)->tp_name);
        return NULL;
    }
    void *const *address = PyLong_AsVoidPtr(arg);
    if (address == NULL && PyErr_Occurred()) {
        return NULL;
    }
    if (address == NULL || (uintptr_t)address % sizeof(void *) != 0
        || !is_mapped(address, sizeof(void *))) {
        Py_RETURN_NONE;
    }
    return PyLong_FromVoidPtr(read_pointer(address));
}

PyMethodDef qi_process_methods[] = {
    {"_loaded_libraries", process_loaded_libraries, METH_O, loaded_libraries_doc},
    {"_pointers_in", process_pointers_in, METH_VARARGS, pointers_in_doc},
    {"_object_at", process_object_at, METH_VARARGS, object_at_doc},
    {"_pointer_at", process_pointer_at, METH_O, pointer_at_doc},
    {NULL, NULL, 0, NULL},
};
