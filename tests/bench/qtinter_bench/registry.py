"""What a workload is, and the list of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Awaitable, Callable, Dict, List, Mapping, Optional, Tuple

from .measure import Measurement
from .targets import Target

SIZES = ("full", "quick", "tiny")
"""Amounts of work: default, ``--quick``, and just enough to see that it runs."""


@dataclass(frozen=True)
class Line:
    """One row of the table: a number that a workload gives.

    Shown is the median of all rounds, or with ``worst`` the worst of them. ``must``
    is what has to hold today, ``aim`` the final target.
    """

    key: str
    label: str
    unit: str
    higher_is_better: bool = False
    may_be_zero: bool = False
    worst: bool = False
    must: Tuple[Target, ...] = ()
    aim: Tuple[Target, ...] = ()


def rate_line(must: Tuple[Target, ...] = (), aim: Tuple[Target, ...] = ()) -> Line:
    """The line of a throughput workload."""
    return Line("rate", "", "/s", higher_is_better=True, must=must, aim=aim)


@dataclass(frozen=True)
class Facilities:
    """What the peer offers beside an event loop; None where it has no such thing.

    ``QtCore``      the binding's module (Qt loops only)
    ``Signal``      the binding's signal factory
    ``asyncslot``   decorator that turns a coroutine method into a Qt slot
    ``wait_signal`` gives an awaitable that ends when a signal is emitted
    """

    QtCore: Any = None
    Signal: Any = None
    asyncslot: Optional[Callable[[Callable[..., Any]], Callable[..., Any]]] = None
    wait_signal: Optional[Callable[[Any], Awaitable[Any]]] = None


@dataclass
class Bench:
    """What a workload is given.

    ``count`` is the amount of work, in the unit the workload documents. The last
    three fields describe the process just before the event loop was created.
    """

    count: float
    facilities: Facilities = field(default_factory=Facilities)
    started_ns: int = 0
    threads_before: int = 0
    descriptors_before: int = 0

    @property
    def n(self) -> int:
        """The amount of work where it is a number of operations."""
        return int(self.count)


WorkloadFunction = Callable[[Bench], Awaitable[Measurement]]


@dataclass(frozen=True)
class Workload:
    """A measured coroutine function and how to run and show it.

    ``counts``   amount of work for each of SIZES
    ``warmup``   fraction of the work done before, not measured; 0 for none
    ``needs``    names of Facilities without which the peer is shown as "n/a"
    ``env``      environment variables of the child process
    """

    name: str
    title: str
    function: WorkloadFunction
    lines: Tuple[Line, ...]
    counts: Mapping[str, float]
    warmup: float
    needs: Tuple[str, ...]
    env: Mapping[str, str]


WORKLOADS: Dict[str, Workload] = {}


def workload(
    title: str,
    lines: List[Line],
    *,
    full: float,
    quick: float,
    tiny: float,
    name: Optional[str] = None,
    warmup: float = 0.2,
    needs: Tuple[str, ...] = (),
    env: Optional[Mapping[str, str]] = None,
) -> Callable[[WorkloadFunction], WorkloadFunction]:
    """Decorator: put a coroutine function on the list, under its own name."""

    def register(function: WorkloadFunction) -> WorkloadFunction:
        key = name or function.__name__
        if key in WORKLOADS:
            raise ValueError(f"two workloads are called {key!r}")
        WORKLOADS[key] = Workload(
            key,
            title,
            function,
            tuple(lines),
            {"full": full, "quick": quick, "tiny": tiny},
            warmup,
            needs,
            dict(env or {}),
        )
        return function

    return register
