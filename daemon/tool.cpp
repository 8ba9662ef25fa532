#include "tool.hpp"

#include "frame.hpp"
#include "leftovers.h"
#include "server.hpp"
#include "text.hpp"

#include <QPointer>
#include <QSet>

#include <algorithm>

namespace qi {

namespace {

// A list that does not fit into a frame is cut.
constexpr size_t MaxList = QI_FRAME_MAX * 3 / 4;
// A subscription is answered without an application that is mute for so long.
constexpr qint64 MuteMs = 1000;
constexpr qsizetype MaxPath = 4095;

void
encodeProcess(Frame &frame, const Application *application)
{
    qi_encode_map(*frame, application->processFields());
    qi_encode_raw(*frame, application->process().constData(),
                  size_t(application->process().size()));
}

// The pairs of a PROC_UP and so many more.
void
encodeUp(Frame &frame, const Application *application, uint32_t more)
{
    qi_encode_map(*frame, 3 + more);
    frame.number(QI_KEY_PROC_UP_pid, application->pid());
    qi_encode_key(*frame, QI_KEY_PROC_UP_process);
    encodeProcess(frame, application);
    frame.number(QI_KEY_PROC_UP_session, application->number());
}

// What a segment says of its process is as good as what a process says of itself.
void
encodeLeftover(Frame &frame, const qi_leftover &leftover, const QByteArray &path)
{
    const qi_segment_header &header = leftover.header;
    qi_encode_map(*frame, 5);
    frame.number(QI_KEY_PROC_UP_pid, header.pid);
    qi_encode_key(*frame, QI_KEY_PROC_UP_process);
    qi_encode_map(*frame, 9);
    frame.number(QI_KEY_PROCESS_pid, header.pid)
        .number(QI_KEY_PROCESS_start, header.start_time)
        .text(QI_KEY_PROCESS_name, cleanText(header.name))
        .text(QI_KEY_PROCESS_segment, path)
        .signedNumber(QI_KEY_PROCESS_mono0, header.mono0)
        .signedNumber(QI_KEY_PROCESS_wall0, header.wall0)
        .number(QI_KEY_PROCESS_level, header.level)
        .flag(QI_KEY_PROCESS_control, false);
    qi_encode_key(*frame, QI_KEY_PROCESS_versions);
    const std::pair<const char *, const char *> versions[] = {{"qtinter", header.qtinter},
                                                              {"python", header.python},
                                                              {"binding", header.binding},
                                                              {"qt", header.qt}};
    qi_encode_map(*frame, 4);
    for (auto [name, version] : versions) {
        QByteArray text = cleanText(version);
        qi_encode_text(*frame, name, qstrlen(name));
        qi_encode_text(*frame, text.constData(), size_t(text.size()));
    }
    frame.number(QI_KEY_PROC_UP_session, 0)
        .text(QI_KEY_PROC_UP_cause, "died")
        .signedNumber(QI_KEY_PROC_UP_ended, leftover.written);
}

// A field in ms as ns; what is more than a year is a year.
int64_t
nsOf(const qi_frame &frame, unsigned key, uint64_t otherwise)
{
    constexpr uint64_t year = uint64_t(366) * 86400 * 1000;
    return int64_t(qMin(qi_frame_uint(&frame, key, otherwise), year)) * 1000000;
}

// {count, sum, max, p50, p90, p99, buckets: [lowest ns, how many, ...]}; ns; nil: none.
void
encodeHistogram(Frame &frame, const qi_histogram *histogram)
{
    auto key = [&frame](const char *name) {
        qi_encode_text(*frame, name, qstrlen(name));
    };
    if (histogram == nullptr) {
        qi_encode_nil(*frame);
        return;
    }
    qi_encode_map(*frame, 7);
    const std::pair<const char *, uint64_t> numbers[] = {
        {"count", histogram->count},
        {"sum", histogram->sum},
        {"max", histogram->max},
        {"p50", qi_histogram_quantile(histogram, 500)},
        {"p90", qi_histogram_quantile(histogram, 900)},
        {"p99", qi_histogram_quantile(histogram, 990)},
    };
    for (auto [name, value] : numbers) {
        key(name);
        qi_encode_uint(*frame, value);
    }
    key("buckets");
    size_t place = qi_encode_open_list(*frame);
    uint32_t n = 0;
    for (unsigned i = 0; i < QI_HISTOGRAM_BUCKETS; i++) {
        if (histogram->bucket[i] != 0) {
            qi_encode_uint(*frame, qi_histogram_lower(i));
            qi_encode_uint(*frame, histogram->bucket[i]);
            n += 2;
        }
    }
    qi_encode_close_list(*frame, place, n);
}

// Ends and deletes it; then() is called in between.  A parent that goes waits for it.
void
endRecorder(Recorder *recorder, QObject *parent,
            const std::function<void(const Recorder *)> &then)
{
    auto done = [recorder, then] {
        then(recorder);
        recorder->deleteLater();
    };
    if (recorder->hasEnded()) {
        done();
        return;
    }
    recorder->setParent(parent);
    QObject::connect(recorder, &Recorder::ended, parent, done);
    recorder->stop();
}

} // namespace

Tool::Tool(Session *session, Server *server, QObject *parent)
    : QObject(parent), m_session(session), m_server(server)
{
    session->setPeer(this);
    m_timer.setSingleShot(true);
    m_timer.setTimerType(Qt::PreciseTimer);
    connect(&m_timer, &QTimer::timeout, this, &Tool::pump);
    for (Application *application : m_server->applications()) {
        tellUp(application);
    }
}

bool
Tool::take(const qi_frame &frame, QByteArray *error)
{
    switch (frame.message) {
    case QI_MSG_PING:
        result(frame.seq, true);
        return true;
    case QI_MSG_LIST:
        list(frame.seq);
        return true;
    case QI_MSG_CRASHES:
        crashes(frame.seq);
        return true;
    case QI_MSG_STATS:
        stats(frame.seq);
        return true;
    case QI_MSG_LINTS:
        lints(frame);
        return true;
    case QI_MSG_HISTOGRAM:
        histogram(frame);
        return true;
    case QI_MSG_RECORD:
        record(frame);
        return true;
    case QI_MSG_SUBSCRIBE:
        return subscribe(frame, error);
    case QI_MSG_UNSUBSCRIBE:
        unsubscribe(uint32_t(qi_frame_uint(&frame, QI_KEY_UNSUBSCRIBE_sub, 0)));
        result(frame.seq, true);
        return true;
    case QI_MSG_SET_LEVEL:
    case QI_MSG_CANCEL:
    case QI_MSG_STACK:
        return change(frame);
    case QI_MSG_RESULT:
        *error = "a RESULT that nobody asked for";
        return false;
    default:
        result(frame.seq, false, "this daemon cannot do that");
        return true;
    }
}

// --- requests

void
Tool::result(uint32_t seq, bool ok, const QByteArray &error, const QByteArray &text)
{
    Frame frame(QI_MSG_RESULT, seq, 1u + !error.isEmpty() + !text.isEmpty());
    frame.flag(QI_KEY_RESULT_ok, ok);
    if (!error.isEmpty()) {
        frame.text(QI_KEY_RESULT_error, error);
    }
    if (!text.isEmpty()) {
        frame.text(QI_KEY_RESULT_value, text);
    }
    m_session->send(frame.done());
}

void
Tool::list(uint32_t seq)
{
    Frame frame(QI_MSG_RESULT, seq, 2);
    frame.flag(QI_KEY_RESULT_ok, true);
    qi_encode_key(*frame, QI_KEY_RESULT_value);
    size_t place = qi_encode_open_list(*frame);
    uint32_t n = 0;
    for (const Application *application : m_server->applications()) {
        if (frame.size() > MaxList) {
            break;
        }
        if (application->isAlive()) {
            encodeUp(frame, application, 0);
            n++;
        }
    }
    qi_encode_close_list(*frame, place, n);
    m_session->send(frame.done());
}

// Those whose end the daemon saw, and those whose segments are there.
void
Tool::crashes(uint32_t seq)
{
    std::vector<qi_leftover> leftovers(QI_LEFTOVERS_FILES);
    leftovers.resize(qi_leftovers_find(m_server->directory().constData(),
                                       leftovers.data(), leftovers.size()));
    auto pathOf = [this](const qi_leftover &leftover) {
        return m_server->directory() + '/' + leftover.name;
    };
    Frame frame(QI_MSG_RESULT, seq, 2);
    frame.flag(QI_KEY_RESULT_ok, true);
    qi_encode_key(*frame, QI_KEY_RESULT_value);
    size_t place = qi_encode_open_list(*frame);
    uint32_t n = 0;
    QSet<QByteArray> told;
    for (const Application *application : m_server->applications()) {
        if (frame.size() > MaxList || application->isAlive()
            || application->cause() != "died") {
            continue;
        }
        auto its = std::find_if(leftovers.begin(), leftovers.end(),
                                [application, &pathOf](const qi_leftover &leftover) {
                                    return pathOf(leftover) == application->segment();
                                });
        bool dated = its != leftovers.end();
        encodeUp(frame, application, dated ? 2 : 1);
        frame.text(QI_KEY_PROC_UP_cause, application->cause());
        if (dated) {
            frame.signedNumber(QI_KEY_PROC_UP_ended, its->written);
        }
        told.insert(application->segment());
        n++;
    }
    for (const qi_leftover &leftover : leftovers) {
        QByteArray path = pathOf(leftover);
        if (frame.size() <= MaxList && !told.contains(path) && !leftover.header.closed) {
            encodeLeftover(frame, leftover, path);
            n++;
        }
    }
    qi_encode_close_list(*frame, place, n);
    m_session->send(frame.done());
}

void
Tool::stats(uint32_t seq)
{
    const auto counters = m_server->counters();
    Frame frame(QI_MSG_RESULT, seq, 2);

    frame.flag(QI_KEY_RESULT_ok, true);
    qi_encode_key(*frame, QI_KEY_RESULT_value);
    qi_encode_map(*frame, uint32_t(counters.size()));
    for (const auto &[name, value] : counters) {
        qi_encode_text(*frame, name.constData(), size_t(name.size()));
        qi_encode_uint(*frame, value);
    }
    m_session->send(frame.done());
}

void
Tool::lints(const qi_frame &request)
{
    uint64_t pid = qi_frame_uint(&request, QI_KEY_LINTS_pid, 0);
    Frame frame(QI_MSG_RESULT, request.seq, 2);

    frame.flag(QI_KEY_RESULT_ok, true);
    qi_encode_key(*frame, QI_KEY_RESULT_value);
    size_t place = qi_encode_open_list(*frame);
    uint32_t n = 0;
    for (const Application *application : m_server->applications()) {
        unsigned at = 0;
        const qi_finding *finding = nullptr;
        while ((pid == 0 || pid == application->pid()) && frame.size() < MaxList
               && (finding = qi_lints_next(application->lints(), &at)) != nullptr) {
            qi_encode_map(*frame, LintFields);
            encodeFinding(frame, application->pid(), finding);
            n++;
        }
    }
    qi_encode_close_list(*frame, place, n);
    m_session->send(frame.done());
}

void
Tool::histogram(const qi_frame &request)
{
    const Application *application =
        m_server->application(qi_frame_uint(&request, QI_KEY_HISTOGRAM_pid, 0));
    if (application == nullptr) {
        result(request.seq, false, "there is no such application");
        return;
    }
    auto code = uint32_t(qi_frame_uint(&request, QI_KEY_HISTOGRAM_code, 0));
    Frame frame(QI_MSG_RESULT, request.seq, 2);
    frame.flag(QI_KEY_RESULT_ok, true);
    qi_encode_key(*frame, QI_KEY_RESULT_value);
    qi_encode_map(*frame, 2);
    qi_encode_text(*frame, "steps", 5);
    encodeHistogram(
        frame, qi_histograms_find(application->histograms(), QI_DURATION_STEP, code));
    qi_encode_text(*frame, "calls", 5);
    encodeHistogram(
        frame, qi_histograms_find(application->histograms(), QI_DURATION_CALL, code));
    m_session->send(frame.done());
}

// SET_LEVEL, CANCEL and STACK are passed on to the application.
bool
Tool::change(const qi_frame &frame)
{
    unsigned pidKey = frame.message == QI_MSG_SET_LEVEL ? QI_KEY_SET_LEVEL_pid
                      : frame.message == QI_MSG_CANCEL  ? QI_KEY_CANCEL_pid
                                                        : QI_KEY_STACK_pid;
    Application *application = m_server->application(qi_frame_uint(&frame, pidKey, 0));
    uint32_t seq = frame.seq;

    if (frame.message != QI_MSG_STACK && m_session->role() != Role::Control) {
        result(seq, false, "this needs the role control");
        return true;
    }
    if (application == nullptr || !application->isAlive()) {
        result(seq, false, "there is no such application");
        return true;
    }
    if (frame.message == QI_MSG_CANCEL && !application->accepts()) {
        result(seq, false,
               "the application does not let tools cancel tasks: enable(control=True)");
        return true;
    }
    if (frame.message == QI_MSG_SET_LEVEL
        && qi_frame_uint(&frame, QI_KEY_SET_LEVEL_level, 0) > MaxLevel) {
        result(seq, false, "a level is 0 to 4");
        return true;
    }
    Application::Request request;
    request.message = frame.message;
    switch (frame.message) {
    case QI_MSG_CANCEL:
        request.task = qi_frame_uint(&frame, QI_KEY_CANCEL_task, 0);
        request.text = textOf(frame, QI_KEY_CANCEL_message, 255);
        break;
    case QI_MSG_STACK:
        request.task = qi_frame_uint(&frame, QI_KEY_STACK_task, 0);
        request.loop = qi_frame_uint(&frame, QI_KEY_STACK_loop, 0);
        break;
    default:
        request.level = int(qi_frame_uint(&frame, QI_KEY_SET_LEVEL_level, 0));
        break;
    }
    QPointer<Tool> tool(this);
    application->request(
        request, [tool, seq](bool ok, const QByteArray &error, const QByteArray &value) {
            if (!tool.isNull()) {
                tool->result(seq, ok, error, value);
            }
        });
    return true;
}

// --- recordings

void
Tool::record(const qi_frame &frame)
{
    Application *application =
        m_server->application(qi_frame_uint(&frame, QI_KEY_RECORD_pid, 0));

    if (m_session->role() != Role::Control) {
        result(frame.seq, false, "this needs the role control");
    }
    else if (application == nullptr) {
        result(frame.seq, false, "there is no such application");
    }
    else if (m_recordRequests >= MaxRecordRequests) {
        result(frame.seq, false, "there is too much to answer");
    }
    else if (frame.fields[QI_KEY_RECORD_path].type == QI_VALUE_ABSENT) {
        stopRecording(frame.seq, application);
    }
    else {
        startRecording(frame, application);
    }
}

// It counts until what this returns is forgotten, with the answer or without.
std::shared_ptr<Tool>
Tool::countRecordRequest()
{
    m_recordRequests++;
    return {this, [tool = QPointer<Tool>(this)](Tool *) {
                if (!tool.isNull()) {
                    tool->m_recordRequests--;
                }
            }};
}

// It begins with the state as it is, so what the application has written must come first.
void
Tool::startRecording(const qi_frame &frame, Application *application)
{
    QByteArray path = textOf(frame, QI_KEY_RECORD_path, MaxPath);
    QByteArray trigger = textOf(frame, QI_KEY_RECORD_trigger, 256);
    uint64_t maxBytes = qi_frame_uint(&frame, QI_KEY_RECORD_max_bytes, 0);
    int64_t maxAge = nsOf(frame, QI_KEY_RECORD_max_age, 0);
    uint32_t seq = frame.seq;
    qi_trigger on = {};

    if (!application->isAlive()) {
        result(seq, false, "the application has ended");
        return;
    }
    // Our working directory is nobody's; what the user may write, this process may.
    if (!path.startsWith('/')) {
        result(seq, false, "the path of a recording must be absolute");
        return;
    }
    if (maxBytes != 0 && maxBytes < QI_TRACE_LIMIT_MIN) {
        result(seq, false, "max_bytes must be 65536 or more");
        return;
    }
    if (!trigger.isEmpty() && qi_trigger_parse(&on, trigger.constData()) < 0) {
        result(seq, false, "trigger: " QI_TRIGGER_SYNTAX);
        return;
    }
    on.pre_ns = nsOf(frame, QI_KEY_RECORD_pre, 10000);
    on.post_ns = nsOf(frame, QI_KEY_RECORD_post, 2000);
    QPointer<Tool> tool(this);
    QPointer<Application> of(application);
    application->flush([=, server = m_server, counted = countRecordRequest()] {
        QByteArray error = "the application has ended";
        bool ok = !of.isNull() && of->isAlive()
                  && of->record(path, maxBytes, maxAge, on, &error);
        server->updateRates();
        if (!tool.isNull()) {
            tool->result(seq, ok, ok ? QByteArray() : error);
        }
    });
}

// What the application did before the request is in it; the answer comes when the file is
// whole.  Until then the tool may have gone, and the application too.
void
Tool::stopRecording(uint32_t seq, Application *application)
{
    if (application->recorder() == nullptr) {
        result(seq, false, "it is not being recorded");
        return;
    }
    QPointer<Tool> tool(this);
    QPointer<Application> from(application);
    application->flush(
        [tool, seq, from, server = m_server, counted = countRecordRequest()] {
            std::unique_ptr<Recorder> recorder;
            if (!from.isNull()) {
                recorder = from->takeRecorder();
            }
            if (recorder == nullptr) {
                if (!tool.isNull()) {
                    tool->result(seq, false, "somebody else has stopped it");
                }
                return;
            }
            server->updateRates();
            endRecorder(recorder.release(), server, [tool, seq](const Recorder *ended) {
                if (!tool.isNull()) {
                    tool->tellRecording(seq, ended);
                }
            });
        });
}

void
Tool::tellRecording(uint32_t seq, const Recorder *recorder)
{
    qi_recording_totals stats = recorder->stats();
    QByteArray failure = recorder->failure();
    const std::pair<const char *, QByteArray> texts[] = {
        {"path", recorder->path()},
        {"state", failure.isEmpty() ? "ended" : "failed"},
        {"reason", failure},
    };
    const std::pair<const char *, uint64_t> numbers[] = {
        {"records", stats.records},   {"lost", stats.lost},
        {"chunks", stats.chunks},     {"chunks_dropped", stats.chunks_dropped},
        {"bytes", stats.bytes},       {"written", stats.written},
        {"captures", stats.captures},
    };
    Frame frame(QI_MSG_RESULT, seq, 2);
    frame.flag(QI_KEY_RESULT_ok, true);
    qi_encode_key(*frame, QI_KEY_RESULT_value);
    qi_encode_map(*frame, uint32_t(std::size(texts) + std::size(numbers)));
    for (const auto &[name, text] : texts) {
        qi_encode_text(*frame, name, qstrlen(name));
        qi_encode_text(*frame, text.constData(), size_t(text.size()));
    }
    for (auto [name, number] : numbers) {
        qi_encode_text(*frame, name, qstrlen(name));
        qi_encode_uint(*frame, number);
    }
    m_session->send(frame.done());
}

// --- subscriptions

bool
Tool::subscribe(const qi_frame &frame, QByteArray *error)
{
    Subscription subscription;

    if (m_subscriptions.size() >= MaxSubscriptions) {
        *error = "too many subscriptions";
        return false;
    }
    subscription.number = uint32_t(qi_frame_uint(&frame, QI_KEY_SUBSCRIBE_sub, 0));
    subscription.pid = qi_frame_uint(&frame, QI_KEY_SUBSCRIBE_pid, 0);
    subscription.seq = frame.seq;
    subscription.asked.start();
    FeedOptions &options = subscription.options;
    options.hz =
        unsigned(qBound(uint64_t(1), qi_frame_uint(&frame, QI_KEY_SUBSCRIBE_hz, 20),
                        uint64_t(QI_RATE_MAX)));
    options.events = flagOf(frame, QI_KEY_SUBSCRIBE_events);
    options.history = flagOf(frame, QI_KEY_SUBSCRIBE_history);
    const qi_value &kinds = frame.fields[QI_KEY_SUBSCRIBE_kinds];
    if (kinds.type == QI_VALUE_LIST) {
        qi_cursor cursor = qi_cursor_in(&kinds);
        qi_value value;
        uint64_t kind;
        options.kinds = 0;
        while (qi_cursor_next(&cursor, &value)) {
            if (qi_value_uint(&value, &kind) && kind < 64) {
                options.kinds |= uint64_t(1) << kind;
            }
        }
    }
    unsubscribe(subscription.number);
    m_subscriptions.push_back(subscription);
    for (Application *application : m_server->applications()) {
        bool followed = follows(application);
        follow(subscription, application);
        if (!followed && follows(application)) {
            tellFindings(application);
            tellStalls(application);
            application->refresh();
        }
    }
    m_server->updateRates();
    pump();
    return true;
}

template <typename Condition>
void
Tool::dropFeeds(Condition condition)
{
    auto end = std::remove_if(m_feeds.begin(), m_feeds.end(), condition);
    m_session->charge().give(size_t(m_feeds.end() - end) * Feed::Bytes);
    m_feeds.erase(end, m_feeds.end());
}

void
Tool::unsubscribe(uint32_t number)
{
    dropFeeds([number](const auto &feed) { return feed->sub() == number; });
    m_subscriptions.erase(
        std::remove_if(m_subscriptions.begin(), m_subscriptions.end(),
                       [number](const Subscription &s) { return s.number == number; }),
        m_subscriptions.end());
    m_server->updateRates();
}

void
Tool::follow(const Subscription &subscription, Application *application)
{
    if (subscription.pid == 0 || subscription.pid == application->pid()) {
        if (!m_session->charge().take(Feed::Bytes)) {
            m_session->outOfMemory("its subscriptions");
            return;
        }
        m_feeds.push_back(
            std::make_unique<Feed>(m_session, application, &m_interned[application],
                                   subscription.number, subscription.options));
    }
}

// A subscription is answered once the snapshots of the applications that are there are
// out.  An application that has not sent its own yet is not waited for if it is dead.
int
Tool::answerSubscriptions()
{
    int next = -1;

    for (Subscription &subscription : m_subscriptions) {
        if (subscription.answered) {
            continue;
        }
        bool waiting = std::any_of(
            m_feeds.begin(), m_feeds.end(), [&subscription](const auto &feed) {
                return feed->sub() == subscription.number && !feed->isBegun()
                       && (feed->application()->isAlive()
                           || feed->application()->isComplete());
            });
        bool sending = std::any_of(
            m_feeds.begin(), m_feeds.end(), [&subscription](const auto &feed) {
                return feed->sub() == subscription.number && feed->isSending();
            });
        if (sending) {
            continue; // the rest goes out as the tool takes it, and the answer after it
        }
        qint64 left = MuteMs - subscription.asked.elapsed();
        if (!waiting || left <= 0) {
            subscription.answered = true;
            result(subscription.seq, true);
        }
        else {
            next = int(left);
        }
    }
    return next;
}

void
Tool::pump()
{
    if (m_pumping || !m_session->isOpen()) {
        return;
    }
    m_pumping = true;
    int next = -1;
    auto wantCall = [&next](int ms) {
        if (ms >= 0 && (next < 0 || ms < next)) {
            next = ms;
        }
    };
    for (const auto &feed : m_feeds) {
        wantCall(feed->pump());
    }
    wantCall(answerSubscriptions());
    m_pumping = false;
    if (next >= 0) {
        m_timer.start(next);
    }
}

unsigned
Tool::rateFor(const Application *application, bool *events) const
{
    unsigned hz = 0;
    for (const auto &feed : m_feeds) {
        if (feed->application() == application) {
            hz = std::max(hz, feed->options().hz);
            *events = *events || feed->options().events;
        }
    }
    return hz;
}

// --- applications

void
Tool::tellUp(Application *application)
{
    Frame frame(QI_MSG_PROC_UP, 0, 3);
    frame.number(QI_KEY_PROC_UP_pid, application->pid());
    qi_encode_key(*frame, QI_KEY_PROC_UP_process);
    encodeProcess(frame, application);
    frame.number(QI_KEY_PROC_UP_session, application->number());
    m_session->send(frame.done());
    if (!application->isAlive()) {
        tellDown(application);
    }
}

void
Tool::tellDown(Application *application)
{
    Frame frame(QI_MSG_PROC_DOWN, 0, 3);
    frame.number(QI_KEY_PROC_DOWN_pid, application->pid())
        .text(QI_KEY_PROC_DOWN_cause, application->cause())
        .text(QI_KEY_PROC_DOWN_segment, application->segment());
    m_session->send(frame.done());
}

void
Tool::applicationUp(Application *application)
{
    tellUp(application);
    for (const Subscription &subscription : m_subscriptions) {
        follow(subscription, application);
    }
}

void
Tool::applicationDescribed(Application *application)
{
    tellUp(application);
}

bool
Tool::follows(const Application *application) const
{
    return std::any_of(m_feeds.begin(), m_feeds.end(), [application](const auto &feed) {
        return feed->application() == application;
    });
}

void
Tool::applicationChanged(Application *application)
{
    if (follows(application)) {
        pump();
    }
}

void
Tool::applicationDown(Application *application)
{
    applicationChanged(application);
    tellDown(application);
    pump();
}

void
Tool::applicationForgotten(Application *application)
{
    dropFeeds(
        [application](const auto &feed) { return feed->application() == application; });
    m_interned.erase(application);
}

void
Tool::tellFindings(Application *application)
{
    unsigned place = 0;
    while (const qi_finding *finding = qi_lints_next(application->lints(), &place)) {
        found(application, finding);
    }
}

void
Tool::tellStalls(Application *application)
{
    for (const Application::Stall &stall : application->stalls()) {
        stalled(application, stall.fields, stall.count);
    }
}

// To those that follow the application; LINTS is there for a tool that missed some.
void
Tool::found(Application *application, const qi_finding *finding)
{
    if (!follows(application) || m_session->unsent() > Session::ReadAtOnce) {
        return;
    }
    Frame frame(QI_MSG_LINT, 0, LintFields);
    encodeFinding(frame, application->pid(), finding);
    m_session->send(frame.done());
}

void
Tool::stalled(Application *application, const QByteArray &fields, uint32_t count)
{
    if (m_session->unsent() > Session::ReadAtOnce) {
        return; // a slow tool learns it from the rows
    }
    Frame frame(QI_MSG_STALL_NOTE, 0, 2);
    frame.number(QI_KEY_STALL_NOTE_pid, application->pid());
    qi_encode_key(*frame, QI_KEY_STALL_NOTE_stall);
    qi_encode_map(*frame, count);
    qi_encode_raw(*frame, fields.constData(), size_t(fields.size()));
    m_session->send(frame.done());
}

} // namespace qi
