/*
 * test_iocp.c - poller_thread.c over a completion port of Windows.
 *
 * test_sentry.c has the logic, with a port of its own; here the calls of Windows are
 * tried: what is taken from the port comes back as it was, and the wait ends when told.
 */
#include "test_system.h"
#include "poller.h"
#include "windows/port.h"

#include <string.h>

#define SAFETY_MS 20000 /* only reached when the test fails */
#define RECEIVED "hello"

static struct qi_poll_event events[8];
static struct qi_poller poller;
static HANDLE port;

static void
begin(void)
{
    port = CreateIoCompletionPort(INVALID_HANDLE_VALUE, NULL, 0, 0);
    CHECK(port != NULL);
    struct qi_port watched = qi_port_iocp(port);
    CHECK_INT(qi_poller_init(&poller), 0);
    CHECK_INT(qi_poller_watch_port(&poller, &watched), 0);
}

static void
end(void)
{
    CHECK_INT(qi_poller_watch_port(&poller, NULL), 0);
    CHECK(CloseHandle(port));
    qi_poller_fini(&poller);
}

static struct qi_poll_result
take_turn(void)
{
    struct qi_poll_result result;

    CHECK_INT(qi_poller_wait(&poller, 0, events, 8, &result), 0);
    return result;
}

static void
a_posted_packet_wakes_and_comes_back(void)
{
    DWORD bytes;
    ULONG_PTR key;
    OVERLAPPED *overlapped;
    OVERLAPPED ours;

    begin();
    for (DWORD i = 1; i <= 100; i++) {
        CHECK_INT(qi_poller_sleep(&poller), 0);
        CHECK(PostQueuedCompletionStatus(port, i, i + 1, &ours));
        CHECK_INT(fd_is_readable(poller.fd, SAFETY_MS), 1);
        CHECK_INT(take_turn().n, 0);
        CHECK(GetQueuedCompletionStatus(port, &bytes, &key, &overlapped, 0));
        CHECK_INT(bytes, i);
        CHECK_INT(key, i + 1);
        CHECK(overlapped == &ours);
        CHECK(!GetQueuedCompletionStatus(port, &bytes, &key, &overlapped, 0));
    }
    end();
}

/* What asyncio's proactor does: starts a read, and asks later how it ended. */
static void
an_operation_ends_as_if_nobody_had_looked(void)
{
    char buffer[16];
    WSABUF into = {sizeof(buffer), buffer};
    DWORD flags = 0;
    DWORD bytes = 0;
    ULONG_PTR key;
    OVERLAPPED operation;
    OVERLAPPED *overlapped;
    int fds[2];

    begin();
    make_pair(fds);
    memset(&operation, 0, sizeof(operation));
    CHECK(CreateIoCompletionPort((HANDLE)(SOCKET)fds[0], port, 0, 0) == port);
    CHECK_INT(WSARecv((SOCKET)fds[0], &into, 1, NULL, &flags, &operation, NULL),
              SOCKET_ERROR);
    CHECK_INT(WSAGetLastError(), WSA_IO_PENDING);
    CHECK_INT(qi_poller_sleep(&poller), 0);
    CHECK_INT(send((SOCKET)fds[1], RECEIVED, sizeof(RECEIVED), 0), sizeof(RECEIVED));
    CHECK_INT(fd_is_readable(poller.fd, SAFETY_MS), 1);
    (void)take_turn();
    CHECK(GetQueuedCompletionStatus(port, &bytes, &key, &overlapped, 0));
    CHECK(overlapped == &operation);
    bytes = 0;
    CHECK(GetOverlappedResult((HANDLE)(SOCKET)fds[0], &operation, &bytes, FALSE));
    CHECK_INT(bytes, sizeof(RECEIVED));
    CHECK_INT(strcmp(buffer, RECEIVED), 0);
    close_fd(fds[0]);
    close_fd(fds[1]);
    end();
}

static void
a_deadline_ends_the_wait_and_is_not_early(void)
{
    int64_t deadline_ns;

    begin();
    deadline_ns = qi_clock_ns() + 3 * 1000 * 1000;
    CHECK_INT(qi_poller_arm(&poller, deadline_ns), 0);
    CHECK_INT(qi_poller_sleep(&poller), 0);
    CHECK_INT(fd_is_readable(poller.fd, SAFETY_MS), 1);
    CHECK(qi_clock_ns() >= deadline_ns);
    CHECK_INT(take_turn().deadline, 1);
    end();
}

static void
an_earlier_deadline_ends_a_longer_wait(void)
{
    begin();
    CHECK_INT(qi_poller_arm(&poller, qi_clock_ns() + (int64_t)3600 * 1000000000), 0);
    CHECK_INT(qi_poller_sleep(&poller), 0);
    CHECK_INT(qi_poller_arm(&poller, qi_clock_ns() + 1000), 0);
    CHECK_INT(fd_is_readable(poller.fd, SAFETY_MS), 1);
    CHECK_INT(take_turn().deadline, 1);
    end();
}

static void
it_can_be_called_off_at_any_time(void)
{
    begin();
    struct qi_port watched = qi_port_iocp(port);
    for (int i = 0; i < 200; i++) {
        CHECK_INT(qi_poller_sleep(&poller), 0);
        CHECK_INT(qi_poller_watch_port(&poller, NULL), 0);
        CHECK_INT(qi_poller_watch_port(&poller, &watched), 0);
    }
    end();
}

static void
a_closed_port_is_an_alarm_and_no_crash(void)
{
    begin();
    struct qi_port watched = qi_port_iocp(NULL);
    CHECK_INT(qi_poller_watch_port(&poller, &watched), 0);
    CHECK_INT(qi_poller_sleep(&poller), 0);
    CHECK_INT(fd_is_readable(poller.fd, SAFETY_MS), 1);
    end();
}

int
main(void)
{
    RUN(a_posted_packet_wakes_and_comes_back);
    RUN(an_operation_ends_as_if_nobody_had_looked);
    RUN(a_deadline_ends_the_wait_and_is_not_early);
    RUN(an_earlier_deadline_ends_a_longer_wait);
    RUN(it_can_be_called_off_at_any_time);
    RUN(a_closed_port_is_an_alarm_and_no_crash);
    return 0;
}
