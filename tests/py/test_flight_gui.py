"""inspect.flight() in programs with a window that stops now and then."""
# ruff: noqa: F811 - fixtures that are imported

import asyncio
import os
import time

import pytest

from qtinter import _core, inspect, trace

from .observing import apart, off  # noqa: F401

if not hasattr(_core, "TraceReader"):
    pytest.skip("this build is without recordings", allow_module_level=True)

BLOCK = 0.25  # seconds, longer than
ON = "stall>200ms"
BEFORE, AFTER = 1.0, 0.1


async def until(flight, captures):
    deadline = time.monotonic() + 60  # a safety net
    while flight.statistics()["captures"] < captures:
        assert time.monotonic() < deadline, flight.statistics()
        await asyncio.sleep(0.01)


def block():
    time.sleep(BLOCK)  # the stall


async def blocks():
    block()


@pytest.mark.parametrize("how", ["task", "callback", "timer of Qt"])
def test_a_stall_leaves_what_was_before_and_after(
    apart, qt, run_attached, tmp_path, how
):
    path = tmp_path / "a.qtrace"

    async def main():
        flight = inspect.flight(path, on=ON, pre=BEFORE, post=AFTER)
        inspect.mark("before")
        await asyncio.sleep(0.01)
        if how == "task":
            await asyncio.ensure_future(blocks())
        elif how == "callback":
            asyncio.get_running_loop().call_soon(block)
        else:
            qt.QtCore.QTimer.singleShot(0, block)
        await asyncio.sleep(0.01)
        inspect.mark("after")
        await until(flight, 1)
        assert flight.stop()["last_trigger"] == "stall"

    run_attached(main())
    found = trace.open(path)
    assert (found.problems, found.gaps) == ([], [])
    stalls = [stall for stall in found.stalls() if stall.duration >= 0.2]
    assert stalls
    if how == "timer of Qt":
        assert stalls[0].where == "Qt"
        assert found.lints("QI103").one().text.endswith("while Qt had the thread")
    before, after = (
        next(e.at for e in found.events("mark") if e.fields["name"] == name)
        for name in ("before", "after")
    )
    assert all(before <= stall.began + 0.001 for stall in stalls)
    assert all(stall.began + 0.2 <= after + 0.001 for stall in stalls)
    assert sorted(os.listdir(tmp_path)) == ["a.qtrace", "runtime"]


def test_one_stall_after_the_other_stays_one_file(apart, qt, run_attached, tmp_path):
    """Of bounded size, and never more than that and what it is made of."""
    path = tmp_path / "a.qtrace"
    limit = 65_536
    sizes = []

    async def main():
        with inspect.flight(path, on=ON, max_bytes=limit, pre=9, post=0) as flight:
            for number in range(4):
                for _ in range(40):
                    inspect.mark(f"round {number}")
                    await asyncio.sleep(0)
                before = flight.statistics()["captures"]
                block()
                await until(flight, before + 1)
                # While the ring is made smaller there is a ".new" one for a moment.
                there = {n for n in os.listdir(tmp_path) if not n.endswith(".new")}
                assert there <= {"a.qtrace", "a.qtrace.part", "runtime"}
                sizes.append(path.stat().st_size)

    run_attached(main())
    assert len(sizes) == 4
    assert max(sizes) <= limit
    found = trace.open(path)
    names = [event.fields["name"] for event in found.events("mark")]
    assert names[-1] == "round 3"
    assert os.listdir(tmp_path / "runtime") == []
