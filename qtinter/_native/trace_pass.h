/*
 * trace_pass.h - what the records of a recording say of its tasks, in one pass.
 *
 * A million records may tell of some hundred thousand tasks.  They stay numbers in one
 * block of memory, 216 bytes a task, and become Python objects when somebody asks for
 * them.  Nothing here knows of Python; nothing believes a number that it indexes with.
 */
#ifndef QI_NATIVE_TRACE_PASS_H
#define QI_NATIVE_TRACE_PASS_H

#include "segment.h"

#include <stddef.h>
#include <stdint.h>

/* QI_TASK_AT_name: where a column of a task stands, as in entities.def. */
enum qi_task_column {
#define ENTITY(...)
#define COLUMN(ENTITY_NAME, number, name, type, doc) COLUMN_##ENTITY_NAME(name, number)
#define COLUMN_TASK(name, number) QI_TASK_AT_##name = number,
#define COLUMN_SLOT(...)
#define COLUMN_WAIT(...)
#define COLUMN_OBJECT(...)
#define COLUMN_TIMER(...)
#define COLUMN_WATCH(...)
#define COLUMN_JOB(...)
#define COLUMN_LOOP(...)
#include "entities.def"
#undef ENTITY
#undef COLUMN
#undef COLUMN_TASK
#undef COLUMN_SLOT
#undef COLUMN_WAIT
#undef COLUMN_OBJECT
#undef COLUMN_TIMER
#undef COLUMN_WATCH
#undef COLUMN_JOB
#undef COLUMN_LOOP
    QI_TASK_COLUMNS
};

struct qi_traced_task {
    uint64_t id;
    uint64_t column[QI_TASK_COLUMNS];
    int64_t ended; /* ns; 0: it did not, in the range */
    int64_t ready; /* since when; 0: it is not */
    uint32_t state, loop;
    uint8_t is_new;  /* it was created in the range */
    uint8_t is_last; /* a row of what has ended: no other one replaces it */
};

/* Tasks by id, in the order in which they came. */
struct qi_traced_tasks {
    struct qi_traced_task *items; /* owned */
    uint32_t *places; /* owned; of items, from 1, by hash of the id; 0: none */
    size_t count, capacity, mask; /* mask + 1 places, 0 without any */
    uint64_t salt;
};

void qi_traced_tasks_free(struct qi_traced_tasks *tasks);
/* NULL: there is none.  What is returned holds until the next one is added. */
struct qi_traced_task *qi_traced_task_find(const struct qi_traced_tasks *tasks,
                                           uint64_t id);
/* The one there is, or a new one of zeros; NULL: there is no memory. */
struct qi_traced_task *qi_traced_task_put(struct qi_traced_tasks *tasks, uint64_t id);

/* Durations in ns, to 1.6 %; the longest exactly.  A key is the duration's six upper bits
   and how far they were shifted, see Histogram of qtinter/trace/_state.py. */
#define QI_HISTOGRAM_KEYS (64u * 60u)
struct qi_histogram {
    uint64_t count, total, longest;
    uint32_t counts[QI_HISTOGRAM_KEYS];
};
void qi_histogram_add(struct qi_histogram *h, uint64_t ns);

/* A step of a task, or a callback: those are compared by their members in order. */
struct qi_traced_step {
    uint64_t ns;
    int64_t end;
    uint64_t task, code; /* one of them is 0 */
    uint32_t loop;
};

#define QI_LONGEST_KEPT 100u

struct qi_trace_pass {
    const struct qi_traced_tasks *known; /* borrowed: rows that were kept */
    struct qi_traced_tasks tasks;
    struct qi_histogram steps, lags;
    struct qi_traced_step longest[QI_LONGEST_KEPT]; /* a heap, the shortest first */
    size_t longest_count;
    uint64_t lag_most, lag_task; /* the longest lag */
    int64_t lag_since;
    uint64_t count, turns, qt_ns, asyncio_ns, idle_ns;
    int64_t last; /* ts of the last record */
    int64_t alive, alive_most;
};

void qi_trace_pass_free(struct qi_trace_pass *pass);
/* Takes in a record: 1: it was one of a task, a callback or a turn; 0: it is for others
   too; -1: there is no memory. */
int qi_trace_pass_record(struct qi_trace_pass *pass, const struct qi_record *record);
/* What the rows say of the end t1 of a range that begins at t0, and the records do not.
   kept: when the last rows were kept.  0, or -1: there is no memory. */
int qi_trace_pass_finish(struct qi_trace_pass *pass, int64_t kept, int64_t t0,
                         int64_t t1);
/* Sorts `longest`, the longest first; no record may follow. */
void qi_trace_pass_sort(struct qi_trace_pass *pass);

#endif
