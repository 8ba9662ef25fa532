/* test_stalls.c - the promises of stalls.h and sender_stacks.c, against a fake daemon. */
#include "qi_test.h"

#include "fake_pair.h"
#include "stalls.h"

#include <stdint.h>
#include <string.h>
#include <time.h>

static int64_t
now(void)
{
    struct timespec ts;

    CHECK_INT(clock_gettime(CLOCK_MONOTONIC, &ts), 0);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
set_busy(qi_client *c, uint32_t index, unsigned state, int64_t since)
{
    struct qi_slot *slot = qi_row_begin(c, index);

    QI_PUT(slot->state, state);
    QI_PUT(slot->row.loop_.current, QI_REF(QI_TASK, 8));
    QI_PUT(slot->row.loop_.busy_since, since);
    qi_row_end(c, index);
}

static void
a_stall_is_told_at_its_start_and_its_end(void)
{
    qi_client *c = connected(0, 0, 0, 0);
    uint32_t index = qi_row_new(c, QI_LOOP, 1, NULL);

    /* Long ago, so that the threshold is passed whatever the clock says. */
    set_busy(c, index, QI_LOOP_BUSY, 5);
    fake_set_rate(&daemon_, 0, 0, 40);
    fake_until(&daemon_, QI_MSG_STALL);
    CHECK_INT(daemon_.stalls, 1);
    CHECK_INT(daemon_.stall_since, 5);
    CHECK(qi_frame_uint(&daemon_.frame, QI_KEY_STALL_current, 0) == QI_REF(QI_TASK, 8));
    set_busy(c, index, QI_LOOP_BUSY, 9);
    fake_until(&daemon_, QI_MSG_STALL);
    CHECK_INT(daemon_.stalls_over, 1);
    CHECK_INT(daemon_.stall_since, 5);
    CHECK_INT(qi_frame_int(&daemon_.frame, QI_KEY_STALL_duration, 0), 4);
    fake_until(&daemon_, QI_MSG_STALL);
    CHECK_INT(daemon_.stalls, 2);
    CHECK_INT(daemon_.stall_since, 9);
    /* A modal function is no stall: the one before is over, and there is no other. */
    set_busy(c, index, QI_LOOP_NESTED, 11);
    fake_until(&daemon_, QI_MSG_STALL);
    CHECK_INT(daemon_.stalls_over, 2);
    set_busy(c, index, QI_LOOP_BUSY, 13);
    fake_until(&daemon_, QI_MSG_STALL);
    CHECK_INT(daemon_.stalls, 3);
    CHECK_INT(daemon_.stall_since, 13);
    qi_row_retire(c, index, QI_LOOP_IS_CLOSED);
    fake_until(&daemon_, QI_MSG_STALL);
    CHECK_INT(daemon_.stalls_over, 3);
    done(c);
}

#ifdef __linux__

#  include "fake_faulthandler.h"

static struct fake_loop_thread threads[2];

static void
arm(qi_client *c)
{
    int file = -1;

    CHECK_INT(qi_client_stacks_prepare(c, SIGRTMAX - 3, &file), QI_OK);
    fake_register(SIGRTMAX - 3, file);
    CHECK_INT(qi_client_stacks_arm(c), QI_OK);
}

static void
disarm(qi_client *c)
{
    CHECK_INT(qi_client_stacks_disarm(c), 1);
    fake_unregister(SIGRTMAX - 3);
}

static uint32_t
a_loop(qi_client *c, unsigned number, uint32_t thread)
{
    uint32_t index = qi_row_new(c, QI_LOOP, number, NULL);
    struct qi_slot *slot = qi_row_begin(c, index);

    QI_PUT(slot->state, QI_LOOP_IDLE);
    QI_PUT(slot->row.loop_.thread, thread);
    qi_row_end(c, index);
    return index;
}

static int
has_stack(void)
{
    return daemon_.frame.message == QI_MSG_STALL
           && daemon_.frame.fields[QI_KEY_STALL_stack].type == QI_VALUE_TEXT;
}

static void
until_stack(void)
{
    do {
        CHECK_INT(fake_next(&daemon_), 1);
    } while (!has_stack());
}

static uint64_t
field(unsigned key)
{
    return qi_frame_uint(&daemon_.frame, key, 0);
}

static void
a_stall_has_the_stack_of_its_thread(void)
{
    qi_client *c = connected(0, 0, 0, 0);

    arm(c);
    fake_loop_start(&threads[0], 0);
    uint32_t index = a_loop(c, 1, threads[0].id);
    int64_t since = now();
    set_busy(c, index, QI_LOOP_BUSY, since);
    fake_set_rate(&daemon_, 0, 0, 40);
    until_stack();
    CHECK(field(QI_KEY_STALL_loop) == 1);
    CHECK(daemon_.stall_since == since);
    CHECK(field(QI_KEY_STALL_current) == QI_REF(QI_TASK, 8));
    CHECK(field(QI_KEY_STALL_sample) == 1 && field(QI_KEY_STALL_steady) == 2);
    CHECK(FAKE_LOAD(fake_thread) == threads[0].id);
    CHECK_INT(daemon_.frame.fields[QI_KEY_STALL_frames].size, 2);
    char text[256];
    qi_frame_copy_text(&daemon_.frame, QI_KEY_STALL_stack, text, sizeof(text));
    CHECK(strcmp(text, "  File \"a.py\", line 1, in outer\n"
                       "  File \"a.py\", line 0, in inner\n")
          == 0);
    /* It does not move; then it does, in its innermost frame. */
    until_stack();
    CHECK(field(QI_KEY_STALL_sample) == 2 && field(QI_KEY_STALL_steady) == 2);
    FAKE_STORE(fake_moves, 1);
    do { /* the next but one, or later if that was under way */
        until_stack();
    } while (field(QI_KEY_STALL_steady) != 1);
    CHECK(field(QI_KEY_STALL_sample) >= 4);
    /* The next stall begins anew. */
    set_busy(c, index, QI_LOOP_BUSY, now());
    do {
        until_stack();
    } while (daemon_.stall_since == since);
    CHECK(field(QI_KEY_STALL_sample) == 1 && field(QI_KEY_STALL_steady) == 2);
    fake_loop_end(&threads[0]);
    disarm(c);
    done(c);
}

static void
a_stall_has_eight_samples_at_most(void)
{
    struct qi_stalls stalls = {0};
    int64_t threshold = 100;
    unsigned n = 0;

    stalls.loops[4].since = 1000;
    stalls.loops[4].sample_at = 1100;
    CHECK_INT(qi_stalls_sample_due(&stalls, threshold, 1099), 0);
    for (int64_t at = 1100; at < 1000 + 100 * 1024; at += 10) {
        unsigned loop = qi_stalls_sample_due(&stalls, threshold, at);
        CHECK(loop == 0 || loop == 5);
        if (loop != 0) {
            CHECK_INT(at, 1000 + (threshold << n));
            n++;
        }
    }
    CHECK_INT(n, QI_STALL_SAMPLES);
    /* A sender that was late does not make up for it. */
    stalls.loops[0].since = 1;
    stalls.loops[0].sample_at = 101;
    CHECK_INT(qi_stalls_sample_due(&stalls, threshold, 100000), 1);
    CHECK_INT(qi_stalls_sample_due(&stalls, threshold, 100000), 0);
    CHECK_INT(qi_stalls_sample_due(&stalls, threshold, 100100), 1);
}

static void
ask_for_stack(uint32_t seq, uint64_t loop, uint64_t task)
{
    struct qi_encoder *e =
        fake_begin(&daemon_, QI_MSG_STACK, seq, (uint32_t)(loop != 0) + (task != 0));

    if (loop != 0) {
        qi_encode_uint_field(e, QI_KEY_STACK_loop, loop);
    }
    if (task != 0) {
        qi_encode_uint_field(e, QI_KEY_STACK_task, task);
    }
    fake_end(&daemon_);
}

/* The answer's text, or its error. */
static const char *
answer_of(uint32_t seq, int ok)
{
    static char text[4096];

    do {
        fake_until(&daemon_, QI_MSG_RESULT);
    } while (daemon_.frame.seq != seq);
    CHECK_INT(daemon_.frame.fields[QI_KEY_RESULT_ok].u, ok);
    const struct qi_value *value =
        &daemon_.frame.fields[ok ? QI_KEY_RESULT_value : QI_KEY_RESULT_error];
    CHECK(value->type == QI_VALUE_TEXT && value->size < sizeof(text));
    memcpy(text, value->bytes, value->size);
    text[value->size] = '\0';
    return text;
}

static void
the_right_thread_is_asked(void)
{
    qi_client *c = connected(0, 0, 0, 0);

    ask_for_stack(10, 0, 0); /* not armed: the producer is asked */
    fake_ping(&daemon_);
    struct qi_request request;
    CHECK_INT(qi_client_take_request(c, &request), 1);
    qi_client_answer(c, request.token, 1, "cooperative");
    CHECK(strcmp(answer_of(10, 1), "cooperative") == 0);
    arm(c);
    ask_for_stack(11, 0, 0);
    CHECK(strstr(answer_of(11, 0), "no loop") != NULL);
    uint32_t rows[2];
    for (unsigned i = 0; i < 2; i++) {
        fake_loop_start(&threads[i], 0);
        rows[i] = a_loop(c, i + 1, threads[i].id);
    }
    for (unsigned i = 0; i < 2; i++) {
        ask_for_stack(20 + i, i + 1, 0);
        CHECK(strstr(answer_of(20 + i, 1), i == 0 ? "loop 1" : "loop 2") != NULL);
        CHECK(FAKE_LOAD(fake_thread) == threads[i].id);
    }
    ask_for_stack(30, 3, 0);
    CHECK(strstr(answer_of(30, 0), "no such loop") != NULL);
    ask_for_stack(31, UINT64_MAX, 0);
    (void)answer_of(31, 0);
    /* Without a number: who has been busy for longest. */
    set_busy(c, rows[0], QI_LOOP_BUSY, now());
    set_busy(c, rows[1], QI_LOOP_NESTED, 5);
    ask_for_stack(32, 0, 0);
    CHECK(strstr(answer_of(32, 1), "loop 2") != NULL);
    /* A task that runs: its thread.  Another one: the producer. */
    ask_for_stack(33, 0, 8);
    CHECK(strstr(answer_of(33, 1), "in inner") != NULL);
    ask_for_stack(34, 0, 9);
    fake_ping(&daemon_);
    CHECK_INT(qi_client_take_request(c, &request), 1);
    CHECK(request.task == 9);
    /* A loop that does not run has no thread that could be asked. */
    qi_row_retire(c, rows[1], QI_LOOP_IS_CLOSED);
    ask_for_stack(35, 2, 0);
    (void)answer_of(35, 0);
    for (unsigned i = 0; i < 2; i++) {
        fake_loop_end(&threads[i]);
    }
    disarm(c);
    done(c);
}

static void
a_thread_that_takes_no_signal_is_an_error(void)
{
    qi_client *c = connected(0, 0, 0, 0);

    arm(c);
    fake_loop_start(&threads[0], SIGRTMAX - 3);
    (void)a_loop(c, 1, threads[0].id);
    for (uint32_t i = 0; i < QI_REQUESTS_MAX + 1; i++) {
        ask_for_stack(40 + i, 1, 0);
    }
    CHECK(strstr(answer_of(40 + QI_REQUESTS_MAX, 0), "too many") != NULL);
    CHECK(strstr(answer_of(40, 0), "has not taken the signal") != NULL);
    for (uint32_t i = 1; i < QI_REQUESTS_MAX; i++) {
        (void)answer_of(40 + i, 0);
    }
    ask_for_stack(60, 1, 0);
    CHECK(strstr(answer_of(60, 0), "earlier signal") != NULL);
    fake_loop_end(&threads[0]);
    CHECK_INT(FAKE_LOAD(fake_dumps), 1);
    ask_for_stack(61, 1, 0);
    CHECK(strstr(answer_of(61, 0), "has ended") != NULL);
    disarm(c);
    done(c);
}

#endif

int
main(void)
{
    pair_begin();
    RUN(a_stall_is_told_at_its_start_and_its_end);
#ifdef __linux__
    RUN(a_stall_has_the_stack_of_its_thread);
    RUN(a_stall_has_eight_samples_at_most);
    RUN(the_right_thread_is_asked);
    RUN(a_thread_that_takes_no_signal_is_an_error);
#endif
    pair_end();
    return 0;
}
