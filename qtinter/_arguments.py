"""Functions that take whatever a signal carries, and tell PySide how much that is.

Qt has a signal such as ``clicked(bool checked = false)`` in two variants, with and
without the argument.  PySide chooses by the code of the connected function: it is given
the variant with as many arguments as the function can take, but ``*args`` counts for
nothing, and a callable without code of its own (a partial) is given none.
"""

from __future__ import annotations

from typing import Any, Callable

__all__ = ("taking_all",)

# Stands for an argument that was not given.
_N: Any = object()


def taking_all(call: Callable[[tuple[Any, ...]], Any]) -> Callable[..., Any]:
    """Returns a function that gives its arguments to ``call()`` as one tuple.

    It takes up to 12 positional arguments, more than any signal of Qt carries.  Defined
    in a class it is a method, and the object is the first of them.
    """

    def slot(
        _0: Any = _N,
        _1: Any = _N,
        _2: Any = _N,
        _3: Any = _N,
        _4: Any = _N,
        _5: Any = _N,
        _6: Any = _N,
        _7: Any = _N,
        _8: Any = _N,
        _9: Any = _N,
        _10: Any = _N,
        _11: Any = _N,
    ) -> Any:
        if _0 is _N:
            return call(())
        if _1 is _N:
            return call((_0,))
        if _2 is _N:
            return call((_0, _1))
        if _3 is _N:
            return call((_0, _1, _2))
        args = (_0, _1, _2, _3, _4, _5, _6, _7, _8, _9, _10, _11)
        return call(tuple([arg for arg in args if arg is not _N]))

    return slot
