"""Applications from files: segments that were left behind, and recordings.  No Qt."""

from __future__ import annotations

import itertools
import os
from typing import TYPE_CHECKING, Any, Iterator

from ..recorded import lints_of, stalls_of
from ..segment import is_segment, read_snapshot
from .application import CRASH, RECORDING, SLICE, Application

if TYPE_CHECKING:
    from ... import trace as traces


def open_files(path: str, at: float | None = None) -> list[Application]:
    """Open a file as :func:`open_file` does, or all in the folder of a test.

    :returns: an application for each, that of the test first.
    """
    if not os.path.isdir(path):
        return [open_file(path, at)]
    from ... import trace as traces
    from ...trace._trace import files_in

    whole = traces.open(path, allow_gaps=True)
    first, *others = files_in(path)
    found = [open_file(first, at)]
    if whole.problems:
        found[0].problem = "; ".join(whole.problems[:3])
    for name, other in zip(others, whole.others):
        its = None if at is None else at - (other.zero - whole.zero) * 1e-9
        if its is None or its >= other.duration:
            found.append(open_file(name))
        elif its >= 0:  # it had begun
            found.append(open_file(name, its))
    return found


def open_file(path: str, at: float | None = None) -> Application:
    """Open a segment or a recording; its events are read by :meth:`Application.work`.

    :param at: seconds since the beginning of a recording, at which its state is shown;
        by default at its end.
    :raises OSError: it cannot be opened.
    :raises ValueError: it is neither, or is damaged.
    """
    try:
        return _open_segment(path) if is_segment(path) else _open_recording(path, at)
    except ValueError as exc:
        if path in str(exc):
            raise
        raise ValueError(f"{path}: {exc}") from exc


def _open_segment(path: str) -> Application:
    from ... import trace as traces  # a window of live applications needs none

    process = read_snapshot(path)
    application = Application(process, CRASH, os.path.abspath(path))
    if process.alive:
        application.problem = "it still runs; this is its state when it was opened"
    elif not process.info.get("closed"):
        application.problem = "it died; this is its last state"
    application.older = process.lost
    application.add_rows()
    application.add_records(process.records)
    process.alive = False  # its clock stands still
    _add_findings(application, traces.open(path, allow_gaps=True))
    return application


def _open_recording(path: str, at: float | None) -> Application:
    from ... import trace as traces

    trace = traces.open(path, allow_gaps=True)
    process = trace.snapshot(at)
    process.alive = False
    application = Application(process, RECORDING, os.path.abspath(path))
    if at is not None:
        application.problem = f"this is its state {at:g} s after the beginning"
        process.info["last"] = trace.zero + round(at * 1e9)
    if trace.problems:
        application.problem = "; ".join(trace.problems[:3])
    end = None if at is None else int(process.info["last"])
    for gap in trace.gaps:
        if gap.first == 0:
            application.older += gap.count
        else:
            application.lost += gap.count
    application.add_rows()
    application.read_from(_parts(trace, end))
    _add_findings(application, trace)
    return application


def _parts(trace: traces.Trace, end: int | None) -> Iterator[Any]:
    """Lists of records, and numbers of missing ones between them."""
    expected = None
    records = trace.source.records(None, end)
    while True:
        part = list(itertools.islice(records, SLICE))
        if not part:
            return
        run: list[Any] = []
        for number, *record in part:
            if expected is not None and number > expected:
                yield run
                yield number - expected
                run = []
            run.append(record)
            expected = number + 1
        yield run


def _add_findings(application: Application, trace: traces.Trace) -> None:
    """What the reader of recordings finds suspicious."""
    for stall in stalls_of(trace):
        application.stalls[stall["loop"], stall["since"]] = stall
    for lint in lints_of(trace):
        application.source.lints[lint["id"], lint["ref"]] = lint
