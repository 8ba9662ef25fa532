/* stalls.c - see stalls.h. */
#include "stalls.h"

#include "qi_atomic.h"

#include <string.h>

static void
begin_stall(struct qi_encoder *e, uint32_t seq, unsigned loop,
            const struct qi_stall *stall, int64_t end, int over, uint32_t more)
{
    qi_encode_begin(e, QI_MSG_STALL, seq, 5 + more);
    qi_encode_uint_field(e, QI_KEY_STALL_loop, loop);
    qi_encode_int_field(e, QI_KEY_STALL_since, stall->since);
    qi_encode_int_field(e, QI_KEY_STALL_duration, end - stall->since);
    qi_encode_uint_field(e, QI_KEY_STALL_current, over ? 0 : stall->current);
    qi_encode_bool_field(e, QI_KEY_STALL_over, over);
}

static int
encode_stall(struct qi_encoder *e, uint32_t seq, unsigned loop,
             const struct qi_stall *stall, int64_t end, int over)
{
    begin_stall(e, seq, loop, stall, end, over, 0);
    return qi_encode_end(e);
}

/* Since when something runs that keeps the loop from its other work; 0: nothing. */
static int64_t
busy_since(const struct qi_slot *row)
{
    return row->state == QI_LOOP_NESTED ? 0 : row->row.loop_.busy_since;
}

static void
check_loop(struct qi_stall *stall, unsigned loop, const struct qi_slot *row,
           int64_t threshold_ns, int64_t now_ns, struct qi_encoder *e, uint32_t seq)
{
    int64_t since = busy_since(row);

    if (stall->since != 0 && since != stall->since) {
        /* It ended before what runs now began. */
        int64_t end = since > stall->since ? since : now_ns;
        if (encode_stall(e, seq, loop, stall, end, 1) < 0) {
            return;
        }
        stall->since = 0;
    }
    if (since != 0 && stall->since == 0 && now_ns - since >= threshold_ns) {
        struct qi_stall begun = {
            .since = since, .sample_at = now_ns, .current = row->row.loop_.current};
        if (encode_stall(e, seq, loop, &begun, now_ns, 0) == QI_WIRE_OK) {
            *stall = begun;
        }
    }
}

/* When the stall will need something, as far as is known. */
static int64_t
due(const struct qi_stall *stall, const struct qi_slot *row, int64_t threshold_ns)
{
    if (stall->since != 0) {
        return stall->samples < QI_STALL_SAMPLES ? stall->sample_at : INT64_MAX;
    }
    int64_t since = busy_since(row);
    return since != 0 ? since + threshold_ns : INT64_MAX;
}

int
qi_stalls_row(const struct qi_view *view, const uint32_t loop_slots[QI_SEGMENT_LOOPS],
              unsigned loop, struct qi_slot *ret_row)
{
    uint32_t place = 0;

    if (loop >= 1 && loop <= QI_SEGMENT_LOOPS) {
        place = QI_LOAD_ACQUIRE(loop_slots[loop - 1]);
    }
    return place != 0 && qi_view_slot(view, place - 1, ret_row) == QI_VIEW_OK
           && ret_row->kind == QI_LOOP;
}

int64_t
qi_stalls_check(struct qi_stalls *s, const struct qi_view *view,
                const uint32_t loop_slots[QI_SEGMENT_LOOPS], int64_t threshold_ns,
                int64_t now_ns, struct qi_encoder *e, uint32_t seq)
{
    int64_t next = INT64_MAX;

    for (unsigned i = 0; i < QI_SEGMENT_LOOPS; i++) {
        uint32_t place = QI_LOAD_ACQUIRE(loop_slots[i]);
        struct qi_slot row = {0};
        if (place == 0 && s->loops[i].since == 0) {
            continue;
        }
        /* A row that is being written all the time belongs to a loop that runs. */
        if (place != 0 && qi_view_slot(view, place - 1, &row) != QI_VIEW_OK) {
            continue;
        }
        check_loop(&s->loops[i], i + 1, &row, threshold_ns, now_ns, e, seq);
        int64_t at = due(&s->loops[i], &row, threshold_ns);
        next = at < next ? at : next;
    }
    return next;
}

unsigned
qi_stalls_sample_due(struct qi_stalls *s, int64_t threshold_ns, int64_t now_ns)
{
    for (unsigned i = 0; i < QI_SEGMENT_LOOPS; i++) {
        struct qi_stall *stall = &s->loops[i];
        if (stall->since == 0 || stall->samples == QI_STALL_SAMPLES
            || now_ns < stall->sample_at) {
            continue;
        }
        stall->samples++;
        /* The sample after that one: after twice the time, but never in arrears. */
        stall->sample_at = stall->since + (threshold_ns << stall->samples);
        if (stall->sample_at < now_ns) {
            stall->sample_at = now_ns + threshold_ns;
        }
        return i + 1;
    }
    return 0;
}

/* Frames, from the outermost, that this sample has in common with those before. */
static void
compare(struct qi_stall *stall, const struct qi_stack *stack)
{
    unsigned most = stall->told == 0 ? stack->len : stall->steady;
    unsigned n = 0;

    for (; n < most && n < stack->len; n++) {
        uint64_t hash = qi_stack_hash(stack, stack->len - 1 - n);
        if (stall->told > 0 && stall->hashes[n] != hash) {
            break;
        }
        stall->hashes[n] = hash;
    }
    stall->steady = n;
}

void
qi_stalls_sampled(struct qi_stalls *s, unsigned loop, int64_t since,
                  const struct qi_slot *row, const struct qi_stack *stack,
                  const char *text, int64_t now_ns, struct qi_encoder *e, uint32_t seq)
{
    struct qi_stall *stall = &s->loops[loop - 1];

    if (stall->since != since || busy_since(row) != since) {
        return; /* the thread went on: this is the stack of something else */
    }
    compare(stall, stack);
    stall->told++;
    begin_stall(e, seq, loop, stall, now_ns, 0, 4);
    qi_encode_text_field(e, QI_KEY_STALL_stack, text);
    qi_encode_key(e, QI_KEY_STALL_frames);
    qi_stack_encode(stack, e);
    qi_encode_uint_field(e, QI_KEY_STALL_sample, stall->told);
    qi_encode_uint_field(e, QI_KEY_STALL_steady, stall->steady);
    (void)qi_encode_end(e); /* without room: the next sample says more */
}
