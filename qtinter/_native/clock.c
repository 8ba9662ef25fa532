#include "clock.h"

#include <time.h>

#define CLOCK_INTERVAL INT64_C(10000000) /* ns between two readings of the system's */
#define CLOCK_BASE INT64_C(1000000000)   /* ns after which the rate is found anew */
#define RATE_MIN (UINT64_C(1) << 28)     /* 16 GHz */
#define RATE_MAX (UINT64_C(8) << 32)     /* 125 MHz */
#define ROUNDS_TRIED 3
#define ROUND_LONG 20000 /* counts: something came in between */

enum { CLOCK_NEW = 0, CLOCK_COUNTS, CLOCK_SYSTEM_ONLY };

static int64_t
system_ns(void)
{
    struct timespec ts;

    clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* The latest time that may have been told before the counter came to `counter`. */
static int64_t
last_told(const struct qi_clock *clock, uint64_t counter)
{
    uint64_t passed = counter - clock->counter;

    if (clock->limit == 0 || counter < clock->counter) {
        return clock->ns;
    }
    return qi_clock_at(clock, passed < clock->limit ? passed : clock->limit);
}

int64_t
qi_clock_set(struct qi_clock *clock, uint64_t counter, int64_t ns)
{
    int64_t last = last_told(clock, counter);
    int64_t told = last > ns ? last : ns;

    if (clock->base.ns == 0 || counter < clock->counter || counter <= clock->base.counter
        || ns <= clock->base.ns) {
        /* The first time, or the counter went back (a machine that was moved). */
        clock->base = clock->next = (struct qi_clock_pair){counter, ns};
        clock->limit = 0;
    }
    else if (ns - clock->base.ns >= CLOCK_INTERVAL) {
        uint64_t counts = counter - clock->base.counter;
        double rate = (double)(ns - clock->base.ns) / (double)counts * 4294967296.0;
        if (rate < (double)RATE_MIN || rate > (double)RATE_MAX) {
            clock->limit = 0;
            clock->ns = told;
            clock->state = CLOCK_SYSTEM_ONLY;
            return told;
        }
        /* What was told too early is made up for until the next time. */
        double slower = (double)(told - ns) / (double)CLOCK_INTERVAL;
        clock->limit = (uint64_t)((double)CLOCK_INTERVAL * 4294967296.0 / rate);
        clock->rate = (uint64_t)(rate * (slower < 0.5 ? 1 - slower : 0.5));
        if (ns - clock->base.ns >= CLOCK_BASE) {
            clock->base = clock->next;
            clock->next = (struct qi_clock_pair){counter, ns};
        }
    }
    clock->counter = counter;
    clock->ns = told;
    return told;
}

#if QI_CLOCK_COUNTER

#  include <cpuid.h>
#  include <fcntl.h>
#  include <string.h>
#  include <unistd.h>

#  define INVARIANT_COUNTER (1u << 8) /* EDX of CPUID 0x80000007 */

static int
counter_is_good(void)
{
    static const char path[] =
        "/sys/devices/system/clocksource/clocksource0/current_clocksource";
    unsigned a, b, c, d = 0;
    char name[8] = "";

    if (!__get_cpuid(0x80000007, &a, &b, &c, &d) || !(d & INVARIANT_COUNTER)) {
        return 0;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return 0;
    }
    ssize_t n = read(fd, name, sizeof(name));
    close(fd);
    return n == 4 && memcmp(name, "tsc\n", 4) == 0;
}

int64_t
qi_clock_read(struct qi_clock *clock)
{
    if (clock->state == CLOCK_NEW) {
        clock->state = counter_is_good() ? CLOCK_COUNTS : CLOCK_SYSTEM_ONLY;
    }
    int64_t ns = system_ns();
    if (clock->state == CLOCK_SYSTEM_ONLY) {
        return ns > clock->ns ? ns : clock->ns;
    }
    for (int i = 0; i < ROUNDS_TRIED; i++) {
        uint64_t before = __rdtsc();
        ns = system_ns();
        uint64_t after = __rdtsc();
        if (after - before < ROUND_LONG) {
            return qi_clock_set(clock, before + (after - before) / 2, ns);
        }
    }
    int64_t last = last_told(clock, __rdtsc()); /* the next call sets it */
    return last > ns ? last : ns;
}

#else

int64_t
qi_clock_read(struct qi_clock *clock)
{
    (void)clock;
    return system_ns();
}

#endif
