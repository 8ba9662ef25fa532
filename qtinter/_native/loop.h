/*
 * loop.h - the C half of a qtinter event loop.
 *
 * qtinter._core.Loop holds what is touched for every callback: queues, timers, the
 * selector, the turn.  qtinter._loop adds asyncio's own classes underneath, so that
 * everything that is not hot is asyncio's code:
 *
 *     class QiBaseEventLoop(_core.Loop, asyncio.BaseEventLoop)
 *
 * loop.c    attributes and hooks, small methods, life and death
 * queues.c  the ready queue and the timers
 * calls.c   call_soon() and its relatives
 * iterate.c one iteration
 * run.c     turns and the three ways to run
 * io.c      readers and writers
 */
#ifndef QI_NATIVE_LOOP_H
#define QI_NATIVE_LOOP_H

#include "handle.h"
#include "host.h"
#include "ready.h"
#include "selector.h"
#include "state.h"
#include "timers.h"

#include <stdint.h>

#if defined(__GNUC__)
#  define QI_UNLIKELY(x) __builtin_expect(!!(x), 0)
/* A rare case, whose registers the common one should not have to save. */
#  define QI_APART __attribute__((noinline))
#else
#  define QI_UNLIKELY(x) (x)
#  define QI_APART
#endif

/* Who gives the loop its turns. */
enum qi_running {
    QI_NOT_RUNNING = 0,
    QI_RUNNING_NATIVE,  /* run_forever() without Qt */
    QI_RUNNING_NESTED,  /* run_forever() inside host->enter() */
    QI_RUNNING_ATTACHED /* between start() and stop() */
};

/* Methods that a subclass or an instance may replace.  While one is replaced, an
   iteration goes through the object's attributes instead of the C fast path. */
enum {
    QI_HOOK_CALL_AT = 1 << 0,
    QI_HOOK_PROCESS_EVENTS = 1 << 1,
    QI_HOOK_RUN_ONCE = 1 << 2,
    QI_HOOK_SELECTOR = 1 << 3,
    QI_HOOK_TIME = 1 << 4,
    QI_HOOK_WRITE_TO_SELF = 1 << 5,
    QI_HOOK_TIMER_CANCELLED = 1 << 6
};
#define QI_HOOKS_OF_ITERATION                                                            \
    (QI_HOOK_PROCESS_EVENTS | QI_HOOK_RUN_ONCE | QI_HOOK_SELECTOR | QI_HOOK_TIME)

/* Reasons to look up between two callbacks; one branch when there is none. */
enum {
    QI_ATTENTION_MODAL = 1 << 0,    /* exec_modal() was called */
    QI_ATTENTION_INTERRUPT = 1 << 1 /* a slot handed over an exception */
};

struct qi_statistics {
    uint64_t turns;      /* times the host gave the thread */
    uint64_t iterations; /* asyncio iterations */
    uint64_t callbacks;  /* callbacks run */
    uint64_t polls;      /* times the kernel was asked for events */
    uint64_t wakeups;    /* turns asked of the host for work queued outside one */
    uint64_t slices;     /* turns that ended because their time was used up */
};

/* What a host calls back with.  It outlives the loop if that is collected on another
   thread, whose call may be waiting for the GIL at this moment. */
struct qi_hosted {
    struct loop_object *loop; /* borrowed; NULL: the loop is gone */
    struct qi_host *host;     /* owned once the loop is gone */
};

/* What the probe knows of a loop; all zero while nothing inspects. */
struct qi_loop_view {
    uint64_t session; /* of the probe that the rest belongs to */
    uint64_t smooth;  /* the same while a handle can be run without further questions */
    uintptr_t thread; /* whose handles it runs: qi_probe_this_thread(); 0: not known */
    int shown;        /* as running */
    int is_native;    /* and in which mode */
    uint64_t id;
    uint32_t row;
    unsigned number;          /* 1 to 255; 0: none was free */
    const PyObject *stepping; /* the task whose step runs; only compared */
    int yielded;              /* it has queued its next step */
    uint64_t current;         /* ref of what runs now, 0: nothing */
    int64_t busy_since;       /* when that began */
    int64_t mark;             /* end of the callback before this one in the turn, or 0 */
    int64_t turn_began;       /* 0: no turn is on */
    int64_t turn_ended;       /* the last one, or 0 */
    double told;              /* the loop's own time that was recorded last */
    int64_t nested_at;        /* a bare Qt loop was noticed inside a callback, or 0 */
    int64_t modal_at;         /* the innermost modal function began */
    uint64_t callbacks;       /* of the statistics when the turn began */
    uint64_t asyncio_ns;      /* summed turns */
    uint64_t qt_ns;           /* summed time between turns */
    uint64_t qt_busy_ns;      /* of this, processor time; see count_qt_busy() */
    int64_t cpu_read;         /* when the thread's was read last, or 0 */
    int64_t cpu_ns;           /* what it was then */
    uint64_t cpu_qt_ns;       /* time between turns since then */
    uint64_t cpu_turns_ns;    /* time in turns since then */
    uint64_t max_lag;         /* longest wait of a ready task, ns */
    uint32_t tasks;           /* alive */
    uint32_t timers;
    uint32_t watches;
    uint32_t unseen; /* tasks that found no row */
};

typedef struct loop_object {
    PyObject_HEAD
    qi_state *st; /* borrowed */

    /* queues; both hold owned references */
    struct qi_ready ready;
    size_t batch_left; /* callbacks of the current iteration that did not run yet */
    struct qi_timers timers;
    uint64_t timer_seq;
    Py_ssize_t timer_cancelled_count; /* cancelled timers still in the heap */
    Py_ssize_t min_scheduled;         /* asyncio.base_events' limits for their removal */
    double min_cancelled_fraction;
    PyObject *ready_out;     /* the deque while somebody holds it: then it is the queue */
    PyObject *scheduled_out; /* the list, likewise */

    /* waiting */
    SelectorObject *waiter; /* what the host watches; NULL before it is needed */
    PyObject *selector;     /* loop._selector: the waiter, or a foreign selector */
    int opaque_selector;    /* its waiting cannot be done by the host */
    double clock_resolution;

    /* state */
    unsigned hooks_of_class;
    unsigned class_version; /* of the class when its hooks were found */
    unsigned hooks_of_instance;
    int attention;
    int closed;
    int stopping;
    int debug;
    PyObject *task_factory;  /* owned; NULL: asyncio.Task */
    unsigned long thread_id; /* of the thread that runs the loop; 0: none */

    /* running */
    enum qi_running running;
    struct qi_host *host;     /* owned; NULL unless nested or attached */
    struct qi_hosted *hosted; /* owned; as long as the host */
    unsigned long host_thread_id;
    uint64_t pinned_thread_state; /* kept alive while attached; 0: none, see run.c */
    const char *host_name;        /* static; of the host in use or of the last one */
    int in_turn;        /* an iteration is on the C stack and not inside a modal */
    int wake_requested; /* host->wake() was called and not served yet */
    int watch_paused;   /* host->watch(0) is in force */
    int modal_depth;    /* modal functions on the C stack */
    int outer_steps;    /* steps on the C stack that a slot began, see _hold_turns() */
    int turn_depth;     /* Qt event loops on the C stack when the turn began */
    int base_depth;     /* the same, when the host was started */
    int ended;          /* the run is over, the host has not returned yet */
    int sigint_pending; /* Ctrl+C came while Python code of a slot ran */
    int sigint_guarded; /* a KeyboardInterrupt was raised, _sigint_over() is due */
    int signal_fd;      /* where signals write to; -1: this loop does not listen */
    int64_t slice_ns;
    PyObject *modal;        /* function that exec_modal() asked for */
    PyObject *interruption; /* exception that ended the run */

    /* pacing, see iterate.c */
    double now;    /* reading of the clock that the callbacks are timed from, seconds */
    double latest; /* last reading, by whatever */
    double told;   /* by a time() that the program has replaced; last reading */
    int clock_in;  /* callbacks until the next reading */
    int clock_every;
    int quiet_polls;   /* polls in a row that found nothing */
    size_t since_poll; /* callbacks since the last poll */
    double polled;     /* when that was */

    struct qi_statistics stats;
    struct qi_loop_view view;
} LoopObject;

int qi_loop_init_type(PyObject *module, qi_state *st);

/* The fast path holds: nothing an iteration uses was replaced. */
static inline int
qi_loop_is_plain(const LoopObject *self)
{
    return ((self->hooks_of_class | self->hooks_of_instance) & QI_HOOKS_OF_ITERATION) == 0
           && self->selector == (PyObject *)self->waiter && self->waiter != NULL
           && !self->waiter->patched;
}

static inline int
qi_loop_hooked(const LoopObject *self, unsigned hook)
{
    return ((self->hooks_of_class | self->hooks_of_instance) & hook) != 0;
}

/*--- loop.c ---*/

/* Looks which methods the loop's class replaces. */
int qi_loop_find_class_hooks(LoopObject *self);

/* The same if the class was exchanged or changed meanwhile.  0 or -1. */
static inline int
qi_loop_refresh_class_hooks(LoopObject *self)
{
    unsigned version = qi_type_version(Py_TYPE(self));

    if (QI_UNLIKELY(version == 0 || version != self->class_version)) {
        return qi_loop_find_class_hooks(self);
    }
    return 0;
}

/* Work was queued: asks for a turn unless one is on the stack anyway.  Any thread. */
void qi_loop_kick(LoopObject *self);

/* The callback of a handle raised (exception set): 0 when it was reported,
   -1 with KeyboardInterrupt or SystemExit still set. */
int qi_loop_report_callback(LoopObject *self, PyObject *handle);

/* time.monotonic() in C; notes it as the latest reading. */
double qi_loop_clock(LoopObject *self);

/* loop.time() with its hook; -1 with an exception, or a negative clock. */
double qi_loop_time(LoopObject *self);

#define QI_TOLD_MAX 1e9 /* seconds; more of a made-up time is as good as never */

/* When a time of the loop is, on the monotonic clock, ns; now: that clock.  A time() that
   the program has replaced is any clock, such as one that a test moves on: what is left
   is counted from its last reading. */
int64_t qi_loop_deadline_ns(const LoopObject *self, double when, int64_t now);

/* A time of the loop's clock in nanoseconds, rounded up so that no timer is early;
   kept within 0 and about 146 years. */
int64_t qi_deadline_ns(double when);

int qi_loop_check_open(LoopObject *self);

/* The waiter, made if there is none; borrowed, NULL with an exception. */
SelectorObject *qi_loop_ensure_waiter(LoopObject *self);

/* Setters: value is NULL for del; -1 with AttributeError then. */
int qi_refuse_delete(PyObject *value, const char *name);

#define QI_FASTCALL(function)                                                            \
    (PyCFunction)(void (*)(void)) function, METH_FASTCALL | METH_KEYWORDS

/*--- queues.c ---*/

extern PyMethodDef qi_queue_methods[];
extern PyGetSetDef qi_queue_attributes[];

/* Appends a handle to the ready queue; steals the reference.  0 or -1. */
int qi_loop_push_ready(LoopObject *self, PyObject *handle);

/* Takes a deque or list that was handed out back into the C queue when nobody else
   holds it any more.  1: the C queue is in force, 0: still held, -1: error. */
int qi_loop_reclaim_ready(LoopObject *self);
int qi_loop_reclaim_scheduled(LoopObject *self);

/* Number of entries in the ready queue, wherever it is. */
Py_ssize_t qi_loop_ready_len(LoopObject *self);

/* Takes the newest handle out of the ready queue if it is ours and its callback is a
   method of owner; it need not be, because other threads queue handles too.  0 with
   *ret_handle owned or NULL, or -1. */
int qi_loop_take_newest(LoopObject *self, PyObject *owner, PyObject **ret_handle);

/* A timer handle in the heap is being cancelled.  0 or -1. */
int qi_loop_timer_cancelled(LoopObject *self, PyObject *handle);

/* The deadline of a timer in the heap has changed.  0 or -1. */
int qi_loop_timer_moved(LoopObject *self);

/* Lets go of everything that is queued. */
void qi_loop_drop_ready(LoopObject *self);
void qi_loop_drop_scheduled(LoopObject *self);

/*--- calls.c ---*/

extern PyMethodDef qi_call_methods[];

/* Stores the context that was given to `function`, borrowed; leaves *ret_context alone
   for None.  0, or -1 with TypeError when value is something else. */
int qi_check_context(const char *function, PyObject *value, PyObject **ret_context);

/*--- run.c ---*/

extern PyMethodDef qi_run_methods[];

/* A step that outer_steps counts is over: turns go on after the outermost one. */
void qi_loop_step_over(LoopObject *self);

/* Releases the host; a host that belongs to another thread releases itself there when it
   is called next, because its Qt objects must not be deleted from here. */
void qi_loop_drop_host(LoopObject *self);

/*--- io.c ---*/

extern PyMethodDef qi_io_methods[];

/* Queues the handles of a ready descriptor.  0 or -1. */
int qi_loop_deliver(LoopObject *self, PyObject *fileobj, PyObject *data, int events);

/*--- pyhost.c ---*/

/* A qi_host over a Python object with the same methods; NULL with an exception. */
struct qi_host *qi_pyhost_new(PyObject *object);

#endif
