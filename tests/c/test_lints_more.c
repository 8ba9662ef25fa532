/* test_lints_more.c - findings of nesting, threads, turns, missed signals; what the
   application wants of them. */
#include "qi_test.h"

#include "lint_scene.h"

#include <string.h>

/*********** turns and loops ***********/

static void
turn(struct scene *s, uint32_t callbacks, int64_t ns)
{
    s->now += ns;
    record(s, QI_EV_TURN, callbacks, 0, (uint64_t)ns);
}

static void
test_starved_by_asyncio(void)
{
    struct scene s = make();
    struct qi_wire_row loop = a_loop(QI_LOOP_IDLE, 0, 0);

    loop.column[QI_COL_LOOP_mode] = QI_MODE_NATIVE;
    put(&s, loop);
    turn(&s, 100, 80 * MS); /* no Qt there to be starved */
    CHECK(finding(&s, QI_LINT_QI104) == NULL);
    loop.column[QI_COL_LOOP_mode] = QI_MODE_ATTACHED;
    put(&s, loop);
    turn(&s, 100, 49 * MS);
    turn(&s, 1, 80 * MS);
    CHECK(finding(&s, QI_LINT_QI104) == NULL);
    /* One step that takes it all is something else. */
    record(&s, QI_EV_TASK_STEP, QI_STEP_WAITS, 7, 70 * MS);
    turn(&s, 5, 80 * MS);
    CHECK(finding(&s, QI_LINT_QI104) == NULL);
    for (int i = 0; i < 5; i++) {
        record(&s, QI_EV_TASK_STEP, QI_STEP_WAITS, 7, 15 * MS);
    }
    turn(&s, 5, 80 * MS);
    CHECK(finding(&s, QI_LINT_QI104) != NULL);
    CHECK(finding(&s, QI_LINT_QI104)->ref == QI_REF(QI_LOOP, 1));
    CHECK(strstr(finding(&s, QI_LINT_QI104)->text, "80 ms while 5 steps") != NULL);
    finish(&s);
}

static void
test_depth(void)
{
    struct qi_wire_row good = a_loop(QI_LOOP_NESTED, 0, 0);
    struct scene s = make();

    good.column[QI_COL_LOOP_depth] = 2;
    put(&s, good);
    CHECK(!holds_after(&s, SECOND, QI_LINT_QI501));
    good.column[QI_COL_LOOP_depth] = 3;
    put(&s, good);
    CHECK(holds_after(&s, 250 * MS, QI_LINT_QI501));
    while (qi_lints_next_change(s.lints) != NULL) {
    }
    good.column[QI_COL_LOOP_depth] = 1;
    put(&s, good);
    CHECK(!holds_after(&s, 250 * MS, QI_LINT_QI501));
    finish(&s);
}

/* What runs is judged while it runs, also if no STALL tells of it. */
static void
test_long_steps_under_way(void)
{
    struct scene s = make();
    uint64_t task = QI_REF(QI_TASK, 7);

    put(&s, a_loop(QI_LOOP_BUSY, task, START));
    CHECK(!holds_after(&s, 99 * MS, QI_LINT_QI101));
    CHECK(holds_after(&s, 2 * MS, QI_LINT_QI101));
    CHECK_INT(finding(&s, QI_LINT_QI101)->severity, 'W');
    CHECK(holds_after(&s, SECOND, QI_LINT_QI101));
    CHECK_INT(finding(&s, QI_LINT_QI101)->severity, 'E');
    /* It is one, however often it is told of. */
    qi_lints_stall(s.lints, s.mirror, 1, START, 1200 * MS, task, 0, "save (app.py:12)");
    CHECK(strstr(finding(&s, QI_LINT_QI101)->text, " in save (app.py:12)") != NULL);
    s.now = START + 1300 * MS;
    record(&s, QI_EV_TASK_STEP, QI_STEP_WAITS, 7, 1300 * MS);
    CHECK_INT(finding(&s, QI_LINT_QI101)->count, 1);
    CHECK(strstr(finding(&s, QI_LINT_QI101)->text, "1300 ms in save") != NULL);
    /* The next one is another, whose place is not known. */
    s.now += 200 * MS;
    record(&s, QI_EV_TASK_STEP, QI_STEP_WAITS, 7, 150 * MS);
    CHECK_INT(finding(&s, QI_LINT_QI101)->count, 2);
    CHECK(strstr(finding(&s, QI_LINT_QI101)->text, "save") == NULL);
    finish(&s);
}

static void
test_nested_time_is_no_stall(void)
{
    struct scene s = make();

    put(&s, a_loop(QI_LOOP_NESTED, QI_REF(QI_TASK, 7), START));
    CHECK(!holds_after(&s, 2 * SECOND, QI_LINT_QI101));
    finish(&s);
}

static void
test_foreign_calls(void)
{
    struct scene s = make();

    record(&s, QI_EV_CALLBACK, 3, 1 * MS, 0);
    CHECK(finding(&s, QI_LINT_QI505) == NULL);
    record(&s, QI_EV_CALLBACK_FOREIGN, 3, 0, 0);
    CHECK(finding(&s, QI_LINT_QI505) != NULL);
    CHECK(finding(&s, QI_LINT_QI505)->ref == QI_REF(QI_CALLBACK, 3));
    finish(&s);
}

static void
test_a_close_with_tasks(void)
{
    struct scene s = make();
    struct qi_wire_row wait = a_row(QI_WAIT, 4, QI_LIVE);

    record(&s, QI_EV_LOOP_CLOSED, 0, 1, 0);
    CHECK(finding(&s, QI_LINT_QI507) == NULL);
    record(&s, QI_EV_LOOP_CLOSED, 3, 1, 0);
    CHECK(strstr(finding(&s, QI_LINT_QI507)->text, "3 pending tasks") != NULL);
    CHECK(strstr(finding(&s, QI_LINT_QI507)->text, "waits") == NULL);
    put(&s, wait);
    record(&s, QI_EV_LOOP_CLOSED, 3, 1, 0);
    CHECK(strstr(finding(&s, QI_LINT_QI507)->text, "1 signal wait") != NULL);
    finish(&s);
}

static void
test_names(void)
{
    struct scene s = make();
    struct qi_wire_row task = a_row(QI_TASK, 1, QI_TASK_WAITING);

    for (task.id = 1; task.id <= 12; task.id++) {
        /* Five of nine; slot calls are called as their slots, and 0 is not known yet. */
        task.column[QI_COL_TASK_name] = task.id <= 5 ? QI_TASK_N | task.id : 3;
        task.column[QI_COL_TASK_role] = task.id == 10 ? QI_ROLE_SLOT_CALL : QI_ROLE_TASK;
        if (task.id >= 11) {
            task.column[QI_COL_TASK_name] = 0;
        }
        put(&s, task);
    }
    CHECK(!holds_after(&s, 20 * SECOND, QI_LINT_QI408));
    task.id = 13;
    task.column[QI_COL_TASK_name] = 3; /* five of ten */
    put(&s, task);
    CHECK(!holds_after(&s, 9 * SECOND, QI_LINT_QI408));
    CHECK(holds_after(&s, 10 * SECOND, QI_LINT_QI408));
    while (qi_lints_next_change(s.lints) != NULL) {
    }
    task.id = 14; /* five of eleven */
    put(&s, task);
    CHECK(!holds_after(&s, SECOND, QI_LINT_QI408));
    finish(&s);
}

/*********** slots and waits ***********/

static void
test_answers(void)
{
    struct qi_wire_row good = a_row(QI_SLOT, 1, QI_LIVE);
    struct qi_wire_row bad = good;

    bad.column[QI_COL_SLOT_answer] = 1;
    check_row(QI_LINT_QI204, bad, good, 0);
}

static void
test_delays(void)
{
    check_record(QI_LINT_QI206, QI_EV_SLOT_DELAYED, 0, 7, 100 * MS, 7, 99 * MS);
}

static void
test_policies(void)
{
    struct qi_wire_row bad = a_row(QI_SLOT, 1, QI_LIVE);
    struct qi_wire_row good = bad;

    bad.column[QI_COL_SLOT_live] = 3;
    good.column[QI_COL_SLOT_live] = 3;
    good.column[QI_COL_SLOT_policy] = QI_OVERLAP_QUEUE;
    check_row(QI_LINT_QI201, bad, good, 0);
}

static void
test_threads(void)
{
    struct qi_wire_row good = a_row(QI_WAIT, 1, QI_LIVE);
    struct qi_wire_row bad = good;

    bad.column[QI_COL_WAIT_foreign] = 1;
    check_row(QI_LINT_QI305, bad, good, 0);
}

/* Task `first` has waited for an emission; `gap` later `second` begins to. */
static int
misses(uint64_t first, uint64_t second, uint64_t creator, int64_t gap, uint64_t sender)
{
    struct scene s = make();
    struct qi_wire_row wait = a_row(QI_WAIT, 2, QI_LIVE);

    for (uint64_t id = 7; id <= 8; id++) {
        struct qi_wire_row task = a_row(QI_TASK, id, QI_TASK_WAITING);
        task.column[QI_COL_TASK_creator] = creator != 0 ? creator : id;
        put(&s, task);
    }
    record(&s, QI_EV_WAIT_BEGAN, 3, 1, 5);
    record(&s, QI_EV_TASK_WAIT, QI_WAITS_SIGNAL, first, QI_REF(QI_WAIT, 1));
    s.now += SECOND;
    record(&s, QI_EV_WAIT_FIRED, 0, 1, 0);
    s.now += gap;
    record(&s, QI_EV_WAIT_BEGAN, 3, 2, sender);
    record(&s, QI_EV_TASK_WAIT, QI_WAITS_SIGNAL, second, QI_REF(QI_WAIT, 2));
    wait.column[QI_COL_WAIT_since] = (uint64_t)s.now;
    put(&s, wait);
    CHECK(!holds_after(&s, 900 * MS, QI_LINT_QI303));
    int held = holds_after(&s, 200 * MS, QI_LINT_QI303);
    if (held) { /* it comes at last */
        CHECK(strstr(finding(&s, QI_LINT_QI303)->text, "came 20 ms before") != NULL);
        while (qi_lints_next_change(s.lints) != NULL) {
        }
        wait.column[QI_COL_WAIT_fired] = 1;
        put(&s, wait);
        CHECK(!holds_after(&s, 0, QI_LINT_QI303));
    }
    finish(&s);
    return held;
}

static void
test_missed_signals(void)
{
    CHECK(misses(7, 8, 0, 20 * MS, 5));
    CHECK(!misses(7, 8, 0, 60 * MS, 5));  /* long ago */
    CHECK(!misses(7, 8, 0, 20 * MS, 6));  /* of another sender */
    CHECK(!misses(7, 7, 0, 20 * MS, 5));  /* it had that one, and waits for the next */
    CHECK(!misses(7, 8, 99, 20 * MS, 5)); /* likewise, by way of wait_for() */
}

/*********** what the application wants ***********/

static void
configure(struct scene *s, const char *text)
{
    qi_lints_configure(s->lints, text, strlen(text));
}

static void
test_settings(void)
{
    struct scene s = make();
    struct qi_wire_row slot = a_row(QI_SLOT, 1, QI_LIVE);

    slot.column[QI_COL_SLOT_live] = 4;
    put(&s, slot);
    configure(&s, "QI202 limit=4 severity=E\nQI201 off\nQI302 after_ms=2000");
    CHECK(holds_after(&s, 0, QI_LINT_QI202));
    CHECK_INT(finding(&s, QI_LINT_QI202)->severity, 'E');
    CHECK(finding(&s, QI_LINT_QI201) == NULL);
    CHECK_INT(qi_lints_after_ms(s.lints, QI_LINT_QI302), 2000);
    CHECK_INT(qi_lints_after_ms(s.lints, QI_LINT_QI201), -1);
    struct qi_wire_row wait = a_row(QI_WAIT, 1, QI_LIVE);
    put(&s, wait);
    CHECK(holds_after(&s, 2 * SECOND, QI_LINT_QI302));
    CHECK(strstr(finding(&s, QI_LINT_QI302)->text, "over 2 s") != NULL);
    /* Other wishes take the place of these. */
    configure(&s, "");
    CHECK(holds_after(&s, 0, QI_LINT_QI201));
    CHECK_INT(qi_lints_after_ms(s.lints, QI_LINT_QI302), 30000);
    finish(&s);
}

static void
test_a_severity_that_was_chosen_stays(void)
{
    struct scene s = make();

    configure(&s, "QI101 severity=I");
    record(&s, QI_EV_CALLBACK, 3, 5 * SECOND, 0);
    CHECK_INT(finding(&s, QI_LINT_QI101)->severity, 'I');
    finish(&s);
}

static void
test_settings_that_are_none(void)
{
    static const char *const texts[] = {
        "QI10 off",
        "QI101off",
        "QI1011 off",
        "qi101 off",
        "QI101 offf severity=X severity= severity after_ms=-1 after_ms=1x after_ms=",
        "QI101 after_ms=9999999999 limit=99999999999999999999",
        "QI301 after_ms=5 limit=5", /* has no such thresholds */
        "\n\n  \n QI999 off\nQI101",
        " off QI101"};
    struct scene s = make();

    for (size_t i = 0; i < sizeof(texts) / sizeof(texts[0]); i++) {
        configure(&s, texts[i]);
        for (int lint = 0; lint < QI_LINT_KINDS; lint++) {
            qi_lints_configure(s.lints, texts[i], strlen(texts[i]));
        }
        CHECK_INT(qi_lints_after_ms(s.lints, QI_LINT_QI101), 100);
        CHECK_INT(qi_lints_after_ms(s.lints, QI_LINT_QI301), -1);
    }
    unsigned long long random = 1;
    for (int round = 0; round < 2000; round++) {
        char noise[40];
        size_t n = qi_test_random(&random) % sizeof(noise);
        for (size_t i = 0; i < n; i++) {
            noise[i] = "QI101 \n=off_ms\0x"[qi_test_random(&random) % 17];
        }
        qi_lints_configure(s.lints, noise, n);
    }
    finish(&s);
}

static void
put_text(struct scene *s, uint32_t id, const char *text)
{
    struct qi_wire_entry entry = {.id = id, .type = 't'};

    entry.text.bytes = (const uint8_t *)text;
    entry.text.size = (uint32_t)strlen(text);
    CHECK_INT(qi_mirror_put_entry(s->mirror, &entry), QI_MIRROR_OK);
}

static void
test_lines_that_ignore(void)
{
    static const struct {
        const char *text;
        int slot, task; /* is QI201 of the slot, QI406 of its call still found? */
    } cases[] = {{"QI999", 1, 1}, {"QI201", 0, 1}, {"QI406,QI999", 1, 0}, {"*", 0, 0}};

    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        struct scene s = make();
        struct qi_wire_row slot = a_row(QI_SLOT, 1, QI_LIVE);
        struct qi_wire_row task = a_row(QI_TASK, 7, QI_TASK_CANCELLING);
        put_text(&s, 1, cases[i].text);
        slot.column[QI_COL_SLOT_live] = 2;
        slot.column[QI_COL_SLOT_ignore] = 1;
        put(&s, slot);
        slot.id = 2; /* another one, whose line says nothing */
        slot.column[QI_COL_SLOT_ignore] = 0;
        task.column[QI_COL_TASK_slot] = 1;
        put(&s, task);
        (void)holds_after(&s, 0, QI_LINT_QI201);
        CHECK_INT(holds_after(&s, 6 * SECOND, QI_LINT_QI406), cases[i].task);
        CHECK_INT(finding(&s, QI_LINT_QI201) != NULL, cases[i].slot);
        put(&s, slot);
        CHECK(holds_after(&s, 0, QI_LINT_QI201));
        finish(&s);
    }
}

int
main(void)
{
    RUN(test_starved_by_asyncio);
    RUN(test_depth);
    RUN(test_long_steps_under_way);
    RUN(test_nested_time_is_no_stall);
    RUN(test_foreign_calls);
    RUN(test_a_close_with_tasks);
    RUN(test_names);
    RUN(test_answers);
    RUN(test_delays);
    RUN(test_policies);
    RUN(test_threads);
    RUN(test_missed_signals);
    RUN(test_settings);
    RUN(test_a_severity_that_was_chosen_stays);
    RUN(test_settings_that_are_none);
    RUN(test_lines_that_ignore);
    return 0;
}
