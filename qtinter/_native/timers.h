/*
 * timers.h - deadlines in order: a 4-ary heap keyed by time, ties in order of arrival.
 *
 * Promises (tests/c/test_timers.c has one case per line):
 *   - top() is the entry with the smallest deadline; among equal deadlines the one
 *     with the smaller sequence number, which the owner gives through seq();
 *   - filter() keeps exactly the entries the owner wants and restores the order;
 *   - a failed push leaves the heap as it was.
 *
 * The key stands beside the pointer so that comparing does not follow it; four
 * children a node halve the depth, and share a cache line.  Removing a cancelled
 * entry is left to filter() and to its turn at the top: asyncio does the same, and
 * it makes cancel() free of any search.
 *
 * Not thread-safe; items are borrowed.
 */
#ifndef QI_NATIVE_TIMERS_H
#define QI_NATIVE_TIMERS_H

#include <stddef.h>
#include <stdint.h>

struct qi_timer {
    double when; /* seconds on the loop's clock; never NaN */
    void *item;
};

struct qi_timers {
    struct qi_timer *heap; /* owned */
    size_t len;
    size_t capacity;
    uint64_t (*seq)(const void *item); /* order among equal deadlines */
};

void qi_timers_init(struct qi_timers *t, uint64_t (*seq)(const void *item));

void qi_timers_fini(struct qi_timers *t);

/* 0, or -1 when there is no memory. */
int qi_timers_push(struct qi_timers *t, double when, void *item);

static inline const struct qi_timer *
qi_timers_top(const struct qi_timers *t)
{
    return t->len == 0 ? NULL : &t->heap[0];
}

/* Removes and returns the top's item; NULL when empty. */
void *qi_timers_pop(struct qi_timers *t);

/* Calls keep(item, ctx) once for each entry; entries for which it returns 0 are
   removed (it may release them).  keep() must not touch the heap. */
void qi_timers_filter(struct qi_timers *t, int (*keep)(void *item, void *ctx), void *ctx);

#endif
