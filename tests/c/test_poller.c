/* test_poller.c - the promises of poller.h, on whichever poller this system has. */
#include "qi_test.h"
#include "poller.h"
#include "test_system.h"

#include <errno.h>
#include <string.h>

#define SAFETY_MS 20000 /* only reached when the test fails */

static struct qi_poll_event events[8];

static struct qi_poll_result
wait_for(struct qi_poller *p, int timeout_ms)
{
    struct qi_poll_result result;

    CHECK_INT(qi_poller_wait(p, timeout_ms, events, 8, &result), 0);
    return result;
}

static void
check_quiet(struct qi_poller *p)
{
    struct qi_poll_result result = wait_for(p, 0);

    CHECK_INT(result.n, 0);
    CHECK_INT(result.deadline, 0);
    CHECK_INT(result.woken, 0);
}

/* What a Qt event loop sees of the poller. */
static int
is_readable(struct qi_poller *p, int timeout_ms)
{
    CHECK_INT(qi_poller_sleep(p), 0);
    return fd_is_readable(p->fd, timeout_ms);
}

static void
new_poller_is_quiet(void)
{
    struct qi_poller p;

    CHECK_INT(qi_poller_init(&p), 0);
    check_quiet(&p);
    CHECK_INT(is_readable(&p, 0), 0);
    qi_poller_fini(&p);
    CHECK_INT(p.fd, -1);
    qi_poller_fini(&p);
}

static void
readiness_is_reported_until_it_ends(void)
{
    struct qi_poller p;
    int fds[2];

    CHECK_INT(qi_poller_init(&p), 0);
    make_pair(fds);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ), 0);
    check_quiet(&p);
    send_byte(fds[1]);
    CHECK_INT(is_readable(&p, SAFETY_MS), 1);
    for (int again = 0; again < 2; again++) {
        CHECK_INT(wait_for(&p, SAFETY_MS).n, 1);
        CHECK_INT(events[0].fd, fds[0]);
        CHECK_INT(events[0].events, QI_POLL_READ);
    }
    receive_byte(fds[0]);
    check_quiet(&p);
    CHECK_INT(is_readable(&p, 0), 0);
    qi_poller_fini(&p);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
interest_can_be_changed_and_dropped(void)
{
    struct qi_poller p;
    int fds[2];

    CHECK_INT(qi_poller_init(&p), 0);
    make_pair(fds);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ), 0);
    check_quiet(&p);
    CHECK_INT(qi_poller_modify(&p, fds[0], QI_POLL_READ, QI_POLL_READ | QI_POLL_WRITE),
              0);
    CHECK_INT(wait_for(&p, SAFETY_MS).n, 1);
    CHECK_INT(events[0].events, QI_POLL_WRITE);
    CHECK_INT(qi_poller_remove(&p, fds[0], QI_POLL_READ | QI_POLL_WRITE), 0);
    check_quiet(&p);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_WRITE), 0);
    CHECK_INT(wait_for(&p, SAFETY_MS).n, 1);
    qi_poller_fini(&p);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
hang_up_wakes_readers_and_writers(void)
{
    struct qi_poller p;
    int fds[2];

    CHECK_INT(qi_poller_init(&p), 0);
    make_pair(fds);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ | QI_POLL_WRITE), 0);
    close_fd(fds[1]);
    CHECK_INT(wait_for(&p, SAFETY_MS).n, 1);
    CHECK_INT(events[0].events, QI_POLL_READ | QI_POLL_WRITE);
    qi_poller_fini(&p);
    close_fd(fds[0]);
}

#ifndef _WIN32 /* where only sockets can be watched */
static void
a_bare_hang_up_wakes_too(void)
{
    struct qi_poller p;
    int fds[2];

    /* The read end of a pipe whose writer is gone: neither readable nor writable. */
    CHECK_INT(qi_poller_init(&p), 0);
    CHECK_INT(pipe(fds), 0);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ), 0);
    close_fd(fds[1]);
    CHECK_INT(wait_for(&p, SAFETY_MS).n, 1);
    CHECK(events[0].events & QI_POLL_READ);
    qi_poller_fini(&p);
    close_fd(fds[0]);
}

#endif

static void
a_wakeup_is_reported_once(void)
{
    struct qi_poller p;

    CHECK_INT(qi_poller_init(&p), 0);
    CHECK_INT(qi_poller_wake(&p), 0);
    CHECK_INT(qi_poller_wake(&p), 0);
    CHECK_INT(is_readable(&p, SAFETY_MS), 1);
    CHECK_INT(wait_for(&p, SAFETY_MS).woken, 1);
    check_quiet(&p);
    CHECK_INT(is_readable(&p, 0), 0);
    CHECK_INT(qi_poller_wake(&p), 0);
    CHECK_INT(wait_for(&p, SAFETY_MS).woken, 1);
    qi_poller_fini(&p);
}

static test_thread_result TEST_THREAD
wake_from_thread(void *poller)
{
    CHECK_INT(qi_poller_wake(poller), 0);
    return 0;
}

static void
wait_for_wakeup(void *poller)
{
    CHECK_INT(wait_for(poller, -1).woken, 1);
}

static void
a_thread_ends_a_wait_without_timeout(void)
{
    struct qi_poller p;

    CHECK_INT(qi_poller_init(&p), 0);
    run_in_thread(wake_from_thread, &p, wait_for_wakeup);
    qi_poller_fini(&p);
}

static void
a_deadline_is_reported_once_and_never_early(void)
{
    struct qi_poller p;
    int64_t deadline_ns;

    CHECK_INT(qi_poller_init(&p), 0);
    deadline_ns = qi_clock_ns() + 3 * 1000 * 1000;
    CHECK_INT(qi_poller_arm(&p, deadline_ns), 0);
    CHECK_INT(is_readable(&p, SAFETY_MS), 1);
    CHECK(qi_clock_ns() >= deadline_ns);
    CHECK_INT(wait_for(&p, SAFETY_MS).deadline, 1);
    check_quiet(&p);
    /* One in the past, and zero, fire at once. */
    CHECK_INT(qi_poller_arm(&p, qi_clock_ns() - 1000), 0);
    CHECK_INT(wait_for(&p, SAFETY_MS).deadline, 1);
    CHECK_INT(qi_poller_arm(&p, 0), 0);
    CHECK_INT(wait_for(&p, SAFETY_MS).deadline, 1);
    check_quiet(&p);
    qi_poller_fini(&p);
}

static void
the_earlier_deadline_wins(void)
{
    struct qi_poller p;
    int64_t far_ns = qi_clock_ns() + (int64_t)3600 * 1000000000;

    CHECK_INT(qi_poller_init(&p), 0);
    CHECK_INT(qi_poller_arm(&p, far_ns), 0);
    check_quiet(&p);
    CHECK_INT(qi_poller_arm(&p, qi_clock_ns() + 1000), 0);
    CHECK_INT(qi_poller_arm(&p, far_ns), 0); /* does not put the earlier one off */
    CHECK_INT(wait_for(&p, SAFETY_MS).deadline, 1);
    check_quiet(&p);
    qi_poller_fini(&p);
}

static void
no_more_events_than_asked_for(void)
{
    struct qi_poller p;
    struct qi_poll_result result;
    int fds[2];

    CHECK_INT(qi_poller_init(&p), 0);
    make_pair(fds);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_WRITE), 0);
    CHECK_INT(qi_poller_add(&p, fds[1], QI_POLL_WRITE), 0);
    CHECK_INT(qi_poller_wait(&p, SAFETY_MS, events, 1, &result), 0);
    CHECK_INT(result.n, 1);
    CHECK_INT(wait_for(&p, SAFETY_MS).n, 2);
    qi_poller_fini(&p);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
errors_are_negative_errno(void)
{
    struct qi_poller p;
    int fds[2];

    CHECK_INT(qi_poller_init(&p), 0);
#ifdef _WIN32
    CHECK_INT(qi_poller_add(&p, -1, QI_POLL_READ), -ENOTSOCK);
#else
    CHECK_INT(qi_poller_add(&p, -1, QI_POLL_READ), -EBADF);
#endif
    make_pair(fds);
    CHECK_INT(qi_poller_remove(&p, fds[1], QI_POLL_READ), -ENOENT);
    qi_poller_fini(&p);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ), -EBADF);
    CHECK(qi_poller_wait(&p, 0, events, 8, &(struct qi_poll_result){0}) < 0);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
changes_during_the_sleep_of_qt_count(void)
{
    struct qi_poller p;
    int fds[2];

    /* A slot may add a reader, or set a timer, while nobody waits in the poller. */
    CHECK_INT(qi_poller_init(&p), 0);
    make_pair(fds);
    CHECK_INT(is_readable(&p, 0), 0);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_WRITE), 0);
    CHECK_INT(is_readable(&p, SAFETY_MS), 1);
    CHECK_INT(wait_for(&p, 0).n, 1);
    CHECK_INT(qi_poller_modify(&p, fds[0], QI_POLL_WRITE, QI_POLL_READ), 0);
    check_quiet(&p);
    CHECK_INT(is_readable(&p, 0), 0);
    CHECK_INT(qi_poller_arm(&p, qi_clock_ns() + 1000), 0);
    CHECK_INT(is_readable(&p, SAFETY_MS), 1);
    CHECK_INT(wait_for(&p, 0).deadline, 1);
    CHECK_INT(qi_poller_remove(&p, fds[0], QI_POLL_READ), 0);
    check_quiet(&p);
    qi_poller_fini(&p);
    close_fd(fds[0]);
    close_fd(fds[1]);
}

static void
a_closed_descriptor_is_forgotten(void)
{
    struct qi_poller p;
    int fds[2];

    CHECK_INT(qi_poller_init(&p), 0);
    make_pair(fds);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ | QI_POLL_WRITE), 0);
    close_fd(fds[0]);
    (void)is_readable(&p, 0);
    (void)wait_for(&p, 0);
    check_quiet(&p);
    CHECK(qi_poller_remove(&p, fds[0], QI_POLL_READ | QI_POLL_WRITE) < 0);
    qi_poller_fini(&p);
    close_fd(fds[1]);
}

static void
many_descriptors_all_have_their_turn(void)
{
    enum { PAIRS = 40 };
    struct qi_poller p;
    int fds[PAIRS][2];
    int seen[PAIRS] = {0};
    int missing = PAIRS;

    /* More are ready than fit into one answer; none may be left out for ever. */
    CHECK_INT(qi_poller_init(&p), 0);
    for (int i = 0; i < PAIRS; i++) {
        make_pair(fds[i]);
        CHECK_INT(qi_poller_add(&p, fds[i][0], QI_POLL_WRITE), 0);
    }
    for (int tries = 0; missing > 0 && tries < 100 * PAIRS; tries++) {
        int n = wait_for(&p, SAFETY_MS).n;
        CHECK(n > 0 && n <= 8);
        for (int i = 0; i < n; i++) {
            for (int j = 0; j < PAIRS; j++) {
                if (fds[j][0] == events[i].fd && !seen[j]) {
                    seen[j] = 1;
                    missing--;
                }
            }
        }
    }
    CHECK_INT(missing, 0);
    for (int i = 0; i < PAIRS; i++) {
        CHECK_INT(qi_poller_remove(&p, fds[i][0], QI_POLL_WRITE), 0);
        close_fd(fds[i][0]);
        close_fd(fds[i][1]);
    }
    check_quiet(&p);
    qi_poller_fini(&p);
}

int
main(void)
{
    RUN(new_poller_is_quiet);
    RUN(readiness_is_reported_until_it_ends);
    RUN(interest_can_be_changed_and_dropped);
    RUN(hang_up_wakes_readers_and_writers);
#ifndef _WIN32
    RUN(a_bare_hang_up_wakes_too);
#endif
    RUN(a_wakeup_is_reported_once);
    RUN(a_thread_ends_a_wait_without_timeout);
    RUN(a_deadline_is_reported_once_and_never_early);
    RUN(the_earlier_deadline_wins);
    RUN(no_more_events_than_asked_for);
    RUN(errors_are_negative_errno);
    RUN(changes_during_the_sleep_of_qt_count);
    RUN(a_closed_descriptor_is_forgotten);
    RUN(many_descriptors_all_have_their_turn);
    return 0;
}
