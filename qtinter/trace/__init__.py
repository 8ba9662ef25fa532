"""Reading what the loops of a program did: recordings, and segments.

::

    trace = qtinter.trace.open("save.qtrace")
    call = trace.slots("on_save").one()
    assert call.max_step < 0.05, trace.max_step.where
    assert trace.path("clicked", "on_save", "Reply.finished")
    print(trace.await_graph())

See docs/traces.md.
"""

from __future__ import annotations

from ._graph import AwaitGraph, Path
from ._query import (
    Code,
    Distribution,
    Event,
    Found,
    Lint,
    NotFound,
    SlotCall,
    Span,
    Stall,
    Step,
    Task,
    TraceIncomplete,
    Wait,
)
from ._source import Gap, Note
from ._trace import Trace, open  # noqa: A004 - as builtins.open

__all__ = [
    "AwaitGraph",
    "Code",
    "Distribution",
    "Event",
    "Found",
    "Gap",
    "Lint",
    "NotFound",
    "Note",
    "Path",
    "SlotCall",
    "Span",
    "Stall",
    "Step",
    "Task",
    "Trace",
    "TraceIncomplete",
    "Wait",
    "open",
]
