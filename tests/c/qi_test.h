/*
 * qi_test.h - the whole test framework of the C units.
 *
 * A test is an executable: a table of cases in main(), CHECK() in the cases.  CHECK
 * works in every build type, prints what differed and ends the process with 1.
 */
#ifndef QI_TESTS_QI_TEST_H
#define QI_TESTS_QI_TEST_H

#include <stdio.h>
#include <stdlib.h>

#define CHECK(condition)                                                                 \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "%s:%d: %s: not true: %s\n", __FILE__, __LINE__, __func__,   \
                    #condition);                                                         \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

#define CHECK_INT(got, wanted)                                                           \
    do {                                                                                 \
        long long qi_got = (long long)(got);                                             \
        long long qi_wanted = (long long)(wanted);                                       \
        if (qi_got != qi_wanted) {                                                       \
            fprintf(stderr, "%s:%d: %s: %s is %lld, not %lld\n", __FILE__, __LINE__,     \
                    __func__, #got, qi_got, qi_wanted);                                  \
            exit(1);                                                                     \
        }                                                                                \
    } while (0)

/* Names the case before it runs, so that a crash is attributed too. */
#define RUN(test_case)                                                                   \
    do {                                                                                 \
        printf("%s\n", #test_case);                                                      \
        fflush(stdout);                                                                  \
        test_case();                                                                     \
    } while (0)

/* Random numbers that are the same in every run (Marsaglia's xorshift64). */
static inline unsigned long long
qi_test_random(unsigned long long *state)
{
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    return *state;
}

#endif
