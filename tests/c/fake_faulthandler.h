/*
 * fake_faulthandler.h - a handler in the place of Python's, and a thread to be asked.
 */
#ifndef QI_TESTS_FAKE_FAULTHANDLER_H
#define QI_TESTS_FAKE_FAULTHANDLER_H

#include "qi_test.h"

#include <errno.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

static int fake_file = -1;
static int fake_line; /* of the innermost frame; grows where it moves */
static int fake_moves;
static int fake_dumps;
static uint32_t fake_thread; /* that ran the handler last */

/* Of the variables above: the handler runs in other threads. */
#define FAKE_LOAD(variable) __atomic_load_n(&(variable), __ATOMIC_ACQUIRE)
#define FAKE_STORE(variable, value)                                                      \
    __atomic_store_n(&(variable), (value), __ATOMIC_RELEASE)

/* Writes two frames; async-signal-safe. */
static inline void
fake_dump(int number)
{
    static const char head[] = "Stack (most recent call first):\n  File \"a.py\", line ";
    static const char tail[] = " in inner\n  File \"a.py\", line 1 in outer\n";
    int file = FAKE_LOAD(fake_file);
    int line = FAKE_LOAD(fake_line);
    char digit = (char)('0' + line % 10);

    (void)number;
    FAKE_STORE(fake_line, line + FAKE_LOAD(fake_moves));
    (void)!write(file, head, sizeof(head) - 1);
    (void)!write(file, &digit, 1);
    (void)!write(file, tail, sizeof(tail) - 1);
    FAKE_STORE(fake_thread, (uint32_t)syscall(SYS_gettid));
    FAKE_STORE(fake_dumps, FAKE_LOAD(fake_dumps) + 1);
    errno = EBADMSG; /* the handler around must put back what was there */
}

/* As faulthandler.register() does. */
static inline void
fake_register(int number, int file)
{
    struct sigaction action = {.sa_handler = fake_dump, .sa_flags = SA_RESTART};

    FAKE_STORE(fake_file, file);
    FAKE_STORE(fake_line, 0);
    FAKE_STORE(fake_moves, 0);
    FAKE_STORE(fake_dumps, 0);
    CHECK_INT(sigaction(number, &action, NULL), 0);
}

static inline void
fake_unregister(int number)
{
    CHECK(signal(number, SIG_DFL) != SIG_ERR);
}

/* A thread that waits in read() until it is let go. */
struct fake_loop_thread {
    pthread_t thread;
    uint32_t id;
    int let_go[2], started[2];
    int blocks; /* this signal; 0: none */
    char got;
};

static inline void *
fake_loop_run(void *argument)
{
    struct fake_loop_thread *t = argument;
    char byte = 0;

    if (t->blocks != 0) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, t->blocks);
        CHECK_INT(pthread_sigmask(SIG_BLOCK, &set, NULL), 0);
    }
    t->id = (uint32_t)syscall(SYS_gettid);
    CHECK_INT(write(t->started[1], "x", 1), 1);
#ifdef __SANITIZE_THREAD__
    /* It lets a signal in at once only where a call is known to wait; read() is not. */
    struct pollfd let_go = {.fd = t->let_go[0], .events = POLLIN};
    while (poll(&let_go, 1, -1) < 0) {
        CHECK_INT(errno, EINTR);
    }
#endif
    errno = 0;
    CHECK_INT(read(t->let_go[0], &byte, 1), 1); /* SA_RESTART: no EINTR */
    CHECK_INT(errno, 0);
    t->got = byte;
    if (t->blocks != 0) {
        sigset_t set;
        sigemptyset(&set);
        sigaddset(&set, t->blocks);
        CHECK_INT(pthread_sigmask(SIG_UNBLOCK, &set, NULL), 0);
    }
    return NULL;
}

static inline void
fake_loop_start(struct fake_loop_thread *t, int blocks)
{
    char byte;

    t->blocks = blocks;
    CHECK_INT(pipe(t->let_go), 0);
    CHECK_INT(pipe(t->started), 0);
    CHECK_INT(pthread_create(&t->thread, NULL, fake_loop_run, t), 0);
    CHECK_INT(read(t->started[0], &byte, 1), 1);
}

static inline void
fake_loop_end(struct fake_loop_thread *t)
{
    CHECK_INT(write(t->let_go[1], "g", 1), 1);
    CHECK_INT(pthread_join(t->thread, NULL), 0);
    CHECK_INT(t->got, 'g');
    for (int i = 0; i < 2; i++) {
        (void)close(t->let_go[i]);
        (void)close(t->started[i]);
    }
}

#endif
