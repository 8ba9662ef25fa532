"""What the window asks for and what it forgets; and the window of another machine."""

import gc
import os
import pathlib
import shlex
import subprocess
import sys

import pytest

if os.environ.get("QTINTERBINDING", "PyQt6") not in ("PyQt6", "PySide6"):
    pytest.skip("the window needs Qt 6", allow_module_level=True)

from windows import cells, id_of, ready, until

from qtinter.inspect.gui.application import Application
from qtinter.inspect.model import KEPT_ENDED, TASK, Process
from qtinter.inspect.remote import Remote

PATIENCE = 60  # seconds; only a safety net


def dialog():
    from qtinter.inspect.gui.qt import QtWidgets

    return QtWidgets.QApplication.activeModalWidget()


async def question(window):
    """The dialog that the action opens, once the one before is done with."""

    def is_open():
        window.actions_.cancel.trigger()
        return dialog() is not None

    await until(lambda: dialog() is None)
    await until(is_open)
    return dialog()


def button(box, name):
    return box.button(getattr(box.StandardButton, name))


def test_why_says_what_only_the_program_knows(daemon, application, show):
    async def look(window):
        await ready(window)
        window.select(TASK << 56 | id_of(window, "alpha"))
        # The frames of the task, of which the innermost in asyncio is not the place.
        await until(lambda: "Awaits" in window.details.text())
        text = window.details.text()
        assert "at sleeper (" in text[text.index("Why") : text.index("Waits for")]
        frames = text[text.index("Awaits") :].splitlines()
        assert frames[1].startswith("sleeper (application.py:")
        assert frames[2].startswith("sleep (tasks.py:")

    show(look)


@pytest.mark.parametrize("answer", ["Yes", "No"])
def test_a_task_is_cancelled_after_a_question(daemon, start_application, show, answer):
    application = start_application("--control")

    async def look(window):
        page = await ready(window)
        assert not window.actions_.cancel.isEnabled()
        window.select(TASK << 56 | id_of(window, "alpha"))
        assert window.actions_.cancel.isEnabled()
        box = await question(window)
        assert "alpha in victim" in box.text()
        assert box.standardButton(box.defaultButton()) == box.StandardButton.No
        button(box, answer).click()
        await until(lambda: dialog() is None)
        if answer == "Yes":
            # beta waited for it.
            await until(lambda: not {"alpha", "beta"} & set(cells(page, "Name")))
            assert "gamma" in cells(page, "Name")
        else:
            application.ask("task later")
            await until(lambda: "later" in cells(page, "Name"))
            assert {"alpha", "beta"} <= set(cells(page, "Name"))

    show(look)


def test_without_control_nothing_is_cancelled(daemon, application, show):
    async def look(window):
        page = await ready(window)
        window.select(TASK << 56 | id_of(window, "alpha"))
        box = await question(window)
        assert "QTINTER_INSPECT_CONTROL=1" in box.text()
        button(box, "Ok").click()
        await until(lambda: dialog() is None)
        assert "alpha" in cells(page, "Name")

    show(look)


def test_the_level_in_force_is_marked(daemon, application, show):
    def marked(menu):
        menu.aboutToShow.emit()
        return [a.text()[:2] for a in menu.actions() if a.isChecked()]

    async def look(window):
        await ready(window)
        menu = window.actions_.levels
        assert marked(menu) == ["&3"]
        menu.actions()[1].trigger()
        await until(lambda: window.application.source.info["level"] == 2)
        assert application.ask("level") == "2"
        assert marked(menu) == ["&2"]

    show(look)


def test_the_oldest_ended_applications_are_forgotten(show):
    async def look(window):
        def came(pid):
            app = Application(Process({"pid": pid, "name": f"app {pid}", "mono0": 0}))
            window.live.applications[pid] = app
            window.live.appeared.emit(app)
            return app

        def went(app):
            app.take("down", {"cause": "goodbye"})
            window.live.changed.emit(app)

        window.live = window_live(window)
        window.live.appeared.connect(window.add_application)
        window.live.changed.connect(window._application_changed)
        shown, lives = came(1), came(2)
        assert window.application is shown
        later = [came(pid) for pid in range(3, 3 + 2 * KEPT_ENDED)]
        for app in (shown, *later):
            went(app)
        # What is shown stays although it was the first to go, and who lives.
        kept = [shown, lives, *later[-KEPT_ENDED:]]
        assert window.applications == kept
        texts = [window.list.item(i).text() for i in range(window.list.count())]
        assert [text.splitlines()[0] for text in texts] == [app.name for app in kept]
        assert set(window.live.applications) == {app.pid for app in kept}
        assert window.application is shown
        window.list.setCurrentRow(1)
        assert window.application is lives
        went(came(100))
        assert shown not in window.applications
        assert len(window.applications) == 1 + KEPT_ENDED

    show(look, live=False)


def test_one_that_had_ended_before_the_window_came(daemon, application, known, show):
    known(application)
    application.kill()

    async def look(window):
        await until(lambda: window.applications)
        window.list.setCurrentRow(0)
        page = await ready(window)
        assert "beta" in cells(page, "Name")
        assert "died" in window.banner.text()
        assert "ended" in window.list.item(0).text()
        # Ages are those that it had then.
        row = window.application.process.rows[TASK, id_of(window, "alpha")]
        assert 0 <= window.application.now() - row["changed"] < PATIENCE * 10**9
        assert window.application.now() == window.application.now()

    show(look)


def test_many_rows_are_no_work_for_the_collector(show):
    process = Process({"pid": 1, "name": "app", "mono0": 0})
    for ident in range(1, 20_002):
        process.put([TASK, ident, 3, 1])
    before = gc.get_freeze_count()

    async def look(window):
        window.add_application(Application(process), show=True)
        await until(lambda: gc.get_freeze_count() > before)

    try:
        show(look, live=False)
    finally:
        gc.unfreeze()


def window_live(window):
    from qtinter.inspect.gui.live import Live

    return Live("/nowhere", window)


def test_a_file_can_be_closed(show, application, runtime):
    application.kill()
    (segment,) = runtime.glob("*.qiseg")

    async def look(window):
        for _ in range(2):
            window.open(str(segment))
        assert window.actions_.close.isEnabled()
        for left in (1, 0):
            window.actions_.close.trigger()
            assert window.list.count() == len(window.applications) == left
        assert window.centre.currentWidget() is window.nothing
        assert not window.actions_.close.isEnabled()
        window.close_application()  # nothing is shown: nothing happens

    show(look, live=False)


def test_one_that_runs_cannot_be_closed(daemon, application, show):
    async def look(window):
        await ready(window)
        assert not window.actions_.close.isEnabled()
        window.close_application()
        assert len(window.applications) == 1

    show(look)


def test_without_a_daemon_it_says_why_and_tries_again(
    start_daemon, start_application, show, monkeypatch, tmp_path
):
    daemon = tmp_path / "daemon <none>"
    monkeypatch.setenv("QTINTERD", str(daemon))

    async def look(window):
        await until(lambda: "No connection" in window.nothing.text())
        assert "daemon &lt;none&gt;" in window.nothing.text()
        assert window.centre.currentWidget() is window.nothing
        assert window.actions_.retry.isEnabled()
        monkeypatch.delenv("QTINTERD")
        start_daemon()
        window.actions_.retry.trigger()
        await until(lambda: "QTINTER_INSPECT" in window.nothing.text())
        assert not window.actions_.retry.isEnabled()
        start_application()
        await ready(window)

    show(look)


def test_who_dies_without_a_daemon_is_seen_to_be_dead(
    start_daemon, start_application, show, monkeypatch
):
    daemon = start_daemon()
    stays, dies = start_application(), start_application()

    def text_of(window, application):
        (i,) = [
            i for i, a in enumerate(window.applications) if a.pid == application.pid
        ]
        return window.list.item(i).text()

    async def look(window):
        await until(lambda: len(window.applications) == 2)
        monkeypatch.setenv("QTINTERD", "/nonexistent")  # no other one is started
        daemon.stop()
        await until(lambda: "no daemon" in text_of(window, stays))
        assert "no daemon" in text_of(window, dies)
        dies.kill()
        window.retry()
        await until(lambda: "ended" in text_of(window, dies))
        assert "no daemon" in text_of(window, stays)
        start_daemon()
        window.retry()
        await until(lambda: window.live.applications[stays.pid].kind == "live")
        assert "ended" in text_of(window, dies)
        assert "died" in window.live.applications[dies.pid].problem

    show(look)


def test_a_view_is_made_when_it_is_first_shown(daemon, application, show):
    async def look(window):
        await ready(window)
        made = [name for name, page in window.pages.items() if page._view is not None]
        assert made == ["tasks"]  # the others would be in the way of the first screen
        page = window.pages["slots"]
        window.tabs.setCurrentWidget(page)
        assert page._view is not None
        await until(lambda: page.stack.currentWidget() is page.view)

    show(look)


def test_the_window_needs_no_more_than_it_shows():
    code = """if True:
        import sys
        import qtinter.inspect.gui.window
        print(sorted({"rich", "textual", "qtinter.trace"} & set(sys.modules)))
    """
    words = [sys.executable, "-c", code]
    result = subprocess.run(words, cwd="/", capture_output=True, text=True)
    assert (result.stdout, result.stderr) == ("[]\n", "")


# --- another machine


@pytest.fixture
def box(start_daemon, start_application, runtime, monkeypatch, tmp_path):
    """Another machine, with an application that can be controlled: its Remote."""
    start_daemon()
    start_application("--control")
    near = tmp_path / "near"
    near.mkdir(0o700)
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", str(near))
    script = pathlib.Path(__file__).with_name("ssh_stand_in.py")
    ssh = [sys.executable, str(script), str(tmp_path), str(runtime)]
    program = [sys.executable, "-m", "qtinter.inspect"]
    return Remote(
        "me@box", *(" ".join(map(shlex.quote, words)) for words in (ssh, program))
    )


def test_the_window_of_another_machine(box, show):
    async def look(window):
        page = await ready(window)
        assert window.windowTitle().startswith("victim on me@box")
        await until(lambda: "on me@box" in window.counts.text())
        window.select(TASK << 56 | id_of(window, "alpha"))
        await until(lambda: "Awaits" in window.details.text())
        asked = await question(window)
        button(asked, "Yes").click()
        await until(lambda: "alpha" not in cells(page, "Name"))
        assert "gamma" in cells(page, "Name")

    show(look, live=box)


def test_the_connection_to_another_machine_comes_back(box, show):
    async def look(window):
        page = await ready(window)
        window.live.feed._remote._process.kill()
        await until(lambda: window.application.cut_off)
        assert "me@box" in window._status
        assert len(cells(page, "Name")) == 4
        window.retry()
        await until(lambda: window.application.kind == "live")
        await until(lambda: not window.application.cut_off)

    show(look, live=box)
