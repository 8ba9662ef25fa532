/* trace_write.c - see trace_write.h. */
#include "trace_write.h"

#include "crc32c.h"
#include "qi_atomic.h"
#include "qi_utf8.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#ifdef QI_WITH_ZSTD
#  include <zstd.h>
#endif

#define ZSTD_LEVEL 1 /* 400 MB/s and more; 3 makes recordings a tenth smaller */
#define COPY_BYTES 262144u
#define HEAD_BYTES 4096u
#define ROOM_BYTES 62u /* of a binding and its Qt */
#define MIN_SHARE 16384u
#define FOOTER_PER_CHUNK 72u /* eight numbers of nine bytes */

struct placed {
    uint64_t offset, size; /* of the block, head included */
    uint64_t seq, first;
    int64_t t0, t1;
    uint32_t n, flags;
};

/* Of struct qi_trace_info. */
struct texts {
    char name[256], host[256];
    char qtinter[256], python[256], binding[32], qt[32];
    char writer[16], trace_id[256];
};

struct qi_trace_writer {
    char path[PATH_MAX];
    struct qi_trace_info info; /* its texts are those below */
    struct texts texts;
    uint8_t *head; /* owned, HEAD_BYTES; the file's first bytes */
    size_t head_size;
    struct qi_trace_options options;
    int fd;               /* -1: none; atomic: read by a forked child */
    int other_fd;         /* of the file that takes its place, or of a copy */
    uint64_t end;         /* of the file */
    uint64_t seq;         /* of the next chunk */
    struct placed *index; /* owned */
    size_t chunks, capacity;
    int status; /* the first failure */
    int os_error;
    uint8_t *out; /* owned; compressed bytes */
    size_t out_capacity;
    struct qi_trace_totals totals;
#ifdef QI_WITH_ZSTD
    ZSTD_CCtx *zstd; /* owned */
#endif
};

const char *
qi_trace_text(int status)
{
    switch (status) {
    case QI_TRACE_OK:
        return "no error";
    case QI_TRACE_E_OS:
        return strerror(errno);
    case QI_TRACE_E_NOMEM:
        return "no memory";
    case QI_TRACE_E_EXISTS:
        return "there is a file already that is no recording of yours";
    case QI_TRACE_E_PATH:
        return "the path is empty or too long";
    case QI_TRACE_E_FULL:
        return "more chunks than a recording may have";
    case QI_TRACE_E_GONE:
        return "the file was removed or replaced meanwhile";
    default:
        return "unknown error";
    }
}

enum qi_trace_codec
qi_trace_best_codec(void)
{
#ifdef QI_WITH_ZSTD
    return QI_TRACE_ZSTD;
#else
    return QI_TRACE_RAW;
#endif
}

/* --- bytes ------------------------------------------------------------------------ */

static void
put_le(uint8_t *at, uint64_t x, size_t size)
{
    for (size_t i = 0; i < size; i++) {
        at[i] = (uint8_t)(x >> (8 * i));
    }
}

static int
write_at(int fd, const void *from, size_t size, uint64_t at)
{
    const uint8_t *bytes = from;

    while (size > 0) {
        ssize_t n = pwrite(fd, bytes, size, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? ENOSPC : errno;
            return QI_TRACE_E_OS;
        }
        bytes += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return QI_TRACE_OK;
}

static int
read_at(int fd, void *to, size_t size, uint64_t at)
{
    uint8_t *bytes = to;

    while (size > 0) {
        ssize_t n = pread(fd, bytes, size, (off_t)at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno; /* somebody cut it */
            return QI_TRACE_E_OS;
        }
        bytes += n;
        at += (uint64_t)n;
        size -= (size_t)n;
    }
    return QI_TRACE_OK;
}

/* --- the head --------------------------------------------------------------------- */

#define KEEP(w, info, text)                                                              \
    ((void)qi_utf8_copy((w)->texts.text, sizeof((w)->texts.text), (info)->text),         \
     (w)->info.text = (w)->texts.text)

static void
keep_info(struct qi_trace_writer *w, const struct qi_trace_info *info)
{
    char host[256] = "";

    w->info = *info;
    KEEP(w, info, name);
    KEEP(w, info, qtinter);
    KEEP(w, info, python);
    KEEP(w, info, binding);
    KEEP(w, info, qt);
    KEEP(w, info, writer);
    KEEP(w, info, trace_id);
    KEEP(w, info, host);
    if (info->host == NULL) {
        (void)gethostname(host, sizeof(host) - 1);
        (void)qi_utf8_copy(w->texts.host, sizeof(w->texts.host), host);
    }
}

static void
put_text(struct qi_encoder *e, const char *text)
{
    qi_encode_text(e, text, strlen(text));
}

static void
put_versions(struct qi_encoder *e, const struct qi_trace_info *info)
{
    const char *const pairs[][2] = {{"qtinter", info->qtinter},
                                    {"python", info->python},
                                    {"binding", info->binding},
                                    {"qt", info->qt}};

    qi_encode_key(e, QI_TRACE_KEY_versions);
    qi_encode_map(e, 4);
    for (size_t i = 0; i < 4; i++) {
        put_text(e, pairs[i][0]);
        put_text(e, pairs[i][1]);
    }
}

static void
put_map(struct qi_encoder *e, const struct qi_trace_info *info, int has_room, size_t room)
{
    static const uint8_t nothing[ROOM_BYTES];

    uint32_t has_id = info->trace_id[0] != '\0';
    qi_encode_map(e, QI_TRACE_KEYS - 2 + (uint32_t)has_room + has_id);
    qi_encode_uint_field(e, QI_TRACE_KEY_major, QI_TRACE_MAJOR);
    qi_encode_uint_field(e, QI_TRACE_KEY_minor, QI_TRACE_MINOR);
    qi_encode_uint_field(e, QI_TRACE_KEY_pid, info->pid);
    qi_encode_uint_field(e, QI_TRACE_KEY_start, info->start);
    qi_encode_key(e, QI_TRACE_KEY_name);
    put_text(e, info->name);
    qi_encode_int_field(e, QI_TRACE_KEY_mono0, info->mono0);
    qi_encode_int_field(e, QI_TRACE_KEY_wall0, info->wall0);
    qi_encode_uint_field(e, QI_TRACE_KEY_level, info->level);
    qi_encode_bool_field(e, QI_TRACE_KEY_control, info->control);
    put_versions(e, info);
    qi_encode_key(e, QI_TRACE_KEY_host);
    put_text(e, info->host);
    qi_encode_bool_field(e, QI_TRACE_KEY_redacted, info->level < 4);
    qi_encode_key(e, QI_TRACE_KEY_writer);
    put_text(e, info->writer);
    if (has_id) {
        qi_encode_key(e, QI_TRACE_KEY_trace_id);
        put_text(e, info->trace_id);
    }
    if (has_room) {
        qi_encode_bytes_field(e, QI_TRACE_KEY_room, nothing, room);
    }
}

static void
put_head(struct qi_trace_writer *w, int has_room, size_t room)
{
    struct qi_encoder e;

    qi_encoder_init(&e, w->head + QI_TRACE_HEAD_SIZE, HEAD_BYTES - QI_TRACE_HEAD_SIZE);
    put_map(&e, &w->info, has_room, room);
    memcpy(w->head, QI_TRACE_MAGIC, QI_TRACE_MAGIC_SIZE);
    put_le(w->head + 8, e.size, 4);
    put_le(w->head + 12, qi_crc32c(0, e.bytes, e.size), 4);
    w->head_size = QI_TRACE_HEAD_SIZE + e.size;
}

static int
make_head(struct qi_trace_writer *w, const struct qi_trace_info *info)
{
    w->head = malloc(HEAD_BYTES);
    if (w->head == NULL) {
        return QI_TRACE_E_NOMEM;
    }
    keep_info(w, info);
    put_head(w, w->texts.binding[0] == '\0', ROOM_BYTES);
    return QI_TRACE_OK;
}

int
qi_trace_set_binding(struct qi_trace_writer *w, const char *binding, const char *qt)
{
    size_t before = strlen(w->texts.qt);

    if (w->status < 0 || w->texts.binding[0] != '\0') {
        return w->status;
    }
    (void)qi_utf8_copy(w->texts.binding, sizeof(w->texts.binding), binding);
    (void)qi_utf8_copy(w->texts.qt, sizeof(w->texts.qt), qt);
    /* Texts of up to 31 bytes have a head of one byte, as empty ones have. */
    put_head(w, 1, ROOM_BYTES + before - strlen(w->texts.binding) - strlen(w->texts.qt));
    w->status = write_at(w->fd, w->head, w->head_size, 0);
    w->os_error = w->status == QI_TRACE_E_OS ? errno : 0;
    return w->status;
}

void
qi_trace_info_of_segment(const struct qi_segment_header *header, const char *writer,
                         struct qi_trace_info *ret_info)
{
    memset(ret_info, 0, sizeof(*ret_info));
    ret_info->pid = header->pid;
    ret_info->start = header->start_time;
    ret_info->mono0 = header->mono0;
    ret_info->wall0 = header->wall0;
    ret_info->level = header->level;
    ret_info->name = header->name;
    ret_info->qtinter = header->qtinter;
    ret_info->python = header->python;
    ret_info->binding = header->binding;
    ret_info->qt = header->qt;
    ret_info->writer = writer;
    ret_info->trace_id = header->trace_id;
}

/* --- files ------------------------------------------------------------------------ */

int
qi_trace_check_path(const char *path)
{
    char magic[QI_TRACE_MAGIC_SIZE];
    struct stat st;
    int r = QI_TRACE_E_EXISTS;

    if (lstat(path, &st) < 0) {
        return errno == ENOENT ? QI_TRACE_OK : QI_TRACE_E_OS;
    }
    if (S_ISDIR(st.st_mode)) {
        errno = EISDIR;
        return QI_TRACE_E_OS;
    }
    if (!S_ISREG(st.st_mode) || st.st_uid != geteuid()) {
        return QI_TRACE_E_EXISTS;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    if (fd < 0) {
        return QI_TRACE_E_OS;
    }
    if (read_at(fd, magic, sizeof(magic), 0) == QI_TRACE_OK
        && memcmp(magic, QI_TRACE_MAGIC, sizeof(magic)) == 0) {
        r = QI_TRACE_OK;
    }
    (void)close(fd);
    return r;
}

/* The name of a file that does not exist, beside path. */
static int
beside(char ret_name[PATH_MAX], const char *path)
{
    static uint32_t count;
    uint32_t number = __atomic_add_fetch(&count, 1, __ATOMIC_RELAXED);
    int n = snprintf(ret_name, PATH_MAX, "%s.%ld-%u.new", path, (long)getpid(), number);

    return n > 0 && n < PATH_MAX ? QI_TRACE_OK : QI_TRACE_E_PATH;
}

static int
open_new(const char *path)
{
    return open(path, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
}

/* Closes a descriptor; a forked child that reads the field finds it or -1. */
static void
close_field(int *field)
{
    int fd = QI_LOAD(*field);

    QI_STORE(*field, -1);
    if (fd >= 0) {
        int saved = errno;
        (void)close(fd);
        errno = saved;
    }
}

/* Makes a file with the head only, under a name of its own in other_fd. */
static int
begin_other(struct qi_trace_writer *w, const char *path, char ret_name[PATH_MAX])
{
    int r = beside(ret_name, path);

    if (r < 0) {
        return r;
    }
    QI_STORE(w->other_fd, open_new(ret_name));
    if (w->other_fd < 0) {
        return QI_TRACE_E_OS;
    }
    r = write_at(w->other_fd, w->head, w->head_size, 0);
    if (r < 0) {
        int saved = errno;
        close_field(&w->other_fd);
        (void)unlink(ret_name);
        errno = saved;
    }
    return r;
}

static void
drop_other(struct qi_trace_writer *w, const char *name)
{
    int saved = errno;

    close_field(&w->other_fd);
    (void)unlink(name);
    errno = saved;
}

/* Copies whole blocks from the file to the end of the other one. */
static int
copy_blocks(struct qi_trace_writer *w, const struct placed *from, size_t n,
            uint64_t *ret_end)
{
    uint64_t at = n > 0 ? from[0].offset : 0;
    uint64_t left = n > 0 ? from[n - 1].offset + from[n - 1].size - at : 0;
    uint64_t to = w->head_size;
    uint8_t *buffer = malloc(COPY_BYTES);
    int r = buffer == NULL ? QI_TRACE_E_NOMEM : QI_TRACE_OK;

    while (r == QI_TRACE_OK && left > 0) {
        size_t some = left < COPY_BYTES ? (size_t)left : COPY_BYTES;
        r = read_at(w->fd, buffer, some, at);
        if (r == QI_TRACE_OK) {
            r = write_at(w->other_fd, buffer, some, to);
        }
        at += some;
        to += some;
        left -= some;
    }
    free(buffer);
    *ret_end = to;
    return r;
}

/* The oldest chunks go; the file is replaced by one with the others. */
static int
drop_oldest(struct qi_trace_writer *w, size_t n)
{
    char name[PATH_MAX];
    uint64_t end = 0;
    int r = begin_other(w, w->path, name);

    if (r < 0) {
        return r;
    }
    r = copy_blocks(w, w->index + n, w->chunks - n, &end);
    if (r == QI_TRACE_OK && rename(name, w->path) < 0) {
        r = QI_TRACE_E_OS;
    }
    if (r < 0) {
        drop_other(w, name);
        return r;
    }
    close_field(&w->fd);
    QI_STORE(w->fd, w->other_fd);
    QI_STORE(w->other_fd, -1);
    uint64_t moved = n < w->chunks ? w->index[n].offset - w->head_size : 0;
    memmove(w->index, w->index + n, (w->chunks - n) * sizeof(*w->index));
    w->chunks -= n;
    for (size_t i = 0; i < w->chunks; i++) {
        w->index[i].offset -= moved;
    }
    w->end = end;
    w->totals.chunks_dropped += n;
    return QI_TRACE_OK;
}

/* --- limits ----------------------------------------------------------------------- */

static uint64_t
footer_bytes(size_t chunks)
{
    return QI_TRACE_BLOCK_SIZE + 64 + QI_TRACE_END_SIZE
           + (uint64_t)chunks * FOOTER_PER_CHUNK;
}

/* How many chunks must go so that `size` more bytes find room. */
static size_t
too_many_for(const struct qi_trace_writer *w, uint64_t size, uint64_t most)
{
    uint64_t used = w->end + size;
    size_t n = 0;

    while (n < w->chunks && used + footer_bytes(w->chunks - n + 1) > most) {
        used -= w->index[n++].size;
    }
    return n;
}

static size_t
too_many_bytes(const struct qi_trace_writer *w, uint64_t size, int is_last)
{
    uint64_t most = w->options.max_bytes;
    size_t n = 0;

    if (most == 0 || too_many_for(w, size, most) == 0) {
        return 0;
    }
    /* Half of it goes, so that this is not for each chunk; but not everything. */
    n = is_last ? w->chunks : too_many_for(w, size, most / 2);
    return n < w->chunks ? n : too_many_for(w, size, most);
}

static size_t
too_old(const struct qi_trace_writer *w, int64_t newest)
{
    int64_t age = w->options.max_age_ns;
    size_t n = 0;

    /* Unsigned: times of anybody's segment may be anything. */
    while (age > 0 && n < w->chunks
           && (int64_t)((uint64_t)newest - (uint64_t)w->index[n].t1) > age) {
        n++;
    }
    return n;
}

/* Makes room for a block.  Old chunks go when they are half of what is there. */
static int
make_room(struct qi_trace_writer *w, uint64_t size, int64_t t1, int is_last)
{
    size_t n = too_many_bytes(w, size, is_last);
    size_t old = too_old(w, t1);

    if (old * 2 > w->chunks && old > n) {
        n = old;
    }
    return n > 0 ? drop_oldest(w, n) : QI_TRACE_OK;
}

/* --- blocks ----------------------------------------------------------------------- */

struct part {
    const void *bytes;
    size_t size;
};

static int
reserve_out(struct qi_trace_writer *w, size_t size)
{
    if (w->out_capacity >= size) {
        return QI_TRACE_OK;
    }
    free(w->out);
    w->out = malloc(size);
    w->out_capacity = w->out != NULL ? size : 0;
    return w->out != NULL ? QI_TRACE_OK : QI_TRACE_E_NOMEM;
}

/* 1: the parts are in w->out, compressed; 0: they are better off as they are. */
static int
compress(struct qi_trace_writer *w, const struct part *parts, size_t n, size_t raw,
         size_t *ret_size)
{
#ifdef QI_WITH_ZSTD
    if (w->options.raw || w->zstd == NULL
        || reserve_out(w, ZSTD_compressBound(raw)) < 0) {
        return 0;
    }
    (void)ZSTD_CCtx_reset(w->zstd, ZSTD_reset_session_only);
    (void)ZSTD_CCtx_setPledgedSrcSize(w->zstd, raw);
    ZSTD_outBuffer out = {w->out, w->out_capacity, 0};
    for (size_t i = 0; i < n; i++) {
        ZSTD_inBuffer in = {parts[i].bytes, parts[i].size, 0};
        size_t left = ZSTD_compressStream2(w->zstd, &out, &in,
                                           i + 1 == n ? ZSTD_e_end : ZSTD_e_continue);
        if (ZSTD_isError(left) || in.pos < in.size || (i + 1 == n && left != 0)) {
            return 0;
        }
    }
    *ret_size = out.pos;
    return out.pos < raw;
#else
    (void)w;
    (void)parts;
    (void)n;
    (void)raw;
    (void)ret_size;
    (void)reserve_out;
    return 0;
#endif
}

/* placed->offset and size are filled in; the file's end goes on.  A write that fails is
   taken back, so that the file ends with a whole block. */
static int
write_block(struct qi_trace_writer *w, int fd, uint64_t *end, int kind,
            enum qi_trace_codec codec, const struct part *parts, size_t n, size_t raw,
            struct placed *placed)
{
    uint8_t head[QI_TRACE_BLOCK_SIZE] = {0};
    uint32_t crc = 0;
    size_t size = 0;
    uint64_t at = *end;

    (void)w;
    for (size_t i = 0; i < n; i++) {
        crc = qi_crc32c(crc, parts[i].bytes, parts[i].size);
        size += parts[i].size;
    }
    memcpy(head, QI_TRACE_BLOCK_MARK, 4);
    put_le(head + 8, QI_TRACE_BLOCK_SIZE, 2);
    head[10] = (uint8_t)kind;
    head[11] = (uint8_t)codec;
    put_le(head + 12, size, 4);
    put_le(head + 16, raw, 4);
    put_le(head + 20, crc, 4);
    put_le(head + 24, placed->seq, 8);
    put_le(head + 32, (uint64_t)placed->t0, 8);
    put_le(head + 40, (uint64_t)placed->t1, 8);
    put_le(head + 48, placed->first, 8);
    put_le(head + 56, placed->n, 4);
    put_le(head + 60, placed->flags, 4);
    put_le(head + 4, qi_crc32c(0, head + 8, sizeof(head) - 8), 4);
    int r = write_at(fd, head, sizeof(head), at);
    at += sizeof(head);
    for (size_t i = 0; r == QI_TRACE_OK && i < n; i++) {
        r = write_at(fd, parts[i].bytes, parts[i].size, at);
        at += parts[i].size;
    }
    if (r < 0) {
        int saved = errno;
        if (ftruncate(fd, (off_t)*end) < 0) {
            /* Then there is a torn tail, which readers know how to leave out. */
        }
        errno = saved;
        return r;
    }
    placed->offset = *end;
    placed->size = at - *end;
    *end = at;
    return QI_TRACE_OK;
}

static int
index_has_room(struct qi_trace_writer *w)
{
    if (w->chunks < w->capacity) {
        return QI_TRACE_OK;
    }
    if (w->chunks >= QI_TRACE_CHUNKS_MAX) {
        return QI_TRACE_E_FULL;
    }
    size_t capacity = w->capacity == 0 ? 64 : w->capacity * 2;
    struct placed *index = realloc(w->index, capacity * sizeof(*index));
    if (index == NULL) {
        return QI_TRACE_E_NOMEM;
    }
    w->index = index;
    w->capacity = capacity;
    return QI_TRACE_OK;
}

static int
append_chunk(struct qi_trace_writer *w, const struct qi_chunk *c)
{
    struct part parts[3] = {{c->texts.bytes, c->texts.size},
                            {c->state.bytes, c->state.size},
                            {c->events.bytes, c->events.size}};
    size_t raw = parts[0].size + parts[1].size + parts[2].size;
    struct placed placed = {.seq = w->seq,
                            .first = c->first,
                            .t0 = c->t0,
                            .t1 = c->t1,
                            .n = c->records,
                            .flags = c->flags};
    enum qi_trace_codec codec = QI_TRACE_RAW;
    struct part packed = {NULL, 0};
    const struct part *what = parts;
    size_t n = 3;
    size_t stored = raw;

    if (compress(w, parts, 3, raw, &packed.size)) {
        packed.bytes = w->out;
        codec = QI_TRACE_ZSTD;
        what = &packed;
        n = 1;
        stored = packed.size;
    }
    int is_last = c->records == 0 && (c->flags & QI_TRACE_LAST) != 0;
    uint64_t size = (uint64_t)stored + QI_TRACE_BLOCK_SIZE;
    if (is_last && w->chunks > 0 && too_many_bytes(w, size, 1) == w->chunks) {
        return QI_TRACE_OK; /* what happened is worth more than the state at the end */
    }
    int r = make_room(w, size, c->t1, is_last);
    if (r == QI_TRACE_OK) {
        r = index_has_room(w);
    }
    if (r == QI_TRACE_OK) {
        r = write_block(w, w->fd, &w->end, QI_TRACE_CHUNK, codec, what, n, raw, &placed);
    }
    if (r == QI_TRACE_OK) {
        w->index[w->chunks++] = placed;
        w->seq++;
        w->totals.chunks++;
        w->totals.records += c->records;
        w->totals.rows_left_out += c->rows_left_out;
        w->totals.raw += raw;
        w->totals.written += placed.size;
    }
    return r;
}

int
qi_trace_write_chunk(struct qi_trace_writer *w, const struct qi_chunk *chunk)
{
    if (w->status == QI_TRACE_OK) {
        w->status = append_chunk(w, chunk);
        w->os_error = errno;
    }
    errno = w->os_error;
    return w->status;
}

/* {0: [offset, size, seq, t0, t1, first, n, flags, ...], 1: chunks that went} */
static int
write_footer(struct qi_trace_writer *w, int fd, uint64_t *end, const struct placed *index,
             size_t n, uint64_t moved)
{
    size_t capacity = (size_t)footer_bytes(n);
    uint8_t *bytes = malloc(capacity);
    uint8_t tail[QI_TRACE_END_SIZE];
    struct placed placed = {.seq = w->seq};
    struct qi_encoder e;

    if (bytes == NULL) {
        return QI_TRACE_E_NOMEM;
    }
    qi_encoder_init(&e, bytes, capacity);
    qi_encode_map(&e, 2);
    qi_encode_key(&e, 0);
    qi_encode_list(&e, (uint32_t)n * 8);
    for (size_t i = 0; i < n; i++) {
        qi_encode_uint(&e, index[i].offset - moved);
        qi_encode_uint(&e, index[i].size);
        qi_encode_uint(&e, index[i].seq);
        qi_encode_int(&e, index[i].t0);
        qi_encode_int(&e, index[i].t1);
        qi_encode_uint(&e, index[i].first);
        qi_encode_uint(&e, index[i].n);
        qi_encode_uint(&e, index[i].flags);
    }
    qi_encode_uint_field(&e, 1, n > 0 ? index[0].seq : w->seq);
    struct part part = {bytes, e.size};
    int r =
        write_block(w, fd, end, QI_TRACE_FOOTER, QI_TRACE_RAW, &part, 1, e.size, &placed);
    free(bytes);
    if (r == QI_TRACE_OK) {
        put_le(tail, placed.offset, 8);
        memcpy(tail + 8, QI_TRACE_END_MARK, 8);
        r = write_at(fd, tail, sizeof(tail), *end);
        *end += sizeof(tail);
    }
    return r;
}

/* --- the writer's life ------------------------------------------------------------ */

static void
free_writer(struct qi_trace_writer *w)
{
    close_field(&w->fd);
    close_field(&w->other_fd);
#ifdef QI_WITH_ZSTD
    (void)ZSTD_freeCCtx(w->zstd);
#endif
    free(w->head);
    free(w->index);
    free(w->out);
    free(w);
}

static int
make_writer(struct qi_trace_writer *w, const char *path, const struct qi_trace_info *info)
{
    char name[PATH_MAX];
    int n = snprintf(w->path, sizeof(w->path), "%s", path);

    if (n <= 0 || n >= (int)sizeof(w->path)) {
        return QI_TRACE_E_PATH;
    }
    int r = qi_trace_check_path(w->path);
    if (r == QI_TRACE_OK) {
        r = make_head(w, info);
    }
    if (r == QI_TRACE_OK) {
        r = begin_other(w, w->path, name);
    }
    if (r < 0) {
        return r;
    }
    if (rename(name, w->path) < 0) {
        drop_other(w, name);
        return QI_TRACE_E_OS;
    }
    QI_STORE(w->fd, w->other_fd);
    QI_STORE(w->other_fd, -1);
    w->end = w->head_size;
    return QI_TRACE_OK;
}

int
qi_trace_create(const char *path, const struct qi_trace_info *info,
                const struct qi_trace_options *options,
                struct qi_trace_writer **ret_writer)
{
    struct qi_trace_writer *w = calloc(1, sizeof(*w));
    int r;

    if (w == NULL) {
        return QI_TRACE_E_NOMEM;
    }
    w->fd = w->other_fd = -1;
    w->options = *options;
#ifdef QI_WITH_ZSTD
    w->zstd = ZSTD_createCCtx(); /* NULL: chunks are stored as they are */
    if (w->zstd != NULL) {
        (void)ZSTD_CCtx_setParameter(w->zstd, ZSTD_c_compressionLevel, ZSTD_LEVEL);
    }
#endif
    r = make_writer(w, path, info);
    if (r < 0) {
        int saved = errno;
        free_writer(w);
        errno = saved;
        return r;
    }
    *ret_writer = w;
    return QI_TRACE_OK;
}

int
qi_trace_write_copy(struct qi_trace_writer *w, const char *path, int64_t from_ts)
{
    char name[PATH_MAX];
    size_t from = 0;
    uint64_t end = 0;
    int r = qi_trace_check_path(path);

    while (from < w->chunks && w->index[from].t1 < from_ts) {
        from++;
    }
    if (r == QI_TRACE_OK) {
        r = begin_other(w, path, name);
    }
    if (r < 0) {
        return r;
    }
    size_t n = w->chunks - from;
    uint64_t moved = n > 0 ? w->index[from].offset - w->head_size : 0;
    r = copy_blocks(w, w->index + from, n, &end);
    if (r == QI_TRACE_OK) {
        r = write_footer(w, w->other_fd, &end, w->index + from, n, moved);
    }
    if (r == QI_TRACE_OK && rename(name, path) < 0) {
        r = QI_TRACE_E_OS;
    }
    if (r < 0) {
        drop_other(w, name);
    }
    close_field(&w->other_fd);
    return r;
}

int
qi_trace_finish(struct qi_trace_writer *w)
{
    struct stat st;

    if (w == NULL) {
        return QI_TRACE_OK;
    }
    int r = w->status;
    size_t old = w->chunks > 0 ? too_old(w, w->index[w->chunks - 1].t1) : 0;
    if (r == QI_TRACE_OK && old > 0) {
        r = drop_oldest(w, old);
    }
    if (r == QI_TRACE_OK) {
        r = write_footer(w, w->fd, &w->end, w->index, w->chunks, 0);
    }
    if (r == QI_TRACE_OK && fstat(w->fd, &st) == 0 && st.st_nlink == 0) {
        r = QI_TRACE_E_GONE;
    }
    int saved = r == w->status && r < 0 ? w->os_error : errno;
    free_writer(w);
    errno = saved;
    return r;
}

void
qi_trace_discard(struct qi_trace_writer *w)
{
    if (w != NULL) {
        (void)unlink(w->path);
        free_writer(w);
    }
}

void
qi_trace_totals(const struct qi_trace_writer *w, struct qi_trace_totals *ret_totals)
{
    *ret_totals = w->totals;
    ret_totals->bytes = w->end;
}

size_t
qi_trace_chunk_share(const struct qi_trace_writer *w)
{
    uint64_t share = w->options.max_bytes / 8;

    if (w->options.max_bytes == 0 || share > QI_TRACE_CHUNK_BYTES) {
        return QI_TRACE_CHUNK_BYTES;
    }
    return share > MIN_SHARE ? (size_t)share : MIN_SHARE;
}

void
qi_trace_forget(struct qi_trace_writer *w)
{
    close_field(&w->fd);
    close_field(&w->other_fd);
}
