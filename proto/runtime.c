/* runtime.c - see runtime.h. */
#include "runtime.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define QI_RUNTIME_PATH 512
#define QI_KEY_ATTEMPTS 8

const char *
qi_runtime_text(int status)
{
    switch (status) {
    case QI_RUNTIME_OK:
        return "no error";
    case QI_RUNTIME_E_OS:
        return strerror(errno);
    case QI_RUNTIME_E_LONG:
        return "the path is too long";
    case QI_RUNTIME_E_OWNER:
        return "it belongs to another user or is of another kind";
    case QI_RUNTIME_E_OPEN:
        return "others have access to it";
    case QI_RUNTIME_E_KEY:
        return "the key file is damaged";
    default:
        return "unknown error";
    }
}

static int
fits(int printed, size_t size)
{
    return printed >= 0 && (size_t)printed < size ? QI_RUNTIME_OK : QI_RUNTIME_E_LONG;
}

int
qi_runtime_directory(char *ret_path, size_t size)
{
    const char *own = getenv("QTINTER_RUNTIME_DIR");
    const char *session = getenv("XDG_RUNTIME_DIR");

    if (own != NULL && own[0] != '\0') {
        return fits(snprintf(ret_path, size, "%s", own), size);
    }
    /* The XDG specification: a relative path is invalid and to be ignored. */
    if (session != NULL && session[0] == '/') {
        return fits(snprintf(ret_path, size, "%s/qtinter", session), size);
    }
    return fits(snprintf(ret_path, size, "/tmp/qtinter-%lu", (unsigned long)geteuid()),
                size);
}

int
qi_runtime_prepare(const char *directory)
{
    struct stat st;

    if (mkdir(directory, 0700) < 0 && errno != EEXIST) {
        return QI_RUNTIME_E_OS;
    }
    /* Not stat(): in /tmp another user could have put a link there. */
    if (lstat(directory, &st) < 0) {
        return QI_RUNTIME_E_OS;
    }
    if (!S_ISDIR(st.st_mode) || st.st_uid != geteuid()) {
        return QI_RUNTIME_E_OWNER;
    }
    return (st.st_mode & 077) == 0 ? QI_RUNTIME_OK : QI_RUNTIME_E_OPEN;
}

int
qi_runtime_random(void *ret_bytes, size_t size)
{
    int fd = open("/dev/urandom", O_RDONLY | O_CLOEXEC);
    size_t done = 0;

    if (fd < 0) {
        return QI_RUNTIME_E_OS;
    }
    while (done < size) {
        ssize_t n = read(fd, (uint8_t *)ret_bytes + done, size - done);
        if (n > 0) {
            done += (size_t)n;
        }
        else if (n == 0 || errno != EINTR) {
            break;
        }
    }
    (void)close(fd);
    return done == size ? QI_RUNTIME_OK : QI_RUNTIME_E_OS;
}

/* QI_RUNTIME_OK, or QI_RUNTIME_E_OS with ENOENT when there is none. */
static int
read_key(const char *path, uint8_t ret_key[QI_KEY_SIZE])
{
    uint8_t bytes[QI_KEY_SIZE + 1];
    struct stat st;
    ssize_t n = -1;
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW | O_NONBLOCK);
    int status = QI_RUNTIME_E_OS;

    if (fd < 0) {
        return QI_RUNTIME_E_OS;
    }
    if (fstat(fd, &st) == 0) {
        if (!S_ISREG(st.st_mode) || st.st_uid != geteuid()) {
            status = QI_RUNTIME_E_OWNER;
        }
        else if ((st.st_mode & 077) != 0) {
            status = QI_RUNTIME_E_OPEN;
        }
        else {
            n = read(fd, bytes, sizeof(bytes));
            status = n == QI_KEY_SIZE ? QI_RUNTIME_OK : QI_RUNTIME_E_KEY;
        }
    }
    (void)close(fd);
    if (status == QI_RUNTIME_OK) {
        memcpy(ret_key, bytes, QI_KEY_SIZE);
    }
    return status;
}

/* Makes a whole key at path; positive when somebody else was first. */
static int
make_key(const char *directory, const char *path)
{
    uint8_t bytes[QI_KEY_SIZE];
    uint64_t unique;
    char temporary[QI_RUNTIME_PATH];
    int status;
    int fd;

    status = qi_runtime_random(bytes, sizeof(bytes));
    if (status == QI_RUNTIME_OK) {
        status = qi_runtime_random(&unique, sizeof(unique));
    }
    if (status == QI_RUNTIME_OK) {
        status = fits(snprintf(temporary, sizeof(temporary), "%s/key.%016llx", directory,
                               (unsigned long long)unique),
                      sizeof(temporary));
    }
    if (status != QI_RUNTIME_OK) {
        return status;
    }
    fd = open(temporary, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0) {
        return QI_RUNTIME_E_OS;
    }
    status = write(fd, bytes, sizeof(bytes)) == (ssize_t)sizeof(bytes) ? QI_RUNTIME_OK
                                                                       : QI_RUNTIME_E_OS;
    if (close(fd) < 0) {
        status = QI_RUNTIME_E_OS;
    }
    if (status == QI_RUNTIME_OK && link(temporary, path) < 0) {
        status = errno == EEXIST ? 1 : QI_RUNTIME_E_OS;
    }
    int saved = errno;
    (void)unlink(temporary);
    errno = saved;
    return status;
}

int
qi_runtime_key(const char *directory, int create, uint8_t ret_key[QI_KEY_SIZE])
{
    char path[QI_RUNTIME_PATH];
    int status = fits(snprintf(path, sizeof(path), "%s/key", directory), sizeof(path));

    if (status != QI_RUNTIME_OK) {
        return status;
    }
    /* More than one round only if somebody removes the key between our two steps. */
    for (int i = 0; i < QI_KEY_ATTEMPTS; i++) {
        status = read_key(path, ret_key);
        if (!create || status != QI_RUNTIME_E_OS || errno != ENOENT) {
            return status;
        }
        status = make_key(directory, path);
        if (status < 0) {
            return status;
        }
    }
    return QI_RUNTIME_E_KEY;
}

/* Reads /proc/PID/stat and returns what follows the program's name; NULL if there is
   none.  Field 2 is the name in parentheses and may hold anything, parentheses too: the
   last one counts (proc(5)). */
static char *
process_fields(uint64_t pid, char *line, size_t size)
{
    char path[64];
    ssize_t n;
    int fd;

    (void)snprintf(path, sizeof(path), "/proc/%llu/stat", (unsigned long long)pid);
    fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0) {
        return NULL;
    }
    n = read(fd, line, size - 1);
    (void)close(fd);
    line[n > 0 ? n : 0] = '\0';
    char *end = strrchr(line, ')');
    return end != NULL && end[1] == ' ' ? end + 1 : NULL;
}

static uint64_t
start_time_in(const char *fields)
{
    unsigned long long start = 0;

    for (int field = 3; fields != NULL && field < 22; field++) {
        fields = strchr(fields + 1, ' ');
    }
    return fields != NULL && sscanf(fields, " %llu", &start) == 1 ? start : 0;
}

uint64_t
qi_runtime_start_time(uint64_t pid)
{
    char line[1024];

    return start_time_in(process_fields(pid, line, sizeof(line)));
}

char
qi_runtime_process_state(uint64_t pid)
{
    char line[1024];
    const char *fields = process_fields(pid, line, sizeof(line));

    return fields != NULL ? fields[1] : (char)0;
}

int
qi_runtime_process_runs(uint64_t pid, uint64_t start)
{
    char line[1024];

    if (pid == 0 || pid > INT32_MAX || (kill((pid_t)pid, 0) < 0 && errno == ESRCH)) {
        return 0;
    }
    const char *fields = process_fields(pid, line, sizeof(line));
    if (fields == NULL || fields[1] == '\0') {
        return 1; /* there is no /proc, or it hides this one */
    }
    if (fields[1] == 'Z' || fields[1] == 'X') {
        return 0;
    }
    return start == 0 || start_time_in(fields) == start;
}
