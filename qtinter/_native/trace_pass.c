/* trace_pass.c - see trace_pass.h. */
#include "trace_pass.h"

#include "columns.h"

#include <stdlib.h>
#include <string.h>

#define CAPACITY_MIN 64u
#define TASKS_MAX (UINT32_C(1) << 30) /* what a place can say, with room to double */

enum record_kind {
#define X(number, NAME, x, a, b, doc) KIND_##NAME = number,
#include "records.def"
#undef X
};

/* --- tasks by id ------------------------------------------------------------------ */

/* The ids are anybody's: without the salt they could be made to meet in one place.  The
   mixing is that of splitmix64. */
static size_t
hash_of(const struct qi_traced_tasks *tasks, uint64_t id)
{
    id += tasks->salt;
    id = (id ^ id >> 30) * UINT64_C(0xbf58476d1ce4e5b9);
    id = (id ^ id >> 27) * UINT64_C(0x94d049bb133111eb);
    return (size_t)(id ^ id >> 31);
}

/* Where the id is, or the free place where it goes. */
static uint32_t *
place_of(const struct qi_traced_tasks *tasks, uint64_t id)
{
    size_t at = hash_of(tasks, id) & tasks->mask;

    while (tasks->places[at] != 0 && tasks->items[tasks->places[at] - 1].id != id) {
        at = (at + 1) & tasks->mask;
    }
    return &tasks->places[at];
}

static int
grow(struct qi_traced_tasks *tasks)
{
    size_t capacity = tasks->capacity == 0 ? CAPACITY_MIN : 2 * tasks->capacity;

    if (capacity > TASKS_MAX) {
        return -1;
    }
    struct qi_traced_task *items =
        realloc(tasks->items, capacity * sizeof(struct qi_traced_task));
    if (items == NULL) {
        return -1;
    }
    tasks->items = items;
    /* At most half of the places are taken. */
    uint32_t *places = calloc(2 * capacity, sizeof(uint32_t));
    if (places == NULL) {
        return -1;
    }
    if (tasks->salt == 0) {
        tasks->salt = (uint64_t)(uintptr_t)places * UINT64_C(0x9e3779b97f4a7c15) + 1;
    }
    free(tasks->places);
    tasks->places = places;
    tasks->capacity = capacity;
    tasks->mask = 2 * capacity - 1;
    for (size_t i = 0; i < tasks->count; i++) {
        *place_of(tasks, tasks->items[i].id) = (uint32_t)i + 1;
    }
    return 0;
}

void
qi_traced_tasks_free(struct qi_traced_tasks *tasks)
{
    free(tasks->items);
    free(tasks->places);
    memset(tasks, 0, sizeof(*tasks));
}

struct qi_traced_task *
qi_traced_task_find(const struct qi_traced_tasks *tasks, uint64_t id)
{
    if (tasks->count == 0) {
        return NULL;
    }
    uint32_t place = *place_of(tasks, id);
    return place == 0 ? NULL : &tasks->items[place - 1];
}

struct qi_traced_task *
qi_traced_task_put(struct qi_traced_tasks *tasks, uint64_t id)
{
    struct qi_traced_task *task = qi_traced_task_find(tasks, id);

    if (task != NULL) {
        return task;
    }
    if (tasks->count == tasks->capacity && grow(tasks) < 0) {
        return NULL;
    }
    *place_of(tasks, id) = (uint32_t)tasks->count + 1;
    task = &tasks->items[tasks->count++];
    memset(task, 0, sizeof(*task));
    task->id = id;
    return task;
}

/* --- durations -------------------------------------------------------------------- */

static unsigned
bit_length(uint64_t number)
{
    unsigned bits = 0;

    for (unsigned half = 32; half > 0; half /= 2) {
        if (number >> half != 0) {
            number >>= half;
            bits += half;
        }
    }
    return bits + (number != 0);
}

void
qi_histogram_add(struct qi_histogram *h, uint64_t ns)
{
    unsigned bits = bit_length(ns);
    unsigned shift = bits > 6 ? bits - 6 : 0;

    h->count++;
    h->total += ns;
    if (ns > h->longest) {
        h->longest = ns;
    }
    h->counts[shift << 6 | (unsigned)(ns >> shift)]++;
}

static int
compare_steps(const void *left, const void *right)
{
    const struct qi_traced_step *a = left;
    const struct qi_traced_step *b = right;

    if (a->ns != b->ns) {
        return a->ns < b->ns ? -1 : 1;
    }
    if (a->end != b->end) {
        return a->end < b->end ? -1 : 1;
    }
    if (a->task != b->task) {
        return a->task < b->task ? -1 : 1;
    }
    if (a->code != b->code) {
        return a->code < b->code ? -1 : 1;
    }
    return a->loop < b->loop ? -1 : a->loop > b->loop;
}

static int
longer_first(const void *left, const void *right)
{
    return compare_steps(right, left);
}

static void
sift_up(struct qi_traced_step *heap, size_t at)
{
    struct qi_traced_step step = heap[at];

    while (at > 0 && compare_steps(&step, &heap[(at - 1) / 2]) < 0) {
        heap[at] = heap[(at - 1) / 2];
        at = (at - 1) / 2;
    }
    heap[at] = step;
}

static void
sift_down(struct qi_traced_step *heap, size_t n)
{
    struct qi_traced_step step = heap[0];
    size_t at = 0;

    for (;;) {
        size_t child = 2 * at + 1;
        if (child + 1 < n && compare_steps(&heap[child + 1], &heap[child]) < 0) {
            child++;
        }
        if (child >= n || compare_steps(&heap[child], &step) >= 0) {
            break;
        }
        heap[at] = heap[child];
        at = child;
    }
    heap[at] = step;
}

/* Keeps a step that may be among the longest. */
static void
keep_step(struct qi_trace_pass *pass, const struct qi_traced_step *step)
{
    if (pass->longest_count < QI_LONGEST_KEPT) {
        if (step->ns > 0) {
            pass->longest[pass->longest_count] = *step;
            sift_up(pass->longest, pass->longest_count++);
        }
    }
    else if (step->ns > pass->longest[0].ns) {
        pass->longest[0] = *step;
        sift_down(pass->longest, pass->longest_count);
    }
}

void
qi_trace_pass_sort(struct qi_trace_pass *pass)
{
    qsort(pass->longest, pass->longest_count, sizeof(pass->longest[0]), longer_first);
}

/* --- records ---------------------------------------------------------------------- */

/* What a row says of now, and not of what the task is. */
static const uint8_t of_now[] = {
    QI_TASK_AT_changed,   QI_TASK_AT_woken_by,    QI_TASK_AT_wait_kind,
    QI_TASK_AT_wait_ref,  QI_TASK_AT_wait_detail, QI_TASK_AT_cancels,
    QI_TASK_AT_canceller, QI_TASK_AT_exception,   QI_TASK_AT_where,
};
static const uint8_t of_range[] = {
    QI_TASK_AT_busy,  QI_TASK_AT_scheduled, QI_TASK_AT_max_step,
    QI_TASK_AT_steps, QI_TASK_AT_wakes,     QI_TASK_AT_self_wakes,
};

/* A task of which this is the first record in the range, or the first one again. */
static struct qi_traced_task *
first_of(struct qi_trace_pass *pass, uint64_t id, uint32_t loop)
{
    const struct qi_traced_task *row = qi_traced_task_find(pass->known, id);
    struct qi_traced_task *task = qi_traced_task_put(&pass->tasks, id);

    if (task == NULL) {
        return NULL;
    }
    memset(task, 0, sizeof(*task));
    task->id = id;
    if (row != NULL) {
        memcpy(task->column, row->column, sizeof(task->column));
        for (size_t i = 0; i < sizeof(of_now); i++) {
            task->column[of_now[i]] = 0;
        }
        for (size_t i = 0; i < sizeof(of_range); i++) {
            task->column[of_range[i]] = 0;
        }
    }
    task->state = QI_TASK_RUNNING;
    task->loop = loop;
    return task;
}

static struct qi_traced_task *
task_of(struct qi_trace_pass *pass, const struct qi_record *r)
{
    struct qi_traced_task *task = qi_traced_task_find(&pass->tasks, r->a);

    return task != NULL ? task : first_of(pass, r->a, r->aux);
}

static void
put_lag(struct qi_trace_pass *pass, struct qi_traced_task *task,
        const struct qi_record *r)
{
    uint64_t since_ready = (uint64_t)r->ts - (uint64_t)task->ready;
    uint64_t lag = r->ts > task->ready && since_ready > r->b ? since_ready - r->b : 0;

    task->column[QI_TASK_AT_scheduled] += lag;
    if (lag > pass->lags.longest) {
        pass->lag_most = lag;
        pass->lag_since = task->ready;
        pass->lag_task = r->a;
    }
    qi_histogram_add(&pass->lags, lag);
    task->ready = 0;
}

static int
take_step(struct qi_trace_pass *pass, const struct qi_record *r)
{
    struct qi_traced_task *task = task_of(pass, r);
    struct qi_traced_step step = {r->b, r->ts, r->a, 0, r->aux};

    if (task == NULL) {
        return -1;
    }
    task->column[QI_TASK_AT_busy] += r->b;
    task->column[QI_TASK_AT_steps]++;
    if (r->b > task->column[QI_TASK_AT_max_step]) {
        task->column[QI_TASK_AT_max_step] = r->b;
    }
    if (task->ready != 0) {
        put_lag(pass, task, r);
    }
    qi_histogram_add(&pass->steps, r->b);
    keep_step(pass, &step);
    task->column[QI_TASK_AT_changed] = (uint64_t)r->ts;
    if (r->x == 1) { /* it yielded */
        task->state = QI_TASK_READY;
        task->ready = r->ts;
    }
    else if (r->x == 0) {
        task->state = QI_TASK_WAITING;
    }
    return 1;
}

static int
take_wake(struct qi_trace_pass *pass, const struct qi_record *r)
{
    struct qi_traced_task *task = task_of(pass, r);

    if (task == NULL) {
        return -1;
    }
    task->column[QI_TASK_AT_wakes]++;
    if (r->b == QI_REF(QI_TASK, r->a)) {
        task->column[QI_TASK_AT_self_wakes]++;
    }
    task->column[QI_TASK_AT_woken_by] = r->b;
    task->column[QI_TASK_AT_changed] = (uint64_t)r->ts;
    task->state = QI_TASK_READY;
    task->ready = r->ts;
    return 1;
}

static int
take_created(struct qi_trace_pass *pass, const struct qi_record *r)
{
    struct qi_traced_task *task = first_of(pass, r->a, r->aux);

    if (task == NULL) {
        return -1;
    }
    task->column[QI_TASK_AT_code] = r->x;
    task->column[QI_TASK_AT_created] = (uint64_t)r->ts;
    task->column[QI_TASK_AT_changed] = (uint64_t)r->ts;
    task->column[QI_TASK_AT_creator] = r->b;
    task->state = QI_TASK_READY;
    task->ready = r->ts;
    task->is_new = 1;
    if (QI_REF_KIND(r->b) == QI_SLOT) {
        task->column[QI_TASK_AT_slot] = QI_REF_ID(r->b);
        task->column[QI_TASK_AT_role] = 1;
    }
    if (++pass->alive > pass->alive_most) {
        pass->alive_most = pass->alive;
    }
    return 1;
}

static void
end_task(struct qi_traced_task *task, const struct qi_record *r, uint32_t state)
{
    task->state = state;
    task->ended = r->ts;
    task->column[QI_TASK_AT_changed] = (uint64_t)r->ts;
}

/* The rarer records of tasks. */
static int
take_other(struct qi_trace_pass *pass, const struct qi_record *r)
{
    struct qi_traced_task *task = task_of(pass, r);

    if (task == NULL) {
        return -1;
    }
    switch (r->kind) {
    case KIND_TASK_WAIT:
        task->column[QI_TASK_AT_wait_kind] = r->x;
        task->column[QI_TASK_AT_wait_ref] = r->b;
        return QI_REF_KIND(r->b) != QI_WAIT; /* the signal wait has to know */
    case KIND_TASK_ENDED:
        end_task(task, r, r->x);
        task->column[QI_TASK_AT_exception] = r->b;
        task->ready = 0;
        pass->alive -= task->is_new;
        return 1;
    case KIND_TASK_DESTROYED:
        end_task(task, r, QI_TASK_DESTROYED);
        return 1;
    case KIND_TASK_NAMED:
        task->column[QI_TASK_AT_name] = r->x;
        return 1;
    default: /* KIND_TASK_CANCEL */
        task->column[QI_TASK_AT_cancels]++;
        task->column[QI_TASK_AT_canceller] = r->b;
        return 0;
    }
}

static int
take_callback(struct qi_trace_pass *pass, const struct qi_record *r)
{
    struct qi_traced_step step = {r->a, r->ts, 0, r->x, r->aux};

    qi_histogram_add(&pass->steps, r->a);
    keep_step(pass, &step);
    return 1;
}

int
qi_trace_pass_record(struct qi_trace_pass *pass, const struct qi_record *r)
{
    pass->count++;
    pass->last = r->ts;
    switch (r->kind) {
    case KIND_TASK_STEP:
        return take_step(pass, r);
    case KIND_TASK_WAKE:
        return take_wake(pass, r);
    case KIND_TASK_CREATED:
        return take_created(pass, r);
    case KIND_TASK_WAIT:
    case KIND_TASK_ENDED:
    case KIND_TASK_DESTROYED:
    case KIND_TASK_NAMED:
    case KIND_TASK_CANCEL:
        return take_other(pass, r);
    case KIND_CALLBACK:
        return take_callback(pass, r);
    case KIND_TURN:
        pass->turns++;
        pass->qt_ns += r->a;
        pass->asyncio_ns += r->b;
        return 1;
    case KIND_IDLE:
        pass->idle_ns += r->a;
        return 1;
    default:
        return 0;
    }
}

/* --- the end ---------------------------------------------------------------------- */

static int
finish_task(struct qi_trace_pass *pass, const struct qi_traced_task *row, int64_t t1)
{
    struct qi_traced_task *task = qi_traced_task_find(&pass->tasks, row->id);
    int64_t changed = (int64_t)row->column[QI_TASK_AT_changed];
    int is_over = qi_state_is_final(QI_TASK, row->state);

    if (changed > t1) {
        return 0;
    }
    if (task == NULL && is_over) {
        return 0;
    }
    if (task == NULL && (task = first_of(pass, row->id, row->loop)) == NULL) {
        return -1;
    }
    if (task->ended != 0 || changed < (int64_t)task->column[QI_TASK_AT_changed]) {
        return 0; /* the records know better */
    }
    for (size_t i = 0; i < sizeof(of_now); i++) {
        task->column[of_now[i]] = row->column[of_now[i]];
    }
    task->state = row->state;
    if (is_over) {
        task->ended = changed;
    }
    return 0;
}

int
qi_trace_pass_finish(struct qi_trace_pass *pass, int64_t kept, int64_t t0, int64_t t1)
{
    if (kept < t0) {
        return 0;
    }
    for (size_t i = 0; i < pass->known->count; i++) {
        if (finish_task(pass, &pass->known->items[i], t1) < 0) {
            return -1;
        }
    }
    return 0;
}

void
qi_trace_pass_free(struct qi_trace_pass *pass)
{
    qi_traced_tasks_free(&pass->tasks);
}
