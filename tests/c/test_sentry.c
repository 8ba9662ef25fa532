/*
 * test_sentry.c - the thread of poller_thread.c over a completion port: what Windows'
 * proactor loop waits with, here with a port that the test moves.
 */
#include "qi_test.h"
#include "fake_port.h"
#include "poller.h"
#include "test_system.h"

#include <errno.h>

#define SAFETY_MS 20000 /* only reached when the test fails */

static struct qi_poll_event events[8];
static struct qi_poller poller;
static struct fake_port fake;

/* A counter of the fake, which the sentry writes. */
#define SEEN(field) fake_port_seen(&fake, &fake.field)

static void
begin(void)
{
    struct qi_port port;

    fake_port_init(&fake);
    port = fake_port_as_port(&fake);
    CHECK_INT(qi_poller_init(&poller), 0);
    CHECK_INT(qi_poller_watch_port(&poller, &port), 0);
}

static void
end(void)
{
    qi_poller_fini(&poller);
    CHECK_INT(SEEN(waiting), 0);
    fake_port_fini(&fake);
}

/* What Qt sees. */
static int
is_readable(int timeout_ms)
{
    return fd_is_readable(poller.fd, timeout_ms);
}

static struct qi_poll_result
take_turn(void)
{
    struct qi_poll_result result;

    CHECK_INT(qi_poller_wait(&poller, 0, events, 8, &result), 0);
    CHECK_INT(is_readable(0), 0);
    return result;
}

static void
nobody_waits_before_qt_does(void)
{
    begin();
    fake_port_complete(&fake, 0, &fake, 1);
    CHECK_INT(is_readable(0), 0);
    CHECK_INT(SEEN(gets), 0);
    end();
}

static void
a_packet_wakes_qt_and_stays_in_the_port(void)
{
    struct qi_packet packet;

    begin();
    CHECK_INT(qi_poller_sleep(&poller), 0);
    fake_port_await_wait(&fake, 1);
    CHECK_INT(is_readable(0), 0);
    fake_port_complete(&fake, 7, &packet, 42);
    CHECK_INT(is_readable(SAFETY_MS), 1);
    struct qi_poll_result result = take_turn();
    CHECK_INT(result.n, 0);
    CHECK_INT(result.woken, 0);
    CHECK_INT(fake_port_poll(&fake, &packet), 1);
    CHECK_INT(packet.key, 7);
    CHECK(packet.overlapped == &packet);
    CHECK_INT(packet.bytes, 42);
    CHECK_INT(fake_port_poll(&fake, &packet), 0);
    end();
}

static void
packets_keep_their_order(void)
{
    struct qi_packet packet;

    begin();
    for (uintptr_t i = 0; i < 50; i++) {
        fake_port_complete(&fake, i, NULL, 0);
    }
    CHECK_INT(qi_poller_sleep(&poller), 0);
    CHECK_INT(is_readable(SAFETY_MS), 1);
    (void)take_turn();
    for (uintptr_t i = 0; i < 50; i++) {
        CHECK_INT(fake_port_poll(&fake, &packet), 1);
        CHECK_INT(packet.key, i);
    }
    end();
}

static void
after_an_alarm_it_rests(void)
{
    begin();
    fake_port_complete(&fake, 1, NULL, 0);
    CHECK_INT(qi_poller_sleep(&poller), 0);
    CHECK_INT(is_readable(SAFETY_MS), 1);
    (void)take_turn();
    /* The packet is still in the port: a thread that went on would take it again. */
    CHECK_INT(qi_poller_watch_port(&poller, NULL), 0);
    CHECK_INT(SEEN(gets), 1);
    CHECK_INT(SEEN(taken), 1);
    CHECK_INT(SEEN(posted_back), 1);
    end();
}

static void
each_sleep_is_watched_over(void)
{
    struct qi_packet packet;

    begin();
    for (int i = 1; i <= 200; i++) {
        CHECK_INT(qi_poller_sleep(&poller), 0);
        fake_port_complete(&fake, (uintptr_t)i, NULL, 0);
        CHECK_INT(is_readable(SAFETY_MS), 1);
        (void)take_turn();
        CHECK_INT(fake_port_poll(&fake, &packet), 1);
        CHECK_INT(packet.key, i);
    }
    end();
}

static void
a_packet_that_came_before_the_sleep_counts(void)
{
    struct qi_packet packet;

    begin();
    CHECK_INT(fake_port_poll(&fake, &packet), 0);
    fake_port_complete(&fake, 1, NULL, 0); /* after the proactor's poll */
    CHECK_INT(qi_poller_sleep(&poller), 0);
    CHECK_INT(is_readable(SAFETY_MS), 1);
    end();
}

static void
no_packet_is_lost_when_posting_fails(void)
{
    struct qi_packet packet;

    begin();
    fake.refuse_posts = 3;
    fake_port_complete(&fake, 5, NULL, 0);
    CHECK_INT(qi_poller_sleep(&poller), 0);
    CHECK_INT(is_readable(SAFETY_MS), 1);
    CHECK_INT(SEEN(refuse_posts), 0);
    CHECK_INT(fake_port_poll(&fake, &packet), 1);
    CHECK_INT(packet.key, 5);
    end();
}

static void
a_deadline_wakes_qt(void)
{
    int64_t deadline_ns = qi_clock_ns() + 3 * 1000 * 1000;

    begin();
    CHECK_INT(qi_poller_arm(&poller, deadline_ns), 0);
    CHECK_INT(qi_poller_sleep(&poller), 0);
    CHECK_INT(is_readable(SAFETY_MS), 1);
    CHECK(qi_clock_ns() >= deadline_ns);
    CHECK(SEEN(last_timeout_ms) >= 0);
    CHECK_INT(take_turn().deadline, 1);
    end();
}

static void
an_earlier_deadline_recalls_it(void)
{
    begin();
    CHECK_INT(qi_poller_arm(&poller, qi_clock_ns() + (int64_t)3600 * 1000000000), 0);
    CHECK_INT(qi_poller_sleep(&poller), 0);
    fake_port_await_wait(&fake, 1);
    CHECK_INT(qi_poller_arm(&poller, qi_clock_ns() + 1000), 0);
    CHECK_INT(is_readable(SAFETY_MS), 1);
    CHECK_INT(SEEN(alerts), 1);
    CHECK_INT(take_turn().deadline, 1);
    end();
}

static void
a_wakeup_does_not_need_it(void)
{
    begin();
    CHECK_INT(qi_poller_wake(&poller), 0);
    CHECK_INT(is_readable(SAFETY_MS), 1);
    CHECK_INT(take_turn().woken, 1);
    CHECK_INT(SEEN(gets), 0);
    end();
}

static void
when_it_is_called_off_nobody_uses_the_port(void)
{
    struct qi_port port = fake_port_as_port(&fake);

    begin();
    for (int i = 1; i <= 100; i++) {
        CHECK_INT(qi_poller_sleep(&poller), 0);
        if (i % 2) {
            fake_port_await_wait(&fake, 0);
        }
        CHECK_INT(qi_poller_watch_port(&poller, NULL), 0);
        CHECK_INT(SEEN(waiting), 0);
        CHECK_INT(SEEN(taken), SEEN(posted_back));
        CHECK_INT(qi_poller_watch_port(&poller, &port), 0);
    }
    end();
}

static void
without_a_port_it_watches_descriptors(void)
{
    int fds[2];

    begin();
    make_pair(fds);
    CHECK_INT(qi_poller_watch_port(&poller, NULL), 0);
    CHECK_INT(qi_poller_add(&poller, fds[0], QI_POLL_READ), 0);
    CHECK_INT(qi_poller_sleep(&poller), 0);
    send_byte(fds[1]);
    CHECK_INT(is_readable(SAFETY_MS), 1);
    CHECK_INT(take_turn().n, 1);
    CHECK_INT(SEEN(gets), 0);
    close_fd(fds[0]);
    close_fd(fds[1]);
    end();
}

static void
a_broken_port_wakes_qt_once_for_each_sleep(void)
{
    begin();
    fake.broken = 1;
    for (int i = 1; i <= 3; i++) {
        CHECK_INT(qi_poller_sleep(&poller), 0);
        CHECK_INT(is_readable(SAFETY_MS), 1);
        (void)take_turn();
        CHECK_INT(SEEN(gets), i);
    }
    end();
}

static void
it_ends_whatever_it_is_doing(void)
{
    begin(); /* never started */
    end();
    begin(); /* waiting */
    CHECK_INT(qi_poller_sleep(&poller), 0);
    fake_port_await_wait(&fake, 1);
    end();
    begin(); /* resting */
    fake_port_complete(&fake, 1, NULL, 0);
    CHECK_INT(qi_poller_sleep(&poller), 0);
    CHECK_INT(is_readable(SAFETY_MS), 1);
    end();
    begin(); /* about to wait */
    CHECK_INT(qi_poller_sleep(&poller), 0);
    end();
    CHECK_INT(qi_poller_watch_port(&poller, NULL), -EBADF);
    CHECK_INT(qi_poller_sleep(&poller), -EBADF);
    CHECK_INT(qi_poller_wake(&poller), -EBADF);
}

int
main(void)
{
    RUN(nobody_waits_before_qt_does);
    RUN(a_packet_wakes_qt_and_stays_in_the_port);
    RUN(packets_keep_their_order);
    RUN(after_an_alarm_it_rests);
    RUN(each_sleep_is_watched_over);
    RUN(a_packet_that_came_before_the_sleep_counts);
    RUN(no_packet_is_lost_when_posting_fails);
    RUN(a_deadline_wakes_qt);
    RUN(an_earlier_deadline_recalls_it);
    RUN(a_wakeup_does_not_need_it);
    RUN(when_it_is_called_off_nobody_uses_the_port);
    RUN(without_a_port_it_watches_descriptors);
    RUN(a_broken_port_wakes_qt_once_for_each_sleep);
    RUN(it_ends_whatever_it_is_doing);
    return 0;
}
