/*
 * probe_tasks.c - whose step a callable is, and the rows of tasks.
 *
 * A task's life, as its handles show it:
 *
 *      call_soon(step)      first handle: the row is made           CREATED, READY
 *      call_soon(wakeup)    somebody completed what it waited for   READY
 *      run                                                          RUNNING
 *      run has returned     a handle of its own is queued           READY
 *                           it has a waiter                         WAITING
 *                           neither: it has ended                   DONE, FAILED, ...
 */
#include "probe_impl.h"

#include <string.h>

#define US_PER_NS 1000

/*********** whose step a callable is ***********/

static int
is_task(const struct qi_probe *p, PyObject *object)
{
    return PyObject_TypeCheck(object, p->task_type)
           || (p->py_task_type != NULL && PyObject_TypeCheck(object, p->py_task_type));
}

/* asyncio's own step object holds its task in one word, which it shows as __self__. */
static void
find_self_in_step(struct qi_step_type *step, PyObject *callable)
{
    PyObject *const *words = (PyObject **)callable;
    Py_ssize_t n = step->type->tp_basicsize / (Py_ssize_t)sizeof(*words);
    Py_ssize_t at = 0;

    if (step->self == NULL
        || strstr(step->type->tp_name, "TaskStepMethWrapper") == NULL) {
        return;
    }
    PyObject *self = step->self(callable, step->closure);
    for (Py_ssize_t i = sizeof(PyObject) / sizeof(*words); self != NULL && i < n; i++) {
        if (words[i] == self) {
            at = at == 0 ? i : -1; /* twice: which is it? */
        }
    }
    step->at = at > 0 ? at : 0;
    PyErr_Clear();
    Py_XDECREF(self);
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
        /* Not from tp_dict, which built-in types do not show from 3.12 on. */
        PyObject *descr = PyObject_GetAttrString((PyObject *)type, "__self__");
        PyErr_Clear();
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
        Py_XDECREF(descr);
        find_self_in_step(step, callable);
        if (step == &p->step_types[0]) {
            p->quick_step = step->at != 0 ? type : NULL;
            p->quick_step_at = step->at;
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

QI_APART PyObject *
qi_task_of_other_step(struct qi_probe *p, PyObject *callable)
{
    PyObject *self = NULL;

    if (Py_TYPE(callable) == p->step_types[0].type) { /* its word is not known */
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

/* A task that tells about itself without running Python code or allocating anything. */
static inline int
is_quick(const struct qi_probe *p, PyObject *task)
{
    return Py_IS_TYPE(task, p->quick_task);
}

/* New reference. */
static inline PyObject *
read_of_task(const struct qi_probe *p, const struct qi_fast_attribute *attribute,
             PyObject *task)
{
    return QI_UNLIKELY(!is_quick(p, task))
               ? qi_read_attribute(attribute, task)
               : qi_some_value(attribute->get(task, attribute->closure));
}

/* A future's or a task's state is a text: PENDING, FINISHED or CANCELLED.  Takes the
   reference; NULL is none of them. */
static int
says_cancelled(const struct qi_probe *p, PyObject *state)
{
    /* Mostly the same object, as both are interned. */
    int r = state == p->str_cancelled
            || (state != NULL && PyUnicode_Check(state)
                && PyUnicode_GET_LENGTH(state) == PyUnicode_GET_LENGTH(p->str_cancelled)
                && PyUnicode_Compare(state, p->str_cancelled) == 0);
    Py_XDECREF(state);
    return r;
}

static int
is_cancelled(const struct qi_probe *p, PyObject *future)
{
    return says_cancelled(p, read_of_task(p, &p->state, future));
}

static int
is_pending(const struct qi_probe *p, PyObject *future)
{
    PyObject *state = qi_read_attribute(&p->state, future);
    int r = state != NULL && PyUnicode_Check(state)
            && PyUnicode_CompareWithASCIIString(state, "PENDING") == 0;
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

/* A task that is not known gets a row; NULL when there is no room.  coro: that of the
   task, which does not know it itself while it is made and when it is over; NULL: the
   task is asked. */
static struct qi_known *
new_task(struct qi_probe *p, LoopObject *self, PyObject *task, PyObject *coro,
         int64_t now, int born)
{
    uint64_t changes = p->known.changes;
    coro = coro != NULL ? Py_NewRef(coro) : read_of_task(p, &p->coro, task);
    uint32_t code = coro == NULL ? 0 : qi_name_coroutine(p, coro);
    uint32_t stack = born && p->level >= 3 ? qi_name_stack(p) : 0;
    struct qi_known *known;
    uint64_t id;

    Py_XDECREF(coro);
    if (QI_UNLIKELY(p->known.changes != changes)) { /* Python code has run */
        known = qi_known_find(&p->known, task);
        if (known != NULL) {
            return known;
        }
    }
    uint32_t row = qi_row_new_at(p->client, QI_TASK, self->view.number, now, &id);
    known = row == QI_NO_SLOT ? NULL : qi_known_add(&p->known, task, QI_MAX_KNOWN);
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
    qi_row_done(p->client, slot);
    self->view.tasks++;
    qi_probe_note(p, now, QI_EV_TASK_CREATED, self->view.number, code, id, creator);
    return known;
}

static struct qi_known *
known_task(struct qi_probe *p, LoopObject *self, PyObject *task, PyObject *coro,
           int64_t now, int born)
{
    struct qi_known *known = qi_known_find(&p->known, task);

    return known != NULL ? known : new_task(p, self, task, coro, now, born);
}

struct qi_known *
qi_probe_task(struct qi_probe *p, LoopObject *self, PyObject *task, int64_t now, int born)
{
    return known_task(p, self, task, NULL, now, born);
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
    qi_row_done(p->client, slot);
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

/* A handle of a task, which no step of its own has queued.  Holds the probe where Python
   code may run. */
static QI_APART void
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
        qi_probe_hold(p);
        (void)new_task(p, self, task, NULL, now, nargs == 0);
        (void)qi_probe_let_go(p);
        return;
    }
    uint64_t by = foreign ? 0 : cause_of(p, self);
    if (nargs != 1) {
        wake_task(p, self, known, 0, by, now);
        return;
    }
    /* A wakeup carries the future that completed. */
    PyObject *future = QI_SLOT(st, handle, args);
    if (p->quick_task != NULL
        && (Py_IS_TYPE(future, p->plain_future) || is_quick(p, future))) {
        if (!says_cancelled(p, p->state.get(future, p->state.closure))) {
            wake_task(p, self, known, 0, by, now);
            return;
        }
    }
    qi_probe_hold(p);
    int cancelled = is_cancelled(p, future) && cancels_in_force(p, task, 1) > 0;
    known = qi_known_find(&p->known, task); /* Python code may have run */
    if (known != NULL) {
        wake_task(p, self, known, cancelled, by, now);
    }
    (void)qi_probe_let_go(p);
}

/* call_soon() on a thread that is not the loop's: a race. */
static void
queued_by_other_thread(struct qi_probe *p, LoopObject *self, PyObject *handle)
{
    if (qi_probe_view(p, self)) {
        qi_probe_hold(p);
        uint32_t code = qi_name_callable(p, QI_SLOT(self->st, handle, callback));
        if (qi_probe_let_go(p)) {
            qi_probe_note(p, qi_probe_now(), QI_EV_CALLBACK_FOREIGN, self->view.number,
                          code, 0, 0);
        }
    }
}

static QI_APART void
queued_by_some_thread(struct qi_probe *p, LoopObject *self, PyObject *handle,
                      PyObject *task, int foreign)
{
    qi_state *st = self->st;

    if (!foreign && self->thread_id != 0
        && self->thread_id != PyThread_get_thread_ident()) {
        queued_by_other_thread(p, self, handle);
        p = st->observed;
        if (p == NULL) {
            return;
        }
    }
    if (task != NULL && qi_probe_view(p, self)) {
        task_queued(p, self, handle, task, foreign);
    }
}

QI_INLINE void
queued(struct qi_probe *p, LoopObject *self, PyObject *handle, PyObject *task,
       int foreign)
{
    struct qi_loop_view *view = &self->view;

    if (task != NULL && task == view->stepping
        && qi_handle_own(self->st, handle)->nargs == 0) {
        view->yielded = 1; /* the last act of the step: qi_task_step_ended() tells */
    }
    else if (QI_UNLIKELY(view->smooth != p->session
                         || view->thread != qi_probe_this_thread())) {
        queued_by_some_thread(p, self, handle, task, foreign);
    }
    else if (task != NULL) {
        task_queued(p, self, handle, task, foreign);
    }
}

static QI_APART void
something_queued(struct qi_probe *p, LoopObject *self, PyObject *handle,
                 PyObject *callback, int foreign)
{
    queued(p, self, handle, qi_task_of_other_step(p, callback), foreign);
}

void
qi_probe_queued(LoopObject *self, PyObject *handle, int foreign)
{
    qi_state *st = self->st;
    struct qi_probe *p = st->probe;
    PyObject *callback = QI_SLOT(st, handle, callback);
    PyObject *task;

    if (qi_task_of_quick_step(p, callback, &task)) {
        queued(p, self, handle, task, foreign);
    }
    else {
        something_queued(p, self, handle, callback, foreign);
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
    else if (kind == QI_WAITS_FUTURE && Py_TYPE(waiter) != p->plain_future
             && strcmp(Py_TYPE(waiter)->tp_name, "_asyncio.Future") != 0) {
        const char *name = Py_TYPE(waiter)->tp_name;
        id = qi_text(p->client, name, strlen(name));
    }
    return id;
}

/* What becomes of a task after a step: filled by Python code, then written at once. */
struct outcome {
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
    const struct qi_task_row *t = &qi_row_at(p->client, index)->row.task;

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
        PyObject *coro = qi_read_attribute(&p->coro, task);
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

/* How a task ended: its last state, and the columns that say so.  May run Python code. */
struct ending {
    unsigned state;
    uint32_t exception, name;
};

static struct ending
find_ending(struct qi_probe *p, PyObject *task, uint32_t index)
{
    struct ending e = {.state = QI_TASK_DONE,
                       .name = qi_row_at(p->client, index)->row.task.name};
    PyObject *exc = read_of_task(p, &p->exception, task);

    if (exc != NULL) {
        const char *type = Py_TYPE(exc)->tp_name;
        e.state = QI_TASK_FAILED;
        e.exception = qi_text(p->client, type, strlen(type));
        Py_DECREF(exc);
    }
    else if (is_cancelled(p, task)) {
        e.state = QI_TASK_CANCELLED;
    }
    if (e.name == 0 && (e.state != QI_TASK_DONE || p->level >= 3)) {
        e.name = qi_name_task(p, task); /* it never waited */
    }
    return e;
}

/* Within a row that is open. */
static inline void
put_ending(struct qi_slot *slot, const struct ending *e, int64_t now)
{
    struct qi_task_row *t = &slot->row.task;

    QI_PUT(slot->state, (uint8_t)e->state);
    QI_PUT(t->changed, now);
    QI_PUT(t->exception, e->exception);
    QI_PUT(t->name, e->name);
    QI_PUT(t->wait_kind, (uint8_t)QI_WAITS_NOTHING);
    QI_PUT(t->wait_ref, 0);
}

/* After its last row: the task is not known any more. */
static inline void
task_leaves(struct qi_probe *p, LoopObject *self, struct qi_known *known,
            const struct ending *e, int64_t now)
{
    uint64_t id = QI_REF_ID(known->ref);

    qi_row_leave(p->client, known->row, now);
    qi_known_drop(&p->known, known);
    self->view.tasks -= self->view.tasks > 0;
    qi_probe_note(p, now, QI_EV_TASK_ENDED, self->view.number, e->state, id,
                  e->exception);
}

static struct qi_known *
find_again(const struct qi_probe *p, PyObject *task, uint64_t ref)
{
    struct qi_known *known = qi_known_find(&p->known, task);

    return known != NULL && known->ref == ref ? known : NULL;
}

/* Within a row that is open: one step more. */
static inline void
put_step(struct qi_slot *slot, uint64_t duration)
{
    struct qi_task_row *t = &slot->row.task;

    QI_PUT(t->busy, t->busy + duration);
    QI_PUT(t->steps, t->steps + 1);
    if (duration > (uint64_t)t->max_step_us * US_PER_NS) {
        uint64_t us = duration / US_PER_NS;
        QI_PUT(t->max_step_us, us < UINT32_MAX ? (uint32_t)us : UINT32_MAX);
    }
}

/* The step has queued the next one, or (woken) somebody else has done so meanwhile. */
static inline void
step_goes_on(struct qi_probe *p, unsigned loop, struct qi_slot *slot, uint64_t duration,
             const struct qi_step *step, int woken)
{
    struct qi_task_row *t = &slot->row.task;
    uint64_t id = QI_REF_ID(step->ref);

    qi_row_open(slot);
    put_step(slot, duration);
    QI_PUT(t->wait_kind, (uint8_t)QI_WAITS_TURN);
    QI_PUT(t->wait_ref, 0);
    if (!woken) {
        QI_PUT(slot->state, (uint8_t)QI_TASK_READY);
        QI_PUT(t->changed, step->now);
        QI_PUT(t->wakes, t->wakes + 1);
        QI_PUT(t->self_wakes, t->self_wakes + 1);
        QI_PUT(t->woken_by, step->ref);
    }
    qi_row_done(p->client, slot);
    qi_probe_note(p, step->now, QI_EV_TASK_STEP, loop, QI_STEP_YIELDS, id, duration);
    if (!woken) {
        qi_probe_note(p, step->now, QI_EV_TASK_WAKE, loop, QI_WAITS_TURN, id, step->ref);
    }
}

/* The task waits, or it has ended. */
static QI_APART int
step_stops(struct qi_probe *p, LoopObject *self, PyObject *task, struct qi_known *known,
           const struct qi_step *step)
{
    uint64_t session = p->session;
    uint64_t changes = p->known.changes;
    unsigned loop = self->view.number;
    uint64_t id = QI_REF_ID(step->ref);
    uint64_t duration = (uint64_t)(step->now - step->began);
    struct outcome outcome = {0};
    struct ending ending;

    qi_probe_hold(p);
    PyObject *waiter = read_of_task(p, &p->waiter, task);
    if (waiter != NULL) {
        find_out(p, task, waiter, step->row, &outcome);
        Py_DECREF(waiter);
    }
    else {
        ending = find_ending(p, task, step->row);
    }
    if (!qi_probe_let_go(p) || !qi_probe_is_same(self->st, p, session)) {
        return 0;
    }
    if (p->known.changes != changes) {
        known = find_again(p, task, step->ref);
        if (known == NULL) {
            return 1;
        }
    }
    struct qi_slot *slot = qi_row_begin(p->client, step->row);
    put_step(slot, duration);
    if (waiter != NULL) {
        put_wait(slot, &outcome, step->now);
        qi_row_done(p->client, slot);
        qi_probe_note(p, step->now, QI_EV_TASK_STEP, loop, QI_STEP_WAITS, id, duration);
        qi_probe_note(p, step->now, QI_EV_TASK_WAIT, loop, outcome.kind, id, outcome.ref);
    }
    else {
        put_ending(slot, &ending, step->now);
        qi_row_done(p->client, slot);
        qi_probe_note(p, step->now, QI_EV_TASK_STEP, loop, QI_STEP_ENDS, id, duration);
        task_leaves(p, self, known, &ending, step->now);
    }
    return 1;
}

int
qi_task_step_ended(struct qi_probe *p, LoopObject *self, PyObject *task,
                   const struct qi_step *step)
{
    struct qi_known *known = step->known;
    struct qi_slot *slot = qi_row_at(p->client, step->row);
    int yielded = self->view.yielded;

    self->view.yielded = 0;
    if (known == NULL) {
        known = find_again(p, task, step->ref);
        if (known == NULL) {
            return 1; /* forgotten in between */
        }
    }
    if (yielded || slot->state == QI_TASK_READY) {
        step_goes_on(p, self->view.number, slot, (uint64_t)(step->now - step->began),
                     step, !yielded);
        return 1;
    }
    return step_stops(p, self, task, known, step);
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
    struct qi_known *known = known_task(p, self, task, coro, now, 1);
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
    qi_row_done(p->client, slot);
    p->cause = 0; /* what the step does is its own doing */
    qi_task_step_begins(p, self, ret_token->row, now);
    qi_probe_show_current(p, &self->view, ret_token->ref, now);
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
    int64_t now = qi_probe_now();
    struct qi_step step = {
        .ref = token->ref, .row = token->row, .began = token->began, .now = now};
    if (!qi_task_step_ended(p, self, task, &step)) {
        return;
    }
    if (token->outer == 0) { /* or else the end of the outer callback tells it */
        qi_probe_nested_left(p, self, now);
    }
    self->view.mark = 0;
    qi_probe_show_current(p, &self->view, token->outer, token->outer_since);
}

/* A task of which no step was seen has ended. */
static void
task_is_over(struct qi_probe *p, LoopObject *self, PyObject *task, uint64_t ref,
             uint32_t index, int64_t now)
{
    struct ending ending = find_ending(p, task, index);
    struct qi_known *known = find_again(p, task, ref);

    if (known != NULL) {
        struct qi_slot *slot = qi_row_begin(p->client, index);
        put_ending(slot, &ending, now);
        qi_row_done(p->client, slot);
        task_leaves(p, self, known, &ending, now);
    }
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
    PyObject *waiter = qi_read_attribute(&p->waiter, task);
    struct qi_known *known = known_task(p, self, task, coro, now, 1);
    if (known != NULL && waiter != NULL) {
        task_waits(p, self, task, waiter, now);
    }
    else if (known != NULL && !is_pending(p, task)) {
        /* What is over already, is told in one go. */
        known = qi_known_find(&p->known, task);
        if (known != NULL) {
            task_is_over(p, self, task, known->ref, known->row, now);
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
        && qi_row_at(p->client, known->row)->state == QI_TASK_READY) {
        PyObject *waiter = qi_read_attribute(&p->waiter, task);
        if (waiter != NULL) {
            task_waits(p, self, task, waiter, now);
            Py_DECREF(waiter);
        }
    }
}
