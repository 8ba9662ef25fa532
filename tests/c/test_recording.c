/* test_recording.c - the promises of daemon/recording.h, without Qt and without a daemon.
 */
#include "qi_test.h"

#include "recording.h"
#include "rowof.h"
#include "trace_read.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static const struct qi_mirror_limits limits = QI_MIRROR_LIMITS;
static char directory[64];
static char file_path[128];
static char part_path[160];
static struct qi_mirror *state;

static struct qi_recording *
create(const char *trigger, uint64_t max_bytes)
{
    struct qi_recording_options options = {.path = file_path, .max_bytes = max_bytes};
    struct qi_trace_info info = {.pid = 7, .name = "app", .writer = "daemon"};
    struct qi_recording *r = NULL;

    if (trigger != NULL) {
        CHECK_INT(qi_trigger_parse(&options.trigger, trigger), 0);
        options.trigger.pre_ns = INT64_C(10000000000);
    }
    CHECK_INT(qi_recording_create(&options, &info, state, 500, 1000, &r), QI_TRACE_OK);
    return r;
}

static struct qi_recording_totals
finish(struct qi_recording *r)
{
    struct qi_recording_totals totals;

    CHECK_INT(qi_recording_finish(r, 2000, &totals), QI_TRACE_OK);
    return totals;
}

/* --- frames --- */

static uint8_t bytes[1u << 20];
static struct qi_encoder e;

static void
begin(unsigned message, uint32_t fields)
{
    qi_encoder_init(&e, bytes, sizeof(bytes));
    qi_encode_begin(&e, message, 0, fields);
}

static int
send(struct qi_recording *r, int64_t now)
{
    CHECK_INT(qi_encode_end(&e), QI_WIRE_OK);
    return qi_recording_frame(r, bytes + 4, e.size - 4, now);
}

static void
send_records(struct qi_recording *r, uint64_t first, uint32_t n)
{
    int64_t ts = 0;

    begin(QI_MSG_EVENTS, 3);
    qi_encode_uint_field(&e, QI_KEY_EVENTS_first, first);
    qi_encode_int_field(&e, QI_KEY_EVENTS_ts, 0);
    qi_encode_key(&e, QI_KEY_EVENTS_records);
    qi_encode_list(&e, n * QI_RECORD_VALUES);
    for (uint64_t i = first; i < first + n; i++) {
        struct qi_record record = {
            .ts = (int64_t)i * 10, .kind = QI_EV_MARK, .x = 1, .a = i};
        qi_encode_records(&e, &record, 1, &ts);
    }
    CHECK_INT(send(r, 1000), QI_TRACE_OK);
}

static void
send_gap(struct qi_recording *r, uint64_t first, uint64_t count)
{
    begin(QI_MSG_GAP, 3);
    qi_encode_uint_field(&e, QI_KEY_GAP_first, first);
    qi_encode_uint_field(&e, QI_KEY_GAP_count, count);
    qi_encode_text_field(&e, QI_KEY_GAP_cause, "socket");
    CHECK_INT(send(r, 1000), QI_TRACE_OK);
}

static void
send_row(struct qi_recording *r, int64_t ts, uint64_t id, unsigned task_state)
{
    begin(QI_MSG_STATE, 2);
    qi_encode_int_field(&e, QI_KEY_STATE_ts, ts);
    qi_encode_key(&e, QI_KEY_STATE_rows);
    qi_encode_list(&e, 1);
    qi_encode_list(&e, 5);
    qi_encode_uint(&e, QI_TASK);
    qi_encode_uint(&e, id);
    qi_encode_uint(&e, task_state);
    qi_encode_uint(&e, 1);
    qi_encode_uint(&e, 1); /* name */
    CHECK_INT(send(r, 1000), QI_TRACE_OK);
}

static void
send_text(struct qi_recording *r, const char *name)
{
    begin(QI_MSG_INTERN, 1);
    qi_encode_key(&e, QI_KEY_INTERN_entries);
    qi_encode_list(&e, 1);
    qi_encode_list(&e, 3);
    qi_encode_uint(&e, 1);
    qi_encode_text(&e, "t", 1);
    qi_encode_text(&e, name, strlen(name));
    CHECK_INT(send(r, 1000), QI_TRACE_OK);
}

static void
send_stall(struct qi_recording *r, int64_t duration)
{
    begin(QI_MSG_STALL, 5);
    qi_encode_uint_field(&e, QI_KEY_STALL_loop, 1);
    qi_encode_int_field(&e, QI_KEY_STALL_since, 40);
    qi_encode_int_field(&e, QI_KEY_STALL_duration, duration);
    qi_encode_uint_field(&e, QI_KEY_STALL_current, 0);
    qi_encode_bool_field(&e, QI_KEY_STALL_over, 0);
    CHECK_INT(send(r, 1000), QI_TRACE_OK);
}

static void
send_lint(struct qi_recording *r, int active)
{
    begin(QI_MSG_LINT, 8);
    qi_encode_uint_field(&e, QI_KEY_LINT_pid, 7);
    qi_encode_text_field(&e, QI_KEY_LINT_id, "QI101");
    qi_encode_text_field(&e, QI_KEY_LINT_severity, "W");
    qi_encode_uint_field(&e, QI_KEY_LINT_ref, 0);
    qi_encode_text_field(&e, QI_KEY_LINT_text, "blocked");
    qi_encode_uint_field(&e, QI_KEY_LINT_count, 1);
    qi_encode_int_field(&e, QI_KEY_LINT_since, 1);
    qi_encode_bool_field(&e, QI_KEY_LINT_active, active);
    CHECK_INT(send(r, 1000), QI_TRACE_OK);
}

/* --- what is in the file, as a text: "first+n" of records, "-n cause" of losses, "*" for
   each note, "rN" rows, "|" between chunks --- */

static char text[1024];

static void
add(const char *format, unsigned long long a, unsigned long long b, const char *s)
{
    size_t used = strlen(text);

    if (s != NULL) {
        (void)snprintf(text + used, sizeof(text) - used, format, a, s);
    }
    else {
        (void)snprintf(text + used, sizeof(text) - used, format, a, b);
    }
}

static const char *
contents(void)
{
    struct qi_trace_body body;
    struct qi_frame frame;
    struct qi_trace t;

    text[0] = '\0';
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&t));
    for (size_t i = 0; i < t.count; i++) {
        add(i > 0 ? " |" : "", 0, 0, NULL);
        CHECK_INT(qi_trace_read(&t, i, &body), QI_TRACE_READ_OK);
        struct qi_trace_cursor cursor = qi_trace_frames(&body);
        while (qi_trace_next_frame(&cursor, &frame) > 0) {
            struct qi_trace_loss loss;
            struct qi_trace_note note;
            if (frame.message == QI_MSG_STATE) {
                add(" r%llu", frame.fields[QI_KEY_STATE_rows].size, 0, NULL);
            }
            if (qi_trace_loss(&frame, &loss)) {
                add(" -%llu %s", loss.count, 0, loss.cause);
            }
            if (qi_trace_note(&frame, &note)) {
                add(" *", 0, 0, NULL);
            }
        }
        if (t.chunks[i].n > 0) {
            add(" %llu+%llu", t.chunks[i].first, t.chunks[i].n, NULL);
        }
        qi_trace_body_free(&body);
    }
    qi_trace_close(&t);
    return text;
}

#define CHECK_CONTENTS(wanted)                                                           \
    do {                                                                                 \
        if (strcmp(contents(), wanted) != 0) {                                           \
            fprintf(stderr, "%s:%d: '%s', not '%s'\n", __FILE__, __LINE__, text,         \
                    wanted);                                                             \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

/* --- cases --- */

static void
records_come_once_and_in_order(void)
{
    struct qi_recording *r = create(NULL, 0);

    send_records(r, 0, 100);
    send_records(r, 100, 5000);
    send_records(r, 5090, 20); /* after a reconnect: some once more */
    send_records(r, 50, 10);   /* all of them once more */
    struct qi_recording_totals totals = finish(r);
    CHECK_INT(totals.records, 5110);
    CHECK_INT(totals.lost, 0);
    CHECK_CONTENTS(" 0+5110 |");
}

static void
every_hole_is_a_loss(void)
{
    struct qi_recording *r = create(NULL, 0);

    send_gap(r, 0, 5);
    send_records(r, 5, 10);
    send_gap(r, 15, 5);
    send_gap(r, 0, 18); /* once more */
    send_records(r, 20, 10);
    send_records(r, 35, 1);     /* a frame was dropped before it came here */
    send_gap(r, 40, 2);         /* and so was one here */
    send_gap(r, UINT64_MAX, 2); /* that many there never were */
    struct qi_recording_totals totals = finish(r);
    CHECK_INT(totals.records, 21);
    CHECK_INT(totals.lost, 21);
    CHECK_CONTENTS(" -5 socket 5+10 | -5 socket 20+10 | -5 recorder 35+1"
                   " | -4 recorder -2 socket |");
}

static void
rows_are_there_at_the_start_and_as_they_ended(void)
{
    struct qi_wire_row row = {
        .kind = QI_TASK, .id = 1, .state = QI_TASK_WAITING, .columns = 1, .column = {1}};
    struct qi_wire_entry entry = {
        .id = 1, .type = 't', .text = {.type = QI_VALUE_TEXT, .size = 4, .length = 4}};
    struct qi_trace_body body;
    struct qi_trace t;

    entry.text.bytes = (const uint8_t *)"mark";
    CHECK_INT(qi_mirror_put_entry(state, &entry), QI_MIRROR_OK);
    CHECK_INT(qi_mirror_put_row(state, &row), QI_MIRROR_OK);
    struct qi_recording *r = create(NULL, 0);
    send_row(r, 600, 2, QI_TASK_READY);
    send_row(r, 700, 1, QI_TASK_DONE);
    send_records(r, 0, 1);
    (void)finish(r);
    CHECK_CONTENTS(" r1 r1 0+1 | r1");
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK_INT(qi_trace_read(&t, 0, &body), QI_TRACE_READ_OK);
    CHECK(memmem(body.bytes, body.size, "mark", 4) != NULL);
    CHECK_INT(t.chunks[0].t0, 0);
    CHECK_INT(t.chunks[0].t1, 700);
    qi_trace_body_free(&body);
    qi_trace_close(&t);
}

static void
a_snapshot_begins_a_chunk(void)
{
    qi_mirror_free(state);
    state = qi_mirror_new(&limits);
    struct qi_recording *r = create(NULL, 0);

    for (int i = 0; i < 2; i++) {
        begin(QI_MSG_PROCESS, 9);
        for (unsigned key = 0; key < 8; key++) {
            qi_encode_key(&e, key);
            if (key == QI_KEY_PROCESS_name || key == QI_KEY_PROCESS_segment) {
                qi_encode_text(&e, "x", 1);
            }
            else if (key == QI_KEY_PROCESS_control) {
                qi_encode_bool(&e, 0);
            }
            else {
                qi_encode_uint(&e, 1);
            }
        }
        qi_encode_key(&e, QI_KEY_PROCESS_versions);
        qi_encode_map(&e, 0);
        CHECK_INT(send(r, 1000), QI_TRACE_OK);
        send_text(r, i == 0 ? "before" : "after");
        begin(QI_MSG_SNAP_BEGIN, 1);
        qi_encode_uint_field(&e, QI_KEY_SNAP_BEGIN_rows, 1);
        CHECK_INT(send(r, 1000), QI_TRACE_OK);
        send_row(r, 600, 1 + (uint64_t)i, QI_TASK_WAITING);
        begin(QI_MSG_SNAP_END, 0);
        CHECK_INT(send(r, 1000), QI_TRACE_OK);
        send_records(r, (uint64_t)i * 10, 10);
    }
    (void)finish(r);
    /* What was not in the second one is over. */
    CHECK_CONTENTS(" r1 0+10 | r1 10+10 | r1");
    /* After PROCESS an id may mean something else. */
    struct qi_trace_body body;
    struct qi_trace t;
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK_INT(qi_trace_read(&t, 1, &body), QI_TRACE_READ_OK);
    CHECK(memmem(body.bytes, body.size, "after", 5) != NULL);
    CHECK(memmem(body.bytes, body.size, "before", 6) == NULL);
    qi_trace_body_free(&body);
    qi_trace_close(&t);
}

static void
what_the_peer_got_wrong_is_left_out(void)
{
    struct qi_recording *r = create(NULL, 0);

    CHECK_INT(qi_recording_frame(r, (const uint8_t *)"\xc1", 1, 1000), QI_TRACE_OK);
    begin(QI_MSG_STATE, 2);
    qi_encode_int_field(&e, QI_KEY_STATE_ts, 5);
    qi_encode_key(&e, QI_KEY_STATE_rows);
    qi_encode_list(&e, 1);
    qi_encode_text(&e, "row", 3);
    CHECK_INT(send(r, 1000), QI_TRACE_OK);
    begin(QI_MSG_EVENTS, 3);
    qi_encode_uint_field(&e, QI_KEY_EVENTS_first, 0);
    qi_encode_int_field(&e, QI_KEY_EVENTS_ts, 0);
    qi_encode_key(&e, QI_KEY_EVENTS_records);
    qi_encode_list(&e, 2);
    qi_encode_uint(&e, 1);
    qi_encode_uint(&e, 1);
    CHECK_INT(send(r, 1000), QI_TRACE_OK);
    begin(QI_MSG_PING, 0);
    CHECK_INT(send(r, 1000), QI_TRACE_OK);
    send_records(r, 0, 3);
    (void)finish(r);
    CHECK_CONTENTS(" 0+3 |");
}

static void
stalls_and_lints_are_notes(void)
{
    struct qi_recording *r = create(NULL, 0);

    send_stall(r, 10);
    send_lint(r, 1);
    send_lint(r, 0);
    (void)finish(r);
    CHECK_CONTENTS(" * * * |");
}

static int
exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

static void
a_flight_keeps_what_a_trigger_says(void)
{
    struct qi_recording *r = create("stall>200ms", 0);

    send_records(r, 0, 10);
    send_lint(r, 1);          /* is none of its triggers */
    send_stall(r, 199999999); /* is none yet */
    CHECK_INT(qi_recording_tick(r, 3000), QI_TRACE_OK);
    CHECK(!exists(file_path));
    CHECK(exists(part_path));
    send_stall(r, 200000000);
    CHECK_INT(qi_recording_tick(r, 3000), QI_TRACE_OK);
    CHECK_CONTENTS(" * * * 0+10");
    CHECK_INT(finish(r).captures, 1);
    CHECK(!exists(part_path));
    CHECK_INT(unlink(file_path), 0);

    r = create("lint", 0);
    send_lint(r, 0); /* has gone away: is none */
    CHECK_INT(qi_recording_tick(r, 3000), QI_TRACE_OK);
    CHECK(!exists(file_path));
    send_lint(r, 1);
    CHECK_INT(finish(r).captures, 1); /* what is due at the end is made at the end */
    CHECK(exists(file_path));
    CHECK_INT(unlink(file_path), 0);
}

static void
time_closes_a_chunk_that_has_something(void)
{
    struct qi_recording *r = create(NULL, 0);

    CHECK_INT(qi_recording_tick(r, 1000 + QI_TRACE_CHUNK_NS), QI_TRACE_OK);
    send_records(r, 0, 1);
    CHECK_INT(qi_recording_tick(r, 999 + QI_TRACE_CHUNK_NS), QI_TRACE_OK);
    send_records(r, 1, 1);
    CHECK_INT(qi_recording_tick(r, 1000 + QI_TRACE_CHUNK_NS), QI_TRACE_OK);
    send_records(r, 2, 1);
    (void)finish(r);
    CHECK_CONTENTS(" 0+2 | 2+1 |");
}

static void
a_failed_write_ends_it(void)
{
    struct qi_recording *r = create(NULL, 0);
    struct qi_recording_totals totals;
    struct rlimit before;
    struct rlimit limit;

    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 300;
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
    send_records(r, 0, 1000);
    CHECK_INT(qi_recording_tick(r, 1000 + QI_TRACE_CHUNK_NS), QI_TRACE_E_OS);
    CHECK_INT(qi_recording_tick(r, 1000), QI_TRACE_E_OS);
    begin(QI_MSG_PING, 0);
    CHECK_INT(send(r, 1000), QI_TRACE_E_OS);
    CHECK_INT(qi_recording_finish(r, 2000, &totals), QI_TRACE_E_OS);
    CHECK_INT(errno, EFBIG);
    CHECK_INT(totals.records, 0);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &before), 0);
}

int
main(void)
{
    strcpy(directory, "/tmp/qti-recording-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    (void)snprintf(file_path, sizeof(file_path), "%s/a.qtrace", directory);
    (void)snprintf(part_path, sizeof(part_path), "%s" QI_FLIGHT_SUFFIX, file_path);
    state = qi_mirror_new(&limits);
    CHECK(state != NULL);
    RUN(records_come_once_and_in_order);
    RUN(every_hole_is_a_loss);
    RUN(rows_are_there_at_the_start_and_as_they_ended);
    RUN(a_snapshot_begins_a_chunk);
    RUN(what_the_peer_got_wrong_is_left_out);
    RUN(stalls_and_lints_are_notes);
    CHECK_INT(unlink(file_path), 0);
    RUN(a_flight_keeps_what_a_trigger_says);
    RUN(time_closes_a_chunk_that_has_something);
    RUN(a_failed_write_ends_it);
    CHECK_INT(unlink(file_path), 0);
    CHECK_INT(rmdir(directory), 0);
    qi_mirror_free(state);
    return 0;
}
