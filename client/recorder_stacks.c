/* recorder_stacks.c - see recorder_stacks.h. */
#include "recorder_stacks.h"

#include "capture.h"
#include "qi_atomic.h"

#include <stdlib.h>
#include <string.h>

/* A thread that takes no signal for so long blocks it, or is stopped in the kernel. */
#define CAPTURE_NS INT64_C(1000000000)

/* Is this the recorder that uses the capture?  The first that asks is. */
static int
is_in_charge(qi_client *c, uint32_t handle)
{
    uint32_t user = 0;

    return __atomic_compare_exchange_n(&c->stack_user, &user, handle, 0, __ATOMIC_ACQ_REL,
                                       __ATOMIC_ACQUIRE)
           || user == handle;
}

void
qi_recorder_leave_stacks(qi_client *c, uint32_t handle)
{
    uint32_t user = handle;

    (void)__atomic_compare_exchange_n(&c->stack_user, &user, 0, 0, __ATOMIC_ACQ_REL,
                                      __ATOMIC_ACQUIRE);
}

static void
ask(struct qi_recorder_stacks *s, qi_client *c, struct qi_capture *capture,
    struct qi_stalls *stalls, const struct qi_view *view, int64_t threshold_ns,
    int64_t now_ns)
{
    unsigned loop = qi_stalls_sample_due(stalls, threshold_ns, now_ns);
    struct qi_slot row;

    /* One that cannot be had counts as tried. */
    if (loop != 0 && qi_stalls_row(view, c->loop_slots, loop, &row)
        && qi_capture_ask(capture, row.row.loop_.thread) == QI_CAPTURE_OK) {
        s->loop = loop;
        s->since = stalls->loops[loop - 1].since;
        s->deadline = now_ns + CAPTURE_NS;
    }
}

static void
take(struct qi_recorder_stacks *s, qi_client *c, size_t size, struct qi_stalls *stalls,
     const struct qi_view *view, int64_t now_ns, struct qi_encoder *e)
{
    struct qi_slot row;

    qi_stack_parse(s->raw, size, &s->stack);
    qi_stack_format(&s->stack, s->text, sizeof(s->text));
    if (qi_stalls_row(view, c->loop_slots, s->loop, &row)) {
        qi_stalls_sampled(stalls, s->loop, s->since, &row, &s->stack, s->text, now_ns, e,
                          0);
    }
    s->loop = 0;
}

void
qi_recorder_serve_stacks(struct qi_recorder_stacks *s, qi_client *c, uint32_t handle,
                         struct qi_stalls *stalls, const struct qi_view *view,
                         int64_t threshold_ns, int64_t now_ns, struct qi_encoder *e)
{
    struct qi_capture *capture = QI_LOAD_ACQUIRE(c->capture);
    size_t size = 0;

    if (capture == NULL || c->sender != NULL || !is_in_charge(c, handle)) {
        return;
    }
    if (qi_capture_take(capture, s->raw, sizeof(s->raw), &size) && s->loop != 0) {
        take(s, c, size, stalls, view, now_ns, e);
    }
    if (s->loop != 0 && now_ns >= s->deadline) {
        s->loop = 0;
    }
    if (s->loop == 0) {
        ask(s, c, capture, stalls, view, threshold_ns, now_ns);
    }
}

void
qi_recorders_note_stall(qi_client *c, const uint8_t *payload, size_t size)
{
    struct qi_frame frame;
    struct qi_encoder e;

    if (qi_frame_decode(payload, size, &frame) != QI_WIRE_OK
        || frame.message != QI_MSG_STALL) {
        return;
    }
    /* The body was a part of its frame; here it becomes a value of its own. */
    size_t capacity = frame.body.length + 16;
    uint8_t *map = malloc(capacity);
    if (map == NULL) {
        return;
    }
    qi_encoder_init(&e, map, capacity);
    qi_encode_map(&e, frame.body.size);
    qi_encode_raw(&e, frame.body.bytes, frame.body.length);
    qi_recorders_note(c,
                      qi_frame_int(&frame, QI_KEY_STALL_since, 0)
                          + qi_frame_int(&frame, QI_KEY_STALL_duration, 0),
                      QI_MSG_STALL, map, e.size);
    free(map);
}
