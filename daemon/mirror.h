/*
 * mirror.h - what the daemon knows of one application.
 *
 * Filled from decoded frames (or from a segment that was left), read by any number of
 * subscriptions, each of which remembers only a revision:
 *
 *   - rows: every change gives its row the next revision and moves it to the front of one
 *     list, so "what changed since revision r" is the front of that list down to r,
 *     whatever the number of rows; each column has a revision too;
 *   - rows that are over: they stay for a while, oldest first to go;
 *   - entries: texts, code locations, stacks, in the order they came;
 *   - records: the last events, numbered as the application numbers them.
 *
 * Bounded: qi_mirror_limits says how much of each, and what exceeds it is an error of the
 * application, or pushes the oldest out.  What all mirrors have together is bounded too:
 * rows that are over and records by a history, everything else by a budget, which is
 * asked before the memory is.  Pure C: no Qt, no I/O, no clock; one thread.
 */
#ifndef QI_DAEMON_MIRROR_H
#define QI_DAEMON_MIRROR_H

#include "budget.h"
#include "rows.h"
#include "segment.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct qi_mirror_limits {
    uint32_t rows;      /* live ones; more are an error */
    uint32_t ended;     /* kept */
    uint32_t entries;   /* more are an error */
    size_t entry_bytes; /* summed; more are an error */
    uint32_t records;   /* kept, if the history has room; a power of two */
    uint32_t removals;  /* remembered for deltas; a power of two */
};

#define QI_MIRROR_LIMITS {262144, 50000, 262144, 16u << 20, 131072, 65536}

enum qi_mirror_status {
    QI_MIRROR_OK = 0,
    QI_MIRROR_E_NOMEM = -1,
    QI_MIRROR_E_QUOTA = -2,   /* more than the limits allow */
    QI_MIRROR_E_INVALID = -3, /* an id that cannot be */
    QI_MIRROR_E_BUDGET = -4   /* all together have used the memory that there is */
};

/* One line about a status. */
const char *qi_mirror_text(int status);

struct qi_mirror_row {
    uint64_t id;
    uint64_t rev;       /* of its last change */
    uint64_t made;      /* revision that brought it */
    uint64_t ended;     /* when, as the history counts */
    uint32_t state_rev; /* low bits of the revision of the state; loop likewise */
    uint8_t kind, state, loop;
    uint8_t columns; /* that came */
    uint8_t room;    /* for so many, and all that its kind has; the others are 0 */
    uint8_t over;    /* its state is final */
    uint8_t present; /* seen in the snapshot under way */
    struct qi_mirror_row *newer, *older; /* by revision */
    struct qi_mirror_row *next_ended;    /* by when it ended */
    uint64_t *value;                     /* these two: `room` of them, behind the row */
    uint32_t *value_rev; /* low bits of the revisions: qi_mirror_changed() */
};

/* Has a column changed since a revision?  Of one that has not for two thousand million
   revisions it may be said, too. */
static inline int
qi_mirror_changed(const struct qi_mirror_row *row, unsigned column, uint64_t since)
{
    return (int32_t)(row->value_rev[column] - (uint32_t)since) > 0;
}

struct qi_mirror_entry {
    uint32_t id;
    char type;     /* t, c, k */
    uint32_t size; /* bytes of a text, or number of numbers */
    union {
        char *text;        /* owned, with a NUL */
        uint32_t *numbers; /* owned; c: file, name, line; k: code ids */
    };
};

struct qi_mirror_removal {
    uint64_t rev, id;
    uint8_t kind;
};

struct qi_mirror;

/* What the histories of all mirrors may have together: rows that are over, and records.
   Where it is used up, the rows that ended first go, whosever they are; records are then
   kept in a smaller ring.  A mirror that is not in it has its own limits only. */
struct qi_history {
    size_t limit;             /* bytes */
    size_t used;              /* of them; never more */
    uint64_t rows_dropped;    /* rows that went before their own mirror's limit */
    uint64_t records_dropped; /* likewise records */
    uint64_t clock;           /* rows that have ended */
    struct qi_mirror *mirrors;
};

#define QI_HISTORY_BYTES (UINT64_C(256) << 20)
#define QI_HISTORY_SECONDS 600

/* Enters a mirror that has no history yet; it must leave (history: NULL) or be freed
   before the history goes. */
void qi_mirror_join(struct qi_mirror *mirror, struct qi_history *history);

struct qi_mirror *qi_mirror_new(const struct qi_mirror_limits *limits);
/* Charges what it has to the budget, and from now on everything before it is allocated:
   QI_MIRROR_OK or QI_MIRROR_E_BUDGET.  The budget must outlive it. */
int qi_mirror_charge(struct qi_mirror *mirror, struct qi_budget *budget);
void qi_mirror_free(struct qi_mirror *mirror); /* NULL is fine */

/* Rows that were over, and records that were there, `most` ago or longer go, to a tenth
   of it.  To be called as often as that; `now` is the caller's clock, which `most` is a
   duration on. */
void qi_mirror_age(struct qi_mirror *mirror, int64_t now, int64_t most);

/*--- filling: QI_MIRROR_OK or negative ---*/

int qi_mirror_put_row(struct qi_mirror *mirror, const struct qi_wire_row *row);
/* What is live and in no row between the two is over. */
void qi_mirror_begin_snapshot(struct qi_mirror *mirror);
void qi_mirror_end_snapshot(struct qi_mirror *mirror);
int qi_mirror_put_entry(struct qi_mirror *mirror, const struct qi_wire_entry *entry);
/* All are sent again: ids may now mean something else. */
void qi_mirror_drop_entries(struct qi_mirror *mirror);
/* Records known by number: those that were there before are not taken twice. */
int qi_mirror_put_record(struct qi_mirror *mirror, uint64_t number,
                         const struct qi_record *record);
void qi_mirror_put_gap(struct qi_mirror *mirror, uint64_t first, uint64_t count);
/* Everything a segment holds. */
int qi_mirror_load_segment(struct qi_mirror *mirror, const struct qi_view *view);

/*--- reading ---*/

uint64_t qi_mirror_rev(const struct qi_mirror *mirror);
uint32_t qi_mirror_live(const struct qi_mirror *mirror);
uint32_t qi_mirror_ended(const struct qi_mirror *mirror);
size_t qi_mirror_bytes(const struct qi_mirror *mirror); /* allocated, with its history */
/* The part of it that is charged to the budget. */
size_t qi_mirror_charged(const struct qi_mirror *mirror);

/* The row that changed last; go on with ->older. */
const struct qi_mirror_row *qi_mirror_newest(const struct qi_mirror *mirror);
const struct qi_mirror_row *qi_mirror_find(const struct qi_mirror *mirror, unsigned kind,
                                           uint64_t id);

/* Removals after revision rev, oldest first: *place starts as rev.  1 and a removal, or
   0. -1: some of them are forgotten, only a full snapshot helps. */
int qi_mirror_next_removal(const struct qi_mirror *mirror, uint64_t *place,
                           struct qi_mirror_removal *ret_removal);

uint32_t qi_mirror_entries(const struct qi_mirror *mirror);
const struct qi_mirror_entry *qi_mirror_entry(const struct qi_mirror *mirror,
                                              uint32_t index);
/* The entry with this id; NULL if there is none. */
const struct qi_mirror_entry *qi_mirror_find_entry(const struct qi_mirror *mirror,
                                                   uint32_t id);
/* Changes when the entries were dropped: what was sent of them counts no more. */
uint32_t qi_mirror_entry_epoch(const struct qi_mirror *mirror);

/* Number of the next record that will come, and of the oldest that is kept. */
uint64_t qi_mirror_record_end(const struct qi_mirror *mirror);
uint64_t qi_mirror_record_begin(const struct qi_mirror *mirror);
/* NULL: it is lost, or was never there. */
const struct qi_record *qi_mirror_record(const struct qi_mirror *mirror, uint64_t number);
uint64_t qi_mirror_lost(const struct qi_mirror *mirror); /* records, over all */

#ifdef __cplusplus
}
#endif

#endif
