/*
 * lints_internal.h - what the units of the lints share; nobody else includes it.
 */
#ifndef QI_DAEMON_LINTS_INTERNAL_H
#define QI_DAEMON_LINTS_INTERNAL_H

#include "lints.h"

#include "histogram.h"
#include "rowof.h"

#include <inttypes.h>
#include <stdio.h>

#define QI_MS INT64_C(1000000)
#define QI_SECOND INT64_C(1000000000)

#define QI_LINT_CODES 1024 /* a power of two */
#define QI_LINT_WOKEN 4096 /* likewise */
#define QI_LINT_WAITS 1024 /* likewise */
#define QI_LINT_FIRED 64
#define QI_LINT_LOOPS 256

/* What is in force for one kind of finding. */
struct qi_lint_setting {
    uint8_t off;
    uint8_t chosen; /* the severity was set by the application */
    char severity;
    int64_t after; /* ns */
    int64_t limit;
};

/* Tasks and timers of one function. */
struct qi_code_count {
    uint32_t code; /* 0: free */
    uint32_t tasks, timers;
    uint32_t base, last; /* tasks: when the minute began, at the last sample */
    uint8_t grew;        /* at no sample were there fewer than at the one before */
};

struct qi_woken {
    uint64_t task;
    int64_t at;
};

/* A signal wait, from its records; the last one with this place. */
struct qi_wait_watch {
    uint64_t id, sender, task; /* task: that waits, 0 if not known yet */
    uint32_t signal;
    int64_t missed;       /* when an emission came shortly before; 0: none did */
    uint64_t missed_task; /* which had waited for that one */
};

/* An emission that a wait saw. */
struct qi_fired {
    uint64_t sender, task;
    uint32_t signal;
    int64_t at;
};

struct qi_loop_watch {
    uint64_t iterations, callbacks;
    int64_t since;
    int64_t stalled; /* since when: the last step or callback that was told of */
    char where[100]; /* " in " and its place, or empty */
    int64_t longest; /* of the steps and callbacks of the turn under way */
    uint64_t nested; /* ref of the task whose step runs a Qt loop, 0: none does */
};

struct qi_lints {
    struct qi_lint_setting set[QI_LINT_KINDS];
    struct qi_finding findings[QI_LINT_KINDS][QI_LINT_EACH];
    unsigned len[QI_LINT_KINDS];
    struct qi_finding gone; /* the one told last that went away */
    uint64_t suppressed;
    uint32_t round;
    unsigned workers;
    int64_t now;               /* of the last check or record */
    const struct qi_mirror *m; /* borrowed for the call under way */

    struct qi_code_count codes[QI_LINT_CODES];
    unsigned codes_used;
    int64_t sampled, minute;

    struct qi_woken woken[QI_LINT_WOKEN]; /* by task id; a later one takes the place */
    struct qi_wait_watch waits[QI_LINT_WAITS]; /* by wait id, likewise */
    struct qi_fired fired[QI_LINT_FIRED];      /* a ring */
    unsigned fired_next;
    struct qi_histogram lag, late;
    int64_t window;
    uint8_t lag_bad, late_bad;
    uint64_t lag_ns, late_ns;
    struct qi_loop_watch loops[QI_LINT_LOOPS];
    uint64_t lost;
};

/*--- lints.c ---*/

struct qi_finding *qi_lint_find(struct qi_lints *l, enum qi_lint lint, uint64_t ref);
/* It holds now; it is told once it has held for `after`.  NULL: it is not to be worded,
   because it has its words or is not told. */
struct qi_finding *qi_lint_holds(struct qi_lints *l, enum qi_lint lint, uint64_t ref,
                                 int64_t since, int64_t after);
/* It happened.  The finding, to be worded; NULL if there is no place. */
struct qi_finding *qi_lint_happened(struct qi_lints *l, enum qi_lint lint, uint64_t ref,
                                    int64_t when);
void qi_lint_end_findings(struct qi_lints *l);

static inline int64_t
qi_lint_after(const struct qi_lints *l, enum qi_lint lint)
{
    return l->set[lint].after;
}

static inline uint64_t
qi_lint_limit(const struct qi_lints *l, enum qi_lint lint)
{
    return (uint64_t)l->set[lint].limit;
}

/*--- lints_words.c ---*/

#define QI_WORD(finding, ...)                                                            \
    do {                                                                                 \
        struct qi_finding *qi_finding_ = (finding);                                      \
        if (qi_finding_ != NULL) {                                                       \
            (void)snprintf(qi_finding_->text, sizeof(qi_finding_->text), __VA_ARGS__);   \
        }                                                                                \
    } while (0)

struct qi_words {
    char text[80];
};

/* A text by its id; empty if there is none. */
const char *qi_words_text(const struct qi_mirror *m, uint64_t id);
/* The name of a code location. */
const char *qi_words_code(const struct qi_mirror *m, uint64_t id);
/* Precision of "%.*s": at most `max` bytes, cut at a character. */
int qi_words_fit(const char *text, int max);
/* "task 7 (alpha)"; of a callback its function. */
struct qi_words qi_words_of(const struct qi_mirror *m, uint64_t ref);
/* "30 s", "250 ms" */
struct qi_words qi_words_time(int64_t ns);

/*--- lints_events.c ---*/

/* A step or callback that takes, or took, so long.  where: as of qi_lints_stall(). */
void qi_lint_blocked(struct qi_lints *l, unsigned loop, uint64_t ref, int64_t since,
                     int64_t ns, const char *where);

#endif
