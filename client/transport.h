/*
 * transport.h - the local stream socket to the daemon.
 *
 * [sender] all functions; none blocks.
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
    QI_TRANSPORT_LONG = -4    /* the address does not fit into a socket address */
};

/* Connects; the socket is close-on-exec and non-blocking. */
int qi_transport_connect(const char *address, int *ret_socket);
void qi_transport_close(int socket);

/* *ret_n: how many bytes, 1 or more, where QI_TRANSPORT_OK. */
int qi_transport_read(int socket, void *ret_bytes, size_t size, size_t *ret_n);
int qi_transport_write(int socket, const void *bytes, size_t size, size_t *ret_n);

/* A pipe that wakes a poll(): close-on-exec, both ends non-blocking.  0 or -1 (errno). */
int qi_transport_pipe(int ret_ends[2]);

#endif
