// feed.hpp - one subscription to one application: a snapshot, then what changed.
//
//      begin --> entries --> rows ... --> end --> (deltas | events), again and again
//
// A feed writes a frame only when the tool has taken most of what it was sent, and at
// most `hz` times a second; what changes meanwhile waits in the mirror, merged.  It keeps
// revisions and positions, no copies, apart from the list of refs of a snapshot or of
// what changed; those are charged to the budget.
#ifndef QI_DAEMON_FEED_HPP
#define QI_DAEMON_FEED_HPP

#include "application.hpp"
#include "session.hpp"

#include <QElapsedTimer>

#include <utility>
#include <vector>

namespace qi {

// Which intern entries of an application a tool's connection has.
struct Interned {
    uint32_t epoch = 0;
    uint32_t sent = 0;
};

struct FeedOptions {
    uint64_t kinds = ~uint64_t(0); // bit for each
    unsigned hz = 20;
    bool events = false;
    bool history = false;
};

class Feed {
  public:
    Feed(Session *tool, Application *application, Interned *interned, uint32_t sub,
         const FeedOptions &options);

    Application *
    application() const
    {
        return m_application;
    }
    const FeedOptions &
    options() const
    {
        return m_options;
    }
    uint32_t
    sub() const
    {
        return m_sub;
    }
    bool
    isBegun() const
    {
        return m_stage == Stage::Following;
    } // the snapshot is out
    bool
    isSending() const
    {
        return m_stage == Stage::Rows;
    } // a part of the snapshot is out: the tool takes its time, nobody is mute

    static constexpr size_t Bytes = 512; // of one, and what a tool keeps of it

    // Sends what there is to send and room for.  Milliseconds until it wants to be called
    // again, -1: when the application changes or the tool takes bytes.
    int pump();

  private:
    enum class Stage { Begin, Rows, Following };

    bool hasRoom() const;
    bool sendEntries(); // false: no room yet
    bool sendSnapshot();
    bool sendDelta();
    bool sendEvents();
    bool isWanted(unsigned kind) const;
    bool keep(const qi_mirror_row *row);
    bool beginRound();

    Session *m_tool;
    Application *m_application;
    Interned *m_interned;
    uint32_t m_sub;
    FeedOptions m_options;
    Stage m_stage = Stage::Begin;
    RefList m_refs; // of the snapshot or the round
    size_t m_next = 0;
    uint64_t m_rev = 0;    // the tool has everything up to here
    uint64_t m_target = 0; // it will have, after the round
    bool m_inRound = false;
    uint64_t m_removal = 0;
    uint64_t m_deltas = 0;
    uint64_t m_record = 0; // next one to send
    QElapsedTimer m_since;
};

} // namespace qi

#endif
