/*
 * sender_stacks.c - see sender_internal.h: stacks of loop threads.
 *
 * One signal is in flight at a time, for the oldest request or else for the stall whose
 * sample is due.  Whoever waits for the same loop gets the same stack.
 */
#include "sender_internal.h"

#include "capture.h"
#include "recorder_stacks.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* A thread that takes no signal for so long blocks it, or is stopped in the kernel. */
#define CAPTURE_MS 1000

static struct qi_capture *
capture_of(const struct qi_sender *s)
{
    return QI_LOAD_ACQUIRE(s->client->capture);
}

static int
row_of(const struct qi_sender *s, unsigned loop, struct qi_slot *ret_row)
{
    return qi_stalls_row(&s->view, s->client->loop_slots, loop, ret_row);
}

static int
runs(const struct qi_slot *row)
{
    return row->state == QI_LOOP_IDLE || row->state == QI_LOOP_BUSY
           || row->state == QI_LOOP_NESTED;
}

/* --- requests --------------------------------------------------------------------- */

/* The loop that runs this task now, or, for task 0, the one that has been busy for
   longest, else any that runs; 0: none. */
static unsigned
choose_loop(const struct qi_sender *s, uint64_t task)
{
    unsigned chosen = 0;
    int64_t since = INT64_MAX;
    struct qi_slot row;

    for (unsigned i = 1; i <= QI_SEGMENT_LOOPS; i++) {
        if (!row_of(s, i, &row) || !runs(&row)) {
            continue;
        }
        int64_t busy = row.row.loop_.busy_since;
        if (task != 0 && row.row.loop_.current != QI_REF(QI_TASK, task)) {
            continue;
        }
        if (chosen == 0 || (busy != 0 && busy < since)) {
            chosen = i;
            since = busy != 0 ? busy : INT64_MAX;
        }
    }
    return chosen;
}

void
qi_sender_on_stack(struct qi_sender *s, const struct qi_frame *frame)
{
    struct qi_request request = {.kind = QI_REQUEST_STACK};
    struct qi_samples *samples = &s->samples;
    uint64_t loop = qi_frame_uint(frame, QI_KEY_STACK_loop, 0);
    struct qi_slot row;
    unsigned chosen;

    request.task = qi_frame_uint(frame, QI_KEY_STACK_task, 0);
    chosen = loop != 0 && request.task == 0
                 ? (unsigned)(loop <= QI_SEGMENT_LOOPS ? loop : 0)
                 : choose_loop(s, request.task);
    if (capture_of(s) == NULL || (request.task != 0 && chosen == 0)) {
        qi_sender_ask_producer(s, frame, &request); /* answers when it next runs */
        return;
    }
    if (chosen == 0 || !row_of(s, chosen, &row) || !runs(&row)) {
        qi_sender_send_result(s, frame->seq,
                              loop != 0 ? "there is no such loop, or it does not run"
                                        : "no loop runs",
                              NULL);
        return;
    }
    if (samples->waiting_len == QI_REQUESTS_MAX) {
        qi_sender_send_result(s, frame->seq, "too many requests are in progress", NULL);
        return;
    }
    samples->waiting[samples->waiting_len].seq = frame->seq;
    samples->waiting[samples->waiting_len].loop = chosen;
    samples->waiting_len++;
}

/* Answers all that wait for a loop. */
static void
answer(struct qi_sender *s, unsigned loop, const char *error, const char *value)
{
    struct qi_samples *samples = &s->samples;
    unsigned left = 0;

    for (unsigned i = 0; i < samples->waiting_len; i++) {
        if (samples->waiting[i].loop == loop) {
            qi_sender_send_result(s, samples->waiting[i].seq, error, value);
        }
        else {
            samples->waiting[left++] = samples->waiting[i];
        }
    }
    samples->waiting_len = left;
}

/* --- captures --------------------------------------------------------------------- */

static void
take_sample(struct qi_sender *s, size_t size)
{
    struct qi_samples *samples = &s->samples;
    struct qi_slot row = {0};
    unsigned loop = samples->loop;

    qi_stack_parse(samples->raw, size, &samples->stack);
    int head =
        snprintf(samples->text, sizeof(samples->text),
                 "Stack of the thread of loop %u (most recent call last):\n", loop);
    qi_stack_format(&samples->stack, samples->text + head,
                    sizeof(samples->text) - (size_t)head);
    if (samples->since != 0 && row_of(s, loop, &row)) {
        size_t before = s->out.size;
        qi_stalls_sampled(&s->stalls, loop, samples->since, &row, &samples->stack,
                          samples->text + head, qi_sender_now_ns(), &s->out, ++s->seq);
        if (s->out.size > before) {
            qi_recorders_note_stall(s->client, s->out.bytes + before + 4,
                                    s->out.size - before - 4);
        }
    }
    samples->loop = 0;
    answer(s, loop, NULL, samples->text);
}

static const char *
reason(const struct qi_capture *capture, int status)
{
    switch (status) {
    case QI_CAPTURE_GONE:
        return "the loop's thread has ended";
    case QI_CAPTURE_BUSY:
        return "an earlier signal has not reached its thread yet";
    case QI_CAPTURE_OFF:
        return qi_capture_state(capture);
    default:
        return strerror(errno);
    }
}

static void
ask(struct qi_sender *s, struct qi_capture *capture)
{
    struct qi_samples *samples = &s->samples;
    struct qi_slot row = {0};
    unsigned loop = 0;
    int64_t since = 0;

    if (samples->waiting_len > 0) {
        loop = samples->waiting[0].loop;
    }
    else if (s->stall_ms > 0) {
        loop =
            qi_stalls_sample_due(&s->stalls, s->stall_ms * 1000000, qi_sender_now_ns());
        since = loop != 0 ? s->stalls.loops[loop - 1].since : 0;
    }
    if (loop == 0) {
        return;
    }
    int r = row_of(s, loop, &row) ? qi_capture_ask(capture, row.row.loop_.thread)
                                  : QI_CAPTURE_GONE;
    if (r != QI_CAPTURE_OK) {
        answer(s, loop, reason(capture, r), NULL);
        return;
    }
    samples->loop = loop;
    samples->since = since;
    samples->deadline = qi_sender_now_ms() + CAPTURE_MS;
}

void
qi_sender_serve_stacks(struct qi_sender *s)
{
    struct qi_capture *capture = capture_of(s);
    struct qi_samples *samples = &s->samples;
    size_t size = 0;

    /* Later, when what is sent has room: see QI_OUT_LOW. */
    if (capture == NULL || s->out.size >= QI_OUT_LOW) {
        return;
    }
    if (qi_capture_take(capture, samples->raw, sizeof(samples->raw), &size)
        && samples->loop != 0) {
        take_sample(s, size);
    }
    if (samples->loop != 0 && qi_sender_now_ms() >= samples->deadline) {
        unsigned loop = samples->loop;
        samples->loop = 0;
        answer(s, loop,
               "the loop's thread has not taken the signal for 1 s: it blocks it, or is "
               "stopped in the kernel",
               NULL);
    }
    while (samples->loop == 0 && samples->waiting_len > 0) {
        ask(s, capture);
    }
    if (samples->loop == 0) {
        ask(s, capture);
    }
}

int64_t
qi_sender_stacks_deadline(const struct qi_sender *s)
{
    return s->samples.loop != 0 ? s->samples.deadline : QI_NEVER;
}
