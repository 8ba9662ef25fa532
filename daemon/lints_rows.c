/* lints_rows.c - see lints.h: what is so in the application, judged row by row. */
#include "lints_internal.h"

#include <string.h>

#define WINDOW (10 * QI_SECOND) /* of lateness and lag */
#define WINDOW_MIN 20           /* fewer say nothing */
#define LEAK_FOR (60 * QI_SECOND)
#define LEAK_SAMPLE (10 * QI_SECOND)
#define CHAIN_MAX 256 /* tasks in a circle; longer ones are not looked for */

struct check {
    struct qi_lints *l;
    const struct qi_mirror *m;
    const struct qi_mirror_row *loops[QI_LINT_LOOPS];
    uint64_t timers, jobs, plain_tasks, unnamed;
};

static struct qi_code_count *
count_of(struct qi_lints *l, uint32_t code)
{
    size_t i = (code * UINT32_C(2654435769)) >> 8 & (QI_LINT_CODES - 1);

    if (code == 0) {
        return NULL;
    }
    while (l->codes[i].code != 0 && l->codes[i].code != code) {
        i = (i + 1) & (QI_LINT_CODES - 1);
    }
    if (l->codes[i].code == 0) {
        if (l->codes_used >= QI_LINT_CODES / 4 * 3) {
            return NULL;
        }
        l->codes_used++;
        l->codes[i].code = code;
    }
    return &l->codes[i];
}

/* The smallest id of a circle of waiting tasks that `row` is in; 0: in none. */
static uint64_t
circle_of(const struct qi_mirror *m, const struct qi_mirror_row *row)
{
    const struct qi_mirror_row *at = row;
    uint64_t least = row->id;

    for (int i = 0; i < CHAIN_MAX; i++) {
        uint64_t ref = at->value[QI_COL_TASK_wait_ref];
        if (at->over || at->state == QI_TASK_READY || at->state == QI_TASK_RUNNING
            || QI_REF_KIND(ref) != QI_TASK) {
            return 0;
        }
        at = qi_mirror_find(m, QI_TASK, QI_REF_ID(ref));
        if (at == NULL) {
            return 0;
        }
        if (at == row) {
            return least;
        }
        least = at->id < least ? at->id : least;
    }
    return 0;
}

static void
check_waiting(struct check *c, const struct qi_mirror_row *row, uint64_t ref)
{
    uint64_t wait_ref = row->value[QI_COL_TASK_wait_ref];
    int64_t changed = (int64_t)row->value[QI_COL_TASK_changed];

    if (QI_REF_KIND(wait_ref) == QI_TASK) {
        const struct qi_mirror_row *other =
            qi_mirror_find(c->m, QI_TASK, QI_REF_ID(wait_ref));
        uint64_t first = circle_of(c->m, row);
        if (first == row->id) {
            QI_WORD(qi_lint_holds(c->l, QI_LINT_QI403, ref, changed, 0),
                    "%s waits for itself by way of %s", qi_words_of(c->m, ref).text,
                    qi_words_of(c->m, wait_ref).text);
        }
        if (other != NULL && other->over) {
            QI_WORD(qi_lint_holds(c->l, QI_LINT_QI404, ref, c->l->now,
                                  qi_lint_after(c->l, QI_LINT_QI404)),
                    "%s still waits for %s, which has ended", qi_words_of(c->m, ref).text,
                    qi_words_of(c->m, wait_ref).text);
        }
    }
    else if (row->value[QI_COL_TASK_wait_kind] == QI_WAITS_NOTHING && wait_ref == 0
             && row->value[QI_COL_TASK_steps] > 0) {
        QI_WORD(qi_lint_holds(c->l, QI_LINT_QI404, ref, c->l->now,
                              qi_lint_after(c->l, QI_LINT_QI404)),
                "%s waits, and for nothing that could wake it",
                qi_words_of(c->m, ref).text);
    }
}

static int
receiver_is_gone(const struct qi_mirror *m, uint64_t slot)
{
    const struct qi_mirror_row *row = qi_mirror_find(m, QI_SLOT, slot);

    if (row == NULL || row->value[QI_COL_SLOT_receiver] == 0) {
        return 0;
    }
    const struct qi_mirror_row *object =
        qi_mirror_find(m, QI_OBJECT, row->value[QI_COL_SLOT_receiver]);
    return object != NULL
           && (object->over || object->value[QI_COL_OBJECT_destroyed] != 0);
}

static void
check_task(struct check *c, const struct qi_mirror_row *row)
{
    struct qi_lints *l = c->l;
    uint64_t ref = QI_REF(QI_TASK, row->id);
    uint64_t wakes = row->value[QI_COL_TASK_wakes];
    uint64_t self_wakes = row->value[QI_COL_TASK_self_wakes];
    const struct qi_mirror_row *loop = c->loops[row->loop];
    int64_t changed = (int64_t)row->value[QI_COL_TASK_changed];
    struct qi_code_count *count = count_of(l, (uint32_t)row->value[QI_COL_TASK_code]);

    if (count != NULL) {
        count->tasks++;
    }
    if (row->value[QI_COL_TASK_role] == QI_ROLE_TASK
        && row->value[QI_COL_TASK_name] != 0) {
        c->plain_tasks++;
        c->unnamed += (row->value[QI_COL_TASK_name] & QI_TASK_N) != 0;
    }
    if (loop != NULL && loop->value[QI_COL_LOOP_current] == ref
        && row->value[QI_COL_TASK_steps] == 0) {
        int64_t since = (int64_t)loop->value[QI_COL_LOOP_busy_since];
        QI_WORD(since == 0 ? NULL
                           : qi_lint_holds(l, QI_LINT_QI102, ref, since,
                                           qi_lint_after(c->l, QI_LINT_QI102)),
                "%s has been in its first step for over %s", qi_words_of(c->m, ref).text,
                qi_words_time(qi_lint_after(l, QI_LINT_QI102)).text);
    }
    if (row->state == QI_TASK_READY && loop != NULL
        && (loop->state == QI_LOOP_IDLE || loop->state == QI_LOOP_NESTED)) {
        QI_WORD(qi_lint_holds(l, QI_LINT_QI103, ref, changed,
                              qi_lint_after(c->l, QI_LINT_QI103)),
                "%s is ready, but Qt has the thread", qi_words_of(c->m, ref).text);
    }
    if (row->state == QI_TASK_WAITING || row->state == QI_TASK_CANCELLING) {
        check_waiting(c, row, ref);
    }
    if (row->value[QI_COL_TASK_slot] != 0
        && receiver_is_gone(c->m, row->value[QI_COL_TASK_slot])) {
        QI_WORD(qi_lint_holds(l, QI_LINT_QI203, ref, l->now, 0),
                "%s goes on although its receiver is destroyed",
                qi_words_of(c->m, ref).text);
    }
    if (wakes >= qi_lint_limit(l, QI_LINT_QI405) && self_wakes * 2 > wakes) {
        QI_WORD(qi_lint_holds(l, QI_LINT_QI405, ref, l->now, 0),
                "%s: %" PRIu64 " of %" PRIu64 " wake-ups come from itself",
                qi_words_of(c->m, ref).text, self_wakes, wakes);
    }
    if (row->value[QI_COL_TASK_cancels] != 0 || row->state == QI_TASK_CANCELLING) {
        QI_WORD(qi_lint_holds(l, QI_LINT_QI406, ref, l->now,
                              qi_lint_after(c->l, QI_LINT_QI406)),
                "%s was cancelled and is still there", qi_words_of(c->m, ref).text);
    }
}

static void
check_slot(struct check *c, const struct qi_mirror_row *row)
{
    uint64_t ref = QI_REF(QI_SLOT, row->id);
    uint64_t live = row->value[QI_COL_SLOT_live];

    /* Calls that queue up behind each other are what overlap= was asked for. */
    if (row->value[QI_COL_SLOT_policy] == QI_OVERLAP_ALLOW
        && live >= qi_lint_limit(c->l, QI_LINT_QI201)) {
        QI_WORD(qi_lint_holds(c->l, QI_LINT_QI201, ref, c->l->now, 0),
                "%s: %" PRIu64 " calls are pending at once", qi_words_of(c->m, ref).text,
                live);
    }
    if (live >= qi_lint_limit(c->l, QI_LINT_QI202)) {
        QI_WORD(qi_lint_holds(c->l, QI_LINT_QI202, ref, c->l->now, 0),
                "%s: %" PRIu64 " calls pile up", qi_words_of(c->m, ref).text, live);
    }
    if (row->value[QI_COL_SLOT_answer] != 0) {
        QI_WORD(qi_lint_holds(c->l, QI_LINT_QI204, ref, c->l->now, 0),
                "%s went on after its emission, which wanted an answer in a %.60s",
                qi_words_of(c->m, ref).text,
                qi_words_text(c->m, row->value[QI_COL_SLOT_answer]));
    }
}

static void
check_wait(struct check *c, const struct qi_mirror_row *row)
{
    uint64_t ref = QI_REF(QI_WAIT, row->id);
    uint64_t buffered = row->value[QI_COL_WAIT_buffered];

    if (row->value[QI_COL_WAIT_sender_alive] == 0) { /* known, whoever it was or not */
        QI_WORD(qi_lint_holds(c->l, QI_LINT_QI301, ref, c->l->now, 0),
                "%s: its sender is destroyed, it can never come",
                qi_words_of(c->m, ref).text);
    }
    if (row->value[QI_COL_WAIT_form] != QI_FORM_STREAM) {
        QI_WORD(qi_lint_holds(c->l, QI_LINT_QI302, ref,
                              (int64_t)row->value[QI_COL_WAIT_since],
                              qi_lint_after(c->l, QI_LINT_QI302)),
                "%s has been waited for for over %s", qi_words_of(c->m, ref).text,
                qi_words_time(qi_lint_after(c->l, QI_LINT_QI302)).text);
    }
    if (row->value[QI_COL_WAIT_foreign] != 0) {
        QI_WORD(qi_lint_holds(c->l, QI_LINT_QI305, ref, c->l->now, 0),
                "%s: its sender belongs to another thread", qi_words_of(c->m, ref).text);
    }
    const struct qi_wait_watch *watch = &c->l->waits[row->id & (QI_LINT_WAITS - 1)];
    if (watch->id == row->id && watch->missed != 0
        && row->value[QI_COL_WAIT_fired] == 0) {
        int64_t since = (int64_t)row->value[QI_COL_WAIT_since];
        QI_WORD(qi_lint_holds(c->l, QI_LINT_QI303, ref, since,
                              qi_lint_after(c->l, QI_LINT_QI303)),
                "%s: it came %" PRId64 " ms before the wait began, and not since",
                qi_words_of(c->m, ref).text,
                since > watch->missed ? (since - watch->missed) / QI_MS : 0);
    }
    if (buffered > qi_lint_limit(c->l, QI_LINT_QI304)) {
        QI_WORD(qi_lint_holds(c->l, QI_LINT_QI304, ref, c->l->now, 0),
                "%s: %" PRIu64 " items that nobody reads", qi_words_of(c->m, ref).text,
                buffered);
    }
}

/* What runs now may have been running for long, and the loops within each other. */
static void
check_depth(struct check *c, const struct qi_mirror_row *row)
{
    int64_t since = (int64_t)row->value[QI_COL_LOOP_busy_since];
    uint64_t depth = row->value[QI_COL_LOOP_depth];
    uint64_t ref = QI_REF(QI_LOOP, row->id);

    if (row->state == QI_LOOP_BUSY && since != 0 && c->l->now > since) {
        qi_lint_blocked(c->l, row->loop, row->value[QI_COL_LOOP_current], since,
                        c->l->now - since, NULL);
    }
    if (depth >= qi_lint_limit(c->l, QI_LINT_QI501)) {
        QI_WORD(qi_lint_holds(c->l, QI_LINT_QI501, ref, c->l->now, 0),
                "%" PRIu64 " Qt event loops run within each other", depth);
    }
}

static void
check_loop(struct check *c, const struct qi_mirror_row *row)
{
    struct qi_loop_watch *watch = &c->l->loops[row->loop];
    uint64_t iterations = row->value[QI_COL_LOOP_iterations];
    uint64_t callbacks = row->value[QI_COL_LOOP_callbacks];
    int64_t ns = c->l->now - watch->since;
    uint64_t ref = QI_REF(QI_LOOP, row->id);

    if (watch->nested != 0 && row->value[QI_COL_LOOP_current] == watch->nested) {
        struct qi_finding *goes_on = qi_lint_find(c->l, QI_LINT_QI502, watch->nested);
        if (goes_on != NULL) {
            goes_on->last = c->l->now;
        }
    }
    if (watch->since == 0 || ns >= QI_SECOND) {
        uint64_t turns = iterations - watch->iterations;
        int spins =
            watch->since != 0 && iterations >= watch->iterations
            && turns > (uint64_t)(ns / QI_MS) * qi_lint_limit(c->l, QI_LINT_QI106) / 1000
            && (callbacks - watch->callbacks) * 10 < turns;
        watch->iterations = iterations;
        watch->callbacks = callbacks;
        watch->since = c->l->now;
        if (!spins) {
            return;
        }
    }
    else if (qi_lint_find(c->l, QI_LINT_QI106, ref) == NULL) {
        return;
    }
    QI_WORD(qi_lint_holds(c->l, QI_LINT_QI106, ref, c->l->now,
                          qi_lint_after(c->l, QI_LINT_QI106) - QI_SECOND),
            "the loop turns all the time and has nothing to do");
}

static void
check_row(struct check *c, const struct qi_mirror_row *row)
{
    struct qi_code_count *count;

    switch (row->kind) {
    case QI_TASK:
        check_task(c, row);
        break;
    case QI_SLOT:
        check_slot(c, row);
        break;
    case QI_WAIT:
        check_wait(c, row);
        break;
    case QI_LOOP:
        check_depth(c, row);
        check_loop(c, row);
        break;
    case QI_TIMER:
        c->timers++;
        count = count_of(c->l, (uint32_t)row->value[QI_COL_TIMER_code]);
        if (count != NULL) {
            count->timers++;
        }
        break;
    case QI_JOB:
        c->jobs++;
        break;
    default:
        break;
    }
}

/*********** numbers of rows ***********/

static void
sample(struct qi_code_count *count, int starts_minute)
{
    if (count->tasks < count->last) {
        count->grew = 0;
    }
    count->last = count->tasks;
    if (starts_minute) {
        count->base = count->tasks;
        count->grew = 1;
    }
}

static void
check_codes(struct check *c)
{
    struct qi_lints *l = c->l;
    int sampling = l->sampled == 0 || l->now - l->sampled >= LEAK_SAMPLE;
    int first = l->minute == 0;
    int minute = !first && l->now - l->minute >= LEAK_FOR;

    for (size_t i = 0; i < QI_LINT_CODES; i++) {
        struct qi_code_count *count = &l->codes[i];
        if (count->code == 0) {
            continue;
        }
        uint64_t ref = QI_REF(QI_CALLBACK, count->code);
        const char *name = qi_words_code(c->m, count->code);
        int leaks = qi_lint_find(l, QI_LINT_QI407, ref) != NULL;
        if (count->timers >= qi_lint_limit(l, QI_LINT_QI503) / 10) {
            QI_WORD(qi_lint_holds(l, QI_LINT_QI503, ref, l->now, 0),
                    "%" PRIu32 " timers of %.*s are pending", count->timers,
                    qi_words_fit(name, 80), name);
        }
        if (minute) {
            leaks = count->grew && count->base > 0
                    && count->tasks >= qi_lint_limit(l, QI_LINT_QI407)
                    && count->tasks >= count->last
                    && (uint64_t)count->tasks * 5 >= (uint64_t)count->base * 6;
        }
        if (leaks) {
            QI_WORD(qi_lint_holds(l, QI_LINT_QI407, ref, l->now, 0),
                    "there are %" PRIu32 " tasks of %.*s, and ever more", count->tasks,
                    qi_words_fit(name, 80), name);
        }
        if (sampling || minute) {
            sample(count, minute || first || count->base == 0);
        }
        count->tasks = count->timers = 0;
    }
    if (sampling) {
        l->sampled = l->now;
    }
    if (first || minute) {
        l->minute = l->now;
    }
    if (c->timers > qi_lint_limit(l, QI_LINT_QI503)) {
        QI_WORD(qi_lint_holds(l, QI_LINT_QI503, 0, l->now, 0),
                "%" PRIu64 " timers are pending", c->timers);
    }
    /* Each worker has one that runs besides. */
    if (c->jobs > (uint64_t)l->workers * (qi_lint_limit(l, QI_LINT_QI506) + 1)) {
        QI_WORD(qi_lint_holds(l, QI_LINT_QI506, 0, l->now,
                              qi_lint_after(c->l, QI_LINT_QI506)),
                "%" PRIu64 " jobs wait for the executor", c->jobs - l->workers);
    }
    if (c->plain_tasks >= qi_lint_limit(l, QI_LINT_QI408)
        && c->unnamed * 2 >= c->plain_tasks) {
        QI_WORD(
            qi_lint_holds(l, QI_LINT_QI408, 0, l->now, qi_lint_after(l, QI_LINT_QI408)),
            "%" PRIu64 " of %" PRIu64 " tasks have no name", c->unnamed, c->plain_tasks);
    }
}

/* Lateness and lag of the last ten seconds. */
static void
check_window(struct check *c)
{
    struct qi_lints *l = c->l;

    if (l->window == 0) {
        l->window = l->now;
    }
    if (l->now - l->window >= WINDOW) {
        l->lag_ns = qi_histogram_quantile(&l->lag, 990);
        l->late_ns = qi_histogram_quantile(&l->late, 950);
        l->lag_bad = l->lag.count >= WINDOW_MIN
                     && (int64_t)l->lag_ns > qi_lint_after(l, QI_LINT_QI105);
        l->late_bad = l->late.count >= WINDOW_MIN
                      && (int64_t)l->late_ns > qi_lint_after(l, QI_LINT_QI504);
        memset(&l->lag, 0, sizeof(l->lag));
        memset(&l->late, 0, sizeof(l->late));
        l->window = l->now;
    }
    if (l->lag_bad) {
        QI_WORD(qi_lint_holds(l, QI_LINT_QI105, 0, l->now, 0),
                "ready tasks wait for up to %" PRIu64 " ms (99 of 100)",
                l->lag_ns / (uint64_t)QI_MS);
    }
    if (l->late_bad) {
        QI_WORD(qi_lint_holds(l, QI_LINT_QI504, 0, l->now, 0),
                "timers are up to %" PRIu64 " ms late (19 of 20)",
                l->late_ns / (uint64_t)QI_MS);
    }
}

void
qi_lints_check(struct qi_lints *l, const struct qi_mirror *m, int64_t now)
{
    struct check c = {.l = l, .m = m};

    l->m = m;
    if (now > l->now) {
        l->now = now;
    }
    /* UINT32_MAX is that of events. */
    l->round = l->round >= UINT32_MAX - 1 ? 1 : l->round + 1;
    for (const struct qi_mirror_row *row = qi_mirror_newest(m); row != NULL;
         row = row->older) {
        if (row->kind == QI_LOOP && !row->over && row->loop != 0) {
            c.loops[row->loop] = row;
        }
    }
    for (const struct qi_mirror_row *row = qi_mirror_newest(m); row != NULL;
         row = row->older) {
        if (!row->over) {
            check_row(&c, row);
        }
    }
    check_codes(&c);
    check_window(&c);
    qi_lint_end_findings(l);
}
