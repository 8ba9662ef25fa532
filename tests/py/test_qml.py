"""Slots that QML calls (pain 53)."""

import asyncio
import importlib

import pytest

import qtinter
from qtinter import asyncsignal, asyncslot

# Qt 5 demands the version of a module; Qt 6 takes it.
COMPONENT = b"""
import QtQml 2.15

QtObject {
    signal asked(int x)
    property int counted: 0
    property var returned: "nothing"

    function callPlain() { backend.plain() }
    function callTyped() { backend.typed(20) }
    function callNamed() { backend.renamed("text") }
    function callResult() { returned = typeof backend.withResult() }
    onAsked: (x) => backend.typed(x)
    property Connections connections: Connections {
        target: backend
        function onDone(x) { counted = x }
    }
}
"""


@pytest.fixture
def QtQml(binding):
    try:
        return importlib.import_module(binding + ".QtQml")
    except ImportError as exc:
        pytest.skip(f"{binding} was installed without QtQml: {exc}")


@pytest.fixture
def backend_class(qt):
    class Backend(qt.QtCore.QObject):
        done = qt.Signal(int)

        def __init__(self):
            super().__init__()
            self.log = []

        @qt.Slot()
        @asyncslot
        async def plain(self):
            await asyncio.sleep(0)
            self.log.append(("plain", asyncio.current_task() is not None))

        @asyncslot
        @qt.Slot(int)
        async def typed(self, x):
            await asyncio.sleep(0)
            self.log.append(("typed", x))
            self.done.emit(x + 1)

        @qt.Slot(str, name="renamed")
        @asyncslot
        async def python_name(self, x):
            self.log.append(("renamed", x))

        if not qt.is_pyqt:
            # PySide6 6.11 looks a slot up by its name in QML, and crashes without it.
            renamed = python_name

        @qt.Slot(result="QVariant")
        @asyncslot
        async def withResult(self):  # the name in QML
            self.log.append("result")

    return Backend


@pytest.fixture
def world(app, qt, QtQml, backend_class):
    """(backend, root object of the component), in an engine of their own."""
    engine, backend = QtQml.QQmlEngine(), backend_class()
    engine.rootContext().setContextProperty("backend", backend)
    component = QtQml.QQmlComponent(engine)
    component.setData(COMPONENT, qt.QtCore.QUrl())
    root = component.create()
    assert root is not None, component.errorString()
    yield backend, root
    del root
    qt.delete(component)
    qt.delete(engine)
    qt.delete(backend)


def call(qt, root, name):
    # PyQt raises if there is no such method, and gives the result otherwise.
    assert qt.QtCore.QMetaObject.invokeMethod(root, name) is not False


def test_qml_calls_slots(run_qt, qt, world):
    """S22, S21: any order of decorators; result= and name= go to the Slot."""
    backend, root = world

    async def main():
        call(qt, root, "callPlain")
        call(qt, root, "callNamed")
        assert backend.log == [("renamed", "text")]
        async with qtinter.signalwait(backend.done) as wait:
            call(qt, root, "callTyped")
            assert await wait == 21
        assert backend.log == [("renamed", "text"), ("plain", True), ("typed", 20)]
        assert root.property("counted") == 21

    run_qt(main())


def test_qml_signal_handlers_call_slots(run_qt, qt, world):
    """A signal of QML, emitted from Python, handled in QML, which calls the slot."""
    backend, root = world

    async def main():
        asyncio.get_running_loop().call_soon(root.asked.emit, 5)
        assert await asyncsignal(backend.done) == 6
        assert backend.log == [("typed", 5)]

    run_qt(main())


def test_a_declared_result_is_the_task(run_qt, qt, world):
    """QML gets an opaque object at once; what the work gives, a signal brings."""
    backend, root = world

    async def main():
        call(qt, root, "callResult")
        assert backend.log == ["result"]
        assert root.property("returned") == "object"

    run_qt(main())
