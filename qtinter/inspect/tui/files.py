"""Files as sources: recordings, and segments of programs that run or have died."""

from __future__ import annotations

from typing import Any

from ... import trace
from ..recorded import lints_of, stalls_of
from ..segment import is_segment, read_snapshot
from .source import FileSource


def open_file(path: str, at: float | None = None) -> FileSource:
    """The source for a file.

    :param at: seconds since its begin, for a recording; by default its end.
    :raises OSError: it cannot be opened.
    :raises ValueError: it is neither a recording nor a segment.
    """
    opener: Any = getattr(trace, "open", None)
    if opener is None or is_segment(path):
        if at is not None:
            raise ValueError(f"{path} is a segment: it shows its last state only")
        return FileSource(path, read_snapshot(path))
    recording = opener(path, allow_gaps=True)
    length = float(recording.duration)
    source = FileSource(
        path,
        recording.snapshot(),
        recording.snapshot,
        length,
        stalls_of(recording),
        lints_of(recording),
    )
    for other in recording.others:
        source.add(
            other.snapshot(),
            other.snapshot,
            (other.zero - recording.zero) * 1e-9,
            float(other.duration),
            stalls_of(other),
            lints_of(other),
        )
    if at is not None:
        source.go_to(at)
    return source
