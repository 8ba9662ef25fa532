/*
 * sender.c - see sender.h.
 *
 * One poll() on the wake pipe, the socket, and what tells that a stack is complete.  What
 * is to be sent lies in one buffer of two chunks; a frame is made only when the buffer is
 * empty, so a peer that takes nothing stops the production, and what was not made is
 * still in the segment.
 *
 * A thread cannot be joined with a time limit in POSIX.  So its last act is to close its
 * end of a second pipe: waiting for that is a poll(), on the monotonic clock.
 */
#include "sender_internal.h"

#include "capture.h"
#include "transport.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define IN_FRAME_MAX 65536u
#define STACK_SIZE (512u * 1024u)
#define FRAMES_PER_TURN 64
#define MIN_STALL_CHECK_MS 10
#define TOUCH_MS 60000
#define LOOK_MS 25 /* as often as is usual for stalls: no wake-ups more */

int64_t
qi_sender_now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

int64_t
qi_sender_now_ms(void)
{
    return qi_sender_now_ns() / 1000000;
}

static int64_t
min_i64(int64_t a, int64_t b)
{
    return a < b ? a : b;
}

static enum qi_sender_state
state_of(const struct qi_sender *s)
{
    return (enum qi_sender_state)s->counters.state;
}

void
qi_sender_set_state(struct qi_sender *s, enum qi_sender_state state)
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
    qi_sender_set_state(s, QI_OFFLINE);
}

static int64_t
back_off(int64_t *delay, int64_t most)
{
    int64_t now = *delay;

    *delay = min_i64(now * 2, most);
    return qi_sender_now_ms() + now;
}

/* The daemon is not there, or went away. */
static void
lose(struct qi_sender *s)
{
    if (state_of(s) == QI_ONLINE) {
        s->refused_ms = s->times.refused_first_ms;
    }
    close_socket(s);
    s->next_try = back_off(&s->retry_ms, s->times.retry_max_ms);
}

void
qi_sender_refuse(struct qi_sender *s)
{
    close_socket(s);
    QI_STORE(s->counters.refused, 1);
    s->next_try = back_off(&s->refused_ms, s->times.refused_max_ms);
}

/* --- output ----------------------------------------------------------------------- */

int
qi_sender_end_frame(struct qi_sender *s)
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
        qi_sender_refuse(s);
    }
    else {
        qi_splitter_init(&s->in, IN_FRAME_MAX);
        s->deadline = qi_sender_now_ms() + s->times.handshake_ms;
        s->writable = 1;
        qi_sender_set_state(s, QI_GREETING);
    }
}

/* --- input ------------------------------------------------------------------------ */

static void
on_frame_online(struct qi_sender *s, const struct qi_frame *frame)
{
    switch (frame->message) {
    case QI_MSG_PING:
        qi_sender_send_result(s, frame->seq, NULL, NULL);
        break;
    case QI_MSG_SET_RATE:
        qi_sender_on_set_rate(s, frame);
        break;
    case QI_MSG_SET_LEVEL:
        qi_sender_on_set_level(s, frame);
        break;
    case QI_MSG_RESYNC:
        qi_sender_on_resync(s);
        break;
    case QI_MSG_CANCEL:
        qi_sender_on_cancel(s, frame);
        break;
    case QI_MSG_STACK:
        qi_sender_on_stack(s, frame);
        break;
    case QI_MSG_GOODBYE:
        lose(s);
        break;
    case QI_MSG_HELLO:
    case QI_MSG_WELCOME:
    case QI_MSG_REFUSE:
        qi_sender_refuse(s);
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
        qi_sender_refuse(s);
    }
    else if (state_of(s) == QI_ONLINE) {
        on_frame_online(s, &frame);
    }
    else if (state_of(s) == QI_GREETING && frame.message == QI_MSG_HELLO) {
        qi_sender_on_hello(s, &frame);
    }
    else if (state_of(s) == QI_PROVING && frame.message == QI_MSG_WELCOME) {
        qi_sender_on_welcome(s, &frame);
    }
    else {
        qi_sender_refuse(s); /* REFUSE, or something out of turn */
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
        qi_sender_refuse(s);
    }
}

/* --- what is due ------------------------------------------------------------------ */

/* When to look at the ring again: before half of it is new, if records go on coming as
   they did since the last look. */
static int64_t
next_look(struct qi_sender *s, int64_t now)
{
    uint64_t head = qi_view_head(&s->view);
    uint64_t came = head - s->last_head;
    int64_t took = now > s->last_look ? min_i64(now - s->last_look, 3600000) : 1;
    uint64_t half = s->view.header.ring_count / 2;
    int64_t wait = LOOK_MS;

    s->last_head = head;
    s->last_look = now;
    if (came > 0) {
        wait = min_i64(wait, (int64_t)(half * (uint64_t)took / came));
    }
    return now + (wait > 0 ? wait : 1);
}

static int
ring_fills(const struct qi_sender *s)
{
    uint64_t head = qi_view_head(&s->view);

    return head > s->feed.position
           && head - s->feed.position >= s->view.header.ring_count / 4;
}

/* Rows go out hz times a second; records in between as well, when there are so many that
   the ring would come round. */
static void
start_round_if_due(struct qi_sender *s)
{
    int64_t now = qi_sender_now_ms();

    if (s->hz == 0 || !qi_feed_is_idle(&s->feed)
        || (now < s->next_round && (!s->with_records || now < s->next_look))) {
        return;
    }
    if (now >= s->next_round) {
        qi_feed_start_round(&s->feed, s->with_records);
        s->next_round = now + 1000 / s->hz;
    }
    else if (ring_fills(s)) {
        qi_feed_start_records(&s->feed);
    }
    s->next_look = next_look(s, now);
}

/* Room for a chunk is there: the buffer is empty or holds a few small frames. */
static int
make_frame(struct qi_sender *s)
{
    if (s->process_is_due) {
        s->process_is_due = 0;
        return qi_sender_send_process(s) == QI_WIRE_OK;
    }
    start_round_if_due(s);
    if (s->hz == 0) {
        return 0;
    }
    int r = qi_feed_next(&s->feed, &s->out, ++s->seq, qi_sender_now_ns());
    if (r > 0) {
        QI_ADD(s->counters.frames, 1);
    }
    return r > 0;
}

static void
check_stalls_if_due(struct qi_sender *s)
{
    int64_t now = qi_sender_now_ms();

    if (s->stall_ms == 0 || now < s->next_stall_check) {
        return;
    }
    int64_t due =
        qi_stalls_check(&s->stalls, &s->view, s->client->loop_slots,
                        s->stall_ms * 1000000, qi_sender_now_ns(), &s->out, ++s->seq);
    int64_t interval = s->stall_ms / 4;
    interval = interval > MIN_STALL_CHECK_MS ? interval : MIN_STALL_CHECK_MS;
    /* What runs already is looked at when it reaches the threshold. */
    int64_t left = due == QI_NEVER ? interval : due / 1000000 + 1 - now;
    left = left > 1 ? left : 1;
    s->next_stall_check = now + min_i64(left, interval);
}

/* 1: there may be more to do at once. */
static int
serve(struct qi_sender *s)
{
    qi_sender_send_answers(s);
    check_stalls_if_due(s);
    qi_sender_serve_stacks(s);
    for (int i = 0; i < FRAMES_PER_TURN; i++) {
        if (!flush(s) || state_of(s) != QI_ONLINE || !make_frame(s)) {
            return 0;
        }
    }
    return 1;
}

static void
work(struct qi_sender *s, int *ret_again)
{
    *ret_again = 0;
    if (qi_client_late_binding(s->client, &s->view.header) && state_of(s) == QI_ONLINE) {
        qi_sender_on_resync(s); /* PROCESS is followed by everything else */
    }
    switch (state_of(s)) {
    case QI_OFFLINE:
        if (qi_sender_now_ms() >= s->next_try) {
            try_to_connect(s);
        }
        break;
    case QI_GREETING:
    case QI_PROVING:
        if (qi_sender_now_ms() >= s->deadline) {
            qi_sender_refuse(s);
        }
        else {
            (void)flush(s);
        }
        break;
    case QI_ONLINE:
        *ret_again = serve(s);
        break;
    }
}

static int64_t
next_deadline(const struct qi_sender *s)
{
    int64_t next = QI_NEVER;

    switch (state_of(s)) {
    case QI_OFFLINE:
        return s->next_try;
    case QI_GREETING:
    case QI_PROVING:
        return s->deadline;
    case QI_ONLINE:
        next = qi_sender_stacks_deadline(s);
        if (s->stall_ms > 0) {
            next = min_i64(next, s->next_stall_check);
        }
        if (s->hz > 0 && s->writable) {
            next = min_i64(next, s->next_round);
            next = s->with_records ? min_i64(next, s->next_look) : next;
        }
        break;
    }
    return next;
}

static int
timeout_until(int64_t deadline)
{
    int64_t left = deadline == QI_NEVER ? -1 : deadline - qi_sender_now_ms();

    if (deadline == QI_NEVER) {
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

    if (s->out.size < QI_OUT_LOW) {
        events |= POLLIN;
    }
    if (s->out_sent < s->out.size) {
        events |= POLLOUT;
    }
    return events;
}

/* Readable when a stack is complete; -1: none is expected, or it would find no room. */
static int
stack_event(const struct qi_sender *s)
{
    const struct qi_capture *capture = QI_LOAD_ACQUIRE(s->client->capture);

    return capture != NULL && state_of(s) == QI_ONLINE && s->out.size < QI_OUT_LOW
               ? qi_capture_event(capture)
               : -1;
}

static void
wait_and_receive(struct qi_sender *s, int again)
{
    /* Those that are -1 are left out by poll(). */
    struct pollfd fds[3] = {
        {.fd = s->wake_ends[0], .events = POLLIN},
        {.fd = s->socket, .events = s->socket >= 0 ? wanted_events(s) : (short)0},
        {.fd = stack_event(s), .events = POLLIN}};
    int timeout = again ? 0 : timeout_until(next_deadline(s));

    /* A failed poll() has set no events; the loop comes round. */
    if (poll(fds, 3, timeout) <= 0) {
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

/* 1: all is out; 0: the connection is over, or nobody takes the rest. */
static int
flush_until(struct qi_sender *s, int64_t deadline)
{
    while (!flush(s) && state_of(s) == QI_ONLINE) {
        struct pollfd room = {.fd = s->socket, .events = POLLOUT};
        /* Less, if it takes nothing at all. */
        int64_t left = min_i64(deadline - qi_sender_now_ms(), s->times.goodbye_ms / 4);
        if (left <= 0 || poll(&room, 1, (int)left) <= 0) {
            return 0;
        }
    }
    return state_of(s) == QI_ONLINE;
}

/* What changed last, as far as the peer takes it soon, and a farewell. */
static void
say_goodbye(struct qi_sender *s)
{
    int64_t deadline = qi_sender_now_ms() + s->times.goodbye_ms;

    if (state_of(s) != QI_ONLINE) {
        return;
    }
    qi_sender_send_answers(s);
    /* The round that is under way, and one with what came after its beginning. */
    for (int i = 0; i < 2; i++) {
        s->next_round = 0;
        while (flush_until(s, deadline) && make_frame(s)) {
            ;
        }
    }
    if (state_of(s) == QI_ONLINE && s->out_sent == s->out.size) {
        qi_encode_begin(&s->out, QI_MSG_GOODBYE, ++s->seq, 1);
        qi_encode_text_field(&s->out, QI_KEY_GOODBYE_reason, "disabled");
        (void)qi_sender_end_frame(s);
        (void)flush(s);
    }
}

/* The time of the file says when the process was last seen alive.  Stores to a mapping do
   not change it on every file system. */
static void
touch_file(struct qi_sender *s)
{
    int64_t now = qi_sender_now_ms();

    if (now >= s->next_touch) {
        s->next_touch = now + TOUCH_MS;
        (void)futimens(s->client->fd, NULL);
    }
}

static void *
run(void *argument)
{
    struct qi_sender *s = argument;
    int again = 0;

    while (!QI_LOAD_ACQUIRE(s->stop)) {
        QI_ADD(s->client->header->heartbeat, 1);
        touch_file(s);
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
    void *out = malloc(QI_OUT_SIZE);

    if (out == NULL) {
        return QI_E_NOMEM;
    }
    qi_encoder_init(&s->out, out, QI_OUT_SIZE);
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
    int64_t deadline = qi_sender_now_ms() + (timeout_ms > 0 ? timeout_ms : 0);
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
    ret_stats->connected = QI_LOAD(s->counters.state) == QI_ONLINE;
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
