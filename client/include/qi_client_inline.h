/*
 * qi_client_inline.h - the part of qi_client.h that runs per step, inlined.
 *
 * Include qi_client.h, not this.  [producer] all functions.
 */
#ifndef QI_CLIENT_QI_CLIENT_INLINE_H
#define QI_CLIENT_QI_CLIENT_INLINE_H

#include "qi_atomic.h"
#include "segment.h"

#ifdef __cplusplus
extern "C" {
#endif

/* Also where the compiler finds the end of a row "unlikely". */
#define QI_INLINE static inline __attribute__((always_inline))

/* First member of struct qi_client; private to this file and client/. */
struct qi_producer {
    struct qi_slot *slots;
    uint8_t *dirty;
    struct qi_record *ring;
    uint64_t *ring_head;  /* in the header: what readers see */
    uint64_t next_record; /* the producer's own copy of it */
    uint64_t ring_mask;
    uint32_t slot_count;    /* 0 in a forked child */
    int32_t level;          /* written by [any] */
    int32_t requests;       /* waiting; written by [sender] and [producer] */
    struct qi_slot scratch; /* takes the writes to QI_NO_SLOT */
};

static inline struct qi_producer *
qi_producer_of(const qi_client *client)
{
    return (struct qi_producer *)(uintptr_t)client;
}

QI_INLINE struct qi_slot *
qi_row_at(qi_client *client, uint32_t index)
{
    struct qi_producer *p = qi_producer_of(client);

    return index < p->slot_count ? &p->slots[index] : &p->scratch;
}

QI_INLINE void
qi_row_open(struct qi_slot *slot)
{
    QI_STORE(slot->seq, QI_LOAD(slot->seq) | 1u);
    qi_fence_release(); /* odd before any change of the row */
}

QI_INLINE struct qi_slot *
qi_row_begin(qi_client *client, uint32_t index)
{
    struct qi_slot *slot = qi_row_at(client, index);

    qi_row_open(slot);
    return slot;
}

QI_INLINE void
qi_row_end(qi_client *client, uint32_t index)
{
    struct qi_producer *p = qi_producer_of(client);

    if (index < p->slot_count) {
        struct qi_slot *slot = &p->slots[index];
        QI_STORE_RELEASE(slot->seq, (QI_LOAD(slot->seq) | 1u) + 1u);
        QI_STORE_RELEASE(p->dirty[index], (uint8_t)1);
    }
}

QI_INLINE void
qi_row_done(qi_client *client, struct qi_slot *slot)
{
    struct qi_producer *p = qi_producer_of(client);

    QI_STORE_RELEASE(slot->seq, QI_LOAD(slot->seq) + 1u);
    if (slot != &p->scratch) {
        QI_STORE_RELEASE(p->dirty[slot - p->slots], (uint8_t)1);
    }
}

QI_INLINE void
qi_record(qi_client *client, int64_t ts, unsigned kind, unsigned aux, uint32_t x,
          uint64_t a, uint64_t b)
{
    struct qi_producer *p = qi_producer_of(client);
    uint64_t number = p->next_record;

    if (QI_LOAD(p->level) < 2) {
        return;
    }
    struct qi_record *r = &p->ring[number & p->ring_mask];
    /* Whoever sees a byte of this record must see that the head had come round to it. */
    qi_fence_release();
    QI_STORE(r->ts, ts);
    QI_STORE(r->kind, (uint16_t)kind);
    QI_STORE(r->aux, (uint16_t)aux);
    QI_STORE(r->x, x);
    QI_STORE(r->a, a);
    QI_STORE(r->b, b);
    p->next_record = number + 1;
    QI_STORE_RELEASE(*p->ring_head, number + 1);
}

static inline int
qi_client_level(const qi_client *client)
{
    return QI_LOAD(qi_producer_of(client)->level);
}

static inline int
qi_client_has_request(const qi_client *client)
{
    return QI_LOAD(qi_producer_of(client)->requests) > 0;
}

#ifdef __cplusplus
}
#endif

#endif
