"""What the window asks of the daemon, and of the application behind it."""

from __future__ import annotations

import asyncio
from html import escape
from typing import TYPE_CHECKING, Any

import qtinter

from ..errors import InspectError
from ..model import SLOT, TASK
from . import describe
from .application import LIVE, Application
from .qt import QtCore, QtWidgets, Signal

if TYPE_CHECKING:
    from .window import Window

_HISTOGRAM_FRAMES = 40  # until it is asked for again


class Requests(QtCore.QObject):
    """What only others can say of the selection, and what the user wants changed.

    :param window: whose details show the answers.
    """

    answered = Signal()  # there is more to say about the selection

    def __init__(self, window: Window) -> None:
        super().__init__(window)
        self.window = window
        self._histogram_of: Any = None

    def forget(self) -> None:
        """Nothing is selected any more."""
        self._histogram_of = None

    def about(self, application: Application, ref: int, frame: int) -> None:
        """Asks what there is to know about an entity, if it is time to ask again.

        :param frame: the number of the frame.
        """
        kind, ident = ref >> 56, ref & (1 << 56) - 1
        row = application.process.rows.get((kind, ident))
        code = row["code"] if row is not None and kind in (TASK, SLOT) else 0
        wanted = (application, kind, code, frame // _HISTOGRAM_FRAMES)
        if wanted != self._histogram_of:
            self._histogram_of = wanted
            if code:
                self._fetch_histogram(application, kind, code)
            else:
                self.window.details.histogram.show_data("", None)
        if kind == TASK and application.kind == LIVE and not application.frozen:
            now = application.now()
            wanted_stacks = application.stacks.wanted(application.source, ident, now)
            if wanted_stacks:
                self._fetch_stacks(application, wanted_stacks)

    @qtinter.asyncslot(overlap="drop")
    async def _fetch_stacks(self, application: Any, idents: Any) -> None:
        """Where a task, and those that it waits for, are."""
        live, silent = self.window.live, False
        for ident in idents:
            text = ""
            if not silent and live is not None:
                try:
                    fields = {"pid": application.pid, "task": ident}
                    text = str(await live.request("STACK", **fields) or "")
                except (InspectError, asyncio.TimeoutError):
                    silent = True  # what hangs for one, hangs for all
            application.stacks.keep(application.source, ident, text, application.now())
        if application is self.window.application:
            self.answered.emit()

    @qtinter.asyncslot(overlap="restart")
    async def _fetch_histogram(self, application: Any, kind: int, code: int) -> None:
        """Shows how long steps take; of what was selected last."""
        name = (application.process.code(code) or {"name": "this code"})["name"]
        title = f"Calls of {name}" if kind == SLOT else f"Steps of {name}"
        data = None
        live = self.window.live
        if application.kind == LIVE and live is not None:
            try:
                found = await live.request("HISTOGRAM", pid=application.pid, code=code)
            except (InspectError, asyncio.TimeoutError):
                return  # the next frame asks again, if there is somebody to ask
            data = found["calls" if kind == SLOT else "steps"]
        if data is None and kind == TASK:
            data = describe.durations(application.lanes, code)
        if application is self.window.application:
            self.window.details.histogram.show_data(title, data)

    # --- what the user asks for

    @qtinter.asyncslot(overlap="drop")
    async def show_stack(self) -> None:
        """Shows where the thread of the loop is."""
        application, live = self.window.application, self.window.live
        if application is None or live is None:
            return
        try:
            text = await live.request("STACK", pid=application.pid)
        except (InspectError, asyncio.TimeoutError) as exc:
            text = str(exc) or "The application does not answer: its loop is blocked."
        self.window.show_text(f"The loop's thread of {application.name}", str(text))

    @qtinter.asyncslot(overlap="drop")
    async def cancel_task(self) -> None:
        """Cancels the selected task, after a question."""
        application, ref = self.window.application, self.window.selected_ref()
        if application is None or self.window.live is None or ref >> 56 != TASK:
            return
        box = QtWidgets.QMessageBox
        if not application.source.info.get("control"):
            await qtinter.modal(box.information)(
                self.window,
                "Cancel task",
                f"<p>{escape(application.name)} does not accept cancellations. It "
                "needs qtinter.inspect.enable(control=True), or "
                "QTINTER_INSPECT_CONTROL=1 in its environment.</p>",
            )
            return
        button = box.StandardButton
        task = application.process.describe(ref)
        answer = await qtinter.modal(box.question)(
            self.window,
            "Cancel task",
            f"<p>Cancel {escape(task)} in {escape(application.name)}?</p>",
            button.Yes | button.No,
            button.No,
        )
        if answer == button.Yes:
            ident = ref & (1 << 56) - 1
            await self._change("CANCEL", pid=application.pid, task=ident)

    @qtinter.asyncslot
    async def set_level(self, level: int) -> None:
        """Changes what the application records."""
        application = self.window.application
        if application is not None and await self._change(
            "SET_LEVEL", pid=application.pid, level=level
        ):
            application.source.info["level"] = level

    async def _change(self, name: str, **fields: Any) -> bool:
        live = self.window.live
        if live is None:
            return False
        bar = self.window.statusBar()
        try:
            await live.control(name, **fields)
        except (InspectError, OSError, asyncio.TimeoutError) as exc:
            bar.showMessage(f"refused: {str(exc) or 'no answer'}", 8000)
            return False
        bar.showMessage("done", 3000)
        return True
