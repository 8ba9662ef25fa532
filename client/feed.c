/* feed.c - see feed.h. */
#include "feed.h"

#include "qi_atomic.h"

#include <sched.h>
#include <stdlib.h>
#include <string.h>

#define TORN_ATTEMPTS 16

int
qi_feed_init(struct qi_feed *f, const struct qi_view *view, uint8_t *dirty)
{
    memset(f, 0, sizeof(*f));
    f->view = view;
    f->dirty = dirty;
    f->known_count = view->header.slot_count;
    f->known = calloc(f->known_count, sizeof(*f->known));
    f->rows = calloc(QI_BATCH_ROWS, sizeof(*f->rows));
    f->row_indexes = calloc(QI_BATCH_ROWS, sizeof(*f->row_indexes));
    f->records = calloc(QI_BATCH_RECORDS, sizeof(*f->records));
    if (f->known == NULL || f->rows == NULL || f->row_indexes == NULL
        || f->records == NULL) {
        qi_feed_fini(f);
        return -1;
    }
    qi_feed_reset(f);
    return 0;
}

void
qi_feed_fini(struct qi_feed *f)
{
    free(f->known);
    free(f->rows);
    free(f->row_indexes);
    free(f->records);
    memset(f, 0, sizeof(*f));
}

void
qi_feed_reset(struct qi_feed *f)
{
    f->batch = QI_BATCH_NONE;
    f->stage = QI_FEED_IDLE;
    f->position = 0;
    f->blocked = 0;
    qi_feed_resync(f);
}

/* A batch that is under way goes out after the texts; a snapshot begins anew. */
void
qi_feed_resync(struct qi_feed *f)
{
    memset(&f->arena, 0, sizeof(f->arena));
    f->snapshot_wanted = 1;
    if (f->stage == QI_FEED_ROWS || f->stage == QI_FEED_SNAPSHOT_END) {
        qi_feed_start_round(f, f->with_records);
    }
}

void
qi_feed_start_round(struct qi_feed *f, int with_records)
{
    f->stage = QI_FEED_ROWS;
    f->next_slot = 0;
    f->with_records = with_records;
    f->records_goal = qi_view_head(f->view);
    f->begin_is_due = f->in_snapshot = f->snapshot_wanted;
    f->snapshot_wanted = 0;
}

void
qi_feed_start_records(struct qi_feed *f)
{
    f->stage = QI_FEED_RECORDS;
    f->with_records = 1;
    f->records_goal = qi_view_head(f->view);
}

int
qi_feed_is_idle(const struct qi_feed *f)
{
    return f->stage == QI_FEED_IDLE && f->batch == QI_BATCH_NONE;
}

/* --- copying ---------------------------------------------------------------------- */

/* Everything the batch refers to is among the entries that are there by now. */
static void
seal_batch(struct qi_feed *f, enum qi_batch_kind kind)
{
    f->batch = kind;
    f->arena_needed = QI_LOAD_ACQUIRE(f->view->live->arena_count);
}

/* The writer may have lost the processor in the middle of a row. */
static int
copy_whole_slot(struct qi_feed *f, uint32_t index, struct qi_slot *ret_slot)
{
    for (int i = 0; i < TORN_ATTEMPTS; i++) {
        if (qi_view_slot(f->view, index, ret_slot) == QI_VIEW_OK) {
            return 1;
        }
        (void)sched_yield();
    }
    return 0;
}

/* Does the row belong into what is being sent?  A snapshot is of the living. */
static int
row_is_wanted(const struct qi_feed *f, const struct qi_slot *slot)
{
    return slot->kind != 0
           && (!f->in_snapshot || !qi_state_is_final(slot->kind, slot->state));
}

static void
take_row(struct qi_feed *f, uint32_t index)
{
    struct qi_slot *slot = &f->rows[f->rows_in_batch];

    /* First the mark, then the copy: a change after the mark was taken sets it again. */
    uint8_t dirty = QI_EXCHANGE(f->dirty[index], (uint8_t)0);
    if (!copy_whole_slot(f, index, slot)) {
        QI_STORE(f->dirty[index], dirty); /* not visible yet, or next time */
        return;
    }
    if (row_is_wanted(f, slot)) {
        f->row_indexes[f->rows_in_batch++] = index;
    }
}

static int
eight_are_clean(const uint8_t *dirty)
{
    uint64_t word =
        __atomic_load_n((const uint64_t *)(const void *)dirty, __ATOMIC_RELAXED);

    return word == 0;
}

static void
collect_rows(struct qi_feed *f, int64_t now_ns)
{
    uint32_t used = qi_view_slots_used(f->view);

    f->rows_in_batch = 0;
    f->rows_ts = now_ns;
    while (f->next_slot < used && f->rows_in_batch < QI_BATCH_ROWS) {
        if (!f->in_snapshot && f->next_slot % 8 == 0 && f->next_slot + 8 <= used
            && eight_are_clean(f->dirty + f->next_slot)) {
            f->next_slot += 8;
            continue;
        }
        if (f->in_snapshot || QI_LOAD(f->dirty[f->next_slot]) != 0) {
            take_row(f, f->next_slot);
        }
        f->next_slot++;
    }
    if (f->rows_in_batch > 0) {
        seal_batch(f, QI_BATCH_OF_ROWS);
    }
    else {
        f->stage = f->in_snapshot ? QI_FEED_SNAPSHOT_END : QI_FEED_RECORDS;
    }
}

static void
collect_records(struct qi_feed *f)
{
    uint64_t start = f->position;

    if (!f->with_records || start >= f->records_goal) {
        f->stage = QI_FEED_IDLE;
        return;
    }
    f->records_in_batch = (uint32_t)qi_view_records(f->view, &f->position, f->records,
                                                    QI_BATCH_RECORDS, &f->gap_count);
    f->gap_first = start;
    f->gap_cause = f->blocked ? "socket" : "ring";
    f->blocked = 0;
    f->first_record = start + f->gap_count;
    if (f->position == start) {
        f->stage = QI_FEED_IDLE;
        return;
    }
    seal_batch(f, QI_BATCH_OF_RECORDS);
}

/* --- encoding --------------------------------------------------------------------- */

static int
has_room(const struct qi_encoder *e, size_t size)
{
    return e->capacity - e->size >= size;
}

static int
encode_interns(struct qi_feed *f, struct qi_encoder *e, uint32_t seq)
{
    struct qi_arena_place place = f->arena;
    struct qi_arena_place next = place;
    struct qi_entry entry;
    uint32_t n = 0;

    qi_encode_begin(e, QI_MSG_INTERN, seq, 1);
    qi_encode_key(e, QI_KEY_INTERN_entries);
    size_t list = qi_encode_open_list(e);
    while (place.id < f->arena_needed
           && e->size - e->frame < QI_CHUNK_MAX - QI_ENTRY_BYTES_MAX
           && has_room(e, QI_ENTRY_BYTES_MAX)
           && qi_view_next_entry(f->view, &next, &entry)) {
        n += (uint32_t)qi_encode_entry(e, &entry);
        place = next;
    }
    qi_encode_close_list(e, list, n);
    if (qi_encode_end(e) < 0) {
        return -1;
    }
    if (place.id == f->arena.id) {
        /* Nothing readable is left: the segment is damaged.  Do not ask again. */
        place.id = (uint32_t)f->arena_needed;
    }
    f->arena = place;
    return 1;
}

/* The entity that the daemon knows from this slot ended, and nobody saw how. */
static uint32_t
encode_if_gone(struct qi_feed *f, struct qi_encoder *e, uint32_t index, uint64_t ref)
{
    uint64_t known = f->known[index];

    if (known == 0 || known == ref) {
        return 0;
    }
    qi_encode_gone(e, QI_REF_KIND(known), QI_REF_ID(known));
    return 1;
}

static void
remember_rows(struct qi_feed *f)
{
    for (uint32_t i = 0; i < f->rows_in_batch; i++) {
        const struct qi_slot *slot = &f->rows[i];
        f->known[f->row_indexes[i]] =
            qi_state_is_final(slot->kind, slot->state) ? 0 : QI_REF(slot->kind, slot->id);
    }
    QI_ADD(f->rows_sent, f->rows_in_batch);
    f->batch = QI_BATCH_NONE;
}

static int
encode_rows(struct qi_feed *f, struct qi_encoder *e, uint32_t seq)
{
    uint32_t n = f->rows_in_batch;

    qi_encode_begin(e, QI_MSG_STATE, seq, 2);
    qi_encode_int_field(e, QI_KEY_STATE_ts, f->rows_ts);
    qi_encode_key(e, QI_KEY_STATE_rows);
    size_t list = qi_encode_open_list(e);
    for (uint32_t i = 0; i < f->rows_in_batch; i++) {
        const struct qi_slot *slot = &f->rows[i];
        n += encode_if_gone(f, e, f->row_indexes[i], QI_REF(slot->kind, slot->id));
        qi_encode_row(e, slot);
    }
    qi_encode_close_list(e, list, n);
    if (qi_encode_end(e) < 0) {
        return -1;
    }
    remember_rows(f);
    return 1;
}

static int
encode_gap(struct qi_feed *f, struct qi_encoder *e, uint32_t seq)
{
    uint64_t end = f->gap_first + f->gap_count;

    qi_encode_begin(e, QI_MSG_GAP, seq, 3);
    qi_encode_uint_field(e, QI_KEY_GAP_first, f->gap_first);
    qi_encode_uint_field(e, QI_KEY_GAP_count, f->gap_count);
    qi_encode_text_field(e, QI_KEY_GAP_cause, f->gap_cause);
    if (qi_encode_end(e) < 0) {
        return -1;
    }
    /* After a reconnect the same old records are missing again: count them once. */
    if (end > f->furthest) {
        uint64_t from = f->gap_first > f->furthest ? f->gap_first : f->furthest;
        QI_ADD(f->records_lost, end - from);
        f->furthest = end;
    }
    f->gap_count = 0;
    if (f->records_in_batch == 0) {
        f->batch = QI_BATCH_NONE;
    }
    return 1;
}

static int
encode_records(struct qi_feed *f, struct qi_encoder *e, uint32_t seq)
{
    int64_t ts = f->records[0].ts;

    qi_encode_begin(e, QI_MSG_EVENTS, seq, 3);
    qi_encode_uint_field(e, QI_KEY_EVENTS_first, f->first_record);
    qi_encode_int_field(e, QI_KEY_EVENTS_ts, ts);
    qi_encode_key(e, QI_KEY_EVENTS_records);
    qi_encode_list(e, f->records_in_batch * QI_RECORD_VALUES);
    qi_encode_records(e, f->records, f->records_in_batch, &ts);
    if (qi_encode_end(e) < 0) {
        return -1;
    }
    QI_ADD(f->records_sent, f->records_in_batch);
    if (f->position > f->furthest) {
        f->furthest = f->position;
    }
    f->batch = QI_BATCH_NONE;
    return 1;
}

static int
encode_snap_begin(struct qi_feed *f, struct qi_encoder *e, uint32_t seq)
{
    qi_encode_begin(e, QI_MSG_SNAP_BEGIN, seq, 1);
    qi_encode_uint_field(e, QI_KEY_SNAP_BEGIN_rows, qi_view_slots_used(f->view));
    if (qi_encode_end(e) < 0) {
        return -1;
    }
    memset(f->known, 0, f->known_count * sizeof(*f->known));
    f->begin_is_due = 0;
    return 1;
}

static int
encode_snap_end(struct qi_feed *f, struct qi_encoder *e, uint32_t seq)
{
    qi_encode_begin(e, QI_MSG_SNAP_END, seq, 0);
    if (qi_encode_end(e) < 0) {
        return -1;
    }
    f->in_snapshot = 0;
    f->stage = QI_FEED_RECORDS;
    return 1;
}

static int
encode_batch(struct qi_feed *f, struct qi_encoder *e, uint32_t seq)
{
    if (f->arena.id < f->arena_needed) {
        return encode_interns(f, e, seq);
    }
    if (f->batch == QI_BATCH_OF_ROWS) {
        return encode_rows(f, e, seq);
    }
    return f->gap_count > 0 ? encode_gap(f, e, seq) : encode_records(f, e, seq);
}

int
qi_feed_next(struct qi_feed *f, struct qi_encoder *e, uint32_t seq, int64_t now_ns)
{
    while (f->batch == QI_BATCH_NONE) {
        if (f->stage == QI_FEED_IDLE) {
            return 0;
        }
        if (f->begin_is_due) {
            return encode_snap_begin(f, e, seq);
        }
        if (f->stage == QI_FEED_ROWS) {
            collect_rows(f, now_ns);
        }
        else if (f->stage == QI_FEED_SNAPSHOT_END) {
            return encode_snap_end(f, e, seq);
        }
        else {
            collect_records(f);
        }
    }
    return encode_batch(f, e, seq);
}
