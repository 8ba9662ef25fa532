"""What all screens share: the source, the application that is looked at, the pause.

No terminal is known here; tests use it without one.
"""

from __future__ import annotations

import copy
import re
import time
from typing import TYPE_CHECKING, Any, Callable, NamedTuple

from .. import filters
from ..fields import FIELDS, TaskFields
from ..model import LOOP, TASK, Process, Row
from .history import (
    LagMeter,
    LoopHistory,
    StallLog,
    TaskTrack,
    sample_loops,
    task_of_ref,
)
from .source import FileSource, Source, records_of_change

if TYPE_CHECKING:
    from ..feed import Change
    from .rows import RowModel

SEVERITIES = "EWI"  # worst first
SAMPLE_SECONDS = 0.25
_NOTHING = {"text": ""}

_WORDS = re.compile(r"[^\s=<>~!()\"']+( +[^\s=<>~!()\"']+)*")


class Finding(NamedTuple):
    """The findings about an entity."""

    severity: str
    lints: tuple[str, ...]


class Viewer:
    """The state behind the screens.

    :ivar process: what is looked at; while paused, as it was then.
    :ivar warnings: (kind, id) to its findings.
    """

    def __init__(self, source: Source) -> None:
        self.source = source
        self.process: Process | None = None
        self.paused = False
        self.filter_text = ""
        self.warnings: dict[tuple[int, int], Finding] = {}
        self.stalls = StallLog()
        self.histograms: dict[tuple[int, int], Any] = {}
        self.track: TaskTrack | None = None
        self._histories: dict[int, dict[int, LoopHistory]] = {}
        self._lags: dict[int, LagMeter] = {}
        self._lost: dict[int, int] = {}
        self._ids: dict[int, dict[int, None]] = {}
        self._models: list[tuple[int, RowModel[Any]]] = []
        self._frozen: tuple[StallLog, dict[int, LoopHistory], LagMeter] | None = None
        self._frozen_at = 0
        self._warned = False
        self._sampled = 0.0
        self.changes = 0  # grows when what is shown may have changed
        source.listen(self._on_change)
        if isinstance(source, FileSource):
            for pid, fields in source.stalls:
                self.stalls.add_fields(pid, fields).what = fields["where"]
        self._show_followed()

    # --- the application

    @property
    def pid(self) -> int | None:
        """The application that is looked at."""
        return self.source.followed

    def _show_followed(self) -> None:
        pid = self.source.followed
        shown = None if pid is None else self.source.processes.get(pid)
        if shown is not self.process:
            self.process = shown
            self.reset()

    async def look_at(self, pid: int) -> None:
        """Look at another application."""
        self.resume()
        self.track = None
        await self.source.follow(pid)
        self._show_followed()

    def reset(self) -> None:
        """Everything is to be looked at again."""
        self._ids = {}
        if self.process is not None:
            for kind, ident in self.process.rows:
                self._ids.setdefault(kind, {})[ident] = None
        self._warn()
        for _, model in self._models:
            model.reset()
        self.changes += 1

    def ids(self, kind: int) -> list[int]:
        """The ids of the entities of a kind."""
        return list(self._ids.get(kind, ()))

    def row(self, kind: int, ident: Any) -> Row | None:
        return None if self.process is None else self.process.rows.get((kind, ident))

    def rows(self, kind: int) -> list[Row]:
        """The entities of a kind that are not over."""
        found = (self.row(kind, ident) for ident in self._ids.get(kind, ()))
        return [row for row in found if row is not None and not row.is_over]

    def watch(self, kind: int, model: RowModel[Any]) -> None:
        """Have a model told which rows of a kind change."""
        self._models.append((kind, model))

    def now(self) -> int:
        """The moment that is shown, on the application's clock."""
        if self._frozen is not None:
            return self._frozen_at
        return 0 if self.process is None else self.process.now()

    # --- the pause

    def pause(self) -> None:
        """Have what is shown stand still; what comes is collected all the same."""
        process = self.process
        if self.paused or process is None:
            self.paused = True
            return
        self.paused = True
        self._frozen_at = process.now()
        still = Process(dict(process.info, last=self._frozen_at))
        still.rows = {key: row.copy() for key, row in process.rows.items()}
        still.entries = process.entries  # these only grow
        still.lints = dict(process.lints)
        still.lost = process.lost
        still.alive = False  # its clock stands
        self._frozen = (
            self.stalls.copy(),
            copy.deepcopy(self.histories()),
            copy.deepcopy(self.lag()),
        )
        self.process = still

    def resume(self) -> None:
        """Show again what is."""
        if not self.paused:
            return
        self.paused = False
        self._frozen = None
        self.process = None
        self._show_followed()

    # --- what was

    def histories(self) -> dict[int, LoopHistory]:
        """Of the loops of the application, by id."""
        if self._frozen is not None:
            return self._frozen[1]
        return self._histories.setdefault(self.pid or 0, {})

    def lag(self) -> LagMeter:
        if self._frozen is not None:
            return self._frozen[2]
        return self._lags.setdefault(self.pid or 0, LagMeter())

    def shown_stalls(self) -> StallLog:
        return self.stalls if self._frozen is None else self._frozen[0]

    def lost(self) -> int:
        """How many records of any application are known to be lost."""
        for pid, process in self.source.processes.items():
            lost = process.lost
            for (name, _), lint in process.lints.items():
                if name == "QI901":  # also those that were lost before the daemon
                    digits = re.match(r"\d+", str(lint["text"]))
                    lost = max(lost, int(digits.group()) if digits else 1)
            self._lost[pid] = max(lost, self._lost.get(pid, 0))
        return sum(self._lost.values())

    async def track_task(self, task: int | None) -> None:
        """Collect the events of a task, or of none."""
        self.track = None if task is None else TaskTrack(task)
        await self.source.follow_events(None if task is None else self.pid)

    async def track_loops(self, wanted: bool) -> None:
        """Collect the lag of the loops, or no more."""
        self._lags.pop(self.pid or 0, None)
        await self.source.follow_events(self.pid if wanted else None)

    # --- filters

    def condition(self, text: str) -> Callable[[Row], bool] | None:
        """What a text that was typed as a filter demands of a task.

        Words alone are looked for in names, code and what is waited for.

        :raises ValueError: it is no filter; says why.
        """
        text = text.strip()
        if not text:
            return None
        try:
            holds = filters.compile(text, fields=FIELDS["tasks"])
        except ValueError:
            if not _WORDS.fullmatch(text):
                raise
            return self._search(text.casefold())

        def passes(row: Row) -> bool:
            assert self.process is not None
            return holds(TaskFields(self.process, row, lambda: self._lints(row.id)))

        return passes

    def _lints(self, task: int) -> list[str]:
        finding = self.warnings.get((TASK, task))
        return [] if finding is None else list(finding.lints)

    def _search(self, wanted: str) -> Callable[[Row], bool]:
        def holds(row: Row) -> bool:
            process = self.process
            assert process is not None
            return (
                wanted in process.task_name(row).casefold()
                or wanted in process.code_text(row["code"]).casefold()
                or wanted in (process.wait_of(row) or _NOTHING)["text"].casefold()
            )

        return holds

    # --- what comes

    def _on_change(self, change: Change) -> None:
        handler = getattr(self, f"_on_{change.what}", None)
        if handler is not None:
            handler(change)
        if change.pid == self.pid or change.what in ("up", "down", "lost"):
            self.changes += 1

    def _on_snapshot(self, change: Change) -> None:
        if change.pid == self.pid and not self.paused:
            self.process = self.source.processes.get(change.pid)
            self.reset()

    def _on_up(self, change: Change) -> None:
        if not self.paused:
            self._show_followed()

    def _on_down(self, change: Change) -> None:
        self._on_up(change)

    def _on_rows(self, change: Change) -> None:
        if change.pid != self.pid or self.paused:
            return
        touched: dict[int, list[int]] = {}
        for kind, ident, _ in change.data["upsert"]:
            touched.setdefault(kind, []).append(ident)
        for kind, idents in touched.items():
            self._ids.setdefault(kind, {}).update(dict.fromkeys(idents))
        for kind, ident in change.data["gone"]:
            touched.setdefault(kind, []).append(ident)
            self._ids.get(kind, {}).pop(ident, None)
        for kind, model in self._models:
            if kind in touched:
                model.touch(touched[kind])

    def _sample(self) -> None:
        """Takes down what the loops have done, also while the view stands still."""
        now = time.monotonic()
        live = self.source.processes.get(self.pid or 0)
        if live is None or not live.alive or now - self._sampled < SAMPLE_SECONDS:
            return
        self._sampled = now
        rows = (live.rows.get((LOOP, ident)) for ident in self.ids(LOOP))
        histories = self._histories.setdefault(self.pid or 0, {})
        sample_loops(histories, live, (row for row in rows if row is not None))

    def _on_events(self, change: Change) -> None:
        if change.pid != self.pid:
            return
        records = records_of_change(change)
        if self.track is not None:
            self.track.add(records)
        else:
            self._lags.setdefault(change.pid, LagMeter()).add(records)

    def _on_lint(self, change: Change) -> None:
        self._warned = True

    def _on_stall(self, change: Change) -> None:
        stall = self.stalls.add(change.pid, change.data["stall"])
        process = self.source.processes.get(change.pid)
        if stall is not None and process is not None and not stall.what:
            stall.what = process.describe(stall.current)

    def tick(self) -> None:
        """To be called now and then: does what need not be done for each change."""
        self._sample()
        if self._warned and not self.paused:
            self._warned = False
            before = self.warnings
            self._warn()
            changed = before.keys() ^ self.warnings.keys()
            for kind, model in self._models:
                model.touch(ident for its_kind, ident in changed if its_kind == kind)

    def _warn(self) -> None:
        found: dict[tuple[int, int], list[tuple[int, str]]] = {}
        if self.process is not None:
            for (name, ref), lint in self.process.lints.items():
                entity = self.process.ref(ref)
                if entity is not None:
                    severity = lint["severity"]
                    rank = SEVERITIES.find(severity) % (len(SEVERITIES) + 1)
                    found.setdefault(entity, []).append((rank, name))
        self.warnings = {
            entity: Finding(
                (SEVERITIES + "?")[min(rank for rank, _ in lints)],
                tuple(sorted({name for _, name in lints})),
            )
            for entity, lints in found.items()
        }

    def warning_of_ref(self, ref: int) -> Finding | None:
        task = task_of_ref(ref)
        return None if task is None else self.warnings.get((TASK, task))
