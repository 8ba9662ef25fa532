/* test_stacks.c - what faulthandler writes, taken apart: see client/stacks.h. */
#include "qi_test.h"

#include "stacks.h"

#include <string.h>

static struct qi_stack stack;

static void
parse(const char *text)
{
    qi_stack_parse(text, strlen(text), &stack);
}

static void
check_frame(unsigned i, const char *file, unsigned line, const char *name)
{
    CHECK(i < stack.len);
    CHECK(strcmp(stack.strings + stack.frames[i].file, file) == 0);
    CHECK_INT(stack.frames[i].line, line);
    CHECK(strcmp(stack.strings + stack.frames[i].name, name) == 0);
}

static void
frames_are_read(void)
{
    parse("Stack (most recent call first):\n"
          "  File \"/x/app.py\", line 12 in save\n"
          "  File \"/x/app.py\", line 7 in <module>\n");
    CHECK_INT(stack.len, 2);
    CHECK_INT(stack.cut, 0);
    check_frame(0, "/x/app.py", 12, "save");
    check_frame(1, "/x/app.py", 7, "<module>");
}

static void
what_is_no_frame_is_skipped(void)
{
    parse("");
    CHECK_INT(stack.len, 0);
    parse("Stack (most recent call first):\n  <no Python frame>\n");
    CHECK_INT(stack.len, 0);
    parse("  File \n  File \"\n  File \"x\"\n  File \"x\", line 3\n"
          "  File \"x\", line 4 inn y\n  a line of a later version\n"
          "  File \"z\", line 5 in z");
    CHECK_INT(stack.len, 1);
    check_frame(0, "z", 5, "z");
}

static void
unknown_parts_stay_unknown(void)
{
    parse("  File ???, line ??? in ???\n");
    CHECK_INT(stack.len, 1);
    check_frame(0, "???", 0, "???");
}

static void
a_name_may_hold_what_follows_it(void)
{
    parse("  File \"/x/a\", line 3 in b.py\", line 12 in save in peace\n");
    CHECK_INT(stack.len, 1);
    check_frame(0, "/x/a\", line 3 in b.py", 12, "save in peace");
}

static void
escapes_become_characters(void)
{
    parse("  File \"/x/\\xe9\\u2013\\U0001f40d.py\", line 1 in \\xfcber\\u\\x4\n");
    check_frame(0, "/x/é–🐍.py", 1, "über\\u\\x4");
    /* Half a surrogate pair is no character. */
    parse("  File \"a\", line 1 in \\ud800x\n");
    check_frame(0, "a", 1, "???x");
}

static void
more_than_fits_is_cut(void)
{
    static char text[QI_STACK_RAW];
    size_t used = 0;

    for (int i = 0; i < QI_STACK_FRAMES + 5; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "  File \"f\", line %d in g\n", i);
    }
    parse(text);
    CHECK_INT(stack.len, QI_STACK_FRAMES);
    CHECK_INT(stack.cut, 1);
    check_frame(QI_STACK_FRAMES - 1, "f", QI_STACK_FRAMES - 1, "g");
    /* Long names: whole frames as long as there is room. */
    used = 0;
    for (int i = 0; i < 60; i++) {
        used += (size_t)snprintf(text + used, sizeof(text) - used,
                                 "  File \"%0500d\", line %d in %0499d\n", 7, i, 8);
    }
    parse(text);
    CHECK_INT(stack.cut, 1);
    CHECK_INT(stack.len, QI_STACK_STRINGS / 1001);
    CHECK_INT(strlen(stack.strings + stack.frames[stack.len - 1].name), 499);
    parse("  File \"f\", line 1 in g\n  ...\n");
    CHECK_INT(stack.len, 1);
    CHECK_INT(stack.cut, 1);
}

static void
the_text_has_the_innermost_last(void)
{
    char text[256];

    parse("  File \"b\", line 2 in g\n  File \"a\", line 1 in f\n");
    qi_stack_format(&stack, text, sizeof(text));
    CHECK(strcmp(text, "  File \"a\", line 1, in f\n  File \"b\", line 2, in g\n") == 0);
    qi_stack_format(&stack, text, 30); /* no half line */
    CHECK(strcmp(text, "  File \"a\", line 1, in f\n") == 0);
    parse("  File \"b\", line 2 in g\n  ...\n");
    qi_stack_format(&stack, text, sizeof(text));
    CHECK(strcmp(text, "  ...\n  File \"b\", line 2, in g\n") == 0);
    parse("");
    qi_stack_format(&stack, text, sizeof(text));
    CHECK(strcmp(text, "  (no Python frame)\n") == 0);
}

static void
hashes_tell_frames_apart(void)
{
    parse("  File \"a\", line 1 in f\n  File \"a\", line 2 in f\n"
          "  File \"a\", line 1 in f\n  File \"af\", line 1 in \n");
    CHECK(qi_stack_hash(&stack, 0) == qi_stack_hash(&stack, 2));
    CHECK(qi_stack_hash(&stack, 0) != qi_stack_hash(&stack, 1));
    CHECK(qi_stack_hash(&stack, 0) != qi_stack_hash(&stack, 3));
}

/* Any bytes are taken apart without reading or writing elsewhere. */
static void
noise_is_survived(void)
{
    static const char *const words[] = {"  File \"", "\", line ", " in ", "\n",   "\\x",
                                        "\\u12",     "7",         "\"",   "  ..."};
    unsigned long long random = 42;
    char text[512];
    char out[300];

    for (int round = 0; round < 20000; round++) {
        size_t used = 0;
        while (used < sizeof(text) - 16 && qi_test_random(&random) % 40 != 0) {
            if (qi_test_random(&random) % 4 == 0) {
                text[used++] = (char)qi_test_random(&random);
            }
            else {
                const char *word = words[qi_test_random(&random) % 9];
                memcpy(text + used, word, strlen(word));
                used += strlen(word);
            }
        }
        char *exact = malloc(used > 0 ? used : 1);
        CHECK(exact != NULL);
        memcpy(exact, text, used);
        qi_stack_parse(exact, used, &stack);
        free(exact);
        CHECK(stack.len <= QI_STACK_FRAMES && stack.used <= sizeof(stack.strings));
        qi_stack_format(&stack, out, sizeof(out));
        CHECK(strlen(out) < sizeof(out));
    }
}

int
main(void)
{
    RUN(frames_are_read);
    RUN(what_is_no_frame_is_skipped);
    RUN(unknown_parts_stay_unknown);
    RUN(a_name_may_hold_what_follows_it);
    RUN(escapes_become_characters);
    RUN(more_than_fits_is_cut);
    RUN(the_text_has_the_innermost_last);
    RUN(hashes_tell_frames_apart);
    RUN(noise_is_survived);
    return 0;
}
