/* capture_none.c - see capture.h: a system without tgkill(2). */
#include "capture.h"

#include "client_internal.h"

int
qi_capture_new(int signal, struct qi_capture **ret_capture)
{
    (void)signal;
    (void)ret_capture;
    qi_client_set_error("this system has no tgkill(2)");
    return QI_CAPTURE_OFF;
}

int
qi_capture_file(const struct qi_capture *c)
{
    (void)c;
    return -1;
}

int
qi_capture_arm(struct qi_capture *c)
{
    (void)c;
    return QI_CAPTURE_OFF;
}

int
qi_capture_disarm(struct qi_capture *c)
{
    (void)c;
    return 0;
}

void
qi_capture_at_exit(struct qi_capture *c)
{
    (void)c;
}

void
qi_capture_free(struct qi_capture *c)
{
    (void)c;
}

const char *
qi_capture_state(const struct qi_capture *c)
{
    (void)c;
    return "off: this system has no tgkill(2)";
}

int64_t
qi_capture_longest(const struct qi_capture *c)
{
    (void)c;
    return 0;
}

uint64_t
qi_capture_count(const struct qi_capture *c)
{
    (void)c;
    return 0;
}

int
qi_capture_event(const struct qi_capture *c)
{
    (void)c;
    return -1;
}

int
qi_capture_ask(struct qi_capture *c, uint32_t thread)
{
    (void)c;
    (void)thread;
    return QI_CAPTURE_OFF;
}

int
qi_capture_take(struct qi_capture *c, char *ret_text, size_t size, size_t *ret_size)
{
    (void)c;
    (void)ret_text;
    (void)size;
    (void)ret_size;
    return 0;
}

void
qi_capture_before_fork(struct qi_capture *c)
{
    (void)c;
}

void
qi_capture_after_fork(struct qi_capture *c, int in_child)
{
    (void)c;
    (void)in_child;
}
