/*
 * state.h - everything the module keeps between calls, in one place per module object.
 *
 * There is no other home for Python objects in the extension.  One list drives the
 * fields, m_traverse and m_clear, so they cannot drift apart.
 *
 * Instances keep a pointer to the state.  Usually instance -> type -> module keeps it
 * alive; but when the interpreter ends, the collector takes module, types and instances
 * apart together and in any order.  So the state is freed by whoever goes last: the
 * module, or the last instance (counts tell).
 */
#ifndef QI_NATIVE_STATE_H
#define QI_NATIVE_STATE_H

#include "compat.h"

/* Every reference is owned. */
#define QI_STATE_OBJECTS(X)                                                              \
    X(PyTypeObject *, HandleType)                                                        \
    X(PyTypeObject *, TimerType)                                                         \
    X(PyTypeObject *, ThreadSafeType) /* NULL below Python 3.14 */                       \
    X(PyTypeObject *, SelectorType)                                                      \
    X(PyTypeObject *, SlotCallEndType)                                                   \
    X(PyTypeObject *, SlotRecordType)                                                    \
    X(PyTypeObject *, LoopType)                                                          \
    X(PyTypeObject *, asyncio_handle) /* asyncio.Handle */                               \
    X(PyObject *, events_globals)     /* names of asyncio.events */                      \
    X(PyObject *, empty_tuple)                                                           \
    X(PyObject *, base_events)       /* asyncio.base_events */                           \
    X(PyObject *, format_helpers)    /* asyncio.format_helpers */                        \
    X(PyObject *, futures)           /* asyncio.futures */                               \
    X(PyObject *, SelectorKey)       /* selectors.SelectorKey */                         \
    X(PyObject *, deque)             /* collections.deque */                             \
    X(PyObject *, heappush)          /* heapq.heappush */                                \
    X(PyObject *, RLock)             /* threading.RLock */                               \
    X(PyObject *, selector_loop)     /* asyncio's BaseSelectorEventLoop */               \
    X(PyObject *, write_to_self)     /* its _write_to_self */                            \
    X(PyObject *, stdlib_selectors)  /* selectors.SelectSelector and so on, a tuple */   \
    X(PyObject *, tasks)             /* asyncio.tasks */                                 \
    X(PyObject *, current_tasks)     /* by loop; NULL from 3.12 on */                    \
    X(PyObject *, create_task)       /* asyncio's BaseEventLoop.create_task */           \
    X(PyObject *, get_running_loop)  /* asyncio._get_running_loop */                     \
    X(PyObject *, loop_kwnames)      /* ("loop",) */                                     \
    X(PyObject *, loop_name_kwnames) /* ("loop", "name") */                              \
    X(PyObject *, socket_type)       /* socket.socket */                                 \
    X(PyObject *, socket_transport)  /* asyncio's _SelectorSocketTransport */            \
    X(PyObject *, pipe_transport)    /* asyncio's _UnixReadPipeTransport */              \
    X(PyTypeObject *, stream_class)  /* the transports whose slots stream.c reads */     \
    X(PyObject *, stream_receive)    /* see stream.c */                                  \
    X(PyObject *, context_snapshot)  /* see contexts.c */                                \
    X(PyObject *, context_spare)                                                         \
    X(PyObject *, str_acquire)                                                           \
    X(PyObject *, str_add_done_callback)                                                 \
    X(PyObject *, str_answer_to)                                                         \
    X(PyObject *, str_buffer)                                                            \
    X(PyObject *, str_call_at)                                                           \
    X(PyObject *, str_callback)                                                          \
    X(PyObject *, str_cancelled)                                                         \
    X(PyObject *, str_conn_lost)                                                         \
    X(PyObject *, str_context)                                                           \
    X(PyObject *, str_data_received)                                                     \
    X(PyObject *, str_empty_waiter)                                                      \
    X(PyObject *, str_done)                                                              \
    X(PyObject *, str_eager_start)                                                       \
    X(PyObject *, str_ended_at_once)                                                     \
    X(PyObject *, str_eof)                                                               \
    X(PyObject *, str_failed)                                                            \
    X(PyObject *, str_fatal_error)                                                       \
    X(PyObject *, str_finished)                                                          \
    X(PyObject *, str_exception_of)                                                      \
    X(PyObject *, str_fileno)                                                            \
    X(PyObject *, str_home)                                                              \
    X(PyObject *, str_log_traceback)                                                     \
    X(PyObject *, str_is_cancelled)                                                      \
    X(PyObject *, str_loop)                                                              \
    X(PyObject *, str_max_size)                                                          \
    X(PyObject *, str_name)                                                              \
    X(PyObject *, str_observed_by)                                                       \
    X(PyObject *, str_receiver_of)                                                       \
    X(PyObject *, str_process_events)                                                    \
    X(PyObject *, str_protocol)                                                          \
    X(PyObject *, str_read_ready)                                                        \
    X(PyObject *, str_read_ready_cb)                                                     \
    X(PyObject *, str_read_ready_data)                                                   \
    X(PyObject *, str_read_ready_eof)                                                    \
    X(PyObject *, str_release)                                                           \
    X(PyObject *, str_report_later)                                                      \
    X(PyObject *, str_run)                                                               \
    X(PyObject *, str_run_once)                                                          \
    X(PyObject *, str_signal_to)                                                         \
    X(PyObject *, str_scheduled)                                                         \
    X(PyObject *, str_select)                                                            \
    X(PyObject *, str_selector)                                                          \
    X(PyObject *, str_self)                                                              \
    X(PyObject *, str_sock)                                                              \
    X(PyObject *, str_task)                                                              \
    X(PyObject *, str_task_factory)                                                      \
    X(PyObject *, str_time)                                                              \
    X(PyObject *, str_timer_handle_cancelled)                                            \
    X(PyObject *, str_when)                                                              \
    X(PyObject *, str_write)                                                             \
    X(PyObject *, str_write_to_self)

#define QI_FREE_HANDLES 256

/* Where asyncio.Handle and asyncio.TimerHandle keep their slots, and where ours begin. */
struct qi_handle_layout {
    Py_ssize_t callback;
    Py_ssize_t args;
    Py_ssize_t context;
    Py_ssize_t loop;
    Py_ssize_t repr;
    Py_ssize_t source_traceback;
    Py_ssize_t weakrefs;
    Py_ssize_t lock; /* of asyncio's thread-safe handle */
    Py_ssize_t own;
};

/* Where the transports of stream_class keep what stream.c looks at. */
enum {
    QI_STREAM_BUFFERED,
    QI_STREAM_CONN_LOST,
    QI_STREAM_EMPTY_WAITER,
    QI_STREAM_EOF,
    QI_STREAM_PROTOCOL,
    QI_STREAM_READ_READY_CB,
    QI_STREAM_SOCK,
    QI_STREAM_SLOTS
};

struct qi_counts {
    Py_ssize_t loops;
    Py_ssize_t handles;
    Py_ssize_t timers;
    Py_ssize_t selectors;
    Py_ssize_t watches;
};

struct qi_probe;

typedef struct {
#define X(type, name) type name;
    QI_STATE_OBJECTS(X)
#undef X
    struct qi_handle_layout layout;
    struct qi_counts counts; /* alive now; for tests of leaks */
    unsigned handle_version; /* of asyncio.Handle when its _run was looked at */
    int handle_run_replaced; /* it was not asyncio's own */
    PyObject *free_handles[QI_FREE_HANDLES]; /* memory of dead handles and timers */
    int free_handles_len;
    Py_ssize_t context_map; /* offset of it in a Context, 0: unknown */
    char *stream_buffer;    /* owned; NULL until the first read, see stream.c */
    Py_ssize_t stream_offsets[QI_STREAM_SLOTS]; /* within a transport */
    Py_ssize_t socket_fd;      /* offset of the descriptor in a socket; 0: unknown */
    struct qi_probe *probe;    /* owned; NULL while nothing inspects, see probe.h */
    struct qi_probe *observed; /* the same, NULL at level 0 too */
    int module_gone; /* the module was freed: the last instance frees the state */
} qi_state;

/* An instance is gone, and counted out. */
static inline void
qi_state_released(qi_state *st)
{
    const struct qi_counts *alive = &st->counts;

    if (st->module_gone
        && alive->loops + alive->handles + alive->timers + alive->selectors == 0) {
        PyMem_RawFree(st->stream_buffer);
        PyMem_Free(st);
    }
}

/* The state of the module; not before it was executed.  Borrowed. */
static inline qi_state *
qi_state_of_module(PyObject *module)
{
    return *(qi_state **)PyModule_GetState(module);
}

/* The state behind a type of ours, borrowed. */
static inline qi_state *
qi_state_of_type(PyTypeObject *type)
{
    qi_state **slot = (qi_state **)qi_type_module_state(type);
    return slot == NULL ? NULL : *slot;
}

#endif
