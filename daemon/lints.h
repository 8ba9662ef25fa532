/*
 * lints.h - findings: what is probably wrong in an application, from its mirror, its
 * records and its stalls.
 *
 * A finding appears when its condition holds and goes away when it holds no more; one
 * that comes from an event goes away QI_LINT_HOLD_NS after the last such event. lints.def
 * is the table of what there is, and of the thresholds.
 *
 *   lints.c         findings, and what the application wants of them
 *   lints_events.c  what happens: records, stalls, losses
 *   lints_rows.c    what is: rows, numbers of rows
 *   lints_words.c   how things are called
 *
 * Bounded: QI_LINT_EACH findings of each kind; what exceeds that is counted in
 * qi_lints_suppressed().  Ages are judged at a moment up to which the rows are known to
 * be true (`now` of qi_lints_check), so that rows which come late make no finding.
 *
 * Pure C: no I/O, no clock; one thread.
 */
#ifndef QI_DAEMON_LINTS_H
#define QI_DAEMON_LINTS_H

#include "mirror.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum qi_lint {
#define X(id, severity, after_ms, limit, text) QI_LINT_##id,
#include "lints.def"
#undef X
    QI_LINT_KINDS
};

#define QI_LINT_EACH 64u
#define QI_LINT_HOLD_NS INT64_C(10000000000)
#define QI_LINT_TEXT 224

struct qi_finding {
    enum qi_lint lint;
    char severity;           /* E, W or I */
    uint8_t active;          /* 0: it is going away */
    uint8_t pending;         /* not old enough to be told */
    uint8_t changed;         /* since qi_lints_next_change() told it */
    uint8_t told;            /* it was returned by qi_lints_next_change() */
    uint64_t ref;            /* of the entity */
    uint64_t count;          /* how often */
    int64_t since;           /* ns, clock of the application */
    int64_t last;            /* when it was last so */
    uint32_t round;          /* of the check that saw it last */
    char text[QI_LINT_TEXT]; /* one line */
};

/* "QI101" */
const char *qi_lint_id(enum qi_lint lint);

struct qi_lints;

/* workers: threads of an executor, as a rule min(32, processors + 4). */
struct qi_lints *qi_lints_new(unsigned workers);
/* What one takes, whatever happens. */
size_t qi_lints_bytes(void);
void qi_lints_free(struct qi_lints *lints); /* NULL is fine */

/* What an application wants (PROCESS.lints): in the place of what it wanted before.  What
   is no such line is skipped. */
void qi_lints_configure(struct qi_lints *lints, const char *text, size_t size);
/* The time after which a finding is made, ms; -1: it has none, or is off. */
int64_t qi_lints_after_ms(const struct qi_lints *lints, enum qi_lint lint);

/* A record that is new, after the rows that came before it. */
void qi_lints_record(struct qi_lints *lints, const struct qi_mirror *mirror,
                     const struct qi_record *record);
/* A STALL; where: the innermost place of its stack, "name (file:line)", or NULL. */
void qi_lints_stall(struct qi_lints *lints, const struct qi_mirror *mirror, unsigned loop,
                    int64_t since, int64_t duration, uint64_t current, int over,
                    const char *where);
/* So many records were lost on their way. */
void qi_lints_lost(struct qi_lints *lints, uint64_t count);
/* Judges all rows; now: ns, a moment up to which they are known to be true. */
void qi_lints_check(struct qi_lints *lints, const struct qi_mirror *mirror, int64_t now);

/* The next finding that appeared or went away (active says which), NULL: none.  It is
   valid until the next call of any function; one that went away is told once. */
const struct qi_finding *qi_lints_next_change(struct qi_lints *lints);
/* The findings in force: *place starts as 0. */
const struct qi_finding *qi_lints_next(const struct qi_lints *lints, unsigned *place);
/* How often there was no place for a finding, over all checks. */
uint64_t qi_lints_suppressed(const struct qi_lints *lints);

#ifdef __cplusplus
}
#endif

#endif
