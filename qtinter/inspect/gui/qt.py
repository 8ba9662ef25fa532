"""Qt, of the binding that the user has: what differs between bindings is here alone.

PyQt6 or PySide6: the one that is imported, or that QTINTERBINDING or QT_API names, or
that is installed.
"""

from __future__ import annotations

import importlib.util
import os
import sys
from typing import Any

BINDINGS = ("PyQt6", "PySide6")


def _choose() -> None:
    """Names an installed binding where nothing else does."""
    if os.environ.get("QTINTERBINDING") or os.environ.get("QT_API"):
        return
    if any(name in sys.modules for name in (*BINDINGS, "PyQt5", "PySide2")):
        return
    for name in BINDINGS:
        if importlib.util.find_spec(name) is not None:
            os.environ["QTINTERBINDING"] = name
            return


_choose()

from ... import bindings  # noqa: E402 - after the choice

if bindings.binding_name not in BINDINGS:
    raise ImportError(
        f"the window needs PyQt6 or PySide6, not {bindings.binding_name}: set "
        "QTINTERBINDING to the one that is installed, or pip install PyQt6"
    )

QtCore: Any = bindings.QtCore
QtGui: Any = bindings.QtGui
QtWidgets: Any = bindings.QtWidgets
Qt: Any = QtCore.Qt
Signal: Any = getattr(QtCore, "pyqtSignal", None) or QtCore.Signal


def svg_generator() -> Any:
    """The class QSvgGenerator.

    :raises ImportError: this installation has no QtSvg; the message says what to do.
    """
    try:
        return bindings.QtSvg.QSvgGenerator
    except ImportError as exc:
        raise ImportError(
            f"{bindings.binding_name} has no QtSvg here; export PNG, or install the "
            "package that brings it (Debian: python3-pyqt6.qtsvg)"
        ) from exc
