"""Findings: the page about them, and what a program says of them."""

import pathlib
import re
import sys

import pytest

import qtinter
from qtinter import inspect
from qtinter.inspect import _lints, _tables

ROOT = pathlib.Path(__file__).resolve().parents[2]


def sections():
    page = (ROOT / "docs" / "lints.md").read_text(encoding="utf-8")
    _, *found = re.split("^### (.*)$", page.partition("## All findings")[2], flags=re.M)
    return dict(zip(found[::2], found[1::2]))


def test_the_page_has_each_finding_in_order():
    assert list(sections()) == list(_tables.LINTS)


@pytest.mark.parametrize("ident", _tables.LINTS)
def test_a_section_says_what_is_in_force(ident):
    severity, after_ms, limit, what = _tables.LINTS[ident]
    section = sections()[ident]
    plain = " ".join(section.split())
    assert plain.startswith((f"{severity}: ", f"{severity}, E "))
    assert what.partition(" (E: 1 s)")[0] in plain
    # Both thresholds with their numbers, or not at all.
    for name, number in (("after_ms", after_ms), ("limit", limit)):
        assert (f"`{name}` {number}" in plain) == (number >= 0)
    assert len(plain) > len(what) + 80  # and how to mend it


def test_links_lead_somewhere():
    page = (ROOT / "docs" / "lints.md").read_text(encoding="utf-8")
    for anchor in re.findall(r"\(#(\w+)\)", page):
        assert anchor.upper() in _tables.LINTS


# --- configuration


@pytest.mark.parametrize(
    ("table", "text"),
    [
        (False, None),
        ({}, None),
        ({"QI408": "off"}, "QI408 off"),
        ({"QI203": "E", "QI101": "I"}, "QI101 severity=I\nQI203 severity=E"),
        ({"QI302": {"after_ms": 5, "severity": "I"}}, "QI302 after_ms=5 severity=I"),
        ({"QI202": {"limit": 50, "off": False}}, "QI202 limit=50"),
        ({"QI202": {"off": True}}, "QI202 off"),
    ],
)
def test_a_table(table, text):
    assert _lints.configuration(table) == text


@pytest.mark.parametrize(
    ("table", "error"),
    [
        ({"QI999": "off"}, "lints: there is no finding 'QI999'"),
        ({"QI201": 3}, 'QI201 must be "off", a severity, or a table'),
        ({"QI201": "Warning"}, "QI201.severity = 'Warning': there are"),
        ({"QI201": {"after_ms": 5}}, "QI201 has no after_ms"),
        ({"QI302": {"limit": 5}}, "QI302 has no limit"),
        ({"QI302": {"after_ms": -1}}, "after_ms must be an integer from 0"),
        ({"QI302": {"after_ms": True}}, "after_ms must be an integer from 0"),
        ({"QI302": {"after_ms": 10**9}}, "after_ms must be an integer from 0"),
        ({"QI302": {"after": 1}}, "QI302.after = 1: there are off = true"),
        ({"QI302": {"off": 1}}, "QI302.off = 1: there are off = true"),
    ],
)
def test_a_table_that_is_wrong(table, error):
    with pytest.raises(ValueError, match=re.escape(error)):
        _lints.configuration(table)


@pytest.fixture
def project(tmp_path, monkeypatch):
    """Writes the pyproject.toml of a program that lies two folders below."""
    script = tmp_path / "src" / "app" / "main.py"
    script.parent.mkdir(parents=True)
    # It has no file if pytest was started with python -c.
    monkeypatch.setattr(sys.modules["__main__"], "__file__", str(script), raising=False)

    def write(text):
        (tmp_path / "pyproject.toml").write_text(text, encoding="utf-8")

    return write


needs_toml = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="reads TOML with the standard library"
)


@needs_toml
def test_the_file_of_the_project(project):
    project('[tool.qtinter.lints]\nQI408 = "off"\nQI202 = { limit = 3 }\n')
    assert _lints.configuration(None) == "QI202 limit=3\nQI408 off"
    assert _lints.configuration(False) is None
    project("[tool.other]\n")
    assert _lints.configuration(None) is None


@needs_toml
@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("[tool.qtinter.lints\n", "pyproject.toml: "),
        ("[tool.qtinter]\nlints = 3\n", "tool.qtinter.lints must be a table"),
        ("[tool.qtinter.lints]\nQI1 = 3\n", "pyproject.toml: [tool.qtinter.lints]: "),
    ],
)
def test_a_file_that_is_wrong(project, text, error):
    project(text)
    with pytest.raises(ValueError, match=re.escape(error)):
        _lints.configuration(None)


def test_a_python_without_toml_says_so(project, monkeypatch):
    for name in ("tomllib", "tomli"):
        monkeypatch.setitem(sys.modules, name, None)
    project('[tool.qtinter.lints]\nQI408 = "off"\n')
    with pytest.warns(RuntimeWarning, match="needs Python 3.11 or the package tomli"):
        assert _lints.configuration(None) is None
    project("[tool.other]\n")
    assert _lints.configuration(None) is None


def test_without_a_project(monkeypatch):
    main = sys.modules["__main__"]
    monkeypatch.setattr(main, "__file__", "/main.py", raising=False)
    assert _lints.configuration(None) is None


# --- comments


def plain():
    pass


def on_the_head():  # qtinter: ignore[QI201]
    pass


def decorator(function):
    return function


@decorator  # qtinter: ignore[QI202, QI203]
@decorator
def on_a_decorator():  # qtinter: ignore[QI201]
    pass


def all_of_them():  # qtinter: ignore
    pass


def nonsense():  # qtinter: ignore[QI999, rm -rf]
    pass


def in_the_body():
    pass  # qtinter: ignore


@pytest.mark.parametrize(
    ("function", "ids"),
    [
        (plain, ""),
        (on_the_head, "QI201"),
        (on_a_decorator, "QI201,QI202,QI203"),
        (all_of_them, "*"),
        (nonsense, ""),
        (in_the_body, ""),
        (len, ""),
    ],
)
def test_the_lines_of_a_function(function, ids):
    assert _lints.ignored(function, None) == ids


class Receiver:
    async def method(self):
        pass

    @qtinter.asyncslot  # qtinter: ignore[QI203]
    async def decorated(self):
        pass


def test_the_line_of_the_call(tmp_path):
    tmp_path.chmod(0o700)
    was_on = inspect.is_enabled()
    inspect.disable()
    inspect.enable(connect=False, directory=tmp_path)
    try:
        receiver = Receiver()

        async def main():
            slot = qtinter.asyncslot(receiver.method)  # qtinter: ignore[QI202]
            await slot()
            await receiver.decorated()
            return inspect.snapshot().slots()

        loop = qtinter.new_event_loop()
        loop.set_mode(qtinter.QiLoopMode.NATIVE)
        slots = loop.run_until_complete(main())
        loop.close()
    finally:
        inspect.disable()
        if was_on:
            inspect.enable_from_environment()
    assert [(slot["name"].split(".")[-1], slot["ignore"]) for slot in slots] == [
        ("method", "QI202"),
        ("decorated", "QI203"),
    ]


class QAuthenticator:
    pass


@pytest.mark.parametrize(
    ("args", "name"),
    [
        ((), ""),
        ((1, "x", None, [], object()), ""),
        ((1, QAuthenticator()), "QAuthenticator"),
        (([QAuthenticator()],), "QAuthenticator"),
    ],
)
def test_arguments_that_want_an_answer(args, name):
    assert _lints.class_that_wants_answer(args) == name
