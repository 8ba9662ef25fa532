/*
 * probe_run.c - a handle is run: rows and records of callbacks and steps.
 *
 * One reading of the clock serves as the end of one callback and the beginning of the
 * next in the same turn.
 */
#include "probe_impl.h"

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

/* A callback or a step has returned, and inspection is still on. */
static inline void
callback_over(struct qi_probe *p, LoopObject *self, uint64_t outer, int64_t outer_since)
{
    struct qi_loop_view *view = &self->view;

    qi_probe_nested_left(p, self, view->mark);
    if (outer == 0 && view->turn_began != 0) {
        /* The next callback, or the end of the turn, will write it. */
        view->current = 0;
        view->busy_since = 0;
    }
    else {
        view->mark = 0;
        qi_probe_show_current(p, view, outer, outer_since);
    }
}

/* Calls a handle that is no task step. */
static QI_APART int
run_callback(struct qi_probe *p, LoopObject *self, PyObject *handle, int64_t began)
{
    qi_state *st = self->st;
    uint64_t session = p->session;
    PyObject *callback = QI_SLOT(st, handle, callback);
    uint32_t code = callback == NULL ? 0 : qi_name_function(p, callback);

    if (code == 0 && callback != NULL) {
        qi_probe_hold(p);
        code = qi_name_callable(p, callback);
        if (!qi_probe_let_go(p)) {
            return qi_handle_call(st, handle);
        }
    }
    const void *first =
        qi_handle_own(st, handle)->nargs >= 1 ? QI_SLOT(st, handle, args) : NULL;
    uint64_t outer = self->view.current;
    int64_t outer_since = self->view.busy_since;
    uint64_t ref = QI_REF(QI_CALLBACK, code);

    if (qi_is_timer(st, handle)) {
        struct qi_known *timer = qi_known_find(&p->known, handle);
        if (timer != NULL) {
            double when = qi_handle_own(st, handle)->when;
            int64_t late = began - qi_loop_deadline_ns(self, when, began);
            ref = timer->ref;
            qi_probe_note(p, began, QI_EV_TIMER_FIRED, self->view.number, 0,
                          QI_REF_ID(ref), late > 0 ? (uint64_t)late : 0);
            qi_probe_timer_over(p, self, handle);
        }
    }
    qi_probe_show_current(p, &self->view, ref, began);
    int r = qi_handle_call(st, handle);
    if (!qi_probe_is_same(st, p, session)) {
        return r;
    }
    int64_t now = qi_probe_now();
    self->view.mark = now;
    qi_probe_note(p, now, QI_EV_CALLBACK, self->view.number, code,
                  (uint64_t)(now - began), ref);
    if (first != NULL && p->had_jobs) {
        retire_future(p, self, first, now);
    }
    callback_over(p, self, outer, outer_since);
    return r;
}

/* A step of a task that is not known: it became known to nobody when it was queued. */
static QI_APART struct qi_known *
late_task(struct qi_probe *p, LoopObject *self, PyObject *task, int64_t began)
{
    qi_probe_hold(p);
    struct qi_known *known = qi_probe_task(p, self, task, began, 0);
    return qi_probe_let_go(p) ? known : NULL;
}

/* Calls a handle that is a step of a task. */
static inline int
run_step(struct qi_probe *p, LoopObject *self, PyObject *handle, PyObject *task,
         int64_t began)
{
    qi_state *st = self->st;
    uint64_t session = p->session;
    struct qi_known *known = qi_known_find(&p->known, task);

    if (QI_UNLIKELY(known == NULL)) {
        known = late_task(p, self, task, began);
        if (!qi_probe_is_same(st, p, session)) {
            return qi_handle_call(st, handle);
        }
        if (known == NULL) {
            return run_callback(p, self, handle, began);
        }
    }
    struct qi_step step = {
        .ref = known->ref, .row = known->row, .began = began, .known = known};
    uint64_t changes = p->known.changes;
    uint64_t outer = self->view.current;
    int64_t outer_since = self->view.busy_since;
    const PyObject *outer_stepping = self->view.stepping;
    Py_INCREF(task);
    qi_task_step_begins(p, self, step.row, began);
    qi_probe_show_current(p, &self->view, step.ref, began);
    self->view.stepping = task;
    int r = qi_handle_call(st, handle);
    self->view.stepping = outer_stepping;
    if (qi_probe_is_same(st, p, session)) {
        PyObject *exc = r < 0 ? qi_take_exception() : NULL;
        step.now = qi_probe_now();
        self->view.mark = step.now;
        if (p->known.changes != changes) {
            step.known = NULL;
        }
        if (qi_task_step_ended(p, self, task, &step)) {
            callback_over(p, self, outer, outer_since);
        }
        if (exc != NULL) {
            qi_raise_exception(exc);
        }
    }
    Py_DECREF(task);
    return r;
}

/* The step that called enable() is over: what became of its task? */
void
qi_probe_settle_adopted(struct qi_probe *p, LoopObject *self)
{
    PyObject *task = p->adopted;
    struct qi_known *known = qi_known_find(&p->known, task);

    p->adopted = NULL;
    p->adopted_by = NULL;
    self->view.current = 0;
    self->view.busy_since = 0;
    self->view.stepping = NULL;
    if (known != NULL) {
        struct qi_step step = {
            .ref = known->ref,
            .row = known->row,
            .began = qi_row_at(p->client, known->row)->row.task.changed,
            .now = qi_probe_now(),
            .known = known,
        };
        (void)qi_task_step_ended(p, self, task, &step);
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
        p->adopted_by = self;  /* dropped by qi_probe_loop_closed() at the latest */
        self->view.smooth = 0; /* it has to be settled first */
        uint64_t ref = known->ref;
        qi_task_step_begins(p, self, known->row, now);
        qi_probe_show_current(p, &self->view, ref, now);
    }
}

/* What has to be seen to before the loop's handles are run without further questions.
   0: they are not observed. */
static QI_APART int
make_smooth(struct qi_probe *p, LoopObject *self)
{
    qi_state *st = self->st;
    uint64_t session = p->session;

    if (!qi_probe_view(p, self)) {
        return 0;
    }
    if (!self->view.shown && self->running) {
        qi_probe_loop_started(self); /* it ran before the inspection began */
    }
    if (p->adopted_by == self) {
        qi_probe_settle_adopted(p, self);
        if (!qi_probe_is_same(st, p, session)) {
            return 0;
        }
    }
    if (self->view.shown) {
        self->view.thread = qi_probe_this_thread();
        self->view.smooth = session;
    }
    return 1;
}

int
qi_probe_run(LoopObject *self, PyObject *handle)
{
    qi_state *st = self->st;
    struct qi_probe *p = st->probe;
    struct qi_loop_view *view = &self->view;

    if (QI_UNLIKELY(view->smooth != p->session) && !make_smooth(p, self)) {
        return qi_handle_call(st, handle);
    }
    int64_t began = view->mark != 0 ? view->mark : qi_probe_now();
    PyObject *task = qi_task_of_step(p, QI_SLOT(st, handle, callback));

    view->mark = 0; /* of use to the next callback, not to one inside of this */
    return task != NULL ? run_step(p, self, handle, task, began)
                        : run_callback(p, self, handle, began);
}
