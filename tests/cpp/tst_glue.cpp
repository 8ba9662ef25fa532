/*
 * tst_glue.cpp - the native Qt host through struct qi_host, as the loop core uses it.
 *
 * Every promise of host.h and of the head of qt_glue.cpp has a case here.  Anything Qt
 * prints counts as a failure.  A case that waits for something that never comes is
 * ended by a watchdog, which is the only place where time matters.
 */
#undef NDEBUG
#include "qt_glue.h"

#include <QtCore/QCoreApplication>
#include <QtCore/QElapsedTimer>
#include <QtCore/QEvent>
#include <QtCore/QEventLoop>
#include <QtCore/QThread>
#include <QtCore/QTimer>

#include <atomic>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <memory>
#include <stdexcept>
#include <thread>
#include <vector>

#include <fcntl.h>
#include <pthread.h>
#include <unistd.h>

namespace {

std::atomic<int> failures{0};
const char *currentCase = "";

void
check(bool ok, const char *what, int line)
{
    if (!ok) {
        ++failures;
        std::fprintf(stderr, "%s: line %d: %s\n", currentCase, line, what);
    }
}
#define CHECK(condition) check((condition), #condition, __LINE__)

/* Qt 6 says so when it is unwound, which is what two cases are about. */
bool unwindingExpected = false;

void
onQtMessage(QtMsgType, const QMessageLogContext &, const QString &text)
{
    if (unwindingExpected && text.contains(QLatin1String("caught an exception"))) {
        return;
    }
    ++failures;
    std::fprintf(stderr, "%s: Qt says: %s\n", currentCase, qPrintable(text));
}

/* A pipe: readable while a byte is in it. */
class Pipe {
  public:
    Pipe()
    {
        if (pipe2(m_fds, O_NONBLOCK | O_CLOEXEC) != 0) {
            std::perror("pipe2");
            std::exit(2);
        }
    }
    ~Pipe()
    {
        close(m_fds[0]);
        close(m_fds[1]);
    }
    Pipe(const Pipe &) = delete;
    Pipe &operator=(const Pipe &) = delete;
    int
    fd() const
    {
        return m_fds[0];
    }
    void
    fill()
    {
        CHECK(write(m_fds[1], "x", 1) == 1);
    }
    void
    drain()
    {
        char byte;
        CHECK(read(m_fds[0], &byte, 1) == 1);
    }

  private:
    int m_fds[2];
};

/* The core's side of a host: records turns and runs a script during each. */
class Core {
  public:
    Core() : host(qi_qt_host_new())
    {
    }
    ~Core()
    {
        if (host != nullptr) {
            free();
        }
    }
    Core(const Core &) = delete;
    Core &operator=(const Core &) = delete;

    int
    start()
    {
        return host->start(host->impl, pipe.fd(), turn, this);
    }
    void
    stop()
    {
        host->stop(host->impl);
    }
    void
    watch(int enabled)
    {
        host->watch(host->impl, enabled);
    }
    void
    listen(int fd)
    {
        host->listen(host->impl, fd);
    }
    void
    wake()
    {
        host->wake(host->impl);
    }
    int
    enter()
    {
        return host->enter(host->impl);
    }
    void
    leave()
    {
        host->leave(host->impl);
    }
    void
    quit()
    {
        host->quit(host->impl);
    }
    int
    depth()
    {
        return host->depth(host->impl);
    }
    const char *
    error()
    {
        return host->error(host->impl);
    }
    void
    free()
    {
        struct qi_host *freed = host;
        host = nullptr;
        freed->free(freed);
    }

    Pipe pipe; // outlives the host
    struct qi_host *host;
    std::function<void(int)> onTurn = [](int) {};
    int turns = 0;
    int fdTurns = 0;
    int farewells = 0;

  private:
    static void
    turn(void *core, int reason)
    {
        Core *self = static_cast<Core *>(core);
        if (reason == QI_TURN_GONE) {
            ++self->farewells;
            return;
        }
        ++self->turns;
        self->fdTurns += reason == QI_TURN_FD;
        std::function<void(int)> script = self->onTurn; // it may replace itself
        script(reason);
    }
};

/* Lets the loop of this thread go round until nothing that was due can be left. */
void
settle()
{
    QEventLoop loop;
    int rounds = 5;
    QTimer timer;
    timer.callOnTimeout([&] {
        if (--rounds == 0) {
            loop.exit();
        }
    });
    timer.start(0);
    loop.exec();
}

/* --- cases: each runs with a fresh QCoreApplication ------------------------------- */

void
readableDescriptorGivesATurn()
{
    Core core;
    CHECK(core.start() == 0);
    core.pipe.fill();
    core.onTurn = [&](int reason) {
        CHECK(reason == QI_TURN_FD);
        core.pipe.drain();
        core.leave();
    };
    CHECK(core.enter() == 0);
    CHECK(core.turns == 1);
    settle();
    CHECK(core.turns == 1);
}

void
wakeIsServedOnceAndLater()
{
    Core core;
    CHECK(core.start() == 0);
    core.wake();
    core.wake();
    core.wake();
    CHECK(core.turns == 0); // never synchronously
    core.onTurn = [](int reason) { CHECK(reason == QI_TURN_WAKE); };
    settle();
    CHECK(core.turns == 1);
    core.wake();
    settle();
    CHECK(core.turns == 2);
}

void
wakeDuringATurnAsksForOneMore()
{
    Core core;
    CHECK(core.start() == 0);
    bool inTurn = false;
    core.onTurn = [&](int) {
        CHECK(!inTurn);
        inTurn = true;
        if (core.turns < 10) {
            core.wake();
            core.wake();
        }
        inTurn = false;
    };
    core.wake();
    for (int i = 0; i < 10; ++i) {
        settle();
    }
    CHECK(core.turns == 10);
}

/* Turns that ask for more turns share the thread with timers and posted events. */
void
wakingForEverStarvesNobody()
{
    Core core;
    CHECK(core.start() == 0);
    core.onTurn = [&](int) { core.wake(); };
    core.wake();
    settle();
    const int turns = core.turns;
    CHECK(turns > 0);
    settle();
    CHECK(core.turns > turns);
    CHECK(core.turns <= turns + 10); // about one turn to a round, settle() has five
}

void
noTurnAfterStop()
{
    Core core;
    CHECK(core.start() == 0);
    core.pipe.fill();
    core.wake();
    core.stop();
    core.wake(); // on a stopped host: nothing
    core.watch(1);
    settle();
    CHECK(core.turns == 0);
}

void
stopWithoutStartAndTwice()
{
    Core core;
    core.stop();
    core.wake();
    core.watch(0);
    core.leave();
    core.quit();
    CHECK(core.start() == 0);
    core.stop();
    core.stop();
    core.free();
}

void
startsAgain()
{
    Core core;
    for (int round = 1; round <= 3; ++round) {
        CHECK(core.start() == 0);
        core.wake();
        settle();
        CHECK(core.turns == round);
        core.stop();
        settle();
    }
}

void
startTwiceFails()
{
    Core core;
    CHECK(core.start() == 0);
    CHECK(core.start() == -1);
    CHECK(std::strstr(core.error(), "already been started") != nullptr);
    core.wake(); // the first start() is still good
    settle();
    CHECK(core.turns == 1);
}

void
invalidDescriptorFails()
{
    Core core;
    CHECK(core.host->start(core.host->impl, -1, nullptr, nullptr) == -1);
    CHECK(std::strstr(core.error(), "not valid") != nullptr);
    CHECK(core.start() == 0);
    CHECK(std::strcmp(core.error(), "") == 0);
}

/* reason: which handler is on the stack when it happens. */
void
duringATurn(int reason, const std::function<void(Core &)> &action)
{
    Core core;
    CHECK(core.start() == 0);
    reason == QI_TURN_FD ? core.pipe.fill() : core.wake();
    core.onTurn = [&](int why) {
        CHECK(why == reason);
        action(core);
    };
    settle();
    CHECK(core.turns == 1);
    settle();
}

void
stopInsideTurn()
{
    for (int reason : {QI_TURN_FD, QI_TURN_WAKE}) {
        duringATurn(reason, [](Core &core) {
            core.wake();
            core.stop();
        });
        duringATurn(reason, [](Core &core) {
            core.stop();
            CHECK(core.start() == 0); // new objects while an old one is on the stack
            core.pipe.fill();
            core.stop();
        });
    }
}

void
freeInsideTurn()
{
    for (int reason : {QI_TURN_FD, QI_TURN_WAKE}) {
        duringATurn(reason, [](Core &core) { core.free(); });
        duringATurn(reason, [](Core &core) {
            core.free();
            settle(); // a nested loop must not delete what is on the stack below it
        });
    }
}

void
freeInsideEnterEndsItsLoop()
{
    Core core;
    CHECK(core.start() == 0);
    core.wake();
    core.onTurn = [&](int) { core.free(); };
    CHECK(core.enter() == -1);
    settle(); // deletes what was on the stack
}

void
enterNestsAndLeaveEndsTheInnermost()
{
    Core core;
    CHECK(core.start() == 0);
    CHECK(core.depth() == 0);
    std::vector<int> log;
    core.onTurn = [&](int) {
        const int depth = core.depth();
        log.push_back(depth);
        if (depth < 3) {
            core.wake();
            CHECK(core.enter() == 0);
            CHECK(core.depth() == depth);
            log.push_back(-depth);
        }
        core.leave();
    };
    core.wake();
    CHECK(core.enter() == 0);
    CHECK((log == std::vector<int>{1, 2, 3, -2, -1}));
    CHECK(core.depth() == 0);
}

void
leaveTwiceFromInsideLeavesTwoLoops()
{
    Core core;
    CHECK(core.start() == 0);
    core.onTurn = [&](int) {
        if (core.depth() == 1) {
            core.wake();
            CHECK(core.enter() == 0);
            return; // the outer loop has been left already
        }
        core.leave();
        core.leave();
        core.leave(); // nothing left to leave
    };
    core.wake();
    CHECK(core.enter() == 0);
    CHECK(core.turns == 2);
}

void
watchPausesAndResumes()
{
    Core core;
    CHECK(core.start() == 0);
    core.pipe.fill();
    core.watch(0);
    core.watch(0);
    settle();
    CHECK(core.turns == 0);
    core.wake(); // wake() works while paused
    settle();
    CHECK(core.turns == 1);
    core.watch(1);
    core.onTurn = [&](int) { core.pipe.drain(); };
    settle();
    CHECK(core.fdTurns == 1);
}

void
listensToAnotherDescriptorWhilePaused()
{
    Core core;
    Pipe other;
    core.listen(other.fd()); // not started: nothing
    CHECK(core.start() == 0);
    core.pipe.fill();
    other.fill();
    core.watch(0);
    settle();
    CHECK(core.turns == 0);
    core.onTurn = [&](int) { other.drain(); };
    core.listen(other.fd());
    settle();
    CHECK(core.fdTurns == 1);
    core.listen(-1);
    other.fill();
    settle();
    CHECK(core.fdTurns == 1);
    core.listen(other.fd());
    core.stop();
    settle();
    CHECK(core.fdTurns == 1);
}

/* A modal loop within a turn gets turns too, if the core wants them. */
void
turnsNestInAForeignLoop()
{
    Core core;
    CHECK(core.start() == 0);
    core.onTurn = [&](int) {
        if (core.turns == 1) {
            core.wake();
            settle();
            CHECK(core.turns == 2);
        }
    };
    core.wake();
    settle();
    CHECK(core.turns == 2);
}

void
quitEndsOwnLoopsAndSpoilsNone()
{
    Core core;
    CHECK(core.start() == 0);
    core.quit(); // no loop runs: nothing happens
    for (int round = 0; round < 2; ++round) {
        core.onTurn = [&](int) {
            if (core.depth() == 1) {
                core.wake();
                CHECK(core.enter() == 0);
                return;
            }
            core.quit();
        };
        core.wake();
        CHECK(core.enter() == 0);
    }
    CHECK(core.turns == 4);
    settle(); // its QEventLoop would end at once after a QCoreApplication::exit()
}

/* It has to use QCoreApplication::exit() for the loop it does not know. */
void
quitEndsForeignInnerLoopsAndSpoilsNone()
{
    Core core;
    CHECK(core.start() == 0);
    for (int round = 0; round < 2; ++round) {
        core.onTurn = [&](int) {
            QEventLoop foreign;
            QTimer::singleShot(0, [&] { core.quit(); });
            CHECK(foreign.exec() == 0);
        };
        core.wake();
        CHECK(core.enter() == 0);
    }
    CHECK(core.turns == 2);
    settle();
}

void
quitEndsTheApplication()
{
    Core core;
    CHECK(core.start() == 0);
    core.onTurn = [&](int) {
        QTimer::singleShot(0, [&] { core.quit(); });
        CHECK(core.enter() == 0);
    };
    core.wake();
    CHECK(QCoreApplication::exec() == 0);
    core.onTurn = [&](int) { core.quit(); };
    core.wake();
    CHECK(QCoreApplication::exec() == 0); // and it can be run again
    CHECK(core.turns == 2);
}

void
foreignExitCodeIsReturned()
{
    Core core;
    CHECK(core.start() == 0);
    core.onTurn = [](int) { QThread::currentThread()->exit(7); };
    core.wake();
    CHECK(core.enter() == 7);
    CHECK(core.enter() == -1); // Qt refuses from here on, see quit()
    QTimer::singleShot(0, [] { QCoreApplication::exit(); });
    CHECK(QCoreApplication::exec() == 0);
}

/* A C++ exception of somebody's event handler ends the loop, and not the process. */
void
exceptionInTheLoopIsAnErrorCode()
{
    Core core;
    CHECK(core.start() == 0);
    core.onTurn = [](int) { throw std::runtime_error("thrown in a turn"); };
    core.wake();
    unwindingExpected = true;
    CHECK(core.enter() == -1);
    unwindingExpected = false;
    CHECK(core.depth() == 0);
    core.onTurn = [&](int) { core.leave(); };
    core.wake();
    CHECK(core.enter() == 0);
    /* ... and the handler is known to be off the stack: deleted now, not later. */
    core.stop();
}

void
inThread(const std::function<void()> &body)
{
    std::thread(body).join();
}

void
worksInAThreadOfTheStandardLibrary()
{
    inThread([] {
        Core core;
        CHECK(core.start() == 0);
        core.pipe.fill();
        core.onTurn = [&](int reason) {
            if (reason == QI_TURN_FD) {
                core.pipe.drain();
                core.wake();
                return;
            }
            core.leave();
        };
        CHECK(core.enter() == 0);
        CHECK(core.turns == 2);
        core.onTurn = [&](int) { core.quit(); };
        core.wake();
        CHECK(core.enter() == 0);
        core.wake();
        CHECK(core.enter() == 0); // not spoilt by quit()
    });
}

void
worksInAQThread()
{
    auto thread = std::unique_ptr<QThread>(QThread::create([] {
        Core core;
        CHECK(core.start() == 0);
        core.onTurn = [&](int) { core.quit(); };
        core.wake();
        QEventLoop foreign;
        CHECK(foreign.exec() == 0); // ended through QThread::exit()
        CHECK(core.turns == 1);
    }));
    thread->start();
    thread->wait();
}

void
freedByAnotherThreadAfterItsThreadHasEnded()
{
    for (bool stopped : {false, true}) {
        Core core;
        inThread([&] {
            CHECK(core.start() == 0);
            core.pipe.fill();
            if (stopped) {
                core.wake();
                core.stop();
            }
        });
        CHECK(core.farewells == (stopped ? 0 : 1));
        core.free();
        CHECK(core.turns == 0);
    }
}

void
freedByAnotherThreadWhileItsThreadRuns()
{
    Core core;
    std::atomic<bool> started{false};
    QThread thread;
    thread.start();
    QObject inside;
    inside.moveToThread(&thread);
    QMetaObject::invokeMethod(
        &inside,
        [&] {
            CHECK(core.start() == 0);
            core.wake();
        },
        Qt::BlockingQueuedConnection);
    /* Let it have that turn, so that nothing is on its way during free(). */
    QMetaObject::invokeMethod(&inside, [] { settle(); }, Qt::BlockingQueuedConnection);
    CHECK(core.turns == 1);
    core.free();
    QMetaObject::invokeMethod(&inside, [] { settle(); }, Qt::BlockingQueuedConnection);
    CHECK(core.turns == 1);
    thread.quit();
    thread.wait();
}

#if defined(__GLIBC__)
/* What CPython up to 3.13 does to a daemon thread during finalization. */
void *
endThreadInATurn(void *)
{
    Core core;
    CHECK(core.start() == 0);
    core.onTurn = [](int) { pthread_exit(nullptr); };
    core.wake();
    core.enter();
    CHECK(!"enter() has returned");
    return nullptr;
}

void
threadExitInATurnUnwinds()
{
    if (!qEnvironmentVariableIsSet("QT_NO_GLIB")) {
        return; // GLib, being C, complains about the source it was serving
    }
    pthread_t thread;
    unwindingExpected = true;
    CHECK(pthread_create(&thread, nullptr, endThreadInATurn, nullptr) == 0);
    CHECK(pthread_join(thread, nullptr) == 0);
    unwindingExpected = false;
}
#endif

void
versions()
{
    CHECK(std::strcmp(qi_qt_compiled_version(), QT_VERSION_STR) == 0);
    CHECK(std::strcmp(qi_qt_runtime_version(), qVersion()) == 0);
    CHECK(qi_qt_runtime_is_compatible() == 1);
}

/* --- cases that own their application object ---------------------------------------
 */

char programName[] = "tst_glue";
char *programArguments[] = {programName, nullptr};
int programArgumentCount = 1;

std::unique_ptr<QCoreApplication>
newApplication()
{
    return std::make_unique<QCoreApplication>(programArgumentCount, programArguments);
}

void
startFailsWithoutApplication()
{
    Core core;
    CHECK(core.start() == -1);
    CHECK(std::strstr(core.error(), "QCoreApplication") != nullptr);
    CHECK(core.enter() == -1);
    inThread([&] { CHECK(core.start() == -1); });
    const auto app = newApplication();
    CHECK(core.start() == 0);
    CHECK(std::strcmp(core.error(), "") == 0);
    core.stop();
}

void
applicationDestroyedWhileStarted()
{
    for (bool awake : {false, true}) {
        auto app = newApplication();
        Core core;
        CHECK(core.start() == 0);
        core.pipe.fill();
        if (awake) {
            core.wake();
        }
        app.reset();
        core.wake();
        core.watch(0);
        core.watch(1);
        CHECK(core.enter() == -1);
        core.leave();
        core.quit();
        CHECK(core.depth() == 0);
        core.stop();
        CHECK(core.turns == 0);

        app = newApplication(); // a second one serves the same host
        CHECK(core.start() == 0);
        core.onTurn = [&](int reason) {
            CHECK(reason == QI_TURN_FD);
            core.pipe.drain();
            core.leave();
        };
        CHECK(core.enter() == 0);
        app.reset();
        core.free();
    }
}

void
stoppedAfterAnotherApplicationTookOver()
{
    auto app = newApplication();
    Core core;
    CHECK(core.start() == 0);
    core.pipe.fill();
    core.wake();
    app.reset();
    app = newApplication();
    settle();
    CHECK(core.turns == 0);
    core.stop();
    settle();
    CHECK(core.turns == 0);
}

struct Case {
    const char *name;
    void (*run)();
    bool ownsApplication;
};

const Case cases[] = {
#define CASE(name) {#name, name, false}
#define CASE_OWN_APP(name) {#name, name, true}
    CASE(versions),
    CASE(readableDescriptorGivesATurn),
    CASE(wakeIsServedOnceAndLater),
    CASE(wakeDuringATurnAsksForOneMore),
    CASE(wakingForEverStarvesNobody),
    CASE(noTurnAfterStop),
    CASE(stopWithoutStartAndTwice),
    CASE(startsAgain),
    CASE(startTwiceFails),
    CASE(invalidDescriptorFails),
    CASE(stopInsideTurn),
    CASE(freeInsideTurn),
    CASE(freeInsideEnterEndsItsLoop),
    CASE(enterNestsAndLeaveEndsTheInnermost),
    CASE(leaveTwiceFromInsideLeavesTwoLoops),
    CASE(watchPausesAndResumes),
    CASE(listensToAnotherDescriptorWhilePaused),
    CASE(turnsNestInAForeignLoop),
    CASE(quitEndsOwnLoopsAndSpoilsNone),
    CASE(quitEndsForeignInnerLoopsAndSpoilsNone),
    CASE(quitEndsTheApplication),
    CASE(foreignExitCodeIsReturned),
    CASE(exceptionInTheLoopIsAnErrorCode),
    CASE(worksInAThreadOfTheStandardLibrary),
    CASE(worksInAQThread),
    CASE(freedByAnotherThreadAfterItsThreadHasEnded),
    CASE(freedByAnotherThreadWhileItsThreadRuns),
#if defined(__GLIBC__)
    CASE(threadExitInATurnUnwinds),
#endif
    CASE_OWN_APP(startFailsWithoutApplication),
    CASE_OWN_APP(applicationDestroyedWhileStarted),
    CASE_OWN_APP(stoppedAfterAnotherApplicationTookOver),
#undef CASE
#undef CASE_OWN_APP
};

} // namespace

/* tst_glue [name]: all cases, or the one named. */
int
main(int argc, char **argv)
{
    const char *only = argc > 1 ? argv[1] : nullptr;
    int run = 0;
    qInstallMessageHandler(onQtMessage);
    for (const Case &test : cases) {
        if (only != nullptr && std::strcmp(only, test.name) != 0) {
            continue;
        }
        ++run;
        currentCase = test.name;
        alarm(30); // watchdog: a case that hangs ends the program
        const auto app = test.ownsApplication ? nullptr : newApplication();
        test.run();
    }
    CHECK(run > 0);
    std::printf("%d cases, %d failures\n", run, failures.load());
    return failures == 0 ? 0 : 1;
}
