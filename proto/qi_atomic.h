/*
 * qi_atomic.h - the few atomic operations that the segment needs.
 *
 * The segment is plain memory in a file, written by one process and read by others, in C
 * and in C++: so builtins on ordinary integers, not _Atomic.  GCC, Clang and MinGW.
 *
 * A fence orders what it stands between for every later or earlier access;
 * ThreadSanitizer does not model it, and need not: everything that is shared is accessed
 * atomically.
 */
#ifndef QI_PROTO_QI_ATOMIC_H
#define QI_PROTO_QI_ATOMIC_H

#define QI_LOAD(field) __atomic_load_n(&(field), __ATOMIC_RELAXED)
#define QI_LOAD_ACQUIRE(field) __atomic_load_n(&(field), __ATOMIC_ACQUIRE)
#define QI_STORE(field, value) __atomic_store_n(&(field), (value), __ATOMIC_RELAXED)
#define QI_STORE_RELEASE(field, value)                                                   \
    __atomic_store_n(&(field), (value), __ATOMIC_RELEASE)
#define QI_EXCHANGE(field, value) __atomic_exchange_n(&(field), (value), __ATOMIC_ACQ_REL)
#define QI_ADD(field, value)                                                             \
    ((void)__atomic_fetch_add(&(field), (value), __ATOMIC_RELAXED))

#if defined(__SANITIZE_THREAD__) && defined(__GNUC__)
#  pragma GCC diagnostic push
#  pragma GCC diagnostic ignored "-Wtsan"
#endif

/* Stores before it are seen by whoever sees a store after it. */
static inline void
qi_fence_release(void)
{
    __atomic_thread_fence(__ATOMIC_RELEASE);
}

/* Loads after it see at least what the loads before it saw. */
static inline void
qi_fence_acquire(void)
{
    __atomic_thread_fence(__ATOMIC_ACQUIRE);
}

#if defined(__SANITIZE_THREAD__) && defined(__GNUC__)
#  pragma GCC diagnostic pop
#endif

#endif
