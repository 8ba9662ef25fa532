/*
 * probe.h - what the loop tells the inspector.
 *
 * While nothing inspects, st->probe is NULL and each place below costs one branch.
 * While something does, the loop writes rows and records into the client's segment:
 * memory only, no lock, and no system call but the clock's.
 *
 * A task is known by the handles that carry its steps, so tasks of any factory, and those
 * made with asyncio.Task(...), are seen; asyncio itself is left alone.
 *
 *   probe.c        loops, timers, watches, turns
 *   probe_run.c    running a handle: callbacks, steps
 *   probe_tasks.c  whose step a callable is; tasks
 *   probe_names.c  intern ids of code, texts and stacks
 *   inspector.c    the functions of _core: open, close, slots, waits, marks, requests
 *
 * All functions: with the GIL held, which orders the writers of all threads.  The hooks
 * never fail and keep an exception that is set.
 */
#ifndef QI_NATIVE_PROBE_H
#define QI_NATIVE_PROBE_H

#include "loop.h"

/* QI_PROBED(): there is a probe, perhaps at level 0; QI_OBSERVED(): its level is 1 or
   more. Without the client (it needs POSIX) there is neither, and the compiler drops what
   is behind them. */
#ifdef QI_WITH_INSPECT
#  define QI_PROBED(self) QI_UNLIKELY((self)->st->probe != NULL)
#  define QI_OBSERVED(self) QI_UNLIKELY((self)->st->observed != NULL)
#else
#  define QI_PROBED(self) 0
#  define QI_OBSERVED(self) 0
#endif

/*--- from the loop, each behind QI_PROBED() or QI_OBSERVED() ---*/

void qi_probe_loop_started(LoopObject *self);
void qi_probe_loop_stopped(LoopObject *self);
void qi_probe_loop_closed(LoopObject *self); /* also when an open loop is freed */

/* A handle entered the ready queue by call_soon(); foreign: from another thread. */
void qi_probe_queued(LoopObject *self, PyObject *handle, int foreign);

/* qi_handle_call(), observed. */
int qi_probe_run(LoopObject *self, PyObject *handle);

/* A first step that runs without a handle, inside the call that makes the task. */
struct qi_step_token {
    uint64_t outer, ref;
    int64_t outer_since, began;
    const PyObject *stepping;
    uint32_t row;
};
void qi_probe_step_begins(LoopObject *self, PyObject *task, PyObject *coro,
                          struct qi_step_token *ret_token);
void qi_probe_step_ended(LoopObject *self, PyObject *task,
                         const struct qi_step_token *token);

/* create_task() returned: a task that ran eagerly had no handle, and one that has ended
   does not know its coroutine any more.  coro may be NULL. */
void qi_probe_task_made(LoopObject *self, PyObject *task, PyObject *coro);

void qi_probe_timer_set(LoopObject *self, PyObject *handle);
void qi_probe_timer_dropped(LoopObject *self, PyObject *handle); /* cancelled */

/* handle NULL: the watch is gone. */
void qi_probe_watch(LoopObject *self, int fd, int events, PyObject *handle);
void qi_probe_watch_fired(LoopObject *self, int fd, int events);

void qi_probe_turn_began(LoopObject *self);
void qi_probe_turn_ended(LoopObject *self);
/* A time() that the program has replaced was asked for an iteration. */
void qi_probe_time_told(LoopObject *self);

/* The host gives a turn while a callback is on the stack: a bare Qt loop runs in it. */
void qi_probe_nested(LoopObject *self);
void qi_probe_modal_entered(LoopObject *self, PyObject *function);
void qi_probe_modal_left(LoopObject *self);

/* The waiter was woken: perhaps by a request from outside. */
void qi_probe_woken(LoopObject *self);

/* The waiter is being replaced while the loop may run. */
void qi_probe_waiter_gone(LoopObject *self);

/* qi_handle_call(), observed or not. */
static inline int
qi_loop_call_handle(LoopObject *self, PyObject *handle)
{
    return QI_OBSERVED(self) ? qi_probe_run(self, handle)
                             : qi_handle_call(self->st, handle);
}

#endif
