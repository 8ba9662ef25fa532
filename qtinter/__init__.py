"""asyncio inside Qt for Python.

General layout: the loop is ``_loop.py`` over the C core ``_core``; what puts it in
place is ``_contexts.py``; slots and signals are ``_slots.py`` and ``_signals.py``;
tasks that start at once ``_tasks.py``; modal dialogs ``_modal.py``.  ``bindings.py``
finds PyQt6, PySide6, PyQt5 or PySide2 when Qt is first needed; importing qtinter
imports none.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any

from ._contexts import QiRunner, run, using_asyncio_from_qt, using_qt_from_asyncio
from ._loop import (
    QiBaseEventLoop,
    QiBaseProactorEventLoop,
    QiBaseSelectorEventLoop,
    QiLoopMode,
    QiSelectorEventLoop,
)
from ._modal import modal
from ._policy import QiDefaultEventLoop, default_loop_factory, new_event_loop
from ._signals import (
    SenderDestroyedError,
    asyncsignal,
    asyncsignalstream,
    multisignal,
    signalwait,
)
from ._slots import asyncslot
from ._tasks import run_task
from ._version import __version__

if TYPE_CHECKING:
    QiDefaultEventLoopPolicy: Any
    QiSelectorEventLoopPolicy: Any

__all__ = [
    "QiBaseEventLoop",
    "QiBaseProactorEventLoop",
    "QiBaseSelectorEventLoop",
    "QiDefaultEventLoop",
    "QiDefaultEventLoopPolicy",
    "QiLoopMode",
    "QiRunner",
    "QiSelectorEventLoop",
    "QiSelectorEventLoopPolicy",
    "SenderDestroyedError",
    "__version__",
    "asyncsignal",
    "asyncsignalstream",
    "asyncslot",
    "default_loop_factory",
    "modal",
    "multisignal",
    "new_event_loop",
    "run",
    "run_task",
    "signalwait",
    "using_asyncio_from_qt",
    "using_qt_from_asyncio",
]


_POLICIES: dict[str, Any] = {"QiSelectorEventLoopPolicy": QiSelectorEventLoop}

if sys.platform == "win32":
    from ._windows import QiProactorEventLoop

    __all__ += ["QiProactorEventLoop", "QiProactorEventLoopPolicy"]
    _POLICIES["QiProactorEventLoopPolicy"] = QiProactorEventLoop


def __getattr__(name: str) -> Any:
    if name == "inspect":
        import importlib

        return importlib.import_module(".inspect", __name__)
    if name == "QiDefaultEventLoopPolicy":
        # Under its own name too: whoever subclasses or compares sees one class.
        value = __getattr__(f"{QiDefaultEventLoop.__name__}Policy")
    elif name in _POLICIES:
        if name in globals():  # asked for under the other name before
            return globals()[name]
        from ._policy import make_policy_class

        value = make_policy_class(name, _POLICIES[name])
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


if os.environ.get("QTINTER_TRACE_DIR"):
    from .trace import _child

    _child.begin()
elif os.environ.get("QTINTER_INSPECT"):
    from .inspect import enable_from_environment

    enable_from_environment()

if "pytest_qtinter" in sys.modules:
    sys.modules["pytest_qtinter"].qtinter_imported()
