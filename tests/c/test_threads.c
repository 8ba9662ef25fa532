/*
 * test_threads.c - ready queue and wakeups as call_soon_threadsafe() uses them.
 *
 * A mutex stands in for the GIL: it orders the queue and the flag, and it is not held
 * while the loop's thread waits.  Nothing may get lost, and the order of each thread
 * stays.  Meant for the thread sanitizer (cmake --preset tsan), and true without.
 */
#include "poller.h"
#include "qi_test.h"
#include "ready.h"

#include <pthread.h>

#define SENDERS 10
#define CALLS 20000

static struct {
    pthread_mutex_t lock;
    struct qi_ready ready;
    struct qi_poller poller;
    int pending; /* the poller was woken and has not noticed yet */
} loop;

/* Call number i of a sender, as a pointer that is not NULL. */
static void *
call_of(size_t sender, size_t i)
{
    return (void *)(sender * CALLS + i + 1);
}

static void *
send_calls(void *sender)
{
    size_t failures = 0;

    for (size_t i = 0; i < CALLS; i++) {
        pthread_mutex_lock(&loop.lock);
        failures += qi_ready_push(&loop.ready, call_of((size_t)sender, i)) != 0;
        if (!loop.pending) {
            loop.pending = 1;
            failures += qi_poller_wake(&loop.poller) != 0;
        }
        pthread_mutex_unlock(&loop.lock);
    }
    return (void *)failures;
}

/* Waits without a timeout: a wakeup that is lost hangs the test. */
static void
take_all_calls(size_t next[SENDERS])
{
    struct qi_poll_event events[8];
    struct qi_poll_result got;

    for (size_t taken = 0; taken < (size_t)SENDERS * CALLS;) {
        CHECK_INT(qi_poller_wait(&loop.poller, -1, events, 8, &got), 0);
        pthread_mutex_lock(&loop.lock);
        if (got.woken) {
            loop.pending = 0;
        }
        void *call;
        while ((call = qi_ready_pop(&loop.ready)) != NULL) {
            size_t number = (size_t)call - 1;
            size_t sender = number / CALLS;
            CHECK(number % CALLS == next[sender]);
            next[sender]++;
            taken++;
        }
        pthread_mutex_unlock(&loop.lock);
    }
}

static void
calls_of_ten_threads_arrive_in_their_order(void)
{
    pthread_t threads[SENDERS];
    size_t next[SENDERS] = {0};

    CHECK_INT(pthread_mutex_init(&loop.lock, NULL), 0);
    qi_ready_init(&loop.ready);
    CHECK_INT(qi_poller_init(&loop.poller), 0);
    for (size_t i = 0; i < SENDERS; i++) {
        CHECK_INT(pthread_create(&threads[i], NULL, send_calls, (void *)i), 0);
    }
    take_all_calls(next);
    for (size_t i = 0; i < SENDERS; i++) {
        void *failures = NULL;
        CHECK_INT(pthread_join(threads[i], &failures), 0);
        CHECK(failures == NULL);
        CHECK(next[i] == CALLS);
    }
    qi_poller_fini(&loop.poller);
    qi_ready_fini(&loop.ready);
    pthread_mutex_destroy(&loop.lock);
}

int
main(void)
{
    RUN(calls_of_ten_threads_arrive_in_their_order);
    return 0;
}
