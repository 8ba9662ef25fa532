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
                                             .handshake_ms = 20000};

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
