/*
 * lint_scene.h - a mirror and its lints, and what tests put into them.
 */
#ifndef QI_TESTS_LINT_SCENE_H
#define QI_TESTS_LINT_SCENE_H

#include "qi_test.h"

#include "lints.h"
#include "rowof.h"

#include <stdint.h>
#include <string.h>

#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)
#define START (1000 * SECOND)

struct scene {
    struct qi_mirror *mirror;
    struct qi_lints *lints;
    int64_t now;
};

static inline struct scene
make(void)
{
    static const struct qi_mirror_limits limits = QI_MIRROR_LIMITS;
    struct scene s = {qi_mirror_new(&limits), qi_lints_new(4), START};

    CHECK(s.mirror != NULL && s.lints != NULL);
    return s;
}

static inline void
finish(struct scene *s)
{
    qi_mirror_free(s->mirror);
    qi_lints_free(s->lints);
}

static inline struct qi_wire_row
a_row(unsigned kind, uint64_t id, unsigned state)
{
    struct qi_wire_row row = {.kind = kind, .id = id, .state = state, .loop = 1};
    const struct qi_column *columns;

    row.columns = qi_columns(kind, &columns);
    if (kind == QI_TASK) {
        row.column[QI_COL_TASK_changed] = (uint64_t)START;
        row.column[QI_COL_TASK_steps] = 1;
        row.column[QI_COL_TASK_wait_kind] = QI_WAITS_TIMER;
    }
    if (kind == QI_WAIT) {
        row.column[QI_COL_WAIT_sender] = 1;
        row.column[QI_COL_WAIT_sender_alive] = 1;
        row.column[QI_COL_WAIT_since] = (uint64_t)START;
    }
    return row;
}

static inline void
put(struct scene *s, struct qi_wire_row row)
{
    CHECK_INT(qi_mirror_put_row(s->mirror, &row), QI_MIRROR_OK);
}

static inline void
record(struct scene *s, unsigned kind, uint32_t x, uint64_t a, uint64_t b)
{
    struct qi_record r = {
        .ts = s->now, .kind = (uint16_t)kind, .aux = 1, .x = x, .a = a, .b = b};

    qi_lints_record(s->lints, s->mirror, &r);
}

static const struct qi_finding *
finding(const struct scene *s, enum qi_lint lint)
{
    const struct qi_finding *found;
    unsigned place = 0;

    while ((found = qi_lints_next(s->lints, &place)) != NULL) {
        if (found->lint == lint) {
            return found;
        }
    }
    return NULL;
}

static inline int
holds_after(struct scene *s, int64_t ns, enum qi_lint lint)
{
    s->now += ns;
    qi_lints_check(s->lints, s->mirror, s->now);
    const struct qi_finding *found = finding(s, lint);
    CHECK(found == NULL || strlen(found->text) > 0);
    CHECK(found == NULL || found->count > 0);
    return found != NULL;
}

/* A row that makes a finding once it is `after` old, and one that makes none. */
static inline void
check_row(enum qi_lint lint, struct qi_wire_row bad, struct qi_wire_row good,
          int64_t after)
{
    struct scene s = make();

    put(&s, good);
    CHECK(!holds_after(&s, 0, lint));
    CHECK(!holds_after(&s, after + 250 * MS, lint));
    bad.id = good.id + 1;
    if (bad.kind == QI_TASK) {
        bad.column[QI_COL_TASK_changed] = (uint64_t)s.now;
    }
    if (bad.kind == QI_WAIT) {
        bad.column[QI_COL_WAIT_since] = (uint64_t)s.now;
    }
    put(&s, bad);
    if (after > 0) {
        CHECK(!holds_after(&s, 0, lint));
    }
    CHECK(holds_after(&s, after, lint));
    CHECK(QI_REF_ID(finding(&s, lint)->ref) == bad.id);
    /* Told once when it appears and once when it goes away. */
    const struct qi_finding *told = qi_lints_next_change(s.lints);
    while (told != NULL && told->lint != lint) {
        told = qi_lints_next_change(s.lints);
    }
    CHECK(told != NULL);
    CHECK_INT(told->active, 1);
    CHECK(holds_after(&s, 250 * MS, lint));
    while ((told = qi_lints_next_change(s.lints)) != NULL) {
        CHECK(told->lint != lint);
    }
    bad.state = bad.kind == QI_TASK ? QI_TASK_DONE : QI_OVER;
    put(&s, bad);
    CHECK(!holds_after(&s, 250 * MS, lint));
    told = qi_lints_next_change(s.lints);
    while (told != NULL && told->lint != lint) {
        told = qi_lints_next_change(s.lints);
    }
    CHECK(told != NULL);
    CHECK_INT(told->active, 0);
    finish(&s);
}

/* A record that makes a finding, and one that does not. */
static inline void
check_record(enum qi_lint lint, unsigned kind, uint32_t x, uint64_t a, uint64_t b,
             uint64_t good_a, uint64_t good_b)
{
    struct scene s = make();

    put(&s, a_row(QI_TASK, 7, QI_TASK_WAITING));
    record(&s, kind, x, good_a, good_b);
    CHECK(finding(&s, lint) == NULL);
    record(&s, kind, x, a, b);
    CHECK(finding(&s, lint) != NULL);
    CHECK(holds_after(&s, 5 * SECOND, lint));
    record(&s, kind, x, a, b);
    CHECK_INT(finding(&s, lint)->count, 2);
    CHECK(holds_after(&s, QI_LINT_HOLD_NS, lint));
    while (qi_lints_next_change(s.lints) != NULL) {
    }
    CHECK(!holds_after(&s, 1, lint));
    finish(&s);
}

static inline struct qi_wire_row
a_loop(unsigned state, uint64_t current, int64_t busy_since)
{
    struct qi_wire_row row = a_row(QI_LOOP, 1, state);

    row.column[QI_COL_LOOP_current] = current;
    row.column[QI_COL_LOOP_busy_since] = (uint64_t)busy_since;
    return row;
}

#endif
