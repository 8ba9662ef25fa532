/* clock.c: what the counter is made to mean, with counters and clocks of our own. */
#include "clock.h"

#include "qi_test.h"

#include <time.h>

#define MS INT64_C(1000000)

/* As qi_clock_now(), at a counter of our own; -1: it would read the system's clock. */
static int64_t
told_at(const struct qi_clock *clock, uint64_t counter)
{
    uint64_t passed = counter - clock->counter;

    return passed < clock->limit ? qi_clock_at(clock, passed) : -1;
}

/* A clock that has found out that the counter runs at 2 GHz: ns = 1000 * MS + count / 2.
 */
static struct qi_clock
at_2_ghz(void)
{
    struct qi_clock clock = {0};

    qi_clock_set(&clock, 0, 1000 * MS);
    qi_clock_set(&clock, 40 * MS, 1020 * MS);
    return clock;
}

static void
the_rate_is_found_first(void)
{
    struct qi_clock clock = {0};

    CHECK_INT(told_at(&clock, 5), -1);
    CHECK_INT(qi_clock_set(&clock, 0, 1000 * MS), 1000 * MS);
    CHECK_INT(told_at(&clock, 5), -1);
    CHECK_INT(qi_clock_set(&clock, 2 * MS, 1001 * MS), 1001 * MS); /* too short a time */
    CHECK_INT(told_at(&clock, 2 * MS + 5), -1);
    CHECK_INT(qi_clock_set(&clock, 40 * MS, 1020 * MS), 1020 * MS);
    CHECK_INT(told_at(&clock, 40 * MS), 1020 * MS);
    CHECK_INT(told_at(&clock, 42 * MS), 1021 * MS);
    CHECK_INT(told_at(&clock, 59 * MS), 1029 * MS + MS / 2);
}

static void
it_is_good_for_a_while(void)
{
    struct qi_clock clock = at_2_ghz();

    CHECK_INT(told_at(&clock, 61 * MS), -1);     /* more than 10 ms later */
    CHECK_INT(told_at(&clock, 40 * MS - 1), -1); /* the counter went back */
}

static void
never_back(void)
{
    struct qi_clock clock = at_2_ghz();
    int64_t told = told_at(&clock, 58 * MS); /* 1029 ms, but it was 1028.5 */
    int64_t now = qi_clock_set(&clock, 58 * MS, 1028 * MS + MS / 2);

    CHECK_INT(now, told);
    /* The half millisecond is made up for; no time is told twice the other way round. */
    int64_t last = now;
    uint64_t counter = 58 * MS;
    int64_t ns = 1028 * MS + MS / 2;
    for (int i = 0; i < 2000; i++) {
        counter += MS / 5;
        ns += MS / 10;
        now = told_at(&clock, counter);
        if (now < 0) {
            now = qi_clock_set(&clock, counter, ns);
        }
        CHECK(now >= last);
        last = now;
    }
    CHECK(last - ns < 20000 && ns - last < 20000);
}

static void
a_drift_is_followed(void)
{
    struct qi_clock clock = at_2_ghz();
    uint64_t counter = 40 * MS;
    int64_t ns = 1020 * MS;

    for (int i = 0; i < 500; i++) { /* five seconds at 1.9 GHz */
        counter += 19 * MS;
        ns += 10 * MS;
        qi_clock_set(&clock, counter, ns);
    }
    int64_t now = told_at(&clock, counter + 19 * MS / 10);
    CHECK(now > ns + MS - 1000 && now < ns + MS + 1000);
}

static void
a_counter_that_went_back(void)
{
    struct qi_clock clock = at_2_ghz();

    CHECK_INT(qi_clock_set(&clock, 7, 1030 * MS), 1030 * MS);
    CHECK_INT(told_at(&clock, 9), -1); /* it begins anew */
    CHECK_INT(qi_clock_set(&clock, 7 + 40 * MS, 1050 * MS), 1050 * MS);
    CHECK_INT(told_at(&clock, 7 + 42 * MS), 1051 * MS);
}

static void
a_counter_that_stands_still(void)
{
    struct qi_clock clock = at_2_ghz();

    CHECK_INT(qi_clock_set(&clock, 40 * MS, 1030 * MS), 1030 * MS);
    struct qi_clock slow = {0};
    qi_clock_set(&slow, 1, 1000 * MS);
    CHECK_INT(qi_clock_set(&slow, 2, 1020 * MS), 1020 * MS); /* 50 Hz */
    CHECK_INT(told_at(&slow, 2), -1);
}

static int64_t
system_now(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* Whatever this machine has: between two readings of the system's clock. */
static void
it_is_the_systems_clock(void)
{
    struct qi_clock clock = {0};
    int64_t begin = system_now();
    int64_t last = 0;
    long outside = 0;

    while (system_now() - begin < 60 * MS) {
        int64_t before = system_now();
        int64_t now = qi_clock_now(&clock);
        int64_t after = system_now();
        outside += now < before - MS / 10 || now > after + MS / 10;
        CHECK(now >= last);
        last = now;
    }
    CHECK_INT(outside, 0);
}

int
main(void)
{
    RUN(the_rate_is_found_first);
    RUN(it_is_good_for_a_while);
    RUN(never_back);
    RUN(a_drift_is_followed);
    RUN(a_counter_that_went_back);
    RUN(a_counter_that_stands_still);
    RUN(it_is_the_systems_clock);
    return 0;
}
