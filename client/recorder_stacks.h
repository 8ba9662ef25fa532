/*
 * recorder_stacks.h - stacks of loop threads that hang, for recordings.
 *
 * While there is a sender it takes the samples, if a daemon asks for them, and passes
 * them on to the recordings.  Where there is none (a recording has switched inspection on
 * for itself) one of the recorders does it: there is one capture per process, and it has
 * one user at a time.
 */
#ifndef QI_CLIENT_RECORDER_STACKS_H
#define QI_CLIENT_RECORDER_STACKS_H

#include "client_internal.h"
#include "stalls.h"

struct qi_recorder_stacks {
    unsigned loop;    /* whose stack is asked for; 0: none */
    int64_t since;    /* of its stall */
    int64_t deadline; /* ns */
    struct qi_stack stack;
    char text[QI_STACK_STRINGS];
    char raw[QI_STACK_RAW];
};

/* [recorder] Asks for the stack that is due, takes the one that has come: encodes a STALL
   for it.  handle: of the recorder. */
void qi_recorder_serve_stacks(struct qi_recorder_stacks *s, qi_client *c, uint32_t handle,
                              struct qi_stalls *stalls, const struct qi_view *view,
                              int64_t threshold_ns, int64_t now_ns, struct qi_encoder *e);

/* [recorder] It ends: another one may take its place. */
void qi_recorder_leave_stacks(qi_client *c, uint32_t handle);

/* [any] A STALL, as a payload, for every recorder. */
void qi_recorders_note_stall(qi_client *c, const uint8_t *payload, size_t size);

#endif
