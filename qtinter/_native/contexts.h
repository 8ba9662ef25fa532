/*
 * contexts.h - the contextvars.Context that a handle runs in, without a copy for each.
 *
 * A handle that is given no context runs in a copy of the one that is current when it is
 * made (asyncio's rule).  A context is a reference to an immutable map of variables, so
 * handles made while the map is the same may share one copy, the snapshot, until they
 * run; and as hardly any callback sets a variable or keeps its context, one after the
 * other may run in the same context, the spare.  Whoever could tell the difference gets a
 * context of its own: a callback that sets a variable, a handle whose context is read.
 *
 * The map is found in the memory of the context objects (CPython does not offer it), at
 * a place that is verified on live objects first; where it differs, each handle gets its
 * copy.
 *
 * All functions: any thread that holds the GIL.
 */
#ifndef QI_NATIVE_CONTEXTS_H
#define QI_NATIVE_CONTEXTS_H

#include "state.h"

/* Finds out whether contexts can be shared; st->context_map is 0 if not.  0 or -1. */
int qi_contexts_init(qi_state *st);

/* A context with the content of the current one: a new reference, or NULL.
 *ret_shared: it may be another handle's, too; qi_context_take() before it is used. */
PyObject *qi_context_of_caller(qi_state *st, int *ret_shared);

/* Replaces *context, a shared one that its owner holds a reference to, by one of the same
   content which nobody else uses.  0 or -1. */
int qi_context_take(qi_state *st, PyObject **context);

/* A callback has run in context, which the caller holds and took for it alone: the next
   one may use it, if the callback left no trace there. */
void qi_context_give_back(qi_state *st, PyObject *context);

/* Nothing is about to run: lets go of contexts that no handle uses, for the values of
   their variables would live as long. */
void qi_contexts_release(qi_state *st);

#endif
