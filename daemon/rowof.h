/*
 * rowof.h - the columns of the mirror's rows by name: row->value[QI_COL_TASK_code].
 */
#ifndef QI_DAEMON_ROWOF_H
#define QI_DAEMON_ROWOF_H

enum qi_row_column {
#define ENTITY(...)
#define COLUMN(NAME, number, name, type, doc) QI_COL_##NAME##_##name = number,
#include "entities.def"
#undef ENTITY
#undef COLUMN
    QI_COL_END
};

#endif
