"""--host: the applications of another machine, here another runtime directory.

In the place of ssh is a script that runs the command with the other directory in its
environment, and keeps what goes over the line.
"""

import asyncio
import json
import os
import pathlib
import re
import shlex
import struct
import sys
import time

import pytest

import qtinter.inspect
from qtinter.inspect import wire
from qtinter.inspect.errors import IncompatibleError, InspectError
from qtinter.inspect.remote import Remote

PROGRAM = f"{shlex.quote(sys.executable)} -m qtinter.inspect"
START = 3  # exit code: no such application or daemon


class Line:
    """The stand-in for ssh, and what went through it."""

    def __init__(self, folder, far):
        self.sent, self.received = folder / "sent", folder / "received"
        self.hosts = folder / "hosts"
        script = pathlib.Path(__file__).with_name("ssh_stand_in.py")
        words = [sys.executable, str(script), str(folder), str(far)]
        self.ssh = " ".join(map(shlex.quote, words))

    @property
    def options(self):
        return {"address": Remote("me@box", self.ssh, PROGRAM)}

    @property
    def words(self):
        return [
            *("--host", "me@box"),
            *("--ssh-command", self.ssh),
            *("--remote-command", PROGRAM),
        ]


@pytest.fixture
def line(runtime, tmp_path, monkeypatch):
    """The runtime directory so far is the other machine's; ours is empty."""
    near = tmp_path / "near"
    near.mkdir(0o700)
    monkeypatch.setenv("QTINTER_RUNTIME_DIR", str(near))
    return Line(tmp_path, runtime)


@pytest.fixture
def far_application(daemon, application, known):
    return known(application)


@pytest.fixture
def far(far_application, line):
    """The line, to a machine on which the application runs."""
    return line


def test_commands_show_the_other_machine(far, far_application, inspect):
    result = inspect(*far.words, "ps", "--json")
    assert result.returncode == 0, result.stderr
    (found,) = json.loads(result.stdout)
    assert found["pid"] == far_application.pid
    assert {"alpha", "beta", "gamma"} <= {task["name"] for task in found["rows"]}
    assert far.hosts.read_text() == "me@box\n"
    here = inspect("ls", "--json")
    assert json.loads(here.stdout) == []


def test_the_key_stays_there(far, runtime, inspect, tmp_path):
    assert inspect(*far.words, "ls").returncode == 0
    key = (runtime / "key").read_bytes()
    sent, received = far.sent.read_bytes(), far.received.read_bytes()
    assert key not in sent
    assert key not in received
    decoder = wire.Decoder()
    name, _, auth = decoder.feed(sent)[0]
    assert (name, auth["hmac"]) == ("AUTH", b"")
    assert os.listdir(tmp_path / "near") == []


def test_control_and_the_end(far, far_application, run, until):
    async def follow():
        feed = qtinter.inspect.connect(role="control", **far.options)
        async with feed:
            assert feed.role == "control"
            await feed.subscribe(far_application.pid)
            process = feed.processes[far_application.pid]
            await feed.request("SET_LEVEL", pid=far_application.pid, level=1)
            far_application.send("end alpha")
            await until(
                feed, lambda: "alpha" not in {task["name"] for task in process.tasks()}
            )
        return feed

    feed = run(follow())
    # ssh has ended by itself: what it ran there saw the end of its input.
    assert feed._remote._process.returncode == 0
    assert (far_application.lines.next(), far_application.ask("state")) == (
        "done",
        "connected",
    )


def test_the_daemon_there_goes_away(far, daemon, run):
    async def follow():
        async with qtinter.inspect.connect(**far.options) as feed:
            await feed.subscribe()
            daemon.stop()
            with pytest.raises(InspectError, match="me@box has ended"):
                async for _ in feed:
                    pass

    run(follow())


def test_a_daemon_is_started_there(
    start_application, program, runtime, line, run, monkeypatch
):
    wrapper = runtime / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexec "{program}" --idle-exit 1 "$@"\n')
    wrapper.chmod(0o700)
    monkeypatch.setenv("QTINTERD", str(wrapper))
    with monkeypatch.context() as there:
        there.setenv("QTINTER_RUNTIME_DIR", str(runtime))
        application = start_application()

    async def follow():
        async with qtinter.inspect.connect(**line.options) as feed:
            await feed.subscribe()
            assert application.pid in feed.processes
        application.kill()
        while (runtime / "qtinterd.sock").exists():
            await asyncio.sleep(0.05)

    run(follow())


# --- what goes wrong


def failing(tmp_path, text):
    script = tmp_path / "failing"
    script.write_text(f"#!/bin/sh\n{text}\n")
    script.chmod(0o700)
    return ["--host", "box", "--ssh-command", str(script)]


@pytest.mark.parametrize(
    ("text", "code", "words"),
    [
        ("echo no route to host >&2; exit 255", START, "box: .*no route to host"),
        ("exit 255", START, "no reason given"),
        ("echo sh: not found >&2; exit 127", START, "--remote-command"),
        ("echo qtinter-inspect: bad key >&2; exit 4", 4, "box: bad key"),
        ("echo qtinter-inspect: too old >&2; exit 5", 5, "box: too old"),
        ("exit 0", START, "closed the connection"),
        ("echo Welcome to box; cat", START, "start-up file"),
    ],
)
def test_failures_have_one_line_and_a_code(inspect, tmp_path, text, code, words):
    result = inspect(*failing(tmp_path, text), "ls")
    assert (result.returncode, result.stdout) == (code, "")
    (said,) = result.stderr.splitlines()
    assert said.startswith("qtinter-inspect: ")
    assert re.search(words, said), said


def test_no_such_ssh(inspect, tmp_path):
    result = inspect("--host", "box", "--ssh-command", str(tmp_path / "none"), "ls")
    assert result.returncode == START
    assert "cannot be started" in result.stderr


def test_a_host_is_no_option_of_ssh(tmp_path):
    with pytest.raises(ValueError, match="no name of a host"):
        Remote("-oProxyCommand=touch x")


def test_a_key_that_others_may_read(daemon, line, runtime, inspect):
    (runtime / "key").chmod(0o644)
    result = inspect(*line.words, "ls")
    assert result.returncode == 4, result.stderr
    assert "me@box: " in result.stderr
    assert "must belong to you alone" in result.stderr


def test_the_proxy_is_not_for_people(daemon, inspect):
    result = inspect("proxy")
    assert result.returncode == 2
    assert "--stdio" in result.stderr


@pytest.mark.parametrize(
    "sent",
    [
        b"",
        b"\xff\xff\xff\xff",
        struct.pack("<I", 3) + b"\x93\x02\x00",  # cut
        wire.encode("PING", 1),
    ],
)
def test_the_proxy_and_a_broken_tool(daemon, run, sent):
    """It ends with one line, and has told the daemon nothing."""

    async def talk():
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "qtinter.inspect", "proxy", "--stdio"),
            cwd="/",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await process.communicate(sent)
        return process.returncode, out, err.decode()

    code, out, err = run(talk())
    assert code == START, err
    assert len(err.splitlines()) == 1
    (hello,) = wire.Decoder().feed(out)
    assert hello[0] == "HELLO"


# --- a proxy that is made by hand

OTHER_END = """
import os, struct, sys, time
from qtinter.inspect import wire

major, ahead = int(sys.argv[1]), int(sys.argv[2])
out = sys.stdout.buffer
def say(*words, **fields):
    out.write(wire.encode(*words, **fields))
    out.flush()
say("HELLO", magic="QTI", major=major, minor=0, server="other 1", nonce=bytes(32))
decoder = wire.Decoder()
while True:
    data = os.read(0, 4096)
    if not data:
        break
    for name, seq, fields in decoder.feed(data):
        if name == "AUTH":
            clock = time.monotonic_ns() + ahead
            say("WELCOME", session=1, role="observe", minor=0, clock=clock, hmac=b"")
            process = {0: 7, 1: 1, 2: "far", 4: clock, 5: 0}
            say("PROC_UP", pid=7, session=2, process=process)
        else:
            say("RESULT", seq, ok=True)
"""


@pytest.fixture
def other_end(tmp_path):
    """Options for a host whose proxy has this protocol and a clock that is ahead."""

    def other_end(major, ahead=0):
        script = tmp_path / "other.py"
        script.write_text(OTHER_END)
        words = [sys.executable, str(script), str(major), str(ahead)]
        return {"address": Remote("box", " ".join(map(shlex.quote, words)))}

    return other_end


def test_ages_are_of_the_clock_there(other_end, run):
    day = 86400 * 10**9

    async def follow():
        async with qtinter.inspect.connect(**other_end(1, ahead=day)) as feed:
            await feed.subscribe()
            return feed.processes[7].now() - time.monotonic_ns()

    assert day - 60 * 10**9 < run(follow()) <= day


def test_another_major_there(other_end, run):
    async def follow():
        async with qtinter.inspect.connect(**other_end(2)):
            pass

    with pytest.raises(IncompatibleError, match=r"speaks protocol 2\.0"):
        run(follow())


ASKING = """\
import os, sys
try:
    with open("/dev/tty", "r+b", buffering=0) as tty:
        tty.write(b"Password: ")
        said = tty.readline().decode()
except OSError:
    said = "nobody to ask"
with open(sys.argv[1], "a") as file:
    print(said.strip(), file=file)
os.execv(sys.executable, [sys.executable, *sys.argv[2:]])
"""


def test_the_terminal_view_lets_ssh_ask_at_first(far, tmp_path, daemon):
    pytest.importorskip("textual", reason="the terminal view needs textual")
    pytest.importorskip("pyte", reason="the terminal that shows it is pyte")
    from terminal import Terminal

    script, answers = tmp_path / "asking.py", tmp_path / "answers"
    script.write_text(ASKING)
    ssh = shlex.split(far.ssh)
    asking = shlex.join([ssh[0], str(script), str(answers), *ssh[1:]])
    words = [*far.words, "--ssh-command", asking, "top"]
    view = Terminal([sys.executable, "-m", "qtinter.inspect", *words])
    try:
        view.wait_for("Password: ")
        assert b"\x1b[?1049h" not in view.raw  # it has the terminal for itself
        view.press(*"secret", "enter")
        view.wait_for("alpha", "beta", "● live")
        daemon.stop()
        view.until(lambda _: answers.read_text().count("\n") > 1)
        view.press("q")
        assert view.process.wait(60) == 0
    finally:
        view.close()
    first, second = answers.read_text().splitlines()[:2]
    assert (first, second) == ("secret", "nobody to ask")


def test_the_terminal_view_of_a_machine_that_cannot_be_reached(line):
    pytest.importorskip("textual", reason="the terminal view needs textual")
    pytest.importorskip("pyte", reason="the terminal that shows it is pyte")
    from terminal import Terminal

    words = ["--host", "box", "--ssh-command", "/nonexistent/ssh", "top"]
    view = Terminal([sys.executable, "-m", "qtinter.inspect", *words])
    try:
        assert view.process.wait(60) == START
        view.until(lambda text: "/nonexistent/ssh cannot be started" in text)
        assert b"\x1b[?1049h" not in view.raw
    finally:
        view.close()
