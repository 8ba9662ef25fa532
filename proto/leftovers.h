/*
 * leftovers.h - segments of applications that are gone.
 *
 * An application that ends in good order removes its segment.  What is left in the
 * runtime directory belongs to those that died, or were told to keep it.  Whoever comes,
 * an application or the daemon, clears away what is too much.
 *
 * Promises (tests/c/test_leftovers.c has one case per line):
 *   - a file whose process runs is never touched, nor one that somebody holds a lock on
 *     (flock(2)): its process does, and a tool may;
 *   - nor is what is no regular file of ours with the name of a segment, nor a file that
 *     came under the same name meanwhile;
 *   - the newest ones stay, up to the bounds, and the newest of all in any case;
 *   - any number of processes may do it at once.
 *
 * [any]  Nobody waits for anybody.
 */
#ifndef QI_PROTO_LEFTOVERS_H
#define QI_PROTO_LEFTOVERS_H

#include "segment.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

struct qi_leftover_limits {
    size_t files;   /* kept */
    uint64_t bytes; /* of the disk, of those together */
    int64_t age_s;  /* since they were last written to */
};

#define QI_LEFTOVERS_FILES 16
#define QI_LEFTOVER_LIMITS {QI_LEFTOVERS_FILES, UINT64_C(128) << 20, INT64_C(7) * 86400}

/* "PID-START-N.qiseg" at its longest, and the NUL. */
#define QI_LEFTOVER_NAME 48

struct qi_leftover {
    char name[QI_LEFTOVER_NAME]; /* in the directory */
    int64_t written;             /* when it was last written to, ns of the wall clock */
    struct qi_segment_header header;
};

/* The segments among them, the newest first, at most `most`; how many. */
size_t qi_leftovers_find(const char *directory, struct qi_leftover *ret_found,
                         size_t most);

/* Removes what is beyond the limits; how many. */
size_t qi_leftovers_remove(const char *directory,
                           const struct qi_leftover_limits *limits);

/* Locks a segment file that was just made, so that it is seen to be in use also from
   where its process has another number (a container).  0: somebody has removed it. */
int qi_leftovers_hold(int fd);

#ifdef __cplusplus
}
#endif

#endif
