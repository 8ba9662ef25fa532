/*
 * export_perfetto.c - items of a timeline as packets of a Perfetto trace, sorted by time.
 *
 * The field numbers are those of Perfetto's published protos/perfetto/trace/.  A packet
 * is kept without its time: when all are there they are sorted, and each is written with
 * the time since the one before.  Those for which there is no room go to a temporary
 * file, sorted, which is merged with the others in the end.  What packets name by number
 * is for the head of the file, which export/perfetto.py writes.
 */
#include "trace_py.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READ_BYTES (64u << 10) /* of a run, at once */
#define OUT_BYTES (256u << 10)
#define PACKET_MAX (1u << 30)

enum wire { VARINT = 0, FIXED64 = 1, LENGTH = 2 };
enum event { SLICE_BEGIN = 1, SLICE_END = 2, INSTANT = 3, COUNTER = 4 };
enum table { NAMES, CATEGORIES, KEYS, VALUES, TABLES };

struct bytes {
    uint8_t *at; /* owned */
    size_t size, capacity;
};

struct place {
    int64_t ts;
    uint32_t offset, size; /* in the current run */
};

struct run {
    uint64_t at, end; /* in the file */
    struct bytes buffer;
    size_t used; /* of it */
    int64_t ts;  /* of the packet that comes next */
    uint32_t size;
};

/* The open slices of a track, by when they end. */
struct ends {
    int64_t *items; /* owned */
    uint32_t count, capacity;
    int is_known; /* the track */
};

typedef struct {
    PyObject_HEAD
    uint64_t base;         /* of ids, so that several files can be looked at together */
    uint64_t first_track;  /* id of track 0 */
    uint64_t common_track; /* number of the one that packets need not name; 0: none yet */
    int fd;
    uint32_t room;            /* bytes of packets in memory; more go to the file */
    Py_ssize_t limit;         /* of each table */
    PyObject *tables[TABLES]; /* owned; {text: number} */
    PyObject *str_number;     /* owned; "number" */
    struct ends *ends;        /* owned; by number of the track */
    size_t ends_count;
    struct bytes packets, event, argument; /* the last two: what is being made */
    struct place *places;                  /* owned */
    size_t places_count, places_capacity;
    struct run *runs; /* owned */
    size_t runs_count;
    uint64_t file_size, count;
    int64_t first_ts;
    int is_busy; /* writing: nothing may be put in meanwhile */
} PacketsObject;

/* --- bytes -------------------------------------------------------------------------- */

static int
reserve(struct bytes *b, size_t more)
{
    if (more <= b->capacity - b->size) {
        return 0;
    }
    size_t capacity = 2 * b->capacity + more + 64;
    uint8_t *at = more > PACKET_MAX ? NULL : realloc(b->at, capacity);
    if (at == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    b->at = at;
    b->capacity = capacity;
    return 0;
}

static int
put_bytes(struct bytes *b, const void *bytes, size_t size)
{
    if (reserve(b, size) < 0) {
        return -1;
    }
    if (size > 0) {
        memcpy(b->at + b->size, bytes, size);
    }
    b->size += size;
    return 0;
}

static int
put_varint(struct bytes *b, uint64_t number)
{
    if (reserve(b, 10) < 0) {
        return -1;
    }
    for (; number > 127; number >>= 7) {
        b->at[b->size++] = (uint8_t)(number | 128);
    }
    b->at[b->size++] = (uint8_t)number;
    return 0;
}

static int
put_integer(struct bytes *b, unsigned field, uint64_t number)
{
    return put_varint(b, field << 3 | VARINT) < 0 ? -1 : put_varint(b, number);
}

static int
put_fixed(struct bytes *b, unsigned field, uint64_t number)
{
    uint8_t bytes[8];

    for (int i = 0; i < 8; i++) {
        bytes[i] = (uint8_t)(number >> 8 * i);
    }
    return put_varint(b, field << 3 | FIXED64) < 0 ? -1
                                                   : put_bytes(b, bytes, sizeof(bytes));
}

static int
put_message(struct bytes *b, unsigned field, const void *bytes, size_t size)
{
    return put_varint(b, field << 3 | LENGTH) < 0 || put_varint(b, size) < 0
               ? -1
               : put_bytes(b, bytes, size);
}

static int
put_text(struct bytes *b, unsigned field, PyObject *text)
{
    Py_ssize_t size;
    const char *bytes = PyUnicode_AsUTF8AndSize(text, &size);

    if (bytes != NULL) {
        return put_message(b, field, bytes, (size_t)size);
    }
    PyErr_Clear(); /* half a surrogate pair */
    PyObject *encoded = PyUnicode_AsEncodedString(text, "utf-8", "replace");
    if (encoded == NULL) {
        return -1;
    }
    int r = put_message(b, field, PyBytes_AS_STRING(encoded),
                        (size_t)PyBytes_GET_SIZE(encoded));
    Py_DECREF(encoded);
    return r;
}

/* --- texts by number ---------------------------------------------------------------- */

/* The number of a text; 0: there are too many, -1: an exception. */
static Py_ssize_t
number_of(PacketsObject *self, enum table table, PyObject *text)
{
    PyObject *known = self->tables[table];
    PyObject *number = PyDict_GetItemWithError(known, text);

    if (number != NULL) {
        return PyLong_AsSsize_t(number);
    }
    if (PyErr_Occurred()) {
        return -1;
    }
    Py_ssize_t next = PyDict_Size(known) + 1;
    if (next > self->limit) {
        return 0;
    }
    number = PyLong_FromSsize_t(next);
    if (number == NULL || PyDict_SetItem(known, text, number) < 0) {
        next = -1;
    }
    Py_XDECREF(number);
    return next;
}

/* A text, by number as field `iid` or written out as field `plain`. */
static int
put_named(PacketsObject *self, struct bytes *b, enum table table, PyObject *text,
          unsigned iid, unsigned plain)
{
    if (!PyUnicode_Check(text)) {
        PyErr_Format(PyExc_TypeError, "an item has texts, not %.100s",
                     Py_TYPE(text)->tp_name);
        return -1;
    }
    Py_ssize_t number = number_of(self, table, text);
    if (number < 0) {
        return -1;
    }
    return number > 0 ? put_integer(b, iid, (uint64_t)number) : put_text(b, plain, text);
}

static int
put_argument(PacketsObject *self, struct bytes *b, PyObject *key, PyObject *value)
{
    struct bytes *content = &self->argument;

    content->size = 0;
    int r = put_named(self, content, KEYS, key, 1, 10);

    if (r == 0 && PyBool_Check(value)) {
        r = put_integer(content, 2, value == Py_True);
    }
    else if (r == 0 && PyLong_Check(value)) {
        uint64_t number = PyLong_AsUnsignedLongLongMask(value);
        r = PyErr_Occurred() ? -1 : put_integer(content, 4, number);
    }
    else if (r == 0 && PyFloat_Check(value)) {
        double number = PyFloat_AS_DOUBLE(value);
        uint64_t bits;
        memcpy(&bits, &number, sizeof(bits));
        r = put_fixed(content, 5, bits);
    }
    else if (r == 0) {
        r = put_named(self, content, VALUES, value, 17, 6);
    }
    return r < 0 ? r : put_message(b, 4, content->at, content->size);
}

static int
put_arguments(PacketsObject *self, struct bytes *b, PyObject *args)
{
    PyObject *key;
    PyObject *value;
    Py_ssize_t place = 0;

    if (!PyDict_Check(args)) {
        PyErr_SetString(PyExc_TypeError, "the arguments of an item are a dict");
        return -1;
    }
    while (PyDict_Next(args, &place, &key, &value)) {
        if (put_argument(self, b, key, value) < 0) {
            return -1;
        }
    }
    return 0;
}

/* --- sorting ------------------------------------------------------------------------ */

static int
compare_places(const void *left, const void *right)
{
    const struct place *a = left;
    const struct place *b = right;

    if (a->ts != b->ts) {
        return a->ts < b->ts ? -1 : 1;
    }
    return a->offset < b->offset ? -1 : a->offset > b->offset; /* as they came */
}

static void
sort_run(PacketsObject *self)
{
    if (self->places_count > 1) {
        qsort(self->places, self->places_count, sizeof(self->places[0]), compare_places);
    }
}

static int
write_all(PacketsObject *self, const struct bytes *b)
{
    size_t done = 0;

    while (done < b->size) {
        ssize_t n = pwrite(self->fd, b->at + done, b->size - done,
                           (off_t)(self->file_size + done));
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            (void)PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        done += (size_t)n;
    }
    self->file_size += b->size;
    return 0;
}

/* The current run goes to the file: time, size and bytes of each packet. */
static int
spill(PacketsObject *self)
{
    struct bytes block = {NULL, 0, 0};
    uint64_t began = self->file_size;
    int r = 0;
    struct run *runs = realloc(self->runs, (self->runs_count + 1) * sizeof(struct run));

    if (runs == NULL) {
        (void)PyErr_NoMemory();
        return -1;
    }
    self->runs = runs;
    sort_run(self);
    for (size_t i = 0; r == 0 && i < self->places_count; i++) {
        const struct place *p = &self->places[i];
        if (put_bytes(&block, &p->ts, sizeof(p->ts)) < 0
            || put_bytes(&block, &p->size, sizeof(p->size)) < 0
            || put_bytes(&block, self->packets.at + p->offset, p->size) < 0) {
            r = -1;
        }
        else if (block.size > OUT_BYTES) {
            r = write_all(self, &block);
            block.size = 0;
        }
    }
    r = r < 0 ? r : write_all(self, &block);
    free(block.at);
    if (r == 0) {
        memset(&runs[self->runs_count], 0, sizeof(struct run));
        runs[self->runs_count].at = began;
        runs[self->runs_count++].end = self->file_size;
        self->packets.size = 0;
        self->places_count = 0;
    }
    return r;
}

/* Makes sure that so many bytes of a run are in its buffer. */
static int
fill(PacketsObject *self, struct run *run, size_t wanted)
{
    struct bytes *b = &run->buffer;

    if (b->size - run->used >= wanted) {
        return 0;
    }
    if (run->used > 0) {
        memmove(b->at, b->at + run->used, b->size - run->used);
        b->size -= run->used;
        run->used = 0;
    }
    uint64_t left = run->end - run->at;
    size_t more = wanted > READ_BYTES ? wanted : READ_BYTES;
    more = left < more ? (size_t)left : more;
    if (reserve(b, more) < 0) {
        return -1;
    }
    while (b->size < wanted) {
        ssize_t n = pread(self->fd, b->at + b->size, more, (off_t)run->at);
        if (n < 0 && errno == EINTR) {
            continue;
        }
        if (n <= 0) {
            errno = n == 0 ? EIO : errno; /* somebody has cut the file */
            (void)PyErr_SetFromErrno(PyExc_OSError);
            return -1;
        }
        b->size += (size_t)n;
        run->at += (uint64_t)n;
        more -= (size_t)n;
    }
    return 0;
}

/* Reads the head of a run's next packet, of size 0 if there is none; 0 or -1. */
static int
peek(PacketsObject *self, struct run *run)
{
    if (run->at == run->end && run->used == run->buffer.size) {
        run->size = 0;
        return 0;
    }
    if (fill(self, run, sizeof(run->ts) + sizeof(run->size)) < 0) {
        return -1;
    }
    memcpy(&run->ts, run->buffer.at + run->used, sizeof(run->ts));
    run->used += sizeof(run->ts);
    memcpy(&run->size, run->buffer.at + run->used, sizeof(run->size));
    run->used += sizeof(run->size);
    return fill(self, run, run->size);
}

/* --- packets ------------------------------------------------------------------------ */

/* What is in self->event, as a packet of a time. */
static int
put_packet(PacketsObject *self, int64_t ts)
{
    /* trusted_packet_sequence_id 1, sequence_flags SEQ_NEEDS_INCREMENTAL_STATE */
    static const uint8_t end[] = {10 << 3, 1, 13 << 3, 2};

    if (self->packets.size > self->room && spill(self) < 0) {
        return -1;
    }
    if (self->places_count == self->places_capacity) {
        size_t capacity = 2 * self->places_capacity + 1024;
        struct place *places = realloc(self->places, capacity * sizeof(places[0]));
        if (places == NULL) {
            (void)PyErr_NoMemory();
            return -1;
        }
        self->places = places;
        self->places_capacity = capacity;
    }
    size_t offset = self->packets.size;
    if (put_message(&self->packets, 11, self->event.at, self->event.size) < 0
        || put_bytes(&self->packets, end, sizeof(end)) < 0) {
        return -1;
    }
    ts = ts < 0 ? 0 : ts;
    if (self->count++ == 0 || ts < self->first_ts) {
        self->first_ts = ts;
    }
    self->places[self->places_count++] =
        (struct place){ts, (uint32_t)offset, (uint32_t)(self->packets.size - offset)};
    return 0;
}

static int
begin_event(PacketsObject *self, uint64_t track, enum event type)
{
    self->event.size = 0;
    if (put_integer(&self->event, 9, type) < 0) {
        return -1;
    }
    return track == self->common_track
               ? 0
               : put_integer(&self->event, 11, self->base | (self->first_track + track));
}

static int
end_slice(PacketsObject *self, uint64_t track)
{
    struct ends *ends = &self->ends[track];
    int64_t ts = ends->items[--ends->count];

    return begin_event(self, track, SLICE_END) < 0 ? -1 : put_packet(self, ts);
}

/* The open slices of a track; NULL with an exception. */
static struct ends *
ends_of(PacketsObject *self, uint64_t track)
{
    if (track >= self->ends_count) {
        size_t count = 2 * (size_t)track + 64;
        struct ends *ends = realloc(self->ends, count * sizeof(ends[0]));
        if (ends == NULL) {
            (void)PyErr_NoMemory();
            return NULL;
        }
        memset(ends + self->ends_count, 0, (count - self->ends_count) * sizeof(ends[0]));
        self->ends = ends;
        self->ends_count = count;
    }
    return &self->ends[track];
}

static int
open_slice(struct ends *ends, int64_t ts)
{
    if (ends->count == ends->capacity) {
        uint32_t capacity = 2 * ends->capacity + 1;
        int64_t *items = realloc(ends->items, capacity * sizeof(items[0]));
        if (items == NULL) {
            (void)PyErr_NoMemory();
            return -1;
        }
        ends->items = items;
        ends->capacity = capacity;
    }
    ends->items[ends->count++] = ts;
    return 0;
}

/* Each number of a tuple, or the first of each pair, as a field. */
static int
put_flows(PacketsObject *self, unsigned field, PyObject *flows, int are_pairs)
{
    if (!PyTuple_Check(flows)) {
        PyErr_SetString(PyExc_TypeError, "arrows are a tuple");
        return -1;
    }
    for (Py_ssize_t i = 0; i < PyTuple_GET_SIZE(flows); i++) {
        PyObject *flow = PyTuple_GET_ITEM(flows, i);
        if (are_pairs) {
            flow = PyTuple_Check(flow) && PyTuple_GET_SIZE(flow) == 2
                       ? PyTuple_GET_ITEM(flow, 0)
                       : Py_None;
        }
        uint64_t number = PyLong_AsUnsignedLongLong(flow);
        if (PyErr_Occurred() || put_fixed(&self->event, field, self->base | number) < 0) {
            return -1;
        }
    }
    return 0;
}

/* The item is a slice (track, start, end, name, category, args, sources, targets), or an
   instant, which has neither an end nor targets. */
static int
put_item(PacketsObject *self, uint64_t track, PyObject *item)
{
    int is_slice = PyTuple_GET_SIZE(item) == 8;
    PyObject **rest = &PyTuple_GET_ITEM(item, is_slice ? 3 : 2);
    int64_t start = qi_nearest_int64(PyTuple_GET_ITEM(item, 1));
    int64_t end = is_slice ? qi_nearest_int64(PyTuple_GET_ITEM(item, 2)) : 0;
    struct ends *ends = &self->ends[track];

    if (PyErr_Occurred()) {
        return -1;
    }
    while (ends->count > 0 && ends->items[ends->count - 1] <= start
           && (is_slice || ends->items[ends->count - 1] < start)) {
        if (end_slice(self, track) < 0) {
            return -1;
        }
    }
    return begin_event(self, track, is_slice ? SLICE_BEGIN : INSTANT) < 0
                   || put_named(self, &self->event, NAMES, rest[0], 10, 23) < 0
                   || put_named(self, &self->event, CATEGORIES, rest[1], 3, 22) < 0
                   || put_arguments(self, &self->event, rest[2]) < 0
                   || put_flows(self, 47, rest[3], 1) < 0
                   || (is_slice && put_flows(self, 48, rest[4], 0) < 0)
                   || put_packet(self, start) < 0
                   || (is_slice && open_slice(ends, end) < 0)
               ? -1
               : 0;
}

static int
put_count(PacketsObject *self, uint64_t track, PyObject *item)
{
    int64_t ts = qi_nearest_int64(PyTuple_GET_ITEM(item, 1));
    int64_t value = qi_nearest_int64(PyTuple_GET_ITEM(item, 2));

    return PyErr_Occurred() || begin_event(self, track, COUNTER) < 0
                   || put_integer(&self->event, 30, (uint64_t)value) < 0
                   || put_packet(self, ts) < 0
               ? -1
               : 0;
}

/* The number of an item's track, of which on_track() is told once; 0: an exception. */
static uint64_t
track_of(PacketsObject *self, PyObject *track, PyObject *on_track)
{
    PyObject *object = PyObject_GetAttr(track, self->str_number);
    uint64_t number = object == NULL ? 0 : PyLong_AsUnsignedLongLong(object);

    Py_XDECREF(object);
    if (PyErr_Occurred() || number == 0 || number > UINT32_MAX) {
        if (!PyErr_Occurred()) {
            PyErr_SetString(PyExc_ValueError, "tracks count from 1");
        }
        return 0;
    }
    struct ends *ends = ends_of(self, number);
    if (ends == NULL) {
        return 0;
    }
    if (!ends->is_known) {
        ends->is_known = 1;
        PyObject *result = PyObject_CallFunctionObjArgs(on_track, track, NULL);
        Py_XDECREF(result);
        return result == NULL ? 0 : number;
    }
    return number;
}

static int
take(PacketsObject *self, PyObject *item, PyObject *on_track)
{
    Py_ssize_t size = PyTuple_Check(item) ? PyTuple_GET_SIZE(item) : 0;

    if (size != 8 && size != 6 && size != 3) {
        PyErr_SetString(PyExc_TypeError, "that is no item of a timeline");
        return -1;
    }
    uint64_t track = track_of(self, PyTuple_GET_ITEM(item, 0), on_track);
    if (track == 0) {
        return -1;
    }
    return size == 3 ? put_count(self, track, item) : put_item(self, track, item);
}

/* take(items, on_track, /) */
static PyObject *
packets_take(PacketsObject *self, PyObject *args)
{
    PyObject *items;
    PyObject *on_track;

    if (!PyArg_ParseTuple(args, "O!O", &PyList_Type, &items, &on_track)) {
        return NULL;
    }
    if (self->is_busy) {
        return PyErr_Format(PyExc_RuntimeError, "it was written");
    }
    for (Py_ssize_t i = 0; i < PyList_GET_SIZE(items); i++) {
        PyObject *item = Py_NewRef(PyList_GET_ITEM(items, i));
        int r = take(self, item, on_track);
        Py_DECREF(item);
        if (r < 0) {
            return NULL;
        }
    }
    Py_RETURN_NONE;
}

/* --- writing ------------------------------------------------------------------------ */

static int
hand_out(PyObject *write, struct bytes *out)
{
    PyObject *result =
        PyObject_CallFunction(write, "y#", (const char *)out->at, (Py_ssize_t)out->size);

    out->size = 0;
    Py_XDECREF(result);
    return result == NULL ? -1 : 0;
}

/* A packet with its time, behind those that were put out already. */
static int
put_out(struct bytes *out, int64_t *last, int64_t ts, const uint8_t *packet, size_t size)
{
    uint64_t since = (uint64_t)ts - (uint64_t)*last;
    size_t length = 1;

    for (uint64_t rest = since; rest > 127; rest >>= 7) {
        length++;
    }
    *last = ts;
    return put_varint(out, 1 << 3 | LENGTH) < 0 || put_varint(out, size + length + 1) < 0
                   || put_integer(out, 8, since) < 0 || put_bytes(out, packet, size) < 0
               ? -1
               : 0;
}

/* The run with the earliest packet, of equal ones the first; NULL: none is left. */
static struct run *
earliest_of(PacketsObject *self)
{
    struct run *found = NULL;

    for (size_t i = 0; i < self->runs_count; i++) {
        struct run *run = &self->runs[i];
        if (run->size > 0 && (found == NULL || run->ts < found->ts)) {
            found = run;
        }
    }
    return found;
}

static int
write_sorted(PacketsObject *self, PyObject *write, struct bytes *out, int64_t last)
{
    size_t at = 0;

    for (size_t i = 0; i < self->runs_count; i++) {
        if (peek(self, &self->runs[i]) < 0) {
            return -1;
        }
    }
    for (;;) {
        struct run *run = earliest_of(self);
        const struct place *p = at < self->places_count ? &self->places[at] : NULL;
        if (run == NULL && p == NULL) {
            return 0;
        }
        if (p != NULL && (run == NULL || p->ts < run->ts)) {
            if (put_out(out, &last, p->ts, self->packets.at + p->offset, p->size) < 0) {
                return -1;
            }
            at++;
        }
        else {
            if (put_out(out, &last, run->ts, run->buffer.at + run->used, run->size) < 0) {
                return -1;
            }
            run->used += run->size;
            if (peek(self, run) < 0) {
                return -1;
            }
        }
        if (out->size > OUT_BYTES && hand_out(write, out) < 0) {
            return -1;
        }
    }
}

/* write(write, last, /): the packets, times being since `last`; once only. */
static PyObject *
packets_write(PacketsObject *self, PyObject *args)
{
    PyObject *write;
    long long last;
    struct bytes out = {NULL, 0, 0};

    if (!PyArg_ParseTuple(args, "OL", &write, &last)) {
        return NULL;
    }
    if (self->is_busy) {
        return PyErr_Format(PyExc_RuntimeError, "it was written");
    }
    self->is_busy = 1;
    sort_run(self);
    int r = write_sorted(self, write, &out, last);
    r = r < 0 || out.size == 0 ? r : hand_out(write, &out);
    free(out.at);
    if (r < 0) {
        return NULL;
    }
    Py_RETURN_NONE;
}

/* Ends what is open on any track. */
static PyObject *
packets_close(PacketsObject *self, PyObject *Py_UNUSED(ignored))
{
    for (size_t track = 0; !self->is_busy && track < self->ends_count; track++) {
        while (self->ends[track].count > 0) {
            if (end_slice(self, track) < 0) {
                return NULL;
            }
        }
    }
    Py_RETURN_NONE;
}

/* --- the type ----------------------------------------------------------------------- */

static PyObject *
packets_new(PyTypeObject *type, PyObject *args, PyObject *kwargs)
{
    static char *names[] = {"", "", "", "", "", NULL};
    unsigned long long base;
    unsigned long long first_track;
    int fd;
    unsigned room;
    Py_ssize_t limit;

    if (!PyArg_ParseTupleAndKeywords(args, kwargs, "KKiIn:PerfettoPackets", names, &base,
                                     &first_track, &fd, &room, &limit)) {
        return NULL;
    }
    PacketsObject *self = (PacketsObject *)type->tp_alloc(type, 0);
    if (self == NULL) {
        return NULL;
    }
    self->base = base;
    self->first_track = first_track;
    self->fd = fd;
    self->str_number = PyUnicode_InternFromString("number");
    if (self->str_number == NULL) {
        Py_DECREF(self);
        return NULL;
    }
    self->room = room < PACKET_MAX ? room : PACKET_MAX;
    self->limit = limit;
    for (int i = 0; i < TABLES; i++) {
        self->tables[i] = PyDict_New();
        if (self->tables[i] == NULL) {
            Py_DECREF(self);
            return NULL;
        }
    }
    return (PyObject *)self;
}

static void
packets_dealloc(PacketsObject *self)
{
    PyTypeObject *type = Py_TYPE(self);

    for (int i = 0; i < TABLES; i++) {
        Py_XDECREF(self->tables[i]); /* of texts and numbers */
    }
    for (size_t i = 0; i < self->ends_count; i++) {
        free(self->ends[i].items);
    }
    for (size_t i = 0; i < self->runs_count; i++) {
        free(self->runs[i].buffer.at);
    }
    Py_XDECREF(self->str_number);
    free(self->ends);
    free(self->runs);
    free(self->places);
    free(self->packets.at);
    free(self->event.at);
    free(self->argument.at);
    type->tp_free((PyObject *)self);
    qi_release_type(type, (destructor)packets_dealloc);
}

static PyObject *
get_tables(PacketsObject *self, void *Py_UNUSED(closure))
{
    return Py_BuildValue("(OOOO)", self->tables[NAMES], self->tables[CATEGORIES],
                         self->tables[KEYS], self->tables[VALUES]);
}

static PyObject *
get_events(PacketsObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(self->count);
}

static PyObject *
get_first(PacketsObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromLongLong(self->first_ts);
}

static PyObject *
get_common_track(PacketsObject *self, void *Py_UNUSED(closure))
{
    return PyLong_FromUnsignedLongLong(self->common_track);
}

static int
set_common_track(PacketsObject *self, PyObject *value, void *Py_UNUSED(closure))
{
    unsigned long long track = value == NULL ? 0 : PyLong_AsUnsignedLongLong(value);

    if (PyErr_Occurred()) {
        return -1;
    }
    self->common_track = track;
    return 0;
}

static PyMethodDef packets_methods[] = {
    {"take", (PyCFunction)packets_take, METH_VARARGS,
     PyDoc_STR("take($self, items, on_track, /)\n--\n\n"
               "Takes in a list of items; calls on_track() with a track that is new.")},
    {"close", (PyCFunction)packets_close, METH_NOARGS,
     PyDoc_STR("close($self, /)\n--\n\nEnds the slices that are open.")},
    {"write", (PyCFunction)packets_write, METH_VARARGS,
     PyDoc_STR("write($self, write, last, /)\n--\n\n"
               "Hands out the packets, sorted, the first one's time since `last`.")},
    {NULL, NULL, 0, NULL},
};

static PyGetSetDef packets_attributes[] = {
    {"tables", (getter)get_tables, NULL,
     PyDoc_STR("Numbers of event names, categories, names of arguments, and values."),
     NULL},
    {"events", (getter)get_events, NULL, PyDoc_STR("How many packets there are."), NULL},
    {"first", (getter)get_first, NULL, PyDoc_STR("The earliest time."), NULL},
    {"common_track", (getter)get_common_track, (setter)set_common_track,
     PyDoc_STR("The track that events are of if they name none; 0: there is none."),
     NULL},
    {NULL, NULL, NULL, NULL, NULL},
};

static PyType_Slot packets_slots[] = {
    {Py_tp_doc, (void *)"PerfettoPackets(base, first_track, fd, room, limit, /)\n--\n\n"
                        "Packets of a Perfetto trace."},
    {Py_tp_new, (void *)packets_new},
    {Py_tp_dealloc, (void *)packets_dealloc},
    {Py_tp_methods, packets_methods},
    {Py_tp_getset, packets_attributes},
    {0, NULL},
};

static PyType_Spec packets_spec = {
    .name = "qtinter._core.PerfettoPackets",
    .basicsize = sizeof(PacketsObject),
    .flags = Py_TPFLAGS_DEFAULT,
    .slots = packets_slots,
};

int
qi_perfetto_init(PyObject *module)
{
    PyTypeObject *type = qi_type_new(module, &packets_spec, NULL);
    int r = type == NULL
                ? -1
                : PyModule_AddObjectRef(module, "PerfettoPackets", (PyObject *)type);

    Py_XDECREF((PyObject *)type);
    return r;
}
