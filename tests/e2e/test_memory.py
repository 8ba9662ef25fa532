"""The memory of all sessions together: who asks for what is not there loses it.

An honest application and an honest tool are there all the time, with a little, and
notice nothing.
"""

import os
import subprocess
import time

import pytest
from peers import FakeApplication, Peer

from qtinter.inspect import connect
from qtinter.inspect.errors import InspectError
from qtinter.inspect.feed import daemon_environment

TASK = 1
NOBODY = 1_999_999_000  # numbers from here on are no process
FULL = 4  # code of a refusal
MIB = 1 << 20
ROWS_AT_ONCE = 2000
PROBED = 1000


def taken_in(peer):
    """Returns when the daemon has taken in what the peer has sent."""
    peer.send("PING", 3)
    peer.until("RESULT")


class Witness:
    def __init__(self, runtime):
        self.application = FakeApplication(runtime, pid=os.getpid(), name="honest")
        self.application.snapshot([[TASK, 1, 3, 1]])
        self.tool = Peer(runtime).enter("observe")
        self.subscribe(self.tool, os.getpid())
        self.last = 0

    def subscribe(self, tool, pid):
        tool.send("SUBSCRIBE", 1, sub=1, pid=pid, hz=50)
        tool.until("SUB_END")

    def is_well(self):
        """A change of a row that is there takes no memory, and is seen."""
        self.last += 1
        row = [TASK, 1, 3, 1, *[self.last] * 3]
        self.application.send("STATE", ts=time.monotonic_ns(), rows=[row])
        while True:
            delta = self.tool.until("DELTA")[2]
            if any(values.get(2) == self.last for _, _, values in delta["upsert"]):
                return

    def stats(self):
        self.tool.send("STATS", 7)
        while True:
            message = self.tool.until("RESULT")
            if message[1] == 7:
                return message[2]["value"]


@pytest.fixture
def witnessed(start_daemon, runtime):
    """Starts a daemon with so many MiB; returns it and its witness."""
    witnesses = []

    def start(memory, *options):
        daemon = start_daemon("--memory", str(memory), *options)
        witnesses.append(Witness(runtime))
        return daemon, witnesses[-1]

    yield start
    for witness in witnesses:
        witness.is_well()
        stats = witness.stats()
        assert stats["memory_bytes"] <= stats["memory_limit"]
        witness.application.socket.close()
        witness.tool.socket.close()


@pytest.fixture
def join(runtime):
    """Makes an application, with a number, or a tool, without; closed in the end."""
    peers = []

    def join(number=None):
        if number is None:
            peers.append(Peer(runtime).enter("observe"))
        else:
            peers.append(FakeApplication(runtime, pid=NOBODY + number))
            peers[-1].snapshot()
        return peers[-1]

    yield join
    for peer in peers:
        peer.socket.close()


def put_rows(peer, first, count, state=3):
    for start in range(first, first + count, ROWS_AT_ONCE):
        end = min(start + ROWS_AT_ONCE, first + count)
        rows = [[TASK, ident, state, 1] for ident in range(start, end)]
        peer.send("STATE", ts=1, rows=rows)


def rows_that_fit(witness, join):
    """About how many rows there is memory for."""
    before = witness.stats()
    probe = join(99)
    with_probe = witness.stats()["memory_bytes"]
    put_rows(probe, 1, PROBED)
    taken_in(probe)
    row = (witness.stats()["memory_bytes"] - with_probe) / PROBED
    probe.socket.close()
    kept = before["memory_limit"] * 7 // 8  # the rest is for frames
    return int((kept - before["memory_bytes"]) / row)


def fill(witness, peer):
    """Rows until there is memory for less than about a thousand more."""
    count = 0
    while True:
        stats = witness.stats()
        left = stats["memory_limit"] * 7 // 8 - stats["memory_bytes"]
        if left < MIB // 2:
            return
        more = max(left // 1024, 100)
        put_rows(peer, count + 1, more)
        taken_in(peer)
        count += more


def put_texts(peer, first, count, size):
    for ident in range(first, first + count):
        peer.send("INTERN", entries=[[ident, "t", "x" * size]])


def refusal_of(peer):
    (refused,) = [fields for name, _, fields in peer.rest() if name == "REFUSE"]
    return refused


def expect_lost(daemon, peer, what):
    """One line for it, and the peer is told."""
    line = daemon.log.wait_for("session", "closed", "no memory left for", what)
    refused = refusal_of(peer)
    assert refused["code"] == FULL
    assert what in refused["text"]
    number = line.split("session ")[1].split()[0]
    assert len([seen for seen in daemon.log.seen if f"session {number} " in seen]) == 1


def expect_down(tool, pid, cause):
    while True:
        down = tool.until("PROC_DOWN")[2]
        if down["pid"] == pid:
            assert down["cause"] == cause
            return


def test_rows_of_one_application(witnessed, join):
    daemon, witness = witnessed(64)
    before = witness.stats()["memory_bytes"]
    hog = join(0)
    put_rows(hog, 1, 150_000)
    expect_lost(daemon, hog, "its rows and texts")
    expect_down(witness.tool, NOBODY, "quota")
    # All of it has come back.
    stats = witness.stats()
    assert stats["memory_bytes"] < before + MIB
    assert stats["memory_refused"] > 0
    assert stats["rows"] == 1


def test_rows_of_many_applications(witnessed, join):
    daemon, witness = witnessed(64)
    fit = rows_that_fit(witness, join)
    others = [join(i) for i in range(3)]
    for other in others:
        put_rows(other, 1, fit // 5)
    for other in others:
        taken_in(other)
    last = join(9)
    put_rows(last, 1, fit // 2)
    expect_lost(daemon, last, "its rows and texts")
    for other in others:
        taken_in(other)


def test_texts(witnessed, join):
    daemon, _ = witnessed(32)
    hogs = []
    for i in range(3):
        hogs.append(join(i))
        put_texts(hogs[-1], 1, 15, MIB - 1024)
    expect_lost(daemon, hogs[1], "its rows and texts")
    hogs[2].rest()  # it may have been one too many as well, or not
    taken_in(hogs[0])


def test_what_has_ended_makes_room(witnessed, join):
    daemon, witness = witnessed(64)
    first = join(0)
    fit = rows_that_fit(witness, join)
    put_rows(first, 1, fit // 10 * 6)
    taken_in(first)
    first.socket.close()
    expect_down(witness.tool, NOBODY, "died")
    second = join(1)
    put_rows(second, 1, fit // 10 * 6)
    taken_in(second)
    daemon.log.wait_for(f"pid {NOBODY}:", "forgotten for want of memory")
    assert witness.stats()["rows"] == fit // 10 * 6 + 1 + PROBED


def test_halves_of_frames(witnessed, join):
    daemon, _ = witnessed(16)
    half = (MIB - 1).to_bytes(4, "little")
    peers = []
    for _ in range(20):
        peers.append(join())
        peers[-1].raw(half + b"\x93" * (MIB - 4096))
    daemon.log.wait_for("session", "closed", "no memory left for its frame")


def test_subscriptions_of_tools_that_take_nothing(witnessed, join):
    daemon, witness = witnessed(64)
    application = join(0)
    put_rows(application, 1, rows_that_fit(witness, join) // 2)
    taken_in(application)
    tools = []
    for _ in range(3):
        tools.append(join())
        for sub in range(32):
            tools[-1].send("SUBSCRIBE", sub, sub=sub, pid=NOBODY, hz=1)
    daemon.log.wait_for("session", "closed", "no memory left for")
    taken_in(application)


def test_a_tool_is_told_why(witnessed, join, run):
    daemon, witness = witnessed(64)
    application = join(0)
    fill(witness, application)

    async def subscribe():
        async with connect() as feed:
            await feed.subscribe(pid=NOBODY)

    with pytest.raises(InspectError, match="refuses: no memory left for the rows"):
        run(subscribe())
    daemon.log.wait_for("session", "closed", "no memory left for the rows")


def test_stalls(witnessed, join):
    daemon, _ = witnessed(16)
    frames = [["f" * 60_000, 1, "g"]]
    applications = []
    for i in range(8):
        applications.append(join(i))
        for loop in range(32):
            applications[-1].send(
                "STALL",
                loop=loop,
                since=1,
                duration=10**9,
                current=0,
                over=False,
                frames=frames,
            )
    daemon.log.wait_for("no memory left for its stalls")


def test_requests_to_record(witnessed, join, runtime):
    """What waits for an application that does not answer is bounded."""
    witnessed(16)
    taken_in(join(0))
    tool = Peer(runtime).enter("control")
    path = str(runtime / "x.qtrace")
    for seq in range(20):
        tool.send("RECORD", seq, pid=NOBODY, path=path)
    answers = [tool.until("RESULT") for _ in range(20)]
    refused = [
        m[1] for m in answers if m[2].get("error", "").startswith("there is too")
    ]
    assert refused == list(range(8, 20))
    tool.send("RECORD", 20, pid=NOBODY, path=path)  # they are over
    assert tool.until("RESULT")[2]["error"].startswith("it is being recorded already")
    tool.socket.close()


def test_a_session_that_is_one_too_many(witnessed, join):
    daemon, _ = witnessed(16)
    hog = join(0)
    put_rows(hog, 1, 5000)
    applications = [join(1 + i) for i in range(20)]
    daemon.log.wait_for("session", "closed", "no memory left for an application")
    assert any(
        fields["code"] == FULL
        for application in applications[-1:]
        for name, _, fields in application.rest()
        if name == "REFUSE"
    )


def test_what_is_over_goes_after_a_while(witnessed, join):
    _, witness = witnessed(64, "--history", "1")
    application = join(0)
    put_rows(application, 1, 5)
    put_rows(application, 1, 3, state=5)
    tool = join()
    tool.send("SUBSCRIBE", 1, sub=1, pid=NOBODY, history=True, hz=50)
    gone = set()
    seen = {row[1] for row in tool.until("SUB_ROWS")[2]["rows"]}
    while gone != {1, 2, 3}:
        gone |= {ident for _, ident in tool.until("DELTA")[2]["gone"]}
    assert seen == {1, 2, 3, 4, 5}
    assert witness.stats()["rows"] == 3  # two, and the witness's


@pytest.mark.parametrize(
    "options", [("--memory", "15"), ("--memory", "much"), ("--history", "-1")]
)
def test_options_that_are_wrong(program, options):
    ended = subprocess.run(
        [program, "--foreground", *options],
        env=daemon_environment(),
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert ended.returncode == 2
    assert options[0] in ended.stderr
