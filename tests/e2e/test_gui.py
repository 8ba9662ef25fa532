"""The window shows what a real application does, through a real daemon."""

import asyncio
import os
import shutil
import struct

import pytest

import qtinter
import qtinter.inspect

if os.environ.get("QTINTERBINDING", "PyQt6") not in ("PyQt6", "PySide6"):
    pytest.skip("the window needs Qt 6", allow_module_level=True)

from windows import NAMES, cells, id_of, ready, until

from qtinter.inspect.gui import trees
from qtinter.inspect.lanes import RUNS, SIGNALS, WAITS
from qtinter.inspect.model import OBJECT, SLOT, TASK, WAIT


@pytest.fixture
def application_object(app):
    return app


def test_what_there_is(daemon, application, show):
    async def look(window):
        page = await ready(window)
        names = set(cells(page, "Name"))
        assert names > NAMES
        assert set(cells(page, "State")) == {"waiting"}
        waits = dict(zip(cells(page, "Name"), cells(page, "Waits for")))
        assert "alpha" in waits["beta"]
        assert "released" in waits["gamma"]
        assert "Button 'save'" in waits["gamma"]
        for name in ("slots", "waits", "loops", "tree"):
            window.tabs.setCurrentWidget(window.pages[name])
            await until(lambda name=name: not window.pages[name].model.busy)
        (slot,) = cells(window.pages["slots"], "Slot")
        assert slot.endswith("on_clicked")
        assert cells(window.pages["slots"], "Pending") == ["1"]
        assert cells(window.pages["waits"], "Signal") == ["released"]
        assert cells(window.pages["waits"], "Sender") == ["Button 'save'"]
        assert cells(window.pages["loops"], "Mode") == ["attached"]
        assert window.list.item(0).text().startswith("victim\n")
        assert str(application.pid) in window.list.item(0).text()

    show(look)


def test_a_change_appears_and_the_selection_is_shared(daemon, application, show):
    async def look(window):
        page = await ready(window)
        application.ask("task delta")
        await until(lambda: "delta" in cells(page, "Name"))
        delta = id_of(window, "delta")
        window.select(TASK << 56 | delta)
        assert page.view.currentIndex().row() == cells(page, "Name").index("delta")
        assert window.timeline.selection == TASK << 56 | delta
        assert "delta" in window.details.text()
        window.tabs.setCurrentWidget(window.pages["tree"])
        tree = window.pages["tree"]
        await until(
            lambda: (
                tree.model.key_at(tree.view.currentIndex()) == trees.entity(TASK, delta)
            )
        )
        application.ask("end delta")
        window.tabs.setCurrentWidget(page)
        await until(lambda: "delta" not in cells(page, "Name"))
        # Its row is gone, its lane is not.
        await until(lambda: window.application.lanes.tasks[delta].ended)

    show(look)


def test_details_and_histogram(daemon, application, show):
    async def look(window):
        await ready(window)
        window.select(TASK << 56 | id_of(window, "beta"))
        text = window.details.text()
        assert "chained (application.py" in text
        assert text.index("Waits for") < text.rindex("alpha")
        await until(lambda: window.details.histogram.data is not None)
        assert window.details.histogram.data["count"] >= 1
        assert "chained" in window.details.histogram.title

    show(look)


def test_filters_and_words(daemon, application, show):
    async def look(window):
        page = await ready(window)
        window.line.setText("wait.kind==signal")
        await until(lambda: cells(page, "Name") == ["gamma"])
        window.timeline.refresh()
        assert [row.key for row in window.timeline.lanes] == [id_of(window, "gamma")]
        window.line.setText("name==alpha and age<0.5s or age>1s and name==beta")
        await until(lambda: cells(page, "Name") == ["beta"])
        window.line.setText("alpha")
        await until(lambda: set(cells(page, "Name")) == {"alpha", "beta"})
        window.line.setText("state==")
        assert "border" in window.line.styleSheet()  # an error, and the filter stays
        assert window.statusBar().currentMessage()
        assert set(cells(page, "Name")) == {"alpha", "beta"}
        window.line.setText("")
        await until(lambda: len(cells(page, "Name")) == 4)

    show(look)


def tree_of(model, index=None):
    from qtinter.inspect.gui.qt import QtCore

    index = QtCore.QModelIndex() if index is None else index
    return {
        model.index(i, 0, index).data(): tree_of(model, model.index(i, 0, index))
        for i in range(model.rowCount(index))
    }


def test_tree_modes(daemon, application, show):
    async def look(window):
        await ready(window)
        page = window.pages["tree"]
        window.tabs.setCurrentWidget(page)
        await until(lambda: page.model.rowCount() and not page.model.busy)
        alpha, beta, gamma = (id_of(window, name) for name in sorted(NAMES))
        tree = tree_of(page.model)
        assert f"{beta}  beta" in tree["sleeping"][f"{alpha}  alpha"]
        (signal,) = [text for text in tree if "released" in text]
        assert list(tree[signal]) == [f"{gamma}  gamma"]
        page.set_mode("object")
        await until(lambda: page.model.rowCount() == 2 and not page.model.busy)
        tree = tree_of(page.model)
        (slots,) = [tree[text] for text in tree if text.startswith("Window")]
        ((slot, calls),) = slots.items()
        assert slot.endswith("on_clicked")
        assert len(calls) == 1
        page.set_mode("creator")
        await until(lambda: page.model.rowCount() and not page.model.busy)
        assert f"{alpha}  alpha" in str(tree_of(page.model))

    show(look)


def test_the_timeline_and_a_range_of_it(daemon, application, show):
    async def look(window):
        page = await ready(window)
        lanes = window.application.lanes
        gamma, alpha = id_of(window, "gamma"), id_of(window, "alpha")
        application.ask("release")
        await until(lambda: lanes.tasks[gamma].ended)
        kinds = list(lanes.tasks[gamma].kinds)
        assert kinds.count(RUNS) == 2
        assert kinds.count(WAITS + 4) == 1
        assert lanes.tasks[alpha].kind == WAITS + 5  # it still sleeps
        call = next(e.task for e in lanes.emissions if e.slot)
        assert [f.target for f in lanes.flows if f.kind == "called"] == [call]
        assert (SIGNALS, gamma) in [(f.source, f.target) for f in lanes.flows]
        window.timeline.set_following(False)
        window.timeline.show_all()
        window.timeline.refresh()
        keys = {row.key for row in window.timeline.lanes}
        assert {alpha, gamma, call} <= keys
        assert [row.label for row in window.timeline.pinned] == ["Loop 1", "Signals"]
        # What happened around the release: gamma was woken and ended, nothing else.
        window.set_show_ended(True)
        woken = lanes.tasks[gamma].starts[-2]
        window.timeline.set_brush((woken, lanes.tasks[gamma].ended))
        await until(lambda: cells(page, "Name") == ["gamma"])
        window.timeline.refresh()
        assert [row.key for row in window.timeline.lanes] == [gamma]
        window.timeline.set_brush(None)
        await until(lambda: len(cells(page, "Name")) >= 4)

    show(look)


def test_mouse_and_keys(daemon, application, show):
    async def look(window):
        from qtinter.inspect.gui.qt import Qt, QtCore, QtGui, QtWidgets

        await ready(window)
        timeline = window.timeline

        def send(kind, x, y, button):
            place = QtCore.QPointF(x, y)
            none = Qt.MouseButton.NoButton
            pressed = none if kind == QtCore.QEvent.Type.MouseButtonRelease else button
            event = QtGui.QMouseEvent(
                kind, place, place, button, pressed, Qt.KeyboardModifier.NoModifier
            )
            QtWidgets.QApplication.sendEvent(timeline.viewport(), event)

        def drag(x0, y0, x1, y1):
            left, kind = Qt.MouseButton.LeftButton, QtCore.QEvent.Type
            send(kind.MouseButtonPress, x0, y0, left)
            send(kind.MouseMove, (x0 + x1) / 2, (y0 + y1) / 2, left)
            send(kind.MouseMove, x1, y1, left)
            send(kind.MouseButtonRelease, x1, y1, left)

        def key(code):
            for kind in (QtCore.QEvent.Type.KeyPress, QtCore.QEvent.Type.KeyRelease):
                event = QtGui.QKeyEvent(kind, code, Qt.KeyboardModifier.NoModifier)
                QtWidgets.QApplication.sendEvent(timeline, event)

        key(Qt.Key.Key_Home)
        assert not timeline.following
        t0, t1 = timeline.t0, timeline.t1
        left = timeline.labels_width
        drag(left + 100, 5, left + 200, 5)  # in the ruler: a range
        width = timeline.viewport().width() - left
        assert timeline.brush[0] == pytest.approx(
            t0 + 100 * (t1 - t0) / width, rel=0.01
        )
        assert (timeline.t0, timeline.t1) == (t0, t1)
        key(Qt.Key.Key_Escape)
        assert timeline.brush is None
        drag(left + 200, 200, left + 100, 200)  # in the lanes: moves
        assert timeline.t0 > t0
        assert timeline.t1 - timeline.t0 == t1 - t0
        key(Qt.Key.Key_Plus)
        assert timeline.t1 - timeline.t0 < t1 - t0
        key(Qt.Key.Key_End)
        assert timeline.following
        key(Qt.Key.Key_Home)
        timeline.refresh()
        key(Qt.Key.Key_Down)
        assert window.selection == TASK << 56 | timeline.lanes[0].key
        text = timeline.describe(QtCore.QPointF(left + width // 2, timeline.top + 30))
        assert text.startswith(timeline.label_of(timeline.lanes[1]))

    show(look)


def test_the_last_state_of_one_that_was_killed(daemon, application, show):
    async def look(window):
        page = await ready(window)
        before = cells(page, "Name")
        application.kill()
        await until(lambda: window.application.kind == "gone")
        await until(lambda: not window.banner.isHidden())
        assert "died" in window.banner.text()
        assert "ended" in window.list.item(0).text()
        await until(lambda: not page.model.busy)
        assert cells(page, "Name") == before
        assert not window.timeline.following

    show(look)


def test_a_pause_stops_the_view_and_not_the_collection(daemon, application, show):
    async def look(window):
        page = await ready(window)
        window.actions_.pause.setChecked(True)
        assert "Paused" in window.banner.text()
        application.ask("task later")
        source = window.application.source
        await until(
            lambda: any(source.task_name(r) == "later" for r in source.of_kind(TASK))
        )
        for _ in range(5):
            window.frame()
        assert "later" not in cells(page, "Name")
        window.actions_.pause.setChecked(False)
        await until(lambda: "later" in cells(page, "Name"))

    show(look)


def test_losses_are_always_shown(daemon, application, show):
    async def look(window):
        await ready(window)
        app = window.application
        app.take("gap", {"first": app._next, "count": 1234, "cause": "ring"})
        await until(lambda: not window.banner.isHidden())
        assert "1,234 events were LOST" in window.banner.text()
        assert "1,234" in window.lost.text()

    show(look)


def test_the_daemon_comes_back(start_daemon, start_application, show):
    daemon = start_daemon()
    application = start_application()

    async def look(window):
        page = await ready(window)
        daemon.stop()
        await until(lambda: window.application.kind == "gone")
        assert len(cells(page, "Name")) == 4  # the last state is kept
        window.live.retry.emit()  # the window starts another daemon
        await until(lambda: window.application.kind == "live")
        application.ask("task after")
        await until(lambda: "after" in cells(page, "Name"))
        assert window.application.lost == 0

    show(look)


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_export(daemon, application, show, tmp_path, ending):
    if ending == "svg":
        from qtinter.inspect.gui.qt import svg_generator

        try:
            svg_generator()
        except ImportError as exc:
            pytest.skip(str(exc))

    async def look(window):
        await ready(window)
        for name in ("timeline", "window"):
            path = str(tmp_path / f"{name}.{ending}")
            assert window.export(path, timeline=name == "timeline")
            if name == "timeline":
                sizes[name] = window.timeline.viewport().size()
            else:
                sizes[name] = window.centralWidget().size()
        assert not window.export(str(tmp_path / "view.txt"))
        assert ".png" in window.statusBar().currentMessage()

    sizes = {}
    show(look)
    for name in ("timeline", "window"):
        data = (tmp_path / f"{name}.{ending}").read_bytes()
        if ending == "png":
            assert data.startswith(b"\x89PNG")
            found = struct.unpack(">II", data[16:24])
            assert found == (sizes[name].width(), sizes[name].height())
        else:
            view = f"0 0 {sizes[name].width()} {sizes[name].height()}"
            assert f'viewBox="{view}"'.encode() in data
            assert b"<svg" in data
            assert b"gamma" in data  # texts are texts


def test_without_svg(daemon, application, show, tmp_path, monkeypatch):
    from qtinter.inspect.gui import export

    def missing():
        raise ImportError("no QtSvg here; export PNG")

    monkeypatch.setattr(export, "svg_generator", missing)

    async def look(window):
        assert not window.export(str(tmp_path / "view.svg"))
        assert "export PNG" in window.statusBar().currentMessage()

    show(look)


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_a_segment_in_the_same_views(application, show, runtime, tmp_path, theme):
    application.kill()
    (segment,) = runtime.glob("*.qiseg")
    path = tmp_path / "crash.qiseg"
    shutil.copy(segment, path)

    async def look(window):
        opened = window.open(str(path))
        page = await ready(window)
        assert opened.kind == "crash"
        assert set(cells(page, "Name")) > NAMES
        assert "died" in window.banner.text()
        assert "segment" in window.list.item(0).text()
        window.timeline.refresh()
        assert len(window.timeline.lanes) >= 4
        gamma = id_of(window, "gamma")
        window.select(TASK << 56 | gamma)
        assert "released" in window.details.text()
        process = window.application.process
        assert {kind for kind, _ in process.rows} >= {TASK, SLOT, WAIT, OBJECT}

    show(look, live=False, theme=theme)


@pytest.mark.parametrize("at", [None, 0.0])
def test_a_recording_in_the_same_views(application_object, show, tmp_path, at):
    path = tmp_path / "some.qtrace"

    async def waits(event):
        await event.wait()

    async def record():
        event = asyncio.Event()
        with qtinter.inspect.record(str(path)):
            tasks = [
                asyncio.ensure_future(waits(event), loop=asyncio.get_running_loop())
                for _ in range(3)
            ]
            for _ in range(3):
                await asyncio.sleep(0)
            with qtinter.inspect.span("the end"):
                event.set()
                await tasks[0]
        for task in tasks:
            await task

    async def look(window):
        opened = window.open(str(path), at)
        page = window.pages["tasks"]
        window.set_show_ended(True)
        await until(lambda: not opened.behind and not page.model.busy)
        assert opened.kind == "recording"
        assert "recording" in window.list.item(0).text()
        if at is not None:
            assert "0 s after the beginning" in window.banner.text()
            return
        ran = [lane for lane in opened.lanes.tasks.values() if RUNS in lane.kinds]
        assert len(ran) >= 3
        assert [note.kind for note in opened.lanes.notes].count("span") == 1
        codes = cells(page, "Coroutine")
        assert sum("waits" in code for code in codes) >= 3

    with qtinter.using_asyncio_from_qt() as loop:
        done = loop.create_task(record())
        done.add_done_callback(lambda _: application_object.quit())
        application_object.exec()
    done.result()
    del done, loop
    show(look, live=False)


def test_no_segment_says_so(application_object, tmp_path):
    from qtinter.inspect.gui.files import open_file

    path = tmp_path / "some.txt"
    path.write_text("no segment at all")
    with pytest.raises(ValueError, match=r"some\.txt"):
        open_file(str(path))


def test_the_command_needs_a_display(inspect, monkeypatch, tmp_path):
    for name in ("DISPLAY", "WAYLAND_DISPLAY", "QT_QPA_PLATFORM"):
        monkeypatch.delenv(name, raising=False)
    result = inspect("gui")
    assert result.returncode == 3
    assert "no display" in result.stderr
    monkeypatch.setenv("QT_QPA_PLATFORM", "offscreen")
    result = inspect("gui", str(tmp_path / "none.qtrace"))
    assert result.returncode == 3
    assert "none.qtrace" in result.stderr


def test_views_have_names_for_screen_readers(application_object, show):
    async def look(window):
        for widget in (window.list, window.tabs, window.line, window.timeline):
            assert widget.accessibleName()
        for page in window.pages.values():
            assert page.view.accessibleName()
        assert "QTINTER_INSPECT" in window.nothing.text()
        assert window.centre.currentWidget() is window.nothing

    show(look, live=False)


def test_a_recording_in_which_all_is_over(show, tmp_path):
    """Its tasks are seen at once."""
    path = tmp_path / "over.qtrace"
    with qtinter.inspect.record(str(path)):
        loop = qtinter.new_event_loop()
        loop.set_mode(qtinter.QiLoopMode.NATIVE)
        loop.run_until_complete(asyncio.sleep(0))
        loop.close()

    async def look(window):
        opened = window.open(str(path))
        page = window.pages["tasks"]
        await until(lambda: not opened.behind and not page.model.busy)
        assert cells(page, "State") == ["done"]

    show(look, live=False)
