/*
 * segment.h - the memory in which an application shows the state of its loops.
 *
 * One file per process, in the runtime directory, mapped shared.  The application writes
 * it and nothing else; it survives any end of the process.  Whoever reads it (the sender
 * thread of the same process, the daemon, a post-mortem tool) copies and checks.
 *
 *      0            header      one page: what is where, clocks, counters
 *      slots_at     slot[]      one per live entity, 128 bytes, seqlocked
 *      dirty_at     u8[]        one per slot: set by the writer, cleared by the sender
 *      ring_at      record[]    the last 2^n events, 32 bytes each
 *      arena_at     entries     texts, code locations, stacks; append-only
 *
 * The file is sparse: what was never used takes no memory, up to a reserve of some
 * hundred kilobytes.  The header's magic is written last.
 *
 * Writers hold the GIL, so there is one at a time whatever the number of loops.  Readers
 * take no lock: a slot is copied between two equal even values of `seq`; record number i
 * is valid if, after it was copied, ring_head < i + ring_count (at equality the writer
 * may be at it); an arena entry is valid below `arena_used`.  All integers are in the
 * machine's byte order: the file never leaves it.
 *
 * C11 and C++17; no pointer in it, offsets only.
 */
#ifndef QI_PROTO_SEGMENT_H
#define QI_PROTO_SEGMENT_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QI_SEGMENT_MAGIC "QTINSEG1"
#define QI_SEGMENT_ABI 1
#define QI_SEGMENT_HEADER_SIZE 4096
#define QI_SEGMENT_SLOTS 196608  /* 24 MiB of address space, used from the front */
#define QI_SEGMENT_RING 65536    /* 2 MiB */
#define QI_SEGMENT_ARENA 4194304 /* 4 MiB */
#define QI_SEGMENT_LOOPS 32 /* loops with a number of their own; later ones share 0 */

enum qi_entity {
#define ENTITY(number, NAME, singular, doc) QI_##NAME = number,
#define COLUMN(...)
#include "entities.def"
#undef ENTITY
#undef COLUMN
    QI_ENTITY_KINDS
};

enum qi_kind {
    QI_EV_NONE = 0, /* in a dump: the record was overwritten while it was copied */
#define X(number, NAME, x, a, b, doc) QI_EV_##NAME = number,
#include "records.def"
#undef X
};

enum qi_task_state {
    QI_TASK_CREATED = 0,
    QI_TASK_READY,
    QI_TASK_RUNNING,
    QI_TASK_WAITING,
    QI_TASK_CANCELLING, /* a cancellation was requested and it has not ended yet */
    QI_TASK_DONE,
    QI_TASK_FAILED,
    QI_TASK_CANCELLED,
    QI_TASK_DESTROYED,  /* died while pending */
    QI_STATE_GONE = 255 /* wire only: the row is over */
};

/* States of everything but tasks and loops. */
enum qi_plain_state { QI_LIVE = 0, QI_OVER = 1 };

enum qi_loop_state {
    QI_LOOP_STOPPED = 0,
    QI_LOOP_IDLE,   /* waits, or Qt has the thread */
    QI_LOOP_BUSY,   /* runs a callback or a step */
    QI_LOOP_NESTED, /* a modal function or another Qt loop runs inside a callback */
    QI_LOOP_IS_CLOSED
};

enum qi_loop_mode { QI_MODE_NATIVE = 0, QI_MODE_NESTED, QI_MODE_ATTACHED };
enum qi_task_role { QI_ROLE_TASK = 0, QI_ROLE_SLOT_CALL, QI_ROLE_MODAL, QI_ROLE_MAIN };
enum qi_overlap {
    QI_OVERLAP_ALLOW = 0,
    QI_OVERLAP_DROP,
    QI_OVERLAP_RESTART,
    QI_OVERLAP_QUEUE
};
enum qi_wait_form {
    QI_FORM_SIGNAL = 0,
    QI_FORM_SIGNALWAIT,
    QI_FORM_STREAM,
    QI_FORM_MULTI
};
enum qi_wait_end {
    QI_WAIT_FIRED = 0,
    QI_WAIT_CANCELLED,
    QI_WAIT_SENDER_GONE,
    QI_WAIT_CLOSED
};

/* What a waiting task waits for; QI_TASK column wait_ref names the entity where there is
 * one. */
enum qi_wait_kind {
    QI_WAITS_NOTHING = 0,
    QI_WAITS_TURN,   /* yielded: ready again at once, as sleep(0) */
    QI_WAITS_FUTURE, /* a bare future */
    QI_WAITS_TASK,
    QI_WAITS_SIGNAL,
    QI_WAITS_TIMER, /* sleep() */
    QI_WAITS_JOB,
    QI_WAITS_GATHER, /* several: gather(), wait() */
    QI_WAITS_MODAL
};

/* Why a step ended. */
enum qi_step_end { QI_STEP_WAITS = 0, QI_STEP_YIELDS, QI_STEP_ENDS };

/* Who did it: kind and id of an entity in one word; 0: nobody known. */
#define QI_REF(kind, id) ((uint64_t)(kind) << 56 | (uint64_t)(id))
#define QI_REF_KIND(ref) ((unsigned)((ref) >> 56))
#define QI_REF_ID(ref) ((uint64_t)(ref) & UINT64_C(0xffffffffffffff))

/* A text id with this bit stands for "Task-" and the number in the other bits. */
#define QI_TASK_N UINT32_C(0x80000000)

/* Members named as the columns of entities.def. */
struct qi_task_row {
    uint32_t name, code;
    uint64_t creator;
    int64_t created, changed;
    uint64_t busy, scheduled;
    uint64_t woken_by, wait_ref, canceller;
    uint32_t max_step_us;
    uint32_t steps, wakes, self_wakes;
    uint32_t slot; /* id of the asyncslot; ids of slots stay below 2^32 */
    uint32_t exception, stack, where, wait_detail;
    uint16_t cancels;
    uint8_t role, wait_kind;
};
struct qi_slot_row {
    uint32_t name, code;
    uint64_t receiver;
    uint64_t total, max;
    int64_t created, last_call;
    uint32_t calls, live, overlap_max, refused;
    uint32_t policy, ignore, answer;
};
struct qi_wait_row {
    uint32_t signal, code;
    uint64_t sender, task;
    int64_t since;
    uint32_t form, buffered, dropped, fired, sender_alive, foreign;
};
struct qi_object_row {
    uint32_t class_, name;
    int64_t created, destroyed;
    uint64_t parent;
};
struct qi_timer_row {
    uint32_t code;
    int64_t when, created;
    uint64_t task;
};
struct qi_watch_row {
    uint32_t fd, events, code, fired;
    int64_t created;
};
struct qi_job_row {
    uint32_t code;
    uint64_t task;
    int64_t created;
};
struct qi_loop_row {
    uint32_t mode, thread;
    uint64_t current;
    int64_t busy_since;
    uint64_t iterations, turns, callbacks;
    uint32_t ready, timers, watches, tasks, depth, host;
    uint64_t asyncio, qt, max_lag;
    uint32_t unseen;
    uint64_t qt_busy;
};

struct qi_slot {
    uint32_t seq; /* odd while it is being written */
    uint8_t kind; /* enum qi_entity; 0: free */
    uint8_t state;
    uint8_t loop; /* 1..; 0: none or one of too many */
    uint8_t pad;
    uint64_t id; /* never used again */
    union {
        struct qi_task_row task;
        struct qi_slot_row slot;
        struct qi_wait_row wait;
        struct qi_object_row object;
        struct qi_timer_row timer;
        struct qi_watch_row watch;
        struct qi_job_row job;
        struct qi_loop_row loop_;
        uint8_t bytes[112];
        uint64_t words[14]; /* for copying */
    } row;
};

struct qi_record {
    int64_t ts; /* CLOCK_MONOTONIC, ns */
    uint16_t kind, aux;
    uint32_t x;
    uint64_t a, b;
};

/* Arena entry: header, then `size` bytes, then padding to 8.  id = number of the entry,
   from 1; 0 stands for "unknown", also once the arena is full. */
struct qi_arena_entry {
    uint32_t size;
    uint8_t type; /* 't': UTF-8 text; 'c': u32 line, u32 file id, u32 name id; 'k': u32
                     code ids */
    uint8_t pad[3];
};

struct qi_segment_header {
    char magic[8];
    uint32_t abi, header_size;
    uint32_t slot_size, slot_count, record_size, ring_count;
    uint64_t slots_at, dirty_at, ring_at, arena_at, arena_size, total_size;
    uint64_t pid, start_time, uid;
    int64_t mono0, wall0;
    char name[64], qtinter[32], python[32], binding[32], qt[32];
    /* what changes; each is written with release order */
    uint64_t ring_head;    /* records ever written */
    uint64_t arena_used;   /* bytes */
    uint64_t arena_count;  /* entries */
    uint64_t arena_missed; /* texts that found no room */
    uint64_t slots_used;   /* slots at the front that were ever used */
    uint64_t slots_missed; /* entities that found no slot */
    uint32_t level;
    uint32_t closed;    /* 1: disabled or exited in good order */
    uint64_t heartbeat; /* bumped by the sender thread */
    /* constant; came later, and is empty in older segments */
    char trace_id[64]; /* what recordings that belong together have in common */
};

#ifdef __cplusplus
}
#endif

#endif
