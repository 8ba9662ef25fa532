/*
 * segment_read.c - see segment_read.h.
 *
 * A file is copied with pread() and never mapped: whoever may write it could cut it, and
 * the next access to a mapping would be a SIGBUS.  Where the writer may be at work, a
 * part is read twice: a slot with the same even `seq` in both was not written in between.
 */
#include "segment_read.h"

#include "qi_atomic.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define SLOT_ATTEMPTS 64
#define CHUNK_SLOTS 512u
#define CHUNK_RECORDS 2048u
#define MIN_ENTRY ((uint32_t)sizeof(struct qi_arena_entry))

const char *
qi_view_text(int status)
{
    switch (status) {
    case QI_VIEW_OK:
        return "no error";
    case QI_VIEW_TORN:
        return "it was being written";
    case QI_VIEW_E_OS:
        return strerror(errno);
    case QI_VIEW_E_NOT_OURS:
        return "not a qtinter segment";
    case QI_VIEW_E_ABI:
        return "a segment of another version of qtinter";
    case QI_VIEW_E_DAMAGED:
        return "the segment is damaged";
    case QI_VIEW_E_TRUNCATED:
        return "the segment is cut short";
    case QI_VIEW_E_NOMEM:
        return "no memory";
    default:
        return "unknown error";
    }
}

/* --- the header ------------------------------------------------------------------- */

static int
area_is_inside(uint64_t total, uint64_t at, uint64_t count, uint64_t size)
{
    /* count and size are below 2^32, so the product does not overflow. */
    return at % 8 == 0 && at <= total && count * size <= total - at;
}

static int
check_layout(const struct qi_segment_header *h)
{
    uint64_t total = h->total_size;

    if (h->header_size < sizeof(*h) || h->slot_size != sizeof(struct qi_slot)
        || h->record_size != sizeof(struct qi_record) || h->ring_count == 0
        || (h->ring_count & (h->ring_count - 1)) != 0 || h->arena_size > UINT32_MAX
        || total > QI_SEGMENT_MAX_SIZE || total < h->header_size) {
        return QI_VIEW_E_DAMAGED;
    }
    if (!area_is_inside(total, h->slots_at, h->slot_count, h->slot_size)
        || !area_is_inside(total, h->dirty_at, h->slot_count, 1)
        || !area_is_inside(total, h->ring_at, h->ring_count, h->record_size)
        || !area_is_inside(total, h->arena_at, h->arena_size, 1)) {
        return QI_VIEW_E_DAMAGED;
    }
    return QI_VIEW_OK;
}

static int
check_header(const struct qi_segment_header *h)
{
    if (memcmp(h->magic, QI_SEGMENT_MAGIC, sizeof(h->magic)) != 0) {
        return QI_VIEW_E_NOT_OURS;
    }
    return h->abi == QI_SEGMENT_ABI ? check_layout(h) : QI_VIEW_E_ABI;
}

static void
terminate(char *text, size_t size)
{
    text[size - 1] = '\0';
}

/* The part of the header that does not change, and then the part that does. */
static void
copy_header(struct qi_segment_header *to, const struct qi_segment_header *from)
{
    memset(to, 0, sizeof(*to));
    memcpy(to, from, offsetof(struct qi_segment_header, ring_head));
    to->ring_head = QI_LOAD_ACQUIRE(from->ring_head);
    to->arena_used = QI_LOAD_ACQUIRE(from->arena_used);
    to->arena_count = QI_LOAD_ACQUIRE(from->arena_count);
    to->arena_missed = QI_LOAD(from->arena_missed);
    to->slots_used = QI_LOAD_ACQUIRE(from->slots_used);
    to->slots_missed = QI_LOAD(from->slots_missed);
    to->level = QI_LOAD(from->level);
    to->closed = QI_LOAD(from->closed);
    to->heartbeat = QI_LOAD(from->heartbeat);
    memcpy(to->trace_id, from->trace_id, sizeof(to->trace_id));
    terminate(to->trace_id, sizeof(to->trace_id));
    terminate(to->name, sizeof(to->name));
    terminate(to->qtinter, sizeof(to->qtinter));
    terminate(to->python, sizeof(to->python));
    terminate(to->binding, sizeof(to->binding));
    terminate(to->qt, sizeof(to->qt));
}

int
qi_view_init(struct qi_view *view, const void *base, size_t size)
{
    int r;

    memset(view, 0, sizeof(*view));
    if (size < sizeof(view->header)) {
        return QI_VIEW_E_TRUNCATED;
    }
    copy_header(&view->header, base);
    r = check_header(&view->header);
    if (r < 0) {
        return r;
    }
    if (view->header.total_size > size) {
        return QI_VIEW_E_TRUNCATED;
    }
    view->base = base;
    view->live = base;
    view->slots = (const void *)(view->base + view->header.slots_at);
    view->ring = (const void *)(view->base + view->header.ring_at);
    view->arena = view->base + view->header.arena_at;
    return QI_VIEW_OK;
}

/* --- slots ------------------------------------------------------------------------ */

uint32_t
qi_view_slots_used(const struct qi_view *view)
{
    uint64_t used = QI_LOAD_ACQUIRE(view->live->slots_used);

    return used < view->header.slot_count ? (uint32_t)used : view->header.slot_count;
}

static void
copy_slot(const struct qi_slot *from, struct qi_slot *to)
{
    to->kind = QI_LOAD(from->kind);
    to->state = QI_LOAD(from->state);
    to->loop = QI_LOAD(from->loop);
    to->pad = 0;
    to->id = QI_LOAD(from->id);
    for (size_t i = 0; i < sizeof(to->row.words) / sizeof(to->row.words[0]); i++) {
        to->row.words[i] = QI_LOAD(from->row.words[i]);
    }
}

int
qi_view_slot(const struct qi_view *view, uint32_t index, struct qi_slot *ret_slot)
{
    if (index >= view->header.slot_count) {
        memset(ret_slot, 0, sizeof(*ret_slot));
        return QI_VIEW_OK;
    }
    const struct qi_slot *slot = &view->slots[index];
    for (int i = 0; i < SLOT_ATTEMPTS; i++) {
        uint32_t seq = QI_LOAD_ACQUIRE(slot->seq);
        ret_slot->seq = seq;
        copy_slot(slot, ret_slot);
        qi_fence_acquire();
        if ((seq & 1) == 0 && QI_LOAD(slot->seq) == seq) {
            return QI_VIEW_OK;
        }
    }
    return QI_VIEW_TORN;
}

/* --- records ---------------------------------------------------------------------- */

uint64_t
qi_view_head(const struct qi_view *view)
{
    return QI_LOAD_ACQUIRE(view->live->ring_head);
}

/* The record a whole ring before the head may be under the writer's pen. */
static uint64_t
oldest_at(const struct qi_view *view, uint64_t head)
{
    uint64_t count = view->header.ring_count;
    uint64_t oldest = head >= count ? head - count + 1 : 0;

    return oldest > view->ring_floor ? oldest : view->ring_floor;
}

uint64_t
qi_view_oldest(const struct qi_view *view)
{
    return oldest_at(view, qi_view_head(view));
}

static void
copy_record(const struct qi_view *view, uint64_t number, struct qi_record *to)
{
    const struct qi_record *from = &view->ring[number & (view->header.ring_count - 1)];

    to->ts = QI_LOAD(from->ts);
    to->kind = QI_LOAD(from->kind);
    to->aux = QI_LOAD(from->aux);
    to->x = QI_LOAD(from->x);
    to->a = QI_LOAD(from->a);
    to->b = QI_LOAD(from->b);
}

static uint64_t
min_u64(uint64_t a, uint64_t b)
{
    return a < b ? a : b;
}

size_t
qi_view_records(const struct qi_view *view, uint64_t *position,
                struct qi_record *ret_records, size_t n, uint64_t *ret_lost)
{
    uint64_t head = qi_view_head(view);
    uint64_t start = *position;
    uint64_t first = start;
    uint64_t copied;
    uint64_t spoilt;

    *ret_lost = 0;
    if (head <= start) {
        return 0;
    }
    /* A floor above the head is possible only in a copy whose writer overtook us. */
    first = min_u64(first > oldest_at(view, head) ? first : oldest_at(view, head), head);
    copied = min_u64(n, head - first);
    for (uint64_t i = 0; i < copied; i++) {
        copy_record(view, first + i, &ret_records[i]);
    }
    qi_fence_acquire();
    /* What the writer came round to meanwhile is not to be trusted. */
    uint64_t valid_from = oldest_at(view, QI_LOAD(view->live->ring_head));
    spoilt = valid_from > first ? min_u64(valid_from - first, copied) : 0;
    while (spoilt < copied && ret_records[spoilt].kind == QI_EV_NONE) {
        spoilt++;
    }
    uint64_t end = spoilt;
    while (end < copied && ret_records[end].kind != QI_EV_NONE) {
        end++;
    }
    memmove(ret_records, ret_records + spoilt,
            (size_t)(end - spoilt) * sizeof(*ret_records));
    *ret_lost = first + spoilt - start;
    *position = first + end;
    return (size_t)(end - spoilt);
}

/* --- texts, locations, stacks ----------------------------------------------------- */

int
qi_view_next_entry(const struct qi_view *view, struct qi_arena_place *place,
                   struct qi_entry *ret_entry)
{
    uint64_t used =
        min_u64(QI_LOAD_ACQUIRE(view->live->arena_used), view->header.arena_size);
    struct qi_arena_entry entry;

    if (place->offset > used || used - place->offset < sizeof(entry)) {
        return 0;
    }
    memcpy(&entry, view->arena + place->offset, sizeof(entry));
    uint64_t left = used - place->offset - sizeof(entry);
    uint64_t padded = ((uint64_t)entry.size + 7) & ~UINT64_C(7);
    if (padded > left) {
        return 0; /* damaged: nothing after it can be found */
    }
    ret_entry->id = ++place->id;
    ret_entry->size = entry.size;
    ret_entry->type = entry.type;
    ret_entry->bytes = view->arena + place->offset + sizeof(entry);
    place->offset += sizeof(entry) + padded;
    return 1;
}

int
qi_entry_code(const struct qi_entry *entry, uint32_t *ret_file, uint32_t *ret_name,
              uint32_t *ret_line)
{
    uint32_t parts[3];

    if (entry->type != 'c' || entry->size != sizeof(parts)) {
        return -1;
    }
    memcpy(parts, entry->bytes, sizeof(parts));
    *ret_line = parts[0];
    *ret_file = parts[1];
    *ret_name = parts[2];
    return 0;
}

size_t
qi_entry_stack(const struct qi_entry *entry, uint32_t *ret_codes, size_t n)
{
    size_t count = entry->type == 'k' ? entry->size / sizeof(*ret_codes) : 0;

    if (count > n) {
        count = n;
    }
    memcpy(ret_codes, entry->bytes, count * sizeof(*ret_codes));
    return count;
}

/* Entries take at least 8 bytes, so the arena's size bounds the index. */
static int
index_has_room(struct qi_arena_index *index)
{
    if (index->count < index->capacity) {
        return 1;
    }
    size_t capacity = index->capacity == 0 ? 1024 : index->capacity * 2;
    uint32_t *offsets = realloc(index->offsets, capacity * sizeof(*offsets));
    if (offsets == NULL) {
        return 0;
    }
    index->offsets = offsets;
    index->capacity = capacity;
    return 1;
}

int
qi_arena_index_update(struct qi_arena_index *index, const struct qi_view *view)
{
    struct qi_entry entry;

    for (;;) {
        uint64_t offset = index->place.offset;
        if (!index_has_room(index)) {
            return QI_VIEW_E_NOMEM;
        }
        if (!qi_view_next_entry(view, &index->place, &entry)) {
            return QI_VIEW_OK;
        }
        index->offsets[index->count++] = (uint32_t)(offset / 8);
    }
}

int
qi_arena_index_find(const struct qi_arena_index *index, const struct qi_view *view,
                    uint32_t id, struct qi_entry *ret_entry)
{
    if (id == 0 || id > index->count) {
        return 0;
    }
    struct qi_arena_place place = {.offset = (uint64_t)index->offsets[id - 1] * 8,
                                   .id = id - 1};
    return qi_view_next_entry(view, &place, ret_entry);
}

void
qi_arena_index_fini(struct qi_arena_index *index)
{
    free(index->offsets);
    memset(index, 0, sizeof(*index));
}

/* --- reading a file --------------------------------------------------------------- */

/* All of it: QI_VIEW_OK, or why not. */
static int
read_at(int fd, void *to, uint64_t size, uint64_t at)
{
    uint8_t *bytes = to;

    while (size > 0) {
        ssize_t n = pread(fd, bytes, (size_t)size, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return QI_VIEW_E_OS;
        }
        if (n == 0) {
            return QI_VIEW_E_TRUNCATED;
        }
        bytes += n;
        at += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return QI_VIEW_OK;
}

/* What stays odd or changes all the time is left as it came: the view says "torn". */
static int
read_slot_again(int fd, uint64_t at, struct qi_slot *slot, uint32_t *torn)
{
    uint32_t seq = 0;

    for (int i = 0; i < SLOT_ATTEMPTS; i++) {
        int r = read_at(fd, slot, sizeof(*slot), at);
        if (r == QI_VIEW_OK) {
            r = read_at(fd, &seq, sizeof(seq), at + offsetof(struct qi_slot, seq));
        }
        if (r < 0) {
            return r;
        }
        if (slot->seq == seq && (seq & 1) == 0) {
            return QI_VIEW_OK;
        }
    }
    slot->seq |= 1;
    (*torn)++;
    return QI_VIEW_OK;
}

static int
read_slots(int fd, const struct qi_view *view, uint8_t *memory, uint32_t used,
           uint32_t *torn)
{
    struct qi_slot again[CHUNK_SLOTS];

    for (uint32_t i = 0; i < used; i += CHUNK_SLOTS) {
        uint32_t n = used - i < CHUNK_SLOTS ? used - i : CHUNK_SLOTS;
        uint64_t at = view->header.slots_at + (uint64_t)i * sizeof(struct qi_slot);
        struct qi_slot *slots = (void *)(memory + at);
        int r = read_at(fd, slots, n * sizeof(*slots), at);
        if (r == QI_VIEW_OK) {
            r = read_at(fd, again, n * sizeof(*slots), at);
        }
        for (uint32_t k = 0; r == QI_VIEW_OK && k < n; k++) {
            if ((slots[k].seq & 1) != 0 || slots[k].seq != again[k].seq) {
                r = read_slot_again(fd, at + k * sizeof(*slots), &slots[k], torn);
            }
        }
        if (r < 0) {
            return r;
        }
    }
    return QI_VIEW_OK;
}

/* The changing part of the header, which was checked before. */
static int
read_counters(int fd, struct qi_segment_header *ret_header)
{
    const size_t from = offsetof(struct qi_segment_header, ring_head);

    return read_at(fd, (uint8_t *)ret_header + from, sizeof(*ret_header) - from, from);
}

/* In the order in which one thing may refer to another: slots and records, then texts. */
static int
read_parts(int fd, struct qi_segment *s, struct qi_view *view)
{
    struct qi_segment_header *h = &view->header;
    uint8_t *memory = s->memory;
    int r = read_slots(fd, view, memory, qi_view_slots_used(view), &s->torn);
    uint64_t head = h->ring_head;

    if (r == QI_VIEW_OK) {
        r = read_at(fd, memory + h->ring_at, (uint64_t)h->ring_count * h->record_size,
                    h->ring_at);
    }
    if (r == QI_VIEW_OK) {
        r = read_counters(fd, h);
    }
    if (r == QI_VIEW_OK) {
        r = read_at(fd, memory + h->arena_at, min_u64(h->arena_used, h->arena_size),
                    h->arena_at);
    }
    if (r == QI_VIEW_OK) {
        view->ring_floor = oldest_at(view, h->ring_head);
        h->ring_head = head;
    }
    return r;
}

int
qi_segment_peek(int fd, struct qi_segment_header *ret_header)
{
    struct qi_segment_header on_disk;
    struct stat st;

    if (fstat(fd, &st) < 0) {
        return QI_VIEW_E_OS;
    }
    if (!S_ISREG(st.st_mode)) {
        return QI_VIEW_E_NOT_OURS;
    }
    int r = read_at(fd, &on_disk, sizeof(on_disk), 0);
    if (r < 0) {
        return r;
    }
    copy_header(ret_header, &on_disk);
    r = check_header(ret_header);
    if (r == QI_VIEW_OK && (uint64_t)st.st_size < ret_header->total_size) {
        r = QI_VIEW_E_TRUNCATED;
    }
    return r;
}

static int
load(int fd, struct qi_segment *s)
{
    struct qi_view view;
    int r;

    memset(&view, 0, sizeof(view));
    r = qi_segment_peek(fd, &view.header);
    if (r < 0) {
        return r;
    }
    view.live = &view.header;
    /* Untouched pages cost nothing. */
    s->size = (size_t)view.header.total_size;
    s->memory =
        mmap(NULL, s->size, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (s->memory == MAP_FAILED) {
        s->memory = NULL;
        return QI_VIEW_E_NOMEM;
    }
    r = read_parts(fd, s, &view);
    if (r < 0) {
        return r;
    }
    memcpy(s->memory, &view.header, sizeof(view.header));
    r = qi_view_init(&s->view, s->memory, s->size);
    s->view.ring_floor = view.ring_floor;
    return r;
}

int
qi_segment_load(const char *path, struct qi_segment *ret_segment)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int r;

    memset(ret_segment, 0, sizeof(*ret_segment));
    if (fd < 0) {
        return QI_VIEW_E_OS;
    }
    r = load(fd, ret_segment);
    int saved = errno;
    (void)close(fd);
    if (r < 0) {
        qi_segment_unload(ret_segment);
    }
    errno = saved;
    return r;
}

void
qi_segment_unload(struct qi_segment *segment)
{
    if (segment->memory != NULL) {
        (void)munmap(segment->memory, segment->size);
    }
    memset(segment, 0, sizeof(*segment));
}

/* --- writing a copy --------------------------------------------------------------- */

static int
write_at(int fd, const void *from, uint64_t size, uint64_t at)
{
    const uint8_t *bytes = from;

    while (size > 0) {
        ssize_t n = pwrite(fd, bytes, (size_t)size, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            return QI_VIEW_E_OS;
        }
        bytes += n;
        at += (uint64_t)n;
        size -= (uint64_t)n;
    }
    return QI_VIEW_OK;
}

static int
dump_slots(int fd, const struct qi_view *view, uint32_t used)
{
    struct qi_slot slots[CHUNK_SLOTS];

    for (uint32_t i = 0; i < used; i += CHUNK_SLOTS) {
        uint32_t n = used - i < CHUNK_SLOTS ? used - i : CHUNK_SLOTS;
        for (uint32_t k = 0; k < n; k++) {
            if (qi_view_slot(view, i + k, &slots[k]) == QI_VIEW_TORN) {
                memset(&slots[k], 0, sizeof(slots[k]));
            }
        }
        if (write_at(fd, slots, n * sizeof(slots[0]),
                     view->header.slots_at + (uint64_t)i * sizeof(slots[0]))
            < 0) {
            return QI_VIEW_E_OS;
        }
    }
    return QI_VIEW_OK;
}

/* At their places in the ring, which may go round within a run. */
static int
write_run(int fd, const struct qi_view *view, uint64_t first,
          const struct qi_record *records, uint64_t n)
{
    uint64_t place = first & (view->header.ring_count - 1);
    uint64_t before_end = min_u64(n, view->header.ring_count - place);
    int r = write_at(fd, records, before_end * sizeof(*records),
                     view->header.ring_at + place * sizeof(*records));

    if (r == QI_VIEW_OK) {
        r = write_at(fd, records + before_end, (n - before_end) * sizeof(*records),
                     view->header.ring_at);
    }
    return r;
}

/* Up to the head as it was: the writer may go on faster than a disk.  What it spoils
   meanwhile stays zero in the file: kind QI_EV_NONE. */
static int
dump_ring(int fd, const struct qi_view *view, uint64_t head)
{
    struct qi_record records[CHUNK_RECORDS];
    uint64_t position = qi_view_oldest(view);
    uint64_t lost;

    while (position < head) {
        uint64_t n = min_u64(CHUNK_RECORDS, head - position);
        n = qi_view_records(view, &position, records, (size_t)n, &lost);
        if (position > head) {
            break; /* the writer overtook us by a whole ring */
        }
        if (write_run(fd, view, position - n, records, n) < 0) {
            return QI_VIEW_E_OS;
        }
    }
    return QI_VIEW_OK;
}

static int
dump(int fd, const struct qi_view *view)
{
    struct qi_segment_header h = view->header;
    int r = ftruncate(fd, (off_t)h.total_size) < 0 ? QI_VIEW_E_OS : QI_VIEW_OK;

    h.slots_used = qi_view_slots_used(view);
    h.ring_head = qi_view_head(view);
    if (r == QI_VIEW_OK) {
        r = dump_slots(fd, view, (uint32_t)h.slots_used);
    }
    if (r == QI_VIEW_OK) {
        r = dump_ring(fd, view, h.ring_head);
    }
    if (r == QI_VIEW_OK) {
        h.arena_count = QI_LOAD_ACQUIRE(view->live->arena_count);
        h.arena_used = min_u64(QI_LOAD_ACQUIRE(view->live->arena_used), h.arena_size);
        r = write_at(fd, view->arena, h.arena_used, h.arena_at);
    }
    return r == QI_VIEW_OK ? write_at(fd, &h, sizeof(h), 0) : r;
}

int
qi_segment_dump(const void *base, size_t size, const char *path)
{
    struct qi_view view;
    int r = qi_view_init(&view, base, size);

    if (r < 0) {
        return r;
    }
    int fd = open(path, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return QI_VIEW_E_OS;
    }
    r = dump(fd, &view);
    int saved = errno;
    if (close(fd) < 0 && r == QI_VIEW_OK) {
        saved = errno;
        r = QI_VIEW_E_OS;
    }
    errno = saved;
    return r;
}
