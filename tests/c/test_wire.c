/* test_wire.c - the promises of wire.h and rows.h; the golden vectors both ways. */
#include "qi_test.h"

#include "qi_utf8.h"
#include "rows.h"
#include "wire.h"

#include <dirent.h>
#include <math.h>
#include <stdint.h>
#include <string.h>

static uint8_t buffer[QI_FRAME_MAX + 4096];

/* --- encoding --- */

static void
what_does_not_fit_is_taken_back(void)
{
    uint8_t small[64];
    struct qi_encoder e;

    memset(small, 0xAA, sizeof(small));
    qi_encoder_init(&e, small, 32);
    qi_encode_begin(&e, QI_MSG_PING, 1, 0);
    CHECK_INT(qi_encode_end(&e), QI_WIRE_OK);
    size_t whole = e.size;
    CHECK_INT(whole, 8);
    for (int i = 0; i < 2; i++) {
        qi_encode_begin(&e, QI_MSG_GOODBYE, 2, 1);
        qi_encode_text_field(&e, QI_KEY_GOODBYE_reason,
                             "thirty characters, more or less");
        CHECK_INT(qi_encode_end(&e), QI_WIRE_E_FULL);
        CHECK_INT(e.size, whole);
    }
    for (size_t i = 32; i < sizeof(small); i++) {
        CHECK_INT(small[i], 0xAA);
    }
    /* After a failure there is room for what fits. */
    qi_encode_begin(&e, QI_MSG_PING, 2, 0);
    CHECK_INT(qi_encode_end(&e), QI_WIRE_OK);
    CHECK_INT(e.size, 2 * whole);
}

static void
a_frame_over_the_limit_is_taken_back(void)
{
    static char text[QI_FRAME_MAX];
    struct qi_encoder e;

    memset(text, 'x', sizeof(text));
    qi_encoder_init(&e, buffer, sizeof(buffer));
    qi_encode_begin(&e, QI_MSG_GOODBYE, 1, 1);
    qi_encode_key(&e, 0);
    qi_encode_text(&e, text, sizeof(text));
    CHECK_INT(qi_encode_end(&e), QI_WIRE_E_SIZE);
    CHECK_INT(e.size, 0);
    /* [5, 1, {0: text}] without the text is 4 + 1 + 5 bytes. */
    qi_encode_begin(&e, QI_MSG_GOODBYE, 1, 1);
    qi_encode_key(&e, 0);
    qi_encode_text(&e, text, sizeof(text) - 10);
    CHECK_INT(qi_encode_end(&e), QI_WIRE_OK);
    CHECK_INT(e.size, QI_FRAME_MAX + 4);
}

static void
a_list_may_get_its_length_later(void)
{
    struct qi_encoder e;
    struct qi_frame frame;

    qi_encoder_init(&e, buffer, sizeof(buffer));
    qi_encode_begin(&e, QI_MSG_INTERN, 1, 1);
    qi_encode_key(&e, QI_KEY_INTERN_entries);
    size_t place = qi_encode_open_list(&e);
    for (uint32_t i = 0; i < 300; i++) {
        qi_encode_nil(&e);
    }
    qi_encode_close_list(&e, place, 300);
    CHECK_INT(qi_encode_end(&e), QI_WIRE_OK);
    CHECK_INT(qi_frame_decode(buffer + 4, e.size - 4, &frame), QI_WIRE_OK);
    CHECK_INT(frame.fields[QI_KEY_INTERN_entries].size, 300);
}

/* --- splitting --- */

static void
feed(struct qi_splitter *s, const uint8_t *bytes, size_t size)
{
    while (size > 0) {
        uint8_t *room = NULL;
        size_t n = 0;
        CHECK_INT(qi_splitter_room(s, &room, &n), QI_WIRE_OK);
        CHECK(n > 0);
        n = n < size ? n : size;
        memcpy(room, bytes, n);
        qi_splitter_filled(s, n);
        bytes += n;
        size -= n;
    }
}

static void
a_stream_in_any_pieces_gives_the_same_frames(void)
{
    static const uint8_t stream[] = {1, 0,   0,   0,   'a', 3, 0, 0,
                                     0, 'b', 'c', 'd', 2,   0, 0, 0};

    for (size_t piece = 1; piece <= sizeof(stream); piece++) {
        struct qi_splitter s;
        const uint8_t *payload = NULL;
        size_t size = 0;
        char got[8] = "";
        int frames = 0;
        qi_splitter_init(&s, 100);
        for (size_t at = 0; at < sizeof(stream); at += piece) {
            size_t n = sizeof(stream) - at < piece ? sizeof(stream) - at : piece;
            feed(&s, stream + at, n);
            while (qi_splitter_next(&s, &payload, &size) > 0) {
                strncat(got, (const char *)payload, size);
                frames++;
            }
        }
        CHECK_INT(frames, 2);
        CHECK(strcmp(got, "abcd") == 0);
        qi_splitter_fini(&s);
    }
}

static void
memory_is_what_has_come(void)
{
    static const uint8_t announces_a_megabyte[] = {0, 0, 0x10, 0, 'x'};
    struct qi_splitter s;
    const uint8_t *payload = NULL;
    size_t size = 0;

    qi_splitter_init(&s, QI_FRAME_MAX);
    feed(&s, announces_a_megabyte, sizeof(announces_a_megabyte));
    CHECK_INT(qi_splitter_next(&s, &payload, &size), 0);
    CHECK(s.capacity <= 4096);
    memset(buffer, 'x', QI_FRAME_MAX - 1);
    feed(&s, buffer, QI_FRAME_MAX - 1);
    CHECK_INT(qi_splitter_next(&s, &payload, &size), 1);
    CHECK_INT(size, QI_FRAME_MAX);
    CHECK_INT(s.capacity, QI_FRAME_MAX + 4);
    qi_splitter_fini(&s);
}

static void
lengths_beyond_the_limit_are_violations(void)
{
    static const uint8_t lengths[][4] = {
        {0, 0, 0, 0}, {101, 0, 0, 0}, {0, 0, 0x10, 1}, {0xff, 0xff, 0xff, 0xff}};
    const uint8_t *payload = NULL;
    size_t size = 0;

    for (size_t i = 0; i < 4; i++) {
        struct qi_splitter s;
        qi_splitter_init(&s, 100);
        feed(&s, lengths[i], 4);
        CHECK_INT(qi_splitter_next(&s, &payload, &size), QI_WIRE_E_SIZE);
        CHECK_INT(qi_splitter_next(&s, &payload, &size), QI_WIRE_E_SIZE);
        qi_splitter_fini(&s);
    }
}

/* --- decoding --- */

#define DECODE(...)                                                                      \
    decode((const uint8_t[]){__VA_ARGS__}, sizeof((const uint8_t[]){__VA_ARGS__}))

static struct qi_frame frame_;

/* On the heap and of the very size, so that a sanitizer sees the byte after it. */
static int
decode(const uint8_t *bytes, size_t size)
{
    static uint8_t *copy;

    free(copy);
    copy = malloc(size > 0 ? size : 1);
    memcpy(copy, bytes, size);
    return qi_frame_decode(copy, size, &frame_);
}

static void
violations_are_told_apart(void)
{
    CHECK_INT(decode((const uint8_t *)"", 0), QI_WIRE_E_SIZE);
    CHECK_INT(DECODE(0x93, 6, 0, 0x80), QI_WIRE_OK);
    CHECK_INT(DECODE(0x93, 6, 0), QI_WIRE_E_TRUNCATED);
    CHECK_INT(DECODE(0x93, 6, 0, 0x80, 0), QI_WIRE_E_TRAILING);
    CHECK_INT(DECODE(0xc1), QI_WIRE_E_RESERVED);
    CHECK_INT(DECODE(0x93, 6, 0, 0x81, 0, 0xc1), QI_WIRE_E_RESERVED);
    CHECK_INT(DECODE(6), QI_WIRE_E_SHAPE);
    CHECK_INT(DECODE(0x83, 6, 0, 1, 2, 3, 4), QI_WIRE_E_SHAPE);
    CHECK_INT(DECODE(0x92, 6, 0), QI_WIRE_E_SHAPE);
    CHECK_INT(DECODE(0x94, 6, 0, 0x80, 0), QI_WIRE_E_SHAPE);
    CHECK_INT(DECODE(0x93, 0xff, 0, 0x80), QI_WIRE_E_SHAPE);
    CHECK_INT(DECODE(0x93, 6, 0xff, 0x80), QI_WIRE_E_SHAPE);
    CHECK_INT(DECODE(0x93, 6, 0, 0x90), QI_WIRE_E_SHAPE);
    CHECK_INT(DECODE(0x93, 6, 0xcf, 0, 0, 0, 1, 0, 0, 0, 0, 0x80), QI_WIRE_E_SHAPE);
    /* A key that is no number. */
    CHECK_INT(DECODE(0x93, 5, 0, 0x81, 0xa1, 'k', 0), QI_WIRE_E_SHAPE);
    /* GOODBYE{reason: 1}, {reason: "a", reason: "b"}, {reason: half a character} */
    CHECK_INT(DECODE(0x93, 5, 0, 0x81, 0, 1), QI_WIRE_E_TYPE);
    CHECK_INT(DECODE(0x93, 5, 0, 0x82, 0, 0xa1, 'a', 0, 0xa1, 'b'), QI_WIRE_E_TWICE);
    CHECK_INT(DECODE(0x93, 5, 0, 0x81, 0, 0xa1, 0xc3), QI_WIRE_E_UTF8);
    CHECK_INT(DECODE(0x93, 5, 0, 0x81, 0, 0xa2, 0xc3, 0xa4), QI_WIRE_OK);
    /* SNAP_BEGIN without rows; with -1 */
    CHECK_INT(DECODE(0x93, 12, 0, 0x80), QI_WIRE_E_MISSING);
    CHECK_INT(DECODE(0x93, 12, 0, 0x81, 0, 0xff), QI_WIRE_E_TYPE);
    /* Lists that are said to be longer than what is there. */
    CHECK_INT(DECODE(0xdd, 0xff, 0xff, 0xff, 0xff, 0), QI_WIRE_E_TRUNCATED);
    CHECK_INT(DECODE(0xdf, 0xff, 0xff, 0xff, 0xff, 0), QI_WIRE_E_TRUNCATED);
    CHECK_INT(DECODE(0xdb, 0xff, 0xff, 0xff, 0xff, 0), QI_WIRE_E_TRUNCATED);
    CHECK_INT(DECODE(0xc9, 0xff, 0xff, 0xff, 0xff, 0), QI_WIRE_E_TRUNCATED);
}

static void
what_is_unknown_passes(void)
{
    /* A message 120; a key 9, a key -1 and a key 2^40 of GOODBYE, one of them an ext. */
    CHECK_INT(DECODE(0x93, 120, 7, 0x81, 0xa1, 'k', 0), QI_WIRE_UNKNOWN);
    CHECK_INT(frame_.message, 120);
    CHECK_INT(frame_.seq, 7);
    CHECK_INT(DECODE(0x93, 5, 0, 0x84, 9, 0xd4, 1, 2, 0xff, 0xc0, 0xcf, 0, 0, 1, 0, 0, 0,
                     0, 0, 1, 0, 0xa1, 'a'),
              QI_WIRE_OK);
    CHECK(qi_frame_text_is(&frame_, QI_KEY_GOODBYE_reason, "a"));
    CHECK(!qi_frame_text_is(&frame_, QI_KEY_GOODBYE_reason, "b"));
}

/* Lists within the list of the frame and the map of the body. */
static int
decode_nested(size_t lists)
{
    uint8_t bytes[64] = {0x93, 7, 0, 0x82, 0, 0xc3, 2};
    size_t n = 7;

    for (size_t i = 0; i < lists; i++) {
        bytes[n++] = i + 1 < lists ? 0x91 : 0x90;
    }
    return decode(bytes, n);
}

static void
nesting_ends_at_the_limit(void)
{
    CHECK_INT(decode_nested(QI_DEPTH_MAX - 2), QI_WIRE_OK);
    CHECK_INT(decode_nested(QI_DEPTH_MAX - 1), QI_WIRE_E_DEPTH);
    CHECK_INT(decode_nested(40), QI_WIRE_E_DEPTH);
}

static void
numbers_have_their_value_in_every_format(void)
{
    static const struct {
        uint8_t bytes[9];
        uint8_t size;
        int64_t value;
    } cases[] = {
        {{0x7f}, 1, 127},
        {{0xff}, 1, -1},
        {{0xe0}, 1, -32},
        {{0xcc, 0xff}, 2, 255},
        {{0xcd, 1, 2}, 3, 258},
        {{0xce, 0xff, 0xff, 0xff, 0xff}, 5, 4294967295},
        {{0xcf, 0x7f, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff}, 9, INT64_MAX},
        {{0xd0, 0x80}, 2, -128},
        {{0xd0, 0x7f}, 2, 127},
        {{0xd1, 0x80, 0}, 3, -32768},
        {{0xd2, 0x80, 0, 0, 0}, 5, -2147483648LL},
        {{0xd3, 0x80, 0, 0, 0, 0, 0, 0, 0}, 9, INT64_MIN},
        {{0xd3, 0, 0, 0, 0, 0, 0, 0, 5}, 9, 5},
    };
    struct qi_value value;
    int64_t number = 0;
    size_t used = 0;

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        CHECK_INT(qi_value_decode(cases[i].bytes, cases[i].size, &value, &used), 0);
        CHECK_INT(used, cases[i].size);
        CHECK_INT(qi_value_int(&value, &number), 1);
        CHECK_INT(number, cases[i].value);
        CHECK_INT(value.type, number < 0 ? QI_VALUE_NEGATIVE : QI_VALUE_UINT);
        CHECK_INT(qi_value_decode(cases[i].bytes, cases[i].size - 1u, &value, &used),
                  QI_WIRE_E_TRUNCATED);
    }
    const uint8_t single[] = {0xca, 0x3f, 0xc0, 0, 0};
    CHECK_INT(qi_value_decode(single, sizeof(single), &value, &used), 0);
    CHECK(value.type == QI_VALUE_FLOAT && fabs(value.f - 1.5) < 1e-9);
    const uint8_t big[] = {0xcf, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff};
    CHECK_INT(qi_value_decode(big, sizeof(big), &value, &used), 0);
    CHECK_INT(qi_value_int(&value, &number), 0);
    CHECK(value.u == UINT64_MAX);
}

static void
utf8_is_that_of_the_rfc(void)
{
    static const char *const good[] = {"",
                                       "a",
                                       "\xc2\x80",
                                       "\xdf\xbf",
                                       "\xe0\xa0\x80",
                                       "\xed\x9f\xbf",
                                       "\xee\x80\x80",
                                       "\xf0\x90\x80\x80",
                                       "\xf4\x8f\xbf\xbf"};
    static const char *const bad[] = {"\x80",
                                      "\xc0\x80",
                                      "\xc1\xbf",
                                      "\xc2",
                                      "\xe0\x9f\xbf",
                                      "\xed\xa0\x80",
                                      "\xf0\x8f\xbf\xbf",
                                      "\xf4\x90\x80\x80",
                                      "\xf5\x80\x80\x80",
                                      "\xff",
                                      "\xe1\x80",
                                      "\xe1\x80\xc0"};

    for (size_t i = 0; i < sizeof(good) / sizeof(good[0]); i++) {
        CHECK_INT(qi_utf8_valid((const uint8_t *)good[i], strlen(good[i])), 1);
    }
    for (size_t i = 0; i < sizeof(bad) / sizeof(bad[0]); i++) {
        CHECK_INT(qi_utf8_valid((const uint8_t *)bad[i], strlen(bad[i])), 0);
    }
}

/* --- golden vectors --- */

static void transcode(const struct qi_value *value, struct qi_encoder *e);

static void
transcode_elements(const struct qi_value *value, struct qi_encoder *e)
{
    struct qi_cursor cursor = qi_cursor_in(value);
    struct qi_value element;
    uint64_t n = 0;

    while (qi_cursor_next(&cursor, &element)) {
        transcode(&element, e);
        n++;
    }
    CHECK(n == value->size * (value->type == QI_VALUE_MAP ? 2u : 1u));
}

static void
transcode(const struct qi_value *value, struct qi_encoder *e)
{
    switch (value->type) {
    case QI_VALUE_NIL:
        qi_encode_nil(e);
        break;
    case QI_VALUE_BOOL:
        qi_encode_bool(e, value->u != 0);
        break;
    case QI_VALUE_UINT:
        qi_encode_uint(e, value->u);
        break;
    case QI_VALUE_NEGATIVE:
        qi_encode_int(e, value->i);
        break;
    case QI_VALUE_FLOAT:
        qi_encode_float(e, value->f);
        break;
    case QI_VALUE_TEXT:
        qi_encode_text(e, (const char *)value->bytes, value->size);
        break;
    case QI_VALUE_BYTES:
        qi_encode_bytes(e, value->bytes, value->size);
        break;
    case QI_VALUE_LIST:
        qi_encode_list(e, value->size);
        transcode_elements(value, e);
        break;
    case QI_VALUE_MAP:
        qi_encode_map(e, value->size);
        transcode_elements(value, e);
        break;
    default:
        CHECK(0 && "a value of another kind");
    }
}

static size_t
read_file(const char *name, uint8_t *bytes, size_t size)
{
    char path[512];

    (void)snprintf(path, sizeof(path), "%s/%s", QI_GOLDEN, name);
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    size_t n = fread(bytes, 1, size, file);
    (void)fclose(file);
    return n;
}

static void
check_vector(const char *name, int seen[128])
{
    static uint8_t bytes[65536];
    static uint8_t again[65536];
    size_t size = read_file(name, bytes, sizeof(bytes));
    struct qi_splitter s;
    const uint8_t *payload = NULL;
    size_t n = 0;
    struct qi_frame frame;
    struct qi_encoder e;

    qi_splitter_init(&s, QI_FRAME_MAX);
    feed(&s, bytes, size);
    CHECK_INT(qi_splitter_next(&s, &payload, &n), 1);
    CHECK_INT(n, size - 4);
    CHECK_INT(qi_frame_decode(payload, n, &frame), QI_WIRE_OK);
    const char *wanted = qi_message_info(frame.message)->name;
    CHECK(strncmp(name, wanted, strlen(wanted)) == 0);
    CHECK(strchr("-.", name[strlen(wanted)]) != NULL);
    seen[frame.message]++;
    /* Python's msgpack and msgpack-c both take the shortest format. */
    qi_encoder_init(&e, again, sizeof(again));
    qi_encode_begin(&e, frame.message, frame.seq, frame.body.size);
    transcode_elements(&frame.body, &e);
    CHECK_INT(qi_encode_end(&e), QI_WIRE_OK);
    CHECK_INT(e.size, size);
    CHECK(memcmp(again, bytes, size) == 0);
    /* Cut anywhere, it is a violation and nothing worse. */
    for (size_t cut = 0; cut < n; cut++) {
        CHECK(decode(payload, cut) < 0);
    }
    qi_splitter_fini(&s);
}

static void
golden_vectors_both_ways(void)
{
    int seen[128] = {0};
    struct dirent *entry;
    DIR *folder = opendir(QI_GOLDEN);

    CHECK(folder != NULL);
    while ((entry = readdir(folder)) != NULL) {
        if (strstr(entry->d_name, ".bin") != NULL) {
            check_vector(entry->d_name, seen);
        }
    }
    (void)closedir(folder);
    for (uint32_t i = 0; i < 128; i++) {
        CHECK((qi_message_info(i) != NULL) == (seen[i] > 0));
    }
    CHECK(qi_message_info(128) == NULL);
    CHECK(qi_message_info(UINT32_MAX) == NULL);
}

/* Bytes of a vector changed at random: any result will do, a sanitizer watches. */
static void
spoilt_frames_do_no_harm(void)
{
    static const char *const names[] = {"STATE.bin", "EVENTS.bin", "INTERN.bin",
                                        "PROCESS.bin", "RESULT.bin"};
    unsigned long long random = 4711;
    static uint8_t bytes[65536];

    for (unsigned i = 0; i < 20000; i++) {
        size_t size = read_file(names[i % 5], bytes, sizeof(bytes));
        for (unsigned k = 0; k <= i % 4u; k++) {
            bytes[4 + qi_test_random(&random) % (size - 4)] =
                (uint8_t)qi_test_random(&random);
        }
        if (decode(bytes + 4, size - 4) < 0) {
            continue;
        }
        struct qi_cursor cursor = qi_cursor_in(&frame_.fields[1]);
        struct qi_wire_entry entry;
        struct qi_wire_row row;
        struct qi_value value;
        struct qi_cursor rows = cursor;
        struct qi_wire_row next;
        int bad_row = 0, more = 1;
        while (qi_cursor_next(&cursor, &value)) {
            int good = qi_row_decode(&value, &row);
            more = more && qi_row_next(&rows, &next, &bad_row);
            CHECK_INT(more && good, more); /* both say the same, up to a bad one */
            CHECK(!more || memcmp(&row, &next, sizeof(row)) == 0);
            (void)qi_entry_decode(&value, &entry);
        }
        CHECK(bad_row || !qi_row_next(&rows, &next, &bad_row));
        cursor = qi_cursor_in(&frame_.fields[2]);
        int64_t ts = 0;
        struct qi_record record;
        int bad = 0;
        while (qi_record_decode(&cursor, &ts, &record, &bad)) {
            ;
        }
    }
}

/* --- rows, entries, records --- */

static struct qi_cursor
list_in_buffer(struct qi_encoder *e)
{
    CHECK_INT(qi_encode_end(e), QI_WIRE_OK);
    CHECK_INT(qi_frame_decode(buffer + 4, e->size - 4, &frame_), QI_WIRE_OK);
    return qi_cursor_in(&frame_.fields[QI_KEY_RESULT_value]);
}

static void
open_list(struct qi_encoder *e, uint32_t n)
{
    qi_encoder_init(e, buffer, sizeof(buffer));
    qi_encode_begin(e, QI_MSG_RESULT, 1, 2);
    qi_encode_bool_field(e, QI_KEY_RESULT_ok, 1);
    qi_encode_key(e, QI_KEY_RESULT_value);
    qi_encode_list(e, n);
}

static void
rows_come_back(void)
{
    struct qi_slot slot = {
        .kind = QI_TASK, .state = QI_TASK_WAITING, .loop = 2, .id = 77};
    struct qi_wire_row row;
    struct qi_encoder e;
    struct qi_value value;
    size_t start;

    /* The longest row there can be is as long as is promised. */
    memset(&slot.row, 0xff, sizeof(slot.row));
    slot.row.task.busy = 5; /* a time; the others are negative and still short */
    open_list(&e, 2);
    start = e.size;
    qi_encode_row(&e, &slot);
    CHECK(e.size - start <= QI_ROW_BYTES_MAX);
    qi_encode_gone(&e, QI_SLOT, 9);
    struct qi_cursor cursor = list_in_buffer(&e);
    CHECK_INT(qi_cursor_next(&cursor, &value), 1);
    CHECK_INT(qi_row_decode(&value, &row), 1);
    CHECK_INT(row.kind, QI_TASK);
    CHECK_INT(row.id, 77);
    CHECK_INT(row.state, QI_TASK_WAITING);
    CHECK_INT(row.loop, 2);
    CHECK_INT(row.columns, 22);
    CHECK_INT(row.column[5], -1);
    CHECK_INT(row.column[7], 5);
    CHECK(row.column[9] == UINT32_MAX * UINT64_C(1000)); /* microseconds, in ns */
    CHECK_INT(qi_cursor_next(&cursor, &value), 1);
    CHECK_INT(qi_row_decode(&value, &row), 1);
    CHECK_INT(row.state, QI_STATE_GONE);
    CHECK_INT(row.columns, 0);
    CHECK_INT(qi_cursor_next(&cursor, &value), 0);

    int bad = 0;
    cursor = list_in_buffer(&e);
    CHECK_INT(qi_row_next(&cursor, &row, &bad), 1);
    CHECK_INT(row.id, 77);
    CHECK_INT(row.columns, 22);
    CHECK_INT(qi_row_next(&cursor, &row, &bad), 1);
    CHECK_INT(row.state, QI_STATE_GONE);
    CHECK_INT(qi_row_next(&cursor, &row, &bad), 0);
    CHECK_INT(bad, 0);
}

/* Too short, a number in a row's place, a text among the columns. */
static void
what_is_no_row_is_said_to_be_none(void)
{
    for (int i = 0; i < 3; i++) {
        struct qi_encoder e;
        struct qi_wire_row row;
        int bad = 0;
        open_list(&e, 1);
        if (i == 1) {
            qi_encode_uint(&e, 7);
        }
        else {
            qi_encode_list(&e, i == 0 ? 3 : 5);
            for (int n = 0; n < (i == 0 ? 3 : 4); n++) {
                qi_encode_uint(&e, 1);
            }
        }
        if (i == 2) {
            qi_encode_text(&e, "x", 1);
        }
        struct qi_cursor cursor = list_in_buffer(&e);
        CHECK_INT(qi_row_next(&cursor, &row, &bad), 0);
        CHECK_INT(bad, 1);
    }
}

static void
entries_come_back(void)
{
    uint32_t code[3] = {42, 1, 2};
    uint32_t codes[16] = {3, 3};
    uint8_t text[2000];
    struct qi_encoder e;
    struct qi_wire_entry got;
    struct qi_value value;

    memset(text, 'x', sizeof(text));
    text[1] = 0xff; /* of a damaged segment */
    const struct qi_entry entries[] = {
        {.id = 1, .type = 't', .size = sizeof(text), .bytes = text},
        {.id = 2, .type = 'c', .size = sizeof(code), .bytes = (const uint8_t *)code},
        {.id = 3, .type = 'k', .size = sizeof(codes), .bytes = (const uint8_t *)codes},
        {.id = 4, .type = 'z', .size = 1, .bytes = text},
    };
    open_list(&e, 3);
    for (int i = 0; i < 4; i++) {
        size_t start = e.size;
        CHECK_INT(qi_encode_entry(&e, &entries[i]), i < 3);
        CHECK(e.size - start <= QI_ENTRY_BYTES_MAX);
    }
    struct qi_cursor cursor = list_in_buffer(&e);
    CHECK_INT(qi_cursor_next(&cursor, &value), 1);
    CHECK_INT(qi_entry_decode(&value, &got), 1);
    CHECK_INT(got.text.size, QI_TEXT_BYTES_MAX);
    CHECK(memcmp(got.text.bytes, "x?x", 3) == 0);
    CHECK_INT(qi_cursor_next(&cursor, &value), 1);
    CHECK_INT(qi_entry_decode(&value, &got), 1);
    CHECK_INT(got.type, 'c');
    CHECK_INT(got.line, 42);
    CHECK_INT(got.file, 1);
    CHECK_INT(got.name, 2);
    CHECK_INT(qi_cursor_next(&cursor, &value), 1);
    CHECK_INT(qi_entry_decode(&value, &got), 1);
    CHECK_INT(got.codes.size, 16);
}

static void
records_come_back(void)
{
    const struct qi_record records[] = {
        {.ts = 100, .kind = QI_EV_TASK_STEP, .aux = 1, .x = 2, .a = 3, .b = 4},
        {.ts = 90,
         .kind = UINT16_MAX,
         .aux = UINT16_MAX,
         .x = UINT32_MAX,
         .a = UINT64_MAX,
         .b = UINT64_MAX},
        {.ts = INT64_MAX},
        {.ts = INT64_MIN}, /* the difference does not fit: it wraps, and back again */
    };
    struct qi_encoder e;
    struct qi_record got;
    int64_t ts = 0;
    int bad = 0;

    open_list(&e, 4 * QI_RECORD_VALUES);
    size_t start = e.size;
    qi_encode_records(&e, records, 4, &ts);
    CHECK(e.size - start <= 4 * QI_RECORD_BYTES_MAX);
    CHECK(ts == INT64_MIN);
    struct qi_cursor cursor = list_in_buffer(&e);
    ts = 0;
    for (int i = 0; i < 4; i++) {
        CHECK_INT(qi_record_decode(&cursor, &ts, &got, &bad), 1);
        CHECK(got.ts == records[i].ts && got.kind == records[i].kind);
        CHECK(got.aux == records[i].aux && got.x == records[i].x);
        CHECK(got.a == records[i].a && got.b == records[i].b);
    }
    CHECK_INT(qi_record_decode(&cursor, &ts, &got, &bad), 0);
    CHECK_INT(bad, 0);
    /* Five values are no record. */
    open_list(&e, 5);
    for (int i = 0; i < 5; i++) {
        qi_encode_uint(&e, 1);
    }
    cursor = list_in_buffer(&e);
    CHECK_INT(qi_record_decode(&cursor, &ts, &got, &bad), 0);
    CHECK_INT(bad, 1);
}

/* --- long lists of numbers --- */

static void
numbers_are_read_in_place(void)
{
    static const int64_t signed_ones[] = {
        0,   1,    127,  128,    255,    256,       65535,       65536,     -1,       -32,
        -33, -128, -129, -32768, -32769, INT32_MIN, -2147483649, INT64_MAX, INT64_MIN};
    const unsigned n = sizeof(signed_ones) / sizeof(signed_ones[0]);
    struct qi_encoder e;
    uint32_t elements = 0;
    uint64_t bits = 0;

    qi_encoder_init(&e, buffer, sizeof(buffer));
    qi_encode_list(&e, n + 1);
    for (unsigned i = 0; i < n; i++) {
        qi_encode_int(&e, signed_ones[i]);
    }
    qi_encode_uint(&e, UINT64_MAX);
    struct qi_cursor cursor = {buffer, buffer + e.size};
    CHECK_INT(qi_cursor_number(&cursor, &bits), QI_NUMBER_NONE);
    CHECK(cursor.at == buffer);
    CHECK_INT(qi_cursor_enter(&cursor, &elements), 1);
    CHECK_INT(elements, n + 1);
    for (unsigned i = 0; i < n; i++) {
        CHECK_INT(qi_cursor_enter(&cursor, &elements), 0);
        CHECK_INT(qi_cursor_number(&cursor, &bits),
                  signed_ones[i] < 0 ? QI_NUMBER_NEGATIVE : QI_NUMBER);
        CHECK(bits == (uint64_t)signed_ones[i]);
    }
    CHECK_INT(qi_cursor_number(&cursor, &bits), QI_NUMBER);
    CHECK(bits == UINT64_MAX);
    CHECK_INT(qi_cursor_number(&cursor, &bits), QI_NUMBER_NONE);
    CHECK(cursor.at == cursor.end);
}

static void
numbers_and_lists_that_are_cut_off_are_none(void)
{
    static const uint8_t heads[] = {0xcc, 0xcd, 0xce, 0xcf, 0xd0, 0xd1,
                                    0xd2, 0xd3, 0xdc, 0xdd, 0x92};
    uint8_t bytes[9];
    uint32_t elements = 0;
    uint64_t bits = 0;

    for (unsigned i = 0; i < sizeof(heads); i++) {
        memset(bytes, 0x01, sizeof(bytes));
        bytes[0] = heads[i];
        struct qi_cursor cursor = {bytes, bytes + 1};
        CHECK_INT(qi_cursor_number(&cursor, &bits), QI_NUMBER_NONE);
        CHECK_INT(qi_cursor_enter(&cursor, &elements), 0);
        CHECK(cursor.at == bytes);
    }
    /* More elements than bytes. */
    memset(bytes, 0xff, sizeof(bytes));
    bytes[0] = 0xdd;
    struct qi_cursor cursor = {bytes, bytes + sizeof(bytes)};
    CHECK_INT(qi_cursor_enter(&cursor, &elements), 0);
    CHECK(cursor.at == bytes);
}

/* --- the tables --- */

static void
columns_are_in_order_and_inside(void)
{
    for (unsigned kind = 1; kind < QI_ENTITY_KINDS; kind++) {
        const struct qi_column *columns = NULL;
        unsigned n = qi_columns(kind, &columns);
        CHECK(qi_entity_name(kind) != NULL);
        CHECK(n <= QI_COLUMNS_MAX);
        for (unsigned i = 0; i < n; i++) {
            CHECK_INT(columns[i].entity, kind);
            CHECK_INT(columns[i].number, i);
            CHECK(columns[i].offset + columns[i].size <= sizeof(struct qi_slot));
        }
    }
    CHECK_INT(qi_columns(0, &(const struct qi_column *){NULL}), 0);
    CHECK_INT(qi_columns(200, &(const struct qi_column *){NULL}), 0);
    CHECK(qi_entity_name(QI_ENTITY_KINDS) == NULL);
}

int
main(void)
{
    RUN(what_does_not_fit_is_taken_back);
    RUN(a_frame_over_the_limit_is_taken_back);
    RUN(a_list_may_get_its_length_later);
    RUN(a_stream_in_any_pieces_gives_the_same_frames);
    RUN(memory_is_what_has_come);
    RUN(lengths_beyond_the_limit_are_violations);
    RUN(violations_are_told_apart);
    RUN(what_is_unknown_passes);
    RUN(nesting_ends_at_the_limit);
    RUN(numbers_have_their_value_in_every_format);
    RUN(utf8_is_that_of_the_rfc);
    RUN(golden_vectors_both_ways);
    RUN(spoilt_frames_do_no_harm);
    RUN(rows_come_back);
    RUN(what_is_no_row_is_said_to_be_none);
    RUN(entries_come_back);
    RUN(records_come_back);
    RUN(numbers_are_read_in_place);
    RUN(numbers_and_lists_that_are_cut_off_are_none);
    RUN(columns_are_in_order_and_inside);
    return 0;
}
