/*
 * host.h - what the loop core needs from whoever owns the thread.
 *
 * The core knows asyncio and the kernel; it does not know Qt.  A host lends it
 * turns: it watches one descriptor, runs "again soon" requests, and can run and
 * end a nested event loop.  Three hosts exist:
 *
 *   native   qt_glue.cpp: QSocketNotifier, timer of interval 0, QEventLoop
 *   binding  qtinter/_hosts.py through pyhost.c: the same with Python objects
 *   fake     tests: a hand-cranked host with a clock of its own
 *
 *        Qt event loop                     loop core
 *   fd readable / zero timer    --turn()-->  iterations, one time slice
 *                               <--wake()--  "call turn() once more, later"
 *
 * Every member is called on the loop thread [loop].  turn() is called by the host
 * on the same thread, never from inside another member (wake() only asks for it).
 *
 * C and C++ include this; no Python and no Qt type appears here.
 */
#ifndef QI_NATIVE_HOST_H
#define QI_NATIVE_HOST_H

#include <stdint.h>

#ifdef __cplusplus
#  define QI_NOEXCEPT noexcept
extern "C" {
#else
#  define QI_NOEXCEPT
#endif

/* Called by the host when the watched descriptor is readable (QI_TURN_FD) or a
   wake() is served (QI_TURN_WAKE); optionally, for the last time, when the thread ends
   (QI_TURN_GONE).  Takes the interpreter lock itself; never fails
   and leaves no Python exception behind. */
enum qi_turn_reason { QI_TURN_FD = 0, QI_TURN_WAKE = 1, QI_TURN_GONE = 2 };
typedef void (*qi_turn_fn)(void *core, int reason);

struct qi_host {
    const char *name; /* static string: "native", "binding", "fake" */
    int needs_gil;    /* 1: members run Python code and want the GIL held;
                         0: enter() is called with the GIL released */
    void *impl;       /* owned by the host, given to every member */

    /* Starts watching fd for reading and accepts wake() from here on.
       0, or -1 (a Python exception is set if needs_gil, else error() tells). */
    int (*start)(void *impl, int fd, qi_turn_fn turn, void *core);

    /* No turn() is made after it returns.  May be called from inside turn() and on
       a host that was not started.  The host can be started again. */
    void (*stop)(void *impl);

    /* Pauses (0) or resumes (1) watching the descriptor; used while a turn is on the
       stack and a nested Qt loop would otherwise spin on a readable descriptor. */
    void (*watch)(void *impl, int enabled);

    /* Asks for one turn() from the host's event loop, never synchronously.  Further
       calls before that turn begins ask for nothing more. */
    void (*wake)(void *impl);

    /* Runs a (nested) event loop until leave(); returns its exit code. */
    int (*enter)(void *impl);
    /* Ends the loop of the innermost enter() that has not been left yet. */
    void (*leave)(void *impl);

    /* Asks every event loop that runs on this thread to end.  Inside an outermost
       enter(), other event loops can be run again once it has returned. */
    void (*quit)(void *impl);

    /* How many event loops run on this thread now. */
    int (*depth)(void *impl);

    /* Text of the last failed start(); static or owned by the host. */
    const char *(*error)(void *impl);

    /* Optional, NULL in hosts without signals: while the descriptor is paused, watches
       this other one and calls turn(QI_TURN_FD) for it; -1 ends that. */
    void (*listen)(void *impl, int fd);

    /* Optional, NULL in Qt hosts: a clock of the host's own (nanoseconds, monotonic)
       and its alarm; with them the core neither reads the system's clock nor arms
       its timer.  deadline_ns < 0 disarms. */
    int64_t (*now_ns)(void *impl);
    void (*arm)(void *impl, int64_t deadline_ns);

    /* stop() if needed, then releases impl and the struct itself. */
    void (*free)(struct qi_host *host);
};

/* Name of the PyCapsule in which _qtglue hands a struct qi_host * to _core.
   _core takes the struct over by renaming the capsule with PyCapsule_SetName(); from
   then on _core calls free() and the capsule's destructor does nothing. */
#define QI_HOST_CAPSULE "qtinter._native.qi_host"
#define QI_HOST_CAPSULE_TAKEN "qtinter._native.qi_host.taken"

#ifdef __cplusplus
}
#endif

#endif
