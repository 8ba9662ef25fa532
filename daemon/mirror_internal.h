/*
 * mirror_internal.h - what mirror.c and mirror_records.c share.
 */
#ifndef QI_DAEMON_MIRROR_INTERNAL_H
#define QI_DAEMON_MIRROR_INTERNAL_H

#include "mirror.h"

struct table {
    struct qi_mirror_row **cells; /* open addressing, at most three quarters full */
    size_t capacity, len;
};

/* What had come at a moment. */
struct mark {
    int64_t at;
    uint64_t ended, records;
};

#define MARKS_EACH 10u /* for so many parts of the time that is kept */
#define MARKS (MARKS_EACH + 2u)

struct qi_mirror {
    struct qi_mirror_limits limits;
    uint64_t rev;
    struct table table;
    struct qi_mirror_row *newest, *oldest;
    struct qi_mirror_row *first_ended, *last_ended;
    uint32_t live, ended;
    uint64_t ended_ever;
    size_t ended_bytes;
    int in_snapshot;

    struct qi_account account; /* of everything that is not the history's */

    struct qi_mirror_removal *removals; /* ring; it grows */
    uint32_t removals_capacity;         /* a power of two */
    uint64_t removed;                   /* ever */
    uint64_t forgotten_rev; /* revision of the last one that was overwritten */

    struct qi_mirror_entry *entries;
    uint32_t entries_len, entries_capacity;
    uint32_t *entry_of_id; /* index + 1; ids are small and dense */
    uint32_t ids_capacity;
    uint32_t entry_epoch;
    size_t entry_bytes;

    struct qi_record *records; /* ring, made with the first record; it grows */
    uint8_t *record_known;     /* bit for each place */
    uint32_t record_capacity;  /* a power of two; 0: none yet */
    uint64_t record_oldest;    /* no older one is kept; the end if there is none */
    uint64_t record_end;
    uint64_t lost;

    struct mark marks[MARKS]; /* oldest first */
    uint32_t marks_len;

    struct qi_history *history;     /* borrowed; NULL: its own limits are all there is */
    struct qi_mirror *next, **link; /* of those of the history */
};

/* Takes the row that ended first out; mirror.c.  Only where there is one. */
void qi_mirror_forget_first(struct qi_mirror *mirror);

/* What a row takes, its values included. */
static inline size_t
qi_row_bytes(unsigned room)
{
    return sizeof(struct qi_mirror_row) + room * (sizeof(uint64_t) + sizeof(uint32_t))
           + QI_BLOCK_BYTES;
}

/* A row ended: its memory is the history's now; mirror_records.c.  Rows may go, of any
   mirror of the history, and this one too. */
void qi_history_row_ended(struct qi_mirror *mirror, struct qi_mirror_row *row);
void qi_history_row_gone(struct qi_mirror *mirror, const struct qi_mirror_row *row);
void qi_mirror_free_records(struct qi_mirror *mirror);

#endif
