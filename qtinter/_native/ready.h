/*
 * ready.h - the ready queue: a growing ring of pointers, first in, first out.
 *
 * Promises (tests/c/test_ready.c has one case per line):
 *   - items come out in the order they went in, across growth and wrap-around;
 *   - pop_last() takes the newest item, pop() the oldest, NULL when empty;
 *   - a failed push leaves the queue as it was.
 *
 * Not thread-safe: the owner's lock (the GIL) orders all calls.  The items are
 * borrowed; the owner counts references.
 */
#ifndef QI_NATIVE_READY_H
#define QI_NATIVE_READY_H

#include <stddef.h>

struct qi_ready {
    void **items; /* owned; capacity mask + 1, a power of two; NULL before use */
    size_t mask;
    size_t head; /* index of the oldest item; wraps through mask */
    size_t len;
};

void qi_ready_init(struct qi_ready *q);

/* Releases the memory; the items are the caller's business. */
void qi_ready_fini(struct qi_ready *q);

/* Doubles the capacity.  0, or -1 when there is no memory. */
int qi_ready_grow(struct qi_ready *q);

/* 0, or -1 when there is no memory. */
static inline int
qi_ready_push(struct qi_ready *q, void *item)
{
    if (q->items == NULL || q->len > q->mask) {
        if (qi_ready_grow(q) < 0) {
            return -1;
        }
    }
    q->items[(q->head + q->len) & q->mask] = item;
    q->len++;
    return 0;
}

static inline void *
qi_ready_pop(struct qi_ready *q)
{
    if (q->len == 0) {
        return NULL;
    }
    void *item = q->items[q->head];
    q->head = (q->head + 1) & q->mask;
    q->len--;
    return item;
}

static inline void *
qi_ready_pop_last(struct qi_ready *q)
{
    if (q->len == 0) {
        return NULL;
    }
    q->len--;
    return q->items[(q->head + q->len) & q->mask];
}

/* The i-th oldest item; i < q->len. */
static inline void *
qi_ready_at(const struct qi_ready *q, size_t i)
{
    return q->items[(q->head + i) & q->mask];
}

#endif
