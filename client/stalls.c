/* stalls.c - see stalls.h. */
#include "stalls.h"

#include "qi_atomic.h"

static int
encode_stall(struct qi_encoder *e, uint32_t seq, unsigned loop, int64_t since,
             int64_t duration, uint64_t current, int over)
{
    qi_encode_begin(e, QI_MSG_STALL, seq, 5);
    qi_encode_uint_field(e, QI_KEY_STALL_loop, loop);
    qi_encode_int_field(e, QI_KEY_STALL_since, since);
    qi_encode_int_field(e, QI_KEY_STALL_duration, duration);
    qi_encode_uint_field(e, QI_KEY_STALL_current, current);
    qi_encode_bool_field(e, QI_KEY_STALL_over, over);
    return qi_encode_end(e);
}

/* Since when something runs that keeps the loop from its other work; 0: nothing. */
static int64_t
busy_since(const struct qi_slot *row)
{
    return row->state == QI_LOOP_NESTED ? 0 : row->row.loop_.busy_since;
}

static void
check_loop(struct qi_stalls *s, unsigned i, const struct qi_slot *row,
           int64_t threshold_ns, int64_t now_ns, struct qi_encoder *e, uint32_t seq)
{
    int64_t since = busy_since(row);
    int64_t reported = s->reported[i];

    if (reported != 0 && since != reported) {
        /* It ended before what runs now began. */
        int64_t end = since > reported ? since : now_ns;
        if (encode_stall(e, seq, i + 1, reported, end - reported, 0, 1) < 0) {
            return;
        }
        s->reported[i] = 0;
    }
    if (since != 0 && s->reported[i] == 0 && now_ns - since >= threshold_ns
        && encode_stall(e, seq, i + 1, since, now_ns - since, row->row.loop_.current, 0)
               == QI_WIRE_OK) {
        s->reported[i] = since;
    }
}

void
qi_stalls_check(struct qi_stalls *s, const struct qi_view *view,
                const uint32_t loop_slots[QI_SEGMENT_LOOPS], int64_t threshold_ns,
                int64_t now_ns, struct qi_encoder *e, uint32_t seq)
{
    for (unsigned i = 0; i < QI_SEGMENT_LOOPS; i++) {
        uint32_t place = QI_LOAD_ACQUIRE(loop_slots[i]);
        struct qi_slot row = {0};
        if (place == 0 && s->reported[i] == 0) {
            continue;
        }
        /* A row that is being written all the time belongs to a loop that runs. */
        if (place != 0 && qi_view_slot(view, place - 1, &row) != QI_VIEW_OK) {
            continue;
        }
        check_loop(s, i, &row, threshold_ns, now_ns, e, seq);
    }
}
