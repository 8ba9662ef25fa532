/*
 * feed.h - what to send next: texts, rows, records, in an order the daemon can follow.
 *
 * Promises (tests/c/test_sender.c has one case per line):
 *   - a text, location or stack goes out before the first row or record that uses it;
 *   - a snapshot has every live entity; afterwards a row goes out when it changed, once
 *     however often it did;
 *   - the last state of an entity goes out, or else that it is gone;
 *   - records go out in order, each once, and those that are lost as gaps: together they
 *     leave out no number;
 *   - a frame is about QI_CHUNK_MAX at most; one call makes one frame.
 *
 * A step copies first and looks at the texts afterwards: what was copied refers only to
 * texts that were there by then.  Memory is fixed: a batch of rows or of records.
 *
 *   segment --copy--> batch --(its texts first)--> encoder
 *
 * [sender] all functions.  Knows nothing of sockets.
 */
#ifndef QI_CLIENT_FEED_H
#define QI_CLIENT_FEED_H

#include "rows.h"
#include "segment_read.h"
#include "wire.h"

#define QI_BATCH_ROWS 768u
#define QI_BATCH_RECORDS 4096u

_Static_assert(QI_BATCH_ROWS *(QI_ROW_BYTES_MAX + 40) < QI_CHUNK_MAX, "rows fit");
_Static_assert(QI_BATCH_RECORDS *QI_RECORD_BYTES_MAX < QI_CHUNK_MAX, "records fit");

enum qi_batch_kind { QI_BATCH_NONE = 0, QI_BATCH_OF_ROWS, QI_BATCH_OF_RECORDS };

struct qi_feed {
    const struct qi_view *view; /* borrowed */
    uint8_t *dirty;             /* borrowed: the segment's */
    uint64_t *known; /* owned, per slot: ref of the entity the daemon has from it */
    uint32_t known_count;

    /* the batch */
    enum qi_batch_kind batch;
    uint32_t rows_in_batch, records_in_batch;
    uint32_t *row_indexes;     /* owned, QI_BATCH_ROWS */
    struct qi_slot *rows;      /* owned, QI_BATCH_ROWS */
    struct qi_record *records; /* owned, QI_BATCH_RECORDS */
    int64_t rows_ts;
    uint64_t first_record; /* of the batch */
    uint64_t gap_first, gap_count;
    const char *gap_cause; /* static */
    uint64_t arena_needed; /* entries that must be out before the batch */

    /* where we are */
    struct qi_arena_place arena;
    uint64_t position;     /* next record */
    uint64_t records_goal; /* of this round */
    uint32_t next_slot;
    int stage; /* enum qi_feed_stage */
    int with_records;
    int blocked; /* the socket was full since records were last copied */
    int snapshot_wanted, in_snapshot, begin_is_due;

    /* counters, read by [any] */
    uint64_t rows_sent, records_sent, records_lost;
    uint64_t furthest; /* highest record number that was sent or reported lost */
};

enum qi_feed_stage {
    QI_FEED_IDLE = 0,
    QI_FEED_ROWS,
    QI_FEED_SNAPSHOT_END,
    QI_FEED_RECORDS
};

/* 0 or -1: no memory. */
int qi_feed_init(struct qi_feed *f, const struct qi_view *view, uint8_t *dirty);
void qi_feed_fini(struct qi_feed *f);

/* For a new connection: nothing is known over there. */
void qi_feed_reset(struct qi_feed *f);

/* Texts and a snapshot once more; records go on where they are. */
void qi_feed_resync(struct qi_feed *f);

/* Starts a round (a snapshot, if one is due): all that changed up to now. */
void qi_feed_start_round(struct qi_feed *f, int with_records);
int qi_feed_is_idle(const struct qi_feed *f);

/* Starts a round of records alone, for those that would be overwritten before the next
   one: when it is idle. */
void qi_feed_start_records(struct qi_feed *f);

/* 1: a frame was encoded; 0: the round is over, nothing was; negative: no room in the
   encoder, nothing was encoded, call again with an empty one. */
int qi_feed_next(struct qi_feed *f, struct qi_encoder *e, uint32_t seq, int64_t now_ns);

#endif
