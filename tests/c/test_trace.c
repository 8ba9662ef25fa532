/* test_trace.c - the promises of trace_chunk.h, trace_write.h, trace_read.h. */
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
static int
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

static struct qi_record
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

static void
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
static void
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

static void
fill_chunk(struct qi_chunk *c, uint64_t first, size_t n)
{
    fill_chunk_after(c, 0, first, n);
}

static struct qi_trace_writer *
create(const char *path, uint64_t max_bytes, int raw)
{
    struct qi_trace_options options = {.max_bytes = max_bytes, .raw = raw};
    struct qi_trace_writer *w = NULL;

    CHECK_INT(qi_trace_create(path, &info, &options, &w), QI_TRACE_OK);
    return w;
}

/* Chunks of n records each; the file is finished. */
static void
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

static uint8_t *
slurp(const char *path, size_t *ret_size)
{
    FILE *file = fopen(path, "rb");
    uint8_t *bytes = malloc(1u << 22);

    CHECK(file != NULL && bytes != NULL);
    *ret_size = fread(bytes, 1, 1u << 22, file);
    CHECK_INT(fclose(file), 0);
    return bytes;
}

static int
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
static int
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

static void
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

/* --- cases --- */

static void
the_checksum_is_crc32c(void)
{
    uint8_t bytes[64];

    CHECK_INT(qi_crc32c(0, "123456789", 9), 0xe3069283u);
    memset(bytes, 0, 32);
    CHECK_INT(qi_crc32c(0, bytes, 32), 0x8a9136aau); /* RFC 3720, B.4 */
    memset(bytes, 0xff, 32);
    CHECK_INT(qi_crc32c(0, bytes, 32), 0x62a8ab43u);
    CHECK_INT(qi_crc32c(qi_crc32c(0, "12345", 5), "6789", 4), 0xe3069283u);
}

static void
what_was_written_is_read(void)
{
    for (int raw = 0; raw < 2; raw++) {
        struct qi_trace t;
        struct sums sums = {0};
        uint64_t pid = 0;

        make_file(3, 2000, raw);
        CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
        CHECK(qi_trace_is_complete(&t));
        CHECK_INT(t.count, 3);
        CHECK(qi_value_uint(&t.fields[QI_TRACE_KEY_pid], &pid) && pid == 42);
        CHECK_INT(t.fields[QI_TRACE_KEY_name].size, strlen("the program"));
        for (size_t i = 0; i < 3; i++) {
            CHECK_INT(t.chunks[i].seq, i);
            CHECK_INT(t.chunks[i].first, i * 2000);
            CHECK_INT(t.chunks[i].n, 2000);
            CHECK_INT(t.chunks[i].t1 >= record_of(i * 2000 + 1999).ts, 1);
            check_records(&t, i);
            CHECK_INT(read_chunk(&t, i, &sums), 0);
        }
        CHECK_INT(sums.records, 6000);
        CHECK_INT(sums.rows, 9);
        CHECK_INT(sums.notes, 3);
        qi_trace_close(&t);
    }
}

/* Of each chunk: the location 10 and the callback 3 of records, the stack 11 of rows, and
   what these refer to: texts 1 and 2. */
static void
a_chunk_has_the_texts_it_uses_and_no_others(void)
{
    static const uint32_t wanted[] = {1, 2, 3, 10, 11};
    struct qi_wire_entry entry;
    struct qi_trace_body body;
    struct qi_value value;
    struct qi_frame frame;
    struct qi_trace t;
    size_t n = 0;

    make_file(2, 20, 1);
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK_INT(qi_trace_read(&t, 1, &body), QI_TRACE_READ_OK);
    struct qi_trace_cursor cursor = qi_trace_frames(&body);
    while (qi_trace_next_frame(&cursor, &frame) > 0) {
        struct qi_cursor entries = qi_cursor_in(&frame.fields[QI_KEY_INTERN_entries]);
        while (frame.message == QI_MSG_INTERN && qi_cursor_next(&entries, &value)) {
            CHECK(qi_entry_decode(&value, &entry));
            CHECK(n < 5);
            CHECK_INT(entry.id, wanted[n]);
            n++;
        }
    }
    CHECK_INT(n, 5);
    qi_trace_body_free(&body);
    qi_trace_close(&t);
}

/* Every kind of record.def has its ids found: a field that is named code, and so on. */
static void
ids_are_found_in_every_kind(void)
{
    CHECK_INT(qi_record_ids(QI_EV_TASK_CREATED).x, 1);
    CHECK_INT(qi_record_ids(QI_EV_TASK_CREATED).b, 2);
    CHECK_INT(qi_record_ids(QI_EV_TASK_ENDED).b, 1);
    CHECK_INT(qi_record_ids(QI_EV_WATCH_ADDED).b, 1);
    CHECK_INT(qi_record_ids(QI_EV_MODAL_ENTERED).a, 1);
    CHECK_INT(qi_record_ids(QI_EV_MARK).x, 1);
    CHECK_INT(qi_record_ids(QI_EV_TURN).x, 0);
    CHECK_INT(qi_record_ids(60000).x, 0);
}

static void
losses_come_before_records(void)
{
    struct qi_trace_writer *w = create(file_path, 0, 0);
    struct qi_record r = record_of(15);
    struct sums sums = {0};
    struct qi_trace t;
    struct qi_chunk c;
    int looked = 0;

    CHECK_INT(qi_chunk_init(&c), 0);
    qi_chunk_begin(&c, 10, 0);
    qi_chunk_put_loss(&c, 5, "ring", 1, 2);
    qi_chunk_put_records(&c, &r, 1);
    CHECK_INT(qi_chunk_end(&c, look_up, &looked), 0);
    CHECK_INT(qi_trace_write_chunk(w, &c), QI_TRACE_OK);
    /* One that would leave a hole among the records is refused. */
    qi_chunk_begin(&c, 16, 0);
    qi_chunk_put_records(&c, &r, 1);
    qi_chunk_put_loss(&c, 5, "ring", 1, 2);
    CHECK_INT(qi_chunk_end(&c, look_up, &looked), -1);
    CHECK_INT(qi_trace_finish(w), QI_TRACE_OK);
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&t));
    CHECK_INT(t.count, 1);
    CHECK_INT(t.chunks[0].first, 15);
    CHECK_INT(read_chunk(&t, 0, &sums), 0);
    CHECK_INT(sums.lost, 5);
    CHECK_INT(sums.records, 1);
    qi_trace_close(&t);
    qi_chunk_fini(&c);
}

static void
a_file_cut_at_any_byte_is_read_up_to_the_last_whole_chunk(void)
{
    struct qi_trace whole;
    struct qi_trace t;
    size_t size = 0;

    make_file(4, 50, 0);
    uint8_t *bytes = slurp(file_path, &size);
    CHECK_INT(qi_trace_open_memory(bytes, size, &whole), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&whole));
    for (size_t cut = 0; cut < size; cut++) {
        uint8_t *copy = malloc(cut > 0 ? cut : 1); /* so that ASan sees a byte too many */
        size_t chunks = 0;
        CHECK(copy != NULL);
        memcpy(copy, bytes, cut);
        int r = qi_trace_open_memory(copy, cut, &t);
        if (cut < whole.chunks[0].offset) {
            CHECK(r == QI_TRACE_READ_E_NOT_OURS || r == QI_TRACE_READ_E_HEAD);
        }
        else {
            while (chunks < 4
                   && whole.chunks[chunks].offset + whole.chunks[chunks].size <= cut) {
                chunks++;
            }
            CHECK_INT(r, QI_TRACE_READ_OK);
            CHECK_INT(t.count, chunks);
            CHECK(!qi_trace_is_complete(&t));
            CHECK(t.problem_count > 0);
            if (chunks > 0) {
                check_records(&t, chunks - 1);
            }
        }
        qi_trace_close(&t);
        free(copy);
    }
    qi_trace_close(&whole);
    free(bytes);
}

/* Whatever byte is changed: it is noticed, and every other chunk is as it was. */
static void
a_changed_byte_is_always_noticed(void)
{
    unsigned long long random = 88172645463325252ull;
    struct qi_trace t;
    size_t size = 0;

    make_file(3, 60, 0);
    uint8_t *bytes = slurp(file_path, &size);
    for (size_t at = 0; at < size; at++) {
        uint8_t change = (uint8_t)(qi_test_random(&random) % 255 + 1);
        size_t good = 0;
        bytes[at] ^= change;
        int r = qi_trace_open_memory(bytes, size, &t);
        if (r == QI_TRACE_READ_OK) {
            CHECK(!qi_trace_is_complete(&t));
            for (size_t i = 0; i < t.count; i++) {
                struct sums sums = {0};
                if (read_chunk(&t, i, &sums) == 0) {
                    check_records(&t, i);
                    good++;
                }
            }
            CHECK(good >= 2);
        }
        qi_trace_close(&t);
        bytes[at] ^= change;
    }
    free(bytes);
}

/* Several bytes, also with checksums that are right: nothing but a bounded failure. */
static void
damage_with_good_checksums_never_crashes(void)
{
    unsigned long long random = 4101842887655102017ull;
    struct qi_trace t;
    size_t size = 0;

    make_file(2, 60, 1);
    uint8_t *bytes = slurp(file_path, &size);
    uint8_t *copy = malloc(size);
    CHECK(copy != NULL);
    CHECK_INT(qi_trace_open_memory(bytes, size, &t), QI_TRACE_READ_OK);
    struct qi_trace_place place = t.chunks[1];
    qi_trace_close(&t);
    for (int i = 0; i < 3000; i++) {
        struct sums sums = {0};
        memcpy(copy, bytes, size);
        for (int k = 0; k < 3; k++) {
            uint64_t at = 8 + qi_test_random(&random) % (place.size - 8);
            copy[place.offset + at] = (uint8_t)qi_test_random(&random);
        }
        uint8_t *head = copy + place.offset;
        uint32_t crc = qi_crc32c(0, head + place.head, place.stored);
        memcpy(head + 20, &crc, 4);
        crc = qi_crc32c(0, head + 8, place.head - 8u);
        memcpy(head + 4, &crc, 4);
        if (qi_trace_open_memory(copy, size, &t) == QI_TRACE_READ_OK) {
            for (size_t c = 0; c < t.count; c++) {
                (void)read_chunk(&t, c, &sums);
            }
        }
        qi_trace_close(&t);
    }
    free(copy);
    free(bytes);
}

/* Changes a chunk's head and makes its checksum right. */
static void
patch_head(uint8_t *bytes, const struct qi_trace_place *place, size_t at, uint64_t value,
           size_t size)
{
    uint8_t *head = bytes + place->offset;

    for (size_t i = 0; i < size; i++) {
        head[at + i] = (uint8_t)(value >> (8 * i));
    }
    uint32_t crc = qi_crc32c(0, head + 8, place->head - 8u);
    memcpy(head + 4, &crc, 4);
}

static void
sizes_that_cannot_be_are_refused(void)
{
    static const struct {
        size_t at;
        uint64_t value;
        size_t size;
        const char *problem;
    } cases[] = {
        {16, QI_TRACE_BODY_MAX + 1, 4, "chunk 1 has sizes that cannot be"},
        {16, 3, 4, "chunk 1 has sizes that cannot be"}, /* raw, and not what is stored */
        {56, QI_TRACE_RECORDS_MAX + 1, 4, "chunk 1 has sizes that cannot be"},
        {12, UINT32_MAX, 4, "the end is torn: chunk 1 is cut short"},
        {11, 9, 1, "chunk 1: compressed in a way"},
        {24, 5, 8, "chunks 1 to 4 are missing"},
        {24, 0, 8, "chunk 0 comes after chunk 0"},
    };
    struct qi_trace t;
    size_t size = 0;

    make_file(2, 10, 1);
    uint8_t *bytes = slurp(file_path, &size);
    CHECK_INT(qi_trace_open_memory(bytes, size, &t), QI_TRACE_READ_OK);
    struct qi_trace_place place = t.chunks[1];
    qi_trace_close(&t);
    uint8_t *copy = malloc(size);
    CHECK(copy != NULL);
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        memcpy(copy, bytes, size);
        patch_head(copy, &place, cases[i].at, cases[i].value, cases[i].size);
        CHECK_INT(qi_trace_open_memory(copy, size, &t), QI_TRACE_READ_OK);
        CHECK(!qi_trace_is_complete(&t));
        CHECK(has_problem(&t, cases[i].problem));
        struct sums sums = {0};
        CHECK_INT(read_chunk(&t, 0, &sums), 0);
        qi_trace_close(&t);
    }
    /* A number of records that is not how many there are. */
    memcpy(copy, bytes, size);
    patch_head(copy, &place, 56, 9, 4);
    CHECK_INT(qi_trace_open_memory(copy, size, &t), QI_TRACE_READ_OK);
    struct sums sums = {0};
    CHECK_INT(read_chunk(&t, 1, &sums), QI_TRACE_READ_E_DAMAGED);
    qi_trace_close(&t);
    free(copy);
    free(bytes);
}

static void
missing_chunks_are_named(void)
{
    struct qi_trace t;
    size_t size = 0;

    make_file(5, 10, 0);
    uint8_t *bytes = slurp(file_path, &size);
    CHECK_INT(qi_trace_open_memory(bytes, size, &t), QI_TRACE_READ_OK);
    struct qi_trace_place first = t.chunks[0];
    struct qi_trace_place second = t.chunks[2];
    qi_trace_close(&t);
    /* Chunks 0 and 2 go; the footer knows better. */
    memmove(bytes + second.offset, bytes + second.offset + second.size,
            size - second.offset - second.size);
    size -= second.size;
    memmove(bytes + first.offset, bytes + first.offset + first.size,
            size - first.offset - first.size);
    size -= first.size;
    CHECK_INT(qi_trace_open_memory(bytes, size, &t), QI_TRACE_READ_OK);
    CHECK_INT(t.count, 3);
    CHECK(has_problem(&t, "chunk 2 is missing"));
    CHECK(has_problem(&t, "chunks 0 to 0 are missing"));
    CHECK(has_problem(&t, "3 chunks were found, and the footer has 5"));
    check_records(&t, 2);
    qi_trace_close(&t);
    free(bytes);
}

/* Later minor versions: a longer head of blocks, other blocks, frames and keys. */
static void
what_later_versions_add_is_passed_over(void)
{
    /* [250, 0, {0: 1, 255: 2}] */
    static const uint8_t frame[] = {10, 0,    0, 0, 0x93, 0xcc, 250,
                                    0,  0x82, 0, 1, 0xcc, 0xff, 2};
    struct sums sums = {0};
    struct qi_trace t;
    size_t size = 0;
    size_t to = 0;

    make_file(2, 10, 1);
    uint8_t *bytes = slurp(file_path, &size);
    uint8_t *copy = calloc(1, size + 4096);
    CHECK(copy != NULL);
    CHECK_INT(qi_trace_open_memory(bytes, size, &t), QI_TRACE_READ_OK);
    struct qi_trace_place p = t.chunks[1];
    qi_trace_close(&t);
    memcpy(copy, bytes, p.offset);
    to = p.offset;
    /* A block of an unknown kind, 80 bytes of head, 5 of contents. */
    uint8_t *head = copy + to;
    memcpy(head, bytes + p.offset, 64);
    struct qi_trace_place strange = {.offset = to, .head = 80};
    head[8] = 80;
    head[10] = 99;
    patch_head(copy, &strange, 12, 5, 4);
    to += 80 + 5;
    /* The chunk with a head of 72 bytes and a frame that nobody knows at its end. */
    const size_t unknown = sizeof(frame);
    struct qi_trace_place longer = {.offset = to, .head = 72};
    memcpy(copy + to, bytes + p.offset, 64);
    memcpy(copy + to + 72, bytes + p.offset + 64, p.stored);
    memcpy(copy + to + 72 + p.stored, frame, unknown);
    copy[to + 8] = 72;
    patch_head(copy, &longer, 12, p.stored + unknown, 4);
    patch_head(copy, &longer, 16, p.stored + unknown, 4);
    patch_head(copy, &longer, 20, qi_crc32c(0, copy + to + 72, p.stored + unknown), 4);
    to += 72 + p.stored + unknown;
    CHECK_INT(qi_trace_open_memory(copy, to, &t), QI_TRACE_READ_OK);
    CHECK_INT(t.problem_count, 1); /* there is no footer */
    CHECK_INT(t.count, 2);
    CHECK_INT(read_chunk(&t, 1, &sums), 0);
    CHECK_INT(sums.records, 10);
    qi_trace_close(&t);
    free(copy);
    free(bytes);
}

static void
another_major_is_refused(void)
{
    struct qi_trace t;
    size_t size = 0;

    make_file(1, 10, 1);
    uint8_t *bytes = slurp(file_path, &size);
    /* {0: 1, 1: 0, ...}: the value of key 0 is the third byte of the map. */
    CHECK_INT(bytes[16], 0x8d);
    CHECK_INT(bytes[18], QI_TRACE_MAJOR);
    bytes[18] = 2;
    uint32_t map = (uint32_t)bytes[8] | (uint32_t)bytes[9] << 8;
    uint32_t crc = qi_crc32c(0, bytes + 16, map);
    memcpy(bytes + 12, &crc, 4);
    CHECK_INT(qi_trace_open_memory(bytes, size, &t), QI_TRACE_READ_E_MAJOR);
    qi_trace_close(&t);
    /* A later minor is not. */
    bytes[18] = 1;
    bytes[20] = 9;
    crc = qi_crc32c(0, bytes + 16, map);
    memcpy(bytes + 12, &crc, 4);
    CHECK_INT(qi_trace_open_memory(bytes, size, &t), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&t));
    qi_trace_close(&t);
    free(bytes);
    for (int status = QI_TRACE_READ_E_DAMAGED; status <= 0; status++) {
        CHECK(strlen(qi_trace_read_text(status)) > 0);
    }
    for (int status = QI_TRACE_E_FULL; status <= 0; status++) {
        CHECK(strlen(qi_trace_text(status)) > 0);
    }
}

static void
a_ring_stays_below_its_limit(void)
{
    const uint64_t limit = 40000;
    struct qi_trace_writer *w = create(file_path, limit, 1);
    struct qi_trace_totals totals;
    struct qi_chunk c;
    struct qi_trace t;
    struct stat st;

    CHECK_INT(qi_chunk_init(&c), 0);
    for (uint64_t i = 0; i < 100; i++) {
        fill_chunk(&c, i * 100, 100);
        CHECK_INT(qi_trace_write_chunk(w, &c), QI_TRACE_OK);
        CHECK_INT(stat(file_path, &st), 0);
        CHECK((uint64_t)st.st_size <= limit);
        /* At any moment it can be read, and its last chunk is the last one. */
        CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
        CHECK_INT(t.problem_count, 1);
        CHECK(has_problem(&t, "there is no footer"));
        CHECK_INT(t.chunks[t.count - 1].seq, i);
        check_records(&t, t.count - 1);
        qi_trace_close(&t);
    }
    qi_trace_totals(w, &totals);
    CHECK_INT(totals.chunks, 100);
    CHECK_INT(totals.records, 10000);
    CHECK(totals.bytes > limit / 4);
    CHECK_INT(qi_trace_finish(w), QI_TRACE_OK);
    CHECK_INT(stat(file_path, &st), 0);
    CHECK((uint64_t)st.st_size <= limit);
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&t)); /* what a ring drops is not missing */
    CHECK_INT(t.dropped, totals.chunks_dropped);
    CHECK_INT(t.count, 100 - totals.chunks_dropped);
    for (size_t i = 0; i < t.count; i++) {
        check_records(&t, i);
    }
    qi_trace_close(&t);
    qi_chunk_fini(&c);
}

static void
what_is_too_old_goes(void)
{
    struct qi_trace_options options = {.max_age_ns = 1000000}; /* 1000 records */
    struct qi_trace_writer *w = NULL;
    struct qi_chunk c;
    struct qi_trace t;

    CHECK_INT(qi_trace_create(file_path, &info, &options, &w), QI_TRACE_OK);
    CHECK_INT(qi_chunk_init(&c), 0);
    for (uint64_t i = 0; i < 50; i++) {
        fill_chunk(&c, 1000 + i * 100, 100);
        CHECK_INT(qi_trace_write_chunk(w, &c), QI_TRACE_OK);
        CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
        CHECK(t.count <= 22);
        qi_trace_close(&t);
    }
    CHECK_INT(qi_trace_finish(w), QI_TRACE_OK);
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&t));
    CHECK_INT(t.count, 11);
    qi_trace_close(&t);
    qi_chunk_fini(&c);
}

static void
a_copy_has_what_is_not_older(void)
{
    struct qi_trace_writer *w = create(file_path, 0, 0);
    struct qi_chunk c;
    struct qi_trace t;

    CHECK_INT(qi_chunk_init(&c), 0);
    for (uint64_t i = 0; i < 10; i++) {
        fill_chunk(&c, 1000 + i * 100, 100);
        CHECK_INT(qi_trace_write_chunk(w, &c), QI_TRACE_OK);
    }
    CHECK_INT(qi_trace_write_copy(w, other_path, record_of(1699).ts), QI_TRACE_OK);
    CHECK_INT(qi_trace_open(other_path, &t), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&t));
    CHECK_INT(t.count, 4);
    CHECK_INT(t.chunks[0].first, 1600);
    check_records(&t, 0);
    qi_trace_close(&t);
    /* The file itself goes on. */
    fill_chunk(&c, 2000, 100);
    CHECK_INT(qi_trace_write_chunk(w, &c), QI_TRACE_OK);
    CHECK_INT(qi_trace_finish(w), QI_TRACE_OK);
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&t));
    CHECK_INT(t.count, 11);
    qi_trace_close(&t);
    CHECK_INT(unlink(other_path), 0);
    qi_chunk_fini(&c);
}

static void
foreign_files_are_left_alone(void)
{
    struct qi_trace_options options = {0};
    struct qi_trace_writer *w = NULL;
    char text[8] = "";

    (void)unlink(file_path);
    int fd = open(file_path, O_WRONLY | O_CREAT, 0600);
    CHECK(fd >= 0);
    CHECK_INT(write(fd, "letters", 7), 7);
    CHECK_INT(close(fd), 0);
    CHECK_INT(qi_trace_create(file_path, &info, &options, &w), QI_TRACE_E_EXISTS);
    fd = open(file_path, O_RDONLY);
    CHECK(fd >= 0 && read(fd, text, 7) == 7 && strcmp(text, "letters") == 0);
    CHECK_INT(close(fd), 0);
    CHECK_INT(qi_trace_create(directory, &info, &options, &w), QI_TRACE_E_EXISTS);
    CHECK_INT(unlink(file_path), 0);
    make_file(1, 10, 1);
    CHECK_INT(symlink(file_path, other_path), 0);
    CHECK_INT(qi_trace_create(other_path, &info, &options, &w), QI_TRACE_E_EXISTS);
    CHECK_INT(unlink(other_path), 0);
    CHECK_INT(qi_trace_create("", &info, &options, &w), QI_TRACE_E_PATH);
    CHECK_INT(qi_trace_create("/nowhere/x.qtrace", &info, &options, &w), QI_TRACE_E_OS);
    CHECK_INT(errno, ENOENT);
    /* A recording of ours is replaced. */
    make_file(1, 10, 1);
    struct stat st;
    CHECK_INT(stat(file_path, &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);
}

static void
a_full_disk_leaves_whole_chunks(void)
{
    struct rlimit before;
    struct rlimit limit;
    struct qi_trace t;
    struct qi_chunk c;
    uint64_t n = 0;

    struct qi_trace_writer *w = create(file_path, 0, 1);
    CHECK_INT(qi_chunk_init(&c), 0);
    CHECK_INT(getrlimit(RLIMIT_FSIZE, &before), 0);
    limit = before;
    limit.rlim_cur = 10000;
    CHECK(signal(SIGXFSZ, SIG_IGN) != SIG_ERR);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &limit), 0);
    int r = QI_TRACE_OK;
    while (r == QI_TRACE_OK && n < 100) {
        fill_chunk(&c, n * 100, 100);
        r = qi_trace_write_chunk(w, &c);
        n++;
    }
    CHECK_INT(r, QI_TRACE_E_OS);
    CHECK_INT(errno, EFBIG);
    CHECK_INT(qi_trace_write_chunk(w, &c), QI_TRACE_E_OS); /* the first failure stays */
    CHECK_INT(qi_trace_finish(w), QI_TRACE_E_OS);
    CHECK_INT(errno, EFBIG);
    CHECK_INT(setrlimit(RLIMIT_FSIZE, &before), 0);
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK_INT(t.problem_count, 1); /* no footer, and no torn end */
    CHECK_INT(t.count, n - 1);
    check_records(&t, t.count - 1);
    qi_trace_close(&t);
    qi_chunk_fini(&c);
}

/* Many live rows: the chunk grows with them, and events take as much. */
static void
many_rows_are_cut_at_the_limit(void)
{
    struct qi_chunk c;
    int looked = 0;

    CHECK_INT(qi_chunk_init(&c), 0);
    qi_chunk_begin(&c, 0, 500);
    for (uint64_t i = 0; i < QI_TRACE_ROWS_MAX + 10; i++) {
        put_task(&c, 500, i + 1, QI_TASK_WAITING);
    }
    CHECK(c.rows_left_out >= 10);
    CHECK((c.flags & QI_TRACE_ROWS_CUT) != 0);
    CHECK(c.state.size <= QI_TRACE_ROWS_BYTES);
    CHECK_INT(qi_chunk_end(&c, look_up, &looked), 0);
    struct qi_trace_writer *w = create(file_path, 0, 0);
    CHECK_INT(qi_trace_write_chunk(w, &c), QI_TRACE_OK);
    CHECK_INT(qi_trace_finish(w), QI_TRACE_OK);
    struct sums sums = {0};
    struct qi_trace t;
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&t));
    CHECK_INT(read_chunk(&t, 0, &sums), 0);
    CHECK_INT(sums.rows, c.rows);
    qi_trace_close(&t);
    qi_chunk_fini(&c);
}

static void
a_chunk_is_full_after_its_share(void)
{
    struct qi_chunk c;
    uint64_t n = 0;

    CHECK_INT(qi_chunk_init(&c), 0);
    qi_chunk_begin(&c, 0, 500);
    CHECK(!qi_chunk_has_events(&c));
    while (!qi_chunk_is_full(&c)) {
        struct qi_record r = record_of(n++);
        qi_chunk_put_records(&c, &r, 1);
    }
    CHECK(qi_chunk_has_events(&c));
    CHECK(c.events.size >= QI_TRACE_CHUNK_BYTES);
    CHECK(c.events.size < QI_TRACE_CHUNK_BYTES + 1024);
    CHECK(c.events.size / n <= 20); /* bytes of an event, before compression */
    qi_chunk_fini(&c);
}

/* A segment, as a recording at once. */
static void
a_segment_becomes_a_recording(void)
{
    struct qi_client_options options = {
        .name = "test", .directory = directory, .level = 2, .ring_count = 64};
    struct qi_trace_info of_segment;
    struct qi_segment s;
    struct sums sums = {0};
    struct qi_trace t;
    qi_client *c = NULL;

    CHECK_INT(qi_client_open(&options, &c), QI_OK);
    uint32_t text = qi_text(c, "text", 4);
    uint32_t code = qi_code(c, text, text, 7);
    for (uint32_t i = 0; i < 100; i++) {
        qi_record(c, 1000 + i, QI_EV_TASK_CREATED, 1, code, i, 0);
    }
    for (uint32_t i = 0; i < 5; i++) {
        uint32_t index = qi_row_new(c, QI_TASK, 1, NULL);
        (void)qi_row_begin(c, index);
        qi_row_end(c, index);
        if (i >= 3) {
            qi_row_retire(c, index, QI_TASK_DONE);
        }
    }
    CHECK_INT(qi_client_dump(c, other_path), QI_OK);
    CHECK_INT(qi_client_save_trace(c, file_path, 90), QI_OK);
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&t));
    CHECK_INT(t.chunks[0].first, 90);
    CHECK_INT(t.chunks[0].n, 10);
    qi_trace_close(&t);
    qi_client_close(c, 1000, 0);

    CHECK_INT(qi_segment_load(other_path, &s), QI_VIEW_OK);
    qi_trace_info_of_segment(&s.view.header, "segment", &of_segment);
    const int64_t mono0 = s.view.header.mono0;
    CHECK_INT(qi_trace_save(&s.view, &of_segment, file_path, 0, 0), QI_TRACE_OK);
    qi_segment_unload(&s);
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&t));
    CHECK_INT(t.count, 1);
    CHECK_INT(read_chunk(&t, 0, &sums), 0);
    CHECK_INT(sums.records + sums.lost, 100);
    CHECK_INT(sums.records, 63); /* the ring has 64, and one may be under the pen */
    CHECK_INT(sums.rows, 5);
    CHECK_INT(sums.entries, 2);
    CHECK_INT(t.chunks[0].t1, mono0); /* the last time that is in it */
    qi_trace_close(&t);
    CHECK_INT(unlink(other_path), 0);
}

/* Every released version: kept for ever, see tests/data/trace/README.md. */
static void
recordings_of_released_versions_are_read(void)
{
    static const char *const files[] = {QI_TRACES "/v1.0.qtrace",
                                        QI_TRACES "/v1.0-raw.qtrace"};
    struct qi_trace t;

    for (size_t f = 0; f < sizeof(files) / sizeof(files[0]); f++) {
        struct sums sums = {0};
        CHECK_INT(qi_trace_open(files[f], &t), QI_TRACE_READ_OK);
        if (t.count > 0 && t.chunks[0].status == QI_TRACE_READ_E_CODEC) {
            printf("  without zstd: %s is not read\n", files[f]);
            qi_trace_close(&t);
            continue;
        }
        CHECK(qi_trace_is_complete(&t));
        CHECK_INT(t.count, 3);
        for (size_t i = 0; i < t.count; i++) {
            CHECK_INT(read_chunk(&t, i, &sums), 0);
            check_records(&t, i);
        }
        CHECK_INT(sums.records, 120);
        CHECK_INT(sums.lost, 7);
        CHECK_INT(sums.notes, 3);
        CHECK_INT(sums.rows, 9);
        CHECK_INT(sums.entries, 15);
        qi_trace_close(&t);
    }
}

/* With an argument it makes that file: the recording that is kept of this version. */
static int
make_kept_file(const char *path, int raw)
{
    struct qi_trace_writer *w = create(path, 0, raw);
    struct qi_chunk c;

    CHECK_INT(qi_chunk_init(&c), 0);
    for (uint64_t i = 0; i < 3; i++) {
        fill_chunk_after(&c, i == 2 ? 7 : 0, i * 40 + (i == 2 ? 7 : 0), 40);
        CHECK_INT(qi_trace_write_chunk(w, &c), QI_TRACE_OK);
    }
    CHECK_INT(qi_trace_finish(w), QI_TRACE_OK);
    qi_chunk_fini(&c);
    return 0;
}

int
main(int argc, char **argv)
{
    if (argc > 1) {
        return make_kept_file(argv[1], argc > 2);
    }
    strcpy(directory, "/tmp/qti-trace-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    (void)snprintf(file_path, sizeof(file_path), "%s/a.qtrace", directory);
    (void)snprintf(other_path, sizeof(other_path), "%s/b", directory);
    RUN(the_checksum_is_crc32c);
    RUN(what_was_written_is_read);
    RUN(a_chunk_has_the_texts_it_uses_and_no_others);
    RUN(ids_are_found_in_every_kind);
    RUN(losses_come_before_records);
    RUN(a_file_cut_at_any_byte_is_read_up_to_the_last_whole_chunk);
    RUN(a_changed_byte_is_always_noticed);
    RUN(damage_with_good_checksums_never_crashes);
    RUN(sizes_that_cannot_be_are_refused);
    RUN(missing_chunks_are_named);
    RUN(what_later_versions_add_is_passed_over);
    RUN(another_major_is_refused);
    RUN(a_ring_stays_below_its_limit);
    RUN(what_is_too_old_goes);
    RUN(a_copy_has_what_is_not_older);
    RUN(foreign_files_are_left_alone);
    RUN(a_full_disk_leaves_whole_chunks);
    RUN(many_rows_are_cut_at_the_limit);
    RUN(a_chunk_is_full_after_its_share);
    RUN(a_segment_becomes_a_recording);
    RUN(recordings_of_released_versions_are_read);
    CHECK_INT(unlink(file_path), 0);
    CHECK_INT(rmdir(directory), 0);
    return 0;
}
