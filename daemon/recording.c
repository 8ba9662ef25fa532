/* recording.c - see recording.h. */
#include "recording.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BATCH 1024u

struct qi_recording {
    struct qi_mirror *mirror; /* owned */
    struct qi_chunk chunk;
    struct qi_trace_writer *writer; /* owned */
    struct qi_record *batch;        /* owned, BATCH of them */
    struct qi_trigger trigger;
    char *path;    /* owned; where captures go */
    uint64_t next; /* number of the record to come */
    int64_t last_ts, state_ts;
    int64_t chunk_ns, chunk_began;
    uint64_t lost, captures;
    int status; /* the first failure */
    int os_error;
};

static const struct qi_mirror_limits limits = {
    .rows = 262144,
    .ended = 16, /* what ended goes into the file, and is not needed here */
    .entries = 262144,
    .entry_bytes = 16u << 20,
    .records = 16,
    .removals = 16,
};

static int
fail(struct qi_recording *r, int status)
{
    if (r->status == QI_TRACE_OK && status < 0) {
        r->status = status;
        r->os_error = errno;
    }
    errno = r->os_error;
    return r->status;
}

/* --- rows and texts of the mirror ------------------------------------------------- */

static void
row_of(const struct qi_mirror_row *from, struct qi_wire_row *to)
{
    memset(to, 0, sizeof(*to));
    to->kind = from->kind;
    to->state = from->state;
    to->loop = from->loop;
    to->id = from->id;
    to->columns = from->columns;
    memcpy(to->column, from->value, from->columns * sizeof(to->column[0]));
}

static int
look_up(void *ctx, uint32_t id, struct qi_trace_entry *ret)
{
    const struct qi_recording *r = ctx;
    const struct qi_mirror_entry *entry = qi_mirror_find_entry(r->mirror, id);

    memset(ret, 0, sizeof(*ret));
    if (entry == NULL) {
        return 0;
    }
    ret->type = entry->type;
    if (entry->type == 't') {
        ret->text = (const uint8_t *)entry->text;
        ret->size = entry->size;
    }
    else {
        ret->count = entry->size < QI_COLUMNS_MAX ? entry->size : QI_COLUMNS_MAX;
        memcpy(ret->numbers, entry->numbers, ret->count * sizeof(ret->numbers[0]));
    }
    return 1;
}

/* A copy of another mirror's entry, by way of the wire's form. */
static int
copy_entry(struct qi_mirror *to, const struct qi_mirror_entry *from)
{
    uint8_t list[8 * QI_COLUMNS_MAX];
    struct qi_wire_entry entry = {.id = from->id, .type = from->type};
    struct qi_encoder e;
    size_t used = 0;

    if (from->type == 't') {
        entry.text = (struct qi_value){.type = QI_VALUE_TEXT,
                                       .size = from->size,
                                       .bytes = (const uint8_t *)from->text,
                                       .length = from->size};
    }
    else if (from->type == 'c') {
        entry.file = from->numbers[0];
        entry.name = from->numbers[1];
        entry.line = from->numbers[2];
    }
    else {
        uint32_t n = from->size < QI_COLUMNS_MAX ? from->size : QI_COLUMNS_MAX;
        qi_encoder_init(&e, list, sizeof(list));
        qi_encode_list(&e, n);
        for (uint32_t i = 0; i < n; i++) {
            qi_encode_uint(&e, from->numbers[i]);
        }
        (void)qi_value_decode(list, e.size, &entry.codes, &used);
    }
    return qi_mirror_put_entry(to, &entry);
}

static int
copy_mirror(struct qi_mirror *to, const struct qi_mirror *from)
{
    struct qi_wire_row row;

    for (uint32_t i = 0; i < qi_mirror_entries(from); i++) {
        if (copy_entry(to, qi_mirror_entry(from, i)) == QI_MIRROR_E_NOMEM) {
            return QI_TRACE_E_NOMEM;
        }
    }
    for (const struct qi_mirror_row *at = qi_mirror_newest(from); at != NULL;
         at = at->older) {
        row_of(at, &row);
        if (!at->over && qi_mirror_put_row(to, &row) == QI_MIRROR_E_NOMEM) {
            return QI_TRACE_E_NOMEM;
        }
    }
    return QI_TRACE_OK;
}

/* --- chunks ----------------------------------------------------------------------- */

static void
begin_chunk(struct qi_recording *r, int64_t now_ns)
{
    struct qi_wire_row row;

    qi_chunk_begin(&r->chunk, r->next, r->state_ts);
    for (const struct qi_mirror_row *at = qi_mirror_newest(r->mirror); at != NULL;
         at = at->older) {
        if (!at->over) {
            row_of(at, &row);
            qi_chunk_put_row(&r->chunk, r->state_ts, &row);
        }
    }
    r->chunk_began = now_ns;
}

static int
write_chunk(struct qi_recording *r)
{
    if (r->status == QI_TRACE_OK) {
        (void)fail(r, qi_chunk_end(&r->chunk, look_up, r) < 0
                          ? QI_TRACE_E_NOMEM
                          : qi_trace_write_chunk(r->writer, &r->chunk));
    }
    return fail(r, QI_TRACE_OK);
}

static int
next_chunk(struct qi_recording *r, int64_t now_ns)
{
    int status = write_chunk(r);

    if (status == QI_TRACE_OK) {
        begin_chunk(r, now_ns);
    }
    return status;
}

static int
capture(struct qi_recording *r, int64_t now_ns)
{
    if (next_chunk(r, now_ns) == QI_TRACE_OK) {
        r->trigger.due = 0;
        /* If there is no room for it, the flight goes on: there may be for the next. */
        if (qi_trace_write_copy(r->writer, r->path, r->trigger.ts - r->trigger.pre_ns)
            == QI_TRACE_OK) {
            r->captures++;
        }
    }
    return r->status;
}

int
qi_recording_tick(struct qi_recording *r, int64_t now_ns)
{
    if (r->status < 0) {
        return fail(r, r->status);
    }
    if (r->trigger.due != 0 && now_ns >= r->trigger.due) {
        return capture(r, now_ns);
    }
    if (qi_chunk_is_full(&r->chunk)
        || (now_ns - r->chunk_began >= r->chunk_ns && qi_chunk_has_events(&r->chunk))) {
        return next_chunk(r, now_ns);
    }
    return QI_TRACE_OK;
}

/* --- records ---------------------------------------------------------------------- */

/* Everything up to number `end`, as far as it has not come, is lost. */
static int
lose_until(struct qi_recording *r, uint64_t end, const char *cause, int64_t t1,
           int64_t now_ns)
{
    if (end <= r->next) {
        return QI_TRACE_OK;
    }
    if (r->chunk.records > 0 && next_chunk(r, now_ns) < 0) {
        return r->status;
    }
    uint64_t count = end - r->next;
    qi_chunk_put_loss(&r->chunk, count, cause, r->last_ts, t1);
    r->lost += count;
    r->next = end;
    return QI_TRACE_OK;
}

/* Records from this number on; those that were there already are left out. */
static int
put_records(struct qi_recording *r, uint64_t first, size_t n, int64_t now_ns)
{
    const struct qi_record *records = r->batch;
    uint8_t map[128];
    struct qi_encoder e;

    if (first < r->next) {
        uint64_t known = r->next - first < n ? r->next - first : n;
        records += known;
        first += known;
        n -= (size_t)known;
    }
    if (n == 0) {
        return QI_TRACE_OK;
    }
    if (lose_until(r, first, "recorder", records[0].ts, now_ns) < 0) {
        return r->status;
    }
    qi_chunk_put_records(&r->chunk, records, n);
    qi_trigger_look(&r->trigger, records, n, now_ns);
    qi_encoder_init(&e, map, sizeof(map));
    if (qi_trigger_kept(&r->trigger, &e)) {
        (void)qi_chunk_put_note(&r->chunk, r->trigger.kept_until, QI_MSG_STALL, map,
                                e.size);
    }
    r->next += n;
    r->last_ts = records[n - 1].ts;
    return qi_recording_tick(r, now_ns);
}

static int
take_records(struct qi_recording *r, const struct qi_frame *frame, int64_t now_ns)
{
    struct qi_cursor cursor = qi_cursor_in(&frame->fields[QI_KEY_EVENTS_records]);
    uint64_t number = qi_frame_uint(frame, QI_KEY_EVENTS_first, 0);
    int64_t ts = qi_frame_int(frame, QI_KEY_EVENTS_ts, 0);
    int status = QI_TRACE_OK;
    int more = 1;
    int bad = 0;

    while (status == QI_TRACE_OK && more) {
        size_t n = 0;
        while (n < BATCH
               && (more = qi_record_decode(&cursor, &ts, &r->batch[n], &bad)) != 0) {
            n++;
        }
        status = put_records(r, number, n, now_ns);
        number += n;
    }
    return status;
}

static int
take_gap(struct qi_recording *r, const struct qi_frame *frame, int64_t now_ns)
{
    uint64_t first = qi_frame_uint(frame, QI_KEY_GAP_first, 0);
    uint64_t count = qi_frame_uint(frame, QI_KEY_GAP_count, 0);
    char cause[16];

    qi_frame_copy_text(frame, QI_KEY_GAP_cause, cause, sizeof(cause));
    if (count > UINT64_MAX - first) {
        return QI_TRACE_OK; /* that many there never were */
    }
    int status = lose_until(r, first, "recorder", 0, now_ns);
    return status == QI_TRACE_OK ? lose_until(r, first + count, cause, 0, now_ns)
                                 : status;
}

/* --- rows, texts, notes ----------------------------------------------------------- */

static int
take_rows(struct qi_recording *r, const struct qi_frame *frame, int64_t now_ns)
{
    struct qi_cursor cursor = qi_cursor_in(&frame->fields[QI_KEY_STATE_rows]);
    struct qi_value value;
    struct qi_wire_row row;

    r->state_ts = qi_frame_int(frame, QI_KEY_STATE_ts, r->state_ts);
    while (qi_cursor_next(&cursor, &value)) {
        if (!qi_row_decode(&value, &row)) {
            continue;
        }
        if (row.state != QI_STATE_GONE && row.kind != 0
            && qi_state_is_final(row.kind, row.state)) {
            qi_chunk_put_row(&r->chunk, r->state_ts, &row);
        }
        if (qi_mirror_put_row(r->mirror, &row) == QI_MIRROR_E_NOMEM) {
            return fail(r, QI_TRACE_E_NOMEM);
        }
    }
    return qi_recording_tick(r, now_ns);
}

/* The state is known (again): a chunk begins with it. */
static int
take_snapshot(struct qi_recording *r, int64_t now_ns)
{
    qi_mirror_end_snapshot(r->mirror);
    if (qi_chunk_has_events(&r->chunk)) {
        return next_chunk(r, now_ns);
    }
    begin_chunk(r, now_ns);
    return QI_TRACE_OK;
}

static int
take_entries(struct qi_recording *r, const struct qi_frame *frame)
{
    struct qi_cursor cursor = qi_cursor_in(&frame->fields[QI_KEY_INTERN_entries]);
    struct qi_wire_entry entry;
    struct qi_value value;

    while (qi_cursor_next(&cursor, &value)) {
        if (qi_entry_decode(&value, &entry)
            && qi_mirror_put_entry(r->mirror, &entry) == QI_MIRROR_E_NOMEM) {
            return fail(r, QI_TRACE_E_NOMEM);
        }
    }
    return QI_TRACE_OK;
}

/* The body was judged as a part of its frame; here it becomes a value of its own. */
static int
put_note(struct qi_recording *r, const struct qi_frame *frame, int64_t ts)
{
    size_t capacity = frame->body.length + 16;
    struct qi_encoder e;
    uint8_t *map = malloc(capacity);

    if (map == NULL) {
        return fail(r, QI_TRACE_E_NOMEM);
    }
    qi_encoder_init(&e, map, capacity);
    qi_encode_map(&e, frame->body.size);
    qi_encode_raw(&e, frame->body.bytes, frame->body.length);
    (void)qi_chunk_put_note(&r->chunk, ts, frame->message, map, e.size);
    free(map);
    return QI_TRACE_OK;
}

static int
take_stall(struct qi_recording *r, const struct qi_frame *frame, int64_t now_ns)
{
    int64_t since = qi_frame_int(frame, QI_KEY_STALL_since, 0);
    int64_t duration = qi_frame_int(frame, QI_KEY_STALL_duration, 0);

    /* Unsigned: what a peer says may overflow. */
    if (put_note(r, frame, (int64_t)((uint64_t)since + (uint64_t)duration)) < 0) {
        return r->status;
    }
    if (duration >= r->trigger.stall_ns) {
        qi_trigger_set(&r->trigger, QI_TRIGGER_STALL, "stall", since, now_ns);
    }
    return qi_recording_tick(r, now_ns);
}

static int
take_lint(struct qi_recording *r, const struct qi_frame *frame, int64_t now_ns)
{
    if (put_note(r, frame, now_ns) < 0) {
        return r->status;
    }
    if (qi_frame_uint(frame, QI_KEY_LINT_active, 0) != 0) {
        qi_trigger_set(&r->trigger, QI_TRIGGER_LINT, "lint", now_ns, now_ns);
    }
    return qi_recording_tick(r, now_ns);
}

/* A text of a map of texts, by its name; empty: there is none. */
static void
text_in(const struct qi_value *map, const char *name, char *ret_text, size_t size)
{
    struct qi_cursor cursor = qi_cursor_in(map);
    struct qi_value key;
    struct qi_value value;

    ret_text[0] = '\0';
    while (qi_cursor_next(&cursor, &key) && qi_cursor_next(&cursor, &value)) {
        if (key.type == QI_VALUE_TEXT && value.type == QI_VALUE_TEXT
            && key.size == strlen(name) && memcmp(key.bytes, name, key.size) == 0) {
            size_t n = value.size < size ? value.size : size - 1;
            memcpy(ret_text, value.bytes, n);
            ret_text[n] = '\0';
        }
    }
}

/* It comes again when asked for, and when the application has loaded its binding. */
static int
take_process(struct qi_recording *r, const struct qi_frame *frame)
{
    const struct qi_value *versions = &frame->fields[QI_KEY_PROCESS_versions];
    char binding[32];
    char qt[32];

    qi_mirror_drop_entries(r->mirror); /* they all come again */
    text_in(versions, "binding", binding, sizeof(binding));
    text_in(versions, "qt", qt, sizeof(qt));
    return binding[0] != '\0' ? fail(r, qi_trace_set_binding(r->writer, binding, qt))
                              : QI_TRACE_OK;
}

int
qi_recording_frame(struct qi_recording *r, const uint8_t *payload, size_t size,
                   int64_t now_ns)
{
    struct qi_frame frame;

    if (r->status < 0 || qi_frame_decode(payload, size, &frame) != QI_WIRE_OK) {
        return fail(r, r->status);
    }
    switch (frame.message) {
    case QI_MSG_PROCESS:
        return take_process(r, &frame);
    case QI_MSG_INTERN:
        return take_entries(r, &frame);
    case QI_MSG_SNAP_BEGIN:
        qi_mirror_begin_snapshot(r->mirror);
        return QI_TRACE_OK;
    case QI_MSG_SNAP_END:
        return take_snapshot(r, now_ns);
    case QI_MSG_STATE:
        return take_rows(r, &frame, now_ns);
    case QI_MSG_EVENTS:
        return take_records(r, &frame, now_ns);
    case QI_MSG_GAP:
        return take_gap(r, &frame, now_ns);
    case QI_MSG_STALL:
        return take_stall(r, &frame, now_ns);
    case QI_MSG_LINT:
        return take_lint(r, &frame, now_ns);
    default:
        return QI_TRACE_OK;
    }
}

int
qi_recording_segment(struct qi_recording *r, const struct qi_view *view, int64_t now_ns)
{
    uint64_t position = r->next;
    uint64_t goal = qi_view_head(view);

    if (r->status < 0) {
        return fail(r, r->status);
    }
    if (qi_mirror_load_segment(r->mirror, view) == QI_MIRROR_E_NOMEM) {
        return fail(r, QI_TRACE_E_NOMEM);
    }
    while (position < goal && r->status == QI_TRACE_OK) {
        uint64_t lost = 0;
        size_t n = qi_view_records(view, &position, r->batch, BATCH, &lost);
        (void)lose_until(r, position - n, "ring", n > 0 ? r->batch[0].ts : 0, now_ns);
        if (n > 0) {
            (void)put_records(r, position - n, n, now_ns);
            r->state_ts = r->last_ts > r->state_ts ? r->last_ts : r->state_ts;
        }
    }
    return fail(r, QI_TRACE_OK);
}

/* --- life ------------------------------------------------------------------------- */

static void
free_recording(struct qi_recording *r)
{
    qi_mirror_free(r->mirror);
    qi_chunk_fini(&r->chunk);
    free(r->batch);
    free(r->path);
    free(r);
}

static int
make_writer(struct qi_recording *r, const struct qi_recording_options *options,
            const struct qi_trace_info *info)
{
    struct qi_trace_options writer = {.max_bytes = options->max_bytes,
                                      .max_age_ns = options->max_age_ns};
    int is_flight = options->trigger.kinds != 0;
    size_t size = strlen(options->path) + sizeof(QI_FLIGHT_SUFFIX);
    char *file = malloc(size);

    if (file == NULL) {
        return QI_TRACE_E_NOMEM;
    }
    (void)snprintf(file, size, "%s%s", options->path, is_flight ? QI_FLIGHT_SUFFIX : "");
    r->chunk_ns = QI_TRACE_CHUNK_NS;
    qi_trigger_shape(&r->trigger, &r->chunk_ns, &writer.max_age_ns);
    int status = qi_trace_check_path(options->path);
    if (status == QI_TRACE_OK) {
        status = qi_trace_create(file, info, &writer, &r->writer);
    }
    free(file);
    return status;
}

int
qi_recording_create(const struct qi_recording_options *options,
                    const struct qi_trace_info *info, const struct qi_mirror *state,
                    int64_t state_ts, int64_t now_ns, struct qi_recording **ret_recording)
{
    struct qi_recording *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        return QI_TRACE_E_NOMEM;
    }
    r->trigger = options->trigger;
    r->path = strdup(options->path);
    r->mirror = qi_mirror_new(&limits);
    r->batch = calloc(BATCH, sizeof(*r->batch));
    int status = QI_TRACE_E_NOMEM;
    if (qi_chunk_init(&r->chunk) == 0 && r->path != NULL && r->mirror != NULL
        && r->batch != NULL) {
        status = copy_mirror(r->mirror, state);
    }
    if (status == QI_TRACE_OK) {
        status = make_writer(r, options, info);
    }
    if (status < 0) {
        int saved = errno;
        free_recording(r);
        errno = saved;
        return status;
    }
    r->next = qi_mirror_record_end(state);
    r->state_ts = state_ts;
    r->chunk.share = qi_trace_chunk_share(r->writer);
    begin_chunk(r, now_ns);
    *ret_recording = r;
    return QI_TRACE_OK;
}

void
qi_recording_stats(const struct qi_recording *r, struct qi_recording_totals *ret_stats)
{
    struct qi_trace_totals totals;

    qi_trace_totals(r->writer, &totals);
    ret_stats->records = totals.records + r->chunk.records;
    ret_stats->lost = r->lost;
    ret_stats->chunks = totals.chunks;
    ret_stats->chunks_dropped = totals.chunks_dropped;
    ret_stats->bytes = totals.bytes;
    ret_stats->written = totals.written;
    ret_stats->captures = r->captures;
}

int
qi_recording_finish(struct qi_recording *r, int64_t now_ns,
                    struct qi_recording_totals *ret_stats)
{
    if (r->status == QI_TRACE_OK && qi_chunk_has_events(&r->chunk)) {
        (void)next_chunk(r, now_ns);
    }
    if (r->status == QI_TRACE_OK) {
        r->chunk.flags |= QI_TRACE_LAST;
        (void)write_chunk(r);
    }
    if (r->status == QI_TRACE_OK && r->trigger.due != 0) {
        begin_chunk(r, now_ns);
        (void)capture(r, now_ns);
    }
    r->chunk.records = 0; /* they are in the file, or never will be */
    qi_recording_stats(r, ret_stats);
    int status = r->status;
    int saved = r->os_error;
    if (r->trigger.kinds != 0) {
        qi_trace_discard(r->writer);
    }
    else {
        int finished = qi_trace_finish(r->writer);
        if (status == QI_TRACE_OK) {
            status = finished;
            saved = errno;
        }
    }
    free_recording(r);
    errno = saved;
    return status;
}
