/* test_segment.c - the promises of qi_client.h about rows, records and texts. */
#include "qi_test.h"

#include "client_internal.h"
#include "segment_read.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static char directory[64];

static qi_client *
open_client_with(int ring_count)
{
    struct qi_client_options options = {.name = "test",
                                        .directory = directory,
                                        .level = 2,
                                        .ring_count = ring_count,
                                        .qtinter = "1.2.3"};
    qi_client *c = NULL;

    if (qi_client_open(&options, &c) != QI_OK) {
        fprintf(stderr, "%s\n", qi_client_last_error());
        exit(1);
    }
    return c;
}

static qi_client *
open_client(void)
{
    return open_client_with(0);
}

static void
view_of(qi_client *c, struct qi_view *ret_view)
{
    CHECK_INT(qi_view_init(ret_view, c->base, c->size), QI_VIEW_OK);
}

/* --- open and close --- */

static void
the_file_is_private_and_says_whose_it_is(void)
{
    qi_client *c = open_client();
    struct qi_view view;
    struct stat st;

    CHECK_INT(stat(qi_client_segment_path(c), &st), 0);
    CHECK_INT(st.st_mode & 0777, 0600);
    view_of(c, &view);
    CHECK_INT(view.header.pid, getpid());
    CHECK_INT(view.header.level, 2);
    CHECK(strcmp(view.header.name, "test") == 0);
    CHECK(strcmp(view.header.qtinter, "1.2.3") == 0);
    CHECK(strcmp(view.header.qt, "") == 0);
    /* Sparse: what was not used takes no space. */
    CHECK((uint64_t)st.st_blocks * 512 < view.header.total_size / 4);
    qi_client_close(c, 1000, 0);
}

static void
close_removes_the_file_unless_it_is_to_be_kept(void)
{
    char path[QI_PATH_MAX];
    struct qi_segment kept;
    qi_client *c = open_client();

    strcpy(path, qi_client_segment_path(c));
    qi_client_close(c, 1000, 0);
    CHECK(access(path, F_OK) < 0);

    c = open_client();
    strcpy(path, qi_client_segment_path(c));
    qi_client_close(c, 1000, 1);
    CHECK_INT(qi_segment_load(path, &kept), QI_VIEW_OK);
    CHECK_INT(kept.view.header.closed, 1);
    qi_segment_unload(&kept);
    /* A kept file is not in the way of the next. */
    c = open_client();
    CHECK(strcmp(path, qi_client_segment_path(c)) != 0);
    qi_client_close(c, 1000, 0);
    CHECK_INT(unlink(path), 0);
    qi_client_close(NULL, 1000, 0);
}

static void
a_process_has_one_client(void)
{
    struct qi_client_options options = {.directory = directory, .level = 1};
    qi_client *c = open_client();
    qi_client *second = NULL;

    CHECK_INT(qi_client_open(&options, &second), QI_E_EXISTS);
    CHECK(second == NULL);
    CHECK(strlen(qi_client_last_error()) > 0);
    qi_client_close(c, 1000, 0);
}

static void
bad_options_are_refused(void)
{
    char path[600];
    qi_client *c = NULL;
    struct qi_client_options options = {.directory = directory, .level = 0};

    CHECK_INT(qi_client_open(&options, &c), QI_E_INVALID);
    options.level = 5;
    CHECK_INT(qi_client_open(&options, &c), QI_E_INVALID);
    options.level = 1;
    options.ring_count = 100;
    CHECK_INT(qi_client_open(&options, &c), QI_E_INVALID);
    options.ring_count = 0;
    memset(path, 'x', sizeof(path) - 1);
    path[sizeof(path) - 1] = '\0';
    options.directory = path;
    CHECK_INT(qi_client_open(&options, &c), QI_E_INVALID);
    options.directory = "/dev/null/not-there";
    CHECK_INT(qi_client_open(&options, &c), QI_E_OS);
    CHECK(c == NULL);
}

static void
a_directory_that_others_may_enter_is_refused(void)
{
    struct qi_client_options options = {.directory = directory, .level = 1};
    qi_client *c = NULL;

    CHECK_INT(chmod(directory, 0755), 0);
    CHECK_INT(qi_client_open(&options, &c), QI_E_OS);
    CHECK(strstr(qi_client_last_error(), "others have access") != NULL);
    CHECK_INT(chmod(directory, 0700), 0);
}

/* --- rows --- */

static void
a_row_is_seen_after_its_end(void)
{
    qi_client *c = open_client();
    struct qi_view view;
    struct qi_slot seen;
    uint64_t id = 0;
    uint32_t index = qi_row_new(c, QI_TASK, 3, &id);

    view_of(c, &view);
    CHECK(index != QI_NO_SLOT);
    CHECK_INT(id, 1);
    CHECK_INT(qi_view_slots_used(&view), 1);
    CHECK_INT(qi_view_slot(&view, index, &seen), QI_VIEW_TORN);
    CHECK_INT(c->p.dirty[index], 0);

    struct qi_slot *slot = qi_row_begin(c, index);
    QI_PUT(slot->state, QI_TASK_READY);
    QI_PUT(slot->row.task.steps, 7);
    QI_PUT(slot->row.task.creator, QI_REF(QI_TASK, 9));
    CHECK_INT(qi_view_slot(&view, index, &seen), QI_VIEW_TORN);
    qi_row_end(c, index);

    CHECK_INT(qi_view_slot(&view, index, &seen), QI_VIEW_OK);
    CHECK_INT(c->p.dirty[index], 1);
    CHECK_INT(seen.kind, QI_TASK);
    CHECK_INT(seen.state, QI_TASK_READY);
    CHECK_INT(seen.loop, 3);
    CHECK_INT(seen.id, 1);
    CHECK_INT(seen.row.task.steps, 7);
    CHECK(seen.row.task.creator == QI_REF(QI_TASK, 9));
    CHECK_INT(seen.row.task.wakes, 0);
    qi_client_close(c, 1000, 0);
}

static void
ids_are_of_their_kind_and_never_used_again(void)
{
    qi_client *c = open_client();
    uint64_t last = 0;
    uint64_t id;

    for (int i = 0; i < 40000; i++) {
        uint32_t index = qi_row_new(c, QI_TASK, 1, &id);
        CHECK(id == last + 1);
        last = id;
        (void)qi_row_begin(c, index);
        qi_row_end(c, index);
        qi_row_retire(c, index, QI_TASK_DONE);
    }
    (void)qi_row_new(c, QI_SLOT, 1, &id);
    CHECK_INT(id, 1);
    CHECK_INT(qi_client_new_id(c, QI_TASK), 40001);
    CHECK_INT(qi_client_new_id(c, 200), 0);
    qi_client_close(c, 1000, 0);
}

static void
a_loop_row_has_the_number_it_is_given(void)
{
    qi_client *c = open_client();
    struct qi_view view;
    struct qi_slot seen;

    view_of(c, &view);
    for (uint32_t i = 1; i <= QI_SEGMENT_LOOPS + 1; i++) {
        uint32_t index = qi_row_new(c, QI_LOOP, i, NULL);
        (void)qi_row_begin(c, index);
        qi_row_end(c, index);
        CHECK_INT(qi_view_slot(&view, index, &seen), QI_VIEW_OK);
        CHECK_INT(seen.loop, i);
        CHECK_INT(seen.id, i);
        CHECK_INT(qi_row_loop(c, index), i);
        CHECK_INT(qi_row_kind(c, index), QI_LOOP);
    }
    CHECK_INT(c->loop_slots[4], 5);
    qi_row_retire(c, 4, QI_LOOP_IS_CLOSED);
    CHECK_INT(c->loop_slots[4], 0);
    CHECK_INT(qi_row_kind(c, QI_NO_SLOT), 0);
    qi_client_close(c, 1000, 0);
}

static void
an_ended_row_stays_readable(void)
{
    qi_client *c = open_client();
    struct qi_view view;
    struct qi_slot seen;
    uint32_t first = qi_row_new(c, QI_TASK, 1, NULL);

    view_of(c, &view);
    (void)qi_row_begin(c, first);
    qi_row_end(c, first);
    qi_row_retire(c, first, QI_TASK_CANCELLED);
    qi_row_retire(c, first, QI_TASK_DONE); /* over already: nothing happens */
    /* As many may end after it and its slot is still not taken, within the second. */
    uint32_t started = qi_coarse_ms();
    for (uint32_t i = 0; i < QI_ROWS_KEPT; i++) {
        uint32_t index = qi_row_new(c, QI_TASK, 1, NULL);
        CHECK(index != first || qi_coarse_ms() - started >= QI_ROWS_KEPT_MS - 20);
        (void)qi_row_begin(c, index);
        qi_row_end(c, index);
        qi_row_retire(c, index, QI_TASK_DONE);
    }
    CHECK_INT(qi_view_slot(&view, first, &seen), QI_VIEW_OK);
    CHECK(seen.id != 1 || seen.state == QI_TASK_CANCELLED);
    /* One more is too many. */
    CHECK_INT(qi_row_new(c, QI_TASK, 1, NULL), first);
    qi_client_close(c, 1000, 0);
}

/* Times come from two clocks, of which one is some milliseconds behind. */
static void
a_row_that_ends_later_than_now_is_not_old(void)
{
    qi_client *c = open_client();
    const int64_t now = INT64_C(5000000000000);
    struct qi_view view;
    struct qi_slot seen;
    uint64_t id = 0;
    uint32_t first = qi_row_new_at(c, QI_TASK, 1, now, &id);

    CHECK_INT(id, 1);
    struct qi_slot *slot = qi_row_begin(c, first);
    QI_PUT(slot->state, QI_TASK_DONE);
    qi_row_done(c, slot);
    qi_row_leave(c, first, now);
    qi_row_leave(c, first, now); /* over already: nothing happens */
    CHECK(qi_row_new_at(c, QI_TASK, 1, now - 5000000, NULL) != first);
    CHECK(qi_row_new_at(c, QI_TASK, 1, now + INT64_C(999000000), NULL) != first);
    view_of(c, &view);
    CHECK_INT(qi_view_slot(&view, first, &seen), QI_VIEW_OK);
    CHECK_INT(seen.state, QI_TASK_DONE);
    CHECK_INT(qi_row_new_at(c, QI_TASK, 1, now + INT64_C(1001000000), NULL), first);
    CHECK(qi_row_new_at(c, QI_TASK, 1, now + INT64_C(1001000000), NULL) != first);
    qi_client_close(c, 1000, 0);
}

static void
rows_without_a_slot_are_counted(void)
{
    qi_client *c = open_client();
    struct qi_view view;
    uint32_t last = 0;
    uint64_t id = 0;

    for (uint32_t i = 0; i < QI_SEGMENT_SLOTS; i++) {
        last = qi_row_new(c, QI_TASK, 1, NULL);
        CHECK_INT(last, i);
    }
    CHECK(qi_row_new(c, QI_TASK, 1, &id) == QI_NO_SLOT);
    CHECK_INT(id, QI_SEGMENT_SLOTS + 1);
    view_of(c, &view);
    CHECK_INT(view.header.slots_missed, 1);
    CHECK_INT(qi_view_slots_used(&view), QI_SEGMENT_SLOTS);
    /* Writing to it is harmless. */
    struct qi_slot *scratch = qi_row_begin(c, QI_NO_SLOT);
    QI_PUT(scratch->row.task.steps, 1);
    qi_row_end(c, QI_NO_SLOT);
    qi_row_retire(c, QI_NO_SLOT, QI_TASK_DONE);
    /* Once one ends, it is taken at once: no other is free. */
    qi_row_retire(c, 77, QI_TASK_DONE);
    CHECK_INT(qi_row_new(c, QI_TASK, 1, NULL), 77);
    qi_client_close(c, 1000, 0);
}

/* A file that cannot grow stands for a file system that is full. */
static void
a_full_file_system_is_a_counted_loss(void)
{
    qi_client *c = open_client();
    struct qi_view view;
    uint32_t rows = 0;
    uint32_t texts = 0;
    char text[1000];
    int file = c->fd;

    c->fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    CHECK(c->fd >= 0);
    while (qi_row_new(c, QI_TASK, 1, NULL) != QI_NO_SLOT) {
        rows++;
    }
    memset(text, 'x', sizeof(text));
    do {
        (void)snprintf(text, sizeof(text), "%08u", texts);
    } while (qi_text(c, text, sizeof(text)) != 0 && ++texts < 100000);
    CHECK_INT(rows, QI_SLOTS_STEP / sizeof(struct qi_slot));
    CHECK(texts > 200 && texts < 300);
    view_of(c, &view);
    CHECK_INT(view.header.slots_missed, 1);
    CHECK_INT(view.header.arena_missed, 1);
    /* It is asked again a second later, not for each row; then there is room again. */
    (void)close(c->fd);
    c->fd = file;
    c->slots_area.failed_ms -= 1001; /* the time of a failure is odd: up to 1 ms late */
    CHECK_INT(qi_row_new(c, QI_TASK, 1, NULL), rows);
    qi_client_close(c, 1000, 0);
}

/* --- records --- */

static void
records_need_level_two(void)
{
    qi_client *c = open_client();
    struct qi_view view;
    struct qi_record got[4];
    uint64_t position = 0;
    uint64_t lost = 9;

    view_of(c, &view);
    qi_client_set_level(c, 1);
    qi_record(c, 1, QI_EV_MARK, 0, 0, 0, 0);
    qi_client_set_level(c, 3);
    qi_client_set_level(c, 7); /* no such level: nothing happens */
    CHECK_INT(qi_client_level(c), 3);
    qi_record(c, -5, QI_EV_MARK, 2, 3, 4, UINT64_MAX);
    CHECK_INT(qi_view_records(&view, &position, got, 4, &lost), 1);
    CHECK_INT(lost, 0);
    CHECK_INT(position, 1);
    CHECK_INT(got[0].ts, -5);
    CHECK_INT(got[0].kind, QI_EV_MARK);
    CHECK_INT(got[0].aux, 2);
    CHECK_INT(got[0].x, 3);
    CHECK_INT(got[0].a, 4);
    CHECK(got[0].b == UINT64_MAX);
    CHECK_INT(qi_view_records(&view, &position, got, 4, &lost), 0);
    CHECK_INT(lost, 0);
    qi_client_close(c, 1000, 0);
}

static void
the_oldest_records_are_overwritten_and_counted(void)
{
    qi_client *c = open_client_with(64);
    struct qi_view view;
    struct qi_record got[100];
    uint64_t position = 0;
    uint64_t lost = 0;

    view_of(c, &view);
    for (uint32_t i = 0; i < 100; i++) {
        qi_record(c, i, QI_EV_MARK, 0, i, 0, 0);
    }
    /* One of the 64 may always be under the pen. */
    CHECK_INT(qi_view_oldest(&view), 37);
    CHECK_INT(qi_view_records(&view, &position, got, 100, &lost), 63);
    CHECK_INT(lost, 37);
    CHECK_INT(got[0].x, 37);
    CHECK_INT(got[62].x, 99);
    CHECK_INT(position, 100);
    qi_client_close(c, 1000, 0);
}

struct race {
    qi_client *client;
    uint64_t written;
    int done;
};

/* Every record is a function of its number, so that a torn one shows. */
static void *
write_records(void *argument)
{
    struct race *race = argument;
    unsigned long long random = 88172645463325252ULL;

    for (uint64_t i = 0; i < race->written; i++) {
        qi_record(race->client, (int64_t)i, QI_EV_MARK, (unsigned)(i & 0xffff),
                  (uint32_t)i, i * 3, ~i);
        if (qi_test_random(&random) % 4096 == 0) {
            usleep(1);
        }
    }
    __atomic_store_n(&race->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void
seen_and_lost_make_up_what_was_written(void)
{
    struct race race = {.client = open_client_with(1024), .written = 2000000};
    struct qi_record got[300];
    unsigned long long random = 1;
    struct qi_view view;
    uint64_t position = 0;
    uint64_t seen = 0;
    uint64_t lost = 0;
    pthread_t writer;
    int done;

    view_of(race.client, &view);
    CHECK_INT(pthread_create(&writer, NULL, write_records, &race), 0);
    do {
        done = __atomic_load_n(&race.done, __ATOMIC_ACQUIRE);
        uint64_t some = 0;
        size_t n = qi_view_records(&view, &position, got,
                                   1 + (size_t)(qi_test_random(&random) % 300), &some);
        uint64_t number = position - n;
        for (size_t i = 0; i < n; i++, number++) {
            CHECK_INT(got[i].ts, number);
            CHECK_INT(got[i].aux, number & 0xffff);
            CHECK_INT(got[i].x, (uint32_t)number);
            CHECK(got[i].a == number * 3);
            CHECK(got[i].b == ~number);
        }
        seen += n;
        lost += some;
        CHECK(seen + lost == position);
        if (qi_test_random(&random) % 64 == 0) {
            usleep(200); /* a reader that falls behind */
        }
    } while (!done || position < race.written);
    CHECK_INT(pthread_join(writer, NULL), 0);
    CHECK(seen + lost == race.written);
    CHECK(seen > 0);
    printf("    seen %llu, lost %llu\n", (unsigned long long)seen,
           (unsigned long long)lost);
    qi_client_close(race.client, 1000, 0);
}

static void *
write_rows(void *argument)
{
    struct race *race = argument;

    for (uint64_t i = 1; i <= race->written; i++) {
        struct qi_slot *slot = qi_row_begin(race->client, 0);
        QI_PUT(slot->row.task.busy, i);
        QI_PUT(slot->row.task.scheduled, ~i);
        QI_PUT(slot->row.task.steps, (uint32_t)i);
        QI_PUT(slot->row.task.wait_kind, (uint8_t)i);
        qi_row_end(race->client, 0);
    }
    __atomic_store_n(&race->done, 1, __ATOMIC_RELEASE);
    return NULL;
}

static void
a_row_is_seen_whole_while_it_is_written(void)
{
    struct race race = {.client = open_client(), .written = 300000};
    struct qi_view view;
    struct qi_slot seen;
    pthread_t writer;
    uint64_t last = 0;
    int done;

    view_of(race.client, &view);
    CHECK_INT(qi_row_new(race.client, QI_TASK, 1, NULL), 0);
    CHECK_INT(pthread_create(&writer, NULL, write_rows, &race), 0);
    do {
        done = __atomic_load_n(&race.done, __ATOMIC_ACQUIRE);
        if (qi_view_slot(&view, 0, &seen) == QI_VIEW_OK) {
            uint64_t i = seen.row.task.busy;
            CHECK(seen.row.task.scheduled == ~i);
            CHECK_INT(seen.row.task.steps, (uint32_t)i);
            CHECK_INT(seen.row.task.wait_kind, (uint8_t)i);
            CHECK(i >= last);
            last = i;
        }
    } while (!done);
    CHECK_INT(pthread_join(writer, NULL), 0);
    CHECK_INT(qi_view_slot(&view, 0, &seen), QI_VIEW_OK);
    CHECK(seen.row.task.busy == race.written);
    qi_client_close(race.client, 1000, 0);
}

/* --- texts --- */

static int
text_is(const struct qi_view *view, uint32_t id, const char *wanted)
{
    struct qi_arena_index index = {0};
    struct qi_entry entry;
    int same;

    CHECK_INT(qi_arena_index_update(&index, view), QI_VIEW_OK);
    CHECK_INT(qi_arena_index_find(&index, view, id, &entry), 1);
    CHECK_INT(entry.id, id);
    CHECK_INT(entry.type, 't');
    same = entry.size == strlen(wanted) && memcmp(entry.bytes, wanted, entry.size) == 0;
    qi_arena_index_fini(&index);
    return same;
}

static void
equal_texts_have_one_id(void)
{
    qi_client *c = open_client();
    struct qi_view view;
    uint32_t hello = qi_text(c, "hello", 5);

    view_of(c, &view);
    CHECK_INT(hello, 1);
    CHECK_INT(qi_text(c, "hellp", 5), 2);
    CHECK_INT(qi_text(c, "hello!", 5), hello);
    CHECK_INT(qi_text(c, "", 0), 3);
    CHECK_INT(qi_text(c, "", 0), 3);
    CHECK(text_is(&view, hello, "hello"));
    CHECK(text_is(&view, 3, ""));
    qi_client_close(c, 1000, 0);
}

static void
texts_are_cut_and_cleaned(void)
{
    char long_text[QI_TEXT_MAX + 1];
    char wanted[QI_TEXT_MAX + 1];
    qi_client *c = open_client();
    struct qi_view view;

    view_of(c, &view);
    /* The last character is two bytes and starts at the last that fits. */
    memset(long_text, 'a', sizeof(long_text));
    memcpy(long_text + QI_TEXT_MAX - 1, "\xc3\xa4", 2);
    memset(wanted, 'a', QI_TEXT_MAX - 1);
    wanted[QI_TEXT_MAX - 1] = '\0';
    CHECK(text_is(&view, qi_text(c, long_text, sizeof(long_text)), wanted));
    CHECK(text_is(&view, qi_text(c, "a\xff\xc3\xa4\xed\xa0\x80", 7), "a?\xc3\xa4???"));
    qi_client_close(c, 1000, 0);
}

static void
locations_and_stacks_come_back(void)
{
    qi_client *c = open_client();
    struct qi_arena_index index = {0};
    struct qi_entry entry;
    struct qi_view view;
    uint32_t codes[20];
    uint32_t back[20];
    uint32_t file = 0;
    uint32_t name = 0;
    uint32_t line = 0;

    for (uint32_t i = 0; i < 20; i++) {
        codes[i] = i + 100;
    }
    uint32_t code = qi_code(c, 11, 22, 33);
    uint32_t stack = qi_stack(c, codes, 20);
    CHECK_INT(qi_code(c, 11, 22, 33), code);
    CHECK(qi_code(c, 11, 22, 34) != code);
    CHECK_INT(qi_stack(c, codes, 16), stack);
    view_of(c, &view);
    CHECK_INT(qi_arena_index_update(&index, &view), QI_VIEW_OK);
    CHECK_INT(qi_arena_index_find(&index, &view, code, &entry), 1);
    CHECK_INT(qi_entry_code(&entry, &file, &name, &line), 0);
    CHECK_INT(file, 11);
    CHECK_INT(name, 22);
    CHECK_INT(line, 33);
    CHECK_INT(qi_entry_stack(&entry, back, 20), 0);
    CHECK_INT(qi_arena_index_find(&index, &view, stack, &entry), 1);
    CHECK_INT(qi_entry_stack(&entry, back, 20), 16);
    CHECK(memcmp(back, codes, 16 * sizeof(codes[0])) == 0);
    CHECK_INT(qi_entry_code(&entry, &file, &name, &line), -1);
    CHECK_INT(qi_arena_index_find(&index, &view, 0, &entry), 0);
    CHECK_INT(qi_arena_index_find(&index, &view, 4, &entry), 0);
    qi_arena_index_fini(&index);
    qi_client_close(c, 1000, 0);
}

static void
a_full_arena_gives_zero_and_counts(void)
{
    qi_client *c = open_client();
    struct qi_view view;
    char text[1000];
    uint64_t refused = 0;
    uint32_t first = 0;

    memset(text, 'x', sizeof(text));
    for (int i = 0; i < 6000; i++) {
        (void)snprintf(text, sizeof(text), "%d", i);
        text[strlen(text)] = 'x';
        uint32_t id = qi_text(c, text, sizeof(text));
        first = i == 0 ? id : first;
        refused += id == 0;
    }
    view_of(c, &view);
    CHECK(refused > 0);
    CHECK(view.header.arena_missed == refused);
    CHECK(view.header.arena_used <= view.header.arena_size);
    /* What is there is still found. */
    memset(text, 'x', sizeof(text));
    (void)snprintf(text, sizeof(text), "%d", 0);
    text[strlen(text)] = 'x';
    CHECK_INT(qi_text(c, text, sizeof(text)), first);
    qi_client_close(c, 1000, 0);
}

/* --- dump --- */

static void
a_dump_holds_what_the_segment_held(void)
{
    char path[128];
    qi_client *c = open_client_with(64);
    struct qi_segment copy;
    struct qi_record got[64];
    struct qi_slot slot;
    uint64_t position = 0;
    uint64_t lost = 0;

    (void)snprintf(path, sizeof(path), "%s/dump", directory);
    for (uint32_t i = 0; i < 100; i++) {
        qi_record(c, i, QI_EV_MARK, 0, i, 0, 0);
    }
    uint32_t text = qi_text(c, "kept", 4);
    uint32_t torn = qi_row_new(c, QI_TASK, 1, NULL);
    uint32_t whole = qi_row_new(c, QI_TASK, 1, NULL);
    (void)qi_row_begin(c, whole);
    qi_row_end(c, whole);
    CHECK_INT(qi_client_dump(c, path), QI_OK);
    CHECK_INT(qi_client_dump(c, "/dev/null/not-there"), QI_E_OS);
    qi_client_close(c, 1000, 0);

    CHECK_INT(qi_segment_load(path, &copy), QI_VIEW_OK);
    CHECK_INT(qi_view_records(&copy.view, &position, got, 64, &lost), 63);
    CHECK_INT(lost, 37);
    CHECK_INT(got[62].x, 99);
    CHECK_INT(qi_view_slot(&copy.view, whole, &slot), QI_VIEW_OK);
    CHECK_INT(slot.id, 2);
    CHECK_INT(qi_view_slot(&copy.view, torn, &slot), QI_VIEW_OK);
    CHECK_INT(slot.kind, 0);
    CHECK(text_is(&copy.view, text, "kept"));
    qi_segment_unload(&copy);
    CHECK_INT(unlink(path), 0);
}

/* --- fork and exit --- */

static int
exit_code_of(pid_t child)
{
    int status = 0;

    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status));
    return WEXITSTATUS(status);
}

static void
in_the_child(qi_client *c, struct qi_slot *kept, uint32_t index)
{
    struct qi_request request;
    struct qi_client_stats stats;
    qi_client *own = NULL;
    struct qi_client_options options = {.directory = directory, .level = 1};

    QI_PUT(kept->row.task.steps, 666);
    QI_PUT(qi_row_begin(c, index)->row.task.wakes, 666);
    qi_row_end(c, index);
    qi_row_retire(c, index, QI_TASK_FAILED);
    CHECK(qi_row_new(c, QI_TASK, 1, NULL) == QI_NO_SLOT);
    qi_client_set_level(c, 4);
    CHECK_INT(qi_client_level(c), 0);
    qi_record(c, 1, QI_EV_MARK, 0, 0, 0, 0);
    CHECK_INT(qi_text(c, "child", 5), 0);
    CHECK_INT(qi_client_take_request(c, &request), 0);
    qi_client_answer(c, 1, 1, "x");
    qi_client_stats(c, &stats);
    CHECK(strcmp(stats.state, "off") == 0);
    CHECK_INT(qi_client_dump(c, "unused"), QI_E_FORKED);
    /* It may have one of its own. */
    CHECK_INT(qi_client_open(&options, &own), QI_OK);
    CHECK(strcmp(qi_client_segment_path(own), qi_client_segment_path(c)) != 0);
    qi_client_close(own, 1000, 0);
    qi_client_close(c, 1000, 0);
    exit(0);
}

static void
a_forked_child_touches_nothing(void)
{
    qi_client *c = open_client();
    struct qi_view view;
    struct qi_slot seen;
    uint32_t index = qi_row_new(c, QI_TASK, 1, NULL);
    struct qi_slot *kept = qi_row_begin(c, index);

    qi_row_end(c, index);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        in_the_child(c, kept, index);
    }
    CHECK_INT(exit_code_of(child), 0);
    view_of(c, &view);
    CHECK_INT(qi_view_slot(&view, index, &seen), QI_VIEW_OK);
    CHECK_INT(seen.row.task.steps, 0);
    CHECK_INT(seen.row.task.wakes, 0);
    CHECK_INT(seen.state, QI_TASK_CREATED);
    CHECK_INT(view.header.level, 2);
    CHECK_INT(view.header.closed, 0);
    CHECK_INT(qi_view_head(&view), 0);
    CHECK_INT(view.header.arena_count, 0);
    CHECK_INT(access(qi_client_segment_path(c), F_OK), 0);
    /* The parent goes on. */
    qi_record(c, 1, QI_EV_MARK, 0, 0, 0, 0);
    CHECK_INT(qi_view_head(&view), 1);
    qi_client_close(c, 1000, 0);
}

/* The process tells the path of its segment, then ends with exit() or _exit(). */
static void
segment_after(int in_good_order, char ret_path[QI_PATH_MAX])
{
    int ends[2];

    CHECK_INT(pipe(ends), 0);
    fflush(stdout);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        qi_client *c = open_client();
        const char *path = qi_client_segment_path(c);
        CHECK(write(ends[1], path, strlen(path) + 1) > 0);
        qi_record(c, 1, QI_EV_MARK, 0, 42, 0, 0);
        if (in_good_order) {
            exit(0);
        }
        _exit(0);
    }
    CHECK_INT(exit_code_of(child), 0);
    CHECK(read(ends[0], ret_path, QI_PATH_MAX) > 0);
    (void)close(ends[0]);
    (void)close(ends[1]);
}

static void
an_exit_without_close_leaves_no_crash(void)
{
    char path[QI_PATH_MAX];

    segment_after(1, path);
    CHECK(access(path, F_OK) < 0 && errno == ENOENT);
}

static void
a_sudden_end_leaves_the_last_records(void)
{
    char path[QI_PATH_MAX];
    struct qi_segment left;
    struct qi_record got[1];
    uint64_t position = 0;
    uint64_t lost = 0;

    segment_after(0, path);
    CHECK_INT(qi_segment_load(path, &left), QI_VIEW_OK);
    CHECK_INT(left.view.header.closed, 0);
    CHECK_INT(qi_view_records(&left.view, &position, got, 1, &lost), 1);
    CHECK_INT(got[0].x, 42);
    qi_segment_unload(&left);
    CHECK_INT(unlink(path), 0);
}

int
main(void)
{
    strcpy(directory, "/tmp/qi-test-XXXXXX");
    CHECK(mkdtemp(directory) != NULL);
    RUN(the_file_is_private_and_says_whose_it_is);
    RUN(close_removes_the_file_unless_it_is_to_be_kept);
    RUN(a_process_has_one_client);
    RUN(bad_options_are_refused);
    RUN(a_directory_that_others_may_enter_is_refused);
    RUN(a_row_is_seen_after_its_end);
    RUN(ids_are_of_their_kind_and_never_used_again);
    RUN(a_loop_row_has_the_number_it_is_given);
    RUN(an_ended_row_stays_readable);
    RUN(a_row_that_ends_later_than_now_is_not_old);
    RUN(rows_without_a_slot_are_counted);
    RUN(a_full_file_system_is_a_counted_loss);
    RUN(records_need_level_two);
    RUN(the_oldest_records_are_overwritten_and_counted);
    RUN(seen_and_lost_make_up_what_was_written);
    RUN(a_row_is_seen_whole_while_it_is_written);
    RUN(equal_texts_have_one_id);
    RUN(texts_are_cut_and_cleaned);
    RUN(locations_and_stacks_come_back);
    RUN(a_full_arena_gives_zero_and_counts);
    RUN(a_dump_holds_what_the_segment_held);
    RUN(a_forked_child_touches_nothing);
    RUN(an_exit_without_close_leaves_no_crash);
    RUN(a_sudden_end_leaves_the_last_records);
    CHECK_INT(rmdir(directory), 0);
    return 0;
}
