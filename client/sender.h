/*
 * sender.h - the thread that speaks to the daemon.
 *
 * Promises (tests/c/test_sender.c has one case per line):
 *   - without a daemon it tries again, cheaply, for ever; nothing else happens;
 *   - a daemon that is mute, too old, too new, ignorant of the key or broken costs a
 *     refused connection, tried again less and less often;
 *   - nothing is sent before both sides have proved that they know the key;
 *   - a socket that is full delays what is sent, never the thread: it still stops at
 * once;
 *   - stopping is bounded by its timeout;
 *   - all signals are blocked in the thread; it calls neither Python nor Qt.
 *
 *   OFFLINE --connect--> GREETING --HELLO--> PROVING --WELCOME--> ONLINE
 *      ^                    |                   |                    |
 *      +----- closed, refused, timed out, violation: back-off -------+
 */
#ifndef QI_CLIENT_SENDER_H
#define QI_CLIENT_SENDER_H

#include "client_internal.h"

/* [any] QI_OK and a thread, or a negative qi_status. */
int qi_sender_start(qi_client *client, const struct qi_sender_times *times,
                    struct qi_sender **ret_sender);

/* [any] Asks it to end and waits; 1: it has, 0: not within the time. */
int qi_sender_stop(struct qi_sender *s, int timeout_ms);

/* [any] After it has ended; NULL is fine. */
void qi_sender_free(struct qi_sender *s);

/* [any] There is something for it to do. */
void qi_sender_nudge(struct qi_sender *s);

/* [any] Fills in what it knows. */
void qi_sender_stats(struct qi_sender *s, struct qi_client_stats *ret_stats);

/* The handlers of pthread_atfork(): no descriptor changes hands under a fork, and the
   child closes those it got. */
void qi_sender_before_fork(struct qi_sender *s);
void qi_sender_after_fork(struct qi_sender *s, int in_child);

#endif
