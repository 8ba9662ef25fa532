/* rows.c - see rows.h. */
#include "rows.h"

#include "qi_utf8.h"

#include <string.h>

#define ROW_HEAD 4u /* kind, id, state, loop */
#define ROW_HEAD 4u /* kind, id, state, loop */

static int
is_signed(const struct qi_column *column)
{
    return column->type == QI_COLUMN_i || column->type == QI_COLUMN_ns;
}

void
qi_encode_row(struct qi_encoder *e, const struct qi_slot *slot)
{
    const struct qi_column *columns = NULL;
    unsigned n = qi_columns(slot->kind, &columns);

    qi_encode_list(e, ROW_HEAD + n);
    qi_encode_uint(e, slot->kind);
    qi_encode_uint(e, slot->id);
    qi_encode_uint(e, slot->state);
    qi_encode_uint(e, slot->loop);
    for (unsigned i = 0; i < n; i++) {
        uint64_t value = qi_column_value(&columns[i], slot);
        if (is_signed(&columns[i])) {
            qi_encode_int(e, (int64_t)value);
        }
        else {
            qi_encode_uint(e, value);
        }
    }
}

void
qi_encode_gone(struct qi_encoder *e, unsigned kind, uint64_t id)
{
    qi_encode_list(e, ROW_HEAD);
    qi_encode_uint(e, kind);
    qi_encode_uint(e, id);
    qi_encode_uint(e, QI_STATE_GONE);
    qi_encode_uint(e, 0);
}

/* Of a damaged segment it may be anything; of our own it is as it should be already. */
static void
encode_text(struct qi_encoder *e, const struct qi_entry *entry)
{
    char clean[QI_TEXT_BYTES_MAX];

    qi_encode_text(
        e, clean,
        qi_utf8_clean(clean, sizeof(clean), (const char *)entry->bytes, entry->size));
}

static void
encode_code(struct qi_encoder *e, const struct qi_entry *entry)
{
    uint32_t file = 0;
    uint32_t name = 0;
    uint32_t line = 0;

    (void)qi_entry_code(entry, &file, &name, &line); /* zeros if it is damaged */
    qi_encode_list(e, 3);
    qi_encode_uint(e, file);
    qi_encode_uint(e, name);
    qi_encode_uint(e, line);
}

static void
encode_stack(struct qi_encoder *e, const struct qi_entry *entry)
{
    uint32_t codes[QI_COLUMNS_MAX];
    size_t n = qi_entry_stack(entry, codes, sizeof(codes) / sizeof(codes[0]));

    qi_encode_list(e, (uint32_t)n);
    for (size_t i = 0; i < n; i++) {
        qi_encode_uint(e, codes[i]);
    }
}

int
qi_encode_entry(struct qi_encoder *e, const struct qi_entry *entry)
{
    const char type = (char)entry->type;

    if (type != 't' && type != 'c' && type != 'k') {
        return 0;
    }
    qi_encode_list(e, 3);
    qi_encode_uint(e, entry->id);
    qi_encode_text(e, &type, 1);
    if (type == 't') {
        encode_text(e, entry);
    }
    else if (type == 'c') {
        encode_code(e, entry);
    }
    else {
        encode_stack(e, entry);
    }
    return 1;
}

void
qi_encode_records(struct qi_encoder *e, const struct qi_record *records, size_t n,
                  int64_t *last_ts)
{
    for (size_t i = 0; i < n; i++) {
        const struct qi_record *r = &records[i];
        /* Unsigned: a difference of two times of anybody's file may overflow. */
        qi_encode_int(e, (int64_t)((uint64_t)r->ts - (uint64_t)*last_ts));
        qi_encode_uint(e, r->kind);
        qi_encode_uint(e, r->aux);
        qi_encode_uint(e, r->x);
        qi_encode_uint(e, r->a);
        qi_encode_uint(e, r->b);
        *last_ts = r->ts;
    }
}

/* --- decoding --------------------------------------------------------------------- */

static int
next_uint(struct qi_cursor *cursor, uint64_t most, uint64_t *ret_number)
{
    return qi_cursor_number(cursor, ret_number) == QI_NUMBER && *ret_number <= most;
}

static int
next_u32(struct qi_cursor *cursor, uint32_t *ret_number)
{
    uint64_t number = 0;
    int there = next_uint(cursor, UINT32_MAX, &number);

    *ret_number = (uint32_t)number;
    return there;
}

/* A row of n elements. */
static int
decode_row(struct qi_cursor *cursor, uint32_t n, struct qi_wire_row *row)
{
    uint64_t number = 0;

    memset(row, 0, sizeof(*row));
    if (n < ROW_HEAD || !next_u32(cursor, &row->kind)
        || !next_uint(cursor, UINT64_MAX, &row->id) || !next_u32(cursor, &row->state)
        || !next_u32(cursor, &row->loop)) {
        return 0;
    }
    for (n -= ROW_HEAD; n > 0; n--) {
        if (qi_cursor_number(cursor, &number) == QI_NUMBER_NONE) {
            return 0;
        }
        if (row->columns < QI_COLUMNS_MAX) {
            row->column[row->columns++] = number;
        }
    }
    return 1;
}

int
qi_row_decode(const struct qi_value *value, struct qi_wire_row *ret_row)
{
    struct qi_cursor cursor = qi_cursor_in(value);

    return decode_row(&cursor, value->type == QI_VALUE_LIST ? value->size : 0, ret_row);
}

int
qi_row_next(struct qi_cursor *rows, struct qi_wire_row *ret_row, int *ret_bad)
{
    uint32_t n = 0;

    if (rows->at == rows->end) {
        return 0;
    }
    *ret_bad = !qi_cursor_enter(rows, &n) || !decode_row(rows, n, ret_row);
    return !*ret_bad;
}

static int
decode_code(const struct qi_value *value, struct qi_wire_entry *entry)
{
    struct qi_cursor cursor = qi_cursor_in(value);

    return value->type == QI_VALUE_LIST && next_u32(&cursor, &entry->file)
           && next_u32(&cursor, &entry->name) && next_u32(&cursor, &entry->line);
}

int
qi_entry_decode(const struct qi_value *value, struct qi_wire_entry *ret_entry)
{
    struct qi_cursor cursor = qi_cursor_in(value);
    struct qi_value type;
    struct qi_value contents;

    memset(ret_entry, 0, sizeof(*ret_entry));
    if (value->type != QI_VALUE_LIST || !next_u32(&cursor, &ret_entry->id)
        || ret_entry->id == 0 || !qi_cursor_next(&cursor, &type)
        || type.type != QI_VALUE_TEXT || type.size != 1
        || !qi_cursor_next(&cursor, &contents)) {
        return 0;
    }
    ret_entry->type = (char)type.bytes[0];
    switch (ret_entry->type) {
    case 't':
        ret_entry->text = contents;
        return contents.type == QI_VALUE_TEXT;
    case 'c':
        return decode_code(&contents, ret_entry);
    case 'k':
        ret_entry->codes = contents;
        return contents.type == QI_VALUE_LIST;
    default:
        return 0;
    }
}

int
qi_record_decode(struct qi_cursor *records, int64_t *last_ts,
                 struct qi_record *ret_record, int *ret_bad)
{
    struct qi_value dt;
    int64_t difference = 0;
    uint64_t kind = 0;
    uint64_t aux = 0;

    *ret_bad = 0;
    memset(ret_record, 0, sizeof(*ret_record));
    if (!qi_cursor_next(records, &dt)) {
        return 0;
    }
    if (!qi_value_int(&dt, &difference) || !next_uint(records, UINT16_MAX, &kind)
        || !next_uint(records, UINT16_MAX, &aux) || !next_u32(records, &ret_record->x)
        || !next_uint(records, UINT64_MAX, &ret_record->a)
        || !next_uint(records, UINT64_MAX, &ret_record->b)) {
        *ret_bad = 1;
        return 0;
    }
    *last_ts = (int64_t)((uint64_t)*last_ts + (uint64_t)difference);
    ret_record->ts = *last_ts;
    ret_record->kind = (uint16_t)kind;
    ret_record->aux = (uint16_t)aux;
    return 1;
}
