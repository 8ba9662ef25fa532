/*
 * clock.h - CLOCK_MONOTONIC, read by the processor's counter where that saves something.
 *
 * The system's own reading waits for all instructions before it, which costs a loop that
 * reads it at every step about twice what the counter does.  So the counter is read, and
 * the system's clock every CLOCK_INTERVAL to say what the counter means.  In between the
 * two differ by what the counter's rate was misjudged, some hundred nanoseconds.
 *
 * Only on Linux on x86-64, where the counter runs at one rate (CPUID says so) and the
 * kernel itself keeps time by it, that is, finds the counters of all processors equal.
 * Anywhere else, and until the rate is known, it is the system's clock.
 *
 * No Python here.  One thread at a time: the GIL sees to that.
 */
#ifndef QI_NATIVE_CLOCK_H
#define QI_NATIVE_CLOCK_H

#include <stdint.h>

#if defined(__linux__) && defined(__x86_64__)
#  define QI_CLOCK_COUNTER 1
#  include <x86intrin.h>
#else
#  define QI_CLOCK_COUNTER 0
#endif

struct qi_clock_pair {
    uint64_t counter;
    int64_t ns;
};

struct qi_clock {
    uint64_t counter; /* at `ns` */
    int64_t ns;
    uint64_t limit; /* counts for which `rate` is good; 0: the system's clock is used */
    uint64_t rate;  /* nanoseconds in a count, times 2^32, steered */
    struct qi_clock_pair base, next; /* true readings that the rate is found by */
    int state;                       /* enum in clock.c */
};

/* [GIL] Nanoseconds on CLOCK_MONOTONIC; never less than the last time. */
static inline int64_t qi_clock_now(struct qi_clock *clock);

/*--- below that; tested by itself ---*/

/* Both read at one time: the system's clock is `ns` when the counter is `counter`.
   Returns the time to tell. */
int64_t qi_clock_set(struct qi_clock *clock, uint64_t counter, int64_t ns);

/* Reads the system's clock, and sets the counter by it. */
int64_t qi_clock_read(struct qi_clock *clock);

static inline int64_t
qi_clock_at(const struct qi_clock *clock, uint64_t passed)
{
    return clock->ns + (int64_t)(passed * clock->rate >> 32);
}

static inline int64_t
qi_clock_now(struct qi_clock *clock)
{
#if QI_CLOCK_COUNTER
    uint64_t passed = __rdtsc() - clock->counter;

    if (passed < clock->limit) { /* not when the counter went back */
        return qi_clock_at(clock, passed);
    }
#endif
    return qi_clock_read(clock);
}

#endif
