/*
 * qi_utf8.h - text that is UTF-8 for certain (RFC 3629: no surrogates, nothing overlong).
 */
#ifndef QI_PROTO_QI_UTF8_H
#define QI_PROTO_QI_UTF8_H

#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* Length of the character at the start of bytes, 1 to 4; 0 if it is none.  size > 0. */
size_t qi_utf8_character(const uint8_t *bytes, size_t size);

/* Are these bytes UTF-8 as a whole? */
int qi_utf8_valid(const uint8_t *bytes, size_t size);

/* Copies at most room bytes, never half a character, '?' for a byte that belongs to none.
   Returns the bytes written; they are not terminated. */
size_t qi_utf8_clean(char *ret_text, size_t room, const char *bytes, size_t size);

/* The same for C strings: size includes the terminating NUL; NULL counts as empty. */
void qi_utf8_copy(char *ret_text, size_t size, const char *text);

#ifdef __cplusplus
}
#endif

#endif
