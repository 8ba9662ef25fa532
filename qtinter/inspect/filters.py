"""The filter language of the command, the screens, traces and tests.

::

    state==waiting and wait.kind==signal and age>5s and code~"save" and not lint

A filter is a condition on a mapping: a row as :meth:`Process.tasks()
<qtinter.inspect.model.Process.tasks>`, ``slots()`` and ``waits()`` give it, or what a
trace knows of a task.

==========================  =========================================================
``name``                    the field is there and neither zero, false nor empty
``name == value``, ``!=``   equal: a number, a duration, a word, a text in quotes
``name < value``, ``<= > >=``  numbers and durations
``name ~ "pattern"``, ``!~``  the regular expression matches somewhere in the text
``name in (a, b)``, ``not in``  one of these
``and or not ( )``          ``not`` binds most closely, then ``and``, then ``or``
==========================  =========================================================

Names may be nested (``code.file``); ``wait`` is short for ``waits_for``.  Durations are
``5s 200ms 3us 10ns 2min 1h``, a number without a unit is in seconds.  The words
``none true false`` are what they say, other words are texts.  A field that is a list
fulfils a condition if one of its elements does; a field that is not there is ``none``,
and no comparison but ``!=``, ``!~`` and ``not in`` holds for it.
"""

from __future__ import annotations

import difflib
import operator
import re
from typing import Any, Callable, Iterable, Mapping, NoReturn

__all__ = ["FilterError", "compile", "describe", "duration"]

Condition = Callable[[Mapping[str, Any]], bool]

_UNITS = {
    "ns": 1e-9,
    "us": 1e-6,
    "µs": 1e-6,
    "ms": 1e-3,
    "s": 1.0,
    "min": 60.0,
    "m": 60.0,
    "h": 3600.0,
}
_NUMBER = re.compile(r"([+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?)\s?([a-zµ]*)")
_TOKEN = re.compile(
    r"""
      (?P<space>\s+)
    | (?P<number>[+-]?\d+(?:\.\d*)?(?:[eE][+-]?\d+)?(?:ns|us|µs|ms|s|min|m|h)?(?![\w.]))
    | (?P<text>"(?:[^"\\]|\\.)*"|'(?:[^'\\]|\\.)*')
    | (?P<op>==|!=|<=|>=|!~|<|>|~)
    | (?P<mark>[()\[\],])
    | (?P<word>[^\W\d][\w.\-]*)
    """,
    re.VERBOSE,
)
_NAME = re.compile(r"[^\W\d]\w*(?:\.\w+)*\Z")
_ORDERS = {"<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge}
_CONSTANTS = {"none": None, "true": True, "false": False}
_KEYWORDS = ("and", "or", "not", "in")
_SHORT = {"wait": "waits_for"}
_CLOSING = {"(": ")", "[": "]"}
_DEEPEST = 50
_INSTEAD = {
    "=": "use == to compare",
    "&": "use 'and'",
    "|": "use 'or'",
    "!": "use 'not'",
    '"': "the closing quote is missing",
    "'": "the closing quote is missing",
}


class FilterError(ValueError):
    """A filter that cannot be understood.

    :ivar column: where in its text, from 1.
    """

    def __init__(self, text: str, column: int, problem: str) -> None:
        super().__init__(f"filter {text!r}, column {column}: {problem}")
        self.column = column


def compile(  # noqa: A001 - as re.compile
    text: str, fields: Iterable[str] | None = None
) -> Condition:
    """Return the condition that a filter states; an empty one holds always.

    :param text: a filter, see above.
    :param fields: names that exist (without what follows a dot); others are errors.
        By default any name is accepted.
    :raises ValueError: it is no filter: a :class:`FilterError`, which says where and
        what to write instead.
    """
    return _Parser(text, fields).parse()


def duration(text: str) -> float:
    """Return the seconds that ``200ms`` and the like stand for.

    :raises ValueError: it is no duration.
    """
    match = _NUMBER.fullmatch(text.strip())
    scale = _UNITS.get(match.group(2) or "s") if match else None
    if match is None or scale is None:
        raise ValueError(f"{text!r} is no duration; write 5s, 200ms or 3us")
    return float(match.group(1)) * scale


def describe(value: Any) -> str:
    """The text that a filter compares: of a code location, ``name (file:line)``."""
    if isinstance(value, Mapping):
        if "line" in value:
            return f"{value['name']} ({value['file']}:{value['line']})"
        return str(value.get("text", value.get("name", "")))
    return "" if value is None else str(value)


class _Parser:
    """Recursive descent: each method reads one rule and returns its condition."""

    def __init__(self, text: str, fields: Iterable[str] | None) -> None:
        self._text = text
        self._fields = None if fields is None else frozenset(fields)
        self._tokens = self._split()
        self._next = 0
        self._depth = 0

    def _split(self) -> list[tuple[str, str, int]]:
        found, place = [], 0
        while place < len(self._text):
            match = _TOKEN.match(self._text, place)
            if match is None:
                sign = self._text[place]
                self._fail(place, _INSTEAD.get(sign, f"{sign!r}: put it in quotes"))
            if match.lastgroup != "space":
                found.append((str(match.lastgroup), match.group(), place))
            place = match.end()
        return [*found, ("end", "", len(self._text))]

    def _fail(self, place: int, problem: str) -> NoReturn:
        raise FilterError(self._text, place + 1, problem)

    def _take(self, *texts: str) -> bool:
        """Reads the next token if it is one of these words or marks."""
        kind, text, _ = self._tokens[self._next]
        if kind in ("word", "mark") and text in texts:
            self._next += 1
            return True
        return False

    def parse(self) -> Condition:
        if self._tokens[0][0] == "end":
            return lambda row: True
        condition = self._or()
        kind, text, place = self._tokens[self._next]
        if kind != "end":
            self._fail(place, f"expected 'and', 'or' or the end, not {text!r}")
        return condition

    def _or(self) -> Condition:
        parts = [self._and()]
        while self._take("or"):
            parts.append(self._and())
        if len(parts) == 1:
            return parts[0]
        return lambda row: any(part(row) for part in parts)

    def _and(self) -> Condition:
        parts = [self._not()]
        while self._take("and"):
            parts.append(self._not())
        if len(parts) == 1:
            return parts[0]
        return lambda row: all(part(row) for part in parts)

    def _not(self) -> Condition:
        place = self._tokens[self._next][2]
        if not self._take("not", "("):
            return self._comparison()
        self._depth += 1
        if self._depth > _DEEPEST:
            self._fail(place, f"nested more than {_DEEPEST} deep")
        if self._text[place] == "(":
            condition = self._or()
            end = self._tokens[self._next]
            if not self._take(")"):
                self._fail(end[2], f"the ')' for column {place + 1} is missing")
        else:
            inner = self._not()

            def condition(row: Mapping[str, Any]) -> bool:
                return not inner(row)

        self._depth -= 1
        return condition

    def _comparison(self) -> Condition:
        get = self._field()
        kind, op, place = self._tokens[self._next]
        if kind == "word" and op in ("in", "not"):
            self._next += 1
            if op == "not" and not self._take("in"):
                self._fail(place, "expected 'not in' and a list in parentheses")
            equals = [_equals(value) for value in self._list()]
            return _condition(
                get, lambda value: any(each(value) for each in equals), op == "not"
            )
        if kind != "op":
            return lambda row: bool(get(row))
        self._next += 1
        literal, where = self._value()
        if op in ("==", "!="):
            return _condition(get, _equals(literal), op == "!=")
        if op in ("~", "!~"):
            try:
                pattern = re.compile(str(literal))
            except re.error as exc:
                self._fail(where, f"{exc} in the pattern; write \\ before a sign")
            return _condition(
                get,
                lambda value: (
                    value is not None and pattern.search(describe(value)) is not None
                ),
                op == "!~",
            )
        if isinstance(literal, bool) or not isinstance(literal, (int, float)):
            self._fail(where, f"{op} compares numbers and durations: 5, 5s, 200ms")
        order, number = _ORDERS[op], literal
        return _condition(get, lambda value: _is_number(value) and order(value, number))

    def _field(self) -> Callable[[Mapping[str, Any]], Any]:
        kind, name, place = self._tokens[self._next]
        if kind != "word" or name in _KEYWORDS:
            what = repr(name) if name else "the end"
            self._fail(place, f"expected the name of a field, not {what}")
        if not _NAME.match(name):
            self._fail(place, f"{name!r} is no name of a field")
        self._next += 1
        first, *rest = name.split(".")
        if self._fields is not None and {first, _SHORT.get(first)}.isdisjoint(
            self._fields
        ):
            near = difflib.get_close_matches(first, self._fields, 1)
            known = (
                f"did you mean {near[0]!r}?"
                if near
                else f"there are {', '.join(sorted(self._fields))}"
            )
            self._fail(place, f"there is no field {first!r}; {known}")
        return _getter(first, rest)

    def _value(self) -> tuple[Any, int]:
        kind, text, place = self._tokens[self._next]
        self._next += 1
        if kind == "text":
            return re.sub(r"\\(['\"\\])", r"\1", text[1:-1]), place
        if kind == "number":
            return _number(text), place
        if kind == "word" and text not in _KEYWORDS:
            return _CONSTANTS.get(text, text), place
        self._fail(place, "expected a value: a number, a duration, a word or a text")

    def _list(self) -> list[Any]:
        _, opening, place = self._tokens[self._next]
        if not self._take("(", "["):
            self._fail(place, "expected a list: (waiting, ready)")
        values = [self._value()[0]]
        while self._take(","):
            values.append(self._value()[0])
        end = self._tokens[self._next]
        if not self._take(_CLOSING[opening]):
            self._fail(end[2], f"expected ',' or {_CLOSING[opening]!r}")
        return values


def _number(text: str) -> float:
    match = _NUMBER.fullmatch(text)
    assert match is not None, text
    number, unit = match.groups()
    if unit:
        return float(number) * _UNITS[unit]
    return float(number) if set(number) & set(".eE") else int(number)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _getter(first: str, rest: list[str]) -> Callable[[Mapping[str, Any]], Any]:
    other = _SHORT.get(first)

    def get(row: Mapping[str, Any]) -> Any:
        value = row.get(first)
        if value is None and other is not None:
            value = row.get(other)
        for name in rest:
            value = value.get(name) if isinstance(value, Mapping) else None
        return value

    return get


def _condition(
    get: Callable[[Mapping[str, Any]], Any],
    holds: Callable[[Any], bool],
    opposite: bool = False,
) -> Condition:
    def condition(row: Mapping[str, Any]) -> bool:
        value = get(row)
        if isinstance(value, (list, tuple, set, frozenset)):
            return any(map(holds, value)) != opposite
        return holds(value) != opposite

    return condition


def _equals(literal: Any) -> Callable[[Any], bool]:
    if literal is None or isinstance(literal, bool):
        return lambda value: value is literal

    def holds(value: Any) -> bool:
        if value is None:
            return False
        if _is_number(literal) and _is_number(value):
            return bool(value == literal)
        return describe(value) == str(literal) or (
            isinstance(value, Mapping) and value.get("name") == literal
        )

    return holds
