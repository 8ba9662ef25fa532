/*
 * fake_pair.h - a client and the fake daemon that it speaks to, in a directory of the
 * test's own: pair_begin() and pair_end() around the tests.
 */
#ifndef QI_TESTS_FAKE_PAIR_H
#define QI_TESTS_FAKE_PAIR_H

#include "client_internal.h"
#include "fake_daemon.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static char directory[64];
static struct fake_daemon daemon_;

/* Long enough for a loaded machine, short enough for a test. */
static const struct qi_sender_times quick = {.retry_first_ms = 1,
                                             .retry_max_ms = 20,
                                             .refused_first_ms = 1,
                                             .refused_max_ms = 20,
                                             .handshake_ms = 20000,
                                             .goodbye_ms = 200};

static inline qi_client *
open_client(int ring_count, int control, const struct qi_sender_times *times)
{
    struct qi_client_options options = {.name = "test",
                                        .directory = directory,
                                        .level = 2,
                                        .control = control,
                                        .connect = 1,
                                        .ring_count = ring_count,
                                        .qtinter = "1.2.3",
                                        .python = "3.x"};
    qi_client *c = NULL;

    CHECK_INT(qi_client_open_timed(&options, times, &c), QI_OK);
    return c;
}

static inline void
wait_for_state(qi_client *c, const char *state)
{
    struct qi_client_stats stats;

    for (int i = 0; i < FAKE_WAIT_MS; i++) {
        qi_client_stats(c, &stats);
        if (strcmp(stats.state, state) == 0) {
            return;
        }
        usleep(1000); /* nobody tells: the state is for people */
    }
    CHECK(0 && "the state did not come");
}

/* A connected pair, and the snapshot taken. */
static inline qi_client *
connected(int ring_count, int control, unsigned hz, int events)
{
    qi_client *c;

    fake_listen(&daemon_);
    c = open_client(ring_count, control, &quick);
    fake_accept(&daemon_);
    if (hz > 0) {
        fake_set_rate(&daemon_, hz, events, 0);
        fake_until(&daemon_, QI_MSG_SNAP_END);
    }
    return c;
}

static inline void
done(qi_client *c)
{
    qi_client_close(c, FAKE_WAIT_MS, 0);
    fake_stop(&daemon_);
}

static inline uint32_t
new_task(qi_client *c, uint64_t *ret_id)
{
    uint32_t index = qi_row_new(c, QI_TASK, 1, ret_id);
    struct qi_slot *slot = qi_row_begin(c, index);

    QI_PUT(slot->state, QI_TASK_READY);
    qi_row_end(c, index);
    return index;
}

static inline void
set_steps(qi_client *c, uint32_t index, uint32_t steps)
{
    struct qi_slot *slot = qi_row_begin(c, index);

    QI_PUT(slot->row.task.steps, steps);
    qi_row_end(c, index);
}

/* The test's records carry their number: see fake_take_records(). */
static inline void
write_record(qi_client *c, uint32_t x)
{
    uint64_t number = c->p.next_record;

    qi_record(c, (int64_t)(number * 10), QI_EV_MARK, 0, x, number, ~number);
}

/* The daemon takes nothing until the sender has found the socket full. */
static inline void
fill_the_socket(qi_client *c)
{
    struct qi_client_stats stats;

    for (uint32_t i = 0; i < 100000; i++) {
        for (int k = 0; k < 100; k++) {
            write_record(c, i);
        }
        qi_client_stats(c, &stats);
        if (stats.socket_full > 0) {
            return;
        }
        usleep(100);
    }
    CHECK(0 && "the socket did not get full");
}

static inline void
pair_begin(void)
{
    strcpy(directory, "/tmp/qi-test-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    fake_init(&daemon_, directory);
}

static inline void
pair_end(void)
{
    char command[128];

    (void)snprintf(command, sizeof(command), "rm -rf '%s'", directory);
    CHECK_INT(system(command), 0);
}

#endif
