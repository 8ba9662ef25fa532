/*
 * mirror_records.c - see mirror.h: the records of a mirror, and the memory that the
 * histories of all mirrors have together.
 */
#include "mirror_internal.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_RING 1024u

/*********** the history of all ***********/

static size_t
ring_bytes(uint32_t capacity)
{
    return capacity * sizeof(struct qi_record) + capacity / 8 + 1;
}

void
qi_mirror_join(struct qi_mirror *m, struct qi_history *history)
{
    if (m->history != NULL) {
        *m->link = m->next;
        if (m->next != NULL) {
            m->next->link = m->link;
        }
    }
    m->history = history;
    if (history != NULL) {
        m->next = history->mirrors;
        m->link = &history->mirrors;
        if (m->next != NULL) {
            m->next->link = &m->next;
        }
        history->mirrors = m;
    }
}

/* Whose row ended first, of all; NULL: no row is over. */
static struct qi_mirror *
longest_ended(const struct qi_history *h)
{
    struct qi_mirror *found = NULL;

    for (struct qi_mirror *m = h->mirrors; m != NULL; m = m->next) {
        if (m->first_ended != NULL
            && (found == NULL || m->first_ended->ended < found->first_ended->ended)) {
            found = m;
        }
    }
    return found;
}

static void halve_ring(struct qi_mirror *m);

/* The largest ring becomes half as large; 0: all are small. */
static int
shrink_a_ring(struct qi_history *h)
{
    struct qi_mirror *largest = NULL;

    for (struct qi_mirror *m = h->mirrors; m != NULL; m = m->next) {
        if (m->record_capacity > FIRST_RING
            && (largest == NULL || m->record_capacity > largest->record_capacity)) {
            largest = m;
        }
    }
    if (largest == NULL) {
        return 0;
    }
    halve_ring(largest);
    return 1;
}

/* Makes room for so many bytes more; 0: there is none to be had. */
static int
make_room(struct qi_history *h, size_t bytes)
{
    while (h->used + bytes > h->limit) {
        struct qi_mirror *m = longest_ended(h);
        if (m != NULL) {
            h->rows_dropped++;
            qi_mirror_forget_first(m);
        }
        else if (!shrink_a_ring(h)) {
            return 0;
        }
    }
    return 1;
}

void
qi_history_row_ended(struct qi_mirror *m, struct qi_mirror_row *row)
{
    struct qi_history *h = m->history;

    if (h != NULL) {
        size_t bytes = qi_row_bytes(row->room);
        row->ended = ++h->clock;
        h->used += bytes;
        m->ended_bytes += bytes;
        qi_account_give(&m->account, bytes);
        (void)make_room(h, 0);
    }
}

void
qi_history_row_gone(struct qi_mirror *m, const struct qi_mirror_row *row)
{
    if (m->history != NULL) {
        size_t bytes = qi_row_bytes(row->room);
        m->history->used -= bytes;
        m->ended_bytes -= bytes;
    }
}

/*********** the ring ***********/

static uint64_t
place_of(const struct qi_mirror *m, uint64_t number)
{
    return number & (m->record_capacity - 1);
}

static void
mark_record(struct qi_mirror *m, uint64_t number, int known)
{
    uint64_t place = place_of(m, number);
    uint8_t bit = (uint8_t)(1u << (place & 7));

    if (known) {
        m->record_known[place >> 3] |= bit;
    }
    else {
        m->record_known[place >> 3] &= (uint8_t)~bit;
    }
}

void
qi_mirror_free_records(struct qi_mirror *m)
{
    if (m->records != NULL && m->history != NULL) {
        m->history->used -= ring_bytes(m->record_capacity);
    }
    free(m->records);
    free(m->record_known);
    m->records = NULL;
    m->record_known = NULL;
    m->record_capacity = 0;
}

/* A larger ring, whose memory has been found free in the history. */
static int
grow_ring(struct qi_mirror *m, uint32_t capacity)
{
    struct qi_mirror old = *m;
    struct qi_record *records = malloc(capacity * sizeof(*records));
    uint8_t *known = calloc(capacity / 8 + 1, 1);

    if (records == NULL || known == NULL) {
        free(records);
        free(known);
        return QI_MIRROR_E_NOMEM;
    }
    m->records = records;
    m->record_known = known;
    m->record_capacity = capacity;
    for (uint64_t i = m->record_oldest; i < m->record_end; i++) {
        const struct qi_record *record = qi_mirror_record(&old, i);
        if (record != NULL) {
            records[place_of(m, i)] = *record;
            mark_record(m, i, 1);
        }
    }
    if (m->history != NULL) {
        m->history->used += ring_bytes(capacity);
    }
    qi_mirror_free_records(&old);
    return QI_MIRROR_OK;
}

/* The newer half stays, in the same memory: a place is there already, or is the one that
   is half a ring further on. */
static void
halve_ring(struct qi_mirror *m)
{
    uint32_t half = m->record_capacity / 2;
    uint64_t begin = m->record_end > half ? m->record_end - half : 0;

    begin = begin < m->record_oldest ? m->record_oldest : begin;
    for (uint64_t i = begin; i < m->record_end; i++) {
        const struct qi_record *record = qi_mirror_record(m, i);
        uint64_t place = i & (half - 1);
        if (record != NULL) {
            m->records[place] = *record;
        }
        /* The place's own bit was looked at, or is older than what stays. */
        uint8_t bit = (uint8_t)(1u << (place & 7));
        m->record_known[place >> 3] &= (uint8_t)~bit;
        m->record_known[place >> 3] |= record != NULL ? bit : 0;
    }
    if (m->history != NULL) {
        m->history->records_dropped += begin - m->record_oldest;
        m->history->used -= ring_bytes(m->record_capacity) - ring_bytes(half);
    }
    m->record_oldest = begin;
    m->record_capacity = half;
    void *records = realloc(m->records, half * sizeof(*m->records));
    void *known = realloc(m->record_known, half / 8 + 1);
    m->records = records != NULL ? records : m->records;
    m->record_known = known != NULL ? known : m->record_known;
}

/* Room for records up to before `end`: as much of it as may be had. */
static int
make_records(struct qi_mirror *m, uint64_t end)
{
    uint32_t most = m->limits.records;
    uint32_t first = most < FIRST_RING ? most : FIRST_RING;

    if (m->records == NULL) {
        if (m->history != NULL && !make_room(m->history, ring_bytes(first))) {
            return QI_MIRROR_E_QUOTA;
        }
        int status = grow_ring(m, first);
        if (status < 0) {
            return status;
        }
    }
    while (end - m->record_oldest > m->record_capacity && m->record_capacity < most) {
        uint32_t twice = m->record_capacity * 2;
        /* Both are there while the records move. */
        if ((m->history != NULL
             && m->history->used + ring_bytes(twice) > m->history->limit)
            || grow_ring(m, twice) < 0) {
            break; /* the oldest records go, as in a ring that is as large as may be */
        }
    }
    return QI_MIRROR_OK;
}

/* The oldest one that is kept when the end has moved on. */
static void
move_end(struct qi_mirror *m, uint64_t end)
{
    uint64_t begin = end > m->record_capacity ? end - m->record_capacity : 0;

    m->record_end = end;
    if (m->record_oldest < begin) {
        if (m->history != NULL && m->record_capacity < m->limits.records) {
            m->history->records_dropped += begin - m->record_oldest;
        }
        m->record_oldest = begin;
    }
}

/* What lies between the end and `number` is lost. */
static void
skip_to(struct qi_mirror *m, uint64_t number)
{
    uint64_t missing = number - m->record_end;

    m->lost += missing;
    if (missing > m->record_capacity) {
        missing = m->record_capacity;
    }
    for (uint64_t i = number - missing; i < number; i++) {
        mark_record(m, i, 0);
    }
    move_end(m, number);
}

int
qi_mirror_put_record(struct qi_mirror *m, uint64_t number, const struct qi_record *record)
{
    if (number < m->record_end) {
        return QI_MIRROR_OK; /* seen on an earlier connection */
    }
    if (m->record_oldest == m->record_end) {
        m->lost += number - m->record_end;
        m->record_oldest = m->record_end = number;
    }
    int status = make_records(m, number + 1);
    if (status == QI_MIRROR_E_QUOTA) {
        /* There is no room for a single one: it is lost, and counted. */
        m->lost += number + 1 - m->record_end;
        m->record_oldest = m->record_end = number + 1;
        return QI_MIRROR_OK;
    }
    if (status < 0) {
        return status;
    }
    if (number > m->record_end) {
        skip_to(m, number);
    }
    m->records[place_of(m, number)] = *record;
    mark_record(m, number, 1);
    move_end(m, number + 1);
    return QI_MIRROR_OK;
}

void
qi_mirror_put_gap(struct qi_mirror *m, uint64_t first, uint64_t count)
{
    uint64_t end = first + count;

    if (end <= m->record_end || end < first) {
        return;
    }
    if (m->record_oldest == m->record_end) {
        m->lost += end - m->record_end;
        m->record_oldest = m->record_end = end;
    }
    else {
        (void)make_records(m, end);
        skip_to(m, end);
    }
}

/*********** age ***********/

/* Records below `number` go, and with them the memory that is no longer of use. */
static void
drop_records(struct qi_mirror *m, uint64_t number)
{
    if (number <= m->record_oldest) {
        return;
    }
    m->record_oldest = number;
    while (m->record_capacity > FIRST_RING
           && m->record_end - m->record_oldest <= m->record_capacity / 4) {
        halve_ring(m);
    }
}

void
qi_mirror_age(struct qi_mirror *m, int64_t now, int64_t most)
{
    uint32_t gone = 0;

    while (gone < m->marks_len && m->marks[gone].at <= now - most) {
        gone++;
    }
    if (gone > 0) {
        const struct mark *mark = &m->marks[gone - 1];
        while (m->first_ended != NULL && m->ended_ever - m->ended < mark->ended) {
            qi_mirror_forget_first(m);
        }
        drop_records(m, mark->records);
        m->marks_len -= gone;
        memmove(m->marks, mark + 1, m->marks_len * sizeof(*m->marks));
    }
    if (m->marks_len == 0
        || (m->marks_len < MARKS
            && now - m->marks[m->marks_len - 1].at >= most / MARKS_EACH)) {
        m->marks[m->marks_len++] = (struct mark){now, m->ended_ever, m->record_end};
    }
}

/*********** reading ***********/

uint64_t
qi_mirror_record_end(const struct qi_mirror *m)
{
    return m->record_end;
}

uint64_t
qi_mirror_record_begin(const struct qi_mirror *m)
{
    uint64_t begin =
        m->record_end > m->record_capacity ? m->record_end - m->record_capacity : 0;

    return begin < m->record_oldest ? m->record_oldest : begin;
}

const struct qi_record *
qi_mirror_record(const struct qi_mirror *m, uint64_t number)
{
    if (m->records == NULL || number >= m->record_end
        || number < qi_mirror_record_begin(m)) {
        return NULL;
    }
    uint64_t place = place_of(m, number);
    int known = m->record_known[place >> 3] >> (place & 7) & 1;
    return known ? &m->records[place] : NULL;
}

uint64_t
qi_mirror_lost(const struct qi_mirror *m)
{
    return m->lost;
}
