/*
 * port.h - an I/O completion port, as far as a thread that only waits needs one.
 *
 * The port belongs to asyncio's IocpProactor, which dequeues and handles its packets on
 * the loop thread.  The sentry of poller_thread.c waits for the first packets while the
 * loop thread sleeps in Qt, and puts back what it took: see there.
 *
 * port_iocp.c is the one of Windows; tests have one of their own.
 */
#ifndef QI_NATIVE_WINDOWS_PORT_H
#define QI_NATIVE_WINDOWS_PORT_H

#include "sys.h"

#include <stdint.h>

struct qi_poller;

/* What GetQueuedCompletionStatus() gives.  The outcome of the operation is in the
   OVERLAPPED and survives being put back. */
struct qi_packet {
    uintptr_t key;
    void *overlapped;
    uint32_t bytes;
};

struct qi_port {
    void *handle; /* borrowed */

    /* [sentry]  Takes at most max packets, waiting for the first one at most timeout_ms
       (-1: for ever).  How many; 0: time is up; -EINTR: alert() was called; else another
       -errno: the port is of no use any more. */
    int (*get)(struct qi_port *port, struct qi_packet *packets, int max, int timeout_ms);

    /* [sentry]  Appends a packet.  0 or -errno. */
    int (*post)(struct qi_port *port, const struct qi_packet *packet);

    /* [loop]  Ends the get() that the sentry is in, or the next one. */
    void (*alert)(struct qi_port *port, qi_thread *sentry);
};

/* The completion port with this HANDLE (Windows only). */
struct qi_port qi_port_iocp(void *handle);

/* [loop]  From now on the poller also reports (as a wakeup of the host: p->fd becomes
   readable) that a packet waits in the port; NULL: no longer.  When it returns, no thread
   of the poller uses the earlier port, and every packet is back in it.  While a port is
   watched, descriptors are not.  *port is copied.  0 or -errno. */
int qi_poller_watch_port(struct qi_poller *p, const struct qi_port *port);

#endif
