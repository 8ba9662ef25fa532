"""A plugin of pytest for programs that use qtinter.

It is loaded only where it is asked for: by ``pytest -p qtinter.pytest_plugin``, or in
the topmost ``conftest.py``::

    pytest_plugins = ["qtinter.pytest_plugin"]

It gives

* the fixture :func:`qtinter_loop`, for tests that are plain functions: a loop attached
  to Qt for the length of the test;
* to pytest-asyncio (1.4 or newer), a loop factory: tests that are coroutine functions
  run on a qtinter loop;
* :func:`wait_signal`, to be imported from here, for tests that are coroutine functions.

The application object is that of a fixture ``qapp``, which pytest-qt has, or one that
exists; otherwise a ``QCoreApplication`` is made and kept until the process ends.

The package ``pytest_qtinter`` is another plugin, which is always loaded: it keeps what
loops did in tests that failed.  Neither needs the other.
"""

from __future__ import annotations

import asyncio
import contextlib
import sys
from typing import TYPE_CHECKING, Any, AsyncIterator, Callable, Iterator, Mapping

import pytest

from ._contexts import using_asyncio_from_qt
from ._policy import new_event_loop
from ._signals import signalwait

if TYPE_CHECKING:
    from ._loop import QiBaseEventLoop

__all__ = ["qtinter_loop", "wait_signal"]

_applications: list[Any] = []  # those made here, kept alive


def _application() -> Any:
    """Return the application object; make one that needs no display if there is none.

    :raises ImportError: No Qt binding could be chosen (see :mod:`qtinter.bindings`).
    """
    from .bindings import QtCore

    existing = QtCore.QCoreApplication.instance()
    if existing is not None:
        return existing
    _applications.append(QtCore.QCoreApplication(sys.argv[:1]))
    return _applications[-1]


@pytest.fixture
def qtinter_loop(request: pytest.FixtureRequest) -> Iterator[QiBaseEventLoop]:
    """A loop that is attached to Qt, and running, until the test has ended.

    It runs callbacks while the test lets Qt handle events, for instance with
    ``qtbot.waitUntil()`` of pytest-qt.  Afterwards its tasks are cancelled and awaited.

    What reaches the loop's exception handler, such as the exception of a slot, makes
    the test fail when it is over; a test that expects it sets a handler itself.

    :raises RuntimeError: (after the test) exceptions have reached the handler; the
        first is its cause.
    """
    try:
        request.getfixturevalue("qapp")
    except pytest.FixtureLookupError:
        _application()
    contexts: list[dict[str, Any]] = []
    with using_asyncio_from_qt() as loop:
        loop.set_exception_handler(lambda loop, context: contexts.append(context))
        yield loop
    if contexts:
        messages = "\n".join(context["message"] for context in contexts)
        first = contexts[0].get("exception")
        contexts.clear()
        raise RuntimeError(
            f"the exception handler of qtinter_loop was called:\n{messages}"
        ) from first


@pytest.hookimpl(optionalhook=True)
def pytest_asyncio_loop_factories() -> Mapping[str, Callable[[], Any]]:
    """Have pytest-asyncio run coroutine functions on a qtinter loop (nested mode)."""
    return {"qtinter": _make_loop}


def _make_loop() -> QiBaseEventLoop:
    _application()
    return new_event_loop()


@contextlib.asynccontextmanager
async def wait_signal(
    signal: Any, *, timeout: float | None = 5.0, sender: Any = None
) -> AsyncIterator[signalwait]:
    """Do something, and then wait for the signal that it makes be emitted.

    ::

        async with wait_signal(window.saved) as wait:
            qtbot.mouseClick(window.button, Qt.MouseButton.LeftButton)
        assert await wait == "file.txt"

    The signal is connected before the block runs.  The end of the block waits.

    :param signal: As for :func:`qtinter.asyncsignal`.
    :param timeout: Seconds to wait after the block; None waits for ever.
    :param sender: As for :func:`qtinter.asyncsignal`.
    :returns: A :class:`qtinter.signalwait`, which can be awaited for the arguments,
        also after the block.
    :raises asyncio.TimeoutError: The signal was not emitted in time.
    :raises SenderDestroyedError: The sender was destroyed before it emitted.
    """
    async with signalwait(signal, sender=sender) as wait:
        yield wait
        await asyncio.wait_for(wait, timeout)
