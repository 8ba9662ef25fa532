"""asyncslot together with Slot and pyqtSlot."""

import asyncio

from qtinter import asyncslot

from .driving import settle


class Recorder:
    """A plain receiver."""

    def __init__(self):
        self.log = []

    async def method(self, *args):
        self.log.append(args)
        await asyncio.sleep(0)
        self.log.append("resumed")
        return args

    @classmethod
    async def class_method(cls, log):
        log.append(cls)

    @staticmethod
    async def static_method(log):
        log.append("static")


# --- Slot and pyqtSlot ---------------------------------------------------------------


def test_slot_decoration_in_any_order(run, qt):
    """S21: the meta-object of the receiver has the slots."""
    Slot = qt.Slot

    class Receiver(qt.QtCore.QObject):
        @asyncslot
        @Slot(int)
        async def inner(self, x):
            log.append(("inner", x))

        @Slot(int)
        @asyncslot
        async def outer(self, x):
            log.append(("outer", x))

        @Slot(int)
        @asyncslot
        @Slot(str)
        async def both(self, x):
            log.append(("both", x))

    class Source(qt.QtCore.QObject):
        number = qt.Signal(int)
        text = qt.Signal(str)

    log = []

    async def main():
        receiver, source = Receiver(), Source()
        meta = receiver.metaObject()
        names = {
            bytes(meta.method(i).methodSignature()).decode()
            for i in range(meta.methodOffset(), meta.methodCount())
        }
        assert {"inner(int)", "outer(int)", "both(int)", "both(QString)"} <= names
        source.number.connect(receiver.inner)
        source.number.connect(receiver.outer)
        source.number.connect(receiver.both)
        source.text.connect(receiver.both)
        source.number.emit(1)
        source.text.emit("x")
        await settle()
        assert log == [("inner", 1), ("outer", 1), ("both", 1), ("both", "x")]

    run(main())


def test_slot_decoration_of_a_wrapped_method(run, qt, emitter):
    """S21, S23: pyqtSlot() on the method says how many arguments are delivered."""

    class Receiver(qt.QtCore.QObject):
        @qt.Slot()
        async def method(self, x="default"):
            log.append(x)

    log = []

    async def main():
        receiver = Receiver()
        emitter.one.connect(asyncslot(receiver.method))
        emitter.one.emit(3)
        await settle()
        # PySide connects by the number of parameters instead.
        assert log == (["default"] if qt.is_pyqt else [3])

    run(main())


def test_class_and_static_methods(run, emitter):
    """S23."""

    class Decorated:
        @classmethod
        @asyncslot
        async def class_method(cls, log):
            log.append(cls)

        @staticmethod
        @asyncslot
        async def static_method(log):
            log.append("static")

    async def main():
        log = []
        slots = (
            asyncslot(Recorder.class_method),
            asyncslot(Recorder().class_method),
            asyncslot(Recorder.static_method),
            Decorated.class_method,
            Decorated.static_method,
        )
        for slot in slots:
            emitter.any.connect(slot)
        emitter.any.emit(log)
        await settle()
        assert log == [Recorder, Recorder, "static", Decorated, "static"]

    run(main())


def test_queued_connection(run_qt, emitter, qt):
    """S24."""

    async def main():
        log = []
        done = asyncio.Event()

        async def slot(x):
            log.append(x)
            done.set()

        emitter.one.connect(
            asyncslot(slot), qt.QtCore.Qt.ConnectionType.QueuedConnection
        )
        emitter.one.emit(3)
        assert log == []
        await done.wait()
        assert log == [3]

    run_qt(main())
