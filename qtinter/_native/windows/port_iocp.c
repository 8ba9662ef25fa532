/*
 * port_iocp.c - struct qi_port over a Windows I/O completion port.
 *
 * The wait is an alertable one, so that an asynchronous procedure call can end it.  A
 * packet of our own would do that too, but IocpProactor could come across it, and it
 * closes the handles that it takes unknown completion keys for.
 */
#include "port.h"

#include <errno.h>

#define MAX_ENTRIES 64

static int
iocp_get(struct qi_port *port, struct qi_packet *packets, int max, int timeout_ms)
{
    OVERLAPPED_ENTRY entries[MAX_ENTRIES];
    ULONG n = 0;

    if (!GetQueuedCompletionStatusEx(
            port->handle, entries, (ULONG)(max < MAX_ENTRIES ? max : MAX_ENTRIES), &n,
            timeout_ms < 0 ? INFINITE : (DWORD)timeout_ms, TRUE)) {
        switch (GetLastError()) {
        case WAIT_TIMEOUT:
            return 0;
        case WAIT_IO_COMPLETION:
            return -EINTR;
        default:
            return -EBADF;
        }
    }
    for (ULONG i = 0; i < n; i++) {
        packets[i] = (struct qi_packet){.key = entries[i].lpCompletionKey,
                                        .overlapped = entries[i].lpOverlapped,
                                        .bytes = entries[i].dwNumberOfBytesTransferred};
    }
    return (int)n;
}

static int
iocp_post(struct qi_port *port, const struct qi_packet *packet)
{
    return PostQueuedCompletionStatus(port->handle, packet->bytes, packet->key,
                                      packet->overlapped)
               ? 0
               : -ENOMEM;
}

static void CALLBACK
do_nothing(ULONG_PTR unused)
{
    (void)unused; /* being called is what ends the wait */
}

static void
iocp_alert(struct qi_port *port, qi_thread *sentry)
{
    (void)port;
    (void)QueueUserAPC(do_nothing, *sentry, 0);
}

struct qi_port
qi_port_iocp(void *handle)
{
    return (struct qi_port){
        .handle = handle, .get = iocp_get, .post = iocp_post, .alert = iocp_alert};
}
