#include "feed.hpp"

#include "frame.hpp"

#include <algorithm>

namespace qi {

namespace {

// The tool has this much before it: nothing more is written until it took some.
constexpr qint64 EnoughUnsent = 512 * 1024;
constexpr uint32_t RecordsAtOnce = 4096;
constexpr int StateColumn = -1;
constexpr int LoopColumn = -2;

void
encodeRow(qi_encoder *e, const qi_mirror_row *row)
{
    qi_encode_list(e, 4u + row->columns);
    qi_encode_uint(e, row->kind);
    qi_encode_uint(e, row->id);
    qi_encode_uint(e, row->state);
    qi_encode_uint(e, row->loop);
    for (unsigned i = 0; i < row->columns; i++) {
        qi_encode_uint(e, row->value[i]);
    }
}

// What changed after revision `base`.
void
encodeChange(qi_encoder *e, const qi_mirror_row *row, uint64_t base)
{
    bool whole = row->made > base;
    uint32_t n = 0;

    for (unsigned i = 0; i < row->columns; i++) {
        n += whole || qi_mirror_changed(row, i, base);
    }
    qi_encode_list(e, 3);
    qi_encode_uint(e, row->kind);
    qi_encode_uint(e, row->id);
    qi_encode_map(e, n + 2);
    qi_encode_int(e, StateColumn);
    qi_encode_uint(e, row->state);
    qi_encode_int(e, LoopColumn);
    qi_encode_uint(e, row->loop);
    for (unsigned i = 0; i < row->columns; i++) {
        if (whole || qi_mirror_changed(row, i, base)) {
            qi_encode_uint(e, i);
            qi_encode_uint(e, row->value[i]);
        }
    }
}

void
encodeEntry(qi_encoder *e, const struct qi_mirror_entry *entry)
{
    qi_encode_list(e, 3);
    qi_encode_uint(e, entry->id);
    qi_encode_text(e, &entry->type, 1);
    if (entry->type == 't') {
        qi_encode_text(e, entry->text, entry->size);
        return;
    }
    qi_encode_list(e, entry->size);
    for (uint32_t i = 0; i < entry->size; i++) {
        qi_encode_uint(e, entry->numbers[i]);
    }
}

int64_t
lastChange(const qi_mirror *mirror)
{
    uint64_t end = qi_mirror_record_end(mirror);
    const qi_record *record = end > 0 ? qi_mirror_record(mirror, end - 1) : nullptr;
    return record != nullptr ? record->ts : 0;
}

} // namespace

Feed::Feed(Session *tool, Application *application, Interned *interned, uint32_t sub,
           const FeedOptions &options)
    : m_tool(tool), m_application(application), m_interned(interned), m_sub(sub),
      m_options(options), m_refs(tool->charge().budget())
{
    m_since.start();
}

bool
Feed::hasRoom() const
{
    return m_tool->isOpen() && m_tool->unsent() < EnoughUnsent;
}

bool
Feed::isWanted(unsigned kind) const
{
    return (m_options.kinds >> (kind & 63) & 1) != 0;
}

int
Feed::pump()
{
    if (!m_application->isComplete()) {
        return -1;
    }
    if (m_stage == Stage::Begin && m_application->isRefreshing()) {
        return -1;
    }
    if (m_stage != Stage::Following) {
        if (!sendSnapshot()) {
            return -1;
        }
    }
    if (!m_inRound) {
        qint64 interval = 1000 / m_options.hz;
        qint64 left = interval - m_since.elapsed();
        if (left > 0) {
            return int(left);
        }
    }
    bool more = sendDelta();
    if (more && m_options.events) {
        more = sendEvents();
    }
    // What changed while a round waited for room is another round's.
    bool behind = more && qi_mirror_rev(m_application->mirror()) != m_rev;
    return behind ? int(1000 / m_options.hz) : -1;
}

// Puts it on the list; false: there is no memory for that, and the session is closed.
bool
Feed::keep(const qi_mirror_row *row)
{
    if (!m_refs.append(QI_REF(row->kind, row->id))) {
        m_tool->outOfMemory("the rows that it is sent");
        return false;
    }
    return true;
}

// Everything that came since the last time: it is all the tool can meet in rows.
bool
Feed::sendEntries()
{
    const qi_mirror *mirror = m_application->mirror();

    if (m_interned->epoch != qi_mirror_entry_epoch(mirror)) {
        m_interned->epoch = qi_mirror_entry_epoch(mirror);
        m_interned->sent = 0;
    }
    while (m_interned->sent < qi_mirror_entries(mirror)) {
        if (!hasRoom()) {
            return false;
        }
        Frame frame(QI_MSG_SUB_INTERN, 0, 2);
        frame.number(QI_KEY_SUB_INTERN_pid, m_application->pid());
        qi_encode_key(*frame, QI_KEY_SUB_INTERN_entries);
        size_t place = qi_encode_open_list(*frame);
        uint32_t n = 0;
        while (m_interned->sent < qi_mirror_entries(mirror)
               && frame.size() < QI_CHUNK_MAX) {
            encodeEntry(*frame, qi_mirror_entry(mirror, m_interned->sent));
            m_interned->sent++;
            n++;
        }
        qi_encode_close_list(*frame, place, n);
        m_tool->send(frame.done());
    }
    return true;
}

bool
Feed::sendSnapshot()
{
    const qi_mirror *mirror = m_application->mirror();

    if (m_stage == Stage::Begin) {
        m_refs.clear();
        m_next = 0;
        m_rev = m_removal = qi_mirror_rev(mirror);
        for (auto row = qi_mirror_newest(mirror); row != nullptr; row = row->older) {
            if (isWanted(row->kind) && (!row->over || m_options.history) && !keep(row)) {
                return false;
            }
        }
        Frame frame(QI_MSG_SUB_BEGIN, 0, 3);
        frame.number(QI_KEY_SUB_BEGIN_sub, m_sub)
            .number(QI_KEY_SUB_BEGIN_pid, m_application->pid())
            .number(QI_KEY_SUB_BEGIN_rows, m_refs.size());
        m_tool->send(frame.done());
        m_stage = Stage::Rows;
    }
    if (!sendEntries()) {
        return false;
    }
    while (m_next < m_refs.size()) {
        if (!hasRoom()) {
            return false;
        }
        Frame frame(QI_MSG_SUB_ROWS, 0, 3);
        frame.number(QI_KEY_SUB_ROWS_sub, m_sub)
            .number(QI_KEY_SUB_ROWS_pid, m_application->pid());
        qi_encode_key(*frame, QI_KEY_SUB_ROWS_rows);
        size_t place = qi_encode_open_list(*frame);
        uint32_t n = 0;
        while (m_next < m_refs.size() && frame.size() < QI_CHUNK_MAX) {
            uint64_t ref = m_refs[m_next++];
            const qi_mirror_row *row =
                qi_mirror_find(mirror, QI_REF_KIND(ref), QI_REF_ID(ref));
            if (row != nullptr) {
                encodeRow(*frame, row);
                n++;
            }
        }
        qi_encode_close_list(*frame, place, n);
        m_tool->send(frame.done());
    }
    Frame frame(QI_MSG_SUB_END, 0, 3);
    frame.number(QI_KEY_SUB_END_sub, m_sub)
        .number(QI_KEY_SUB_END_pid, m_application->pid())
        .number(QI_KEY_SUB_END_rev, m_deltas);
    m_tool->send(frame.done());
    m_refs.clear();
    m_stage = Stage::Following;
    // With history also the records that are still there.
    m_record =
        m_options.history ? qi_mirror_record_begin(mirror) : qi_mirror_record_end(mirror);
    m_since.restart();
    return true;
}

// The refs of what changed, oldest change first; they stay good while rows go on
// changing.
bool
Feed::beginRound()
{
    const qi_mirror *mirror = m_application->mirror();

    m_target = qi_mirror_rev(mirror);
    m_refs.clear();
    m_next = 0;
    for (auto row = qi_mirror_newest(mirror); row != nullptr && row->rev > m_rev;
         row = row->older) {
        bool unseen = row->made > m_rev;
        if (isWanted(row->kind) && (m_options.history || !row->over || !unseen)
            && !keep(row)) {
            return false;
        }
    }
    std::reverse(m_refs.begin(), m_refs.end());
    m_inRound = true;
    m_since.restart();
    return true;
}

// One or more DELTAs, if anything changed.  False: there was no room for all of it.
bool
Feed::sendDelta()
{
    const qi_mirror *mirror = m_application->mirror();

    if (!m_inRound) {
        if (qi_mirror_rev(mirror) == m_rev) {
            return true;
        }
        if (!beginRound()) {
            return false;
        }
    }
    for (;;) {
        if (!hasRoom() || !sendEntries()) {
            return false;
        }
        std::vector<std::pair<uint8_t, uint64_t>> gone;
        Frame frame(QI_MSG_DELTA, 0, 6);
        frame.number(QI_KEY_DELTA_sub, m_sub)
            .number(QI_KEY_DELTA_pid, m_application->pid())
            .number(QI_KEY_DELTA_rev, ++m_deltas)
            .signedNumber(QI_KEY_DELTA_ts, lastChange(mirror));
        qi_encode_key(*frame, QI_KEY_DELTA_upsert);
        size_t place = qi_encode_open_list(*frame);
        uint32_t n = 0;
        while (m_next < m_refs.size() && frame.size() < QI_CHUNK_MAX) {
            uint64_t ref = m_refs[m_next++];
            const qi_mirror_row *row =
                qi_mirror_find(mirror, QI_REF_KIND(ref), QI_REF_ID(ref));
            if (row == nullptr) {
                continue;
            }
            encodeChange(*frame, row, m_rev);
            n++;
            if (row->over && !m_options.history) {
                gone.emplace_back(row->kind, row->id);
            }
        }
        qi_encode_close_list(*frame, place, n);
        bool last = m_next >= m_refs.size();
        qi_mirror_removal removal;
        int r = 0;
        while (last && gone.size() < RecordsAtOnce
               && (r = qi_mirror_next_removal(mirror, &m_removal, &removal)) > 0) {
            if (isWanted(removal.kind)) {
                gone.emplace_back(removal.kind, removal.id);
            }
        }
        qi_encode_key(*frame, QI_KEY_DELTA_gone);
        qi_encode_list(*frame, uint32_t(gone.size()));
        for (auto [kind, id] : gone) {
            qi_encode_list(*frame, 2);
            qi_encode_uint(*frame, kind);
            qi_encode_uint(*frame, id);
        }
        if (r < 0) {
            // Too much went away while the tool was slow: from the start.
            m_stage = Stage::Begin;
            m_inRound = false;
            return sendSnapshot();
        }
        if (n > 0 || !gone.empty()) {
            m_tool->send(frame.done());
        }
        else {
            m_deltas--;
        }
        if (last && r == 0) {
            break;
        }
    }
    m_rev = m_target;
    m_inRound = false;
    m_refs.clear();
    return true;
}

bool
Feed::sendEvents()
{
    const qi_mirror *mirror = m_application->mirror();
    uint64_t end = qi_mirror_record_end(mirror);

    while (m_record < end) {
        if (!hasRoom()) {
            return false;
        }
        uint64_t lost = m_record;
        while (lost < end && qi_mirror_record(mirror, lost) == nullptr) {
            lost = std::max(lost + 1, qi_mirror_record_begin(mirror));
        }
        if (lost > m_record) {
            Frame gap(QI_MSG_GAP, 0, 4);
            gap.number(QI_KEY_GAP_first, m_record)
                .number(QI_KEY_GAP_count, std::min(lost, end) - m_record)
                .text(QI_KEY_GAP_cause, "slow tool")
                .number(QI_KEY_GAP_pid, m_application->pid());
            m_tool->send(gap.done());
            m_record = std::min(lost, end);
            continue;
        }
        const qi_record *first = qi_mirror_record(mirror, m_record);
        int64_t ts = first->ts;
        Frame frame(QI_MSG_EVENT_STREAM, 0, 5);
        frame.number(QI_KEY_EVENT_STREAM_sub, m_sub)
            .number(QI_KEY_EVENT_STREAM_pid, m_application->pid())
            .number(QI_KEY_EVENT_STREAM_first, m_record)
            .signedNumber(QI_KEY_EVENT_STREAM_ts, ts);
        qi_encode_key(*frame, QI_KEY_EVENT_STREAM_records);
        size_t place = qi_encode_open_list(*frame);
        uint32_t n = 0;
        const qi_record *record;
        while (n < RecordsAtOnce
               && (record = qi_mirror_record(mirror, m_record)) != nullptr) {
            qi_encode_records(*frame, record, 1, &ts);
            m_record++;
            n++;
        }
        qi_encode_close_list(*frame, place, n * QI_RECORD_VALUES);
        m_tool->send(frame.done());
    }
    return true;
}

} // namespace qi
