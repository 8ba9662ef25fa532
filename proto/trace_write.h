/*
 * trace_write.h - the file of a recording: chunks, the ring of chunks, the footer.
 *
 * Promises (tests/c/test_trace.c, tests/py/test_trace_format.py):
 *   - at any moment, whatever ends the process, the file at its path is a recording that
 *     can be read up to the last whole chunk;
 *   - a file that is there already is replaced if it is a recording of the same user, and
 *     left alone otherwise; no link is followed;
 *   - with a limit, the file stays below it: the oldest chunks go, and of more live rows
 *     than leave room for events some are left out;
 *   - after a failed write nothing more is written, and why is known.
 *
 * The ring: chunks are appended until the limit is reached.  Then those that stay, half
 * of the limit at most, are copied to a new file beside it, which takes the old one's
 * name in one step (rename).  So each byte is written about twice, a reader finds between
 * half and all of the limit, and twice the limit is used on the disk for a moment.
 * Rejected: overwriting in place (a killed process leaves a file with a hole where the
 * newest and the oldest meet) and a file per generation (what is one recording would be
 * two files).
 *
 * Nothing is synced to the disk: a recording survives its process, not the machine.
 * [any] thread, one at a time.
 */
#ifndef QI_PROTO_TRACE_WRITE_H
#define QI_PROTO_TRACE_WRITE_H

#include "trace.h"
#include "trace_chunk.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

enum qi_trace_status {
    QI_TRACE_OK = 0,
    QI_TRACE_E_OS = -1, /* errno says why */
    QI_TRACE_E_NOMEM = -2,
    QI_TRACE_E_EXISTS = -3, /* the path is taken by something else */
    QI_TRACE_E_PATH = -4,   /* too long, or empty */
    QI_TRACE_E_FULL = -5,   /* more chunks than a file may have */
    QI_TRACE_E_GONE = -6    /* somebody has removed the file, or put another there */
};

/* One line about a status, without a full stop. */
const char *qi_trace_text(int status);

/* The codec that this build writes. */
enum qi_trace_codec qi_trace_best_codec(void);

struct qi_trace_options {
    uint64_t max_bytes; /* of the file; 0: no limit */
    int64_t max_age_ns; /* what ended earlier goes; 0: no limit */
    int raw;            /* do not compress */
};

struct qi_trace_totals {
    uint64_t bytes;   /* of the file now */
    uint64_t written; /* bytes of chunks, those that went too */
    uint64_t raw;     /* of these, before compression */
    uint64_t chunks, chunks_dropped, records, rows_left_out;
};

struct qi_trace_writer;

/* May a recording take this place?  There is nothing, or a recording of the same user. */
int qi_trace_check_path(const char *path);

/* Makes the file (0600).  The options and the info are copied. */
int qi_trace_create(const char *path, const struct qi_trace_info *info,
                    const struct qi_trace_options *options,
                    struct qi_trace_writer **ret_writer);

/* The binding and its Qt are known only now: a program has loaded them after the
   recording began.  They are written into the head, unless it names a binding already.
   Both are copied, and cut at 31 bytes. */
int qi_trace_set_binding(struct qi_trace_writer *w, const char *binding, const char *qt);

/* Appends an ended chunk.  The first failure stays: see qi_trace_failure(). */
int qi_trace_write_chunk(struct qi_trace_writer *w, const struct qi_chunk *chunk);

/* Writes a copy of the chunks that end at from_ts or later, as a complete recording. */
int qi_trace_write_copy(struct qi_trace_writer *w, const char *path, int64_t from_ts);

/* Writes the footer, closes the file, frees the writer.  NULL is fine. */
int qi_trace_finish(struct qi_trace_writer *w);
/* The same, and removes the file. */
void qi_trace_discard(struct qi_trace_writer *w);

void qi_trace_totals(const struct qi_trace_writer *w, struct qi_trace_totals *ret_totals);

/* Bytes that the events of a chunk should take at most. */
size_t qi_trace_chunk_share(const struct qi_trace_writer *w);

/* In a forked child: closes the descriptors and nothing else. */
void qi_trace_forget(struct qi_trace_writer *w);

/* What a segment's header says of its process; borrows from it. */
void qi_trace_info_of_segment(const struct qi_segment_header *header, const char *writer,
                              struct qi_trace_info *ret_info);

#ifdef __cplusplus
}
#endif

#endif
