/* test_trace.c - the promises of trace_chunk.h, trace_write.h and trace_segment.h. */
#include "trace_files.h"

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

static void
check_versions(const char *binding, const char *qt)
{
    struct qi_trace t;
    struct qi_value key;
    struct qi_value value;
    int found = 0;

    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    struct qi_cursor cursor = qi_cursor_in(&t.fields[QI_TRACE_KEY_versions]);
    while (qi_cursor_next(&cursor, &key) && qi_cursor_next(&cursor, &value)) {
        int is_qt = key.size == 2 && memcmp(key.bytes, "qt", 2) == 0;
        int is_binding = key.size == 7 && memcmp(key.bytes, "binding", 7) == 0;
        const char *wanted = is_qt ? qt : binding;
        if (is_qt || is_binding) {
            CHECK_INT(value.size, strlen(wanted));
            CHECK(memcmp(value.bytes, wanted, value.size) == 0);
            found++;
        }
    }
    CHECK_INT(found, 2);
    qi_trace_close(&t);
}

/* The head is written again in the same size, also in a ring, where it is copied. */
static void
a_binding_may_come_late(void)
{
    static const char longest[] = "a binding whose name is as long";
    const struct qi_trace_options options = {.max_bytes = 65536};
    struct qi_trace_info late = info;
    struct qi_trace_writer *w = NULL;
    struct sums sums = {0};
    struct qi_trace t;
    struct qi_chunk c;

    late.binding = late.qt = NULL;
    CHECK_INT(qi_trace_create(file_path, &late, &options, &w), QI_TRACE_OK);
    CHECK_INT(qi_chunk_init(&c), 0);
    for (uint64_t i = 0; i < 60; i++) {
        if (i == 1) {
            CHECK_INT(sizeof(longest) - 1, 31);
            check_versions("", "");
            CHECK_INT(qi_trace_set_binding(w, longest, longest), QI_TRACE_OK);
            check_versions(longest, longest);
            CHECK_INT(qi_trace_set_binding(w, "PyQt6", "6.5"), QI_TRACE_OK);
        }
        fill_chunk(&c, i * 200, 200);
        CHECK_INT(qi_trace_write_chunk(w, &c), QI_TRACE_OK);
    }
    CHECK_INT(qi_trace_finish(w), QI_TRACE_OK);
    qi_chunk_fini(&c);
    check_versions(longest, longest);
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK(t.chunks[0].seq > 0);
    for (size_t i = 0; i < t.count; i++) {
        CHECK_INT(read_chunk(&t, i, &sums), 0);
    }
    qi_trace_close(&t);
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

/* Rows that take more than half of the limit do not make everything else go. */
static void
a_ring_of_large_chunks_keeps_what_happened(void)
{
    const uint64_t limit = 65536;
    struct qi_trace_writer *w = create(file_path, limit, 1);
    struct qi_chunk c;
    struct qi_trace t;
    struct stat st;
    int looked = 0;

    CHECK_INT(qi_chunk_init(&c), 0);
    c.share = qi_trace_chunk_share(w);
    /* Five chunks, and the state at the end; raw, a chunk has 3/5 of the limit. */
    for (uint64_t i = 0; i < 6; i++) {
        qi_chunk_begin(&c, (i < 5 ? i : 5) * 100, 500);
        for (uint64_t task = 1; task < 1100; task++) {
            put_task(&c, 500, task, QI_TASK_WAITING);
        }
        for (uint64_t k = 0; i < 5 && k < 100; k++) {
            struct qi_record r = record_of(i * 100 + k);
            qi_chunk_put_records(&c, &r, 1);
        }
        c.flags |= i == 5 ? QI_TRACE_LAST : 0;
        CHECK_INT(qi_chunk_end(&c, look_up, &looked), 0);
        CHECK_INT(qi_trace_write_chunk(w, &c), QI_TRACE_OK);
        CHECK_INT(stat(file_path, &st), 0);
        CHECK((uint64_t)st.st_size <= limit);
    }
    CHECK_INT(qi_trace_finish(w), QI_TRACE_OK);
    CHECK_INT(qi_trace_open(file_path, &t), QI_TRACE_READ_OK);
    CHECK(qi_trace_is_complete(&t));
    CHECK_INT(t.count, 1);
    CHECK_INT(t.chunks[0].seq, 4);
    CHECK_INT(t.chunks[0].n, 100);
    qi_trace_close(&t);
    /* More rows than that are left out. */
    qi_chunk_begin(&c, 0, 500);
    for (uint64_t task = 1; task < 100000; task++) {
        put_task(&c, 500, task, QI_TASK_WAITING);
    }
    CHECK((c.flags & QI_TRACE_ROWS_CUT) != 0);
    CHECK(c.state.size <= 8 * c.share);
    qi_chunk_fini(&c);
}

/* A chunk with more notes than a reader takes is not written. */
static void
notes_of_a_chunk_are_limited(void)
{
    static const uint8_t map[1] = {0x80};
    struct qi_chunk c;
    unsigned n = 0;

    CHECK_INT(qi_chunk_init(&c), 0);
    qi_chunk_begin(&c, 0, 500);
    while (qi_chunk_put_note(&c, 600, QI_MSG_STALL, map, sizeof(map))) {
        n++;
        CHECK_INT(qi_chunk_is_full(&c), n >= QI_TRACE_NOTES_MAX / 2);
    }
    CHECK_INT(n, QI_TRACE_NOTES_MAX);
    qi_chunk_fini(&c);
}

/* Nobody is told that it is there. */
static void
a_file_that_was_removed_is_no_success(void)
{
    struct qi_trace_writer *w = create(file_path, 0, 0);

    CHECK_INT(unlink(file_path), 0);
    CHECK_INT(qi_trace_finish(w), QI_TRACE_E_GONE);
    w = create(file_path, 0, 0);
    make_file(1, 10, 1); /* of the same path */
    CHECK_INT(qi_trace_finish(w), QI_TRACE_E_GONE);
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
    CHECK_INT(qi_trace_create(directory, &info, &options, &w), QI_TRACE_E_OS);
    CHECK_INT(errno, EISDIR);
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
    CHECK(!qi_chunk_is_full(&c)); /* there is room for events, whatever the rows take */
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
    CHECK_INT(qi_client_save_trace(c, file_path, 90, NULL), QI_OK);
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
        if (t.count > 0 && t.chunks[0].status == QI_TRACE_READ_E_NO_ZSTD) {
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
    make_directory();
    RUN(the_checksum_is_crc32c);
    RUN(what_was_written_is_read);
    RUN(a_binding_may_come_late);
    RUN(a_chunk_has_the_texts_it_uses_and_no_others);
    RUN(ids_are_found_in_every_kind);
    RUN(losses_come_before_records);
    RUN(a_ring_stays_below_its_limit);
    RUN(a_ring_of_large_chunks_keeps_what_happened);
    RUN(notes_of_a_chunk_are_limited);
    RUN(a_file_that_was_removed_is_no_success);
    RUN(what_is_too_old_goes);
    RUN(a_copy_has_what_is_not_older);
    RUN(foreign_files_are_left_alone);
    RUN(a_full_disk_leaves_whole_chunks);
    RUN(many_rows_are_cut_at_the_limit);
    RUN(a_chunk_is_full_after_its_share);
    RUN(a_segment_becomes_a_recording);
    RUN(recordings_of_released_versions_are_read);
    remove_directory();
    return 0;
}
