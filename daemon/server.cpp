#include "server.hpp"

#include "frame.hpp"
#include "leftovers.h"
#include "log.hpp"
#include "process.hpp"
#include "runtime.h"
#include "text.hpp"

#include <QCoreApplication>
#include <QLocalSocket>

#include <algorithm>
#include <cerrno>
#include <cstring>
#include <fcntl.h>
#include <sys/file.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

namespace qi {

namespace {
constexpr int ClearMs = 3600 * 1000;
constexpr size_t ReservedPart = 8;
constexpr int AgeParts = 10; // as qi_mirror_age() wants
} // namespace

Q_LOGGING_CATEGORY(logServer, "qtinterd.server", QtInfoMsg)
Q_LOGGING_CATEGORY(logSession, "qtinterd.session", QtInfoMsg)
Q_LOGGING_CATEGORY(logApp, "qtinterd.app", QtInfoMsg)

Server::Server(const Options &options, QObject *parent)
    : QObject(parent), m_options(options)
{
    m_started.start();
    // Others are kept out by the mode of the socket and of its directory; accept()
    // looks at the peer besides, because some systems do not heed a socket's mode.
    m_listener.setSocketOptions(QLocalServer::UserAccessOption);
    connect(&m_listener, &QLocalServer::newConnection, this, &Server::accept);
    m_idle.setSingleShot(true);
    connect(&m_idle, &QTimer::timeout, this, [this] {
        qCInfo(logServer, "nobody is here: leaving");
        shutDown();
    });
    connect(&m_clearing, &QTimer::timeout, this, &Server::clearAway);
    connect(&m_ageing, &QTimer::timeout, this, &Server::age);
    // A quarter is for what was, and the rest for what is.
    size_t past = qMin(size_t(QI_HISTORY_BYTES), options.memory / 4);
    size_t present = options.memory - past;
    m_commons.directory = options.directory;
    m_commons.history =
        std::make_shared<qi_history>(qi_history{past, 0, 0, 0, 0, nullptr});
    m_commons.budget =
        std::make_shared<qi_budget>(qi_budget{present, present / ReservedPart, 0, 0});
    m_commons.reclaim = [this] { return reclaim(); };
}

Server::~Server()
{
    if (m_lock >= 0) {
        ::close(m_lock);
    }
}

bool
Server::listen(QByteArray *error, bool *running)
{
    *running = false;
    int r = qi_runtime_prepare(m_options.directory.constData());
    if (r < 0) {
        *error = m_options.directory + ": " + qi_runtime_text(r);
        return false;
    }
    QByteArray lock = m_options.address + ".lock";
    m_lock = ::open(lock.constData(), O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (m_lock < 0 || ::flock(m_lock, LOCK_EX | LOCK_NB) < 0) {
        *running = m_lock >= 0 && errno == EWOULDBLOCK;
        *error = *running ? "another qtinterd runs for " + m_options.address
                          : lock + ": " + std::strerror(errno);
        return false;
    }
    uint8_t key[QI_KEY_SIZE];
    r = qi_runtime_key(m_options.directory.constData(), 1, key);
    if (r < 0) {
        *error = m_options.directory + "/key: " + qi_runtime_text(r);
        return false;
    }
    m_key = QByteArray(reinterpret_cast<const char *>(key), sizeof(key));
    // The lock says that whoever made this socket has gone.
    QString address = QString::fromLocal8Bit(m_options.address);
    QLocalServer::removeServer(address);
    if (!m_listener.listen(address)) {
        *error = m_options.address + ": " + m_listener.errorString().toLocal8Bit();
        return false;
    }
    // Qt gives it the owner's x too.
    if (::chmod(m_options.address.constData(), 0600) < 0) {
        *error = m_options.address + ": " + std::strerror(errno);
        return false;
    }
    clearAway();
    m_clearing.start(ClearMs);
    if (m_options.historySeconds > 0) {
        m_ageing.start(m_options.historySeconds * 1000 / AgeParts);
    }
    qCInfo(logServer, "listening on %s", m_options.address.constData());
    watchIdle();
    return true;
}

void
Server::clearAway()
{
    static const qi_leftover_limits limits = QI_LEFTOVER_LIMITS;
    if (size_t n = qi_leftovers_remove(m_options.directory.constData(), &limits)) {
        qCInfo(logServer, "%zu old segments removed", n);
    }
}

// The oldest of those that have ended goes.
bool
Server::reclaim()
{
    for (Application *application : std::as_const(m_applications)) {
        if (application->hasEnded()) {
            qCInfo(logApp, "pid %llu: forgotten for want of memory",
                   static_cast<unsigned long long>(application->pid()));
            forget(application);
            return true;
        }
    }
    return false;
}

void
Server::age()
{
    for (Application *application : std::as_const(m_applications)) {
        application->age(int64_t(m_options.historySeconds) * 1000000000);
    }
}

void
Server::shutDown()
{
    m_listener.close();
    Frame goodbye(QI_MSG_GOODBYE, 0, 1);
    goodbye.text(QI_KEY_GOODBYE_reason, "shutdown");
    QByteArray bytes = goodbye.done().toByteArray();
    const auto sessions = m_sessions;
    for (Session *session : sessions) {
        session->send(bytes);
        session->close("shutdown");
    }
    QCoreApplication::quit();
}

// --- connections

void
Server::accept()
{
    while (QLocalSocket *socket = m_listener.nextPendingConnection()) {
        m_accepted++;
        PeerIdentity peer = peerOf(int(socket->socketDescriptor()));
        auto open =
            std::count_if(m_sessions.cbegin(), m_sessions.cend(),
                          [](const Session *session) { return session->isOpen(); });
        auto unknown = std::count_if(
            m_sessions.cbegin(), m_sessions.cend(), [](const Session *session) {
                return session->isOpen() && session->role() == Role::None;
            });
        auto *session =
            new Session(socket, ++m_lastNumber, peer.pid, m_key, m_commons.budget, this);
        m_sessions.append(session);
        connect(session, &Session::welcomed, this, &Server::welcomed);
        connect(session, &Session::closed, this, &Server::sessionClosed);
        m_idle.stop();
        if (!peer.known || peer.uid != ::getuid()) {
            m_refused++;
            session->refuse(QI_REFUSED_USER, "you are another user");
        }
        else if (open >= MaxSessions || unknown >= MaxUnknown) {
            m_refused++;
            session->refuse(QI_REFUSED_FULL, "too many sessions");
        }
        else if (!session->charge().takePassing(Session::Bytes)
                 && !(reclaim() && session->charge().takePassing(Session::Bytes))) {
            m_refused++;
            session->outOfMemory("a session");
        }
        else {
            session->start();
        }
    }
}

void
Server::welcomed(Session *session)
{
    if (session->role() == Role::App) {
        auto *application = new Application(session, m_commons, this);
        m_connected.insert(session, application);
        connect(application, &Application::known, this, &Server::applicationKnown);
        connect(application, &Application::described, this, [this](Application *known) {
            for (Tool *tool : std::as_const(m_tools)) {
                tool->applicationDescribed(known);
            }
        });
        connect(application, &Application::ended, this, &Server::applicationEnded);
        connect(application, &Application::changed, this, [this](Application *changed) {
            for (Tool *tool : std::as_const(m_tools)) {
                tool->applicationChanged(changed);
            }
        });
        connect(application, &Application::found, this,
                [this](Application *finder, const qi_finding *finding) {
                    for (Tool *tool : std::as_const(m_tools)) {
                        tool->found(finder, finding);
                    }
                });
        connect(application, &Application::stalled, this,
                [this](Application *stalled, const QByteArray &fields, uint32_t count) {
                    for (Tool *tool : std::as_const(m_tools)) {
                        tool->stalled(stalled, fields, count);
                    }
                });
        return;
    }
    m_tools.insert(session, new Tool(session, this, this));
    qCDebug(logSession, "session %u: %s", session->number(),
            session->client().constData());
}

void
Server::sessionClosed(Session *session, const QByteArray &why)
{
    m_sessions.removeOne(session);
    session->deleteLater();
    if (Tool *tool = m_tools.take(session)) {
        tool->deleteLater();
        updateRates();
    }
    if (Application *application = m_connected.take(session)) {
        application->gone(why);
    }
    watchIdle();
}

void
Server::watchIdle()
{
    if (m_options.idleExitMs > 0 && m_sessions.isEmpty()) {
        m_idle.start(m_options.idleExitMs);
    }
}

// --- applications

Application *
Server::application(quint64 pid) const
{
    for (Application *application : m_applications) {
        if (application->pid() == pid) {
            return application;
        }
    }
    return nullptr;
}

void
Server::applicationKnown(Application *application)
{
    // The same program once more: after a lost connection, or under a pid used again.
    if (Application *before = this->application(application->pid())) {
        if (isImpostor(application, before)) {
            application->session()->violation("the pid of another session");
            return;
        }
        if (application->isSameProcess(before)) {
            application->continueFrom(before);
        }
        forget(before);
    }
    m_applications.append(application);
    for (Tool *tool : std::as_const(m_tools)) {
        tool->applicationUp(application);
    }
    updateRates();
}

// Does it say that it is a program that another process has connected?
bool
Server::isImpostor(const Application *application, const Application *before) const
{
    return before->isAlive()
           && (before->session()->peerPid() != application->session()->peerPid()
               || before->session()->peerPid() == 0);
}

void
Server::applicationEnded(Application *application)
{
    if (!m_applications.contains(application)) {
        application->deleteLater();
        return;
    }
    qCInfo(logApp, "pid %llu: %s", static_cast<unsigned long long>(application->pid()),
           application->cause().constData());
    for (Tool *tool : std::as_const(m_tools)) {
        tool->applicationDown(application);
    }
    clearAway();
    if (application->cause() == "quota") {
        forget(application); // it was too much
    }
    int dead = 0;
    for (qsizetype i = m_applications.size() - 1; i >= 0; i--) {
        if (!m_applications[i]->isAlive() && ++dead > MaxDead) {
            forget(m_applications[i]);
        }
    }
}

void
Server::forget(Application *application)
{
    for (Tool *tool : std::as_const(m_tools)) {
        tool->applicationForgotten(application);
    }
    m_applications.removeOne(application);
    for (auto it = m_connected.begin(); it != m_connected.end(); ++it) {
        if (it.value() == application) {
            Session *session = it.key();
            m_connected.erase(it);
            session->close("replaced");
            break;
        }
    }
    application->release();
    application->deleteLater();
}

void
Server::updateRates()
{
    for (Application *application : std::as_const(m_applications)) {
        if (!application->isAlive()) {
            continue;
        }
        unsigned hz = 0;
        bool events = false;
        for (Tool *tool : std::as_const(m_tools)) {
            hz = qMax(hz, tool->rateFor(application, &events));
        }
        application->setRate(hz, events);
    }
}

std::vector<std::pair<QByteArray, uint64_t>>
Server::counters() const
{
    uint64_t bytes = 0, live = 0, ended = 0, lost = 0;
    int alive = 0;
    for (const Application *application : m_applications) {
        const qi_mirror *mirror = application->mirror();
        alive += application->isAlive();
        bytes += qi_mirror_bytes(mirror);
        live += qi_mirror_live(mirror);
        ended += qi_mirror_ended(mirror);
        lost += qi_mirror_lost(mirror);
    }
    return {
        {"uptime_ms", uint64_t(m_started.elapsed())},
        {"accepted", m_accepted},
        {"refused", m_refused},
        {"sessions", uint64_t(m_sessions.size())},
        {"tools", uint64_t(m_tools.size())},
        {"applications", uint64_t(alive)},
        {"dead", uint64_t(m_applications.size() - alive)},
        {"rows", live},
        {"ended", ended},
        {"lost", lost},
        {"mirror_bytes", bytes},
        {"memory_limit", m_commons.budget->limit},
        {"memory_bytes", qi_budget_used(m_commons.budget.get())},
        {"memory_refused", m_commons.budget->refused},
        {"history_bytes", m_commons.history->used},
        {"history_rows_dropped", m_commons.history->rows_dropped},
        {"history_records_dropped", m_commons.history->records_dropped},
    };
}

} // namespace qi
