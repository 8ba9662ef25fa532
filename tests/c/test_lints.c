/* test_lints.c - each finding of daemon/lints.h: what makes it, what does not, its end.
 */
#include "qi_test.h"

#include "lint_scene.h"

#include <string.h>

/*********** one for each ***********/

static void
test_blocked(void)
{
    check_record(QI_LINT_QI101, QI_EV_TASK_STEP, QI_STEP_WAITS, 7, 150 * MS, 7, 99 * MS);
    struct scene s = make();
    record(&s, QI_EV_CALLBACK, 3, 200 * MS, 0);
    CHECK_INT(finding(&s, QI_LINT_QI101)->severity, 'W');
    CHECK(finding(&s, QI_LINT_QI101)->ref == QI_REF(QI_CALLBACK, 3));
    record(&s, QI_EV_CALLBACK, 3, 2 * SECOND, 0);
    CHECK_INT(finding(&s, QI_LINT_QI101)->severity, 'E');
    finish(&s);
}

static void
test_stalls(void)
{
    struct scene s = make();
    uint64_t ref = QI_REF(QI_TASK, 7);

    qi_lints_stall(s.lints, s.mirror, 1, s.now, 500 * MS, ref, 1, NULL); /* it is over */
    CHECK(finding(&s, QI_LINT_QI101) == NULL);
    qi_lints_stall(s.lints, s.mirror, 1, s.now, 500 * MS, ref, 0, NULL);
    CHECK(finding(&s, QI_LINT_QI101) != NULL);
    CHECK(strstr(finding(&s, QI_LINT_QI101)->text, "500 ms") != NULL);
    finish(&s);
}

static void
test_first_step(void)
{
    struct scene s = make();
    struct qi_wire_row task = a_row(QI_TASK, 7, QI_TASK_RUNNING);

    put(&s, task); /* its second step: long, but it has yielded */
    put(&s, a_loop(QI_LOOP_BUSY, QI_REF(QI_TASK, 7), START));
    CHECK(!holds_after(&s, 2 * SECOND, QI_LINT_QI102));
    task.column[QI_COL_TASK_steps] = 0;
    put(&s, task);
    CHECK(holds_after(&s, 0, QI_LINT_QI102));
    put(&s, a_loop(QI_LOOP_IDLE, 0, 0));
    while (qi_lints_next_change(s.lints) != NULL) {
    }
    CHECK(!holds_after(&s, 0, QI_LINT_QI102));
    finish(&s);
}

static void
test_starved_by_qt(void)
{
    struct scene s = make();

    put(&s, a_loop(QI_LOOP_BUSY, 0, START));
    put(&s, a_row(QI_TASK, 7, QI_TASK_READY));
    CHECK(!holds_after(&s, SECOND, QI_LINT_QI103)); /* asyncio is at work */
    put(&s, a_loop(QI_LOOP_IDLE, 0, 0));
    CHECK(holds_after(&s, 0, QI_LINT_QI103));
    finish(&s);
}

static void
test_lag(void)
{
    for (int bad = 0; bad < 2; bad++) {
        struct scene s = make();
        (void)holds_after(&s, 0, QI_LINT_QI105);
        for (int i = 0; i < 200; i++) {
            record(&s, QI_EV_TASK_WAKE, 0, 7, 0);
            s.now += bad ? 31 * MS : 6 * MS;
            record(&s, QI_EV_TASK_STEP, QI_STEP_WAITS, 7, 1 * MS);
        }
        CHECK_INT(holds_after(&s, 10 * SECOND, QI_LINT_QI105), bad);
        CHECK(!holds_after(&s, 0, QI_LINT_QI504));
        (void)qi_lints_next_change(s.lints);
        CHECK(!holds_after(&s, 10 * SECOND, QI_LINT_QI105));
        finish(&s);
    }
}

static void
test_lateness(void)
{
    for (int bad = 0; bad < 2; bad++) {
        struct scene s = make();
        (void)holds_after(&s, 0, QI_LINT_QI504);
        for (uint64_t i = 0; i < 100; i++) {
            record(&s, QI_EV_TIMER_FIRED, 0, i, (uint64_t)(bad ? 80 * MS : 5 * MS));
        }
        CHECK_INT(holds_after(&s, 10 * SECOND, QI_LINT_QI504), bad);
        finish(&s);
    }
}

static void
test_spinning(void)
{
    for (int bad = 0; bad < 2; bad++) {
        struct scene s = make();
        struct qi_wire_row loop = a_loop(QI_LOOP_IDLE, 0, 0);
        int held = 0;
        for (int i = 0; i < 40; i++) {
            loop.column[QI_COL_LOOP_iterations] += 500;
            loop.column[QI_COL_LOOP_callbacks] += bad ? 1 : 400;
            put(&s, loop);
            held = holds_after(&s, 250 * MS, QI_LINT_QI106);
        }
        CHECK_INT(held, bad);
        for (int i = 0; i < 8; i++) {
            (void)qi_lints_next_change(s.lints);
            held = holds_after(&s, 250 * MS, QI_LINT_QI106);
        }
        CHECK(!held);
        finish(&s);
    }
}

static void
test_slots(void)
{
    struct qi_wire_row good = a_row(QI_SLOT, 1, QI_LIVE);
    struct qi_wire_row bad = good;

    good.column[QI_COL_SLOT_live] = 1;
    bad.column[QI_COL_SLOT_live] = 2;
    check_row(QI_LINT_QI201, bad, good, 0);
    bad.column[QI_COL_SLOT_live] = 10;
    good.column[QI_COL_SLOT_live] = 9;
    check_row(QI_LINT_QI202, bad, good, 0);
}

static void
test_dead_receiver(void)
{
    struct scene s = make();
    struct qi_wire_row slot = a_row(QI_SLOT, 1, QI_LIVE);
    struct qi_wire_row task = a_row(QI_TASK, 7, QI_TASK_WAITING);
    struct qi_wire_row object = a_row(QI_OBJECT, 5, QI_LIVE);

    slot.column[QI_COL_SLOT_receiver] = 5;
    task.column[QI_COL_TASK_slot] = 1;
    put(&s, object);
    put(&s, slot);
    put(&s, task);
    CHECK(!holds_after(&s, SECOND, QI_LINT_QI203));
    object.column[QI_COL_OBJECT_destroyed] = START;
    object.state = QI_OVER;
    put(&s, object);
    CHECK(holds_after(&s, 250 * MS, QI_LINT_QI203));
    finish(&s);
}

static void
test_exceptions(void)
{
    struct scene s = make();
    struct qi_wire_row call = a_row(QI_TASK, 7, QI_TASK_FAILED);

    call.column[QI_COL_TASK_role] = QI_ROLE_SLOT_CALL;
    put(&s, call);
    put(&s, a_row(QI_TASK, 8, QI_TASK_FAILED));
    record(&s, QI_EV_TASK_ENDED, QI_TASK_FAILED, 7, 0); /* it may still be taken */
    CHECK(finding(&s, QI_LINT_QI205) == NULL);
    record(&s, QI_EV_TASK_UNRETRIEVED, 0, 7, 0);
    CHECK(finding(&s, QI_LINT_QI205) != NULL);
    CHECK(finding(&s, QI_LINT_QI402) == NULL);
    record(&s, QI_EV_TASK_UNRETRIEVED, 0, 8, 0);
    CHECK(finding(&s, QI_LINT_QI402) != NULL);
    finish(&s);
}

static void
test_waits(void)
{
    struct qi_wire_row good = a_row(QI_WAIT, 1, QI_LIVE);
    struct qi_wire_row bad = good;

    bad.column[QI_COL_WAIT_sender_alive] = 0;
    check_row(QI_LINT_QI301, bad, good, 0);
    good.column[QI_COL_WAIT_form] = QI_FORM_STREAM; /* waits as long as it likes */
    bad = a_row(QI_WAIT, 1, QI_LIVE);
    check_row(QI_LINT_QI302, bad, good, 30 * SECOND);
    bad = good;
    bad.column[QI_COL_WAIT_buffered] = 1001;
    good.column[QI_COL_WAIT_buffered] = 1000;
    check_row(QI_LINT_QI304, bad, good, 0);
}

static void
test_destroyed_tasks_and_nested_loops(void)
{
    struct scene s = make();

    record(&s, QI_EV_TASK_ENDED, QI_TASK_DONE, 7, 0);
    CHECK(finding(&s, QI_LINT_QI401) == NULL);
    record(&s, QI_EV_TASK_DESTROYED, 0, 7, 0);
    CHECK(finding(&s, QI_LINT_QI401) != NULL);
    record(&s, QI_EV_MODAL_ENTERED, 2, 7, 0);
    record(&s, QI_EV_NESTED_ENTERED, 2, 0, 0); /* in no task's step */
    CHECK(finding(&s, QI_LINT_QI502) == NULL);
    record(&s, QI_EV_NESTED_ENTERED, 2, 7, 0);
    CHECK(finding(&s, QI_LINT_QI502) != NULL);
    /* As long as it runs, and for a while after that. */
    put(&s, a_loop(QI_LOOP_NESTED, QI_REF(QI_TASK, 7), START));
    CHECK(holds_after(&s, 5 * QI_LINT_HOLD_NS, QI_LINT_QI502));
    record(&s, QI_EV_NESTED_LEFT, 1, 0, 0);
    CHECK(holds_after(&s, QI_LINT_HOLD_NS / 2, QI_LINT_QI502));
    CHECK(!holds_after(&s, QI_LINT_HOLD_NS, QI_LINT_QI502));
    finish(&s);
}

static struct qi_wire_row
waits_for_task(uint64_t id, uint64_t other)
{
    struct qi_wire_row row = a_row(QI_TASK, id, QI_TASK_WAITING);

    row.column[QI_COL_TASK_wait_kind] = QI_WAITS_TASK;
    row.column[QI_COL_TASK_wait_ref] = QI_REF(QI_TASK, other);
    return row;
}

static void
test_circles(void)
{
    struct scene s = make();

    put(&s, waits_for_task(5, 6));
    put(&s, waits_for_task(6, 7));
    put(&s, a_row(QI_TASK, 7, QI_TASK_WAITING));
    CHECK(!holds_after(&s, SECOND, QI_LINT_QI403));
    put(&s, waits_for_task(7, 5));
    put(&s, waits_for_task(4, 5)); /* waits for the circle, is not in it */
    CHECK(holds_after(&s, 250 * MS, QI_LINT_QI403));
    CHECK(finding(&s, QI_LINT_QI403)->ref == QI_REF(QI_TASK, 5)); /* once for all three */
    put(&s, a_row(QI_TASK, 7, QI_TASK_DONE));
    while (qi_lints_next_change(s.lints) != NULL) {
    }
    CHECK(!holds_after(&s, 250 * MS, QI_LINT_QI403));
    /* One that waits for itself; and for one that has ended. */
    put(&s, waits_for_task(9, 9));
    CHECK(holds_after(&s, 0, QI_LINT_QI403));
    CHECK(holds_after(&s, SECOND, QI_LINT_QI404));
    finish(&s);
}

static void
test_tasks(void)
{
    struct qi_wire_row good = a_row(QI_TASK, 1, QI_TASK_WAITING);
    struct qi_wire_row bad = good;

    bad.column[QI_COL_TASK_wait_kind] = QI_WAITS_NOTHING;
    check_row(QI_LINT_QI404, bad, good, SECOND);
    bad = good;
    good.column[QI_COL_TASK_wakes] = 40;
    good.column[QI_COL_TASK_self_wakes] = 20;
    bad.column[QI_COL_TASK_wakes] = 20;
    bad.column[QI_COL_TASK_self_wakes] = 11;
    check_row(QI_LINT_QI405, bad, good, 0);
    good = a_row(QI_TASK, 1, QI_TASK_WAITING);
    bad = good;
    bad.state = QI_TASK_CANCELLING;
    bad.column[QI_COL_TASK_cancels] = 1;
    check_row(QI_LINT_QI406, bad, good, 5 * SECOND);
}

static void
test_leaks(void)
{
    for (int bad = 0; bad < 2; bad++) {
        struct scene s = make();
        uint64_t id = 0;
        int held = 0;
        for (int second = 0; second < 130; second++) {
            for (int i = 0; i < (bad || second == 0 ? 5 : 0) + (second == 0) * 200; i++) {
                struct qi_wire_row task = a_row(QI_TASK, ++id, QI_TASK_WAITING);
                task.column[QI_COL_TASK_code] = 3;
                put(&s, task);
            }
            held |= holds_after(&s, SECOND, QI_LINT_QI407);
        }
        CHECK_INT(held, bad);
        finish(&s);
    }
}

static void
test_timers_and_jobs(void)
{
    struct scene s = make();
    struct qi_wire_row timer = a_row(QI_TIMER, 1, QI_LIVE);
    struct qi_wire_row job = a_row(QI_JOB, 1, QI_LIVE);

    timer.column[QI_COL_TIMER_code] = 3;
    for (timer.id = 1; timer.id < 100; timer.id++) {
        put(&s, timer);
    }
    for (job.id = 1; job.id <= 12; job.id++) { /* four workers */
        put(&s, job);
    }
    CHECK(!holds_after(&s, 0, QI_LINT_QI503));
    CHECK(!holds_after(&s, 6 * SECOND, QI_LINT_QI506));
    put(&s, timer);
    put(&s, job);
    CHECK(holds_after(&s, 250 * MS, QI_LINT_QI503));
    CHECK(!holds_after(&s, 0, QI_LINT_QI506));
    CHECK(holds_after(&s, 5 * SECOND, QI_LINT_QI506));
    finish(&s);
}

static void
test_losses(void)
{
    struct scene s = make();

    CHECK(!holds_after(&s, 0, QI_LINT_QI901));
    qi_lints_lost(s.lints, 12);
    CHECK(holds_after(&s, 0, QI_LINT_QI901));
    CHECK(strstr(finding(&s, QI_LINT_QI901)->text, "12") != NULL);
    finish(&s);
}

/*********** bounds ***********/

static void
test_there_is_an_end_to_findings(void)
{
    struct scene s = make();
    unsigned told = 0;

    for (uint64_t id = 1; id <= 1000; id++) {
        struct qi_wire_row wait = a_row(QI_WAIT, id, QI_LIVE);
        wait.column[QI_COL_WAIT_sender_alive] = 0;
        wait.column[QI_COL_WAIT_form] = QI_FORM_STREAM; /* no other finding */
        put(&s, wait);
    }
    CHECK(holds_after(&s, 0, QI_LINT_QI301));
    while (qi_lints_next_change(s.lints) != NULL) {
        told++;
    }
    CHECK_INT(told, QI_LINT_EACH);
    CHECK_INT(qi_lints_suppressed(s.lints), 1000 - QI_LINT_EACH);
    finish(&s);
}

static void
test_ids(void)
{
    CHECK(strcmp(qi_lint_id(QI_LINT_QI101), "QI101") == 0);
    CHECK(strcmp(qi_lint_id(QI_LINT_QI901), "QI901") == 0);
    qi_lints_free(NULL);
}

int
main(void)
{
    RUN(test_blocked);
    RUN(test_stalls);
    RUN(test_first_step);
    RUN(test_starved_by_qt);
    RUN(test_lag);
    RUN(test_lateness);
    RUN(test_spinning);
    RUN(test_slots);
    RUN(test_dead_receiver);
    RUN(test_exceptions);
    RUN(test_waits);
    RUN(test_destroyed_tasks_and_nested_loops);
    RUN(test_circles);
    RUN(test_tasks);
    RUN(test_leaks);
    RUN(test_timers_and_jobs);
    RUN(test_losses);
    RUN(test_there_is_an_end_to_findings);
    RUN(test_ids);
    return 0;
}
