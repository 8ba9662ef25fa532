"""S8, S10, G2: signals whose arguments have defaults, as clicked(bool = false)."""

import asyncio
import functools
import importlib

import pytest

from qtinter import (
    asyncsignal,
    asyncsignalstream,
    asyncslot,
    multisignal,
    signalwait,
)


@pytest.fixture
def button(app, binding):
    """A checkable button: click() emits clicked(True), then clicked(False), ..."""
    package = importlib.import_module(binding)
    version = tuple(map(int, getattr(package, "__version__", "9.9").split(".")[:2]))
    if binding == "PySide2" or (binding == "PySide6" and version < (6, 7)):
        pytest.skip(
            f"{binding} {package.__version__} gives such arguments only to functions "
            "with exactly as many parameters"
        )
    widgets = pytest.importorskip(
        f"{binding}.QtWidgets", reason=f"{binding} was installed without QtWidgets"
    )
    button = widgets.QPushButton()
    button.setCheckable(True)
    return button


async def needs(checked):
    return (checked,)


async def fills(checked=None):
    return (checked,)


async def all_of_them(*args):
    return args


async def nothing():
    return ()


async def more(checked, other=5):
    return (checked, other)


@pytest.mark.parametrize(
    ("fn", "expected"),
    [
        (needs, (True,)),
        (fills, (True,)),
        (all_of_them, (True,)),
        (nothing, ()),
        (more, (True, 5)),
        (functools.partial(needs), (True,)),
        (lambda checked: needs(checked), (True,)),
    ],
)
def test_a_function_gets_the_argument(run_qt, button, fn, expected):
    async def main():
        results = []

        async def collect(coro):
            results.append(await coro)

        slot = functools.wraps(fn)(lambda *args: collect(fn(*args)))
        button.clicked.connect(asyncslot(slot))
        button.click()
        assert results == [expected]

    run_qt(main())


def test_a_method_gets_the_argument(run_qt, button, qt):
    log = []

    class Plain:
        async def needs(self, checked):
            log.append(checked)

        async def all_of_them(self, *args):
            log.append(args)

        @asyncslot
        async def fills(self, checked=None):
            log.append(checked)

    class Receiver(Plain, qt.QtCore.QObject):
        def __init__(self):
            qt.QtCore.QObject.__init__(self)

    async def main():
        for receiver in Plain(), Receiver():
            links = [
                asyncslot(receiver.needs),
                asyncslot(receiver.all_of_them),
                receiver.fills,
            ]
            for slot in links:
                button.clicked.connect(slot)
            button.click()
            assert log == [
                button.isChecked(),
                (button.isChecked(),),
                button.isChecked(),
            ]
            log.clear()
            for slot in links:
                button.clicked.disconnect(slot)

    run_qt(main())


def test_a_wait_gives_the_argument(run_qt, button):
    async def main():
        wait = asyncio.ensure_future(asyncsignal(button.clicked))
        await asyncio.sleep(0)
        button.click()
        assert await wait is True
        async with signalwait(button.clicked) as wait:
            button.click()
            assert await wait is False
        async with asyncsignalstream(button.clicked) as clicks:
            button.click()
            button.click()
            assert [await clicks.__anext__() for _ in range(2)] == [True, False]
        both = multisignal({button.clicked: "button"})
        wait = asyncio.ensure_future(asyncsignal(both))
        await asyncio.sleep(0)
        button.click()
        assert await wait == ("button", (True,))

    run_qt(main())


def test_a_multisignal_passes_the_argument(app, button):
    got = []

    class Receiver:
        def method(self, value, args):
            got.append((value, args))

    receiver = Receiver()
    signal = multisignal({button.clicked: "button"})
    signal.connect(receiver.method)
    signal.connect(lambda value, args: got.append((value, args)))
    button.click()
    assert got == [("button", (True,))] * 2


def test_arguments_that_are_none_or_compare_oddly_arrive(run, emitter):
    class Odd:
        def __eq__(self, other):
            raise ZeroDivisionError

        __hash__ = None

    async def main():
        got = []

        async def collect(*args):
            got.append(args)

        odd = Odd()
        asyncslot(collect)(None, odd, odd, None)
        assert len(got[0]) == 4
        assert got[0][1] is odd
        asyncslot(collect)(*range(12))
        assert got[1] == tuple(range(12))

    run(main())
