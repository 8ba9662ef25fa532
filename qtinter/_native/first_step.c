/*
 * first_step.c - a task whose first step runs before the call that makes it returns.
 *
 * From 3.12 on asyncio does that itself (eager_start).  Before, the task is made as
 * always, the handle of its first step is taken back from the ready queue, and the step
 * is run here, with the calling task suspended as asyncio's _leave_task() and
 * _enter_task() do it.
 *
 * All functions: [loop].
 */
#include "first_step.h"

#include "probe.h"

#define MAX_KEYWORDS 3 /* loop, name, context */

struct keywords {
    PyObject *names[MAX_KEYWORDS]; /* borrowed, as all here */
    PyObject *values[MAX_KEYWORDS];
    Py_ssize_t count;
};

static void
add_keyword(struct keywords *keywords, PyObject *name, PyObject *value)
{
    if (value != NULL && value != Py_None) {
        keywords->names[keywords->count] = name;
        keywords->values[keywords->count++] = value;
    }
}

/* Before 3.8 tasks have no name, before 3.11 no context (given one, they say so). */
static struct keywords
task_keywords(LoopObject *self, PyObject *name, PyObject *context)
{
    struct keywords keywords = {.count = 0};

    add_keyword(&keywords, self->st->str_loop, (PyObject *)self);
    if (QI_TASKS_HAVE_NAMES) {
        add_keyword(&keywords, self->st->str_name, name);
    }
    add_keyword(&keywords, self->st->str_context, context);
    return keywords;
}

/* KeyboardInterrupt or SystemExit left the first step, and is raised to the caller: not
   to be reported a second time when the task is collected. */
static void
silence(qi_state *st, PyObject *task)
{
    PyObject *exc = qi_take_exception();

    if (exc == NULL) {
        return;
    }
    if ((PyErr_GivenExceptionMatches(exc, PyExc_KeyboardInterrupt)
         || PyErr_GivenExceptionMatches(exc, PyExc_SystemExit))
        && PyObject_SetAttr(task, st->str_log_traceback, Py_False) < 0) {
        PyErr_Clear();
    }
    qi_raise_exception(exc);
}

/*--- the step, observed or not ---*/

struct step {
    LoopObject *loop;
    PyObject *task;
    PyObject *coro;
    PyObject *handle; /* of the step; NULL: see kwargs */
    PyObject *args;   /* of Task.__init__(), which runs the step */
    PyObject *kwargs;
};

static int
run_step(const struct step *step)
{
    if (step->handle != NULL) {
        return qi_handle_call(step->loop->st, step->handle);
    }
    return Py_TYPE(step->task)->tp_init(step->task, step->args, step->kwargs);
}

static int
run_observed_step(const struct step *step)
{
#ifdef QI_WITH_INSPECT
    qi_state *st = step->loop->st;
    const struct qi_probe *probe = st->observed;
    struct qi_step_token token;

    qi_probe_step_begins(step->loop, step->task, step->coro, &token);
    int r = run_step(step);
    PyObject *exc = r < 0 ? qi_take_exception() : NULL;
    if (st->observed == probe) { /* still the same inspection */
        qi_probe_step_ended(step->loop, step->task, &token);
    }
    if (exc != NULL) {
        qi_raise_exception(exc);
    }
    return r;
#else
    return run_step(step);
#endif
}

static int
run_maybe_observed(const struct step *step)
{
    int r = QI_OBSERVED(step->loop) ? run_observed_step(step) : run_step(step);

    if (r < 0) {
        silence(step->loop->st, step->task);
    }
    return r;
}

/*--- 3.12 and later ---*/

#if QI_TASKS_START_EAGERLY
static PyObject *
start(LoopObject *self, PyTypeObject *type, PyObject *coro,
      const struct keywords *keywords)
{
    PyObject *args = PyTuple_Pack(1, coro);
    PyObject *kwargs = PyDict_New();
    PyObject *task = NULL;
    int r = args == NULL || kwargs == NULL
                    || PyDict_SetItem(kwargs, self->st->str_eager_start, Py_True) < 0
                ? -1
                : 0;

    for (Py_ssize_t i = 0; r == 0 && i < keywords->count; i++) {
        r = PyDict_SetItem(kwargs, keywords->names[i], keywords->values[i]);
    }
    if (r == 0) {
        /* Allocated apart from its initialisation, to be at hand when that fails. */
        task = type->tp_new(type, self->st->empty_tuple, NULL);
    }
    if (task != NULL
        && run_maybe_observed(&(struct step){
               .loop = self, .task = task, .coro = coro, .args = args, .kwargs = kwargs})
               < 0) {
        Py_CLEAR(task);
    }
    Py_XDECREF(args);
    Py_XDECREF(kwargs);
    return task;
}

#else

/*--- before ---*/

static PyObject *
make_task(qi_state *st, PyTypeObject *type, PyObject *coro,
          const struct keywords *keywords)
{
    PyObject *stack[MAX_KEYWORDS + 2] = {NULL, coro};
    PyObject *names;

    if (keywords->count == 1) {
        names = Py_NewRef(st->loop_kwnames);
    }
    else {
        names = PyTuple_New(keywords->count);
        for (Py_ssize_t i = 0; names != NULL && i < keywords->count; i++) {
            PyTuple_SET_ITEM(names, i, Py_NewRef(keywords->names[i]));
        }
    }
    if (names == NULL) {
        return NULL;
    }
    for (Py_ssize_t i = 0; i < keywords->count; i++) {
        stack[2 + i] = keywords->values[i];
    }
    PyObject *task = PyObject_Vectorcall((PyObject *)type, stack + 1,
                                         1 | PY_VECTORCALL_ARGUMENTS_OFFSET, names);
    Py_DECREF(names);
    return task;
}

/* Runs the step with no task current, as the loop would. */
static int
run_with_caller_suspended(const struct step *step)
{
    PyObject *current_tasks = step->loop->st->current_tasks;
    PyObject *loop = (PyObject *)step->loop;
    PyObject *caller = Py_XNewRef(PyDict_GetItemWithError(current_tasks, loop));

    if ((caller == NULL && PyErr_Occurred())
        || (caller != NULL && PyDict_DelItem(current_tasks, loop) < 0)) {
        Py_XDECREF(caller);
        return -1;
    }
    int r = run_maybe_observed(step);
    if (caller != NULL) {
        PyObject *exc = qi_take_exception();
        if (PyDict_SetItem(current_tasks, loop, caller) < 0) {
            PyErr_WriteUnraisable(loop);
        }
        if (exc != NULL) {
            qi_raise_exception(exc);
        }
        Py_DECREF(caller);
    }
    return r;
}

static PyObject *
start(LoopObject *self, PyTypeObject *type, PyObject *coro,
      const struct keywords *keywords)
{
    PyObject *task = make_task(self->st, type, coro, keywords);
    PyObject *handle = NULL;
    int r = task == NULL ? -1 : qi_loop_take_newest(self, task, &handle);

    if (r == 0 && handle != NULL) {
        r = run_with_caller_suspended(
            &(struct step){.loop = self, .task = task, .coro = coro, .handle = handle});
    }
    else if (r == 0) {
        /* Another thread has queued something meanwhile, or the handle is not ours. */
        PyObject *done =
            PyObject_CallMethod((PyObject *)self, "_run_queued_step", "O", task);
        r = done == NULL ? -1 : 0;
        Py_XDECREF(done);
    }
    Py_XDECREF(handle);
    if (r < 0) {
        Py_CLEAR(task);
    }
    return task;
}
#endif

PyObject *
qi_loop_start_task(LoopObject *self, PyObject *coro, PyObject *name, PyObject *context)
{
    /* Looked up each time: programs swap asyncio.Task. */
    PyObject *type = PyObject_GetAttr(self->st->tasks, self->st->str_task);
    PyObject *task = NULL;

    if (type == NULL) {
        return NULL;
    }
    if (!PyType_Check(type)) {
        PyErr_Format(PyExc_TypeError, "asyncio.Task is not a class but %R", type);
    }
    else {
        struct keywords keywords = task_keywords(self, name, context);
        self->outer_steps++;
        task = start(self, (PyTypeObject *)type, coro, &keywords);
        qi_loop_step_over(self);
    }
    Py_DECREF(type);
    return task;
}

/* _start_task(coro, name, context) */
static PyObject *
loop_start_task(LoopObject *self, PyObject *const *args, Py_ssize_t nargs)
{
    if (nargs != 3) {
        PyErr_SetString(PyExc_TypeError, "_start_task() takes coro, name and context");
        return NULL;
    }
    return qi_loop_start_task(self, args[0], args[1], args[2]);
}

PyMethodDef qi_first_step_methods[] = {
    {"_start_task", (PyCFunction)(void (*)(void))loop_start_task, METH_FASTCALL, NULL},
    {NULL, NULL, 0, NULL},
};
