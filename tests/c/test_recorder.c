/* test_recorder.c - the promises of qi_recorder.h. */
#include "qi_test.h"

#include "client_internal.h"
#include "qi_recorder.h"
#include "trace_read.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MS 60000

static char directory[64];
static char file_path[128];
static char part_path[160];

static qi_client *
open_client(int ring_count)
{
    struct qi_client_options options = {.name = "test",
                                        .directory = directory,
                                        .level = 2,
                                        .control = 1,
                                        .ring_count = ring_count};
    qi_client *c = NULL;

    CHECK_INT(qi_client_open(&options, &c), QI_OK);
    return c;
}

static uint32_t
start(qi_client *c, struct qi_recorder_options options)
{
    uint32_t handle = 0;

    options.path = file_path;
    CHECK_INT(qi_recorder_start(c, &options, &handle), QI_OK);
    return handle;
}

static struct qi_recorder_stats
stop(qi_client *c, uint32_t handle)
{
    struct qi_recorder_stats stats;

    CHECK_INT(qi_recorder_stop(c, handle, WAIT_MS, &stats), QI_OK);
    return stats;
}

static void
write_records(qi_client *c, uint64_t from, uint64_t n)
{
    for (uint64_t i = from; i < from + n; i++) {
        qi_record(c, (int64_t)i, QI_EV_TASK_STEP, 1, (uint32_t)(i % 3), i, i * 7 % 1000);
    }
}

/* Waits until the recorder says so. */
static struct qi_recorder_stats
wait_until(qi_client *c, uint32_t handle,
           int (*is_so)(const struct qi_recorder_stats *stats))
{
    struct qi_recorder_stats stats;

    for (int i = 0; i < WAIT_MS; i++) {
        CHECK_INT(qi_recorder_stats(c, handle, &stats), QI_OK);
        if (is_so(&stats)) {
            return stats;
        }
        usleep(1000); /* nobody tells: the numbers are for people */
    }
    CHECK(0 && "it did not come");
    return stats;
}

/* The records of a file are those that write_records() wrote: recorded + lost leave out
   no number from `first` on.  Returns the number after the last. */
struct contents {
    uint64_t first, end, records, lost, notes, rows;
    int is_complete;
    size_t chunks;
};

static struct contents
read_file(const char *path)
{
    struct contents c = {0};
    struct qi_trace t;

    CHECK_INT(qi_trace_open(path, &t), QI_TRACE_READ_OK);
    c.is_complete = qi_trace_is_complete(&t);
    c.chunks = t.count;
    for (size_t i = 0; i < t.count; i++) {
        struct qi_trace_body body;
        struct qi_frame frame;
        struct qi_record *records = malloc((t.chunks[i].n + 1) * sizeof(*records));
        CHECK(records != NULL);
        CHECK_INT(qi_trace_read(&t, i, &body), QI_TRACE_READ_OK);
        CHECK_INT(qi_trace_records(&body, t.chunks[i].first, records, t.chunks[i].n),
                  t.chunks[i].n);
        struct qi_trace_cursor cursor = qi_trace_frames(&body);
        while (qi_trace_next_frame(&cursor, &frame) > 0) {
            struct qi_trace_loss loss;
            struct qi_trace_note note;
            if (qi_trace_loss(&frame, &loss)) {
                if (c.chunks > 0 && i == 0 && c.records == 0 && c.lost == 0) {
                    c.first = c.end = loss.first;
                }
                CHECK_INT(loss.first, c.end);
                CHECK(strcmp(loss.cause, "ring") == 0);
                c.end += loss.count;
                c.lost += loss.count;
            }
            c.notes += (uint64_t)qi_trace_note(&frame, &note);
            if (frame.message == QI_MSG_STATE) {
                c.rows += frame.fields[QI_KEY_STATE_rows].size;
            }
        }
        if (i == 0 && c.lost == 0) {
            c.first = c.end = t.chunks[0].first;
        }
        CHECK_INT(t.chunks[i].first, c.end);
        for (uint32_t k = 0; k < t.chunks[i].n; k++) {
            if (records[k].kind == QI_EV_TASK_STEP) {
                CHECK_INT(records[k].a, c.end + k);
            }
        }
        c.end += t.chunks[i].n;
        c.records += t.chunks[i].n;
        free(records);
        qi_trace_body_free(&body);
    }
    qi_trace_close(&t);
    return c;
}

static int
file_exists(const char *path)
{
    struct stat st;

    return stat(path, &st) == 0;
}

/* --- cases --- */

static void
what_was_written_is_recorded(void)
{
    qi_client *c = open_client(0);

    write_records(c, 0, 1000);
    uint32_t handle = start(c, (struct qi_recorder_options){0});
    write_records(c, 1000, 50000);
    struct qi_recorder_stats stats = stop(c, handle);
    CHECK(strcmp(stats.state, "ended") == 0);
    CHECK_INT(stats.records, 50000);
    CHECK_INT(stats.lost, 0);
    struct contents got = read_file(file_path);
    CHECK(got.is_complete);
    CHECK_INT(got.first, 1000);
    CHECK_INT(got.records, 50000);
    /* The segment can be recorded again, and by two at once. */
    uint32_t one = start(c, (struct qi_recorder_options){0});
    CHECK(one != handle);
    struct qi_recorder_options options = {.path = part_path};
    uint32_t two = 0;
    CHECK_INT(qi_recorder_start(c, &options, &two), QI_OK);
    write_records(c, 51000, 10);
    (void)stop(c, one);
    (void)stop(c, two);
    CHECK_INT(read_file(file_path).records, 10);
    CHECK_INT(read_file(part_path).records, 10);
    CHECK_INT(unlink(part_path), 0);
    qi_client_close(c, 1000, 0);
}

static void *
write_fast(void *argument)
{
    write_records(argument, 0, 2000000);
    return NULL;
}

/* A ring that is far too small: what was overwritten is counted, to the last one. */
static void
recorded_and_lost_are_what_was_written(void)
{
    qi_client *c = open_client(1024);
    uint32_t handle = start(c, (struct qi_recorder_options){0});
    pthread_t thread;

    CHECK_INT(pthread_create(&thread, NULL, write_fast, c), 0);
    CHECK_INT(pthread_join(thread, NULL), 0);
    struct qi_recorder_stats stats = stop(c, handle);
    struct contents got = read_file(file_path);
    CHECK(got.is_complete);
    CHECK_INT(got.first, 0);
    CHECK_INT(got.end, 2000000);
    CHECK_INT(got.records + got.lost, 2000000);
    CHECK(got.lost > 0);
    CHECK_INT(stats.records, got.records);
    CHECK_INT(stats.lost, got.lost);
    qi_client_close(c, 1000, 0);
}

static void
rows_are_in_it_as_they_are_and_as_they_ended(void)
{
    qi_client *c = open_client(0);
    uint32_t old = qi_row_new(c, QI_TASK, 1, NULL);

    (void)qi_row_begin(c, old);
    qi_row_end(c, old);
    qi_row_retire(c, old, QI_TASK_DONE); /* over before: none of ours */
    uint32_t first = qi_row_new(c, QI_TASK, 1, NULL);
    (void)qi_row_begin(c, first);
    qi_row_end(c, first);
    uint32_t handle = start(c, (struct qi_recorder_options){0});
    uint32_t second = qi_row_new(c, QI_TASK, 1, NULL);
    (void)qi_row_begin(c, second);
    qi_row_end(c, second);
    write_records(c, 0, 1);
    qi_row_retire(c, first, QI_TASK_DONE);
    (void)stop(c, handle);
    /* The first chunk: the first, live, and ended; the last one: the second. */
    struct contents got = read_file(file_path);
    CHECK_INT(got.chunks, 2);
    CHECK_INT(got.rows, 3);
    qi_client_close(c, 1000, 0);
}

static int
has_a_chunk(const struct qi_recorder_stats *stats)
{
    return stats->chunks > 0;
}

static int
has_failed(const struct qi_recorder_stats *stats)
{
    return strcmp(stats->state, "failed") == 0;
}

/* The file of a process that is killed is what was in it by then. */
static void
a_killed_process_leaves_a_recording(void)
{
    int ends[2];
    char byte;
    int status = 0;

    CHECK_INT(pipe(ends), 0);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        qi_client *c = open_client(0);
        uint32_t handle = start(c, (struct qi_recorder_options){.chunk_ns = 1});
        write_records(c, 0, 100);
        (void)wait_until(c, handle, has_a_chunk);
        CHECK_INT(write(ends[1], "x", 1), 1);
        for (;;) {
            pause();
        }
    }
    CHECK_INT(read(ends[0], &byte, 1), 1);
    CHECK_INT(kill(child, SIGKILL), 0);
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(close(ends[0]), 0);
    CHECK_INT(close(ends[1]), 0);
    struct contents got = read_file(file_path);
    CHECK(!got.is_complete);
    CHECK_INT(got.records, 100);
}

static int
open_descriptors(void)
{
    DIR *d = opendir("/proc/self/fd");
    int n = 0;

    CHECK(d != NULL);
    while (readdir(d) != NULL) {
        n++;
    }
    CHECK_INT(closedir(d), 0);
    return n;
}

static void
a_forked_child_has_no_recorder(void)
{
    int before = open_descriptors();
    qi_client *c = open_client(0);
    uint32_t handle = start(c, (struct qi_recorder_options){0});
    struct qi_recorder_stats stats;
    int status = 0;

    write_records(c, 0, 100);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        CHECK_INT(open_descriptors(), before);
        CHECK_INT(qi_recorder_stats(c, handle, &stats), QI_E_INVALID);
        CHECK_INT(qi_recorder_stop(c, handle, 0, &stats), QI_E_INVALID);
        struct qi_recorder_options options = {.path = file_path};
        CHECK_INT(qi_recorder_start(c, &options, &handle), QI_E_FORKED);
        CHECK_INT(qi_client_save_trace(c, file_path, 0, NULL), QI_E_FORKED);
        qi_recorders_note(c, 0, QI_MSG_STALL, "\x80", 1);
        qi_client_close(c, 0, 0);
        _exit(0);
    }
    CHECK_INT(waitpid(child, &status, 0), child);
    CHECK_INT(status, 0);
    write_records(c, 100, 100);
    (void)stop(c, handle);
    struct contents got = read_file(file_path);
    CHECK(got.is_complete);
    CHECK_INT(got.records, 200);
    qi_client_close(c, 1000, 0);
    CHECK_INT(open_descriptors(), before);
}

static void
closing_the_client_ends_its_recordings(void)
{
    qi_client *c = open_client(0);

    (void)start(c, (struct qi_recorder_options){0});
    write_records(c, 0, 100);
    qi_client_close(c, WAIT_MS, 0);
    struct contents got = read_file(file_path);
    CHECK(got.is_complete);
    CHECK_INT(got.records, 100);
}

static void
a_full_disk_ends_the_recording_and_nothing_else(void)
{
    struct rlimit before;
    struct rlimit limit;
    qi_client *c = open_client(0);
    uint32_t handle = start(c, (struct qi_recorder_options){.chunk_ns = 1});

    write_records(c, 0, 100);
    (void)wait_until(c, handle, has_a_chunk);
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 4096;
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
    write_records(c, 100, 60000);
    struct qi_recorder_stats stats = wait_until(c, handle, has_failed);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &before), 0);
    CHECK(strcmp(stats.reason, strerror(EFBIG)) == 0);
    write_records(c, 60100, 10);
    stats = stop(c, handle);
    CHECK(strcmp(stats.state, "failed") == 0);
    struct contents got = read_file(file_path);
    CHECK(!got.is_complete);
    CHECK(got.records >= 100);
    qi_client_close(c, 1000, 0);
}

static int
has_captured(const struct qi_recorder_stats *stats)
{
    return stats->captures > 0;
}

/* Only what happens is kept, with what was before. */
static void
a_flight_keeps_what_a_trigger_says(void)
{
    static const struct {
        unsigned triggers;
        struct qi_record record;
        const char *name;
    } cases[] = {
        {QI_TRIGGER_STALL, {.kind = QI_EV_TASK_STEP, .a = 502, .b = 300000000}, "stall"},
        {QI_TRIGGER_STALL, {.kind = QI_EV_CALLBACK, .a = 300000000}, "stall"},
        {QI_TRIGGER_EXCEPTION,
         {.kind = QI_EV_TASK_ENDED, .x = QI_TASK_FAILED},
         "exception"},
        {QI_TRIGGER_EXCEPTION, {.kind = QI_EV_CALLBACK_FAILED}, "exception"},
        {QI_TRIGGER_LINT, {.kind = QI_EV_SENDER_DESTROYED}, "lint"},
        {QI_TRIGGER_LINT, {.kind = QI_EV_TASK_UNRETRIEVED}, "lint"},
        {QI_TRIGGER_LINT, {.kind = QI_EV_NESTED_ENTERED, .a = 5}, "lint"},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        const struct qi_record *r = &cases[i].record;
        qi_client *c = open_client(0);
        uint32_t handle = start(
            c, (struct qi_recorder_options){.trigger = {.kinds = cases[i].triggers,
                                                        .stall_ns = 200000000,
                                                        .pre_ns = INT64_C(10000000000)}});
        CHECK(!file_exists(file_path));
        CHECK(file_exists(part_path));
        write_records(c, 0, 500);
        qi_record(c, 500, QI_EV_TASK_ENDED, 1, QI_TASK_CANCELLED, 1, 0); /* is none */
        qi_record(c, 501, QI_EV_NESTED_ENTERED, 1, 1, 0, 0);             /* is none */
        qi_record(c, 502, r->kind, 1, r->x, r->a, r->b);
        struct qi_recorder_stats stats = wait_until(c, handle, has_captured);
        CHECK(strcmp(stats.last_trigger, cases[i].name) == 0);
        CHECK_INT(stats.last_capture, 502);
        struct contents got = read_file(file_path);
        CHECK(got.is_complete);
        CHECK_INT(got.records, 503);
        CHECK_INT(stop(c, handle).captures, 1);
        CHECK(!file_exists(part_path));
        CHECK_INT(unlink(file_path), 0);
        qi_client_close(c, 1000, 0);
    }
}

/* A loop that is busy for too long is seen while it is; the note says so. */
static void
a_stall_is_noticed_while_it_lasts(void)
{
    qi_client *c = open_client(0);
    uint32_t loop = qi_row_new(c, QI_LOOP, 1, NULL);
    struct timespec now;

    struct qi_slot *slot = qi_row_begin(c, loop);
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    QI_PUT(slot->state, QI_LOOP_BUSY);
    QI_PUT(slot->row.loop_.busy_since,
           (int64_t)now.tv_sec * 1000000000 + now.tv_nsec - 1000000000);
    QI_PUT(slot->row.loop_.current, QI_REF(QI_TASK, 1));
    qi_row_end(c, loop);
    uint32_t handle =
        start(c, (struct qi_recorder_options){
                     .trigger = {.kinds = QI_TRIGGER_STALL, .stall_ns = 200000000}});
    struct qi_recorder_stats stats = wait_until(c, handle, has_captured);
    CHECK(strcmp(stats.last_trigger, "stall") == 0);
    CHECK_INT(read_file(file_path).notes, 1);
    (void)stop(c, handle);
    qi_client_close(c, 1000, 0);
    CHECK_INT(unlink(file_path), 0);
}

static void
notes_go_into_every_recording(void)
{
    static const uint8_t big[QI_TRACE_NOTE_MAX + 1];
    qi_client *c = open_client(0);
    uint32_t handle = start(c, (struct qi_recorder_options){0});

    qi_recorders_note(c, 5, QI_MSG_LINT, "\x80", 1);
    qi_recorders_note(c, 6, QI_MSG_STALL, "\x80", 1);
    qi_recorders_note(c, 7, QI_MSG_STALL, big, sizeof(big));
    CHECK_INT(stop(c, handle).notes_lost, 1);
    CHECK_INT(read_file(file_path).notes, 2);
    qi_client_close(c, 1000, 0);
}

static void
what_cannot_be_is_refused(void)
{
    qi_client *c = open_client(0);
    struct qi_recorder_options options = {.path = ""};
    struct qi_recorder_stats stats;
    uint32_t handles[QI_RECORDERS_MAX];
    struct stat before;
    struct stat after;
    uint32_t handle = 0;
    char path[160];

    options.path = file_path;
    CHECK_INT(qi_recorder_start(c, &options, &handle), QI_OK);
    (void)stop(c, handle);
    options.path = "";
    CHECK_INT(qi_recorder_start(c, &options, &handle), QI_E_INVALID);
    options.path = "/nowhere/x.qtrace";
    CHECK_INT(qi_recorder_start(c, &options, &handle), QI_E_OS);
    options.path = directory;
    CHECK_INT(qi_recorder_start(c, &options, &handle), QI_E_OS);
    CHECK_INT(qi_recorder_stop(c, 0, 0, &stats), QI_E_INVALID);
    CHECK_INT(qi_recorder_stop(c, 12345, 0, &stats), QI_E_INVALID);
    for (int i = 0; i < QI_RECORDERS_MAX; i++) {
        (void)snprintf(path, sizeof(path), "%s/%d.qtrace", directory, i);
        options.path = path;
        CHECK_INT(qi_recorder_start(c, &options, &handles[i]), QI_OK);
    }
    /* One that is refused has not replaced what was there. */
    CHECK_INT(stat(file_path, &before), 0);
    options.path = file_path;
    CHECK_INT(qi_recorder_start(c, &options, &handle), QI_E_INVALID);
    CHECK_INT(stat(file_path, &after), 0);
    CHECK_INT(after.st_ino, before.st_ino);
    for (int i = 0; i < QI_RECORDERS_MAX; i++) {
        (void)stop(c, handles[i]);
        CHECK_INT(qi_recorder_stats(c, handles[i], &stats), QI_E_INVALID);
        (void)snprintf(path, sizeof(path), "%s/%d.qtrace", directory, i);
        CHECK_INT(unlink(path), 0);
    }
    CHECK_INT(qi_recorder_start(c, &options, &handle), QI_OK);
    CHECK_INT(qi_recorder_start(c, &options, &handles[1]), QI_E_EXISTS);
    CHECK_INT(stat(file_path, &before), 0);
    (void)stop(c, handle);
    CHECK_INT(stat(file_path, &after), 0);
    CHECK_INT(after.st_ino, before.st_ino);
    CHECK_INT(qi_client_save_trace(c, directory, 0, NULL), QI_E_OS);
    qi_client_close(c, 1000, 0);
}

static void
triggers_are_told_by_a_text(void)
{
    static const struct {
        const char *text;
        unsigned kinds;
        int64_t stall_ns;
    } good[] = {
        {"stall", 1, 100000000},
        {"stall>200ms", 1, 200000000},
        {" stall > 1.5 s ", 1, 1500000000},
        {"stall>3", 1, 3000000},
        {"stall>70us", 1, 70000},
        {"exception", 2, 100000000},
        {"lint", 4, 100000000},
        {"stall>1s|exception | lint", 7, 1000000000},
    };
    static const char *const bad[] = {
        "",          "stall>",         "exception>3", "x",       "stall>3m",
        "stall>.",   "stallx",         "lint|",       "stall>0", "|lint",
        "stall>1e3", "stall>9999999s", "stall 3",     "stall>-1"};
    struct qi_trigger t = {0};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK_INT(qi_trigger_parse(&t, good[i].text), 0);
        CHECK_INT(t.kinds, good[i].kinds);
        CHECK_INT(t.stall_ns, good[i].stall_ns);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_INT(qi_trigger_parse(&t, bad[i]), -1);
    }
    /* Timers that are late tell that something else had the thread. */
    const int64_t ms = 1000000;
    struct qi_record records[] = {
        {.ts = 100 * ms, .kind = QI_EV_LOOP_STARTED, .aux = 3},
        {.ts = 400 * ms,
         .kind = QI_EV_TIMER_FIRED,
         .aux = 3,
         .b = 350 * ms}, /* of before */
        {.ts = 800 * ms, .kind = QI_EV_TIMER_FIRED, .aux = 3, .b = 150 * ms},
        {.ts = 1500 * ms, .kind = QI_EV_TIMER_FIRED, .aux = 3, .b = 250 * ms},
        {.ts = 1500 * ms, .kind = QI_EV_TIMER_FIRED, .aux = 3, .b = 240 * ms},
        {.ts = 2000 * ms, .kind = QI_EV_TIMER_FIRED, .aux = 3, .b = UINT64_MAX},
    };
    uint8_t map[128];
    struct qi_encoder e;
    CHECK_INT(qi_trigger_parse(&t, "stall>200ms"), 0);
    t.free_at = t.kept_since = t.due = 0;
    qi_trigger_look(&t, records, 3, 3000 * ms);
    CHECK_INT(t.due, 0);
    qi_encoder_init(&e, map, sizeof(map));
    CHECK(!qi_trigger_kept(&t, &e));
    t.post_ns = 7;
    qi_trigger_look(&t, records + 3, 3, 3000 * ms);
    CHECK_INT(t.due, 3000 * ms + 7);
    CHECK_INT(t.ts, 1250 * ms);
    CHECK(qi_trigger_kept(&t, &e));
    CHECK(e.size > 10 && map[0] == 0x85);
    CHECK(!qi_trigger_kept(&t, &e));
    /* Not if that was a step, of which there is a record. */
    records[3] = (struct qi_record){
        .ts = 1400 * ms, .kind = QI_EV_TASK_STEP, .aux = 3, .b = 250 * ms};
    CHECK_INT(qi_trigger_parse(&t, "stall>200ms"), 0);
    t.free_at = t.due = 0;
    qi_trigger_look(&t, records + 3, 2, 3000 * ms);
    CHECK_INT(t.ts, 1400 * ms);
    CHECK(!qi_trigger_kept(&t, &e));
    /* The first of those before a capture is the one that it is about. */
    t = (struct qi_trigger){.kinds = QI_TRIGGER_LINT, .post_ns = 5};
    qi_trigger_set(&t, QI_TRIGGER_STALL, "stall", 1, 10);
    CHECK_INT(t.due, 0);
    qi_trigger_set(&t, QI_TRIGGER_LINT | QI_TRIGGER_STALL, "lint", 2, 10);
    qi_trigger_set(&t, QI_TRIGGER_LINT, "other", 3, 11);
    CHECK_INT(t.due, 15);
    CHECK_INT(t.ts, 2);
    CHECK(strcmp(t.name, "lint") == 0);
}

static void
chunks_are_short_where_little_is_kept(void)
{
    const int64_t ms = 1000000;
    const int64_t usual = QI_TRACE_CHUNK_NS;
    struct qi_trigger never = {0};
    struct qi_trigger flight = {
        .kinds = QI_TRIGGER_STALL, .pre_ns = 4000 * ms, .post_ns = 500 * ms};
    const struct {
        const struct qi_trigger *trigger;
        int64_t age, chunk, new_age; /* ns */
    } cases[] = {
        {&never, 0, usual, 0},
        {&never, 60000 * ms, usual, 60000 * ms},
        {&never, 2000 * ms, 500 * ms, 2000 * ms},
        {&never, 1, 250 * ms, 1},
        {&flight, 0, 1000 * ms, 6500 * ms},
        {&flight, 60000 * ms, 1000 * ms, 60000 * ms},
    };

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        int64_t chunk = usual;
        int64_t age = cases[i].age;
        qi_trigger_shape(cases[i].trigger, &chunk, &age);
        CHECK_INT(chunk, cases[i].chunk);
        CHECK_INT(age, cases[i].new_age);
    }
}

int
main(void)
{
    strcpy(directory, "/tmp/qti-recorder-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    (void)snprintf(file_path, sizeof(file_path), "%s/a.qtrace", directory);
    (void)snprintf(part_path, sizeof(part_path), "%s" QI_FLIGHT_SUFFIX, file_path);
    RUN(what_was_written_is_recorded);
    RUN(recorded_and_lost_are_what_was_written);
    RUN(rows_are_in_it_as_they_are_and_as_they_ended);
    RUN(a_killed_process_leaves_a_recording);
    RUN(a_forked_child_has_no_recorder);
    RUN(closing_the_client_ends_its_recordings);
    RUN(a_full_disk_ends_the_recording_and_nothing_else);
    CHECK_INT(unlink(file_path), 0);
    RUN(a_flight_keeps_what_a_trigger_says);
    RUN(a_stall_is_noticed_while_it_lasts);
    RUN(notes_go_into_every_recording);
    RUN(what_cannot_be_is_refused);
    RUN(triggers_are_told_by_a_text);
    RUN(chunks_are_short_where_little_is_kept);
    (void)unlink(file_path);
    /* The killed child left its segment. */
    char command[160];
    (void)snprintf(command, sizeof(command), "rm -r %s", directory);
    CHECK_INT(system(command), 0);
    return 0;
}
