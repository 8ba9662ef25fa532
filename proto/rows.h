/*
 * rows.h - the contents of STATE, INTERN and EVENTS, from and to what segment.h has.
 *
 * Encoding is what an application does (and the daemon for a segment that was left);
 * decoding is what the daemon does.  A decoder judges: what the peer got wrong is 0.
 */
#ifndef QI_PROTO_ROWS_H
#define QI_PROTO_ROWS_H

#include "columns.h"
#include "segment.h"
#include "segment_read.h"
#include "wire.h"

#ifdef __cplusplus
extern "C" {
#endif

/* No encoded row, record or entry of a segment we wrote is longer. */
#define QI_ROW_BYTES_MAX 256u
#define QI_RECORD_BYTES_MAX 40u
#define QI_TEXT_BYTES_MAX 1024u
#define QI_ENTRY_BYTES_MAX 1104u

#define QI_RECORD_VALUES 6u /* dt, kind, aux, x, a, b */

/* [kind, id, state, loop, columns...] */
void qi_encode_row(struct qi_encoder *e, const struct qi_slot *slot);
/* [kind, id, 255, 0]: the entity is over and how it ended was not seen. */
void qi_encode_gone(struct qi_encoder *e, unsigned kind, uint64_t id);
/* [id, type, value]; 0 and nothing is written for an entry of an unknown type. */
int qi_encode_entry(struct qi_encoder *e, const struct qi_entry *entry);
/* Six values for each record; *last_ts goes on to the last one's. */
void qi_encode_records(struct qi_encoder *e, const struct qi_record *records, size_t n,
                       int64_t *last_ts);

struct qi_wire_row {
    uint32_t kind, state, loop;
    uint64_t id;
    uint32_t columns; /* how many there are; those of a later version are left out */
    uint64_t column[QI_COLUMNS_MAX]; /* as qi_column_value(); missing ones are 0 */
};

/* One element of STATE.rows: 1, or 0 if it is no row. */
int qi_row_decode(const struct qi_value *value, struct qi_wire_row *ret_row);
/* The next row of a list of rows within a decoded frame, without looking at it twice: 1;
   0: there is no more, or *ret_bad: the next one is none. */
int qi_row_next(struct qi_cursor *rows, struct qi_wire_row *ret_row, int *ret_bad);

struct qi_wire_entry {
    uint32_t id;
    char type; /* 't', 'c', 'k' */
    struct qi_value text;
    uint32_t file, name, line;
    struct qi_value codes; /* a list of numbers */
};

/* One element of INTERN.entries: 1, or 0 if it is none or of an unknown type. */
int qi_entry_decode(const struct qi_value *value, struct qi_wire_entry *ret_entry);

/* The next record of EVENTS.records: 1; 0: no more, or malformed (*ret_bad then is 1).
 *last_ts starts as EVENTS.ts. */
int qi_record_decode(struct qi_cursor *records, int64_t *last_ts,
                     struct qi_record *ret_record, int *ret_bad);

#ifdef __cplusplus
}
#endif

#endif
