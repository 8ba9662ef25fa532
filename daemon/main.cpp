// main.cpp - qtinterd: arguments, going to the background, logging, signals.
#include "log.hpp"
#include "runtime.h"
#include "server.hpp"
#include "version.hpp"

#include <QCommandLineParser>
#include <QCoreApplication>
#include <QFileInfo>
#include <QSocketNotifier>

#include <cerrno>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

namespace {

constexpr int IdleExitMs = 60 * 1000;
constexpr int ExitUsage = 2;
constexpr int ExitCannotListen = 3;

int signalPipe[2] = {-1, -1};

void
onSignal(int)
{
    int saved = errno;
    char byte = 1;
    ssize_t written = write(signalPipe[1], &byte, 1);
    (void)written; // a full pipe has woken us already
    errno = saved;
}

// SIGTERM and SIGINT end the daemon in good order, by way of the event loop.
bool
watchSignals(QObject *parent, qi::Server *server)
{
    if (pipe2(signalPipe, O_CLOEXEC | O_NONBLOCK) < 0) {
        return false;
    }
    auto *notifier = new QSocketNotifier(signalPipe[0], QSocketNotifier::Read, parent);
    QObject::connect(notifier, &QSocketNotifier::activated, server, [server] {
        char bytes[16];
        while (read(signalPipe[0], bytes, sizeof(bytes)) > 0) {
        }
        server->shutDown();
    });
    struct sigaction action = {};
    action.sa_handler = onSignal;
    action.sa_flags = SA_RESTART;
    sigemptyset(&action.sa_mask);
    sigaction(SIGTERM, &action, nullptr);
    sigaction(SIGINT, &action, nullptr);
    // A peer that has gone, and a file at the limit of its size, are errors of one write.
    std::signal(SIGPIPE, SIG_IGN);
    std::signal(SIGXFSZ, SIG_IGN);
    return true;
}

// Forks; the parent ends with what the child reports: 0, or a text and an exit code.
// Before QCoreApplication exists, which does not survive a fork.
int
goToBackground()
{
    int report[2];
    if (pipe2(report, O_CLOEXEC) < 0) {
        return -1;
    }
    pid_t child = fork();
    if (child < 0) {
        return -1;
    }
    if (child > 0) {
        close(report[1]);
        unsigned char code = ExitCannotListen;
        char text[512];
        ssize_t n = read(report[0], &code, 1);
        while ((n = read(report[0], text, sizeof(text))) > 0) {
            fwrite(text, 1, size_t(n), stderr);
        }
        _exit(code);
    }
    close(report[0]);
    setsid();
    umask(077);
    return report[1];
}

void
tellParent(int report, unsigned char code, const QByteArray &text)
{
    if (report < 0) {
        if (!text.isEmpty()) {
            fprintf(stderr, "qtinterd: %s\n", text.constData());
        }
        return;
    }
    QByteArray bytes(1, char(code));
    if (!text.isEmpty()) {
        bytes += "qtinterd: " + text + "\n";
    }
    ssize_t written = write(report, bytes.constData(), size_t(bytes.size()));
    (void)written; // the parent may have been killed
    close(report);
}

void
leaveTerminal()
{
    int null = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null >= 0) {
        dup2(null, 0);
        dup2(null, 1);
        dup2(null, 2);
        close(null);
    }
    if (chdir("/") < 0) {
        qCInfo(qi::logServer, "cannot leave the working directory");
    }
}

bool
wants(int argc, char **argv, const char *option)
{
    for (int i = 1; i < argc; i++) {
        if (std::strcmp(argv[i], option) == 0) {
            return true;
        }
    }
    return false;
}

} // namespace

int
main(int argc, char **argv)
{
    static const char *const inForeground[] = {"--foreground", "--version", "-v",
                                               "--help", "-h"};
    bool foreground = false;
    for (const char *option : inForeground) {
        foreground = foreground || wants(argc, argv, option);
    }
    int report = foreground ? -1 : goToBackground();
    if (!foreground && report < 0) {
        std::perror("qtinterd: cannot go to the background");
        return ExitCannotListen;
    }
    // The daemon has no use for a desktop's event loop or plug-ins.
    qputenv("QT_NO_GLIB", "1");
    QCoreApplication app(argc, argv);
    QCoreApplication::setApplicationName("qtinterd");
    QCoreApplication::setApplicationVersion(QI_VERSION_TEXT);

    QCommandLineParser parser;
    parser.setApplicationDescription(
        "Mirrors the state of running qtinter programs for qtinter-inspect.");
    parser.addHelpOption();
    parser.addVersionOption();
    QCommandLineOption socket("socket", "Listen on <path>.", "path");
    QCommandLineOption front("foreground", "Stay in the foreground and log to stderr.");
    QCommandLineOption idle("idle-exit",
                            "Leave when nobody was connected for <seconds>; 0: never.",
                            "seconds");
    QCommandLineOption memory(
        "memory", "Use at most <MiB> for all programs and tools together; 1024.", "MiB");
    QCommandLineOption history(
        "history", "Keep what is over for <seconds>; 600; 0: as long as there is room.",
        "seconds");
    parser.addOptions({socket, front, idle, memory, history});
    if (!parser.parse(QCoreApplication::arguments())
        || !parser.positionalArguments().isEmpty()) {
        tellParent(report, ExitUsage,
                   parser.errorText().isEmpty() ? QByteArray("too many arguments")
                                                : parser.errorText().toLocal8Bit());
        return ExitUsage;
    }
    if (parser.isSet("version")) {
        parser.showVersion();
    }
    if (parser.isSet("help")) {
        parser.showHelp();
    }

    qi::Server::Options options;
    if (parser.isSet(socket)) {
        QFileInfo path(parser.value(socket));
        options.address = path.absoluteFilePath().toLocal8Bit();
        options.directory = path.absolutePath().toLocal8Bit();
    }
    else {
        char directory[512];
        if (qi_runtime_directory(directory, sizeof(directory)) < 0) {
            tellParent(report, ExitCannotListen,
                       "the runtime directory's name is too long");
            return ExitCannotListen;
        }
        options.directory = directory;
        options.address = options.directory + "/" QI_SOCKET_NAME;
    }
    options.idleExitMs = foreground ? 0 : IdleExitMs;
    if (parser.isSet(idle)) {
        bool isNumber = false;
        unsigned seconds = parser.value(idle).toUInt(&isNumber);
        if (!isNumber) {
            tellParent(report, ExitUsage, "--idle-exit wants a number of seconds");
            return ExitUsage;
        }
        options.idleExitMs = int(qMin(seconds, 86400u)) * 1000;
    }

    if (parser.isSet(memory)) {
        bool isNumber = false;
        size_t mib = parser.value(memory).toUInt(&isNumber);
        if (!isNumber || mib < qi::Server::LeastMemory >> 20) {
            tellParent(report, ExitUsage, "--memory wants a number of MiB, 16 or more");
            return ExitUsage;
        }
        options.memory = qMin(mib, size_t(SIZE_MAX >> 20)) << 20;
    }
    if (parser.isSet(history)) {
        bool isNumber = false;
        unsigned seconds = parser.value(history).toUInt(&isNumber);
        if (!isNumber) {
            tellParent(report, ExitUsage, "--history wants a number of seconds");
            return ExitUsage;
        }
        options.historySeconds = int(qMin(seconds, 86400u));
    }

    qi::Server server(options);
    QByteArray error;
    bool running = false;
    if (!watchSignals(&app, &server) || !server.listen(&error, &running)) {
        // For whoever wants a daemon, one that runs already is as good.
        unsigned char code = running && !foreground ? 0 : ExitCannotListen;
        tellParent(report, code, code == 0 ? QByteArray() : error);
        return code;
    }
    tellParent(report, 0, {});
    if (!foreground) {
        leaveTerminal();
    }
    return QCoreApplication::exec();
}
