"""Ways to do something wrong, which the daemon should find; one for each finding."""

import asyncio
import threading
import time

import qtinter
from qtinter.bindings import QtCore

Signal = QtCore.pyqtSignal if hasattr(QtCore, "pyqtSignal") else QtCore.Signal


class Sender(QtCore.QObject):
    plain = Signal()
    number = Signal(int)
    thing = Signal(object)


class Receiver(QtCore.QObject):
    async def on_number(self, number):
        await asyncio.sleep(3600)

    async def on_number_by_design(self, number):  # qtinter: ignore[QI201]
        await asyncio.sleep(3600)


class QAuthenticator:
    """Stands for Qt's: the answer is written into it."""


kept = []  # what a fault needs for as long as it is looked at


def keep(thing):
    kept.append(thing)
    return thing


async def forever():
    await asyncio.sleep(3600)


def fault_QI104(loop):
    loop.slice_ms = 1000
    for _ in range(100):
        loop.call_soon(time.sleep, 0.002)


def calls_of(method, count):
    sender = keep(Sender())
    sender.number.connect(qtinter.asyncslot(method))
    for number in range(count):
        sender.number.emit(number)


def fault_QI201(loop):
    receiver = keep(Receiver())
    calls_of(receiver.on_number, 2)
    calls_of(receiver.on_number_by_design, 2)


def fault_QI202(loop):
    calls_of(keep(Receiver()).on_number, 10)


def fault_QI203(loop):
    receiver = Receiver()
    calls_of(receiver.on_number, 1)
    receiver.deleteLater()
    kept.append(receiver)  # its Python part


def fault_QI204(loop):
    sender = keep(Sender())

    async def on_authentication(authenticator):
        await asyncio.sleep(3600)

    sender.thing.connect(qtinter.asyncslot(on_authentication))
    sender.thing.emit(QAuthenticator())


def fault_QI206(loop):
    sender = keep(Sender())

    async def quick():
        await asyncio.sleep(0.2)

    sender.plain.connect(qtinter.asyncslot(quick, overlap="queue"))
    sender.plain.emit()
    sender.plain.emit()


def fault_QI303(loop):
    sender = keep(Sender())

    async def first():
        await qtinter.asyncsignal(sender.plain, sender=sender)

    async def too_late():
        await qtinter.asyncsignal(sender.plain, sender=sender)

    async def both():
        keep(loop.create_task(first(), name="first"))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        sender.plain.emit()
        # Of another maker than the first: that is no loop which waits again.
        loop.call_soon(lambda: keep(loop.create_task(too_late(), name="late")))

    keep(loop.create_task(both(), name="both"))


def fault_QI305(loop):
    thread = keep(QtCore.QThread())
    sender = keep(Sender())
    sender.moveToThread(thread)

    async def wait():
        await qtinter.asyncsignal(sender.plain, sender=sender)

    keep(loop.create_task(wait(), name="wait"))


def fault_QI403(loop):
    tasks = {}

    async def wait_for(other):
        await asyncio.sleep(0)
        await tasks[other]

    for name, other in (("one", "two"), ("two", "one")):
        tasks[name] = keep(loop.create_task(wait_for(other), name=name))


def fault_QI505(loop):
    thread = threading.Thread(target=loop.call_soon, args=(len, ()))
    thread.start()
    thread.join()


def nested():
    inner = QtCore.QEventLoop()
    QtCore.QTimer.singleShot(2000, inner.quit)
    (inner.exec if hasattr(inner, "exec") else inner.exec_)()


def fault_QI501(loop):
    async def open_dialog(number):
        if number < 3:
            keep(loop.create_task(open_dialog(number + 1), name=f"dialog {number}"))
        await qtinter.modal(nested)()

    keep(loop.create_task(open_dialog(1), name="dialog 0"))


def fault_QI502(loop):
    async def open_dialog():
        # For this asyncio wants a turn within, by which it is noticed.
        threading.Timer(0.05, loop.call_soon_threadsafe, (int,)).start()
        nested()

    keep(loop.create_task(open_dialog(), name="open_dialog"))


def fault_QI507(loop):
    def run():
        other = qtinter.new_event_loop()
        keep(other.create_task(forever(), name="left"))
        other.run_until_complete(asyncio.sleep(0))
        other.close()

    thread = threading.Thread(target=run)
    thread.start()
    thread.join()
