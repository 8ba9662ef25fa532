/*
 * wire.c - see wire.h.  The only file that includes msgpack-c.
 *
 * Encoding uses msgpack-c's packer over a bounded buffer.  Decoding does not use its
 * unpacker: that one allocates objects as it goes, and what a peer sends must be judged
 * before anything depends on it.  One pass over the bytes does that (scan()), after which
 * values are read in place.
 */
#include "wire.h"

#include "qi_utf8.h"

#include <msgpack/pack.h>

#include <stdlib.h>
#include <string.h>

const char *
qi_wire_text(int status)
{
    switch (status) {
#define X(name, number, text)                                                            \
    case name:                                                                           \
        return text;
        QI_WIRE_STATUSES(X)
#undef X
    default:
        return "unknown error";
    }
}

/* --- the table of messages -------------------------------------------------------- */

/* The letters of messages.def. */
enum {
    SENDERS_d = QI_FROM_DAEMON,
    SENDERS_a = QI_FROM_APPLICATION,
    SENDERS_t = QI_FROM_TOOL,
    SENDERS_ad = QI_FROM_APPLICATION | QI_FROM_DAEMON,
    SENDERS_at = QI_FROM_APPLICATION | QI_FROM_TOOL,
    SENDERS_dt = QI_FROM_DAEMON | QI_FROM_TOOL,
    SENDERS_adt = QI_FROM_APPLICATION | QI_FROM_DAEMON | QI_FROM_TOOL
};

static const struct qi_message_info messages[] = {
#define MESSAGE(number, NAME, sender, doc)                                               \
    [number].name = #NAME, [number].senders = SENDERS_##sender,
#define FIELD(NAME, key, label, kind, need, doc)                                         \
    [QI_MSG_##NAME].fields[key] = {                                                      \
        .name = #label, .type = #kind[0], .known = 1, .required = need},
#include "messages.def"
#undef MESSAGE
#undef FIELD
};

const struct qi_message_info *
qi_message_info(uint32_t number)
{
    if (number >= sizeof(messages) / sizeof(messages[0])
        || messages[number].name == NULL) {
        return NULL;
    }
    return &messages[number];
}

/* --- encoding --------------------------------------------------------------------- */

#define LENGTH_SIZE 4u
#define LIST32_SIZE 5u
#define LIST32 0xdd

static uint32_t
load_le32(const uint8_t *at)
{
    return (uint32_t)at[0] | (uint32_t)at[1] << 8 | (uint32_t)at[2] << 16
           | (uint32_t)at[3] << 24;
}

static void
store_le32(uint8_t *at, uint32_t x)
{
    at[0] = (uint8_t)x;
    at[1] = (uint8_t)(x >> 8);
    at[2] = (uint8_t)(x >> 16);
    at[3] = (uint8_t)(x >> 24);
}

static void
append(struct qi_encoder *e, const void *bytes, size_t size)
{
    if (e->failed) {
        return;
    }
    if (size > e->capacity - e->size) {
        e->failed = 1;
        return;
    }
    if (size > 0) {
        memcpy(e->bytes + e->size, bytes, size);
    }
    e->size += size;
}

/* msgpack-c's write callback.  Its result is not needed: failures are latched. */
static int
packer_write(void *data, const char *bytes, size_t size)
{
    append(data, bytes, size);
    return 0;
}

static msgpack_packer
packer_of(struct qi_encoder *e)
{
    msgpack_packer packer;

    msgpack_packer_init(&packer, e, packer_write);
    return packer;
}

void
qi_encoder_init(struct qi_encoder *e, void *bytes, size_t capacity)
{
    memset(e, 0, sizeof(*e));
    e->bytes = bytes;
    e->capacity = capacity;
}

void
qi_encode_begin(struct qi_encoder *e, unsigned message, uint32_t seq, uint32_t fields)
{
    static const uint8_t length_comes_later[LENGTH_SIZE];

    e->failed = 0;
    e->frame = e->size;
    append(e, length_comes_later, sizeof(length_comes_later));
    qi_encode_list(e, 3);
    qi_encode_uint(e, message);
    qi_encode_uint(e, seq);
    qi_encode_map(e, fields);
}

int
qi_encode_end(struct qi_encoder *e)
{
    size_t length = e->size - e->frame - LENGTH_SIZE;
    int status = QI_WIRE_OK;

    if (e->failed) {
        status = QI_WIRE_E_FULL;
    }
    else if (length > QI_FRAME_MAX) {
        status = QI_WIRE_E_SIZE;
    }
    if (status < 0) {
        e->size = e->frame;
        e->failed = 0;
        return status;
    }
    store_le32(e->bytes + e->frame, (uint32_t)length);
    return QI_WIRE_OK;
}

void
qi_encode_nil(struct qi_encoder *e)
{
    msgpack_packer packer = packer_of(e);

    (void)msgpack_pack_nil(&packer);
}

void
qi_encode_bool(struct qi_encoder *e, int value)
{
    msgpack_packer packer = packer_of(e);

    (void)(value ? msgpack_pack_true(&packer) : msgpack_pack_false(&packer));
}

void
qi_encode_uint(struct qi_encoder *e, uint64_t value)
{
    msgpack_packer packer = packer_of(e);

    (void)msgpack_pack_uint64(&packer, value);
}

void
qi_encode_int(struct qi_encoder *e, int64_t value)
{
    msgpack_packer packer = packer_of(e);

    (void)msgpack_pack_int64(&packer, value);
}

void
qi_encode_float(struct qi_encoder *e, double value)
{
    msgpack_packer packer = packer_of(e);

    (void)msgpack_pack_double(&packer, value);
}

void
qi_encode_text(struct qi_encoder *e, const char *utf8, size_t size)
{
    msgpack_packer packer = packer_of(e);

    (void)msgpack_pack_str(&packer, size);
    append(e, utf8, size);
}

void
qi_encode_bytes(struct qi_encoder *e, const void *bytes, size_t size)
{
    msgpack_packer packer = packer_of(e);

    (void)msgpack_pack_bin(&packer, size);
    append(e, bytes, size);
}

void
qi_encode_list(struct qi_encoder *e, uint32_t n)
{
    msgpack_packer packer = packer_of(e);

    (void)msgpack_pack_array(&packer, n);
}

void
qi_encode_map(struct qi_encoder *e, uint32_t n)
{
    msgpack_packer packer = packer_of(e);

    (void)msgpack_pack_map(&packer, n);
}

void
qi_encode_raw(struct qi_encoder *e, const void *bytes, size_t size)
{
    append(e, bytes, size);
}

/* The widest head, so that the length can be put in later. */
size_t
qi_encode_open_list(struct qi_encoder *e)
{
    static const uint8_t head[LIST32_SIZE] = {LIST32};
    size_t place = e->size;

    append(e, head, sizeof(head));
    return place;
}

void
qi_encode_close_list(struct qi_encoder *e, size_t place, uint32_t n)
{
    if (e->failed) {
        return;
    }
    uint8_t *at = e->bytes + place + 1;
    at[0] = (uint8_t)(n >> 24);
    at[1] = (uint8_t)(n >> 16);
    at[2] = (uint8_t)(n >> 8);
    at[3] = (uint8_t)n;
}

void
qi_encode_key(struct qi_encoder *e, unsigned key)
{
    qi_encode_uint(e, key);
}

void
qi_encode_uint_field(struct qi_encoder *e, unsigned key, uint64_t value)
{
    qi_encode_key(e, key);
    qi_encode_uint(e, value);
}

void
qi_encode_int_field(struct qi_encoder *e, unsigned key, int64_t value)
{
    qi_encode_key(e, key);
    qi_encode_int(e, value);
}

void
qi_encode_bool_field(struct qi_encoder *e, unsigned key, int value)
{
    qi_encode_key(e, key);
    qi_encode_bool(e, value);
}

void
qi_encode_text_field(struct qi_encoder *e, unsigned key, const char *text)
{
    qi_encode_key(e, key);
    qi_encode_text(e, text, strlen(text));
}

void
qi_encode_bytes_field(struct qi_encoder *e, unsigned key, const void *bytes, size_t size)
{
    qi_encode_key(e, key);
    qi_encode_bytes(e, bytes, size);
}

/* --- splitting a stream ----------------------------------------------------------- */

#define SPLITTER_FIRST 4096u

void
qi_splitter_init(struct qi_splitter *s, size_t limit)
{
    memset(s, 0, sizeof(*s));
    s->limit = limit < QI_FRAME_MAX ? limit : QI_FRAME_MAX;
}

void
qi_splitter_fini(struct qi_splitter *s)
{
    free(s->bytes);
    memset(s, 0, sizeof(*s));
}

/* Doubled when it is full of bytes that have come, never because of a length. */
size_t
qi_splitter_growth(const struct qi_splitter *s)
{
    size_t most = s->limit + LENGTH_SIZE;
    size_t capacity = s->capacity == 0 ? SPLITTER_FIRST : s->capacity * 2;

    if (s->size - s->taken < s->capacity) {
        return 0;
    }
    return (capacity < most ? capacity : most) - s->capacity;
}

static int
splitter_grow(struct qi_splitter *s)
{
    size_t capacity = s->capacity + qi_splitter_growth(s);
    uint8_t *bytes = realloc(s->bytes, capacity);
    if (bytes == NULL) {
        return QI_WIRE_E_NOMEM;
    }
    s->bytes = bytes;
    s->capacity = capacity;
    return QI_WIRE_OK;
}

int
qi_splitter_room(struct qi_splitter *s, uint8_t **ret_bytes, size_t *ret_size)
{
    if (s->taken > 0) {
        memmove(s->bytes, s->bytes + s->taken, s->size - s->taken);
        s->size -= s->taken;
        s->taken = 0;
    }
    if (s->size == s->capacity) {
        int r = splitter_grow(s);
        if (r < 0) {
            return r;
        }
    }
    *ret_bytes = s->bytes + s->size;
    *ret_size = s->capacity - s->size;
    return QI_WIRE_OK;
}

void
qi_splitter_filled(struct qi_splitter *s, size_t size)
{
    s->size += size;
}

int
qi_splitter_next(struct qi_splitter *s, const uint8_t **ret_payload, size_t *ret_size)
{
    size_t there = s->size - s->taken;

    if (there < LENGTH_SIZE) {
        return 0;
    }
    uint32_t length = load_le32(s->bytes + s->taken);
    if (length == 0 || length > s->limit) {
        return QI_WIRE_E_SIZE;
    }
    if (there - LENGTH_SIZE < length) {
        return 0;
    }
    *ret_payload = s->bytes + s->taken + LENGTH_SIZE;
    *ret_size = length;
    s->taken += LENGTH_SIZE + length;
    return 1;
}

/* --- decoding --------------------------------------------------------------------- */

static uint64_t
load_be(const uint8_t *at, size_t size)
{
    /* As compilers know them: each is a load and a swap. */
    switch (size) {
    case 1:
        return at[0];
    case 2:
        return (uint64_t)at[0] << 8 | at[1];
    case 4:
        return (uint64_t)at[0] << 24 | (uint64_t)at[1] << 16 | (uint64_t)at[2] << 8
               | at[3];
    case 8:
        return (uint64_t)at[0] << 56 | (uint64_t)at[1] << 48 | (uint64_t)at[2] << 40
               | (uint64_t)at[3] << 32 | (uint64_t)at[4] << 24 | (uint64_t)at[5] << 16
               | (uint64_t)at[6] << 8 | at[7];
    default:
        return 0;
    }
}

static void
set_int(struct qi_value *value, uint64_t bits, size_t size)
{
    /* Sign extension by hand: shifting a negative number is not defined. */
    uint64_t sign = UINT64_C(1) << (size * 8 - 1);

    value->u = (bits ^ sign) - sign;
    value->type = value->u >> 63 != 0 ? QI_VALUE_NEGATIVE : QI_VALUE_UINT;
}

static void
set_float(struct qi_value *value, uint64_t bits, size_t size)
{
    value->type = QI_VALUE_FLOAT;
    if (size == 4) {
        uint32_t bits32 = (uint32_t)bits;
        float single;
        memcpy(&single, &bits32, sizeof(single));
        value->f = (double)single;
    }
    else {
        memcpy(&value->f, &bits, sizeof(value->f));
    }
}

static void
set_sized(struct qi_value *value, enum qi_value_type type, uint64_t size)
{
    value->type = type;
    value->size = (uint32_t)size;
}

/* The formats 0xc0 to 0xdf of the msgpack specification: how many bytes of a number or a
   length follow the first byte. */
static const uint8_t head_sizes[32] = {
    0, 0, 0, 0, 1, 2, 4, 1, /* nil, reserved, false, true, bin 8 16 32, ext 8 */
    2, 4, 4, 8, 1, 2, 4, 8, /* ext 16 32, float 32 64, uint 8 16 32 64 */
    1, 2, 4, 8, 0, 0, 0, 0, /* int 8 16 32 64, fixext 1 2 4 8 */
    0, 1, 2, 4, 2, 4, 2, 4  /* fixext 16, str 8 16 32, array 16 32, map 16 32 */
};

static int
read_long_head(uint8_t first, const uint8_t *more, struct qi_value *v)
{
    size_t size = head_sizes[first - 0xc0];
    uint64_t x = load_be(more, size);

    if (first == 0xc0) {
        v->type = QI_VALUE_NIL;
    }
    else if (first == 0xc1) {
        return QI_WIRE_E_RESERVED;
    }
    else if (first <= 0xc3) {
        v->type = QI_VALUE_BOOL;
        v->u = first == 0xc3;
    }
    else if (first <= 0xc6) {
        set_sized(v, QI_VALUE_BYTES, x);
    }
    else if (first <= 0xc9) {
        set_sized(v, QI_VALUE_EXT, x);
    }
    else if (first <= 0xcb) {
        set_float(v, x, size);
    }
    else if (first <= 0xcf) {
        v->type = QI_VALUE_UINT;
        v->u = x;
    }
    else if (first <= 0xd3) {
        set_int(v, x, size);
    }
    else if (first <= 0xd8) {
        set_sized(v, QI_VALUE_EXT, UINT64_C(1) << (first - 0xd4));
    }
    else if (first <= 0xdb) {
        set_sized(v, QI_VALUE_TEXT, x);
    }
    else {
        set_sized(v, first <= 0xdd ? QI_VALUE_LIST : QI_VALUE_MAP, x);
    }
    return QI_WIRE_OK;
}

/* Everything up to the contents.  *ret_used: bytes of the head. */
static int
read_head(const uint8_t *at, size_t left, struct qi_value *v, size_t *ret_used)
{
    memset(v, 0, sizeof(*v));
    if (left == 0) {
        return QI_WIRE_E_TRUNCATED;
    }
    uint8_t first = at[0];
    *ret_used = 1;
    if (first <= 0x7f) {
        v->type = QI_VALUE_UINT;
        v->u = first;
    }
    else if (first <= 0x8f) {
        set_sized(v, QI_VALUE_MAP, first & 0x0fu);
    }
    else if (first <= 0x9f) {
        set_sized(v, QI_VALUE_LIST, first & 0x0fu);
    }
    else if (first <= 0xbf) {
        set_sized(v, QI_VALUE_TEXT, first & 0x1fu);
    }
    else if (first >= 0xe0) {
        set_int(v, first, 1);
    }
    else {
        *ret_used = 1u + head_sizes[first - 0xc0];
        if (left < *ret_used) {
            return QI_WIRE_E_TRUNCATED;
        }
        return read_long_head(first, at + 1, v);
    }
    return QI_WIRE_OK;
}

/* Contents in bytes; the type byte of an extension is among them. */
static int
check_contents(const struct qi_value *v, const uint8_t *at, size_t left, size_t *ret_used)
{
    *ret_used = 0;
    if (v->type != QI_VALUE_TEXT && v->type != QI_VALUE_BYTES
        && v->type != QI_VALUE_EXT) {
        return QI_WIRE_OK;
    }
    size_t type_byte = v->type == QI_VALUE_EXT ? 1 : 0;
    if (v->size > left || type_byte > left - v->size) {
        return QI_WIRE_E_TRUNCATED;
    }
    *ret_used = v->size + type_byte;
    if (v->type == QI_VALUE_TEXT && !qi_utf8_valid(at, v->size)) {
        return QI_WIRE_E_UTF8;
    }
    return QI_WIRE_OK;
}

/* Bytes of a number with its head; 0: it begins something else. */
static size_t
number_size(uint8_t first)
{
    if (first <= 0x7f || first >= 0xe0) {
        return 1;
    }
    return first >= 0xcc && first <= 0xd3 ? 1u + head_sizes[first - 0xc0] : 0;
}

/* Goes over numbers, `*left` of them at most, which is most of what there is. */
static size_t
skip_numbers(const uint8_t *bytes, size_t size, size_t at, uint64_t *left)
{
    uint64_t n = *left;

    while (n > 0 && at < size) {
        size_t number = number_size(bytes[at]);
        if (number == 0 || number > size - at) {
            break;
        }
        at += number;
        n--;
    }
    *left = n;
    return at;
}

/* Looks at one value with all that is in it.  Every step consumes a byte and no list says
   it has more elements than there are bytes, so the time is linear in the size. */
static int
scan(const uint8_t *bytes, size_t size, size_t *ret_used)
{
    uint64_t pending[QI_DEPTH_MAX]; /* values still to come, at each level */
    size_t depth = 0;
    size_t at = 0;

    for (;;) {
        if (depth > 0) { /* the last one of a list ends it: below */
            uint64_t left = --pending[depth - 1];
            at = skip_numbers(bytes, size, at, &left);
            pending[depth - 1] = left + 1;
        }
        size_t number = at < size ? number_size(bytes[at]) : 0;
        if (number > size - at) {
            return QI_WIRE_E_TRUNCATED;
        }
        at += number;
        if (number == 0) {
            struct qi_value v;
            size_t used = 0;
            int r = read_head(bytes + at, size - at, &v, &used);
            if (r < 0) {
                return r;
            }
            at += used;
            r = check_contents(&v, bytes + at, size - at, &used);
            if (r < 0) {
                return r;
            }
            at += used;
            if (v.type == QI_VALUE_LIST || v.type == QI_VALUE_MAP) {
                uint64_t n = v.type == QI_VALUE_MAP ? UINT64_C(2) * v.size : v.size;
                if (n > size - at) {
                    return QI_WIRE_E_TRUNCATED;
                }
                if (depth == QI_DEPTH_MAX) {
                    return QI_WIRE_E_DEPTH;
                }
                if (n > 0) {
                    pending[depth++] = n;
                    continue;
                }
            }
        }
        while (depth > 0 && --pending[depth - 1] == 0) {
            depth--;
        }
        if (depth == 0) {
            *ret_used = at;
            return QI_WIRE_OK;
        }
    }
}

int
qi_value_decode(const uint8_t *bytes, size_t size, struct qi_value *ret_value,
                size_t *ret_used)
{
    size_t head = 0;
    int r = scan(bytes, size, ret_used);

    if (r == QI_WIRE_OK) {
        r = read_head(bytes, size, ret_value, &head);
    }
    if (r < 0) {
        return r;
    }
    if (ret_value->type == QI_VALUE_EXT) {
        head++;
    }
    ret_value->bytes = bytes + head;
    ret_value->length = *ret_used - head;
    return QI_WIRE_OK;
}

struct qi_cursor
qi_cursor_in(const struct qi_value *value)
{
    struct qi_cursor cursor = {NULL, NULL};

    if (value->type == QI_VALUE_LIST || value->type == QI_VALUE_MAP) {
        cursor.at = value->bytes;
        cursor.end = value->bytes + value->length;
    }
    return cursor;
}

int
qi_cursor_next(struct qi_cursor *cursor, struct qi_value *ret_value)
{
    size_t used = 0;

    if (cursor->at == cursor->end
        || qi_value_decode(cursor->at, (size_t)(cursor->end - cursor->at), ret_value,
                           &used)
               < 0) {
        return 0;
    }
    cursor->at += used;
    return 1;
}

enum qi_number
qi_cursor_number(struct qi_cursor *cursor, uint64_t *ret_bits)
{
    size_t left = (size_t)(cursor->end - cursor->at);
    size_t size = left > 0 ? number_size(cursor->at[0]) : 0;

    *ret_bits = 0;
    if (size == 0 || size > left) {
        return QI_NUMBER_NONE;
    }
    uint8_t first = cursor->at[0];
    const uint8_t *more = cursor->at + 1;
    cursor->at += size;
    if (first <= 0x7f) {
        *ret_bits = first;
        return QI_NUMBER;
    }
    if (first <= 0xcf) {
        *ret_bits = load_be(more, size - 1);
        return QI_NUMBER;
    }
    struct qi_value value;
    if (first >= 0xe0) {
        set_int(&value, first, 1);
    }
    else {
        set_int(&value, load_be(more, size - 1), size - 1);
    }
    *ret_bits = value.u;
    return value.type == QI_VALUE_NEGATIVE ? QI_NUMBER_NEGATIVE : QI_NUMBER;
}

int
qi_cursor_enter(struct qi_cursor *cursor, uint32_t *ret_elements)
{
    struct qi_value value;
    size_t left = (size_t)(cursor->end - cursor->at);
    size_t used = 0;

    *ret_elements = 0;
    if (left == 0 || read_head(cursor->at, left, &value, &used) < 0
        || value.type != QI_VALUE_LIST || value.size > left - used) {
        return 0;
    }
    cursor->at += used;
    *ret_elements = value.size;
    return 1;
}

int
qi_value_uint(const struct qi_value *value, uint64_t *ret_number)
{
    int is_one = value->type == QI_VALUE_UINT;

    *ret_number = is_one ? value->u : 0;
    return is_one;
}

int
qi_value_int(const struct qi_value *value, int64_t *ret_number)
{
    int is_one = value->type == QI_VALUE_NEGATIVE
                 || (value->type == QI_VALUE_UINT && value->u <= INT64_MAX);

    *ret_number = is_one ? value->i : 0;
    return is_one;
}

/* --- frames ----------------------------------------------------------------------- */

static int
type_fits(char wanted, const struct qi_value *value)
{
    uint64_t u;
    int64_t i;

    switch (wanted) {
    case 'u':
        return qi_value_uint(value, &u);
    case 'i':
        return qi_value_int(value, &i);
    case 'f':
        return value->type == QI_VALUE_FLOAT;
    case 'b':
        return value->type == QI_VALUE_BOOL;
    case 's':
        return value->type == QI_VALUE_TEXT;
    case 'y':
        return value->type == QI_VALUE_BYTES;
    case 'm':
        return value->type == QI_VALUE_MAP;
    case 'l':
        return value->type == QI_VALUE_LIST;
    default:
        return wanted == 'v';
    }
}

static int
take_field(const struct qi_message_info *info, const struct qi_value *key,
           const struct qi_value *value, struct qi_frame *frame)
{
    if (key->type != QI_VALUE_UINT && key->type != QI_VALUE_NEGATIVE) {
        return QI_WIRE_E_SHAPE;
    }
    if (key->type == QI_VALUE_NEGATIVE || key->u >= QI_FIELDS_MAX
        || !info->fields[key->u].known) {
        return QI_WIRE_OK;
    }
    if (!type_fits(info->fields[key->u].type, value)) {
        return QI_WIRE_E_TYPE;
    }
    if (frame->fields[key->u].type != QI_VALUE_ABSENT) {
        return QI_WIRE_E_TWICE;
    }
    frame->fields[key->u] = *value;
    return QI_WIRE_OK;
}

static int
take_fields(const struct qi_message_info *info, struct qi_frame *frame)
{
    struct qi_cursor cursor = qi_cursor_in(&frame->body);
    struct qi_value key;
    struct qi_value value;

    while (qi_cursor_next(&cursor, &key) && qi_cursor_next(&cursor, &value)) {
        int r = take_field(info, &key, &value, frame);
        if (r < 0) {
            return r;
        }
    }
    for (unsigned i = 0; i < QI_FIELDS_MAX; i++) {
        if (info->fields[i].required && frame->fields[i].type == QI_VALUE_ABSENT) {
            return QI_WIRE_E_MISSING;
        }
    }
    return QI_WIRE_OK;
}

int
qi_frame_decode(const uint8_t *payload, size_t size, struct qi_frame *ret_frame)
{
    struct qi_value whole;
    struct qi_value number;
    struct qi_value seq;
    size_t used = 0;
    int r;

    memset(ret_frame, 0, sizeof(*ret_frame));
    if (size == 0 || size > QI_FRAME_MAX) {
        return QI_WIRE_E_SIZE;
    }
    r = qi_value_decode(payload, size, &whole, &used);
    if (r < 0) {
        return r;
    }
    if (used != size) {
        return QI_WIRE_E_TRAILING;
    }
    struct qi_cursor cursor = qi_cursor_in(&whole);
    if (whole.type != QI_VALUE_LIST || whole.size != 3
        || !qi_cursor_next(&cursor, &number) || !qi_cursor_next(&cursor, &seq)
        || number.type != QI_VALUE_UINT || number.u > UINT32_MAX
        || seq.type != QI_VALUE_UINT || seq.u > UINT32_MAX
        || read_head(cursor.at, (size_t)(cursor.end - cursor.at), &ret_frame->body, &used)
               < 0
        || ret_frame->body.type != QI_VALUE_MAP) {
        return QI_WIRE_E_SHAPE;
    }
    /* The last of the three is what is left; it was looked at with the whole. */
    ret_frame->body.bytes = cursor.at + used;
    ret_frame->body.length = (size_t)(cursor.end - ret_frame->body.bytes);
    ret_frame->message = (uint32_t)number.u;
    ret_frame->seq = (uint32_t)seq.u;
    const struct qi_message_info *info = qi_message_info(ret_frame->message);
    return info == NULL ? QI_WIRE_UNKNOWN : take_fields(info, ret_frame);
}

uint64_t
qi_frame_uint(const struct qi_frame *frame, unsigned key, uint64_t otherwise)
{
    uint64_t number = 0;

    if (frame->fields[key].type == QI_VALUE_BOOL) {
        return frame->fields[key].u;
    }
    return qi_value_uint(&frame->fields[key], &number) ? number : otherwise;
}

int64_t
qi_frame_int(const struct qi_frame *frame, unsigned key, int64_t otherwise)
{
    int64_t number = 0;

    return qi_value_int(&frame->fields[key], &number) ? number : otherwise;
}

int
qi_frame_text_is(const struct qi_frame *frame, unsigned key, const char *text)
{
    const struct qi_value *value = &frame->fields[key];

    return value->type == QI_VALUE_TEXT && value->size == strlen(text)
           && memcmp(value->bytes, text, value->size) == 0;
}

void
qi_frame_copy_text(const struct qi_frame *frame, unsigned key, char *ret_text,
                   size_t size)
{
    const struct qi_value *value = &frame->fields[key];
    size_t n = 0;

    if (value->type == QI_VALUE_TEXT) {
        n = qi_utf8_clean(ret_text, size - 1, (const char *)value->bytes, value->size);
    }
    ret_text[n] = '\0';
}
