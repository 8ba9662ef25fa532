/* utf8.c - see qi_utf8.h. */
#include "qi_utf8.h"

#include <string.h>

static int
is_tail(uint8_t byte)
{
    return (byte & 0xC0u) == 0x80u;
}

/* The table of RFC 3629, section 4: the second byte's range depends on the first. */
size_t
qi_utf8_character(const uint8_t *bytes, size_t size)
{
    uint8_t first = bytes[0];
    uint8_t low = 0x80;
    uint8_t high = 0xBF;
    size_t length;

    if (first < 0x80) {
        return 1;
    }
    if (first < 0xC2 || first > 0xF4) {
        return 0;
    }
    length = first < 0xE0 ? 2 : first < 0xF0 ? 3 : 4;
    if (size < length) {
        return 0;
    }
    if (first == 0xE0) {
        low = 0xA0;
    }
    else if (first == 0xED) {
        high = 0x9F;
    }
    else if (first == 0xF0) {
        low = 0x90;
    }
    else if (first == 0xF4) {
        high = 0x8F;
    }
    if (bytes[1] < low || bytes[1] > high) {
        return 0;
    }
    for (size_t i = 2; i < length; i++) {
        if (!is_tail(bytes[i])) {
            return 0;
        }
    }
    return length;
}

/* Bytes at the start that are ASCII, in whole words: most text is nothing else. */
static size_t
ascii_words(const uint8_t *bytes, size_t size)
{
    size_t at = 0;

    while (size - at >= 8) {
        uint64_t word;
        memcpy(&word, bytes + at, sizeof(word));
        if ((word & UINT64_C(0x8080808080808080)) != 0) {
            break;
        }
        at += 8;
    }
    return at;
}

int
qi_utf8_valid(const uint8_t *bytes, size_t size)
{
    size_t at = ascii_words(bytes, size);

    while (at < size) {
        size_t n = qi_utf8_character(bytes + at, size - at);
        if (n == 0) {
            return 0;
        }
        at += n;
    }
    return 1;
}

size_t
qi_utf8_clean(char *ret_text, size_t room, const char *bytes, size_t size)
{
    size_t from = 0;
    size_t to = 0;

    while (from < size && to < room) {
        size_t n = qi_utf8_character((const uint8_t *)bytes + from, size - from);
        if (n == 0) {
            ret_text[to++] = '?';
            from++;
            continue;
        }
        if (n > room - to) {
            break;
        }
        memcpy(ret_text + to, bytes + from, n);
        from += n;
        to += n;
    }
    return to;
}

void
qi_utf8_copy(char *ret_text, size_t size, const char *text)
{
    size_t n = text == NULL ? 0 : qi_utf8_clean(ret_text, size - 1, text, strlen(text));

    ret_text[n] = '\0';
}
