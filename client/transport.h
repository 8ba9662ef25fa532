/*
 * transport.h - the local stream to the daemon: a Unix domain socket
 * (transport_posix.c), or on Windows a named pipe (transport_win.c).
 *
 * [sender] all functions; none blocks, but the waits that say so.
 */
#ifndef QI_CLIENT_TRANSPORT_H
#define QI_CLIENT_TRANSPORT_H

#include <stddef.h>
#include <stdint.h>

enum qi_transport_status {
    QI_TRANSPORT_OK = 0,
    QI_TRANSPORT_LATER = 1,   /* nothing to read, or the peer takes nothing now */
    QI_TRANSPORT_ABSENT = -1, /* nobody listens there */
    QI_TRANSPORT_CLOSED = -2, /* the connection is over */
    QI_TRANSPORT_USER = -3,   /* the listener belongs to another user */
    QI_TRANSPORT_LONG = -4,   /* the address does not fit into a socket address */
    QI_TRANSPORT_REMOTE = -5  /* Windows: no address of a pipe of this machine */
};

#ifdef _WIN32
typedef struct qi_pipe *qi_transport;
#  define QI_TRANSPORT_NONE NULL
#else
typedef int qi_transport; /* a descriptor, to be waited for with poll() */
#  define QI_TRANSPORT_NONE (-1)
#endif

/* Connects; what it returns is private to this process and never blocks. */
int qi_transport_connect(const char *address, qi_transport *ret_transport);
void qi_transport_close(qi_transport transport);

/* *ret_n: how many bytes, 1 or more, where QI_TRANSPORT_OK. */
int qi_transport_read(qi_transport transport, void *ret_bytes, size_t size,
                      size_t *ret_n);
int qi_transport_write(qi_transport transport, const void *bytes, size_t size,
                       size_t *ret_n);

#ifndef _WIN32

/* A pipe that wakes a poll(): close-on-exec, both ends non-blocking.  0 or -1 (errno). */
int qi_transport_pipe(int ret_ends[2]);

#else

/* A HANDLE that ends a wait, from [any] thread; NULL: no memory. */
void *qi_transport_waker(void);
void qi_transport_wake(void *waker);
void qi_transport_free_waker(void *waker);

/* Waits for at most timeout_ms (-1: for ever) until there is something to read, or, where
   it is wanted, room to write, or the waker was used.  The transport may be NONE. */
void qi_transport_wait(qi_transport transport, int want_room, void *waker,
                       int timeout_ms);

/* The other end, for a daemon and for tests: a HANDLE of a new instance of the pipe, of
   byte mode, overlapped.  Only this user may open it, from this machine; the first
   instance fails where somebody has a pipe of this name already.  NULL: GetLastError().
 */
void *qi_transport_listen(const char *address, int first);

#endif

#endif
