/*
 * trace_read.h - reading a recording: a file of anybody's, whole or cut, old or new.
 *
 * Promises (tests/c/test_trace_damage.c has one case per line):
 *   - no file, whatever its bytes, makes a function read outside of its memory or take
 *     more of it than the limits of trace.h say; all chunks of a file unpack to no more
 *     than a multiple of its size;
 *   - no file makes opening take more time than a few times that of reading it;
 *   - a file that is cut at any byte behind its head is read up to the last whole chunk,
 *     and one from which bytes are missing in the middle after that again;
 *   - every byte that is not as it was written is noticed: what is missing is in the
 *     problems;
 *   - blocks, frames, keys and record kinds of later minor versions are passed over.
 *
 * Opening reads the file once, from the start to its end, and checks every checksum: what
 * is_complete() says is then certain.  The footer is compared with what was found.
 * A reader is used by one thread at a time.
 */
#ifndef QI_PROTO_TRACE_READ_H
#define QI_PROTO_TRACE_READ_H

#include "trace.h"
#include "wire.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum qi_trace_read_status {
    QI_TRACE_READ_OK = 0,
    QI_TRACE_READ_E_OS = -1, /* errno says why */
    QI_TRACE_READ_E_NOMEM = -2,
    QI_TRACE_READ_E_NOT_OURS = -3, /* no recording: the magic is missing */
    QI_TRACE_READ_E_MAJOR = -4,    /* of another major version */
    QI_TRACE_READ_E_HEAD = -5,     /* the head is damaged or cut */
    QI_TRACE_READ_E_CHECKSUM = -6, /* the chunk's bytes are not what was written */
    QI_TRACE_READ_E_CODEC = -7,    /* a codec of a later version */
    QI_TRACE_READ_E_DAMAGED = -8,  /* the chunk's contents cannot be */
    QI_TRACE_READ_E_NO_ZSTD = -9   /* a codec that this build does not have */
};

/* One line about a status, without a full stop. */
const char *qi_trace_read_text(int status);

#define QI_TRACE_PROBLEMS_MAX 64u /* more are counted */
#define QI_TRACE_PROBLEM_SIZE 160u

struct qi_trace_place {
    uint64_t offset, size; /* of the block, head included */
    uint64_t seq, first;
    int64_t t0, t1;
    uint32_t n, flags;
    uint32_t stored, raw, crc;
    uint16_t head;
    uint8_t codec;
    int8_t status; /* of enum qi_trace_read_status: what read() will say at least */
};

/* Records that only the footer tells of; count 0: none. */
struct qi_trace_edge {
    uint64_t first, count;
    int64_t t0, t1;
};

struct qi_trace {
    /* where the bytes are: a descriptor, or memory */
    int fd;               /* owned; -1: memory */
    const uint8_t *bytes; /* borrowed */
    uint64_t size;

    uint8_t *map; /* owned; the head's map, checked */
    size_t map_size;
    struct qi_value fields[QI_TRACE_KEYS]; /* of it, by key; QI_VALUE_ABSENT */

    struct qi_trace_place *chunks; /* owned, in the order of the file */
    size_t count, capacity;
    uint64_t dropped; /* chunks that went before the first one, as the footer says */
    char (*problems)[QI_TRACE_PROBLEM_SIZE]; /* owned, QI_TRACE_PROBLEMS_MAX of them */
    size_t problem_count; /* more than there are texts: they were too many */
    int has_footer;
    struct qi_trace_edge before, after; /* the chunks that are there */

    uint64_t unpacked; /* of the chunks so far */
    uint64_t looked;   /* bytes that were read for chunks that turned out to be bad */
};

/* 0 or negative; afterwards qi_trace_close().  ret_trace is filled in either way. */
int qi_trace_open(const char *path, struct qi_trace *ret_trace);
/* The bytes must stay until qi_trace_close(). */
int qi_trace_open_memory(const void *bytes, size_t size, struct qi_trace *ret_trace);
void qi_trace_close(struct qi_trace *trace);

/* Is there a footer, and nothing wrong? */
int qi_trace_is_complete(const struct qi_trace *trace);

/* --- a chunk's contents --- */

struct qi_trace_body {
    uint8_t *bytes; /* owned */
    size_t size;
};

/* Reads, checks and unpacks a chunk; 0 or negative. */
int qi_trace_read(const struct qi_trace *trace, size_t index,
                  struct qi_trace_body *ret_body);
void qi_trace_body_free(struct qi_trace_body *body);

struct qi_trace_cursor {
    const uint8_t *at;
    size_t left;
};

struct qi_trace_cursor qi_trace_frames(const struct qi_trace_body *body);
/* 1 and a frame (its message may be an unknown one); 0: no more; negative: damaged. */
int qi_trace_next_frame(struct qi_trace_cursor *cursor, struct qi_frame *ret_frame);

/* LOST and NOTE, which are frames of recordings only; 1, or 0: it is none. */
struct qi_trace_loss {
    uint64_t first, count;
    char cause[32];
    int64_t t0, t1;
};
int qi_trace_loss(const struct qi_frame *frame, struct qi_trace_loss *ret_loss);
struct qi_trace_note {
    int64_t ts;
    uint32_t message;     /* enum qi_message */
    struct qi_value body; /* a map */
};
int qi_trace_note(const struct qi_frame *frame, struct qi_trace_note *ret_note);

/* All records of a chunk in a row, from number `first` on: how many, or negative: they
   are damaged, or more than n. */
int64_t qi_trace_records(const struct qi_trace_body *body, uint64_t first,
                         struct qi_record *ret_records, size_t n);

#ifdef __cplusplus
}
#endif

#endif
