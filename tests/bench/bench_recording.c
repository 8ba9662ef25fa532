/*
 * bench_recording.c - events per second into a file, and bytes per event.
 *
 *      bench_recording [FILE.qtrace]
 *
 * Feeds EVENTS frames to the daemon's recording until some millions of records are in the
 * file: those of a recording, again and again, or made ones (tasks that are created,
 * step, wait, wake and end).  Prints events a second, of CPU time of the one thread
 * (decoding, encoding, compressing, writing), and bytes per event before and after
 * compression. Built with QI_BUILD_TESTS.
 */
#include "recording.h"
#include "trace_read.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define EVENTS 8000000u
#define PER_FRAME 4096u

static double
cpu_seconds(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &ts);
    return (double)ts.tv_sec + (double)ts.tv_nsec / 1e9;
}

static void
die(const char *what)
{
    fprintf(stderr, "bench_recording: %s\n", what);
    exit(1);
}

/* Five records for each task; times and durations as noisy as a program's. */
static struct qi_record *
make_records(size_t n)
{
    struct qi_record *records = calloc(n, sizeof(*records));
    unsigned long long random = 88172645463325252ull;
    int64_t ts = 1000000000;

    for (size_t i = 0; records != NULL && i < n; i++) {
        uint64_t task = 1000000 + i / 5;
        random ^= random << 13;
        random ^= random >> 7;
        random ^= random << 17;
        ts += 200 + (int64_t)(random % 4000);
        struct qi_record *r = &records[i];
        *r = (struct qi_record){.ts = ts, .aux = 1, .a = task};
        switch (i % 5) {
        case 0:
            r->kind = QI_EV_TASK_CREATED;
            r->x = 40 + (uint32_t)(random % 7);
            r->b = QI_REF(QI_TASK, 17);
            break;
        case 1:
            r->kind = QI_EV_TASK_WAKE;
            r->b = QI_REF(QI_TASK, task - 3);
            break;
        case 2:
            r->kind = QI_EV_TASK_STEP;
            r->b = 1000 + random % 30000;
            break;
        case 3:
            r->kind = QI_EV_TASK_WAIT;
            r->x = QI_WAITS_FUTURE;
            r->b = QI_REF(QI_FUTURE, task);
            break;
        default:
            r->kind = QI_EV_TASK_ENDED;
            r->x = QI_TASK_DONE;
            break;
        }
    }
    return records;
}

static struct qi_record *
read_records(const char *path, size_t *ret_n)
{
    struct qi_record *records = NULL;
    struct qi_trace_body body;
    struct qi_trace t;

    *ret_n = 0;
    if (qi_trace_open(path, &t) < 0) {
        die("this is no recording");
    }
    for (size_t i = 0; i < t.count; i++) {
        struct qi_record *more =
            realloc(records, (*ret_n + t.chunks[i].n + 1) * sizeof(*records));
        if (more == NULL || qi_trace_read(&t, i, &body) < 0) {
            die("a chunk cannot be read");
        }
        records = more;
        if (qi_trace_records(&body, t.chunks[i].first, records + *ret_n, t.chunks[i].n)
            < 0) {
            die("records are damaged");
        }
        *ret_n += t.chunks[i].n;
        qi_trace_body_free(&body);
    }
    qi_trace_close(&t);
    return records;
}

/* Encoded before the clock runs, as they come from a socket; numbers are put in later. */
static size_t
encode(uint8_t *frame, size_t capacity, uint64_t first, const struct qi_record *records,
       size_t n)
{
    struct qi_encoder e;
    int64_t ts = records[0].ts;

    qi_encoder_init(&e, frame, capacity);
    qi_encode_begin(&e, QI_MSG_EVENTS, 0, 3);
    qi_encode_uint_field(&e, QI_KEY_EVENTS_first, first);
    qi_encode_int_field(&e, QI_KEY_EVENTS_ts, ts);
    qi_encode_key(&e, QI_KEY_EVENTS_records);
    qi_encode_list(&e, (uint32_t)n * QI_RECORD_VALUES);
    qi_encode_records(&e, records, n, &ts);
    if (qi_encode_end(&e) < 0) {
        die("a frame does not fit");
    }
    return e.size;
}

int
main(int argc, char **argv)
{
    static const struct qi_mirror_limits limits = QI_MIRROR_LIMITS;
    static uint8_t frame[PER_FRAME * 48];
    const char *directory = getenv("TMPDIR") != NULL ? getenv("TMPDIR") : "/tmp";
    struct qi_trace_info info = {.name = "bench", .writer = "daemon"};
    struct qi_recording_totals totals;
    struct qi_recording *r = NULL;
    struct qi_mirror *mirror = qi_mirror_new(&limits);
    char path[512];
    size_t n = 100000;

    (void)snprintf(path, sizeof(path), "%s/bench-%ld.qtrace", directory, (long)getpid());
    struct qi_record *records = argc > 1 ? read_records(argv[1], &n) : make_records(n);
    struct qi_recording_options options = {.path = path};
    if (records == NULL || mirror == NULL || n == 0
        || qi_recording_create(&options, &info, mirror, 0, 0, &r) < 0) {
        die("cannot begin");
    }
    double used = 0;
    uint64_t done = 0;
    uint64_t frame_bytes = 0;
    int64_t wall = 0;
    while (done < EVENTS) {
        size_t at = (size_t)(done % n);
        size_t some = n - at < PER_FRAME ? n - at : PER_FRAME;
        size_t size = encode(frame, sizeof(frame), done, records + at, some);
        double before = cpu_seconds();
        if (qi_recording_frame(r, frame + 4, size - 4, wall) < 0) {
            die("cannot write");
        }
        used += cpu_seconds() - before;
        frame_bytes += size;
        done += some;
        wall += 4000000; /* a frame every 4 ms: a million events a second */
    }
    double before = cpu_seconds();
    if (qi_recording_finish(r, wall, &totals) < 0) {
        die("cannot finish");
    }
    used += cpu_seconds() - before;
    printf("%-28s %10.2f million\n", "events/s (CPU)", (double)done / used / 1e6);
    printf("%-28s %10.2f\n", "bytes/event in frames", (double)frame_bytes / (double)done);
    printf("%-28s %10.2f\n", "bytes/event in the file",
           (double)totals.bytes / (double)done);
    if (totals.records != done || totals.lost != 0) {
        die("not everything is in the file");
    }
    qi_mirror_free(mirror);
    free(records);
    (void)unlink(path);
    return 0;
}
