"""Ways to hang.  Each ends when a byte can be read from the standard input."""

import asyncio
import atexit
import ctypes
import os
import select
import signal
import threading
import time

import qtinter
import qtinter.inspect
from qtinter.bindings import QtCore

NUMBER = signal.SIGRTMAX - 3


def is_free():
    """Whether the signal for stacks has no handler."""
    with open("/proc/self/status", encoding="ascii") as file:
        caught = next(line for line in file if line.startswith("SigCgt:"))
    return not int(caught.split()[1], 16) >> (NUMBER - 1) & 1


def hang_spin():
    """A Python loop that does not end."""
    while not select.select([0], [], [], 0)[0]:
        pass
    os.read(0, 1)


def hang_wait():
    """In C, without the GIL."""
    os.read(0, 1)


def hang_holding_the_gil():
    """In C, with the GIL: no other thread of Python runs."""
    ctypes.PyDLL(None).read(0, ctypes.create_string_buffer(1), 1)


def hang_modal():
    """In an event loop of Qt within a callback."""
    modal = QtCore.QEventLoop()
    notifier = QtCore.QSocketNotifier(0, QtCore.QSocketNotifier.Type.Read)
    notifier.activated.connect(lambda *_: (notifier.setEnabled(False), modal.quit()))
    (modal.exec if hasattr(modal, "exec") else modal.exec_)()
    os.read(0, 1)


def hang_in_process_events():
    """In a slot that is called by processEvents()."""
    timer = QtCore.QTimer()
    timer.setSingleShot(True)
    timer.timeout.connect(lambda: os.read(0, 1))
    timer.start(0)
    while timer.isActive():
        QtCore.QCoreApplication.processEvents()


def hang_forking():
    """As spin; children are made meanwhile.  Returns their exit codes."""
    codes = set()
    while not select.select([0], [], [], 0)[0]:
        child = os.fork()
        if child == 0:
            os._exit(0 if is_free() and not qtinter.inspect.is_enabled() else 1)
        codes.add(os.waitpid(child, 0)[1])
        time.sleep(0.01)  # so that samples are taken between forks
    os.read(0, 1)
    return str(sorted(codes))


def hang_while_disabled():
    """Another thread disables the inspection."""
    thread = threading.Thread(target=qtinter.inspect.disable)
    thread.start()
    os.read(0, 1)
    thread.join()
    return str(is_free())


def hang_at_exit():
    """In the interpreter's end."""
    atexit.register(os.read, 0, 1)
    QtCore.QCoreApplication.quit()


def hang_in_thread():
    """Another thread has a loop of its own, which hangs."""
    started = threading.Event()

    async def other():
        started.set()
        hang_wait()

    def run():
        loop = qtinter.new_event_loop()
        try:
            loop.run_until_complete(other())
        finally:
            loop.close()
        print("thread went on", flush=True)

    threading.Thread(target=run, daemon=True).start()
    started.wait()
    return "started"


def hang_asyncio():
    """As spin, but called by a task."""
    asyncio.get_running_loop().create_task(_task())
    return "started"


async def _task():
    hang_spin()
    print("went on", flush=True)
