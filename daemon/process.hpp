// process.hpp - what the system knows of a peer's process.
#ifndef QI_DAEMON_PROCESS_HPP
#define QI_DAEMON_PROCESS_HPP

#include <cstdint>

namespace qi {

struct PeerIdentity {
    bool known = false;
    uint32_t uid = 0;
    uint64_t pid = 0; // 0: the system does not tell, or it is in another pid namespace
};

// Who is at the other end of a connected local socket.
PeerIdentity peerOf(int fd);

// Is it stopped, by SIGSTOP or a debugger?  False where there is no /proc.
bool processIsStopped(uint64_t pid);

} // namespace qi

#endif
