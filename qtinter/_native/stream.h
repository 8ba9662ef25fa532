/*
 * stream.h - the hot part of asyncio's transports; see stream.c.
 */
#ifndef QI_NATIVE_STREAM_H
#define QI_NATIVE_STREAM_H

#include "state.h"

#define QI_STREAM_BUFFER ((size_t)256 * 1024) /* asyncio's max_size */

/* Adds stream_read_ready, stream_receive, stream_pipe_ready, stream_write, stream_slots
   and stream_set_class to the module, except on Windows.  0, or -1 with an exception. */
int qi_stream_init(PyObject *module, qi_state *st);

#endif
