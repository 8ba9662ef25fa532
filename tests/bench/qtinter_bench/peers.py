"""The event loops compared, and how each one runs a coroutine to its end.

A peer is prepared (its modules imported, the QApplication made) before a measurement
begins, and then runs the same coroutine function as every other peer. This module
imports no event loop and no Qt until a peer is prepared.
"""

from __future__ import annotations

import asyncio
import fnmatch
import importlib
import os
import sys
from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Dict, List, Optional

from .registry import Facilities

Main = Callable[[], Awaitable[Any]]
BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")


class NotInstalled(Exception):
    """A package the peer needs is absent; the message names it."""


def _import(name: str) -> Any:
    """Import, telling an absent distribution from one that fails to import."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name is not None and error.name == name.partition(".")[0]:
            raise NotInstalled(error.name) from None
        raise


@dataclass
class Prepared:
    """A peer ready to run: ``run(main)`` makes the loop, runs main(), cleans up."""

    run: Callable[[Main], Any]
    facilities: Facilities = field(default_factory=Facilities)
    versions: Dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Peer:
    """One column of the table; ``env`` are variables of its processes."""

    name: str
    prepare: Callable[[], Prepared]
    env: Dict[str, str] = field(default_factory=dict)

    @property
    def is_ours(self) -> bool:
        return self.is_attached or self.name.startswith("nested-")

    @property
    def is_attached(self) -> bool:
        return self.name.startswith("attached-")


def _run_on(loop: asyncio.AbstractEventLoop, main: Main) -> Any:
    """Run main() on a new loop, cancel what is left, close the loop."""
    asyncio.set_event_loop(loop)
    try:
        return loop.run_until_complete(main())
    finally:
        left = asyncio.all_tasks(loop)
        for task in left:
            task.cancel()
        if left:
            loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        loop.run_until_complete(loop.shutdown_asyncgens())
        asyncio.set_event_loop(None)
        loop.close()


def _prepare_asyncio() -> Prepared:
    # The class by its name: new_event_loop() would ask the policy for it.
    return Prepared(lambda main: _run_on(asyncio.SelectorEventLoop(), main))


def _prepare_uvloop() -> Prepared:
    uvloop = _import("uvloop")
    return Prepared(
        lambda main: _run_on(uvloop.new_event_loop(), main),
        versions={"uvloop": uvloop.__version__},
    )


@dataclass
class _Qt:
    """A binding with its application object."""

    binding: str
    QtCore: Any
    application: Any
    versions: Dict[str, str]

    @property
    def signal(self) -> Any:
        core = self.QtCore
        return core.pyqtSignal if hasattr(core, "pyqtSignal") else core.Signal


def _prepare_qt(binding: str) -> _Qt:
    """Import the binding; make a QApplication, as a desktop program has one.

    Its event dispatcher differs from that of a QCoreApplication.
    """
    package = _import(binding)
    core = importlib.import_module(f"{binding}.QtCore")
    widgets = importlib.import_module(f"{binding}.QtWidgets")
    application = widgets.QApplication.instance() or widgets.QApplication(sys.argv[:1])
    version = getattr(core, "PYQT_VERSION_STR", None) or package.__version__
    versions = {binding: version, f"Qt of {binding}": core.qVersion()}
    return _Qt(binding, core, application, versions)


def _prepare_qasync(binding: str) -> Prepared:
    qt = _prepare_qt(binding)  # before qasync, which takes the binding it finds
    qasync = _import("qasync")

    def wait_signal(signal: Any) -> Awaitable[Any]:
        """A future by hand: qasync has nothing of the kind."""
        future = asyncio.get_running_loop().create_future()

        def emitted(*arguments: Any) -> None:
            signal.disconnect(emitted)
            future.set_result(arguments)

        signal.connect(emitted)
        return future

    # The arguments of the decorator are the Qt signature of the slot: none.
    return Prepared(
        lambda main: _run_on(qasync.QEventLoop(qt.application), main),
        Facilities(qt.QtCore, qt.signal, qasync.asyncSlot(), wait_signal),
        {**qt.versions, "qasync": _distribution_version("qasync")},
    )


def run_attached(qtinter: Any, application: Any, main: Main) -> Any:
    """Run main() inside ``app.exec()``, which ends when main() has ended."""
    with qtinter.using_asyncio_from_qt() as loop:
        task = loop.create_task(main())
        task.add_done_callback(lambda _task: application.quit())
        # PySide2 has exec_() only.
        (application.exec if hasattr(application, "exec") else application.exec_)()
    return task.result()


def _prepare_qtinter(binding: str, *, attached: bool) -> Prepared:
    qt = _prepare_qt(binding)
    qtinter = _import("qtinter")

    def run(main: Main) -> Any:
        if attached:
            return run_attached(qtinter, qt.application, main)
        return qtinter.run(main())

    return Prepared(
        run,
        Facilities(qt.QtCore, qt.signal, qtinter.asyncslot, qtinter.asyncsignal),
        {**qt.versions, "qtinter": qtinter.__version__},
    )


def _distribution_version(name: str) -> str:
    from importlib import metadata

    return metadata.version(name)


def _qtinter_peer(mode: str, binding: str, host: Optional[str]) -> Peer:
    env = {"QTINTERBINDING": binding}
    if host is not None:
        env["QTINTER_HOST"] = host
    return Peer(
        "-".join(filter(None, (mode, binding.lower(), host))),
        lambda: _prepare_qtinter(binding, attached=mode == "attached"),
        env,
    )


def _qasync_peer(binding: str) -> Peer:
    return Peer(
        f"qasync-{binding.lower()}",
        lambda: _prepare_qasync(binding),
        {"QT_API": binding.lower()},
    )


def _all_peers() -> Dict[str, Peer]:
    peers = [
        Peer("asyncio", _prepare_asyncio),
        Peer("uvloop", _prepare_uvloop),
        *(_qasync_peer(binding) for binding in BINDINGS),
    ]
    for host in (None, "native", "binding"):
        for mode in ("attached", "nested"):
            peers += [_qtinter_peer(mode, binding, host) for binding in BINDINGS]
    return {peer.name: peer for peer in peers}


PEERS = _all_peers()
"""By name. Without a suffix ours uses the host it chooses by itself."""

DEFAULT_PEERS = [
    name
    for name in PEERS
    if not name.endswith(("-native", "-binding", "-pyqt5", "-pyside2"))
]
"""With the hosts they choose by themselves, on the bindings of the current Qt."""


def choose(patterns: str) -> List[Peer]:
    """Peers whose names match a comma-separated list of names or wildcards.

    Raises ValueError for a pattern that matches none.
    """
    chosen: Dict[str, Peer] = {}
    for pattern in filter(None, (part.strip() for part in patterns.split(","))):
        found = fnmatch.filter(PEERS, pattern)
        if not found:
            raise ValueError(
                f"no peer is called {pattern!r}; known: {', '.join(PEERS)}"
            )
        chosen.update((name, PEERS[name]) for name in found)
    if not chosen:
        raise ValueError("no peers chosen")
    return list(chosen.values())


def child_environment(peer: Peer, extra: Dict[str, str]) -> Dict[str, str]:
    """Environment of one measurement: no display, and only this peer's choices."""
    env = dict(os.environ)
    for name in ("QTINTERBINDING", "QTINTER_HOST", "QT_API", "QT_NO_GLIB"):
        env.pop(name, None)
    env["QT_QPA_PLATFORM"] = "offscreen"
    env.update(peer.env)
    env.update(extra)
    return env
