/* test_sender.c - the promises of sender.h and feed.h, against a fake daemon.
 */
#include "qi_test.h"

#include "fake_pair.h"

#include <dirent.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

static uint64_t
column_of(struct fake_daemon *d, unsigned kind, uint64_t id, const char *name)
{
    const struct qi_column *columns = NULL;
    struct fake_row *found = fake_find(d, kind, id);

    for (unsigned i = 0; found != NULL && i < qi_columns(kind, &columns); i++) {
        if (strcmp(columns[i].name, name) == 0) {
            return found->row.column[i];
        }
    }
    return UINT64_MAX;
}

/* --- connecting --- */

static void
it_connects_when_a_daemon_appears(void)
{
    qi_client *c = open_client(0, 0, &quick);
    struct qi_client_stats stats;

    wait_for_state(c, "connecting");
    fake_listen(&daemon_);
    fake_accept(&daemon_);
    wait_for_state(c, "connected");
    qi_client_stats(c, &stats);
    CHECK_INT(stats.connects, 1);
    CHECK_INT(stats.connected, 1);
    CHECK(stats.bytes > 0 && stats.frames >= 2);
    done(c);
}

static void
process_comes_first_and_nothing_more_unasked(void)
{
    qi_client *c = connected(0, 1, 0, 0);
    const struct qi_frame *f = &daemon_.frame;

    CHECK_INT(qi_frame_uint(f, QI_KEY_PROCESS_pid, 0), getpid());
    CHECK(qi_frame_text_is(f, QI_KEY_PROCESS_name, "test"));
    CHECK(qi_frame_text_is(f, QI_KEY_PROCESS_segment, qi_client_segment_path(c)));
    CHECK_INT(qi_frame_uint(f, QI_KEY_PROCESS_level, 9), 2);
    CHECK_INT(f->fields[QI_KEY_PROCESS_control].u, 1);
    CHECK_INT(f->fields[QI_KEY_PROCESS_versions].size, 4);
    CHECK(f->fields[QI_KEY_PROCESS_argv].size >= 1);
    (void)new_task(c, NULL);
    write_record(c, 1);
    fake_ping(&daemon_);
    CHECK_INT(daemon_.states, 0);
    CHECK_INT(daemon_.snapshots, 0);
    CHECK_INT(daemon_.next_record, 0);
    done(c);
}

static void
a_mute_daemon_is_given_up_and_tried_again(void)
{
    struct qi_sender_times times = quick;
    qi_client *c;

    times.handshake_ms = 10;
    fake_listen(&daemon_);
    c = open_client(0, 0, &times);
    fake_accept_only(&daemon_);
    wait_for_state(c, "refused");
    fake_hang_up(&daemon_);
    /* Others may have timed out in the queue; one gets through. */
    for (int i = 0; i < 3; i++) {
        fake_accept_only(&daemon_);
        fake_hang_up(&daemon_);
    }
    done(c);
}

static void
another_major_is_refused_and_another_minor_is_not(void)
{
    qi_client *c;

    for (unsigned major = QI_PROTO_MAJOR - 1; major <= QI_PROTO_MAJOR + 1; major += 2) {
        daemon_.major = major;
        fake_listen(&daemon_);
        c = open_client(0, 0, &quick);
        fake_accept_only(&daemon_);
        fake_send_hello(&daemon_);
        CHECK_INT(fake_next(&daemon_), 0); /* it hung up, without AUTH */
        wait_for_state(c, "refused");
        fake_hang_up(&daemon_);
        /* The daemon was replaced by one that fits. */
        daemon_.major = QI_PROTO_MAJOR;
        daemon_.minor = 99;
        fake_accept(&daemon_);
        wait_for_state(c, "connected");
        daemon_.minor = QI_PROTO_MINOR;
        done(c);
    }
}

static void
refuse_as_full(void)
{
    struct qi_encoder *e = fake_begin(&daemon_, QI_MSG_REFUSE, 1, 4);

    qi_encode_uint_field(e, QI_KEY_REFUSE_code, QI_REFUSED_FULL);
    qi_encode_text_field(e, QI_KEY_REFUSE_text, "full");
    qi_encode_uint_field(e, QI_KEY_REFUSE_major, 1);
    qi_encode_uint_field(e, QI_KEY_REFUSE_minor, 0);
    fake_end(&daemon_);
}

static void
a_daemon_that_refuses_is_left_alone(void)
{
    qi_client *c;

    fake_listen(&daemon_);
    c = open_client(0, 0, &quick);
    fake_accept_auth(&daemon_);
    refuse_as_full();
    CHECK_INT(fake_next(&daemon_), 0);
    wait_for_state(c, "refused");
    done(c);
}

/* A daemon without memory for it says so after it has greeted: a greeting is no reason to
   come again at once. */
static void
a_daemon_that_is_full_is_asked_less_and_less_often(void)
{
    struct qi_sender_times times = quick;
    struct timespec begin, end;
    qi_client *c;

    times.refused_first_ms = 20;
    times.refused_max_ms = 10000;
    fake_listen(&daemon_);
    c = open_client(0, 0, &times);
    (void)clock_gettime(CLOCK_MONOTONIC, &begin);
    for (int i = 0; i < 5; i++) {
        fake_accept(&daemon_);
        refuse_as_full();
        while (fake_next(&daemon_)) {
            ;
        }
        wait_for_state(c, "refused");
        fake_hang_up(&daemon_);
    }
    (void)clock_gettime(CLOCK_MONOTONIC, &end);
    /* 20 + 40 + 80 + 160 ms at least; without it 4 times 20. */
    CHECK((end.tv_sec - begin.tv_sec) * 1000 + (end.tv_nsec - begin.tv_nsec) / 1000000
          >= 299);
    done(c);
}

static void
nothing_is_told_to_whoever_does_not_know_the_key(void)
{
    qi_client *c;

    daemon_.wrong_mac = 1;
    fake_listen(&daemon_);
    c = open_client(0, 0, &quick);
    fake_accept_auth(&daemon_);
    fake_send_welcome(&daemon_);
    CHECK_INT(fake_next(&daemon_), 0);
    CHECK_INT(daemon_.processes, 0);
    wait_for_state(c, "refused");
    daemon_.wrong_mac = 0;
    done(c);
}

static void
a_broken_daemon_costs_a_connection(void)
{
    static const uint8_t four_gigabytes[] = {0xff, 0xff, 0xff, 0xff, 1};
    static const uint8_t empty[] = {0, 0, 0, 0};
    static const uint8_t reserved[] = {1, 0, 0, 0, 0xc1};
    static const uint8_t nested[] = {20,   0,    0,    0,    0x91, 0x91, 0x91, 0x91,
                                     0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91,
                                     0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x91, 0x90};
    /* [7, 0, {0: true}], a RESULT before the handshake */
    static const uint8_t early[] = {7, 0, 0, 0, 0x93, 7, 0, 0x81, 0, 0xc3};
    const struct {
        const uint8_t *bytes;
        size_t size;
    } cases[] = {{four_gigabytes, sizeof(four_gigabytes)},
                 {empty, sizeof(empty)},
                 {reserved, sizeof(reserved)},
                 {nested, sizeof(nested)},
                 {early, sizeof(early)}};
    qi_client *c;

    fake_listen(&daemon_);
    c = open_client(0, 0, &quick);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        fake_accept_only(&daemon_);
        uint8_t bytes[64];
        memcpy(bytes, cases[i].bytes, cases[i].size);
        bytes[0] = i == 4 ? 6 : bytes[0];
        fake_send(&daemon_, bytes, cases[i].size);
        CHECK_INT(fake_next(&daemon_), 0);
        fake_hang_up(&daemon_);
    }
    /* And after the handshake: what only an application may send. */
    fake_accept(&daemon_);
    (void)fake_begin(&daemon_, QI_MSG_SNAP_END, 1, 0);
    fake_end(&daemon_);
    FAKE_UNTIL(&daemon_, fake_next(&daemon_) == 0);
    fake_hang_up(&daemon_);
    /* Unknown messages and half a frame are nothing. */
    fake_accept(&daemon_);
    (void)fake_begin(&daemon_, 120, 1, 0);
    fake_end(&daemon_);
    fake_ping(&daemon_);
    fake_send(&daemon_, four_gigabytes, 2);
    done(c);
}

static void
an_address_that_does_not_fit_is_refused(void)
{
    char address[200];
    struct qi_client_options options = {
        .directory = directory, .address = address, .level = 1, .connect = 1};
    qi_client *c = NULL;

    memset(address, 'x', sizeof(address) - 1);
    address[sizeof(address) - 1] = '\0';
    CHECK_INT(qi_client_open(&options, &c), QI_OK);
    wait_for_state(c, "refused");
    qi_client_close(c, FAKE_WAIT_MS, 0);
}

static void
after_a_restart_the_mirror_is_right_again(void)
{
    uint64_t ended = 0;
    uint64_t alive = 0;
    uint64_t later = 0;
    qi_client *c = connected(0, 0, 50, 0);
    uint32_t ending = new_task(c, &ended);
    uint32_t living = new_task(c, &alive);
    uint32_t text = qi_text(c, "name", 4);

    FAKE_UNTIL(&daemon_, fake_count(&daemon_, QI_TASK) == 2);
    fake_stop(&daemon_);
    qi_row_retire(c, ending, QI_TASK_DONE);
    set_steps(c, living, 5);
    struct qi_slot *slot = qi_row_begin(c, new_task(c, &later));
    QI_PUT(slot->row.task.name, text);
    qi_row_end(c, 2);
    fake_listen(&daemon_);
    fake_accept(&daemon_);
    fake_set_rate(&daemon_, 50, 0, 0);
    fake_until(&daemon_, QI_MSG_SNAP_END);
    CHECK_INT(fake_count(&daemon_, QI_TASK), 2);
    CHECK(fake_find(&daemon_, QI_TASK, ended) == NULL);
    CHECK_INT(column_of(&daemon_, QI_TASK, alive, "steps"), 5);
    CHECK_INT(column_of(&daemon_, QI_TASK, later, "name"), text);
    CHECK(strcmp(daemon_.texts[text], "name") == 0);
    done(c);
}

/* --- rows --- */

static void
a_snapshot_has_the_living(void)
{
    uint64_t ids[3];
    uint32_t slots[3];
    qi_client *c = connected(0, 0, 0, 0);

    for (int i = 0; i < 3; i++) {
        slots[i] = new_task(c, &ids[i]);
    }
    qi_row_retire(c, slots[1], QI_TASK_DONE);
    (void)qi_row_new(c, QI_TASK, 1, NULL); /* never shown */
    fake_set_rate(&daemon_, 50, 0, 0);
    fake_until(&daemon_, QI_MSG_SNAP_END);
    CHECK_INT(daemon_.row_count, 2);
    CHECK(fake_find(&daemon_, QI_TASK, ids[0]) != NULL);
    CHECK(fake_find(&daemon_, QI_TASK, ids[2]) != NULL);
    done(c);
}

static void
every_column_arrives(void)
{
    const struct qi_column *columns = NULL;
    qi_client *c = connected(0, 0, 50, 0);

    for (unsigned kind = QI_TASK; kind <= QI_LOOP; kind++) {
        uint64_t id = 0;
        unsigned n = qi_columns(kind, &columns);
        uint32_t index = qi_row_new(c, kind, 1, &id);
        struct qi_slot *slot = qi_row_begin(c, index);
        /* Byte values up to 1, so that intern ids are not out of reach: they are 0. */
        for (unsigned i = 0; i < n; i++) {
            int is_text = columns[i].type == QI_COLUMN_t || columns[i].type == QI_COLUMN_c
                          || columns[i].type == QI_COLUMN_k;
            ((uint8_t *)slot)[columns[i].offset] = is_text ? 0 : (uint8_t)(i + 1);
        }
        qi_row_end(c, index);
        FAKE_UNTIL(&daemon_, fake_find(&daemon_, kind, id) != NULL);
        struct qi_wire_row *row = &fake_find(&daemon_, kind, id)->row;
        CHECK_INT(row->columns, n);
        for (unsigned i = 0; i < n; i++) {
            CHECK_INT(row->column[i], qi_column_value(&columns[i], slot));
        }
    }
    done(c);
}

static void
a_change_goes_out_once(void)
{
    uint64_t id = 0;
    qi_client *c = connected(0, 0, 0, 0);
    uint32_t index = new_task(c, &id);

    fake_set_rate(&daemon_, 50, 0, 0);
    fake_until(&daemon_, QI_MSG_SNAP_END);
    CHECK_INT(daemon_.states, 1);
    /* Nothing is sent while it is off, then the last of many. */
    fake_set_rate(&daemon_, 0, 0, 0);
    fake_ping(&daemon_);
    int before = daemon_.states;
    for (uint32_t i = 1; i <= 1000; i++) {
        set_steps(c, index, i);
    }
    fake_set_rate(&daemon_, 50, 0, 0);
    fake_until(&daemon_, QI_MSG_STATE);
    CHECK_INT(daemon_.states, before + 1);
    CHECK_INT(column_of(&daemon_, QI_TASK, id, "steps"), 1000);
    /* No snapshot again. */
    CHECK_INT(daemon_.snapshots, 1);
    done(c);
}

static void
an_end_is_seen_or_else_the_row_is_gone(void)
{
    uint64_t first = 0;
    uint64_t second = 0;
    qi_client *c = connected(0, 0, 50, 0);
    uint32_t seen = new_task(c, &first);
    uint32_t missed = new_task(c, &second);

    FAKE_UNTIL(&daemon_, fake_count(&daemon_, QI_TASK) == 2);
    qi_row_retire(c, seen, QI_TASK_FAILED);
    FAKE_UNTIL(&daemon_, fake_count(&daemon_, QI_TASK) == 1);
    CHECK_INT(fake_find(&daemon_, QI_TASK, first)->row.state, QI_TASK_FAILED);
    /* Its slot is used again before it could be sent. */
    fake_set_rate(&daemon_, 0, 0, 0);
    fake_ping(&daemon_);
    qi_row_retire(c, missed, QI_TASK_DONE);
    for (uint32_t i = 0; i < QI_ROWS_KEPT; i++) {
        qi_row_retire(c, qi_row_new(c, QI_TIMER, 1, NULL), QI_OVER);
    }
    while (new_task(c, NULL) != missed) {
        ;
    }
    fake_set_rate(&daemon_, 50, 0, 0);
    FAKE_UNTIL(&daemon_,
               fake_find(&daemon_, QI_TASK, second)->row.state == QI_STATE_GONE);
    fake_stop(&daemon_);
    qi_client_close(c, FAKE_WAIT_MS, 0);
}

static void
a_resync_tells_everything_again(void)
{
    uint64_t id = 0;
    qi_client *c = connected(0, 0, 50, 0);

    (void)qi_text(c, "before", 6);
    (void)new_task(c, &id);
    FAKE_UNTIL(&daemon_, fake_count(&daemon_, QI_TASK) == 1);
    CHECK_INT(daemon_.interned, 1);
    (void)fake_begin(&daemon_, QI_MSG_RESYNC, 5, 0);
    fake_end(&daemon_);
    FAKE_UNTIL(&daemon_, daemon_.snapshots == 2);
    CHECK_INT(daemon_.processes, 2);
    CHECK_INT(daemon_.interned, 1);
    CHECK_INT(fake_count(&daemon_, QI_TASK), 1);
    done(c);
}

static void
many_rows_come_in_frames_of_bounded_size(void)
{
    enum { TASKS = 3000 };
    qi_client *c = connected(0, 0, 0, 0);

    for (int i = 0; i < TASKS; i++) {
        (void)new_task(c, NULL);
    }
    fake_set_rate(&daemon_, 50, 0, 0);
    fake_until(&daemon_, QI_MSG_SNAP_END);
    CHECK_INT(fake_count(&daemon_, QI_TASK), TASKS);
    CHECK(daemon_.states > 1);
    CHECK(daemon_.in.capacity <= 2 * QI_CHUNK_MAX);
    done(c);
}

static void
two_loops_are_two_rows(void)
{
    qi_client *c = connected(0, 0, 50, 0);

    for (int i = 0; i < 2; i++) {
        uint32_t index = qi_row_new(c, QI_LOOP, (unsigned)i + 1, NULL);
        struct qi_slot *slot = qi_row_begin(c, index);
        QI_PUT(slot->state, QI_LOOP_IDLE);
        QI_PUT(slot->row.loop_.tasks, i + 10);
        qi_row_end(c, index);
    }
    FAKE_UNTIL(&daemon_, fake_count(&daemon_, QI_LOOP) == 2);
    CHECK_INT(fake_find(&daemon_, QI_LOOP, 1)->row.loop, 1);
    CHECK_INT(fake_find(&daemon_, QI_LOOP, 2)->row.loop, 2);
    CHECK_INT(column_of(&daemon_, QI_LOOP, 2, "tasks"), 11);
    done(c);
}

/* --- texts --- */

static void *
use_new_texts(void *argument)
{
    qi_client *c = argument;
    char text[32];

    /* fake_daemon.h checks each row that arrives. */
    for (int i = 0; i < 20000; i++) {
        int n = snprintf(text, sizeof(text), "text %d", i);
        uint32_t id = qi_text(c, text, (size_t)n);
        struct qi_slot *slot = qi_row_begin(c, 0);
        QI_PUT(slot->row.task.name, id);
        QI_PUT(slot->row.task.code, qi_code(c, id, id, (uint32_t)i));
        qi_row_end(c, 0);
    }
    return NULL;
}

static void
a_text_comes_before_its_first_use(void)
{
    qi_client *c = connected(0, 0, 50, 0);
    pthread_t writer;

    CHECK_INT(new_task(c, NULL), 0);
    CHECK_INT(pthread_create(&writer, NULL, use_new_texts, c), 0);
    FAKE_UNTIL(&daemon_, daemon_.interned == 40000);
    CHECK_INT(pthread_join(writer, NULL), 0);
    FAKE_UNTIL(&daemon_, column_of(&daemon_, QI_TASK, 1, "name") == 39999);
    done(c);
}

/* --- records --- */

static void
records_come_in_order_with_what_was_before(void)
{
    qi_client *c = connected(64, 0, 0, 0);
    struct qi_client_stats stats;

    for (uint32_t i = 0; i < 100; i++) {
        write_record(c, i);
    }
    fake_set_rate(&daemon_, 50, 1, 0);
    FAKE_UNTIL(&daemon_, daemon_.next_record == 100);
    CHECK_INT(daemon_.lost, 37);
    CHECK_INT(daemon_.seen, 63);
    CHECK(strcmp(daemon_.gap_cause, "ring") == 0);
    CHECK_INT(daemon_.last_x, 99);
    write_record(c, 5);
    FAKE_UNTIL(&daemon_, daemon_.next_record == 101);
    qi_client_stats(c, &stats);
    CHECK_INT(stats.gaps, 37);
    CHECK_INT(stats.records, 64);
    /* Another connection hears of all of them again. */
    fake_stop(&daemon_);
    fake_listen(&daemon_);
    fake_accept(&daemon_);
    fake_set_rate(&daemon_, 50, 1, 0);
    FAKE_UNTIL(&daemon_, daemon_.next_record == 101);
    CHECK_INT(daemon_.lost, 38);
    qi_client_stats(c, &stats);
    CHECK_INT(stats.gaps, 37); /* none that the first had not had */
    done(c);
}

struct writer {
    qi_client *client;
    uint64_t n;
};

static void *
write_many(void *argument)
{
    struct writer *w = argument;
    unsigned long long random = 42;

    for (uint64_t i = 0; i < w->n; i++) {
        write_record(w->client, (uint32_t)i);
        if (qi_test_random(&random) % 512 == 0) {
            usleep(10);
        }
    }
    return NULL;
}

static void
seen_and_lost_make_up_what_was_written(void)
{
    struct writer w = {.n = 1000000};
    unsigned long long random = 7;
    pthread_t thread;

    w.client = connected(1024, 0, 50, 1);
    CHECK_INT(pthread_create(&thread, NULL, write_many, &w), 0);
    /* A daemon that sometimes falls asleep. */
    while (daemon_.next_record < w.n) {
        CHECK_INT(fake_next(&daemon_), 1);
        if (qi_test_random(&random) % 8 == 0) {
            usleep(3000);
        }
    }
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(daemon_.next_record, w.n);
    CHECK_INT(daemon_.seen + daemon_.lost, w.n);
    CHECK(daemon_.seen > 0 && daemon_.lost > 0);
    printf("    seen %llu, lost %llu\n", (unsigned long long)daemon_.seen,
           (unsigned long long)daemon_.lost);
    done(w.client);
}

/* --- a socket that is full --- */

static void
a_full_socket_delays_and_counts(void)
{
    qi_client *c = connected(1024, 0, 50, 1);
    uint64_t id = 0;

    fill_the_socket(c);
    uint32_t index = new_task(c, &id);
    for (uint32_t i = 0; i < 3000; i++) {
        write_record(c, i);
        set_steps(c, index, i);
    }
    FAKE_UNTIL(&daemon_, daemon_.next_record == c->p.next_record);
    CHECK(daemon_.lost > 0);
    CHECK(daemon_.socket_gaps > 0);
    FAKE_UNTIL(&daemon_, column_of(&daemon_, QI_TASK, id, "steps") == 2999);
    done(c);
}

static void
a_full_socket_does_not_delay_the_end(void)
{
    qi_client *c = connected(1024, 0, 50, 1);

    fill_the_socket(c);
    qi_client_close(c, FAKE_WAIT_MS, 0); /* would hang, and then fail at the next open */
    fake_stop(&daemon_);
    c = open_client(0, 0, &quick);
    qi_client_close(c, FAKE_WAIT_MS, 0);
}

/* --- requests --- */

static struct qi_request
next_request(qi_client *c)
{
    struct qi_request request;

    for (int i = 0; i < FAKE_WAIT_MS; i++) {
        /* That there is one may be seen a moment before it can be taken. */
        if (qi_client_has_request(c) && qi_client_take_request(c, &request)) {
            return request;
        }
        usleep(1000);
    }
    CHECK(0 && "no request came");
    return request;
}

static void
send_cancel(uint32_t seq, uint64_t task)
{
    struct qi_encoder *e = fake_begin(&daemon_, QI_MSG_CANCEL, seq, 2);

    qi_encode_uint_field(e, QI_KEY_CANCEL_task, task);
    qi_encode_text_field(e, QI_KEY_CANCEL_message, "enough");
    fake_end(&daemon_);
}

static void
requests_reach_the_producer_and_answers_the_daemon(void)
{
    qi_client *c = connected(0, 1, 0, 0);
    struct qi_request request;

    send_cancel(9, 1234);
    request = next_request(c);
    CHECK_INT(request.kind, QI_REQUEST_CANCEL);
    CHECK_INT(request.task, 1234);
    CHECK(strcmp(request.message, "enough") == 0);
    CHECK(!qi_client_has_request(c));
    CHECK_INT(qi_client_take_request(c, &request), 0);
    qi_client_answer(c, request.token + 100, 1, "nobody asked");
    qi_client_answer(c, request.token, 0, "no such task");
    fake_until(&daemon_, QI_MSG_RESULT);
    CHECK_INT(daemon_.frame.seq, 9);
    CHECK_INT(daemon_.frame.fields[QI_KEY_RESULT_ok].u, 0);
    CHECK(qi_frame_text_is(&daemon_.frame, QI_KEY_RESULT_error, "no such task"));

    (void)fake_begin(&daemon_, QI_MSG_STACK, 10, 0);
    fake_end(&daemon_);
    request = next_request(c);
    CHECK_INT(request.kind, QI_REQUEST_STACK);
    CHECK_INT(request.task, 0);
    qi_client_answer(c, request.token, 1, "File \"x\", line 1");
    fake_until(&daemon_, QI_MSG_RESULT);
    CHECK_INT(daemon_.frame.seq, 10);
    CHECK_INT(daemon_.frame.fields[QI_KEY_RESULT_ok].u, 1);
    CHECK(qi_frame_text_is(&daemon_.frame, QI_KEY_RESULT_value, "File \"x\", line 1"));
    done(c);
}

static void
too_many_requests_are_refused(void)
{
    qi_client *c = connected(0, 1, 0, 0);

    for (uint32_t i = 0; i <= QI_REQUESTS_MAX; i++) {
        send_cancel(100 + i, i);
    }
    fake_until(&daemon_, QI_MSG_RESULT);
    CHECK_INT(daemon_.frame.seq, 100 + QI_REQUESTS_MAX);
    CHECK_INT(daemon_.frame.fields[QI_KEY_RESULT_ok].u, 0);
    /* An answered one makes room. */
    struct qi_request request = next_request(c);
    qi_client_answer(c, request.token, 1, NULL);
    fake_until(&daemon_, QI_MSG_RESULT);
    CHECK_INT(daemon_.frame.seq, 100);
    send_cancel(200, 1);
    for (uint32_t i = 0; i < QI_REQUESTS_MAX; i++) {
        request = next_request(c);
    }
    qi_client_answer(c, request.token, 1, NULL);
    fake_until(&daemon_, QI_MSG_RESULT);
    CHECK_INT(daemon_.frame.seq, 200);
    done(c);
}

static void
without_control_nothing_is_cancelled(void)
{
    qi_client *c = connected(0, 0, 0, 0);

    send_cancel(3, 1);
    fake_until(&daemon_, QI_MSG_RESULT);
    CHECK_INT(daemon_.frame.fields[QI_KEY_RESULT_ok].u, 0);
    CHECK(!qi_client_has_request(c));
    done(c);
}

static int wakes;

static void
count_wake(void *ctx)
{
    (void)__atomic_fetch_add((int *)ctx, 1, __ATOMIC_RELAXED);
}

static void
a_level_is_in_force_at_once(void)
{
    qi_client *c = connected(0, 0, 0, 0);

    c->wake_ctx = &wakes; /* before any request: the sender reads it only then */
    c->wake = count_wake;
    struct qi_encoder *e = fake_begin(&daemon_, QI_MSG_SET_LEVEL, 4, 1);
    qi_encode_uint_field(e, QI_KEY_SET_LEVEL_level, 3);
    fake_end(&daemon_);
    fake_until(&daemon_, QI_MSG_RESULT);
    CHECK_INT(daemon_.frame.fields[QI_KEY_RESULT_ok].u, 1);
    CHECK_INT(qi_client_level(c), 3);
    struct qi_request request = next_request(c);
    CHECK_INT(request.kind, QI_REQUEST_LEVEL);
    CHECK_INT(request.level, 3);
    CHECK_INT(__atomic_load_n(&wakes, __ATOMIC_RELAXED), 1);
    e = fake_begin(&daemon_, QI_MSG_SET_LEVEL, 5, 1);
    qi_encode_uint_field(e, QI_KEY_SET_LEVEL_level, 5);
    fake_end(&daemon_);
    fake_until(&daemon_, QI_MSG_RESULT);
    CHECK_INT(daemon_.frame.fields[QI_KEY_RESULT_ok].u, 0);
    CHECK_INT(qi_client_level(c), 3);
    done(c);
}

/* --- the end, signals, fork --- */

static void
the_end_tells_what_changed_last_and_goodbye(void)
{
    uint64_t id = 0;
    qi_client *c = connected(0, 0, 1, 1);
    uint32_t index = new_task(c, &id);

    write_record(c, 5);
    qi_row_retire(c, index, QI_TASK_CANCELLED);
    qi_client_close(c, FAKE_WAIT_MS, 0);
    FAKE_UNTIL(&daemon_, daemon_.goodbyes == 1);
    CHECK_INT(fake_find(&daemon_, QI_TASK, id)->row.state, QI_TASK_CANCELLED);
    CHECK_INT(daemon_.seen, 1);
    CHECK_INT(fake_next(&daemon_), 0);
    fake_stop(&daemon_);
}

static void
an_end_in_the_middle_of_the_handshake_is_quick(void)
{
    qi_client *c;

    fake_listen(&daemon_);
    c = open_client(0, 0, &quick);
    fake_accept_auth(&daemon_);
    qi_client_close(c, FAKE_WAIT_MS, 0);
    CHECK_INT(fake_next(&daemon_), 0);
    fake_stop(&daemon_);
    c = open_client(0, 0, &quick);
    qi_client_close(c, FAKE_WAIT_MS, 0);
}

/* The SigBlk line of the thread's status, or 0 if there is no such thread. */
static unsigned long long
signals_blocked_in(const char *thread_name)
{
    unsigned long long mask = 0;
    struct dirent *entry;
    DIR *tasks = opendir("/proc/self/task");

    CHECK(tasks != NULL);
    while ((entry = readdir(tasks)) != NULL) {
        char path[300];
        char line[256];
        int ours = 0;
        (void)snprintf(path, sizeof(path), "/proc/self/task/%s/status", entry->d_name);
        FILE *status = fopen(path, "r");
        while (status != NULL && fgets(line, sizeof(line), status) != NULL) {
            ours |= strncmp(line, "Name:", 5) == 0 && strstr(line, thread_name) != NULL;
            if (ours && sscanf(line, "SigBlk: %llx", &mask) == 1) {
                break;
            }
        }
        if (status != NULL) {
            (void)fclose(status);
        }
    }
    (void)closedir(tasks);
    return mask;
}

static void
all_signals_are_blocked_in_the_thread(void)
{
    qi_client *c = connected(0, 0, 0, 0);
    unsigned long long mask = signals_blocked_in("qtinter-sender");

    for (int sig = 1; sig < 32; sig++) {
        if (sig != SIGKILL && sig != SIGSTOP) {
            CHECK((mask >> (sig - 1) & 1) == 1);
        }
    }
    done(c);
}

/* The child lives on when the parent is gone: the daemon must still see the end. */
static void
a_forked_child_does_not_hold_the_connection(void)
{
    int hold[2];
    int status = 0;

    CHECK_INT(pipe(hold), 0);
    fake_listen(&daemon_);
    fflush(stdout);
    pid_t parent = fork();
    CHECK(parent >= 0);
    if (parent == 0) {
        qi_client *c = open_client(0, 0, &quick);
        wait_for_state(c, "connected");
        (void)close(hold[1]);
        if (fork() == 0) {
            char byte;
            qi_record(c, 1, QI_EV_MARK, 0, 0, 0, 0);
            (void)!read(hold[0], &byte, 1); /* until the test lets go */
            qi_client_close(c, FAKE_WAIT_MS, 0);
            _exit(0);
        }
        _exit(0);
    }
    (void)close(hold[0]);
    fake_accept(&daemon_);
    CHECK(waitpid(parent, &status, 0) == parent);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    CHECK_INT(fake_next(&daemon_), 0);
    CHECK_INT(daemon_.goodbyes, 0);
    (void)close(hold[1]);
    fake_stop(&daemon_);
}

static void
an_exit_without_close_does_not_hang(void)
{
    int status = 0;

    fake_listen(&daemon_);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        qi_client *c = open_client(0, 0, &quick);
        wait_for_state(c, "connected");
        exit(0);
    }
    fake_accept(&daemon_);
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    fake_stop(&daemon_);
}

int
main(void)
{
    pair_begin();
    RUN(it_connects_when_a_daemon_appears);
    RUN(process_comes_first_and_nothing_more_unasked);
    RUN(a_mute_daemon_is_given_up_and_tried_again);
    RUN(another_major_is_refused_and_another_minor_is_not);
    RUN(a_daemon_that_refuses_is_left_alone);
    RUN(a_daemon_that_is_full_is_asked_less_and_less_often);
    RUN(nothing_is_told_to_whoever_does_not_know_the_key);
    RUN(a_broken_daemon_costs_a_connection);
    RUN(an_address_that_does_not_fit_is_refused);
    RUN(after_a_restart_the_mirror_is_right_again);
    RUN(a_snapshot_has_the_living);
    RUN(every_column_arrives);
    RUN(a_change_goes_out_once);
    RUN(an_end_is_seen_or_else_the_row_is_gone);
    RUN(a_resync_tells_everything_again);
    RUN(many_rows_come_in_frames_of_bounded_size);
    RUN(two_loops_are_two_rows);
    RUN(a_text_comes_before_its_first_use);
    RUN(records_come_in_order_with_what_was_before);
    RUN(seen_and_lost_make_up_what_was_written);
    RUN(a_full_socket_delays_and_counts);
    RUN(a_full_socket_does_not_delay_the_end);
    RUN(requests_reach_the_producer_and_answers_the_daemon);
    RUN(too_many_requests_are_refused);
    RUN(without_control_nothing_is_cancelled);
    RUN(a_level_is_in_force_at_once);
    RUN(the_end_tells_what_changed_last_and_goodbye);
    RUN(an_end_in_the_middle_of_the_handshake_is_quick);
    RUN(all_signals_are_blocked_in_the_thread);
    RUN(a_forked_child_does_not_hold_the_connection);
    RUN(an_exit_without_close_does_not_hang);
    pair_end();
    return 0;
}
