/*
 * stalls.h - loops whose current step or callback has been running for too long.
 *
 * The loop's row says what runs since when; nobody else needs to cooperate.  While it
 * goes on, the stack of the loop's thread is looked at after 1, 2, 4, ... thresholds, at
 * most QI_STALL_SAMPLES times; what the samples have in common shows where it hangs.
 * [sender]
 */
#ifndef QI_CLIENT_STALLS_H
#define QI_CLIENT_STALLS_H

#include "segment_read.h"
#include "stacks.h"
#include "wire.h"

#define QI_STALL_SAMPLES 8u

struct qi_stall {
    int64_t since;     /* busy_since of the stall told about; 0: none */
    int64_t sample_at; /* when the next sample is due, ns */
    uint64_t current;  /* ref of what runs */
    unsigned samples;  /* taken, or tried */
    unsigned told;     /* of these, sent with their stack */
    unsigned steady;   /* frames, from the outermost, that all of them had */
    uint64_t hashes[QI_STACK_FRAMES]; /* of these frames */
};

struct qi_stalls {
    struct qi_stall loops[QI_SEGMENT_LOOPS];
};

/* Looks at the loops' rows (loop_slots as in struct qi_client) and encodes a STALL for
   each stall that began or ended; what finds no room in the encoder is told the next
   time.  Returns when something will be due that is known already: ns, INT64_MAX if
   nothing is. */
int64_t qi_stalls_check(struct qi_stalls *s, const struct qi_view *view,
                        const uint32_t loop_slots[QI_SEGMENT_LOOPS], int64_t threshold_ns,
                        int64_t now_ns, struct qi_encoder *e, uint32_t seq);

/* The number of a loop whose stack is due, counted as tried; 0: none. */
unsigned qi_stalls_sample_due(struct qi_stalls *s, int64_t threshold_ns, int64_t now_ns);

/* The stack of a loop's thread that was asked for when the loop was stalled since then:
   encodes a STALL with it, if the loop still is (row: as it is now). */
void qi_stalls_sampled(struct qi_stalls *s, unsigned loop, int64_t since,
                       const struct qi_slot *row, const struct qi_stack *stack,
                       const char *text, int64_t now_ns, struct qi_encoder *e,
                       uint32_t seq);

/* The loop's row; 0: it has none that can be read. */
int qi_stalls_row(const struct qi_view *view, const uint32_t loop_slots[QI_SEGMENT_LOOPS],
                  unsigned loop, struct qi_slot *ret_row);

#endif
