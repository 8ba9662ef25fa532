/* trace_py.h - what trace_py.c and trace_pass_py.c share. */
#ifndef QI_NATIVE_TRACE_PY_H
#define QI_NATIVE_TRACE_PY_H

#include "compat.h"

#include "trace_pass.h"

int qi_trace_pass_init(PyObject *module); /* 0 or -1 */
int qi_perfetto_init(PyObject *module);   /* export_perfetto.c: 0 or -1 */
extern PyMethodDef qi_export_functions[]; /* export_lines.c */

/* Whether it is a TraceTasks; if so, it takes in a row: 0, or -1: there is no memory. */
int qi_is_traced_tasks(PyObject *object);
int qi_traced_row_put(PyObject *tasks, const struct qi_traced_task *row);

/* The nearest int64_t to an int, which comes out of a file and may be anything; -1 with
   an exception if it is no int. */
static inline int64_t
qi_nearest_int64(PyObject *number)
{
    int overflow = 0;
    int64_t found = PyLong_AsLongLongAndOverflow(number, &overflow);

    return overflow > 0 ? INT64_MAX : overflow < 0 ? INT64_MIN : found;
}

#endif
