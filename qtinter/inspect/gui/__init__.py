"""The window ``qtinter-inspect gui``: Qt Widgets of the user's binding, on our loop.

Importing this package imports no Qt; :func:`run` and :func:`run_file` do.
"""

from __future__ import annotations

import gc
import os
import sys
from typing import Any, Callable

from ..errors import InspectError

__all__ = ["run", "run_file"]


def run(options: Any) -> int:
    """Show the live applications until the window is closed; returns the exit code.

    :param options: has ``socket`` (the daemon's, None: the usual one), ``pid`` (which
        application to show first, or None) and ``filter`` (a text, or None).
    :raises ImportError: there is neither PyQt6 nor PySide6.
    :raises InspectError: there is no display.
    """
    from ..remote import address_of

    address = address_of(options)
    return _show(lambda window: window.start_live(address, options.pid, options.filter))


def run_file(path: str, at: float | None = None) -> int:
    """Show a recording or the segment of an application until the window is closed.

    :param path: a ``.qtrace`` or ``.qiseg`` file.
    :param at: seconds since the beginning of a recording, at which its state is shown.
    :raises ImportError: there is neither PyQt6 nor PySide6.
    :raises InspectError: there is no display.
    :raises OSError: the file cannot be opened.
    :raises ValueError: it is neither, or is damaged.
    """

    def begin(window: Any) -> None:
        window.open(path, at)
        window.start()

    return _show(begin)


def _show(begin: Callable[[Any], None]) -> int:
    import qtinter

    if sys.platform.startswith("linux") and not any(
        os.environ.get(name)
        for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM")
    ):
        raise InspectError(
            "there is no display for a window; qtinter-inspect top works in a terminal"
        )
    from .qt import QtWidgets

    application = QtWidgets.QApplication.instance() or QtWidgets.QApplication(
        ["qtinter-inspect"]
    )
    application.setApplicationName("qtinter-inspect")
    # A hundred thousand rows are no garbage; and a collection that has many young ones
    # to look at is a frame that is missed.
    gc.set_threshold(5_000, 10, 100)
    # PyQt ends the program when a slot raises and nobody has replaced the hook.
    sys.excepthook = lambda *exc: sys.__excepthook__(*exc)
    with qtinter.using_asyncio_from_qt():
        from .window import Window

        window = Window()
        begin(window)
        window.show()
        return int(application.exec())
