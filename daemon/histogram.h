/*
 * histogram.h - how long steps and slot calls take: one distribution for each code
 * location.
 *
 * Buckets grow with the value: eight for each power of two, so that a bucket's bounds are
 * within 12.5 % of each other, from 1 us to about 20 minutes; what is outside counts in
 * the first or the last one.
 *
 * Bounded: QI_HISTOGRAM_CODES code locations; those that come later share code 0.
 * Pure C: no I/O, no clock; one thread.
 */
#ifndef QI_DAEMON_HISTOGRAM_H
#define QI_DAEMON_HISTOGRAM_H

#include "budget.h"
#include "mirror.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QI_HISTOGRAM_SUB 8u /* buckets for each power of two */
#define QI_HISTOGRAM_BUCKETS 248u
#define QI_HISTOGRAM_CODES 1024u /* a power of two */

struct qi_histogram {
    uint64_t count, sum, max; /* ns */
    uint32_t bucket[QI_HISTOGRAM_BUCKETS];
};

void qi_histogram_add(struct qi_histogram *histogram, uint64_t ns);
/* Lowest duration that counts in a bucket; ns. */
uint64_t qi_histogram_lower(unsigned bucket);
/* A duration that the share `permille` of all does not exceed, to a bucket's width and
   never above the maximum; 0 without any. */
uint64_t qi_histogram_quantile(const struct qi_histogram *histogram, unsigned permille);

enum qi_duration {
    QI_DURATION_STEP = 0, /* of a task, and callbacks */
    QI_DURATION_CALL = 1  /* of an asyncslot, from the emission to the end of its task */
};

struct qi_histograms;

struct qi_histograms *qi_histograms_new(void);
/* Charges what it has to the budget, and from now on everything before it is allocated:
   1, or 0 if there is not so much left.  The budget must outlive it. */
int qi_histograms_charge(struct qi_histograms *histograms, struct qi_budget *budget);
void qi_histograms_free(struct qi_histograms *histograms); /* NULL is fine */
/* Takes in a record that is new; rows are looked up in the mirror.  Without memory, or
   room in the budget, for another code location, code 0 has it. */
void qi_histograms_record(struct qi_histograms *histograms,
                          const struct qi_mirror *mirror, const struct qi_record *record);
/* Of a code location; code 0: of all.  NULL: there is none. */
const struct qi_histogram *qi_histograms_find(const struct qi_histograms *histograms,
                                              enum qi_duration what, uint32_t code);

#ifdef __cplusplus
}
#endif

#endif
