#include "histogram.h"

#include "columns.h"
#include "rowof.h"

#include <stdlib.h>
#include <string.h>

#define UNIT_SHIFT 10 /* 1,024 ns: the first bucket's width is a fraction of that */
#define SUB_BITS 3

struct of_code {
    uint32_t code; /* 0: a free place */
    struct qi_histogram *durations[2];
};

struct qi_histograms {
    struct qi_histogram all[2];
    struct of_code codes[QI_HISTOGRAM_CODES * 2]; /* open addressing, at most half full */
    unsigned used;
    struct qi_account account;
};

static unsigned
bits_of(uint64_t value)
{
    unsigned bits = 0;

    while (value != 0) {
        bits++;
        value >>= 1;
    }
    return bits;
}

static unsigned
bucket_of(uint64_t ns)
{
    uint64_t units = ns >> (UNIT_SHIFT - SUB_BITS); /* 128 ns */
    unsigned bits = bits_of(units);

    if (bits <= SUB_BITS) {
        return 0; /* below a microsecond */
    }
    unsigned octave = bits - SUB_BITS - 1;
    unsigned part = (unsigned)(units >> octave) & (QI_HISTOGRAM_SUB - 1);
    unsigned bucket = octave * QI_HISTOGRAM_SUB + part;
    return bucket < QI_HISTOGRAM_BUCKETS ? bucket : QI_HISTOGRAM_BUCKETS - 1;
}

uint64_t
qi_histogram_lower(unsigned bucket)
{
    unsigned octave = bucket / QI_HISTOGRAM_SUB;
    uint64_t part = bucket % QI_HISTOGRAM_SUB + QI_HISTOGRAM_SUB;

    return bucket == 0 ? 0 : part << (octave + UNIT_SHIFT - SUB_BITS);
}

void
qi_histogram_add(struct qi_histogram *h, uint64_t ns)
{
    h->count++;
    h->sum += ns;
    if (ns > h->max) {
        h->max = ns;
    }
    h->bucket[bucket_of(ns)]++;
}

uint64_t
qi_histogram_quantile(const struct qi_histogram *h, unsigned permille)
{
    /* Rounded up: the median of three is the second one. */
    uint64_t wanted = (h->count * permille + 999) / 1000;
    uint64_t seen = 0;

    if (h->count == 0) {
        return 0;
    }
    for (unsigned i = 0; i + 1 < QI_HISTOGRAM_BUCKETS; i++) {
        seen += h->bucket[i];
        if (seen >= wanted) {
            uint64_t upper = qi_histogram_lower(i + 1);
            return upper < h->max ? upper : h->max;
        }
    }
    return h->max;
}

struct qi_histograms *
qi_histograms_new(void)
{
    struct qi_histograms *all = calloc(1, sizeof(*all));

    if (all != NULL) {
        (void)qi_account_take(&all->account, sizeof(*all));
    }
    return all;
}

int
qi_histograms_charge(struct qi_histograms *all, struct qi_budget *budget)
{
    return qi_account_enter(&all->account, budget);
}

void
qi_histograms_free(struct qi_histograms *all)
{
    if (all == NULL) {
        return;
    }
    for (size_t i = 0; i < QI_HISTOGRAM_CODES * 2; i++) {
        free(all->codes[i].durations[0]);
        free(all->codes[i].durations[1]);
    }
    qi_account_give(&all->account, all->account.used);
    free(all);
}

/* The place of a code, or the free one where it belongs. */
static size_t
place_of(const struct qi_histograms *all, uint32_t code)
{
    size_t mask = QI_HISTOGRAM_CODES * 2 - 1;
    size_t i = (code * UINT32_C(2654435769)) >> 8 & mask;

    while (all->codes[i].code != 0 && all->codes[i].code != code) {
        i = (i + 1) & mask;
    }
    return i;
}

static void
add(struct qi_histograms *all, enum qi_duration what, uint32_t code, uint64_t ns)
{
    qi_histogram_add(&all->all[what], ns);
    if (code == 0) {
        return;
    }
    const size_t bytes = sizeof(struct qi_histogram) + QI_BLOCK_BYTES;
    struct of_code *found = &all->codes[place_of(all, code)];
    if (found->code == 0) {
        if (all->used == QI_HISTOGRAM_CODES) {
            return;
        }
        found->code = code;
        all->used++;
    }
    if (found->durations[what] == NULL && qi_account_take(&all->account, bytes)) {
        found->durations[what] = calloc(1, sizeof(struct qi_histogram));
        if (found->durations[what] == NULL) {
            qi_account_give(&all->account, bytes);
        }
    }
    if (found->durations[what] != NULL) {
        qi_histogram_add(found->durations[what], ns);
    }
}

static void
add_call(struct qi_histograms *all, const struct qi_mirror *mirror,
         const struct qi_record *record)
{
    const struct qi_mirror_row *task = qi_mirror_find(mirror, QI_TASK, record->a);
    const struct qi_mirror_row *slot = qi_mirror_find(mirror, QI_SLOT, record->b);

    if (task == NULL || slot == NULL) {
        return;
    }
    int64_t since = (int64_t)task->value[QI_COL_TASK_created];
    if (since > 0 && record->ts >= since) {
        add(all, QI_DURATION_CALL, (uint32_t)slot->value[QI_COL_SLOT_code],
            (uint64_t)(record->ts - since));
    }
}

void
qi_histograms_record(struct qi_histograms *all, const struct qi_mirror *mirror,
                     const struct qi_record *record)
{
    const struct qi_mirror_row *task;

    switch (record->kind) {
    case QI_EV_TASK_STEP:
        task = qi_mirror_find(mirror, QI_TASK, record->a);
        add(all, QI_DURATION_STEP,
            task == NULL ? 0 : (uint32_t)task->value[QI_COL_TASK_code], record->b);
        break;
    case QI_EV_CALLBACK:
        add(all, QI_DURATION_STEP, record->x, record->a);
        break;
    case QI_EV_SLOT_ENDED:
        add_call(all, mirror, record);
        break;
    default:
        break;
    }
}

const struct qi_histogram *
qi_histograms_find(const struct qi_histograms *all, enum qi_duration what, uint32_t code)
{
    if (code == 0) {
        return &all->all[what];
    }
    return all->codes[place_of(all, code)].durations[what];
}
