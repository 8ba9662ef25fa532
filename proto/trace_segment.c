/* trace_segment.c - see trace_segment.h. */
#include "trace_segment.h"

#include "qi_atomic.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

int
qi_trace_source_init(struct qi_trace_source *s, const struct qi_view *view,
                     uint64_t first)
{
    memset(s, 0, sizeof(*s));
    s->view = view;
    s->position = first;
    s->ended_count = view->header.slot_count;
    s->ended = calloc(s->ended_count > 0 ? s->ended_count : 1, sizeof(*s->ended));
    s->batch = calloc(QI_TRACE_BATCH, sizeof(*s->batch));
    if (s->ended == NULL || s->batch == NULL || qi_chunk_init(&s->chunk) < 0) {
        qi_trace_source_fini(s);
        return -1;
    }
    return 0;
}

void
qi_trace_source_fini(struct qi_trace_source *s)
{
    qi_arena_index_fini(&s->index);
    qi_chunk_fini(&s->chunk);
    free(s->batch);
    free(s->ended);
    memset(s, 0, sizeof(*s));
}

/* --- rows ------------------------------------------------------------------------- */

void
qi_trace_source_begin(struct qi_trace_source *s, int64_t now_ns)
{
    uint32_t used = qi_view_slots_used(s->view);
    struct qi_slot slot;

    qi_chunk_begin(&s->chunk, s->position, now_ns);
    for (uint32_t i = 0; i < used; i++) {
        if (qi_view_slot(s->view, i, &slot) == QI_VIEW_OK && slot.kind != 0
            && !qi_state_is_final(slot.kind, slot.state)) {
            qi_chunk_put_slot(&s->chunk, now_ns, &slot);
        }
    }
}

void
qi_trace_source_ended(struct qi_trace_source *s, int64_t now_ns, int skip)
{
    uint32_t used = qi_view_slots_used(s->view);
    struct qi_slot slot;

    for (uint32_t i = 0; i < used && i < s->ended_count; i++) {
        /* A look at what most are, before the whole row is copied. */
        const struct qi_slot *live = &s->view->slots[i];
        unsigned kind = QI_LOAD(live->kind);
        if (kind == 0 || !qi_state_is_final(kind, QI_LOAD(live->state))
            || s->ended[i] == QI_REF(kind, QI_LOAD(live->id))
            || qi_view_slot(s->view, i, &slot) != QI_VIEW_OK
            || !qi_state_is_final(slot.kind, slot.state)) {
            continue;
        }
        s->ended[i] = QI_REF(slot.kind, slot.id);
        if (!skip) {
            qi_chunk_put_slot(&s->chunk, now_ns, &slot);
        }
    }
}

/* --- records ---------------------------------------------------------------------- */

size_t
qi_trace_source_records(struct qi_trace_source *s, uint64_t goal, int *ret_cut)
{
    uint64_t position = s->position;
    uint64_t lost = 0;
    size_t most = QI_TRACE_BATCH;

    *ret_cut = 0;
    if (position >= goal) {
        return 0;
    }
    if (goal - position < most) {
        most = (size_t)(goal - position);
    }
    size_t n = qi_view_records(s->view, &position, s->batch, most, &lost);
    if (lost > 0 && s->chunk.records > 0) {
        *ret_cut = 1; /* they are copied once more into the next chunk */
        return 0;
    }
    if (lost > 0) {
        qi_chunk_put_loss(&s->chunk, lost, "ring", s->last_ts,
                          n > 0 ? s->batch[0].ts : 0);
        s->lost += lost;
    }
    qi_chunk_put_records(&s->chunk, s->batch, n);
    s->position = position;
    if (n > 0) {
        s->last_ts = s->batch[n - 1].ts;
    }
    return n;
}

/* --- texts ------------------------------------------------------------------------ */

static int
look_up(void *ctx, uint32_t id, struct qi_trace_entry *ret_entry)
{
    struct qi_trace_source *s = ctx;
    struct qi_entry entry;

    memset(ret_entry, 0, sizeof(*ret_entry));
    if (!qi_arena_index_find(&s->index, s->view, id, &entry)) {
        return 0;
    }
    ret_entry->type = (char)entry.type;
    if (entry.type == 't') {
        ret_entry->text = entry.bytes;
        ret_entry->size = entry.size;
    }
    else if (entry.type == 'c') {
        ret_entry->count = 3;
        /* Zeros if it is damaged. */
        (void)qi_entry_code(&entry, &ret_entry->numbers[0], &ret_entry->numbers[1],
                            &ret_entry->numbers[2]);
    }
    else {
        ret_entry->count =
            (uint32_t)qi_entry_stack(&entry, ret_entry->numbers, QI_COLUMNS_MAX);
    }
    return 1;
}

/* What was copied refers only to texts that were there by then. */
int
qi_trace_source_end(struct qi_trace_source *s)
{
    if (qi_arena_index_update(&s->index, s->view) < 0) {
        s->chunk.failed = 1;
    }
    return qi_chunk_end(&s->chunk, look_up, s);
}

/* --- a whole segment at once ------------------------------------------------------ */

static int64_t
later(int64_t a, int64_t b)
{
    return a > b ? a : b;
}

/* The last time that is in it: of its records, of its tasks and loops. */
static int64_t
last_time(const struct qi_view *view)
{
    struct qi_record record;
    struct qi_slot slot;
    uint64_t head = qi_view_head(view);
    uint64_t position = head > 0 ? head - 1 : 0;
    uint64_t lost = 0;
    int64_t last = view->header.mono0;

    if (qi_view_records(view, &position, &record, 1, &lost) > 0) {
        last = later(last, record.ts);
    }
    for (uint32_t i = 0; i < qi_view_slots_used(view); i++) {
        if (qi_view_slot(view, i, &slot) == QI_VIEW_OK) {
            last = slot.kind == QI_TASK   ? later(last, slot.row.task.changed)
                   : slot.kind == QI_LOOP ? later(last, slot.row.loop_.busy_since)
                                          : last;
        }
    }
    return last;
}

static int
end_and_write(struct qi_trace_source *s, struct qi_trace_writer *w)
{
    return qi_trace_source_end(s) < 0 ? QI_TRACE_E_NOMEM
                                      : qi_trace_write_chunk(w, &s->chunk);
}

static int
save(struct qi_trace_source *s, struct qi_trace_writer *w, int64_t now_ns)
{
    uint64_t goal = qi_view_head(s->view);
    int r = QI_TRACE_OK;
    int cut = 0;

    qi_trace_source_begin(s, now_ns);
    while (s->position < goal) {
        (void)qi_trace_source_records(s, goal, &cut);
        if (cut || qi_chunk_is_full(&s->chunk)) {
            r = end_and_write(s, w);
            if (r < 0) {
                return r;
            }
            qi_trace_source_begin(s, now_ns);
        }
    }
    qi_trace_source_ended(s, now_ns, 0);
    s->chunk.flags |= QI_TRACE_LAST;
    return end_and_write(s, w);
}

int
qi_trace_save(const struct qi_view *view, const struct qi_trace_info *info,
              const char *path, uint64_t first, int64_t now_ns)
{
    static const struct qi_trace_options options = {0};
    struct qi_trace_writer *w = NULL;
    struct qi_trace_source source;

    if (qi_trace_source_init(&source, view, first) < 0) {
        return QI_TRACE_E_NOMEM;
    }
    int r = qi_trace_create(path, info, &options, &w);
    if (r == QI_TRACE_OK) {
        r = save(&source, w, now_ns != 0 ? now_ns : last_time(view));
        if (r < 0) {
            int saved = errno;
            qi_trace_discard(w);
            errno = saved;
        }
        else {
            r = qi_trace_finish(w);
        }
    }
    qi_trace_source_fini(&source);
    return r;
}
