"""One measurement of one peer, in a process of its own.

The answer is one JSON object on the last line of standard output.
"""

from __future__ import annotations

import asyncio
import dataclasses
import json
import platform
import sys
import time
from typing import Any, Dict

from . import workloads  # noqa: F401  (fills WORKLOADS)
from .measure import Measurement, descriptor_count, thread_count
from .peers import PEERS, NotInstalled, Prepared
from .registry import WORKLOADS, Bench, Workload


def missing_facilities(workload: Workload, prepared: Prepared) -> bool:
    """True if the peer lacks something without which the workload has no meaning."""
    return any(getattr(prepared.facilities, name) is None for name in workload.needs)


def measure(prepared: Prepared, workload: Workload, size: str) -> Measurement:
    """Run the workload once for warming up, if it wants that, and once measured."""
    bench = Bench(workload.counts[size], prepared.facilities)

    async def main() -> Measurement:
        if workload.warmup:
            warm = dataclasses.replace(bench, count=_warm_count(bench.count, workload))
            await workload.function(warm)
        return await workload.function(bench)

    bench.threads_before = thread_count()
    bench.descriptors_before = descriptor_count()
    bench.started_ns = time.perf_counter_ns()
    return prepared.run(main)


def _warm_count(count: float, workload: Workload) -> float:
    if isinstance(count, int):
        return max(int(count * workload.warmup), 1)
    return count * workload.warmup


def _as_json(result: Measurement) -> Dict[str, Any]:
    return {
        "values": result.values,
        "operations": result.operations,
        "usage": result.usage and dataclasses.asdict(result.usage),
    }


def _probe(prepared: Prepared) -> Dict[str, Any]:
    """Versions, and the host in use where the peer is ours."""

    async def main() -> Any:
        return getattr(asyncio.get_running_loop(), "host_name", None)

    host = prepared.run(main)
    versions = {"Python": platform.python_version(), **prepared.versions}
    return {"versions": versions, "host": host}


def _try(prepared: Prepared, workload: Workload, size: str) -> Dict[str, Any]:
    if missing_facilities(workload, prepared):
        return {"not_applicable": True}
    return _as_json(measure(prepared, workload, size))


def answer(peer_name: str, task: str, size: str) -> Dict[str, Any]:
    """Prepare the peer, then do the task: a workload's name, "probe" or "all".

    "all" runs the workloads one after the other, to see that they work.
    """
    try:
        prepared = PEERS[peer_name].prepare()
    except NotInstalled as missing:
        return {"not_installed": str(missing)}
    if task == "probe":
        return _probe(prepared)
    if task == "all":
        return {w.name: _try(prepared, w, size) for w in WORKLOADS.values()}
    return _try(prepared, WORKLOADS[task], size)


def main(arguments: Any) -> int:
    print(json.dumps(answer(*arguments)))
    sys.stdout.flush()
    return 0
