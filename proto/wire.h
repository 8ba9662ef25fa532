/*
 * wire.h - frames: encoding, splitting a byte stream, bounded decoding.
 *
 * Promises (tests/c/test_wire.c has one case per line):
 *   - the encoder writes into the caller's buffer and nowhere else; what does not fit
 * makes the frame fail, and a frame that failed can be taken back;
 *   - a splitter's memory is what the peer has really sent, at most one frame;
 *   - decoding allocates nothing, and first looks at every byte: one value, no deeper
 * than QI_DEPTH_MAX, no more elements than bytes, every text UTF-8;
 *   - a known message has the fields that messages.def wants, with their types; unknown
 *     messages and unknown keys pass;
 *   - no bytes, whatever they are, make a function read outside of them.
 *
 * No I/O, no threads, no state beyond the structures.  A decoded frame borrows from the
 * payload it was decoded from.
 */
#ifndef QI_PROTO_WIRE_H
#define QI_PROTO_WIRE_H

#include "proto.h"

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#define QI_WIRE_STATUSES(X)                                                              \
    X(QI_WIRE_OK, 0, "no error")                                                         \
    X(QI_WIRE_UNKNOWN, 1, "a message of a later version")                                \
    X(QI_WIRE_E_SIZE, -1, "a frame of no or of too many bytes")                          \
    X(QI_WIRE_E_TRUNCATED, -2, "the frame ends within a value")                          \
    X(QI_WIRE_E_TRAILING, -3, "bytes after the frame's value")                           \
    X(QI_WIRE_E_DEPTH, -4, "lists or maps nested too deeply")                            \
    X(QI_WIRE_E_UTF8, -5, "a text that is no UTF-8")                                     \
    X(QI_WIRE_E_RESERVED, -6, "a byte that msgpack does not define")                     \
    X(QI_WIRE_E_SHAPE, -7, "not [number, seq, {key: value}]")                            \
    X(QI_WIRE_E_TYPE, -8, "a field of the wrong type")                                   \
    X(QI_WIRE_E_MISSING, -9, "a required field is missing")                              \
    X(QI_WIRE_E_TWICE, -10, "a field is there twice")                                    \
    X(QI_WIRE_E_FULL, -11, "the frame does not fit")                                     \
    X(QI_WIRE_E_NOMEM, -12, "no memory")

enum qi_wire_status {
#define X(name, number, text) name = number,
    QI_WIRE_STATUSES(X)
#undef X
};

/* One line about a status, without a full stop. */
const char *qi_wire_text(int status);

/* --- the table of messages --- */

struct qi_field_info {
    const char *name;
    char type; /* a letter of messages.def */
    uint8_t known, required;
};

struct qi_message_info {
    const char *name;
    unsigned senders; /* of enum qi_sender_role */
    struct qi_field_info fields[QI_FIELDS_MAX];
};

/* NULL for an unknown number. */
const struct qi_message_info *qi_message_info(uint32_t number);

/* --- encoding --- */

struct qi_encoder {
    uint8_t *bytes; /* borrowed */
    size_t capacity;
    size_t size;  /* used; whole frames only, except between begin and end */
    size_t frame; /* where the frame in progress begins */
    int failed;
};

void qi_encoder_init(struct qi_encoder *e, void *bytes, size_t capacity);

/* Starts a frame whose body has exactly `fields` keys. */
void qi_encode_begin(struct qi_encoder *e, unsigned message, uint32_t seq,
                     uint32_t fields);

/* Ends it: QI_WIRE_OK; or QI_WIRE_E_FULL, QI_WIRE_E_SIZE: the frame is taken back. */
int qi_encode_end(struct qi_encoder *e);

/* Values; after the first failure in a frame they do nothing. */
void qi_encode_nil(struct qi_encoder *e);
void qi_encode_bool(struct qi_encoder *e, int value);
void qi_encode_uint(struct qi_encoder *e, uint64_t value);
void qi_encode_int(struct qi_encoder *e, int64_t value);
void qi_encode_float(struct qi_encoder *e, double value);
void qi_encode_text(struct qi_encoder *e, const char *utf8, size_t size);
void qi_encode_bytes(struct qi_encoder *e, const void *bytes, size_t size);
void qi_encode_list(struct qi_encoder *e, uint32_t n);
void qi_encode_map(struct qi_encoder *e, uint32_t n);
/* Values that are encoded already. */
void qi_encode_raw(struct qi_encoder *e, const void *bytes, size_t size);

/* A list whose length is known only later: put what this returns into ..._close(). */
size_t qi_encode_open_list(struct qi_encoder *e);
void qi_encode_close_list(struct qi_encoder *e, size_t place, uint32_t n);

/* A key and its value. */
void qi_encode_key(struct qi_encoder *e, unsigned key);
void qi_encode_uint_field(struct qi_encoder *e, unsigned key, uint64_t value);
void qi_encode_int_field(struct qi_encoder *e, unsigned key, int64_t value);
void qi_encode_bool_field(struct qi_encoder *e, unsigned key, int value);
void qi_encode_text_field(struct qi_encoder *e, unsigned key, const char *text);
void qi_encode_bytes_field(struct qi_encoder *e, unsigned key, const void *bytes,
                           size_t size);

/* --- splitting a stream into frames --- */

struct qi_splitter {
    uint8_t *bytes; /* owned */
    size_t capacity, size, taken;
    size_t limit; /* longest payload that is accepted */
};

void qi_splitter_init(struct qi_splitter *s, size_t limit);
void qi_splitter_fini(struct qi_splitter *s);

/* Bytes by which the next qi_splitter_room() will make it larger. */
size_t qi_splitter_growth(const struct qi_splitter *s);
/* Room to receive into, at least one byte: QI_WIRE_OK or QI_WIRE_E_NOMEM.  Payloads that
   were handed out are no longer valid. */
int qi_splitter_room(struct qi_splitter *s, uint8_t **ret_bytes, size_t *ret_size);
/* So many bytes were received. */
void qi_splitter_filled(struct qi_splitter *s, size_t size);
/* 1 and a payload, valid until the next qi_splitter_room(); 0: none is complete;
   QI_WIRE_E_SIZE: the peer violates the protocol, there is nothing more to be had. */
int qi_splitter_next(struct qi_splitter *s, const uint8_t **ret_payload,
                     size_t *ret_size);

/* --- decoding --- */

enum qi_value_type {
    QI_VALUE_ABSENT = 0,
    QI_VALUE_NIL,
    QI_VALUE_BOOL,     /* u: 0 or 1 */
    QI_VALUE_UINT,     /* u */
    QI_VALUE_NEGATIVE, /* i */
    QI_VALUE_FLOAT,    /* f */
    QI_VALUE_TEXT,     /* bytes, size */
    QI_VALUE_BYTES,    /* bytes, size */
    QI_VALUE_LIST,     /* size elements: qi_cursor_in() */
    QI_VALUE_MAP,      /* size pairs: qi_cursor_in(), key and value in turn */
    QI_VALUE_EXT       /* bytes, size; nothing uses it */
};

struct qi_value {
    enum qi_value_type type;
    uint32_t size;
    union {
        uint64_t u;
        int64_t i;
        double f;
    };
    const uint8_t *bytes; /* contents: of texts and bytes, or the elements */
    size_t length;        /* bytes of the contents */
};

struct qi_frame {
    uint32_t message; /* enum qi_message, or unknown */
    uint32_t seq;
    struct qi_value body;                  /* the map */
    struct qi_value fields[QI_FIELDS_MAX]; /* by key; QI_VALUE_ABSENT: not there */
};

/* A payload (without its length).  QI_WIRE_OK; QI_WIRE_UNKNOWN: well-formed, to be
   ignored; negative: a violation. */
int qi_frame_decode(const uint8_t *payload, size_t size, struct qi_frame *ret_frame);

/* One value at the start of bytes; checks it to its end.  *ret_used: its bytes. */
int qi_value_decode(const uint8_t *bytes, size_t size, struct qi_value *ret_value,
                    size_t *ret_used);

struct qi_cursor {
    const uint8_t *at, *end;
};

/* Over the elements of a list or map. */
struct qi_cursor qi_cursor_in(const struct qi_value *value);
/* 1 and the next value; 0: no more, or malformed (impossible within a decoded frame). */
int qi_cursor_next(struct qi_cursor *cursor, struct qi_value *ret_value);

/* For long lists of numbers, without a look at what a value is besides.  What they find
   is inside of the cursor; the elements need not have been decoded before. */

enum qi_number { QI_NUMBER_NONE = 0, QI_NUMBER, QI_NUMBER_NEGATIVE };

/* The next value as a number, a negative one as its two's complement; QI_NUMBER_NONE: it
   is none, or there is no more, and the cursor stays where it is. */
enum qi_number qi_cursor_number(struct qi_cursor *cursor, uint64_t *ret_bits);
/* Goes into the next value if it is a list: 1 and how many elements follow, which are no
   more than there are bytes.  0: it is none, and the cursor stays where it is. */
int qi_cursor_enter(struct qi_cursor *cursor, uint32_t *ret_elements);

/* The value as a number; 0 and false where it is none or does not fit. */
int qi_value_uint(const struct qi_value *value, uint64_t *ret_number);
int qi_value_int(const struct qi_value *value, int64_t *ret_number);

/* A field's number (of a boolean: 0 or 1), or `otherwise` where it is absent. */
uint64_t qi_frame_uint(const struct qi_frame *frame, unsigned key, uint64_t otherwise);
int64_t qi_frame_int(const struct qi_frame *frame, unsigned key, int64_t otherwise);
/* Is the field there, a text, and equal to this one? */
int qi_frame_text_is(const struct qi_frame *frame, unsigned key, const char *text);
/* Copies a text, cut at a character, with a NUL; empty where it is absent. */
void qi_frame_copy_text(const struct qi_frame *frame, unsigned key, char *ret_text,
                        size_t size);

#ifdef __cplusplus
}
#endif

#endif
