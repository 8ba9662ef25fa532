/* timers.c - see timers.h. */
#include "timers.h"

#include <stdlib.h>
#include <string.h>

#define ARITY 4
#define FIRST_CAPACITY 32

void
qi_timers_init(struct qi_timers *t, uint64_t (*seq)(const void *item))
{
    memset(t, 0, sizeof(*t));
    t->seq = seq;
}

void
qi_timers_fini(struct qi_timers *t)
{
    free(t->heap);
    qi_timers_init(t, t->seq);
}

static inline int
before(const struct qi_timers *t, const struct qi_timer *a, const struct qi_timer *b)
{
    if (a->when != b->when) {
        return a->when < b->when;
    }
    return t->seq(a->item) < t->seq(b->item);
}

static void
sift_up(struct qi_timers *t, size_t pos)
{
    struct qi_timer moving = t->heap[pos];

    while (pos > 0) {
        size_t parent = (pos - 1) / ARITY;
        if (!before(t, &moving, &t->heap[parent])) {
            break;
        }
        t->heap[pos] = t->heap[parent];
        pos = parent;
    }
    t->heap[pos] = moving;
}

static void
sift_down(struct qi_timers *t, size_t pos)
{
    struct qi_timer moving = t->heap[pos];

    for (;;) {
        size_t first = pos * ARITY + 1;
        if (first >= t->len) {
            break;
        }
        size_t end = first + ARITY < t->len ? first + ARITY : t->len;
        size_t least = first;
        for (size_t child = first + 1; child < end; child++) {
            if (before(t, &t->heap[child], &t->heap[least])) {
                least = child;
            }
        }
        if (!before(t, &t->heap[least], &moving)) {
            break;
        }
        t->heap[pos] = t->heap[least];
        pos = least;
    }
    t->heap[pos] = moving;
}

int
qi_timers_push(struct qi_timers *t, double when, void *item)
{
    if (t->len == t->capacity) {
        size_t grown = t->capacity == 0 ? FIRST_CAPACITY : t->capacity + t->capacity / 2;
        if (grown > (size_t)-1 / sizeof(*t->heap)) {
            return -1;
        }
        struct qi_timer *heap = realloc(t->heap, grown * sizeof(*heap));
        if (heap == NULL) {
            return -1;
        }
        t->heap = heap;
        t->capacity = grown;
    }
    t->heap[t->len] = (struct qi_timer){.when = when, .item = item};
    t->len++;
    sift_up(t, t->len - 1);
    return 0;
}

void *
qi_timers_pop(struct qi_timers *t)
{
    if (t->len == 0) {
        return NULL;
    }
    void *item = t->heap[0].item;
    t->len--;
    if (t->len > 0) {
        t->heap[0] = t->heap[t->len];
        sift_down(t, 0);
    }
    return item;
}

void
qi_timers_filter(struct qi_timers *t, int (*keep)(void *item, void *ctx), void *ctx)
{
    size_t kept = 0;

    for (size_t i = 0; i < t->len; i++) {
        if (keep(t->heap[i].item, ctx)) {
            t->heap[kept++] = t->heap[i];
        }
    }
    t->len = kept;
    for (size_t i = kept / ARITY + 1; i-- > 0;) {
        if (i < kept) {
            sift_down(t, i);
        }
    }
}
