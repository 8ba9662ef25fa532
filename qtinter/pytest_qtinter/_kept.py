"""Writing what is kept of a test."""

from __future__ import annotations

import json
import os
import shutil
from typing import List, Optional, Tuple

from qtinter import _core
from qtinter.inspect.segment import running_owner, segments
from qtinter.trace import Trace, _diff, _text
from qtinter.trace import open as open_trace
from qtinter.trace.export import FORMATS, export

TITLE = "Captured loop trace"
_NO_RECORDS = 2**63 - 1  # the first one wanted


def write_segment(segment: str, path: str, trace_id: Optional[str] = None) -> str:
    """Write what a segment holds as a recording; the path that it has got.

    :param trace_id: that it gets; None: that of the segment.
    :raises OSError: it cannot be read or written.
    :raises ValueError: it is no segment.
    """
    if hasattr(_core, "segment_to_trace"):
        _core.segment_to_trace(segment, path + ".qtrace", trace_id)
        return path + ".qtrace"
    shutil.copyfile(segment, path + ".qiseg")
    return path + ".qiseg"


def id_of(run: str, folder: str) -> str:
    """What the recordings of all processes of one test have as their id.

    :param run: QTINTER_TRACE_ID of these processes
    """
    return f"{run}/{os.path.basename(folder)}"


def write_children(staging: str, folder: str, run: str) -> List[str]:
    """Write the recordings of processes that the test has started; what went wrong.

    One that somebody has given another QTINTER_TRACE_ID keeps it.
    """
    problems = []
    for segment in sorted(segments(staging)):
        pid = os.path.basename(segment).partition("-")[0]
        try:
            header = _core.inspect_read_segment(segment, _NO_RECORDS)["header"]
            same = header["trace_id"] == run
            write_segment(
                segment,
                os.path.join(folder, f"trace-p{pid}"),
                id_of(run, folder) if same else None,
            )
        except (OSError, ValueError) as exc:
            problems.append(f"process {pid}: {exc}")
    return problems


def remove_children(staging: str) -> None:
    """Remove the segments of processes that have ended.

    One that runs on, such as a server for several tests, belongs to each of them.
    """
    try:
        for segment in segments(staging):
            if not running_owner(segment):
                os.unlink(segment)
        os.rmdir(staging)
    except OSError:
        pass  # it is not empty


def texts_of(trace: Trace, less: int = 0) -> Tuple[str, str]:
    """A summary, and which pending task waits for what.

    :param less: how many lines of the summary others need.
    """
    return _text.summary(trace, _text.LINES - less), str(trace.await_graph())


def write_texts(trace: Trace, folder: str, texts: Tuple[str, str]) -> None:
    """summary.txt, await.txt and figures.json, for people and comparisons."""
    summary, waiting = texts
    _write(folder, "summary.txt", summary)
    _write(folder, "await.txt", waiting)
    _write(folder, "figures.json", json.dumps(_diff.figures(trace), indent=1))


def write_formats(path: str, folder: str, formats: List[str]) -> List[str]:
    """Export a recording that has been written; what went wrong."""
    problems = []
    wanted = [name for name in formats if name != "qtrace"]
    source = open_trace(path).source if wanted else None
    for name in wanted:
        assert source is not None
        to = os.path.join(folder, "trace" + FORMATS[name])
        try:
            export(source, to, name)
        except (OSError, ValueError) as exc:
            problems.append(f"{name}: {exc}")
    return problems


def _write(folder: str, name: str, text: str) -> None:
    path = os.path.join(folder, name)
    with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
        file.write(text.rstrip("\n") + "\n")
