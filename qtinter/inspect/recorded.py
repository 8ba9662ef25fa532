"""Stalls and findings of a recording, in the form in which a daemon tells of them."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ..trace import Trace


def stalls_of(trace: Trace) -> list[dict[str, Any]]:
    """The fields of STALL for each, and "where": what ran; the earliest first."""
    return [
        {
            "loop": stall.loop,
            "since": trace.zero + round(stall.began * 1e9),
            "duration": round(stall.duration * 1e9),
            "current": 0,
            "where": stall.where,
            "stack": stall.stack,
            "over": True,
        }
        for stall in trace.stalls()
    ]


def lints_of(trace: Trace) -> list[dict[str, Any]]:
    """The fields of LINT for each."""
    return [
        {
            "id": lint.id,
            "severity": lint.severity,
            "ref": lint.ref[0] << 56 | lint.ref[1] if lint.ref is not None else 0,
            "text": lint.text,
            "count": 1,
            "since": trace.zero + round(lint.at * 1e9),
        }
        for lint in trace.lints()
    ]
