/*
 * recording.h - a recording of what an application sends: its frames in, a file out.
 *
 * It keeps a mirror of its own, so that each chunk can begin with the state, whatever
 * thread it is in.  Promises (tests/c/test_recording.c):
 *   - records come into the file in order, each once, also after a reconnect;
 *   - numbers that are missing are losses: those that the application told (with its
 *     cause), and those that nobody brought here ("recorder");
 *   - what the peer got wrong ends nothing but is left out; a failed write ends the file.
 *
 * Pure C: no Qt, no thread of its own; one thread at a time.
 */
#ifndef QI_DAEMON_RECORDING_H
#define QI_DAEMON_RECORDING_H

#include "mirror.h"
#include "trace_trigger.h"
#include "trace_write.h"
#include "wire.h"

#ifdef __cplusplus
extern "C" {
#endif

struct qi_recording_options {
    const char *path;
    uint64_t max_bytes;        /* 0: no limit */
    int64_t max_age_ns;        /* 0: no limit */
    struct qi_trigger trigger; /* kinds 0: a file; otherwise a flight: qi_recorder.h */
};

struct qi_recording_totals {
    uint64_t records, lost, chunks, chunks_dropped, bytes, written, captures;
};

struct qi_recording;

/* state: what is known of the application, as of state_ts; borrowed during the call.
   QI_TRACE_OK or negative. */
int qi_recording_create(const struct qi_recording_options *options,
                        const struct qi_trace_info *info, const struct qi_mirror *state,
                        int64_t state_ts, int64_t now_ns,
                        struct qi_recording **ret_recording);

/* A frame that the application sent, or a LINT of ours, as a payload; those that say
   nothing of its state are passed over.  now_ns: when it came.  All of these: QI_TRACE_OK
   or negative, from then on always. */
int qi_recording_frame(struct qi_recording *r, const uint8_t *payload, size_t size,
                       int64_t now_ns);
/* The last that the application wrote: its process has died. */
int qi_recording_segment(struct qi_recording *r, const struct qi_view *view,
                         int64_t now_ns);
/* To be called now and then: chunks and captures that are due. */
int qi_recording_tick(struct qi_recording *r, int64_t now_ns);

void qi_recording_stats(const struct qi_recording *r,
                        struct qi_recording_totals *ret_stats);

/* Writes what is there and the state at the end, closes the file and frees the recording.
   The first failure, if there was one. */
int qi_recording_finish(struct qi_recording *r, int64_t now_ns,
                        struct qi_recording_totals *ret_stats);

#ifdef __cplusplus
}
#endif

#endif
