/*
 * probe_impl.h - what probe*.c, inspector.c and segment_py.c share.
 */
#ifndef QI_NATIVE_PROBE_IMPL_H
#define QI_NATIVE_PROBE_IMPL_H

#include "clock.h"
#include "known.h"
#include "probe.h"
#include "qi_client.h"

#include <pthread.h>

#define QI_MAX_KNOWN 400000 /* objects; more are counted as unseen */
#define QI_MAX_CODES 16384  /* code objects whose intern id is remembered */
#define QI_STEP_TYPES 8     /* types of callables that carry a task's step */
#define QI_LOOPS_WOKEN QI_SEGMENT_LOOPS

struct qi_step_type {
    PyTypeObject *type; /* owned */
    getter self;        /* of its __self__ descriptor */
    Py_ssize_t at;      /* word that holds it, always a task; 0: only the getter knows */
    void *closure;
};

/* An attribute that a C type computes, read without a look-up by name. */
struct qi_fast_attribute {
    const char *name;
    PyTypeObject *type; /* borrowed from the probe; instances take the short way */
    getter get;         /* NULL: there is no short way */
    void *closure;
};

#define QI_STACK_DEPTH 8 /* code locations of a creation stack */

/* The last creation stack: most of the next one is the same. */
struct qi_stack_memory {
    struct {
        const void *code; /* kept by its entry in `codes`; NULL: nothing is known */
        int instruction;
        uint32_t id;
    } at[QI_STACK_DEPTH];
    size_t len;  /* 0: `id` belongs to something else */
    uint32_t id; /* of the whole */
    uint64_t uses;
};

struct qi_probe {
    qi_client *client;
    uint64_t session; /* differs for each probe of the process */
    int level;
    int users;  /* hooks under way that may run Python code */
    int doomed; /* closed meanwhile: the last user releases it */
    int close_timeout_ms, close_keep;
    struct qi_known_map known; /* tasks, futures, timer handles */
    struct qi_known_map codes; /* code objects (owned keys), builtin functions */

    PyTypeObject *task_type;    /* owned; asyncio.Task, in C where that exists */
    PyTypeObject *py_task_type; /* owned; asyncio's task in Python */
    struct qi_fast_attribute waiter, state, coro, exception;
    PyTypeObject *quick_task; /* task_type, if the four above work for it; or NULL */
    PyCFunction get_name;     /* its method without arguments; NULL: by look-up */
    struct qi_fast_attribute cr_await, cr_frame, gi_yieldfrom, gi_frame;
    struct qi_stack_memory last_stack;
    struct qi_step_type step_types[QI_STEP_TYPES];
    int step_types_len, step_types_next; /* the oldest one makes room */
    const PyTypeObject *quick_step;      /* the type of the first, if its word is known */
    Py_ssize_t quick_step_at;
    int had_jobs;                  /* futures are known as jobs, or have been */
    PyObject *py_step, *py_wakeup; /* owned; functions of py_task_type */
    const PyMethodDef *c_wakeup;   /* of asyncio's tasks in C, once seen */
    PyObject *wake_up_sleeper;  /* owned; asyncio.futures._set_result_unless_cancelled */
    PyObject *gathering_type;   /* owned; asyncio.tasks._GatheringFuture */
    PyTypeObject *plain_future; /* owned; _asyncio.Future, or NULL */
    PyObject *answer;           /* owned; Python function: (kind, task or None) -> text */
    PyObject *str_get_name, *str_cr_code, *str_qualname, *str_cancelling,
        *str_cancelled; /* owned */

    /* Cause of what happens outside of any callback: the signal being delivered. */
    uint64_t cause;
    uint64_t caused; /* id of the last task that an asyncslot's emission made */

    /* The task in whose step the inspection began: that step is not observed. */
    PyObject *adopted;      /* owned */
    LoopObject *adopted_by; /* borrowed: a loop that goes says so */

    /* Loops that a request from outside wakes; the only thing another thread reads. */
    pthread_mutex_t wake_lock;
    struct {
        LoopObject *loop;
        struct qi_poller *poller;
    } woken[QI_LOOPS_WOKEN];
    unsigned char numbers[256]; /* of loops in use */
};

extern uint64_t qi_probe_sessions; /* counts them; guarded by the GIL */

extern PyMethodDef qi_inspector_functions[];
extern PyMethodDef qi_stacks_functions[];  /* inspector_requests.c */
extern PyMethodDef qi_segment_functions[]; /* segment_py.c */
extern PyMethodDef qi_record_functions[];  /* record_py.c */
int qi_trace_init(PyObject *module);       /* trace_py.c: 0 or -1 */
int qi_rows_init(PyObject *module);        /* rows_py.c: 0 or -1 */

/* Of the module that a function of _core was called on.  The probe: NULL and RuntimeError
   while inspection is off. */
static inline qi_state *
qi_inspector_state(PyObject *module)
{
    return *(qi_state **)PyModule_GetState(module);
}
struct qi_probe *qi_inspector_probe(PyObject *module);

void qi_probe_free(qi_state *st, int timeout_ms, int keep);

/* A hook that may run Python code, which may end the inspection (another thread's code
   too), holds the probe meanwhile.  The last qi_probe_let_go() of a closed probe releases
   it; 0: it was closed. */
#if defined(__GLIBC__) /* it has room for this in a library that is loaded late */
__attribute__((tls_model("initial-exec")))
#endif
extern _Thread_local int qi_probe_held; /* by this thread */

/* Tells one thread from another, for less than a thread's number costs. */
static inline uintptr_t
qi_probe_this_thread(void)
{
    return (uintptr_t)&qi_probe_held;
}

static inline void
qi_probe_hold(struct qi_probe *p)
{
    p->users++;
    qi_probe_held++;
}
void qi_probe_release(struct qi_probe *p);
QI_INLINE int
qi_probe_let_go(struct qi_probe *p)
{
    qi_probe_held--;
    if (!QI_UNLIKELY(--p->users == 0 && p->doomed)) {
        return !p->doomed;
    }
    qi_probe_release(p);
    return 0;
}

/* Whether the probe is still the one that it was, after Python code ran.  (Another one
   may have got the same address.) */
static inline int
qi_probe_is_same(const qi_state *st, const struct qi_probe *p, uint64_t session)
{
    return st->observed == p && p->session == session;
}

/* Changes what is observed: 0 forgets everything. */
void qi_probe_set_level(qi_state *st, int level);

/* Shows a running loop, its timers and its watches.  0, or -1 with MemoryError. */
int qi_probe_adopt_loop(LoopObject *self);

/* Shows a task that exists already.  Pass 0: that it is there, pass 1: what it waits
   for. */
void qi_probe_adopt_task(LoopObject *self, PyObject *task, int pass);

/* Shows a task whose step runs now, and whose beginning nobody saw. */
void qi_probe_adopt_running(LoopObject *self, PyObject *task);

/* A pending task is being freed. */
void qi_probe_task_gone(LoopObject *self, PyObject *task);

extern struct qi_clock qi_probe_clock; /* guarded by the GIL */

static inline int64_t
qi_probe_now(void)
{
    return qi_clock_now(&qi_probe_clock);
}

/* Makes sure that the loop has a row; 0 when it has none. */
int qi_probe_view_anew(struct qi_probe *p, LoopObject *self);

static inline int
qi_probe_view(struct qi_probe *p, LoopObject *self)
{
    return self->view.session == p->session ? self->view.row != QI_NO_SLOT
                                            : qi_probe_view_anew(p, self);
}

/* The task known by this object, made known if need be; NULL when there is no room.
   born: it is new, not only to us. */
struct qi_known *qi_probe_task(struct qi_probe *p, LoopObject *self, PyObject *task,
                               int64_t now, int born);

/* A record, at level 2 and above. */
QI_INLINE void
qi_probe_note(struct qi_probe *p, int64_t ts, unsigned kind, unsigned loop, uint32_t x,
              uint64_t a, uint64_t b)
{
    qi_record(p->client, ts, kind, loop, x, a, b);
}

/* The value of an attribute: NULL without an exception for None, and where there is no
   such attribute. */
static inline PyObject *
qi_some_value(PyObject *value)
{
    if (QI_UNLIKELY(value == NULL)) {
        PyErr_Clear();
    }
    else if (value == Py_None) {
        Py_DECREF(value);
        value = NULL;
    }
    return value;
}

/* New reference. */
static inline PyObject *
qi_read_attribute(const struct qi_fast_attribute *attribute, PyObject *object)
{
    return qi_some_value(attribute->get != NULL
                                 && PyObject_TypeCheck(object, attribute->type)
                             ? attribute->get(object, attribute->closure)
                             : PyObject_GetAttrString(object, attribute->name));
}

/* Intern ids; 0 when unknown. */
uint32_t qi_name_text(struct qi_probe *p, PyObject *text);
uint32_t qi_name_code(struct qi_probe *p, PyObject *code, PyObject *qualname);
uint32_t qi_name_callable(struct qi_probe *p, PyObject *callable);
/* A function whose name is known already: no Python code runs.  Else 0. */
static inline uint32_t
qi_name_function(const struct qi_probe *p, PyObject *callable)
{
    const struct qi_known *known;

    if (!PyFunction_Check(callable)) {
        return 0;
    }
    known = qi_known_find(&p->codes, PyFunction_GET_CODE(callable));
    return known != NULL ? known->text : 0;
}
uint32_t qi_name_coroutine(struct qi_probe *p, PyObject *coro);
uint32_t qi_name_task(struct qi_probe *p, PyObject *task); /* its name; see QI_TASK_N */
uint32_t qi_name_stack(struct qi_probe *p); /* of the running Python code */
uint32_t qi_name_innermost(struct qi_probe *p, PyObject *coro);

/*--- between probe.c, probe_run.c and probe_tasks.c ---*/

/* A timer has fired or was cancelled: its row is over. */
void qi_probe_timer_over(struct qi_probe *p, LoopObject *self, PyObject *handle);

/* p->adopted_by == self, and the step that called enable() is over: what became of its
   task?  May run Python code. */
void qi_probe_settle_adopted(struct qi_probe *p, LoopObject *self);

/* Before a step: the task runs. */
static inline void
qi_task_step_begins(struct qi_probe *p, LoopObject *self, uint32_t index, int64_t now)
{
    struct qi_slot *slot = qi_row_begin(p->client, index);
    struct qi_task_row *t = &slot->row.task;
    uint64_t waited = now > t->changed ? (uint64_t)(now - t->changed) : 0;

    QI_PUT(t->scheduled, t->scheduled + waited);
    QI_PUT(t->changed, now);
    QI_PUT(slot->state, (uint8_t)QI_TASK_RUNNING);
    qi_row_done(p->client, slot);
    if (waited > self->view.max_lag) {
        self->view.max_lag = waited;
    }
}

struct qi_step {
    uint64_t ref;
    uint32_t row;
    int64_t began, now;     /* now: its end */
    struct qi_known *known; /* the task's entry, or NULL: to be looked for */
};

/* After a step: what became of the task.  0: Python code has run, and ended the
   inspection. */
int qi_task_step_ended(struct qi_probe *p, LoopObject *self, PyObject *task,
                       const struct qi_step *step);

/* The task whose step or wakeup this is; borrowed, NULL for any other callable. */
PyObject *qi_task_of_other_step(struct qi_probe *p, PyObject *callable);

/* The same for nearly all of them: 1, and the task, or NULL, in *ret_task. */
static inline int
qi_task_of_quick_step(const struct qi_probe *p, PyObject *callable, PyObject **ret_task)
{
    *ret_task = NULL;
    if (callable == NULL || PyFunction_Check(callable)) {
        return 1;
    }
    if (Py_TYPE(callable) == p->quick_step) {
        *ret_task = ((PyObject **)callable)[p->quick_step_at];
        return 1;
    }
    if (Py_IS_TYPE(callable, &PyCFunction_Type)
        && ((PyCFunctionObject *)callable)->m_ml == p->c_wakeup) {
        *ret_task = ((PyCFunctionObject *)callable)->m_self;
        return 1;
    }
    return 0;
}

static inline PyObject *
qi_task_of_step(struct qi_probe *p, PyObject *callable)
{
    PyObject *task;

    return qi_task_of_quick_step(p, callable, &task) ? task
                                                     : qi_task_of_other_step(p, callable);
}

/* What runs now: the part of the row that changes with every callback. */
static inline void
qi_probe_show_current(struct qi_probe *p, struct qi_loop_view *view, uint64_t current,
                      int64_t since)
{
    view->current = current;
    view->busy_since = since;
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->state, (uint8_t)(current != 0 ? QI_LOOP_BUSY : QI_LOOP_IDLE));
    QI_PUT(slot->row.loop_.current, current);
    QI_PUT(slot->row.loop_.busy_since, since);
    qi_row_done(p->client, slot);
}

/* A callback or step is over: so is the Qt loop inside of it, if there was one. */
void qi_probe_note_nested_left(struct qi_probe *p, LoopObject *self, int64_t now);

static inline void
qi_probe_nested_left(struct qi_probe *p, LoopObject *self, int64_t now)
{
    if (QI_UNLIKELY(self->view.nested_at != 0)) {
        qi_probe_note_nested_left(p, self, now);
    }
}

#endif
