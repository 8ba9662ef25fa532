#include "process.hpp"

#include "runtime.h"

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

bool
processIsStopped(uint64_t pid)
{
    char state = qi_runtime_process_state(pid);
    return state == 'T' || state == 't';
}

} // namespace qi
