/*
 * handle.h - asyncio.Handle and asyncio.TimerHandle, in C.
 *
 * Both are true subclasses of asyncio's classes, so isinstance(), repr() and whatever
 * reads a handle's attributes work.  asyncio's __slots__ reserve the memory; these
 * types keep their own data in it and shadow the slot descriptors with their own:
 *
 *   slot of asyncio.Handle   holds
 *   _callback                the callback; NULL once cancelled
 *   _args                    the only argument, the first of two, or a tuple
 *   _repr                    the second of two arguments, or the repr of a cancelled
 *                            handle in debug mode
 *   _context, _loop, _source_traceback   what the name says; see contexts.h
 *   _cancelled, _scheduled, _when        nothing: see struct qi_handle_own
 *
 * so a handle with up to two arguments needs no tuple, and a timer no float object.
 *
 * From Python 3.14 on there is a third type, the one that call_soon_threadsafe() makes:
 * a subclass of asyncio's thread-safe handle, whose lock is held while the callback
 * runs, so that cancel() and cancelled() of other threads wait for its end.  The loop
 * runs it as a foreign handle, by its _run().
 *
 * All functions: [loop], or any thread that holds the GIL where the text says so.
 */
#ifndef QI_NATIVE_HANDLE_H
#define QI_NATIVE_HANDLE_H

#include "state.h"

#include <stdint.h>

enum {
    QI_HANDLE_CANCELLED = 1 << 0,
    QI_HANDLE_SCHEDULED = 1 << 1,      /* a timer that is in the heap */
    QI_HANDLE_HAS_REPR = 1 << 2,       /* _repr holds a repr, not an argument */
    QI_HANDLE_TIMER = 1 << 4,          /* a TimerHandle */
    QI_HANDLE_ARGS_TUPLE = 1 << 3,     /* _args holds a tuple */
    QI_HANDLE_SHARED_CONTEXT = 1 << 5, /* _context may be other handles', too */
    QI_HANDLE_LOCK = 1 << 6            /* a thread-safe handle, with a _lock */
};

/* Placed after the slots of asyncio.TimerHandle, in plain handles too: one offset. */
struct qi_handle_own {
    qi_state *st; /* borrowed */
    double when;  /* timers: deadline in seconds on the loop's clock */
    uint64_t seq : 48;
    uint64_t nargs : 8; /* 0, 1, 2; 3 stands for a tuple */
    uint64_t flags : 8;
};

#define QI_SLOT(st, h, name) (*(PyObject **)((char *)(h) + (st)->layout.name))

static inline struct qi_handle_own *
qi_handle_own(const qi_state *st, PyObject *h)
{
    return (struct qi_handle_own *)((char *)h + st->layout.own);
}

/* The state behind a handle.  The collector may see one while its type is being torn
   down; the state is reached through the instance, which the type keeps alive. */
static inline qi_state *
qi_handle_state(PyObject *h)
{
    Py_ssize_t own = Py_TYPE(h)->tp_basicsize - (Py_ssize_t)sizeof(struct qi_handle_own);
    return ((struct qi_handle_own *)((char *)h + own))->st;
}

static inline int
qi_is_timer(const qi_state *st, PyObject *h)
{
    return Py_TYPE(h) == st->TimerType;
}

static inline int
qi_is_handle(const qi_state *st, PyObject *h)
{
    return Py_TYPE(h) == st->HandleType || Py_TYPE(h) == st->TimerType;
}

/* Reads the layout of asyncio's classes and makes the types.  0 or -1. */
int qi_handle_init_types(PyObject *module, qi_state *st);

/* Releases the memory kept for new handles. */
void qi_handle_clear_free_list(qi_state *st);

/* New handle, any thread with the GIL.  context NULL: as the current one.
   debug: keeps the stack of the Python caller. */
PyObject *qi_handle_new(qi_state *st, PyTypeObject *type, PyObject *loop,
                        PyObject *callback, PyObject *const *args, Py_ssize_t nargs,
                        PyObject *context, int debug);

/* The same for call_soon_threadsafe(): a thread-safe handle where asyncio has them. */
PyObject *qi_handle_new_threadsafe(qi_state *st, PyObject *loop, PyObject *callback,
                                   PyObject *const *args, Py_ssize_t nargs,
                                   PyObject *context, int debug);

/* Gives the handle a context of its own, if it shares one.  0 or -1. */
int qi_handle_own_context(qi_state *st, PyObject *h);

/* The arguments as a tuple, a new reference; the handle is not cancelled. */
PyObject *qi_handle_args(qi_state *st, PyObject *h);

/* Whether a callback can run in value: a Context, or what has a run() as it has.  asyncio
   asks for no more, and debuggers pass wrapped ones. */
int qi_is_context(PyObject *value);

/* Calls the callback in the handle's context.  0, or -1 with the callback's exception
   set.  The caller holds a reference and has checked that it is not cancelled. */
int qi_handle_call(qi_state *st, PyObject *h);

/* Looks whether somebody replaced asyncio.Handle._run, as reporters of slow callbacks
   do; then st->handle_run_replaced is 1, and handles are run by it.  0 or -1. */
int qi_handle_look_at_run(qi_state *st);

static inline int
qi_handle_refresh_run(qi_state *st)
{
    if (st->asyncio_handle == NULL) {
        return 0; /* the interpreter ends */
    }
    unsigned version = qi_type_version(st->asyncio_handle);
    return version == 0 || version != st->handle_version ? qi_handle_look_at_run(st) : 0;
}

/* Marks the handle cancelled and lets go of callback and arguments; does not tell the
   loop.  0 or -1 (debug mode: its repr may fail). */
int qi_handle_cancel(qi_state *st, PyObject *h, int debug);

/* 1 or 0; -1 with an exception (a handle that is not ours may fail to tell). */
int qi_handle_is_cancelled(qi_state *st, PyObject *h);

/* Slots of the types. */
void qi_handle_dealloc(PyObject *h);
int qi_handle_traverse(PyObject *h, visitproc visit, void *arg);
int qi_handle_clear(PyObject *h);

/* seq() of struct qi_timers. */
uint64_t qi_handle_seq(const void *h);

#endif
