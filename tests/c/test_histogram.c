/* test_histogram.c - the promises of daemon/histogram.h. */
#include "qi_test.h"

#include "histogram.h"
#include "rowof.h"

#include <stdint.h>

static void
test_buckets_hold_what_they_say(void)
{
    for (unsigned i = 0; i + 1 < QI_HISTOGRAM_BUCKETS; i++) {
        struct qi_histogram h = {0};
        uint64_t lower = qi_histogram_lower(i);
        uint64_t next = qi_histogram_lower(i + 1);
        CHECK(next > lower);
        CHECK(i == 0 || (next - lower) * 8 <= next);
        qi_histogram_add(&h, lower);
        qi_histogram_add(&h, next - 1);
        CHECK_INT(h.bucket[i], 2);
    }
    struct qi_histogram h = {0};
    qi_histogram_add(&h, UINT64_MAX);
    CHECK_INT(h.bucket[QI_HISTOGRAM_BUCKETS - 1], 1);
}

static void
test_quantiles(void)
{
    struct qi_histogram h = {0};

    CHECK_INT(qi_histogram_quantile(&h, 500), 0);
    for (uint64_t i = 1; i <= 1000; i++) {
        qi_histogram_add(&h, i * 10000);
    }
    uint64_t median = qi_histogram_quantile(&h, 500);
    CHECK(median >= 5000000 && median <= 5000000 / 8 * 9);
    uint64_t p99 = qi_histogram_quantile(&h, 990);
    CHECK(p99 >= 9900000 && p99 <= 10000000);
    CHECK_INT(qi_histogram_quantile(&h, 1000), 10000000);
    CHECK_INT(h.max, 10000000);
    CHECK_INT(h.count, 1000);
    CHECK_INT(h.sum, 5005000000);
}

static struct qi_mirror *
mirror_with_a_call(void)
{
    static const struct qi_mirror_limits limits = QI_MIRROR_LIMITS;
    struct qi_mirror *m = qi_mirror_new(&limits);
    struct qi_wire_row task = {.kind = QI_TASK, .id = 7, .columns = 22};
    struct qi_wire_row slot = {.kind = QI_SLOT, .id = 5, .columns = 12};

    CHECK(m != NULL);
    task.column[QI_COL_TASK_code] = 3;
    task.column[QI_COL_TASK_created] = 1000000;
    slot.column[QI_COL_SLOT_code] = 4;
    CHECK_INT(qi_mirror_put_row(m, &task), QI_MIRROR_OK);
    CHECK_INT(qi_mirror_put_row(m, &slot), QI_MIRROR_OK);
    return m;
}

static void
test_records_count_for_their_code(void)
{
    struct qi_mirror *m = mirror_with_a_call();
    struct qi_histograms *all = qi_histograms_new();
    const struct qi_record records[] = {
        {.kind = QI_EV_TASK_STEP, .a = 7, .b = 50000},
        {.kind = QI_EV_TASK_STEP, .a = 8, .b = 60000}, /* a task that is not known */
        {.kind = QI_EV_CALLBACK, .x = 9, .a = 70000},
        {.kind = QI_EV_SLOT_ENDED, .ts = 5000000, .a = 7, .b = 5},
        {.kind = QI_EV_SLOT_ENDED, .ts = 5000000, .a = 7, .b = 6}, /* no such slot */
        {.kind = QI_EV_MARK, .a = 7, .b = 80000},
    };

    CHECK(all != NULL);
    for (unsigned i = 0; i < sizeof(records) / sizeof(records[0]); i++) {
        qi_histograms_record(all, m, &records[i]);
    }
    CHECK_INT(qi_histograms_find(all, QI_DURATION_STEP, 0)->count, 3);
    CHECK_INT(qi_histograms_find(all, QI_DURATION_STEP, 3)->max, 50000);
    CHECK_INT(qi_histograms_find(all, QI_DURATION_STEP, 9)->max, 70000);
    CHECK_INT(qi_histograms_find(all, QI_DURATION_CALL, 4)->max, 4000000);
    CHECK_INT(qi_histograms_find(all, QI_DURATION_CALL, 0)->count, 1);
    CHECK(qi_histograms_find(all, QI_DURATION_CALL, 3) == NULL);
    CHECK(qi_histograms_find(all, QI_DURATION_STEP, 77) == NULL);
    qi_histograms_free(all);
    qi_histograms_free(NULL);
    qi_mirror_free(m);
}

static void
test_there_is_an_end_to_codes(void)
{
    struct qi_mirror *m = mirror_with_a_call();
    struct qi_histograms *all = qi_histograms_new();

    CHECK(all != NULL);
    for (uint32_t code = 1; code <= QI_HISTOGRAM_CODES * 3; code++) {
        struct qi_record record = {.kind = QI_EV_CALLBACK, .x = code, .a = 1000};
        qi_histograms_record(all, m, &record);
    }
    CHECK_INT(qi_histograms_find(all, QI_DURATION_STEP, 0)->count,
              QI_HISTOGRAM_CODES * 3);
    CHECK(qi_histograms_find(all, QI_DURATION_STEP, QI_HISTOGRAM_CODES) != NULL);
    CHECK(qi_histograms_find(all, QI_DURATION_STEP, QI_HISTOGRAM_CODES + 1) == NULL);
    qi_histograms_free(all);
    qi_mirror_free(m);
}

int
main(void)
{
    RUN(test_buckets_hold_what_they_say);
    RUN(test_quantiles);
    RUN(test_records_count_for_their_code);
    RUN(test_there_is_an_end_to_codes);
    return 0;
}
