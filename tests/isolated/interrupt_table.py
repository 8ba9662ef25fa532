"""One cell of the table in docs/interrupts.md, with a real SIGINT.

Arguments: a mode and a situation, as the table calls them.  Prints what became of the
code that was interrupted, in the words of the table:

    at once    KeyboardInterrupt was raised there
    after it   it went on to its end
    ends       there was no Python code: Qt, or the kernel, was waiting
    held       a Qt event loop had to end by itself before the run could
    refused    the mode has no such situation

and then, if everything is as it should be, "KeyboardInterrupt".
"""

import asyncio
import importlib
import os
import signal
import sys
import threading

import qtinter

QtCore = importlib.import_module(os.environ["QTINTERBINDING"] + ".QtCore")
Signal = getattr(QtCore, "pyqtSignal", None) or QtCore.Signal
mode, situation = sys.argv[1:]
app = QtCore.QCoreApplication([])
HELD_UP = ("native", "inner")  # modes in which Qt event loops must end by themselves
loop = task = None
result = []


class Emitter(QtCore.QObject):
    signal = Signal()


emitter = Emitter()


def execute(qt_object):
    return qt_object.exec() if hasattr(qt_object, "exec") else qt_object.exec_()


def send_sigint():
    os.kill(os.getpid(), signal.SIGINT)


def press():
    """Ctrl+C in the Python code that calls this."""
    thread = threading.Thread(target=send_sigint)
    thread.start()
    thread.join()


def press_later():
    """Ctrl+C when the caller has long gone to wait."""
    threading.Timer(0.1, send_sigint).start()


# --- what is interrupted -------------------------------------------------------------


def code():
    try:
        press()
    except KeyboardInterrupt:
        result.append("at once")
        raise
    result.append("after it")


def code_second():
    press()
    code()


def own_qt_loop(prepare, *args):
    qt_loop = QtCore.QEventLoop()
    end = QtCore.QTimer()
    end.setSingleShot(True)
    end.timeout.connect(qt_loop.quit)
    prepare(*args)
    if mode in HELD_UP:
        end.start(500)
    try:
        execute(qt_loop)
    finally:
        if mode in HELD_UP and not end.isActive():
            result.append("held")


def wait_in_qt():
    own_qt_loop(press_later)
    if not result:
        result.append("ends")


def slot_in_qt(slot):
    own_qt_loop(QtCore.QTimer.singleShot, 0, slot)


async def in_modal(function, *args):
    try:
        await qtinter.modal(function)(*args)
    except RuntimeError:
        assert mode == "native"
        result.append("refused")
        raise KeyboardInterrupt from None


async def wait():
    press_later()
    result.append("ends")


async def soon(function, *args):
    loop.call_soon(function, *args)


async def from_qt(slot):
    QtCore.QTimer.singleShot(0, slot)


async def in_coroutine():
    code()


async def emitted():
    emitter.signal.connect(code)
    loop.call_soon(emitter.signal.emit)


async def end_run():
    loop.call_soon(app.quit if mode == "attached" else loop.stop)
    await refuse_to_end()


async def end_run_by_ctrl_c():
    loop.call_soon(press)
    await refuse_to_end()


async def refuse_to_end():
    while True:
        try:
            await asyncio.sleep(60)
        except asyncio.CancelledError:
            await wait()


SITUATIONS = {
    "waiting": wait,
    "slot": lambda: from_qt(code),
    "slot, second": lambda: from_qt(code_second),
    "slot, emitted by a callback": emitted,
    "callback": lambda: soon(code),
    "coroutine": in_coroutine,
    "`modal`, waiting": lambda: in_modal(wait_in_qt),
    "`modal`, its function": lambda: in_modal(code),
    "`modal`, its function, second": lambda: in_modal(code_second),
    "`modal`, slot": lambda: in_modal(slot_in_qt, code),
    "own Qt loop, waiting": lambda: soon(wait_in_qt),
    "own Qt loop, slot": lambda: soon(slot_in_qt, code),
    "own Qt loop, slot, second": lambda: soon(slot_in_qt, code_second),
    "clean-up": end_run,
    "clean-up, second": end_run_by_ctrl_c,
}


# --- what runs it --------------------------------------------------------------------


async def main():
    await SITUATIONS[situation]()
    await asyncio.sleep(60)


def attached():
    global loop, task
    with qtinter.using_asyncio_from_qt(shutdown_timeout=None) as loop:
        task = loop.create_task(main())
        execute(app)


def with_run_forever():
    global loop, task
    loop = qtinter.new_event_loop()
    if mode == "native":
        loop.set_mode(qtinter.QiLoopMode.NATIVE)
    task = loop.create_task(main())
    try:
        try:
            loop.run_forever()
        finally:
            task.cancel()
            loop.run_until_complete(asyncio.wait([task]))
    finally:
        loop.close()


def inner():
    """run_forever() in a slot, which no exception may leave."""
    caught = []

    def slot():
        try:
            with_run_forever()
        except KeyboardInterrupt:
            caught.append(True)
        app.quit()

    QtCore.QTimer.singleShot(0, slot)
    execute(app)
    if caught:
        raise KeyboardInterrupt


def check_that_qt_loops_run():
    if mode != "nested":  # QCoreApplication.exit() was called: exec() is due
        QtCore.QTimer.singleShot(0, app.quit)
        execute(app)
    qt_loop = QtCore.QEventLoop()
    QtCore.QTimer.singleShot(0, lambda: qt_loop.exit(7))
    assert execute(qt_loop) == 7


runs = {
    "attached": attached,
    "nested": with_run_forever,
    "inner": inner,
    "native": with_run_forever,
}
hook = sys.excepthook
try:
    runs[mode]()
except KeyboardInterrupt:
    print(*result, sep=", ")
    if not task.done():
        task._log_destroy_pending = False  # refuse_to_end()
    elif not task.cancelled():
        task.exception()  # retrieved: asyncio has nothing to complain about
    assert loop.is_closed()
    assert asyncio._get_running_loop() is None
    assert sys.excepthook is hook
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler
    assert signal.set_wakeup_fd(-1) == -1
    check_that_qt_loops_run()
    print("KeyboardInterrupt")
