/*
 * core.c - the module qtinter._core: its state, what it imports, its types.
 *
 * Imports asyncio, selectors, heapq and collections; no Qt.
 */
#include "contexts.h"
#include "handle.h"
#include "loop.h"
#include "probe.h"
#ifdef QI_WITH_INSPECT
#  include "probe_impl.h"
#  include "trace_py.h"
#endif
#include "process.h"
#include "selector.h"
#include "slot_call.h"
#include "slot_record.h"
#include "state.h"
#include "stream.h"

/* NULL before core_exec() and, in 3.8, before the module has any memory. */
static qi_state *
get_state(PyObject *module)
{
    qi_state **slot = (qi_state **)PyModule_GetState(module);
    return slot == NULL ? NULL : *slot;
}

/*********** module functions ***********/

static PyObject *
core_debug_counts(PyObject *module, PyObject *Py_UNUSED(ignored))
{
    const struct qi_counts *counts = &get_state(module)->counts;

    return Py_BuildValue("{sn sn sn sn sn}", "loops", counts->loops, "handles",
                         counts->handles, "timers", counts->timers, "selectors",
                         counts->selectors, "watches", counts->watches);
}

static PyMethodDef core_methods[] = {
    {"_debug_counts", core_debug_counts, METH_NOARGS,
     PyDoc_STR("_debug_counts()\n--\n\n"
               "How many loops, handles, timers, selectors and watches are alive.")},
    {NULL, NULL, 0, NULL},
};

/*********** start-up ***********/

static PyObject *
import_attribute(const char *module_name, const char *name)
{
    PyObject *module = PyImport_ImportModule(module_name);
    if (module == NULL) {
        return NULL;
    }
    PyObject *value = PyObject_GetAttrString(module, name);
    Py_DECREF(module);
    return value;
}

static int
import_objects(qi_state *st)
{
    const struct {
        PyObject **slot;
        const char *module;
        const char *name;
    } wanted[] = {
        {&st->base_events, "asyncio", "base_events"},
        {&st->format_helpers, "asyncio", "format_helpers"},
        {&st->futures, "asyncio", "futures"},
        {&st->tasks, "asyncio", "tasks"},
        {&st->get_running_loop, "asyncio", "_get_running_loop"},
        {&st->SelectorKey, "selectors", "SelectorKey"},
        {&st->deque, "collections", "deque"},
        {&st->heappush, "heapq", "heappush"},
        {&st->selector_loop, "asyncio.selector_events", "BaseSelectorEventLoop"},
        {&st->socket_transport, "asyncio.selector_events", "_SelectorSocketTransport"},
        {&st->socket_type, "socket", "socket"},
#if !QI_TASKS_START_EAGERLY
        {&st->current_tasks, "asyncio.tasks", "_current_tasks"},
#endif
    };

    for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
        *wanted[i].slot = import_attribute(wanted[i].module, wanted[i].name);
        if (*wanted[i].slot == NULL) {
            return -1;
        }
    }
    st->write_to_self = PyObject_GetAttrString(st->selector_loop, "_write_to_self");
    st->empty_tuple = PyTuple_New(0);
    st->create_task = PyObject_GetAttrString(st->selector_loop, "create_task");
    st->loop_kwnames = Py_BuildValue("(s)", "loop");
    st->loop_name_kwnames = Py_BuildValue("(ss)", "loop", "name");
    return st->write_to_self == NULL || st->empty_tuple == NULL || st->create_task == NULL
                   || st->loop_kwnames == NULL || st->loop_name_kwnames == NULL
               ? -1
               : 0;
}

/* The selectors whose waiting the host can take over: their select() asks the kernel
   about what get_map() shows, and nothing else. */
static int
find_stdlib_selectors(qi_state *st)
{
    static const char *const names[] = {"SelectSelector", "PollSelector", "EpollSelector",
                                        "DevpollSelector", "KqueueSelector"};
    PyObject *module = PyImport_ImportModule("selectors");
    PyObject *list = PyList_New(0);

    for (size_t i = 0; i < sizeof(names) / sizeof(names[0]); i++) {
        if (module == NULL || list == NULL) {
            break;
        }
        if (!PyObject_HasAttrString(module, names[i])) {
            continue;
        }
        PyObject *type = PyObject_GetAttrString(module, names[i]);
        if (type == NULL || PyList_Append(list, type) < 0) {
            Py_CLEAR(list);
        }
        Py_XDECREF(type);
    }
    if (module != NULL && list != NULL) {
        st->stdlib_selectors = PyList_AsTuple(list);
    }
    Py_XDECREF(module);
    Py_XDECREF(list);
    return st->stdlib_selectors == NULL ? -1 : 0;
}

static int
intern_strings(qi_state *st)
{
    const struct {
        PyObject **slot;
        const char *text;
    } strings[] = {
        {&st->str_acquire, "acquire"},
        {&st->str_add_done_callback, "add_done_callback"},
        {&st->str_answer_to, "answer_to"},
        {&st->str_buffer, "_buffer"},
        {&st->str_call_at, "call_at"},
        {&st->str_callback, "_callback"},
        {&st->str_cancelled, "_cancelled"},
        {&st->str_conn_lost, "_conn_lost"},
        {&st->str_context, "context"},
        {&st->str_data_received, "data_received"},
        {&st->str_empty_waiter, "_empty_waiter"},
        {&st->str_done, "done"},
        {&st->str_eager_start, "eager_start"},
        {&st->str_ended_at_once, "ended_at_once"},
        {&st->str_eof, "_eof"},
        {&st->str_failed, "failed"},
        {&st->str_fatal_error, "_fatal_error"},
        {&st->str_finished, "finished"},
        {&st->str_exception_of, "_exception"},
        {&st->str_fileno, "_fileno"},
        {&st->str_home, "home"},
        {&st->str_log_traceback, "_log_traceback"},
        {&st->str_is_cancelled, "cancelled"},
        {&st->str_loop, "loop"},
        {&st->str_max_size, "max_size"},
        {&st->str_name, "name"},
        {&st->str_observed_by, "observed_by"},
        {&st->str_receiver_of, "receiver_of"},
        {&st->str_process_events, "_process_events"},
        {&st->str_protocol, "_protocol"},
        {&st->str_read_ready, "_read_ready"},
        {&st->str_read_ready_cb, "_read_ready_cb"},
        {&st->str_read_ready_data, "_read_ready__data_received"},
        {&st->str_read_ready_eof, "_read_ready__on_eof"},
        {&st->str_release, "release"},
        {&st->str_report_later, "report_later"},
        {&st->str_run, "_run"},
        {&st->str_run_once, "_run_once"},
        {&st->str_signal_to, "signal_to"},
        {&st->str_scheduled, "_scheduled"},
        {&st->str_select, "select"},
        {&st->str_selector, "_selector"},
        {&st->str_self, "__self__"},
        {&st->str_sock, "_sock"},
        {&st->str_task, "Task"},
        {&st->str_task_factory, "_task_factory"},
        {&st->str_time, "time"},
        {&st->str_timer_handle_cancelled, "_timer_handle_cancelled"},
        {&st->str_when, "_when"},
        {&st->str_write, "write"},
        {&st->str_write_to_self, "_write_to_self"},
    };

    for (size_t i = 0; i < sizeof(strings) / sizeof(strings[0]); i++) {
        *strings[i].slot = PyUnicode_InternFromString(strings[i].text);
        if (*strings[i].slot == NULL) {
            return -1;
        }
    }
    return 0;
}

static int
core_exec(PyObject *module)
{
    qi_state *st = PyMem_Calloc(1, sizeof(*st));

    if (st == NULL) {
        PyErr_NoMemory();
        return -1;
    }
    *(qi_state **)PyModule_GetState(module) = st;
    if (PyModule_AddFunctions(module, qi_process_methods) < 0) {
        return -1;
    }
    if (intern_strings(st) < 0 || import_objects(st) < 0 || find_stdlib_selectors(st) < 0
        || qi_contexts_init(st) < 0 || qi_handle_init_types(module, st) < 0
        || qi_selector_init_type(module, st) < 0 || qi_loop_init_type(module, st) < 0
        || qi_slot_call_init_type(module) < 0 || qi_stream_init(module, st) < 0) {
        return -1;
    }
#ifdef QI_WITH_INSPECT
    if (qi_slot_record_init_types(module) < 0
        || PyModule_AddFunctions(module, qi_inspector_functions) < 0
        || PyModule_AddFunctions(module, qi_stacks_functions) < 0
        || PyModule_AddFunctions(module, qi_segment_functions) < 0
        || PyModule_AddFunctions(module, qi_export_functions) < 0
        || qi_perfetto_init(module) < 0 || qi_trace_pass_init(module) < 0) {
        return -1;
    }
#endif
#ifdef QI_WITH_TRACE
    if (qi_trace_init(module) < 0) {
        return -1;
    }
#endif
    if (PyModule_AddObjectRef(module, "Handle", (PyObject *)st->HandleType) < 0
        || PyModule_AddObjectRef(module, "TimerHandle", (PyObject *)st->TimerType) < 0
        || PyModule_AddObjectRef(module, "Selector", (PyObject *)st->SelectorType) < 0
        || PyModule_AddObjectRef(module, "Loop", (PyObject *)st->LoopType) < 0
        || PyModule_AddStringConstant(module, "poller", qi_poller_kind) < 0) {
        return -1;
    }
    return 0;
}

/*********** module ***********/

static int
core_traverse(PyObject *module, visitproc visit, void *arg)
{
    qi_state *st = get_state(module);

    if (st == NULL) {
        return 0;
    }
#define X(type, name) Py_VISIT(st->name);
    QI_STATE_OBJECTS(X)
#undef X
    return 0;
}

static int
core_clear(PyObject *module)
{
    qi_state *st = get_state(module);

    if (st == NULL) {
        return 0;
    }
    qi_handle_clear_free_list(st);
    st->context_map = 0; /* handles may outlive the module: nothing is kept for them */
#define X(type, name) Py_CLEAR(st->name);
    QI_STATE_OBJECTS(X)
#undef X
    return 0;
}

static void
core_free(void *module)
{
    qi_state *st = get_state((PyObject *)module);

    if (st != NULL) {
#ifdef QI_WITH_INSPECT
        qi_probe_free(st, 1000, 0);
#endif
        (void)core_clear((PyObject *)module);
        st->module_gone = 1;
        qi_state_released(st);
    }
}

/* The macro brings its own comma. */
/* clang-format off */
static PyModuleDef_Slot core_slots[] = {
    {Py_mod_exec, (void *)core_exec},
    QI_MODULE_COMPAT_SLOTS
    {0, NULL},
};
/* clang-format on */

static struct PyModuleDef core_module = {
    PyModuleDef_HEAD_INIT,
    .m_name = "_core",
    .m_doc = PyDoc_STR("The loop core of qtinter: no Qt, no Python policy."),
    .m_size = sizeof(qi_state *),
    .m_methods = core_methods,
    .m_slots = core_slots,
    .m_traverse = core_traverse,
    .m_clear = core_clear,
    .m_free = core_free,
};

PyMODINIT_FUNC PyInit__core(void);

PyMODINIT_FUNC
PyInit__core(void)
{
    return PyModuleDef_Init(&core_module);
}
