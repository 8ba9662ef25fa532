/* fake_port.c - see fake_port.h. */
#include "fake_port.h"

#include "poller.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

static void
append(struct fake_port *fake, const struct qi_packet *packet)
{
    if (fake->len == FAKE_PORT_MAX) {
        abort(); /* more packets than a test may have */
    }
    fake->packets[fake->len++] = *packet;
    qi_condition_broadcast(&fake->changed);
}

static int
take(struct fake_port *fake, struct qi_packet *packets, int max)
{
    int n = fake->len < max ? fake->len : max;

    memcpy(packets, fake->packets, (size_t)n * sizeof(*packets));
    fake->len -= n;
    memmove(fake->packets, fake->packets + n, (size_t)fake->len * sizeof(*packets));
    return n;
}

/* Under the lock: lets something happen.  1 when the time is up. */
static int
wait_a_while(struct fake_port *fake, int timeout_ms, int64_t end_ns)
{
    if (timeout_ms < 0) {
        qi_condition_wait(&fake->changed, &fake->lock);
        return 0;
    }
    if (qi_clock_ns() >= end_ns) {
        return 1;
    }
    qi_mutex_unlock(&fake->lock);
    qi_thread_pause();
    qi_mutex_lock(&fake->lock);
    return 0;
}

static int
fake_get(struct qi_port *port, struct qi_packet *packets, int max, int timeout_ms)
{
    struct fake_port *fake = port->handle;
    int64_t end_ns = qi_clock_ns() + (int64_t)timeout_ms * 1000000;
    int n = 0;

    qi_mutex_lock(&fake->lock);
    fake->gets++;
    fake->waiting++;
    fake->last_timeout_ms = timeout_ms;
    qi_condition_broadcast(&fake->changed);
    while (n == 0) {
        if (fake->broken) {
            n = -EBADF;
        }
        else if (fake->alerted) {
            fake->alerted = 0;
            n = -EINTR;
        }
        else if (fake->len > 0) {
            n = take(fake, packets, max);
            fake->taken += n;
        }
        else if (wait_a_while(fake, timeout_ms, end_ns)) {
            break;
        }
    }
    fake->waiting--;
    qi_mutex_unlock(&fake->lock);
    return n;
}

static int
fake_post(struct qi_port *port, const struct qi_packet *packet)
{
    struct fake_port *fake = port->handle;
    int r = 0;

    qi_mutex_lock(&fake->lock);
    if (fake->refuse_posts > 0) {
        fake->refuse_posts--;
        r = -ENOMEM;
    }
    else {
        fake->posted_back++;
        append(fake, packet);
    }
    qi_mutex_unlock(&fake->lock);
    return r;
}

static void
fake_alert(struct qi_port *port, qi_thread *sentry)
{
    struct fake_port *fake = port->handle;

    (void)sentry;
    qi_mutex_lock(&fake->lock);
    fake->alerts++;
    fake->alerted = 1;
    qi_condition_broadcast(&fake->changed);
    qi_mutex_unlock(&fake->lock);
}

void
fake_port_init(struct fake_port *fake)
{
    memset(fake, 0, sizeof(*fake));
    qi_mutex_init(&fake->lock);
    qi_condition_init(&fake->changed);
}

void
fake_port_fini(struct fake_port *fake)
{
    qi_condition_fini(&fake->changed);
    qi_mutex_fini(&fake->lock);
}

struct qi_port
fake_port_as_port(struct fake_port *fake)
{
    return (struct qi_port){
        .handle = fake, .get = fake_get, .post = fake_post, .alert = fake_alert};
}

void
fake_port_complete(struct fake_port *fake, uintptr_t key, void *overlapped,
                   uint32_t bytes)
{
    struct qi_packet packet = {key, overlapped, bytes};

    qi_mutex_lock(&fake->lock);
    append(fake, &packet);
    qi_mutex_unlock(&fake->lock);
}

int
fake_port_poll(struct fake_port *fake, struct qi_packet *packet)
{
    qi_mutex_lock(&fake->lock);
    int n = take(fake, packet, 1);
    qi_mutex_unlock(&fake->lock);
    return n;
}

int
fake_port_seen(struct fake_port *fake, const int *counter)
{
    qi_mutex_lock(&fake->lock);
    int value = *counter;
    qi_mutex_unlock(&fake->lock);
    return value;
}

void
fake_port_await_wait(struct fake_port *fake, int gets)
{
    qi_mutex_lock(&fake->lock);
    while (fake->waiting == 0 || fake->gets < gets) {
        qi_condition_wait(&fake->changed, &fake->lock);
    }
    qi_mutex_unlock(&fake->lock);
}
