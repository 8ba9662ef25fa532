/*
 * process.h - what Python does not tell about its own process: libraries and memory.
 */
#ifndef QI_NATIVE_PROCESS_H
#define QI_NATIVE_PROCESS_H

#include "compat.h"

/* The functions of the module: _loaded_libraries, _pointers_in, _object_at. */
extern PyMethodDef qi_process_methods[];

#endif
