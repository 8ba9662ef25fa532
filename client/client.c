/*
 * client.c - the life of the shim: open, close, fork, exit.
 *
 * A process has one client.  What may happen at any time, in any thread:
 *
 *   fork   The child must not write to the parent's file nor hold its socket (the daemon
 *          would not see the parent end).  The child handler puts private memory in the
 *          place of the mapping, closes the descriptors and forgets the client; the level
 *          is 0 and no slot is left, so the producer's functions do nothing.
 *   exit   Without qi_client_close() the segment would look like a crash: an atexit()
 *          function marks it closed and removes it.
 */
#include "client_internal.h"

#include "capture.h"
#ifdef QI_WITH_SENDER
#  include "recorder.h"
#  include "sender.h"
#endif
#include "qi_utf8.h"
#include "segment_read.h"

#include <errno.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

/* Guards the_client and keeps it from going away under a fork or an exit. */
static pthread_mutex_t client_lock = PTHREAD_MUTEX_INITIALIZER;
static qi_client *the_client;
static int handlers_installed;

void
qi_client_lock(void)
{
    (void)pthread_mutex_lock(&client_lock);
}

void
qi_client_unlock(void)
{
    (void)pthread_mutex_unlock(&client_lock);
}

static _Thread_local char last_error[256] = "";

const char *
qi_client_last_error(void)
{
    return last_error;
}

void
qi_client_set_error(const char *format, ...)
{
    va_list args;

    va_start(args, format);
    (void)vsnprintf(last_error, sizeof(last_error), format, args);
    va_end(args);
}

/* --- fork and exit ---------------------------------------------------------------- */

static void
before_fork(void)
{
    (void)pthread_mutex_lock(&client_lock);
#ifdef QI_WITH_SENDER
    if (the_client != NULL && the_client->sender != NULL) {
        qi_sender_before_fork(the_client->sender);
    }
#endif
    if (the_client != NULL) {
        qi_capture_before_fork(the_client->capture);
    }
}

static void
after_fork_in_parent(void)
{
    if (the_client != NULL) {
        qi_capture_after_fork(the_client->capture, 0);
    }
#ifdef QI_WITH_SENDER
    if (the_client != NULL && the_client->sender != NULL) {
        qi_sender_after_fork(the_client->sender, 0);
    }
#endif
    (void)pthread_mutex_unlock(&client_lock);
}

static void
after_fork_in_child(void)
{
    qi_client *c = the_client;

    the_client = NULL;
    if (c != NULL) {
        c->forked = 1;
        c->p.slot_count = 0;
        c->p.level = 0;
        qi_capture_after_fork(c->capture, 1);
        /* A pointer that somebody kept leads here from now on.  In the unlikely case that
           there is no room, the checks above are what is left. */
        (void)mmap(c->base, c->size, PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS | MAP_FIXED, -1, 0);
        (void)close(c->fd);
        c->fd = -1;
#ifdef QI_WITH_SENDER
        if (c->sender != NULL) {
            qi_sender_after_fork(c->sender, 1);
        }
        qi_recorders_forget(c);
#endif
    }
    (void)pthread_mutex_unlock(&client_lock);
}

static void
mark_closed(qi_client *c, int keep)
{
    QI_STORE_RELEASE(c->header->closed, 1u);
    if (!keep) {
        (void)unlink(c->path);
    }
}

/* The sender still runs; it ends with the process. */
static void
at_exit(void)
{
    (void)pthread_mutex_lock(&client_lock);
    if (the_client != NULL) {
        qi_capture_at_exit(the_client->capture);
        mark_closed(the_client, 0);
    }
    (void)pthread_mutex_unlock(&client_lock);
}

/* client_lock is held. */
static int
install_handlers(void)
{
    if (!handlers_installed) {
        if (pthread_atfork(before_fork, after_fork_in_parent, after_fork_in_child) != 0
            || atexit(at_exit) != 0) {
            qi_client_set_error("no memory for the fork and exit handlers");
            return QI_E_NOMEM;
        }
        handlers_installed = 1;
    }
    return QI_OK;
}

/* --- open and close --------------------------------------------------------------- */

static int
copy_path(char ret_path[QI_PATH_MAX], const char *path)
{
    int n = snprintf(ret_path, QI_PATH_MAX, "%s", path);

    if (n < 0 || n >= QI_PATH_MAX) {
        qi_client_set_error("a path is too long: %.200s", path);
        return QI_E_INVALID;
    }
    return QI_OK;
}

static int
find_places(qi_client *c, const struct qi_client_options *options)
{
    char address[QI_PATH_MAX + sizeof(QI_SOCKET_NAME) + 1];
    int r = QI_OK;

    if (options->directory != NULL) {
        r = copy_path(c->directory, options->directory);
    }
    else if (qi_runtime_directory(c->directory, sizeof(c->directory)) < 0) {
        qi_client_set_error("the path of the runtime directory is too long");
        r = QI_E_INVALID;
    }
    if (r < 0) {
        return r;
    }
    if (options->address != NULL) {
        r = copy_path(c->address, options->address);
    }
    else {
        (void)snprintf(address, sizeof(address), "%s/" QI_SOCKET_NAME, c->directory);
        r = copy_path(c->address, address);
    }
    if (r < 0) {
        return r;
    }
    int status = qi_runtime_prepare(c->directory);
    if (status < 0) {
        qi_client_set_error("%.180s: %s", c->directory, qi_runtime_text(status));
        return QI_E_OS;
    }
    return QI_OK;
}

static void
free_client(qi_client *c)
{
    qi_capture_free(c->capture);
    qi_segment_unmake(c);
    free(c);
}

static int
make_client(const struct qi_client_options *options, qi_client **ret_client)
{
    qi_client *c = calloc(1, sizeof(*c));
    int r;

    if (c == NULL) {
        qi_client_set_error("no memory");
        return QI_E_NOMEM;
    }
    c->fd = -1;
    c->control = options->control;
    qi_utf8_copy(c->lints, sizeof(c->lints), options->lints);
    c->wake = options->wake;
    c->wake_ctx = options->wake_ctx;
    r = find_places(c, options);
    if (r == QI_OK) {
        r = qi_segment_make(c, options);
    }
    if (r < 0) {
        free_client(c);
        return r;
    }
    *ret_client = c;
    return QI_OK;
}

static int
start_sender(qi_client *c, const struct qi_client_options *options,
             const struct qi_sender_times *times)
{
#ifdef QI_WITH_SENDER
    return options->connect ? qi_sender_start(c, times, &c->sender) : QI_OK;
#else
    (void)c;
    (void)options;
    (void)times;
    return QI_OK;
#endif
}

int
qi_client_open_timed(const struct qi_client_options *options,
                     const struct qi_sender_times *times, qi_client **ret_client)
{
    qi_client *c = NULL;
    int r;

    if (options->level < 1 || options->level > 4) {
        qi_client_set_error("level is %d; it must be 1 to 4", options->level);
        return QI_E_INVALID;
    }
    (void)pthread_mutex_lock(&client_lock);
    if (the_client != NULL) {
        qi_client_set_error("the process has a client already");
        r = QI_E_EXISTS;
        goto done;
    }
    r = install_handlers();
    if (r == QI_OK) {
        r = make_client(options, &c);
    }
    if (r < 0) {
        goto done;
    }
    r = start_sender(c, options, times);
    if (r < 0) {
        mark_closed(c, 0);
        free_client(c);
        goto done;
    }
    the_client = c;
    *ret_client = c;

done:
    (void)pthread_mutex_unlock(&client_lock);
    return r;
}

int
qi_client_open(const struct qi_client_options *options, qi_client **ret_client)
{
    /* A daemon that is not there costs one failed connect() a second. */
    static const struct qi_sender_times times = {
        .retry_first_ms = 50,
        .retry_max_ms = 1000,
        .refused_first_ms = 1000,
        .refused_max_ms = 30000,
        .handshake_ms = 5000,
        .goodbye_ms = 500,
    };

    return qi_client_open_timed(options, &times, ret_client);
}

void
qi_client_close(qi_client *c, int timeout_ms, int keep)
{
    if (c == NULL) {
        return;
    }
    (void)qi_client_stacks_disarm(c);
    if (c->forked) {
        free_client(c);
        return;
    }
    (void)timeout_ms;
    int ended = 1;
    int may_free = 1;
#ifdef QI_WITH_SENDER
    may_free = qi_recorders_stop_all(c, timeout_ms);
    if (c->sender != NULL) {
        ended = qi_sender_stop(c->sender, timeout_ms);
    }
#endif
    (void)pthread_mutex_lock(&client_lock);
    if (the_client == c) {
        the_client = NULL;
    }
    mark_closed(c, keep);
    (void)pthread_mutex_unlock(&client_lock);
    if (!ended) {
        return; /* the thread is in some system call: it keeps the memory that it uses */
    }
#ifdef QI_WITH_SENDER
    qi_sender_free(c->sender);
#endif
    if (may_free) {
        free_client(c);
    }
}

/* --- the rest of the state -------------------------------------------------------- */

void
qi_client_set_level(qi_client *c, int level)
{
    if (c->forked || level < 0 || level > 4) {
        return;
    }
    QI_STORE(c->p.level, (int32_t)level);
    QI_STORE_RELEASE(c->header->level, (uint32_t)level);
}

void
qi_client_set_binding(qi_client *c, const char *binding, const char *qt)
{
    struct qi_segment_header *h = c->header;

    if (c->forked || h->binding[0] != '\0' || binding[0] == '\0') {
        return;
    }
    qi_utf8_copy(h->qt, sizeof(h->qt), qt);
    qi_utf8_copy(h->binding, sizeof(h->binding), binding);
    QI_STORE_RELEASE(c->has_late_binding, 1u);
#ifdef QI_WITH_SENDER
    if (c->sender != NULL) {
        qi_sender_nudge(c->sender);
    }
#endif
}

int
qi_client_late_binding(const qi_client *c, struct qi_segment_header *copy)
{
    if (copy->binding[0] != '\0' || !QI_LOAD_ACQUIRE(c->has_late_binding)) {
        return 0;
    }
    memcpy(copy->binding, c->header->binding, sizeof(copy->binding));
    memcpy(copy->qt, c->header->qt, sizeof(copy->qt));
    return 1;
}

const char *
qi_client_segment_path(const qi_client *c)
{
    return c->path;
}

int
qi_client_take_request(qi_client *c, struct qi_request *ret_request)
{
    if (c->forked || !qi_requests_take(&c->requests, ret_request)) {
        return 0;
    }
    (void)__atomic_fetch_sub(&c->p.requests, 1, __ATOMIC_RELAXED);
    return 1;
}

void
qi_client_answer(qi_client *c, uint32_t token, int ok, const char *text)
{
    if (c->forked || qi_requests_answer(&c->requests, token, ok, text) != 0) {
        return;
    }
#ifdef QI_WITH_SENDER
    if (c->sender != NULL) {
        qi_sender_nudge(c->sender);
    }
#endif
}

/* --- stacks ----------------------------------------------------------------------- */

int
qi_client_stacks_prepare(qi_client *c, int signal, int *ret_file)
{
    struct qi_capture *capture = NULL;

    if (c->forked || c->capture != NULL) {
        qi_client_set_error("stacks are prepared already");
        return QI_E_EXISTS;
    }
    if (qi_capture_new(signal, &capture) != QI_CAPTURE_OK) {
        return QI_E_OS;
    }
    /* Visible before it works: the state says what it waits for. */
    (void)pthread_mutex_lock(&client_lock); /* not under a fork */
    QI_STORE_RELEASE(c->capture, capture);
    (void)pthread_mutex_unlock(&client_lock);
    *ret_file = qi_capture_file(capture);
    return QI_OK;
}

int
qi_client_stacks_arm(qi_client *c)
{
    if (c->capture == NULL || qi_capture_arm(c->capture) != QI_CAPTURE_OK) {
        return QI_E_OS;
    }
#ifdef QI_WITH_SENDER
    if (c->sender != NULL) {
        qi_sender_nudge(c->sender); /* it has a descriptor more to wait for */
    }
#endif
    return QI_OK;
}

int
qi_client_stacks_disarm(qi_client *c)
{
    return qi_capture_disarm(c->capture);
}

void
qi_client_stats(qi_client *c, struct qi_client_stats *ret_stats)
{
    memset(ret_stats, 0, sizeof(*ret_stats));
    ret_stats->stacks_state = "off: not prepared";
    if (c->capture != NULL) {
        ret_stats->stacks = qi_capture_count(c->capture);
        ret_stats->stack_longest = qi_capture_longest(c->capture);
        ret_stats->stacks_state = qi_capture_state(c->capture);
    }
    (void)snprintf(ret_stats->state, sizeof(ret_stats->state), "off");
#ifdef QI_WITH_SENDER
    if (!c->forked && c->sender != NULL) {
        qi_sender_stats(c->sender, ret_stats);
    }
#endif
}

int
qi_client_dump(qi_client *c, const char *path)
{
    if (c->forked) {
        qi_client_set_error("the process is a fork of the one that has the client");
        return QI_E_FORKED;
    }
    if (qi_segment_dump(c->base, c->size, path) < 0) {
        qi_client_set_error("%.180s: %s", path, strerror(errno));
        return QI_E_OS;
    }
    return QI_OK;
}
