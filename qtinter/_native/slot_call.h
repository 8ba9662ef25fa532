/*
 * slot_call.h - the hot path of asyncslot.
 */
#ifndef QI_NATIVE_SLOT_CALL_H
#define QI_NATIVE_SLOT_CALL_H

#include "state.h"

/* Makes the type SlotCall and adds it to the module.  0 or -1. */
int qi_slot_call_init_type(PyObject *module);

#endif
