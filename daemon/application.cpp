#include "application.hpp"

#include "frame.hpp"
#include "log.hpp"
#include "runtime.h"
#include "segment_read.h"

namespace qi {

namespace {

constexpr int MaxAnswers = 64;

QByteArray textOf(const qi_frame &frame, unsigned key)
{
    const qi_value &value = frame.fields[key];
    if (value.type != QI_VALUE_TEXT) {
        return {};
    }
    return {reinterpret_cast<const char *>(value.bytes), qsizetype(value.size)};
}

} // namespace

Application::Application(Session *session, QObject *parent)
    : QObject(parent), m_session(session), m_number(session->number())
{
    static const qi_mirror_limits limits = QI_MIRROR_LIMITS;
    m_mirror.reset(qi_mirror_new(&limits));
    if (!m_mirror) {
        session->close("no memory");
        return;
    }
    session->setPeer(this);
}

Application::~Application() = default;

bool Application::take(const qi_frame &frame, QByteArray *error)
{
    if (!isKnown() && frame.message != QI_MSG_PROCESS) {
        *error = "a message before PROCESS";
        return false;
    }
    switch (frame.message) {
    case QI_MSG_PROCESS:
        return takeProcess(frame, error);
    case QI_MSG_INTERN:
        return takeEntries(frame, error);
    case QI_MSG_SNAP_BEGIN:
        qi_mirror_begin_snapshot(mirror());
        return true;
    case QI_MSG_SNAP_END:
        qi_mirror_end_snapshot(mirror());
        m_complete = true;
        Q_EMIT changed(this);
        return true;
    case QI_MSG_STATE:
        return takeRows(frame, error);
    case QI_MSG_EVENTS:
        return takeRecords(frame, error);
    case QI_MSG_GAP:
        qi_mirror_put_gap(mirror(), qi_frame_uint(&frame, QI_KEY_GAP_first, 0),
                          qi_frame_uint(&frame, QI_KEY_GAP_count, 0));
        Q_EMIT changed(this);
        return true;
    case QI_MSG_STALL:
        Q_EMIT stalled(this,
                     QByteArray(reinterpret_cast<const char *>(frame.body.bytes),
                                qsizetype(frame.body.length)),
                     frame.body.size);
        return true;
    case QI_MSG_RESULT:
        takeResult(frame);
        return true;
    case QI_MSG_PING: {
        Frame result(QI_MSG_RESULT, frame.seq, 1);
        m_session->send(result.flag(QI_KEY_RESULT_ok, true).done());
        return true;
    }
    default:
        return true;
    }
}

bool Application::takeProcess(const qi_frame &frame, QByteArray *error)
{
    uint64_t pid = qi_frame_uint(&frame, QI_KEY_PROCESS_pid, 0);

    if (pid == 0 || (m_pid != 0 && pid != m_pid)) {
        *error = "a PROCESS with another pid";
        return false;
    }
    bool first = m_pid == 0;
    m_pid = pid;
    m_start = qi_frame_uint(&frame, QI_KEY_PROCESS_start, 0);
    m_control = qi_frame_uint(&frame, QI_KEY_PROCESS_control, 0) != 0;
    m_name = textOf(frame, QI_KEY_PROCESS_name).left(64);
    m_segment = textOf(frame, QI_KEY_PROCESS_segment).left(512);
    // To be passed on to tools as they are.
    m_process = QByteArray(reinterpret_cast<const char *>(frame.body.bytes),
                           qsizetype(frame.body.length));
    m_processFields = frame.body.size;
    if (first) {
        qCInfo(logApp, "session %u: %s, pid %llu", m_number, m_name.constData(),
               static_cast<unsigned long long>(m_pid));
        Q_EMIT known(this);
        sendRate();
    }
    else {
        qi_mirror_drop_entries(mirror());
    }
    return true;
}

bool Application::takeRows(const qi_frame &frame, QByteArray *error)
{
    qi_cursor cursor = qi_cursor_in(&frame.fields[QI_KEY_STATE_rows]);
    qi_value value;
    qi_wire_row row;

    while (qi_cursor_next(&cursor, &value)) {
        if (!qi_row_decode(&value, &row)) {
            *error = "a row that is none";
            return false;
        }
        int status = qi_mirror_put_row(mirror(), &row);
        if (status < 0) {
            *error = qi_mirror_text(status);
            return false;
        }
    }
    Q_EMIT changed(this);
    return true;
}

bool Application::takeEntries(const qi_frame &frame, QByteArray *error)
{
    qi_cursor cursor = qi_cursor_in(&frame.fields[QI_KEY_INTERN_entries]);
    qi_value value;
    qi_wire_entry entry;

    while (qi_cursor_next(&cursor, &value)) {
        if (!qi_entry_decode(&value, &entry)) {
            continue; // a type of a later version
        }
        int status = qi_mirror_put_entry(mirror(), &entry);
        if (status < 0) {
            *error = qi_mirror_text(status);
            return false;
        }
    }
    return true;
}

bool Application::takeRecords(const qi_frame &frame, QByteArray *error)
{
    uint64_t number = qi_frame_uint(&frame, QI_KEY_EVENTS_first, 0);
    int64_t ts = qi_frame_int(&frame, QI_KEY_EVENTS_ts, 0);
    qi_cursor cursor = qi_cursor_in(&frame.fields[QI_KEY_EVENTS_records]);
    qi_record record;
    int bad = 0;

    while (qi_record_decode(&cursor, &ts, &record, &bad)) {
        int status = qi_mirror_put_record(mirror(), number++, &record);
        if (status < 0) {
            *error = qi_mirror_text(status);
            return false;
        }
    }
    if (bad) {
        *error = "records that are none";
        return false;
    }
    Q_EMIT changed(this);
    return true;
}

void Application::takeResult(const qi_frame &frame)
{
    Answer answer = m_answers.take(frame.seq);
    if (answer) {
        answer(qi_frame_uint(&frame, QI_KEY_RESULT_ok, 0) != 0,
               textOf(frame, QI_KEY_RESULT_error), textOf(frame, QI_KEY_RESULT_value));
    }
}

void Application::setRate(unsigned hz, bool events)
{
    hz = qBound(BaseHz, hz, unsigned(QI_RATE_MAX));
    if (hz != m_hz || events != m_events) {
        m_hz = hz;
        m_events = events;
        sendRate();
    }
}

void Application::sendRate()
{
    if (m_session == nullptr || !isKnown()) {
        return;
    }
    if (m_hz == 0) {
        m_hz = BaseHz;
    }
    Frame rate(QI_MSG_SET_RATE, 0, 3);
    // Records always: they are the history, and what lints are found in.
    rate.number(QI_KEY_SET_RATE_hz, m_hz)
        .flag(QI_KEY_SET_RATE_events, true)
        .number(QI_KEY_SET_RATE_stall, StallMs);
    m_session->send(rate.done());
}

void Application::request(unsigned message, uint64_t task, int level,
                          const QByteArray &text, Answer answer)
{
    if (m_session == nullptr) {
        answer(false, "the application has ended", {});
        return;
    }
    if (m_answers.size() >= MaxAnswers) {
        answer(false, "the application has too much to answer", {});
        return;
    }
    uint32_t seq = ++m_seq;
    m_answers.insert(seq, std::move(answer));
    uint32_t fields = message == QI_MSG_CANCEL ? 1 + !text.isEmpty()
                      : message == QI_MSG_STACK ? (task != 0)
                                                : 1;
    Frame frame(message, seq, fields);
    switch (message) {
    case QI_MSG_CANCEL:
        frame.number(QI_KEY_CANCEL_task, task);
        if (!text.isEmpty()) {
            frame.text(QI_KEY_CANCEL_message, text);
        }
        break;
    case QI_MSG_STACK:
        if (task != 0) {
            frame.number(QI_KEY_STACK_task, task);
        }
        break;
    default:
        frame.number(QI_KEY_SET_LEVEL_level, uint64_t(level));
        break;
    }
    m_session->send(frame.done());
}

void Application::gone(const QByteArray &cause)
{
    m_session = nullptr;
    m_cause = cause;
    const auto answers = std::exchange(m_answers, {});
    for (const Answer &answer : answers) {
        answer(false, "the application went away", {});
    }
    if (isKnown() && cause == "lost") {
        readSegment();
    }
}

void Application::readSegment()
{
    if (qi_runtime_start_time(m_pid) == m_start && m_start != 0) {
        return; // it lives: only the connection is lost
    }
    qi_segment segment;
    int r = qi_segment_load(m_segment.constData(), &segment);
    if (r < 0) {
        qCInfo(logApp, "pid %llu left no segment: %s",
               static_cast<unsigned long long>(m_pid), qi_view_text(r));
        return;
    }
    const qi_segment_header &header = segment.view.header;
    if (header.pid == m_pid && header.start_time == m_start) {
        m_cause = header.closed ? "goodbye" : "died";
        r = qi_mirror_load_segment(mirror(), &segment.view);
        if (r < 0) {
            qCWarning(logApp, "segment of pid %llu: %s",
                      static_cast<unsigned long long>(m_pid), qi_mirror_text(r));
        }
        m_complete = true;
    }
    qi_segment_unload(&segment);
}

} // namespace qi
