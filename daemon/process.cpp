#include "process.hpp"

#include "runtime.h"

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <sys/socket.h>
#include <unistd.h>

namespace qi {

PeerIdentity
peerOf(int fd)
{
    PeerIdentity identity;
#if defined(SO_PEERCRED)
    ucred peer = {};
    socklen_t size = sizeof(peer);
    if (::getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &size) == 0) {
        identity = {true, peer.uid, peer.pid > 0 ? uint64_t(peer.pid) : 0};
    }
#else
    uid_t uid = 0;
    gid_t gid = 0;
    if (::getpeereid(fd, &uid, &gid) == 0) {
        identity = {true, uid, 0};
    }
#endif
    return identity;
}

// The letter of proc(5): R, S, Z and so on; 0 where there is no /proc or no process.
static char
stateOf(uint64_t pid)
{
    char path[64];
    char line[512];
    std::snprintf(path, sizeof(path), "/proc/%llu/stat",
                  static_cast<unsigned long long>(pid));
    int fd = ::open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = ::read(fd, line, sizeof(line) - 1);
    ::close(fd);
    line[n > 0 ? n : 0] = '\0';
    const char *end = std::strrchr(line, ')'); // the name may hold parentheses itself
    return end != nullptr && end[1] == ' ' ? end[2] : char(0);
}

bool
processIsStopped(uint64_t pid)
{
    char state = stateOf(pid);
    return state == 'T' || state == 't';
}

bool
processRuns(uint64_t pid, uint64_t start)
{
    if (pid == 0 || pid > INT32_MAX || (::kill(pid_t(pid), 0) < 0 && errno == ESRCH)) {
        return false;
    }
    char state = stateOf(pid);
    if (state == 'Z' || state == 'X') {
        return false;
    }
    return start == 0 || state == 0 || qi_runtime_start_time(pid) == start;
}

} // namespace qi
