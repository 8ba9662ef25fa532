/*
 * bench_client.c - what the producer's functions cost: nanoseconds per call.
 *
 * Built with QI_BUILD_TESTS as bench_client; prints one table.  Each figure is the best
 * of several rounds (the others were disturbed); `empty` is the loop itself.
 */
#include "client_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define ROUNDS 9
#define CALLS 200000u

static qi_client *client;
static uint32_t row;
static uint32_t sink;

static int64_t
now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
empty(uint32_t i)
{
    __atomic_store_n(&sink, i, __ATOMIC_RELAXED);
}

static void
clock_alone(uint32_t i)
{
    (void)i;
    __atomic_store_n(&sink, (uint32_t)now_ns(), __ATOMIC_RELAXED);
}

static void
record(uint32_t i)
{
    qi_record(client, i, QI_EV_TASK_STEP, 1, QI_STEP_WAITS, i, 1000);
}

static void
update_row(uint32_t i)
{
    struct qi_slot *slot = qi_row_begin(client, row);

    QI_PUT(slot->state, QI_TASK_WAITING);
    QI_PUT(slot->row.task.changed, i);
    QI_PUT(slot->row.task.busy, i);
    QI_PUT(slot->row.task.steps, i);
    QI_PUT(slot->row.task.wait_kind, QI_WAITS_FUTURE);
    QI_PUT(slot->row.task.wait_ref, i);
    qi_row_end(client, row);
}

static void
step(uint32_t i)
{
    update_row(i);
    record(i);
}

static void
new_and_retire(uint32_t i)
{
    uint32_t index = qi_row_new(client, QI_TASK, 1, NULL);
    struct qi_slot *slot = qi_row_begin(client, index);

    QI_PUT(slot->row.task.created, i);
    qi_row_end(client, index);
    qi_row_retire(client, index, QI_TASK_DONE);
}

static void
known_text(uint32_t i)
{
    static const char text[] = "MainWindow.on_save.<locals>.fetch";

    (void)i;
    __atomic_store_n(&sink, qi_text(client, text, sizeof(text) - 1), __ATOMIC_RELAXED);
}

static void
known_code(uint32_t i)
{
    (void)i;
    __atomic_store_n(&sink, qi_code(client, 1, 2, 300), __ATOMIC_RELAXED);
}

/* Inlined into each caller, so that `call` is no pointer there. */
#define BENCH(call)                                                                      \
    do {                                                                                 \
        double best = 1e9;                                                               \
        for (int round = 0; round < ROUNDS; round++) {                                   \
            int64_t start = now_ns();                                                    \
            for (uint32_t i = 0; i < CALLS; i++) {                                       \
                call(i);                                                                 \
            }                                                                            \
            double ns = (double)(now_ns() - start) / CALLS;                              \
            best = ns < best ? ns : best;                                                \
        }                                                                                \
        printf("%-16s %7.2f ns\n", #call, best);                                         \
    } while (0)

int
main(void)
{
    char directory[] = "/tmp/qi-bench-XXXXXX";
    struct qi_client_options options = {.directory = directory, .level = 2};

    if (mkdtemp(directory) == NULL || qi_client_open(&options, &client) < 0) {
        fprintf(stderr, "%s\n", qi_client_last_error());
        return 1;
    }
    row = qi_row_new(client, QI_TASK, 1, NULL);
    BENCH(empty);
    BENCH(clock_alone);
    BENCH(record);
    BENCH(update_row);
    BENCH(step);
    BENCH(new_and_retire);
    BENCH(known_text);
    BENCH(known_code);
    qi_client_set_level(client, 1);
    printf("level 1:\n");
    BENCH(record);
    qi_client_close(client, 1000, 0);
    return rmdir(directory) == 0 ? 0 : 1;
}
