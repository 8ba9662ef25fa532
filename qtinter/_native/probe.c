/*
 * probe.c - rows and records of handles, tasks, timers, watches and turns.
 *
 * A task's life, as its handles show it:
 *
 *      call_soon(step)      first handle: the row is made           CREATED, READY
 *      call_soon(wakeup)    somebody completed what it waited for   READY
 *      run                                                          RUNNING
 *      run has returned     a handle of its own is queued           READY
 *                           it has a waiter                         WAITING
 *                           neither: it has ended                   DONE, FAILED, ...
 *
 * One reading of the clock serves as the end of one callback and the beginning of the
 * next in the same turn.
 */
#include "probe_impl.h"

#include <string.h>
#include <time.h>

#if defined(__linux__)
#  include <sys/syscall.h>
#  include <unistd.h>
#endif

#define US_PER_NS 1000

int64_t
qi_probe_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void settle_adopted(struct qi_probe *p, LoopObject *self);

static uint32_t
thread_number(void)
{
#if defined(__linux__)
    return (uint32_t)syscall(SYS_gettid);
#else
    return (uint32_t)PyThread_get_thread_ident();
#endif
}

/*********** loops ***********/

static void
write_loop_row(struct qi_probe *p, LoopObject *self, unsigned state)
{
    struct qi_loop_view *view = &self->view;
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    struct qi_loop_row *row = &slot->row.loop_;

    QI_PUT(slot->state, (uint8_t)state);
    QI_PUT(row->current, view->current);
    QI_PUT(row->busy_since, view->busy_since);
    QI_PUT(row->iterations, self->stats.iterations);
    QI_PUT(row->turns, self->stats.turns);
    QI_PUT(row->callbacks, self->stats.callbacks);
    QI_PUT(row->ready, (uint32_t)self->ready.len);
    QI_PUT(row->timers, view->timers);
    QI_PUT(row->watches, view->watches);
    QI_PUT(row->tasks, view->tasks);
    QI_PUT(row->asyncio, view->asyncio_ns);
    QI_PUT(row->qt, view->qt_ns);
    QI_PUT(row->max_lag, view->max_lag);
    QI_PUT(row->unseen, view->unseen);
    qi_row_end(p->client, view->row);
}

/* What runs now: the part of the row that changes with every callback. */
static inline void
show_current(struct qi_probe *p, struct qi_loop_view *view, uint64_t current,
             int64_t since)
{
    view->current = current;
    view->busy_since = since;
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->state, (uint8_t)(current != 0 ? QI_LOOP_BUSY : QI_LOOP_IDLE));
    QI_PUT(slot->row.loop_.current, current);
    QI_PUT(slot->row.loop_.busy_since, since);
    qi_row_end(p->client, view->row);
}

static unsigned
take_number(struct qi_probe *p)
{
    for (unsigned i = 1; i < sizeof(p->numbers); i++) {
        if (!p->numbers[i]) {
            p->numbers[i] = 1;
            return i;
        }
    }
    return 0;
}

int
qi_probe_view(struct qi_probe *p, LoopObject *self)
{
    struct qi_loop_view *view = &self->view;

    if (view->session == p->session) {
        return view->row != QI_NO_SLOT;
    }
    if (p->level == 0) {
        return 0;
    }
    *view = (struct qi_loop_view){.session = p->session, .number = take_number(p)};
    view->row = qi_row_new(p->client, QI_LOOP, view->number, &view->id);
    if (view->row == QI_NO_SLOT) {
        return 0;
    }
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->state, (uint8_t)QI_LOOP_STOPPED);
    qi_row_end(p->client, view->row);
    qi_probe_note(p, qi_probe_now(), QI_EV_LOOP_CREATED, view->number, 0, view->id, 0);
    return 1;
}

/* A request from outside wakes the loop through its poller. */
static void
set_woken(struct qi_probe *p, LoopObject *self, struct qi_poller *poller)
{
    pthread_mutex_lock(&p->wake_lock);
    int place = -1;
    for (int i = QI_LOOPS_WOKEN - 1; i >= 0; i--) {
        if (p->woken[i].loop == self) {
            place = i;
            break;
        }
        if (poller != NULL && p->woken[i].loop == NULL) {
            place = i;
        }
    }
    if (place >= 0) {
        p->woken[place].loop = poller != NULL ? self : NULL;
        p->woken[place].poller = poller;
    }
    pthread_mutex_unlock(&p->wake_lock);
}

void
qi_probe_waiter_gone(LoopObject *self)
{
    set_woken(self->st->probe, self, NULL);
}

static unsigned
mode_of(const LoopObject *self)
{
    switch (self->running) {
    case QI_RUNNING_ATTACHED:
        return QI_MODE_ATTACHED;
    case QI_RUNNING_NESTED:
        return QI_MODE_NESTED;
    default:
        return QI_MODE_NATIVE;
    }
}

void
qi_probe_loop_started(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (self->waiter != NULL) {
        set_woken(p, self,
                  &self->waiter->poller); /* at level 0 too: to hear of another */
    }
    if (!qi_probe_view(p, self)) {
        return;
    }
    view->shown = 1;
    const char *host = self->running == QI_RUNNING_NATIVE || self->host_name == NULL
                           ? ""
                           : self->host_name;
    uint32_t text = qi_text(p->client, host, strlen(host));
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->row.loop_.mode, mode_of(self));
    QI_PUT(slot->row.loop_.thread, thread_number());
    QI_PUT(slot->row.loop_.host, text);
    qi_row_end(p->client, view->row);
    view->turn_ended = 0;
    /* A native run is one turn, but for the time that it waits. */
    view->is_native = self->running == QI_RUNNING_NATIVE;
    view->turn_began = view->is_native ? qi_probe_now() : 0;
    view->callbacks = self->stats.callbacks;
    write_loop_row(p, self, QI_LOOP_IDLE);
    qi_probe_note(p, qi_probe_now(), QI_EV_LOOP_STARTED, view->number, mode_of(self),
                  view->id, 0);
}

void
qi_probe_loop_stopped(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    set_woken(p, self, NULL);
    if (p->adopted_by == self) {
        settle_adopted(p, self);
    }
    if (self->st->probe != p || view->session != p->session || view->row == QI_NO_SLOT) {
        return;
    }
    if (view->is_native) {
        qi_probe_turn_ended(self);
    }
    view->current = 0;
    view->busy_since = 0;
    view->shown = 0;
    write_loop_row(p, self, QI_LOOP_STOPPED);
    qi_probe_note(p, qi_probe_now(), QI_EV_LOOP_STOPPED, view->number, 0,
                  self->stats.iterations, view->id);
}

/* The number of the loop that an entry belongs to.  An entry without a row keeps it
   itself. */
static unsigned
loop_of(const struct qi_probe *p, const struct qi_known *known)
{
    return known->row != QI_NO_SLOT ? qi_row_loop(p->client, known->row) : known->text;
}

/* Forgets what belongs to a loop that is no more, or, for 0, everything. */
static void
retire_all_of(struct qi_probe *p, unsigned number)
{
    size_t i = 0;

    while (i < p->known.capacity) {
        struct qi_known *known = &p->known.entries[i];
        if (known->object == NULL || (number != 0 && loop_of(p, known) != number)) {
            i++;
            continue;
        }
        if (known->row != QI_NO_SLOT) {
            /* A task is not known to have ended; the loop will not run it any more. */
            qi_row_retire(p->client, known->row,
                          number == 0                          ? QI_STATE_GONE
                          : QI_REF_KIND(known->ref) == QI_TASK ? QI_TASK_DESTROYED
                                                               : QI_OVER);
        }
        qi_known_remove(&p->known, known->object); /* may bring another one here */
    }
}

void
qi_probe_loop_closed(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    set_woken(p, self, NULL);
    if (view->session != p->session) {
        return;
    }
    qi_probe_note(p, qi_probe_now(), QI_EV_LOOP_CLOSED, view->number, view->tasks,
                  view->id, 0);
    if (p->adopted_by == self) {
        Py_CLEAR(p->adopted);
        p->adopted_by = NULL;
    }
    if (view->number != 0) {
        retire_all_of(p, view->number);
    }
    if (view->row != QI_NO_SLOT) {
        view->tasks = view->timers = view->watches = 0;
        write_loop_row(p, self, QI_LOOP_IS_CLOSED);
        qi_row_retire(p->client, view->row, QI_LOOP_IS_CLOSED);
    }
    p->numbers[view->number & 0xff] = 0;
    view->session = 0;
}

void
qi_probe_set_level(qi_state *st, int level)
{
    struct qi_probe *p = st->probe;

    p->level = level;
    st->observed = level > 0 ? p : NULL;
    if (level > 0) {
        return;
    }
    /* What happens from here on is not seen, so nothing that is shown would stay true. */
    retire_all_of(p, 0);
    Py_CLEAR(p->adopted);
    p->adopted_by = NULL;
    p->cause = p->caused = 0;
    p->session = ++qi_probe_sessions; /* the loops' views are void */
    memset(p->numbers, 0, sizeof(p->numbers));
}

/*********** whose step a callable is ***********/

static int
is_task(const struct qi_probe *p, PyObject *object)
{
    return PyObject_TypeCheck(object, p->task_type)
           || (p->py_task_type != NULL && PyObject_TypeCheck(object, p->py_task_type));
}

/* The type of asyncio's own step objects: reads __self__ through its descriptor. */
static PyObject *
self_of_step_object(struct qi_probe *p, PyObject *callable)
{
    PyTypeObject *type = Py_TYPE(callable);
    struct qi_step_type *step = NULL;

    for (int i = 0; i < p->step_types_len; i++) {
        if (p->step_types[i].type == type) {
            step = &p->step_types[i];
            break;
        }
    }
    if (step == NULL) {
        PyObject *descr = PyDict_GetItemString(type->tp_dict, "__self__"); /* borrowed */
        if (p->step_types_len < QI_STEP_TYPES) {
            step = &p->step_types[p->step_types_len++];
        }
        else {
            step = &p->step_types[p->step_types_next++ % QI_STEP_TYPES];
            Py_DECREF((PyObject *)step->type);
        }
        *step =
            (struct qi_step_type){.type = (PyTypeObject *)Py_NewRef((PyObject *)type)};
        if (descr != NULL && Py_IS_TYPE(descr, &PyGetSetDescr_Type)) {
            step->self = ((PyGetSetDescrObject *)descr)->d_getset->get;
            step->closure = ((PyGetSetDescrObject *)descr)->d_getset->closure;
        }
    }
    PyObject *self = step->self == NULL ? NULL : step->self(callable, step->closure);
    if (self == NULL) {
        PyErr_Clear();
    }
    Py_XDECREF(self); /* the callable holds it */
    return self;
}

/* The wakeup of a task in C, from 3.9 on: the only method of a task that is a step. */
static int
is_c_wakeup(struct qi_probe *p, PyObject *callable)
{
    const PyMethodDef *method = ((PyCFunctionObject *)callable)->m_ml;

    if (method == p->c_wakeup) {
        return 1;
    }
    if (strstr(method->ml_name, "wakeup") == NULL) {
        return 0; /* task.cancel, say, as a callback */
    }
    p->c_wakeup = method;
    return 1;
}

/* The task whose step or wakeup this is; borrowed, NULL for any other callable. */
static PyObject *
task_of(struct qi_probe *p, PyObject *callable)
{
    PyObject *self = NULL;

    if (callable == NULL || PyFunction_Check(callable)) {
        return NULL;
    }
    if (Py_TYPE(callable) == p->step_types[0].type) { /* mostly: the steps of C tasks */
        self = self_of_step_object(p, callable);
        return self != NULL && is_task(p, self) ? self : NULL;
    }
    if (PyCFunction_Check(callable)) {
        self = PyCFunction_GET_SELF(callable);
        return self != NULL && is_task(p, self) && is_c_wakeup(p, callable) ? self : NULL;
    }
    if (PyMethod_Check(callable)) { /* a task in Python */
        PyObject *function = PyMethod_GET_FUNCTION(callable);
        return function == p->py_step || function == p->py_wakeup
                   ? PyMethod_GET_SELF(callable)
                   : NULL;
    }
    if (!PyType_HasFeature(Py_TYPE(callable), Py_TPFLAGS_HEAPTYPE)
        || Py_TYPE(callable)->tp_dictoffset == 0) {
        self = self_of_step_object(p, callable);
    }
    return self != NULL && is_task(p, self) ? self : NULL;
}

/* New reference; NULL without an exception for None, and where there is no such
   attribute. */
static PyObject *
read_attribute(const struct qi_fast_attribute *attribute, PyObject *object)
{
    PyObject *value =
        attribute->get != NULL && PyObject_TypeCheck(object, attribute->type)
            ? attribute->get(object, attribute->closure)
            : PyObject_GetAttrString(object, attribute->name);
    if (value == NULL) {
        PyErr_Clear();
    }
    else if (value == Py_None) {
        Py_CLEAR(value);
    }
    return value;
}

static int
state_is(const struct qi_probe *p, PyObject *future, const char *wanted)
{
    PyObject *state = read_attribute(&p->state, future);
    int r = state != NULL && PyUnicode_Check(state)
            && PyUnicode_CompareWithASCIIString(state, wanted) == 0;
    Py_XDECREF(state);
    return r;
}

/*********** tasks ***********/

/* A signal that is being delivered is nearer than the callback that emitted it. */
static uint64_t
cause_of(const struct qi_probe *p, const LoopObject *self)
{
    return p->cause != 0 ? p->cause : self->view.current;
}

struct qi_known *
qi_probe_task(struct qi_probe *p, LoopObject *self, PyObject *task, int64_t now, int born)
{
    struct qi_known *known = qi_known_find(&p->known, task);
    uint64_t id;

    if (known != NULL) {
        return known;
    }
    uint32_t row = qi_row_new(p->client, QI_TASK, self->view.number, &id);
    known = row == QI_NO_SLOT ? NULL : qi_known_enter(&p->known, task, QI_MAX_KNOWN);
    if (known == NULL) {
        if (row != QI_NO_SLOT) {
            qi_row_retire(p->client, row, QI_TASK_DESTROYED);
        }
        self->view.unseen++;
        return NULL;
    }
    known->row = row;
    known->ref = QI_REF(QI_TASK, id);
    if (born && QI_REF_KIND(p->cause) == QI_SLOT) {
        p->caused = id;
    }
    PyObject *coro = read_attribute(&p->coro, task);
    uint32_t code = coro == NULL ? 0 : qi_name_coroutine(p, coro);
    Py_XDECREF(coro);
    uint32_t stack = born && p->level >= 3 ? qi_name_stack(p) : 0;
    uint64_t creator = born ? cause_of(p, self) : 0;

    struct qi_slot *slot = qi_row_begin(p->client, row);
    struct qi_task_row *t = &slot->row.task;
    QI_PUT(slot->state, (uint8_t)QI_TASK_READY);
    QI_PUT(t->code, code);
    QI_PUT(t->creator, creator);
    QI_PUT(t->created, now);
    QI_PUT(t->changed, now);
    QI_PUT(t->stack, stack);
    if (QI_REF_KIND(creator) == QI_SLOT) {
        QI_PUT(t->role, (uint8_t)QI_ROLE_SLOT_CALL);
        QI_PUT(t->slot, (uint32_t)QI_REF_ID(creator));
    }
    qi_row_end(p->client, row);
    self->view.tasks++;
    qi_probe_note(p, now, QI_EV_TASK_CREATED, self->view.number, code, id, creator);
    return known;
}

/* The row and the entry of a task that has not ended, and will not. */
static void
forget_task(struct qi_probe *p, LoopObject *self, const void *task, unsigned state)
{
    struct qi_known *known = qi_known_find(&p->known, task);

    if (known != NULL) {
        qi_row_retire(p->client, known->row, state);
        qi_known_remove(&p->known, task);
        self->view.tasks -= self->view.tasks > 0;
    }
}

void
qi_probe_task_gone(LoopObject *self, PyObject *task)
{
    struct qi_probe *p = self->st->probe;
    struct qi_known *known = qi_known_find(&p->known, task);

    if (known != NULL && QI_REF_KIND(known->ref) == QI_TASK) {
        qi_probe_note(p, qi_probe_now(), QI_EV_TASK_DESTROYED, self->view.number, 0,
                      QI_REF_ID(known->ref), 0);
        forget_task(p, self, task, QI_TASK_DESTROYED);
    }
}

static void
wake_task(struct qi_probe *p, LoopObject *self, struct qi_known *known, int cancelled,
          uint64_t by, int64_t now)
{
    struct qi_slot *slot = qi_row_begin(p->client, known->row);
    struct qi_task_row *t = &slot->row.task;

    QI_PUT(slot->state, (uint8_t)QI_TASK_READY);
    QI_PUT(t->changed, now);
    QI_PUT(t->wakes, t->wakes + 1);
    if (by == known->ref) {
        QI_PUT(t->self_wakes, t->self_wakes + 1);
    }
    QI_PUT(t->woken_by, by);
    if (cancelled) {
        QI_PUT(t->cancels, (uint16_t)(t->cancels + 1));
        QI_PUT(t->canceller, by);
    }
    qi_row_end(p->client, known->row);
    uint64_t id = QI_REF_ID(known->ref);
    if (cancelled) {
        qi_probe_note(p, now, QI_EV_TASK_CANCEL, self->view.number, 0, id, by);
    }
    qi_probe_note(p, now, QI_EV_TASK_WAKE, self->view.number, t->wait_kind, id, by);
}

/* How many cancellations are in force, as far as asyncio counts them (from 3.11 on);
   `guess` where it does not. */
static long
cancels_in_force(struct qi_probe *p, PyObject *task, long guess)
{
    PyObject *count = PyObject_CallMethodObjArgs(task, p->str_cancelling, NULL);
    long n = count != NULL && PyLong_Check(count) ? PyLong_AsLong(count) : guess;

    Py_XDECREF(count);
    PyErr_Clear();
    return n < 0 || n > UINT16_MAX ? UINT16_MAX : n;
}

static void
task_queued(struct qi_probe *p, LoopObject *self, PyObject *handle, PyObject *task,
            int foreign)
{
    qi_state *st = self->st;
    int64_t now = qi_probe_now();
    struct qi_known *known = qi_known_find(&p->known, task);
    int nargs = (int)qi_handle_own(st, handle)->nargs;

    if (known != NULL && nargs == 0 && self->view.current != known->ref) {
        /* Only its own step queues a task's next step, or its birth: the one that was
           known at this address died unseen. */
        forget_task(p, self, task, QI_TASK_DESTROYED);
        known = NULL;
    }
    if (known == NULL) {
        /* A first step, if it is no wakeup. */
        (void)qi_probe_task(p, self, task, now, nargs == 0);
        return;
    }
    /* A wakeup carries the future that completed. */
    int cancelled = nargs == 1 && state_is(p, QI_SLOT(st, handle, args), "CANCELLED")
                    && cancels_in_force(p, task, 1) > 0;
    known = qi_known_find(&p->known, task); /* Python code may have run */
    if (known != NULL) {
        wake_task(p, self, known, cancelled, foreign ? 0 : cause_of(p, self), now);
    }
}

void
qi_probe_queued(LoopObject *self, PyObject *handle, int foreign)
{
    qi_state *st = self->st;
    struct qi_probe *p = st->probe;
    PyObject *task = task_of(p, QI_SLOT(st, handle, callback));

    if (task != NULL && task == self->view.stepping
        && qi_handle_own(st, handle)->nargs == 0) {
        self->view.yielded = 1; /* the last act of the step: step_ended() tells */
    }
    else if (task != NULL && qi_probe_view(p, self)) {
        qi_probe_hold(p);
        task_queued(p, self, handle, task, foreign);
        (void)qi_probe_let_go(p);
    }
}

static unsigned
wait_kind_of(const struct qi_probe *p, PyObject *waiter, uint64_t *ret_ref)
{
    struct qi_known *known = qi_known_find(&p->known, waiter);

    *ret_ref = 0;
    if (known != NULL) {
        *ret_ref = known->ref;
        switch (QI_REF_KIND(known->ref)) {
        case QI_TASK:
            return QI_WAITS_TASK;
        case QI_WAIT:
            return QI_WAITS_SIGNAL;
        case QI_TIMER:
            return QI_WAITS_TIMER;
        case QI_JOB:
            return QI_WAITS_JOB;
        default:
            return QI_WAITS_FUTURE;
        }
    }
    if ((PyObject *)Py_TYPE(waiter) == p->gathering_type) {
        return QI_WAITS_GATHER;
    }
    return QI_WAITS_FUTURE;
}

/* Level 4: the repr of what is waited for; else the type, if that says something. */
static uint32_t
detail_of(struct qi_probe *p, PyObject *waiter, unsigned kind)
{
    uint32_t id = 0;

    if (p->level >= 4) {
        PyObject *repr = PyObject_Repr(waiter);
        id = qi_name_text(p, repr);
        Py_XDECREF(repr);
        PyErr_Clear();
    }
    else if (kind == QI_WAITS_FUTURE
             && strcmp(Py_TYPE(waiter)->tp_name, "_asyncio.Future") != 0) {
        const char *name = Py_TYPE(waiter)->tp_name;
        id = qi_text(p->client, name, strlen(name));
    }
    return id;
}

/* What becomes of a task after a step: filled by Python code, then written at once. */
struct outcome {
    unsigned end;  /* enum qi_step_end */
    unsigned kind; /* enum qi_wait_kind */
    uint64_t ref;
    uint32_t detail, name, where;
    uint16_t cancels;
};

/* The task is known by row `index` and waits for `waiter`.  May run Python code. */
static void
find_out(struct qi_probe *p, PyObject *task, PyObject *waiter, uint32_t index,
         struct outcome *ret)
{
    const struct qi_task_row *t = &qi_row_peek(p->client, index)->row.task;

    ret->kind = wait_kind_of(p, waiter, &ret->ref);
    ret->name = t->name;
    ret->cancels = t->cancels;
    ret->detail = detail_of(p, waiter, ret->kind);
    if (ret->name == 0) {
        ret->name = qi_name_task(p, task);
    }
    if (ret->cancels > 0) {
        ret->cancels = (uint16_t)cancels_in_force(p, task, ret->cancels);
    }
    if (p->level >= 3) {
        PyObject *coro = read_attribute(&p->coro, task);
        ret->where = coro == NULL ? 0 : qi_name_innermost(p, coro);
        Py_XDECREF(coro);
    }
}

/* Within a row that is open. */
static void
put_wait(struct qi_slot *slot, const struct outcome *o, int64_t now)
{
    struct qi_task_row *t = &slot->row.task;

    QI_PUT(slot->state, (uint8_t)(o->cancels > 0 ? QI_TASK_CANCELLING : QI_TASK_WAITING));
    QI_PUT(t->changed, now);
    QI_PUT(t->name, o->name);
    QI_PUT(t->wait_kind, (uint8_t)o->kind);
    QI_PUT(t->wait_ref, o->ref);
    QI_PUT(t->wait_detail, o->detail);
    QI_PUT(t->cancels, o->cancels);
    QI_PUT(t->where, o->where);
}

/* A task of which no step was seen waits. */
static void
task_waits(struct qi_probe *p, LoopObject *self, PyObject *task, PyObject *waiter,
           int64_t now)
{
    struct qi_known *known = qi_known_find(&p->known, task);
    struct outcome outcome = {0};

    if (known == NULL) {
        return;
    }
    uint32_t index = known->row;
    uint64_t id = QI_REF_ID(known->ref);
    find_out(p, task, waiter, index, &outcome);
    put_wait(qi_row_begin(p->client, index), &outcome, now);
    qi_row_end(p->client, index);
    qi_probe_note(p, now, QI_EV_TASK_WAIT, self->view.number, outcome.kind, id,
                  outcome.ref);
}

static void
task_ended(struct qi_probe *p, LoopObject *self, PyObject *task, uint64_t ref,
           uint32_t index, int64_t now)
{
    unsigned state = QI_TASK_DONE;
    uint32_t exception = 0;
    uint32_t name = qi_row_peek(p->client, index)->row.task.name;
    PyObject *exc = read_attribute(&p->exception, task);

    if (exc != NULL) {
        const char *name = Py_TYPE(exc)->tp_name;
        state = QI_TASK_FAILED;
        exception = qi_text(p->client, name, strlen(name));
        Py_DECREF(exc);
    }
    else if (state_is(p, task, "CANCELLED")) {
        state = QI_TASK_CANCELLED;
    }
    if (name == 0 && (state != QI_TASK_DONE || p->level >= 3)) {
        name = qi_name_task(p, task); /* it never waited */
    }
    struct qi_slot *slot = qi_row_begin(p->client, index);
    QI_PUT(slot->row.task.changed, now);
    QI_PUT(slot->row.task.exception, exception);
    QI_PUT(slot->row.task.name, name);
    QI_PUT(slot->row.task.wait_kind, (uint8_t)QI_WAITS_NOTHING);
    QI_PUT(slot->row.task.wait_ref, 0);
    qi_row_end(p->client, index);
    qi_row_retire(p->client, index, state);
    qi_known_remove(&p->known, task);
    self->view.tasks -= self->view.tasks > 0;
    qi_probe_note(p, now, QI_EV_TASK_ENDED, self->view.number, state, QI_REF_ID(ref),
                  exception);
}

static void
step_begins(struct qi_probe *p, LoopObject *self, uint32_t index, int64_t now)
{
    struct qi_slot *slot = qi_row_begin(p->client, index);
    struct qi_task_row *t = &slot->row.task;
    uint64_t waited = now > t->changed ? (uint64_t)(now - t->changed) : 0;

    QI_PUT(t->scheduled, t->scheduled + waited);
    QI_PUT(t->changed, now);
    QI_PUT(slot->state, (uint8_t)QI_TASK_RUNNING);
    qi_row_end(p->client, index);
    if (waited > self->view.max_lag) {
        self->view.max_lag = waited;
    }
}

/* After a step: what became of the task. */
static void
step_ended(struct qi_probe *p, LoopObject *self, PyObject *task, uint64_t ref,
           uint32_t index, int64_t began, int64_t now)
{
    uint64_t duration = (uint64_t)(now - began);
    uint64_t us = duration / US_PER_NS;
    struct outcome outcome = {.end = QI_STEP_YIELDS};
    struct qi_known *known = qi_known_find(&p->known, task);

    int yielded = self->view.yielded;

    self->view.yielded = 0;
    if (known == NULL || known->ref != ref) {
        return; /* forgotten in between */
    }
    if (!yielded && qi_row_peek(p->client, index)->state != QI_TASK_READY) {
        PyObject *waiter = read_attribute(&p->waiter, task);
        outcome.end = waiter != NULL ? QI_STEP_WAITS : QI_STEP_ENDS;
        if (waiter != NULL) {
            find_out(p, task, waiter, index, &outcome);
            Py_DECREF(waiter);
        }
    }
    struct qi_slot *slot = qi_row_begin(p->client, index);
    struct qi_task_row *t = &slot->row.task;
    QI_PUT(t->busy, t->busy + duration);
    QI_PUT(t->steps, t->steps + 1);
    if (us > t->max_step_us) {
        QI_PUT(t->max_step_us, us < UINT32_MAX ? (uint32_t)us : UINT32_MAX);
    }
    if (outcome.end == QI_STEP_YIELDS) {
        QI_PUT(t->wait_kind, (uint8_t)QI_WAITS_TURN);
        QI_PUT(t->wait_ref, 0);
    }
    if (yielded) {
        QI_PUT(slot->state, (uint8_t)QI_TASK_READY);
        QI_PUT(t->changed, now);
        QI_PUT(t->wakes, t->wakes + 1);
        QI_PUT(t->self_wakes, t->self_wakes + 1);
        QI_PUT(t->woken_by, ref);
    }
    else if (outcome.end == QI_STEP_WAITS) {
        put_wait(slot, &outcome, now);
    }
    qi_row_end(p->client, index);
    qi_probe_note(p, now, QI_EV_TASK_STEP, self->view.number, outcome.end, QI_REF_ID(ref),
                  duration);
    if (outcome.end == QI_STEP_WAITS) {
        qi_probe_note(p, now, QI_EV_TASK_WAIT, self->view.number, outcome.kind,
                      QI_REF_ID(ref), outcome.ref);
    }
    else if (yielded) {
        qi_probe_note(p, now, QI_EV_TASK_WAKE, self->view.number, QI_WAITS_TURN,
                      QI_REF_ID(ref), ref);
    }
    else if (outcome.end == QI_STEP_ENDS) {
        task_ended(p, self, task, ref, index, now);
    }
}

void
qi_probe_step_begins(LoopObject *self, PyObject *task, PyObject *coro,
                     struct qi_step_token *ret_token)
{
    struct qi_probe *p = self->st->probe;
    int64_t now = qi_probe_now();

    *ret_token = (struct qi_step_token){.row = QI_NO_SLOT};
    if (!qi_probe_view(p, self)) {
        return;
    }
    qi_probe_hold(p);
    struct qi_known *known = qi_probe_task(p, self, task, now, 1);
    if (known == NULL) {
        (void)qi_probe_let_go(p);
        return;
    }
    *ret_token = (struct qi_step_token){
        .outer = self->view.current,
        .outer_since = self->view.busy_since,
        .ref = known->ref,
        .row = known->row,
        .began = now,
        .stepping = self->view.stepping,
    };
    /* A task that is being made does not know its coroutine yet. */
    uint32_t code = qi_name_coroutine(p, coro);
    if (!qi_probe_let_go(p)) {
        return;
    }
    struct qi_slot *slot = qi_row_begin(p->client, ret_token->row);
    QI_PUT(slot->row.task.code, code);
    qi_row_end(p->client, ret_token->row);
    p->cause = 0; /* what the step does is its own doing */
    step_begins(p, self, ret_token->row, now);
    show_current(p, &self->view, ret_token->ref, now);
    self->view.stepping = task;
    self->view.yielded = 0;
}

void
qi_probe_step_ended(LoopObject *self, PyObject *task, const struct qi_step_token *token)
{
    struct qi_probe *p = self->st->probe;

    if (token->row == QI_NO_SLOT || self->view.session != p->session) {
        return;
    }
    self->view.stepping = token->stepping;
    qi_probe_hold(p);
    step_ended(p, self, task, token->ref, token->row, token->began, qi_probe_now());
    if (!qi_probe_let_go(p)) {
        return;
    }
    self->view.mark = 0;
    show_current(p, &self->view, token->outer, token->outer_since);
}

void
qi_probe_task_made(LoopObject *self, PyObject *task, PyObject *coro)
{
    struct qi_probe *p = self->st->probe;

    if (!is_task(p, task) || !qi_probe_view(p, self)
        || qi_known_find(&p->known, task) != NULL) {
        return;
    }
    /* It ran eagerly, or before the inspection began. */
    int64_t now = qi_probe_now();
    qi_probe_hold(p);
    PyObject *waiter = read_attribute(&p->waiter, task);
    struct qi_known *known = qi_probe_task(p, self, task, now, 1);
    if (known != NULL && coro != NULL
        && qi_row_peek(p->client, known->row)->row.task.code == 0) {
        uint32_t index = known->row;
        uint32_t code = qi_name_coroutine(p, coro);
        QI_PUT(qi_row_begin(p->client, index)->row.task.code, code);
        qi_row_end(p->client, index);
        known = qi_known_find(&p->known, task);
    }
    if (known != NULL && waiter != NULL) {
        task_waits(p, self, task, waiter, now);
    }
    else if (known != NULL && !state_is(p, task, "PENDING")) {
        /* What is over already, is told in one go. */
        known = qi_known_find(&p->known, task);
        if (known != NULL) {
            task_ended(p, self, task, known->ref, known->row, now);
        }
    }
    Py_XDECREF(waiter);
    (void)qi_probe_let_go(p);
}

void
qi_probe_adopt_task(LoopObject *self, PyObject *task, int pass)
{
    struct qi_probe *p = self->st->observed;

    if (p == NULL || !is_task(p, task) || !qi_probe_view(p, self)) {
        return;
    }
    int64_t now = qi_probe_now();
    struct qi_known *known = qi_probe_task(p, self, task, now, 0);
    if (pass == 1 && known != NULL
        && qi_row_peek(p->client, known->row)->state == QI_TASK_READY) {
        PyObject *waiter = read_attribute(&p->waiter, task);
        if (waiter != NULL) {
            task_waits(p, self, task, waiter, now);
            Py_DECREF(waiter);
        }
    }
}

/*********** running a handle ***********/

/* A future that was known (a sleep, a job) is done once a callback had it as its first
   argument. */
static void
retire_future(struct qi_probe *p, LoopObject *self, const void *object, int64_t now)
{
    struct qi_known *known = qi_known_find(&p->known, object);

    if (known == NULL || QI_REF_KIND(known->ref) != QI_JOB) {
        return;
    }
    qi_row_retire(p->client, known->row, QI_OVER);
    qi_probe_note(p, now, QI_EV_JOB_ENDED, self->view.number, 0, QI_REF_ID(known->ref),
                  0);
    qi_known_remove(&p->known, object);
}

static void
drop_timer(struct qi_probe *p, LoopObject *self, PyObject *handle)
{
    struct qi_known *known = qi_known_find(&p->known, handle);

    if (known == NULL) {
        return;
    }
    uint64_t ref = known->ref;
    if (known->row != QI_NO_SLOT) {
        qi_row_retire(p->client, known->row, QI_OVER);
    }
    qi_known_remove(&p->known, handle);
    self->view.timers -= self->view.timers > 0;
    PyObject *future = qi_handle_own(self->st, handle)->nargs == 2
                           ? QI_SLOT(self->st, handle, args)
                           : NULL;
    known = future == NULL ? NULL : qi_known_find(&p->known, future);
    if (known != NULL && known->ref == ref) {
        qi_known_remove(&p->known, future);
    }
}

/* Whether the probe is still the one that it was, after Python code ran.  (Another one
   may have got the same address.) */
static inline int
is_same(const qi_state *st, const struct qi_probe *p, uint64_t session)
{
    return st->observed == p && p->session == session;
}

/* Calls a handle that is no task step. */
static int
run_callback(struct qi_probe *p, LoopObject *self, PyObject *handle, int64_t began)
{
    qi_state *st = self->st;
    uint64_t session = p->session;
    PyObject *callback = QI_SLOT(st, handle, callback);

    qi_probe_hold(p);
    uint32_t code = callback == NULL ? 0 : qi_name_callable(p, callback);
    if (!qi_probe_let_go(p)) {
        return qi_handle_call(st, handle);
    }
    struct qi_known *timer =
        qi_is_timer(st, handle) ? qi_known_find(&p->known, handle) : NULL;
    const void *first =
        qi_handle_own(st, handle)->nargs >= 1 ? QI_SLOT(st, handle, args) : NULL;
    uint64_t ref = QI_REF(QI_CALLBACK, code);

    if (timer != NULL) {
        double late = (double)began - qi_handle_own(st, handle)->when * 1e9;
        ref = timer->ref;
        qi_probe_note(p, began, QI_EV_TIMER_FIRED, self->view.number, 0, QI_REF_ID(ref),
                      late > 0 ? (uint64_t)late : 0);
        drop_timer(p, self, handle);
    }
    show_current(p, &self->view, ref, began);
    int r = qi_handle_call(st, handle);
    if (!is_same(st, p, session)) {
        return r;
    }
    int64_t now = qi_probe_now();
    self->view.mark = now;
    qi_probe_note(p, now, QI_EV_CALLBACK, self->view.number, code,
                  (uint64_t)(now - began), ref);
    if (first != NULL) {
        retire_future(p, self, first, now);
    }
    return r;
}

/* Calls a handle that is a step of a task. */
static int
run_step(struct qi_probe *p, LoopObject *self, PyObject *handle, PyObject *task,
         int64_t began)
{
    qi_state *st = self->st;
    uint64_t session = p->session;
    struct qi_known *known = qi_probe_task(p, self, task, began, 0);

    if (known == NULL) {
        return run_callback(p, self, handle, began);
    }
    uint64_t ref = known->ref;
    uint32_t index = known->row;
    const PyObject *outer = self->view.stepping;
    Py_INCREF(task);
    step_begins(p, self, index, began);
    show_current(p, &self->view, ref, began);
    self->view.stepping = task;
    int r = qi_handle_call(st, handle);
    self->view.stepping = outer;
    if (is_same(st, p, session)) {
        PyObject *exc = r < 0 ? qi_take_exception() : NULL;
        int64_t now = qi_probe_now();
        self->view.mark = now;
        qi_probe_hold(p);
        step_ended(p, self, task, ref, index, began, now);
        (void)qi_probe_let_go(p);
        if (exc != NULL) {
            qi_raise_exception(exc);
        }
    }
    Py_DECREF(task);
    return r;
}

/* The step that called enable() is over: what became of its task? */
static void
settle_adopted(struct qi_probe *p, LoopObject *self)
{
    PyObject *task = p->adopted;
    struct qi_known *known = qi_known_find(&p->known, task);

    p->adopted = NULL;
    p->adopted_by = NULL;
    self->view.current = 0;
    self->view.busy_since = 0;
    self->view.stepping = NULL;
    if (known != NULL) {
        int64_t now = qi_probe_now();
        uint32_t index = known->row;
        qi_probe_hold(p);
        step_ended(p, self, task, known->ref, index,
                   qi_row_peek(p->client, index)->row.task.changed, now);
        (void)qi_probe_let_go(p);
    }
    Py_DECREF(task);
}

void
qi_probe_adopt_running(LoopObject *self, PyObject *task)
{
    struct qi_probe *p = self->st->probe;
    struct qi_known *known;

    if (p->adopted != NULL || self->view.current != 0 || !qi_probe_view(p, self)) {
        return;
    }
    int64_t now = qi_probe_now();
    known = qi_probe_task(p, self, task, now, 0);
    if (known != NULL) {
        p->adopted = Py_NewRef(task);
        self->view.stepping = task;
        p->adopted_by = self; /* dropped by qi_probe_loop_closed() at the latest */
        uint64_t ref = known->ref;
        step_begins(p, self, known->row, now);
        show_current(p, &self->view, ref, now);
    }
}

int
qi_probe_run(LoopObject *self, PyObject *handle)
{
    qi_state *st = self->st;
    struct qi_probe *p = st->probe;
    uint64_t session = p->session;
    struct qi_loop_view *view = &self->view;

    if (!qi_probe_view(p, self)) {
        return qi_handle_call(st, handle);
    }
    if (QI_UNLIKELY(!view->shown) && self->running) {
        qi_probe_loop_started(self); /* it ran before the inspection began */
    }
    if (QI_UNLIKELY(p->adopted_by == self)) {
        settle_adopted(p, self);
        if (!is_same(st, p, session)) {
            return qi_handle_call(st, handle);
        }
    }
    uint64_t outer = view->current;
    int64_t outer_since = view->busy_since;
    int64_t began = view->mark != 0 ? view->mark : qi_probe_now();
    PyObject *task = task_of(p, QI_SLOT(st, handle, callback));

    view->mark = 0; /* of use to the next callback, not to one inside of this */
    int r = task != NULL ? run_step(p, self, handle, task, began)
                         : run_callback(p, self, handle, began);
    if (!is_same(st, p, session)) {
        return r;
    }
    if (view->nested_at != 0) {
        qi_probe_note(p, view->mark, QI_EV_NESTED_LEFT, view->number, 1,
                      (uint64_t)(view->mark - view->nested_at), 0);
        view->nested_at = 0;
    }
    if (outer == 0 && view->turn_began != 0) {
        /* The next callback, or the end of the turn, will write it. */
        view->current = 0;
        view->busy_since = 0;
    }
    else {
        view->mark = 0;
        show_current(p, view, outer, outer_since);
    }
    return r;
}

/*********** timers ***********/

void
qi_probe_timer_set(LoopObject *self, PyObject *handle)
{
    qi_state *st = self->st;
    struct qi_probe *p = st->probe;
    uint64_t id;

    if (!qi_probe_view(p, self)) {
        return;
    }
    PyObject *callback = QI_SLOT(st, handle, callback);
    qi_probe_hold(p);
    uint32_t code = qi_name_callable(p, callback);
    if (!qi_probe_let_go(p)) {
        return;
    }
    int64_t now = qi_probe_now();
    int64_t when = qi_deadline_ns(qi_handle_own(st, handle)->when);
    uint64_t current = self->view.current;
    uint32_t index = qi_row_new(p->client, QI_TIMER, self->view.number, &id);

    {
        struct qi_timer_row *t = &qi_row_begin(p->client, index)->row.timer;
        QI_PUT(t->code, code);
        QI_PUT(t->when, when);
        QI_PUT(t->created, now);
        QI_PUT(t->task, QI_REF_KIND(current) == QI_TASK ? QI_REF_ID(current) : 0);
        qi_row_end(p->client, index);
    }
    struct qi_known *known = qi_known_enter(&p->known, handle, QI_MAX_KNOWN);
    if (known != NULL) {
        known->ref = QI_REF(QI_TIMER, id);
        known->row = index;
        self->view.timers++;
    }
    else {
        qi_row_retire(p->client, index, QI_OVER); /* nobody would do so later */
    }
    /* sleep(): whoever waits for the future waits for this timer. */
    if (callback == p->wake_up_sleeper && qi_handle_own(st, handle)->nargs == 2) {
        known = qi_known_enter(&p->known, QI_SLOT(st, handle, args), QI_MAX_KNOWN);
        if (known != NULL) {
            known->ref = QI_REF(QI_TIMER, id);
            known->row = QI_NO_SLOT;
            known->text = self->view.number;
        }
    }
    qi_probe_note(p, now, QI_EV_TIMER_SET, self->view.number, code, id,
                  when > now ? (uint64_t)(when - now) : 0);
}

void
qi_probe_timer_dropped(LoopObject *self, PyObject *handle)
{
    struct qi_probe *p = self->st->probe;
    struct qi_known *known = qi_known_find(&p->known, handle);

    if (known == NULL) {
        return;
    }
    qi_probe_note(p, qi_probe_now(), QI_EV_TIMER_CANCELLED, self->view.number, 0,
                  QI_REF_ID(known->ref), 0);
    drop_timer(p, self, handle);
}

/*********** watches ***********/

/* Watches are known by loop and descriptor: an odd number is no object's address. */
static const void *
watch_key(const LoopObject *self, int fd)
{
    return (const void *)((uintptr_t)self->view.number << 40 | (uintptr_t)fd << 1 | 1);
}

void
qi_probe_watch(LoopObject *self, int fd, int events, PyObject *handle)
{
    struct qi_probe *p = self->st->probe;

    if (!qi_probe_view(p, self)) {
        return;
    }
    const void *key = watch_key(self, fd);
    struct qi_known *known = qi_known_find(&p->known, key);
    int64_t now = qi_probe_now();
    uint64_t id;

    if (events == 0) {
        qi_probe_note(p, now, QI_EV_WATCH_REMOVED, self->view.number, (uint32_t)fd, 0, 0);
        if (known != NULL) {
            qi_row_retire(p->client, known->row, QI_OVER);
            qi_known_remove(&p->known, key);
            self->view.watches -= self->view.watches > 0;
        }
        return;
    }
    PyObject *callback = handle != NULL && qi_is_handle(self->st, handle)
                             ? QI_SLOT(self->st, handle, callback)
                             : NULL;
    qi_probe_hold(p);
    uint32_t code = callback == NULL ? 0 : qi_name_callable(p, callback);
    if (!qi_probe_let_go(p)) {
        return;
    }
    known = qi_known_find(&p->known, key);
    if (known == NULL) {
        uint32_t index = qi_row_new(p->client, QI_WATCH, self->view.number, &id);
        known = index == QI_NO_SLOT ? NULL : qi_known_enter(&p->known, key, QI_MAX_KNOWN);
        if (known == NULL) {
            if (index != QI_NO_SLOT) {
                qi_row_retire(p->client, index, QI_OVER);
            }
            return;
        }
        known->row = index;
        known->ref = QI_REF(QI_WATCH, id);
        self->view.watches++;
        struct qi_watch_row *w = &qi_row_begin(p->client, index)->row.watch;
        QI_PUT(w->fd, (uint32_t)fd);
        QI_PUT(w->created, now);
        qi_row_end(p->client, index);
    }
    struct qi_watch_row *w = &qi_row_begin(p->client, known->row)->row.watch;
    QI_PUT(w->events, (uint32_t)events);
    QI_PUT(w->code, code);
    qi_row_end(p->client, known->row);
    qi_probe_note(p, now, QI_EV_WATCH_ADDED, self->view.number, (uint32_t)fd,
                  (uint64_t)events, code);
}

void
qi_probe_watch_fired(LoopObject *self, int fd, int events)
{
    struct qi_probe *p = self->st->probe;
    struct qi_known *known = qi_known_find(&p->known, watch_key(self, fd));

    if (known != NULL) {
        struct qi_watch_row *w = &qi_row_begin(p->client, known->row)->row.watch;
        QI_PUT(w->fired, w->fired + 1);
        qi_row_end(p->client, known->row);
    }
    qi_probe_note(p, qi_probe_now(), QI_EV_WATCH_FIRED, self->view.number, (uint32_t)fd,
                  (uint64_t)events, 0);
}

/*********** what exists when the inspection begins ***********/

static int
adopt_timers(LoopObject *self)
{
    qi_state *st = self->st;
    PyObject *handles = PyList_New(0); /* naming them may run Python code */

    for (size_t i = 0; handles != NULL && i < self->timers.len; i++) {
        if (PyList_Append(handles, self->timers.heap[i].item) < 0) {
            Py_CLEAR(handles);
        }
    }
    if (handles == NULL) {
        return -1;
    }
    for (Py_ssize_t i = 0; st->observed != NULL && i < PyList_GET_SIZE(handles); i++) {
        PyObject *handle = PyList_GET_ITEM(handles, i);
        if (qi_is_timer(st, handle)
            && !(qi_handle_own(st, handle)->flags & QI_HANDLE_CANCELLED)
            && qi_known_find(&st->probe->known, handle) == NULL) {
            qi_probe_timer_set(self, handle);
        }
    }
    Py_DECREF(handles);
    return 0;
}

static void
adopt_watches(LoopObject *self)
{
    SelectorObject *waiter = self->waiter;

    for (int fd = 0; waiter != NULL && fd < waiter->watches_len; fd++) {
        const struct qi_watch *watch = qi_selector_watch(waiter, fd);
        if (watch == NULL || self->st->observed == NULL) {
            continue;
        }
        PyObject *handle = NULL;
        for (Py_ssize_t i = 0; handle == NULL && PyTuple_CheckExact(watch->data)
                               && i < PyTuple_GET_SIZE(watch->data);
             i++) {
            PyObject *item = PyTuple_GET_ITEM(watch->data, i);
            handle = item == Py_None ? NULL : item;
        }
        Py_XINCREF(handle);
        qi_probe_watch(self, fd, watch->events, handle);
        Py_XDECREF(handle);
    }
}

int
qi_probe_adopt_loop(LoopObject *self)
{
    if (self->running) {
        qi_probe_loop_started(self);
    }
    if (adopt_timers(self) < 0) {
        return -1;
    }
    adopt_watches(self);
    return 0;
}

/*********** turns, modal functions, nested loops ***********/

void
qi_probe_turn_began(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (!qi_probe_view(p, self)) {
        return;
    }
    if (QI_UNLIKELY(!view->shown) && self->running) {
        qi_probe_loop_started(self); /* it ran before the inspection began */
    }
    view->turn_began = qi_probe_now();
    view->callbacks = self->stats.callbacks;
    view->mark = 0;
    p->cause = 0;
    if (view->turn_ended == 0 || view->turn_began <= view->turn_ended) {
        return;
    }
    uint64_t outside = (uint64_t)(view->turn_began - view->turn_ended);
    if (!view->is_native) {
        view->qt_ns += outside;
    }
    else { /* there is no Qt: the loop waited */
        qi_probe_note(p, view->turn_began, QI_EV_IDLE, view->number, 0, outside, 0);
    }
}

void
qi_probe_turn_ended(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (QI_UNLIKELY(p->adopted_by == self)) {
        settle_adopted(p, self);
        p = self->st->observed;
    }
    if (p == NULL || view->session != p->session || view->turn_began == 0) {
        return;
    }
    int64_t now = qi_probe_now();
    uint64_t turn = (uint64_t)(now - view->turn_began);
    uint64_t outside = view->turn_ended != 0 && view->turn_began > view->turn_ended
                           ? (uint64_t)(view->turn_began - view->turn_ended)
                           : 0;
    uint64_t callbacks = self->stats.callbacks - view->callbacks;
    view->asyncio_ns += turn;
    view->turn_ended = now;
    view->turn_began = 0;
    view->mark = 0;
    if (view->row != QI_NO_SLOT) {
        write_loop_row(p, self, self->running ? QI_LOOP_IDLE : QI_LOOP_STOPPED);
    }
    uint64_t qt = view->is_native ? 0 : outside;
    qi_probe_note(p, now, QI_EV_TURN, view->number, (uint32_t)callbacks, qt, turn);
}

void
qi_probe_nested(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (view->session != p->session || view->nested_at != 0 || view->row == QI_NO_SLOT) {
        return;
    }
    view->nested_at = qi_probe_now();
    unsigned depth =
        self->host != NULL ? (unsigned)self->host->depth(self->host->impl) : 0;
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->state, (uint8_t)QI_LOOP_NESTED);
    QI_PUT(slot->row.loop_.depth, depth);
    qi_row_end(p->client, view->row);
    uint64_t current = view->current;
    qi_probe_note(p, view->nested_at, QI_EV_NESTED_ENTERED, view->number, depth,
                  QI_REF_KIND(current) == QI_TASK ? QI_REF_ID(current) : 0, 0);
}

void
qi_probe_modal_entered(LoopObject *self, PyObject *function)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (!qi_probe_view(p, self)) {
        return;
    }
    qi_probe_hold(p);
    uint32_t code = qi_name_callable(p, function);
    if (!qi_probe_let_go(p)) {
        return;
    }
    view->modal_at = qi_probe_now();
    qi_probe_note(p, view->modal_at, QI_EV_MODAL_ENTERED, view->number,
                  (uint32_t)self->modal_depth, code, 0);
    show_current(p, view, 0, 0);
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->state, (uint8_t)QI_LOOP_NESTED);
    QI_PUT(slot->row.loop_.depth, (uint32_t)self->modal_depth);
    qi_row_end(p->client, view->row);
}

void
qi_probe_modal_left(LoopObject *self)
{
    struct qi_probe *p = self->st->probe;
    struct qi_loop_view *view = &self->view;

    if (view->session != p->session || view->row == QI_NO_SLOT) {
        return;
    }
    int64_t now = qi_probe_now();
    qi_probe_note(p, now, QI_EV_MODAL_LEFT, view->number, (uint32_t)self->modal_depth,
                  (uint64_t)(now - view->modal_at), 0);
    struct qi_slot *slot = qi_row_begin(p->client, view->row);
    QI_PUT(slot->state, (uint8_t)QI_LOOP_IDLE);
    QI_PUT(slot->row.loop_.depth, (uint32_t)self->modal_depth);
    qi_row_end(p->client, view->row);
}
