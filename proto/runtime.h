/*
 * runtime.h - the runtime directory: where applications, the daemon and the tools meet.
 *
 *   DIRECTORY/qtinterd.sock       the daemon's socket (0600)
 *   DIRECTORY/key                 32 random bytes (0600), see PROTOCOL.md, "Handshake"
 *   DIRECTORY/PID-START.qiseg     one segment per inspected process (0600); those of dead
 *                                 ones: leftovers.h
 *
 * The directory is the guard: 0700 and ours, or nobody uses it.
 * [any] All functions; failures are qi_runtime_status values with errno kept.
 */
#ifndef QI_PROTO_RUNTIME_H
#define QI_PROTO_RUNTIME_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QI_KEY_SIZE 32
#define QI_SOCKET_NAME "qtinterd.sock"
#define QI_SEGMENT_SUFFIX ".qiseg"

enum qi_runtime_status {
    QI_RUNTIME_OK = 0,
    QI_RUNTIME_E_OS = -1,    /* errno says why */
    QI_RUNTIME_E_LONG = -2,  /* the path does not fit */
    QI_RUNTIME_E_OWNER = -3, /* it belongs to another user, or is no directory or file */
    QI_RUNTIME_E_OPEN = -4,  /* others may enter it or read it */
    QI_RUNTIME_E_KEY = -5    /* the key file has not 32 bytes */
};

/* One line about a status, without a full stop. */
const char *qi_runtime_text(int status);

/* $QTINTER_RUNTIME_DIR, else $XDG_RUNTIME_DIR/qtinter, else /tmp/qtinter-UID.  Only the
   name: nothing is made or looked at. */
int qi_runtime_directory(char *ret_path, size_t size);

/* Makes the directory (0700, its parent must exist) if it is missing, and checks that it
   is a directory of ours that nobody else may enter. */
int qi_runtime_prepare(const char *directory);

/* Reads DIRECTORY/key; makes it if create != 0 and there is none.  It appears complete,
   under a name of its own first and then linked: a reader never sees half a key. */
int qi_runtime_key(const char *directory, int create, uint8_t ret_key[QI_KEY_SIZE]);

/* size bytes that nobody can guess. */
int qi_runtime_random(void *ret_bytes, size_t size);

/* When the process started, in the units of field 22 of /proc/PID/stat; 0 if unknown or
   where there is no /proc.  With the pid it names a process for good. */
uint64_t qi_runtime_start_time(uint64_t pid);

/* The letter of proc(5): R, S, T, Z and so on; 0 where there is no /proc or no process.
 */
char qi_runtime_process_state(uint64_t pid);

/* Is the process that had this start time still there, and more than a zombie?
   start 0: unknown, any process of that pid will do. */
int qi_runtime_process_runs(uint64_t pid, uint64_t start);

#ifdef __cplusplus
}
#endif

#endif
