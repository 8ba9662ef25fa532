/* test_transport_win.c - a named pipe: the promises of client/transport.h on Windows. */
#ifndef _WIN32_WINNT
#  define _WIN32_WINNT 0x0601
#endif
#include "qi_test.h"

#include "transport.h"

#include <windows.h>

#include <aclapi.h>
#include <stdint.h>
#include <string.h>

#define WAIT_MS 20000 /* only a safety net */
#define MANY (1u << 20)

static char address[100];

/* Waits for an operation of the listener's. */
static DWORD
finish(HANDLE pipe, OVERLAPPED *operation)
{
    DWORD n = 0;

    CHECK_INT(WaitForSingleObject(operation->hEvent, WAIT_MS), WAIT_OBJECT_0);
    CHECK(GetOverlappedResult(pipe, operation, &n, FALSE));
    CHECK(CloseHandle(operation->hEvent));
    return n;
}

static OVERLAPPED
an_operation(void)
{
    OVERLAPPED operation = {.hEvent = CreateEventW(NULL, TRUE, FALSE, NULL)};

    CHECK(operation.hEvent != NULL);
    return operation;
}

static DWORD
server_read(HANDLE pipe, void *bytes, DWORD size)
{
    OVERLAPPED operation = an_operation();

    CHECK(ReadFile(pipe, bytes, size, NULL, &operation)
          || GetLastError() == ERROR_IO_PENDING);
    return finish(pipe, &operation);
}

static void
server_write(HANDLE pipe, const void *bytes, DWORD size)
{
    OVERLAPPED operation = an_operation();

    CHECK(WriteFile(pipe, bytes, size, NULL, &operation)
          || GetLastError() == ERROR_IO_PENDING);
    CHECK_INT(finish(pipe, &operation), size);
}

static HANDLE
listener(void)
{
    HANDLE pipe = qi_transport_listen(address, 1);

    CHECK(pipe != NULL);
    return pipe;
}

static qi_transport
connected(HANDLE pipe)
{
    qi_transport t = QI_TRANSPORT_NONE;
    OVERLAPPED operation = an_operation();
    int pending = !ConnectNamedPipe(pipe, &operation);

    CHECK(!pending || GetLastError() == ERROR_IO_PENDING);
    CHECK_INT(qi_transport_connect(address, &t), QI_TRANSPORT_OK);
    (void)finish(pipe, &operation);
    return t;
}

static size_t
read_some(qi_transport t, void *bytes, size_t size, void *waker)
{
    size_t n = 0;
    int r;

    while ((r = qi_transport_read(t, bytes, size, &n)) == QI_TRANSPORT_LATER) {
        qi_transport_wait(t, 0, waker, WAIT_MS);
    }
    return r == QI_TRANSPORT_OK ? n : 0;
}

static void
nobody_there_is_absent(void)
{
    qi_transport t = QI_TRANSPORT_NONE;

    CHECK_INT(qi_transport_connect(address, &t), QI_TRANSPORT_ABSENT);
    CHECK(t == QI_TRANSPORT_NONE);
}

static void
only_pipes_of_this_machine(void)
{
    static const char *const others[] = {"",
                                         "\\\\other\\pipe\\qtinter",
                                         "C:\\file",
                                         "\\\\.\\pipe\\",
                                         "\\\\.\\pipe",
                                         "//./pipe/x",
                                         "\\\\.\\mailslot\\x"};
    qi_transport t = QI_TRANSPORT_NONE;
    char long_one[400] = "\\\\.\\pipe\\";

    for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
        CHECK_INT(qi_transport_connect(others[i], &t), QI_TRANSPORT_REMOTE);
        CHECK(qi_transport_listen(others[i], 1) == NULL);
    }
    memset(long_one + 9, 'x', 300);
    CHECK_INT(qi_transport_connect(long_one, &t), QI_TRANSPORT_LONG);
}

static void
bytes_go_both_ways(void)
{
    HANDLE pipe = listener();
    qi_transport t = connected(pipe);
    void *waker = qi_transport_waker();
    char bytes[16];
    size_t n = 0;

    CHECK(waker != NULL);
    CHECK_INT(qi_transport_read(t, bytes, sizeof(bytes), &n), QI_TRANSPORT_LATER);
    CHECK_INT(qi_transport_write(t, "hello", 5, &n), QI_TRANSPORT_OK);
    CHECK_INT(n, 5);
    CHECK_INT(server_read(pipe, bytes, sizeof(bytes)), 5);
    CHECK(memcmp(bytes, "hello", 5) == 0);
    server_write(pipe, "welcome", 7);
    /* In pieces as small as one likes. */
    CHECK_INT(read_some(t, bytes, 3, waker), 3);
    CHECK_INT(read_some(t, bytes + 3, 3, waker), 3);
    CHECK_INT(read_some(t, bytes + 6, 3, waker), 1);
    CHECK(memcmp(bytes, "welcome", 7) == 0);
    CHECK_INT(qi_transport_read(t, bytes, sizeof(bytes), &n), QI_TRANSPORT_LATER);
    qi_transport_close(t);
    qi_transport_free_waker(waker);
    CHECK(CloseHandle(pipe));
}

/* A peer that takes nothing makes LATER, not a wait; nothing is lost or doubled. */
static void
a_full_pipe_is_later(void)
{
    HANDLE pipe = listener();
    qi_transport t = connected(pipe);
    void *waker = qi_transport_waker();
    uint8_t *bytes = malloc(MANY), *taken = malloc(MANY);
    size_t sent = 0, got = 0;
    int waits = 0;

    CHECK(bytes != NULL && taken != NULL && waker != NULL);
    for (size_t i = 0; i < MANY; i++) {
        bytes[i] = (uint8_t)(i * 7 + (i >> 8));
    }
    while (got < MANY) {
        size_t n = 0;
        int r = sent < MANY ? qi_transport_write(t, bytes + sent, MANY - sent, &n)
                            : QI_TRANSPORT_LATER;
        if (r == QI_TRANSPORT_OK) {
            CHECK(n > 0);
            sent += n;
            continue;
        }
        CHECK_INT(r, QI_TRANSPORT_LATER);
        waits++;
        got += server_read(pipe, taken + got, MANY - (DWORD)got);
    }
    CHECK(waits > 1);
    CHECK_INT(sent, MANY);
    CHECK(memcmp(bytes, taken, MANY) == 0);
    /* There is room again, which ends a wait for it. */
    qi_transport_wait(t, 1, waker, WAIT_MS);
    CHECK_INT(qi_transport_write(t, "x", 1, &sent), QI_TRANSPORT_OK);
    qi_transport_close(t);
    qi_transport_free_waker(waker);
    CHECK(CloseHandle(pipe));
    free(bytes);
    free(taken);
}

static void
a_peer_that_goes_is_closed(void)
{
    HANDLE pipe = listener();
    qi_transport t = connected(pipe);
    void *waker = qi_transport_waker();
    char bytes[16];
    size_t n = 0;
    int r = QI_TRANSPORT_OK;

    server_write(pipe, "bye", 3);
    CHECK(CloseHandle(pipe));
    CHECK_INT(read_some(t, bytes, sizeof(bytes), waker), 3); /* what it had said */
    CHECK_INT(read_some(t, bytes, sizeof(bytes), waker), 0);
    CHECK_INT(qi_transport_read(t, bytes, sizeof(bytes), &n), QI_TRANSPORT_CLOSED);
    for (int i = 0; i < 3 && r >= 0; i++) {
        r = qi_transport_write(t, "x", 1, &n);
    }
    CHECK_INT(r, QI_TRANSPORT_CLOSED);
    qi_transport_close(t);
    qi_transport_free_waker(waker);
}

/* With a read and a write that the peer never answers. */
static void
a_close_does_not_wait(void)
{
    static uint8_t bytes[MANY];
    HANDLE pipe = listener();
    qi_transport t = connected(pipe);
    size_t n = 0;
    int r = QI_TRANSPORT_OK;

    for (int i = 0; i < 64 && r == QI_TRANSPORT_OK; i++) {
        r = qi_transport_write(t, bytes, sizeof(bytes), &n);
    }
    CHECK_INT(r, QI_TRANSPORT_LATER);
    qi_transport_close(t);
    CHECK(CloseHandle(pipe));
    qi_transport_close(QI_TRANSPORT_NONE);
}

static DWORD WINAPI
wake(void *waker)
{
    qi_transport_wake(waker);
    return 0;
}

static void
a_wait_is_ended_by_the_waker_and_by_time(void)
{
    HANDLE pipe = listener();
    qi_transport t = connected(pipe);
    void *waker = qi_transport_waker();

    CHECK(waker != NULL);
    qi_transport_wait(t, 0, waker, 1);
    qi_transport_wake(waker); /* before the wait: it is kept */
    qi_transport_wait(t, 0, waker, -1);
    HANDLE thread = CreateThread(NULL, 0, wake, waker, 0, NULL);
    CHECK(thread != NULL);
    qi_transport_wait(QI_TRANSPORT_NONE, 0, waker, -1);
    CHECK_INT(WaitForSingleObject(thread, WAIT_MS), WAIT_OBJECT_0);
    CHECK(CloseHandle(thread));
    qi_transport_close(t);
    qi_transport_free_waker(waker);
    CHECK(CloseHandle(pipe));
}

/* Wine does not know FILE_FLAG_FIRST_PIPE_INSTANCE: any listener is a first one there. */
static int
is_wine(void)
{
    HMODULE ntdll = GetModuleHandleW(L"ntdll.dll");

    return ntdll != NULL && GetProcAddress(ntdll, "wine_get_version") != NULL;
}

/* Nobody else can be the second listener of the name, nor have been the first. */
static void
the_first_listener_is_the_only_first(void)
{
    HANDLE pipe = listener();

    if (is_wine()) {
        printf("not under Wine: that a name is taken\n");
    }
    else {
        CHECK(qi_transport_listen(address, 1) == NULL);
    }
    HANDLE second = qi_transport_listen(address, 0);
    CHECK(second != NULL);
    CHECK(CloseHandle(second));
    CHECK(CloseHandle(pipe));
}

/* Its access list has one entry: ours. */
static void
only_the_user_may_open_it(void)
{
    HANDLE pipe = listener();
    HANDLE token = NULL;
    union {
        TOKEN_USER user;
        uint8_t bytes[256];
    } us;
    DWORD size = 0;
    ACL *list = NULL;
    SID *owner = NULL;
    PSECURITY_DESCRIPTOR descriptor = NULL;
    ACCESS_ALLOWED_ACE *entry = NULL;

    CHECK(OpenProcessToken(GetCurrentProcess(), TOKEN_QUERY, &token));
    CHECK(GetTokenInformation(token, TokenUser, &us, sizeof(us), &size));
    CHECK(CloseHandle(token));
    CHECK_INT(GetSecurityInfo(pipe, SE_KERNEL_OBJECT,
                              OWNER_SECURITY_INFORMATION | DACL_SECURITY_INFORMATION,
                              (PSID *)&owner, NULL, &list, NULL, &descriptor),
              ERROR_SUCCESS);
    CHECK(EqualSid(owner, us.user.User.Sid));
    CHECK(list != NULL);
    CHECK_INT(list->AceCount, 1);
    CHECK(GetAce(list, 0, (void **)&entry));
    CHECK_INT(entry->Header.AceType, ACCESS_ALLOWED_ACE_TYPE);
    CHECK(EqualSid((PSID)&entry->SidStart, us.user.User.Sid));
    (void)LocalFree(descriptor);
    CHECK(CloseHandle(pipe));
}

int
main(void)
{
    (void)snprintf(address, sizeof(address), "\\\\.\\pipe\\qtinter-test-%lu",
                   GetCurrentProcessId());
    RUN(nobody_there_is_absent);
    RUN(only_pipes_of_this_machine);
    RUN(bytes_go_both_ways);
    RUN(a_full_pipe_is_later);
    RUN(a_peer_that_goes_is_closed);
    RUN(a_close_does_not_wait);
    RUN(a_wait_is_ended_by_the_waker_and_by_time);
    RUN(the_first_listener_is_the_only_first);
    RUN(only_the_user_may_open_it);
    return 0;
}
