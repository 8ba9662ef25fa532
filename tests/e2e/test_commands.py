"""The commands that look at and change a program, as a user types them."""

import csv
import io
import json

import pytest


@pytest.fixture
def ps(inspect):
    def ps(application, *words):
        result = inspect("ps", str(application.pid), "--json", *words)
        assert result.returncode == 0, result.stderr
        ((found),) = json.loads(result.stdout)
        return found["rows"]

    return ps


@pytest.fixture
def shown(daemon, application, known):
    return known(application)


def test_filter_and_sort(shown, ps):
    names = [task["name"] for task in ps(shown, "-f", 'name~"a$" and state==waiting')]
    assert names == ["alpha", "beta", "gamma"]
    ids = [task["id"] for task in ps(shown, "--sort", "id")]
    assert ids == sorted(ids, reverse=True)
    assert [task["id"] for task in ps(shown, "--sort=-id")] == sorted(ids)


def test_csv(shown, inspect):
    result = inspect("ps", str(shown.pid), "--csv")
    rows = list(csv.DictReader(io.StringIO(result.stdout)))
    assert {"alpha", "beta"} <= {row["name"] for row in rows}
    assert {row["pid"] for row in rows} == {str(shown.pid)}


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["ps", "-f", "state=="], 2, "--filter"),
        (["tree", "--by", "size"], 2, "invalid choice"),
        (["nonsense"], 2, "invalid choice"),
        (["ps", "999999999"], 3, "no application with pid 999999999"),
        (["why", "999999999"], 3, "no task 999999999"),
        (["crash", "/nowhere"], 3, "/nowhere"),
        (["--host", "-x", "ps"], 2, "--host"),
    ],
)
def test_exit_codes(shown, inspect, words, code, said):
    result = inspect(*words)
    assert result.returncode == code, result.stderr
    assert said in result.stderr
    assert "Traceback" not in result.stderr


def test_a_program_that_does_not_let_itself_be_controlled(shown, ps, inspect):
    (alpha,) = ps(shown, "-f", "name==alpha")
    result = inspect("cancel", str(alpha["id"]))
    assert result.returncode == 4
    assert "enable(control=True)" in result.stderr
    assert "QTINTER_INSPECT_CONTROL=1" in result.stderr
    assert [task["name"] for task in ps(shown, "-f", "name==alpha")] == ["alpha"]


@pytest.fixture
def willing(daemon, start_application, known):
    """One that does; there is no other."""
    return known(start_application("--control"))


def test_cancel(willing, ps, inspect, run, until):
    from qtinter.inspect import connect

    (alpha,) = ps(willing, "-f", "name==alpha")
    result = inspect("cancel", str(alpha["id"]), "--message", "enough", "--json")
    assert json.loads(result.stdout) == {
        "pid": willing.pid,
        "task": alpha["id"],
        "cancelled": True,
    }

    async def gone():
        async with connect() as feed:
            await feed.subscribe(willing.pid)
            process = feed.processes[willing.pid]
            await until(
                feed, lambda: "alpha" not in {t["name"] for t in process.tasks()}
            )

    run(gone())


def test_level(willing, inspect):
    assert inspect("level", str(willing.pid), "1").returncode == 0
    assert willing.ask("level") == "1"
    while json.loads(inspect("ls", "--json").stdout)[0]["level"] != 1:
        pass  # the daemon learns it from the next events, at most half a second later
    assert inspect("level", str(willing.pid), "7").returncode == 2


def test_escape_sequences_in_names_are_shown_safely(willing, inspect):
    willing.ask("task \x1b[31mred\x07")
    result = inspect("ps")
    assert "\x1b" not in result.stdout
    assert "\\x1b[31mred\\x07" in result.stdout
