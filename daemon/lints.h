/*
 * lints.h - findings: what is probably wrong in an application, from its mirror, its
 * records and its stalls.
 *
 * A finding appears when its condition holds and goes away when it holds no more; one
 * that comes from an event goes away QI_LINT_HOLD_NS after the last such event.  QI_LINTS
 * is the table of what there is, and of the thresholds in force.
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

/* X(id, severity, what it says) */
#define QI_LINTS(X)                                                                      \
    X(QI101, 'W', "a step or a callback kept the loop for 100 ms or longer (E: 1 s)")    \
    X(QI102, 'W', "a task has been in its first step for 1 s")                           \
    X(QI103, 'W', "a ready task has waited for 100 ms while Qt had the thread")          \
    X(QI105, 'I', "of the ready tasks of 10 s, one in a hundred waited over 20 ms")      \
    X(QI106, 'W', "for 2 s the loop has turned 1000 times a second and done nothing")    \
    X(QI201, 'W', "an asyncslot was called while an earlier call of it is pending")      \
    X(QI202, 'W', "ten or more calls of an asyncslot are pending")                       \
    X(QI203, 'W', "a call of an asyncslot goes on although its receiver is destroyed")   \
    X(QI205, 'W', "a call of an asyncslot failed and nobody took its exception")         \
    X(QI301, 'E', "a task waits for a signal of an object that is destroyed")            \
    X(QI302, 'W', "a task has waited for a signal for 30 s")                             \
    X(QI304, 'W', "an asyncsignalstream has over 1000 items that nobody reads")          \
    X(QI401, 'E', "a task was destroyed while it was pending")                           \
    X(QI402, 'E', "a task failed and nobody took its exception")                         \
    X(QI403, 'W', "tasks wait for each other in a circle")                               \
    X(QI404, 'W', "for 1 s a task has waited for nothing, or for a task that has ended") \
    X(QI405, 'W', "half of a task's wake-ups, of at least 20, come from itself")         \
    X(QI406, 'W', "a task is still there 5 s after it was cancelled")                    \
    X(QI407, 'W', "the tasks of one function grow: 100 or more, by a fifth in a minute") \
    X(QI502, 'E', "a step runs a nested Qt event loop; modal() is made for that")        \
    X(QI503, 'W', "over 1000 timers are pending, or 100 of one callback")                \
    X(QI504, 'W', "of the timers of 10 s, one in twenty was over 50 ms late")            \
    X(QI506, 'W', "for 5 s the executor has had more than two waiting jobs a worker")    \
    X(QI901, 'W', "events were lost before the daemon had them")

enum qi_lint {
#define X(id, severity, text) QI_LINT_##id,
    QI_LINTS(X)
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
void qi_lints_free(struct qi_lints *lints); /* NULL is fine */

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
