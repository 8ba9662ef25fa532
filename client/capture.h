/*
 * capture.h - the Python stack of a thread, whatever the thread is doing.
 *
 * Python's faulthandler can write the stack of the thread that gets a signal, without the
 * GIL and without the thread's help, into a descriptor.  A capture is that: a signal, a
 * file that only we read, and a handler around faulthandler's that says when the text is
 * complete.
 *
 *      sender                            the thread concerned
 *      qi_capture_ask() --- signal --->  faulthandler writes into the file
 *      qi_capture_take()  <-- eventfd -- the handler is done
 *
 * Promises (tests/c/test_capture.c has one case per line):
 *   - a signal that somebody uses is left alone, also if he begins to later;
 *   - never more than one signal is in flight;
 *   - a thread that is gone is an error;
 *   - after qi_capture_disarm() no signal is sent, and none that was sent does harm;
 *   - a forked child has none;
 *   - somebody else's signal of that number does nothing.
 *
 * There is one per process.  It needs tgkill(2), that is Linux: elsewhere
 * qi_capture_new() says so (capture_none.c).
 */
#ifndef QI_CLIENT_CAPTURE_H
#define QI_CLIENT_CAPTURE_H

#include <stddef.h>
#include <stdint.h>

enum qi_capture_status {
    QI_CAPTURE_OK = 0,
    QI_CAPTURE_BUSY = 1,  /* one is in flight */
    QI_CAPTURE_OFF = -1,  /* qi_capture_state() says why */
    QI_CAPTURE_GONE = -2, /* there is no such thread */
    QI_CAPTURE_OS = -3    /* errno says why */
};

struct qi_capture;

/* [any] Makes the file; the signal is not touched yet.  QI_CAPTURE_OK, or negative and
   the reason in qi_client_last_error(). */
int qi_capture_new(int signal, struct qi_capture **ret_capture);

/* [any] The descriptor to be given to faulthandler.register(); stays ours. */
int qi_capture_file(const struct qi_capture *capture);

/* [any] After faulthandler.register(): puts our handler around the one that is there.
   As qi_capture_new(). */
int qi_capture_arm(struct qi_capture *capture);

/* [any] Sends no signal any more, and waits until the one in flight is done with or
   cannot come any more; not on a thread that blocks the signal.  1: the signal still has
   our handler, so faulthandler.unregister() may be called; 0: leave it alone.  NULL: 0.
 */
int qi_capture_disarm(struct qi_capture *capture);

/* [any] Disarms without waiting: the process ends. */
void qi_capture_at_exit(struct qi_capture *capture);

/* [any] After qi_capture_disarm(), and when no other thread uses it.  NULL is fine. */
void qi_capture_free(struct qi_capture *capture);

/* [any] "on", or why not; never NULL, lives as long as the process. */
const char *qi_capture_state(const struct qi_capture *capture);

/* [any] The longest time that a capture has taken of a thread's, ns; and how many there
   were. */
int64_t qi_capture_longest(const struct qi_capture *capture);
uint64_t qi_capture_count(const struct qi_capture *capture);

/* [sender] The descriptor that becomes readable when a capture is complete; -1: none. */
int qi_capture_event(const struct qi_capture *capture);

/* [sender] Asks for the stack of a thread of this process, by its kernel id. */
int qi_capture_ask(struct qi_capture *capture, uint32_t thread);

/* [sender] 1 and what faulthandler wrote, cut at size: the one in flight is done. */
int qi_capture_take(struct qi_capture *capture, char *ret_text, size_t size,
                    size_t *ret_size);

/* The handlers of pthread_atfork(). */
void qi_capture_before_fork(struct qi_capture *capture);
void qi_capture_after_fork(struct qi_capture *capture, int in_child);

#endif
