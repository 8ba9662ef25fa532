"""Screen 4: the asyncslots and their invocations."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Hashable, Iterable

from ... import _tables
from ...errors import InspectError
from ...model import OBJECT, SLOT, Row
from ..text import count, nanoseconds, seconds
from .base import BOLD, DIM, HOT, PLAIN, Cell, Column, Opening, TableView
from .tasks import mark_key, mark_of

if TYPE_CHECKING:
    from ..viewer import Viewer

ASKED = 50  # distributions asked for at once


class SlotsView(TableView):
    name = "slots"
    title = "Slots"
    hints = (("Enter", "its tasks"), ("<>r", "sort"))
    fixed = 2

    def __init__(self, viewer: Viewer) -> None:
        super().__init__(viewer, "id")
        viewer.watch(SLOT, self.model)

    def get(self, ident: Any) -> Row | None:
        row = self.viewer.row(SLOT, ident)
        return row if row is not None and not row.is_over else None

    def idents(self) -> Iterable[Hashable]:
        return self.viewer.ids(SLOT)

    def open(self, ident: Any) -> Opening | None:
        return Opening("tasks", f"slot_id=={ident}")

    def empty_text(self) -> str:
        return "no asyncslots"

    async def poll(self) -> None:
        """The distribution of invocations of what is shown."""
        viewer = self.viewer
        codes = {row["code"] for row in map(self.get, self.model.order[:ASKED]) if row}
        for code in codes:
            try:
                value = await viewer.source.request(
                    "HISTOGRAM", pid=viewer.pid, code=code
                )
            except InspectError:
                return
            viewer.histograms[viewer.pid or 0, code] = value

    def make_columns(self) -> Iterable[Column]:
        viewer = self.viewer

        def text(column: str) -> Any:
            def get(row: Row) -> str:
                assert viewer.process is not None
                return viewer.process.text(row[column])

            return get

        def code(row: Row) -> Cell:
            assert viewer.process is not None
            return viewer.process.code_text(row["code"]), DIM

        def receiver(row: Row) -> Cell:
            assert viewer.process is not None
            if not row["receiver"]:
                return "-", DIM
            found = viewer.row(OBJECT, row["receiver"])
            shown = viewer.process.object_text(row["receiver"])
            if found is None:
                return shown or "?", DIM
            if found["destroyed"] or found.is_over:
                return f"✗ {shown}, destroyed", HOT
            return f"✓ {shown}", PLAIN

        def calls(which: str) -> Any:
            def value(row: Row) -> int:
                found = viewer.histograms.get((viewer.pid or 0, row["code"]))
                distribution = (found or {}).get("calls") or {}
                return int(distribution.get(which, 0))

            return value

        def of(which: str) -> Any:
            value = calls(which)
            return lambda row: (nanoseconds(value(row)), PLAIN)

        def number(column: str, limit: int = 1 << 62) -> Any:
            return lambda row: (
                count(row[column]),
                HOT if row[column] >= limit else PLAIN,
            )

        def last(row: Row) -> Cell:
            begun = row["last_call"]
            return seconds((viewer.now() - begun) * 1e-9 if begun else None), PLAIN

        def average(row: Row) -> int:
            ended = row["calls"] - row["live"]
            return int(row["total"] // ended) if ended > 0 else 0

        name = text("name")
        return (
            Column("!", 2, lambda r: mark_of(viewer, SLOT, r.id),
                   lambda r: mark_key(viewer, SLOT, r.id)),
            Column("id", 4, lambda r: (str(r.id), PLAIN), lambda r: r.id, True),
            Column("asyncslot", 20, lambda r: (name(r), BOLD),
                   lambda r: name(r).casefold(), grow=3),
            Column("calls", 6, number("calls"), lambda r: r["calls"], True),
            Column("live", 5, number("live", 10), lambda r: r["live"], True),
            Column("most", 5, number("overlap_max", 2), lambda r: r["overlap_max"],
                   True),
            Column("p50", 8, of("p50"), calls("p50"), True),
            Column("p99", 8, of("p99"), calls("p99"), True),
            Column("receiver", 16, receiver, lambda r: receiver(r)[0], grow=2),
            Column("mean", 8, lambda r: (nanoseconds(average(r)), PLAIN), average,
                   True),
            Column("longest", 8, lambda r: (nanoseconds(r["max"]), PLAIN),
                   lambda r: r["max"], True),
            Column("last", 8, last, lambda r: -r["last_call"], True),
            Column("overlap", 8, lambda r: (_tables.OVERLAPS.get(r["policy"], ""), DIM),
                   lambda r: r["policy"]),
            Column("refused", 7, number("refused"), lambda r: r["refused"], True),
            Column("code", 20, code, lambda r: code(r)[0], grow=2),
        )  # fmt: skip
