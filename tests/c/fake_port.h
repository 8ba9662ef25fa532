/*
 * fake_port.h - a completion port whose packets, waits and refusals the test controls.
 */
#ifndef QI_TESTS_FAKE_PORT_H
#define QI_TESTS_FAKE_PORT_H

#include "windows/port.h"

#define FAKE_PORT_MAX 256

struct fake_port {
    qi_mutex lock;
    qi_condition changed;
    struct qi_packet packets[FAKE_PORT_MAX];
    int len;

    int waiting;     /* a thread is in get() */
    int gets;        /* calls of get() */
    int taken;       /* packets it gave */
    int posted_back; /* packets that came back */
    int alerts;
    int alerted;
    int refuse_posts; /* so many calls of post() fail */
    int broken;       /* get() fails with -EBADF */
    int last_timeout_ms;
};

void fake_port_init(struct fake_port *fake);
void fake_port_fini(struct fake_port *fake);
struct qi_port fake_port_as_port(struct fake_port *fake);

/* The kernel completes an operation. */
void fake_port_complete(struct fake_port *fake, uintptr_t key, void *overlapped,
                        uint32_t bytes);

/* What the proactor does: takes a packet, if there is one.  1 or 0. */
int fake_port_poll(struct fake_port *fake, struct qi_packet *packet);

/* The value of one of the counters above. */
int fake_port_seen(struct fake_port *fake, const int *counter);

/* Returns when a thread waits in get(), and has waited at least `gets` times. */
void fake_port_await_wait(struct fake_port *fake, int gets);

#endif
