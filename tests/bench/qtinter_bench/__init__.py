"""Benchmarks of qtinter beside plain asyncio, uvloop and qasync.

Run them with ``./dev bench`` (or ``python tests/bench/run.py``). Layout::

    cli.py         command line, scheduling of the child processes
    child.py       one measurement of one peer, in its own process
    peers.py       the event loops compared, and how each one runs a coroutine
    measure.py     clocks, resource usage, percentiles
    registry.py    what a workload and a line of the table are
    targets.py     what our loop has to reach on a line
    report.py      medians, ratios, the table
    workloads/     the workloads, by theme; the same code for every peer

POSIX only: resource usage comes from ``getrusage``. Memory, thread and descriptor
counts come from ``/proc`` and therefore need Linux.
"""
