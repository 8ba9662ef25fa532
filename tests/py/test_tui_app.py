"""The terminal view on Textual's own driver: drawing, the mouse, sizes."""

import asyncio

import pytest

pytest.importorskip("msgpack", reason="the tools need msgpack")
pytest.importorskip("textual", reason="the terminal view needs textual")

from qtinter.inspect import _tables
from qtinter.inspect.model import TASK, Process
from qtinter.inspect.tui import app as tui_app
from qtinter.inspect.tui.app import InspectApp
from qtinter.inspect.tui.scene import Scene
from qtinter.inspect.tui.source import FileSource
from qtinter.inspect.tui.viewer import Viewer

TASKS = 10_000
SIZE = (120, 30)
ROWS = 26  # lines of the table


@pytest.fixture(scope="module")
def process():
    made = Process({"pid": 7, "name": "many", "last": 10**12})
    made.alive = False
    columns = len(_tables.ENTITIES[TASK][1])
    for ident in range(1, TASKS + 1):
        values = [0] * columns
        values[0], values[10] = ident, ident * 7919 % TASKS
        made.put([TASK, ident, 3, 1, *values])
        made.entries[ident] = f"task-{ident:05}"
    return made


@pytest.fixture
def drive(process):
    """Runs a coroutine with the application and its pilot."""

    def drive(coroutine, size=SIZE, length=0.0):
        async def main():
            times = (lambda at: process) if length else None
            viewer = Viewer(FileSource("many.qtrace", process, times, length))
            app = InspectApp(Scene(viewer))
            async with app.run_test(size=size) as pilot:
                app.scene.tasks.model.settle()
                app.draw()
                await pilot.pause()
                await coroutine(app, pilot)

        asyncio.run(asyncio.wait_for(main(), 120))

    return drive


def lines_of(app):
    table = app._table
    return [table.render_line(y).text for y in range(table.size.height)]


def test_only_what_is_seen_is_made_into_text(drive, monkeypatch):
    async def check(app, pilot):
        made = []
        cells = app.scene.tasks.cells
        monkeypatch.setattr(
            app.scene.tasks, "cells", lambda *args: made.append(args[0]) or cells(*args)
        )
        for keys in (["pagedown"], ["end"], ["home"], [">"], ["r"]):
            del made[:]
            await pilot.press(*keys)
            app.scene.tasks.model.settle()
            app.draw()
            await pilot.pause()
            assert made, keys
            # It may be drawn more than once, but never a line that is not there.
            assert len(set(made)) <= 4 * ROWS, keys

    drive(check)


def test_the_ends_of_a_long_table(drive):
    async def check(app, pilot):
        assert "task-00001" in lines_of(app)[0]
        await pilot.press("end")
        await pilot.pause()
        assert f"task-{TASKS:05}" in lines_of(app)[-1]
        assert app._table.ident == TASKS
        await pilot.press("pageup", "home")
        await pilot.pause()
        assert "task-00001" in lines_of(app)[0]

    drive(check)


def test_a_filter_does_not_wait_for_ticks(drive, monkeypatch):
    """It is in slices, between which keys are heard, and one comes after the other."""
    monkeypatch.setattr(tui_app, "TICK_SECONDS", 3600)
    monkeypatch.setattr(tui_app, "POLL_SECONDS", 3600)
    monkeypatch.setattr(tui_app, "BUDGET", 0.0)  # then a slice is one CHUNK

    async def check(app, pilot):
        await pilot.press("/", *"code~x or id==7", "enter")
        model = app.scene.tasks.model
        while model.is_rebuilding:
            await asyncio.sleep(0)
        await pilot.pause()
        assert model.order == [7]
        assert "task-00007" in lines_of(app)[0]

    drive(check)


def test_the_cursor_stays_on_its_task(drive):
    async def check(app, pilot):
        await pilot.press("down", "down")
        assert app._table.ident == 3
        names = [column.name for column in app.scene.tasks.columns]
        app.scene.tasks.sort_by(names.index("steps"))
        app.scene.tasks.model.settle()
        app.draw()
        assert app._table.ident == 3
        assert app.scene.tasks.model.order[app._table.cursor] == 3

    drive(check)


def test_a_click_on_a_head_sorts_and_on_a_row_selects(drive):
    async def check(app, pilot):
        heading = "".join(text for text, _ in app.scene.heads(app._shown))
        await pilot.click("#head", offset=(heading.index("state"), 0))
        app.scene.tasks.model.settle()
        assert app.scene.tasks.columns[app.scene.tasks.sort_index].name == "state"
        await pilot.click("#table", offset=(30, 4))
        assert app._table.cursor == 4
        await pilot.click("#tabs", offset=(1, 0))
        assert app.view.name == "processes"

    drive(check)


@pytest.mark.parametrize("size", [(80, 24), (20, 5), (300, 80)])
def test_each_screen_in_each_size(drive, size):
    async def check(app, pilot):
        for key in "12345678?":
            await pilot.press(key)
            await pilot.pause()
            body = app._body
            width = body.scrollable_content_region.width
            for y in range(body.size.height):
                assert body.render_line(y).cell_length == width

    drive(check, size)


def test_the_time_of_a_recording(drive):
    async def check(app, pilot):
        def status():
            return "".join(text for text, _ in app.scene.status())

        assert "at 20.0 s of 20.0 s" in status()
        await pilot.press("{", "{", "]")
        assert "at 16.2 s of 20.0 s" in status()
        keys = "".join(text for text, _ in app.scene.key_line())
        assert " [ ] time " in keys

    drive(check, length=20.0)


def test_what_is_typed_at_once_is_not_lost(drive):
    async def check(app, pilot):
        await pilot.press("/", *"task-00042", "enter")
        app.scene.tasks.model.settle()
        assert app.viewer.filter_text == "task-00042"
        assert app.scene.tasks.model.order == [42]
        await pilot.press("/", *"x=", "enter")
        assert "use ==" in "".join(text for text, _ in app.scene.status())
        await pilot.press("escape")
        assert app.viewer.filter_text == "task-00042"

    drive(check)


def test_the_end_of_a_page_that_grows_stays_in_view(drive, monkeypatch):
    async def check(app, pilot):
        await pilot.press("?")
        lines = [[(f"line {n}", "plain")] for n in range(100)]
        monkeypatch.setattr(app.view, "lines", lambda width: lines)
        app.draw()
        await pilot.press("end")
        await pilot.pause()
        page, last = app._page, app._page.size.height - 1
        assert "line 99 " in page.render_line(last).text
        lines.append([("line 100", "plain")])
        app.draw()
        await pilot.pause()
        assert "line 100 " in page.render_line(last).text
        await pilot.press("up")
        lines.append([("line 101", "plain")])
        app.draw()
        await pilot.pause()
        assert "line 99 " in page.render_line(last).text

    drive(check)
