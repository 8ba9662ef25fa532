"""What a worker that died has left behind, kept by the process that started it."""

from __future__ import annotations

import glob
import os
import shutil
from typing import Any

from qtinter.trace import open as open_trace

from . import _kept
from ._folders import Session
from ._plugin import CHILDREN


def salvage(
    session: Session, nodeid: str, worker: str, staging: str, report: Any
) -> None:
    """Keep the segment of a worker as the trace of the test that it died in.

    :param staging: the folder that the worker's segments are in.
    :param report: of the test; gets the section and the property.
    """
    segments = glob.glob(os.path.join(glob.escape(staging), "*.qiseg"))
    if not segments:
        return  # it did not use qtinter
    segment = max(segments, key=os.path.getmtime)
    try:
        folder = session.make(nodeid, f"-{worker}")
        run = session.trace_id
        own = _kept.id_of(run, folder)
        path = _kept.write_segment(segment, os.path.join(folder, "trace"), own)
        trace = open_trace(path, allow_gaps=True)
        began = [ts for ts, name, _ in trace.analysis.marks
                 if trace.process.text(name) == "test setup"]  # fmt: skip
        if began:
            trace = trace.between(trace.seconds(began[-1]), trace.seconds(trace.t1))
        _kept.write_texts(trace, folder, _kept.texts_of(trace))
        problems = _kept.write_children(os.path.join(staging, CHILDREN), folder, run)
        stack = os.path.join(staging, "stack.txt")
        if os.path.exists(stack) and os.path.getsize(stack):
            shutil.copyfile(stack, os.path.join(folder, "stack.txt"))
    except (OSError, ValueError) as exc:
        report.sections.append((_kept.TITLE, f"could not be salvaged: {exc}"))
        return
    lines = [folder, "what the worker did before it died:", trace.text(), *problems]
    report.sections.append((_kept.TITLE, "\n".join(lines)))
    report.user_properties.append(("qtrace", folder))
