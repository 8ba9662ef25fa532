"""Peers that break the rules: it costs them their session and one line in the log.

An honest application and an honest tool are there all the time; after each attack the
application is still in the same session, and the tool sees it change.
"""

import os
import random
import socket
import struct
import time

import pytest
from peers import FakeApplication, Peer, process_fields

from qtinter.inspect import wire

TASK = 1


class Witness:
    """The honest ones."""

    def __init__(self, runtime):
        self.application = FakeApplication(runtime, pid=os.getpid(), name="honest")
        self.application.snapshot([[TASK, 1, 3, 1]])
        self.tool = Peer(runtime).enter("observe")
        self.tool.send("SUBSCRIBE", 1, sub=1, pid=os.getpid(), hz=50)
        self.tool.until("SUB_END")
        self.next_id = 1

    def is_well(self):
        self.next_id += 1
        self.application.send(
            "STATE", ts=time.monotonic_ns(), rows=[[TASK, self.next_id, 3, 1]]
        )
        while True:
            delta = self.tool.until("DELTA")[2]
            if any(ident == self.next_id for _, ident, _ in delta["upsert"]):
                return

    def close(self):
        self.application.socket.close()
        self.tool.socket.close()


@pytest.fixture
def witness(daemon, runtime):
    witness = Witness(runtime)
    yield witness
    witness.is_well()
    assert daemon.process.poll() is None
    witness.close()


def resident(daemon):
    """Bytes of memory that the daemon has."""
    with open(f"/proc/{daemon.pid}/statm") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def expect_closed(daemon, *words):
    """One line for the session, and not a second one."""
    line = daemon.log.wait_for("session", "closed", *words)
    number = line.split("session ")[1].split()[0]
    told = [seen for seen in daemon.log.seen if f"session {number} " in seen]
    assert len(told) == 1, told
    return line


def connected(path):
    """A connection; the queue of a listener that is busy may be full."""
    while True:
        peer = socket.socket(socket.AF_UNIX)
        peer.settimeout(60)
        try:
            peer.connect(path)
            return peer
        except BlockingIOError:
            peer.close()


def frame(payload):
    return struct.pack("<I", len(payload)) + payload


BROKEN = {
    "4 GiB": struct.pack("<I", 0xFFFFFFFF) + b"x" * 64,
    "a length of 0": struct.pack("<I", 0),
    "1 MiB and 1": struct.pack("<I", (1 << 20) + 1),
    "nesting bomb of lists": frame(b"\x93\x06\x01" + b"\x91" * 3000 + b"\xc0"),
    "nesting bomb of maps": frame(b"\x93\x06\x01" + b"\x81\x00" * 1500 + b"\xc0"),
    "a list of 2^32 - 1": frame(b"\x93\x06\x01\x81\x00\xdd\xff\xff\xff\xff"),
    "a text of 2^32 - 1": frame(b"\x93\x06\x01\x81\x00\xdb\xff\xff\xff\xff"),
    "trailing bytes": frame(b"\x93\x06\x01\x80\xc0"),
    "no list": frame(b"\xc0"),
    "no UTF-8": frame(b"\x93\x06\x01\x81\x0f\xa2\xff\xfe"),
    "a reserved byte": frame(b"\x93\x06\x01\x81\x0f\xc1"),
    "a missing field": frame(b"\x93\x02\x01\x80"),
    "random bytes": random.Random(4).randbytes(4096)
    if hasattr(random.Random, "randbytes")
    else bytes(range(256)),
}


@pytest.mark.parametrize("what", BROKEN)
def test_broken_before_the_handshake(daemon, witness, runtime, what):
    with Peer(runtime) as peer:
        peer.raw(BROKEN[what])
        messages = peer.rest()
    assert [name for name, _, _ in messages] in ([], ["REFUSE"])
    expect_closed(daemon, "unknown")


@pytest.mark.parametrize("role", ["app", "observe"])
@pytest.mark.parametrize("what", BROKEN)
def test_broken_after_the_handshake(daemon, witness, runtime, what, role):
    with Peer(runtime).enter(role, client="evil") as peer:
        peer.raw(BROKEN[what])
        peer.rest()
    expect_closed(daemon, "evil")


def test_random_frames(daemon, witness, runtime):
    """Well-formed lengths around random bytes, and real frames with a byte changed."""
    chance = random.Random(5)
    real = [
        wire.encode("PROCESS", **process_fields(77, runtime)),
        wire.encode("STATE", ts=1, rows=[[1, 7, 3, 1, *range(22)]]),
        wire.encode("INTERN", entries=[[1, "t", "x"], [2, "c", [1, 1, 3]]]),
        wire.encode("EVENTS", first=0, ts=1, records=[0, 11, 1, 0, 7, 15] * 20),
        wire.encode("SUBSCRIBE", 3, sub=1, pid=1, kinds=[1], hz=5),
    ]
    for i in range(150):
        role = ("app", "observe", "control")[i % 3]
        with Peer(runtime).enter(role) as peer:
            if role == "app":
                peer.raw(real[0])
            for _ in range(10):
                data = bytearray(chance.choice(real))
                for _ in range(chance.randrange(3)):
                    data[chance.randrange(4, len(data))] = chance.randrange(256)
                peer.raw(bytes(data))
        if i % 25 == 0:
            witness.is_well()


def test_half_a_frame_and_then_nothing(daemon, witness, runtime):
    data = wire.encode("PING")
    with Peer(runtime).enter("observe") as half, Peer(runtime).enter("observe") as cut:
        half.raw(data[:5])
        cut.raw(data[:3])
        cut.socket.shutdown(socket.SHUT_WR)
        cut.rest()
        witness.is_well()
        half.raw(data[5:])
        assert half.until("RESULT")[2]["ok"] is True


def test_a_slow_handshake(daemon, witness, runtime):
    """A byte now and then does not move the deadline of five seconds."""
    with Peer(runtime) as silent, Peer(runtime) as slow:
        slow.socket.settimeout(0.2)
        began = time.monotonic()
        data = struct.pack("<I", 4000) + b"\x96" * 4000
        for i in range(len(data)):
            try:
                slow.socket.sendall(data[i : i + 1])
                if slow.socket.recv(65536) == b"":
                    break
            except TimeoutError:
                continue
            except OSError:
                break
        assert time.monotonic() - began < 60
        assert [name for name, _, _ in silent.rest()] == ["REFUSE"]
    daemon.log.wait_for("no handshake within 5 s")
    daemon.log.wait_for("no handshake within 5 s")


@pytest.mark.slow
def test_many_connections(daemon, witness, runtime, many_descriptors):
    """2,000 that say nothing, in batches; more than 64 are not kept."""
    path = str(runtime / "qtinterd.sock")
    refused = 0
    for _ in range(10):
        batch = []
        for _ in range(200):
            batch.append(connected(path))
        for peer in batch[-10:]:
            while True:
                try:
                    data = peer.recv(65536)
                except ConnectionError:
                    data = b""
                if not data or b"too many sessions" in data:
                    refused += 1
                    break
                if b"QTI" in data:
                    break  # it was early enough
        witness.is_well()
        for peer in batch:
            peer.close()
    assert refused > 0
    with Peer(runtime).enter("observe") as tool:
        tool.send("STATS", 5)
        stats = tool.until("RESULT")[2]["value"]
    assert stats["accepted"] >= 2000
    assert stats["sessions"] < 200


def test_the_number_of_sessions_is_limited(daemon, witness, runtime, many_descriptors):
    peers = []
    try:
        for _ in range(520):
            peer = Peer(runtime)
            peers.append(peer)
            if peer.hello is None or "code" in peer.hello:
                break
            peer.enter("observe")
        assert peer.hello is None or peer.hello["code"] == 4
        assert len(peers) > 500
        witness.is_well()
    finally:
        for peer in peers:
            peer.socket.close()


def test_a_wrong_key(daemon, witness, runtime):
    with Peer(runtime) as peer:
        peer.authenticate("control", key=bytes(32))
        ((name, _, refusal),) = peer.rest()
    assert (name, refusal["code"]) == ("REFUSE", 2)


def test_a_wrong_role(daemon, witness, runtime):
    with Peer(runtime) as peer:
        peer.authenticate("root")
        ((name, _, refusal),) = peer.rest()
    assert (name, refusal["code"]) == ("REFUSE", 3)


def test_a_name_that_would_be_two_lines(daemon, witness, runtime):
    with Peer(runtime) as peer:
        peer.authenticate("observe", client="x\n\x1b[2Jforged – " + "é" * 60)
        peer.until("WELCOME")
        peer.raw(BROKEN["no list"])
        peer.rest()
    line = expect_closed(daemon, "x??[2Jforged")
    assert line.isascii()


WELCOME = {"session": 1, "role": "app", "minor": 0, "clock": 0, "hmac": b""}


@pytest.mark.parametrize(
    ("role", "message", "fields"),
    [
        ("app", "SUBSCRIBE", {"sub": 1}),
        ("app", "LIST", {}),
        ("app", "SET_RATE", {"hz": 1, "events": False}),
        ("app", "WELCOME", WELCOME),
        ("observe", "STATE", {"ts": 1, "rows": []}),
        ("observe", "PROC_DOWN", {"pid": 1, "cause": "x"}),
        ("observe", "RESULT", {"ok": True}),
        ("app", "STATE", {"ts": 1, "rows": []}),  # before PROCESS
    ],
)
def test_messages_that_are_not_its_to_send(
    daemon, witness, runtime, role, message, fields
):
    with Peer(runtime).enter(role, client="evil") as peer:
        peer.send(message, 9, **fields)
        peer.rest()
    expect_closed(daemon, "evil")


@pytest.mark.parametrize(
    "changes",
    [
        {"pid": 0},
        {"name": "x" * 100_000},
        {"segment": "/" * 100_000},
        {"versions": {str(i): "x" * 100 for i in range(1000)}},
    ],
)
def test_an_odd_process(daemon, witness, runtime, changes):
    with Peer(runtime).enter("app", client="evil") as peer:
        changes = dict({"pid": 12345}, **changes)
        peer.send("PROCESS", **process_fields(runtime=runtime, **changes))
        peer.rest()
    expect_closed(daemon, "evil")


def test_the_pid_of_another_process(daemon, witness, runtime):
    """Nobody takes over a session by saying that it is that program."""
    import subprocess
    import sys

    script = (
        "import sys; sys.path[:0] = sys.argv[1:2]\n"
        "from peers import FakeApplication\n"
        "print(FakeApplication(sys.argv[2], pid=int(sys.argv[3])).rest())\n"
    )
    here = os.path.dirname(__file__)
    subprocess.run(
        [sys.executable, "-c", script, here, str(runtime), str(os.getpid())],
        cwd="/",
        check=True,
        timeout=60,
        stdout=subprocess.DEVNULL,
    )
    expect_closed(daemon, "the pid of another session")


@pytest.mark.parametrize("what", ["outside", "link", "fifo", "name", "dots"])
def test_a_segment_that_is_not_to_be_read(daemon, witness, runtime, tmp_path, what):
    secret = tmp_path / "secret.qiseg"
    secret.write_bytes(b"x" * 8192)
    path = runtime / "1-1.qiseg"
    if what == "outside":
        path = secret
    elif what == "link":
        path.symlink_to(secret)
    elif what == "fifo":
        os.mkfifo(path)  # whoever opens it to read would wait for a writer
    elif what == "name":
        path = runtime / "key"
    elif what == "dots":
        path = runtime / ".." / tmp_path.name / "secret.qiseg"
    # A pid that nobody has: the daemon takes it for dead and looks for its segment.
    victim = FakeApplication(runtime, pid=2**22 + 5, segment=str(path)).snapshot()
    victim.socket.close()
    wanted = "left no segment" if what in ("link", "fifo") else "its segment is not in"
    daemon.log.wait_for(wanted)


def test_too_many_rows(daemon, witness, runtime):
    with FakeApplication(runtime, pid=4242) as flood:
        for start in range(1, 300_000, 5000):
            flood.send(
                "STATE",
                ts=1,
                rows=[[TASK, i, 1, 1] for i in range(start, start + 5000)],
            )
        flood.rest()
    expect_closed(daemon, "more rows or texts")


@pytest.mark.parametrize("entries", ["many", "long", "ids"])
def test_too_many_entries(daemon, witness, runtime, entries):
    with FakeApplication(runtime, pid=4242) as flood:
        for start in range(1, 300_000, 5000):
            if entries == "long":
                flood.send("INTERN", entries=[[start, "t", "x" * 900_000]])
            elif entries == "ids":
                flood.send("INTERN", entries=[[2**32 - start, "t", "x"]])
            else:
                flood.send(
                    "INTERN",
                    entries=[[i, "t", "x"] for i in range(start, start + 5000)],
                )
        flood.rest()
    expect_closed(daemon, "more rows or texts")


def test_results_that_nobody_asked_for(daemon, witness, runtime):
    with FakeApplication(runtime, pid=4242) as flood:
        for seq in range(1000, 3000):
            flood.send("RESULT", seq, ok=True, value="x" * 1000)
        flood.rest()
    expect_closed(daemon, "a RESULT that nobody asked for")


def test_a_tool_that_asks_and_never_reads(daemon, witness, runtime):
    with Peer(runtime).enter("observe", client="greedy") as tool:
        before = resident(daemon)
        ping = wire.encode("LINTS", 1) * 1000
        for _ in range(600):
            tool.raw(ping)
        expect_closed(daemon, "greedy", "too little")
        assert resident(daemon) - before < 64 << 20


@pytest.mark.slow
def test_a_tool_that_subscribes_and_never_reads(daemon, witness, runtime):
    """It costs what a connection may have unsent, until the 30 seconds are over."""
    with Peer(runtime).enter("observe", client="sleepy") as tool:
        tool.send("SUBSCRIBE", 1, sub=1, hz=50, events=True)
        with FakeApplication(runtime, pid=4242) as busy:
            busy.snapshot([[TASK, i, 1, 1, *[i] * 20] for i in range(1, 2000)])
            before = None
            number = 0
            for turn in range(200):
                busy.send(
                    "STATE",
                    ts=turn,
                    rows=[[TASK, i, 1, 1, *[turn] * 20] for i in range(1, 2000)],
                )
                records = [1, 90, 1, 0, 0, 0] * 4000
                busy.send("EVENTS", first=number, ts=1, records=records)
                number += 4000
                if turn == 50:
                    witness.is_well()
                    before = resident(daemon)
            witness.is_well()
            # A sanitizer keeps freed memory for a while.
            with open(f"/proc/{daemon.pid}/maps") as maps:
                limit = 256 if "libasan" in maps.read() else 16
            assert resident(daemon) - before < limit << 20
            expect_closed(daemon, "sleepy", "took nothing for 30 s")
            busy.raw(wire.encode("GOODBYE"))
            busy.rest()


FRAMES = [
    [],
    [1],
    [[]],
    [["file"]],
    [["file", "line", "name"]],
    [["file", -1, "name"]],
    [[b"file", 1, b"name"]],
    [{"file": 1}],
    [["/" * 60000, 2**63, "\x1b[2J" * 1000]],
    [["f", 1, "n"]] * 5000,
]


def test_stalls_that_cannot_be(witness, runtime):
    application = witness.application
    for loop in (0, 1, 2**32, 2**64 - 1, *range(2000)):
        application.send(
            "STALL", loop=loop, since=-(2**63), duration=2**63 - 1,
            current=2**64 - 1, stack="x", over=False,
        )  # fmt: skip
    for frames in FRAMES:
        application.send(
            "STALL", loop=1, since=5, duration=10**10, current=1 << 56 | 1,
            stack="s" * 100000, frames=frames, sample=2**64 - 1, steady=2**64 - 1,
            over=False,
        )  # fmt: skip
    witness.is_well()
    # A tool that comes later is told of some, and not of everything.
    with Peer(runtime).enter("observe") as tool:
        tool.send("SUBSCRIBE", 1, sub=1, pid=os.getpid())
        tool.until("SUB_END")
        tool.send("PING", 9)
        told = 0
        while True:
            name, seq, _ = tool.next()
            told += name == "STALL_NOTE"
            if (name, seq) == ("RESULT", 9):
                break
        assert told <= 32


@pytest.mark.parametrize(
    "lints",
    ["", "x" * 60000, "QI101 " * 500, "\n" * 5000, "QI101 after_ms=0\nQI101 off"],
)
def test_wishes_that_are_none(witness, runtime, lints):
    # Another program: only its parent's number is free for it.
    application = FakeApplication(runtime, pid=os.getppid(), lints=lints)
    application.snapshot([[TASK, 1, 3, 1]])
    application.send("PING", 3)
    assert application.until("RESULT")[1] == 3
    application.socket.close()


def test_an_application_that_does_not_answer(witness):
    application, tool = witness.application, witness.tool
    tool.send("STACK", 70, pid=os.getpid(), loop=2)
    seq, body = application.until("STACK")[1:]
    assert body == {"loop": 2}
    while True:
        answer = tool.until("RESULT")
        if answer[1] == 70:
            break
    assert not answer[2]["ok"]
    assert answer[2]["error"] == "the application has not answered for 5 s"
    # Too late, but no violation; a second one would be.
    application.send("RESULT", seq, ok=True, value="late")
    witness.is_well()


def test_more_requests_than_are_kept(witness):
    tool = witness.tool
    for number in range(100):
        tool.send("STACK", 1000 + number, pid=os.getpid())
    refused = set()
    while 1099 not in refused:
        _, seq, body = tool.until("RESULT")
        if "too much to answer" in body.get("error", ""):
            refused.add(seq)
    # The daemon may have asked something itself.
    assert refused >= set(range(1064, 1100))
    assert refused.isdisjoint(range(1000, 1060))
