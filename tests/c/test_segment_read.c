/* test_segment_read.c - the promises of segment_read.h about files of anybody's. */
#include "qi_test.h"

#include "client_internal.h"
#include "segment_read.h"

#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64];
static char file_path[128];

/* A small segment with something of everything, as a file. */
static void
make_file(void)
{
    struct qi_client_options options = {
        .name = "test", .directory = directory, .level = 2, .ring_count = 64};
    uint32_t codes[3] = {3, 3, 3};
    qi_client *c = NULL;

    CHECK_INT(qi_client_open(&options, &c), QI_OK);
    uint32_t text = qi_text(c, "text", 4);
    (void)qi_code(c, text, text, 7);
    (void)qi_stack(c, codes, 3);
    for (uint32_t i = 0; i < 40; i++) {
        uint32_t index = qi_row_new(c, QI_TASK + i % 8, 1, NULL);
        (void)qi_row_begin(c, index);
        qi_row_end(c, index);
        qi_record(c, i, QI_EV_MARK, 1, i, 0, 0);
    }
    CHECK_INT(qi_client_dump(c, file_path), QI_OK);
    qi_client_close(c, 1000, 0);
}

static void
write_file(const void *bytes, size_t size, uint64_t at)
{
    int fd = open(file_path, O_WRONLY);

    CHECK(fd >= 0);
    CHECK_INT(pwrite(fd, bytes, size, (off_t)at), size);
    CHECK_INT(close(fd), 0);
}

/* Reads all there is, through every function; counts, so that nothing is left out. */
static uint64_t
read_everything(const struct qi_view *view)
{
    struct qi_arena_index index = {0};
    struct qi_record records[50];
    struct qi_entry entry;
    struct qi_slot slot;
    uint64_t position = 0;
    uint64_t lost = 0;
    uint64_t sum = 0;
    uint32_t parts[3];
    uint32_t codes[40];

    for (uint32_t i = 0; i < qi_view_slots_used(view); i++) {
        sum += qi_view_slot(view, i, &slot) == QI_VIEW_OK ? slot.kind : 1u;
    }
    (void)qi_view_slot(view, UINT32_MAX, &slot);
    /* A hostile head may be anything: three rounds see the ring and its end. */
    for (int i = 0; i < 3; i++) {
        sum += qi_view_records(view, &position, records, 50, &lost);
    }
    (void)qi_arena_index_update(&index, view);
    for (uint32_t id = 0; id <= index.count + 1; id++) {
        if (qi_arena_index_find(&index, view, id, &entry)) {
            for (uint32_t k = 0; k < entry.size; k++) {
                sum += entry.bytes[k];
            }
            (void)qi_entry_code(&entry, &parts[0], &parts[1], &parts[2]);
            sum += qi_entry_stack(&entry, codes, 40);
        }
    }
    qi_arena_index_fini(&index);
    return sum;
}

static int
load_and_read(void)
{
    struct qi_segment s;
    int r = qi_segment_load(file_path, &s);

    if (r == QI_VIEW_OK) {
        (void)read_everything(&s.view);
    }
    qi_segment_unload(&s);
    return r;
}

static void
a_file_that_is_none_is_refused(void)
{
    struct qi_segment s;

    CHECK_INT(qi_segment_load("/dev/null/not-there", &s), QI_VIEW_E_OS);
    CHECK_INT(qi_segment_load("/dev/zero", &s), QI_VIEW_E_NOT_OURS);
    CHECK_INT(qi_segment_load(directory, &s), QI_VIEW_E_NOT_OURS);
    CHECK_INT(mkfifo(file_path, 0600), 0);
    CHECK_INT(qi_segment_load(file_path, &s), QI_VIEW_E_NOT_OURS); /* and does not wait */
    CHECK_INT(unlink(file_path), 0);
    make_file();
    write_file("X", 1, 0);
    CHECK_INT(load_and_read(), QI_VIEW_E_NOT_OURS);
    for (int status = QI_VIEW_E_NOMEM; status <= QI_VIEW_TORN; status++) {
        CHECK(strlen(qi_view_text(status)) > 0);
    }
}

static void
another_abi_is_told_apart(void)
{
    uint32_t abi = QI_SEGMENT_ABI + 1;

    make_file();
    write_file(&abi, sizeof(abi), offsetof(struct qi_segment_header, abi));
    CHECK_INT(load_and_read(), QI_VIEW_E_ABI);
}

static void
a_file_cut_anywhere_is_an_error(void)
{
    make_file();
    struct stat st;
    CHECK_INT(stat(file_path, &st), 0);
    for (off_t size = st.st_size - 1; size > 0; size = size * 3 / 4) {
        CHECK_INT(truncate(file_path, size), 0);
        CHECK_INT(load_and_read(), QI_VIEW_E_TRUNCATED);
    }
    CHECK_INT(truncate(file_path, 0), 0);
    CHECK_INT(load_and_read(), QI_VIEW_E_TRUNCATED);
}

/* What loading says with other bytes at a place, which are put back afterwards. */
static int
load_with(uint64_t value, size_t size, uint64_t at)
{
    uint64_t before = 0;
    int fd = open(file_path, O_RDONLY);

    CHECK(fd >= 0);
    CHECK_INT(pread(fd, &before, size, (off_t)at), size);
    CHECK_INT(close(fd), 0);
    write_file(&value, size, at);
    int r = load_and_read();
    write_file(&before, size, at);
    return r;
}

#define FIELD_OF(member)                                                                 \
    {offsetof(struct qi_segment_header, member),                                         \
     sizeof(((struct qi_segment_header *)0)->member)}

/* Every number of the header, with values at which a careless sum overflows. */
static void
impossible_sizes_and_places_are_refused(void)
{
    static const struct {
        size_t at, size;
    } fields[] = {FIELD_OF(header_size), FIELD_OF(slot_size),  FIELD_OF(slot_count),
                  FIELD_OF(record_size), FIELD_OF(ring_count), FIELD_OF(slots_at),
                  FIELD_OF(dirty_at),    FIELD_OF(ring_at),    FIELD_OF(arena_at),
                  FIELD_OF(arena_size),  FIELD_OF(total_size)};
    static const uint64_t values[] = {0x7fffffff,
                                      UINT32_MAX,
                                      UINT64_MAX,
                                      UINT64_MAX - 7,
                                      UINT64_C(1) << 63,
                                      UINT64_C(0x100000000),
                                      (UINT64_C(1) << 63) + 4096};

    make_file();
    for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
        for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
            if (fields[f].size == 4 && values[v] > UINT32_MAX) {
                continue;
            }
            CHECK(load_with(values[v], fields[f].size, fields[f].at) < 0);
        }
    }
}

static void
counters_beyond_the_end_are_bounded(void)
{
    static const struct {
        size_t at, size;
    } fields[] = {FIELD_OF(ring_head), FIELD_OF(arena_used), FIELD_OF(arena_count),
                  FIELD_OF(slots_used)};
    static const uint64_t values[] = {UINT64_MAX, UINT64_MAX / 2, 1, 9, UINT32_MAX};

    make_file();
    for (size_t f = 0; f < sizeof(fields) / sizeof(fields[0]); f++) {
        for (size_t v = 0; v < sizeof(values) / sizeof(values[0]); v++) {
            CHECK_INT(load_with(values[v], 8, fields[f].at), QI_VIEW_OK);
        }
    }
}

/* Any bytes changed in the parts that are read; a sanitizer watches. */
static void
random_damage_does_no_harm(void)
{
    unsigned long long random = 99;
    struct qi_segment s;
    struct stat st;

    make_file();
    CHECK_INT(qi_segment_load(file_path, &s), QI_VIEW_OK);
    CHECK_INT(stat(file_path, &st), 0);
    uint8_t *memory = s.memory;
    const uint64_t places[] = {0, s.view.header.slots_at, s.view.header.ring_at,
                               s.view.header.arena_at};
    const uint64_t sizes[] = {sizeof(struct qi_segment_header), 40 * 128, 64 * 32, 128};
    for (int i = 0; i < 4000; i++) {
        size_t part = (size_t)(qi_test_random(&random) % 4);
        uint64_t at = places[part] + qi_test_random(&random) % sizes[part];
        uint8_t before = memory[at];
        struct qi_view view;
        memory[at] = (uint8_t)qi_test_random(&random);
        if (qi_view_init(&view, memory, s.size) == QI_VIEW_OK) {
            (void)read_everything(&view);
        }
        if (part == 0) {
            memory[at] = before; /* otherwise it would soon be refused for ever */
        }
    }
    qi_segment_unload(&s);
}

static void
a_row_that_nobody_finished_is_torn(void)
{
    struct qi_segment s;
    struct qi_slot slot;
    uint32_t odd = 7;

    make_file();
    write_file(&odd, sizeof(odd), QI_SEGMENT_HEADER_SIZE);
    CHECK_INT(qi_segment_load(file_path, &s), QI_VIEW_OK);
    CHECK_INT(s.torn, 1);
    CHECK_INT(qi_view_slot(&s.view, 0, &slot), QI_VIEW_TORN);
    CHECK_INT(slot.kind, QI_TASK); /* what was there is there */
    CHECK_INT(qi_view_slot(&s.view, 1, &slot), QI_VIEW_OK);
    qi_segment_unload(&s);
}

struct busy_writer {
    qi_client *client;
    int stop;
};

static void *
keep_writing(void *argument)
{
    struct busy_writer *w = argument;

    for (uint64_t i = 1; !__atomic_load_n(&w->stop, __ATOMIC_ACQUIRE); i++) {
        struct qi_slot *slot = qi_row_begin(w->client, (uint32_t)(i % 8));
        QI_PUT(slot->row.task.busy, i);
        QI_PUT(slot->row.task.scheduled, ~i);
        qi_row_end(w->client, (uint32_t)(i % 8));
        qi_record(w->client, (int64_t)w->client->p.next_record, QI_EV_MARK, 0, 0, i, ~i);
    }
    return NULL;
}

/* The daemon reads the file of a process that is alive. */
static void
a_live_file_is_read_whole(void)
{
    struct qi_client_options options = {
        .directory = directory, .level = 2, .ring_count = 4096};
    struct busy_writer w = {0};
    struct qi_record records[100];
    struct qi_segment s;
    struct qi_slot slot;
    pthread_t thread;
    uint64_t whole = 0;

    CHECK_INT(qi_client_open(&options, &w.client), QI_OK);
    for (int i = 0; i < 8; i++) {
        uint32_t index = qi_row_new(w.client, QI_TASK, 1, NULL);
        struct qi_slot *row = qi_row_begin(w.client, index);
        QI_PUT(row->row.task.scheduled, UINT64_MAX);
        qi_row_end(w.client, index);
    }
    CHECK_INT(pthread_create(&thread, NULL, keep_writing, &w), 0);
    for (int i = 0; i < 30; i++) {
        CHECK_INT(qi_segment_load(qi_client_segment_path(w.client), &s), QI_VIEW_OK);
        for (uint32_t k = 0; k < 8; k++) {
            if (qi_view_slot(&s.view, k, &slot) == QI_VIEW_OK) {
                CHECK(slot.row.task.scheduled == ~slot.row.task.busy);
                whole++;
            }
        }
        uint64_t position = 0;
        uint64_t lost = 0;
        size_t n;
        do {
            n = qi_view_records(&s.view, &position, records, 100, &lost);
            for (size_t k = 0; k < n; k++) {
                CHECK_INT(records[k].ts, position - n + k);
                CHECK(records[k].b == ~records[k].a);
            }
        } while (n > 0 || lost > 0);
        qi_segment_unload(&s);
    }
    CHECK(whole > 0);
    __atomic_store_n(&w.stop, 1, __ATOMIC_RELEASE);
    CHECK_INT(pthread_join(thread, NULL), 0);
    qi_client_close(w.client, 1000, 0);
}

int
main(void)
{
    strcpy(directory, "/tmp/qi-test-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    (void)snprintf(file_path, sizeof(file_path), "%s/file", directory);
    RUN(a_file_that_is_none_is_refused);
    RUN(another_abi_is_told_apart);
    RUN(a_file_cut_anywhere_is_an_error);
    RUN(impossible_sizes_and_places_are_refused);
    RUN(counters_beyond_the_end_are_bounded);
    RUN(random_damage_does_no_harm);
    RUN(a_row_that_nobody_finished_is_torn);
    RUN(a_live_file_is_read_whole);
    CHECK_INT(unlink(file_path), 0);
    CHECK_INT(rmdir(directory), 0);
    return 0;
}
