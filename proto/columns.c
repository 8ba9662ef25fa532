/* columns.c - see columns.h. */
#include "columns.h"

#include <string.h>

/* Which member of the slot's union a kind uses. */
#define ROW_TASK task
#define ROW_SLOT slot
#define ROW_WAIT wait
#define ROW_OBJECT object
#define ROW_TIMER timer
#define ROW_WATCH watch
#define ROW_JOB job
#define ROW_LOOP loop_

/* The two columns whose member cannot have their name. */
#define max_step max_step_us
#define class class_

#define OFFSET(entity, member) offsetof(struct qi_slot, row.entity.member)
#define SIZE(entity, member) sizeof(((const struct qi_slot *)0)->row.entity.member)

static const struct qi_column all_columns[] = {
#define ENTITY(number, NAME, singular, doc)
#define COLUMN(ENTITY_NAME, column, member, kind, doc)                                   \
    {.name = #member,                                                                    \
     .entity = QI_##ENTITY_NAME,                                                         \
     .number = column,                                                                   \
     .type = QI_COLUMN_##kind,                                                           \
     .size = SIZE(ROW_##ENTITY_NAME, member),                                            \
     .offset = OFFSET(ROW_##ENTITY_NAME, member)},
#include "entities.def"
#undef ENTITY
#undef COLUMN
};

static const char *const entity_names[QI_ENTITY_KINDS] = {
#define ENTITY(number, NAME, singular, doc) [number] = singular,
#define COLUMN(...)
#include "entities.def"
#undef ENTITY
#undef COLUMN
};

/* Where each kind's columns begin in all_columns; FIRST_end is behind the last. */
enum {
#define ENTITY(number, NAME, singular, doc)                                              \
    FIRST_##NAME, BEFORE_##NAME = FIRST_##NAME - 1,
#define COLUMN(ENTITY_NAME, column, member, kind, doc) PLACE_##ENTITY_NAME##_##column,
#include "entities.def"
#undef ENTITY
#undef COLUMN
    FIRST_end
};

static const uint8_t first_columns[QI_ENTITY_KINDS + 1] = {
#define ENTITY(number, NAME, singular, doc) [number] = FIRST_##NAME,
#define COLUMN(...)
#include "entities.def"
#undef ENTITY
#undef COLUMN
    [QI_ENTITY_KINDS] = FIRST_end,
};

/* The kinds follow each other, each kind's columns are together and numbered from 0: the
   look-up relies on it, and tests/c/test_wire.c checks it. */
unsigned
qi_columns(unsigned kind, const struct qi_column **ret_columns)
{
    if (kind == 0 || kind >= QI_ENTITY_KINDS) {
        return 0;
    }
    *ret_columns = &all_columns[first_columns[kind]];
    return (unsigned)first_columns[kind + 1] - first_columns[kind];
}

const char *
qi_entity_name(unsigned kind)
{
    return kind < QI_ENTITY_KINDS ? entity_names[kind] : NULL;
}

uint64_t
qi_column_value(const struct qi_column *column, const struct qi_slot *slot)
{
    const uint8_t *at = (const uint8_t *)slot + column->offset;
    uint64_t value64 = 0;
    uint32_t value32 = 0;
    uint16_t value16 = 0;

    switch (column->size) {
    case 1:
        return at[0];
    case 2:
        memcpy(&value16, at, sizeof(value16));
        return value16;
    case 4:
        memcpy(&value32, at, sizeof(value32));
        /* 32 bits of nanoseconds would end at 4 seconds: such a member holds
         * microseconds. */
        return column->type == QI_COLUMN_ns ? value32 * UINT64_C(1000) : value32;
    default:
        memcpy(&value64, at, sizeof(value64));
        return value64;
    }
}

int
qi_state_is_final(unsigned kind, unsigned state)
{
    switch (kind) {
    case QI_TASK:
        return state >= QI_TASK_DONE;
    case QI_LOOP:
        return state >= QI_LOOP_IS_CLOSED;
    default:
        return state != QI_LIVE;
    }
}
