/*
 * budget.h - the memory that all sessions have together.
 *
 * What a peer can make the daemon allocate is charged here first.  Over the limit it is
 * refused, to whoever asks: that one loses its session or a part of its data, nobody
 * else anything.  A part is reserved for what passes through, that is, frames on their
 * way: data that stays cannot take it, or one full session would silence all others.  An
 * account is what one owner has, so that it is given back to the byte.
 *
 * [any] thread for a budget; an account is its owner's.
 */
#ifndef QI_DAEMON_BUDGET_H
#define QI_DAEMON_BUDGET_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct qi_budget {
    size_t limit;   /* bytes; constant, as is the next */
    size_t reserve; /* of them, for what passes through */
    size_t used;    /* never more than the limit */
    uint64_t refused;
};

struct qi_account {
    struct qi_budget *budget; /* borrowed; NULL: without limit */
    size_t used;
};

/* Of a block of memory, beside what was asked for. */
#define QI_BLOCK_BYTES 16u

/* Use the two below. */
static inline int
qi_budget_take_below(struct qi_budget *b, size_t bytes, size_t limit)
{
    size_t used = __atomic_load_n(&b->used, __ATOMIC_RELAXED);

    do {
        if (used > limit || bytes > limit - used) {
            (void)__atomic_fetch_add(&b->refused, 1, __ATOMIC_RELAXED);
            return 0;
        }
    } while (!__atomic_compare_exchange_n(&b->used, &used, used + bytes, 1,
                                          __ATOMIC_RELAXED, __ATOMIC_RELAXED));
    return 1;
}

/* For data that stays.  1: it is charged; 0: there is not so much left, and nothing has
   changed. */
static inline int
qi_budget_take(struct qi_budget *b, size_t bytes)
{
    return qi_budget_take_below(b, bytes, b->limit - b->reserve);
}

/* For what passes through: from the reserve too. */
static inline int
qi_budget_take_passing(struct qi_budget *b, size_t bytes)
{
    return qi_budget_take_below(b, bytes, b->limit);
}

static inline void
qi_budget_give(struct qi_budget *b, size_t bytes)
{
    (void)__atomic_fetch_sub(&b->used, bytes, __ATOMIC_RELAXED);
}

static inline size_t
qi_budget_used(const struct qi_budget *b)
{
    return __atomic_load_n(&b->used, __ATOMIC_RELAXED);
}

static inline int
qi_account_take(struct qi_account *a, size_t bytes)
{
    if (a->budget != NULL && !qi_budget_take(a->budget, bytes)) {
        return 0;
    }
    a->used += bytes;
    return 1;
}

static inline void
qi_account_give(struct qi_account *a, size_t bytes)
{
    a->used -= bytes;
    if (a->budget != NULL) {
        qi_budget_give(a->budget, bytes);
    }
}

/* Charges to a budget what was taken without one.  1, or 0: there is not so much left. */
static inline int
qi_account_enter(struct qi_account *a, struct qi_budget *budget)
{
    if (!qi_budget_take(budget, a->used)) {
        return 0;
    }
    a->budget = budget;
    return 1;
}

#ifdef __cplusplus
}
#endif

#endif
