/*
 * sys.h - what poller_thread.c needs of the system: threads, sockets, a clock.
 *
 * sys_win32.c is for Windows.  sys_posix.c makes the same poller run elsewhere, so that
 * all of its logic is tested (and can be used: cmake -D QI_POLLER=thread) where it was
 * not written for.
 *
 * Descriptors are ints, as Python has them: a SOCKET is a kernel handle, and those have
 * 32 significant bits.  Errors are negative errno values.
 */
#ifndef QI_NATIVE_WINDOWS_SYS_H
#define QI_NATIVE_WINDOWS_SYS_H

#ifdef _WIN32
#  ifndef _WIN32_WINNT
#    define _WIN32_WINNT                                                                 \
        0x0602 /* Windows 8: the oldest that CPython 3.8 to 3.12 run on */
#  endif
#  ifndef FD_SETSIZE
#    define FD_SETSIZE 1024 /* asyncio's select() takes 512 */
#  endif
#  ifndef WIN32_LEAN_AND_MEAN
#    define WIN32_LEAN_AND_MEAN
#  endif
#  include <winsock2.h>
#  include <windows.h>
typedef SRWLOCK qi_mutex;
typedef CONDITION_VARIABLE qi_condition;
typedef HANDLE qi_thread;
#else
#  include <poll.h>
#  include <pthread.h>
typedef pthread_mutex_t qi_mutex;
typedef pthread_cond_t qi_condition;
typedef pthread_t qi_thread;
#endif

/* The most descriptors qi_sys_poll() takes. */
#ifdef _WIN32
#  define QI_SYS_MAX_FDS FD_SETSIZE
#else
#  define QI_SYS_MAX_FDS 65536
#endif

/*--- threads; none of these fail once made ---*/

void qi_mutex_init(qi_mutex *mutex);
void qi_mutex_fini(qi_mutex *mutex);
void qi_mutex_lock(qi_mutex *mutex);
void qi_mutex_unlock(qi_mutex *mutex);

void qi_condition_init(qi_condition *condition);
void qi_condition_fini(qi_condition *condition);
void qi_condition_wait(qi_condition *condition, qi_mutex *mutex);
void qi_condition_broadcast(qi_condition *condition);

/* The new thread runs function(argument); it receives no signals.  0 or -errno. */
int qi_thread_start(qi_thread *thread, void (*function)(void *), void *argument);
void qi_thread_join(qi_thread *thread);

/* Lets others run for about a millisecond. */
void qi_thread_pause(void);

/*--- sockets ---*/

/* Two connected, non-blocking, not inherited sockets.  0, or -errno and both -1. */
int qi_sys_pair(int fds[2]);
void qi_sys_close(int fd);

/* Makes the other end of a pair readable; a full buffer is readable already. */
void qi_sys_send(int fd);
/* Reads all that is there. */
void qi_sys_drain(int fd);

/* 0 if the descriptor can be watched, else -EBADF or -ENOTSOCK. */
int qi_sys_check(int fd);

/* poll(2): fills in revents and returns how many have one; a descriptor that is not open
   any more has POLLNVAL.  timeout_ms -1 waits for ever.  -errno on failure. */
int qi_sys_poll(struct pollfd *fds, int n, int timeout_ms);

#endif
