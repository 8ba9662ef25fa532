"""qtinter.inspect.filters: the filter language."""

import pytest

from qtinter.inspect import filters

TASK = {
    "id": 7,
    "name": "Task-7",
    "state": "waiting",
    "code": {"name": "Window.on_save", "file": "app/save.py", "line": 88},
    "waits_for": {"kind": "signal", "text": "signal done of Reply", "id": 3},
    "age": 7.5,
    "steps": 3,
    "slot": None,
    "alive": True,
    "lint": [],
    "stack": [
        {"name": "main", "file": "app/run.py", "line": 1},
        {"name": "start", "file": "app/save.py", "line": 5},
    ],
    "pending": [4, 9],
}


def holds(text):
    return filters.compile(text)(TASK)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "  ",
        'state==waiting and wait.kind==signal and age>5s and code~"save" and not lint',
        "state == 'waiting'",
        "state != done",
        "name==Task-7",
        "age >= 7500ms",
        "age<0.2min and age<1h and age<=7.5",
        "steps==3 and steps<4",
        "slot==none",
        "slot!=save and slot!~x",
        "alive",
        "alive==true",
        "not alive==false",
        "state in (ready, waiting)",
        "state in [waiting]",
        "state not in (done, failed)",
        "steps in (1, 3)",
        "code.line==88",
        r"code.file~'save\.py$'",
        "code=='Window.on_save'",
        "code=='Window.on_save (app/save.py:88)'",
        "stack~'run.py'",
        "pending==9",
        "pending>8",
        "pending!=5",
        "nothing==none and nothing.below!=1 and not nothing",
        "not nothing>5",
        "waits_for~Reply",
        "state==done or steps==3 and alive",
        "not (state==done or steps==4)",
        "not not alive",
        "state==waiting or nothing and nothing",  # and binds more closely
        r'name!="a\"b"',
    ],
)
def test_conditions_that_hold(text):
    assert holds(text)


@pytest.mark.parametrize(
    "text",
    [
        "state==done",
        "state==Waiting",
        "age>8s",
        "age>7501ms",
        "lint",
        "slot",
        "slot~''",
        "slot==save",
        "slot>0",
        "state>5",  # a text is neither more nor less
        "alive>0",
        "steps==true",
        "state not in (waiting)",
        "pending==5",
        "stack~nobody",
        "state.kind==x",
        "not alive or nothing",
        "(state==waiting or alive) and nothing",
    ],
)
def test_conditions_that_do_not_hold(text):
    assert not holds(text)


@pytest.mark.parametrize(
    ("text", "column", "remedy"),
    [
        ("state=waiting", 6, "use =="),
        ("a && b", 3, "use 'and'"),
        ("a || b", 3, "use 'or'"),
        ("!a", 1, "use 'not'"),
        ("state==", 8, "expected a value"),
        ("state== and", 9, "expected a value"),
        ("== 5", 1, "expected the name of a field"),
        ("and", 1, "expected the name of a field, not 'and'"),
        ("a and", 6, "expected the name of a field, not the end"),
        ("a b", 3, "expected 'and', 'or' or the end, not 'b'"),
        ("(a", 3, "the ')' for column 1 is missing"),
        ("a)", 2, "expected 'and', 'or'"),
        ("a == 'b", 6, "closing quote"),
        ("a ~ '('", 5, "in the pattern"),
        ("age > old", 7, "compares numbers and durations"),
        ("age > true", 7, "compares numbers and durations"),
        ("age > 5days", 7, "quotes"),
        ("a in b", 6, "expected a list"),
        ("a in (b", 8, "expected ',' or ')'"),
        ("a in (b]", 8, "expected ',' or ')'"),
        ("a not b", 3, "not in"),
        ("a-b == 5", 1, "no name of a field"),
        ("a..b", 1, "no name of a field"),
        ("a == $x", 6, "quotes"),
        ("(" * 51 + "a" + ")" * 51, 51, "nested"),
    ],
)
def test_errors_say_where_and_what_to_write(text, column, remedy):
    with pytest.raises(ValueError, match="filter") as caught:
        filters.compile(text)
    assert isinstance(caught.value, filters.FilterError)
    assert caught.value.column == column
    assert f"column {column}: " in str(caught.value)
    assert remedy in str(caught.value)


def test_names_that_do_not_exist():
    assert filters.compile("state==done and wait.kind==x", TASK) is not None
    with pytest.raises(
        ValueError, match=r"column 10: there is no field 'stat'; did you mean 'state'\?"
    ):
        filters.compile("id==1 or stat==done", TASK)
    with pytest.raises(ValueError, match=r"no field 'zzzz'; there are id, name"):
        filters.compile("zzzz", ["name", "id"])


def test_nothing_is_evaluated():
    with pytest.raises(ValueError, match="column 11"):
        filters.compile("__import__('os')")
    assert not filters.compile("name.__class__==str")(TASK)


def test_durations():
    assert filters.duration("50ms") == 0.05
    assert filters.duration(" 3us ") == pytest.approx(3e-6)
    assert filters.duration("2") == 2.0
    assert filters.duration("1.5 min") == 90.0
    for text in ("", "fast", "5 days", "s", "1h 5min"):
        with pytest.raises(ValueError, match="no duration"):
            filters.duration(text)
