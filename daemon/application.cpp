#include "application.hpp"

#include "frame.hpp"
#include "log.hpp"
#include "process.hpp"
#include "runtime.h"
#include "segment_read.h"
#include "text.hpp"

#include <QDeadlineTimer>
#include <QElapsedTimer>
#include <QTimer>

#include <sys/stat.h>
#include <thread>
#include <utility>

namespace qi {

namespace {

constexpr int MaxAnswers = 64;
// What tools are told of a program: its list in one frame must be possible.
constexpr qsizetype MaxProcess = 6 * 1024;
constexpr qsizetype MaxAnswer = 512 * 1024;
// A connection ends a moment before its process does.
constexpr int LookAgainMs = 20;
constexpr int MaxLooks = 25;
// Lints: every so often, and for no more than one part in so many of the time.
constexpr int CheckMs = 250;
constexpr qint64 CheckShare = 50;
constexpr int FindingsAtOnce = 32;
constexpr int RefreshMs = 250;
constexpr int FlushMs = 2000;
// Stalls that are kept for tools that come later.
constexpr qsizetype MaxStalls = 32;
constexpr int64_t MinStallMs = 10;
constexpr int64_t MaxStallMs = 3600000;
constexpr size_t MaxStall = 64 * 1024;
// Of one, besides its mirror, its histograms and its lints.
constexpr size_t ApplicationBytes = 16 * 1024;

// "name (file:line)" of the innermost frame of a STALL; empty if it has none.
QByteArray
innermostOf(const qi_frame &frame)
{
    const qi_value &frames = frame.fields[QI_KEY_STALL_frames];
    if (frames.type != QI_VALUE_LIST) {
        return {};
    }
    qi_cursor cursor = qi_cursor_in(&frames);
    qi_value last = {}, value;
    while (qi_cursor_next(&cursor, &value)) {
        last = value;
    }
    qi_value file, line, name;
    uint64_t number = 0;
    if (last.type != QI_VALUE_LIST) {
        return {};
    }
    cursor = qi_cursor_in(&last);
    if (!qi_cursor_next(&cursor, &file) || !qi_cursor_next(&cursor, &line)
        || !qi_cursor_next(&cursor, &name) || file.type != QI_VALUE_TEXT
        || name.type != QI_VALUE_TEXT || !qi_value_uint(&line, &number)) {
        return {};
    }
    QByteArray path(reinterpret_cast<const char *>(file.bytes), qsizetype(file.size));
    return QByteArray(reinterpret_cast<const char *>(name.bytes), qsizetype(name.size))
           + " (" + path.mid(path.lastIndexOf('/') + 1) + ':'
           + QByteArray::number(quint64(number)) + ')';
}

// A text of a map of texts, by its name.
QByteArray
textIn(const qi_value &map, const char *name)
{
    qi_cursor cursor = qi_cursor_in(&map);
    qi_value key, value;

    while (qi_cursor_next(&cursor, &key) && qi_cursor_next(&cursor, &value)) {
        QByteArrayView view(key.bytes, qsizetype(key.size));
        if (key.type == QI_VALUE_TEXT && value.type == QI_VALUE_TEXT && view == name) {
            return QByteArray(reinterpret_cast<const char *>(value.bytes),
                              qsizetype(qMin(value.size, 31u)));
        }
    }
    return {};
}

} // namespace

void
encodeFinding(Frame &frame, uint64_t pid, const qi_finding *finding)
{
    frame.number(QI_KEY_LINT_pid, pid)
        .text(QI_KEY_LINT_id, qi_lint_id(finding->lint))
        .text(QI_KEY_LINT_severity, QByteArray(1, finding->severity))
        .number(QI_KEY_LINT_ref, finding->ref)
        .text(QI_KEY_LINT_text, finding->text)
        .number(QI_KEY_LINT_count, finding->count)
        .signedNumber(QI_KEY_LINT_since, finding->since)
        .flag(QI_KEY_LINT_active, finding->active != 0);
}

Application::Application(Session *session, const Commons &commons, QObject *parent)
    : QObject(parent), m_session(session), m_number(session->number()),
      m_commons(commons), m_charge(commons.budget)
{
    static const qi_mirror_limits limits = QI_MIRROR_LIMITS;
    const size_t flat = ApplicationBytes + qi_lints_bytes();
    bool fits = m_charge.take(flat);
    while (!fits && m_commons.reclaim()) {
        fits = m_charge.take(flat);
    }
    if (!fits) {
        session->outOfMemory("an application");
        return;
    }
    m_mirror.reset(qi_mirror_new(&limits));
    unsigned processors = std::thread::hardware_concurrency();
    m_lints.reset(qi_lints_new(qMin(32u, processors + 4)));
    m_histograms.reset(qi_histograms_new());
    if (!m_mirror || !m_lints || !m_histograms) {
        session->close("no memory");
        return;
    }
    qi_mirror_join(mirror(), m_commons.history.get());
    if (qi_mirror_charge(mirror(), m_commons.budget.get()) < 0
        || !qi_histograms_charge(m_histograms.get(), m_commons.budget.get())) {
        session->outOfMemory("an application");
        return;
    }
    m_check.setSingleShot(true);
    connect(&m_check, &QTimer::timeout, this, &Application::checkLints);
    m_refreshing.setSingleShot(true);
    connect(&m_refreshing, &QTimer::timeout, this, [this] { Q_EMIT changed(this); });
    session->setPeer(this);
}

Application::~Application() = default;

bool
Application::take(const qi_frame &frame, QByteArray *error)
{
    if (!isKnown() && frame.message != QI_MSG_PROCESS) {
        *error = "a message before PROCESS";
        return false;
    }
    if (m_recorder) {
        m_recorder->put(frame);
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
        m_check.start(CheckMs);
        Q_EMIT changed(this);
        return true;
    case QI_MSG_STATE:
        return takeRows(frame, error);
    case QI_MSG_EVENTS:
        return takeRecords(frame, error);
    case QI_MSG_GAP: {
        uint64_t first = qi_frame_uint(&frame, QI_KEY_GAP_first, 0);
        uint64_t before = qi_mirror_lost(mirror());
        qi_mirror_put_gap(mirror(), first, qi_frame_uint(&frame, QI_KEY_GAP_count, 0));
        // What was written before anybody looked is not missed.
        if (first != 0 && qi_mirror_lost(mirror()) > before) {
            qi_lints_lost(m_lints.get(), qi_mirror_lost(mirror()) - before);
        }
        Q_EMIT changed(this);
        return true;
    }
    case QI_MSG_STALL:
        takeStall(frame);
        keepStall(frame);
        Q_EMIT stalled(this,
                       QByteArray(reinterpret_cast<const char *>(frame.body.bytes),
                                  qsizetype(frame.body.length)),
                       frame.body.size);
        return true;
    case QI_MSG_RESULT:
        return takeResult(frame, error);
    case QI_MSG_PING: {
        Frame result(QI_MSG_RESULT, frame.seq, 1);
        m_session->send(result.flag(QI_KEY_RESULT_ok, true).done());
        return true;
    }
    default:
        return true;
    }
}

bool
Application::takeProcess(const qi_frame &frame, QByteArray *error)
{
    uint64_t pid = qi_frame_uint(&frame, QI_KEY_PROCESS_pid, 0);

    if (pid == 0 || (m_pid != 0 && pid != m_pid)) {
        *error = "a PROCESS with another pid";
        return false;
    }
    bool first = m_pid == 0;
    const std::array<QByteArray, 4> before = m_versions;
    m_pid = pid;
    m_start = qi_frame_uint(&frame, QI_KEY_PROCESS_start, 0);
    m_control = flagOf(frame, QI_KEY_PROCESS_control);
    m_level = unsigned(qi_frame_uint(&frame, QI_KEY_PROCESS_level, 0));
    m_mono0 = qi_frame_int(&frame, QI_KEY_PROCESS_mono0, 0);
    m_wall0 = qi_frame_int(&frame, QI_KEY_PROCESS_wall0, 0);
    const qi_value &versions = frame.fields[QI_KEY_PROCESS_versions];
    m_versions = {textIn(versions, "qtinter"), textIn(versions, "python"),
                  textIn(versions, "binding"), textIn(versions, "qt")};
    m_name = textOf(frame, QI_KEY_PROCESS_name, 64);
    m_segment = textOf(frame, QI_KEY_PROCESS_segment);
    const QByteArray lints = textOf(frame, QI_KEY_PROCESS_lints, MaxProcess);
    qi_lints_configure(m_lints.get(), lints.constData(), size_t(lints.size()));
    if (!keepProcess(frame)) {
        *error = "a PROCESS that is too long";
        return false;
    }
    if (first) {
        qCInfo(logApp, "session %u: %s, pid %llu", m_number,
               printable(m_name).constData(), static_cast<unsigned long long>(m_pid));
        Q_EMIT known(this);
    }
    else {
        qi_mirror_drop_entries(mirror());
        if (m_versions != before) {
            Q_EMIT described(this);
        }
    }
    return true;
}

// To be passed on to tools as they are: the required fields, the others if they are
// short.
bool
Application::keepProcess(const qi_frame &frame)
{
    qi_cursor cursor = qi_cursor_in(&frame.body);
    qi_value key, value;
    QByteArray others;
    uint32_t otherFields = 0;

    m_process.clear();
    m_processFields = 0;
    m_levelAt = -1;
    for (;;) {
        auto pair = reinterpret_cast<const char *>(cursor.at);
        uint64_t number = 0;
        if (!qi_cursor_next(&cursor, &key) || !qi_cursor_next(&cursor, &value)) {
            break;
        }
        auto size = reinterpret_cast<const char *>(cursor.at) - pair;
        bool required = qi_value_uint(&key, &number) && number <= QI_KEY_PROCESS_versions;
        QByteArray &place = required ? m_process : others;
        if (place.size() + size > MaxProcess / 2) {
            if (required) {
                return false;
            }
            continue;
        }
        place.append(pair, size);
        if (required && number == QI_KEY_PROCESS_level && size == 2) {
            m_levelAt = place.size() - 1; // a number up to 127 is one byte
        }
        (required ? m_processFields : otherFields)++;
    }
    m_process += others;
    m_processFields += otherFields;
    return true;
}

// PROCESS is sent once; that the level is another one now, a record tells.
void
Application::changeLevel(uint32_t level)
{
    if (level <= 127 && m_levelAt >= 0) {
        m_level = level;
        m_process[m_levelAt] = char(level);
    }
}

bool
Application::takeRows(const qi_frame &frame, QByteArray *error)
{
    m_stateTs = qi_frame_int(&frame, QI_KEY_STATE_ts, 0);
    qi_cursor cursor = qi_cursor_in(&frame.fields[QI_KEY_STATE_rows]);
    qi_wire_row row;
    int bad = 0;

    while (qi_row_next(&cursor, &row, &bad)) {
        int status =
            putWithReclaim([this, &row] { return qi_mirror_put_row(mirror(), &row); });
        if (status < 0) {
            return takes(status, error);
        }
    }
    if (bad) {
        *error = "a row that is none";
        return false;
    }
    Q_EMIT changed(this);
    return true;
}

// As long as there is memory of what has ended, it is for what lives.
template <typename Put>
int
Application::putWithReclaim(Put put)
{
    int status = put();
    while (status == QI_MIRROR_E_BUDGET && m_commons.reclaim()) {
        status = put();
    }
    return status;
}

// What a status of the mirror is to the session: false, and what it did wrong; true if
// that is nothing, or the daemon has no memory for it, and it is closed.
bool
Application::takes(int status, QByteArray *error)
{
    if (status == QI_MIRROR_E_BUDGET) {
        m_session->outOfMemory("its rows and texts");
        return true;
    }
    if (status < 0) {
        *error = qi_mirror_text(status);
    }
    return status >= 0;
}

bool
Application::takeEntries(const qi_frame &frame, QByteArray *error)
{
    qi_cursor cursor = qi_cursor_in(&frame.fields[QI_KEY_INTERN_entries]);
    qi_value value;
    qi_wire_entry entry;

    while (qi_cursor_next(&cursor, &value)) {
        if (!qi_entry_decode(&value, &entry)) {
            continue; // a type of a later version
        }
        int status = putWithReclaim(
            [this, &entry] { return qi_mirror_put_entry(mirror(), &entry); });
        if (status < 0) {
            return takes(status, error);
        }
    }
    return true;
}

bool
Application::takeRecords(const qi_frame &frame, QByteArray *error)
{
    uint64_t number = qi_frame_uint(&frame, QI_KEY_EVENTS_first, 0);
    int64_t ts = qi_frame_int(&frame, QI_KEY_EVENTS_ts, 0);
    qi_cursor cursor = qi_cursor_in(&frame.fields[QI_KEY_EVENTS_records]);
    qi_record record;
    int bad = 0;

    while (qi_record_decode(&cursor, &ts, &record, &bad)) {
        if (!putRecord(number++, record, error)) {
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

bool
Application::putRecord(uint64_t number, const qi_record &record, QByteArray *error)
{
    bool isNew = number >= qi_mirror_record_end(mirror());
    int status = qi_mirror_put_record(mirror(), number, &record);

    if (status < 0) {
        *error = qi_mirror_text(status);
        return false;
    }
    if (isNew) {
        if (record.kind == QI_EV_LEVEL) {
            changeLevel(record.x);
        }
        qi_lints_record(m_lints.get(), mirror(), &record);
        qi_histograms_record(m_histograms.get(), mirror(), &record);
    }
    return true;
}

void
Application::takeStall(const qi_frame &frame)
{
    qi_lints_stall(m_lints.get(), mirror(),
                   unsigned(qi_frame_uint(&frame, QI_KEY_STALL_loop, 0)),
                   qi_frame_int(&frame, QI_KEY_STALL_since, 0),
                   qi_frame_int(&frame, QI_KEY_STALL_duration, 0),
                   qi_frame_uint(&frame, QI_KEY_STALL_current, 0),
                   flagOf(frame, QI_KEY_STALL_over), innermostOf(frame).constData());
    tellFindings();
}

// For tools that come while it goes on.
void
Application::keepStall(const qi_frame &frame)
{
    uint64_t loop = qi_frame_uint(&frame, QI_KEY_STALL_loop, 0);

    auto before = m_stalls.constFind(loop);
    if (before != m_stalls.constEnd()) {
        m_charge.give(size_t(before->fields.size()));
        m_stalls.erase(before);
    }
    if (flagOf(frame, QI_KEY_STALL_over) || frame.body.length > MaxStall
        || m_stalls.size() >= MaxStalls) {
        return;
    }
    if (m_charge.take(frame.body.length)) {
        m_stalls[loop] = {QByteArray(reinterpret_cast<const char *>(frame.body.bytes),
                                     qsizetype(frame.body.length)),
                          frame.body.size};
    }
    else if (!std::exchange(m_stallsFull, true)) {
        qCWarning(logApp,
                  "pid %llu: no memory left for its stalls: tools that come while one "
                  "goes on do not see its stack",
                  static_cast<unsigned long long>(m_pid));
    }
}

void
Application::checkLints()
{
    QElapsedTimer took;
    took.start();
    // What changed would have come by now: up to then the rows are as they were.
    int64_t late = int64_t(2 * 1000 / qMax(1u, m_hz) + 100) * 1000000;
    int64_t now = QDeadlineTimer::current().deadlineNSecs();
    qi_lints_check(m_lints.get(), mirror(), qMax(m_stateTs, now - late));
    tellFindings();
    if (isAlive()) {
        m_check.start(int(qMax(qint64(CheckMs), took.elapsed() * CheckShare)));
    }
}

// As many as may be now; the others with the next check.
void
Application::tellFindings()
{
    for (int i = 0; i < FindingsAtOnce; i++) {
        const qi_finding *finding = qi_lints_next_change(m_lints.get());
        if (finding == nullptr) {
            break;
        }
        if (m_recorder) {
            Frame frame(QI_MSG_LINT, 0, LintFields);
            encodeFinding(frame, m_pid, finding);
            QByteArrayView bytes = frame.done();
            qi_frame lint;
            if (qi_frame_decode(reinterpret_cast<const uint8_t *>(bytes.data()) + 4,
                                size_t(bytes.size()) - 4, &lint)
                == QI_WIRE_OK) {
                m_recorder->put(lint);
            }
        }
        Q_EMIT found(this, finding);
    }
}

bool
Application::takeResult(const qi_frame &frame, QByteArray *error)
{
    auto place = m_answers.find(frame.seq);
    if (place == m_answers.end()) {
        *error = "a RESULT that nobody asked for";
        return false;
    }
    Answer answer = std::move(*place);
    m_answers.erase(place);
    if (!answer) {
        return true; // it comes too late
    }
    answer(flagOf(frame, QI_KEY_RESULT_ok), textOf(frame, QI_KEY_RESULT_error),
           textOf(frame, QI_KEY_RESULT_value, MaxAnswer));
    return true;
}

void
Application::setRate(unsigned hz, bool events)
{
    bool recording = m_recorder && !m_recorder->hasEnded();
    hz = qBound(recording ? RecordHz : BaseHz, hz, unsigned(QI_RATE_MAX));
    if (hz != m_hz || events != m_events) {
        m_hz = hz;
        m_events = events;
        sendRate();
    }
}

void
Application::refresh()
{
    if (!isAlive() || !isComplete() || isRefreshing() || m_hz >= FreshHz) {
        return;
    }
    m_refreshing.start(RefreshMs);
    askForRound([this] {
        m_refreshing.stop();
        Q_EMIT changed(this);
    });
}

// An application makes a round at once when it is told a rate, and answers what it reads
// before that round: so the answer to a second PING comes after the rows.
void
Application::askForRound(std::function<void()> then)
{
    sendRate();
    ping([this, then](bool, const QByteArray &, const QByteArray &) {
        ping([then](bool, const QByteArray &, const QByteArray &) { then(); });
    });
}

void
Application::flush(std::function<void()> then)
{
    // Forgotten when it is called, though the timer and the answers keep this for longer.
    auto once = [this,
                 waiting = std::make_shared<std::function<void()>>(std::move(then))] {
        std::function<void()> next = std::exchange(*waiting, nullptr);
        if (!next) {
            return;
        }
        if (isAlive() || m_hasEnded) {
            next();
        }
        else {
            // If it has died, its segment is still to be read.
            connect(this, &Application::ended, this, next, Qt::SingleShotConnection);
        }
    };
    if (!isAlive() || !isComplete()) {
        once();
        return;
    }
    QTimer::singleShot(FlushMs, this, once);
    askForRound(once);
}

void
Application::ping(Answer answer)
{
    if (m_session == nullptr || m_answers.size() >= MaxAnswers) {
        return; // the time limit is there
    }
    uint32_t seq = ++m_seq;
    m_answers.insert(seq, std::move(answer));
    Frame frame(QI_MSG_PING, seq, 0);
    m_session->send(frame.done());
}

// What the finding about it wants; a stall is told also if that is off.
unsigned
Application::stallMs() const
{
    int64_t wanted = qi_lints_after_ms(m_lints.get(), QI_LINT_QI101);
    return wanted < 0 ? StallMs : unsigned(qBound(MinStallMs, wanted, MaxStallMs));
}

void
Application::sendRate()
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
        .number(QI_KEY_SET_RATE_stall, stallMs());
    m_session->send(rate.done());
}

void
Application::request(const Request &request, Answer answer)
{
    if (m_session == nullptr) {
        answer(false, "the application has ended", {});
        return;
    }
    if (processIsStopped(m_pid)) {
        answer(false, "the application is stopped (by SIGSTOP or a debugger)", {});
        return;
    }
    if (m_answers.size() >= MaxAnswers) {
        answer(false, "the application has too much to answer", {});
        return;
    }
    if (request.message == QI_MSG_SET_LEVEL) {
        // Below 2 there are no records that would tell it.
        answer = [this, level = uint32_t(request.level), next = std::move(answer)](
                     bool ok, const QByteArray &error, const QByteArray &value) {
            if (ok) {
                changeLevel(level);
            }
            next(ok, error, value);
        };
    }
    uint32_t seq = ++m_seq;
    m_answers.insert(seq, std::move(answer));
    bool isStack = request.message == QI_MSG_STACK;
    uint32_t fields = request.message == QI_MSG_CANCEL ? 1 + !request.text.isEmpty()
                      : isStack ? (request.task != 0) + (request.loop != 0)
                                : 1;
    Frame frame(request.message, seq, fields);
    switch (request.message) {
    case QI_MSG_CANCEL:
        frame.number(QI_KEY_CANCEL_task, request.task);
        if (!request.text.isEmpty()) {
            frame.text(QI_KEY_CANCEL_message, request.text);
        }
        break;
    case QI_MSG_STACK:
        if (request.task != 0) {
            frame.number(QI_KEY_STACK_task, request.task);
        }
        if (request.loop != 0) {
            frame.number(QI_KEY_STACK_loop, request.loop);
        }
        break;
    default:
        frame.number(QI_KEY_SET_LEVEL_level, uint64_t(request.level));
        break;
    }
    m_session->send(frame.done());
    bool onLoop = request.message == QI_MSG_CANCEL || (isStack && request.task != 0);
    QTimer::singleShot(RequestMs, this, [this, seq, onLoop] { giveUp(seq, onLoop); });
}

// Its answer, should it come, is no surprise.  onLoop: it is the loop that answers.
void
Application::giveUp(uint32_t seq, bool onLoop)
{
    auto place = m_answers.find(seq);
    if (place == m_answers.end() || !*place) {
        return;
    }
    Answer answer = std::exchange(*place, nullptr);
    if (processIsStopped(m_pid)) {
        answer(false, "the application is stopped (by SIGSTOP or a debugger)", {});
    }
    else if (onLoop) {
        answer(false, "the loop has not run for 5 s: it will do it when it runs again",
               {});
    }
    else {
        answer(false, "the application has not answered for 5 s", {});
    }
}

void
Application::gone(const QByteArray &cause)
{
    m_session = nullptr;
    m_cause = cause;
    const auto answers = std::exchange(m_answers, {});
    for (const Answer &answer : answers) {
        if (answer) {
            answer(false, "the application went away", {});
        }
    }
    forgetStalls();
    decideCause();
}

void
Application::forgetStalls()
{
    for (const Stall &stall : std::as_const(m_stalls)) {
        m_charge.give(size_t(stall.fields.size()));
    }
    m_stalls.clear();
}

void
Application::release()
{
    m_session = nullptr;
    m_check.stop();
    m_refreshing.stop();
    m_stalls.clear();
    m_mirror.reset();
    m_lints.reset();
    m_histograms.reset();
    m_charge.giveAll();
}

void
Application::age(int64_t most)
{
    if (!isAlive()) {
        return;
    }
    uint64_t before = qi_mirror_rev(mirror());
    qi_mirror_age(mirror(), QDeadlineTimer::current().deadlineNSecs(), most);
    if (qi_mirror_rev(mirror()) != before) {
        Q_EMIT changed(this);
    }
}

// A connection that ended without a GOODBYE: has the program died?
void
Application::decideCause()
{
    if (isKnown() && m_cause == "lost") {
        if (!qi_runtime_process_runs(m_pid, m_start)) {
            m_cause = "died";
            if (m_recorder && segmentIsOurs()) {
                m_recorder->putSegment(m_segment);
            }
            readSegment();
        }
        else if (++m_looks <= MaxLooks) {
            QTimer::singleShot(LookAgainMs, this, &Application::decideCause);
            return;
        }
    }
    if (m_cause != "lost") {
        endRecording(); // a process that lives may come again
    }
    m_hasEnded = true;
    Q_EMIT ended(this);
}

// --- recording

bool
Application::record(const QByteArray &path, uint64_t maxBytes, int64_t maxAgeNs,
                    const qi_trigger &trigger, QByteArray *error)
{
    qi_recording *recording = nullptr;
    qi_recording_options options = {path.constData(), maxBytes, maxAgeNs, trigger};
    qi_trace_info info = {};

    if (m_recorder && !m_recorder->hasEnded()) {
        *error = "it is being recorded already, into " + m_recorder->path();
        return false;
    }
    info.pid = m_pid;
    info.start = m_start;
    info.mono0 = m_mono0;
    info.wall0 = m_wall0;
    info.level = m_level;
    info.control = m_control;
    info.name = m_name.constData();
    info.qtinter = m_versions[0].constData();
    info.python = m_versions[1].constData();
    info.binding = m_versions[2].constData();
    info.qt = m_versions[3].constData();
    info.writer = "daemon";
    int64_t now = QDeadlineTimer::current().deadlineNSecs();
    int status = qi_recording_create(&options, &info, mirror(),
                                     m_stateTs != 0 ? m_stateTs : now, now, &recording);
    if (status < 0) {
        *error = path + ": " + qi_trace_text(status);
        return false;
    }
    m_recorder = std::make_unique<Recorder>(recording, path, m_commons.budget, nullptr);
    qCInfo(logApp, "pid %llu: recording into %s", static_cast<unsigned long long>(m_pid),
           printable(path).constData());
    return true;
}

void
Application::endRecording()
{
    if (m_recorder) {
        m_recorder->stop();
    }
}

bool
Application::isSameProcess(const Application *other) const
{
    return m_pid == other->m_pid && m_start == other->m_start
           && m_segment == other->m_segment;
}

void
Application::continueFrom(Application *before)
{
    m_mirror.swap(before->m_mirror);
    m_lints.swap(before->m_lints);
    m_histograms.swap(before->m_histograms);
    m_recorder.swap(before->m_recorder);
    qi_mirror_drop_entries(mirror()); // they all come again
}

// A file of the runtime directory itself, with the name of a segment.
bool
Application::segmentIsOurs() const
{
    qsizetype slash = m_segment.lastIndexOf('/');
    return slash > 0 && m_segment.left(slash) == m_commons.directory
           && m_segment.endsWith(QI_SEGMENT_SUFFIX);
}

void
Application::readSegment()
{
    if (!segmentIsOurs()) {
        qCInfo(logApp, "pid %llu: its segment is not in %s",
               static_cast<unsigned long long>(m_pid), m_commons.directory.constData());
        return;
    }
    qi_segment segment; // opened without following links and without waiting
    Charge copy(m_commons.budget);
    struct stat file = {};
    // Its holes are none's.
    if (::lstat(m_segment.constData(), &file) == 0
        && !copy.take(size_t(file.st_blocks) * 512)) {
        qCWarning(logApp, "no memory left for the segment of pid %llu",
                  static_cast<unsigned long long>(m_pid));
        return;
    }
    int r = qi_segment_load(m_segment.constData(), &segment);
    if (r < 0) {
        qCInfo(logApp, "pid %llu left no segment: %s",
               static_cast<unsigned long long>(m_pid), qi_view_text(r));
        return;
    }
    const qi_segment_header &header = segment.view.header;
    if (header.pid == m_pid && header.start_time == m_start) {
        m_cause = header.closed ? "goodbye" : "died";
        r = putWithReclaim(
            [this, &segment] { return qi_mirror_load_segment(mirror(), &segment.view); });
        if (r < 0) {
            qCWarning(logApp, "segment of pid %llu: %s",
                      static_cast<unsigned long long>(m_pid), qi_mirror_text(r));
        }
        m_complete = true;
    }
    qi_segment_unload(&segment);
}

} // namespace qi
