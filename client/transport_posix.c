/* transport_posix.c - see transport.h: a Unix domain socket. */
#include "transport.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#  define MSG_NOSIGNAL                                                                   \
      0 /* macOS: SO_NOSIGPIPE below; and the thread blocks the signal                   \
         */
#endif

#ifndef __linux__
static int
make_private(int fd)
{
    int flags = fcntl(fd, F_GETFL);

    return flags >= 0 && fcntl(fd, F_SETFL, flags | O_NONBLOCK) == 0
                   && fcntl(fd, F_SETFD, FD_CLOEXEC) == 0
               ? 0
               : -1;
}
#endif

static int
new_socket(void)
{
#ifdef __linux__
    return socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
#else
    int fd = socket(AF_UNIX, SOCK_STREAM, 0);

    if (fd >= 0 && make_private(fd) < 0) {
        (void)close(fd);
        return -1;
    }
#  ifdef SO_NOSIGPIPE
    int on = 1;
    (void)setsockopt(fd, SOL_SOCKET, SO_NOSIGPIPE, &on, sizeof(on));
#  endif
    return fd;
#endif
}

static int
peer_is_us(int fd)
{
#ifdef __linux__
    struct ucred peer;
    socklen_t size = sizeof(peer);

    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0
           && peer.uid == geteuid();
#else
    uid_t uid;
    gid_t gid;

    return getpeereid(fd, &uid, &gid) == 0 && uid == geteuid();
#endif
}

int
qi_transport_connect(const char *address, int *ret_socket)
{
    struct sockaddr_un name = {.sun_family = AF_UNIX};
    int fd;

    if (strlen(address) >= sizeof(name.sun_path)) {
        return QI_TRANSPORT_LONG;
    }
    memcpy(name.sun_path, address, strlen(address) + 1);
    fd = new_socket();
    if (fd < 0) {
        return QI_TRANSPORT_ABSENT;
    }
    /* A local connect() is over at once; EAGAIN is a listener that is overrun. */
    if (connect(fd, (const struct sockaddr *)&name, sizeof(name)) < 0) {
        (void)close(fd);
        return QI_TRANSPORT_ABSENT;
    }
    if (!peer_is_us(fd)) {
        (void)close(fd);
        return QI_TRANSPORT_USER;
    }
    *ret_socket = fd;
    return QI_TRANSPORT_OK;
}

void
qi_transport_close(int fd)
{
    (void)close(fd);
}

static int
outcome(ssize_t n, size_t *ret_n)
{
    if (n > 0) {
        *ret_n = (size_t)n;
        return QI_TRANSPORT_OK;
    }
    *ret_n = 0;
    if (n < 0 && (errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR)) {
        return QI_TRANSPORT_LATER;
    }
    return QI_TRANSPORT_CLOSED;
}

int
qi_transport_read(int fd, void *ret_bytes, size_t size, size_t *ret_n)
{
    return outcome(recv(fd, ret_bytes, size, 0), ret_n);
}

int
qi_transport_write(int fd, const void *bytes, size_t size, size_t *ret_n)
{
    return outcome(send(fd, bytes, size, MSG_NOSIGNAL), ret_n);
}

int
qi_transport_pipe(int ret_ends[2])
{
#ifdef __linux__
    return pipe2(ret_ends, O_CLOEXEC | O_NONBLOCK);
#else
    if (pipe(ret_ends) < 0) {
        return -1;
    }
    if (make_private(ret_ends[0]) < 0 || make_private(ret_ends[1]) < 0) {
        (void)close(ret_ends[0]);
        (void)close(ret_ends[1]);
        return -1;
    }
    return 0;
#endif
}
