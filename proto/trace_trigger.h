/*
 * trace_trigger.h - what makes a flight recorder keep what it has.
 *
 *      TEXT     = TRIGGER { "|" TRIGGER }
 *      TRIGGER  = "stall" [ ">" NUMBER [ "us" | "ms" | "s" ] ] | "exception" | "lint"
 *
 * A number without a unit is milliseconds.  [any]; no state but the structure's.
 */
#ifndef QI_PROTO_TRACE_TRIGGER_H
#define QI_PROTO_TRACE_TRIGGER_H

#include "segment.h"
#include "wire.h"

#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QI_TRIGGER_STALL_NS INT64_C(100000000) /* where the text has no number */
#define QI_TRIGGER_SYNTAX                                                                \
    "it must be 'stall>200ms', 'exception', 'lint', or several with | between"

enum qi_trigger_kind {
    QI_TRIGGER_STALL = 1,     /* a step or callback runs for stall_ns, or a timer is as
                                 late because something else had the thread */
    QI_TRIGGER_EXCEPTION = 2, /* a task failed, or a callback raised */
    QI_TRIGGER_LINT = 4       /* a finding; what a single record tells: QI101, 301, 401,
                                 402, 502 */
};

struct qi_trigger {
    unsigned kinds; /* of enum qi_trigger_kind; 0: never */
    int64_t stall_ns, pre_ns, post_ns;

    /* what has happened */
    int64_t ts;       /* when, on the application's clock */
    int64_t due;      /* when the capture is to be made; 0: nothing has happened */
    const char *name; /* static: stall, exception, lint */
    int64_t free_at;  /* when the last loop began to run, or the last long step ended */
    int64_t kept_since, kept_until; /* see qi_trigger_kept(); 0: nothing */
    unsigned kept_loop;
};

/* 0 and kinds and stall_ns are set, or -1: see QI_TRIGGER_SYNTAX. */
int qi_trigger_parse(struct qi_trigger *t, const char *text);

/* Where the flight itself is: beside the captures, under the same name with this. */
#define QI_FLIGHT_SUFFIX ".part"

/* How a recording is kept so that it, or a capture of a flight, begins about when it
   should: the time after which a chunk is closed, as only whole ones go, and the age that
   chunks of a flight must be allowed to reach. */
void qi_trigger_shape(const struct qi_trigger *t, int64_t *chunk_ns, int64_t *max_age_ns);

/* Something of these kinds happened at ts; what happens before the capture that is due
   changes nothing. */
void qi_trigger_set(struct qi_trigger *t, unsigned kinds, const char *name, int64_t ts,
                    int64_t now_ns);

/* Looks at records. */
void qi_trigger_look(struct qi_trigger *t, const struct qi_record *records, uint64_t n,
                     int64_t now_ns);

/* If the last look found a loop that was kept from a timer by something that is no step
   or callback (that is, by Qt): 1, and the body of a STALL about it. */
int qi_trigger_kept(struct qi_trigger *t, struct qi_encoder *body);

#ifdef __cplusplus
}
#endif

#endif
