/* test_timers.c - the promises of timers.h, and random operations against a model. */
#include "qi_test.h"
#include "timers.h"

#include <string.h>

#define ENTRIES 512

struct entry {
    double when;
    uint64_t seq;
    int in_heap;
    int unwanted;
};

static uint64_t
entry_seq(const void *item)
{
    return ((const struct entry *)item)->seq;
}

static void
push(struct qi_timers *t, struct entry *e, double when, uint64_t seq)
{
    e->when = when;
    e->seq = seq;
    e->in_heap = 1;
    e->unwanted = 0;
    CHECK_INT(qi_timers_push(t, when, e), 0);
}

static void
empty_heap_gives_null(void)
{
    struct qi_timers t;

    qi_timers_init(&t, entry_seq);
    CHECK(qi_timers_top(&t) == NULL);
    CHECK(qi_timers_pop(&t) == NULL);
    qi_timers_fini(&t);
}

static void
earliest_first(void)
{
    static const double when[] = {5.0, 1.0, 4.0, -2.0, 3.0, 0.5, 9.0, 2.0};
    static const double sorted[] = {-2.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 9.0};
    struct entry entries[8];
    struct qi_timers t;

    qi_timers_init(&t, entry_seq);
    for (size_t i = 0; i < 8; i++) {
        push(&t, &entries[i], when[i], i);
    }
    for (size_t i = 0; i < 8; i++) {
        CHECK(qi_timers_top(&t)->when == sorted[i]);
        struct entry *e = qi_timers_pop(&t);
        CHECK(e->when == sorted[i]);
    }
    CHECK(qi_timers_top(&t) == NULL);
    qi_timers_fini(&t);
}

static void
equal_deadlines_come_in_order_of_arrival(void)
{
    struct entry entries[200];
    struct qi_timers t;

    qi_timers_init(&t, entry_seq);
    for (size_t i = 0; i < 200; i++) {
        push(&t, &entries[i], 1.0, i);
    }
    for (size_t i = 0; i < 200; i++) {
        CHECK(qi_timers_pop(&t) == &entries[i]);
    }
    qi_timers_fini(&t);
}

static int
keep_wanted(void *item, void *ctx)
{
    struct entry *e = item;

    ++*(size_t *)ctx;
    if (e->unwanted) {
        e->in_heap = 0;
    }
    return !e->unwanted;
}

static void
filter_asks_once_for_each_and_keeps_the_order(void)
{
    struct entry entries[100];
    struct qi_timers t;
    size_t asked = 0;

    qi_timers_init(&t, entry_seq);
    for (size_t i = 0; i < 100; i++) {
        push(&t, &entries[i], (double)((i * 37) % 100), i);
        entries[i].unwanted = i % 3 == 0;
    }
    qi_timers_filter(&t, keep_wanted, &asked);
    CHECK_INT(asked, 100);
    CHECK_INT(t.len, 66);
    double last = -1.0;
    for (size_t i = 0; i < 66; i++) {
        struct entry *e = qi_timers_pop(&t);
        CHECK(!e->unwanted);
        CHECK(e->when > last);
        last = e->when;
    }
    qi_timers_fini(&t);
}

static void
filter_may_empty_the_heap(void)
{
    struct entry e;
    struct qi_timers t;
    size_t asked = 0;

    qi_timers_init(&t, entry_seq);
    qi_timers_filter(&t, keep_wanted, &asked);
    CHECK_INT(asked, 0);
    push(&t, &e, 1.0, 0);
    e.unwanted = 1;
    qi_timers_filter(&t, keep_wanted, &asked);
    CHECK_INT(t.len, 0);
    CHECK(qi_timers_pop(&t) == NULL);
    qi_timers_fini(&t);
}

static void
a_failed_push_changes_nothing(void)
{
    struct entry e = {.when = 1.0};
    struct qi_timer only[1] = {{.when = 1.0, .item = &e}};
    struct qi_timers t;

    /* A heap so large that growing it overflows; it is refused before a touch. */
    qi_timers_init(&t, entry_seq);
    t.heap = only;
    t.capacity = (size_t)-1 / sizeof(only[0]);
    t.len = t.capacity;
    CHECK_INT(qi_timers_push(&t, 0.0, &e), -1);
    CHECK(t.heap == only);
    CHECK_INT(t.len, t.capacity);
    CHECK(qi_timers_top(&t)->when == 1.0);
}

/* What pop() has to return: the least (when, seq) of the entries in the heap. */
static struct entry *
model_least(struct entry *entries)
{
    struct entry *least = NULL;

    for (size_t i = 0; i < ENTRIES; i++) {
        struct entry *e = &entries[i];
        if (e->in_heap
            && (least == NULL || e->when < least->when
                || (e->when == least->when && e->seq < least->seq))) {
            least = e;
        }
    }
    return least;
}

static void
random_operations_agree_with_a_model(void)
{
    static struct entry entries[ENTRIES];
    unsigned long long state = 88172645463325252ULL;
    uint64_t seq = 0;
    struct qi_timers t;

    memset(entries, 0, sizeof(entries));
    qi_timers_init(&t, entry_seq);
    for (int step = 0; step < 40000; step++) {
        unsigned long long dice = qi_test_random(&state);
        struct entry *e = &entries[(dice >> 8) % ENTRIES];
        unsigned long long action = dice % 100;

        if (action < 55) {
            if (!e->in_heap) {
                push(&t, e, (double)((dice >> 20) % 64), seq++);
            }
        }
        else if (action < 97) {
            struct entry *least = model_least(entries);
            CHECK(qi_timers_pop(&t) == least);
            if (least != NULL) {
                least->in_heap = 0;
            }
        }
        else {
            size_t asked = 0;
            size_t before = t.len;
            for (size_t i = 0; i < ENTRIES; i++) {
                entries[i].unwanted = qi_test_random(&state) % 4 == 0;
            }
            qi_timers_filter(&t, keep_wanted, &asked);
            CHECK_INT(asked, before);
        }
    }
    qi_timers_fini(&t);
}

int
main(void)
{
    RUN(empty_heap_gives_null);
    RUN(earliest_first);
    RUN(equal_deadlines_come_in_order_of_arrival);
    RUN(filter_asks_once_for_each_and_keeps_the_order);
    RUN(filter_may_empty_the_heap);
    RUN(a_failed_push_changes_nothing);
    RUN(random_operations_agree_with_a_model);
    return 0;
}
