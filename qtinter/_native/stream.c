/*
 * stream.c - the hot part of asyncio's transports for sockets and pipes.
 *
 * What every read and most writes need, for classes derived from asyncio's (see
 * qtinter/_streams.py): receive what is there and hand it to the protocol; send at once
 * when nothing is queued.  Everything else (a part that could not be sent, EOF, errors,
 * flow control) is asyncio's own code.
 *
 * Data are received into one buffer per module and copied from there.  recv() of
 * asyncio's 256 KiB into a new bytes object makes glibc map, remap and unmap a block for
 * each read, until the process has once freed such a block: 20 us instead of 8 for a
 * request of 1 KiB, in a program whose connections stay open.
 *
 * The GIL is kept: the calls do not block (MSG_DONTWAIT), and the buffer is shared.
 *
 * Each function is METH_FASTCALL of the module and wrapped in an instance method, so that
 * a class can have it as a method; args[0] is the transport.
 */
#include "stream.h"

#ifndef _WIN32

#  include <errno.h>
#  include <string.h>
#  include <sys/socket.h>
#  include <unistd.h>

#  ifndef MSG_NOSIGNAL
#    define MSG_NOSIGNAL 0
#  endif

/*--- the transport's attributes ---*/

static PyObject *
slot_name(const qi_state *st, int slot)
{
    PyObject *const names[QI_STREAM_SLOTS] = {
        [QI_STREAM_BUFFERED] = st->str_buffer,
        [QI_STREAM_CONN_LOST] = st->str_conn_lost,
        [QI_STREAM_EMPTY_WAITER] = st->str_empty_waiter,
        [QI_STREAM_EOF] = st->str_eof,
        [QI_STREAM_PROTOCOL] = st->str_protocol,
        [QI_STREAM_READ_READY_CB] = st->str_read_ready_cb,
        [QI_STREAM_SOCK] = st->str_sock,
    };
    return names[slot];
}

/* New reference; NULL without an exception if there is no such attribute. */
static PyObject *
attribute(const qi_state *st, PyObject *transport, int slot)
{
    if (Py_TYPE(transport) == st->stream_class) {
        return Py_XNewRef(*(PyObject **)((char *)transport + st->stream_offsets[slot]));
    }
    PyObject *value = PyObject_GetAttr(transport, slot_name(st, slot));
    if (value == NULL) {
        PyErr_Clear();
    }
    return value;
}

/* 1 if the attribute is false, 0 if it is not or there is none. */
static int
is_false(const qi_state *st, PyObject *transport, int slot)
{
    PyObject *value = attribute(st, transport, slot);
    int r = value == NULL ? 0 : PyObject_Not(value);

    Py_XDECREF(value);
    if (r < 0) {
        PyErr_Clear();
    }
    return r > 0;
}

/* The descriptor of the transport's socket; -1 without an exception if it is not just a
   socket of the socket module, or closed. */
static int
descriptor_of(const qi_state *st, PyObject *transport)
{
    PyObject *sock = attribute(st, transport, QI_STREAM_SOCK);
    int fd = -1;

    if (sock == NULL || (PyObject *)Py_TYPE(sock) != st->socket_type) {
        /* asyncio knows what to do with it */
    }
    else if (st->socket_fd != 0) {
        fd = *(int *)((char *)sock + st->socket_fd);
    }
    else {
        fd = PyObject_AsFileDescriptor(sock);
        if (fd < 0) {
            PyErr_Clear();
        }
    }
    Py_XDECREF(sock);
    return fd;
}

/* 0 if max_size is no size for the buffer: asyncio's own way makes of it what it does. */
static size_t
most_to_receive(const qi_state *st, PyObject *transport)
{
    PyObject *value = PyObject_GetAttr(transport, st->str_max_size);
    Py_ssize_t size = value == NULL || !PyLong_Check(value) ? 0 : PyLong_AsSsize_t(value);

    Py_XDECREF(value);
    if (value == NULL || size < 0) {
        PyErr_Clear();
        return 0;
    }
    return (size_t)size < QI_STREAM_BUFFER ? (size_t)size : QI_STREAM_BUFFER;
}

/* Calls asyncio's method of the transport: all that is not done here. */
static PyObject *
call_asyncio(PyObject *type, PyObject *name, PyObject *transport, PyObject *argument)
{
    PyObject *method = PyObject_GetAttr(type, name);
    PyObject *result =
        method == NULL ? NULL
                       : PyObject_CallFunctionObjArgs(method, transport, argument, NULL);

    Py_XDECREF(method);
    return result;
}

/* 0 when there is no memory for it: asyncio's own way is left. */
static int
have_buffer(qi_state *st)
{
    if (st->stream_buffer == NULL) {
        st->stream_buffer = PyMem_RawMalloc(QI_STREAM_BUFFER);
    }
    return st->stream_buffer != NULL;
}

/* The exception that is set ends the transport, as in asyncio; SystemExit and
   KeyboardInterrupt go on their way. */
static PyObject *
fail(const qi_state *st, PyObject *transport, const char *message)
{
    if (qi_exception_ends_run()) {
        return NULL;
    }
    PyObject *exc = qi_take_exception();
    PyObject *text = PyUnicode_FromString(message);
    PyObject *result =
        text == NULL
            ? NULL
            : PyObject_CallMethodObjArgs(transport, st->str_fatal_error, exc, text, NULL);
    Py_XDECREF(text);
    Py_XDECREF(exc);
    return result;
}

static int
would_block(int error)
{
    return error == EAGAIN || error == EWOULDBLOCK || error == EINTR;
}

/*--- reading ---*/

/* Hands the first n bytes of the buffer to the protocol; what it returns. */
static PyObject *
deliver(const qi_state *st, PyObject *transport, Py_ssize_t n)
{
    PyObject *data = PyBytes_FromStringAndSize(st->stream_buffer, n);
    PyObject *protocol =
        data == NULL ? NULL : attribute(st, transport, QI_STREAM_PROTOCOL);
    if (protocol == NULL && data != NULL) {
        PyErr_SetObject(PyExc_AttributeError, st->str_protocol);
    }
    PyObject *result =
        protocol == NULL
            ? NULL
            : PyObject_CallMethodObjArgs(protocol, st->str_data_received, data, NULL);
    Py_XDECREF(protocol);
    Py_XDECREF(data);
    return result;
}

static PyObject *
receive(qi_state *st, PyObject *transport)
{
    if (!is_false(st, transport, QI_STREAM_CONN_LOST)) {
        Py_RETURN_NONE;
    }
    int fd = descriptor_of(st, transport);
    size_t most = most_to_receive(st, transport);
    if (fd < 0 || most == 0 || !have_buffer(st)) {
        return call_asyncio(st->socket_transport, st->str_read_ready_data, transport,
                            NULL);
    }
    ssize_t n = recv(fd, st->stream_buffer, most, MSG_DONTWAIT);
    if (n < 0) {
        if (would_block(errno)) {
            Py_RETURN_NONE;
        }
        PyErr_SetFromErrno(PyExc_OSError);
        return fail(st, transport, "Fatal read error on socket transport");
    }
    if (n == 0) {
        return PyObject_CallMethodObjArgs(transport, st->str_read_ready_eof, NULL);
    }
    PyObject *result = deliver(st, transport, n);
    if (result == NULL) {
        return fail(st, transport, "Fatal error: protocol.data_received() call failed.");
    }
    Py_DECREF(result);
    Py_RETURN_NONE;
}

/* Is this the method below, of this transport? */
static int
is_own_receive(const qi_state *st, PyObject *callback, const PyObject *transport)
{
    return PyMethod_Check(callback) && PyMethod_GET_SELF(callback) == transport
           && PyMethod_GET_FUNCTION(callback) == st->stream_receive;
}

static int
check_count(const char *name, Py_ssize_t nargs, Py_ssize_t wanted)
{
    if (nargs == wanted) {
        return 0;
    }
    PyErr_Format(PyExc_TypeError, "%s() takes %zd arguments (%zd given)", name, wanted,
                 nargs);
    return -1;
}

static PyObject *
stream_receive(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    if (check_count("_read_ready__data_received", nargs, 1) < 0) {
        return NULL;
    }
    return receive(qi_state_of_module(module), args[0]);
}

static PyObject *
stream_read_ready(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    qi_state *st = qi_state_of_module(module);

    if (check_count("_read_ready", nargs, 1) < 0) {
        return NULL;
    }
    PyObject *callback = attribute(st, args[0], QI_STREAM_READ_READY_CB);
    if (callback == NULL) {
        PyErr_SetObject(PyExc_AttributeError, st->str_read_ready_cb);
        return NULL;
    }
    PyObject *result = is_own_receive(st, callback, args[0])
                           ? receive(st, args[0])
                           : PyObject_CallFunctionObjArgs(callback, NULL);
    Py_DECREF(callback);
    return result;
}

/* A pipe.  The descriptor is the transport's own and does not block. */
static PyObject *
stream_pipe_ready(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    qi_state *st = qi_state_of_module(module);

    if (check_count("_read_ready", nargs, 1) < 0) {
        return NULL;
    }
    PyObject *number = PyObject_GetAttr(args[0], st->str_fileno);
    int fd = number == NULL ? -1 : (int)PyLong_AsLong(number);
    Py_XDECREF(number);
    if (fd < 0) {
        PyErr_Clear();
    }
    size_t most = most_to_receive(st, args[0]);
    ssize_t n =
        fd < 0 || most == 0 || !have_buffer(st) ? -1 : read(fd, st->stream_buffer, most);
    /* Nothing, the end and errors show again to asyncio's read. */
    return n > 0 ? deliver(st, args[0], n)
                 : call_asyncio(st->pipe_transport, st->str_read_ready, args[0], NULL);
}

/*--- writing ---*/

/* Whether write() would send at once: the checks of asyncio's, in its order. */
static int
may_send(const qi_state *st, PyObject *transport)
{
    if (!is_false(st, transport, QI_STREAM_EOF)) {
        return 0;
    }
    PyObject *waiter = attribute(st, transport, QI_STREAM_EMPTY_WAITER);
    Py_XDECREF(waiter);
    return waiter == Py_None && is_false(st, transport, QI_STREAM_CONN_LOST)
           && is_false(st, transport, QI_STREAM_BUFFERED);
}

/* Sends; -1: nothing was, errno says why. */
static ssize_t
send_now(int fd, const Py_buffer *view)
{
    return send(fd, view->buf, (size_t)view->len, MSG_DONTWAIT | MSG_NOSIGNAL);
}

/* What could not be sent is asyncio's. */
static PyObject *
queue_rest(const qi_state *st, PyObject *transport, PyObject *data, Py_ssize_t sent)
{
    PyObject *view = PyMemoryView_FromObject(data);
    PyObject *bytes = view == NULL || !PyObject_CheckBuffer(view)
                          ? NULL
                          : PyObject_CallMethod(view, "cast", "s", "B");
    PyObject *rest =
        bytes == NULL ? NULL : PySequence_GetSlice(bytes, sent, PY_SSIZE_T_MAX);
    PyObject *result =
        rest == NULL ? NULL
                     : call_asyncio(st->socket_transport, st->str_write, transport, rest);

    Py_XDECREF(rest);
    Py_XDECREF(bytes);
    Py_XDECREF(view);
    return result;
}

static PyObject *
stream_write(PyObject *module, PyObject *const *args, Py_ssize_t nargs)
{
    const qi_state *st = qi_state_of_module(module);

    if (check_count("write", nargs, 2) < 0) {
        return NULL;
    }
    PyObject *transport = args[0];
    PyObject *data = args[1];
    Py_buffer view = {0};
    int fd = -1;

    if (PyBytes_CheckExact(data) || PyByteArray_CheckExact(data)
        || PyMemoryView_Check(data)) {
        if (PyObject_GetBuffer(data, &view, PyBUF_SIMPLE) < 0) {
            PyErr_Clear();
        }
        else if (view.len > 0 && may_send(st, transport)) {
            fd = descriptor_of(st, transport);
        }
    }
    if (fd < 0) {
        PyBuffer_Release(&view);
        return call_asyncio(st->socket_transport, st->str_write, transport, data);
    }
    Py_ssize_t length = view.len;
    ssize_t sent = send_now(fd, &view);
    int error = errno;
    PyBuffer_Release(&view);
    if (sent == length) {
        Py_RETURN_NONE;
    }
    if (sent < 0 && !would_block(error)) {
        errno = error;
        PyErr_SetFromErrno(PyExc_OSError);
        return fail(st, transport, "Fatal write error on socket transport");
    }
    return sent > 0 ? queue_rest(st, transport, data, sent)
                    : call_asyncio(st->socket_transport, st->str_write, transport, data);
}

/*--- where things are ---*/

/* The offset of a slot or member; -1 without an exception if it is none. */
static Py_ssize_t
offset_of(PyObject *cls, PyObject *name)
{
    PyObject *descr = PyObject_GetAttr(cls, name);
    Py_ssize_t offset = -1;

    if (descr == NULL) {
        PyErr_Clear();
    }
    else if (PyObject_TypeCheck(descr, &PyMemberDescr_Type)) {
        offset = (Py_ssize_t)((PyMemberDescrObject *)descr)->d_member->offset;
    }
    Py_XDECREF(descr);
    return offset;
}

/* _socket.socket begins with the descriptor, and shows the place of the family, which
   follows it.  If they are not there, fileno() is called, which takes ten times longer.
 */
static int
find_socket_fd(qi_state *st)
{
    PyObject *module = PyImport_ImportModule("_socket");
    PyObject *type = module == NULL ? NULL : PyObject_GetAttrString(module, "socket");
    PyObject *family = type == NULL ? NULL : PyUnicode_FromString("family");
    const Py_ssize_t first = (Py_ssize_t)sizeof(PyObject);

    if (family != NULL && PyType_Check(type)
        && PyType_IsSubtype((PyTypeObject *)st->socket_type, (PyTypeObject *)type)
        && offset_of(type, family) == first + (Py_ssize_t)sizeof(int)) {
        st->socket_fd = first;
    }
    int r = family == NULL ? -1 : 0;
    Py_XDECREF(family);
    Py_XDECREF(type);
    Py_XDECREF(module);
    return r;
}

/* stream_slots(): the names for the __slots__ of a class for transports. */
static PyObject *
stream_slots(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    PyObject *names = PyTuple_New(QI_STREAM_SLOTS);

    for (int slot = 0; names != NULL && slot < QI_STREAM_SLOTS; slot++) {
        PyTuple_SET_ITEM(names, slot,
                         Py_NewRef(slot_name(qi_state_of_module(module), slot)));
    }
    return names;
}

/* stream_set_class(cls): its direct instances have these slots, and are read without
   looking attributes up: that was a tenth of the time of an echo. */
static PyObject *
stream_set_class(PyObject *module, PyObject *cls)
{
    qi_state *st = qi_state_of_module(module);
    Py_ssize_t offsets[QI_STREAM_SLOTS];

    if (!PyType_Check(cls)) {
        PyErr_Format(PyExc_TypeError, "stream_set_class() takes a class, not %R", cls);
        return NULL;
    }
    for (int slot = 0; slot < QI_STREAM_SLOTS; slot++) {
        Py_ssize_t offset = offset_of(cls, slot_name(st, slot));
        if (offset < 0) {
            return PyErr_Format(PyExc_TypeError, "%R has no slot %R", cls,
                                slot_name(st, slot));
        }
        offsets[slot] = offset;
    }
    memcpy(st->stream_offsets, offsets, sizeof(offsets));
    Py_XSETREF(st->stream_class, (PyTypeObject *)Py_NewRef(cls));
    Py_RETURN_NONE;
}

static PyMethodDef stream_functions[] = {
    {"stream_slots", stream_slots, METH_NOARGS, NULL},
    {"stream_set_class", stream_set_class, METH_O, NULL},
    {NULL, NULL, 0, NULL},
};

/*--- the module's names ---*/

/* What reports show of a handle: asyncio's have the class, too. */

static PyMethodDef stream_read_ready_def = {
    "SocketTransport._read_ready", (PyCFunction)(void (*)(void))stream_read_ready,
    METH_FASTCALL, PyDoc_STR("The transport's descriptor is readable.")};
static PyMethodDef stream_receive_def = {
    "_read_ready__data_received", (PyCFunction)(void (*)(void))stream_receive,
    METH_FASTCALL, PyDoc_STR("Receive what is there and hand it to the protocol.")};
static PyMethodDef stream_pipe_ready_def = {
    "ReadPipeTransport._read_ready", (PyCFunction)(void (*)(void))stream_pipe_ready,
    METH_FASTCALL, PyDoc_STR("The pipe is readable.")};
static PyMethodDef stream_write_def = {
    "write", (PyCFunction)(void (*)(void))stream_write, METH_FASTCALL,
    PyDoc_STR("Write some data to the transport; see asyncio.WriteTransport.write().")};

/* Adds a function that a class can have as a method; *ret_function: the function itself,
   owned by the caller. */
static int
add_method(PyObject *module, const char *name, PyMethodDef *def, PyObject **ret_function)
{
    PyObject *module_name = PyUnicode_FromString("qtinter._core");
    PyObject *function =
        module_name == NULL ? NULL : PyCFunction_NewEx(def, module, module_name);
    PyObject *method = function == NULL ? NULL : PyInstanceMethod_New(function);
    int r = method == NULL ? -1 : PyModule_AddObjectRef(module, name, method);

    Py_XDECREF(method);
    Py_XDECREF(module_name);
    if (r < 0 || ret_function == NULL) {
        Py_XDECREF(function);
    }
    else {
        *ret_function = function;
    }
    return r;
}

int
qi_stream_init(PyObject *module, qi_state *st)
{
    PyObject *unix_events = PyImport_ImportModule("asyncio.unix_events");

    st->pipe_transport =
        unix_events == NULL
            ? NULL
            : PyObject_GetAttrString(unix_events, "_UnixReadPipeTransport");
    Py_XDECREF(unix_events);
    if (st->pipe_transport == NULL || find_socket_fd(st) < 0) {
        return -1;
    }
    return PyModule_AddFunctions(module, stream_functions) < 0
                   || add_method(module, "stream_pipe_ready", &stream_pipe_ready_def,
                                 NULL)
                          < 0
                   || add_method(module, "stream_read_ready", &stream_read_ready_def,
                                 NULL)
                          < 0
                   || add_method(module, "stream_receive", &stream_receive_def,
                                 &st->stream_receive)
                          < 0
                   || add_method(module, "stream_write", &stream_write_def, NULL) < 0
               ? -1
               : 0;
}

#else /* Windows: the proactor receives and sends. */

int
qi_stream_init(PyObject *Py_UNUSED(module), qi_state *Py_UNUSED(st))
{
    return 0;
}

#endif
