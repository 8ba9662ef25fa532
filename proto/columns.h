/*
 * columns.h - entities.def as a table, and the values of a slot's columns.
 *
 * [any]; nothing here has a state.
 */
#ifndef QI_PROTO_COLUMNS_H
#define QI_PROTO_COLUMNS_H

#include "segment.h"

#ifdef __cplusplus
extern "C" {
#endif

#define QI_COLUMNS_MAX 32 /* no entity has more */

enum qi_column_type {
    QI_COLUMN_u, /* unsigned */
    QI_COLUMN_i, /* signed */
    QI_COLUMN_t, /* intern id of a text */
    QI_COLUMN_c, /* intern id of a code location */
    QI_COLUMN_k, /* intern id of a stack */
    QI_COLUMN_r, /* ref */
    QI_COLUMN_ns,
    QI_COLUMN_b
};

struct qi_column {
    const char *name; /* static */
    uint8_t entity, number;
    uint8_t type; /* enum qi_column_type */
    uint8_t size; /* of the member in struct qi_slot: 1, 2, 4 or 8 */
    uint16_t offset;
};

/* The columns of a kind in order, and their number; 0 for an unknown kind. */
unsigned qi_columns(unsigned kind, const struct qi_column **ret_columns);

/* "task" and so on; NULL for an unknown kind. */
const char *qi_entity_name(unsigned kind);

/* The column's value in a copied slot; what is signed comes as its two's complement.
   Nanoseconds are nanoseconds whatever the member holds. */
uint64_t qi_column_value(const struct qi_column *column, const struct qi_slot *slot);

/* Does a row of this kind and state say that its entity is over? */
int qi_state_is_final(unsigned kind, unsigned state);

#ifdef __cplusplus
}
#endif

#endif
