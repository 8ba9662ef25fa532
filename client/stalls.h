/*
 * stalls.h - loops whose current step or callback has been running for too long.
 *
 * The loop's row says what runs since when; nobody else needs to cooperate.  [sender]
 */
#ifndef QI_CLIENT_STALLS_H
#define QI_CLIENT_STALLS_H

#include "segment_read.h"
#include "wire.h"

struct qi_stalls {
    int64_t reported[QI_SEGMENT_LOOPS]; /* busy_since of the stall told about; 0: none */
};

/* Looks at the loops' rows (loop_slots as in struct qi_client) and encodes a STALL for
   each stall that began or ended; what finds no room in the encoder is told the next
   time. */
void qi_stalls_check(struct qi_stalls *s, const struct qi_view *view,
                     const uint32_t loop_slots[QI_SEGMENT_LOOPS], int64_t threshold_ns,
                     int64_t now_ns, struct qi_encoder *e, uint32_t seq);

#endif
