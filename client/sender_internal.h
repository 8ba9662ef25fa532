/*
 * sender_internal.h - what the units of the sender share; nobody else includes it.
 *
 *   sender.c           the thread: connection, input, output, what is due
 *   sender_greeting.c  the handshake and PROCESS
 *   sender_requests.c  what the daemon asks for
 *   sender_stacks.c    stacks of loop threads, for requests and for stalls
 *
 * All functions: [sender].
 */
#ifndef QI_CLIENT_SENDER_INTERNAL_H
#define QI_CLIENT_SENDER_INTERNAL_H

#include "sender.h"

#include "feed.h"
#include "hmac.h"
#include "proto.h"
#include "stacks.h"
#include "stalls.h"
#include "wire.h"

#include <pthread.h>
#include <stdint.h>

#define QI_OUT_SIZE (2u * (size_t)QI_CHUNK_MAX)
/* Answers must find room: with more than this in the buffer, nothing is read. */
#define QI_OUT_LOW (QI_OUT_SIZE / 4)
#define QI_NEVER INT64_MAX

enum qi_sender_state { QI_OFFLINE, QI_GREETING, QI_PROVING, QI_ONLINE };

/* A request that the producer has not answered yet. */
struct qi_open_request {
    uint32_t token; /* 0: free */
    uint32_t seq;
};

/* The stack that was asked for last, and who waits for one. */
struct qi_samples {
    unsigned loop;    /* whose thread the signal was sent to; 0: none is in flight */
    int64_t since;    /* of the stall for which; 0: for a request */
    int64_t deadline; /* ms; given up then */
    struct {
        uint32_t seq;
        unsigned loop;
    } waiting[QI_REQUESTS_MAX]; /* STACK requests, the oldest first */
    unsigned waiting_len;
    struct qi_stack stack;
    char raw[QI_STACK_RAW];
    char text[QI_STACK_STRINGS * 2];
};

struct qi_sender_counters {
    uint64_t connects, frames, bytes, socket_full;
    int32_t state;   /* enum qi_sender_state */
    int32_t refused; /* the last attempt was */
};

struct qi_sender {
    /* constant */
    qi_client *client; /* borrowed; outlives the sender */
    struct qi_sender_times times;
    struct qi_view view;
    pthread_t thread;

    /* [any] */
    int stop;
    pthread_mutex_t fds_lock; /* taken where a descriptor comes or goes */
    int wake_ends[2];
    int ended_ends[2];

    /* [sender] */
    int socket; /* -1: none */
    struct qi_splitter in;
    struct qi_encoder out;
    size_t out_sent;
    uint32_t seq;
    struct qi_feed feed;
    struct qi_stalls stalls;
    uint8_t key[QI_KEY_SIZE];
    uint8_t our_nonce[QI_NONCE_SIZE], their_nonce[QI_NONCE_SIZE];
    struct qi_open_request open_requests[QI_REQUESTS_MAX];
    uint32_t last_token;
    struct qi_samples samples;
    uint32_t hz;
    int with_records, process_is_due, writable;
    int64_t stall_ms;
    int64_t next_try, deadline, next_round, next_stall_check; /* ms, monotonic */
    int64_t next_touch;           /* ms: of the segment's file */
    int64_t next_look, last_look; /* ms: at how much of the ring is new */
    uint64_t last_head;           /* what was seen then */
    int64_t retry_ms, refused_ms; /* the next back-off */

    /* [sender] writes, [any] reads */
    struct qi_sender_counters counters;
};

/*--- sender.c ---*/

int64_t qi_sender_now_ns(void);
int64_t qi_sender_now_ms(void);
void qi_sender_set_state(struct qi_sender *s, enum qi_sender_state state);
/* The daemon and we do not understand each other: no reason to hurry. */
void qi_sender_refuse(struct qi_sender *s);
/* Completes the frame under way and counts it. */
int qi_sender_end_frame(struct qi_sender *s);

/*--- sender_greeting.c ---*/

void qi_sender_on_hello(struct qi_sender *s, const struct qi_frame *frame);
void qi_sender_on_welcome(struct qi_sender *s, const struct qi_frame *frame);
int qi_sender_send_process(struct qi_sender *s);

/*--- sender_requests.c ---*/

void qi_sender_send_result(struct qi_sender *s, uint32_t seq, const char *error,
                           const char *value);
/* Gives a request to the producer, or refuses it. */
void qi_sender_ask_producer(struct qi_sender *s, const struct qi_frame *frame,
                            struct qi_request *request);
void qi_sender_on_cancel(struct qi_sender *s, const struct qi_frame *frame);
void qi_sender_on_set_level(struct qi_sender *s, const struct qi_frame *frame);
void qi_sender_on_set_rate(struct qi_sender *s, const struct qi_frame *frame);
void qi_sender_on_resync(struct qi_sender *s);
void qi_sender_send_answers(struct qi_sender *s);

/*--- sender_stacks.c ---*/

void qi_sender_on_stack(struct qi_sender *s, const struct qi_frame *frame);
/* What came is sent, what is due is asked for. */
void qi_sender_serve_stacks(struct qi_sender *s);
/* When it has something to do without an event: ms. */
int64_t qi_sender_stacks_deadline(const struct qi_sender *s);

#endif
