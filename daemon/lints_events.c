/* lints_events.c - see lints.h: what happens in the application. */
#include "lints_internal.h"

static const struct qi_mirror_row *
row_of(const struct qi_lints *l, uint64_t ref)
{
    return qi_mirror_find(l->m, QI_REF_KIND(ref), QI_REF_ID(ref));
}

/*********** steps, callbacks, turns ***********/

/* One step or callback may be told of several times: while it stalls the loop, and when
   it has ended. */
void
qi_lint_blocked(struct qi_lints *l, unsigned loop, uint64_t ref, int64_t since,
                int64_t ns, const char *where)
{
    struct qi_loop_watch *watch = &l->loops[loop % QI_LINT_LOOPS];

    if (ns < qi_lint_after(l, QI_LINT_QI101)) {
        return;
    }
    struct qi_finding *finding = qi_lint_happened(l, QI_LINT_QI101, ref, since + ns);
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
        (void)snprintf(watch->where, sizeof(watch->where), " in %.*s",
                       qi_words_fit(where, 90), where);
    }
    if (ns / QI_MS >= (int64_t)qi_lint_limit(l, QI_LINT_QI101) && finding->severity != 'E'
        && !l->set[QI_LINT_QI101].chosen) {
        finding->severity = 'E';
        finding->changed = 1;
    }
    QI_WORD(finding, "%s kept the loop for %" PRId64 " ms%s", qi_words_of(l->m, ref).text,
            ns / QI_MS, watch->where);
}

static void
ran(struct qi_lints *l, const struct qi_record *record, uint64_t ref, int64_t ns)
{
    struct qi_loop_watch *watch = &l->loops[record->aux % QI_LINT_LOOPS];

    watch->longest = ns > watch->longest ? ns : watch->longest;
    qi_lint_blocked(l, record->aux, ref, record->ts - ns, ns, NULL);
}

static void
task_is_made_ready(struct qi_lints *l, const struct qi_record *record)
{
    l->woken[record->a & (QI_LINT_WOKEN - 1)] =
        (struct qi_woken){.task = record->a, .at = record->ts};
}

static void
step_ended(struct qi_lints *l, const struct qi_record *record)
{
    struct qi_woken *woken = &l->woken[record->a & (QI_LINT_WOKEN - 1)];
    int64_t began = record->ts - (int64_t)record->b;

    if (woken->task == record->a && woken->at != 0) {
        qi_histogram_add(&l->lag, began > woken->at ? (uint64_t)(began - woken->at) : 0);
        woken->at = 0;
    }
    ran(l, record, QI_REF(QI_TASK, record->a), (int64_t)record->b);
}

/* A turn: Qt has had nothing of it.  One step that took all of it is QI101's. */
static void
turn_ended(struct qi_lints *l, const struct qi_record *record)
{
    struct qi_loop_watch *watch = &l->loops[record->aux % QI_LINT_LOOPS];
    int64_t turn = (int64_t)record->b;
    int64_t longest = watch->longest;

    watch->longest = 0;
    if (record->x < 2 || turn - longest < qi_lint_after(l, QI_LINT_QI104)) {
        return;
    }
    for (const struct qi_mirror_row *row = qi_mirror_newest(l->m); row != NULL;
         row = row->older) {
        if (row->kind == QI_LOOP && row->loop == record->aux) {
            if (row->value[QI_COL_LOOP_mode] != QI_MODE_NATIVE) {
                QI_WORD(qi_lint_happened(l, QI_LINT_QI104, QI_REF(QI_LOOP, row->id),
                                         record->ts),
                        "Qt waited for %" PRId64 " ms while %" PRIu32
                        " steps and callbacks ran",
                        turn / QI_MS, record->x);
            }
            return;
        }
    }
}

/*********** signal waits ***********/

static struct qi_wait_watch *
watch_of(struct qi_lints *l, uint64_t wait)
{
    return &l->waits[wait & (QI_LINT_WAITS - 1)];
}

/* Do two tasks wait on behalf of the same one?  wait_for() makes a task for each wait. */
static int
is_same_user(const struct qi_lints *l, uint64_t task, uint64_t other)
{
    const struct qi_mirror_row *a = row_of(l, QI_REF(QI_TASK, task));
    const struct qi_mirror_row *b = row_of(l, QI_REF(QI_TASK, other));

    if (task == other) {
        return 1;
    }
    return a != NULL && b != NULL && a->value[QI_COL_TASK_creator] != 0
           && a->value[QI_COL_TASK_creator] == b->value[QI_COL_TASK_creator];
}

static void
wait_began(struct qi_lints *l, const struct qi_record *record)
{
    struct qi_wait_watch *watch = watch_of(l, record->a);
    int64_t before = record->ts - (int64_t)qi_lint_limit(l, QI_LINT_QI303) * QI_MS;

    *watch =
        (struct qi_wait_watch){.id = record->a, .sender = record->b, .signal = record->x};
    for (unsigned i = 0; i < QI_LINT_FIRED; i++) {
        const struct qi_fired *fired = &l->fired[i];
        if (fired->task != 0 && fired->signal == record->x && fired->sender == record->b
            && record->b != 0 && fired->at >= before && fired->at > watch->missed) {
            watch->missed = fired->at;
            watch->missed_task = fired->task;
        }
    }
}

static void
task_waits(struct qi_lints *l, const struct qi_record *record)
{
    struct qi_wait_watch *watch = watch_of(l, QI_REF_ID(record->b));

    if (QI_REF_KIND(record->b) != QI_WAIT || watch->id != QI_REF_ID(record->b)) {
        return;
    }
    watch->task = record->a;
    if (watch->missed != 0 && is_same_user(l, record->a, watch->missed_task)) {
        watch->missed = 0; /* it has had that one, and waits for the next */
    }
}

static void
wait_fired(struct qi_lints *l, const struct qi_record *record)
{
    struct qi_wait_watch *watch = watch_of(l, record->a);

    if (watch->id == record->a && watch->task != 0) {
        l->fired[l->fired_next] = (struct qi_fired){.sender = watch->sender,
                                                    .signal = watch->signal,
                                                    .task = watch->task,
                                                    .at = record->ts};
        l->fired_next = (l->fired_next + 1) % QI_LINT_FIRED;
        watch->missed = 0;
    }
}

/*********** the rest ***********/

/* Nobody took the exception of a task. */
static void
unretrieved(struct qi_lints *l, const struct qi_record *record)
{
    uint64_t ref = record->a == 0 ? 0 : QI_REF(QI_TASK, record->a);
    const struct qi_mirror_row *task = ref == 0 ? NULL : row_of(l, ref);
    int call = task != NULL && task->value[QI_COL_TASK_role] == QI_ROLE_SLOT_CALL;
    const char *exception = qi_words_text(l->m, record->b);

    QI_WORD(qi_lint_happened(l, call ? QI_LINT_QI205 : QI_LINT_QI402, ref, record->ts),
            "%s failed%s%.*s and nobody took its exception",
            ref == 0 ? "a task" : qi_words_of(l->m, ref).text,
            exception[0] != '\0' ? " with " : "", qi_words_fit(exception, 60), exception);
}

static void
slot_delayed(struct qi_lints *l, const struct qi_record *record)
{
    uint64_t ref = QI_REF(QI_SLOT, record->a);

    if ((int64_t)record->b >= qi_lint_after(l, QI_LINT_QI206)) {
        QI_WORD(qi_lint_happened(l, QI_LINT_QI206, ref, record->ts),
                "%s: an emission waited for %" PRIu64 " ms before its call",
                qi_words_of(l->m, ref).text, record->b / (uint64_t)QI_MS);
    }
}

static void
loop_closed(struct qi_lints *l, const struct qi_record *record)
{
    uint32_t waits = 0;

    if (record->x == 0) {
        return;
    }
    for (const struct qi_mirror_row *row = qi_mirror_newest(l->m); row != NULL;
         row = row->older) {
        waits += row->kind == QI_WAIT && !row->over && row->loop == record->aux;
    }
    uint64_t ref = record->a == 0 ? 0 : QI_REF(QI_LOOP, record->a);
    if (waits > 0) {
        QI_WORD(qi_lint_happened(l, QI_LINT_QI507, ref, record->ts),
                "a loop was closed with %" PRIu32 " pending tasks and %" PRIu32
                " signal waits",
                record->x, waits);
    }
    else {
        QI_WORD(qi_lint_happened(l, QI_LINT_QI507, ref, record->ts),
                "a loop was closed with %" PRIu32 " pending tasks", record->x);
    }
}

void
qi_lints_record(struct qi_lints *l, const struct qi_mirror *m,
                const struct qi_record *record)
{
    uint64_t task = QI_REF(QI_TASK, record->a);
    uint64_t callback = QI_REF(QI_CALLBACK, record->x);

    l->m = m;
    switch (record->kind) {
    case QI_EV_TASK_WAKE:
        task_is_made_ready(l, record);
        break;
    case QI_EV_TASK_STEP:
        step_ended(l, record);
        break;
    case QI_EV_CALLBACK:
        ran(l, record, callback, (int64_t)record->a);
        break;
    case QI_EV_CALLBACK_FOREIGN:
        QI_WORD(qi_lint_happened(l, QI_LINT_QI505, callback, record->ts),
                "another thread has given %s to call_soon(): use call_soon_threadsafe()",
                qi_words_of(m, callback).text);
        break;
    case QI_EV_TURN:
        turn_ended(l, record);
        break;
    case QI_EV_TIMER_FIRED:
        qi_histogram_add(&l->late, record->b);
        break;
    case QI_EV_TASK_WAIT:
        task_waits(l, record);
        break;
    case QI_EV_WAIT_BEGAN:
        wait_began(l, record);
        break;
    case QI_EV_WAIT_FIRED:
        wait_fired(l, record);
        break;
    case QI_EV_SLOT_DELAYED:
        slot_delayed(l, record);
        break;
    case QI_EV_TASK_DESTROYED:
        QI_WORD(qi_lint_happened(l, QI_LINT_QI401, record->a == 0 ? 0 : task, record->ts),
                "%s was destroyed while it was pending",
                record->a == 0 ? "a task" : qi_words_of(m, task).text);
        break;
    case QI_EV_TASK_UNRETRIEVED:
        unretrieved(l, record);
        break;
    case QI_EV_NESTED_ENTERED:
        if (record->a != 0) {
            QI_WORD(qi_lint_happened(l, QI_LINT_QI502, task, record->ts),
                    "%s runs a nested Qt event loop: use modal()",
                    qi_words_of(m, task).text);
            l->loops[record->aux % QI_LINT_LOOPS].nested = task;
        }
        break;
    case QI_EV_NESTED_LEFT:
        l->loops[record->aux % QI_LINT_LOOPS].nested = 0;
        break;
    case QI_EV_LOOP_CLOSED:
        loop_closed(l, record);
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
    l->m = m;
    if (!over) { /* how long it was in the end, a record will say */
        qi_lint_blocked(l, loop, current, since, duration, where);
    }
}

void
qi_lints_lost(struct qi_lints *l, uint64_t count)
{
    l->lost += count;
    QI_WORD(qi_lint_happened(l, QI_LINT_QI901, 0, l->now), "%" PRIu64 " events were lost",
            l->lost);
}
