// server.hpp - who is connected, and what everybody together may use.
#ifndef QI_DAEMON_SERVER_HPP
#define QI_DAEMON_SERVER_HPP

#include "application.hpp"
#include "session.hpp"
#include "tool.hpp"

#include <QElapsedTimer>
#include <QList>
#include <QLocalServer>
#include <QObject>
#include <QTimer>

#include <utility>
#include <vector>

namespace qi {

class Server : public QObject {
    Q_OBJECT

  public:
    static constexpr size_t DefaultMemory = size_t(1) << 30;
    static constexpr size_t LeastMemory = size_t(16) << 20;

    struct Options {
        QByteArray directory;          // the runtime directory
        QByteArray address;            // of the socket, within it
        int idleExitMs = 0;            // without sessions for so long: quit; 0: never
        size_t memory = DefaultMemory; // of all sessions and histories; bytes
        int historySeconds = QI_HISTORY_SECONDS; // 0: as long as there is room
    };

    explicit Server(const Options &options, QObject *parent = nullptr);
    ~Server() override;

    // Takes the lock and listens.  False: *error says why; *running: another daemon does.
    bool listen(QByteArray *error, bool *running);
    void shutDown();

    const QList<Application *> &
    applications() const
    {
        return m_applications;
    }
    Application *application(quint64 pid) const;
    const QByteArray &
    directory() const
    {
        return m_options.directory;
    }
    void updateRates();
    std::vector<std::pair<QByteArray, uint64_t>> counters() const;

    static constexpr int MaxSessions = 512;
    static constexpr int MaxUnknown = 64; // in their handshake
    static constexpr int MaxDead = 16;    // applications kept after their end

  private:
    void accept();
    void welcomed(Session *session);
    void sessionClosed(Session *session, const QByteArray &why);
    void applicationKnown(Application *application);
    void applicationEnded(Application *application);
    bool isImpostor(const Application *application, const Application *before) const;
    void forget(Application *application);
    void watchIdle();
    void clearAway();
    bool reclaim();
    void age();

    Options m_options;
    Commons m_commons; // shared, because applications go after our members
    QByteArray m_key;
    int m_lock = -1;
    QLocalServer m_listener;
    QHash<Session *, Tool *> m_tools;
    QHash<Session *, Application *> m_connected; // applications, known or not
    QList<Session *> m_sessions;
    QList<Application *> m_applications; // that have said what they are; dead ones too
    quint32 m_lastNumber = 0;
    QTimer m_idle;
    QTimer m_clearing; // of what applications left
    QTimer m_ageing;   // of histories
    uint64_t m_accepted = 0, m_refused = 0;
    QElapsedTimer m_started;
};

} // namespace qi

#endif
