/*
 * qt_glue.cpp - the native Qt host: struct qi_host over QtCore's public API.
 *
 *     Notifier (QSocketNotifier)  -- descriptor readable --> turn(QI_TURN_FD)
 *     another Notifier, while that one is paused: listen()
 *     Waker    (QObject)          -- timer of interval 0 --> turn(QI_TURN_WAKE)
 *     Frame    (QEventLoop)       -- one per enter() in progress, innermost first
 *
 * Promises beyond those in host.h:
 *  - Notifiers and a Waker live from start() to stop().  Each points to its host,
 *    and stop() cuts that pointer first, so an event still on its way finds nobody.
 *    An object whose handler is on the stack is deleted later, never at once.
 *  - Nothing here is a child of the application object, so it may be destroyed at any
 *    time; stop() and free() stay silent and safe afterwards.
 *  - When the thread ends before stop(), that is told with turn(QI_TURN_GONE).
 *  - All members are called on the loop thread.  free() alone tolerates another
 *    thread (a loop collected after its thread has ended).
 *
 * No Python.h here: turn() takes the interpreter lock itself.  No Q_OBJECT: nothing is
 * emitted, and event() is overridden, so no moc step is needed.
 *
 * Unwinding.  Up to 3.13 CPython ends a daemon thread that asks for the interpreter
 * lock during finalization with pthread_exit(), which glibc implements as an exception
 * that must not be swallowed.  It passes through turn(), the event handlers and
 * enter(), so these are not noexcept and rethrow it; every other member is.
 */
#include "qt_glue.h"

#include <QtCore/QAbstractEventDispatcher>
#include <QtCore/QCoreApplication>
#include <QtCore/QEvent>
#include <QtCore/QEventLoop>
#include <QtCore/QObject>
#include <QtCore/QSocketNotifier>
#include <QtCore/QThread>
#include <QtCore/QtGlobal>

#include <cstdlib>
#include <new>

#if defined(__GLIBCXX__)
#  include <cxxabi.h>
#  define QI_RETHROW_FORCED_UNWIND                                                       \
      catch (abi::__forced_unwind &)                                                     \
      {                                                                                  \
          throw;                                                                         \
      }
/* The unwinder gives no object, and UBSan takes offence at the null reference. */
#  define QI_CATCHES_FORCED_UNWIND __attribute__((no_sanitize("undefined")))
#else
#  define QI_RETHROW_FORCED_UNWIND
#  define QI_CATCHES_FORCED_UNWIND
#endif

#if QT_VERSION < QT_VERSION_CHECK(5, 12, 0)
#  error "qtinter needs Qt 5.12 or newer"
#endif

namespace {

class NativeHost;
class Notifier;
class Waker;

/* One enter() in progress; lives on the stack of that call, is linked into its host,
   and unlinks itself also when the stack is unwound. */
struct Frame {
    explicit Frame(NativeHost *owner);
    ~Frame();
    Frame(const Frame &) = delete;
    Frame &operator=(const Frame &) = delete;

    QEventLoop loop;
    NativeHost *host; // null once the host has been freed
    Frame *outer;
    bool left = false;
    bool spoilt = false; // quit() has made Qt refuse further event loops
};

class NativeHost {
  public:
    NativeHost();
    ~NativeHost();
    NativeHost(const NativeHost &) = delete;
    NativeHost &operator=(const NativeHost &) = delete;

    struct qi_host *
    vtable()
    {
        return &m_vtable;
    }
    const char *
    error() const
    {
        return m_error;
    }

    int start(int fd, qi_turn_fn turnFn, void *core);
    void stop();
    void watch(bool enabled);
    void listen(int fd);
    void wake();
    int enter();
    void leave();
    void quit();

    /* May delete this host: the caller must not touch it afterwards. */
    void
    turn(int reason)
    {
        m_turn(m_core, reason);
    }

    int fail(const char *text); // -1, and error() gives the text

  private:
    friend struct Frame;
    int ownDepth() const;

    struct qi_host m_vtable;
    qi_turn_fn m_turn = nullptr;
    void *m_core = nullptr;
    Notifier *m_notifier = nullptr; // both set, or both null
    Waker *m_waker = nullptr;
    Notifier *m_listener = nullptr; // set while listening
    Frame *m_innermost = nullptr;
    const char *m_error = "";
};

/* Tells whether a handler of an object is on the stack, also when it is unwound. */
class Busy {
  public:
    explicit Busy(int &count) : m_count(count)
    {
        ++m_count;
    }
    ~Busy()
    {
        --m_count;
    }
    Busy(const Busy &) = delete;
    Busy &operator=(const Busy &) = delete;

  private:
    int &m_count;
};

/* Overrides event() instead of connecting to activated(): no signal is emitted for a
   turn, and a handler the user might connect sees nothing of our descriptor. */
class Notifier final : public QSocketNotifier {
  public:
    Notifier(NativeHost *host, int fd)
        : QSocketNotifier(fd, QSocketNotifier::Read), m_host(host)
    {
    }

    void
    detach()
    {
        m_host = nullptr;
        if (thread() == QThread::currentThread()) { // elsewhere Qt warns and refuses
            setEnabled(false);
        }
    }
    bool
    isBusy() const
    {
        return m_busy > 0;
    }
    bool
    hasTimer() const
    {
        return false;
    }

  protected:
    bool
    event(QEvent *event) override
    {
        if (event->type() != QEvent::SockAct && event->type() != QEvent::SockClose) {
            return QSocketNotifier::event(event);
        }
        if (m_host != nullptr) {
            Busy busy(m_busy);
            m_host->turn(QI_TURN_FD);
        }
        return true;
    }

  private:
    NativeHost *m_host; // null once detached
    int m_busy = 0;
};

/*
 * Serves wake() with a timer of interval 0, killed before the turn it gives.  A posted
 * event does the same, but costs more and is less fair to the application's timers.
 * Measured with Qt 6.4 (GLib / Unix dispatcher), each turn calling wake() again:
 *
 *                                   timer of interval 0      posted event
 *   wake() to turn(), idle          1.1 / 1.4 us             2.8 / 2.3 us
 *   precise 5 ms timer late, with
 *   turns of 2 ms: median           1.0 / 1.1 ms             3.1 / 1.1 ms
 *                  99th percentile  1.1 / 1.1 ms             3.7 / 1.9 ms
 *
 * Posting wakes the dispatcher through its eventfd, two system calls that are of no use
 * on the loop thread; and GLib serves two posted events between two rounds of timers.
 * Low priority for the posted event (99th percentile 8.2 ms) and a timer that is left
 * running between turns (3.1 ms) are worse.  On Windows Qt posts interval 0 itself.
 */
class Waker final : public QObject {
  public:
    explicit Waker(NativeHost *host) : m_host(host)
    {
    }

    void
    wake()
    {
        /* No dispatcher: the application object is gone, and Qt would warn. */
        if (m_timer == 0 && QAbstractEventDispatcher::instance() != nullptr) {
            m_timer = startTimer(0);
        }
    }
    void
    detach()
    {
        m_host = nullptr;
        if (thread() == QThread::currentThread()) { // elsewhere Qt warns and refuses
            cancel();
        }
    }
    bool
    isBusy() const
    {
        return m_busy > 0;
    }
    bool
    hasTimer() const
    {
        return m_timer != 0;
    }
    void
    threadEnds()
    {
        if (m_host != nullptr) {
            Busy busy(m_busy);
            m_host->turn(QI_TURN_GONE);
        }
    }

  protected:
    void
    timerEvent(QTimerEvent *) override
    {
        cancel(); // before the turn: a wake() in it asks for another one
        if (m_host != nullptr) {
            Busy busy(m_busy);
            m_host->turn(QI_TURN_WAKE);
        }
    }

  private:
    void
    cancel()
    {
        if (m_timer != 0) {
            killTimer(m_timer);
            m_timer = 0;
        }
    }

    NativeHost *m_host; // null once detached
    int m_timer = 0;    // 0: no turn has been asked for
    int m_busy = 0;
};

/* Only free() may come here from a thread other than the object's.  While that thread
   runs, it deletes the object.  If it has ended (no dispatcher), nobody else can touch
   the object, but Qt warns if a timer of it is deleted elsewhere: then, a wake() being
   asked for at the end of its thread, the object is left to Qt, which keeps it. */
template <class Object>
bool
canDeleteNow(const Object *object)
{
    QThread *thread = object->thread();
    if (thread == nullptr || thread == QThread::currentThread()) {
        return !object->isBusy();
    }
    return QAbstractEventDispatcher::instance(thread) == nullptr && !object->hasTimer();
}

template <class Object>
void
retire(Object *&object)
{
    Object *retired = object;
    object = nullptr;
    retired->detach();
    if (canDeleteNow(retired)) {
        delete retired;
    }
    else {
        retired->deleteLater();
    }
}

int
loopLevel()
{
    return QThread::currentThread()->loopLevel();
}

Frame::Frame(NativeHost *owner) : host(owner), outer(owner->m_innermost)
{
    owner->m_innermost = this;
}

Frame::~Frame()
{
    if (host != nullptr) {
        host->m_innermost = outer;
    }
}

NativeHost::~NativeHost()
{
    stop();
    /* An enter() still in progress has nobody left who could end it. */
    for (Frame *frame = m_innermost; frame != nullptr; frame = frame->outer) {
        frame->host = nullptr;
        frame->loop.exit(-1);
    }
}

int
NativeHost::fail(const char *text)
{
    m_error = text;
    return -1;
}

int
NativeHost::start(int fd, qi_turn_fn turnFn, void *core)
{
    if (m_waker != nullptr) {
        return fail("the Qt host has already been started");
    }
    if (fd < 0) {
        return fail("the descriptor to watch is not valid");
    }
    if (QCoreApplication::instance() == nullptr) {
        return fail("no instance of QCoreApplication or a derived class exists");
    }
    /* A thread Qt did not start has no event dispatcher until a QEventLoop was made
       on it, and without one a QSocketNotifier only prints a warning. */
    {
        QEventLoop makesDispatcher;
    }
    if (QAbstractEventDispatcher::instance() == nullptr) {
        return fail("this thread has no Qt event dispatcher");
    }
    m_turn = turnFn;
    m_core = core;
    m_waker = new Waker(this);
    try {
        m_notifier = new Notifier(this, fd);
    }
    catch (...) {
        delete m_waker;
        m_waker = nullptr;
        throw;
    }
    Waker *waker = m_waker; // deleting it disconnects
    QObject::connect(
        QThread::currentThread(), &QThread::finished, waker,
        [waker] { waker->threadEnds(); }, Qt::DirectConnection);
    m_error = "";
    return 0;
}

void
NativeHost::stop()
{
    if (m_waker != nullptr) {
        listen(-1);
        retire(m_notifier);
        retire(m_waker);
    }
}

void
NativeHost::watch(bool enabled)
{
    if (m_notifier != nullptr) {
        m_notifier->setEnabled(enabled);
    }
}

void
NativeHost::listen(int fd)
{
    if (m_listener != nullptr) {
        retire(m_listener);
    }
    if (fd >= 0 && m_waker != nullptr) {
        m_listener = new Notifier(this, fd);
    }
}

void
NativeHost::wake()
{
    if (m_waker != nullptr) {
        m_waker->wake();
    }
}

/* Takes back what quit() left behind.  QThread::exec() does that; told to exit before,
   it runs no event loop and returns at once. */
void
allowEventLoops()
{
    struct Access : QThread {
        using QThread::exec; // protected
    };
    int (QThread::*const exec)() = &Access::exec;
    QThread *thread = QThread::currentThread();

    thread->exit(0);
    (void)(thread->*exec)();
}

int
NativeHost::enter()
{
    if (QCoreApplication::instance() == nullptr) {
        return -1; // QEventLoop would only print a warning
    }
    Frame frame(this);
    const int code = frame.loop.exec(); // may delete this host
    if (frame.spoilt && loopLevel() == 0) {
        allowEventLoops();
    }
    return code;
}

void
NativeHost::leave()
{
    Frame *frame = m_innermost;
    while (frame != nullptr && frame->left) {
        frame = frame->outer;
    }
    if (frame != nullptr) {
        frame->left = true;
        frame->loop.exit(0);
    }
}

int
NativeHost::ownDepth() const
{
    int depth = 0;
    for (const Frame *frame = m_innermost; frame != nullptr; frame = frame->outer) {
        ++depth;
    }
    return depth;
}

/*
 * QCoreApplication::exit() and QThread::exit() end every loop of the thread, and also
 * make each QEventLoop::exec() after them return -1 at once, until QCoreApplication::
 * exec() or QThread::exec() runs next.  On a thread where neither is in use (a Python
 * thread, or asyncio owning the main thread) that would be for ever.  So these are used
 * only if there is a loop that is not ours, and not at all if no loop runs; and once an
 * outermost enter() is over, loops are allowed again.
 */
void
NativeHost::quit()
{
    if (loopLevel() > ownDepth()) {
        for (Frame *frame = m_innermost; frame != nullptr; frame = frame->outer) {
            frame->spoilt = true;
        }
        const QCoreApplication *app = QCoreApplication::instance();
        if (app != nullptr && app->thread() == QThread::currentThread()) {
            QCoreApplication::exit(0);
        }
        else {
            QThread::currentThread()->exit(0);
        }
        return;
    }
    for (Frame *frame = m_innermost; frame != nullptr; frame = frame->outer) {
        frame->loop.exit(0);
    }
}

/* The members of struct qi_host: nothing but casts, and the wall no exception passes.
 */

NativeHost *
hostOf(void *impl)
{
    return static_cast<NativeHost *>(impl);
}

int
memberStart(void *impl, int fd, qi_turn_fn turn, void *core) noexcept
{
    try {
        return hostOf(impl)->start(fd, turn, core);
    }
    catch (...) {
        return hostOf(impl)->fail("out of memory while starting the Qt host");
    }
}

void
memberStop(void *impl) noexcept
{
    hostOf(impl)->stop();
}

void
memberWatch(void *impl, int enabled) noexcept
{
    hostOf(impl)->watch(enabled != 0);
}

void
memberListen(void *impl, int fd) noexcept
{
    try {
        hostOf(impl)->listen(fd);
    }
    catch (...) {
        return; // out of memory: signals wait until the descriptor is watched again
    }
}

void
memberWake(void *impl) noexcept
{
    try {
        hostOf(impl)->wake();
    }
    catch (...) {
        return; // out of memory: no timer was started, and the next wake() tries again
    }
}

QI_CATCHES_FORCED_UNWIND int
memberEnter(void *impl) // not noexcept: see "Unwinding" above
{
    try {
        return hostOf(impl)->enter();
    }
    QI_RETHROW_FORCED_UNWIND
    catch (...)
    {
        return -1; // thrown by an event handler of the application
    }
}

void
memberLeave(void *impl) noexcept
{
    hostOf(impl)->leave();
}

void
memberQuit(void *impl) noexcept
{
    hostOf(impl)->quit();
}

int
memberDepth(void *) noexcept
{
    return loopLevel();
}

const char *
memberError(void *impl) noexcept
{
    return hostOf(impl)->error();
}

void
memberFree(struct qi_host *host) noexcept
{
    delete hostOf(host->impl);
}

NativeHost::NativeHost() : m_vtable()
{
    m_vtable.name = "native";
    m_vtable.needs_gil = 0;
    m_vtable.impl = this;
    m_vtable.start = memberStart;
    m_vtable.stop = memberStop;
    m_vtable.watch = memberWatch;
    m_vtable.listen = memberListen;
    m_vtable.wake = memberWake;
    m_vtable.enter = memberEnter;
    m_vtable.leave = memberLeave;
    m_vtable.quit = memberQuit;
    m_vtable.depth = memberDepth;
    m_vtable.error = memberError;
    m_vtable.now_ns = nullptr;
    m_vtable.arm = nullptr;
    m_vtable.free = memberFree;
}

/* "6.4.2" -> 6 * 1000 + 4; -1 if it is not a version. */
int
majorMinor(const char *version)
{
    char *end = nullptr;
    const long major = std::strtol(version, &end, 10);
    if (end == version || *end != '.') {
        return -1;
    }
    const long minor = std::strtol(end + 1, nullptr, 10);
    return static_cast<int>(major * 1000 + minor);
}

} // namespace

struct qi_host *
qi_qt_host_new(void) noexcept
{
    NativeHost *host = new (std::nothrow) NativeHost;
    return host != nullptr ? host->vtable() : nullptr;
}

const char *
qi_qt_compiled_version(void) noexcept
{
    return QT_VERSION_STR;
}

const char *
qi_qt_runtime_version(void) noexcept
{
    return qVersion();
}

int
qi_qt_runtime_is_compatible(void) noexcept
{
    const int compiled = majorMinor(QT_VERSION_STR);
    const int runtime = majorMinor(qVersion());
    return runtime / 1000 == compiled / 1000 && runtime >= compiled;
}
