/*
 * first_step.h - a task whose first step runs before the call that makes it returns.
 */
#ifndef QI_NATIVE_FIRST_STEP_H
#define QI_NATIVE_FIRST_STEP_H

#include "loop.h"

extern PyMethodDef qi_first_step_methods[];

/* Makes asyncio.Task(coro, loop=self, name=name, context=context) and runs it up to its
   first suspension; turns of bare Qt loops inside of it wait.  name and context: None or
   NULL for none.  The loop has no task factory.  [loop]  A new reference, or NULL: with
   TypeError, or the KeyboardInterrupt or SystemExit of the step. */
PyObject *qi_loop_start_task(LoopObject *self, PyObject *coro, PyObject *name,
                             PyObject *context);

#endif
