/* trace_trigger.c - see trace_trigger.h. */
#include "trace_trigger.h"

#include <ctype.h>
#include <stddef.h>
#include <string.h>

#define CHUNK_MIN_NS INT64_C(250000000)
#define STALL_NS_MAX INT64_C(1000000000000000) /* some days */

/* --- the text --------------------------------------------------------------------- */

static void
skip_blanks(const char **at)
{
    while (**at == ' ' || **at == '\t') {
        (*at)++;
    }
}

static int
take_word(const char **at, const char *word)
{
    size_t size = strlen(word);

    if (strncmp(*at, word, size) != 0 || isalnum((unsigned char)(*at)[size])
        || (*at)[size] == '_') {
        return 0;
    }
    *at += size;
    skip_blanks(at);
    return 1;
}

static int
is_digit(char c)
{
    return c >= '0' && c <= '9';
}

/* Digits, and digits behind a point; in no locale's way of writing them. */
static int
take_number(const char **at, double *ret)
{
    double scale = 1;

    if (!is_digit(**at)) {
        return 0;
    }
    for (*ret = 0; is_digit(**at); (*at)++) {
        *ret = *ret * 10 + (**at - '0');
    }
    if (**at == '.') {
        for ((*at)++; is_digit(**at); (*at)++) {
            scale /= 10;
            *ret += (**at - '0') * scale;
        }
    }
    skip_blanks(at);
    return 1;
}

static int
take_threshold(const char **at, int64_t *ret_ns)
{
    double number = 0;
    double unit = 1e6;

    if (!take_number(at, &number)) {
        return -1;
    }
    if (take_word(at, "us")) {
        unit = 1e3;
    }
    else if (take_word(at, "s")) {
        unit = 1e9;
    }
    else {
        (void)take_word(at, "ms");
    }
    if (number * unit < 1 || number * unit > (double)STALL_NS_MAX) {
        return -1;
    }
    *ret_ns = (int64_t)(number * unit);
    return 0;
}

static int
take_trigger(struct qi_trigger *t, const char **at)
{
    skip_blanks(at);
    if (take_word(at, "exception")) {
        t->kinds |= QI_TRIGGER_EXCEPTION;
        return 0;
    }
    if (take_word(at, "lint")) {
        t->kinds |= QI_TRIGGER_LINT;
        return 0;
    }
    if (!take_word(at, "stall")) {
        return -1;
    }
    t->kinds |= QI_TRIGGER_STALL;
    if (**at != '>') {
        return 0;
    }
    (*at)++;
    skip_blanks(at);
    return take_threshold(at, &t->stall_ns);
}

int
qi_trigger_parse(struct qi_trigger *t, const char *text)
{
    t->kinds = 0;
    t->stall_ns = QI_TRIGGER_STALL_NS;
    for (;;) {
        if (take_trigger(t, &text) < 0) {
            return -1;
        }
        if (*text != '|') {
            break;
        }
        text++;
    }
    return *text == '\0' ? 0 : -1;
}

/* --- the flight ------------------------------------------------------------------- */

void
qi_trigger_shape(const struct qi_trigger *t, int64_t *chunk_ns, int64_t *max_age_ns)
{
    int64_t kept = t->kinds != 0 ? t->pre_ns : *max_age_ns;
    int64_t fine = kept / 4;

    if (t->kinds == 0 && kept <= 0) {
        return; /* nothing goes */
    }
    if (fine < *chunk_ns) {
        *chunk_ns = fine > CHUNK_MIN_NS ? fine : CHUNK_MIN_NS;
    }
    if (t->kinds == 0) {
        return;
    }
    int64_t span = t->pre_ns + t->post_ns + 2 * *chunk_ns;
    if (*max_age_ns < span) {
        *max_age_ns = span;
    }
}

/* --- what happens ----------------------------------------------------------------- */

void
qi_trigger_set(struct qi_trigger *t, unsigned kinds, const char *name, int64_t ts,
               int64_t now_ns)
{
    if ((t->kinds & kinds) == 0 || t->due != 0) {
        return; /* what happens until the capture is in it anyway */
    }
    t->name = name;
    t->ts = ts;
    t->due = now_ns + t->post_ns;
}

/* A step or callback has ended. */
static void
look_at_run(struct qi_trigger *t, int64_t ts, uint64_t duration, int64_t now_ns)
{
    if (duration >= (uint64_t)t->stall_ns) {
        qi_trigger_set(t, QI_TRIGGER_STALL | QI_TRIGGER_LINT, "stall", ts, now_ns);
        t->free_at = ts; /* timers that are late are so because of it */
    }
}

/* A timer was late: since when did something else have the thread of a loop that ran? */
static void
look_at_timer(struct qi_trigger *t, const struct qi_record *record, int64_t now_ns)
{
    int64_t due = (int64_t)((uint64_t)record->ts - record->b);

    if ((t->kinds & QI_TRIGGER_STALL) == 0 || record->b < (uint64_t)t->stall_ns
        || due < t->free_at || due > record->ts || record->ts - due < t->stall_ns) {
        return;
    }
    qi_trigger_set(t, QI_TRIGGER_STALL, "stall", due, now_ns);
    t->kept_since = due;
    t->kept_until = t->free_at = record->ts;
    t->kept_loop = record->aux;
}

int
qi_trigger_kept(struct qi_trigger *t, struct qi_encoder *body)
{
    if (t->kept_since == 0) {
        return 0;
    }
    qi_encode_map(body, 5);
    qi_encode_uint_field(body, QI_KEY_STALL_loop, t->kept_loop);
    qi_encode_int_field(body, QI_KEY_STALL_since, t->kept_since);
    qi_encode_int_field(body, QI_KEY_STALL_duration, t->kept_until - t->kept_since);
    qi_encode_uint_field(body, QI_KEY_STALL_current, 0);
    qi_encode_bool_field(body, QI_KEY_STALL_over, 1);
    t->kept_since = 0;
    return !body->failed;
}

static void
look_at(struct qi_trigger *t, const struct qi_record *record, int64_t now_ns)
{
    switch (record->kind) {
    case QI_EV_TASK_STEP:
        look_at_run(t, record->ts, record->b, now_ns);
        break;
    case QI_EV_CALLBACK:
        look_at_run(t, record->ts, record->a, now_ns);
        break;
    case QI_EV_TIMER_FIRED:
        look_at_timer(t, record, now_ns);
        break;
    case QI_EV_LOOP_STARTED:
        t->free_at = record->ts; /* before, nobody expected it to do anything */
        break;
    case QI_EV_TASK_ENDED:
        if (record->x == QI_TASK_FAILED) {
            qi_trigger_set(t, QI_TRIGGER_EXCEPTION, "exception", record->ts, now_ns);
        }
        break;
    case QI_EV_CALLBACK_FAILED:
        qi_trigger_set(t, QI_TRIGGER_EXCEPTION, "exception", record->ts, now_ns);
        break;
    case QI_EV_TASK_UNRETRIEVED:
        qi_trigger_set(t, QI_TRIGGER_EXCEPTION, "exception", record->ts, now_ns);
        qi_trigger_set(t, QI_TRIGGER_LINT, "lint", record->ts, now_ns);
        break;
    case QI_EV_TASK_DESTROYED:
    case QI_EV_SENDER_DESTROYED:
        qi_trigger_set(t, QI_TRIGGER_LINT, "lint", record->ts, now_ns);
        break;
    case QI_EV_NESTED_ENTERED:
        if (record->a != 0) {
            qi_trigger_set(t, QI_TRIGGER_LINT, "lint", record->ts, now_ns);
        }
        break;
    default:
        break;
    }
}

void
qi_trigger_look(struct qi_trigger *t, const struct qi_record *records, uint64_t n,
                int64_t now_ns)
{
    for (uint64_t i = 0; t->kinds != 0 && i < n; i++) {
        look_at(t, &records[i], now_ns);
    }
}
