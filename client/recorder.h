/*
 * recorder.h - what client.c needs of the recorders; see qi_recorder.h.
 */
#ifndef QI_CLIENT_RECORDER_H
#define QI_CLIENT_RECORDER_H

#include "client_internal.h"

/* [any] Ends all of them; 1, or 0: one did not end within the time, and keeps the
   client's memory. */
int qi_recorders_stop_all(qi_client *c, int timeout_ms);

/* In a forked child: closes their descriptors. */
void qi_recorders_forget(qi_client *c);

#endif
