/* lints_words.c - see lints_internal.h: how things are called. */
#include "lints_internal.h"

#include <string.h>

const char *
qi_words_text(const struct qi_mirror *m, uint64_t id)
{
    const struct qi_mirror_entry *entry = qi_mirror_find_entry(m, (uint32_t)id);

    return entry != NULL && entry->type == 't' ? entry->text : "";
}

const char *
qi_words_code(const struct qi_mirror *m, uint64_t id)
{
    const struct qi_mirror_entry *entry = qi_mirror_find_entry(m, (uint32_t)id);

    return entry != NULL && entry->type == 'c' ? qi_words_text(m, entry->numbers[1]) : "";
}

int
qi_words_fit(const char *text, int max)
{
    int size = (int)strnlen(text, (size_t)max + 1);

    if (size > max) {
        size = max;
        while (size > 0 && ((unsigned char)text[size] & 0xc0) == 0x80) {
            size--;
        }
    }
    return size;
}

struct qi_words
qi_words_of(const struct qi_mirror *m, uint64_t ref)
{
    struct qi_words words;
    unsigned kind = QI_REF_KIND(ref);
    uint64_t id = QI_REF_ID(ref);
    const struct qi_mirror_row *row = qi_mirror_find(m, kind, id);
    const char *entity = qi_entity_name(kind);
    const char *name = "";

    if (kind == QI_CALLBACK) {
        name = qi_words_code(m, id);
    }
    else if (row != NULL && kind == QI_TASK) {
        uint64_t text = row->value[QI_COL_TASK_name];
        name = (text & QI_TASK_N) != 0 ? "" : qi_words_text(m, text);
        name = name[0] != '\0' ? name : qi_words_code(m, row->value[QI_COL_TASK_code]);
    }
    else if (row != NULL && kind == QI_SLOT) {
        name = qi_words_text(m, row->value[QI_COL_SLOT_name]);
    }
    else if (row != NULL && kind == QI_WAIT) {
        name = qi_words_text(m, row->value[QI_COL_WAIT_signal]);
    }
    if (ref == 0 || kind == QI_CALLBACK) {
        (void)snprintf(words.text, sizeof(words.text), "callback%s%.*s",
                       name[0] != '\0' ? " " : "", qi_words_fit(name, 60), name);
    }
    else if (name[0] != '\0') {
        (void)snprintf(words.text, sizeof(words.text), "%s %" PRIu64 " (%.*s)",
                       entity != NULL ? entity : "entity", id, qi_words_fit(name, 40),
                       name);
    }
    else {
        (void)snprintf(words.text, sizeof(words.text), "%s %" PRIu64,
                       entity != NULL ? entity : "entity", id);
    }
    return words;
}

struct qi_words
qi_words_time(int64_t ns)
{
    struct qi_words words;

    if (ns >= QI_SECOND) {
        (void)snprintf(words.text, sizeof(words.text), "%" PRId64 " s",
                       (ns + QI_SECOND / 2) / QI_SECOND);
    }
    else {
        (void)snprintf(words.text, sizeof(words.text), "%" PRId64 " ms", ns / QI_MS);
    }
    return words;
}
