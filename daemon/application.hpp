// application.hpp - an inspected program: its mirror, and what the daemon asks of it.
#ifndef QI_DAEMON_APPLICATION_HPP
#define QI_DAEMON_APPLICATION_HPP

#include "mirror.h"
#include "session.hpp"

#include <QByteArray>
#include <QHash>
#include <QObject>

#include <functional>
#include <memory>

namespace qi {

// What an application's RESULT is given to.
using Answer = std::function<void(bool ok, const QByteArray &error, const QByteArray &value)>;

class Application : public QObject, public Peer {
    Q_OBJECT

public:
    Application(Session *session, QObject *parent);
    ~Application() override;

    bool take(const qi_frame &frame, QByteArray *error) override;

    bool isKnown() const { return m_pid != 0; } // it has said what it is
    bool isAlive() const { return m_session != nullptr; }
    bool accepts() const { return m_control; }
    quint64 pid() const { return m_pid; }
    quint32 number() const { return m_number; }
    const QByteArray &name() const { return m_name; }
    const QByteArray &segment() const { return m_segment; }
    // The pairs of its PROCESS body, encoded, and their number.
    const QByteArray &process() const { return m_process; }
    uint32_t processFields() const { return m_processFields; }
    const QByteArray &cause() const { return m_cause; }
    qi_mirror *mirror() const { return m_mirror.get(); }
    bool isComplete() const { return m_complete; } // a snapshot has come

    // How often it should send, and whether with records.
    void setRate(unsigned hz, bool events);
    // A request to it; the answer may never come.
    void request(unsigned message, uint64_t task, int level, const QByteArray &text,
                 Answer answer);
    // The session is over.  Reads the segment of a program that died.
    void gone(const QByteArray &cause);

    static constexpr unsigned BaseHz = 2; // while nobody looks
    static constexpr unsigned StallMs = 100;

Q_SIGNALS:
    void known(qi::Application *application);   // PROCESS came
    void changed(qi::Application *application); // rows, entries or records came
    // The pairs of a STALL body, encoded, and their number.
    void stalled(qi::Application *application, const QByteArray &fields, uint32_t count);

private:
    bool takeProcess(const qi_frame &frame, QByteArray *error);
    bool takeRows(const qi_frame &frame, QByteArray *error);
    bool takeEntries(const qi_frame &frame, QByteArray *error);
    bool takeRecords(const qi_frame &frame, QByteArray *error);
    void takeResult(const qi_frame &frame);
    void sendRate();
    void readSegment();

    struct FreeMirror {
        void operator()(qi_mirror *mirror) const { qi_mirror_free(mirror); }
    };

    Session *m_session; // borrowed; null once it is gone
    quint32 m_number;
    std::unique_ptr<qi_mirror, FreeMirror> m_mirror;
    quint64 m_pid = 0;
    quint64 m_start = 0;
    bool m_control = false;
    bool m_complete = false;
    QByteArray m_name, m_segment, m_process, m_cause;
    uint32_t m_processFields = 0;
    unsigned m_hz = 0;
    bool m_events = false;
    uint32_t m_seq = 0;
    QHash<uint32_t, Answer> m_answers;
};

} // namespace qi

#endif
