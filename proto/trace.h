/*
 * trace.h - the constants of recordings (.qtrace); TRACE.md says what they mean.
 *
 *   trace_chunk.h   makes the contents of a chunk
 *   trace_write.h   makes the file: chunks, the ring of chunks, the footer
 *   trace_read.h    reads a file of anybody's
 */
#ifndef QI_PROTO_TRACE_H
#define QI_PROTO_TRACE_H

#include "segment.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QI_TRACE_MAGIC "\x89QTRACE\n"
#define QI_TRACE_MAGIC_SIZE 8u
#define QI_TRACE_MAJOR 1
#define QI_TRACE_MINOR 0

/* The file's head: magic, u32 size of the map, u32 its checksum, the map. */
#define QI_TRACE_HEAD_SIZE 16u
#define QI_TRACE_MAP_MAX 65536u

/* Keys of the map. */
enum qi_trace_key {
    QI_TRACE_KEY_major = 0,
    QI_TRACE_KEY_minor,
    QI_TRACE_KEY_pid,
    QI_TRACE_KEY_start,
    QI_TRACE_KEY_name,
    QI_TRACE_KEY_mono0,
    QI_TRACE_KEY_wall0,
    QI_TRACE_KEY_level,
    QI_TRACE_KEY_control,
    QI_TRACE_KEY_versions,
    QI_TRACE_KEY_host,
    QI_TRACE_KEY_redacted,
    QI_TRACE_KEY_writer,
    QI_TRACE_KEY_room, /* bytes without a meaning: see qi_trace_set_binding() */
    QI_TRACE_KEY_trace_id,
    QI_TRACE_KEYS
};

/* A block: this head, then its stored bytes. */
#define QI_TRACE_BLOCK_MARK "QTBK"
#define QI_TRACE_BLOCK_SIZE 64u      /* of the head, in this version */
#define QI_TRACE_BLOCK_SIZE_MAX 512u /* of the head, in any version of this major */
enum qi_trace_block_kind { QI_TRACE_CHUNK = 1, QI_TRACE_FOOTER = 2 };
enum qi_trace_codec { QI_TRACE_RAW = 0, QI_TRACE_ZSTD = 1 };
enum qi_trace_flag {
    QI_TRACE_ROWS_CUT = 1, /* not all live rows found room */
    QI_TRACE_LAST = 2      /* the recording ended in good order with this chunk */
};

/* The file's last bytes: u64 where the footer's block begins, this mark. */
#define QI_TRACE_END_MARK "QTRACEND"
#define QI_TRACE_END_SIZE 16u

/* Frames of a chunk that are not on the wire. */
#define QI_TRACE_MSG_NOTE 200u /* {0: ts, 1: number of a message, 2: its body} */
#define QI_TRACE_MSG_LOST 201u /* {0: first, 1: count, 2: cause, 3: t0, 4: t1} */

/* A chunk is closed when its events take so much, or as much as its rows if these are
   more; and after so long if there was something to record. */
#define QI_TRACE_CHUNK_BYTES 1048576u
#define QI_TRACE_CHUNK_NS INT64_C(5000000000)

/* More than this is not written, and refused by readers. */
#define QI_TRACE_BODY_MAX (32u << 20)   /* bytes of a chunk, before compression */
#define QI_TRACE_ROWS_BYTES (20u << 20) /* of it, for rows */
#define QI_TRACE_RECORDS_MAX (1u << 20) /* of a chunk */
#define QI_TRACE_ROWS_MAX (1u << 18)    /* live ones and ended ones, each */
#define QI_TRACE_IDS_MAX (1u << 20)     /* intern ids are below this */
#define QI_TRACE_NOTE_MAX 131072u       /* bytes of a note's body */
#define QI_TRACE_NOTES_MAX 16384u       /* of a chunk: a thousand in a second are many */
#define QI_TRACE_LOSSES_MAX 4096u       /* of a chunk, before its first record */
#define QI_TRACE_CHUNKS_MAX (1u << 20)  /* in a file */
/* What zstd makes of a chunk that it cannot make smaller is not stored. */
#define QI_TRACE_STORED_MAX QI_TRACE_BODY_MAX
/* A file's chunks together unpack to this, or to so many times the size of the file. */
#define QI_TRACE_UNPACKED_MAX (64u << 20)
#define QI_TRACE_RATIO_MAX 100u /* recordings of real programs: 3 to 10 */

/* The least limit of a file: there is room for a chunk and what is live. */
#define QI_TRACE_LIMIT_MIN 65536u

#define QI_TRACE_SUFFIX ".qtrace"

/* What the map says of the process.  Texts are borrowed, NULL counts as empty. */
struct qi_trace_info {
    uint64_t pid, start;
    int64_t mono0, wall0; /* readings of both clocks at one moment, ns */
    unsigned level;
    int control;
    const char *name, *qtinter, *python, *binding, *qt;
    const char *host;     /* of the machine; NULL: this one */
    const char *writer;   /* "application", "daemon" or "segment" */
    const char *trace_id; /* what recordings that belong together have in common */
};

#ifdef __cplusplus
}
#endif

#endif
