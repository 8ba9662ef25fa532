/*
 * proto.h - the constants of the protocol; PROTOCOL.md says what they mean.
 */
#ifndef QI_PROTO_PROTO_H
#define QI_PROTO_PROTO_H

#ifdef __cplusplus
extern "C" {
#endif

#define QI_PROTO_MAGIC "QTI"
#define QI_PROTO_MAJOR 1
#define QI_PROTO_MINOR 0

#define QI_FRAME_MAX                                                                     \
    1048576u                 /* bytes after the length; longer frames are a violation    \
                              */
#define QI_CHUNK_MAX 262144u /* what a sender puts into one frame of rows or records */
#define QI_DEPTH_MAX 16u  /* lists and maps within each other, the frame's among them */
#define QI_FIELDS_MAX 16u /* keys of a body are below this */
#define QI_NONCE_SIZE 32u
#define QI_MAC_SIZE 32u
#define QI_RATE_MAX 50u /* updates a second */

enum qi_message {
#define MESSAGE(number, NAME, sender, doc) QI_MSG_##NAME = number,
#define FIELD(NAME, key, name, type, need, doc)
#include "messages.def"
#undef MESSAGE
#undef FIELD
};

/* QI_KEY_HELLO_magic and so on. */
enum qi_message_key {
#define MESSAGE(number, NAME, sender, doc)
#define FIELD(NAME, key, name, type, need, doc) QI_KEY_##NAME##_##name = key,
#include "messages.def"
#undef MESSAGE
#undef FIELD
    QI_KEY_END
};

#define MESSAGE(number, NAME, sender, doc)                                               \
    static_assert_qi_(number > 0 && number < 128, NAME##_number);
#define FIELD(NAME, key, name, type, need, doc)                                          \
    static_assert_qi_(key < QI_FIELDS_MAX, NAME##_##name);
/* _Static_assert is C, static_assert is C++: this is both. */
#define static_assert_qi_(condition, name)                                               \
    enum { qi_assert_##name = 1 / ((condition) ? 1 : 0) };
#include "messages.def"
#undef static_assert_qi_
#undef MESSAGE
#undef FIELD

/* Who may send a message: the letters of messages.def. */
enum qi_sender_role { QI_FROM_DAEMON = 1, QI_FROM_APPLICATION = 2, QI_FROM_TOOL = 4 };

/* REFUSE.code */
enum qi_refusal {
    QI_REFUSED_VERSION = 1, /* the majors differ */
    QI_REFUSED_KEY,         /* the HMAC is wrong: not the same runtime directory */
    QI_REFUSED_ROLE,        /* no such role, or not granted */
    QI_REFUSED_FULL,        /* too many sessions, or no memory left for it */
    QI_REFUSED_PROTOCOL,    /* a malformed or an unexpected frame */
    QI_REFUSED_USER         /* the peer belongs to another user */
};

#ifdef __cplusplus
}
#endif

#endif
