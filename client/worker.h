/*
 * worker.h - a thread of the shim that can be woken, and joined with a time limit.
 *
 * POSIX has no join with a limit.  So the thread's last act is to close its end of a
 * pipe: waiting for that is a poll(), on the monotonic clock.  All signals are blocked in
 * the thread; it calls neither Python nor Qt.
 */
#ifndef QI_CLIENT_WORKER_H
#define QI_CLIENT_WORKER_H

#include <pthread.h>

struct qi_worker {
    pthread_t thread;
    void (*work)(void *ctx);
    void *ctx;
    int stop; /* atomic */
    int wake_ends[2], ended_ends[2];
};

/* Starts work(ctx) in a thread with this name (at most 15 bytes): 0, or an errno. */
int qi_worker_start(struct qi_worker *w, const char *name, void (*work)(void *ctx),
                    void *ctx);

/* [worker] Waits for a nudge, at most so long; 0: it is to stop. */
int qi_worker_wait(struct qi_worker *w, int timeout_ms);

/* [any] It is to stop waiting. */
void qi_worker_nudge(struct qi_worker *w);

/* [any] Asks it to end and waits; 1: it has, 0: not within the time, and it is left to
   itself with all that it uses. */
int qi_worker_stop(struct qi_worker *w, int timeout_ms);

/* [any] After it has ended. */
void qi_worker_fini(struct qi_worker *w);

/* In a forked child, where the thread is not: closes the descriptors. */
void qi_worker_forget(struct qi_worker *w);

#endif
