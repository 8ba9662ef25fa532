/* sender_requests.c - see sender_internal.h: what the daemon asks for. */
#include "sender_internal.h"

#include <string.h>

void
qi_sender_send_result(struct qi_sender *s, uint32_t seq, const char *error,
                      const char *value)
{
    struct qi_encoder *e = &s->out;

    qi_encode_begin(e, QI_MSG_RESULT, seq,
                    1u + (uint32_t)(error != NULL) + (uint32_t)(value != NULL));
    qi_encode_bool_field(e, QI_KEY_RESULT_ok, error == NULL);
    if (error != NULL) {
        qi_encode_text_field(e, QI_KEY_RESULT_error, error);
    }
    if (value != NULL) {
        qi_encode_text_field(e, QI_KEY_RESULT_value, value);
    }
    (void)qi_sender_end_frame(s);
}

static struct qi_open_request *
find_open_request(struct qi_sender *s, uint32_t token)
{
    for (size_t i = 0; i < QI_REQUESTS_MAX; i++) {
        if (s->open_requests[i].token == token) {
            return &s->open_requests[i];
        }
    }
    return NULL;
}

static int
hand_over(struct qi_sender *s, const struct qi_request *request)
{
    qi_client *c = s->client;

    /* Counted first: the producer may take it before we come back. */
    (void)__atomic_fetch_add(&c->p.requests, 1, __ATOMIC_RELAXED);
    if (qi_requests_put(&c->requests, request) != 0) {
        (void)__atomic_fetch_sub(&c->p.requests, 1, __ATOMIC_RELAXED);
        return -1;
    }
    if (c->wake != NULL) {
        c->wake(c->wake_ctx);
    }
    return 0;
}

void
qi_sender_ask_producer(struct qi_sender *s, const struct qi_frame *frame,
                       struct qi_request *request)
{
    struct qi_open_request *open = find_open_request(s, 0);

    if (open == NULL) {
        qi_sender_send_result(s, frame->seq, "too many requests are in progress", NULL);
        return;
    }
    if (++s->last_token == 0) {
        s->last_token = 1;
    }
    request->token = s->last_token;
    if (hand_over(s, request) < 0) {
        qi_sender_send_result(s, frame->seq, "the application takes no more requests",
                              NULL);
        return;
    }
    *open = (struct qi_open_request){.token = request->token, .seq = frame->seq};
}

void
qi_sender_on_cancel(struct qi_sender *s, const struct qi_frame *frame)
{
    struct qi_request request = {.kind = QI_REQUEST_CANCEL};

    if (!s->client->control) {
        qi_sender_send_result(s, frame->seq, "the application does not accept control",
                              NULL);
        return;
    }
    request.task = qi_frame_uint(frame, QI_KEY_CANCEL_task, 0);
    qi_frame_copy_text(frame, QI_KEY_CANCEL_message, request.message,
                       sizeof(request.message));
    qi_sender_ask_producer(s, frame, &request);
}

void
qi_sender_on_set_level(struct qi_sender *s, const struct qi_frame *frame)
{
    uint64_t level = qi_frame_uint(frame, QI_KEY_SET_LEVEL_level, 0);
    struct qi_request request = {.kind = QI_REQUEST_LEVEL, .level = (int)level};

    if (level > 4) {
        qi_sender_send_result(s, frame->seq, "there are levels 0 to 4", NULL);
        return;
    }
    qi_client_set_level(s->client, (int)level);
    /* It is in force; if the producer cannot be told, it will see for itself. */
    (void)hand_over(s, &request);
    qi_sender_send_result(s, frame->seq, NULL, NULL);
}

void
qi_sender_on_set_rate(struct qi_sender *s, const struct qi_frame *frame)
{
    uint64_t hz = qi_frame_uint(frame, QI_KEY_SET_RATE_hz, 0);
    uint64_t stall = qi_frame_uint(frame, QI_KEY_SET_RATE_stall, 0);

    s->hz = hz < QI_RATE_MAX ? (uint32_t)hz : QI_RATE_MAX;
    s->with_records = frame->fields[QI_KEY_SET_RATE_events].u != 0;
    s->stall_ms = stall < 3600000 ? (int64_t)stall : 3600000;
    s->next_round = s->next_look = s->next_stall_check = qi_sender_now_ms();
}

void
qi_sender_on_resync(struct qi_sender *s)
{
    s->process_is_due = 1;
    qi_feed_resync(&s->feed);
    s->next_round = qi_sender_now_ms();
}

void
qi_sender_send_answers(struct qi_sender *s)
{
    const struct qi_answer *answer;

    while ((answer = qi_requests_next_answer(&s->client->requests)) != NULL) {
        struct qi_open_request *open = find_open_request(s, answer->token);
        /* Unknown: it was asked on an earlier connection. */
        if (answer->token != 0 && open != NULL) {
            qi_sender_send_result(s, open->seq, answer->ok ? NULL : answer->text,
                                  answer->ok ? answer->text : NULL);
            open->token = 0;
        }
        qi_requests_answered(&s->client->requests);
    }
}
