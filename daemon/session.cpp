#include "session.hpp"

#include "frame.hpp"
#include "log.hpp"
#include "runtime.h"
#include "text.hpp"
#include "version.hpp"

#include <ctime>
#include <utility>

namespace qi {

namespace {

// Before it is welcomed a peer sends one small frame.
constexpr size_t MaxUnknownPayload = 4096;
// Room for a frame that is kept for the next one.
constexpr size_t KeptRoom = 16384;

int64_t
monotonicNow()
{
    timespec ts;
    clock_gettime(CLOCK_MONOTONIC, &ts);
    return int64_t(ts.tv_sec) * 1000000000 + ts.tv_nsec;
}

QByteArray
nameOf(const QByteArray &client)
{
    return client.isEmpty() ? QByteArray("unknown") : printable(client);
}

} // namespace

Session::Session(QLocalSocket *socket, quint32 number, uint64_t peerPid,
                 const QByteArray &key, const std::shared_ptr<qi_budget> &budget,
                 QObject *parent)
    : QObject(parent), m_socket(socket), m_number(number), m_peerPid(peerPid), m_key(key),
      m_charge(budget)
{
    m_socket->setParent(this);
    // What we have not read stays with the kernel, which slows the peer down.
    m_socket->setReadBufferSize(ReadAtOnce);
    qi_splitter_init(&m_splitter, MaxUnknownPayload);
    m_deadline.setSingleShot(true);
    connect(m_socket, &QLocalSocket::readyRead, this, &Session::read);
    connect(m_socket, &QLocalSocket::bytesWritten, this, &Session::progress);
    connect(m_socket, &QLocalSocket::disconnected, this, [this] { close("lost"); });
}

Session::~Session()
{
    qi_splitter_fini(&m_splitter);
}

void
Session::start()
{
    if (qi_runtime_random(m_nonce, sizeof(m_nonce)) < 0) {
        close("no random bytes");
        return;
    }
    connect(&m_deadline, &QTimer::timeout, this, [this] {
        if (m_role == Role::None) {
            violation("no handshake within 5 s");
        }
        else if (unsent() > 0) {
            violation("took nothing for 30 s");
        }
    });
    m_deadline.start(HandshakeMs);
    Frame hello(QI_MSG_HELLO, 0, 5);
    hello.text(QI_KEY_HELLO_magic, QI_PROTO_MAGIC)
        .number(QI_KEY_HELLO_major, QI_PROTO_MAJOR)
        .number(QI_KEY_HELLO_minor, QI_PROTO_MINOR)
        .text(QI_KEY_HELLO_server, "qtinterd " QI_VERSION_TEXT)
        .bytes(QI_KEY_HELLO_nonce, m_nonce, sizeof(m_nonce));
    send(hello.done());
    if (m_socket->bytesAvailable() > 0) {
        read();
    }
}

void
Session::setPeer(Peer *peer)
{
    m_peer = peer;
}

void
Session::send(QByteArrayView frame)
{
    if (m_closed || frame.isEmpty()) {
        return;
    }
    if (unsent() + frame.size() > MaxUnsent) {
        violation("takes too little of what it asks for");
        return;
    }
    if (!m_charge.takePassing(size_t(frame.size()))) {
        outOfMemory("what it is sent");
        return;
    }
    m_sending += size_t(frame.size());
    write(frame);
}

void
Session::write(QByteArrayView frame)
{
    if (m_socket->bytesToWrite() == 0 && m_role != Role::None) {
        m_deadline.start(NoProgressMs);
    }
    m_socket->write(frame.data(), frame.size());
}

qint64
Session::unsent() const
{
    return m_socket->bytesToWrite();
}

void
Session::progress(qint64)
{
    size_t left = size_t(unsent());
    if (left < m_sending) {
        m_charge.give(m_sending - left);
        m_sending = left;
    }
    if (m_role == Role::None) {
        return;
    }
    if (unsent() > 0) {
        m_deadline.start(NoProgressMs);
    }
    else {
        m_deadline.stop();
    }
    if (m_peer != nullptr) {
        m_peer->roomForMore();
    }
}

void
Session::refuse(unsigned code, const QByteArray &text)
{
    qCInfo(logSession, "session %u (%s) refused: %s", m_number,
           nameOf(m_client).constData(), printable(text).constData());
    sendRefusal(code, text, "refused");
}

void
Session::outOfMemory(const char *what)
{
    if (m_closed) {
        return;
    }
    qCWarning(logSession,
              "session %u (%s) closed: no memory left for %s: all sessions together have "
              "%zu MiB of %zu",
              m_number, nameOf(m_client).constData(), what,
              qi_budget_used(m_charge.budget().get()) >> 20,
              m_charge.budget()->limit >> 20);
    sendRefusal(QI_REFUSED_FULL, QByteArray("no memory left for ") + what, "quota");
}

// Small, and the last thing it is sent: whatever it has not taken, and uncharged.
void
Session::sendRefusal(unsigned code, const QByteArray &text, const QByteArray &why)
{
    Frame frame(QI_MSG_REFUSE, 0, 4);
    frame.number(QI_KEY_REFUSE_code, code)
        .text(QI_KEY_REFUSE_text, text)
        .number(QI_KEY_REFUSE_major, QI_PROTO_MAJOR)
        .number(QI_KEY_REFUSE_minor, QI_PROTO_MINOR);
    write(frame.done());
    close(why);
}

void
Session::violation(const QByteArray &what)
{
    if (m_closed) {
        return;
    }
    qCWarning(logSession, "session %u (%s) closed: %s", m_number,
              nameOf(m_client).constData(), printable(what).constData());
    if (m_role == Role::None) {
        sendRefusal(QI_REFUSED_PROTOCOL, what, "refused");
        return;
    }
    close("protocol");
}

void
Session::close(const QByteArray &why)
{
    if (m_closed) {
        return;
    }
    m_closed = true;
    m_deadline.stop();
    m_peer = nullptr;
    disconnect(m_socket, nullptr, this, nullptr);
    // What was written goes out as far as the peer takes it now; nobody waits.
    m_socket->flush();
    m_socket->abort();
    m_charge.give(std::exchange(m_sending, 0));
    // Whoever caused this may be in the midst of its work with all sessions.
    QMetaObject::invokeMethod(
        this, [this, why] { Q_EMIT closed(this, why); }, Qt::QueuedConnection);
}

// For the bytes that come next; false: it is closed.
bool
Session::makeRoom()
{
    if (!m_charge.takePassing(qi_splitter_growth(&m_splitter))) {
        outOfMemory("its frame");
        return false;
    }
    return true;
}

// After large frames, once they are done with.
void
Session::leaveRoom()
{
    if (m_splitter.capacity > KeptRoom && m_splitter.size == m_splitter.taken) {
        size_t limit = m_splitter.limit;
        m_charge.give(m_splitter.capacity);
        qi_splitter_fini(&m_splitter);
        qi_splitter_init(&m_splitter, limit);
    }
}

void
Session::read()
{
    uint8_t *bytes;
    size_t room;

    // At most ReadAtOnce for each call: then it is the others' turn.
    qint64 budget = ReadAtOnce;
    while (!m_closed && budget > 0 && m_socket->bytesAvailable() > 0) {
        if (!makeRoom()) {
            return;
        }
        if (qi_splitter_room(&m_splitter, &bytes, &room) < 0) {
            violation("no memory for its frame");
            return;
        }
        qint64 n =
            m_socket->read(reinterpret_cast<char *>(bytes), qMin(qint64(room), budget));
        if (n <= 0) {
            break;
        }
        budget -= n;
        qi_splitter_filled(&m_splitter, size_t(n));
        takeFrames();
    }
    if (!m_closed && m_socket->bytesAvailable() > 0) {
        QMetaObject::invokeMethod(this, &Session::read, Qt::QueuedConnection);
    }
    else {
        leaveRoom();
    }
}

void
Session::takeFrames()
{
    const uint8_t *payload;
    size_t size;
    int r;

    while (!m_closed && (r = qi_splitter_next(&m_splitter, &payload, &size)) != 0) {
        if (r < 0) {
            violation(qi_wire_text(r));
            return;
        }
        takePayload(payload, size);
    }
}

void
Session::takePayload(const uint8_t *payload, size_t size)
{
    qi_frame frame;
    int r = qi_frame_decode(payload, size, &frame);

    if (r < 0) {
        violation(qi_wire_text(r));
        return;
    }
    if (r == QI_WIRE_UNKNOWN) {
        return;
    }
    if (m_role == Role::None) {
        if (frame.message != QI_MSG_AUTH) {
            violation("a message before AUTH");
            return;
        }
        authenticate(frame);
        return;
    }
    unsigned from = m_role == Role::App ? QI_FROM_APPLICATION : QI_FROM_TOOL;
    const struct qi_message_info *info = qi_message_info(frame.message);
    if (info == nullptr || !(info->senders & from) || frame.message == QI_MSG_AUTH) {
        violation(QByteArray("a message that is not its to send: ")
                  + (info != nullptr ? info->name : "?"));
        return;
    }
    if (frame.message == QI_MSG_GOODBYE) {
        close("goodbye");
        return;
    }
    QByteArray error;
    if (m_peer != nullptr && !m_peer->take(frame, &error)) {
        violation(error);
    }
}

bool
Session::isKnownRole(const QByteArray &role)
{
    if (role == "app") {
        m_role = Role::App;
    }
    else if (role == "observe") {
        m_role = Role::Observe;
    }
    else if (role == "control") {
        m_role = Role::Control;
    }
    return m_role != Role::None;
}

void
Session::authenticate(const qi_frame &frame)
{
    uint64_t major = qi_frame_uint(&frame, QI_KEY_AUTH_major, 0);
    uint64_t minor = qi_frame_uint(&frame, QI_KEY_AUTH_minor, 0);
    const qi_value &nonce = frame.fields[QI_KEY_AUTH_nonce];
    const qi_value &hmac = frame.fields[QI_KEY_AUTH_hmac];
    QByteArray role = textOf(frame, QI_KEY_AUTH_role, 32);
    uint8_t mac[QI_MAC_SIZE];

    m_client = textOf(frame, QI_KEY_AUTH_client, 80);
    if (major != QI_PROTO_MAJOR) {
        refuse(QI_REFUSED_VERSION, "qtinterd " QI_VERSION_TEXT " speaks protocol "
                                       + QByteArray::number(QI_PROTO_MAJOR) + "."
                                       + QByteArray::number(QI_PROTO_MINOR) + ", "
                                       + m_client + " speaks "
                                       + QByteArray::number(qulonglong(major)) + "."
                                       + QByteArray::number(qulonglong(minor)));
        return;
    }
    if (nonce.size != QI_NONCE_SIZE || hmac.size != QI_MAC_SIZE) {
        violation("a nonce or an HMAC of a wrong size");
        return;
    }
    auto key = reinterpret_cast<const uint8_t *>(m_key.constData());
    qi_mac_client(key, m_nonce, nonce.bytes, role.constData(), size_t(role.size()), mac);
    if (!qi_mac_equal(mac, hmac.bytes)) {
        refuse(QI_REFUSED_KEY,
               "the key is another one: is this the right runtime directory?");
        return;
    }
    if (!isKnownRole(role)) {
        refuse(QI_REFUSED_ROLE, "there is no role " + role);
        return;
    }
    m_splitter.limit = QI_FRAME_MAX;
    m_deadline.stop();
    qi_mac_server(key, nonce.bytes, m_nonce, mac);
    Frame welcome(QI_MSG_WELCOME, frame.seq, 5);
    welcome.number(QI_KEY_WELCOME_session, m_number)
        .text(QI_KEY_WELCOME_role, role)
        .number(QI_KEY_WELCOME_minor, qMin(minor, uint64_t(QI_PROTO_MINOR)))
        .signedNumber(QI_KEY_WELCOME_clock, monotonicNow())
        .bytes(QI_KEY_WELCOME_hmac, mac, sizeof(mac));
    send(welcome.done());
    Q_EMIT welcomed(this);
}

} // namespace qi
