/*
 * qt_glue.h - C view of the native Qt host: what qtglue_module.c may see of Qt.
 */
#ifndef QI_NATIVE_QT_GLUE_H
#define QI_NATIVE_QT_GLUE_H

#include "host.h"

#ifdef __cplusplus
extern "C" {
#endif

/* New host, not started, bound to no thread: start() binds it to its caller's.
   NULL if memory ran out.  The caller owns it and gives it back with host->free(). */
struct qi_host *qi_qt_host_new(void) QI_NOEXCEPT;

/* Qt this file was compiled against, and the one loaded in this process, as
   "major.minor.patch".  Static strings. */
const char *qi_qt_compiled_version(void) QI_NOEXCEPT;
const char *qi_qt_runtime_version(void) QI_NOEXCEPT;

/* 1 if the loaded Qt promises the binary interface compiled against: same major,
   same or newer minor (the promise Qt gives within a major version); else 0. */
int qi_qt_runtime_is_compatible(void) QI_NOEXCEPT;

#ifdef __cplusplus
}
#endif

#endif
