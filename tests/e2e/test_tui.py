"""The terminal view: the real program in a terminal, on a real daemon."""

import json
import os
import signal
import sys
import termios
import time

import pytest
from peers import FakeApplication

pytest.importorskip("textual", reason="the terminal view needs textual")
pytest.importorskip("pyte", reason="the terminal that shows it is pyte")

from terminal import Terminal

from qtinter.inspect import connect
from qtinter.inspect.segment import segments

NAMES = ("alpha", "beta", "gamma")
LISTENS = b"\x1b[?2004h"  # what Textual writes in the beginning
PROGRAM = """
import argparse, json, sys
from qtinter.inspect import tui
options = json.loads(sys.argv[1])
file = options.pop("file", None)
sys.exit(tui.run_file(file) if file else tui.run(argparse.Namespace(**options)))
"""


@pytest.fixture
def start_view():
    started = []

    def start(size=(80, 24), environment=None, **options):
        command = [sys.executable, "-c", PROGRAM, json.dumps(options)]
        terminal = Terminal(
            command, *size, environment=dict(os.environ, **(environment or {}))
        )
        started.append(terminal)
        return terminal

    yield start
    for terminal in started:
        terminal.close()


@pytest.fixture
def view(daemon, application, known, start_view):
    """The view, when it shows the tasks."""
    known(application)
    terminal = start_view(pid=application.pid)
    terminal.wait_for(*NAMES, "● live")
    return terminal


def numbers(terminal, *words):
    """In which lines of the screen the words are."""
    rows = terminal.rows
    return [next(n for n, row in enumerate(rows) if word in row) for word in words]


def test_what_there_is(view):
    text = view.wait_for(*NAMES, "Task-1", "on_cl")
    assert "task" in view.row_of("alpha  sl")
    assert "slot" in view.row_of("Task-1 ")
    assert "· waiting" in view.row_of("gamma ")
    assert "signal released" in view.row_of("gamma ")
    assert "LOST" not in text
    view.press("4")
    view.wait_for("Window.on_clicked", "✓ Window")
    view.press("5")
    view.wait_for("released", "gamma", "Button 'save'", "✓ alive")
    view.press("1")
    view.wait_for("victim", "idle")
    view.press("6")
    view.wait_for("Loop 1", "asyncio", "Qt", "asleep", "Lag")
    view.press("7")
    view.wait_for("no stalls")
    view.press("8")
    view.wait_for("no findings")
    view.press("2")
    view.wait_for(*NAMES)


def test_what_changes_is_shown(view, application):
    application.ask("task delta")
    view.wait_for("delta")
    application.ask("end delta")
    view.wait_without("delta")
    application.ask("release")
    view.wait_without("gamma")


def test_filter(view):
    view.press("/", *"gamma")
    view.wait_for("gamma ", "1/4")
    view.wait_without("alpha  sl", "beta  ch")
    view.press("escape")
    view.wait_for("alpha ", "4/4")
    view.press("/", *"wait.kind==signal and age>0s", "enter")
    view.wait_for("gamma ", "1/4", "q quit")
    view.press("/", *" and", "enter")
    view.wait_for("column")  # what is wrong, and where
    view.press("escape")
    view.wait_for("1/4")
    view.press("/", *(["backspace"] * 40), "enter")
    view.wait_for("alpha ", "4/4")


def test_sort(view):
    view.press(">", ">", ">")
    view.wait_for("▲name")
    view.until(lambda text: text.index("Task-1 ") > text.index("gamma "))
    assert numbers(view, *NAMES) == sorted(numbers(view, *NAMES))
    view.press("r")
    view.wait_for("▼name")
    view.until(lambda text: text.index("alpha ") > text.index("gamma "))
    assert numbers(view, *NAMES) == sorted(numbers(view, *NAMES), reverse=True)


def test_pause(view, application, run, until):
    view.press("space")
    view.wait_for("PAUSED")
    application.ask("task late")

    async def told():
        async with connect() as feed:
            await feed.subscribe(application.pid, hz=50)
            process = feed.processes[application.pid]
            await until(feed, lambda: any(t["name"] == "late" for t in process.tasks()))

    run(told())
    view.press("8")
    view.wait_for("no findings")
    view.press("2")
    view.wait_for(*NAMES, "PAUSED")
    assert "late" not in view.text
    view.press("space")
    view.wait_for("late")
    view.wait_without("PAUSED")


def test_tree(view):
    view.press("t")
    view.wait_for("└─beta", "└─gamma", "signal released of Button 'save'")
    alpha, beta = numbers(view, "alpha  sl", "└─beta")
    assert beta == alpha + 1  # beta waits for alpha
    view.press("t")
    view.wait_for("by creator")
    view.press("t")
    view.wait_for("└─slot Window.on_clicked", "└─Task-1")
    view.press("t")
    view.wait_without("└─")


def test_details(view, application):
    view.press("/", *"beta", "enter")
    view.wait_for("1/4", "q quit")
    view.press("enter")
    view.wait_for("beta", "chained (", "Timeline", "Waits for, and that for")
    view.wait_for("└ task ", "sleep,")  # alpha
    view.press("end")
    view.wait_for("Created at", "Program.main")
    view.press("escape")
    view.wait_for("1/4")


def test_why_says_what_only_the_program_knows(view):
    view.press("/", *"beta", "enter")
    view.wait_for("1/4", "q quit")
    view.press("enter")
    # Of alpha, for which it waits, the rows know a place in asyncio only.
    view.wait_for("Why", "sleeper")


def test_the_timeline_and_the_distribution_of_steps(view):
    view.press("/", *"sleeper", "enter")
    view.wait_for("1/4", "q quit")
    view.press("enter", "+", "+", "+", "+")
    view.wait_for("Timeline, the last 30.0 min", "█", "Steps of this code", "≥ ")


def test_the_application_dies(view, application):
    application.kill()
    text = view.wait_for("■ ENDED", *NAMES)
    assert "● live" not in text
    view.press("5")
    view.wait_for("released")  # all of its last state is there


def test_the_daemon_is_restarted(application, start_daemon, known, start_view):
    first = start_daemon()
    known(application)
    view = start_view(environment={"QTINTERD": "/nonexistent"})
    view.wait_for(*NAMES, "● live")
    first.stop(signal.SIGKILL)
    view.wait_for("○ no daemon", *NAMES)
    application.ask("task later")
    start_daemon()
    text = view.wait_for("● live", "later")
    assert all(name in text for name in NAMES)


def test_a_daemon_that_is_gone_for_good_is_replaced(
    application, start_daemon, known, start_view, run
):
    first = start_daemon()
    known(application)
    view = start_view()
    view.wait_for(*NAMES, "● live")
    first.stop(signal.SIGKILL)
    view.wait_for("○ no daemon")
    application.ask("task later")
    view.wait_for("● live", "later")

    stats = run(_stats())
    if "pid" in stats:
        os.kill(stats["pid"], signal.SIGTERM)


async def _stats():
    async with connect() as feed:
        return await feed.request("STATS")


def test_it_fits_into_80_by_24(view):
    view.wait_for("q quit")  # of the last line, which is drawn last
    rows = view.rows
    assert len(rows) == 24
    assert rows[0].startswith(" 1 Processes  2 Tasks")
    assert "8 Lints" in rows[0]
    assert "● live" in rows[22]
    assert rows[23].rstrip().endswith("q quit")
    view.press("?")
    view.wait_for("Keys", "Filters", "pause")
    view.press("escape")
    view.wait_for("alpha ")
    view.press("f1")
    view.wait_for("Keys")


def test_other_columns(view):
    assert "woken by" not in view.text
    view.press(*(["right"] * 20))
    view.wait_for("woken by", "longest")
    assert " id" in view.rows[1]  # stays
    view.press(*(["left"] * 20))
    view.wait_for("waits for")
    view.resize(180, 40)
    view.wait_for("waits for", "woken by")
    view.until(lambda text: "q quit" in text.splitlines()[39])


def test_hostile_names(view, application):
    application.ask("task ev\x1b[2J\x1b[31m日本[b]\u202e")
    view.press("/", *"ev", "enter")
    view.wait_for("ev␛[2J␛[31m日本", "1/5")
    view.press("/", *(["backspace"] * 10), "enter")
    view.wait_for(*NAMES, "ev␛", "5/5")
    assert view.style_of("ev␛") == view.style_of("beta")
    hostile, tame = view.row_of("ev␛"), view.row_of("alpha  sl")
    # What is behind the name is where it is in other rows: the two wide characters
    # fill four cells.
    assert hostile.index("sleep,") + 2 == tame.index("sleep,")


def test_losses_are_always_shown(daemon, runtime, start_view):
    with FakeApplication(runtime, pid=4_000_000) as fake:
        row = [1, 1, 3, 1, *([0] * 22)]
        fake.until("SET_RATE")
        fake.snapshot([row])
        view = start_view(pid=4_000_000)
        view.wait_for("● live")
        assert "LOST" not in view.text
        now = time.monotonic_ns()
        fake.send("EVENTS", first=0, ts=now, records=[0, 93, 1, 2, 0, 0])
        fake.send("GAP", first=1, count=7, cause="ring")
        fake.send("STATE", ts=time.monotonic_ns(), rows=[row])
        for key in "18":
            view.press(key)
            view.wait_for("LOST 7")
        assert view.style_of("LOST 7")[1] == "c01818"


def test_stalls_and_findings(view, application):
    view.press("7")
    view.wait_for("no stalls")
    application.ask("busy 1.5")
    view.wait_for("✓ over", "1.5 s")
    view.press("enter")
    view.wait_for("stall", "took", "1.5 s, over")
    view.press("8")
    view.wait_for("QI101")


def test_several_applications(daemon, start_application, known, start_view):
    first, second = known(start_application()), known(start_application())
    second.ask("task other")
    view = start_view()
    view.wait_for("1 Processes", str(first.pid), str(second.pid))
    rows = view.rows
    steps = 0 if str(second.pid) in rows[2] else 1
    view.press(*(["down"] * steps), "enter")
    view.wait_for("other", *NAMES)


def test_an_application_comes_later(daemon, start_view, start_application):
    view = start_view()
    view.wait_for("no application")
    start_application()
    view.wait_for("● live", *NAMES)


def test_the_segment_of_one_that_died(application, start_view):
    application.kill()
    view = start_view(file=segments()[0])
    text = view.wait_for("■ ", *NAMES)
    assert ".qiseg" in text
    view.press("5")
    view.wait_for("released")


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_leaving(view, key):
    view.press(key)
    assert view.process.wait(60) == 0
    assert b"\x1b[?1049l" in view.raw  # the screen of before is back


def test_the_first_screen_stays_until_textual_draws(
    daemon, application, known, start_view
):
    known(application)
    view = start_view(pid=application.pid)
    before = view.attributes()
    view.wait_for(*NAMES, "● live", "q quit")
    view.press("5")  # heard by Textual, whether it is there already or not
    view.wait_for("released")
    view.press("q")
    assert view.process.wait(60) == 0
    assert view.raw.index(b"alpha") < view.raw.index(LISTENS)
    assert view.raw.count(b"\x1b[?1049h") == 1
    screens = list(view.replay())
    first = next(n for n, text in enumerate(screens) if "gamma" in text)
    last = next(n for n, text in enumerate(screens) if "released" in text)
    for text in screens[first:last]:
        assert all(word in text for word in (*NAMES, "2 Tasks")), text
    assert view.attributes() == before


@pytest.mark.parametrize("key", ["q", "\x03"])
def test_leaving_at_once(daemon, application, known, start_view, key):
    known(application)
    view = start_view(pid=application.pid)
    before = view.attributes()
    view.until(lambda _: b"\x1b[?1049h" in view.raw)
    assert view.attributes()[3] & (termios.ECHO | termios.ICANON) == 0
    view.press(key)
    assert view.process.wait(60) == 0
    assert b"\x1b[?1049l" in view.raw
    assert view.attributes() == before


def test_to_the_shell_and_back(daemon, application, known, start_view):
    known(application)
    view = start_view(pid=application.pid)
    before = view.attributes()
    view.wait_for(*NAMES, "● live", "q quit")
    view.press("5")
    view.wait_for("released")
    view.press("\x1a")
    pid = view.process.pid
    _, status = os.waitpid(pid, os.WUNTRACED)
    assert os.WIFSTOPPED(status)
    assert view.attributes() == before
    view.until(lambda _: view.raw.count(b"\x1b[?1049l") == 1)
    os.kill(pid, signal.SIGCONT)
    view.until(lambda _: view.raw.count(b"\x1b[?1049h") == 2)
    view.press("6")
    view.wait_for("Loop 1", "asyncio")
    view.press("q")
    assert view.process.wait(60) == 0
    assert view.attributes() == before
