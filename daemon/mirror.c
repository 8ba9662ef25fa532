#include "mirror_internal.h"

#include <stdlib.h>
#include <string.h>

#define FIRST_TABLE 1024
#define FIRST_REMOVALS 64u

const char *
qi_mirror_text(int status)
{
    switch (status) {
    case QI_MIRROR_OK:
        return "no error";
    case QI_MIRROR_E_NOMEM:
        return "no memory";
    case QI_MIRROR_E_QUOTA:
        return "more rows or texts than an application may have";
    case QI_MIRROR_E_BUDGET:
        return "no memory left for it: the daemon has used what it may";
    default:
        return "an id that cannot be";
    }
}

struct qi_mirror *
qi_mirror_new(const struct qi_mirror_limits *limits)
{
    struct qi_mirror *m = calloc(1, sizeof(*m));

    if (m == NULL) {
        return NULL;
    }
    m->limits = *limits;
    m->removals_capacity =
        limits->removals < FIRST_REMOVALS ? limits->removals : FIRST_REMOVALS;
    m->removals = calloc(m->removals_capacity, sizeof(*m->removals));
    m->table.cells = calloc(FIRST_TABLE, sizeof(struct qi_mirror_row *));
    m->table.capacity = FIRST_TABLE;
    if (m->removals == NULL || m->table.cells == NULL) {
        qi_mirror_free(m);
        return NULL;
    }
    (void)qi_account_take(&m->account, sizeof(*m)
                                           + m->removals_capacity * sizeof(*m->removals)
                                           + FIRST_TABLE * sizeof(*m->table.cells));
    return m;
}

int
qi_mirror_charge(struct qi_mirror *m, struct qi_budget *budget)
{
    return qi_account_enter(&m->account, budget) ? QI_MIRROR_OK : QI_MIRROR_E_BUDGET;
}

void
qi_mirror_free(struct qi_mirror *m)
{
    if (m == NULL) {
        return;
    }
    struct qi_mirror_row *row = m->newest;
    while (row != NULL) {
        struct qi_mirror_row *older = row->older;
        if (row->over) {
            qi_history_row_gone(m, row);
        }
        free(row);
        row = older;
    }
    if (m->entries != NULL) {
        qi_mirror_drop_entries(m);
    }
    free(m->entries);
    free(m->entry_of_id);
    free(m->table.cells);
    free(m->removals);
    qi_mirror_free_records(m);
    qi_mirror_join(m, NULL);
    qi_account_give(&m->account, m->account.used);
    free(m);
}

/*********** the table of rows ***********/

static size_t
home_of(const struct table *table, unsigned kind, uint64_t id)
{
    uint64_t hash = (id * 16 + kind) * UINT64_C(0x9e3779b97f4a7c15);
    return (size_t)(hash >> 32) & (table->capacity - 1);
}

static struct qi_mirror_row **
cell_of(const struct table *table, unsigned kind, uint64_t id)
{
    size_t i = home_of(table, kind, id);

    while (table->cells[i] != NULL
           && (table->cells[i]->id != id || table->cells[i]->kind != kind)) {
        i = (i + 1) & (table->capacity - 1);
    }
    return &table->cells[i];
}

/* Both are there while the cells move. */
static int
grow_table(struct table *table, struct qi_account *account)
{
    struct table bigger = {.capacity = table->capacity * 2, .len = table->len};
    size_t bytes = bigger.capacity * sizeof(struct qi_mirror_row *);

    if (!qi_account_take(account, bytes)) {
        return QI_MIRROR_E_BUDGET;
    }
    bigger.cells = calloc(bigger.capacity, sizeof(struct qi_mirror_row *));
    if (bigger.cells == NULL) {
        qi_account_give(account, bytes);
        return QI_MIRROR_E_NOMEM;
    }
    for (size_t i = 0; i < table->capacity; i++) {
        struct qi_mirror_row *row = table->cells[i];
        if (row != NULL) {
            *cell_of(&bigger, row->kind, row->id) = row;
        }
    }
    qi_account_give(account, table->capacity * sizeof(struct qi_mirror_row *));
    free(table->cells);
    *table = bigger;
    return QI_MIRROR_OK;
}

static void
leave_table(struct table *table, const struct qi_mirror_row *row)
{
    size_t mask = table->capacity - 1;
    size_t hole = (size_t)(cell_of(table, row->kind, row->id) - table->cells);

    for (size_t i = (hole + 1) & mask; table->cells[i] != NULL; i = (i + 1) & mask) {
        size_t home = home_of(table, table->cells[i]->kind, table->cells[i]->id);
        if (((i - home) & mask) >= ((i - hole) & mask)) {
            table->cells[hole] = table->cells[i];
            hole = i;
        }
    }
    table->cells[hole] = NULL;
    table->len--;
}

/*********** the list by revision ***********/

static void
unlink_row(struct qi_mirror *m, struct qi_mirror_row *row)
{
    if (row->newer != NULL) {
        row->newer->older = row->older;
    }
    else {
        m->newest = row->older;
    }
    if (row->older != NULL) {
        row->older->newer = row->newer;
    }
    else {
        m->oldest = row->newer;
    }
    row->newer = row->older = NULL;
}

static void
link_newest(struct qi_mirror *m, struct qi_mirror_row *row)
{
    row->older = m->newest;
    row->newer = NULL;
    if (m->newest != NULL) {
        m->newest->newer = row;
    }
    else {
        m->oldest = row;
    }
    m->newest = row;
}

/*********** rows that are over ***********/

/* Twice as many places; where they cannot be had, more of the removals are forgotten. */
static void
grow_removals(struct qi_mirror *m)
{
    uint32_t old = m->removals_capacity;
    uint32_t capacity = old * 2;
    size_t bytes = capacity * sizeof(*m->removals);

    if (!qi_account_take(&m->account, bytes)) {
        return;
    }
    struct qi_mirror_removal *bigger = calloc(capacity, sizeof(*bigger));
    if (bigger == NULL) {
        qi_account_give(&m->account, bytes);
        return;
    }
    for (uint64_t i = m->removed - old; i < m->removed; i++) {
        bigger[i & (capacity - 1)] = m->removals[i & (old - 1)];
    }
    qi_account_give(&m->account, old * sizeof(*m->removals));
    free(m->removals);
    m->removals = bigger;
    m->removals_capacity = capacity;
}

static void
remember_removal(struct qi_mirror *m, const struct qi_mirror_row *row)
{
    /* When it is full, and again each time it has come round. */
    if (m->removed > 0 && (m->removed & (m->removals_capacity - 1)) == 0
        && m->removals_capacity < m->limits.removals) {
        grow_removals(m);
    }
    struct qi_mirror_removal *place =
        &m->removals[m->removed & (m->removals_capacity - 1)];
    if (place->rev != 0) {
        m->forgotten_rev = place->rev;
    }
    *place = (struct qi_mirror_removal){
        .rev = ++m->rev,
        .id = row->id,
        .kind = row->kind,
    };
    m->removed++;
}

static void
remove_row(struct qi_mirror *m, struct qi_mirror_row *row)
{
    remember_removal(m, row);
    unlink_row(m, row);
    leave_table(&m->table, row);
    if (m->history == NULL) {
        qi_account_give(&m->account, qi_row_bytes(row->room));
    }
    free(row);
}

void
qi_mirror_forget_first(struct qi_mirror *m)
{
    struct qi_mirror_row *first = m->first_ended;

    m->first_ended = first->next_ended;
    if (m->first_ended == NULL) {
        m->last_ended = NULL;
    }
    m->ended--;
    qi_history_row_gone(m, first);
    remove_row(m, first);
}

static void
row_is_over(struct qi_mirror *m, struct qi_mirror_row *row)
{
    row->over = 1;
    m->live--;
    m->ended++;
    m->ended_ever++;
    row->next_ended = NULL;
    if (m->last_ended != NULL) {
        m->last_ended->next_ended = row;
    }
    else {
        m->first_ended = row;
    }
    m->last_ended = row;
    qi_history_row_ended(m, row);
    while (m->ended > m->limits.ended) {
        qi_mirror_forget_first(m);
    }
}

/*********** rows ***********/

/* With room for all that a row of its kind has, or for more where a later version sends
   that. */
static struct qi_mirror_row *
allocate_row(struct qi_mirror *m, const struct qi_wire_row *wire, int *ret_status)
{
    const struct qi_column *columns;
    unsigned room = qi_columns(wire->kind, &columns);

    room = room < wire->columns ? wire->columns : room;
    if (!qi_account_take(&m->account, qi_row_bytes(room))) {
        *ret_status = QI_MIRROR_E_BUDGET;
        return NULL;
    }
    struct qi_mirror_row *row = calloc(1, qi_row_bytes(room) - QI_BLOCK_BYTES);
    if (row == NULL) {
        qi_account_give(&m->account, qi_row_bytes(room));
        *ret_status = QI_MIRROR_E_NOMEM;
        return NULL;
    }
    row->room = (uint8_t)room;
    row->value = (uint64_t *)(row + 1);
    row->value_rev = (uint32_t *)(row->value + room);
    return row;
}

static struct qi_mirror_row *
new_row(struct qi_mirror *m, const struct qi_wire_row *wire, int *ret_status)
{
    *ret_status = QI_MIRROR_OK;
    if (m->live >= m->limits.rows) {
        *ret_status = QI_MIRROR_E_QUOTA;
        return NULL;
    }
    if ((m->table.len + 1) * 4 > m->table.capacity * 3) {
        *ret_status = grow_table(&m->table, &m->account);
        if (*ret_status < 0) {
            return NULL;
        }
    }
    struct qi_mirror_row *row = allocate_row(m, wire, ret_status);
    if (row == NULL) {
        return NULL;
    }
    row->kind = (uint8_t)wire->kind;
    row->id = wire->id;
    row->made = m->rev + 1;
    *cell_of(&m->table, wire->kind, wire->id) = row;
    m->table.len++;
    m->live++;
    link_newest(m, row);
    return row;
}

static void
take_values(struct qi_mirror *m, struct qi_mirror_row *row,
            const struct qi_wire_row *wire)
{
    uint32_t columns = wire->columns < row->room ? wire->columns : row->room;
    int changed = row->rev == 0 || row->state != wire->state || row->loop != wire->loop;

    m->rev++;
    if (changed) {
        row->state_rev = (uint32_t)m->rev;
    }
    row->state = (uint8_t)wire->state;
    row->loop = (uint8_t)wire->loop;
    if (row->columns < columns) {
        row->columns = (uint8_t)columns;
    }
    for (uint32_t i = 0; i < columns; i++) {
        if (row->rev == 0 || row->value[i] != wire->column[i]) {
            row->value[i] = wire->column[i];
            row->value_rev[i] = (uint32_t)m->rev;
        }
    }
    row->rev = m->rev;
    unlink_row(m, row);
    link_newest(m, row);
}

int
qi_mirror_put_row(struct qi_mirror *m, const struct qi_wire_row *wire)
{
    int status;

    if (wire->kind == 0 || wire->kind > 255 || wire->id == 0
        || QI_REF_KIND(wire->id) != 0) {
        return QI_MIRROR_E_INVALID;
    }
    struct qi_mirror_row *row = *cell_of(&m->table, wire->kind, wire->id);
    int final = qi_state_is_final(wire->kind, wire->state);
    if (row == NULL) {
        if (wire->state == QI_STATE_GONE) {
            return QI_MIRROR_OK; /* never seen, over already */
        }
        row = new_row(m, wire, &status);
        if (row == NULL) {
            return status;
        }
    }
    else if (row->over) {
        return QI_MIRROR_OK; /* ids are not used again: an echo */
    }
    row->present = 1;
    if (wire->state == QI_STATE_GONE) {
        /* How it ended was not seen: its last values stand. */
        row->rev = ++m->rev;
        row->state = QI_STATE_GONE;
        row->state_rev = (uint32_t)m->rev;
        unlink_row(m, row);
        link_newest(m, row);
    }
    else {
        take_values(m, row, wire);
    }
    if (final) {
        row_is_over(m, row);
    }
    return QI_MIRROR_OK;
}

void
qi_mirror_begin_snapshot(struct qi_mirror *m)
{
    m->in_snapshot = 1;
    for (struct qi_mirror_row *row = m->newest; row != NULL; row = row->older) {
        row->present = 0;
    }
}

void
qi_mirror_end_snapshot(struct qi_mirror *m)
{
    if (!m->in_snapshot) {
        return;
    }
    m->in_snapshot = 0;
    /* Ending a row can remove others that are over, wherever they are in the list: so
       first find those to end, which nothing removes before their turn.  Until then
       their link of ended rows is free. */
    struct qi_mirror_row *missing = NULL;
    for (struct qi_mirror_row *row = m->newest; row != NULL; row = row->older) {
        if (!row->present && !row->over) {
            row->next_ended = missing;
            missing = row;
        }
    }
    while (missing != NULL) {
        struct qi_wire_row gone = {.kind = missing->kind, .id = missing->id};
        missing = missing->next_ended;
        gone.state = QI_STATE_GONE;
        (void)qi_mirror_put_row(m, &gone); /* cannot fail: the row is there */
    }
}

/*********** entries ***********/

static size_t
bytes_of_entry(const struct qi_mirror_entry *entry)
{
    return entry->type == 't' ? (size_t)entry->size + 1 : (size_t)entry->size * 4;
}

void
qi_mirror_drop_entries(struct qi_mirror *m)
{
    size_t bytes = m->entry_bytes + (size_t)m->entries_len * QI_BLOCK_BYTES;

    for (uint32_t i = 0; i < m->entries_len; i++) {
        free(m->entries[i].text);
    }
    qi_account_give(&m->account, bytes);
    m->entries_len = 0;
    m->entry_bytes = 0;
    if (m->entry_of_id != NULL) {
        memset(m->entry_of_id, 0, m->ids_capacity * sizeof(*m->entry_of_id));
    }
    m->entry_epoch++;
}

/* An array of the mirror with `capacity` elements, or with more; both are there while it
   moves. */
static int
grow_array(struct qi_mirror *m, void **array, size_t element, uint32_t *capacity,
           uint32_t bigger)
{
    size_t before = *capacity * element;

    if (!qi_account_take(&m->account, bigger * element)) {
        return QI_MIRROR_E_BUDGET;
    }
    uint8_t *moved = realloc(*array, bigger * element);
    if (moved == NULL) {
        qi_account_give(&m->account, bigger * element);
        return QI_MIRROR_E_NOMEM;
    }
    qi_account_give(&m->account, before);
    memset(moved + before, 0, bigger * element - before);
    *array = moved;
    *capacity = bigger;
    return QI_MIRROR_OK;
}

static int
room_for_entry(struct qi_mirror *m, uint32_t id)
{
    int status = QI_MIRROR_OK;

    if (m->entries_len == m->entries_capacity) {
        void *entries = m->entries;
        status = grow_array(m, &entries, sizeof(*m->entries), &m->entries_capacity,
                            m->entries_capacity == 0 ? 256 : m->entries_capacity * 2);
        m->entries = entries;
    }
    if (status == QI_MIRROR_OK && id >= m->ids_capacity) {
        uint32_t capacity = m->ids_capacity == 0 ? 256 : m->ids_capacity;
        while (capacity <= id) {
            capacity *= 2;
        }
        void *ids = m->entry_of_id;
        status = grow_array(m, &ids, sizeof(*m->entry_of_id), &m->ids_capacity, capacity);
        m->entry_of_id = ids;
    }
    return status;
}

/* Bytes of a text with its NUL, or numbers. */
static uint32_t
size_of_contents(const struct qi_wire_entry *wire)
{
    switch (wire->type) {
    case 't':
        return wire->text.size;
    case 'c':
        return 3;
    default:
        return wire->codes.size;
    }
}

/* A copy of an entry's contents in `bytes` bytes; NULL without memory. */
static void *
contents_of(const struct qi_wire_entry *wire, size_t bytes)
{
    if (wire->type == 't') {
        char *text = malloc(bytes);
        if (text != NULL) {
            memcpy(text, wire->text.bytes, wire->text.size);
            text[wire->text.size] = '\0';
        }
        return text;
    }
    uint32_t *numbers = calloc(1, bytes == 0 ? 1 : bytes);
    if (numbers == NULL) {
        return NULL;
    }
    if (wire->type == 'c') {
        numbers[0] = wire->file;
        numbers[1] = wire->name;
        numbers[2] = wire->line;
    }
    else {
        struct qi_cursor cursor = qi_cursor_in(&wire->codes);
        struct qi_value value;
        uint64_t number;
        for (uint32_t i = 0; i < wire->codes.size && qi_cursor_next(&cursor, &value);
             i++) {
            numbers[i] = qi_value_uint(&value, &number) ? (uint32_t)number : 0;
        }
    }
    return numbers;
}

/* The quotas first, then the budget, then memory. */
int
qi_mirror_put_entry(struct qi_mirror *m, const struct qi_wire_entry *wire)
{
    struct qi_mirror_entry entry = {
        .id = wire->id, .type = wire->type, .size = size_of_contents(wire)};
    size_t bytes = bytes_of_entry(&entry);

    if (wire->id == 0 || wire->id > m->limits.entries) {
        return QI_MIRROR_E_QUOTA;
    }
    if (wire->id < m->ids_capacity && m->entry_of_id[wire->id] != 0) {
        return QI_MIRROR_OK; /* equal ids are equal contents */
    }
    if (bytes > m->limits.entry_bytes - m->entry_bytes) {
        return QI_MIRROR_E_QUOTA;
    }
    int status = room_for_entry(m, wire->id);
    if (status < 0) {
        return status;
    }
    if (!qi_account_take(&m->account, bytes + QI_BLOCK_BYTES)) {
        return QI_MIRROR_E_BUDGET;
    }
    entry.text = contents_of(wire, bytes);
    if (entry.text == NULL) {
        qi_account_give(&m->account, bytes + QI_BLOCK_BYTES);
        return QI_MIRROR_E_NOMEM;
    }
    m->entry_bytes += bytes;
    m->entries[m->entries_len++] = entry;
    m->entry_of_id[wire->id] = m->entries_len;
    return QI_MIRROR_OK;
}

/*********** a segment that was left ***********/

static int
load_rows(struct qi_mirror *m, const struct qi_view *view)
{
    uint32_t used = qi_view_slots_used(view);

    for (uint32_t i = 0; i < used; i++) {
        struct qi_slot slot;
        const struct qi_column *columns;
        (void)qi_view_slot(view, i, &slot);
        unsigned n = qi_columns(slot.kind, &columns);
        if (n == 0 || slot.id == 0) {
            continue;
        }
        struct qi_wire_row row = {
            .kind = slot.kind, .state = slot.state, .loop = slot.loop, .id = slot.id};
        row.columns = n;
        for (unsigned j = 0; j < n; j++) {
            row.column[j] = qi_column_value(&columns[j], &slot);
        }
        int status = qi_mirror_put_row(m, &row);
        if (status < 0) {
            return status;
        }
    }
    return QI_MIRROR_OK;
}

static int
load_entries(struct qi_mirror *m, const struct qi_view *view)
{
    struct qi_arena_place place = {0};
    struct qi_entry entry;

    while (qi_view_next_entry(view, &place, &entry)) {
        uint8_t bytes[QI_ENTRY_BYTES_MAX];
        struct qi_encoder encoder;
        struct qi_value value;
        struct qi_wire_entry wire;
        size_t used;
        /* By way of the wire: one decoder judges both. */
        qi_encoder_init(&encoder, bytes, sizeof(bytes));
        qi_encode_begin(&encoder, QI_MSG_INTERN, 0, 1);
        size_t start = encoder.size;
        if (!qi_encode_entry(&encoder, &entry) || encoder.failed
            || qi_value_decode(bytes + start, encoder.size - start, &value, &used) < 0
            || !qi_entry_decode(&value, &wire)) {
            continue;
        }
        int status = qi_mirror_put_entry(m, &wire);
        if (status < 0) {
            return status;
        }
    }
    return QI_MIRROR_OK;
}

static int
load_records(struct qi_mirror *m, const struct qi_view *view)
{
    struct qi_record records[256];
    uint64_t position = qi_view_oldest(view);
    uint64_t lost;
    size_t n;

    qi_mirror_put_gap(m, 0, position);
    while ((n = qi_view_records(view, &position, records, 256, &lost)) > 0) {
        uint64_t first = position - n;
        for (size_t i = 0; i < n; i++) {
            int status = qi_mirror_put_record(m, first + i, &records[i]);
            if (status < 0) {
                return status;
            }
        }
    }
    return QI_MIRROR_OK;
}

int
qi_mirror_load_segment(struct qi_mirror *m, const struct qi_view *view)
{
    qi_mirror_drop_entries(m);
    int status = load_entries(m, view);
    if (status == QI_MIRROR_OK) {
        qi_mirror_begin_snapshot(m);
        status = load_rows(m, view);
        qi_mirror_end_snapshot(m);
    }
    return status == QI_MIRROR_OK ? load_records(m, view) : status;
}

/*********** reading ***********/

uint64_t
qi_mirror_rev(const struct qi_mirror *m)
{
    return m->rev;
}

uint32_t
qi_mirror_live(const struct qi_mirror *m)
{
    return m->live;
}

uint32_t
qi_mirror_ended(const struct qi_mirror *m)
{
    return m->ended;
}

size_t
qi_mirror_bytes(const struct qi_mirror *m)
{
    return m->account.used + m->ended_bytes + m->record_capacity * sizeof(*m->records);
}

size_t
qi_mirror_charged(const struct qi_mirror *m)
{
    return m->account.used;
}

const struct qi_mirror_row *
qi_mirror_newest(const struct qi_mirror *m)
{
    return m->newest;
}

const struct qi_mirror_row *
qi_mirror_find(const struct qi_mirror *m, unsigned kind, uint64_t id)
{
    return *cell_of(&m->table, kind, id);
}

int
qi_mirror_next_removal(const struct qi_mirror *m, uint64_t *place,
                       struct qi_mirror_removal *ret_removal)
{
    if (*place < m->forgotten_rev) {
        return -1;
    }
    uint64_t low =
        m->removed > m->removals_capacity ? m->removed - m->removals_capacity : 0;
    uint64_t high = m->removed;
    while (low < high) { /* the first one after *place */
        uint64_t middle = low + (high - low) / 2;
        if (m->removals[middle & (m->removals_capacity - 1)].rev <= *place) {
            low = middle + 1;
        }
        else {
            high = middle;
        }
    }
    if (low == m->removed) {
        return 0;
    }
    *ret_removal = m->removals[low & (m->removals_capacity - 1)];
    *place = ret_removal->rev;
    return 1;
}

uint32_t
qi_mirror_entries(const struct qi_mirror *m)
{
    return m->entries_len;
}

const struct qi_mirror_entry *
qi_mirror_entry(const struct qi_mirror *m, uint32_t index)
{
    return &m->entries[index];
}

const struct qi_mirror_entry *
qi_mirror_find_entry(const struct qi_mirror *m, uint32_t id)
{
    if (id >= m->ids_capacity || m->entry_of_id[id] == 0) {
        return NULL;
    }
    return &m->entries[m->entry_of_id[id] - 1];
}

uint32_t
qi_mirror_entry_epoch(const struct qi_mirror *m)
{
    return m->entry_epoch;
}
