/* test_mirror.c - the promises of daemon/mirror.h, without Qt and without a daemon. */
#include "qi_test.h"

#include "mirror.h"
#include "rowof.h"
#include "wire.h"

#include <stdint.h>
#include <string.h>

static const struct qi_mirror_limits small = {
    .rows = 8, .ended = 4, .entries = 8, .entry_bytes = 64, .records = 8, .removals = 4};

static struct qi_mirror *
make(const struct qi_mirror_limits *limits)
{
    struct qi_mirror *m = qi_mirror_new(limits);

    CHECK(m != NULL);
    return m;
}

static int
put(struct qi_mirror *m, unsigned kind, uint64_t id, unsigned state, uint64_t first)
{
    struct qi_wire_row row = {.kind = kind, .id = id, .state = state, .loop = 1};

    row.columns = 2;
    row.column[0] = first;
    row.column[1] = 7;
    return qi_mirror_put_row(m, &row);
}

static int
put_text(struct qi_mirror *m, uint32_t id, const char *text)
{
    struct qi_wire_entry entry = {.id = id, .type = 't'};

    entry.text.type = QI_VALUE_TEXT;
    entry.text.bytes = (const uint8_t *)text;
    entry.text.size = (uint32_t)strlen(text);
    return qi_mirror_put_entry(m, &entry);
}

static int
put_record(struct qi_mirror *m, uint64_t number)
{
    struct qi_record record = {
        .ts = (int64_t)number * 10, .kind = QI_EV_MARK, .a = number};

    return qi_mirror_put_record(m, number, &record);
}

/*********** rows ***********/

static void
test_a_row_has_its_last_values(void)
{
    struct qi_mirror *m = make(&small);

    CHECK_INT(put(m, QI_TASK, 1, QI_TASK_READY, 5), QI_MIRROR_OK);
    CHECK_INT(put(m, QI_TASK, 1, QI_TASK_WAITING, 6), QI_MIRROR_OK);
    CHECK_INT(put(m, QI_SLOT, 1, QI_LIVE, 9), QI_MIRROR_OK);
    const struct qi_mirror_row *row = qi_mirror_find(m, QI_TASK, 1);
    CHECK(row != NULL);
    CHECK_INT(row->state, QI_TASK_WAITING);
    CHECK_INT(row->value[0], 6);
    CHECK_INT(row->columns, 2);
    CHECK_INT(qi_mirror_find(m, QI_SLOT, 1)->value[0], 9);
    CHECK(qi_mirror_find(m, QI_TASK, 2) == NULL);
    CHECK_INT(qi_mirror_live(m), 2);
    qi_mirror_free(m);
}

static void
test_columns_know_when_they_changed(void)
{
    struct qi_mirror *m = make(&small);

    put(m, QI_TASK, 1, QI_TASK_READY, 5);
    uint64_t before = qi_mirror_rev(m);
    put(m, QI_TASK, 1, QI_TASK_READY, 6);
    const struct qi_mirror_row *row = qi_mirror_find(m, QI_TASK, 1);
    CHECK(row->rev > before);
    CHECK(row->made <= before);
    CHECK(qi_mirror_changed(row, 0, before));
    CHECK(!qi_mirror_changed(row, 1, before));
    CHECK(row->state_rev <= (uint32_t)before);
    before = qi_mirror_rev(m);
    put(m, QI_TASK, 1, QI_TASK_WAITING, 6);
    CHECK(row->state_rev > (uint32_t)before);
    CHECK(!qi_mirror_changed(row, 0, before));
    qi_mirror_free(m);
}

static void
test_what_changed_last_comes_first(void)
{
    struct qi_mirror *m = make(&small);

    for (uint64_t id = 1; id <= 4; id++) {
        put(m, QI_TASK, id, QI_TASK_READY, 0);
    }
    put(m, QI_TASK, 2, QI_TASK_WAITING, 0);
    const uint64_t wanted[] = {2, 4, 3, 1};
    const struct qi_mirror_row *row = qi_mirror_newest(m);
    for (int i = 0; i < 4; i++) {
        CHECK(row != NULL);
        CHECK_INT(row->id, wanted[i]);
        row = row->older;
    }
    CHECK(row == NULL);
    qi_mirror_free(m);
}

static void
test_an_ended_row_stays_and_does_not_come_back(void)
{
    struct qi_mirror *m = make(&small);

    put(m, QI_TASK, 1, QI_TASK_READY, 5);
    put(m, QI_TASK, 1, QI_TASK_DONE, 6);
    put(m, QI_TASK, 1, QI_TASK_READY, 7); /* an echo of a snapshot */
    const struct qi_mirror_row *row = qi_mirror_find(m, QI_TASK, 1);
    CHECK_INT(row->state, QI_TASK_DONE);
    CHECK_INT(row->value[0], 6);
    CHECK(row->over);
    CHECK_INT(qi_mirror_live(m), 0);
    CHECK_INT(qi_mirror_ended(m), 1);
    qi_mirror_free(m);
}

static void
test_gone_keeps_the_values(void)
{
    struct qi_mirror *m = make(&small);
    struct qi_wire_row gone = {.kind = QI_TASK, .id = 1, .state = QI_STATE_GONE};

    CHECK_INT(qi_mirror_put_row(m, &gone), QI_MIRROR_OK); /* never seen: nothing */
    CHECK(qi_mirror_find(m, QI_TASK, 1) == NULL);
    put(m, QI_TASK, 1, QI_TASK_WAITING, 5);
    CHECK_INT(qi_mirror_put_row(m, &gone), QI_MIRROR_OK);
    const struct qi_mirror_row *row = qi_mirror_find(m, QI_TASK, 1);
    CHECK_INT(row->state, QI_STATE_GONE);
    CHECK_INT(row->value[0], 5);
    CHECK_INT(row->loop, 1);
    CHECK(row->over);
    qi_mirror_free(m);
}

static void
test_the_oldest_ended_rows_go_first(void)
{
    struct qi_mirror *m = make(&small);
    struct qi_mirror_removal removal;
    uint64_t place = 0;

    for (uint64_t id = 1; id <= 6; id++) {
        put(m, QI_TASK, id, QI_TASK_DONE, 0);
    }
    CHECK_INT(qi_mirror_ended(m), small.ended);
    CHECK(qi_mirror_find(m, QI_TASK, 2) == NULL);
    CHECK(qi_mirror_find(m, QI_TASK, 3) != NULL);
    for (uint64_t id = 1; id <= 2; id++) {
        CHECK_INT(qi_mirror_next_removal(m, &place, &removal), 1);
        CHECK_INT(removal.id, id);
        CHECK_INT(removal.kind, QI_TASK);
        CHECK_INT(removal.rev, place);
    }
    CHECK_INT(qi_mirror_next_removal(m, &place, &removal), 0);
    qi_mirror_free(m);
}

static void
test_forgotten_removals_are_said(void)
{
    struct qi_mirror *m = make(&small);
    struct qi_mirror_removal removal;
    uint64_t place = 0;
    uint64_t later;

    /* As many removals as the ring has: none is forgotten. */
    for (uint64_t id = 1; id <= small.ended + small.removals; id++) {
        put(m, QI_TASK, id, QI_TASK_DONE, 0);
    }
    later = place;
    CHECK_INT(qi_mirror_next_removal(m, &later, &removal), 1);
    CHECK_INT(removal.id, 1);
    /* One more: whoever stands before it cannot go on, whoever saw it can. */
    put(m, QI_TASK, 100, QI_TASK_DONE, 0);
    CHECK_INT(qi_mirror_next_removal(m, &place, &removal), -1);
    CHECK_INT(qi_mirror_next_removal(m, &later, &removal), 1);
    CHECK_INT(removal.id, 2);
    qi_mirror_free(m);
}

static void
test_more_rows_than_allowed_are_an_error(void)
{
    struct qi_mirror *m = make(&small);

    for (uint64_t id = 1; id <= small.rows; id++) {
        CHECK_INT(put(m, QI_TASK, id, QI_TASK_READY, 0), QI_MIRROR_OK);
    }
    CHECK_INT(put(m, QI_TASK, 100, QI_TASK_READY, 0), QI_MIRROR_E_QUOTA);
    CHECK_INT(put(m, QI_TASK, 1, QI_TASK_DONE, 0), QI_MIRROR_OK);
    CHECK_INT(put(m, QI_TASK, 100, QI_TASK_READY, 0), QI_MIRROR_OK);
    CHECK(strlen(qi_mirror_text(QI_MIRROR_E_QUOTA)) > 0);
    qi_mirror_free(m);
}

static void
test_impossible_ids_are_an_error(void)
{
    struct qi_mirror *m = make(&small);

    CHECK_INT(put(m, QI_TASK, 0, QI_TASK_READY, 0), QI_MIRROR_E_INVALID);
    CHECK_INT(put(m, 0, 1, QI_TASK_READY, 0), QI_MIRROR_E_INVALID);
    CHECK_INT(put(m, 256, 1, QI_TASK_READY, 0), QI_MIRROR_E_INVALID);
    CHECK_INT(qi_mirror_live(m), 0);
    qi_mirror_free(m);
}

/*********** snapshots ***********/

static void
test_a_snapshot_ends_what_is_not_in_it(void)
{
    struct qi_mirror *m = make(&small);

    put(m, QI_TASK, 1, QI_TASK_READY, 0);
    put(m, QI_TASK, 2, QI_TASK_READY, 0);
    put(m, QI_TASK, 3, QI_TASK_DONE, 0);
    qi_mirror_begin_snapshot(m);
    put(m, QI_TASK, 2, QI_TASK_READY, 0);
    put(m, QI_TASK, 4, QI_TASK_READY, 0);
    qi_mirror_end_snapshot(m);
    CHECK_INT(qi_mirror_find(m, QI_TASK, 1)->state, QI_STATE_GONE);
    CHECK_INT(qi_mirror_find(m, QI_TASK, 2)->state, QI_TASK_READY);
    CHECK_INT(qi_mirror_find(m, QI_TASK, 3)->state, QI_TASK_DONE);
    CHECK_INT(qi_mirror_live(m), 2);
    qi_mirror_end_snapshot(m); /* without a beginning: nothing */
    CHECK_INT(qi_mirror_live(m), 2);
    qi_mirror_free(m);
}

/* The ended rows are as many as may be, and between those that are to end: each one that
   ends removes another. */
static void
test_a_snapshot_may_remove_while_it_ends(void)
{
    struct qi_mirror *m = make(&small);

    for (uint64_t id = 1; id <= 4; id++) {
        put(m, QI_TASK, id, QI_TASK_READY, 0);
        put(m, QI_SLOT, id, QI_OVER, 0);
    }
    qi_mirror_begin_snapshot(m);
    qi_mirror_end_snapshot(m);
    CHECK_INT(qi_mirror_live(m), 0);
    CHECK_INT(qi_mirror_ended(m), small.ended);
    for (uint64_t id = 1; id <= 4; id++) {
        CHECK(qi_mirror_find(m, QI_SLOT, id) == NULL);
        CHECK(qi_mirror_find(m, QI_TASK, id) != NULL);
    }
    qi_mirror_free(m);
}

/*********** entries ***********/

static void
test_entries_are_kept_in_order(void)
{
    struct qi_mirror *m = make(&small);
    struct qi_wire_entry code = {.id = 3, .type = 'c', .file = 1, .name = 2, .line = 42};
    const uint8_t list[] = {3, 0xcd, 0x01, 0x00}; /* 3, 256 */
    struct qi_wire_entry stack = {.id = 4, .type = 'k'};

    stack.codes.type = QI_VALUE_LIST;
    stack.codes.size = 2;
    stack.codes.bytes = list;
    stack.codes.length = sizeof(list);
    CHECK_INT(put_text(m, 1, "file.py"), QI_MIRROR_OK);
    CHECK_INT(put_text(m, 2, ""), QI_MIRROR_OK);
    CHECK_INT(qi_mirror_put_entry(m, &code), QI_MIRROR_OK);
    CHECK_INT(qi_mirror_put_entry(m, &stack), QI_MIRROR_OK);
    CHECK_INT(put_text(m, 1, "file.py"), QI_MIRROR_OK); /* again: one entry */
    CHECK_INT(qi_mirror_entries(m), 4);
    CHECK(strcmp(qi_mirror_find_entry(m, 1)->text, "file.py") == 0);
    CHECK_INT(qi_mirror_find_entry(m, 2)->size, 0);
    CHECK_INT(qi_mirror_find_entry(m, 3)->numbers[2], 42);
    CHECK_INT(qi_mirror_find_entry(m, 4)->numbers[1], 256);
    CHECK_INT(qi_mirror_entry(m, 3)->id, 4);
    CHECK(qi_mirror_find_entry(m, 5) == NULL);
    CHECK(qi_mirror_find_entry(m, UINT32_MAX) == NULL);
    qi_mirror_free(m);
}

static void
test_dropped_entries_begin_an_epoch(void)
{
    struct qi_mirror *m = make(&small);

    put_text(m, 1, "before");
    uint32_t epoch = qi_mirror_entry_epoch(m);
    qi_mirror_drop_entries(m);
    CHECK(qi_mirror_entry_epoch(m) != epoch);
    CHECK_INT(qi_mirror_entries(m), 0);
    CHECK(qi_mirror_find_entry(m, 1) == NULL);
    put_text(m, 1, "after");
    CHECK(strcmp(qi_mirror_find_entry(m, 1)->text, "after") == 0);
    qi_mirror_free(m);
}

static void
test_more_entries_than_allowed_are_an_error(void)
{
    struct qi_mirror *m = make(&small);
    char text[70];

    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    CHECK_INT(put_text(m, small.entries + 1, "x"), QI_MIRROR_E_QUOTA);
    CHECK_INT(put_text(m, 0, "x"), QI_MIRROR_E_QUOTA);
    CHECK_INT(put_text(m, 1, text), QI_MIRROR_E_QUOTA); /* too many bytes at once */
    CHECK_INT(put_text(m, 1, text + 20), QI_MIRROR_OK);
    CHECK_INT(put_text(m, 2, text + 20), QI_MIRROR_E_QUOTA); /* and together */
    qi_mirror_drop_entries(m);
    CHECK_INT(put_text(m, 2, text + 20), QI_MIRROR_OK);
    qi_mirror_free(m);
}

/*********** records ***********/

static void
test_records_are_numbered(void)
{
    struct qi_mirror *m = make(&small);

    for (uint64_t i = 0; i < 5; i++) {
        CHECK_INT(put_record(m, i), QI_MIRROR_OK);
    }
    CHECK_INT(qi_mirror_record_end(m), 5);
    CHECK_INT(qi_mirror_record_begin(m), 0);
    CHECK_INT(qi_mirror_record(m, 4)->a, 4);
    CHECK(qi_mirror_record(m, 5) == NULL);
    for (uint64_t i = 5; i < 20; i++) {
        put_record(m, i);
    }
    CHECK_INT(qi_mirror_record_begin(m), 20 - small.records);
    CHECK(qi_mirror_record(m, 11) == NULL);
    CHECK_INT(qi_mirror_record(m, 12)->a, 12);
    CHECK_INT(qi_mirror_lost(m), 0);
    qi_mirror_free(m);
}

static void
test_gaps_are_counted_once(void)
{
    struct qi_mirror *m = make(&small);

    qi_mirror_put_gap(m, 0, 3);
    put_record(m, 3);
    qi_mirror_put_gap(m, 4, 2);
    put_record(m, 8); /* 6 and 7 are missing without a word */
    CHECK_INT(qi_mirror_lost(m), 3 + 2 + 2);
    CHECK_INT(qi_mirror_record_end(m), 9);
    CHECK(qi_mirror_record(m, 5) == NULL);
    CHECK(qi_mirror_record(m, 7) == NULL);
    CHECK_INT(qi_mirror_record(m, 3)->a, 3);
    CHECK_INT(qi_mirror_record(m, 8)->a, 8);
    qi_mirror_put_gap(m, UINT64_MAX - 1, 5); /* its end is no number */
    CHECK_INT(qi_mirror_record_end(m), 9);
    qi_mirror_free(m);
}

/* A new connection tells again what the application still has. */
static void
test_a_reconnect_overlaps(void)
{
    struct qi_mirror *m = make(&small);

    for (uint64_t i = 0; i < 6; i++) {
        put_record(m, i);
    }
    qi_mirror_put_gap(m, 0, 4);
    for (uint64_t i = 4; i < 8; i++) {
        put_record(m, i);
    }
    CHECK_INT(qi_mirror_lost(m), 0);
    CHECK_INT(qi_mirror_record_end(m), 8);
    for (uint64_t i = 0; i < 8; i++) {
        CHECK_INT(qi_mirror_record(m, i)->a, i);
    }
    /* While nobody was connected more than a ring went by. */
    qi_mirror_put_gap(m, 0, 1000);
    put_record(m, 1000);
    CHECK_INT(qi_mirror_lost(m), 1000 - 8);
    CHECK(qi_mirror_record(m, 999) == NULL);
    CHECK_INT(qi_mirror_record(m, 1000)->a, 1000);
    qi_mirror_free(m);
}

/*********** against a model ***********/

#define MODEL_IDS 40
#define MODEL_KINDS 2

struct model_row {
    int known, over;
    unsigned state;
    uint64_t first;
    uint64_t ended_at; /* order of the ends */
    int present;
};

struct model {
    struct model_row rows[MODEL_KINDS][MODEL_IDS];
    uint64_t ends;
};

static unsigned
model_count(const struct model *model, int over)
{
    unsigned n = 0;

    for (int k = 0; k < MODEL_KINDS; k++) {
        for (int i = 0; i < MODEL_IDS; i++) {
            n += model->rows[k][i].known && model->rows[k][i].over == over;
        }
    }
    return n;
}

static void
model_end(struct model *model, struct model_row *row, unsigned state, uint32_t limit)
{
    row->state = state;
    row->over = 1;
    row->ended_at = ++model->ends;
    while (model_count(model, 1) > limit) {
        struct model_row *oldest = NULL;
        for (int k = 0; k < MODEL_KINDS; k++) {
            for (int i = 0; i < MODEL_IDS; i++) {
                struct model_row *other = &model->rows[k][i];
                if (other->known && other->over
                    && (oldest == NULL || other->ended_at < oldest->ended_at)) {
                    oldest = other;
                }
            }
        }
        memset(oldest, 0, sizeof(*oldest));
    }
}

static void
compare(const struct qi_mirror *m, const struct model *model)
{
    unsigned n = 0;

    CHECK_INT(qi_mirror_live(m), model_count(model, 0));
    CHECK_INT(qi_mirror_ended(m), model_count(model, 1));
    for (int k = 0; k < MODEL_KINDS; k++) {
        for (int i = 0; i < MODEL_IDS; i++) {
            const struct model_row *wanted = &model->rows[k][i];
            const struct qi_mirror_row *row =
                qi_mirror_find(m, QI_TASK + (unsigned)k, (uint64_t)i + 1);
            CHECK_INT(row != NULL, wanted->known);
            if (row != NULL) {
                CHECK_INT(row->state, wanted->state);
                CHECK_INT(row->value[0], wanted->first);
                CHECK_INT(row->over, wanted->over);
            }
        }
    }
    uint64_t rev = UINT64_MAX;
    for (const struct qi_mirror_row *row = qi_mirror_newest(m); row != NULL;
         row = row->older) {
        CHECK(row->rev < rev);
        rev = row->rev;
        n++;
    }
    CHECK_INT(n, model_count(model, 0) + model_count(model, 1));
}

/* What a tool sees that asks for changes now and then must be the same. */
static void
follow(const struct qi_mirror *m, uint64_t *rev, uint64_t *removal,
       uint8_t seen[MODEL_KINDS][MODEL_IDS])
{
    struct qi_mirror_removal gone;
    int r;

    for (const struct qi_mirror_row *row = qi_mirror_newest(m);
         row != NULL && row->rev > *rev; row = row->older) {
        seen[row->kind - QI_TASK][row->id - 1] = 1;
    }
    while ((r = qi_mirror_next_removal(m, removal, &gone)) > 0) {
        if (qi_mirror_find(m, gone.kind, gone.id) == NULL) {
            seen[gone.kind - QI_TASK][gone.id - 1] = 0;
        }
    }
    if (r < 0) {
        memset(seen, 0, MODEL_KINDS * MODEL_IDS);
        for (const struct qi_mirror_row *row = qi_mirror_newest(m); row != NULL;
             row = row->older) {
            seen[row->kind - QI_TASK][row->id - 1] = 1;
        }
        *removal = qi_mirror_rev(m);
    }
    *rev = qi_mirror_rev(m);
    for (int k = 0; k < MODEL_KINDS; k++) {
        for (int i = 0; i < MODEL_IDS; i++) {
            const struct qi_mirror_row *row =
                qi_mirror_find(m, QI_TASK + (unsigned)k, (uint64_t)i + 1);
            CHECK_INT(seen[k][i], row != NULL);
        }
    }
}

static void
test_random_operations(void)
{
    const struct qi_mirror_limits limits = {.rows = MODEL_IDS * MODEL_KINDS,
                                            .ended = 7,
                                            .entries = 8,
                                            .entry_bytes = 64,
                                            .records = 8,
                                            .removals = 16};
    struct qi_mirror *m = make(&limits);
    struct model *model = calloc(1, sizeof(*model));
    uint8_t seen[MODEL_KINDS][MODEL_IDS] = {0};
    unsigned long long random = 20260707;
    uint64_t rev = 0;
    uint64_t removal = 0;
    int in_snapshot = 0;

    CHECK(model != NULL);
    for (int step = 0; step < 20000; step++) {
        unsigned what = (unsigned)(qi_test_random(&random) % 100);
        int k = (int)(qi_test_random(&random) % MODEL_KINDS);
        int i = (int)(qi_test_random(&random) % MODEL_IDS);
        struct model_row *row = &model->rows[k][i];
        if (what < 90) {
            unsigned state = (unsigned)(qi_test_random(&random) % 5);
            if (k == 1) {
                state = QI_LIVE;
            }
            if (what < 25) {
                state = k == 0 ? QI_TASK_DONE : QI_OVER;
            }
            uint64_t first = qi_test_random(&random) % 3;
            CHECK_INT(put(m, QI_TASK + (unsigned)k, (uint64_t)i + 1, state, first), 0);
            if (row->known && row->over) {
                continue;
            }
            row->known = row->present = 1;
            row->state = state;
            row->first = first;
            if (what < 25) {
                model_end(model, row, state, limits.ended);
            }
        }
        else if (what < 95 && !in_snapshot) {
            qi_mirror_begin_snapshot(m);
            in_snapshot = 1;
            for (int n = 0; n < MODEL_KINDS * MODEL_IDS; n++) {
                model->rows[n / MODEL_IDS][n % MODEL_IDS].present = 0;
            }
        }
        else if (what < 97 && in_snapshot) {
            /* In which order they end is not promised: the limit must not bite. */
            int missing = 0;
            for (int n = 0; n < MODEL_KINDS * MODEL_IDS; n++) {
                struct model_row *other = &model->rows[n / MODEL_IDS][n % MODEL_IDS];
                missing += other->known && !other->over && !other->present;
            }
            for (int n = 0; n < MODEL_KINDS * MODEL_IDS && missing > 1; n++) {
                struct model_row *other = &model->rows[n / MODEL_IDS][n % MODEL_IDS];
                if (other->known && !other->over && !other->present) {
                    CHECK_INT(put(m, QI_TASK + (unsigned)(n / MODEL_IDS),
                                  (uint64_t)(n % MODEL_IDS) + 1, other->state,
                                  other->first),
                              0);
                    other->present = 1;
                    missing--;
                }
            }
            qi_mirror_end_snapshot(m);
            in_snapshot = 0;
            for (int n = 0; n < MODEL_KINDS * MODEL_IDS; n++) {
                struct model_row *other = &model->rows[n / MODEL_IDS][n % MODEL_IDS];
                if (other->known && !other->over && !other->present) {
                    model_end(model, other, QI_STATE_GONE, limits.ended);
                }
            }
        }
        else {
            follow(m, &rev, &removal, seen);
        }
        compare(m, model);
    }
    free(model);
    qi_mirror_free(m);
}

/*********** frames of a real application ***********/

static struct qi_mirror *
replay(const char *path, unsigned ret_messages[128])
{
    static const struct qi_mirror_limits limits = QI_MIRROR_LIMITS;
    struct qi_mirror *m = make(&limits);
    FILE *file = fopen(path, "rb");
    struct qi_splitter splitter;
    uint8_t *room;
    size_t size;

    CHECK(file != NULL);
    qi_splitter_init(&splitter, QI_FRAME_MAX);
    for (;;) {
        CHECK_INT(qi_splitter_room(&splitter, &room, &size), QI_WIRE_OK);
        size_t n = fread(room, 1, size < 37 ? size : 37, file);
        if (n == 0) {
            break;
        }
        qi_splitter_filled(&splitter, n);
        const uint8_t *payload;
        size_t length;
        int r;
        while ((r = qi_splitter_next(&splitter, &payload, &length)) > 0) {
            struct qi_frame frame;
            struct qi_value value;
            struct qi_wire_row row;
            struct qi_wire_entry entry;
            struct qi_record record;
            CHECK_INT(qi_frame_decode(payload, length, &frame), QI_WIRE_OK);
            ret_messages[frame.message]++;
            struct qi_cursor cursor = qi_cursor_in(&frame.fields[QI_KEY_STATE_rows]);
            switch (frame.message) {
            case QI_MSG_SNAP_BEGIN:
                qi_mirror_begin_snapshot(m);
                break;
            case QI_MSG_SNAP_END:
                qi_mirror_end_snapshot(m);
                break;
            case QI_MSG_STATE:
                while (qi_cursor_next(&cursor, &value)) {
                    CHECK(qi_row_decode(&value, &row));
                    CHECK_INT(qi_mirror_put_row(m, &row), QI_MIRROR_OK);
                }
                break;
            case QI_MSG_INTERN:
                cursor = qi_cursor_in(&frame.fields[QI_KEY_INTERN_entries]);
                while (qi_cursor_next(&cursor, &value)) {
                    CHECK(qi_entry_decode(&value, &entry));
                    CHECK_INT(qi_mirror_put_entry(m, &entry), QI_MIRROR_OK);
                }
                break;
            case QI_MSG_EVENTS: {
                uint64_t number = qi_frame_uint(&frame, QI_KEY_EVENTS_first, 0);
                int64_t ts = qi_frame_int(&frame, QI_KEY_EVENTS_ts, 0);
                int bad = 0;
                cursor = qi_cursor_in(&frame.fields[QI_KEY_EVENTS_records]);
                CHECK_INT(number, qi_mirror_record_end(m));
                while (qi_record_decode(&cursor, &ts, &record, &bad)) {
                    CHECK_INT(qi_mirror_put_record(m, number++, &record), QI_MIRROR_OK);
                }
                CHECK(!bad);
                break;
            }
            default:
                break;
            }
        }
        CHECK_INT(r, 0);
    }
    CHECK(feof(file));
    (void)fclose(file);
    qi_splitter_fini(&splitter);
    return m;
}

static const struct qi_mirror_row *
task_called(const struct qi_mirror *m, const char *name)
{
    for (const struct qi_mirror_row *row = qi_mirror_newest(m); row != NULL;
         row = row->older) {
        if (row->kind != QI_TASK) {
            continue;
        }
        const struct qi_mirror_entry *entry =
            qi_mirror_find_entry(m, (uint32_t)row->value[QI_COL_TASK_name]);
        if (entry != NULL && entry->type == 't' && strcmp(entry->text, name) == 0) {
            return row;
        }
    }
    return NULL;
}

static const char *
function_of(const struct qi_mirror *m, const struct qi_mirror_row *task)
{
    const struct qi_mirror_entry *code =
        qi_mirror_find_entry(m, (uint32_t)task->value[QI_COL_TASK_code]);

    CHECK(code != NULL && code->type == 'c');
    return qi_mirror_find_entry(m, code->numbers[1])->text;
}

/* What tests/tools/record_frames.py had its application do. */
static void
test_recorded_frames(void)
{
    unsigned messages[128] = {0};
    struct qi_mirror *m = replay(QI_DATA "/application.frames", messages);

    CHECK_INT(messages[QI_MSG_PROCESS], 1);
    CHECK_INT(messages[QI_MSG_SNAP_END], 1);
    CHECK_INT(messages[QI_MSG_GOODBYE], 1);
    const struct qi_mirror_row *alpha = task_called(m, "alpha");
    const struct qi_mirror_row *beta = task_called(m, "beta");
    CHECK(alpha != NULL && beta != NULL);
    CHECK_INT(alpha->state, QI_TASK_WAITING);
    CHECK_INT(alpha->value[QI_COL_TASK_wait_kind], QI_WAITS_TIMER);
    CHECK_INT(beta->state, QI_TASK_WAITING);
    CHECK(beta->value[QI_COL_TASK_wait_ref] == QI_REF(QI_TASK, alpha->id));
    CHECK(strcmp(function_of(m, alpha), "sleeper") == 0);
    unsigned done = 0;
    for (const struct qi_mirror_row *row = qi_mirror_newest(m); row != NULL;
         row = row->older) {
        if (row->kind == QI_TASK && row->state == QI_TASK_DONE) {
            CHECK(row->over);
            CHECK(strcmp(function_of(m, row), "short") == 0);
            done++;
        }
    }
    CHECK_INT(done, 1);
    CHECK(qi_mirror_record_end(m) > 10);
    CHECK_INT(qi_mirror_lost(m), 0);
    qi_mirror_free(m);
}

static void
test_size_is_accounted(void)
{
    static const struct qi_mirror_limits limits = QI_MIRROR_LIMITS;
    struct qi_mirror *m = make(&limits);
    size_t before = qi_mirror_bytes(m);

    for (uint64_t id = 1; id <= 10000; id++) {
        put(m, QI_TASK, id, QI_TASK_READY, 0);
    }
    CHECK(qi_mirror_bytes(m) >= before + 10000 * sizeof(struct qi_mirror_row));
    CHECK_INT(qi_mirror_live(m), 10000);
    qi_mirror_free(m);
    qi_mirror_free(NULL);
}

/*********** the history of all ***********/

/* Room for one first ring, and for so many rows. */
#define TASK_VALUES 22
#define ROW (sizeof(struct qi_mirror_row) + TASK_VALUES * 12 + QI_BLOCK_BYTES)
#define RINGS(records, rows)                                                             \
    ((records) * sizeof(struct qi_record) + (records) / 8 + 1 + (rows) * ROW)

static const struct qi_mirror_limits wide = {.rows = 64,
                                             .ended = 64,
                                             .entries = 8,
                                             .entry_bytes = 64,
                                             .records = 4096,
                                             .removals = 64};

static void
test_the_rows_that_ended_first_go_whosever_they_are(void)
{
    struct qi_history history = {.limit = RINGS(0, 4)};
    struct qi_mirror *a = make(&wide);
    struct qi_mirror *b = make(&wide);
    struct qi_mirror_removal removal;
    uint64_t place = 0;

    qi_mirror_join(a, &history);
    qi_mirror_join(b, &history);
    CHECK_INT(put(a, QI_TASK, 1, QI_TASK_DONE, 0), QI_MIRROR_OK);
    CHECK_INT(put(b, QI_TASK, 1, QI_TASK_DONE, 0), QI_MIRROR_OK);
    CHECK_INT(put(a, QI_TASK, 2, QI_TASK_WAITING, 0), QI_MIRROR_OK);
    CHECK_INT(put(a, QI_TASK, 3, QI_TASK_DONE, 0), QI_MIRROR_OK);
    CHECK_INT(put(b, QI_TASK, 2, QI_TASK_DONE, 0), QI_MIRROR_OK);
    CHECK_INT(history.rows_dropped, 0);
    CHECK_INT(put(b, QI_TASK, 3, QI_TASK_DONE, 0), QI_MIRROR_OK);
    CHECK(qi_mirror_find(a, QI_TASK, 1) == NULL);
    CHECK(qi_mirror_find(b, QI_TASK, 1) != NULL);
    CHECK_INT(qi_mirror_next_removal(a, &place, &removal), 1); /* tools are told */
    CHECK_INT(removal.id, 1);
    CHECK_INT(put(b, QI_TASK, 4, QI_TASK_DONE, 0), QI_MIRROR_OK);
    CHECK(qi_mirror_find(b, QI_TASK, 1) == NULL);
    CHECK(qi_mirror_find(a, QI_TASK, 2) != NULL); /* what lives is no history */
    CHECK_INT(history.rows_dropped, 2);
    CHECK_INT(qi_mirror_ended(a) + qi_mirror_ended(b), 4);
    CHECK_INT(history.used, 4 * ROW);
    qi_mirror_free(b);
    CHECK_INT(history.used, ROW);
    qi_mirror_free(a);
    CHECK_INT(history.used, 0);
    CHECK(history.mirrors == NULL);
}

static void
check_records(const struct qi_mirror *m, uint64_t begin, uint64_t end)
{
    CHECK_INT(qi_mirror_record_begin(m), begin);
    CHECK_INT(qi_mirror_record_end(m), end);
    CHECK(begin == 0 || qi_mirror_record(m, begin - 1) == NULL);
    for (uint64_t i = begin; i < end; i++) {
        const struct qi_record *record = qi_mirror_record(m, i);
        CHECK(record != NULL && record->a == i);
    }
}

static void
test_a_ring_grows_where_there_is_room(void)
{
    struct qi_history history = {.limit = RINGS(2048 + 1024, 0) + 64};
    struct qi_mirror *m = make(&wide);
    uint64_t i = 0;

    qi_mirror_join(m, &history);
    for (; i < 1024; i++) {
        CHECK_INT(put_record(m, i), QI_MIRROR_OK);
    }
    CHECK_INT(history.used, RINGS(1024, 0));
    for (; i < 2048; i++) {
        CHECK_INT(put_record(m, i), QI_MIRROR_OK);
    }
    check_records(m, 0, 2048);
    CHECK_INT(history.used, RINGS(2048, 0));
    CHECK_INT(history.records_dropped, 0);
    for (; i < 5000; i++) {
        CHECK_INT(put_record(m, i), QI_MIRROR_OK);
        CHECK(history.used <= history.limit);
    }
    check_records(m, 5000 - 2048, 5000);
    CHECK_INT(history.records_dropped, 5000 - 2048);
    CHECK_INT(qi_mirror_lost(m), 0); /* they were seen */
    qi_mirror_free(m);
    CHECK_INT(history.used, 0);
}

static void
test_the_largest_ring_gives_way(void)
{
    struct qi_history history = {.limit = RINGS(4096 + 2048, 0) + 64};
    struct qi_mirror *a = make(&wide);
    struct qi_mirror *b = make(&wide);
    const uint64_t last = 4096 + 300; /* so that the halves are not where they were */

    qi_mirror_join(a, &history);
    qi_mirror_join(b, &history);
    for (uint64_t i = 0; i < last; i++) {
        CHECK_INT(put_record(a, i), QI_MIRROR_OK);
    }
    check_records(a, last - 4096, last);
    history.limit = history.used + RINGS(0, 1); /* less than a first ring */
    CHECK_INT(put(b, QI_TASK, 1, QI_TASK_DONE, 0), QI_MIRROR_OK);
    CHECK_INT(put_record(b, 0), QI_MIRROR_OK);
    CHECK(qi_mirror_find(b, QI_TASK, 1) == NULL); /* rows go first */
    CHECK_INT(history.rows_dropped, 1);
    check_records(a, last - 2048, last);
    check_records(b, 0, 1);
    CHECK_INT(history.records_dropped, 2048);
    CHECK_INT(history.used, RINGS(2048, 0) + RINGS(1024, 0));
    for (uint64_t i = last; i < last + 3000; i++) {
        CHECK_INT(put_record(a, i), QI_MIRROR_OK);
        CHECK(history.used <= history.limit);
    }
    CHECK_INT(qi_mirror_record_end(a), last + 3000);
    qi_mirror_free(a);
    qi_mirror_free(b);
    CHECK_INT(history.used, 0);
}

static void
test_without_room_records_are_lost_and_counted(void)
{
    struct qi_history history = {.limit = 100};
    struct qi_mirror *m = make(&wide);

    qi_mirror_join(m, &history);
    for (uint64_t i = 0; i < 10; i++) {
        CHECK_INT(put_record(m, i), QI_MIRROR_OK);
    }
    CHECK_INT(put(m, QI_TASK, 1, QI_TASK_DONE, 0), QI_MIRROR_OK);
    CHECK(qi_mirror_find(m, QI_TASK, 1) == NULL);
    CHECK_INT(qi_mirror_lost(m), 10);
    CHECK_INT(qi_mirror_record_begin(m), 10);
    CHECK_INT(qi_mirror_record_end(m), 10);
    CHECK_INT(history.used, 0);
    history.limit = RINGS(1024, 0);
    CHECK_INT(put_record(m, 10), QI_MIRROR_OK);
    check_records(m, 10, 11);
    qi_mirror_free(m);
}

static void
test_a_snapshot_that_ends_rows_keeps_to_the_history(void)
{
    struct qi_history history = {.limit = RINGS(0, 2)};
    struct qi_mirror *m = make(&wide);

    qi_mirror_join(m, &history);
    for (uint64_t id = 1; id <= 20; id++) {
        CHECK_INT(put(m, QI_TASK, id, QI_TASK_WAITING, 0), QI_MIRROR_OK);
    }
    qi_mirror_begin_snapshot(m);
    qi_mirror_end_snapshot(m);
    CHECK_INT(qi_mirror_live(m), 0);
    CHECK_INT(qi_mirror_ended(m), 2);
    CHECK_INT(history.rows_dropped, 18);
    qi_mirror_free(m);
}

int
main(void)
{
    RUN(test_a_row_has_its_last_values);
    RUN(test_columns_know_when_they_changed);
    RUN(test_what_changed_last_comes_first);
    RUN(test_an_ended_row_stays_and_does_not_come_back);
    RUN(test_gone_keeps_the_values);
    RUN(test_the_oldest_ended_rows_go_first);
    RUN(test_forgotten_removals_are_said);
    RUN(test_more_rows_than_allowed_are_an_error);
    RUN(test_impossible_ids_are_an_error);
    RUN(test_a_snapshot_ends_what_is_not_in_it);
    RUN(test_a_snapshot_may_remove_while_it_ends);
    RUN(test_entries_are_kept_in_order);
    RUN(test_dropped_entries_begin_an_epoch);
    RUN(test_more_entries_than_allowed_are_an_error);
    RUN(test_records_are_numbered);
    RUN(test_gaps_are_counted_once);
    RUN(test_a_reconnect_overlaps);
    RUN(test_the_rows_that_ended_first_go_whosever_they_are);
    RUN(test_a_ring_grows_where_there_is_room);
    RUN(test_the_largest_ring_gives_way);
    RUN(test_without_room_records_are_lost_and_counted);
    RUN(test_a_snapshot_that_ends_rows_keeps_to_the_history);
    RUN(test_random_operations);
    RUN(test_recorded_frames);
    RUN(test_size_is_accounted);
    return 0;
}
