"""Does an installed qtinter run a loop in Qt?  What each wheel has to pass.

    smoke.py

Needs one Qt binding (QTINTERBINDING names it; the first one installed by default) and
nothing else, QtCore only.  QTINTER_EXPECT_HOST, if set, is the host that must be used.
Exit code 1 and a message if something does not hold.
"""

import asyncio
import importlib
import importlib.util
import os
import sys
import threading

BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


def binding_name():
    chosen = os.environ.get("QTINTERBINDING")
    if chosen:
        return chosen
    for name in BINDINGS:
        if importlib.util.find_spec(name) is not None:
            return name
    sys.exit(f"smoke: no Qt binding is installed, of {BINDINGS}")


def check(condition, what):
    if not condition:
        sys.exit(f"smoke: not true: {what}")


async def echo(reader, writer):
    writer.write(await reader.readexactly(5))
    await writer.drain()
    writer.close()


async def asyncio_works(loop):
    """A timer, a server and a client, another thread, a subprocess."""
    before = loop.time()
    await asyncio.sleep(0.01)
    check(loop.time() - before >= 0.01, "a timer is never early")

    server = await asyncio.start_server(echo, "127.0.0.1", 0)
    address = server.sockets[0].getsockname()
    reader, writer = await asyncio.open_connection(*address)
    writer.write(b"hello")
    check(await reader.readexactly(5) == b"hello", "a stream brings back what was sent")
    writer.close()
    server.close()

    called = asyncio.Event()
    thread = threading.Thread(target=loop.call_soon_threadsafe, args=(called.set,))
    thread.start()
    await called.wait()
    thread.join()

    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", "print('child')", stdout=asyncio.subprocess.PIPE
    )
    output, _ = await process.communicate()
    check(output.strip() == b"child", "a subprocess is read and ends")


def main():
    binding = binding_name()
    QtCore = importlib.import_module(f"{binding}.QtCore")
    import qtinter

    app = QtCore.QCoreApplication([])
    ticks = []
    timer = QtCore.QTimer()
    timer.timeout.connect(lambda: ticks.append(1))

    with qtinter.using_asyncio_from_qt() as loop:
        timer.start(0)  # Qt is served meanwhile
        task = loop.create_task(asyncio_works(loop))
        task.add_done_callback(lambda _: app.quit())
        loop.call_later(60, app.quit)  # a safety net
        run = app.exec if hasattr(app, "exec") else app.exec_  # PySide2: exec_ only
        run()
        timer.stop()
        check(task.done(), "all is over within a minute")
        task.result()
        host = loop.host_name
    check(ticks, "Qt's timers run beside asyncio")
    expected = os.environ.get("QTINTER_EXPECT_HOST")
    check(not expected or host == expected, f"the host is {expected}, not {host}")
    loop_class = qtinter.QiDefaultEventLoop.__name__
    print(
        f"smoke: qtinter {qtinter.__version__}, Python {sys.version.split()[0]}, "
        f"{sys.platform}, {binding} {QtCore.qVersion()}, {host} host, {loop_class}: ok"
    )


if __name__ == "__main__":
    main()
