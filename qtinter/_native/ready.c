/* ready.c - the part of the ready queue that is not inline: its memory. */
#include "ready.h"

#include <stdlib.h>
#include <string.h>

#define QI_READY_FIRST_CAPACITY 64

void
qi_ready_init(struct qi_ready *q)
{
    memset(q, 0, sizeof(*q));
}

void
qi_ready_fini(struct qi_ready *q)
{
    free(q->items);
    qi_ready_init(q);
}

int
qi_ready_grow(struct qi_ready *q)
{
    size_t capacity = q->items == NULL ? 0 : q->mask + 1;
    size_t grown = capacity == 0 ? QI_READY_FIRST_CAPACITY : capacity * 2;

    if (grown > (size_t)-1 / sizeof(void *)) {
        return -1;
    }
    void **items = malloc(grown * sizeof(void *));
    if (items == NULL) {
        return -1;
    }
    for (size_t i = 0; i < q->len; i++) {
        items[i] = qi_ready_at(q, i);
    }
    free(q->items);
    q->items = items;
    q->mask = grown - 1;
    q->head = 0;
    return 0;
}
