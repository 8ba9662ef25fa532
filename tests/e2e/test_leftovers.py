"""What programs leave behind when they die: listed, and cleared away some day."""

import fcntl
import os
import shutil
import subprocess
import sys
import time

import pytest

from qtinter.inspect import connect

KEPT = 16
DAY = 86400


# Programs that show themselves and die at once, one after the other.
MORTALS = """
import os, signal, sys
import qtinter.inspect

for _ in range(int(sys.argv[1])):
    pid = os.fork()
    if pid == 0:
        qtinter.inspect.enable()
        os.kill(os.getpid(), signal.SIGKILL)
    assert os.waitpid(pid, 0)[1] == signal.SIGKILL
"""


async def crashes():
    async with connect() as feed:
        return await feed.request("CRASHES")


def segment_of(runtime, application):
    return next(runtime.glob(f"{application.pid}-*.qiseg"))


def test_one_that_died_before_the_daemon_began(
    start_daemon, start_application, runtime, run
):
    dead, alive = start_application(), start_application()
    path = segment_of(runtime, dead)
    dead.kill()
    start_daemon()
    (found,) = run(crashes())
    process = found[1]
    assert (found[0], found[2], found[3]) == (dead.pid, 0, "died")
    assert (process[0], process[2], process[3]) == (dead.pid, "victim", str(path))
    assert process[8]["qtinter"]
    assert abs(found[4] / 1e9 - path.stat().st_mtime) < 1
    assert alive.ask("state")


def test_one_that_the_daemon_saw_die_is_there_once(daemon, application, known, run):
    known(application)
    application.kill()

    async def follow():
        async with connect() as feed:
            async for change in feed:
                # "lost" at first: the connection ends a moment before the process.
                if change.what == "down" and change.data["cause"] == "died":
                    return await feed.request("CRASHES")

    (found,) = run(follow())
    assert (found[0], found[3]) == (application.pid, "died")
    assert found[2] > 0
    assert found[4] > 0


@pytest.fixture
def corpse(start_application, runtime):
    """The segment of a program that was killed, out of the way."""
    application = start_application()
    path = segment_of(runtime, application)
    application.kill()
    away = runtime / "corpse"
    shutil.move(path, away)
    return away


def copy(segment, path):
    """Copies it without its holes: what they take on the disk is bounded, too."""
    contents = segment.read_bytes()
    with path.open("wb") as file:
        for at in range(0, len(contents), 4096):
            block = contents[at : at + 4096]
            if block.strip(b"\0"):
                file.seek(at)
                file.write(block)
        file.truncate(len(contents))


def free_pids():
    """Numbers that no process has: above the greatest."""
    with open("/proc/sys/kernel/pid_max", encoding="ascii") as file:
        greatest = int(file.read())
    return iter(range(greatest + 1, greatest + 1000))


def test_old_ones_are_cleared_away(
    corpse, start_application, start_daemon, runtime, run
):
    now = time.time()
    pids = free_pids()
    # Those of the living stay whatever their age, also where only a lock tells.
    living = segment_of(runtime, start_application())

    def leave(name, age):
        path = runtime / name
        copy(corpse, path)
        os.utime(path, (now - age, now - age))
        return path

    recent = [leave(f"{next(pids)}-7.qiseg", 60 + i) for i in range(KEPT - 1)]
    recent.append(leave(f"{next(pids)}-7-3.qiseg", 600))
    old = [leave(f"{next(pids)}-7.qiseg", 3600 + i) for i in range(5)]
    os.utime(living, (now - 30 * DAY, now - 30 * DAY))
    locked = leave(f"{next(pids)}-7.qiseg", 30 * DAY)
    # Other files are nobody's business.
    others = [
        leave(name, 30 * DAY)
        for name in ("notes.qiseg", "1-2-3-4.qiseg", "5-6.qiseg.old", "-1-2.qiseg")
    ]
    link = runtime / f"{next(pids)}-7.qiseg"
    link.symlink_to(others[0])
    with locked.open("rb") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        daemon = start_daemon(wait=False)
        assert "5 old segments removed" in daemon.log.wait_for("removed")
        assert all(path.exists() for path in [*recent, living, locked, *others])
        assert link.is_symlink()
        assert not any(path.exists() for path in old)
        found = run(crashes())
    assert [crash[1][3] for crash in found] == [str(path) for path in recent]


def test_without_a_daemon_programs_clear_away_themselves(
    start_application, runtime, inspect
):
    living = segment_of(runtime, start_application())
    other = runtime / "notes.qiseg"
    other.touch()
    for path in (living, other):
        os.utime(path, (0, 0))
    subprocess.run(
        [sys.executable, "-c", MORTALS, str(2 * KEPT)], cwd="/", check=True, timeout=60
    )
    assert living.exists()
    assert other.exists()
    # The one that came last cleared away before it was there.
    assert len(list(runtime.glob("*-*.qiseg"))) == 1 + KEPT + 1
    assert inspect("crash").returncode == 0


def test_age_counts_too(corpse, start_daemon, runtime):
    now = time.time()
    paths = []
    for pid, days in zip(free_pids(), (6, 8)):
        path = runtime / f"{pid}-7.qiseg"
        copy(corpse, path)
        os.utime(path, (now - days * DAY, now - days * DAY))
        paths.append(path)
    start_daemon()
    assert [path.exists() for path in paths] == [True, False]


def test_what_is_no_segment_is_not_listed(corpse, start_daemon, runtime, run):
    pids = free_pids()
    contents = corpse.read_bytes()
    for damaged in (b"", b"QTINSEG1", contents[:4096], b"\xff" * 8192):
        (runtime / f"{next(pids)}-7.qiseg").write_bytes(damaged)
    os.mkfifo(runtime / f"{next(pids)}-7.qiseg")
    (runtime / f"{next(pids)}-7.qiseg").mkdir()
    good = runtime / f"{next(pids)}-7.qiseg"
    good.write_bytes(contents)
    start_daemon()
    assert [crash[1][3] for crash in run(crashes())] == [str(good)]
