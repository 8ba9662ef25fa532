/*
 * segment_read.h - reading a segment: a live one in memory, or a file of anybody's.
 *
 * Promises (tests/c/test_segment_read.c has one case per line):
 *   - no file, whatever its bytes, makes a function read outside of its memory;
 *   - a file that is cut short, or is cut while it is read, is an error, not a SIGBUS;
 *   - a slot comes as it was at one moment, or is said to be torn;
 *   - records come whole and in order, and what is missing is counted exactly: what was
 *     returned plus what was lost is how far the position went;
 *   - a text is found once it was published.
 *
 *   qi_view       over memory: the process's own mapping, which is written meanwhile
 *   qi_segment    a private copy of a file, and the view over it
 *
 * A view does not own its memory and does not change.  [any] thread, if it has the view
 * to itself.
 */
#ifndef QI_PROTO_SEGMENT_READ_H
#define QI_PROTO_SEGMENT_READ_H

#include "segment.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QI_SEGMENT_MAX_SIZE (UINT64_C(256) << 20) /* larger files are refused */

enum qi_view_status {
    QI_VIEW_OK = 0,
    QI_VIEW_TORN = 1,         /* it was being written; not a failure */
    QI_VIEW_E_OS = -1,        /* errno says why */
    QI_VIEW_E_NOT_OURS = -2,  /* no segment: the magic is missing */
    QI_VIEW_E_ABI = -3,       /* a segment of another version */
    QI_VIEW_E_DAMAGED = -4,   /* sizes or offsets that cannot be */
    QI_VIEW_E_TRUNCATED = -5, /* shorter than it says */
    QI_VIEW_E_NOMEM = -6
};

/* One line about a status, without a full stop. */
const char *qi_view_text(int status);

struct qi_view {
    const uint8_t *base;
    struct qi_segment_header header; /* as it was at the start; its texts end with NUL */
    const struct qi_segment_header *live;
    const struct qi_slot *slots;
    const struct qi_record *ring;
    const uint8_t *arena;
    uint64_t ring_floor; /* records below it may be half overwritten */
};

/* Checks all that can be wrong with size bytes at base, which is aligned to 8. */
int qi_view_init(struct qi_view *view, const void *base, size_t size);

/* --- slots --- */

/* Slots at the front that were ever used. */
uint32_t qi_view_slots_used(const struct qi_view *view);

/* Copies a slot.  kind 0: free.  QI_VIEW_TORN: it was being written all the time (or the
   writer died over it); *ret_slot is what was there. */
int qi_view_slot(const struct qi_view *view, uint32_t index, struct qi_slot *ret_slot);

/* --- records --- */

/* Records ever written. */
uint64_t qi_view_head(const struct qi_view *view);

/* The oldest record that can still be had. */
uint64_t qi_view_oldest(const struct qi_view *view);

/* Copies up to n records from number *position on, which goes on to the next one.
   Returns how many; *ret_lost is how many before the first of them are lost.  0 records
   and nothing lost: there are no more. */
size_t qi_view_records(const struct qi_view *view, uint64_t *position,
                       struct qi_record *ret_records, size_t n, uint64_t *ret_lost);

/* --- texts, locations, stacks --- */

struct qi_entry {
    uint32_t id;
    uint32_t size;
    uint8_t type;         /* 't', 'c', 'k'; others are to be ignored */
    const uint8_t *bytes; /* borrowed from the view's memory */
};

/* A place in the arena; start with zeros. */
struct qi_arena_place {
    uint64_t offset;
    uint32_t id; /* of the last entry read */
};

/* 1 and the next entry, or 0: there is none (yet). */
int qi_view_next_entry(const struct qi_view *view, struct qi_arena_place *place,
                       struct qi_entry *ret_entry);

/* The parts of a 'c' entry; 0, or -1 if it is none. */
int qi_entry_code(const struct qi_entry *entry, uint32_t *ret_file, uint32_t *ret_name,
                  uint32_t *ret_line);

/* Code ids of a 'k' entry, at most n; how many. */
size_t qi_entry_stack(const struct qi_entry *entry, uint32_t *ret_codes, size_t n);

/* Finds entries by id; start with zeros. */
struct qi_arena_index {
    uint32_t *offsets; /* owned; of entry i + 1, in units of 8 bytes */
    size_t count, capacity;
    struct qi_arena_place place;
};

/* Takes in what is new: QI_VIEW_OK or QI_VIEW_E_NOMEM. */
int qi_arena_index_update(struct qi_arena_index *index, const struct qi_view *view);
/* 1 and the entry, or 0. */
int qi_arena_index_find(const struct qi_arena_index *index, const struct qi_view *view,
                        uint32_t id, struct qi_entry *ret_entry);
void qi_arena_index_fini(struct qi_arena_index *index);

/* --- files --- */

struct qi_segment {
    struct qi_view view;
    void *memory; /* owned */
    size_t size;
    uint32_t torn; /* slots that changed faster than they could be read */
};

/* Reads and checks the header of an open file; its texts end with NUL. */
int qi_segment_peek(int fd, struct qi_segment_header *ret_header);

/* Copies what is used of a segment file, whose process may be alive. */
int qi_segment_load(const char *path, struct qi_segment *ret_segment);
void qi_segment_unload(struct qi_segment *segment);

/* Writes a copy of the segment at base to a file (0600); what was overwritten meanwhile
   is left out.  QI_VIEW_OK or negative. */
int qi_segment_dump(const void *base, size_t size, const char *path);

#ifdef __cplusplus
}
#endif

#endif
