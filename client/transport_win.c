/*
 * transport_win.c - see transport.h: a named pipe.
 *
 * Reads and writes are overlapped.  There is always one read under way, into a buffer of
 * our own; a write is copied into another one, and until it is over there is no room.
 *
 *   read    kernel --> in[] --> caller        nothing there: LATER
 *   write   caller --> out[] --> kernel       the last one is under way: LATER
 *
 * Whoever listens must be us: anybody may make a pipe of any name, before the daemon
 * does.  So the listener's process is asked for its user, and it is not allowed to act in
 * our name (SECURITY_IDENTIFICATION).
 */
#ifndef _WIN32_WINNT
#  define _WIN32_WINNT 0x0601
#endif
#include "transport.h"

#include <windows.h>

#include <aclapi.h>
#include <stdlib.h>
#include <string.h>

#define BUFFER_SIZE 65536
#define ADDRESS_MAX 256 /* of a pipe's name, by Windows */

static const char prefix[] = "\\\\.\\pipe\\";

struct qi_pipe {
    HANDLE handle;
    OVERLAPPED reading, writing; /* each with an event of its own */
    int is_reading, is_writing;
    int over;
    DWORD in_size, in_taken;
    uint8_t in[BUFFER_SIZE];
    uint8_t out[BUFFER_SIZE];
};

/* --- who ------------------------------------------------------------------------- */

/* The user of a process; free() it.  NULL: it cannot be told. */
static TOKEN_USER *
user_of(HANDLE process)
{
    TOKEN_USER *user = NULL;
    HANDLE token = NULL;
    DWORD size = 0;

    if (!OpenProcessToken(process, TOKEN_QUERY, &token)) {
        return NULL;
    }
    (void)GetTokenInformation(token, TokenUser, NULL, 0, &size);
    user = size > 0 ? malloc(size) : NULL;
    if (user != NULL && !GetTokenInformation(token, TokenUser, user, size, &size)) {
        free(user);
        user = NULL;
    }
    (void)CloseHandle(token);
    return user;
}

static int
is_ours(HANDLE process)
{
    TOKEN_USER *ours = user_of(GetCurrentProcess());
    TOKEN_USER *theirs = user_of(process);
    int same =
        ours != NULL && theirs != NULL && EqualSid(ours->User.Sid, theirs->User.Sid);

    free(ours);
    free(theirs);
    return same;
}

static int
server_is_ours(HANDLE pipe)
{
    ULONG pid = 0;

    if (!GetNamedPipeServerProcessId(pipe, &pid)) {
        return 0;
    }
    HANDLE process = OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, FALSE, pid);
    if (process == NULL) {
        return 0;
    }
    int ours = is_ours(process);
    (void)CloseHandle(process);
    return ours;
}

/* --- addresses -------------------------------------------------------------------- */

static int
wide_address(const char *address, wchar_t ret_wide[ADDRESS_MAX + 1])
{
    /* "\\server\pipe\..." would be a pipe of another machine. */
    if (strncmp(address, prefix, sizeof(prefix) - 1) != 0
        || address[sizeof(prefix) - 1] == '\0') {
        return QI_TRANSPORT_REMOTE;
    }
    if (strlen(address) > ADDRESS_MAX
        || MultiByteToWideChar(CP_UTF8, MB_ERR_INVALID_CHARS, address, -1, ret_wide,
                               ADDRESS_MAX + 1)
               == 0) {
        return QI_TRANSPORT_LONG;
    }
    return QI_TRANSPORT_OK;
}

/* --- reading ---------------------------------------------------------------------- */

/* An operation that was begun: how many bytes, LATER, or CLOSED. */
static int
outcome(struct qi_pipe *p, OVERLAPPED *operation, int *is_under_way, DWORD *ret_n)
{
    if (GetOverlappedResult(p->handle, operation, ret_n, FALSE)) {
        *is_under_way = 0;
        return QI_TRANSPORT_OK;
    }
    if (GetLastError() == ERROR_IO_INCOMPLETE) {
        return QI_TRANSPORT_LATER;
    }
    *is_under_way = 0;
    p->over = 1;
    return QI_TRANSPORT_CLOSED;
}

/* Even where it is over at once, its result is fetched as that of any other. */
static void
begin_read(struct qi_pipe *p)
{
    p->in_size = p->in_taken = 0;
    p->is_reading = ReadFile(p->handle, p->in, BUFFER_SIZE, NULL, &p->reading)
                    || GetLastError() == ERROR_IO_PENDING;
    p->over |= !p->is_reading;
}

int
qi_transport_read(qi_transport p, void *ret_bytes, size_t size, size_t *ret_n)
{
    *ret_n = 0;
    if (p->in_taken == p->in_size && p->is_reading) {
        DWORD n = 0;
        int r = outcome(p, &p->reading, &p->is_reading, &n);
        if (r != QI_TRANSPORT_OK) {
            return r;
        }
        p->in_size = n;
        p->in_taken = 0;
    }
    if (p->in_taken == p->in_size) {
        if (p->over) {
            return QI_TRANSPORT_CLOSED;
        }
        begin_read(p); /* an empty write of the peer's */
        return QI_TRANSPORT_LATER;
    }
    size_t left = p->in_size - p->in_taken;
    *ret_n = size < left ? size : left;
    memcpy(ret_bytes, p->in + p->in_taken, *ret_n);
    p->in_taken += (DWORD)*ret_n;
    if (p->in_taken == p->in_size) {
        begin_read(p);
    }
    return QI_TRANSPORT_OK;
}

/* --- writing ---------------------------------------------------------------------- */

int
qi_transport_write(qi_transport p, const void *bytes, size_t size, size_t *ret_n)
{
    DWORD n = 0;

    *ret_n = 0;
    if (p->is_writing) {
        int r = outcome(p, &p->writing, &p->is_writing, &n);
        if (r != QI_TRANSPORT_OK) {
            return r;
        }
    }
    if (p->over) {
        return QI_TRANSPORT_CLOSED;
    }
    n = (DWORD)(size < BUFFER_SIZE ? size : BUFFER_SIZE);
    memcpy(p->out, bytes, n);
    if (!WriteFile(p->handle, p->out, n, NULL, &p->writing)
        && GetLastError() != ERROR_IO_PENDING) {
        p->over = 1;
        return QI_TRANSPORT_CLOSED;
    }
    p->is_writing = 1;
    *ret_n = n;
    return QI_TRANSPORT_OK;
}

/* --- beginning and end ------------------------------------------------------------ */

/* The kernel may write into our memory until it has given the operation up. */
static void
cancel(struct qi_pipe *p, OVERLAPPED *operation, int is_under_way)
{
    DWORD n = 0;

    if (is_under_way) {
        (void)CancelIoEx(p->handle, operation);
        (void)GetOverlappedResult(p->handle, operation, &n, TRUE);
    }
}

void
qi_transport_close(qi_transport p)
{
    if (p == NULL) {
        return;
    }
    if (p->handle != INVALID_HANDLE_VALUE) {
        cancel(p, &p->reading, p->is_reading);
        cancel(p, &p->writing, p->is_writing);
        (void)CloseHandle(p->handle);
    }
    if (p->reading.hEvent != NULL) {
        (void)CloseHandle(p->reading.hEvent);
    }
    if (p->writing.hEvent != NULL) {
        (void)CloseHandle(p->writing.hEvent);
    }
    free(p);
}

static int
open_pipe(struct qi_pipe *p, const wchar_t *address)
{
    p->reading.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
    p->writing.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL);
    if (p->reading.hEvent == NULL || p->writing.hEvent == NULL) {
        return QI_TRANSPORT_ABSENT;
    }
    p->handle = CreateFileW(
        address, GENERIC_READ | GENERIC_WRITE, 0, NULL, OPEN_EXISTING,
        FILE_FLAG_OVERLAPPED | SECURITY_SQOS_PRESENT | SECURITY_IDENTIFICATION, NULL);
    if (p->handle == INVALID_HANDLE_VALUE) {
        /* ERROR_PIPE_BUSY: a listener that is overrun. */
        return GetLastError() == ERROR_ACCESS_DENIED ? QI_TRANSPORT_USER
                                                     : QI_TRANSPORT_ABSENT;
    }
    return server_is_ours(p->handle) ? QI_TRANSPORT_OK : QI_TRANSPORT_USER;
}

int
qi_transport_connect(const char *address, qi_transport *ret_transport)
{
    wchar_t wide[ADDRESS_MAX + 1];
    int r = wide_address(address, wide);

    if (r < 0) {
        return r;
    }
    struct qi_pipe *p = calloc(1, sizeof(*p));
    if (p == NULL) {
        return QI_TRANSPORT_ABSENT;
    }
    p->handle = INVALID_HANDLE_VALUE;
    r = open_pipe(p, wide);
    if (r < 0) {
        qi_transport_close(p);
        return r;
    }
    begin_read(p);
    *ret_transport = p;
    return QI_TRANSPORT_OK;
}

/* --- waiting ---------------------------------------------------------------------- */

void *
qi_transport_waker(void)
{
    return CreateEventW(NULL, FALSE, FALSE, NULL);
}

void
qi_transport_wake(void *waker)
{
    (void)SetEvent(waker);
}

void
qi_transport_free_waker(void *waker)
{
    if (waker != NULL) {
        (void)CloseHandle(waker);
    }
}

void
qi_transport_wait(qi_transport p, int want_room, void *waker, int timeout_ms)
{
    HANDLE events[3] = {waker};
    DWORD n = 1;

    if (p != NULL) {
        if (!p->is_reading || (want_room && !p->is_writing)) {
            return; /* there is something to be had */
        }
        events[n++] = p->reading.hEvent;
        if (want_room) {
            events[n++] = p->writing.hEvent;
        }
    }
    (void)WaitForMultipleObjects(n, events, FALSE,
                                 timeout_ms < 0 ? INFINITE : (DWORD)timeout_ms);
}

/* --- listening -------------------------------------------------------------------- */

/* Everything for the user, nothing for others; LocalFree() it.  NULL: it failed. */
static ACL *
list_for(TOKEN_USER *user)
{
    EXPLICIT_ACCESS_W access = {.grfAccessPermissions = GENERIC_ALL,
                                .grfAccessMode = SET_ACCESS,
                                .grfInheritance = NO_INHERITANCE};
    ACL *list = NULL;

    access.Trustee.TrusteeForm = TRUSTEE_IS_SID;
    access.Trustee.TrusteeType = TRUSTEE_IS_USER;
    access.Trustee.ptstrName = (wchar_t *)user->User.Sid;
    return SetEntriesInAclW(1, &access, NULL, &list) == ERROR_SUCCESS ? list : NULL;
}

void *
qi_transport_listen(const char *address, int first)
{
    wchar_t wide[ADDRESS_MAX + 1];
    SECURITY_DESCRIPTOR descriptor;
    SECURITY_ATTRIBUTES attributes = {.nLength = sizeof(attributes),
                                      .lpSecurityDescriptor = &descriptor};
    HANDLE pipe = INVALID_HANDLE_VALUE;

    if (wide_address(address, wide) < 0) {
        SetLastError(ERROR_INVALID_NAME);
        return NULL;
    }
    TOKEN_USER *user = user_of(GetCurrentProcess());
    ACL *list = user != NULL ? list_for(user) : NULL;
    if (list != NULL
        && InitializeSecurityDescriptor(&descriptor, SECURITY_DESCRIPTOR_REVISION)
        && SetSecurityDescriptorOwner(&descriptor, user->User.Sid, FALSE)
        && SetSecurityDescriptorDacl(&descriptor, TRUE, list, FALSE)) {
        pipe = CreateNamedPipeW(
            wide,
            PIPE_ACCESS_DUPLEX | FILE_FLAG_OVERLAPPED
                | (first ? FILE_FLAG_FIRST_PIPE_INSTANCE : 0),
            PIPE_TYPE_BYTE | PIPE_READMODE_BYTE | PIPE_WAIT | PIPE_REJECT_REMOTE_CLIENTS,
            PIPE_UNLIMITED_INSTANCES, BUFFER_SIZE, BUFFER_SIZE, 0, &attributes);
    }
    DWORD error = GetLastError();
    if (list != NULL) {
        (void)LocalFree(list);
    }
    free(user);
    SetLastError(error);
    return pipe == INVALID_HANDLE_VALUE ? NULL : pipe;
}
