/* test_ready.c - the promises of ready.h. */
#include "qi_test.h"
#include "ready.h"

#include <stdint.h>

static void *
item(size_t number)
{
    return (void *)(uintptr_t)(number + 1);
}

static void
empty_queue_gives_null(void)
{
    struct qi_ready q;

    qi_ready_init(&q);
    CHECK(qi_ready_pop(&q) == NULL);
    CHECK(qi_ready_pop_last(&q) == NULL);
    CHECK_INT(qi_ready_push(&q, item(0)), 0);
    CHECK(qi_ready_pop(&q) == item(0));
    CHECK(qi_ready_pop(&q) == NULL);
    CHECK(qi_ready_pop_last(&q) == NULL);
    qi_ready_fini(&q);
}

static void
order_survives_growth_and_wrap_around(void)
{
    struct qi_ready q;
    size_t in = 0;
    size_t out = 0;

    qi_ready_init(&q);
    /* Two in, one out: head wanders while the ring grows several times. */
    for (int round = 0; round < 3000; round++) {
        CHECK_INT(qi_ready_push(&q, item(in++)), 0);
        CHECK_INT(qi_ready_push(&q, item(in++)), 0);
        CHECK(qi_ready_pop(&q) == item(out++));
    }
    CHECK_INT(q.len, in - out);
    for (size_t i = 0; i < q.len; i++) {
        CHECK(qi_ready_at(&q, i) == item(out + i));
    }
    while (out < in) {
        CHECK(qi_ready_pop(&q) == item(out++));
    }
    CHECK_INT(q.len, 0);
    qi_ready_fini(&q);
}

static void
pop_last_takes_the_newest(void)
{
    struct qi_ready q;

    qi_ready_init(&q);
    for (size_t i = 0; i < 3; i++) {
        CHECK_INT(qi_ready_push(&q, item(i)), 0);
    }
    CHECK(qi_ready_pop_last(&q) == item(2));
    CHECK(qi_ready_pop(&q) == item(0));
    CHECK(qi_ready_pop_last(&q) == item(1));
    CHECK_INT(q.len, 0);
    qi_ready_fini(&q);
}

static void
a_failed_push_changes_nothing(void)
{
    struct qi_ready q;
    void *only[1] = {item(7)};

    /* A ring so large that doubling it overflows; only its first slot is touched. */
    q.items = only;
    q.mask = (size_t)-1 / sizeof(void *) / 2;
    q.head = 0;
    q.len = q.mask + 1;
    CHECK_INT(qi_ready_push(&q, item(8)), -1);
    CHECK(q.items == only);
    CHECK_INT(q.len, q.mask + 1);
    CHECK(qi_ready_at(&q, 0) == item(7));
}

static void
fini_leaves_a_usable_queue(void)
{
    struct qi_ready q;

    qi_ready_init(&q);
    CHECK_INT(qi_ready_push(&q, item(0)), 0);
    qi_ready_fini(&q);
    CHECK_INT(q.len, 0);
    CHECK_INT(qi_ready_push(&q, item(1)), 0);
    CHECK(qi_ready_pop(&q) == item(1));
    qi_ready_fini(&q);
    qi_ready_fini(&q);
}

int
main(void)
{
    RUN(empty_queue_gives_null);
    RUN(order_survives_growth_and_wrap_around);
    RUN(pop_last_takes_the_newest);
    RUN(a_failed_push_changes_nothing);
    RUN(fini_leaves_a_usable_queue);
    return 0;
}
