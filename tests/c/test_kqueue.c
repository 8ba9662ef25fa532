/*
 * test_kqueue.c - what is particular to poller_kqueue.c: which filters it registers, and
 * what it makes of the kernel's refusals.  test_poller.c has the rest.
 */
#include "qi_test.h"
#include "poller.h"

#include <sys/event.h>

#include <errno.h>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

#define FILTERS_OF_ITS_OWN 1 /* the wakeup; the deadline comes with the first arm */

static struct qi_poll_event events[8];
static struct qi_poll_result result;

static void
begin(struct qi_poller *p, int fds[2])
{
    CHECK_INT(qi_poller_init(p), 0);
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
    CHECK_INT(fake_kqueue_filters(), FILTERS_OF_ITS_OWN);
}

static void
end(struct qi_poller *p, int fds[2])
{
    qi_poller_fini(p);
    CHECK_INT(p->fd, -1);
    close(fds[0]);
    close(fds[1]);
}

static void
a_refused_kqueue_leaves_nothing_open(void)
{
    struct qi_poller p;

    fake_kqueue_refuse(EMFILE);
    CHECK_INT(qi_poller_init(&p), -EMFILE);
    CHECK_INT(p.fd, -1);
    fake_kqueue_fail_change(EVFILT_USER, EV_ADD, ENOMEM);
    CHECK_INT(qi_poller_init(&p), -ENOMEM);
    CHECK_INT(p.fd, -1);
}

static void
it_is_not_inherited(void)
{
    struct qi_poller p;
    int fds[2];

    begin(&p, fds);
    CHECK(fcntl(p.fd, F_GETFD) & FD_CLOEXEC);
    end(&p, fds);
}

static void
each_direction_has_a_filter(void)
{
    struct qi_poller p;
    int fds[2];

    begin(&p, fds);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ | QI_POLL_WRITE), 0);
    CHECK_INT(fake_kqueue_filters(), FILTERS_OF_ITS_OWN + 2);
    CHECK_INT(qi_poller_modify(&p, fds[0], QI_POLL_READ | QI_POLL_WRITE, QI_POLL_WRITE),
              0);
    CHECK_INT(fake_kqueue_filters(), FILTERS_OF_ITS_OWN + 1);
    CHECK_INT(qi_poller_modify(&p, fds[0], QI_POLL_WRITE, QI_POLL_READ), 0);
    CHECK_INT(fake_kqueue_filters(), FILTERS_OF_ITS_OWN + 1);
    int changes = fake_kqueue_changes();
    CHECK_INT(qi_poller_modify(&p, fds[0], QI_POLL_READ, QI_POLL_READ), 0);
    CHECK_INT(fake_kqueue_changes(), changes);
    CHECK_INT(qi_poller_remove(&p, fds[0], QI_POLL_READ), 0);
    CHECK_INT(fake_kqueue_filters(), FILTERS_OF_ITS_OWN);
    end(&p, fds);
}

static void
both_directions_make_one_event(void)
{
    struct qi_poller p;
    int fds[2];

    begin(&p, fds);
    CHECK_INT(write(fds[1], "x", 1), 1);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ | QI_POLL_WRITE), 0);
    CHECK_INT(qi_poller_wait(&p, 0, events, 8, &result), 0);
    CHECK_INT(result.n, 1);
    CHECK_INT(events[0].fd, fds[0]);
    CHECK_INT(events[0].events, QI_POLL_READ | QI_POLL_WRITE);
    end(&p, fds);
}

static void
a_half_refused_descriptor_is_not_watched(void)
{
    struct qi_poller p;
    int fds[2];

    begin(&p, fds);
    fake_kqueue_fail_change(EVFILT_WRITE, EV_ADD, EACCES);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ | QI_POLL_WRITE), -EACCES);
    CHECK_INT(fake_kqueue_filters(), FILTERS_OF_ITS_OWN);
    /* Nor does a refused change take away what is watched. */
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ), 0);
    fake_kqueue_fail_change(EVFILT_WRITE, EV_ADD, ENOMEM);
    CHECK_INT(qi_poller_modify(&p, fds[0], QI_POLL_READ, QI_POLL_WRITE), -ENOMEM);
    CHECK_INT(fake_kqueue_filters(), FILTERS_OF_ITS_OWN + 1);
    CHECK_INT(qi_poller_remove(&p, fds[0], QI_POLL_READ), 0);
    end(&p, fds);
}

static void
removal_goes_on_after_an_error(void)
{
    struct qi_poller p;
    int fds[2];

    /* The kernel drops filters one by one when a descriptor is closed elsewhere. */
    begin(&p, fds);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ | QI_POLL_WRITE), 0);
    fake_kqueue_fail_change(EVFILT_READ, EV_DELETE, ENOENT);
    CHECK_INT(qi_poller_remove(&p, fds[0], QI_POLL_READ | QI_POLL_WRITE), -ENOENT);
    CHECK_INT(fake_kqueue_filters(), FILTERS_OF_ITS_OWN + 1);
    CHECK_INT(qi_poller_remove(&p, fds[0], QI_POLL_READ), 0);
    end(&p, fds);
}

static void
an_end_of_file_is_readiness_of_its_direction(void)
{
    struct qi_poller p;
    struct kevent event;
    int fds[2];

    begin(&p, fds);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_READ), 0);
    EV_SET(&event, (uintptr_t)fds[0], EVFILT_READ, EV_EOF, ECONNRESET, 0, NULL);
    fake_kqueue_report(&event);
    CHECK_INT(qi_poller_wait(&p, 0, events, 8, &result), 0);
    CHECK_INT(result.n, 1);
    CHECK_INT(events[0].fd, fds[0]);
    CHECK_INT(events[0].events, QI_POLL_READ);
    end(&p, fds);
}

static void
errors_of_a_wait_are_passed_on(void)
{
    struct qi_poller p;
    int fds[2];

    begin(&p, fds);
    CHECK_INT(qi_poller_add(&p, fds[0], QI_POLL_WRITE), 0);
    fake_kqueue_fail_wait(EINTR);
    CHECK_INT(qi_poller_wait(&p, -1, events, 8, &result), -EINTR);
    CHECK_INT(result.n, 0);
    fake_kqueue_fail_wait(EBADF);
    CHECK_INT(qi_poller_wait(&p, -1, events, 8, &result), -EBADF);
    CHECK_INT(qi_poller_wait(&p, 0, events, 8, &result), 0);
    CHECK_INT(result.n, 1);
    end(&p, fds);
}

static void
a_refused_timer_is_not_in_force(void)
{
    struct qi_poller p;
    int fds[2];
    int64_t far_ns = qi_clock_ns() + (int64_t)3600 * 1000000000;

    begin(&p, fds);
    fake_kqueue_fail_change(EVFILT_TIMER, EV_ADD, ENOMEM);
    CHECK_INT(qi_poller_arm(&p, far_ns), -ENOMEM);
    CHECK_INT(p.armed_ns, 0);
    CHECK_INT(qi_poller_arm(&p, far_ns), 0);
    CHECK_INT(p.armed_ns, far_ns);
    /* The timeout is relative, in nanoseconds, and not longer than it was. */
    CHECK(fake_kqueue_timer_ns() > (int64_t)3500 * 1000000000);
    CHECK(fake_kqueue_timer_ns() <= (int64_t)3600 * 1000000000);
    end(&p, fds);
}

static void
one_timer_serves_all_deadlines(void)
{
    struct qi_poller p;
    int fds[2];
    int64_t far_ns = qi_clock_ns() + (int64_t)3600 * 1000000000;

    begin(&p, fds);
    CHECK_INT(qi_poller_arm(&p, far_ns), 0);
    CHECK_INT(fake_kqueue_filters(), FILTERS_OF_ITS_OWN + 1);
    int changes = fake_kqueue_changes();
    CHECK_INT(qi_poller_arm(&p, far_ns + 1), 0); /* later: no system call */
    CHECK_INT(fake_kqueue_changes(), changes);
    CHECK_INT(qi_poller_arm(&p, 1), 0); /* long past: not "never", and not negative */
    CHECK_INT(fake_kqueue_timer_ns(), 1);
    CHECK_INT(fake_kqueue_filters(), FILTERS_OF_ITS_OWN + 1);
    CHECK_INT(qi_poller_wait(&p, 20000, events, 8, &result), 0);
    CHECK_INT(result.deadline, 1);
    CHECK_INT(p.armed_ns, 0);
    CHECK_INT(fake_kqueue_filters(), FILTERS_OF_ITS_OWN); /* one shot */
    end(&p, fds);
}

static void
a_refused_wakeup_is_told(void)
{
    struct qi_poller p;
    int fds[2];

    begin(&p, fds);
    fake_kqueue_fail_change(EVFILT_USER, 0, ENOENT);
    CHECK_INT(qi_poller_wake(&p), -ENOENT);
    CHECK_INT(qi_poller_wake(&p), 0);
    CHECK_INT(qi_poller_wait(&p, 0, events, 8, &result), 0);
    CHECK_INT(result.woken, 1);
    end(&p, fds);
    CHECK_INT(qi_poller_wake(&p), -EBADF);
}

int
main(void)
{
    RUN(a_refused_kqueue_leaves_nothing_open);
    RUN(it_is_not_inherited);
    RUN(each_direction_has_a_filter);
    RUN(both_directions_make_one_event);
    RUN(a_half_refused_descriptor_is_not_watched);
    RUN(removal_goes_on_after_an_error);
    RUN(an_end_of_file_is_readiness_of_its_direction);
    RUN(errors_of_a_wait_are_passed_on);
    RUN(a_refused_timer_is_not_in_force);
    RUN(one_timer_serves_all_deadlines);
    RUN(a_refused_wakeup_is_told);
    return 0;
}
