/*
 * sys_win32.c - sys.h on Windows, with documented Win32 and Winsock calls only.
 *
 * qi_sys_poll() is select(): WSAPoll() does not report a failed connect() before
 * Windows 10 2004 (its documentation says so), and asyncio's selector uses select() too.
 */
#include "sys.h"

#include "../poller.h"

#include <errno.h>
#include <process.h>
#include <stdlib.h>
#include <string.h>
#include <ws2tcpip.h>

/* Since Windows XP it cannot fail.  From CPython 3.13 on time.monotonic() is this clock;
   before, it is GetTickCount64(), which ticks 64 times a second. */
int64_t
qi_clock_ns(void)
{
    LARGE_INTEGER count;
    LARGE_INTEGER frequency;

    (void)QueryPerformanceCounter(&count);
    (void)QueryPerformanceFrequency(&frequency);
    int64_t seconds = count.QuadPart / frequency.QuadPart;
    int64_t rest = count.QuadPart % frequency.QuadPart;
    return seconds * 1000000000 + rest * 1000000000 / frequency.QuadPart;
}

/*********** threads ***********/

void
qi_mutex_init(qi_mutex *mutex)
{
    InitializeSRWLock(mutex);
}

void
qi_mutex_fini(qi_mutex *mutex)
{
    (void)mutex; /* owns nothing */
}

void
qi_mutex_lock(qi_mutex *mutex)
{
    AcquireSRWLockExclusive(mutex);
}

void
qi_mutex_unlock(qi_mutex *mutex)
{
    ReleaseSRWLockExclusive(mutex);
}

void
qi_condition_init(qi_condition *condition)
{
    InitializeConditionVariable(condition);
}

void
qi_condition_fini(qi_condition *condition)
{
    (void)condition; /* owns nothing */
}

void
qi_condition_wait(qi_condition *condition, qi_mutex *mutex)
{
    (void)SleepConditionVariableSRW(condition, mutex, INFINITE, 0);
}

void
qi_condition_broadcast(qi_condition *condition)
{
    WakeAllConditionVariable(condition);
}

struct start {
    void (*function)(void *);
    void *argument;
};

static unsigned __stdcall run_thread(void *start_ptr)
{
    struct start start = *(struct start *)start_ptr;

    free(start_ptr);
    start.function(start.argument);
    return 0;
}

int
qi_thread_start(qi_thread *thread, void (*function)(void *), void *argument)
{
    struct start *start = malloc(sizeof(*start));

    if (start == NULL) {
        return -ENOMEM;
    }
    *start = (struct start){function, argument};
    *thread = (HANDLE)_beginthreadex(NULL, 0, run_thread, start, 0, NULL);
    if (*thread == NULL) {
        free(start);
        return -EAGAIN;
    }
    return 0;
}

void
qi_thread_join(qi_thread *thread)
{
    (void)WaitForSingleObject(*thread, INFINITE);
    (void)CloseHandle(*thread);
}

void
qi_thread_pause(void)
{
    Sleep(1);
}

/*********** sockets ***********/

/* The few that our own calls can meet; Winsock's codes are no errno values. */
static int
negative_errno(int wsa_error)
{
    switch (wsa_error) {
    case WSAEMFILE:
        return -EMFILE;
    case WSAENOBUFS:
    case WSA_NOT_ENOUGH_MEMORY:
        return -ENOMEM;
    case WSAENOTSOCK:
        return -ENOTSOCK;
    case WSAEBADF:
        return -EBADF;
    case WSAEACCES:
        return -EACCES;
    case WSAEINTR:
        return -EINTR;
    default:
        return -EIO;
    }
}

static SOCKET
new_socket(void)
{
    return WSASocketW(AF_INET, SOCK_STREAM, IPPROTO_TCP, NULL, 0,
                      WSA_FLAG_OVERLAPPED | WSA_FLAG_NO_HANDLE_INHERIT);
}

static int
set_options(SOCKET fd)
{
    u_long nonblocking = 1;
    BOOL nodelay = TRUE;

    (void)setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, (const char *)&nodelay,
                     sizeof(nodelay));
    return ioctlsocket(fd, (long)FIONBIO, &nonblocking);
}

static int
same_address(const struct sockaddr_in *a, const struct sockaddr_in *b)
{
    return a->sin_port == b->sin_port && a->sin_addr.s_addr == b->sin_addr.s_addr;
}

/* Connects pair[1] and accepts it as pair[0].  Whoever else connects to the listener
   meanwhile is sent away: the accepted socket must come from ours. */
static int
connect_pair(SOCKET listener, SOCKET pair[2])
{
    struct sockaddr_in address;
    struct sockaddr_in ours;
    struct sockaddr_in theirs;
    int len = sizeof(address);

    memset(&address, 0, sizeof(address));
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    if (bind(listener, (struct sockaddr *)&address, sizeof(address)) != 0
        || getsockname(listener, (struct sockaddr *)&address, &len) != 0
        || listen(listener, 1) != 0
        || connect(pair[1], (struct sockaddr *)&address, sizeof(address)) != 0) {
        return -1;
    }
    len = sizeof(ours);
    if (getsockname(pair[1], (struct sockaddr *)&ours, &len) != 0) {
        return -1;
    }
    for (;;) {
        len = sizeof(theirs);
        pair[0] = accept(listener, (struct sockaddr *)&theirs, &len);
        if (pair[0] == INVALID_SOCKET) {
            return -1;
        }
        if (same_address(&ours, &theirs)) {
            break;
        }
        (void)closesocket(pair[0]);
        pair[0] = INVALID_SOCKET;
    }
    (void)SetHandleInformation((HANDLE)pair[0], HANDLE_FLAG_INHERIT, 0);
    return set_options(pair[0]) != 0 || set_options(pair[1]) != 0 ? -1 : 0;
}

int
qi_sys_pair(int fds[2])
{
    SOCKET pair[2] = {INVALID_SOCKET, INVALID_SOCKET};
    SOCKET listener;
    WSADATA data;
    int r = 0;

    fds[0] = fds[1] = -1;
    if (WSAStartup(MAKEWORD(2, 2), &data) != 0) { /* counted by Windows */
        return -EIO;
    }
    listener = new_socket();
    pair[1] = new_socket();
    if (listener == INVALID_SOCKET || pair[1] == INVALID_SOCKET
        || connect_pair(listener, pair) != 0) {
        r = negative_errno(WSAGetLastError());
    }
    if (listener != INVALID_SOCKET) {
        (void)closesocket(listener);
    }
    if (r == 0) {
        fds[0] = (int)pair[0];
        fds[1] = (int)pair[1];
        return 0;
    }
    for (int i = 0; i < 2; i++) {
        if (pair[i] != INVALID_SOCKET) {
            (void)closesocket(pair[i]);
        }
    }
    return r;
}

void
qi_sys_close(int fd)
{
    (void)closesocket((SOCKET)fd);
}

void
qi_sys_send(int fd)
{
    (void)send((SOCKET)fd, "", 1, 0);
}

void
qi_sys_drain(int fd)
{
    char buffer[64];

    while (recv((SOCKET)fd, buffer, sizeof(buffer), 0) == (int)sizeof(buffer)) {
    }
}

int
qi_sys_check(int fd)
{
    int type;
    int len = sizeof(type);

    if (getsockopt((SOCKET)fd, SOL_SOCKET, SO_TYPE, (char *)&type, &len) == 0) {
        return 0;
    }
    return negative_errno(WSAGetLastError());
}

/* One closed socket makes select() fail for all: finds which, as poll() would. */
static int
find_closed(struct pollfd *fds, int n)
{
    int closed = 0;

    for (int i = 0; i < n; i++) {
        fds[i].revents = 0;
        if (qi_sys_check((int)fds[i].fd) < 0) {
            fds[i].revents = POLLNVAL;
            closed++;
        }
    }
    return closed;
}

int
qi_sys_poll(struct pollfd *fds, int n, int timeout_ms)
{
    fd_set readable;
    fd_set writable;
    fd_set failed; /* a connect() that failed is reported here and only here */
    struct timeval limit = {timeout_ms / 1000, (timeout_ms % 1000) * 1000};
    int ready = 0;

    FD_ZERO(&readable);
    FD_ZERO(&writable);
    FD_ZERO(&failed);
    for (int i = 0; i < n; i++) {
        if (fds[i].events & POLLIN) {
            FD_SET(fds[i].fd, &readable);
        }
        if (fds[i].events & POLLOUT) {
            FD_SET(fds[i].fd, &writable);
            FD_SET(fds[i].fd, &failed);
        }
    }
    if (select(0, &readable, &writable, &failed, timeout_ms < 0 ? NULL : &limit)
        == SOCKET_ERROR) {
        int error = WSAGetLastError();
        int closed = error == WSAENOTSOCK ? find_closed(fds, n) : 0;
        return closed > 0 ? closed : negative_errno(error);
    }
    for (int i = 0; i < n; i++) {
        fds[i].revents = 0;
        if (FD_ISSET(fds[i].fd, &readable)) {
            fds[i].revents |= POLLIN;
        }
        if (FD_ISSET(fds[i].fd, &writable) || FD_ISSET(fds[i].fd, &failed)) {
            fds[i].revents |= POLLOUT;
        }
        ready += fds[i].revents != 0;
    }
    return ready;
}
