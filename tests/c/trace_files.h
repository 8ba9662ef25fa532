/*
 * trace_files.h - what the tests of recordings share: files that are made, and read back.
 */
#ifndef QI_TESTS_TRACE_FILES_H
#define QI_TESTS_TRACE_FILES_H

#include "qi_test.h"

#include "client_internal.h"
#include "crc32c.h"
#include "rows.h"
#include "segment_read.h"
#include "trace_read.h"
#include "trace_segment.h"
#include "trace_write.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];
static char file_path[128];
static char other_path[128];

static const struct qi_trace_info info = {.pid = 42,
                                          .start = 7,
                                          .mono0 = 1000,
                                          .wall0 = -5,
                                          .level = 2,
                                          .name = "the program",
                                          .qtinter = "1.2.3",
                                          .host = "box",
                                          .writer = "application"};

/* --- making recordings --- */

/* Texts 1..9 are "text N"; 10 is a location (file 1, name 2), 11 a stack of it. */
static inline int
look_up(void *ctx, uint32_t id, struct qi_trace_entry *ret)
{
    static char text[16];

    (*(int *)ctx)++;
    memset(ret, 0, sizeof(*ret));
    if (id < 10) {
        (void)snprintf(text, sizeof(text), "text %u", (unsigned)id);
        ret->type = 't';
        ret->text = (const uint8_t *)text;
        ret->size = strlen(text);
    }
    else if (id == 10) {
        ret->type = 'c';
        ret->count = 3;
        ret->numbers[0] = 1;
        ret->numbers[1] = 2;
        ret->numbers[2] = 77; /* a line, and no id */
    }
    else if (id == 11) {
        ret->type = 'k';
        ret->count = 1;
        ret->numbers[0] = 10;
    }
    return id <= 11;
}

static inline struct qi_record
record_of(uint64_t number)
{
    struct qi_record r = {.ts = (int64_t)(number * 1000) - 5000,
                          .kind = QI_EV_TASK_STEP,
                          .aux = 1,
                          .x = (uint32_t)(number % 3),
                          .a = number % 50,
                          .b = number * 977 % 100000};

    if (number % 10 == 0) {
        r.kind = QI_EV_TASK_CREATED;
        r.x = 10;
        r.b = QI_REF(QI_CALLBACK, 3);
    }
    return r;
}

static inline void
put_task(struct qi_chunk *c, int64_t ts, uint64_t id, unsigned state)
{
    struct qi_slot slot = {.kind = QI_TASK, .state = (uint8_t)state, .loop = 1, .id = id};

    slot.row.task.name = QI_TASK_N | 5;
    slot.row.task.stack = 11;
    slot.row.task.created = -3;
    qi_chunk_put_slot(c, ts, &slot);
}

/* n records from number first on, after `lost` ones; two live tasks and one that ended, a
   note. */
static inline void
fill_chunk_after(struct qi_chunk *c, uint64_t lost, uint64_t first, size_t n)
{
    uint8_t map[16];
    struct qi_encoder e;
    int looked = 0;

    qi_chunk_begin(c, first - lost, 500);
    put_task(c, 500, 1, QI_TASK_WAITING);
    put_task(c, 500, 2, QI_TASK_READY);
    if (lost > 0) {
        qi_chunk_put_loss(c, lost, "ring", 1, 2);
    }
    for (uint64_t i = first; i < first + n; i++) {
        struct qi_record r = record_of(i);
        qi_chunk_put_records(c, &r, 1);
    }
    put_task(c, 900, 3, QI_TASK_FAILED);
    qi_encoder_init(&e, map, sizeof(map));
    qi_encode_map(&e, 1);
    qi_encode_uint_field(&e, QI_KEY_STALL_loop, 1);
    CHECK(qi_chunk_put_note(c, 700, QI_MSG_STALL, map, e.size));
    CHECK_INT(qi_chunk_end(c, look_up, &looked), 0);
    CHECK(looked > 0);
}

static inline void
fill_chunk(struct qi_chunk *c, uint64_t first, size_t n)
{
    fill_chunk_after(c, 0, first, n);
}

static inline struct qi_trace_writer *
create(const char *path, uint64_t max_bytes, int raw)
{
    struct qi_trace_options options = {.max_bytes = max_bytes, .raw = raw};
    struct qi_trace_writer *w = NULL;

    CHECK_INT(qi_trace_create(path, &info, &options, &w), QI_TRACE_OK);
    return w;
}

/* Chunks of n records each; the file is finished. */
static inline void
make_file(size_t chunks, size_t n, int raw)
{
    struct qi_trace_writer *w = create(file_path, 0, raw);
    struct qi_chunk c;

    CHECK_INT(qi_chunk_init(&c), 0);
    for (size_t i = 0; i < chunks; i++) {
        fill_chunk(&c, i * n, n);
        CHECK_INT(qi_trace_write_chunk(w, &c), QI_TRACE_OK);
    }
    CHECK_INT(qi_trace_finish(w), QI_TRACE_OK);
    qi_chunk_fini(&c);
}

static inline uint8_t *
slurp(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(1u << 22);

    CHECK(file != NULL && bytes != NULL);
    *ret_size = fread(bytes, 1, 1u << 22, file);
    CHECK_INT(fclose(file), 0);
    return bytes;
}

static inline int
has_problem(const struct qi_trace *t, const char *text)
{
    for (size_t i = 0; i < t->problem_count && i < QI_TRACE_PROBLEMS_MAX; i++) {
        if (strstr(t->problems[i], text) != NULL) {
            return 1;
        }
    }
    return 0;
}

/* --- reading --- */

struct sums {
    uint64_t records, rows, entries, notes, lost;
};

/* Everything in a chunk, through every function. */
static inline int
read_chunk(const struct qi_trace *t, size_t index, struct sums *sums)
{
    struct qi_trace_body body;
    struct qi_frame frame;
    int r = qi_trace_read(t, index, &body);

    if (r < 0) {
        return r;
    }
    uint32_t n = t->chunks[index].n;
    struct qi_record *records = malloc((n + 1) * sizeof(*records));
    CHECK(records != NULL);
    int64_t got = qi_trace_records(&body, t->chunks[index].first, records, n);
    if (got >= 0) {
        sums->records += (uint64_t)got;
    }
    struct qi_trace_cursor cursor = qi_trace_frames(&body);
    while ((r = qi_trace_next_frame(&cursor, &frame)) > 0) {
        struct qi_trace_loss loss;
        struct qi_trace_note note;
        sums->lost += qi_trace_loss(&frame, &loss) ? loss.count : 0;
        sums->notes += (uint64_t)qi_trace_note(&frame, &note);
        if (frame.message == QI_MSG_STATE) {
            sums->rows += frame.fields[QI_KEY_STATE_rows].size;
        }
        if (frame.message == QI_MSG_INTERN) {
            sums->entries += frame.fields[QI_KEY_INTERN_entries].size;
        }
    }
    free(records);
    qi_trace_body_free(&body);
    return got < 0 ? (int)got : r;
}

static inline void
check_records(const struct qi_trace *t, size_t index)
{
    struct qi_trace_body body;
    uint32_t n = t->chunks[index].n;
    struct qi_record *records = malloc((n + 1) * sizeof(*records));

    CHECK(records != NULL);
    CHECK_INT(qi_trace_read(t, index, &body), QI_TRACE_READ_OK);
    CHECK_INT(qi_trace_records(&body, t->chunks[index].first, records, n), n);
    for (uint32_t i = 0; i < n; i++) {
        struct qi_record wanted = record_of(t->chunks[index].first + i);
        CHECK(memcmp(&records[i], &wanted, sizeof(wanted)) == 0);
    }
    free(records);
    qi_trace_body_free(&body);
}

static inline void
make_directory(void)
{
    strcpy(directory, "/tmp/qti-trace-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    (void)snprintf(file_path, sizeof(file_path), "%s/a.qtrace", directory);
    (void)snprintf(other_path, sizeof(other_path), "%s/b", directory);
}

static inline void
remove_directory(void)
{
    CHECK_INT(unlink(file_path), 0);
    CHECK_INT(rmdir(directory), 0);
}

#endif
