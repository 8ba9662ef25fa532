/* test_capture.c - the promises of client/capture.h, with a handler in the place of
   Python's faulthandler. */
#include "qi_test.h"

#include "capture.h"
#include "qi_client.h"

#ifdef __linux__

#  include "fake_faulthandler.h"

#  include <fcntl.h>
#  include <poll.h>
#  include <sys/wait.h>

#  define WAIT_MS 20000 /* only a safety net */

static int number; /* of the signal */
static struct fake_loop_thread thread_;

static struct qi_capture *
made(void)
{
    struct qi_capture *c = NULL;

    CHECK_INT(qi_capture_new(number, &c), QI_CAPTURE_OK);
    CHECK(strcmp(qi_capture_state(c), "on") != 0);
    fake_register(number, qi_capture_file(c));
    CHECK_INT(qi_capture_arm(c), QI_CAPTURE_OK);
    CHECK(strcmp(qi_capture_state(c), "on") == 0);
    return c;
}

static void
unmade(struct qi_capture *c)
{
    if (qi_capture_disarm(c)) {
        fake_unregister(number);
    }
    qi_capture_free(c);
}

static void
take(struct qi_capture *c, char text[512])
{
    size_t size = 0;

    for (;;) {
        struct pollfd fd = {.fd = qi_capture_event(c), .events = POLLIN};
        CHECK_INT(poll(&fd, 1, WAIT_MS), 1);
        if (qi_capture_take(c, text, 511, &size)) {
            break;
        }
    }
    text[size] = '\0';
}

static void
a_waiting_thread_is_asked(void)
{
    struct qi_capture *c = made();
    char text[512];
    size_t size;

    fake_loop_start(&thread_, 0);
    CHECK_INT(qi_capture_take(c, text, sizeof(text), &size), 0);
    for (int i = 1; i <= 3; i++) {
        CHECK_INT(qi_capture_ask(c, thread_.id), QI_CAPTURE_OK);
        take(c, text);
        CHECK(strstr(text, "in inner\n") != NULL && strstr(text, "in outer\n") != NULL);
        CHECK(strstr(text, "most") == strrchr(text, 'm')); /* one, not those before too */
        CHECK(FAKE_LOAD(fake_thread) == thread_.id);
        CHECK_INT(qi_capture_count(c), i);
        CHECK(qi_capture_longest(c) > 0);
        CHECK_INT(qi_capture_take(c, text, sizeof(text), &size), 0);
    }
    fake_loop_end(&thread_); /* it checks that its read() went on */
    unmade(c);
    struct sigaction now;
    CHECK_INT(sigaction(number, NULL, &now), 0);
    CHECK(now.sa_handler == SIG_DFL);
}

static void
a_signal_in_use_is_left_alone(void)
{
    struct qi_capture *c = NULL;
    struct sigaction now;

    CHECK(signal(number, SIG_IGN) != SIG_ERR);
    CHECK_INT(qi_capture_new(number, &c), QI_CAPTURE_OFF);
    CHECK(strstr(qi_client_last_error(), "in use") != NULL);
    fake_register(number, 1);
    CHECK_INT(qi_capture_new(number, &c), QI_CAPTURE_OFF);
    CHECK_INT(sigaction(number, NULL, &now), 0);
    CHECK(now.sa_handler == fake_dump);
    fake_unregister(number);
    CHECK_INT(qi_capture_new(SIGKILL, &c), QI_CAPTURE_OS);
    CHECK_INT(qi_capture_new(100000, &c), QI_CAPTURE_OS);
    /* Nobody has registered a handler to put ours around. */
    CHECK_INT(qi_capture_new(number, &c), QI_CAPTURE_OK);
    CHECK_INT(qi_capture_arm(c), QI_CAPTURE_OFF);
    CHECK_INT(qi_capture_ask(c, (uint32_t)getpid()), QI_CAPTURE_OFF);
    unmade(c);
}

static void
a_signal_that_is_used_later_is_left_alone(void)
{
    struct qi_capture *c = made();
    struct sigaction now;

    CHECK(signal(number, SIG_IGN) != SIG_ERR); /* the program's own idea */
    CHECK_INT(qi_capture_ask(c, (uint32_t)getpid()), QI_CAPTURE_OFF);
    CHECK(strstr(qi_capture_state(c), "something else") != NULL);
    CHECK_INT(qi_capture_disarm(c), 0);
    CHECK_INT(sigaction(number, NULL, &now), 0);
    CHECK(now.sa_handler == SIG_IGN);
    int file = qi_capture_file(c);
    qi_capture_free(c);
    /* Somebody may have put the handler aside: what it writes to must not be reused. */
    CHECK(fcntl(file, F_GETFD) >= 0);
    fake_unregister(number);
}

static void
one_signal_is_in_flight_at_most(void)
{
    struct qi_capture *c = made();
    char text[512];
    size_t size;

    fake_loop_start(&thread_, number); /* it blocks the signal */
    CHECK_INT(qi_capture_ask(c, thread_.id), QI_CAPTURE_OK);
    CHECK_INT(qi_capture_ask(c, thread_.id), QI_CAPTURE_BUSY);
    CHECK_INT(qi_capture_ask(c, (uint32_t)getpid()), QI_CAPTURE_BUSY);
    CHECK_INT(qi_capture_take(c, text, sizeof(text), &size), 0);
    CHECK_INT(FAKE_LOAD(fake_dumps), 0);
    fake_loop_end(&thread_); /* it takes it at last */
    take(c, text);
    CHECK_INT(FAKE_LOAD(fake_dumps), 1);
    CHECK_INT(qi_capture_ask(c, (uint32_t)syscall(SYS_gettid)), QI_CAPTURE_OK);
    take(c, text);
    CHECK_INT(FAKE_LOAD(fake_dumps), 2);
    unmade(c);
}

static void
a_thread_that_is_gone_is_an_error(void)
{
    struct qi_capture *c = made();

    fake_loop_start(&thread_, 0);
    fake_loop_end(&thread_);
    int r = QI_CAPTURE_OK;
    /* pthread_join() returns a moment before the kernel has forgotten it. */
    for (int i = 0; i < WAIT_MS && r != QI_CAPTURE_GONE; i++) {
        char text[512];
        size_t size;
        r = qi_capture_ask(c, thread_.id);
        (void)qi_capture_take(c, text, sizeof(text), &size);
        usleep(r == QI_CAPTURE_GONE ? 0 : 1000);
    }
    CHECK_INT(r, QI_CAPTURE_GONE);
    CHECK_INT(qi_capture_ask(c, 0), QI_CAPTURE_GONE);
    CHECK_INT(qi_capture_ask(c, 1), QI_CAPTURE_GONE); /* of another process */
    CHECK_INT(qi_capture_ask(c, UINT32_MAX), QI_CAPTURE_GONE);
    /* That was no signal in flight. */
    CHECK_INT(qi_capture_ask(c, (uint32_t)getpid()), QI_CAPTURE_OK);
    unmade(c);
}

static void
somebody_elses_signal_does_nothing(void)
{
    struct qi_capture *c = made();
    char text[512];

    /* This thread was asked once, and is not any more. */
    CHECK_INT(qi_capture_ask(c, (uint32_t)syscall(SYS_gettid)), QI_CAPTURE_OK);
    take(c, text);
    CHECK_INT(raise(number), 0);          /* by tgkill, as ours; but nobody asked */
    CHECK_INT(kill(getpid(), number), 0); /* another sender */
    CHECK_INT(FAKE_LOAD(fake_dumps), 1);
    unmade(c);
}

/* A pending signal would end the process once the handler is gone and it is let in. */
static void
a_signal_that_never_came_does_no_harm(void)
{
    struct qi_capture *c = made();

    fake_loop_start(&thread_, number);
    CHECK_INT(qi_capture_ask(c, thread_.id), QI_CAPTURE_OK);
    unmade(c);
    fake_loop_end(&thread_); /* unblocks it */
    CHECK_INT(FAKE_LOAD(fake_dumps), 0);
}

static void
after_the_end_nothing_is_sent(void)
{
    struct qi_capture *c = made();

    CHECK_INT(qi_capture_disarm(c), 1);
    CHECK_INT(qi_capture_ask(c, (uint32_t)getpid()), QI_CAPTURE_OFF);
    CHECK_INT(qi_capture_disarm(c), 0); /* a second time */
    fake_unregister(number);
    qi_capture_free(c);
    c = made();
    qi_capture_at_exit(c);
    CHECK_INT(qi_capture_ask(c, (uint32_t)getpid()), QI_CAPTURE_OFF);
    fake_unregister(number);
    qi_capture_free(c);
    CHECK_INT(qi_capture_disarm(NULL), 0);
    qi_capture_free(NULL);
    qi_capture_at_exit(NULL);
}

static void
a_forked_child_has_none(void)
{
    struct qi_capture *c = made();
    int status = 0;
    char text[512];

    fake_loop_start(&thread_, number);
    CHECK_INT(qi_capture_ask(c, thread_.id), QI_CAPTURE_OK); /* is in flight */
    qi_capture_before_fork(c);
    fflush(stdout);
    pid_t child = fork();
    qi_capture_after_fork(c, child == 0);
    if (child == 0) {
        CHECK(strstr(qi_capture_state(c), "child") != NULL);
        (void)raise(number);
        CHECK_INT(FAKE_LOAD(fake_dumps), 0); /* the file is the parent's too */
        unmade(c);
        c = made(); /* it may have its own */
        unmade(c);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    fake_loop_end(&thread_);
    take(c, text);
    CHECK(strstr(text, "in inner") != NULL);
    unmade(c);
}

int
main(void)
{
    number = SIGRTMAX - 3;
    RUN(a_waiting_thread_is_asked);
    RUN(a_signal_in_use_is_left_alone);
    RUN(a_signal_that_is_used_later_is_left_alone);
    RUN(one_signal_is_in_flight_at_most);
    RUN(a_thread_that_is_gone_is_an_error);
    RUN(somebody_elses_signal_does_nothing);
    RUN(a_signal_that_never_came_does_no_harm);
    RUN(after_the_end_nothing_is_sent);
    RUN(a_forked_child_has_none);
    return 0;
}

#else

int
main(void)
{
    struct qi_capture *c = NULL;

    CHECK_INT(qi_capture_new(30, &c), QI_CAPTURE_OFF);
    return 0;
}

#endif
