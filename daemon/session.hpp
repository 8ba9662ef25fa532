// session.hpp - one connection: bytes, frames, the handshake, limits.
//
// A session knows no rows: once its peer is welcomed, its frames go to the Application or
// Tool that was made for it.  A violation costs the peer its session, with one line in
// the log, and nothing else.
#ifndef QI_DAEMON_SESSION_HPP
#define QI_DAEMON_SESSION_HPP

#include "charge.hpp"
#include "hmac.h"
#include "wire.h"

#include <QByteArray>
#include <QLocalSocket>
#include <QObject>
#include <QTimer>

namespace qi {

enum class Role { None, App, Observe, Control };

// What a welcomed peer is to the daemon.
class Peer {
  public:
    virtual ~Peer() = default;
    // A decoded frame; false: it was not allowed (the reason goes into *error).
    virtual bool take(const qi_frame &frame, QByteArray *error) = 0;
    // The socket took bytes: there may be room for more.
    virtual void
    roomForMore()
    {
    }
};

class Session : public QObject {
    Q_OBJECT

  public:
    // Takes the socket over.  What it takes is charged to the budget.
    Session(QLocalSocket *socket, quint32 number, uint64_t peerPid, const QByteArray &key,
            const std::shared_ptr<qi_budget> &budget, QObject *parent);
    ~Session() override;

    quint32
    number() const
    {
        return m_number;
    }
    Role
    role() const
    {
        return m_role;
    }
    QByteArray
    client() const
    {
        return m_client;
    }
    bool
    isOpen() const
    {
        return !m_closed;
    }

    void start();             // sends HELLO
    void setPeer(Peer *peer); // borrowed; after welcomed()
    void send(QByteArrayView frame);
    qint64 unsent() const; // bytes that the socket has not taken
    void refuse(unsigned code, const QByteArray &text); // logged
    void violation(const QByteArray &what);
    // There is no memory left for `what`: it is refused and closed, with the reason
    // "quota".
    void outOfMemory(const char *what);
    Charge &
    charge()
    {
        return m_charge;
    } // of its peer too
    // Nothing is sent or taken any more; closed() comes later, from the event loop.
    void close(const QByteArray &why);
    uint64_t
    peerPid() const
    {
        return m_peerPid;
    } // as the system says; 0: unknown

    static constexpr int HandshakeMs = 5000;
    static constexpr int NoProgressMs = 30000;
    static constexpr qint64 ReadAtOnce = 256 * 1024;
    static constexpr qint64 MaxUnsent = 4 * 1024 * 1024;
    // What a session takes before it has said anything: it, its socket, their buffers.
    static constexpr size_t Bytes = 32 * 1024;

  Q_SIGNALS:
    void welcomed(qi::Session *session);
    void closed(qi::Session *session, const QByteArray &why);

  private:
    void read();
    void takeFrames();
    void takePayload(const uint8_t *payload, size_t size);
    void write(QByteArrayView frame);
    void sendRefusal(unsigned code, const QByteArray &text, const QByteArray &why);
    bool makeRoom();
    void leaveRoom();
    void authenticate(const qi_frame &frame);
    bool isKnownRole(const QByteArray &role);
    void progress(qint64 bytes);

    QLocalSocket *m_socket;
    quint32 m_number;
    uint64_t m_peerPid;
    QByteArray m_key;
    uint8_t m_nonce[QI_NONCE_SIZE];
    Charge m_charge;
    size_t m_sending = 0; // charged for what is unsent
    qi_splitter m_splitter;
    Role m_role = Role::None;
    QByteArray m_client;
    Peer *m_peer = nullptr;
    QTimer m_deadline; // of the handshake, then of progress
    bool m_closed = false;
};

} // namespace qi

#endif
