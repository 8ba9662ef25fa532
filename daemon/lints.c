#include "lints_internal.h"

#include <stdlib.h>
#include <string.h>

static const struct {
    const char *id;
    struct qi_lint_setting setting;
} kinds[] = {
#define X(id, letter, after_ms, number, text)                                            \
    {#id, {.severity = letter, .after = INT64_C(after_ms) * QI_MS, .limit = number}},
#include "lints.def"
#undef X
};

const char *
qi_lint_id(enum qi_lint lint)
{
    return kinds[lint].id;
}

struct qi_lints *
qi_lints_new(unsigned workers)
{
    struct qi_lints *l = calloc(1, sizeof(*l));

    if (l != NULL) {
        l->workers = workers;
        qi_lints_configure(l, "", 0);
    }
    return l;
}

size_t
qi_lints_bytes(void)
{
    return sizeof(struct qi_lints);
}

void
qi_lints_free(struct qi_lints *l)
{
    free(l);
}

/*********** what the application wants ***********/

/* A word of a line, up to a blank: its length, 0 at the end of the line. */
static size_t
next_word(const char **at, const char *end)
{
    while (*at < end && **at == ' ') {
        ++*at;
    }
    const char *word = *at;
    while (word < end && *word != ' ' && *word != '\n') {
        word++;
    }
    return (size_t)(word - *at);
}

/* The number after `name=` in a word; -1: it is something else, or too large. */
static int64_t
number_of(const char *word, size_t size, const char *name)
{
    size_t n = strlen(name);
    int64_t value = 0;

    if (size <= n || size > n + 9 || memcmp(word, name, n) != 0) {
        return -1;
    }
    for (size_t i = n; i < size; i++) {
        if (word[i] < '0' || word[i] > '9') {
            return -1;
        }
        value = value * 10 + (word[i] - '0');
    }
    return value;
}

static void
apply(struct qi_lint_setting *setting, const char *word, size_t size)
{
    static const char severity[] = "severity=";
    int64_t after = number_of(word, size, "after_ms=");
    int64_t limit = number_of(word, size, "limit=");

    if (size == 3 && memcmp(word, "off", 3) == 0) {
        setting->off = 1;
    }
    else if (size == sizeof(severity) && memcmp(word, severity, size - 1) == 0
             && strchr("EWI", word[size - 1]) != NULL) {
        setting->severity = word[size - 1];
        setting->chosen = 1;
    }
    else if (after >= 0 && setting->after >= 0) {
        setting->after = after * QI_MS;
    }
    else if (limit >= 0 && setting->limit >= 0) {
        setting->limit = limit;
    }
}

void
qi_lints_configure(struct qi_lints *l, const char *text, size_t size)
{
    const char *end = text + size;

    for (unsigned lint = 0; lint < QI_LINT_KINDS; lint++) {
        l->set[lint] = kinds[lint].setting;
    }
    while (text < end) {
        struct qi_lint_setting *setting = NULL;
        size_t n = next_word(&text, end);
        for (unsigned lint = 0; lint < QI_LINT_KINDS; lint++) {
            if (n == strlen(kinds[lint].id) && memcmp(text, kinds[lint].id, n) == 0) {
                setting = &l->set[lint];
            }
        }
        text += n;
        while ((n = next_word(&text, end)) > 0) {
            if (setting != NULL) {
                apply(setting, text, n);
            }
            text += n;
        }
        text += text < end; /* the end of the line */
    }
}

int64_t
qi_lints_after_ms(const struct qi_lints *l, enum qi_lint lint)
{
    return l->set[lint].off || l->set[lint].after < 0 ? -1 : l->set[lint].after / QI_MS;
}

/* The asyncslot that a finding is about; 0: it is about something else. */
static uint64_t
slot_of(const struct qi_mirror *m, uint64_t ref)
{
    if (QI_REF_KIND(ref) == QI_SLOT) {
        return QI_REF_ID(ref);
    }
    if (QI_REF_KIND(ref) != QI_TASK) {
        return 0;
    }
    const struct qi_mirror_row *task = qi_mirror_find(m, QI_TASK, QI_REF_ID(ref));
    return task == NULL ? 0 : task->value[QI_COL_TASK_slot];
}

/* Does the line of the asyncslot say so? */
static int
is_ignored(const struct qi_lints *l, enum qi_lint lint, uint64_t ref)
{
    uint64_t slot = l->m == NULL ? 0 : slot_of(l->m, ref);
    const struct qi_mirror_row *row =
        slot == 0 ? NULL : qi_mirror_find(l->m, QI_SLOT, slot);

    if (row == NULL || row->value[QI_COL_SLOT_ignore] == 0) {
        return 0;
    }
    const char *ids = qi_words_text(l->m, row->value[QI_COL_SLOT_ignore]);
    return strcmp(ids, "*") == 0 || strstr(ids, kinds[lint].id) != NULL;
}

/*********** findings ***********/

struct qi_finding *
qi_lint_find(struct qi_lints *l, enum qi_lint lint, uint64_t ref)
{
    for (unsigned i = 0; i < l->len[lint]; i++) {
        if (l->findings[lint][i].ref == ref) {
            return &l->findings[lint][i];
        }
    }
    return NULL;
}

static void
forget(struct qi_lints *l, struct qi_finding *finding)
{
    enum qi_lint lint = finding->lint;

    *finding = l->findings[lint][--l->len[lint]];
}

static struct qi_finding *
make(struct qi_lints *l, enum qi_lint lint, uint64_t ref, int64_t now)
{
    struct qi_finding *finding = qi_lint_find(l, lint, ref);

    if (finding != NULL) {
        return finding;
    }
    if (l->set[lint].off || is_ignored(l, lint, ref)) {
        return NULL;
    }
    if (l->len[lint] == QI_LINT_EACH) {
        l->suppressed++;
        return NULL;
    }
    finding = &l->findings[lint][l->len[lint]++];
    memset(finding, 0, sizeof(*finding));
    finding->lint = lint;
    finding->severity = l->set[lint].severity;
    finding->ref = ref;
    finding->since = now;
    finding->pending = 1;
    return finding;
}

static void
activate(struct qi_finding *finding)
{
    if (!finding->active) {
        finding->active = 1;
        finding->pending = 0;
        finding->changed = 1;
    }
}

struct qi_finding *
qi_lint_holds(struct qi_lints *l, enum qi_lint lint, uint64_t ref, int64_t since,
              int64_t after)
{
    struct qi_finding *finding = make(l, lint, ref, since);

    if (finding == NULL) {
        return NULL;
    }
    finding->round = l->round;
    finding->last = l->now;
    if (!finding->active && l->now - finding->since >= after) {
        finding->count++;
        activate(finding);
        return finding;
    }
    return NULL;
}

struct qi_finding *
qi_lint_happened(struct qi_lints *l, enum qi_lint lint, uint64_t ref, int64_t when)
{
    struct qi_finding *finding = make(l, lint, ref, when);

    if (finding == NULL) {
        return NULL;
    }
    if (when > l->now) {
        l->now = when;
    }
    finding->count++;
    finding->last = when;
    finding->round = UINT32_MAX; /* it ends with time, not with a condition */
    activate(finding);
    return finding;
}

void
qi_lint_end_findings(struct qi_lints *l)
{
    for (unsigned lint = 0; lint < QI_LINT_KINDS; lint++) {
        for (unsigned i = l->len[lint]; i-- > 0;) {
            struct qi_finding *finding = &l->findings[lint][i];
            int over = finding->round == UINT32_MAX
                           ? l->now - finding->last > QI_LINT_HOLD_NS
                           : finding->round != l->round;
            if (!over) {
                continue;
            }
            if (!finding->told) {
                forget(l, finding);
            }
            else if (finding->active) {
                finding->active = 0;
                finding->changed = 1;
            }
        }
    }
}

const struct qi_finding *
qi_lints_next_change(struct qi_lints *l)
{
    for (unsigned lint = 0; lint < QI_LINT_KINDS; lint++) {
        for (unsigned i = 0; i < l->len[lint]; i++) {
            struct qi_finding *finding = &l->findings[lint][i];
            if (!finding->changed) {
                continue;
            }
            finding->changed = 0;
            finding->told = 1;
            if (finding->active) {
                return finding;
            }
            l->gone = *finding;
            forget(l, finding);
            return &l->gone;
        }
    }
    return NULL;
}

const struct qi_finding *
qi_lints_next(const struct qi_lints *l, unsigned *place)
{
    for (; *place < QI_LINT_KINDS * QI_LINT_EACH; ++*place) {
        unsigned lint = *place / QI_LINT_EACH;
        unsigned i = *place % QI_LINT_EACH;
        if (i < l->len[lint] && l->findings[lint][i].active) {
            ++*place;
            return &l->findings[lint][i];
        }
    }
    return NULL;
}

uint64_t
qi_lints_suppressed(const struct qi_lints *l)
{
    return l->suppressed;
}
