/*
 * fake_daemon.h - a daemon for tests of the sender: blocking, in the test's own thread.
 *
 * It keeps a mirror of what it was told, and checks on the way what PROTOCOL.md promises:
 * texts before their use, records without a hole or a repetition.
 */
#ifndef QI_TESTS_FAKE_DAEMON_H
#define QI_TESTS_FAKE_DAEMON_H

#include "qi_test.h"

#include "hmac.h"
#include "rows.h"
#include "runtime.h"
#include "wire.h"

#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define FAKE_WAIT_MS 20000 /* only a safety net */
#define FAKE_ROWS 4096

struct fake_row {
    struct qi_wire_row row;
    int in_snapshot;
};

struct fake_daemon {
    char address[128];
    uint8_t key[QI_KEY_SIZE];
    uint8_t nonce[QI_NONCE_SIZE], their_nonce[QI_NONCE_SIZE];
    unsigned major, minor;
    int wrong_mac;
    int listener, fd;
    struct qi_splitter in;
    uint8_t out[65536];
    struct qi_encoder encoder;

    /* the mirror, of one connection */
    struct fake_row rows[FAKE_ROWS];
    size_t row_count;
    uint64_t interned;   /* highest id */
    char texts[256][64]; /* the first ones */
    uint64_t next_record, seen, lost;
    uint64_t last_x;    /* of the last record */
    char gap_cause[16]; /* of the last gap */
    int socket_gaps;    /* gaps for which the socket is to blame */
    int processes, snapshots, in_snapshot, states, goodbyes;
    int stalls, stalls_over;
    int64_t stall_since;
    struct qi_frame frame; /* the last one; borrows from the splitter */
};

static inline void
fake_listen(struct fake_daemon *d)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};

    (void)unlink(d->address);
    strcpy(name.sun_path, d->address);
    d->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(d->listener >= 0);
    CHECK_INT(bind(d->listener, (struct sockaddr *)&name, sizeof(name)), 0);
    CHECK_INT(listen(d->listener, 8), 0);
}

static inline void
fake_init(struct fake_daemon *d, const char *directory)
{
    memset(d, 0, sizeof(*d));
    d->major = QI_PROTO_MAJOR;
    d->minor = QI_PROTO_MINOR;
    d->fd = d->listener = -1;
    (void)snprintf(d->address, sizeof(d->address), "%s/" QI_SOCKET_NAME, directory);
    CHECK_INT(qi_runtime_key(directory, 1, d->key), QI_RUNTIME_OK);
}

static inline void
fake_hang_up(struct fake_daemon *d)
{
    if (d->fd >= 0) {
        (void)close(d->fd);
    }
    d->fd = -1;
    qi_splitter_fini(&d->in);
}

static inline void
fake_stop(struct fake_daemon *d)
{
    fake_hang_up(d);
    if (d->listener >= 0) {
        (void)close(d->listener);
        d->listener = -1;
        (void)unlink(d->address);
    }
}

static inline void
fake_send(struct fake_daemon *d, const void *bytes, size_t size)
{
    CHECK_INT(send(d->fd, bytes, size, MSG_NOSIGNAL), size);
}

static inline struct qi_encoder *
fake_begin(struct fake_daemon *d, unsigned message, uint32_t seq, uint32_t fields)
{
    qi_encoder_init(&d->encoder, d->out, sizeof(d->out));
    qi_encode_begin(&d->encoder, message, seq, fields);
    return &d->encoder;
}

static inline void
fake_end(struct fake_daemon *d)
{
    CHECK_INT(qi_encode_end(&d->encoder), QI_WIRE_OK);
    fake_send(d, d->out, d->encoder.size);
}

static inline void
fake_send_hello(struct fake_daemon *d)
{
    struct qi_encoder *e = fake_begin(d, QI_MSG_HELLO, 1, 5);

    CHECK_INT(qi_runtime_random(d->nonce, sizeof(d->nonce)), 0);
    qi_encode_text_field(e, QI_KEY_HELLO_magic, QI_PROTO_MAGIC);
    qi_encode_uint_field(e, QI_KEY_HELLO_major, d->major);
    qi_encode_uint_field(e, QI_KEY_HELLO_minor, d->minor);
    qi_encode_text_field(e, QI_KEY_HELLO_server, "fake 0");
    qi_encode_bytes_field(e, QI_KEY_HELLO_nonce, d->nonce, sizeof(d->nonce));
    fake_end(d);
}

static inline void
fake_send_welcome(struct fake_daemon *d)
{
    struct qi_encoder *e = fake_begin(d, QI_MSG_WELCOME, d->frame.seq, 5);
    uint8_t mac[QI_MAC_SIZE];

    qi_mac_server(d->key, d->their_nonce, d->nonce, mac);
    mac[0] ^= (uint8_t)d->wrong_mac;
    qi_encode_uint_field(e, QI_KEY_WELCOME_session, 1);
    qi_encode_text_field(e, QI_KEY_WELCOME_role, "app");
    qi_encode_uint_field(e, QI_KEY_WELCOME_minor, 0);
    qi_encode_int_field(e, QI_KEY_WELCOME_clock, 1);
    qi_encode_bytes_field(e, QI_KEY_WELCOME_hmac, mac, sizeof(mac));
    fake_end(d);
}

static inline void
fake_set_rate(struct fake_daemon *d, unsigned hz, int events, unsigned stall_ms)
{
    struct qi_encoder *e = fake_begin(d, QI_MSG_SET_RATE, 2, 3);

    qi_encode_uint_field(e, QI_KEY_SET_RATE_hz, hz);
    qi_encode_bool_field(e, QI_KEY_SET_RATE_events, events);
    qi_encode_uint_field(e, QI_KEY_SET_RATE_stall, stall_ms);
    fake_end(d);
}

/* --- the mirror --- */

static inline struct fake_row *
fake_find(struct fake_daemon *d, unsigned kind, uint64_t id)
{
    for (size_t i = 0; i < d->row_count; i++) {
        if (d->rows[i].row.kind == kind && d->rows[i].row.id == id) {
            return &d->rows[i];
        }
    }
    return NULL;
}

static inline int
fake_is_over(const struct qi_wire_row *row)
{
    return row->state == QI_STATE_GONE || qi_state_is_final(row->kind, row->state);
}

/* Live rows of a kind. */
static inline size_t
fake_count(struct fake_daemon *d, unsigned kind)
{
    size_t n = 0;

    for (size_t i = 0; i < d->row_count; i++) {
        n += d->rows[i].row.kind == kind && !fake_is_over(&d->rows[i].row);
    }
    return n;
}

static inline void
fake_take_row(struct fake_daemon *d, const struct qi_value *value)
{
    struct qi_wire_row row;
    const struct qi_column *columns = NULL;
    struct fake_row *place;

    CHECK_INT(qi_row_decode(value, &row), 1);
    unsigned n = qi_columns(row.kind, &columns);
    for (unsigned i = 0; i < row.columns && i < n; i++) {
        if (columns[i].type == QI_COLUMN_t || columns[i].type == QI_COLUMN_c
            || columns[i].type == QI_COLUMN_k) {
            CHECK(row.column[i] <= d->interned);
        }
    }
    place = fake_find(d, row.kind, row.id);
    if (place == NULL) {
        CHECK(d->row_count < FAKE_ROWS);
        place = &d->rows[d->row_count++];
    }
    place->row = row;
    place->in_snapshot = d->in_snapshot;
}

static inline void
fake_take_intern(struct fake_daemon *d)
{
    struct qi_cursor cursor = qi_cursor_in(&d->frame.fields[QI_KEY_INTERN_entries]);
    struct qi_wire_entry entry;
    struct qi_value value;

    while (qi_cursor_next(&cursor, &value)) {
        CHECK_INT(qi_entry_decode(&value, &entry), 1);
        CHECK_INT(entry.id, d->interned + 1);
        d->interned = entry.id;
        CHECK(entry.file < entry.id && entry.name < entry.id);
        if (entry.type == 't' && entry.id < 256) {
            (void)snprintf(d->texts[entry.id], sizeof(d->texts[0]), "%.*s",
                           (int)entry.text.size, (const char *)entry.text.bytes);
        }
    }
}

static inline void
fake_take_records(struct fake_daemon *d)
{
    struct qi_cursor cursor = qi_cursor_in(&d->frame.fields[QI_KEY_EVENTS_records]);
    int64_t ts = qi_frame_int(&d->frame, QI_KEY_EVENTS_ts, 0);
    struct qi_record record;
    int bad = 0;

    CHECK_INT(qi_frame_uint(&d->frame, QI_KEY_EVENTS_first, 0), d->next_record);
    while (qi_record_decode(&cursor, &ts, &record, &bad)) {
        /* The tests put the record's number there. */
        CHECK_INT(record.a, d->next_record);
        CHECK_INT(record.ts, (int64_t)(d->next_record * 10));
        d->last_x = record.x;
        d->next_record++;
        d->seen++;
    }
    CHECK_INT(bad, 0);
}

static inline void
fake_take_gap(struct fake_daemon *d)
{
    uint64_t count = qi_frame_uint(&d->frame, QI_KEY_GAP_count, 0);

    CHECK_INT(qi_frame_uint(&d->frame, QI_KEY_GAP_first, 0), d->next_record);
    CHECK(count > 0);
    d->next_record += count;
    d->lost += count;
    qi_frame_copy_text(&d->frame, QI_KEY_GAP_cause, d->gap_cause, sizeof(d->gap_cause));
    d->socket_gaps += strcmp(d->gap_cause, "socket") == 0;
}

static inline void
fake_snap_end(struct fake_daemon *d)
{
    for (size_t i = 0; i < d->row_count; i++) {
        if (!d->rows[i].in_snapshot && !fake_is_over(&d->rows[i].row)) {
            d->rows[i].row.state = QI_STATE_GONE;
        }
    }
    d->in_snapshot = 0;
    d->snapshots++;
}

static inline void
fake_snap_begin(struct fake_daemon *d)
{
    for (size_t i = 0; i < d->row_count; i++) {
        d->rows[i].in_snapshot = 0;
    }
    d->in_snapshot = 1;
}

static inline void
fake_take(struct fake_daemon *d)
{
    struct qi_cursor cursor;
    struct qi_value value;

    switch (d->frame.message) {
    case QI_MSG_PROCESS:
        d->processes++;
        d->interned = 0;
        break;
    case QI_MSG_INTERN:
        fake_take_intern(d);
        break;
    case QI_MSG_SNAP_BEGIN:
        fake_snap_begin(d);
        break;
    case QI_MSG_SNAP_END:
        fake_snap_end(d);
        break;
    case QI_MSG_STATE:
        d->states++;
        cursor = qi_cursor_in(&d->frame.fields[QI_KEY_STATE_rows]);
        while (qi_cursor_next(&cursor, &value)) {
            fake_take_row(d, &value);
        }
        break;
    case QI_MSG_EVENTS:
        fake_take_records(d);
        break;
    case QI_MSG_GAP:
        fake_take_gap(d);
        break;
    case QI_MSG_STALL:
        d->stall_since = qi_frame_int(&d->frame, QI_KEY_STALL_since, 0);
        if (d->frame.fields[QI_KEY_STALL_over].u) {
            d->stalls_over++;
        }
        else {
            d->stalls++;
        }
        break;
    case QI_MSG_GOODBYE:
        d->goodbyes++;
        break;
    default:
        break;
    }
}

/* --- input --- */

/* Waits for a frame and takes it in: 1; 0: the application hung up. */
static inline int
fake_next(struct fake_daemon *d)
{
    const uint8_t *payload = NULL;
    uint8_t *room = NULL;
    size_t size = 0;

    for (;;) {
        int r = qi_splitter_next(&d->in, &payload, &size);
        CHECK(r >= 0);
        if (r > 0) {
            CHECK_INT(qi_frame_decode(payload, size, &d->frame), QI_WIRE_OK);
            CHECK((qi_message_info(d->frame.message)->senders & QI_FROM_APPLICATION)
                  != 0);
            fake_take(d);
            return 1;
        }
        struct pollfd fd = {.fd = d->fd, .events = POLLIN};
        CHECK_INT(poll(&fd, 1, FAKE_WAIT_MS), 1);
        CHECK_INT(qi_splitter_room(&d->in, &room, &size), QI_WIRE_OK);
        ssize_t n = recv(d->fd, room, size, 0);
        if (n <= 0) {
            return 0;
        }
        qi_splitter_filled(&d->in, (size_t)n);
    }
}

/* Takes frames until one of this kind. */
static inline void
fake_until(struct fake_daemon *d, unsigned message)
{
    do {
        CHECK_INT(fake_next(d), 1);
    } while (d->frame.message != message);
}

#define FAKE_UNTIL(d, condition)                                                         \
    do {                                                                                 \
        while (!(condition)) {                                                           \
            CHECK_INT(fake_next(d), 1);                                                  \
        }                                                                                \
    } while (0)

/* All that is under way when the answer comes. */
static inline void
fake_ping(struct fake_daemon *d)
{
    (void)fake_begin(d, QI_MSG_PING, 77, 0);
    fake_end(d);
    do {
        fake_until(d, QI_MSG_RESULT);
    } while (d->frame.seq != 77);
}

/* --- connections --- */

static inline void
fake_accept_only(struct fake_daemon *d)
{
    struct pollfd fd = {.fd = d->listener, .events = POLLIN};

    CHECK_INT(poll(&fd, 1, FAKE_WAIT_MS), 1);
    d->fd = accept(d->listener, NULL, NULL);
    CHECK(d->fd >= 0);
    qi_splitter_init(&d->in, QI_FRAME_MAX);
    d->row_count = 0;
    d->interned = d->next_record = d->seen = d->lost = 0;
    d->processes = d->snapshots = d->in_snapshot = d->states = d->goodbyes = 0;
    d->stalls = d->stalls_over = 0;
    d->gap_cause[0] = '\0';
    d->socket_gaps = 0;
}

/* Up to and including the AUTH, which is checked. */
static inline void
fake_accept_auth(struct fake_daemon *d)
{
    uint8_t mac[QI_MAC_SIZE];

    fake_accept_only(d);
    fake_send_hello(d);
    CHECK_INT(fake_next(d), 1);
    CHECK_INT(d->frame.message, QI_MSG_AUTH);
    CHECK(qi_frame_text_is(&d->frame, QI_KEY_AUTH_role, "app"));
    CHECK_INT(d->frame.fields[QI_KEY_AUTH_nonce].size, QI_NONCE_SIZE);
    CHECK_INT(d->frame.fields[QI_KEY_AUTH_hmac].size, QI_MAC_SIZE);
    memcpy(d->their_nonce, d->frame.fields[QI_KEY_AUTH_nonce].bytes, QI_NONCE_SIZE);
    qi_mac_client(d->key, d->nonce, d->their_nonce, "app", 3, mac);
    CHECK(qi_mac_equal(mac, d->frame.fields[QI_KEY_AUTH_hmac].bytes));
}

/* Up to and including PROCESS. */
static inline void
fake_accept(struct fake_daemon *d)
{
    fake_accept_auth(d);
    fake_send_welcome(d);
    CHECK_INT(fake_next(d), 1);
    CHECK_INT(d->frame.message, QI_MSG_PROCESS);
}

#endif
