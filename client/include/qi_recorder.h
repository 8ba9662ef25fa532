/*
 * qi_recorder.h - recording what the segment shows into a file, in the process itself.
 *
 * A recorder is a thread (C, never the GIL, neither Python nor Qt) that reads the segment
 * as the sender does and writes a recording (proto/TRACE.md).  The application does not
 * notice: what the recorder does not come round to is overwritten, and is a loss in the
 * file.  If the file can no longer be written the recorder ends; why is in its
 * statistics.
 *
 *   file     everything from now on, or with limits the last of it, at `path`
 *   flight   the last seconds at `path`.part; when something happens (the triggers), what
 *            was before and after it is written to `path`, which so holds the last such
 *            capture.  .part is removed at the end, and is what a killed process leaves.
 *
 * A client ends its recorders when it is closed.  A forked child has none.
 * [any] thread, all functions.
 */
#ifndef QI_RECORDER_H
#define QI_RECORDER_H

#include "qi_client.h"
#include "trace_trigger.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QI_RECORDERS_MAX 8 /* of a client, at a time */

struct qi_recorder_options {
    const char *path;          /* copied */
    uint64_t max_bytes;        /* 0: no limit */
    int64_t max_age_ns;        /* 0: no limit */
    int64_t chunk_ns;          /* 0: QI_TRACE_CHUNK_NS */
    struct qi_trigger trigger; /* kinds 0: a file, otherwise a flight */
};

struct qi_recorder_stats {
    char state[16];   /* "recording", "ended", "failed" */
    char reason[200]; /* why it failed */
    uint64_t records; /* in the file, or gone with its oldest chunks */
    uint64_t lost;    /* overwritten before they were read */
    uint64_t chunks, chunks_dropped, bytes, written;
    uint64_t notes_lost; /* there was no room for them */
    uint64_t captures;
    int64_t last_capture;  /* time of its trigger, ns; 0: none */
    char last_trigger[16]; /* "stall", "exception", "lint" */
};

/* QI_OK and a handle, or negative: see qi_client_last_error().  QI_E_EXISTS: the path is
   taken by something that is no recording. */
int qi_recorder_start(qi_client *client, const struct qi_recorder_options *options,
                      uint32_t *ret_handle);

/* Ends it: writes what is there and the state at the end.  Waits at most timeout_ms: then
   QI_E_OS, and it ends later by itself.  QI_E_INVALID: there is no such recorder. */
int qi_recorder_stop(qi_client *client, uint32_t handle, int timeout_ms,
                     struct qi_recorder_stats *ret_stats);

int qi_recorder_stats(qi_client *client, uint32_t handle,
                      struct qi_recorder_stats *ret_stats);

/* Something noticed at ts, for every recorder: the body (an encoded map) of a STALL or
   LINT.  Never waits; what finds no room is counted. */
void qi_recorders_note(qi_client *client, int64_t ts, unsigned message, const void *map,
                       size_t size);

/* Writes what the segment has from record `first` on, at once. */
int qi_client_save_trace(qi_client *client, const char *path, uint64_t first,
                         const char *trace_id);

#ifdef __cplusplus
}
#endif

#endif
