"""What the program itself says of findings; docs/lints.md is the list of them.

``[tool.qtinter.lints]`` in the pyproject.toml beside (or above) the main script::

    [tool.qtinter.lints]
    QI408 = "off"
    QI203 = "E"
    QI302 = { after_ms = 120000, severity = "I" }
    QI202 = { limit = 50 }

and ``# qtinter: ignore[QI201]`` on a line of an asyncslot: where ``asyncslot()`` is
called, a decorator, or the ``def``.
"""

from __future__ import annotations

import functools
import importlib
import linecache
import os
import re
import sys
import warnings
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

SEVERITIES = ("E", "W", "I")

_MAX_TEXT = 2047  # bytes of PROCESS.lints that the core keeps
_MAX_NUMBER = 999_999_999
_COMMENT = r"#\s*qtinter:\s*ignore(?:\[([^\]]*)\])?"
_HEAD_LINES = 30  # of decorators, until the def

# Arguments by which a slot answers: afterwards they are not looked at any more.
_WANT_ANSWER = frozenset(
    (
        "QAuthenticator",
        "QSslPreSharedKeyAuthenticator",
        "QSessionManager",
        "QSslError",
        "QWebEngineCertificateError",
        "QCloseEvent",
        "QDragEnterEvent",
        "QDropEvent",
        "QContextMenuEvent",
    )
)


# --- configuration -------------------------------------------------------------------


def configuration(lints: Mapping[str, Any] | bool | None) -> str | None:
    """The text for ``PROCESS.lints``.

    :param lints: the table; None: that of the project; False: the defaults.
    :raises ValueError: it is not as above; the message names the file and the key.
    """
    place = "lints"
    if lints is None or lints is True:
        path = _project_file()
        if path is None:
            return None
        place = f"{path}: [tool.qtinter.lints]"
        lints = _table_of(path)
    if not lints:
        return None
    lines = [_line(place, ident, value) for ident, value in sorted(lints.items())]
    text = "\n".join(lines)
    if len(text) > _MAX_TEXT:
        raise ValueError(f"{place} is too long")
    return text


def _project_file() -> str | None:
    """The nearest pyproject.toml from the main script's folder upwards."""
    script = getattr(sys.modules.get("__main__"), "__file__", None)
    folder = os.path.dirname(os.path.abspath(script)) if script else os.getcwd()
    while True:
        path = os.path.join(folder, "pyproject.toml")
        if os.path.isfile(path):
            return path
        parent = os.path.dirname(folder)
        if parent == folder:
            return None
        folder = parent


def _table_of(path: str) -> Mapping[str, Any]:
    try:
        with open(path, "rb") as file:
            contents = file.read()
    except OSError:
        return {}  # a file that cannot be read is nobody's wish
    if b"tool.qtinter" not in contents:
        return {}
    for name in ("tomllib", "tomli"):
        try:
            toml = importlib.import_module(name)
        except ImportError:
            continue
        try:
            tool = toml.loads(contents.decode()).get("tool", {})
        except ValueError as exc:  # of both modules, and of decode()
            raise ValueError(f"{path}: {exc}") from None
        table = tool.get("qtinter", {}).get("lints", {})
        if not isinstance(table, dict):
            raise ValueError(f"{path}: tool.qtinter.lints must be a table")
        return table
    warnings.warn(
        f"{path}: [tool.qtinter] is not read: that needs Python 3.11 or the package "
        "tomli (pip install 'qtinter[inspect]')",
        RuntimeWarning,
        stacklevel=4,
    )
    return {}


def _line(place: str, ident: str, value: Any) -> str:
    from ._tables import LINTS  # not before something is said: it takes milliseconds

    if ident not in LINTS:
        raise ValueError(f"{place}: there is no finding {ident!r}; see docs/lints.md")
    _, after, limit, _ = LINTS[ident]
    if isinstance(value, str):
        value = {"off": True} if value == "off" else {"severity": value}
    if not isinstance(value, dict):
        raise ValueError(f'{place}: {ident} must be "off", a severity, or a table')
    words = [ident]
    for key, given in value.items():
        if key == "off" and isinstance(given, bool):
            words += ["off"] if given else []
        elif key == "severity" and given in SEVERITIES:
            words.append(f"severity={given}")
        elif (key, after >= 0) == ("after_ms", True) or (key, limit >= 0) == (
            "limit",
            True,
        ):
            if type(given) is not int or not 0 <= given <= _MAX_NUMBER:
                raise ValueError(
                    f"{place}: {ident}.{key} must be an integer from 0 to {_MAX_NUMBER}"
                )
            words.append(f"{key}={given}")
        elif key in ("after_ms", "limit"):
            raise ValueError(f"{place}: {ident} has no {key}; see docs/lints.md")
        else:
            raise ValueError(
                f"{place}: {ident}.{key} = {given!r}: there are off = true, "
                "severity = E, W or I, after_ms and limit"
            )
    return " ".join(words)


# --- asyncslots ----------------------------------------------------------------------


def ignored(function: Any, made_at: tuple[str, int] | None) -> str:
    """What an asyncslot's lines say to ignore: "QI201,QI203", "*" for all, or ""."""
    code = getattr(function, "__code__", None)
    defined_at = None if code is None else (code.co_filename, code.co_firstlineno)
    return _ignored_at(made_at, defined_at)


@functools.lru_cache(maxsize=1024)
def _ignored_at(
    made_at: tuple[str, int] | None, defined_at: tuple[str, int] | None
) -> str:
    found: list[str] = []
    for line in _lines_of(made_at, defined_at):
        match = re.search(_COMMENT, line)
        if match is not None:
            if match[1] is None:
                return "*"
            found += [word.strip() for word in match[1].split(",")]
    if not found:
        return ""
    from ._tables import LINTS

    return ",".join(sorted({ident for ident in found if ident in LINTS}))


def _lines_of(
    made_at: tuple[str, int] | None, defined_at: tuple[str, int] | None
) -> list[str]:
    lines = [] if made_at is None else [linecache.getline(*made_at)]
    if defined_at is not None:
        filename, first = defined_at
        for number in range(first, first + _HEAD_LINES):
            line = linecache.getline(filename, number)
            lines.append(line)
            if not line or line.lstrip().startswith(("def ", "async def ")):
                break
    return lines


def class_that_wants_answer(args: tuple[Any, ...]) -> str:
    """Name of the class of an argument whose answer is wanted within the emission."""
    for arg in args:
        if type(arg) is list and arg:
            arg = arg[0]
        if type(arg).__name__ in _WANT_ANSWER:
            return type(arg).__name__
    return ""
