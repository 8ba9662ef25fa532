/*
 * bench_producer.c - a program that records events through the shim, for
 * record_daemon.py.
 *
 *      bench_producer DIRECTORY RATE SECONDS
 *
 * Connects to the daemon of DIRECTORY, says so in a line, waits for one, and then
 * records: RATE events a second in bursts of a millisecond, or with RATE 0 as many as the
 * sender takes, never further ahead than half of the ring.  Prints how many there were,
 * the time, and the CPU time of this thread; ends at the next line.  Built with
 * QI_BUILD_TESTS.
 */
#include "client_internal.h"

#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#define BURST 256u
#define ROWS 64u
#define PATIENCE_NS INT64_C(60000000000)

static int64_t
now_ns(clockid_t clock)
{
    struct timespec ts;

    (void)clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

static void
sleep_ns(long ns)
{
    struct timespec ts = {.tv_nsec = ns};

    (void)nanosleep(&ts, NULL);
}

static void
die(const char *what)
{
    fprintf(stderr, "bench_producer: %s\n", what);
    exit(1);
}

static void
wait_for_line(void)
{
    int c;

    while ((c = getchar()) != '\n' && c != EOF) {
        ;
    }
}

/* The life of tasks, five records each, and a row that changes with each step. */
static void
burst(qi_client *client, const uint32_t *rows, const uint32_t *codes, uint64_t number,
      uint64_t *random)
{
    int64_t ts = now_ns(CLOCK_MONOTONIC);

    for (uint64_t i = number; i < number + BURST; i++) {
        uint64_t task = 1000000 + i / 5;
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        uint64_t noise = *random;
        switch (i % 5) {
        case 0:
            qi_record(client, ts, QI_EV_TASK_CREATED, 1, codes[noise % 8], task,
                      QI_REF(QI_TASK, 17));
            break;
        case 1:
            qi_record(client, ts, QI_EV_TASK_WAKE, 1, 0, task, QI_REF(QI_TASK, task - 3));
            break;
        case 2: {
            struct qi_slot *slot = qi_row_begin(client, rows[task % ROWS]);
            QI_PUT(slot->row.task.changed, ts);
            qi_row_end(client, rows[task % ROWS]);
            qi_record(client, ts, QI_EV_TASK_STEP, 1, 0, task, 1000 + noise % 30000);
            break;
        }
        case 3:
            qi_record(client, ts, QI_EV_TASK_WAIT, 1, QI_WAITS_FUTURE, task,
                      QI_REF(QI_FUTURE, task));
            break;
        default:
            qi_record(client, ts, QI_EV_TASK_ENDED, 1, QI_TASK_DONE, task, 0);
            break;
        }
        ts += 200 + (int64_t)(noise % 1600); /* a million a second */
    }
}

static qi_client *
connect_to(const char *directory)
{
    struct qi_client_options options = {
        .name = "bench", .directory = directory, .level = 2, .connect = 1};
    struct qi_client_stats stats = {0};
    int64_t end = now_ns(CLOCK_MONOTONIC) + PATIENCE_NS;
    qi_client *client = NULL;

    if (qi_client_open(&options, &client) < 0) {
        die(qi_client_last_error());
    }
    while (!stats.connected) {
        if (now_ns(CLOCK_MONOTONIC) > end) {
            die("there is no daemon");
        }
        sleep_ns(1000000);
        qi_client_stats(client, &stats);
    }
    return client;
}

static void
wait_for_room(qi_client *client, uint64_t count)
{
    struct qi_client_stats stats;
    int64_t end = now_ns(CLOCK_MONOTONIC) + PATIENCE_NS;

    for (;;) {
        qi_client_stats(client, &stats);
        if (count - stats.records - stats.gaps <= QI_SEGMENT_RING / 2) {
            return;
        }
        if (now_ns(CLOCK_MONOTONIC) > end) {
            die("the daemon takes nothing");
        }
        sleep_ns(200000);
    }
}

static void
produce(qi_client *client, double rate, double seconds)
{
    uint32_t rows[ROWS];
    uint32_t codes[8];
    uint64_t random = UINT64_C(88172645463325252);
    uint64_t count = 0;

    for (uint32_t i = 0; i < ROWS; i++) {
        rows[i] = qi_row_new(client, QI_TASK, 1, NULL);
        qi_row_end(client, rows[i]);
    }
    for (uint32_t i = 0; i < 8; i++) {
        codes[i] = qi_code(client, qi_text(client, "app.py", 6),
                           qi_text(client, "work", 4), i + 1);
    }
    int64_t begin = now_ns(CLOCK_MONOTONIC);
    int64_t cpu = now_ns(CLOCK_THREAD_CPUTIME_ID);
    int64_t now = begin;
    while ((double)(now - begin) < seconds * 1e9) {
        if (rate <= 0) {
            wait_for_room(client, count);
        }
        else if ((double)count >= rate * (double)(now - begin) / 1e9) {
            sleep_ns(1000000);
            now = now_ns(CLOCK_MONOTONIC);
            continue;
        }
        burst(client, rows, codes, count, &random);
        count += BURST;
        now = now_ns(CLOCK_MONOTONIC);
    }
    cpu = now_ns(CLOCK_THREAD_CPUTIME_ID) - cpu;
    printf("%llu %.6f %.6f\n", (unsigned long long)count, (double)(now - begin) / 1e9,
           (double)cpu / 1e9);
    (void)fflush(stdout);
}

int
main(int argc, char **argv)
{
    if (argc != 4) {
        die("usage: bench_producer DIRECTORY RATE SECONDS");
    }
    qi_client *client = connect_to(argv[1]);
    printf("connected\n");
    (void)fflush(stdout);
    wait_for_line();
    produce(client, atof(argv[2]), atof(argv[3]));
    wait_for_line();
    qi_client_close(client, 1000, 0);
    return 0;
}
