/* fuzz_segment.c - a segment of anybody's, read through every function. */
#include "fuzz.h"

#include "rows.h"
#include "segment_read.h"

#include <stdlib.h>
#include <string.h>

#define SLOTS_READ 64u

static void
read_slots(const struct qi_view *view)
{
    static uint8_t out[65536];
    uint32_t n = qi_view_slots_used(view);
    struct qi_encoder e;
    struct qi_slot slot;

    for (uint32_t i = 0; i < n && i < SLOTS_READ; i++) {
        if (qi_view_slot(view, i, &slot) == QI_VIEW_OK) {
            qi_encoder_init(&e, out, sizeof(out));
            qi_encode_row(&e, &slot);
        }
    }
}

static void
read_records(const struct qi_view *view)
{
    struct qi_record records[16];
    uint64_t position = 0;
    uint64_t lost = 0;

    for (int i = 0; i < 4; i++) {
        (void)qi_view_records(view, &position, records, 16, &lost);
    }
}

static void
read_entries(const struct qi_view *view)
{
    static uint8_t out[65536];
    struct qi_arena_index index = {0};
    struct qi_encoder e;
    struct qi_entry entry;

    if (qi_arena_index_update(&index, view) == QI_VIEW_OK) {
        for (uint32_t id = 0; id <= index.count; id++) {
            qi_encoder_init(&e, out, sizeof(out));
            if (qi_arena_index_find(&index, view, id, &entry)) {
                (void)qi_encode_entry(&e, &entry);
            }
        }
    }
    qi_arena_index_fini(&index);
}

int
LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t size)
{
    /* Of the very size and aligned, as a mapping is. */
    void *memory = malloc(size > 0 ? size : 1);
    struct qi_view view;

    if (memory == NULL) {
        return 0;
    }
    memcpy(memory, bytes, size);
    if (qi_view_init(&view, memory, size) == QI_VIEW_OK) {
        read_slots(&view);
        read_records(&view);
        read_entries(&view);
    }
    free(memory);
    return 0;
}
