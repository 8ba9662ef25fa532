// application.hpp - an inspected program: its mirror, and what the daemon asks of it.
#ifndef QI_DAEMON_APPLICATION_HPP
#define QI_DAEMON_APPLICATION_HPP

#include "histogram.h"
#include "lints.h"
#include "mirror.h"
#include "recorder.hpp"
#include "session.hpp"

#include <QByteArray>
#include <QHash>
#include <QObject>
#include <QTimer>

#include <array>
#include <functional>
#include <memory>

namespace qi {

class Frame;

// What an application's RESULT is given to.
using Answer =
    std::function<void(bool ok, const QByteArray &error, const QByteArray &value)>;

// The pairs of a LINT, and how many they are.
constexpr uint32_t LintFields = 8;
void encodeFinding(Frame &frame, uint64_t pid, const qi_finding *finding);

// What all applications have together.
struct Commons {
    QByteArray directory; // the runtime directory, the only place where segments are read
    std::shared_ptr<qi_history> history;
    std::shared_ptr<qi_budget> budget;
    std::function<bool()> reclaim; // memory of what has ended; false: there is none
};

class Application : public QObject, public Peer {
    Q_OBJECT

  public:
    Application(Session *session, const Commons &commons, QObject *parent);
    ~Application() override;

    bool take(const qi_frame &frame, QByteArray *error) override;

    bool
    isKnown() const
    {
        return m_pid != 0;
    } // it has said what it is
    bool
    isAlive() const
    {
        return m_session != nullptr;
    }
    bool
    accepts() const
    {
        return m_control;
    }
    quint64
    pid() const
    {
        return m_pid;
    }
    Session *
    session() const
    {
        return m_session;
    }
    quint32
    number() const
    {
        return m_number;
    }
    const QByteArray &
    name() const
    {
        return m_name;
    }
    const QByteArray &
    segment() const
    {
        return m_segment;
    }
    // The pairs of its PROCESS body, encoded, and their number.
    const QByteArray &
    process() const
    {
        return m_process;
    }
    uint32_t
    processFields() const
    {
        return m_processFields;
    }
    const QByteArray &
    cause() const
    {
        return m_cause;
    }
    qi_mirror *
    mirror() const
    {
        return m_mirror.get();
    }
    const qi_lints *
    lints() const
    {
        return m_lints.get();
    }
    const qi_histograms *
    histograms() const
    {
        return m_histograms.get();
    }
    bool
    isComplete() const
    {
        return m_complete;
    } // a snapshot has come

    // How often it should send, and whether with records.
    void setRate(unsigned hz, bool events);
    // Asks for what changed since its last frame, which at a low rate is long ago; until
    // it has come, or has not for a while, isRefreshing().
    void refresh();
    bool
    isRefreshing() const
    {
        return m_refreshing.isActive();
    }
    // Calls when what it has written up to now has come, or after a while.
    void flush(std::function<void()> then);
    struct Request {
        unsigned message = 0;
        uint64_t task = 0; // 0: the loop's thread
        uint64_t loop = 0; // its number; 0: the one that has been busy for longest
        int level = 0;
        QByteArray text;
    };
    // A request to it.  The answer comes in any case, within RequestMs.
    void request(const Request &request, Answer answer);
    // A STALL that goes on: the pairs of its body, encoded, and their number.
    struct Stall {
        QByteArray fields;
        uint32_t count = 0;
    };
    const QHash<uint64_t, Stall> &
    stalls() const
    {
        return m_stalls;
    }
    // Begins a recording; false: *error says why not.  path: absolute, trigger: as in
    // trace_trigger.h.
    bool record(const QByteArray &path, uint64_t maxBytes, int64_t maxAgeNs,
                const qi_trigger &trigger, QByteArray *error);
    // The recording in progress or the last one that nobody has asked for yet; null:
    // none.
    Recorder *
    recorder() const
    {
        return m_recorder.get();
    }
    // Takes it out, to be ended and deleted.
    std::unique_ptr<Recorder>
    takeRecorder()
    {
        return std::move(m_recorder);
    }
    // The session is over.  ended() follows: at once, or when it is known whether the
    // program died; then its segment has been read.
    void gone(const QByteArray &cause);
    bool
    hasEnded() const
    {
        return m_hasEnded;
    } // ended() was emitted
    // Gives back its memory: nobody must ask it anything from now on.
    void release();
    // What was over, or came, so long ago goes; ns.  Of one that has ended all stays.
    void age(int64_t most);
    // What an earlier connection of the same process brought: its history goes on.
    void continueFrom(Application *before);
    bool isSameProcess(const Application *other) const;

    static constexpr unsigned BaseHz = 2;   // while nobody looks
    static constexpr unsigned FreshHz = 20; // from here on the mirror is never old
    static constexpr unsigned StallMs = 100;
    static constexpr int RequestMs = 5000;
    static constexpr unsigned RecordHz = 20; // while it is recorded

  Q_SIGNALS:
    void known(qi::Application *application); // PROCESS came
    // PROCESS came again, and says more: the binding has been loaded.
    void described(qi::Application *application);
    void ended(qi::Application *application); // after gone()
    // A finding appeared or went away; it is valid during the call.
    void found(qi::Application *application, const qi_finding *finding);
    void changed(qi::Application *application); // rows, entries or records came
    // The pairs of a STALL body, encoded, and their number.
    void stalled(qi::Application *application, const QByteArray &fields, uint32_t count);

  private:
    bool takeProcess(const qi_frame &frame, QByteArray *error);
    bool takeRows(const qi_frame &frame, QByteArray *error);
    bool takeEntries(const qi_frame &frame, QByteArray *error);
    bool takeRecords(const qi_frame &frame, QByteArray *error);
    bool takeResult(const qi_frame &frame, QByteArray *error);
    void takeStall(const qi_frame &frame);
    void keepStall(const qi_frame &frame);
    void forgetStalls();
    void giveUp(uint32_t seq, bool onLoop);
    bool takes(int status, QByteArray *error);
    template <typename Put> int putWithReclaim(Put put);
    bool putRecord(uint64_t number, const qi_record &record, QByteArray *error);
    void checkLints();
    void tellFindings();
    void sendRate();
    unsigned stallMs() const;
    bool keepProcess(const qi_frame &frame);
    void changeLevel(uint32_t level);
    void ping(Answer answer);
    void askForRound(std::function<void()> then);
    void decideCause();
    void endRecording();
    bool segmentIsOurs() const;
    void readSegment();

    struct Free {
        void
        operator()(qi_mirror *mirror) const
        {
            qi_mirror_free(mirror);
        }
        void
        operator()(qi_lints *lints) const
        {
            qi_lints_free(lints);
        }
        void
        operator()(qi_histograms *all) const
        {
            qi_histograms_free(all);
        }
    };

    Session *m_session; // borrowed; null once it is gone
    quint32 m_number;
    Commons m_commons; // outlives the mirror
    Charge m_charge;
    std::unique_ptr<qi_mirror, Free> m_mirror;
    std::unique_ptr<qi_lints, Free> m_lints;
    std::unique_ptr<qi_histograms, Free> m_histograms;
    QTimer m_check;        // of the lints
    QTimer m_refreshing;   // limits it
    int64_t m_stateTs = 0; // of the last STATE
    quint64 m_pid = 0;
    quint64 m_start = 0;
    bool m_control = false;
    unsigned m_level = 0;
    qsizetype m_levelAt = -1; // where it is in m_process
    int64_t m_mono0 = 0, m_wall0 = 0;
    std::array<QByteArray, 4> m_versions; // qtinter, python, binding, qt
    bool m_complete = false;
    QByteArray m_name, m_segment, m_process, m_cause;
    uint32_t m_processFields = 0;
    unsigned m_hz = 0;
    bool m_events = false;
    uint32_t m_seq = 0;
    int m_looks = 0; // for its death
    bool m_hasEnded = false;
    QHash<uint32_t, Answer> m_answers; // an empty one: it is too late for it
    QHash<uint64_t, Stall> m_stalls;   // those that go on, by loop; charged
    bool m_stallsFull = false;         // that is logged once
    std::unique_ptr<Recorder> m_recorder;
};

} // namespace qi

#endif
