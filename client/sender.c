/*
 * sender.c - see sender.h.
 *
 * One poll() on two descriptors, the socket and the wake pipe.  What is to be sent lies
 * in one buffer of two chunks; a frame is made only when the buffer is empty, so a peer
 * that takes nothing stops the production, and what was not made is still in the segment.
 *
 * A thread cannot be joined with a time limit in POSIX.  So its last act is to close its
 * end of a second pipe: waiting for that is a poll(), on the monotonic clock.
 */
#include "sender.h"

#include "feed.h"
#include "hmac.h"
#include "proto.h"
#include "qi_utf8.h"
#include "stalls.h"
#include "transport.h"
#include "wire.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define OUT_SIZE (2u * (size_t)QI_CHUNK_MAX)
#define IN_FRAME_MAX 65536u
#define STACK_SIZE (512u * 1024u)
#define FRAMES_PER_TURN 64
#define MIN_STALL_CHECK_MS 10
#define ARGUMENTS_MAX 64
#define ARGUMENTS_BYTES 4096u
#define NEVER INT64_MAX

enum state { OFFLINE, GREETING, PROVING, ONLINE };

/* A request that the producer has not answered yet. */
struct open_request {
    uint32_t token; /* 0: free */
    uint32_t seq;
};

struct counters {
    uint64_t connects, frames, bytes, socket_full;
    int32_t state;   /* enum state */
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
    struct open_request open_requests[QI_REQUESTS_MAX];
    uint32_t last_token;
    uint32_t hz;
    int with_records, process_is_due, writable;
    int64_t stall_ms;
    int64_t next_try, deadline, next_round, next_stall_check; /* ms, monotonic */
    int64_t retry_ms, refused_ms;                             /* the next back-off */

    /* [sender] writes, [any] reads */
    struct counters counters;
};

static int64_t
now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static int64_t
now_ms(void)
{
    return now_ns() / 1000000;
}

static int64_t
min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static enum state
state_of(const struct qi_sender *s)
{
    return (enum state)s->counters.state;
}

static void
set_state(struct qi_sender *s, enum state state)
{
    QI_STORE(s->counters.state, (int32_t)state);
}

/* --- connection: ends ------------------------------------------------------------- */

static void
close_socket(struct qi_sender *s)
{
    (void)pthread_mutex_lock(&s->fds_lock);
    if (s->socket >= 0) {
        qi_transport_close(s->socket);
        s->socket = -1;
    }
    (void)pthread_mutex_unlock(&s->fds_lock);
    qi_splitter_fini(&s->in);
    s->out.size = s->out_sent = 0;
    set_state(s, OFFLINE);
}

static int64_t
back_off(int64_t *delay, int64_t most)
{
    int64_t now = *delay;

    *delay = min_i64(now * 2, most);
    return now_ms() + now;
}

/* The daemon is not there, or went away. */
static void
lose(struct qi_sender *s)
{
    close_socket(s);
    s->next_try = back_off(&s->retry_ms, s->times.retry_max_ms);
}

/* The daemon and we do not understand each other: no reason to hurry. */
static void
refuse(struct qi_sender *s)
{
    close_socket(s);
    QI_STORE(s->counters.refused, 1);
    s->next_try = back_off(&s->refused_ms, s->times.refused_max_ms);
}

/* --- output ----------------------------------------------------------------------- */

static int
end_frame(struct qi_sender *s)
{
    int r = qi_encode_end(&s->out);

    if (r == QI_WIRE_OK) {
        QI_ADD(s->counters.frames, 1);
    }
    return r;
}

/* 1: all is out; 0: the peer takes no more now, or the connection is over. */
static int
flush(struct qi_sender *s)
{
    while (s->out_sent < s->out.size) {
        size_t n = 0;
        int r = qi_transport_write(s->socket, s->out.bytes + s->out_sent,
                                   s->out.size - s->out_sent, &n);
        if (r == QI_TRANSPORT_LATER) {
            if (s->writable) {
                QI_ADD(s->counters.socket_full, 1);
            }
            s->writable = 0;
            s->feed.blocked = 1;
            return 0;
        }
        if (r < 0) {
            lose(s);
            return 0;
        }
        s->out_sent += n;
        QI_ADD(s->counters.bytes, n);
    }
    s->out.size = s->out_sent = 0;
    s->writable = 1;
    return 1;
}

static void
encode_versions(struct qi_encoder *e, const struct qi_segment_header *h)
{
    const char *const names[] = {"qtinter", "python", "binding", "qt"};
    const char *const values[] = {h->qtinter, h->python, h->binding, h->qt};

    qi_encode_key(e, QI_KEY_PROCESS_versions);
    qi_encode_map(e, 4);
    for (int i = 0; i < 4; i++) {
        qi_encode_text(e, names[i], strlen(names[i]));
        qi_encode_text(e, values[i], strlen(values[i]));
    }
}

/* What the kernel has as the command line: texts that end with NUL each. */
static void
encode_arguments(struct qi_encoder *e)
{
    char bytes[ARGUMENTS_BYTES];
    char clean[ARGUMENTS_BYTES];
    FILE *file = fopen("/proc/self/cmdline", "re");
    size_t size = file == NULL ? 0 : fread(bytes, 1, sizeof(bytes), file);
    uint32_t n = 0;

    if (file != NULL) {
        (void)fclose(file);
    }
    qi_encode_key(e, QI_KEY_PROCESS_argv);
    size_t list = qi_encode_open_list(e);
    for (size_t at = 0; at < size && n < ARGUMENTS_MAX; n++) {
        size_t length = strnlen(bytes + at, size - at);
        size_t good = qi_utf8_clean(clean, sizeof(clean), bytes + at, length);
        qi_encode_text(e, clean, good);
        at += length + 1;
    }
    qi_encode_close_list(e, list, n);
}

static void
encode_exe(struct qi_encoder *e)
{
    char bytes[QI_PATH_MAX];
    char clean[QI_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", bytes, sizeof(bytes));
    size_t good = qi_utf8_clean(clean, sizeof(clean), bytes, n > 0 ? (size_t)n : 0);

    qi_encode_key(e, QI_KEY_PROCESS_exe);
    qi_encode_text(e, clean, good);
}

static int
send_process(struct qi_sender *s)
{
    const struct qi_segment_header *h = &s->view.header;
    struct qi_encoder *e = &s->out;
    char path[QI_PATH_MAX];

    qi_utf8_copy(path, sizeof(path), s->client->path);
    qi_encode_begin(e, QI_MSG_PROCESS, ++s->seq, 11);
    qi_encode_uint_field(e, QI_KEY_PROCESS_pid, h->pid);
    qi_encode_uint_field(e, QI_KEY_PROCESS_start, h->start_time);
    qi_encode_text_field(e, QI_KEY_PROCESS_name, h->name);
    qi_encode_text_field(e, QI_KEY_PROCESS_segment, path);
    qi_encode_int_field(e, QI_KEY_PROCESS_mono0, h->mono0);
    qi_encode_int_field(e, QI_KEY_PROCESS_wall0, h->wall0);
    qi_encode_uint_field(e, QI_KEY_PROCESS_level, (uint64_t)qi_client_level(s->client));
    qi_encode_bool_field(e, QI_KEY_PROCESS_control, s->client->control);
    encode_versions(e, h);
    encode_exe(e);
    encode_arguments(e);
    return end_frame(s);
}

static void
send_result(struct qi_sender *s, uint32_t seq, const char *error, const char *value)
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
    (void)end_frame(s);
}

/* --- requests --------------------------------------------------------------------- */

static struct open_request *
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

static void
ask_producer(struct qi_sender *s, const struct qi_frame *frame,
             struct qi_request *request)
{
    struct open_request *open = find_open_request(s, 0);

    if (open == NULL) {
        send_result(s, frame->seq, "too many requests are in progress", NULL);
        return;
    }
    if (++s->last_token == 0) {
        s->last_token = 1;
    }
    request->token = s->last_token;
    if (hand_over(s, request) < 0) {
        send_result(s, frame->seq, "the application takes no more requests", NULL);
        return;
    }
    *open = (struct open_request){.token = request->token, .seq = frame->seq};
}

static void
on_cancel(struct qi_sender *s, const struct qi_frame *frame)
{
    struct qi_request request = {.kind = QI_REQUEST_CANCEL};

    if (!s->client->control) {
        send_result(s, frame->seq, "the application does not accept control", NULL);
        return;
    }
    request.task = qi_frame_uint(frame, QI_KEY_CANCEL_task, 0);
    qi_frame_copy_text(frame, QI_KEY_CANCEL_message, request.message,
                       sizeof(request.message));
    ask_producer(s, frame, &request);
}

static void
on_stack(struct qi_sender *s, const struct qi_frame *frame)
{
    struct qi_request request = {.kind = QI_REQUEST_STACK};

    request.task = qi_frame_uint(frame, QI_KEY_STACK_task, 0);
    ask_producer(s, frame, &request);
}

static void
on_set_level(struct qi_sender *s, const struct qi_frame *frame)
{
    uint64_t level = qi_frame_uint(frame, QI_KEY_SET_LEVEL_level, 0);
    struct qi_request request = {.kind = QI_REQUEST_LEVEL, .level = (int)level};

    if (level > 4) {
        send_result(s, frame->seq, "there are levels 0 to 4", NULL);
        return;
    }
    qi_client_set_level(s->client, (int)level);
    /* It is in force; if the producer cannot be told, it will see for itself. */
    (void)hand_over(s, &request);
    send_result(s, frame->seq, NULL, NULL);
}

static void
on_set_rate(struct qi_sender *s, const struct qi_frame *frame)
{
    uint64_t hz = qi_frame_uint(frame, QI_KEY_SET_RATE_hz, 0);
    uint64_t stall = qi_frame_uint(frame, QI_KEY_SET_RATE_stall, 0);

    s->hz = hz < QI_RATE_MAX ? (uint32_t)hz : QI_RATE_MAX;
    s->with_records = frame->fields[QI_KEY_SET_RATE_events].u != 0;
    s->stall_ms = stall < 3600000 ? (int64_t)stall : 3600000;
    s->next_round = s->next_stall_check = now_ms();
}

static void
on_resync(struct qi_sender *s)
{
    s->process_is_due = 1;
    qi_feed_resync(&s->feed);
    s->next_round = now_ms();
}

static void
send_answers(struct qi_sender *s)
{
    const struct qi_answer *answer;

    while ((answer = qi_requests_next_answer(&s->client->requests)) != NULL) {
        struct open_request *open = find_open_request(s, answer->token);
        /* Unknown: it was asked on an earlier connection. */
        if (answer->token != 0 && open != NULL) {
            send_result(s, open->seq, answer->ok ? NULL : answer->text,
                        answer->ok ? answer->text : NULL);
            open->token = 0;
        }
        qi_requests_answered(&s->client->requests);
    }
}

/* --- connection: begins ----------------------------------------------------------- */

static void
try_to_connect(struct qi_sender *s)
{
    int socket = -1;
    int r;

    (void)pthread_mutex_lock(&s->fds_lock);
    r = qi_transport_connect(s->client->address, &socket);
    s->socket = r == QI_TRANSPORT_OK ? socket : -1;
    (void)pthread_mutex_unlock(&s->fds_lock);
    if (r == QI_TRANSPORT_ABSENT) {
        lose(s);
    }
    else if (r < 0) {
        refuse(s);
    }
    else {
        qi_splitter_init(&s->in, IN_FRAME_MAX);
        s->deadline = now_ms() + s->times.handshake_ms;
        s->writable = 1;
        set_state(s, GREETING);
    }
}

static int
send_auth(struct qi_sender *s)
{
    static const char role[] = "app";
    struct qi_encoder *e = &s->out;
    uint8_t mac[QI_MAC_SIZE];

    qi_mac_client(s->key, s->their_nonce, s->our_nonce, role, strlen(role), mac);
    qi_encode_begin(e, QI_MSG_AUTH, ++s->seq, 6);
    qi_encode_uint_field(e, QI_KEY_AUTH_major, QI_PROTO_MAJOR);
    qi_encode_uint_field(e, QI_KEY_AUTH_minor, QI_PROTO_MINOR);
    qi_encode_text_field(e, QI_KEY_AUTH_role, role);
    qi_encode_key(e, QI_KEY_AUTH_client);
    char name[64];
    (void)snprintf(name, sizeof(name), "qtinter %s", s->view.header.qtinter);
    qi_encode_text(e, name, strlen(name));
    qi_encode_bytes_field(e, QI_KEY_AUTH_nonce, s->our_nonce, sizeof(s->our_nonce));
    qi_encode_bytes_field(e, QI_KEY_AUTH_hmac, mac, sizeof(mac));
    return end_frame(s);
}

static void
on_hello(struct qi_sender *s, const struct qi_frame *frame)
{
    const struct qi_value *nonce = &frame->fields[QI_KEY_HELLO_nonce];

    if (!qi_frame_text_is(frame, QI_KEY_HELLO_magic, QI_PROTO_MAGIC)
        || qi_frame_uint(frame, QI_KEY_HELLO_major, 0) != QI_PROTO_MAJOR
        || nonce->size != QI_NONCE_SIZE
        || qi_runtime_key(s->client->directory, 1, s->key) != QI_RUNTIME_OK
        || qi_runtime_random(s->our_nonce, sizeof(s->our_nonce)) != QI_RUNTIME_OK) {
        refuse(s);
        return;
    }
    memcpy(s->their_nonce, nonce->bytes, QI_NONCE_SIZE);
    if (send_auth(s) < 0) {
        refuse(s);
        return;
    }
    set_state(s, PROVING);
}

static void
on_welcome(struct qi_sender *s, const struct qi_frame *frame)
{
    const struct qi_value *theirs = &frame->fields[QI_KEY_WELCOME_hmac];
    uint8_t mac[QI_MAC_SIZE];

    qi_mac_server(s->key, s->our_nonce, s->their_nonce, mac);
    if (theirs->size != QI_MAC_SIZE || !qi_mac_equal(mac, theirs->bytes)) {
        refuse(s); /* somebody who does not know the key sits on the socket */
        return;
    }
    s->retry_ms = s->times.retry_first_ms;
    s->refused_ms = s->times.refused_first_ms;
    s->process_is_due = 1;
    s->hz = 0;
    s->stall_ms = 0;
    s->with_records = 0;
    memset(&s->stalls, 0, sizeof(s->stalls));
    memset(s->open_requests, 0, sizeof(s->open_requests));
    qi_feed_reset(&s->feed);
    QI_STORE(s->counters.refused, 0);
    QI_ADD(s->counters.connects, 1);
    set_state(s, ONLINE);
}

/* --- input ------------------------------------------------------------------------ */

static void
on_frame_online(struct qi_sender *s, const struct qi_frame *frame)
{
    switch (frame->message) {
    case QI_MSG_PING:
        send_result(s, frame->seq, NULL, NULL);
        break;
    case QI_MSG_SET_RATE:
        on_set_rate(s, frame);
        break;
    case QI_MSG_SET_LEVEL:
        on_set_level(s, frame);
        break;
    case QI_MSG_RESYNC:
        on_resync(s);
        break;
    case QI_MSG_CANCEL:
        on_cancel(s, frame);
        break;
    case QI_MSG_STACK:
        on_stack(s, frame);
        break;
    case QI_MSG_GOODBYE:
        lose(s);
        break;
    case QI_MSG_HELLO:
    case QI_MSG_WELCOME:
    case QI_MSG_REFUSE:
        refuse(s);
        break;
    default:
        break; /* nothing for an application */
    }
}

static void
on_frame(struct qi_sender *s, const uint8_t *payload, size_t size)
{
    struct qi_frame frame;
    int r = qi_frame_decode(payload, size, &frame);

    if (r == QI_WIRE_UNKNOWN) {
        return;
    }
    if (r < 0 || (qi_message_info(frame.message)->senders & QI_FROM_DAEMON) == 0) {
        refuse(s);
    }
    else if (state_of(s) == ONLINE) {
        on_frame_online(s, &frame);
    }
    else if (state_of(s) == GREETING && frame.message == QI_MSG_HELLO) {
        on_hello(s, &frame);
    }
    else if (state_of(s) == PROVING && frame.message == QI_MSG_WELCOME) {
        on_welcome(s, &frame);
    }
    else {
        refuse(s); /* REFUSE, or something out of turn */
    }
}

/* One read, and all the frames that are complete with it. */
static void
receive(struct qi_sender *s)
{
    uint8_t *room = NULL;
    const uint8_t *payload = NULL;
    size_t size = 0;
    int r;

    if (qi_splitter_room(&s->in, &room, &size) < 0) {
        lose(s);
        return;
    }
    r = qi_transport_read(s->socket, room, size, &size);
    if (r < 0) {
        lose(s);
        return;
    }
    qi_splitter_filled(&s->in, size);
    while (s->socket >= 0 && (r = qi_splitter_next(&s->in, &payload, &size)) > 0) {
        on_frame(s, payload, size);
    }
    if (s->socket >= 0 && r < 0) {
        refuse(s);
    }
}

/* --- what is due ------------------------------------------------------------------ */

static void
start_round_if_due(struct qi_sender *s)
{
    int64_t now = now_ms();

    if (s->hz > 0 && now >= s->next_round && qi_feed_is_idle(&s->feed)) {
        qi_feed_start_round(&s->feed, s->with_records);
        s->next_round = now + 1000 / s->hz;
    }
}

/* Room for a chunk is there: the buffer is empty or holds a few small frames. */
static int
make_frame(struct qi_sender *s)
{
    if (s->process_is_due) {
        s->process_is_due = 0;
        return send_process(s) == QI_WIRE_OK;
    }
    start_round_if_due(s);
    if (s->hz == 0) {
        return 0;
    }
    int r = qi_feed_next(&s->feed, &s->out, ++s->seq, now_ns());
    if (r > 0) {
        QI_ADD(s->counters.frames, 1);
    }
    return r > 0;
}

static void
check_stalls_if_due(struct qi_sender *s)
{
    int64_t now = now_ms();

    if (s->stall_ms == 0 || now < s->next_stall_check) {
        return;
    }
    qi_stalls_check(&s->stalls, &s->view, s->client->loop_slots, s->stall_ms * 1000000,
                    now_ns(), &s->out, ++s->seq);
    int64_t interval = s->stall_ms / 4;
    s->next_stall_check =
        now + (interval > MIN_STALL_CHECK_MS ? interval : MIN_STALL_CHECK_MS);
}

/* 1: there may be more to do at once. */
static int
serve(struct qi_sender *s)
{
    send_answers(s);
    check_stalls_if_due(s);
    for (int i = 0; i < FRAMES_PER_TURN; i++) {
        if (!flush(s) || state_of(s) != ONLINE || !make_frame(s)) {
            return 0;
        }
    }
    return 1;
}

static void
work(struct qi_sender *s, int *ret_again)
{
    *ret_again = 0;
    switch (state_of(s)) {
    case OFFLINE:
        if (now_ms() >= s->next_try) {
            try_to_connect(s);
        }
        break;
    case GREETING:
    case PROVING:
        if (now_ms() >= s->deadline) {
            refuse(s);
        }
        else {
            (void)flush(s);
        }
        break;
    case ONLINE:
        *ret_again = serve(s);
        break;
    }
}

static int64_t
next_deadline(const struct qi_sender *s)
{
    int64_t next = NEVER;

    switch (state_of(s)) {
    case OFFLINE:
        return s->next_try;
    case GREETING:
    case PROVING:
        return s->deadline;
    case ONLINE:
        if (s->stall_ms > 0) {
            next = s->next_stall_check;
        }
        if (s->hz > 0 && s->writable) {
            next = min_i64(next, s->next_round);
        }
        break;
    }
    return next;
}

static int
timeout_until(int64_t deadline)
{
    int64_t left = deadline == NEVER ? -1 : deadline - now_ms();

    if (deadline == NEVER) {
        return -1;
    }
    return left <= 0 ? 0 : (int)min_i64(left, 3600000);
}

static void
drain(int fd)
{
    uint8_t bytes[64];

    while (read(fd, bytes, sizeof(bytes)) > 0) {
        ;
    }
}

/* Replies must find room: a peer that asks and takes no answers is not read from. */
static short
wanted_events(const struct qi_sender *s)
{
    short events = 0;

    if (s->out.size < OUT_SIZE / 4) {
        events |= POLLIN;
    }
    if (s->out_sent < s->out.size) {
        events |= POLLOUT;
    }
    return events;
}

static void
wait_and_receive(struct qi_sender *s, int again)
{
    struct pollfd fds[2] = {
        {.fd = s->wake_ends[0], .events = POLLIN},
        {.fd = s->socket, .events = s->socket >= 0 ? wanted_events(s) : (short)0}};
    int timeout = again ? 0 : timeout_until(next_deadline(s));

    /* A failed poll() has set no events; the loop comes round. */
    if (poll(fds, s->socket >= 0 ? 2 : 1, timeout) <= 0) {
        return;
    }
    if ((fds[0].revents & POLLIN) != 0) {
        drain(s->wake_ends[0]);
    }
    if (s->socket >= 0) {
        if ((fds[1].events & POLLIN) != 0
            && (fds[1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
            receive(s);
        }
        else if ((fds[1].revents & (POLLHUP | POLLERR)) != 0) {
            lose(s);
        }
    }
}

/* What changed last, as far as the peer takes it at once, and a farewell. */
static void
say_goodbye(struct qi_sender *s)
{
    if (state_of(s) != ONLINE) {
        return;
    }
    send_answers(s);
    s->next_round = 0;
    while (flush(s) && make_frame(s)) {
        ;
    }
    if (state_of(s) == ONLINE && s->out_sent == s->out.size) {
        qi_encode_begin(&s->out, QI_MSG_GOODBYE, ++s->seq, 1);
        qi_encode_text_field(&s->out, QI_KEY_GOODBYE_reason, "disabled");
        (void)end_frame(s);
        (void)flush(s);
    }
}

static void *
run(void *argument)
{
    struct qi_sender *s = argument;
    int again = 0;

    while (!QI_LOAD_ACQUIRE(s->stop)) {
        QI_ADD(s->client->header->heartbeat, 1);
        work(s, &again);
        wait_and_receive(s, again);
    }
    say_goodbye(s);
    close_socket(s);
    /* From here on nothing of the client is touched: see qi_sender_stop(). */
    (void)pthread_mutex_lock(&s->fds_lock);
    int end = s->ended_ends[1];
    s->ended_ends[1] = -1;
    (void)close(end);
    (void)pthread_mutex_unlock(&s->fds_lock);
    return NULL;
}

/* --- starting and stopping -------------------------------------------------------- */

static int
start_thread(struct qi_sender *s)
{
    pthread_attr_t attributes;
    sigset_t all;
    sigset_t before;
    int error;

    error = pthread_attr_init(&attributes);
    if (error != 0) {
        return error;
    }
    /* If this size is too small for the system, its default is taken. */
    (void)pthread_attr_setstacksize(&attributes, STACK_SIZE);
    (void)sigfillset(&all);
    (void)pthread_sigmask(SIG_SETMASK, &all, &before);
    error = pthread_create(&s->thread, &attributes, run, s);
    (void)pthread_sigmask(SIG_SETMASK, &before, NULL);
    (void)pthread_attr_destroy(&attributes);
#ifdef __linux__
    if (error == 0) {
        (void)pthread_setname_np(s->thread, "qtinter-sender");
    }
#endif
    return error;
}

static void
close_ends(int ends[2])
{
    for (int i = 0; i < 2; i++) {
        if (ends[i] >= 0) {
            (void)close(ends[i]);
            ends[i] = -1;
        }
    }
}

static int
prepare(struct qi_sender *s)
{
    void *out = malloc(OUT_SIZE);

    if (out == NULL) {
        return QI_E_NOMEM;
    }
    qi_encoder_init(&s->out, out, OUT_SIZE);
    if (qi_view_init(&s->view, s->client->base, s->client->size) < 0
        || qi_feed_init(&s->feed, &s->view, s->client->p.dirty) < 0) {
        return QI_E_NOMEM;
    }
    if (qi_transport_pipe(s->wake_ends) < 0 || qi_transport_pipe(s->ended_ends) < 0) {
        return QI_E_OS;
    }
    return pthread_mutex_init(&s->fds_lock, NULL) == 0 ? QI_OK : QI_E_NOMEM;
}

static void
dispose(struct qi_sender *s)
{
    close_ends(s->wake_ends);
    close_ends(s->ended_ends);
    qi_feed_fini(&s->feed);
    free(s->out.bytes);
    free(s);
}

int
qi_sender_start(qi_client *client, const struct qi_sender_times *times,
                struct qi_sender **ret_sender)
{
    struct qi_sender *s = calloc(1, sizeof(*s));
    int r;

    if (s == NULL) {
        qi_client_set_error("no memory");
        return QI_E_NOMEM;
    }
    s->client = client;
    s->times = *times;
    s->socket = -1;
    s->wake_ends[0] = s->wake_ends[1] = s->ended_ends[0] = s->ended_ends[1] = -1;
    s->retry_ms = times->retry_first_ms;
    s->refused_ms = times->refused_first_ms;
    r = prepare(s);
    if (r == QI_OK) {
        errno = start_thread(s);
        r = errno == 0 ? QI_OK : QI_E_OS;
    }
    if (r < 0) {
        qi_client_set_error("the sender thread: %s",
                            r == QI_E_OS ? strerror(errno) : "no memory");
        dispose(s);
        return r;
    }
    *ret_sender = s;
    return QI_OK;
}

void
qi_sender_nudge(struct qi_sender *s)
{
    static const uint8_t byte = 1;

    /* A full pipe wakes as well. */
    ssize_t n = write(s->wake_ends[1], &byte, sizeof(byte));
    (void)n;
}

int
qi_sender_stop(struct qi_sender *s, int timeout_ms)
{
    int64_t deadline = now_ms() + (timeout_ms > 0 ? timeout_ms : 0);
    struct pollfd end = {.fd = s->ended_ends[0], .events = POLLIN};

    QI_STORE_RELEASE(s->stop, 1);
    qi_sender_nudge(s);
    for (;;) {
        int r = poll(&end, 1, timeout_until(deadline));
        if (r > 0) {
            break;
        }
        if (r == 0 || errno != EINTR) {
            (void)pthread_detach(s->thread);
            return 0;
        }
    }
    (void)pthread_join(s->thread, NULL);
    return 1;
}

void
qi_sender_free(struct qi_sender *s)
{
    if (s != NULL) {
        (void)pthread_mutex_destroy(&s->fds_lock);
        dispose(s);
    }
}

void
qi_sender_stats(struct qi_sender *s, struct qi_client_stats *ret_stats)
{
    const char *state = "connecting";

    ret_stats->connects = QI_LOAD(s->counters.connects);
    ret_stats->frames = QI_LOAD(s->counters.frames);
    ret_stats->bytes = QI_LOAD(s->counters.bytes);
    ret_stats->socket_full = QI_LOAD(s->counters.socket_full);
    ret_stats->rows = QI_LOAD(s->feed.rows_sent);
    ret_stats->records = QI_LOAD(s->feed.records_sent);
    ret_stats->gaps = QI_LOAD(s->feed.records_lost);
    ret_stats->connected = QI_LOAD(s->counters.state) == ONLINE;
    if (ret_stats->connected) {
        state = "connected";
    }
    else if (QI_LOAD(s->counters.refused)) {
        state = "refused";
    }
    (void)snprintf(ret_stats->state, sizeof(ret_stats->state), "%s", state);
}

/* --- fork ------------------------------------------------------------------------- */

void
qi_sender_before_fork(struct qi_sender *s)
{
    (void)pthread_mutex_lock(&s->fds_lock);
}

void
qi_sender_after_fork(struct qi_sender *s, int in_child)
{
    if (in_child) {
        if (s->socket >= 0) {
            (void)close(s->socket);
            s->socket = -1;
        }
        close_ends(s->wake_ends);
        close_ends(s->ended_ends);
    }
    (void)pthread_mutex_unlock(&s->fds_lock);
}
