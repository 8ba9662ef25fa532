/*
 * slot_record.h - what is counted of one asyncslot and one receiver while it is
 * inspected.
 *
 * A record belongs to one inspection: once that has ended, or the slot or the receiver is
 * gone, it counts nothing any more.  All functions: with the GIL held.
 */
#ifndef QI_NATIVE_SLOT_RECORD_H
#define QI_NATIVE_SLOT_RECORD_H

#include "state.h"

/* Makes the types SlotRecord and SlotCallEnd and adds the first to the module.  0 or -1.
 */
int qi_slot_record_init_types(PyObject *module);

/* Whether the object is a record in force of this receiver (NULL: of a function), which
   is compared only. */
int qi_slot_record_is_of(PyObject *record, const qi_state *st, const PyObject *receiver);

/* An emission is about to start an invocation: it is the cause of the next task. */
void qi_slot_record_calling(PyObject *record);

/* What is said of an emission besides; texts, or NULL. */
struct qi_emission {
    PyObject *answer; /* class of an argument that wants an answer before it is over */
    PyObject *signal; /* its name */
};

/* Whether the signals are to be named. */
int qi_slot_record_wants_signal(PyObject *record);

/* The first step of its task has run; task: None if there is none.  0, or -1 with an
   exception of the task's methods. */
int qi_slot_record_called(PyObject *record, PyObject *loop, PyObject *task,
                          const struct qi_emission *emission);

#endif
