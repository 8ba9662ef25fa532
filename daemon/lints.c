#include "lints.h"

#include "histogram.h"
#include "rowof.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MS INT64_C(1000000)
#define SECOND INT64_C(1000000000)

#define BLOCKED (100 * MS)
#define BLOCKED_LONG SECOND
#define STARVED (100 * MS)
#define WINDOW (10 * SECOND) /* of lateness and lag */
#define WINDOW_MIN 20        /* fewer say nothing */
#define LAG (20 * MS)
#define LATE (50 * MS)
#define SPIN_TURNS 1000 /* a second */
#define SPIN_FOR (2 * SECOND)
#define CALLS_MANY 10
#define WAIT_LONG (30 * SECOND)
#define BUFFERED_MANY 1000
#define LOST_WAKE SECOND
#define WAKES_MIN 20
#define CANCEL_LONG (5 * SECOND)
#define TIMERS_MANY 1000
#define TIMERS_SAME 100
#define JOBS_FOR (5 * SECOND)
#define LEAK_MIN 100
#define LEAK_FOR (60 * SECOND)
#define LEAK_SAMPLE (10 * SECOND)
#define CHAIN_MAX 256 /* tasks in a circle; longer ones are not looked for */

#define CODES 1024 /* a power of two */
#define WOKEN 4096
#define LOOPS 256

struct code_count {
    uint32_t code; /* 0: free */
    uint32_t tasks, timers;
    uint32_t base, last; /* tasks: when the minute began, at the last sample */
    uint8_t grew;        /* at no sample were there fewer than at the one before */
};

struct woken {
    uint64_t task;
    int64_t at;
};

struct loop_watch {
    uint64_t iterations, callbacks;
    int64_t since;
    int64_t stalled; /* since when: the last step or callback that was told of */
    char where[100]; /* " in " and its place, or empty */
};

struct qi_lints {
    struct qi_finding findings[QI_LINT_KINDS][QI_LINT_EACH];
    unsigned len[QI_LINT_KINDS];
    struct qi_finding gone; /* the one told last that went away */
    uint64_t suppressed;
    uint32_t round;
    unsigned workers;
    int64_t now; /* of the last check or record */

    struct code_count codes[CODES];
    unsigned codes_used;
    int64_t sampled, minute;

    struct woken woken[WOKEN]; /* by task id; a later one takes the place */
    struct qi_histogram lag, late;
    int64_t window;
    uint8_t lag_bad, late_bad;
    uint64_t lag_ns, late_ns;
    struct loop_watch loops[LOOPS];
    uint64_t lost;
};

static const struct {
    const char *id;
    char severity;
} kinds[] = {
#define X(id, severity, text) {#id, severity},
    QI_LINTS(X)
#undef X
};

const char *
qi_lint_id(enum qi_lint lint)
{
    return kinds[lint].id;
}

struct qi_lints *
qi_lints_new(unsigned workers)
{
    struct qi_lints *l = calloc(1, sizeof(*l));

    if (l != NULL) {
        l->workers = workers;
    }
    return l;
}

void
qi_lints_free(struct qi_lints *l)
{
    free(l);
}

/*********** findings ***********/

static struct qi_finding *
find(struct qi_lints *l, enum qi_lint lint, uint64_t ref)
{
    for (unsigned i = 0; i < l->len[lint]; i++) {
        if (l->findings[lint][i].ref == ref) {
            return &l->findings[lint][i];
        }
    }
    return NULL;
}

static void
forget(struct qi_lints *l, struct qi_finding *finding)
{
    enum qi_lint lint = finding->lint;

    *finding = l->findings[lint][--l->len[lint]];
}

static struct qi_finding *
make(struct qi_lints *l, enum qi_lint lint, uint64_t ref, int64_t now)
{
    struct qi_finding *finding = find(l, lint, ref);

    if (finding != NULL) {
        return finding;
    }
    if (l->len[lint] == QI_LINT_EACH) {
        l->suppressed++;
        return NULL;
    }
    finding = &l->findings[lint][l->len[lint]++];
    memset(finding, 0, sizeof(*finding));
    finding->lint = lint;
    finding->severity = kinds[lint].severity;
    finding->ref = ref;
    finding->since = now;
    finding->pending = 1;
    return finding;
}

static void
activate(struct qi_finding *finding)
{
    if (!finding->active) {
        finding->active = 1;
        finding->pending = 0;
        finding->changed = 1;
    }
}

/* It holds now; it is told once it has held for `after`.  NULL: it is not to be worded,
   because it has its words or is not told. */
static struct qi_finding *
holds(struct qi_lints *l, enum qi_lint lint, uint64_t ref, int64_t since, int64_t after)
{
    struct qi_finding *finding = make(l, lint, ref, since);

    if (finding == NULL) {
        return NULL;
    }
    finding->round = l->round;
    finding->last = l->now;
    if (!finding->active && l->now - finding->since >= after) {
        finding->count++;
        activate(finding);
        return finding;
    }
    return NULL;
}

/* It happened.  The finding, to be worded; NULL if there is no place. */
static struct qi_finding *
happened(struct qi_lints *l, enum qi_lint lint, uint64_t ref, int64_t when)
{
    struct qi_finding *finding = make(l, lint, ref, when);

    if (finding == NULL) {
        return NULL;
    }
    if (when > l->now) {
        l->now = when;
    }
    finding->count++;
    finding->last = when;
    finding->round = UINT32_MAX; /* it ends with time, not with a condition */
    activate(finding);
    return finding;
}

static void
end_findings(struct qi_lints *l)
{
    for (unsigned lint = 0; lint < QI_LINT_KINDS; lint++) {
        for (unsigned i = l->len[lint]; i-- > 0;) {
            struct qi_finding *finding = &l->findings[lint][i];
            int over = finding->round == UINT32_MAX
                           ? l->now - finding->last > QI_LINT_HOLD_NS
                           : finding->round != l->round;
            if (!over) {
                continue;
            }
            if (!finding->told) {
                forget(l, finding);
            }
            else if (finding->active) {
                finding->active = 0;
                finding->changed = 1;
            }
        }
    }
}

const struct qi_finding *
qi_lints_next_change(struct qi_lints *l)
{
    for (unsigned lint = 0; lint < QI_LINT_KINDS; lint++) {
        for (unsigned i = 0; i < l->len[lint]; i++) {
            struct qi_finding *finding = &l->findings[lint][i];
            if (!finding->changed) {
                continue;
            }
            finding->changed = 0;
            finding->told = 1;
            if (finding->active) {
                return finding;
            }
            l->gone = *finding;
            forget(l, finding);
            return &l->gone;
        }
    }
    return NULL;
}

const struct qi_finding *
qi_lints_next(const struct qi_lints *l, unsigned *place)
{
    for (; *place < QI_LINT_KINDS * QI_LINT_EACH; ++*place) {
        unsigned lint = *place / QI_LINT_EACH;
        unsigned i = *place % QI_LINT_EACH;
        if (i < l->len[lint] && l->findings[lint][i].active) {
            ++*place;
            return &l->findings[lint][i];
        }
    }
    return NULL;
}

uint64_t
qi_lints_suppressed(const struct qi_lints *l)
{
    return l->suppressed;
}

/*********** words ***********/

#define WORD(finding, ...)                                                               \
    do {                                                                                 \
        struct qi_finding *qi_finding_ = (finding);                                      \
        if (qi_finding_ != NULL) {                                                       \
            (void)snprintf(qi_finding_->text, sizeof(qi_finding_->text), __VA_ARGS__);   \
        }                                                                                \
    } while (0)

static const char *
text_of(const struct qi_mirror *m, uint64_t id)
{
    const struct qi_mirror_entry *entry = qi_mirror_find_entry(m, (uint32_t)id);

    return entry != NULL && entry->type == 't' ? entry->text : "";
}

/* The name of a code location. */
static const char *
code_name(const struct qi_mirror *m, uint64_t id)
{
    const struct qi_mirror_entry *entry = qi_mirror_find_entry(m, (uint32_t)id);

    return entry != NULL && entry->type == 'c' ? text_of(m, entry->numbers[1]) : "";
}

/* Precision and argument of "%.*s": at most `max` bytes, cut at a character. */
static int
fit(const char *text, int max)
{
    int size = (int)strnlen(text, (size_t)max + 1);

    if (size > max) {
        size = max;
        while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80) {
            size--;
        }
    }
    return size;
}

struct words {
    char text[80];
};

/* "task 7 (alpha)"; of a callback its function. */
static struct words
words_of(const struct qi_mirror *m, uint64_t ref)
{
    struct words words;
    unsigned kind = QI_REF_KIND(ref);
    uint64_t id = QI_REF_ID(ref);
    const struct qi_mirror_row *row = qi_mirror_find(m, kind, id);
    const char *entity = qi_entity_name(kind);
    const char *name = "";

    if (kind == QI_CALLBACK) {
        name = code_name(m, id);
    }
    else if (row != NULL && kind == QI_TASK) {
        uint64_t text = row->value[QI_COL_TASK_name];
        name = (text & QI_TASK_N) != 0 ? "" : text_of(m, text);
        name = name[0] != '\0' ? name : code_name(m, row->value[QI_COL_TASK_code]);
    }
    else if (row != NULL && kind == QI_SLOT) {
        name = text_of(m, row->value[QI_COL_SLOT_name]);
    }
    else if (row != NULL && kind == QI_WAIT) {
        name = text_of(m, row->value[QI_COL_WAIT_signal]);
    }
    if (ref == 0 || kind == QI_CALLBACK) {
        (void)snprintf(words.text, sizeof(words.text), "callback%s%.*s",
                       name[0] != '\0' ? " " : "", fit(name, 60), name);
    }
    else if (name[0] != '\0') {
        (void)snprintf(words.text, sizeof(words.text), "%s %" PRIu64 " (%.*s)",
                       entity != NULL ? entity : "entity", id, fit(name, 40), name);
    }
    else {
        (void)snprintf(words.text, sizeof(words.text), "%s %" PRIu64,
                       entity != NULL ? entity : "entity", id);
    }
    return words;
}

/*********** what happens ***********/

/* One step or callback may be told of several times: while it stalls the loop, and when
   it has ended. */
static void
blocked(struct qi_lints *l, const struct qi_mirror *m, unsigned loop, uint64_t ref,
        int64_t since, int64_t ns, const char *where)
{
    struct loop_watch *watch = &l->loops[loop % LOOPS];

    if (ns < BLOCKED) {
        return;
    }
    struct qi_finding *finding = happened(l, QI_LINT_QI101, ref, since + ns);
    if (finding == NULL) {
        return;
    }
    if (watch->stalled == since) {
        finding->count -= finding->count > 1;
    }
    else {
        watch->where[0] = '\0';
    }
    watch->stalled = since;
    if (where != NULL && where[0] != '\0') {
        finding->changed |= watch->where[0] == '\0';
        (void)snprintf(watch->where, sizeof(watch->where), " in %.*s", fit(where, 90),
                       where);
    }
    if (ns >= BLOCKED_LONG && finding->severity != 'E') {
        finding->severity = 'E';
        finding->changed = 1;
    }
    WORD(finding, "%s kept the loop for %" PRId64 " ms%s", words_of(m, ref).text, ns / MS,
         watch->where);
}

static void
task_is_made_ready(struct qi_lints *l, const struct qi_record *record)
{
    l->woken[record->a & (WOKEN - 1)] =
        (struct woken){.task = record->a, .at = record->ts};
}

static void
step_ended(struct qi_lints *l, const struct qi_mirror *m, const struct qi_record *record)
{
    struct woken *woken = &l->woken[record->a & (WOKEN - 1)];
    int64_t began = record->ts - (int64_t)record->b;

    if (woken->task == record->a && woken->at != 0) {
        qi_histogram_add(&l->lag, began > woken->at ? (uint64_t)(began - woken->at) : 0);
        woken->at = 0;
    }
    blocked(l, m, record->aux, QI_REF(QI_TASK, record->a), began, (int64_t)record->b,
            NULL);
}

/* Nobody took the exception of a task. */
static void
unretrieved(struct qi_lints *l, const struct qi_mirror *m, const struct qi_record *record)
{
    const struct qi_mirror_row *task = qi_mirror_find(m, QI_TASK, record->a);
    uint64_t ref = record->a == 0 ? 0 : QI_REF(QI_TASK, record->a);
    int call = task != NULL && task->value[QI_COL_TASK_role] == QI_ROLE_SLOT_CALL;
    const char *exception = text_of(m, record->b);

    WORD(happened(l, call ? QI_LINT_QI205 : QI_LINT_QI402, ref, record->ts),
         "%s failed%s%.*s and nobody took its exception",
         ref == 0 ? "a task" : words_of(m, ref).text,
         exception[0] != '\0' ? " with " : "", fit(exception, 60), exception);
}

void
qi_lints_record(struct qi_lints *l, const struct qi_mirror *m,
                const struct qi_record *record)
{
    uint64_t task = QI_REF(QI_TASK, record->a);

    switch (record->kind) {
    case QI_EV_TASK_WAKE:
        task_is_made_ready(l, record);
        break;
    case QI_EV_TASK_STEP:
        step_ended(l, m, record);
        break;
    case QI_EV_CALLBACK:
        blocked(l, m, record->aux, QI_REF(QI_CALLBACK, record->x),
                record->ts - (int64_t)record->a, (int64_t)record->a, NULL);
        break;
    case QI_EV_TIMER_FIRED:
        qi_histogram_add(&l->late, record->b);
        break;
    case QI_EV_TASK_DESTROYED:
        WORD(happened(l, QI_LINT_QI401, record->a == 0 ? 0 : task, record->ts),
             "%s was destroyed while it was pending",
             record->a == 0 ? "a task" : words_of(m, task).text);
        break;
    case QI_EV_TASK_UNRETRIEVED:
        unretrieved(l, m, record);
        break;
    case QI_EV_NESTED_ENTERED:
        if (record->a != 0) {
            WORD(happened(l, QI_LINT_QI502, task, record->ts),
                 "%s runs a nested Qt event loop: use modal()", words_of(m, task).text);
        }
        break;
    default:
        break;
    }
}

void
qi_lints_stall(struct qi_lints *l, const struct qi_mirror *m, unsigned loop,
               int64_t since, int64_t duration, uint64_t current, int over,
               const char *where)
{
    if (!over) { /* how long it was in the end, a record will say */
        blocked(l, m, loop, current, since, duration, where);
    }
}

void
qi_lints_lost(struct qi_lints *l, uint64_t count)
{
    l->lost += count;
    WORD(happened(l, QI_LINT_QI901, 0, l->now), "%" PRIu64 " events were lost", l->lost);
}

/*********** rows ***********/

struct check {
    struct qi_lints *l;
    const struct qi_mirror *m;
    const struct qi_mirror_row *loops[LOOPS];
    uint64_t timers, jobs;
};

static struct code_count *
count_of(struct qi_lints *l, uint32_t code)
{
    size_t i = (code * UINT32_C(2654435769)) >> 8 & (CODES - 1);

    if (code == 0) {
        return NULL;
    }
    while (l->codes[i].code != 0 && l->codes[i].code != code) {
        i = (i + 1) & (CODES - 1);
    }
    if (l->codes[i].code == 0) {
        if (l->codes_used >= CODES / 4 * 3) {
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
            WORD(holds(c->l, QI_LINT_QI403, ref, changed, 0),
                 "%s waits for itself by way of %s", words_of(c->m, ref).text,
                 words_of(c->m, wait_ref).text);
        }
        if (other != NULL && other->over) {
            WORD(holds(c->l, QI_LINT_QI404, ref, c->l->now, LOST_WAKE),
                 "%s still waits for %s, which has ended", words_of(c->m, ref).text,
                 words_of(c->m, wait_ref).text);
        }
    }
    else if (row->value[QI_COL_TASK_wait_kind] == QI_WAITS_NOTHING && wait_ref == 0
             && row->value[QI_COL_TASK_steps] > 0) {
        WORD(holds(c->l, QI_LINT_QI404, ref, c->l->now, LOST_WAKE),
             "%s waits, and for nothing that could wake it", words_of(c->m, ref).text);
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
    struct code_count *count = count_of(l, (uint32_t)row->value[QI_COL_TASK_code]);

    if (count != NULL) {
        count->tasks++;
    }
    if (loop != NULL && loop->value[QI_COL_LOOP_current] == ref
        && row->value[QI_COL_TASK_steps] == 0) {
        int64_t since = (int64_t)loop->value[QI_COL_LOOP_busy_since];
        WORD(since == 0 ? NULL : holds(l, QI_LINT_QI102, ref, since, SECOND),
             "%s has been in its first step for over a second", words_of(c->m, ref).text);
    }
    if (row->state == QI_TASK_READY && loop != NULL
        && (loop->state == QI_LOOP_IDLE || loop->state == QI_LOOP_NESTED)) {
        WORD(holds(l, QI_LINT_QI103, ref, changed, STARVED),
             "%s is ready, but Qt has the thread", words_of(c->m, ref).text);
    }
    if (row->state == QI_TASK_WAITING || row->state == QI_TASK_CANCELLING) {
        check_waiting(c, row, ref);
    }
    if (row->value[QI_COL_TASK_slot] != 0
        && receiver_is_gone(c->m, row->value[QI_COL_TASK_slot])) {
        WORD(holds(l, QI_LINT_QI203, ref, l->now, 0),
             "%s goes on although its receiver is destroyed", words_of(c->m, ref).text);
    }
    if (wakes >= WAKES_MIN && self_wakes * 2 > wakes) {
        WORD(holds(l, QI_LINT_QI405, ref, l->now, 0),
             "%s: %" PRIu64 " of %" PRIu64 " wake-ups come from itself",
             words_of(c->m, ref).text, self_wakes, wakes);
    }
    if (row->value[QI_COL_TASK_cancels] != 0 || row->state == QI_TASK_CANCELLING) {
        WORD(holds(l, QI_LINT_QI406, ref, l->now, CANCEL_LONG),
             "%s was cancelled and is still there", words_of(c->m, ref).text);
    }
}

static void
check_slot(struct check *c, const struct qi_mirror_row *row)
{
    uint64_t ref = QI_REF(QI_SLOT, row->id);
    uint64_t live = row->value[QI_COL_SLOT_live];

    if (live >= 2) {
        WORD(holds(c->l, QI_LINT_QI201, ref, c->l->now, 0),
             "%s: %" PRIu64 " calls are pending at once", words_of(c->m, ref).text, live);
    }
    if (live >= CALLS_MANY) {
        WORD(holds(c->l, QI_LINT_QI202, ref, c->l->now, 0),
             "%s: %" PRIu64 " calls pile up", words_of(c->m, ref).text, live);
    }
}

static void
check_wait(struct check *c, const struct qi_mirror_row *row)
{
    uint64_t ref = QI_REF(QI_WAIT, row->id);
    uint64_t buffered = row->value[QI_COL_WAIT_buffered];

    if (row->value[QI_COL_WAIT_sender] != 0
        && row->value[QI_COL_WAIT_sender_alive] == 0) {
        WORD(holds(c->l, QI_LINT_QI301, ref, c->l->now, 0),
             "%s: its sender is destroyed, it can never come", words_of(c->m, ref).text);
    }
    if (row->value[QI_COL_WAIT_form] != QI_FORM_STREAM) {
        WORD(holds(c->l, QI_LINT_QI302, ref, (int64_t)row->value[QI_COL_WAIT_since],
                   WAIT_LONG),
             "%s has been waited for for over 30 s", words_of(c->m, ref).text);
    }
    if (buffered > BUFFERED_MANY) {
        WORD(holds(c->l, QI_LINT_QI304, ref, c->l->now, 0),
             "%s: %" PRIu64 " items that nobody reads", words_of(c->m, ref).text,
             buffered);
    }
}

static void
check_loop(struct check *c, const struct qi_mirror_row *row)
{
    struct loop_watch *watch = &c->l->loops[row->loop];
    uint64_t iterations = row->value[QI_COL_LOOP_iterations];
    uint64_t callbacks = row->value[QI_COL_LOOP_callbacks];
    int64_t ns = c->l->now - watch->since;
    uint64_t ref = QI_REF(QI_LOOP, row->id);

    if (watch->since == 0 || ns >= SECOND) {
        uint64_t turns = iterations - watch->iterations;
        int spins = watch->since != 0 && iterations >= watch->iterations
                    && turns > (uint64_t)(ns / MS) * SPIN_TURNS / 1000
                    && (callbacks - watch->callbacks) * 10 < turns;
        watch->iterations = iterations;
        watch->callbacks = callbacks;
        watch->since = c->l->now;
        if (!spins) {
            return;
        }
    }
    else if (find(c->l, QI_LINT_QI106, ref) == NULL) {
        return;
    }
    WORD(holds(c->l, QI_LINT_QI106, ref, c->l->now, SPIN_FOR - SECOND),
         "the loop turns all the time and has nothing to do");
}

static void
check_row(struct check *c, const struct qi_mirror_row *row)
{
    struct code_count *count;

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
sample(struct code_count *count, int starts_minute)
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

    for (size_t i = 0; i < CODES; i++) {
        struct code_count *count = &l->codes[i];
        if (count->code == 0) {
            continue;
        }
        uint64_t ref = QI_REF(QI_CALLBACK, count->code);
        const char *name = code_name(c->m, count->code);
        int leaks = find(l, QI_LINT_QI407, ref) != NULL;
        if (count->timers >= TIMERS_SAME) {
            WORD(holds(l, QI_LINT_QI503, ref, l->now, 0),
                 "%" PRIu32 " timers of %.*s are pending", count->timers, fit(name, 80),
                 name);
        }
        if (minute) {
            leaks = count->grew && count->base > 0 && count->tasks >= LEAK_MIN
                    && count->tasks >= count->last
                    && (uint64_t)count->tasks * 5 >= (uint64_t)count->base * 6;
        }
        if (leaks) {
            WORD(holds(l, QI_LINT_QI407, ref, l->now, 0),
                 "there are %" PRIu32 " tasks of %.*s, and ever more", count->tasks,
                 fit(name, 80), name);
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
    if (c->timers > TIMERS_MANY) {
        WORD(holds(l, QI_LINT_QI503, 0, l->now, 0), "%" PRIu64 " timers are pending",
             c->timers);
    }
    if (c->jobs > (uint64_t)l->workers * 3) { /* one of each three runs */
        WORD(holds(l, QI_LINT_QI506, 0, l->now, JOBS_FOR),
             "%" PRIu64 " jobs wait for the executor", c->jobs - l->workers);
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
        l->lag_bad = l->lag.count >= WINDOW_MIN && (int64_t)l->lag_ns > LAG;
        l->late_bad = l->late.count >= WINDOW_MIN && (int64_t)l->late_ns > LATE;
        memset(&l->lag, 0, sizeof(l->lag));
        memset(&l->late, 0, sizeof(l->late));
        l->window = l->now;
    }
    if (l->lag_bad) {
        WORD(holds(l, QI_LINT_QI105, 0, l->now, 0),
             "ready tasks wait for up to %" PRIu64 " ms (99 of 100)",
             l->lag_ns / (uint64_t)MS);
    }
    if (l->late_bad) {
        WORD(holds(l, QI_LINT_QI504, 0, l->now, 0),
             "timers are up to %" PRIu64 " ms late (19 of 20)",
             l->late_ns / (uint64_t)MS);
    }
}

void
qi_lints_check(struct qi_lints *l, const struct qi_mirror *m, int64_t now)
{
    struct check c = {.l = l, .m = m};

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
    end_findings(l);
}
