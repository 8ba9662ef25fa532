/*
 * fuzz_frame.c - a peer's bytes: the splitter, the decoder, rows, entries and records.
 *
 * The first byte says in which pieces the rest arrives.
 */
#include "fuzz.h"

#include "rows.h"
#include "wire.h"

#include <stdlib.h>
#include <string.h>

static void
read_elements(const struct qi_value *list)
{
    struct qi_cursor cursor = qi_cursor_in(list);
    struct qi_wire_entry entry;
    struct qi_wire_row row;
    struct qi_value value;

    while (qi_cursor_next(&cursor, &value)) {
        (void)qi_row_decode(&value, &row);
        (void)qi_entry_decode(&value, &entry);
    }
}

static void
read_records(const struct qi_value *list)
{
    struct qi_cursor cursor = qi_cursor_in(list);
    struct qi_record record;
    int64_t ts = 0;
    int bad = 0;

    while (qi_record_decode(&cursor, &ts, &record, &bad)) {
        ;
    }
}

/* As rows_py.c reads rows: without a look at the elements before. */
static void
read_numbers(const struct qi_value *list)
{
    struct qi_cursor cursor = qi_cursor_in(list);
    uint32_t elements = 0;
    uint64_t bits = 0;

    while (qi_cursor_enter(&cursor, &elements)
           || qi_cursor_number(&cursor, &bits) != QI_NUMBER_NONE) {
        ;
    }
}

static void
read_frame(const uint8_t *payload, size_t size)
{
    struct qi_frame frame;
    char text[16];

    if (qi_frame_decode(payload, size, &frame) != QI_WIRE_OK) {
        return;
    }
    for (unsigned key = 0; key < QI_FIELDS_MAX; key++) {
        read_elements(&frame.fields[key]);
        read_records(&frame.fields[key]);
        read_numbers(&frame.fields[key]);
        qi_frame_copy_text(&frame, key, text, sizeof(text));
    }
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    size_t piece = size > 0 ? 1 + (size_t)bytes[0] * 16 : 1;
    struct qi_splitter splitter;
    const uint8_t *payload = NULL;
    uint8_t *room = NULL;
    size_t n = 0;
    int r = 0;

    qi_splitter_init(&splitter, QI_FRAME_MAX);
    for (size_t at = 1; r >= 0 && at < size; at += n) {
        if (qi_splitter_room(&splitter, &room, &n) < 0) {
            break;
        }
        n = n < piece ? n : piece;
        n = n < size - at ? n : size - at;
        memcpy(room, bytes + at, n);
        qi_splitter_filled(&splitter, n);
        size_t length = 0;
        while ((r = qi_splitter_next(&splitter, &payload, &length)) > 0) {
            read_frame(payload, length);
        }
    }
    qi_splitter_fini(&splitter);
    return 0;
}
