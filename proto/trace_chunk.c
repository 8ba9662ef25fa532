/* trace_chunk.c - see trace_chunk.h. */
#include "trace_chunk.h"

#include "qi_utf8.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_BYTES 65536u
#define FRAME_BYTES (QI_CHUNK_MAX - 4096u) /* then a new frame of the same kind */
#define FRAME_HEAD 64u
#define RECORDS_AT_ONCE 512u
#define USED_WORDS (QI_TRACE_IDS_MAX / 64u)

/* --- buffers ---------------------------------------------------------------------- */

/* Room for so many bytes more, below a limit; what was written stays. */
static int
make_room(struct qi_chunk *c, struct qi_encoder *e, size_t size, size_t limit)
{
    size_t capacity = e->capacity;

    if (e->size + size > limit) {
        return 0;
    }
    if (e->capacity - e->size >= size) {
        return 1;
    }
    while (capacity - e->size < size) {
        capacity = capacity == 0 ? FIRST_BYTES : capacity * 2;
    }
    uint8_t *bytes = realloc(e->bytes, capacity);
    if (bytes == NULL) {
        c->failed = 1;
        return 0;
    }
    e->bytes = bytes;
    e->capacity = capacity;
    return 1;
}

static void
empty(struct qi_encoder *e)
{
    e->size = e->frame = 0;
    e->failed = 0;
}

int
qi_chunk_init(struct qi_chunk *c)
{
    memset(c, 0, sizeof(*c));
    c->share = QI_TRACE_CHUNK_BYTES;
    c->used = calloc(USED_WORDS, sizeof(*c->used));
    return c->used != NULL ? 0 : -1;
}

void
qi_chunk_fini(struct qi_chunk *c)
{
    free(c->texts.bytes);
    free(c->state.bytes);
    free(c->events.bytes);
    free(c->used);
    memset(c, 0, sizeof(*c));
}

void
qi_chunk_begin(struct qi_chunk *c, uint64_t first, int64_t state_ts)
{
    empty(&c->texts);
    empty(&c->state);
    empty(&c->events);
    memset(c->used, 0, (c->used_end + 63) / 64 * sizeof(*c->used));
    c->used_end = 0;
    c->first = c->next = first;
    c->state_ts = c->t0 = c->t1 = state_ts;
    c->records = c->rows = c->rows_left_out = 0;
    c->key_bytes = 0;
    c->key_rows = 0;
    c->losses = c->notes = 0;
    c->flags = 0;
    c->failed = 0;
    c->rows_open = c->records_open = 0;
}

static void
widen(struct qi_chunk *c, int64_t ts)
{
    c->t0 = ts < c->t0 ? ts : c->t0;
    c->t1 = ts > c->t1 ? ts : c->t1;
}

/* --- intern ids that are referred to ---------------------------------------------- */

static void
use_id(struct qi_chunk *c, uint64_t id)
{
    if (id == 0 || id >= QI_TRACE_IDS_MAX) {
        return; /* nobody known, or a name that stands for itself: QI_TASK_N */
    }
    c->used[id / 64] |= UINT64_C(1) << (id % 64);
    if (id >= c->used_end) {
        c->used_end = (uint32_t)id + 1;
    }
}

static void
use_ref(struct qi_chunk *c, uint64_t ref)
{
    if (QI_REF_KIND(ref) == QI_CALLBACK) {
        use_id(c, QI_REF_ID(ref));
    }
}

/* The names that records.def gives to fields with an intern id, or with a ref. */
#define ID_code 1
#define ID_name 1
#define ID_signal 1
#define ID_exception 1
#define ID_by_ref 2
#define ID_creator_ref 2
#define ID_wait_ref 2
/* The others. */
#define ID_0 0
#define ID_late_ns 0
#define ID_mode 0
#define ID_iterations 0
#define ID_tasks_left 0
#define ID_task 0
#define ID_why 0
#define ID_duration_ns 0
#define ID_wait_kind 0
#define ID_state 0
#define ID_slot 0
#define ID_receiver 0
#define ID_policy 0
#define ID_wait 0
#define ID_sender 0
#define ID_nargs 0
#define ID_how 0
#define ID_object 0
#define ID_buffered 0
#define ID_dropped 0
#define ID_timer 0
#define ID_delay_ns 0
#define ID_fd 0
#define ID_events 0
#define ID_job 0
#define ID_callbacks 0
#define ID_qt_ns 0
#define ID_turn_ns 0
#define ID_idle_ns 0
#define ID_depth 0
#define ID_span 0
#define ID_level 0
#define ID_loop_time_ns 0

static const struct qi_record_ids record_ids[] = {
#define X(number, NAME, field_x, field_a, field_b, doc)                                  \
    [number] = {ID_##field_x, ID_##field_a, ID_##field_b},
#include "records.def"
#undef X
};

struct qi_record_ids
qi_record_ids(unsigned kind)
{
    static const struct qi_record_ids none = {0, 0, 0};

    return kind < sizeof(record_ids) / sizeof(record_ids[0]) ? record_ids[kind] : none;
}

static void
use_field(struct qi_chunk *c, unsigned what, uint64_t value)
{
    if (what == 1) {
        use_id(c, value);
    }
    else if (what == 2) {
        use_ref(c, value);
    }
}

static void
use_column(struct qi_chunk *c, const struct qi_column *column, uint64_t value)
{
    switch (column->type) {
    case QI_COLUMN_t:
    case QI_COLUMN_c:
    case QI_COLUMN_k:
        use_id(c, value);
        break;
    case QI_COLUMN_r:
        use_ref(c, value);
        break;
    default:
        break;
    }
}

/* --- rows ------------------------------------------------------------------------- */

static void
close_rows(struct qi_chunk *c)
{
    if (c->rows_open) {
        qi_encode_close_list(&c->state, c->list, c->items);
        (void)qi_encode_end(&c->state); /* there was room for it */
        c->rows_open = 0;
    }
}

static void
close_records(struct qi_chunk *c)
{
    if (c->records_open) {
        qi_encode_close_list(&c->events, c->list, c->items);
        (void)qi_encode_end(&c->events);
        c->records_open = 0;
    }
}

/* One frame at a time is open. */
static void
open_rows(struct qi_chunk *c, int64_t ts)
{
    close_records(c);
    qi_encode_begin(&c->state, QI_MSG_STATE, 0, 2);
    qi_encode_int_field(&c->state, QI_KEY_STATE_ts, ts);
    qi_encode_key(&c->state, QI_KEY_STATE_rows);
    c->list = qi_encode_open_list(&c->state);
    c->items = 0;
    c->rows_open = 1;
    c->rows_ts = ts;
}

static void
encode_wire_row(struct qi_chunk *c, const struct qi_wire_row *row)
{
    const struct qi_column *columns = NULL;
    unsigned known = qi_columns(row->kind, &columns);
    struct qi_encoder *e = &c->state;

    qi_encode_list(e, 4 + row->columns);
    qi_encode_uint(e, row->kind);
    qi_encode_uint(e, row->id);
    qi_encode_uint(e, row->state);
    qi_encode_uint(e, row->loop);
    for (uint32_t i = 0; i < row->columns; i++) {
        if (i < known
            && (columns[i].type == QI_COLUMN_i || columns[i].type == QI_COLUMN_ns)) {
            qi_encode_int(e, (int64_t)row->column[i]);
        }
        else {
            qi_encode_uint(e, row->column[i]);
        }
        if (i < known) {
            use_column(c, &columns[i], row->column[i]);
        }
    }
}

/* Bytes for rows.  In a file with a limit, of which events have an eighth, they must
   leave room for events: compressed they are a third of that, or less. */
static size_t
rows_share(const struct qi_chunk *c)
{
    if (c->share >= QI_TRACE_CHUNK_BYTES || c->share * 8 > QI_TRACE_ROWS_BYTES) {
        return QI_TRACE_ROWS_BYTES;
    }
    return c->share * 8;
}

void
qi_chunk_put_row(struct qi_chunk *c, int64_t ts, const struct qi_wire_row *row)
{
    if (c->rows_open
        && (ts != c->rows_ts || c->state.size - c->state.frame > FRAME_BYTES)) {
        close_rows(c);
    }
    uint32_t limit =
        ts == c->state_ts ? QI_TRACE_ROWS_MAX : c->key_rows + QI_TRACE_ROWS_MAX;
    if (c->rows >= limit
        || !make_room(c, &c->state, QI_ROW_BYTES_MAX + 8 * QI_COLUMNS_MAX + FRAME_HEAD,
                      rows_share(c))) {
        c->rows_left_out++;
        c->flags |= QI_TRACE_ROWS_CUT;
        return;
    }
    if (!c->rows_open) {
        open_rows(c, ts);
    }
    encode_wire_row(c, row);
    c->items++;
    c->rows++;
    if (ts == c->state_ts) {
        c->key_bytes = c->state.size;
        c->key_rows = c->rows;
    }
    widen(c, ts);
}

void
qi_chunk_put_slot(struct qi_chunk *c, int64_t ts, const struct qi_slot *slot)
{
    const struct qi_column *columns = NULL;
    struct qi_wire_row row = {.kind = slot->kind,
                              .state = slot->state,
                              .loop = slot->loop,
                              .id = slot->id,
                              .columns = qi_columns(slot->kind, &columns)};

    for (uint32_t i = 0; i < row.columns; i++) {
        row.column[i] = qi_column_value(&columns[i], slot);
    }
    qi_chunk_put_row(c, ts, &row);
}

/* --- records, losses, notes ------------------------------------------------------- */

static void
open_records(struct qi_chunk *c, int64_t ts)
{
    close_rows(c);
    qi_encode_begin(&c->events, QI_MSG_EVENTS, 0, 3);
    qi_encode_uint_field(&c->events, QI_KEY_EVENTS_first, c->next);
    qi_encode_int_field(&c->events, QI_KEY_EVENTS_ts, ts);
    qi_encode_key(&c->events, QI_KEY_EVENTS_records);
    c->list = qi_encode_open_list(&c->events);
    c->items = 0;
    c->records_open = 1;
    c->last_ts = ts;
}

/* At most RECORDS_AT_ONCE. */
static void
put_some_records(struct qi_chunk *c, const struct qi_record *records, size_t n)
{
    if (c->records_open && c->events.size - c->events.frame > FRAME_BYTES / 2) {
        close_records(c);
    }
    if (!make_room(c, &c->events, n * QI_RECORD_BYTES_MAX + FRAME_HEAD,
                   QI_TRACE_BODY_MAX)) {
        c->failed = 1;
        return;
    }
    if (!c->records_open) {
        open_records(c, records[0].ts);
    }
    qi_encode_records(&c->events, records, n, &c->last_ts);
    for (size_t i = 0; i < n; i++) {
        struct qi_record_ids ids = qi_record_ids(records[i].kind);
        use_field(c, ids.x, records[i].x);
        use_field(c, ids.a, records[i].a);
        use_field(c, ids.b, records[i].b);
        widen(c, records[i].ts);
    }
    c->items += (uint32_t)n * QI_RECORD_VALUES;
    c->records += (uint32_t)n;
    c->next += n;
}

void
qi_chunk_put_records(struct qi_chunk *c, const struct qi_record *records, size_t n)
{
    while (n > 0 && !c->failed) {
        size_t some = n < RECORDS_AT_ONCE ? n : RECORDS_AT_ONCE;
        put_some_records(c, records, some);
        records += some;
        n -= some;
    }
}

void
qi_chunk_put_loss(struct qi_chunk *c, uint64_t count, const char *cause, int64_t t0,
                  int64_t t1)
{
    struct qi_encoder *e = &c->events;

    close_rows(c);
    if (c->records > 0
        || !make_room(c, e, FRAME_HEAD + 64 + strlen(cause), QI_TRACE_BODY_MAX)) {
        c->failed = 1;
        return;
    }
    qi_encode_begin(e, QI_TRACE_MSG_LOST, 0, 5);
    qi_encode_uint_field(e, 0, c->next);
    qi_encode_uint_field(e, 1, count);
    qi_encode_text_field(e, 2, cause);
    qi_encode_int_field(e, 3, t0);
    qi_encode_int_field(e, 4, t1);
    (void)qi_encode_end(e);
    c->first += count;
    c->next = c->first;
    c->losses++;
}

int
qi_chunk_put_note(struct qi_chunk *c, int64_t ts, unsigned message, const void *map,
                  size_t size)
{
    struct qi_encoder *e = &c->events;

    close_rows(c);
    close_records(c);
    if (size > QI_TRACE_NOTE_MAX || c->notes >= QI_TRACE_NOTES_MAX
        || !make_room(c, e, FRAME_HEAD + size, QI_TRACE_BODY_MAX)) {
        return 0;
    }
    qi_encode_begin(e, QI_TRACE_MSG_NOTE, 0, 3);
    qi_encode_int_field(e, 0, ts);
    qi_encode_uint_field(e, 1, message);
    qi_encode_key(e, 2);
    qi_encode_raw(e, map, size);
    (void)qi_encode_end(e);
    widen(c, ts);
    c->notes++;
    return 1;
}

int
qi_chunk_has_events(const struct qi_chunk *c)
{
    return c->records > 0 || c->losses > 0 || c->notes > 0;
}

int
qi_chunk_is_full(const struct qi_chunk *c)
{
    size_t share = c->key_bytes < c->share / 2 ? c->share - c->key_bytes : c->key_bytes;
    size_t added = c->events.size + c->state.size - c->key_bytes;

    /* A lot is left for what comes in one go. */
    return c->failed || added >= share || c->records >= QI_TRACE_RECORDS_MAX / 2
           || c->rows - c->key_rows >= QI_TRACE_ROWS_MAX / 4 * 3
           || c->events.size >= QI_TRACE_BODY_MAX / 4
           || c->notes >= QI_TRACE_NOTES_MAX / 2;
}

/* --- texts ------------------------------------------------------------------------ */

static int
is_used(const struct qi_chunk *c, uint32_t id)
{
    return (c->used[id / 64] >> (id % 64) & 1) != 0;
}

/* What entries refer to, from the last to the first: an entry refers to lower ids only.
 */
static void
use_what_entries_use(struct qi_chunk *c, qi_trace_lookup lookup, void *ctx)
{
    struct qi_trace_entry entry;

    for (uint32_t id = c->used_end; id-- > 1;) {
        if (c->used[id / 64] == 0) {
            id = id / 64 * 64;
            if (id == 0) {
                break;
            }
            continue;
        }
        if (!is_used(c, id) || !lookup(ctx, id, &entry) || entry.type == 't') {
            continue;
        }
        uint32_t ids = entry.type == 'c' ? 2 : entry.count; /* line is none */
        for (uint32_t i = 0; i < ids && i < entry.count; i++) {
            if (entry.numbers[i] < id) {
                use_id(c, entry.numbers[i]);
            }
        }
    }
}

static void
encode_entry(struct qi_encoder *e, uint32_t id, const struct qi_trace_entry *entry)
{
    char clean[QI_TEXT_BYTES_MAX];

    qi_encode_list(e, 3);
    qi_encode_uint(e, id);
    qi_encode_text(e, &entry->type, 1);
    if (entry->type == 't') {
        qi_encode_text(
            e, clean,
            qi_utf8_clean(clean, sizeof(clean), (const char *)entry->text, entry->size));
        return;
    }
    qi_encode_list(e, entry->count);
    for (uint32_t i = 0; i < entry->count; i++) {
        qi_encode_uint(e, entry->numbers[i]);
    }
}

static size_t
open_texts(struct qi_chunk *c)
{
    qi_encode_begin(&c->texts, QI_MSG_INTERN, 0, 1);
    qi_encode_key(&c->texts, QI_KEY_INTERN_entries);
    return qi_encode_open_list(&c->texts);
}

static void
encode_texts(struct qi_chunk *c, qi_trace_lookup lookup, void *ctx)
{
    struct qi_encoder *e = &c->texts;
    struct qi_trace_entry entry;
    size_t list = 0;
    uint32_t n = 0;
    size_t room = QI_TRACE_BODY_MAX - c->state.size - c->events.size;

    for (uint32_t id = 1; id < c->used_end; id++) {
        if (c->used[id / 64] == 0) {
            id |= 63;
            continue;
        }
        if (!is_used(c, id) || !lookup(ctx, id, &entry)
            || (entry.type != 't' && entry.type != 'c' && entry.type != 'k')) {
            continue;
        }
        if (n > 0 && e->size - e->frame > FRAME_BYTES - QI_ENTRY_BYTES_MAX) {
            qi_encode_close_list(e, list, n);
            (void)qi_encode_end(e);
            n = 0;
        }
        if (!make_room(c, e, QI_ENTRY_BYTES_MAX + FRAME_HEAD, room)) {
            break; /* 32 MiB of texts: nothing of ours */
        }
        if (n == 0) {
            list = open_texts(c);
        }
        encode_entry(e, id, &entry);
        n++;
    }
    if (n > 0) {
        qi_encode_close_list(e, list, n);
        (void)qi_encode_end(e);
    }
}

int
qi_chunk_end(struct qi_chunk *c, qi_trace_lookup lookup, void *ctx)
{
    close_rows(c);
    close_records(c);
    use_what_entries_use(c, lookup, ctx);
    encode_texts(c, lookup, ctx);
    return c->failed ? -1 : 0;
}
