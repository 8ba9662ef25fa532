"""The daemon is absent, killed, restarted, alone, unused, of another version."""

import asyncio
import json
import os
import signal
import socket
import stat
import subprocess
import threading

import pytest
from peers import Peer

from qtinter.inspect import connect, wire
from qtinter.inspect.errors import IncompatibleError, InspectError

NAMES = {"alpha", "beta", "gamma"}


def names(feed, pid):
    process = feed.processes.get(pid)
    return {task["name"] for task in process.tasks()} if process else set()


async def sees(pid, until, wanted=NAMES):
    async with connect() as feed:
        await feed.subscribe(pid, hz=50)
        await until(feed, lambda: names(feed, pid) >= wanted)


def test_an_application_without_a_daemon(application, start_daemon, run, until):
    assert application.ask("task lonely") != ""
    start_daemon()
    run(sees(application.pid, until, NAMES | {"lonely"}))


def test_a_killed_daemon_is_found_again(application, start_daemon, run, until):
    first = start_daemon()
    run(sees(application.pid, until))
    first.stop(signal.SIGKILL)
    application.ask("task meanwhile")
    application.ask("end meanwhile")
    application.ask("task later")
    start_daemon()  # the socket of the first one is still there
    run(sees(application.pid, until, NAMES | {"later"}))

    async def shown():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            return names(feed, application.pid)

    assert "meanwhile" not in run(shown())


def test_sigterm_is_a_clean_end(daemon, application, runtime, run, until):
    run(sees(application.pid, until))
    with Peer(runtime).enter("observe") as tool:
        assert daemon.stop(signal.SIGTERM) == 0
        assert tool.rest()[-1][0] == "GOODBYE"
    assert not (runtime / "qtinterd.sock").exists()
    assert application.ask("task after") != ""


def test_places_are_private(daemon, runtime):
    for name in ("qtinterd.sock", "key", "qtinterd.sock.lock"):
        assert stat.S_IMODE(os.stat(runtime / name).st_mode) == 0o600, name
    assert stat.S_IMODE(os.stat(runtime).st_mode) == 0o700


def test_a_directory_that_others_may_enter(program, runtime):
    os.chmod(runtime, 0o755)
    result = subprocess.run(
        [program, "--foreground"], stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert result.returncode == 3
    assert "others have access" in result.stderr
    os.chmod(runtime, 0o700)


def test_there_is_one(daemon, program):
    second = subprocess.run(
        [program, "--foreground"], stderr=subprocess.PIPE, text=True, timeout=60
    )
    assert second.returncode == 3
    assert "another qtinterd runs" in second.stderr
    assert daemon.process.poll() is None
    # To whoever only wants one to be there, that is as good.
    assert subprocess.run([program], timeout=60).returncode == 0


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (["--version"], 0),
        (["--help"], 0),
        (["--no-such-option"], 2),
        (["--idle-exit", "soon", "--foreground"], 2),
        (["surplus"], 2),
    ],
)
def test_arguments(program, words, code):
    result = subprocess.run(
        [program, *words], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == code, result.stderr


def test_start_on_demand_and_leave_when_unused(program, monkeypatch, runtime, run):
    wrapper = runtime / "wrapper"
    wrapper.write_text(f'#!/bin/sh\nexec "{program}" --idle-exit 1 "$@"\n')
    wrapper.chmod(0o700)
    monkeypatch.setenv("QTINTERD", str(wrapper))

    async def with_start():
        with pytest.raises(InspectError, match="no daemon"):
            async with connect():
                pass
        async with connect(start=True) as feed:
            assert feed.server.startswith("qtinterd ")
            stats = await feed.request("STATS")
            assert stats["sessions"] == 1
        while (runtime / "qtinterd.sock").exists():
            await asyncio.sleep(0.05)

    run(with_start())


# --- versions


@pytest.mark.parametrize("major", [0, 2])
def test_a_peer_of_another_major_is_refused(daemon, runtime, major):
    with Peer(runtime) as peer:
        peer.authenticate("observe", major=major, client="tool 9")
        ((name, _, refusal),) = peer.rest()
    assert name == "REFUSE"
    assert refusal["code"] == 1
    assert f"tool 9 speaks {major}.0" in refusal["text"]
    assert "1.0" in refusal["text"]


def test_the_lower_minor_is_in_force(daemon, runtime):
    with Peer(runtime) as peer:
        peer.authenticate("observe", minor=99)
        assert peer.until("WELCOME")[2]["minor"] == 0


def test_unknown_messages_and_keys_are_skipped(daemon, runtime):
    import msgpack

    with Peer(runtime).enter("observe") as peer:
        for payload in ([120, 1, {0: "later"}], [6, 7, {15: "later"}]):
            data = msgpack.packb(payload)
            peer.raw(len(data).to_bytes(4, "little") + data)
        _name, seq, result = peer.until("RESULT")
        assert (seq, result["ok"]) == (7, True)


class FakeDaemon:
    """Says HELLO with another version, and keeps what comes."""

    def __init__(self, runtime, major, mute=False):
        os.chmod(runtime, 0o700)
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(str(runtime / "qtinterd.sock"))
        self.listener.listen(8)
        self.major, self.mute = major, mute
        self.received = []
        self.called = threading.Event()
        self.thread = threading.Thread(target=self.serve, daemon=True)
        self.thread.start()

    def serve(self):
        while True:
            try:
                peer, _ = self.listener.accept()
            except OSError:
                return
            if self.mute:
                self.received.append(peer)  # kept open, and never answered
                self.called.set()
                continue
            peer.sendall(
                wire.encode(
                    "HELLO",
                    magic="QTI",
                    major=self.major,
                    minor=0,
                    server="fake 7",
                    nonce=bytes(32),
                )
            )
            peer.settimeout(60)
            try:
                self.received.append(peer.recv(65536))
            except OSError:
                self.received.append(b"")
            peer.close()
            self.called.set()

    def close(self):
        self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(60)


@pytest.mark.parametrize("major", [0, 2])
def test_a_daemon_of_another_major(runtime, start_application, run, inspect, major):
    fake = FakeDaemon(runtime, major)
    application = start_application()
    assert fake.called.wait(60)
    assert fake.received[0] == b""  # it did not authenticate
    assert application.ask("task unimpressed") != ""

    async def try_it():
        with pytest.raises(IncompatibleError, match=rf"fake 7.*{major}\.0.*1\.0"):
            async with connect():
                pass

    run(try_it())
    assert inspect("ls").returncode == 5
    fake.close()


def test_a_mute_daemon(runtime, start_application):
    fake = FakeDaemon(runtime, 1, mute=True)
    application = start_application()
    assert fake.called.wait(60)
    assert application.ask("task unimpressed") != ""
    application.ask("tasks 2000")
    application.ask("quit")
    assert application.process.wait(60) == 0
    fake.close()
    for peer in fake.received:
        peer.close()


def test_json_of_an_empty_daemon(daemon, inspect):
    assert json.loads(inspect("ls", "--json").stdout) == []
