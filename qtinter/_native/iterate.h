/*
 * iterate.h - one iteration of a loop, for run.c.
 *
 * All functions: [loop], with the GIL held.
 */
#ifndef QI_NATIVE_ITERATE_H
#define QI_NATIVE_ITERATE_H

#include "loop.h"

#define QI_MAX_EVENTS 128      /* of one poll */
#define QI_FAR_SECONDS 86400.0 /* asyncio's longest wait */

enum qi_turn_result {
    TURN_ERROR = -1, /* exception set: the run is over */
    TURN_IDLE,       /* nothing left to run */
    TURN_MORE,       /* time used up */
    TURN_STOP        /* stop() was called and its iteration is complete */
};

/* Phases 1 to 3 of a plain loop; sets the batch.  block: phase 2 may wait.  0 or -1. */
int qi_begin_iteration(LoopObject *self, int block);

/* The same through the object's attributes, of which a user has replaced some. */
int qi_begin_replaced_iteration(LoopObject *self, int block);

/* Phase 4: runs what is left of the batch, until `end` (seconds). */
enum qi_turn_result qi_run_batch(LoopObject *self, double end);

/* Whether the selector waits in a way of its own, so that its select() gets the true
   timeout even under Qt: a virtual clock, a mock. */
int qi_selector_is_opaque(LoopObject *self);

/* Reads the clock into self->now. */
void qi_read_clock(LoopObject *self);

/* While somebody holds loop._scheduled, that list is the heap: takes its contents over,
   and gives them back into the same object; *ret_list (stolen by the second, NULL when
   nobody holds it) tells which.  0 or -1. */
int qi_borrow_scheduled(LoopObject *self, PyObject **ret_list);
int qi_return_scheduled(LoopObject *self, PyObject *list);

/* Makes the waiter, or the host's clock, report the nearest deadline.  0 or -1. */
int qi_arm_waiter(LoopObject *self);

/* The waiter was woken: perhaps for a request of the inspector. */
void qi_note_wakeup(LoopObject *self);

/* What a poller said, a negative errno, as OSError; EINTR runs Python's signal handlers
   instead.  0 or -1. */
int qi_raise_poll_error(int negative_errno);

/*--- from run.c ---*/

/* Does what the attention bits ask for, between two callbacks.  0: go on, 1: end the
   turn, -1: error. */
int qi_pay_attention(LoopObject *self);

#endif
