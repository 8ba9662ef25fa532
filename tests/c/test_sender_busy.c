/* test_sender_busy.c - a sender that is behind: nothing is lost that need not be.
 */
#include "qi_test.h"

#include "fake_pair.h"

#include <pthread.h>

struct busy {
    qi_client *client;
    uint32_t row;
    int stop;
};

static void *
keep_writing(void *argument)
{
    struct busy *b = argument;

    for (uint32_t i = 0; !__atomic_load_n(&b->stop, __ATOMIC_RELAXED); i++) {
        for (int k = 0; k < 100; k++) {
            write_record(b->client, i);
        }
        set_steps(b->client, b->row, i);
        usleep(1000);
    }
    return NULL;
}

/* Twenty rings of records in the time of a few rounds, each of which has a STATE. */
static void
a_ring_that_fills_is_read_between_the_rounds(void)
{
    struct busy b = {.client = connected(1024, 0, 1, 1)};
    pthread_t thread;

    b.row = new_task(b.client, NULL);
    CHECK_INT(pthread_create(&thread, NULL, keep_writing, &b), 0);
    FAKE_UNTIL(&daemon_, daemon_.seen > UINT64_C(20) * 1024);
    int states = daemon_.states;
    __atomic_store_n(&b.stop, 1, __ATOMIC_RELAXED);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK(states < 10);
    done(b.client);
}

static void *
close_it(void *argument)
{
    qi_client_close(argument, FAKE_WAIT_MS, 0);
    return NULL;
}

static void
what_a_full_socket_held_up_comes_before_the_goodbye(void)
{
    struct qi_sender_times patient = quick;
    pthread_t thread;
    uint64_t id = 0;

    patient.goodbye_ms = FAKE_WAIT_MS;
    fake_listen(&daemon_);
    qi_client *c = open_client(0, 0, &patient);
    fake_accept(&daemon_);
    fake_set_rate(&daemon_, 50, 1, 0);
    fake_until(&daemon_, QI_MSG_SNAP_END);
    fill_the_socket(c);
    (void)new_task(c, &id);
    write_record(c, 7);
    uint64_t written = c->p.next_record;
    CHECK_INT(pthread_create(&thread, NULL, close_it, c), 0);
    FAKE_UNTIL(&daemon_, daemon_.goodbyes == 1);
    CHECK_INT(pthread_join(thread, NULL), 0);
    CHECK_INT(daemon_.next_record, written);
    CHECK(fake_find(&daemon_, QI_TASK, id) != NULL);
    fake_stop(&daemon_);
}

int
main(void)
{
    pair_begin();
    RUN(a_ring_that_fills_is_read_between_the_rounds);
    RUN(what_a_full_socket_held_up_comes_before_the_goodbye);
    pair_end();
    return 0;
}
