/*
 * fuzz_trace.c - a recording of anybody's, read through every function: as it is, and
 * with its checksums made right, which a fuzzer would not find.
 */
#include "fuzz.h"

#include "crc32c.h"
#include "rows.h"
#include "trace_read.h"

#include <stdlib.h>
#include <string.h>

#define CHUNKS_READ 8u

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
read_frames(const struct qi_trace_body *body)
{
    struct qi_trace_cursor cursor = qi_trace_frames(body);
    struct qi_trace_loss loss;
    struct qi_trace_note note;
    struct qi_frame frame;

    while (qi_trace_next_frame(&cursor, &frame) > 0) {
        (void)qi_trace_loss(&frame, &loss);
        if (qi_trace_note(&frame, &note)) {
            read_elements(&note.body);
        }
        read_elements(&frame.fields[QI_KEY_STATE_rows]);
        read_elements(&frame.fields[QI_KEY_INTERN_entries]);
    }
}

static void
read_chunk(const struct qi_trace *t, size_t index)
{
    const struct qi_trace_place *place = &t->chunks[index];
    struct qi_trace_body body;

    if (qi_trace_read(t, index, &body) != QI_TRACE_READ_OK) {
        return;
    }
    struct qi_record *records = malloc((place->n + (size_t)1) * sizeof(*records));
    if (records != NULL) {
        (void)qi_trace_records(&body, place->first, records, place->n);
    }
    free(records);
    read_frames(&body);
    qi_trace_body_free(&body);
}

static size_t
get_le(const uint8_t *at, size_t size)
{
    size_t x = 0;

    for (size_t i = size; i-- > 0;) {
        x = x << 8 | at[i];
    }
    return x;
}

static void
put_le32(uint8_t *at, uint32_t x)
{
    for (int i = 0; i < 4; i++) {
        at[i] = (uint8_t)(x >> (8 * i));
    }
}

static void
repair(uint8_t *bytes, size_t size)
{
    size_t at = QI_TRACE_HEAD_SIZE;

    if (size < at || get_le(bytes + 8, 4) > size - at) {
        return;
    }
    put_le32(bytes + 12, qi_crc32c(0, bytes + at, get_le(bytes + 8, 4)));
    while (size - at >= QI_TRACE_BLOCK_SIZE) {
        uint8_t *head = bytes + at;
        size_t head_size = get_le(head + 8, 2);
        size_t stored = get_le(head + 12, 4);
        if (memcmp(head, QI_TRACE_BLOCK_MARK, 4) != 0 || head_size < QI_TRACE_BLOCK_SIZE
            || head_size > size - at || stored > size - at - head_size) {
            at++;
            continue;
        }
        put_le32(head + 20, qi_crc32c(0, head + head_size, stored));
        put_le32(head + 4, qi_crc32c(0, head + 8, head_size - 8));
        at += head_size + stored;
    }
}

static void
read_trace(const uint8_t *bytes, size_t size)
{
    struct qi_trace t;

    if (qi_trace_open_memory(bytes, size, &t) == QI_TRACE_READ_OK) {
        for (size_t i = 0; i < t.count && i < CHUNKS_READ; i++) {
            read_chunk(&t, i);
        }
        (void)qi_trace_is_complete(&t);
    }
    qi_trace_close(&t);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    /* Of the very size, so that a byte too many is seen. */
    uint8_t *copy = malloc(size > 0 ? size : 1);

    if (copy == NULL) {
        return 0;
    }
    memcpy(copy, bytes, size);
    read_trace(copy, size);
    repair(copy, size);
    read_trace(copy, size);
    free(copy);
    return 0;
}
