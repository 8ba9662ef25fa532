/*
 * recorder.c - see qi_recorder.h.
 *
 *   wait -> drain the ring -> rows that ended, stalls, notes -> chunk due? -> write it
 *
 * How long it waits follows how much there was: a quarter of the ring in one round halves
 * the wait, nothing doubles it.  The recorders of a client are in a table that is guarded
 * by the client's lock, which is never held while one waits for a thread or for a disk.
 */
#include "qi_recorder.h"

#include "recorder.h"
#include "recorder_stacks.h"
#include "stalls.h"
#include "trace_segment.h"
#include "worker.h"

#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#define WAIT_MIN_MS 1
#define WAIT_MAX_MS 100
#define STALL_WAIT_MIN_MS 5
#define ENDED_NS INT64_C(250000000) /* rows of what ended stay for a second */
#define NOTES_BYTES 262144u
#define STALLS_BYTES 65536u

/* Over all clients, so that a handle of one is none of the next; guarded by the lock. */
static uint32_t recordings_made;

struct pending_note {
    int64_t ts;
    uint32_t message;
    uint32_t size;
};

struct qi_recorder {
    /* constant */
    qi_client *client; /* borrowed; outlives the recorder */
    uint32_t handle;
    struct qi_recorder_options options;
    char path[QI_PATH_MAX];
    char file[QI_PATH_MAX + sizeof(QI_FLIGHT_SUFFIX)]; /* what is written */
    struct qi_worker worker;
    struct qi_view view;

    /* [recorder] */
    struct qi_trace_source source;
    struct qi_trace_writer *writer; /* owned; a forked child looks at it */
    struct qi_stalls stalls;
    struct qi_recorder_stacks *stacks; /* owned */
    struct qi_encoder stall_frames;    /* its bytes are owned */
    int64_t chunk_began, ended_looked;
    int64_t stall_due; /* when something runs for too long; INT64_MAX: nothing runs */
    struct qi_trigger trigger;
    int wait_ms;

    /* [any] */
    pthread_mutex_t lock; /* of what follows */
    uint8_t *notes;       /* owned, NOTES_BYTES: struct pending_note and its body, ... */
    size_t notes_size;
    struct qi_recorder_stats stats;
};

static int64_t
now_ns(void)
{
    struct timespec ts;

    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* --- statistics ------------------------------------------------------------------- */

static void
set_state(struct qi_recorder *r, const char *state, const char *reason)
{
    (void)pthread_mutex_lock(&r->lock);
    (void)snprintf(r->stats.state, sizeof(r->stats.state), "%s", state);
    (void)snprintf(r->stats.reason, sizeof(r->stats.reason), "%s", reason);
    (void)pthread_mutex_unlock(&r->lock);
}

static void
update_stats(struct qi_recorder *r)
{
    struct qi_trace_totals totals;

    qi_trace_totals(r->writer, &totals);
    (void)pthread_mutex_lock(&r->lock);
    r->stats.records = totals.records + r->source.chunk.records;
    r->stats.lost = r->source.lost;
    r->stats.chunks = totals.chunks;
    r->stats.chunks_dropped = totals.chunks_dropped;
    r->stats.bytes = totals.bytes;
    r->stats.written = totals.written;
    (void)pthread_mutex_unlock(&r->lock);
}

/* --- chunks ----------------------------------------------------------------------- */

static void
begin_chunk(struct qi_recorder *r, int64_t now)
{
    qi_trace_source_begin(&r->source, now);
    r->chunk_began = now;
}

/* QI_OK, or QI_E_OS: nothing more can be recorded; why is in the statistics. */
static int
write_chunk(struct qi_recorder *r)
{
    struct qi_segment_header *h = &r->view.header;

    if (qi_client_late_binding(r->client, h)) {
        (void)qi_trace_set_binding(r->writer, h->binding, h->qt);
    }
    int status = qi_trace_source_end(&r->source) < 0
                     ? QI_TRACE_E_NOMEM
                     : qi_trace_write_chunk(r->writer, &r->source.chunk);

    if (status < 0) {
        set_state(r, "failed", qi_trace_text(status));
        r->source.chunk.records = 0; /* they are in no file, and never will be */
        update_stats(r);
        return QI_E_OS;
    }
    return QI_OK;
}

static int
next_chunk(struct qi_recorder *r, int64_t now)
{
    int status = write_chunk(r);

    if (status == QI_OK) {
        begin_chunk(r, now);
    }
    return status;
}

static void
note_what_kept_a_loop(struct qi_recorder *r)
{
    int64_t until = r->trigger.kept_until;
    uint8_t map[128];
    struct qi_encoder e;

    qi_encoder_init(&e, map, sizeof(map));
    if (qi_trigger_kept(&r->trigger, &e)) {
        (void)qi_chunk_put_note(&r->source.chunk, until, QI_MSG_STALL, map, e.size);
    }
}

static int
drain_ring(struct qi_recorder *r)
{
    uint64_t goal = qi_view_head(&r->view);
    uint64_t before = r->source.position;
    uint64_t ring = r->view.header.ring_count;
    int cut = 0;

    while (r->source.position < goal) {
        size_t n = qi_trace_source_records(&r->source, goal, &cut);
        if (r->trigger.kinds != 0) {
            qi_trigger_look(&r->trigger, r->source.batch, n, now_ns());
            note_what_kept_a_loop(r);
        }
        if ((cut || qi_chunk_is_full(&r->source.chunk)) && next_chunk(r, now_ns()) < 0) {
            return QI_E_OS;
        }
    }
    if (r->source.position - before > ring / 4) {
        r->wait_ms = r->wait_ms / 2 > WAIT_MIN_MS ? r->wait_ms / 2 : WAIT_MIN_MS;
    }
    else if (r->source.position - before < ring / 16) {
        r->wait_ms = r->wait_ms * 2 < WAIT_MAX_MS ? r->wait_ms * 2 : WAIT_MAX_MS;
    }
    return QI_OK;
}

/* --- notes ------------------------------------------------------------------------ */

/* The body of a frame, encoded once more as a value of its own. */
static void
note_frame(struct qi_recorder *r, const struct qi_frame *frame)
{
    uint8_t map[1024];
    struct qi_encoder e;
    int64_t since = qi_frame_int(frame, QI_KEY_STALL_since, 0);
    int64_t duration = qi_frame_int(frame, QI_KEY_STALL_duration, 0);

    qi_encoder_init(&e, map, sizeof(map));
    qi_encode_map(&e, frame->body.size);
    qi_encode_raw(&e, frame->body.bytes, frame->body.length);
    if (!e.failed) {
        (void)qi_chunk_put_note(&r->source.chunk, since + duration, frame->message, map,
                                e.size);
    }
    if (!qi_frame_uint(frame, QI_KEY_STALL_over, 0)) {
        qi_trigger_set(&r->trigger, QI_TRIGGER_STALL | QI_TRIGGER_LINT, "stall", since,
                       now_ns());
    }
}

static void
look_for_stalls(struct qi_recorder *r, int64_t now)
{
    struct qi_frame frame;
    size_t at = 0;

    r->stall_frames.size = 0;
    r->stall_due = qi_stalls_check(&r->stalls, &r->view, r->client->loop_slots,
                                   r->trigger.stall_ns, now, &r->stall_frames, 0);
    while (at + 4 < r->stall_frames.size) {
        const uint8_t *bytes = r->stall_frames.bytes + at;
        size_t size = (size_t)bytes[0] | (size_t)bytes[1] << 8 | (size_t)bytes[2] << 16;
        if (qi_frame_decode(bytes + 4, size, &frame) == QI_WIRE_OK
            && frame.message == QI_MSG_STALL) {
            note_frame(r, &frame);
        }
        at += 4 + size;
    }
    /* The stack of one that goes on is for everybody. */
    r->stall_frames.size = 0;
    qi_recorder_serve_stacks(r->stacks, r->client, r->handle, &r->stalls, &r->view,
                             r->trigger.stall_ns, now, &r->stall_frames);
    if (r->stall_frames.size > 4) {
        qi_recorders_note_stall(r->client, r->stall_frames.bytes + 4,
                                r->stall_frames.size - 4);
    }
}

static void
take_notes(struct qi_recorder *r)
{
    struct pending_note note;
    size_t at = 0;

    (void)pthread_mutex_lock(&r->lock);
    while (at < r->notes_size) {
        memcpy(&note, r->notes + at, sizeof(note));
        at += sizeof(note);
        if (!qi_chunk_put_note(&r->source.chunk, note.ts, note.message, r->notes + at,
                               note.size)) {
            r->stats.notes_lost++;
        }
        at += note.size;
    }
    r->notes_size = 0;
    (void)pthread_mutex_unlock(&r->lock);
}

static void
put_note(struct qi_recorder *r, int64_t ts, unsigned message, const void *map,
         size_t size)
{
    struct pending_note note = {ts, message, (uint32_t)size};

    (void)pthread_mutex_lock(&r->lock);
    if (size > QI_TRACE_NOTE_MAX || NOTES_BYTES - r->notes_size < sizeof(note) + size) {
        r->stats.notes_lost++;
    }
    else {
        memcpy(r->notes + r->notes_size, &note, sizeof(note));
        memcpy(r->notes + r->notes_size + sizeof(note), map, size);
        r->notes_size += sizeof(note) + size;
    }
    (void)pthread_mutex_unlock(&r->lock);
}

/* --- a capture of the flight ------------------------------------------------------ */

static int
capture(struct qi_recorder *r, int64_t now)
{
    int status = next_chunk(r, now);

    if (status < 0) {
        return status;
    }
    r->trigger.due = 0;
    status = qi_trace_write_copy(r->writer, r->path, r->trigger.ts - r->trigger.pre_ns);
    (void)pthread_mutex_lock(&r->lock);
    if (status == QI_TRACE_OK) {
        r->stats.captures++;
        r->stats.last_capture = r->trigger.ts;
        (void)snprintf(r->stats.last_trigger, sizeof(r->stats.last_trigger), "%s",
                       r->trigger.name);
    }
    else {
        /* The flight goes on: there may be room for the next one. */
        (void)snprintf(r->stats.reason, sizeof(r->stats.reason), "capture: %s",
                       qi_trace_text(status));
    }
    (void)pthread_mutex_unlock(&r->lock);
    return QI_OK;
}

/* --- the thread ------------------------------------------------------------------- */

static int
round_of(struct qi_recorder *r)
{
    int status = drain_ring(r);
    int64_t now = now_ns();

    if (status < 0) {
        return status;
    }
    if (now - r->ended_looked >= ENDED_NS) {
        qi_trace_source_ended(&r->source, now, 0);
        r->ended_looked = now;
    }
    look_for_stalls(r, now);
    take_notes(r);
    if (r->trigger.due != 0 && now >= r->trigger.due) {
        status = capture(r, now);
    }
    else if (qi_chunk_is_full(&r->source.chunk)
             || (now - r->chunk_began >= r->options.chunk_ns
                 && qi_chunk_has_events(&r->source.chunk))) {
        status = next_chunk(r, now);
    }
    update_stats(r);
    return status;
}

/* What is there, and a chunk that has the state at the end. */
static int
say_the_last(struct qi_recorder *r)
{
    int status = drain_ring(r);
    int64_t now = now_ns();

    if (status == QI_OK) {
        qi_trace_source_ended(&r->source, now, 0);
        take_notes(r);
        if (qi_chunk_has_events(&r->source.chunk)) {
            status = next_chunk(r, now);
        }
    }
    if (status == QI_OK) {
        r->source.chunk.flags |= QI_TRACE_LAST;
        status = write_chunk(r);
    }
    update_stats(r);
    return status;
}

static void
end_file(struct qi_recorder *r, int status)
{
    struct qi_trace_writer *writer = r->writer;
    char reason[sizeof(r->stats.reason)] = "";

    if (status == QI_OK && r->trigger.due != 0) {
        begin_chunk(r, now_ns());
        status = capture(r, now_ns());
    }
    __atomic_store_n(&r->writer, NULL, __ATOMIC_RELEASE);
    if (r->trigger.kinds != 0) {
        qi_trace_discard(writer);
    }
    else {
        int written = qi_trace_finish(writer);
        if (written < 0 && status == QI_OK) {
            (void)snprintf(reason, sizeof(reason), "%s", qi_trace_text(written));
            set_state(r, "failed", reason);
            return;
        }
    }
    if (status == QI_OK) {
        (void)pthread_mutex_lock(&r->lock);
        (void)snprintf(r->stats.state, sizeof(r->stats.state), "ended");
        (void)pthread_mutex_unlock(&r->lock);
    }
}

/* A stack is of use only while the stall goes on, so it must be asked for in time. */
static int
wait_of(const struct qi_recorder *r)
{
    int64_t ms = r->wait_ms;

    if (r->stacks->loop != 0) {
        ms = STALL_WAIT_MIN_MS; /* one is being taken */
    }
    else if (r->stall_due != INT64_MAX) {
        ms = (r->stall_due - now_ns()) / 1000000 + 1;
        ms = ms > STALL_WAIT_MIN_MS ? ms : STALL_WAIT_MIN_MS;
    }
    return ms < r->wait_ms ? (int)ms : r->wait_ms;
}

static void
work(void *ctx)
{
    struct qi_recorder *r = ctx;
    int status = QI_OK;

    qi_segment_populate(r->client);
    while (status == QI_OK && qi_worker_wait(&r->worker, wait_of(r))) {
        status = round_of(r);
    }
    if (status == QI_OK) {
        status = say_the_last(r);
    }
    end_file(r, status);
    qi_recorder_leave_stacks(r->client, r->handle);
}

/* --- starting and stopping -------------------------------------------------------- */

static int
copy_options(struct qi_recorder *r, const struct qi_recorder_options *options)
{
    int is_flight = options->trigger.kinds != 0;
    int n = snprintf(r->path, sizeof(r->path), "%s", options->path);

    if (n <= 0 || n >= (int)sizeof(r->path)) {
        qi_client_set_error("the path of a recording is empty or too long");
        return QI_E_INVALID;
    }
    (void)snprintf(r->file, sizeof(r->file), "%s%s", r->path,
                   is_flight ? QI_FLIGHT_SUFFIX : "");
    r->options = *options;
    r->options.path = r->path;
    r->trigger = options->trigger;
    if (r->trigger.stall_ns <= 0) {
        r->trigger.stall_ns = QI_TRIGGER_STALL_NS;
    }
    if (r->options.chunk_ns <= 0) {
        r->options.chunk_ns = QI_TRACE_CHUNK_NS;
    }
    qi_trigger_shape(&r->trigger, &r->options.chunk_ns, &r->options.max_age_ns);
    return QI_OK;
}

static int
make_writer(struct qi_recorder *r)
{
    struct qi_trace_options options = {.max_bytes = r->options.max_bytes,
                                       .max_age_ns = r->options.max_age_ns};
    struct qi_trace_info info;
    struct qi_segment_header header = r->view.header;

    header.level = QI_LOAD(r->client->header->level);
    qi_trace_info_of_segment(&header, "application", &info);
    info.control = r->client->control;
    int status = qi_trace_check_path(r->path);
    if (status == QI_TRACE_OK) {
        status = qi_trace_create(r->file, &info, &options, &r->writer);
    }
    if (status < 0) {
        qi_client_set_error("%.180s: %s", r->file, qi_trace_text(status));
        return status == QI_TRACE_E_EXISTS  ? QI_E_EXISTS
               : status == QI_TRACE_E_NOMEM ? QI_E_NOMEM
               : status == QI_TRACE_E_PATH  ? QI_E_INVALID
                                            : QI_E_OS;
    }
    return QI_OK;
}

static void
free_recorder(struct qi_recorder *r)
{
    qi_worker_fini(&r->worker);
    qi_trace_source_fini(&r->source);
    (void)pthread_mutex_destroy(&r->lock);
    free(r->stall_frames.bytes);
    free(r->stacks);
    free(r->notes);
    free(r);
}

static int
prepare(struct qi_recorder *r)
{
    void *frames = malloc(STALLS_BYTES);

    qi_encoder_init(&r->stall_frames, frames, STALLS_BYTES);
    r->notes = malloc(NOTES_BYTES);
    r->stacks = calloc(1, sizeof(*r->stacks));
    r->wait_ms = WAIT_MAX_MS / 4;
    r->stall_due = INT64_MAX;
    (void)snprintf(r->stats.state, sizeof(r->stats.state), "recording");
    if (frames == NULL || r->notes == NULL || r->stacks == NULL
        || qi_view_init(&r->view, r->client->base, r->client->size) < 0
        || qi_trace_source_init(&r->source, &r->view, qi_view_head(&r->view)) < 0) {
        qi_client_set_error("no memory");
        return QI_E_NOMEM;
    }
    int status = make_writer(r);
    if (status == QI_OK) {
        int64_t now = now_ns();
        r->source.chunk.share = qi_trace_chunk_share(r->writer);
        qi_trace_source_ended(&r->source, now, 1);
        begin_chunk(r, now);
        r->ended_looked = now;
    }
    return status;
}

/* Before a file is replaced.  Two recordings into one would leave that of the one that
   began last. */
static int
check_others(const qi_client *c, const struct qi_recorder *r)
{
    int status = QI_E_INVALID;

    qi_client_lock();
    for (unsigned i = 0; i < QI_RECORDERS_MAX && status != QI_E_EXISTS; i++) {
        const struct qi_recorder *other = c->recorders[i];
        if (other == NULL) {
            status = QI_OK;
        }
        else if (strcmp(other->path, r->path) == 0
                 && __atomic_load_n(&other->writer, __ATOMIC_ACQUIRE) != NULL) {
            status = QI_E_EXISTS;
        }
    }
    qi_client_unlock();
    if (status == QI_E_EXISTS) {
        qi_client_set_error("%.180s: it is being recorded into already", r->path);
    }
    else if (status == QI_E_INVALID) {
        qi_client_set_error("there are %d recordings already", QI_RECORDERS_MAX);
    }
    return status;
}

static int
make_recorder(qi_client *c, const struct qi_recorder_options *options,
              struct qi_recorder **ret_recorder)
{
    struct qi_recorder *r = calloc(1, sizeof(*r));

    if (r == NULL) {
        qi_client_set_error("no memory");
        return QI_E_NOMEM;
    }
    r->client = c;
    r->worker.wake_ends[0] = r->worker.wake_ends[1] = -1;
    r->worker.ended_ends[0] = r->worker.ended_ends[1] = -1;
    (void)pthread_mutex_init(&r->lock, NULL);
    int status = copy_options(r, options);
    if (status == QI_OK) {
        status = check_others(c, r);
    }
    if (status == QI_OK) {
        status = prepare(r);
    }
    if (status < 0) {
        free_recorder(r);
        return status;
    }
    *ret_recorder = r;
    return QI_OK;
}

/* Into the table, with its thread running. */
static int
enter(qi_client *c, struct qi_recorder *r)
{
    int status = QI_E_EXISTS;

    qi_client_lock();
    if (c->forked) {
        status = QI_E_FORKED;
    }
    for (unsigned i = 0; status == QI_E_EXISTS && i < QI_RECORDERS_MAX; i++) {
        if (c->recorders[i] == NULL) {
            r->handle = ++recordings_made * QI_RECORDERS_MAX + i;
            int error = qi_worker_start(&r->worker, "qtinter-record", work, r);
            if (error != 0) {
                qi_client_set_error("the recorder's thread: %s", strerror(error));
                status = QI_E_OS;
                break;
            }
            c->recorders[i] = r;
            status = QI_OK;
        }
    }
    qi_client_unlock();
    if (status == QI_E_EXISTS) {
        qi_client_set_error("there are %d recordings already", QI_RECORDERS_MAX);
        status = QI_E_INVALID;
    }
    return status;
}

int
qi_recorder_start(qi_client *c, const struct qi_recorder_options *options,
                  uint32_t *ret_handle)
{
    struct qi_recorder *r = NULL;

    if (c->forked) {
        qi_client_set_error("the process is a fork of the one that has the client");
        return QI_E_FORKED;
    }
    int status = make_recorder(c, options, &r);
    if (status == QI_OK) {
        status = enter(c, r);
        if (status < 0) {
            qi_trace_discard(r->writer);
            free_recorder(r);
        }
        else {
            *ret_handle = r->handle;
        }
    }
    return status;
}

/* Out of the table; NULL: there is none. */
static struct qi_recorder *
leave(qi_client *c, unsigned place, uint32_t handle)
{
    struct qi_recorder *r = NULL;

    qi_client_lock();
    if (!c->forked && c->recorders[place] != NULL
        && (handle == 0 || c->recorders[place]->handle == handle)) {
        r = c->recorders[place];
        c->recorders[place] = NULL;
    }
    qi_client_unlock();
    return r;
}

static void
copy_stats(struct qi_recorder *r, struct qi_recorder_stats *ret_stats)
{
    (void)pthread_mutex_lock(&r->lock);
    *ret_stats = r->stats;
    (void)pthread_mutex_unlock(&r->lock);
}

static int
unknown_handle(uint32_t handle)
{
    qi_client_set_error("there is no recording %u", (unsigned)handle);
    return QI_E_INVALID;
}

int
qi_recorder_stop(qi_client *c, uint32_t handle, int timeout_ms,
                 struct qi_recorder_stats *ret_stats)
{
    struct qi_recorder *r = leave(c, handle % QI_RECORDERS_MAX, handle);

    if (r == NULL || handle == 0) {
        return unknown_handle(handle);
    }
    if (!qi_worker_stop(&r->worker, timeout_ms)) {
        /* It is in some system call: it keeps its memory, and the client's. */
        c->left_recorders++;
        copy_stats(r, ret_stats);
        qi_client_set_error("%.180s: the disk does not answer", r->file);
        return QI_E_OS;
    }
    copy_stats(r, ret_stats);
    free_recorder(r);
    return QI_OK;
}

int
qi_recorder_stats(qi_client *c, uint32_t handle, struct qi_recorder_stats *ret_stats)
{
    int status = QI_E_INVALID;

    qi_client_lock();
    struct qi_recorder *r = c->forked ? NULL : c->recorders[handle % QI_RECORDERS_MAX];
    if (r != NULL && r->handle == handle) {
        copy_stats(r, ret_stats);
        status = QI_OK;
    }
    qi_client_unlock();
    return status < 0 ? unknown_handle(handle) : status;
}

void
qi_recorders_note(qi_client *c, int64_t ts, unsigned message, const void *map,
                  size_t size)
{
    qi_client_lock();
    for (unsigned i = 0; !c->forked && i < QI_RECORDERS_MAX; i++) {
        if (c->recorders[i] != NULL) {
            put_note(c->recorders[i], ts, message, map, size);
        }
    }
    qi_client_unlock();
}

int
qi_recorders_stop_all(qi_client *c, int timeout_ms)
{
    for (unsigned i = 0; i < QI_RECORDERS_MAX; i++) {
        struct qi_recorder *r = leave(c, i, 0);
        if (r == NULL) {
            continue;
        }
        if (qi_worker_stop(&r->worker, timeout_ms)) {
            free_recorder(r);
        }
        else {
            c->left_recorders++;
        }
    }
    return c->left_recorders == 0;
}

void
qi_recorders_forget(qi_client *c)
{
    for (unsigned i = 0; i < QI_RECORDERS_MAX; i++) {
        struct qi_recorder *r = c->recorders[i];
        if (r != NULL) {
            struct qi_trace_writer *writer =
                __atomic_load_n(&r->writer, __ATOMIC_ACQUIRE);
            qi_worker_forget(&r->worker);
            if (writer != NULL) {
                qi_trace_forget(writer);
            }
        }
        c->recorders[i] = NULL;
    }
}

/* --- at once ---------------------------------------------------------------------- */

int
qi_client_save_trace(qi_client *c, const char *path, uint64_t first, const char *trace_id)
{
    struct qi_trace_info info;
    struct qi_view view;

    if (c->forked) {
        qi_client_set_error("the process is a fork of the one that has the client");
        return QI_E_FORKED;
    }
    if (qi_view_init(&view, c->base, c->size) < 0) {
        qi_client_set_error("the segment is damaged");
        return QI_E_OS;
    }
    qi_trace_info_of_segment(&view.header, "application", &info);
    info.control = c->control;
    info.trace_id = trace_id != NULL ? trace_id : info.trace_id;
    int status = qi_trace_save(&view, &info, path, first, now_ns());
    if (status < 0) {
        qi_client_set_error("%.180s: %s", path, qi_trace_text(status));
    }
    return status == QI_TRACE_OK         ? QI_OK
           : status == QI_TRACE_E_EXISTS ? QI_E_EXISTS
           : status == QI_TRACE_E_NOMEM  ? QI_E_NOMEM
           : status == QI_TRACE_E_PATH   ? QI_E_INVALID
                                         : QI_E_OS;
}
