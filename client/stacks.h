/*
 * stacks.h - what faulthandler writes, as frames and as text.
 *
 *      Stack (most recent call first):
 *        File "/x/app.py", line 12 in save
 *
 * The text is ASCII; other characters are in it as \xhh, \uhhhh and \Uhhhhhhhh.  What is
 * no frame is skipped, so that later versions of Python may say more.  [sender]
 */
#ifndef QI_CLIENT_STACKS_H
#define QI_CLIENT_STACKS_H

#include "wire.h"

#include <stddef.h>
#include <stdint.h>

#define QI_STACK_FRAMES 100     /* faulthandler writes no more */
#define QI_STACK_RAW 131072     /* bytes of it that are looked at */
#define QI_STACK_STRINGS 20480u /* bytes of files and names */

struct qi_stack_frame {
    uint32_t line;       /* 0: unknown */
    uint32_t file, name; /* places in strings; NUL-terminated UTF-8 */
};

struct qi_stack {
    unsigned len;
    int cut;                                       /* there are more, further out */
    struct qi_stack_frame frames[QI_STACK_FRAMES]; /* the innermost first */
    size_t used;
    char strings[QI_STACK_STRINGS];
};

void qi_stack_parse(const char *raw, size_t size, struct qi_stack *ret_stack);

/* A number that differs for different frames. */
uint64_t qi_stack_hash(const struct qi_stack *stack, unsigned frame);

/* As Python words a traceback, the outermost frame first; cut at size, with a NUL. */
void qi_stack_format(const struct qi_stack *stack, char *ret_text, size_t size);

/* [[file, line, name], ...], the outermost frame first. */
void qi_stack_encode(const struct qi_stack *stack, struct qi_encoder *e);

#endif
