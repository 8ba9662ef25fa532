/*
 * test_system.h - sockets and threads for the tests of the pollers, on any system.
 */
#ifndef QI_TESTS_TEST_SYSTEM_H
#define QI_TESTS_TEST_SYSTEM_H

#include "qi_test.h"
#include "windows/sys.h"

#ifdef _WIN32

static inline void
make_pair(int fds[2])
{
    CHECK_INT(qi_sys_pair(fds), 0);
}

static inline void
close_fd(int fd)
{
    qi_sys_close(fd);
}

static inline void
send_byte(int fd)
{
    CHECK_INT(send((SOCKET)fd, "x", 1, 0), 1);
}

static inline void
receive_byte(int fd)
{
    char byte;

    CHECK_INT(recv((SOCKET)fd, &byte, 1, 0), 1);
}

/* What a Qt event loop would see of a descriptor. */
static inline int
fd_is_readable(int fd, int timeout_ms)
{
    struct pollfd watched = {.fd = (SOCKET)fd, .events = POLLIN};

    return qi_sys_poll(&watched, 1, timeout_ms);
}

typedef DWORD test_thread_result;
#  define TEST_THREAD WINAPI

static inline void
run_in_thread(test_thread_result(TEST_THREAD *function)(void *), void *argument,
              void (*meanwhile)(void *))
{
    HANDLE thread = CreateThread(NULL, 0, function, argument, 0, NULL);

    CHECK(thread != NULL);
    meanwhile(argument);
    CHECK_INT(WaitForSingleObject(thread, INFINITE), WAIT_OBJECT_0);
    CloseHandle(thread);
}

#else

#  include <sys/socket.h>
#  include <unistd.h>

static inline void
make_pair(int fds[2])
{
    CHECK_INT(socketpair(AF_UNIX, SOCK_STREAM, 0, fds), 0);
}

static inline void
close_fd(int fd)
{
    (void)close(fd);
}

static inline void
send_byte(int fd)
{
    CHECK_INT(write(fd, "x", 1), 1);
}

static inline void
receive_byte(int fd)
{
    char byte;

    CHECK_INT(read(fd, &byte, 1), 1);
}

static inline int
fd_is_readable(int fd, int timeout_ms)
{
    struct pollfd watched = {.fd = fd, .events = POLLIN};

    return poll(&watched, 1, timeout_ms);
}

typedef void *test_thread_result;
#  define TEST_THREAD

static inline void
run_in_thread(test_thread_result(TEST_THREAD *function)(void *), void *argument,
              void (*meanwhile)(void *))
{
    pthread_t thread;

    CHECK_INT(pthread_create(&thread, NULL, function, argument), 0);
    meanwhile(argument);
    CHECK_INT(pthread_join(thread, NULL), 0);
}

#endif

#endif
