/* test_budget.c - what is allocated for a peer is charged first, and given back. */
#include "qi_test.h"

#include "budget.h"
#include "histogram.h"
#include "mirror.h"
#include "wire.h"

#include <pthread.h>
#include <stdint.h>
#include <string.h>

#define THREADS 4
#define ROUNDS 20000

static const struct qi_mirror_limits limits = QI_MIRROR_LIMITS;

static struct qi_mirror *
make(struct qi_budget *budget)
{
    struct qi_mirror *m = qi_mirror_new(&limits);

    CHECK(m != NULL);
    CHECK_INT(qi_mirror_charge(m, budget), QI_MIRROR_OK);
    return m;
}

static int
put(struct qi_mirror *m, uint64_t id, unsigned state)
{
    struct qi_wire_row row = {.kind = QI_TASK, .id = id, .state = state};

    row.columns = 2;
    return qi_mirror_put_row(m, &row);
}

static int
put_text(struct qi_mirror *m, uint32_t id, size_t size)
{
    static char text[1 << 20];
    struct qi_wire_entry entry = {.id = id, .type = 't'};

    memset(text, 'x', sizeof(text));
    entry.text.type = QI_VALUE_TEXT;
    entry.text.bytes = (const uint8_t *)text;
    entry.text.size = (uint32_t)size;
    return qi_mirror_put_entry(m, &entry);
}

static int
put_code(struct qi_mirror *m, uint32_t id)
{
    struct qi_wire_entry entry = {.id = id, .type = 'c', .file = 1, .name = 2};

    return qi_mirror_put_entry(m, &entry);
}

/*********** the budget ***********/

static void
test_a_budget_is_never_exceeded(void)
{
    struct qi_budget b = {.limit = 100};

    CHECK(qi_budget_take(&b, 60));
    CHECK(!qi_budget_take(&b, 41));
    CHECK(!qi_budget_take(&b, SIZE_MAX));
    CHECK_INT(b.used, 60);
    CHECK_INT(b.refused, 2);
    CHECK(qi_budget_take(&b, 40));
    CHECK(!qi_budget_take(&b, 1));
    CHECK(qi_budget_take(&b, 0));
    qi_budget_give(&b, 100);
    CHECK_INT(qi_budget_used(&b), 0);
}

static void
test_what_stays_leaves_the_reserve(void)
{
    struct qi_budget b = {.limit = 100, .reserve = 30};

    CHECK(qi_budget_take(&b, 70));
    CHECK(!qi_budget_take(&b, 1));
    CHECK(qi_budget_take_passing(&b, 30));
    CHECK(!qi_budget_take_passing(&b, 1));
    CHECK(!qi_budget_take(&b, 0)); /* more is used than it might */
    qi_budget_give(&b, 31);
    CHECK(qi_budget_take(&b, 1));
    CHECK_INT(b.used, 70);
}

static void
test_an_account_enters_with_what_it_has(void)
{
    struct qi_budget b = {.limit = 100};
    struct qi_account a = {0};

    CHECK(qi_account_take(&a, 101)); /* without a budget there is no limit */
    CHECK(!qi_account_enter(&a, &b));
    CHECK_INT(b.used, 0);
    qi_account_give(&a, 21);
    CHECK(qi_account_enter(&a, &b));
    CHECK_INT(b.used, 80);
    CHECK(!qi_account_take(&a, 21));
    CHECK(qi_account_take(&a, 20));
    qi_account_give(&a, a.used);
    CHECK_INT(b.used, 0);
}

static void *
take_and_give(void *argument)
{
    struct qi_budget *b = argument;

    for (int i = 0; i < ROUNDS; i++) {
        if (qi_budget_take(b, 2)) {
            CHECK(qi_budget_used(b) <= b->limit);
            qi_budget_give(b, 2);
        }
    }
    return NULL;
}

static void
test_threads_share_a_budget(void)
{
    struct qi_budget b = {.limit = 5};
    pthread_t threads[THREADS];

    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, take_and_give, &b), 0);
    }
    for (int i = 0; i < THREADS; i++) {
        CHECK_INT(pthread_join(threads[i], NULL), 0);
    }
    CHECK_INT(b.used, 0);
}

/*********** a mirror ***********/

static void
test_a_mirror_that_does_not_fit_is_not_charged(void)
{
    struct qi_budget b = {.limit = 100};
    struct qi_mirror *m = qi_mirror_new(&limits);

    CHECK_INT(qi_mirror_charge(m, &b), QI_MIRROR_E_BUDGET);
    CHECK_INT(b.used, 0);
    qi_mirror_free(m);
    CHECK_INT(b.used, 0);
}

/* Each kind of growth, up to the limit: refused there, and no byte of it is charged. */
static void
test_rows_are_charged_before_they_are_made(void)
{
    struct qi_budget b = {.limit = 1 << 20};
    struct qi_mirror *m = make(&b);
    uint64_t id = 1;
    int status;

    while ((status = put(m, id, QI_TASK_WAITING)) == QI_MIRROR_OK) {
        CHECK(b.used > sizeof(struct qi_mirror_row) && b.used <= b.limit);
        CHECK_INT(b.used, qi_mirror_charged(m));
        id++;
    }
    CHECK_INT(status, QI_MIRROR_E_BUDGET);
    CHECK_INT(qi_mirror_live(m), id - 1);
    CHECK(id > 1000);
    CHECK(qi_mirror_charged(m) >= (id - 1) * sizeof(struct qi_mirror_row));
    /* Rows that are there go on changing: that takes nothing. */
    CHECK_INT(put(m, 1, QI_TASK_READY), QI_MIRROR_OK);
    CHECK_INT(put(m, id, QI_TASK_READY), QI_MIRROR_E_BUDGET);
    CHECK(qi_mirror_find(m, QI_TASK, id) == NULL);
    qi_mirror_free(m);
    CHECK_INT(b.used, 0);
}

/* A row that came with few columns, and one of a later version. */
static void
test_a_row_has_room_for_what_its_kind_has(void)
{
    struct qi_budget b = {.limit = 1 << 20};
    struct qi_mirror *m = make(&b);
    struct qi_wire_row row = {.kind = QI_WATCH, .id = 1};
    size_t before = b.used;

    CHECK_INT(qi_mirror_put_row(m, &row), QI_MIRROR_OK);
    const struct qi_mirror_row *found = qi_mirror_find(m, QI_WATCH, 1);
    CHECK_INT(found->columns, 0);
    CHECK_INT(found->value[4], 0);
    CHECK(b.used - before < sizeof(struct qi_mirror_row) + 100);
    row.columns = QI_COLUMNS_MAX;
    for (unsigned i = 0; i < QI_COLUMNS_MAX; i++) {
        row.column[i] = i + 1;
    }
    CHECK_INT(qi_mirror_put_row(m, &row), QI_MIRROR_OK);
    CHECK_INT(found->columns, 5); /* what there was room for */
    CHECK_INT(found->value[4], 5);
    row.id = 2;
    CHECK_INT(qi_mirror_put_row(m, &row), QI_MIRROR_OK);
    found = qi_mirror_find(m, QI_WATCH, 2);
    CHECK_INT(found->columns, QI_COLUMNS_MAX);
    CHECK_INT(found->value[QI_COLUMNS_MAX - 1], QI_COLUMNS_MAX);
    CHECK(qi_mirror_changed(found, QI_COLUMNS_MAX - 1, qi_mirror_rev(m) - 1));
    CHECK(!qi_mirror_changed(found, QI_COLUMNS_MAX - 1, qi_mirror_rev(m)));
    qi_mirror_free(m);
    CHECK_INT(b.used, 0);
}

static void
test_a_row_that_ends_is_the_historys(void)
{
    struct qi_budget b = {.limit = 1 << 20};
    struct qi_history history = {.limit = 1 << 20};
    struct qi_mirror *m = make(&b);

    qi_mirror_join(m, &history);
    size_t before = b.used;
    CHECK_INT(put(m, 1, QI_TASK_WAITING), QI_MIRROR_OK);
    size_t one = b.used - before;
    CHECK(one >= sizeof(struct qi_mirror_row));
    CHECK_INT(history.used, 0);
    CHECK_INT(put(m, 1, QI_TASK_DONE), QI_MIRROR_OK);
    CHECK_INT(b.used, before);
    CHECK_INT(history.used, one);
    qi_mirror_free(m);
    CHECK_INT(b.used, 0);
    CHECK_INT(history.used, 0);
}

static void
test_rows_that_come_and_go_leave_nothing_behind(void)
{
    struct qi_budget b = {.limit = 8 << 20};
    struct qi_history history = {.limit = 100000};
    struct qi_mirror *m = make(&b);
    size_t most = 0;

    qi_mirror_join(m, &history);
    for (uint64_t id = 1; id <= 400000; id++) {
        CHECK_INT(put(m, id, QI_TASK_WAITING), QI_MIRROR_OK);
        CHECK_INT(put(m, id, QI_TASK_DONE), QI_MIRROR_OK);
        most = b.used > most ? b.used : most;
    }
    /* Removals are remembered, up to a number; no row is charged any more. */
    CHECK(most < 2 * limits.removals * sizeof(struct qi_mirror_removal) + (1 << 20));
    qi_mirror_free(m);
    CHECK_INT(b.used, 0);
}

/* With less memory fewer removals are known, and whoever is behind is told so. */
static void
test_removals_are_forgotten_where_there_is_no_room(void)
{
    struct qi_budget b = {.limit = SIZE_MAX};
    struct qi_history history = {.limit = 1000};
    struct qi_mirror *m = make(&b);
    struct qi_mirror_removal removal;
    uint64_t place = 0, early;
    unsigned seen = 0;

    qi_mirror_join(m, &history);
    b.limit = b.used + 600; /* a row, not twice as many removals */
    for (uint64_t id = 1; id <= 70; id++) {
        CHECK_INT(put(m, id, QI_TASK_WAITING), QI_MIRROR_OK);
        CHECK_INT(put(m, id, QI_TASK_DONE), QI_MIRROR_OK);
    }
    CHECK_INT(qi_mirror_next_removal(m, &place, &removal), -1);
    /* There is room again: from the next turn of the ring on it grows, and keeps what it
       has. */
    b.limit = SIZE_MAX;
    early = qi_mirror_rev(m);
    for (uint64_t id = 71; id <= 1000; id++) {
        CHECK_INT(put(m, id, QI_TASK_WAITING), QI_MIRROR_OK);
        CHECK_INT(put(m, id, QI_TASK_DONE), QI_MIRROR_OK);
        uint64_t rev = early;
        if (id == 71 + 40) { /* the ring is full of these and some before */
            CHECK_INT(qi_mirror_next_removal(m, &rev, &removal), 1);
        }
    }
    place = qi_mirror_rev(m) - 3 * 500;
    uint64_t last = 0;
    while (qi_mirror_next_removal(m, &place, &removal) > 0) {
        CHECK(removal.id == last + 1 || last == 0);
        last = removal.id;
        seen++;
    }
    CHECK(seen >= 499);
    qi_mirror_free(m);
    CHECK_INT(b.used, 0);
}

static void
test_entries_are_charged_before_they_are_copied(void)
{
    struct qi_budget b = {.limit = 2 << 20};
    struct qi_mirror *m = make(&b);
    size_t before = b.used;

    CHECK_INT(put_text(m, 1, 1 << 20), QI_MIRROR_OK);
    CHECK(b.used >= before + (1 << 20));
    size_t full = b.used;
    CHECK_INT(put_text(m, 2, 1 << 20), QI_MIRROR_E_BUDGET);
    CHECK_INT(b.used, full);
    CHECK_INT(qi_mirror_entries(m), 1);
    CHECK(qi_mirror_find_entry(m, 2) == NULL);
    CHECK_INT(put_code(m, 2), QI_MIRROR_OK);
    qi_mirror_drop_entries(m);
    CHECK(b.used < before + (1 << 16));
    CHECK_INT(put_text(m, 2, 1 << 20), QI_MIRROR_OK);
    qi_mirror_free(m);
    CHECK_INT(b.used, 0);
}

/* An id decides how long the table of ids is. */
static void
test_a_great_id_is_judged_before_a_table_grows(void)
{
    struct qi_budget b = {.limit = 1 << 20};
    struct qi_mirror *m = make(&b);
    size_t before = b.used;

    CHECK_INT(put_code(m, 0), QI_MIRROR_E_QUOTA);
    CHECK_INT(put_code(m, limits.entries + 1), QI_MIRROR_E_QUOTA);
    CHECK_INT(put_code(m, UINT32_MAX), QI_MIRROR_E_QUOTA);
    CHECK_INT(b.used, before);
    CHECK_INT(put_code(m, limits.entries), QI_MIRROR_E_BUDGET);
    CHECK_INT(b.used, qi_mirror_charged(m));
    CHECK(b.used < before + 65536);
    CHECK_INT(put_code(m, 1000), QI_MIRROR_OK);
    qi_mirror_free(m);
    CHECK_INT(b.used, 0);
}

static void
test_what_exceeds_the_quota_makes_nothing_grow(void)
{
    const struct qi_mirror_limits few = {.rows = 8,
                                         .ended = 4,
                                         .entries = 1000,
                                         .entry_bytes = 10,
                                         .records = 8,
                                         .removals = 4};
    struct qi_budget b = {.limit = 1 << 20};
    struct qi_mirror *m = qi_mirror_new(&few);

    CHECK_INT(qi_mirror_charge(m, &b), QI_MIRROR_OK);
    size_t before = b.used;
    CHECK_INT(put_text(m, 900, 10), QI_MIRROR_E_QUOTA); /* with its NUL */
    CHECK_INT(put_code(m, 900), QI_MIRROR_E_QUOTA);
    CHECK_INT(b.used, before);
    CHECK_INT(put_text(m, 1, 9), QI_MIRROR_OK);
    CHECK_INT(put_text(m, 2, 0), QI_MIRROR_E_QUOTA);
    qi_mirror_free(m);
    CHECK_INT(b.used, 0);
}

/* One that is full costs the other one nothing. */
static void
test_who_asks_is_refused_and_the_others_stay(void)
{
    struct qi_budget b = {.limit = 1 << 20};
    struct qi_mirror *hog = make(&b), *other = make(&b);
    uint64_t id = 1;

    CHECK_INT(put(other, 1, QI_TASK_WAITING), QI_MIRROR_OK);
    while (put(hog, id, QI_TASK_WAITING) == QI_MIRROR_OK) {
        id++;
    }
    CHECK_INT(put(other, 1, QI_TASK_READY), QI_MIRROR_OK);
    CHECK_INT(put(other, 2, QI_TASK_READY), QI_MIRROR_E_BUDGET);
    qi_mirror_free(hog);
    CHECK_INT(b.used, qi_mirror_charged(other));
    CHECK_INT(put(other, 2, QI_TASK_READY), QI_MIRROR_OK);
    qi_mirror_free(other);
    CHECK_INT(b.used, 0);
}

/*********** histograms ***********/

static void
test_without_room_a_function_is_counted_with_all(void)
{
    struct qi_budget b = {.limit = SIZE_MAX};
    struct qi_mirror *m = qi_mirror_new(&limits);
    struct qi_histograms *all = qi_histograms_new();
    struct qi_record record = {.kind = QI_EV_CALLBACK, .x = 7, .a = 1000};

    CHECK(qi_histograms_charge(all, &b));
    size_t before = b.used;
    CHECK(before > 0);
    qi_histograms_record(all, m, &record);
    CHECK(b.used >= before + sizeof(struct qi_histogram));
    CHECK_INT(qi_histograms_find(all, QI_DURATION_STEP, 7)->count, 1);
    b.limit = b.used;
    record.x = 8;
    qi_histograms_record(all, m, &record);
    CHECK_INT(b.used, b.limit);
    CHECK(qi_histograms_find(all, QI_DURATION_STEP, 8) == NULL);
    CHECK_INT(qi_histograms_find(all, QI_DURATION_STEP, 0)->count, 2);
    qi_histograms_free(all);
    CHECK_INT(b.used, 0);
    qi_mirror_free(m);
}

int
main(void)
{
    RUN(test_a_budget_is_never_exceeded);
    RUN(test_what_stays_leaves_the_reserve);
    RUN(test_an_account_enters_with_what_it_has);
    RUN(test_threads_share_a_budget);
    RUN(test_a_mirror_that_does_not_fit_is_not_charged);
    RUN(test_rows_are_charged_before_they_are_made);
    RUN(test_a_row_has_room_for_what_its_kind_has);
    RUN(test_a_row_that_ends_is_the_historys);
    RUN(test_rows_that_come_and_go_leave_nothing_behind);
    RUN(test_removals_are_forgotten_where_there_is_no_room);
    RUN(test_entries_are_charged_before_they_are_copied);
    RUN(test_a_great_id_is_judged_before_a_table_grows);
    RUN(test_what_exceeds_the_quota_makes_nothing_grow);
    RUN(test_who_asks_is_refused_and_the_others_stay);
    RUN(test_without_room_a_function_is_counted_with_all);
    return 0;
}
