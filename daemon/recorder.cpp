#include "recorder.hpp"

#include "log.hpp"
#include "segment_read.h"

#include <QDeadlineTimer>

#include <algorithm>
#include <chrono>

namespace qi {

namespace {

int64_t
nowNs()
{
    return QDeadlineTimer::current().deadlineNSecs();
}

// A decoded frame as a payload once more.
QByteArray
payloadOf(const qi_frame &frame)
{
    uint8_t head[32];
    qi_encoder e;

    qi_encoder_init(&e, head, sizeof(head));
    qi_encode_list(&e, 3);
    qi_encode_uint(&e, frame.message);
    qi_encode_uint(&e, 0);
    qi_encode_map(&e, frame.body.size);
    QByteArray payload(reinterpret_cast<const char *>(head), qsizetype(e.size));
    payload.append(reinterpret_cast<const char *>(frame.body.bytes),
                   qsizetype(frame.body.length));
    return payload;
}

} // namespace

Recorder::Recorder(qi_recording *recording, const QByteArray &path,
                   const std::shared_ptr<qi_budget> &budget, QObject *parent)
    : QObject(parent), m_recording(recording), m_path(path), m_charge(budget),
      m_thread(&Recorder::run, this)
{
}

Recorder::~Recorder()
{
    stop();
    m_thread.join();
}

// --- the daemon's thread

void
Recorder::put(const qi_frame &frame)
{
    switch (frame.message) {
    case QI_MSG_EVENTS:
        push({Kind::Records, nowNs(), payloadOf(frame)});
        break;
    case QI_MSG_PROCESS:
    case QI_MSG_INTERN:
    case QI_MSG_SNAP_BEGIN:
    case QI_MSG_STATE:
    case QI_MSG_SNAP_END:
    case QI_MSG_GAP:
    case QI_MSG_STALL:
    case QI_MSG_LINT:
        push({Kind::Frame, nowNs(), payloadOf(frame)});
        break;
    default:
        break;
    }
}

void
Recorder::putSegment(const QByteArray &path)
{
    push({Kind::Segment, nowNs(), path});
}

void
Recorder::push(Item item)
{
    size_t bytes = size_t(item.bytes.size()) + sizeof(Item);
    {
        std::lock_guard lock(m_mutex);
        if (m_stop) {
            return;
        }
        if (makeRoom(bytes)) {
            m_queued += bytes;
            m_queue.push_back(std::move(item));
        }
        else if (item.kind != Kind::Records) {
            emptyQueue();
            m_stop = m_overrun = true;
        }
    }
    m_condition.notify_one();
}

// With the lock.  The oldest records go; their numbers say that some are missing.
bool
Recorder::makeRoom(size_t bytes)
{
    auto at = m_queue.begin();
    for (;;) {
        bool fits = m_queued + bytes <= MaxQueue;
        if (fits && m_charge.take(bytes)) {
            return true;
        }
        while (at != m_queue.end() && at->kind != Kind::Records) {
            ++at;
        }
        if (at == m_queue.end()) {
            // Rows and texts alone are too many, or the memory of all is used up.
            return !fits && m_queued + bytes <= MaxQueueOfRows && m_charge.take(bytes);
        }
        unqueue(size_t(at->bytes.size()) + sizeof(Item));
        at = m_queue.erase(at);
    }
}

void
Recorder::unqueue(size_t bytes)
{
    m_queued -= bytes;
    m_charge.give(bytes);
}

void
Recorder::emptyQueue()
{
    m_queue.clear();
    unqueue(m_queued);
}

void
Recorder::stop()
{
    {
        std::lock_guard lock(m_mutex);
        m_stop = true;
    }
    m_condition.notify_one();
}

QByteArray
Recorder::failure() const
{
    std::lock_guard lock(m_mutex);
    return m_failure;
}

qi_recording_totals
Recorder::stats() const
{
    std::lock_guard lock(m_mutex);
    return m_stats;
}

// --- its own thread

void
Recorder::run()
{
    int status = QI_TRACE_OK;

    for (;;) {
        Item item = {};
        bool hasItem = false;
        {
            std::unique_lock lock(m_mutex);
            m_condition.wait_for(lock, std::chrono::milliseconds(TickMs),
                                 [this] { return m_stop || !m_queue.empty(); });
            if (!m_queue.empty()) {
                item = std::move(m_queue.front());
                m_queue.pop_front();
                unqueue(size_t(item.bytes.size()) + sizeof(Item));
                hasItem = true;
            }
            else if (m_stop) {
                break;
            }
        }
        status = hasItem ? work(item) : qi_recording_tick(m_recording, nowNs());
        std::lock_guard lock(m_mutex);
        qi_recording_stats(m_recording, &m_stats);
        if (status < 0) {
            m_stop = true; // nothing more can be written
            emptyQueue();
            break;
        }
    }
    finish(status);
}

int
Recorder::work(const Item &item)
{
    if (item.kind == Kind::Segment) {
        return readSegment(item.bytes);
    }
    return qi_recording_frame(m_recording,
                              reinterpret_cast<const uint8_t *>(item.bytes.constData()),
                              size_t(item.bytes.size()), item.now);
}

int
Recorder::readSegment(const QByteArray &path)
{
    qi_segment segment;
    int status = QI_TRACE_OK;

    if (qi_segment_load(path.constData(), &segment) == QI_VIEW_OK) {
        status = qi_recording_segment(m_recording, &segment.view, nowNs());
    }
    qi_segment_unload(&segment);
    return status;
}

void
Recorder::finish(int status)
{
    QByteArray failure;

    if (status < 0) {
        failure = qi_trace_text(status);
    }
    qi_recording_totals stats = {};
    int finished = qi_recording_finish(m_recording, nowNs(), &stats);
    if (status == QI_TRACE_OK && finished < 0) {
        failure = qi_trace_text(finished);
    }
    {
        std::lock_guard lock(m_mutex);
        m_failure =
            m_overrun ? QByteArray("the disk cannot keep up with the rows") : failure;
        m_recording = nullptr;
        m_stats = stats;
    }
    QMetaObject::invokeMethod(
        this,
        [this] {
            m_hasEnded = true;
            Q_EMIT ended(this);
        },
        Qt::QueuedConnection);
}

} // namespace qi
