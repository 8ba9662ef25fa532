#include "leftovers.hpp"

#include "process.hpp"
#include "runtime.h"
#include "segment_read.h"

#include <algorithm>
#include <cstring>
#include <ctime>
#include <dirent.h>
#include <fcntl.h>
#include <memory>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

namespace qi {

namespace {

// A directory with more files than these is somebody's joke.
constexpr int MaxNames = 8192;
constexpr int64_t Second = 1000000000;

struct Named {
    QByteArray name;
    int64_t written;
};

struct Close {
    void
    operator()(DIR *directory) const
    {
        closedir(directory);
    }
};

// Digits at *at, at most `most` of them, and no sign; false if there are none.
bool
takeNumber(const char **at, int most, uint64_t *value)
{
    const char *begin = *at;
    *value = 0;
    for (; **at >= '0' && **at <= '9' && *at - begin < most; ++*at) {
        *value = *value * 10 + uint64_t(**at - '0');
    }
    return *at != begin;
}

// PID-START.qiseg or PID-START-N.qiseg.
bool
isSegmentName(const char *name, uint64_t *pid, uint64_t *start)
{
    uint64_t again = 0;
    if (!takeNumber(&name, 10, pid) || *name++ != '-' || !takeNumber(&name, 19, start)) {
        return false;
    }
    if (*name == '-' && !takeNumber(&++name, 9, &again)) {
        return false;
    }
    return std::strcmp(name, QI_SEGMENT_SUFFIX) == 0;
}

// Is it held by whoever made it?  A lock is seen where a pid means something else.
bool
isHeld(int fd)
{
    if (::flock(fd, LOCK_EX | LOCK_NB) < 0) {
        return true;
    }
    ::flock(fd, LOCK_UN);
    return false;
}

// The files whose processes do not run, the newest first.
std::vector<Named>
namesIn(DIR *directory)
{
    std::vector<Named> found;
    for (int i = 0; i < MaxNames; i++) {
        const dirent *entry = readdir(directory);
        if (entry == nullptr) {
            break;
        }
        uint64_t pid = 0, start = 0;
        struct stat st = {};
        if (!isSegmentName(entry->d_name, &pid, &start) || processRuns(pid, start)
            || fstatat(dirfd(directory), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0
            || !S_ISREG(st.st_mode) || st.st_uid != ::geteuid()) {
            continue;
        }
        found.push_back(
            {entry->d_name, int64_t(st.st_mtim.tv_sec) * Second + st.st_mtim.tv_nsec});
    }
    std::sort(found.begin(), found.end(),
              [](const Named &a, const Named &b) { return a.written > b.written; });
    return found;
}

} // namespace

std::vector<Leftover>
findLeftovers(const QByteArray &directory, size_t most)
{
    std::vector<Leftover> found;
    std::unique_ptr<DIR, Close> open(opendir(directory.constData()));
    if (!open) {
        return found;
    }
    for (const Named &file : namesIn(open.get())) {
        if (found.size() == most) {
            break;
        }
        int fd = openat(dirfd(open.get()), file.name.constData(),
                        O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        Leftover leftover;
        if (fd >= 0 && !isHeld(fd)
            && qi_segment_peek(fd, &leftover.header) == QI_VIEW_OK) {
            leftover.path = directory + '/' + file.name;
            leftover.written = file.written;
            found.push_back(leftover);
        }
        if (fd >= 0) {
            ::close(fd);
        }
    }
    return found;
}

int
removeLeftovers(const QByteArray &directory)
{
    std::unique_ptr<DIR, Close> open(opendir(directory.constData()));
    int kept = 0, removed = 0;
    if (!open) {
        return 0;
    }
    int64_t oldest = (int64_t(::time(nullptr)) - KeptLeftoverDays * 86400) * Second;
    for (const Named &file : namesIn(open.get())) {
        int fd = openat(dirfd(open.get()), file.name.constData(),
                        O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
        if (fd < 0) {
            continue;
        }
        if (!isHeld(fd) && (++kept > KeptLeftovers || file.written < oldest)
            && unlinkat(dirfd(open.get()), file.name.constData(), 0) == 0) {
            removed++;
        }
        ::close(fd);
    }
    return removed;
}

} // namespace qi
