"""The Qt binding of this process.

``from qtinter.bindings import QtCore`` gives ``QtCore`` of the binding that the program
uses; any other name gives that module of the same binding (``QtWidgets``,
``QtNetwork``, ...), imported when it is asked for.  Only ``QtCore`` must exist.

Importing this module chooses the binding, once for the process:

1. A binding that is already imported is the one, whatever the environment says.
2. If several are imported, or none, the environment decides: ``QTINTERBINDING``
   (``PyQt5``, ``PyQt6``, ``PySide2`` or ``PySide6``, spelled like this), or, if that is
   unset or empty, ``QT_API`` as qtpy understands it (in any case).
3. Otherwise :exc:`ImportError` says what was found and how to choose.

A choice that failed is not remembered: the next import of this module tries again.
``import qtinter`` does not import this module; the parts of qtinter that meet Qt do,
when they first need it.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import sys
from typing import TYPE_CHECKING, Any

from . import _core

if TYPE_CHECKING:
    from collections.abc import Sequence

SUPPORTED = ("PyQt5", "PyQt6", "PySide2", "PySide6")

_REMEDY = (
    "Import the binding you use before qtinter needs it, or set the environment "
    "variable QTINTERBINDING to one of " + ", ".join(SUPPORTED) + "."
)


def _imported() -> list[str]:
    return [name for name in SUPPORTED if sys.modules.get(name) is not None]


def _version(name: str) -> str:
    try:
        from importlib import metadata
    except ImportError:  # Python 3.7
        return "unknown version"
    for distribution in (name, name + "-Essentials", name + "_Essentials"):
        try:
            return metadata.version(distribution)
        except metadata.PackageNotFoundError:
            continue
    return "unknown version"


def _installed() -> str:
    """Names the bindings that can be imported, with version and folder."""
    found = []
    for name in SUPPORTED:
        try:
            spec = importlib.util.find_spec(name)
        except ValueError:  # a stand-in without __spec__ is in sys.modules
            continue
        if spec is None:
            continue
        folders = spec.submodule_search_locations
        where = next(iter(folders), "") if folders is not None else ""
        found.append(f"{name} {_version(name)} ({where or spec.origin})")
    return "Installed: " + (", ".join(found) if found else "none") + "."


def _wanted() -> tuple[str, str | None]:
    """Returns the variable that speaks for a binding, and the binding it names.

    The binding is None if no variable names one.  QT_API belongs to others: a value
    that means none of the supported bindings does not count.
    """
    value = os.environ.get("QTINTERBINDING")
    if value:
        return "QTINTERBINDING", value
    value = os.environ.get("QT_API", "").lower()
    for name in SUPPORTED:
        if name.lower() == value:
            return "QT_API", name
    return "QTINTERBINDING", None


def _resolve_tie(imported: Sequence[str]) -> str:
    variable, name = _wanted()
    if name in imported:
        return str(name)
    problem = f"more than one Qt bindings are imported: {list(imported)}"
    if name is None:
        problem += ", and neither QTINTERBINDING nor QT_API names one of them"
    else:
        problem += f", and {variable} is '{name}', which is not one of them"
    raise ImportError(
        f"{problem}. Set QTINTERBINDING to the one that the program's application "
        "object comes from, or import only one of them."
    )


def _resolve_fresh() -> str:
    variable, name = _wanted()
    if name is None:
        raise ImportError(
            "no Qt binding is imported and QTINTERBINDING is not set. "
            f"{_installed()} {_REMEDY}"
        )
    if name not in SUPPORTED:
        raise ImportError(
            f"unsupported {variable} value '{name}'. It must be one of "
            f"{', '.join(SUPPORTED)}, spelled like this. {_installed()}"
        )
    try:
        importlib.import_module(name)
    except ImportError as exc:
        raise ImportError(
            f"cannot import {name}, which {variable} names: {exc}. {_installed()} "
            f"{_REMEDY}",
            name=name,
        ) from exc
    return name


def _resolve() -> str:
    imported = _imported()
    if len(imported) == 1:
        return imported[0]
    if imported:
        return _resolve_tie(imported)
    return _resolve_fresh()


binding_name: str = _resolve()
"""Name of the chosen binding, for example ``"PyQt6"``."""

QtCore: Any = importlib.import_module(binding_name + ".QtCore")

if hasattr(_core, "inspect_set_binding"):
    # Whoever looks at this program may have begun before there was one.
    _core.inspect_set_binding(binding_name, getattr(QtCore, "qVersion", str)())


def __getattr__(name: str) -> Any:
    if name.startswith("__") and name.endswith("__"):
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    if name == "_QiSlotObject":
        from ._qt import SlotObject

        return SlotObject
    return importlib.import_module(f"{binding_name}.{name}")
