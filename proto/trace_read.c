/* trace_read.c - see trace_read.h. */
#include "trace_read.h"

#include "crc32c.h"
#include "rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef QI_WITH_ZSTD
#  include <zstd.h>
#endif

#define BUFFER_SIZE 262144u
#define MIN_FRAME 4u
#define FOOTER_MAX (QI_TRACE_CHUNKS_MAX * 80u) /* a writer needs 72 for a chunk */
#define LOOKED_MIN (64u << 20)
#define FIRST_LOOK 4096u

const char *
qi_trace_read_text(int status)
{
    switch (status) {
    case QI_TRACE_READ_OK:
        return "no error";
    case QI_TRACE_READ_E_OS:
        return strerror(errno);
    case QI_TRACE_READ_E_NOMEM:
        return "no memory";
    case QI_TRACE_READ_E_NOT_OURS:
        return "not a qtinter recording";
    case QI_TRACE_READ_E_MAJOR:
        return "a recording of another major version of qtinter";
    case QI_TRACE_READ_E_HEAD:
        return "the recording's head is damaged or cut short";
    case QI_TRACE_READ_E_CHECKSUM:
        return "bad checksum";
    case QI_TRACE_READ_E_CODEC:
        return "compressed in a way that this version of qtinter does not know";
    case QI_TRACE_READ_E_NO_ZSTD:
        return "compressed with zstd, and this build of qtinter is without it";
    case QI_TRACE_READ_E_DAMAGED:
        return "its contents are damaged";
    default:
        return "unknown error";
    }
}

/* --- bytes ------------------------------------------------------------------------ */

static uint64_t
get_le(const uint8_t *at, size_t size)
{
    uint64_t x = 0;

    for (size_t i = size; i-- > 0;) {
        x = x << 8 | at[i];
    }
    return x;
}

/* All of it, or an error; nothing is read beyond the size at the start. */
static int
read_bytes(const struct qi_trace *t, void *to, size_t size, uint64_t at)
{
    uint8_t *bytes = to;

    if (at > t->size || size > t->size - at) {
        return QI_TRACE_READ_E_DAMAGED;
    }
    if (t->fd < 0) {
        memcpy(to, t->bytes + at, size);
        return QI_TRACE_READ_OK;
    }
    while (size > 0) {
        ssize_t n = pread(t->fd, bytes, size, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n < 0) {
            return QI_TRACE_READ_E_OS;
        }
        if (n == 0) {
            return QI_TRACE_READ_E_DAMAGED; /* it was cut meanwhile */
        }
        bytes += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return QI_TRACE_READ_OK;
}

#if defined(__GNUC__)
__attribute__((format(printf, 2, 3)))
#endif
static void
add_problem(struct qi_trace *t, const char *format, ...)
{
    va_list args;

    if (t->problem_count < QI_TRACE_PROBLEMS_MAX) {
        va_start(args, format);
        (void)vsnprintf(t->problems[t->problem_count], QI_TRACE_PROBLEM_SIZE, format,
                        args);
        va_end(args);
    }
    t->problem_count++;
}

/* --- the head --------------------------------------------------------------------- */

static int
read_fields(struct qi_trace *t)
{
    struct qi_value whole;
    struct qi_value key;
    struct qi_value value;
    size_t used = 0;

    if (qi_value_decode(t->map, t->map_size, &whole, &used) < 0 || used != t->map_size
        || whole.type != QI_VALUE_MAP) {
        return QI_TRACE_READ_E_HEAD;
    }
    struct qi_cursor cursor = qi_cursor_in(&whole);
    while (qi_cursor_next(&cursor, &key) && qi_cursor_next(&cursor, &value)) {
        if (key.type == QI_VALUE_UINT && key.u < QI_TRACE_KEYS) {
            t->fields[key.u] = value;
        }
    }
    uint64_t major = 0;
    if (!qi_value_uint(&t->fields[QI_TRACE_KEY_major], &major)) {
        return QI_TRACE_READ_E_HEAD;
    }
    return major == QI_TRACE_MAJOR ? QI_TRACE_READ_OK : QI_TRACE_READ_E_MAJOR;
}

static int
read_head(struct qi_trace *t, uint64_t *ret_end)
{
    uint8_t head[QI_TRACE_HEAD_SIZE];

    if (t->size < QI_TRACE_MAGIC_SIZE || read_bytes(t, head, QI_TRACE_MAGIC_SIZE, 0) < 0
        || memcmp(head, QI_TRACE_MAGIC, QI_TRACE_MAGIC_SIZE) != 0) {
        return QI_TRACE_READ_E_NOT_OURS;
    }
    if (read_bytes(t, head, sizeof(head), 0) < 0) {
        return QI_TRACE_READ_E_HEAD;
    }
    uint64_t size = get_le(head + 8, 4);
    if (size == 0 || size > QI_TRACE_MAP_MAX || size > t->size - sizeof(head)) {
        return QI_TRACE_READ_E_HEAD;
    }
    t->map = malloc((size_t)size);
    if (t->map == NULL) {
        return QI_TRACE_READ_E_NOMEM;
    }
    t->map_size = (size_t)size;
    if (read_bytes(t, t->map, t->map_size, sizeof(head)) < 0
        || qi_crc32c(0, t->map, t->map_size) != get_le(head + 12, 4)) {
        return QI_TRACE_READ_E_HEAD;
    }
    *ret_end = sizeof(head) + size;
    return read_fields(t);
}

/* --- blocks ----------------------------------------------------------------------- */

struct block {
    struct qi_trace_place place;
    unsigned kind;
};

/* 1 and the block whose head is at this offset; 0: there is none. */
static int
read_block_head(const struct qi_trace *t, uint64_t at, struct block *ret_block)
{
    uint8_t head[QI_TRACE_BLOCK_SIZE_MAX];
    struct qi_trace_place *p = &ret_block->place;

    memset(ret_block, 0, sizeof(*ret_block));
    if (read_bytes(t, head, QI_TRACE_BLOCK_SIZE, at) < 0
        || memcmp(head, QI_TRACE_BLOCK_MARK, 4) != 0) {
        return 0;
    }
    size_t size = (size_t)get_le(head + 8, 2);
    if (size < QI_TRACE_BLOCK_SIZE || size > QI_TRACE_BLOCK_SIZE_MAX
        || read_bytes(t, head, size, at) < 0
        || qi_crc32c(0, head + 8, size - 8) != get_le(head + 4, 4)) {
        return 0;
    }
    ret_block->kind = head[10];
    p->offset = at;
    p->head = (uint16_t)size;
    p->codec = head[11];
    p->stored = (uint32_t)get_le(head + 12, 4);
    p->raw = (uint32_t)get_le(head + 16, 4);
    p->crc = (uint32_t)get_le(head + 20, 4);
    p->seq = get_le(head + 24, 8);
    p->t0 = (int64_t)get_le(head + 32, 8);
    p->t1 = (int64_t)get_le(head + 40, 8);
    p->first = get_le(head + 48, 8);
    p->n = (uint32_t)get_le(head + 56, 4);
    p->flags = (uint32_t)get_le(head + 60, 4);
    p->size = size + (uint64_t)p->stored;
    return 1;
}

static int
check_stored(const struct qi_trace *t, const struct qi_trace_place *p, uint8_t *buffer)
{
    uint64_t at = p->offset + p->head;
    uint64_t left = p->stored;
    uint32_t crc = 0;

    while (left > 0) {
        size_t some = left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE;
        int r = read_bytes(t, buffer, some, at);
        if (r < 0) {
            return r;
        }
        crc = qi_crc32c(crc, buffer, some);
        at += some;
        left -= some;
    }
    return crc == p->crc ? QI_TRACE_READ_OK : QI_TRACE_READ_E_CHECKSUM;
}

static int
check_codec(unsigned codec)
{
    if (codec == QI_TRACE_ZSTD) {
#ifdef QI_WITH_ZSTD
        return QI_TRACE_READ_OK;
#else
        return QI_TRACE_READ_E_NO_ZSTD;
#endif
    }
    return codec == QI_TRACE_RAW ? QI_TRACE_READ_OK : QI_TRACE_READ_E_CODEC;
}

/* Where there is something else than a hole, from `at` on. */
static uint64_t
pass_hole(const struct qi_trace *t, uint64_t at)
{
#ifdef SEEK_DATA
    if (t->fd >= 0) {
        off_t data = lseek(t->fd, (off_t)at, SEEK_DATA);
        if (data < 0) {
            return errno == ENXIO ? t->size : at;
        }
        return (uint64_t)data > at ? (uint64_t)data : at;
    }
#endif
    return at;
}

/* Where the next block's head is, from `at` on; the size of the file: there is none. */
static uint64_t
find_block(const struct qi_trace *t, uint64_t at, uint8_t *buffer)
{
    const size_t mark = 4;
    struct block block;
    size_t want = FIRST_LOOK; /* it may be near */

    for (;;) {
        at = pass_hole(t, at);
        if (at >= t->size || t->size - at < QI_TRACE_BLOCK_SIZE) {
            break;
        }
        size_t some = t->size - at < want ? (size_t)(t->size - at) : want;
        want = BUFFER_SIZE;
        if (read_bytes(t, buffer, some, at) < 0) {
            break;
        }
        for (size_t i = 0; i + mark <= some; i++) {
            const uint8_t *found = memchr(buffer + i, QI_TRACE_BLOCK_MARK[0], some - i);
            if (found == NULL) {
                break;
            }
            i = (size_t)(found - buffer);
            if (i + mark <= some && memcmp(found, QI_TRACE_BLOCK_MARK, mark) == 0
                && read_block_head(t, at + i, &block)) {
                return at + i;
            }
        }
        at += some - (mark - 1);
    }
    return t->size;
}

static int
keep_chunk(struct qi_trace *t, const struct qi_trace_place *place)
{
    if (t->count == QI_TRACE_CHUNKS_MAX) {
        return QI_TRACE_READ_E_NOMEM;
    }
    if (t->count == t->capacity) {
        size_t capacity = t->capacity == 0 ? 64 : t->capacity * 2;
        struct qi_trace_place *chunks = realloc(t->chunks, capacity * sizeof(*chunks));
        if (chunks == NULL) {
            return QI_TRACE_READ_E_NOMEM;
        }
        t->chunks = chunks;
        t->capacity = capacity;
    }
    t->chunks[t->count++] = *place;
    return QI_TRACE_READ_OK;
}

static int
sizes_can_be(const struct qi_trace_place *p)
{
    return p->raw <= QI_TRACE_BODY_MAX && p->stored <= QI_TRACE_STORED_MAX
           && p->n <= QI_TRACE_RECORDS_MAX
           && (p->codec != QI_TRACE_RAW || p->raw == p->stored);
}

/* Is it one of those that are small until they are unpacked? */
static int
unpacks_to_too_much(const struct qi_trace *t)
{
    return t->unpacked > QI_TRACE_UNPACKED_MAX
           && t->unpacked / QI_TRACE_RATIO_MAX > t->size;
}

/* A chunk with a good head: is the rest as it was written, and can it be read? */
static int
take_chunk(struct qi_trace *t, struct qi_trace_place *p, uint8_t *buffer)
{
    int r = sizes_can_be(p) ? check_stored(t, p, buffer) : QI_TRACE_READ_E_DAMAGED;

    if (r == QI_TRACE_READ_E_OS || r == QI_TRACE_READ_E_NOMEM) {
        return r;
    }
    t->unpacked += r == QI_TRACE_READ_OK ? p->raw : 0;
    if (r == QI_TRACE_READ_E_CHECKSUM) {
        add_problem(t, "bad checksum in chunk %llu", (unsigned long long)p->seq);
    }
    else if (r < 0) {
        add_problem(t, "chunk %llu has sizes that cannot be", (unsigned long long)p->seq);
    }
    else if (unpacks_to_too_much(t)) {
        r = QI_TRACE_READ_E_DAMAGED;
        t->unpacked -= p->raw;
        add_problem(t,
                    "chunk %llu is left out: a file of this size cannot unpack to so "
                    "much",
                    (unsigned long long)p->seq);
    }
    else if ((r = check_codec(p->codec)) < 0) {
        add_problem(t, "chunk %llu: %s", (unsigned long long)p->seq,
                    qi_trace_read_text(r));
    }
    p->status = (int8_t)r;
    return keep_chunk(t, p);
}

static void
check_sequence(struct qi_trace *t)
{
    for (size_t i = 1; i < t->count; i++) {
        uint64_t before = t->chunks[i - 1].seq;
        uint64_t seq = t->chunks[i].seq;
        if (seq == before + 2) {
            add_problem(t, "chunk %llu is missing", (unsigned long long)(before + 1));
        }
        else if (seq > before + 1) {
            add_problem(t, "chunks %llu to %llu are missing",
                        (unsigned long long)(before + 1), (unsigned long long)(seq - 1));
        }
        else if (seq <= before) {
            add_problem(t, "chunk %llu comes after chunk %llu", (unsigned long long)seq,
                        (unsigned long long)before);
        }
    }
}

/* One more chunk that only the footer tells of. */
static void
extend_edge(struct qi_trace_edge *edge, uint64_t first, uint64_t n, int64_t t0,
            int64_t t1)
{
    if (edge->count == 0) {
        edge->first = first;
        edge->t0 = t0;
    }
    if (n > 0 && first >= edge->first) {
        edge->count = first - edge->first + n;
        edge->t1 = t1;
    }
}

/* [offset, size, seq, t0, t1, first, n, flags, ...] of the footer. */
static void
look_for_edges(struct qi_trace *t, const struct qi_value *list)
{
    struct qi_cursor cursor = qi_cursor_in(list);
    struct qi_value v[8];
    uint64_t lowest = UINT64_MAX;
    uint64_t highest = 0;

    for (size_t i = 0; i < t->count; i++) {
        lowest = t->chunks[i].seq < lowest ? t->chunks[i].seq : lowest;
        highest = t->chunks[i].seq > highest ? t->chunks[i].seq : highest;
    }
    for (;;) {
        uint64_t seq = 0;
        uint64_t first = 0;
        uint64_t n = 0;
        int64_t t0 = 0;
        int64_t t1 = 0;
        for (size_t i = 0; i < 8; i++) {
            if (!qi_cursor_next(&cursor, &v[i])) {
                return;
            }
        }
        if (!qi_value_uint(&v[2], &seq) || !qi_value_int(&v[3], &t0)
            || !qi_value_int(&v[4], &t1) || !qi_value_uint(&v[5], &first)
            || !qi_value_uint(&v[6], &n) || n > QI_TRACE_RECORDS_MAX) {
            return;
        }
        if (seq < lowest) {
            extend_edge(&t->before, first, n, t0, t1);
        }
        else if (seq > highest) {
            extend_edge(&t->after, first, n, t0, t1);
        }
    }
}

/* The footer's place says how many chunks there were: seq of the one to come. */
static void
check_footer(struct qi_trace *t, const struct block *footer)
{
    uint8_t *bytes = malloc(footer->place.stored > 0 ? footer->place.stored : 1);
    struct qi_value whole;
    struct qi_value key;
    struct qi_value value;
    size_t used = 0;

    if (bytes == NULL
        || read_bytes(t, bytes, footer->place.stored,
                      footer->place.offset + footer->place.head)
               < 0
        || qi_value_decode(bytes, footer->place.stored, &whole, &used) < 0
        || whole.type != QI_VALUE_MAP) {
        add_problem(t, "the footer is damaged");
        free(bytes);
        return;
    }
    struct qi_cursor cursor = qi_cursor_in(&whole);
    while (qi_cursor_next(&cursor, &key) && qi_cursor_next(&cursor, &value)) {
        if (key.type == QI_VALUE_UINT && key.u == 0 && value.type == QI_VALUE_LIST) {
            if (value.size / 8 != t->count) {
                add_problem(t, "%zu chunks were found, and the footer has %u", t->count,
                            value.size / 8);
            }
            look_for_edges(t, &value);
        }
        else if (key.type == QI_VALUE_UINT && key.u == 1) {
            (void)qi_value_uint(&value, &t->dropped);
        }
    }
    uint64_t end = footer->place.seq;
    uint64_t next = t->count > 0 ? t->chunks[t->count - 1].seq + 1 : t->dropped;
    uint64_t begin = t->count > 0 ? t->chunks[0].seq : next;
    if (begin > t->dropped) {
        add_problem(t, "chunks %llu to %llu are missing", (unsigned long long)t->dropped,
                    (unsigned long long)(begin - 1));
    }
    if (end > next) {
        add_problem(t, "chunks %llu to %llu are missing", (unsigned long long)next,
                    (unsigned long long)(end - 1));
    }
    free(bytes);
    t->has_footer = 1;
}

static int
check_tail(const struct qi_trace *t, uint64_t at, uint64_t footer)
{
    uint8_t tail[QI_TRACE_END_SIZE];

    return t->size - at == sizeof(tail) && read_bytes(t, tail, sizeof(tail), at) == 0
           && get_le(tail, 8) == footer && memcmp(tail + 8, QI_TRACE_END_MARK, 8) == 0;
}

/* A footer with a good head ends the file. */
static void
take_footer(struct qi_trace *t, const struct block *footer, uint8_t *buffer)
{
    if (footer->place.stored > FOOTER_MAX
        || check_stored(t, &footer->place, buffer) < 0) {
        add_problem(t, "bad checksum in the footer");
        return;
    }
    check_footer(t, footer);
    if (!check_tail(t, footer->place.offset + footer->place.size, footer->place.offset)) {
        add_problem(t, "the end of the file is damaged");
    }
}

/* Where the next block is behind the head of one that is not as it was written.  There
   may be bytes missing in it: then that is before the end that its head tells. */
static uint64_t
find_behind_bad(struct qi_trace *t, const struct qi_trace_place *p, uint8_t *buffer)
{
    int is_there = p->size <= t->size - p->offset; /* and was read, for its checksum */
    uint64_t end = is_there ? p->offset + p->size : t->size;

    t->looked += FIRST_LOOK + (is_there ? p->stored : 0);
    if (t->looked / 4 > t->size + LOOKED_MIN) {
        return end; /* a file made of heads: enough was read for them */
    }
    uint64_t next = find_block(t, p->offset + p->head, buffer);
    return next < end ? next : end;
}

/* No block is at `at`; where the next one is, or the size of the file. */
static uint64_t
pass_damage(struct qi_trace *t, uint64_t at, uint8_t *buffer)
{
    uint64_t next = find_block(t, at, buffer);

    if (next == t->size) {
        add_problem(t, "the end is torn: %llu bytes behind the last whole chunk",
                    (unsigned long long)(t->size - at));
    }
    else {
        add_problem(t, "%llu damaged bytes at %llu", (unsigned long long)(next - at),
                    (unsigned long long)at);
    }
    return next;
}

/* A block that says that it is longer than what is left; where the next one is. */
static uint64_t
pass_cut_block(struct qi_trace *t, const struct block *block, uint8_t *buffer)
{
    uint64_t next = find_behind_bad(t, &block->place, buffer);

    add_problem(t, "%schunk %llu is cut short",
                next == t->size ? "the end is torn: " : "",
                (unsigned long long)block->place.seq);
    return next;
}

static int
scan(struct qi_trace *t, uint64_t at, uint8_t *buffer)
{
    struct block block;

    while (at < t->size) {
        if (!read_block_head(t, at, &block)) {
            at = pass_damage(t, at, buffer);
        }
        else if (block.kind == QI_TRACE_CHUNK && !sizes_can_be(&block.place)) {
            int r = take_chunk(t, &block.place, buffer);
            if (r < 0) {
                return r;
            }
            at = find_behind_bad(t, &block.place, buffer);
        }
        else if (block.place.size > t->size - at) {
            at = pass_cut_block(t, &block, buffer);
        }
        else if (block.kind == QI_TRACE_CHUNK) {
            int r = take_chunk(t, &block.place, buffer);
            if (r < 0) {
                return r;
            }
            at = block.place.status == QI_TRACE_READ_E_CHECKSUM
                     ? find_behind_bad(t, &block.place, buffer)
                     : at + block.place.size;
        }
        else if (block.kind == QI_TRACE_FOOTER) {
            check_sequence(t);
            take_footer(t, &block, buffer);
            return QI_TRACE_READ_OK;
        }
        else {
            at += block.place.size; /* other kinds are of later versions */
        }
    }
    return QI_TRACE_READ_OK;
}

static int
open_trace(struct qi_trace *t)
{
    uint8_t *buffer = malloc(BUFFER_SIZE);
    uint64_t at = 0;
    int r = QI_TRACE_READ_E_NOMEM;

    t->problems = calloc(QI_TRACE_PROBLEMS_MAX, sizeof(*t->problems));
    if (buffer != NULL && t->problems != NULL) {
        r = read_head(t, &at);
    }
    if (r == QI_TRACE_READ_OK) {
        r = scan(t, at, buffer);
    }
    free(buffer);
    if (r == QI_TRACE_READ_OK && !t->has_footer) {
        check_sequence(t);
        add_problem(t, "there is no footer: the recording did not end in good order");
    }
    return r;
}

int
qi_trace_open_memory(const void *bytes, size_t size, struct qi_trace *ret_trace)
{
    memset(ret_trace, 0, sizeof(*ret_trace));
    ret_trace->fd = -1;
    ret_trace->bytes = bytes;
    ret_trace->size = size;
    return open_trace(ret_trace);
}

int
qi_trace_open(const char *path, struct qi_trace *ret_trace)
{
    struct stat st;

    memset(ret_trace, 0, sizeof(*ret_trace));
    /* A FIFO does not make us wait; a link is fine: who names a file to read may. */
    ret_trace->fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (ret_trace->fd < 0) {
        return QI_TRACE_READ_E_OS;
    }
    if (fstat(ret_trace->fd, &st) < 0) {
        return QI_TRACE_READ_E_OS;
    }
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return QI_TRACE_READ_E_OS;
    }
    if (!S_ISREG(st.st_mode)) {
        return QI_TRACE_READ_E_NOT_OURS;
    }
    ret_trace->size = (uint64_t)st.st_size;
    return open_trace(ret_trace);
}

void
qi_trace_close(struct qi_trace *t)
{
    int saved = errno;

    if (t->fd >= 0) {
        (void)close(t->fd);
    }
    free(t->map);
    free(t->chunks);
    free(t->problems);
    memset(t, 0, sizeof(*t));
    t->fd = -1;
    errno = saved;
}

int
qi_trace_is_complete(const struct qi_trace *t)
{
    return t->has_footer && t->problem_count == 0;
}

/* --- a chunk's contents ----------------------------------------------------------- */

#ifdef QI_WITH_ZSTD
static int
unpack(const struct qi_trace_place *p, const uint8_t *stored, struct qi_trace_body *body)
{
    body->bytes = malloc(p->raw > 0 ? p->raw : 1);
    if (body->bytes == NULL) {
        return QI_TRACE_READ_E_NOMEM;
    }
    size_t n = ZSTD_decompress(body->bytes, p->raw, stored, p->stored);
    if (ZSTD_isError(n) || n != p->raw) {
        return QI_TRACE_READ_E_DAMAGED;
    }
    body->size = n;
    return QI_TRACE_READ_OK;
}
#endif

int
qi_trace_read(const struct qi_trace *t, size_t index, struct qi_trace_body *ret_body)
{
    const struct qi_trace_place *p = &t->chunks[index];
    int r;

    memset(ret_body, 0, sizeof(*ret_body));
    if (p->status < 0) {
        return p->status;
    }
    uint8_t *stored = malloc(p->stored > 0 ? p->stored : 1); /* it is in the file */
    if (stored == NULL) {
        return QI_TRACE_READ_E_NOMEM;
    }
    r = read_bytes(t, stored, p->stored, p->offset + p->head);
    if (r == QI_TRACE_READ_OK && qi_crc32c(0, stored, p->stored) != p->crc) {
        r = QI_TRACE_READ_E_CHECKSUM; /* it changed since it was opened */
    }
    if (r == QI_TRACE_READ_OK && p->codec == QI_TRACE_RAW) {
        ret_body->bytes = stored;
        ret_body->size = p->stored;
        return r;
    }
#ifdef QI_WITH_ZSTD
    if (r == QI_TRACE_READ_OK) {
        r = unpack(p, stored, ret_body);
    }
#endif
    free(stored);
    if (r < 0) {
        qi_trace_body_free(ret_body);
    }
    return r;
}

void
qi_trace_body_free(struct qi_trace_body *body)
{
    free(body->bytes);
    memset(body, 0, sizeof(*body));
}

struct qi_trace_cursor
qi_trace_frames(const struct qi_trace_body *body)
{
    struct qi_trace_cursor cursor = {body->bytes, body->size};

    return cursor;
}

int
qi_trace_next_frame(struct qi_trace_cursor *cursor, struct qi_frame *ret_frame)
{
    if (cursor->left == 0) {
        return 0;
    }
    if (cursor->left < MIN_FRAME) {
        return QI_TRACE_READ_E_DAMAGED;
    }
    uint64_t size = get_le(cursor->at, MIN_FRAME);
    if (size > cursor->left - MIN_FRAME
        || qi_frame_decode(cursor->at + MIN_FRAME, (size_t)size, ret_frame) < 0) {
        return QI_TRACE_READ_E_DAMAGED;
    }
    cursor->at += MIN_FRAME + size;
    cursor->left -= MIN_FRAME + (size_t)size;
    return 1;
}

/* The values of a frame that messages.def does not have, by key below n. */
static void
own_fields(const struct qi_frame *frame, struct qi_value *ret_values, size_t n)
{
    struct qi_cursor cursor = qi_cursor_in(&frame->body);
    struct qi_value key;
    struct qi_value value;

    memset(ret_values, 0, n * sizeof(*ret_values));
    while (qi_cursor_next(&cursor, &key) && qi_cursor_next(&cursor, &value)) {
        if (key.type == QI_VALUE_UINT && key.u < n) {
            ret_values[key.u] = value;
        }
    }
}

int
qi_trace_loss(const struct qi_frame *frame, struct qi_trace_loss *ret_loss)
{
    struct qi_value v[5];

    memset(ret_loss, 0, sizeof(*ret_loss));
    if (frame->message != QI_TRACE_MSG_LOST) {
        return 0;
    }
    own_fields(frame, v, 5);
    (void)qi_value_int(&v[3], &ret_loss->t0);
    (void)qi_value_int(&v[4], &ret_loss->t1);
    if (v[2].type == QI_VALUE_TEXT && v[2].size < sizeof(ret_loss->cause)) {
        memcpy(ret_loss->cause, v[2].bytes, v[2].size);
    }
    return qi_value_uint(&v[0], &ret_loss->first)
           && qi_value_uint(&v[1], &ret_loss->count);
}

int
qi_trace_note(const struct qi_frame *frame, struct qi_trace_note *ret_note)
{
    struct qi_value v[3];
    uint64_t message = 0;

    memset(ret_note, 0, sizeof(*ret_note));
    if (frame->message != QI_TRACE_MSG_NOTE) {
        return 0;
    }
    own_fields(frame, v, 3);
    ret_note->body = v[2];
    if (!qi_value_int(&v[0], &ret_note->ts) || !qi_value_uint(&v[1], &message)
        || message > UINT32_MAX || v[2].type != QI_VALUE_MAP) {
        return 0;
    }
    ret_note->message = (uint32_t)message;
    return 1;
}

int64_t
qi_trace_records(const struct qi_trace_body *body, uint64_t first,
                 struct qi_record *ret_records, size_t n)
{
    struct qi_trace_cursor frames = qi_trace_frames(body);
    struct qi_frame frame;
    struct qi_record record;
    size_t count = 0;
    int bad = 0;
    int r;

    while ((r = qi_trace_next_frame(&frames, &frame)) > 0) {
        if (frame.message != QI_MSG_EVENTS) {
            continue;
        }
        struct qi_cursor records = qi_cursor_in(&frame.fields[QI_KEY_EVENTS_records]);
        int64_t ts = qi_frame_int(&frame, QI_KEY_EVENTS_ts, 0);
        if (qi_frame_uint(&frame, QI_KEY_EVENTS_first, 0) != first + count) {
            return QI_TRACE_READ_E_DAMAGED;
        }
        while (qi_record_decode(&records, &ts, &record, &bad)) {
            if (count == n) {
                return QI_TRACE_READ_E_DAMAGED;
            }
            ret_records[count++] = record;
        }
        if (bad) {
            return QI_TRACE_READ_E_DAMAGED;
        }
    }
    return r < 0 ? r : (int64_t)count;
}
