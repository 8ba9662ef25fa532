/*
 * trace_segment.h - chunks made of a segment: one's own, which is written meanwhile, or
 * the copy of a file.
 *
 * Promises (tests/c/test_trace.c, tests/c/test_recorder.c):
 *   - records come in order, each once; what the ring lost is a loss in the chunk:
 *     recorded + lost = written;
 *   - a chunk begins with every live entity; one that ended during the chunk is in it as
 *     it ended, unless the application used its slot again before it was looked at.
 *
 * [any] thread, one at a time.
 */
#ifndef QI_PROTO_TRACE_SEGMENT_H
#define QI_PROTO_TRACE_SEGMENT_H

#include "segment_read.h"
#include "trace_chunk.h"
#include "trace_write.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QI_TRACE_BATCH 4096u /* records copied in one go */

struct qi_trace_source {
    const struct qi_view *view;  /* borrowed */
    struct qi_arena_index index; /* of its texts */
    struct qi_chunk chunk;       /* in progress */
    struct qi_record *batch;     /* owned; the records copied last */
    uint64_t *ended; /* owned, per slot: ref of the last row written as ended */
    uint32_t ended_count;
    uint64_t position; /* of the next record */
    int64_t last_ts;   /* of the last record; 0: none */
    uint64_t lost;     /* records, over all */
};

/* Records from number `first` on.  0 or -1: no memory.  Afterwards _fini(). */
int qi_trace_source_init(struct qi_trace_source *s, const struct qi_view *view,
                         uint64_t first);
void qi_trace_source_fini(struct qi_trace_source *s);

/* Begins a chunk with the state as it is now. */
void qi_trace_source_begin(struct qi_trace_source *s, int64_t now_ns);

/* Puts the next records below `goal`, at most the head of now, into the chunk, a batch at
   most: how many; they are in s->batch.  The position goes on, unless *ret_cut is 1:
   records were lost, and the chunk, which has some, must end first. */
size_t qi_trace_source_records(struct qi_trace_source *s, uint64_t goal, int *ret_cut);

/* Puts in the rows of those that ended since the last call.  `skip`: only remembers
   them. */
void qi_trace_source_ended(struct qi_trace_source *s, int64_t now_ns, int skip);

/* Ends the chunk; 0 or -1.  Then it is in s->chunk. */
int qi_trace_source_end(struct qi_trace_source *s);

/* Writes a recording of what the view has from record `first` on: the records, and the
   state as it is now; now_ns 0: as of the last time that is in it.  QI_TRACE_OK or
   negative. */
int qi_trace_save(const struct qi_view *view, const struct qi_trace_info *info,
                  const char *path, uint64_t first, int64_t now_ns);

#ifdef __cplusplus
}
#endif

#endif
