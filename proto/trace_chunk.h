/*
 * trace_chunk.h - the contents of one chunk: rows, records, losses, notes, and the texts
 * that these use.
 *
 * Promises (tests/c/test_trace.c):
 *   - every text, location and stack that something in the chunk refers to is in it, if
 *     the caller's look-up finds it;
 *   - memory is bounded by QI_TRACE_BODY_MAX and grows with what is put in;
 *   - records keep their numbers: those put in and those lost leave out none.
 *
 *      rows ------> state  --+
 *      records ---> events --+--> qi_trace_write_chunk(): texts, state, events
 *      ids used --> texts  --+
 *
 * No I/O; one thread at a time.  Failures (no memory, no room) are latched in `failed`:
 * what did not fit is not in the chunk.
 */
#ifndef QI_PROTO_TRACE_CHUNK_H
#define QI_PROTO_TRACE_CHUNK_H

#include "rows.h"
#include "trace.h"
#include "wire.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* An entry as whoever has it can give it; valid until the next look-up. */
struct qi_trace_entry {
    char type;           /* t, c, k; another one is left out */
    const uint8_t *text; /* t: borrowed; UTF-8 or not */
    size_t size;
    uint32_t numbers[QI_COLUMNS_MAX]; /* c: file, name, line; k: code ids */
    uint32_t count;
};

/* 1 and the entry with this id, or 0. */
typedef int (*qi_trace_lookup)(void *ctx, uint32_t id, struct qi_trace_entry *ret_entry);

struct qi_chunk {
    struct qi_encoder texts, state, events; /* their bytes are owned */
    uint64_t *used;       /* owned; a bit for each intern id that is referred to */
    uint32_t used_end;    /* ids from here on are not */
    uint64_t first, next; /* numbers of the first record and of the one to come */
    uint32_t records;     /* put in */
    uint32_t rows;        /* put in */
    uint32_t key_rows;    /* of these, of live entities */
    uint32_t rows_left_out;
    size_t share;     /* bytes after which it is full; may be set after init */
    size_t key_bytes; /* that the rows of live entities take */
    int64_t state_ts, t0, t1;
    uint64_t losses, notes;
    uint32_t flags; /* enum qi_trace_flag */
    int failed;     /* no memory */

    /* the frame of rows or of records in progress */
    int rows_open, records_open;
    int64_t rows_ts, last_ts;
    size_t list;    /* its place */
    uint32_t items; /* in it */
};

/* 0 or -1: no memory. */
int qi_chunk_init(struct qi_chunk *c);
void qi_chunk_fini(struct qi_chunk *c);

/* Empties it.  The next record has this number; the rows are as of state_ts. */
void qi_chunk_begin(struct qi_chunk *c, uint64_t first, int64_t state_ts);

/* A row as it is at ts: of a live entity at state_ts, of one that ended later on. */
void qi_chunk_put_row(struct qi_chunk *c, int64_t ts, const struct qi_wire_row *row);
void qi_chunk_put_slot(struct qi_chunk *c, int64_t ts, const struct qi_slot *slot);

/* The next n records. */
void qi_chunk_put_records(struct qi_chunk *c, const struct qi_record *records, size_t n);

/* `count` records before the first one are lost: there is none in the chunk yet.  t0, t1:
   times of the records around them, or when it was seen; 0: not known.  cause: short. */
void qi_chunk_put_loss(struct qi_chunk *c, uint64_t count, const char *cause, int64_t t0,
                       int64_t t1);

/* A body (an encoded map) of a message, as of ts; too long ones are left out: 0. */
int qi_chunk_put_note(struct qi_chunk *c, int64_t ts, unsigned message, const void *map,
                      size_t size);

/* Is there anything but rows? */
int qi_chunk_has_events(const struct qi_chunk *c);
/* Has it had its share of bytes or records? */
int qi_chunk_is_full(const struct qi_chunk *c);

/* Ends it: finds the texts.  0 or -1: failed. */
int qi_chunk_end(struct qi_chunk *c, qi_trace_lookup lookup, void *ctx);

/* Where intern ids are in a record of this kind. */
struct qi_record_ids {
    uint8_t x, a, b; /* 0: no id, 1: intern id, 2: a ref, which may have one */
};
struct qi_record_ids qi_record_ids(unsigned kind);

#ifdef __cplusplus
}
#endif

#endif
