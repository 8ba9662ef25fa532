// leftovers.hpp - segments of applications that are gone.
//
// An application that ends in good order removes its segment.  What is left in the
// runtime directory belongs to those that died, or that were told to keep it.
#ifndef QI_DAEMON_LEFTOVERS_HPP
#define QI_DAEMON_LEFTOVERS_HPP

#include "segment.h"

#include <QByteArray>

#include <vector>

namespace qi {

struct Leftover {
    QByteArray path;
    int64_t written = 0; // when it was last written to, ns of the wall clock
    qi_segment_header header = {};
};

constexpr int KeptLeftovers = 16;
constexpr int KeptLeftoverDays = 7;

// Those of `directory`, the newest first, at most `most`; what is no segment is left out.
// Their processes do not run: that one does is seen by its pid and start time, or by its
// lock on the file.
std::vector<Leftover> findLeftovers(const QByteArray &directory, size_t most);

// Removes all but the KeptLeftovers newest, and those older than KeptLeftoverDays;
// returns how many.  Files of living processes, and of other names, stay.
int removeLeftovers(const QByteArray &directory);

} // namespace qi

#endif
