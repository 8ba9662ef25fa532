/*
 * qi_client.h - the shim that shows an application's loops to the outside.
 *
 * It lives in the inspected process and knows neither Python nor Qt.  A producer (the
 * loop core, holding the GIL) writes rows, records and texts into a memory-mapped segment
 * (proto/segment.h); a sender thread, which never takes the GIL, reads the segment and
 * speaks to the daemon while there is one.
 *
 *      loop thread                      sender thread                  daemon
 *      rows, records, texts  --memory-->  conflates, encodes  --socket-->
 *                            <--pending--  requests           <--------
 *
 * Promises: producer functions never block, allocate or fail; what finds no room is
 * counted.  They make no system call but one: for each further 8,192 slots or 256 KiB of
 * texts the file's next part is reserved, so that a full file system is a counted loss
 * and not a SIGBUS.  No function aborts, exits or prints.  After fork() the child has no
 * shim: every function returns at once, the parent's file is not touched (a pointer into
 * a row that was kept over the fork leads to private memory), and the child may open its
 * own.
 *
 * Threads: [producer] one thread at a time (the GIL sees to that); [any]; [sender].
 * C11 and C++17.
 */
#ifndef QI_CLIENT_H
#define QI_CLIENT_H

#include "runtime.h"
#include "segment.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct qi_client qi_client;

enum qi_status {
    QI_OK = 0,
    QI_E_NOMEM = -1,
    QI_E_OS = -2,      /* see qi_client_last_error() */
    QI_E_EXISTS = -3,  /* the process has a client already */
    QI_E_INVALID = -4, /* an argument is out of range */
    QI_E_FORKED = -5
};

struct qi_client_options {
    const char *name;      /* NULL: base name of /proc/self/exe */
    const char *directory; /* NULL: qi_runtime_directory() */
    const char *address;   /* socket of the daemon; NULL: DIRECTORY/qtinterd.sock */
    int level;             /* 1 to 4 */
    int control;           /* accept cancellations from outside */
    int ring_count;        /* records; 0: QI_SEGMENT_RING; a power of two */
    int connect;           /* 0: segment only, no sender thread (tests, recordings) */
    const char *qtinter, *python, *binding, *qt; /* versions, copied; may be NULL */
    const char *trace_id; /* of its recordings, copied, cut at 63 bytes; NULL: none */
    const char *lints;    /* PROCESS.lints, copied, cut at 2,047 bytes; may be NULL */
    /* [sender] A request waits: see qi_client_take_request().  Must not block. */
    void (*wake)(void *ctx);
    void *wake_ctx;
};

/* [any] Makes the runtime directory (0700) and the segment (0600), starts the sender.
   One client per process.  The options are copied.  A build without msgpack-c has no
   sender: there connect is taken for 0. */
int qi_client_open(const struct qi_client_options *options, qi_client **ret_client);

/* [any] Says goodbye, joins the sender for at most timeout_ms, unmaps.  keep != 0 leaves
   the file, for a post-mortem; otherwise it is removed.  NULL is fine.  In a forked child
   it only releases memory.  A process that exits without this call has the file marked as
   closed and removed by an atexit() function. */
void qi_client_close(qi_client *client, int timeout_ms, int keep);

/* [any] The text of the last failure on this thread; never NULL. */
const char *qi_client_last_error(void);

/*--- rows [producer] ---*/

/* Fine wherever an index is taken: the functions then work on a scratch slot that nobody
   reads. */
#define QI_NO_SLOT UINT32_MAX

/* Takes a slot for a new entity, zeroed, with a new id, not yet visible: fill it between
   qi_row_begin() and qi_row_end().  QI_NO_SLOT when all are in use; the id is new all the
   same.  A LOOP is given its number: 1 to QI_SEGMENT_LOOPS are looked at for stalls.
   ret_id may be NULL. */
uint32_t qi_row_new(qi_client *client, unsigned kind, unsigned loop, uint64_t *ret_id);

/* The same, and qi_row_leave(), with the time (CLOCK_MONOTONIC, ns) from the caller. */
uint32_t qi_row_new_at(qi_client *client, unsigned kind, unsigned loop, int64_t now,
                       uint64_t *ret_id);

/* The slot, for writing with QI_PUT between begin and end. */
static inline struct qi_slot *qi_row_begin(qi_client *client, uint32_t index);
static inline void qi_row_end(qi_client *client, uint32_t index);

/* The same in pieces, so that nothing is found out twice: the slot, which its writer may
   read; begin; end.  The slot is good until other code than the producer's has run. */
static inline struct qi_slot *qi_row_at(qi_client *client, uint32_t index);
static inline void qi_row_open(struct qi_slot *slot);
static inline void qi_row_done(qi_client *client, struct qi_slot *slot);

/* The entity is over: its last row stays readable for at least a second, unless more than
   16,384 others ended since or no other slot is free; then the slot is used again.  Sets
   the state. */
void qi_row_retire(qi_client *client, uint32_t index, unsigned state);

/* The same of a row, not a loop's, that shows its last state already. */
void qi_row_leave(qi_client *client, uint32_t index, int64_t now);

/* The loop byte and the kind of a slot; 0 for a slot that is free or does not exist. */
unsigned qi_row_loop(qi_client *client, uint32_t index);
unsigned qi_row_kind(qi_client *client, uint32_t index);

/* Ids for entities that have no slot (none was free, or they need none). */
uint64_t qi_client_new_id(qi_client *client, unsigned kind);

/* Every write to a shared field: a plain store, in spite of readers in other threads. */
#define QI_PUT(field, value)                                                             \
    __atomic_store_n(&(field), (__typeof__(field))(value), __ATOMIC_RELAXED)

/*--- records [producer]: kept from level 2 on ---*/

static inline void qi_record(qi_client *client, int64_t ts, unsigned kind, unsigned aux,
                             uint32_t x, uint64_t a, uint64_t b);

/*--- texts [producer]: equal contents give the same id; 0 when there is no room ---*/

/* Cut at 1,024 bytes; what is no UTF-8 becomes '?'. */
uint32_t qi_text(qi_client *client, const char *utf8, size_t size);
uint32_t qi_code(qi_client *client, uint32_t file, uint32_t name, uint32_t line);
uint32_t qi_stack(qi_client *client, const uint32_t *codes, size_t n); /* n <= 16 */

/*--- state ---*/

/* [any] Changes the level; also done by the sender when the daemon asks for it. */
void qi_client_set_level(qi_client *client, int level);
static inline int qi_client_level(const qi_client *client);

/* [producer] The binding and the version of its Qt, now that the program has loaded it;
   does nothing if a binding is known already.  Copied, cut at 31 bytes. */
void qi_client_set_binding(qi_client *client, const char *binding, const char *qt);

enum qi_request_kind { QI_REQUEST_CANCEL = 1, QI_REQUEST_LEVEL, QI_REQUEST_STACK };
struct qi_request {
    int kind;
    uint64_t task;  /* CANCEL, STACK (0: the loop) */
    int level;      /* LEVEL: the new one, already in force */
    uint32_t token; /* for qi_client_answer() */
    char message[256];
};

/* [producer] Is there one?  A load. */
static inline int qi_client_has_request(const qi_client *client);
/* [producer] 1 and a request, or 0. */
int qi_client_take_request(qi_client *client, struct qi_request *ret_request);
/* [producer] Answers it: ok, and a text (an error, a stack; NULL: none), copied, cut at
   8,191 bytes.  LEVEL needs no answer. */
void qi_client_answer(qi_client *client, uint32_t token, int ok, const char *text);

/*--- stacks of loop threads, by a signal: see client/capture.h ---*/

/* [any] In this order: prepare, faulthandler.register() with the signal and *ret_file,
   arm.  QI_OK, or negative and the reason in qi_client_last_error(): then none are taken,
   and nothing else is missing. */
int qi_client_stacks_prepare(qi_client *client, int signal, int *ret_file);
int qi_client_stacks_arm(qi_client *client);

/* [any] No signal is sent after it; waits for one that is in flight, 0.1 s at most.
   Before faulthandler.unregister(), which is to be called if this returns 1. */
int qi_client_stacks_disarm(qi_client *client);

struct qi_client_stats {
    uint64_t connects;      /* handshakes completed */
    uint64_t frames, bytes; /* sent */
    uint64_t rows, records; /* sent */
    uint64_t gaps;          /* records known to be lost on the way to the daemon */
    uint64_t socket_full;   /* times the socket took nothing */
    uint64_t stacks;        /* taken of loop threads */
    int64_t stack_longest;  /* ns that one has taken of its thread's time */
    int connected;
    char state[32];           /* "off", "connecting", "connected", "refused" */
    const char *stacks_state; /* "on", or "off: why" */
};
void qi_client_stats(qi_client *client, struct qi_client_stats *ret_stats); /* [any] */

/* [any] Path of the segment; lives as long as the client. */
const char *qi_client_segment_path(const qi_client *client);

/* [any] Writes a copy of the segment, as consistent as a reader sees it, to path. */
int qi_client_dump(qi_client *client, const char *path);

#ifdef __cplusplus
}
#endif

#include "qi_client_inline.h"

#endif
