/* test_trace_damage.c - the promises of trace_read.h: files that are cut, changed,
   damaged on purpose, or of a later version. */
#include "trace_files.h"

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
        {12, UINT32_MAX, 4, "chunk 1 has sizes that cannot be"},
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
    /* Of a chunk that is compressed its size alone is wrong. */
    memcpy(copy, bytes, size);
    patch_head(copy, &place, 12, place.stored + 8192, 4);
    patch_head(copy, &place, 16, place.stored + 8192, 4);
    CHECK_INT(qi_trace_open_memory(copy, size, &t), QI_TRACE_READ_OK);
    CHECK(has_problem(&t, "chunk 1 is cut short"));
    CHECK(t.has_footer); /* it is inside of what the chunk says that it takes */
    qi_trace_close(&t);
    memcpy(copy, bytes, size);
    patch_head(copy, &place, 11, QI_TRACE_ZSTD, 1);
    patch_head(copy, &place, 16, QI_TRACE_BODY_MAX + 1, 4);
    CHECK_INT(qi_trace_open_memory(copy, size, &t), QI_TRACE_READ_OK);
    CHECK(has_problem(&t, "chunk 1 has sizes that cannot be"));
    qi_trace_close(&t);
    /* How many records there are, and the number of the first, are not what it says. */
    for (size_t at = 48; at <= 56; at += 8) {
        struct sums sums = {0};
        memcpy(copy, bytes, size);
        patch_head(copy, &place, at, 9, 4);
        CHECK_INT(qi_trace_open_memory(copy, size, &t), QI_TRACE_READ_OK);
        CHECK_INT(read_chunk(&t, 1, &sums), QI_TRACE_READ_E_DAMAGED);
        qi_trace_close(&t);
    }
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
    CHECK_INT(t.before.first, 0);
    CHECK_INT(t.before.count, 10);
    CHECK_INT(t.before.t0, first.t0);
    CHECK_INT(t.before.t1, first.t1);
    CHECK_INT(t.after.count, 0);
    qi_trace_close(&t);
    free(bytes);
}

/* What was removed from a chunk takes no other one with it. */
static void
bytes_that_are_missing_in_the_middle_cost_one_chunk(void)
{
    struct qi_trace t;
    size_t whole = 0;

    make_file(4, 50, 1);
    uint8_t *bytes = slurp(file_path, &whole);
    CHECK_INT(qi_trace_open_memory(bytes, whole, &t), QI_TRACE_READ_OK);
    struct qi_trace_place places[4];
    memcpy(places, t.chunks, sizeof(places));
    qi_trace_close(&t);
    for (size_t damaged = 0; damaged < 4; damaged++) {
        size_t gone = 100;
        size_t at = (size_t)places[damaged].offset + 80;
        uint8_t *copy = malloc(whole - gone);
        CHECK(copy != NULL);
        memcpy(copy, bytes, at);
        memcpy(copy + at, bytes + at + gone, whole - gone - at);
        CHECK_INT(qi_trace_open_memory(copy, whole - gone, &t), QI_TRACE_READ_OK);
        CHECK_INT(t.count, 4);
        CHECK(t.has_footer);
        for (size_t i = 0; i < 4; i++) {
            struct sums sums = {0};
            CHECK_INT(read_chunk(&t, i, &sums),
                      i == damaged ? QI_TRACE_READ_E_CHECKSUM : 0);
        }
        qi_trace_close(&t);
        free(copy);
    }
    free(bytes);
}

/* Each says that it has all of the rest: they are not all believed. */
static void
a_file_made_of_heads_takes_no_time(void)
{
    const size_t heads = 100000;
    struct qi_trace t;
    size_t size = 0;

    make_file(1, 10, 1);
    uint8_t *bytes = slurp(file_path, &size);
    CHECK_INT(qi_trace_open_memory(bytes, size, &t), QI_TRACE_READ_OK);
    struct qi_trace_place place = t.chunks[0];
    qi_trace_close(&t);
    size_t all = place.offset + heads * 64;
    uint8_t *copy = malloc(all);
    CHECK(copy != NULL);
    memcpy(copy, bytes, place.offset);
    for (size_t i = 0; i < heads; i++) {
        struct qi_trace_place head = {.offset = place.offset + i * 64, .head = 64};
        memcpy(copy + head.offset, bytes + place.offset, 64);
        for (size_t k = 12; k <= 16; k += 4) {
            patch_head(copy, &head, k, (heads - i - 1) * 64, 4);
        }
    }
    CHECK_INT(qi_trace_open_memory(copy, all, &t), QI_TRACE_READ_OK);
    CHECK(t.looked < 5 * (all + (UINT64_C(64) << 20)));
    CHECK(!qi_trace_is_complete(&t));
    qi_trace_close(&t);
    free(copy);
    free(bytes);
}

/* Chunks that are small until they are unpacked. */
static void
a_small_file_does_not_unpack_to_a_large_one(void)
{
    struct qi_trace t;
    size_t size = 0;

    make_file(5, 50, 0);
    uint8_t *bytes = slurp(file_path, &size);
    CHECK_INT(qi_trace_open_memory(bytes, size, &t), QI_TRACE_READ_OK);
    struct qi_trace_place places[5];
    memcpy(places, t.chunks, sizeof(places));
    qi_trace_close(&t);
    if (places[0].codec == QI_TRACE_ZSTD) {
        for (size_t i = 0; i < 5; i++) {
            patch_head(bytes, &places[i], 16, QI_TRACE_BODY_MAX, 4);
        }
        CHECK_INT(qi_trace_open_memory(bytes, size, &t), QI_TRACE_READ_OK);
        CHECK_INT(t.chunks[1].status, QI_TRACE_READ_OK);
        CHECK_INT(t.chunks[2].status, QI_TRACE_READ_E_DAMAGED);
        CHECK(has_problem(&t, "chunk 2 is left out: a file of this size cannot"));
        qi_trace_close(&t);
    }
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
    CHECK_INT(bytes[16] & 0xf0, 0x80);
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
    for (int status = QI_TRACE_READ_E_NO_ZSTD; status <= 0; status++) {
        CHECK(strlen(qi_trace_read_text(status)) > 0);
    }
    for (int status = QI_TRACE_E_GONE; status <= 0; status++) {
        CHECK(strlen(qi_trace_text(status)) > 0);
    }
}

int
main(void)
{
    make_directory();
    RUN(a_file_cut_at_any_byte_is_read_up_to_the_last_whole_chunk);
    RUN(a_changed_byte_is_always_noticed);
    RUN(damage_with_good_checksums_never_crashes);
    RUN(sizes_that_cannot_be_are_refused);
    RUN(missing_chunks_are_named);
    RUN(bytes_that_are_missing_in_the_middle_cost_one_chunk);
    RUN(a_file_made_of_heads_takes_no_time);
    RUN(a_small_file_does_not_unpack_to_a_large_one);
    RUN(what_later_versions_add_is_passed_over);
    RUN(another_major_is_refused);
    remove_directory();
    return 0;
}
