"""Clocks, resource usage and percentiles."""

from __future__ import annotations

import os
import resource
import time
from dataclasses import dataclass, field
from typing import Dict, Optional, Sequence

_PAGE_BYTES = resource.getpagesize()


@dataclass(frozen=True)
class Usage:
    """Resources used: times in nanoseconds, context switches as counts."""

    wall_ns: int = 0
    cpu_ns: int = 0
    voluntary: int = 0
    involuntary: int = 0

    def __sub__(self, other: Usage) -> Usage:
        return Usage(
            self.wall_ns - other.wall_ns,
            self.cpu_ns - other.cpu_ns,
            self.voluntary - other.voluntary,
            self.involuntary - other.involuntary,
        )


def _rusage(who: int) -> Usage:
    raw = resource.getrusage(who)
    return Usage(
        cpu_ns=int((raw.ru_utime + raw.ru_stime) * 1e9),
        voluntary=raw.ru_nvcsw,
        involuntary=raw.ru_nivcsw,
    )


def thread_usage() -> Usage:
    """CPU time and switches of the calling thread; zeros where not available.

    Only Linux has RUSAGE_THREAD. Elsewhere the cost of a workload's own thread
    stays in the process's figures, for every peer alike.
    """
    who = getattr(resource, "RUSAGE_THREAD", None)
    return Usage() if who is None else _rusage(who)


class Meter:
    """Context manager: wall time, CPU time and context switches of the process.

    All threads count, because a rate bought with a second busy core is no gain.
    """

    def __init__(self) -> None:
        self.usage = Usage()
        self._foreign = Usage()

    def exclude(self, usage: Usage) -> None:
        """Take out what the workload's own helper thread used."""
        self._foreign = usage

    def __enter__(self) -> Meter:
        self._before = _rusage(resource.RUSAGE_SELF)
        self._entered_ns = time.perf_counter_ns()
        return self

    def __exit__(self, *_exc: object) -> None:
        wall_ns = time.perf_counter_ns() - self._entered_ns
        used = _rusage(resource.RUSAGE_SELF) - self._before - self._foreign
        self.usage = Usage(wall_ns, used.cpu_ns, used.voluntary, used.involuntary)


@dataclass(frozen=True)
class Measurement:
    """What a workload returns.

    ``values`` has one number for each line the workload declares.
    ``operations`` and ``usage`` give the cost of one operation; ``usage`` is None
    where that is not a meaningful figure.
    """

    values: Dict[str, float]
    operations: int = 1
    usage: Optional[Usage] = None
    notes: Dict[str, str] = field(default_factory=dict)


def rate(operations: int, meter: Meter) -> Measurement:
    """The measurement of a throughput workload: line ``rate``, in 1/s."""
    return Measurement(
        {"rate": operations * 1e9 / meter.usage.wall_ns}, operations, meter.usage
    )


def percentile(samples: Sequence[float], percent: float) -> float:
    """Nearest-rank percentile of a non-empty sequence."""
    ordered = sorted(samples)
    rank = -(-len(ordered) * percent // 100)  # ceiling
    return ordered[max(int(rank), 1) - 1]


def latency(samples_ns: Sequence[int], meter: Meter) -> Measurement:
    """The measurement of a latency workload: ``p50`` and ``p99``, in µs."""
    return Measurement(
        {
            "p50": percentile(samples_ns, 50) / 1e3,
            "p99": percentile(samples_ns, 99) / 1e3,
        },
        len(samples_ns),
        meter.usage,
    )


def resident_bytes() -> int:
    """Resident set size of this process, from /proc/self/statm."""
    with open("/proc/self/statm", "rb") as statm:
        return int(statm.read().split()[1]) * _PAGE_BYTES


def thread_count() -> int:
    """Kernel threads of this process, Python's and others."""
    return len(os.listdir("/proc/self/task"))


def descriptor_count() -> int:
    """Open file descriptors of this process."""
    return len(os.listdir("/proc/self/fd")) - 1  # listdir itself holds one
