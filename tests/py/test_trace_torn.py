"""Recordings by the program itself, and segments, that are cut or corrupted."""

import os
import pathlib
import random
import shutil
import signal
import subprocess
import sys
import textwrap

import pytest

from qtinter import _core, trace

TESTS = pathlib.Path(__file__).resolve().parents[1]
sys.path.insert(0, str(TESTS / "tools"))
from trace_damage import Whole, ask_everything  # noqa: E402

sys.path.remove(str(TESTS / "tools"))

if not hasattr(_core, "TraceReader"):
    pytest.skip("this build is without recordings", allow_module_level=True)

SEED = 20261129
HEADER = 4096
TIMEOUT = 120  # seconds, a safety net

PROGRAM = """
import asyncio, os, signal, sys
import qtinter
from qtinter import inspect

async def child(number):
    with inspect.span(f"child {number}"):
        await asyncio.sleep(0)

async def main(flight):
    number = 0
    while flight.statistics()["chunks_dropped"] == 0:
        for _ in range(100):
            inspect.mark(f"mark {number}")
            number += 1
        await asyncio.gather(*(child(number + i) for i in range(20)))
    await asyncio.gather(*(child(i) for i in range(20)))
    asyncio.get_running_loop().call_later(3600, print)
    asyncio.ensure_future(asyncio.sleep(3600))
    await asyncio.sleep(0)
    os.kill(os.getpid(), signal.SIGKILL)

inspect.enable(level=3, connect=False, directory=sys.argv[2], ring=1024)
flight = inspect.flight(sys.argv[1], on="stall>1000s", max_bytes=100_000)
loop = qtinter.new_event_loop()
loop.set_mode(qtinter.QiLoopMode.NATIVE)
loop.run_until_complete(main(flight))
"""


@pytest.fixture(scope="module")
def left(tmp_path_factory):
    """What a killed program has left: the ring of its flight, and its segment."""
    folder = tmp_path_factory.mktemp("left")
    runtime = folder / "runtime"
    runtime.mkdir(mode=0o700)
    environment = {**os.environ, "QTINTER_INSPECT": "0"}
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(PROGRAM), folder / "a.qtrace", runtime],
        cwd="/",  # not the checkout, which would hide the installed package
        env=environment,
        timeout=TIMEOUT,
    )
    assert done.returncode == -signal.SIGKILL
    (segment,) = runtime.iterdir()
    return folder / "a.qtrace.part", segment


@pytest.fixture(scope="module")
def ring(left):
    found = Whole(left[0].read_bytes())
    assert min(found.chunks) > 0, "the oldest ones are gone"
    return found


def test_a_ring_that_is_cut_anywhere(ring, tmp_path):
    cuts = ring.cuts(SEED, 300)
    for cut in cuts:
        ring.check_cut(cut)
    copy = tmp_path / "copy.qtrace"
    for cut in cuts[:: len(cuts) // 12]:
        copy.write_bytes(ring.data[:cut])
        if cut >= ring.blocks[0][0]:
            ask_everything(trace.open(copy))


def test_a_ring_that_is_corrupted_anywhere(ring, tmp_path):
    copy = tmp_path / "copy.qtrace"
    for number, changed in enumerate(ring.damaged(SEED, 150)):
        ring.check_damaged(changed)
        if number % 20 == 0:
            copy.write_bytes(changed)
            try:
                found = trace.open(copy)
            except ValueError:
                continue  # its head is damaged
            ask_everything(found)


# --- segments: nothing tells which bytes of one are wrong ----------------------------


def look_at(path, to):
    """Whatever is in it: answers, or one error that names it."""
    try:
        found = trace.open(path, allow_gaps=True)
    except (OSError, ValueError) as exc:
        assert path.name in str(exc)
        return False
    ask_everything(found)
    if to.exists():
        to.unlink()
    try:
        _core.segment_to_trace(path, to)
    except (OSError, ValueError):
        return True
    assert _core.TraceReader(to).complete
    return True


def test_a_segment_that_is_cut_anywhere(left, tmp_path):
    copy = tmp_path / "copy.qiseg"
    shutil.copyfile(left[1], copy)
    size = copy.stat().st_size
    assert look_at(copy, tmp_path / "a.qtrace")
    generator = random.Random(SEED)
    cuts = {0, 1, 8, 100, HEADER - 1, HEADER, HEADER + 1, size - 1}
    cuts |= {generator.randrange(size) for _ in range(30)}
    for cut in sorted(cuts, reverse=True):
        with open(copy, "r+b") as file:
            file.truncate(cut)
        look_at(copy, tmp_path / "a.qtrace")


def used_parts(data):
    """Where there is something in a segment: pages that are not empty."""
    empty = bytes(HEADER)
    starts = range(0, len(data), HEADER)
    return [at for at in starts if data[at : at + HEADER] != empty]


def test_a_segment_that_is_corrupted_anywhere(left, tmp_path):
    data = left[1].read_bytes()
    pages = used_parts(data)
    copy = tmp_path / "copy.qiseg"
    shutil.copyfile(left[1], copy)
    generator = random.Random(SEED)
    read = 0
    for _ in range(60):
        changed = {}
        for _ in range(generator.choice((1, 3, 10))):
            at = generator.choice(pages) + generator.randrange(HEADER)
            size = generator.choice((1, 4, 8, 64))
            changed[at] = bytes(
                generator.choice((0, 0xFF, 0x80, generator.randrange(256)))
                for _ in range(min(size, len(data) - at))
            )
        with open(copy, "r+b") as file:
            for at, new in changed.items():
                file.seek(at)
                file.write(new)
        read += look_at(copy, tmp_path / "a.qtrace")
        with open(copy, "r+b") as file:
            for at, new in changed.items():
                file.seek(at)
                file.write(data[at : at + len(new)])
    assert read >= 30, "most are read"
    assert copy.read_bytes() == data
