/*
 * client_internal.h - what the units of client/ share; nobody else includes it.
 *
 * Members are grouped by who writes them.
 */
#ifndef QI_CLIENT_CLIENT_INTERNAL_H
#define QI_CLIENT_CLIENT_INTERNAL_H

#include "qi_client.h"
#include "qi_recorder.h"
#include "requests.h"

#include <stddef.h>
#include <stdint.h>

#define QI_PATH_MAX 512
#define QI_TEXT_MAX 1024
#define QI_STACK_DEPTH_MAX 16
#define QI_LINTS_MAX 2048

/* Ended rows that stay although they are younger than a second would let them. */
#define QI_ROWS_KEPT 16384u
#define QI_ROWS_KEPT_MS 1000u

/* File space is reserved in these steps. */
#define QI_SLOTS_STEP (8192u * (uint64_t)sizeof(struct qi_slot))
#define QI_ARENA_STEP 262144u

/* The intern table: entries in the arena, found by content.  Open addressing. */
#define QI_INTERN_TABLE 262144u /* a power of two */
#define QI_INTERN_MAX (QI_INTERN_TABLE / 4u * 3u)
struct qi_interned {
    uint32_t hash;
    uint32_t id;     /* 0: empty */
    uint32_t offset; /* in the arena, in units of 8 bytes */
};

/* Who uses a slot: its place in the queue of ended rows, oldest first. */
#define QI_ROW_LIVE UINT32_MAX
#define QI_ROW_LAST (UINT32_MAX - 1u)
struct qi_row_use {
    uint32_t next; /* the slot that ended after it; QI_ROW_LIVE: it has not ended */
    uint32_t ended_ms;
};

/* A part of the file that is made real step by step. */
struct qi_area {
    uint64_t at, size, step;
    uint64_t reserved;  /* bytes of it that are sure to be writable */
    uint32_t failed_ms; /* when the file system last had no room; 0: never */
};

struct qi_recorder;
struct qi_sender;
struct qi_capture;

/* [any] Has the binding come since a copy of the header was made?  Then it is in the copy
   now. */
int qi_client_late_binding(const qi_client *c, struct qi_segment_header *copy);

/* How long the sender waits for what; tests shorten it. */
struct qi_sender_times {
    int retry_first_ms, retry_max_ms; /* while there is no daemon */
    int refused_first_ms, refused_max_ms;
    int handshake_ms;
    int goodbye_ms; /* for what a daemon that is behind has not taken yet */
};

struct qi_client {
    struct qi_producer p; /* must be first: see qi_client_inline.h */

    /* constant after open */
    uint8_t *base; /* the mapping, owned */
    size_t size;
    int fd; /* owned */
    struct qi_segment_header *header;
    uint8_t *arena;
    char path[QI_PATH_MAX];
    char directory[QI_PATH_MAX];
    char address[QI_PATH_MAX];
    int control;
    char lints[QI_LINTS_MAX];
    void (*wake)(void *ctx);
    void *wake_ctx;
    struct qi_sender *sender; /* owned; NULL: none */

    /* [producer] writes, [any] reads: that the header's binding and qt came late, and are
       there now; both are written before, and never again */
    uint32_t has_late_binding;

    /* [any] writes, [sender] reads: owned; NULL: no stacks by signal */
    struct qi_capture *capture;

    /* [producer] */
    struct qi_area slots_area, arena_area;
    uint32_t slots_used;
    struct qi_row_use *use; /* owned, one per slot */
    uint32_t ended_first, ended_last, ended;
    uint64_t last_id[QI_ENTITY_KINDS];
    struct qi_interned *interned; /* owned, QI_INTERN_TABLE of them */
    uint64_t arena_used, arena_count;

    /* [producer] writes, [sender] reads */
    uint32_t
        loop_slots[QI_SEGMENT_LOOPS]; /* slot of loop number i + 1, plus 1; 0: none */

    struct qi_requests requests;

    /* guarded by qi_client_lock() */
    struct qi_recorder *recorders[QI_RECORDERS_MAX]; /* owned */
    uint32_t stack_user;     /* atomic: handle of the recorder that takes stacks */
    uint32_t left_recorders; /* that did not end in time: they keep our memory */

    /* written in a forked child only */
    int forked;
};

/* [any] Keeps the text for qi_client_last_error(). */
#if defined(__GNUC__)
__attribute__((format(printf, 1, 2)))
#endif
void
qi_client_set_error(const char *format, ...);

/* [any] qi_client_open() with times of one's own. */
int qi_client_open_timed(const struct qi_client_options *options,
                         const struct qi_sender_times *times, qi_client **ret_client);

/* [any] No fork or exit comes in between, and the client does not change. */
void qi_client_lock(void);
void qi_client_unlock(void);

/* Monotonic milliseconds, cheap and coarse. */
uint32_t qi_coarse_ms(void);

/* segment.c: makes and maps the file, fills the header; frees both. */
int qi_segment_make(qi_client *c, const struct qi_client_options *options);
void qi_segment_unmake(qi_client *c);

/* [any but the producer] Puts the pages of the ring and of the first rows in place, which
   takes microseconds for each: else the loop's thread would do so, one by one. */
void qi_segment_populate(const qi_client *c);

#endif
