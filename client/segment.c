/*
 * segment.c - the writer of the segment: rows, texts, and the file they lie in.
 *
 * Called by the producer only (but for making and unmaking).  Readers are everywhere and
 * hold nothing: see segment.h for the order in which things become visible.
 *
 * Ended rows wait in a queue so that a reader which comes by fifty times a second finds
 * their last state.  The queue is short on purpose: with the whole table as its length, a
 * program that makes 300,000 tasks a second would walk through 24 MiB and miss the cache
 * at every task.  It is not shorter because of recordings: with 4,096 rows half of 30,000
 * short tasks had no name in one, whose recorder looks ten times a second at first.
 *
 * The file is sparse, but what is written to is reserved first: a page that the file
 * system cannot back when it is touched is a SIGBUS, which would be our fault.
 */
#include "client_internal.h"

#include "leftovers.h"
#include "qi_utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#define PAGE 4096u
#define NAMES_TRIED 100
#define MIN_RING 64
#define MAX_RING (1 << 22)
#define PROBES_MAX 64

_Static_assert(sizeof(struct qi_slot) == 128, "a slot is two cache lines");
_Static_assert(sizeof(struct qi_record) == 32, "a record is half a cache line");
_Static_assert(sizeof(struct qi_task_row) == 112, "the largest row fills its slot");
_Static_assert(sizeof(struct qi_segment_header) <= QI_SEGMENT_HEADER_SIZE, "one page");
_Static_assert(offsetof(struct qi_client, p) == 0, "the inline functions cast");

uint32_t
qi_coarse_ms(void)
{
    struct timespec ts;
#ifdef CLOCK_MONOTONIC_COARSE
    (void)clock_gettime(CLOCK_MONOTONIC_COARSE, &ts);
#else
    (void)clock_gettime(CLOCK_MONOTONIC, &ts);
#endif
    return (uint32_t)((uint64_t)ts.tv_sec * 1000u + (uint64_t)ts.tv_nsec / 1000000u);
}

/* What qi_coarse_ms() says at that time, or a few milliseconds later. */
static uint32_t
ms_of(int64_t ns)
{
    return (uint32_t)((uint64_t)ns / 1000000u);
}

static int64_t
clock_ns(clockid_t clock)
{
    struct timespec ts;

    (void)clock_gettime(clock, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* --- file space ------------------------------------------------------------------- */

/* Writing zeros makes a part real where there is nothing better. */
static int
write_zeros(int fd, uint64_t at, uint64_t size)
{
    static const uint8_t zeros[65536];

    while (size > 0) {
        size_t n = size < sizeof(zeros) ? (size_t)size : sizeof(zeros);
        ssize_t written = pwrite(fd, zeros, n, (off_t)at);
        if (written < 0 && errno == EINTR) {
            continue;
        }
        if (written <= 0) {
            return -1;
        }
        at += (uint64_t)written;
        size -= (uint64_t)written;
    }
    return 0;
}

static int
reserve_in_file(int fd, uint64_t at, uint64_t size)
{
#ifdef __linux__
    int r;

    do {
        r = fallocate(fd, 0, (off_t)at, (off_t)size);
    } while (r < 0 && errno == EINTR);
    if (r == 0 || (errno != EOPNOTSUPP && errno != ENOSYS)) {
        return r;
    }
#endif
    return write_zeros(fd, at, size);
}

/* Makes the area writable up to `end`; -1 if the file system has no room.  After that it
   is asked again a second later, not for every row. */
static int
area_grow(qi_client *c, struct qi_area *area, uint64_t end)
{
    if (area->failed_ms != 0 && qi_coarse_ms() - area->failed_ms < 1000) {
        return -1;
    }
    while (area->reserved < end) {
        uint64_t left = area->size - area->reserved;
        uint64_t n = left < area->step ? left : area->step;
        if (n == 0 || reserve_in_file(c->fd, area->at + area->reserved, n) < 0) {
            area->failed_ms = qi_coarse_ms() | 1u;
            return -1;
        }
        area->reserved += n;
    }
    area->failed_ms = 0;
    return 0;
}

static int
area_has(qi_client *c, struct qi_area *area, uint64_t end)
{
    return end <= area->reserved || area_grow(c, area, end) == 0;
}

#if defined(__linux__) && !defined(MADV_POPULATE_WRITE)
#  define MADV_POPULATE_WRITE 23 /* Linux 5.14 */
#endif

void
qi_segment_populate(const qi_client *c)
{
#ifdef __linux__
    const struct qi_segment_header *h = c->header;

    /* What reserve_fixed_parts() has reserved, and is used from the front. */
    (void)madvise(c->base + h->slots_at, QI_SLOTS_STEP, MADV_POPULATE_WRITE);
    (void)madvise(c->base + h->dirty_at, (size_t)(h->arena_at - h->dirty_at),
                  MADV_POPULATE_WRITE);
#else
    (void)c;
#endif
}

/* --- rows ------------------------------------------------------------------------- */

static uint32_t
take_ended(qi_client *c)
{
    uint32_t index = c->ended_first;

    c->ended_first = c->use[index].next;
    if (--c->ended > 0) {
        /* The next one that is taken: by then it is in the cache. */
        __builtin_prefetch(&c->p.slots[c->ended_first], 1);
        __builtin_prefetch(&c->p.slots[c->ended_first].row.words[8], 1);
    }
    return index;
}

/* The caller's clock may be a little before the one by which the row ended. */
static int
is_old(const struct qi_row_use *ended, uint32_t now_ms)
{
    return (int32_t)(now_ms - ended->ended_ms) >= (int32_t)QI_ROWS_KEPT_MS;
}

static uint32_t
take_slot(qi_client *c, uint32_t now_ms)
{
    if (c->p.slot_count == 0) {
        return QI_NO_SLOT; /* a forked child */
    }
    if (c->ended > QI_ROWS_KEPT
        || (c->ended > 0 && is_old(&c->use[c->ended_first], now_ms))) {
        return take_ended(c);
    }
    if (c->slots_used < c->p.slot_count
        && area_has(c, &c->slots_area, (c->slots_used + 1) * sizeof(struct qi_slot))) {
        return c->slots_used++;
    }
    return c->ended > 0 ? take_ended(c) : QI_NO_SLOT;
}

uint64_t
qi_client_new_id(qi_client *c, unsigned kind)
{
    return kind < QI_ENTITY_KINDS ? ++c->last_id[kind] : 0;
}

static uint32_t
row_new(qi_client *c, unsigned kind, unsigned loop, uint32_t now_ms, uint64_t *ret_id)
{
    uint64_t id = qi_client_new_id(c, kind);
    uint32_t index = take_slot(c, now_ms);

    if (ret_id != NULL) {
        *ret_id = id;
    }
    if (index == QI_NO_SLOT) {
        QI_ADD(c->header->slots_missed, 1);
        return QI_NO_SLOT;
    }
    c->use[index].next = QI_ROW_LIVE;
    if (kind == QI_LOOP && loop >= 1 && loop <= QI_SEGMENT_LOOPS) {
        QI_STORE_RELEASE(c->loop_slots[loop - 1], index + 1);
    }
    /* Odd from here to the first qi_row_end(): nobody copies it. */
    struct qi_slot *slot = qi_row_begin(c, index);
    QI_STORE(slot->kind, (uint8_t)kind);
    QI_STORE(slot->state, (uint8_t)0);
    QI_STORE(slot->loop, (uint8_t)loop);
    QI_STORE(slot->id, id);
#pragma GCC unroll 14
    for (size_t i = 0; i < sizeof(slot->row.words) / sizeof(slot->row.words[0]); i++) {
        QI_STORE(slot->row.words[i], UINT64_C(0));
    }
    if (QI_LOAD(c->header->slots_used) < c->slots_used) {
        QI_STORE_RELEASE(c->header->slots_used, (uint64_t)c->slots_used);
    }
    return index;
}

uint32_t
qi_row_new(qi_client *c, unsigned kind, unsigned loop, uint64_t *ret_id)
{
    return row_new(c, kind, loop, qi_coarse_ms(), ret_id);
}

uint32_t
qi_row_new_at(qi_client *c, unsigned kind, unsigned loop, int64_t now, uint64_t *ret_id)
{
    return row_new(c, kind, loop, ms_of(now), ret_id);
}

unsigned
qi_row_loop(qi_client *c, uint32_t index)
{
    return index < c->p.slot_count ? QI_LOAD(c->p.slots[index].loop) : 0;
}

unsigned
qi_row_kind(qi_client *c, uint32_t index)
{
    return index < c->p.slot_count ? QI_LOAD(c->p.slots[index].kind) : 0;
}

static int
is_live(const qi_client *c, uint32_t index)
{
    return index < c->slots_used && c->p.slot_count != 0
           && c->use[index].next == QI_ROW_LIVE;
}

static void
leave(qi_client *c, uint32_t index, uint32_t now_ms)
{
    c->use[index] = (struct qi_row_use){.next = QI_ROW_LAST, .ended_ms = now_ms};
    if (c->ended == 0) {
        c->ended_first = index;
    }
    else {
        c->use[c->ended_last].next = index;
    }
    c->ended_last = index;
    c->ended++;
}

void
qi_row_retire(qi_client *c, uint32_t index, unsigned state)
{
    if (!is_live(c, index)) {
        return;
    }
    struct qi_slot *slot = qi_row_begin(c, index);
    if (slot->kind == QI_LOOP && slot->loop >= 1 && slot->loop <= QI_SEGMENT_LOOPS) {
        QI_STORE(c->loop_slots[slot->loop - 1], 0u);
    }
    QI_STORE(slot->state, (uint8_t)state);
    qi_row_done(c, slot);
    leave(c, index, qi_coarse_ms());
}

void
qi_row_leave(qi_client *c, uint32_t index, int64_t now)
{
    if (is_live(c, index)) {
        leave(c, index, ms_of(now));
    }
}

/* --- texts ------------------------------------------------------------------------ */

/* Multiply and fold, eight bytes at a time; not against an adversary: a run of equal
   hashes ends after PROBES_MAX and costs its author the text. */
static uint32_t
hash_of(const uint8_t *bytes, size_t size, uint8_t type)
{
    uint64_t h = UINT64_C(0x9e3779b97f4a7c15) ^ (size << 8 | type);

    while (size > 0) {
        uint64_t word = 0;
        size_t n = size < 8 ? size : 8;
        memcpy(&word, bytes, n);
        h = (h ^ word) * UINT64_C(0xd6e8feb86659fd93);
        h ^= h >> 32;
        bytes += n;
        size -= n;
    }
    return (uint32_t)(h ^ h >> 29);
}

static int
same_entry(const qi_client *c, const struct qi_interned *found, const void *bytes,
           size_t size, uint8_t type)
{
    const uint8_t *at = c->arena + (size_t)found->offset * 8;
    struct qi_arena_entry entry;

    memcpy(&entry, at, sizeof(entry));
    return entry.size == size && entry.type == type
           && memcmp(at + sizeof(entry), bytes, size) == 0;
}

static uint32_t
append_entry(qi_client *c, struct qi_interned *place, uint32_t hash, const void *bytes,
             size_t size, uint8_t type)
{
    struct qi_arena_entry entry = {.size = (uint32_t)size, .type = type};
    uint64_t offset = c->arena_used;
    uint64_t end = offset + ((sizeof(entry) + size + 7u) & ~(uint64_t)7);

    if (c->arena_count >= QI_INTERN_MAX || end > c->arena_area.size
        || !area_has(c, &c->arena_area, end)) {
        QI_ADD(c->header->arena_missed, 1);
        return 0;
    }
    memcpy(c->arena + offset, &entry, sizeof(entry));
    memcpy(c->arena + offset + sizeof(entry), bytes, size);
    c->arena_used = end;
    c->arena_count++;
    *place = (struct qi_interned){
        .hash = hash, .id = (uint32_t)c->arena_count, .offset = (uint32_t)(offset / 8)};
    QI_STORE_RELEASE(c->header->arena_used, c->arena_used);
    QI_STORE_RELEASE(c->header->arena_count, c->arena_count);
    return place->id;
}

static uint32_t
intern(qi_client *c, const void *bytes, size_t size, uint8_t type)
{
    uint32_t hash = hash_of(bytes, size, type);

    if (c->p.slot_count == 0) {
        return 0; /* a forked child */
    }
    for (uint32_t i = 0; i < PROBES_MAX; i++) {
        struct qi_interned *place = &c->interned[(hash + i) & (QI_INTERN_TABLE - 1)];
        if (place->id == 0) {
            return append_entry(c, place, hash, bytes, size, type);
        }
        if (place->hash == hash && same_entry(c, place, bytes, size, type)) {
            return place->id;
        }
    }
    QI_ADD(c->header->arena_missed, 1);
    return 0;
}

uint32_t
qi_text(qi_client *c, const char *utf8, size_t size)
{
    char clean[QI_TEXT_MAX];

    if (size <= sizeof(clean) && qi_utf8_valid((const uint8_t *)utf8, size)) {
        return intern(c, utf8, size, 't');
    }
    return intern(c, clean, qi_utf8_clean(clean, sizeof(clean), utf8, size), 't');
}

uint32_t
qi_code(qi_client *c, uint32_t file, uint32_t name, uint32_t line)
{
    uint32_t parts[3] = {line, file, name};

    return intern(c, parts, sizeof(parts), 'c');
}

uint32_t
qi_stack(qi_client *c, const uint32_t *codes, size_t n)
{
    if (n > QI_STACK_DEPTH_MAX) {
        n = QI_STACK_DEPTH_MAX;
    }
    return intern(c, codes, n * sizeof(*codes), 'k');
}

/* --- the file --------------------------------------------------------------------- */

static uint64_t
round_up(uint64_t size)
{
    return (size + PAGE - 1) / PAGE * PAGE;
}

/* The ring's size is the only one that the user may choose. */
static int
lay_out(struct qi_segment_header *h, int ring_count)
{
    if (ring_count == 0) {
        ring_count = QI_SEGMENT_RING;
    }
    if (ring_count < MIN_RING || ring_count > MAX_RING
        || (ring_count & (ring_count - 1)) != 0) {
        qi_client_set_error("ring_count is %d; it must be a power of two, %d to %d",
                            ring_count, MIN_RING, MAX_RING);
        return QI_E_INVALID;
    }
    h->abi = QI_SEGMENT_ABI;
    h->header_size = QI_SEGMENT_HEADER_SIZE;
    h->slot_size = sizeof(struct qi_slot);
    h->slot_count = QI_SEGMENT_SLOTS;
    h->record_size = sizeof(struct qi_record);
    h->ring_count = (uint32_t)ring_count;
    h->slots_at = QI_SEGMENT_HEADER_SIZE;
    h->dirty_at = h->slots_at + round_up((uint64_t)h->slot_count * h->slot_size);
    h->ring_at = h->dirty_at + round_up(h->slot_count);
    h->arena_at = h->ring_at + round_up((uint64_t)h->ring_count * h->record_size);
    h->arena_size = QI_SEGMENT_ARENA;
    h->total_size = h->arena_at + h->arena_size;
    return QI_OK;
}

static void
default_name(char *ret_name, size_t size)
{
    char exe[QI_PATH_MAX];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof(exe) - 1);

    exe[n > 0 ? n : 0] = '\0';
    const char *slash = strrchr(exe, '/');
    qi_utf8_copy(ret_name, size, slash != NULL ? slash + 1 : exe);
}

static void
describe(struct qi_segment_header *h, const struct qi_client_options *options)
{
    h->pid = (uint64_t)getpid();
    h->start_time = qi_runtime_start_time(h->pid);
    h->uid = (uint64_t)geteuid();
    h->mono0 = clock_ns(CLOCK_MONOTONIC);
    h->wall0 = clock_ns(CLOCK_REALTIME);
    h->level = (uint32_t)options->level;
    if (options->name != NULL) {
        qi_utf8_copy(h->name, sizeof(h->name), options->name);
    }
    else {
        default_name(h->name, sizeof(h->name));
    }
    qi_utf8_copy(h->qtinter, sizeof(h->qtinter), options->qtinter);
    qi_utf8_copy(h->python, sizeof(h->python), options->python);
    qi_utf8_copy(h->binding, sizeof(h->binding), options->binding);
    qi_utf8_copy(h->qt, sizeof(h->qt), options->qt);
    qi_utf8_copy(h->trace_id, sizeof(h->trace_id), options->trace_id);
}

/* A file of a name of its own: the process may have had, and kept, one before. */
static int
create_file(qi_client *c, const struct qi_segment_header *h)
{
    for (int i = 0; i < NAMES_TRIED; i++) {
        char again[16] = "";
        if (i > 0) {
            (void)snprintf(again, sizeof(again), "-%d", i);
        }
        int n = snprintf(c->path, sizeof(c->path), "%s/%llu-%llu%s" QI_SEGMENT_SUFFIX,
                         c->directory, (unsigned long long)h->pid,
                         (unsigned long long)h->start_time, again);
        if (n < 0 || (size_t)n >= sizeof(c->path)) {
            qi_client_set_error("the path of the runtime directory is too long");
            return QI_E_INVALID;
        }
        c->fd = open(c->path, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
        if (c->fd < 0) {
            if (errno != EEXIST) {
                break;
            }
            continue;
        }
        if (qi_leftovers_hold(c->fd)) {
            return QI_OK;
        }
        (void)close(c->fd); /* taken for one that was left, before it was held */
        c->fd = -1;
        errno = EEXIST;
    }
    qi_client_set_error("%s: %s", c->path, strerror(errno));
    return QI_E_OS;
}

/* Reserves what is written to without asking: all but most of the slots and texts. */
static int
reserve_fixed_parts(qi_client *c, const struct qi_segment_header *h)
{
    c->slots_area = (struct qi_area){.at = h->slots_at,
                                     .size = (uint64_t)h->slot_count * h->slot_size,
                                     .step = QI_SLOTS_STEP};
    c->arena_area =
        (struct qi_area){.at = h->arena_at, .size = h->arena_size, .step = QI_ARENA_STEP};
    if (ftruncate(c->fd, (off_t)h->total_size) < 0
        || reserve_in_file(c->fd, 0, h->header_size) < 0
        || reserve_in_file(c->fd, h->dirty_at, h->arena_at - h->dirty_at) < 0
        || area_grow(c, &c->slots_area, 1) < 0 || area_grow(c, &c->arena_area, 1) < 0) {
        qi_client_set_error("%s: %s", c->path, strerror(errno));
        return QI_E_OS;
    }
    return QI_OK;
}

static int
map_file(qi_client *c, const struct qi_segment_header *h)
{
    void *base =
        mmap(NULL, (size_t)h->total_size, PROT_READ | PROT_WRITE, MAP_SHARED, c->fd, 0);

    if (base == MAP_FAILED) {
        qi_client_set_error("%s: %s", c->path, strerror(errno));
        return QI_E_OS;
    }
    c->base = base;
    c->size = (size_t)h->total_size;
    c->header = base;
    c->arena = c->base + h->arena_at;
    c->p.slots = (struct qi_slot *)(void *)(c->base + h->slots_at);
    c->p.dirty = c->base + h->dirty_at;
    c->p.ring = (struct qi_record *)(void *)(c->base + h->ring_at);
    c->p.ring_head = &c->header->ring_head;
    c->p.ring_mask = h->ring_count - 1;
    c->p.slot_count = h->slot_count;
    c->p.level = (int32_t)h->level;
    memcpy(c->header, h, sizeof(*h));
    /* Last: whoever sees the magic sees a complete header. */
    qi_fence_release();
    memcpy(c->header->magic, QI_SEGMENT_MAGIC, sizeof(c->header->magic));
    return QI_OK;
}

int
qi_segment_make(qi_client *c, const struct qi_client_options *options)
{
    static const struct qi_leftover_limits limits = QI_LEFTOVER_LIMITS;
    struct qi_segment_header h;
    int r;

    /* A daemon may never come, and a program that dies often would fill the disk. */
    (void)qi_leftovers_remove(c->directory, &limits);
    memset(&h, 0, sizeof(h));
    r = lay_out(&h, options->ring_count);
    if (r < 0) {
        return r;
    }
    describe(&h, options);
    /* Untouched pages of these cost nothing. */
    c->use = calloc(h.slot_count, sizeof(*c->use));
    c->interned = calloc(QI_INTERN_TABLE, sizeof(*c->interned));
    if (c->use == NULL || c->interned == NULL) {
        qi_client_set_error("no memory");
        return QI_E_NOMEM;
    }
    r = create_file(c, &h);
    if (r == QI_OK) {
        r = reserve_fixed_parts(c, &h);
    }
    if (r == QI_OK) {
        r = map_file(c, &h);
    }
    if (r < 0 && c->fd >= 0) {
        (void)unlink(c->path);
    }
    return r;
}

void
qi_segment_unmake(qi_client *c)
{
    if (c->base != NULL) {
        (void)munmap(c->base, c->size);
    }
    if (c->fd >= 0) {
        (void)close(c->fd);
    }
    free(c->use);
    free(c->interned);
}
