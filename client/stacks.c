/* stacks.c - see stacks.h. */
#include "stacks.h"

#include "qi_utf8.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const char before_file[] = "  File ";
static const char before_line[] = ", line ";
static const char before_name[] = " in ";

/* --- reading ---------------------------------------------------------------------- */

static int
hex_value(const char *at, size_t digits, uint32_t *ret_value)
{
    uint32_t value = 0;

    for (size_t i = 0; i < digits; i++) {
        char c = at[i];
        if (c >= '0' && c <= '9') {
            value = value * 16 + (uint32_t)(c - '0');
        }
        else if (c >= 'a' && c <= 'f') {
            value = value * 16 + (uint32_t)(c - 'a') + 10;
        }
        else {
            return 0;
        }
    }
    *ret_value = value;
    return 1;
}

/* The bytes of a character, 1 to 4; surrogates are for qi_utf8_clean() to judge. */
static size_t
put_character(uint32_t c, char bytes[4])
{
    if (c < 0x80) {
        bytes[0] = (char)c;
        return 1;
    }
    if (c < 0x800) {
        bytes[0] = (char)(0xc0 | c >> 6);
        bytes[1] = (char)(0x80 | (c & 0x3f));
        return 2;
    }
    if (c < 0x10000) {
        bytes[0] = (char)(0xe0 | c >> 12);
        bytes[1] = (char)(0x80 | (c >> 6 & 0x3f));
        bytes[2] = (char)(0x80 | (c & 0x3f));
        return 3;
    }
    bytes[0] = (char)(0xf0 | (c >> 18 & 0x07));
    bytes[1] = (char)(0x80 | (c >> 12 & 0x3f));
    bytes[2] = (char)(0x80 | (c >> 6 & 0x3f));
    bytes[3] = (char)(0x80 | (c & 0x3f));
    return 4;
}

/* The character at the start of an escaped text, and how many bytes it took. */
static size_t
take_character(const char *at, size_t size, char bytes[4], size_t *ret_n)
{
    static const struct {
        char letter;
        size_t digits;
    } escapes[] = {{'x', 2}, {'u', 4}, {'U', 8}};
    uint32_t value = 0;

    for (size_t i = 0; i < sizeof(escapes) / sizeof(escapes[0]); i++) {
        size_t whole = 2 + escapes[i].digits;
        if (size >= whole && at[0] == '\\' && at[1] == escapes[i].letter
            && hex_value(at + 2, escapes[i].digits, &value)) {
            *ret_n = put_character(value, bytes);
            return whole;
        }
    }
    bytes[0] = at[0];
    *ret_n = 1;
    return 1;
}

/* Keeps a text with its escapes undone; its place, or UINT32_MAX when there is no room.
 */
static uint32_t
keep(struct qi_stack *s, const char *text, size_t size)
{
    char plain[1024];
    size_t used = 0;
    size_t n = 0;

    for (size_t at = 0; at < size && used + 4 <= sizeof(plain); used += n) {
        at += take_character(text + at, size - at, plain + used, &n);
    }
    size_t room = sizeof(s->strings) - s->used;
    if (room < used + 1) {
        return UINT32_MAX;
    }
    uint32_t place = (uint32_t)s->used;
    s->used += qi_utf8_clean(s->strings + s->used, used, plain, used);
    s->strings[s->used++] = '\0';
    return place;
}

static const char *
find(const char *text, size_t size, const char *word)
{
    size_t n = strlen(word);

    for (size_t i = 0; i + n <= size; i++) {
        if (memcmp(text + i, word, n) == 0) {
            return text + i;
        }
    }
    return NULL;
}

/* 1: a frame was taken; 0: this is none; -1: it found no room. */
static int
parse_line(struct qi_stack *s, const char *line, size_t size)
{
    struct qi_stack_frame *frame = &s->frames[s->len];
    const size_t lead = sizeof(before_file) - 1;
    const char *end = line + size;

    if (size <= lead || memcmp(line, before_file, lead) != 0) {
        return 0;
    }
    const char *file = line + lead;
    /* A file's name may hold the words that follow it: what counts is after the quote. */
    const char *from = file;
    if (*file == '"') {
        from = ++file;
        for (const char *at = file; at < end; at++) {
            from = *at == '"' ? at : from;
        }
    }
    const char *number = find(from, (size_t)(end - from), before_line);
    if (number == NULL) {
        return 0;
    }
    size_t file_size = (size_t)((from > file && *from == '"' ? from : number) - file);
    number += sizeof(before_line) - 1;
    const char *name = find(number, (size_t)(end - number), before_name);
    if (name == NULL) {
        return 0;
    }
    frame->line = 0;
    for (const char *at = number; at < name && *at >= '0' && *at <= '9'; at++) {
        frame->line = frame->line * 10 + (uint32_t)(*at - '0');
    }
    name += sizeof(before_name) - 1;
    size_t used = s->used;
    frame->file = keep(s, file, file_size);
    frame->name = keep(s, name, (size_t)(end - name));
    if (frame->file == UINT32_MAX || frame->name == UINT32_MAX) {
        s->used = used;
        return -1;
    }
    s->len++;
    return 1;
}

void
qi_stack_parse(const char *raw, size_t size, struct qi_stack *ret_stack)
{
    const char *end = raw + size;

    ret_stack->len = 0;
    ret_stack->cut = 0;
    ret_stack->used = 0;
    while (raw < end) {
        const char *newline = memchr(raw, '\n', (size_t)(end - raw));
        size_t length = (size_t)((newline != NULL ? newline : end) - raw);
        if (length == 5 && memcmp(raw, "  ...", 5) == 0) {
            ret_stack->cut = 1;
        }
        else if (ret_stack->len == QI_STACK_FRAMES
                 || parse_line(ret_stack, raw, length) < 0) {
            ret_stack->cut = 1;
            return;
        }
        raw += length + 1;
    }
}

/* --- telling ---------------------------------------------------------------------- */

uint64_t
qi_stack_hash(const struct qi_stack *s, unsigned frame)
{
    const struct qi_stack_frame *f = &s->frames[frame];
    const char *const texts[] = {s->strings + f->file, s->strings + f->name};
    uint64_t hash = UINT64_C(14695981039346656037) ^ f->line;

    for (size_t i = 0; i < 2; i++) {
        for (const char *at = texts[i];; at++) {
            hash = (hash ^ (uint8_t)*at) * UINT64_C(1099511628211);
            if (*at == '\0') {
                break;
            }
        }
    }
    return hash;
}

void
qi_stack_format(const struct qi_stack *s, char *ret_text, size_t size)
{
    size_t used = 0;
    int n = 0;

    ret_text[0] = '\0';
    if (s->len == 0) {
        (void)snprintf(ret_text, size, "  (no Python frame)\n");
        return;
    }
    if (s->cut) {
        n = snprintf(ret_text, size, "  ...\n");
        used = (size_t)n;
    }
    for (unsigned i = s->len; i-- > 0;) {
        const struct qi_stack_frame *f = &s->frames[i];
        n = snprintf(ret_text + used, size - used,
                     "  File \"%s\", line %" PRIu32 ", in %s\n", s->strings + f->file,
                     f->line, s->strings + f->name);
        if (n < 0 || (size_t)n >= size - used) {
            ret_text[used] = '\0'; /* no half line */
            return;
        }
        used += (size_t)n;
    }
}

void
qi_stack_encode(const struct qi_stack *s, struct qi_encoder *e)
{
    qi_encode_list(e, s->len);
    for (unsigned i = s->len; i-- > 0;) {
        const struct qi_stack_frame *f = &s->frames[i];
        qi_encode_list(e, 3);
        qi_encode_text(e, s->strings + f->file, strlen(s->strings + f->file));
        qi_encode_uint(e, f->line);
        qi_encode_text(e, s->strings + f->name, strlen(s->strings + f->name));
    }
}
