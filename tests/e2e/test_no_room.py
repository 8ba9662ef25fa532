"""A disk that is full: it costs what would have been written, and nobody his life."""

import os
import resource
import signal
import subprocess
import sys

import pytest

from qtinter.inspect import connect
from qtinter.inspect import feed as feed_module


def limit_of_files(most):
    """What a process does to itself: no file of it may be larger than so many bytes.

    The signal that says so kills by default, as it does where a shell set the limit.
    """

    def prepare():
        signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
        resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

    return prepare


@pytest.fixture
def small_disk(tmp_path):
    """A file system of 3 MiB, mounted for the test."""
    place = tmp_path / "small"
    place.mkdir(mode=0o700)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=3m,mode=0700", "tmpfs", str(place)],
        stderr=subprocess.PIPE,
        text=True,
    )
    if mounted.returncode != 0:
        pytest.skip(f"a small file system cannot be mounted: {mounted.stderr.strip()}")
    yield place
    subprocess.run(["umount", "--lazy", str(place)], check=True)


async def record_much(application, path):
    """Has the daemon record more than there is room for; what it says at the end."""
    async with connect(role="control") as feed:
        await feed.request("RECORD", pid=application.pid, path=str(path))
        for first in range(0, 40_000, 2_000):
            application.ask(f"marks {first} {first + 2000}")
        return await feed.request("RECORD", pid=application.pid)


def test_a_recording_that_meets_the_limit_of_files(
    program, start_daemon, start_application, known, run, tmp_path
):
    daemon = start_daemon(prepare=limit_of_files(64 * 1024))
    application = known(start_application("--control"))
    path = tmp_path / "a.qtrace"

    told = run(record_much(application, path))
    assert told["state"] == "failed"
    assert "too large" in told["reason"]
    assert daemon.process.poll() is None
    assert path.stat().st_size <= 64 * 1024
    known(application)


FULL = """
import asyncio, sys
import qtinter
from qtinter import inspect

async def main(directory, count):
    inspect.enable(directory=directory, ring=64, connect=False)
    tasks = [asyncio.ensure_future(asyncio.sleep(3600)) for _ in range(count)]
    await asyncio.sleep(0)
    for number, task in enumerate(tasks):
        inspect.mark(f"{number} " + "x" * 200)
    info = inspect.snapshot().info
    print(len(inspect.snapshot().tasks()), info["rows_missed"], info["texts_missed"])
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)
    await asyncio.gather(*(asyncio.sleep(0) for _ in range(100)))
    print("still", inspect.is_enabled())

loop = qtinter.new_event_loop()
loop.set_mode(qtinter.QiLoopMode.NATIVE)
loop.run_until_complete(main(sys.argv[1], int(sys.argv[2])))
loop.close()
inspect.disable()
"""


def test_a_segment_on_a_disk_that_fills_up(small_disk):
    """Memory that the disk cannot back kills whoever touches it: nothing is touched."""
    count = 20_000
    ran = subprocess.run(
        [sys.executable, "-c", FULL, str(small_disk), str(count)],
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert ran.returncode == 0, ran.stderr[-2000:]
    first, last = ran.stdout.splitlines()
    shown, slots, texts = map(int, first.split())
    assert 0 < shown < count
    assert (
        shown + slots > count
    )  # rows that are missed are counted; timers have some too
    assert texts > 0
    assert last == "still True"
    assert os.listdir(small_disk) == []


def test_a_disk_without_room_for_a_segment(small_disk):
    (small_disk / "full").write_bytes(bytes(2_900_000))
    ran = subprocess.run(
        [sys.executable, "-c", "import qtinter; print('runs')"],
        env=dict(os.environ, QTINTER_INSPECT="1", QTINTER_RUNTIME_DIR=str(small_disk)),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.stdout == "runs\n"
    assert "No space left" in ran.stderr
    assert os.listdir(small_disk) == ["full"]


def test_a_daemon_without_room_for_its_key(small_disk, program, monkeypatch):
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", str(small_disk))
    block = os.statvfs(small_disk)
    (small_disk / "full").write_bytes(bytes(block.f_bsize * block.f_bfree))
    ran = subprocess.run(
        [program, "--foreground"],
        env=feed_module.daemon_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ran.returncode == 3
    assert "No space left" in ran.stderr
    assert not os.path.exists(small_disk / "key")


def test_a_recording_on_a_disk_that_fills_up(
    daemon, start_application, known, run, small_disk
):
    application = known(start_application("--control"))
    path = small_disk / "a.qtrace"
    (small_disk / "full").write_bytes(bytes(3_000_000))

    told = run(record_much(application, path))
    assert told["state"] == "failed"
    assert "No space left" in told["reason"]
    assert daemon.process.poll() is None
    known(application)
