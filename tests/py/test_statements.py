"""tests/statements.ini and docs/pains.md are complete, and their tests exist."""

import ast
import configparser
import functools
import pathlib
import re

import pytest

TESTS = pathlib.Path(__file__).resolve().parents[1]
PAINS = TESTS.parent / "docs" / "pains.md"
NUMBER_OF_PAINS = 67
COVERED_PAINS = 60  # at least


def read_map(path=TESTS / "statements.ini"):
    parser = configparser.ConfigParser(interpolation=None, delimiters=("=",))
    parser.optionxform = str
    parser.read_string(path.read_text(encoding="utf-8"))
    return {name: dict(parser[name]) for name in parser.sections()}


def ids_of(lists):
    """The ids that the section [lists] promises: "A = 1-3" is A1, A2, A3."""
    for prefix, text in lists.items():
        first, last = text.split("-")
        if first.isdigit():
            yield from (f"{prefix}{n}" for n in range(int(first), int(last) + 1))
        else:
            letters = range(ord(first), ord(last) + 1)
            yield from (f"{prefix}/{chr(letter)}" for letter in letters)


@functools.lru_cache(maxsize=None)
def functions_of(path):
    """Names of the test functions that pytest finds in a file."""
    file = TESTS / path
    if not file.is_file() or not re.match(r"test_\w+\.py$", file.name):
        return frozenset()
    return frozenset(
        node.name
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test")
    )


def missing_tests(test_ids):
    """Those that do not exist, of ids such as py/test_io.py::test_tcp."""
    missing = []
    for test_id in test_ids:
        path, _, name = test_id.partition("::")
        if name not in functions_of(path):
            missing.append(test_id)
    return missing


def problems_of(statements):
    """What is wrong with a map, as a list of texts."""
    statements = dict(statements)
    promised = list(ids_of(statements.pop("lists")))
    problems = [
        f"{each}: not in the map" for each in promised if each not in statements
    ]
    for each, entry in statements.items():
        if each not in promised:
            problems.append(f"{each}: unknown id")
        if not entry.get("says", "").strip():
            problems.append(f"{each}: no summary")
        tests, exception = entry.get("tests", "").split(), entry.get("exception", "")
        if not tests and not exception.strip():
            problems.append(f"{each}: neither a test nor a reason why there is none")
        problems += [f"{each}: there is no {test}" for test in missing_tests(tests)]
        unknown = sorted(entry.keys() - {"says", "tests", "exception"})
        problems += [f"{each}: unknown key {key}" for key in unknown]
    return problems


def test_every_statement_has_a_test():
    statements = read_map()
    assert len(statements) > 200
    assert problems_of(statements) == []


@pytest.mark.parametrize(
    ("entries", "problem"),
    [
        ({}, "Z1: not in the map"),
        ({"Z1": {"says": "x", "exception": "y"}, "Z2": {}}, "Z2: unknown id"),
        ({"Z1": {"exception": "y"}}, "Z1: no summary"),
        ({"Z1": {"says": "x"}}, "Z1: neither a test nor a reason why there is none"),
        (
            {"Z1": {"says": "x", "tests": "py/test_io.py::test_nothing"}},
            "Z1: there is no py/test_io.py::test_nothing",
        ),
        (
            {"Z1": {"says": "x", "tests": "py/driving.py::drive"}},
            "Z1: there is no py/driving.py::drive",
        ),
        ({"Z1": {"says": "x", "exception": "y", "test": "z"}}, "Z1: unknown key test"),
    ],
)
def test_problems_of_a_map_are_seen(entries, problem):
    """The check itself."""
    assert problem in problems_of({"lists": {"Z": "1-1"}, **entries})


def test_lists():
    """The check itself."""
    assert list(ids_of({"A": "1-3", "1.2": "a-c"})) == [
        "A1", "A2", "A3", "1.2/a", "1.2/b", "1.2/c"
    ]  # fmt: skip


def read_pains():
    """{number: what stands in the last column} of the tables of docs/pains.md."""
    rows = re.findall(
        r"^\| (\d+) \| (.+) \| (.+) \| (.+) \|$", PAINS.read_text("utf-8"), re.M
    )
    numbers = [int(row[0]) for row in rows]
    assert numbers == list(range(1, NUMBER_OF_PAINS + 1))
    return {int(row[0]): row[3] for row in rows}


def test_every_pain_has_a_test_or_is_out_of_scope():
    pains = read_pains()
    covered = 0
    for number, proof in pains.items():
        tests = re.findall(r"`([\w/.]+::\w+)`", proof)
        assert missing_tests(tests) == [], number
        out_of_scope = proof.startswith("out of scope: ")
        assert bool(tests) != out_of_scope, f"{number}: {proof}"
        covered += bool(tests)
    assert covered >= COVERED_PAINS
