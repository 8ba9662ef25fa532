/* test_ageing.c - what is over goes after a while, what lives stays. */
#include "qi_test.h"

#include "mirror.h"

#include <stdint.h>
#include <string.h>

#define MOST 100

static const struct qi_mirror_limits limits = {.rows = 64,
                                               .ended = 64,
                                               .entries = 8,
                                               .entry_bytes = 64,
                                               .records = 4096,
                                               .removals = 64};

static void
put(struct qi_mirror *m, uint64_t id, unsigned state)
{
    struct qi_wire_row row = {.kind = QI_TASK, .id = id, .state = state};

    CHECK_INT(qi_mirror_put_row(m, &row), QI_MIRROR_OK);
}

static void
put_records(struct qi_mirror *m, uint64_t first, uint64_t end)
{
    for (uint64_t i = first; i < end; i++) {
        struct qi_record record = {.ts = (int64_t)i, .kind = QI_EV_MARK, .a = i};
        CHECK_INT(qi_mirror_put_record(m, i, &record), QI_MIRROR_OK);
    }
}

static int
has(const struct qi_mirror *m, uint64_t id)
{
    return qi_mirror_find(m, QI_TASK, id) != NULL;
}

static void
test_rows_go_when_they_have_been_over_for_long(void)
{
    struct qi_mirror *m = qi_mirror_new(&limits);
    struct qi_mirror_removal removal;
    uint64_t place = 0;

    put(m, 1, QI_TASK_WAITING);
    put(m, 2, QI_TASK_DONE);
    qi_mirror_age(m, 1000, MOST);
    put(m, 3, QI_TASK_DONE);
    qi_mirror_age(m, 1000 + MOST - 1, MOST);
    CHECK(has(m, 2));
    qi_mirror_age(m, 1000 + MOST, MOST);
    CHECK(!has(m, 2));
    CHECK(has(m, 3));
    CHECK_INT(qi_mirror_next_removal(m, &place, &removal), 1); /* tools are told */
    CHECK_INT(removal.id, 2);
    /* One that lives has no age. */
    qi_mirror_age(m, 100000, MOST);
    CHECK(has(m, 1));
    CHECK(!has(m, 3));
    CHECK_INT(qi_mirror_live(m), 1);
    qi_mirror_free(m);
}

/* Every moment is looked at, or only one in three: what goes is never too young, and no
   older than a tenth too much. */
static void
check_ages(int64_t interval)
{
    struct qi_mirror *m = qi_mirror_new(&limits);
    int64_t now = 5;

    for (; now < 1000; now += interval) {
        put(m, (uint64_t)now, QI_TASK_DONE);
        put_records(m, (uint64_t)now, (uint64_t)now + 1);
        qi_mirror_age(m, now, MOST);
        int64_t sure = now - MOST - MOST / 10 - interval;
        for (int64_t at = 5; at <= now; at += interval) {
            if (at > now - MOST) {
                CHECK(has(m, (uint64_t)at) || qi_mirror_ended(m) == limits.ended);
                CHECK(qi_mirror_record(m, (uint64_t)at) != NULL);
            }
            else if (at < sure) {
                CHECK(!has(m, (uint64_t)at));
                CHECK(qi_mirror_record(m, (uint64_t)at) == NULL);
            }
        }
    }
    qi_mirror_free(m);
}

static void
test_ages_are_kept_to_a_tenth(void)
{
    check_ages(1);
    check_ages(3);
    check_ages(10);
    check_ages(33);
    check_ages(150);
}

static void
test_records_go_and_their_memory_too(void)
{
    struct qi_history history = {.limit = 1 << 20};
    struct qi_mirror *m = qi_mirror_new(&limits);

    qi_mirror_join(m, &history);
    put_records(m, 0, 4096);
    size_t full = history.used;
    qi_mirror_age(m, 0, MOST);
    put_records(m, 4096, 4106);
    qi_mirror_age(m, MOST, MOST);
    CHECK_INT(qi_mirror_record_begin(m), 4096);
    CHECK_INT(qi_mirror_record_end(m), 4106);
    for (uint64_t i = 4096; i < 4106; i++) {
        CHECK_INT(qi_mirror_record(m, i)->a, i);
    }
    CHECK(history.used <= full / 3);
    /* That is no loss: whoever followed has seen them. */
    CHECK_INT(qi_mirror_lost(m), 0);
    CHECK_INT(history.records_dropped, 0);
    /* It goes on, and grows again. */
    put_records(m, 4106, 4106 + 4000);
    CHECK_INT(qi_mirror_record_begin(m), 4096);
    CHECK_INT(qi_mirror_record(m, 4096)->a, 4096);
    qi_mirror_age(m, 2 * MOST, MOST);
    qi_mirror_age(m, 4 * MOST, MOST);
    CHECK_INT(qi_mirror_record_begin(m), qi_mirror_record_end(m));
    CHECK_INT(qi_mirror_record_end(m), 4106 + 4000);
    qi_mirror_put_gap(m, 4106 + 4000, 5);
    put_records(m, 4106 + 4005, 4106 + 4006);
    CHECK_INT(qi_mirror_lost(m), 5);
    qi_mirror_free(m);
    CHECK_INT(history.used, 0);
}

static void
test_without_anything_nothing_happens(void)
{
    struct qi_mirror *m = qi_mirror_new(&limits);

    for (int64_t now = 0; now < 10000; now += 7) {
        qi_mirror_age(m, now, MOST);
    }
    qi_mirror_age(m, 0, MOST); /* a clock that goes back */
    qi_mirror_age(m, INT64_MAX / 2, MOST);
    CHECK_INT(qi_mirror_rev(m), 0);
    qi_mirror_free(m);
}

int
main(void)
{
    RUN(test_rows_go_when_they_have_been_over_for_long);
    RUN(test_ages_are_kept_to_a_tenth);
    RUN(test_records_go_and_their_memory_too);
    RUN(test_without_anything_nothing_happens);
    return 0;
}
