"""Intruders: other users, proofs that were overheard, and files that lie in wait.

Each is refused with one line, and an application and a tool go on.
"""

import os
import pwd
import re
import socket
import subprocess
import sys
import textwrap

import pytest
from peers import Peer

from qtinter.inspect import wire

REFUSED_KEY, REFUSED_USER = 2, 6

# Connects as another user, says the best it can, and prints the codes of refusals.
AS_ANOTHER = """
import os, sys
runtime, key, uid = sys.argv[1], bytes.fromhex(sys.argv[2]), int(sys.argv[3])
from peers import Peer
from qtinter.inspect import wire
os.setgroups([])
os.setgid(uid)
os.setuid(uid)
peer = Peer(runtime, hello=False)
message = peer.next()
while message is not None:
    if message[0] == "HELLO":
        peer.hello = message[2]
        peer.authenticate("control", key=key)
    print(message[0], message[2].get("code"), flush=True)
    message = peer.next()
"""


@pytest.fixture
def another_uid():
    if os.getuid() != 0:
        pytest.skip("only root can become another user")
    return pwd.getpwnam("nobody").pw_uid


def run_as(uid, runtime, key):
    command = textwrap.dedent(AS_ANOTHER)
    here = os.path.dirname(os.path.abspath(__file__))
    return subprocess.run(
        [sys.executable, "-c", command, str(runtime), key.hex(), str(uid)],
        env=dict(os.environ, PYTHONPATH=here),
        cwd="/",
        capture_output=True,
        text=True,
        timeout=60,
    )


def test_another_user_cannot_even_connect(daemon, runtime, another_uid):
    peer = run_as(another_uid, runtime, wire.read_key(str(runtime)))
    assert "PermissionError" in peer.stderr
    assert peer.stdout == ""


def test_another_user_who_knows_the_key_is_refused(daemon, runtime, another_uid):
    key = wire.read_key(str(runtime))
    # Somebody opened what the daemon made private.
    os.chmod(runtime, 0o711)
    os.chmod(runtime / "qtinterd.sock", 0o666)
    peer = run_as(another_uid, runtime, key)
    assert peer.stdout.splitlines() == [f"REFUSE {REFUSED_USER}"], peer.stderr
    daemon.log.wait_for("refused", "another user")
    os.chmod(runtime, 0o700)
    with Peer(runtime).enter("observe") as tool:
        tool.send("PING", 5)
        assert tool.until("RESULT")[1] == 5


def test_a_directory_of_another_user_is_not_used(
    runtime, another_uid, inspect, program
):
    os.chown(runtime, another_uid, -1)
    started = subprocess.run(
        [program, "--foreground"], capture_output=True, text=True, timeout=60
    )
    assert started.returncode == 3
    assert "another user" in started.stderr
    shown = inspect("ls")
    assert shown.returncode != 0
    assert "another user" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_an_overheard_handshake_is_worth_nothing(daemon, runtime):
    with Peer(runtime) as honest:
        nonce = os.urandom(32)
        key = wire.read_key(str(runtime))
        proof = wire.client_proof(key, honest.hello["nonce"], nonce, "control")
        fields = dict(  # noqa: C408 - as they are passed on
            major=1,
            minor=0,
            role="control",
            client="overheard",
            nonce=nonce,
            hmac=proof,
        )
        honest.send("AUTH", 1, **fields)
        assert honest.until("WELCOME")[2]["role"] == "control"
        with Peer(runtime) as thief:
            assert thief.hello["nonce"] != honest.hello["nonce"]
            thief.send("AUTH", 1, **fields)
            assert [(m[0], m[2]["code"]) for m in thief.rest()] == [
                ("REFUSE", REFUSED_KEY)
            ]


def test_a_proof_for_one_role_is_none_for_another(daemon, runtime):
    with Peer(runtime) as peer:
        nonce = os.urandom(32)
        key = wire.read_key(str(runtime))
        proof = wire.client_proof(key, peer.hello["nonce"], nonce, "observe")
        peer.authenticate("control", nonce=nonce, hmac=proof)
        assert [m[2]["code"] for m in peer.rest()] == [REFUSED_KEY]


def test_what_the_daemon_proved_is_no_proof_of_a_client(daemon, runtime):
    """Reflection: the HMAC of WELCOME is over the same nonces."""
    with Peer(runtime) as first:
        first.enter("observe")
    with Peer(runtime) as peer:
        key = wire.read_key(str(runtime))
        nonce = os.urandom(32)
        proof = wire.server_proof(key, nonce, peer.hello["nonce"])
        peer.authenticate("observe", nonce=nonce, hmac=proof)
        assert [m[2]["code"] for m in peer.rest()] == [REFUSED_KEY]


@pytest.mark.parametrize("kind", ["socket", "lock", "key"])
def test_links_in_the_directory_lead_nowhere(
    program, runtime, start_daemon, tmp_path, kind
):
    precious = tmp_path / "precious"
    precious.write_bytes(b"p" * 32)
    os.chmod(precious, 0o600)
    name = {"socket": "qtinterd.sock", "lock": "qtinterd.sock.lock", "key": "key"}[kind]
    os.symlink(precious, runtime / name)
    if kind == "socket":
        start_daemon()  # it replaces the link, and only that
        assert not os.path.islink(runtime / name)
    else:
        started = subprocess.run(
            [program, "--foreground"], capture_output=True, text=True, timeout=60
        )
        assert started.returncode == 3
        assert name in started.stderr
    assert precious.read_bytes() == b"p" * 32


@pytest.mark.parametrize("kind", ["fifo", "link"])
def test_a_key_that_lies_in_wait_holds_up_no_tool(
    daemon, runtime, inspect, tmp_path, kind
):
    key = (runtime / "key").read_bytes()
    os.unlink(runtime / "key")
    if kind == "fifo":
        os.mkfifo(runtime / "key", 0o600)
    else:
        (tmp_path / "elsewhere").write_bytes(key)
        os.chmod(tmp_path / "elsewhere", 0o600)
        os.symlink(tmp_path / "elsewhere", runtime / "key")
    shown = inspect("ls")
    assert shown.returncode not in (0, 1)
    assert "key" in shown.stderr
    assert "Traceback" not in shown.stderr


ODD_FILES = {
    "empty": b"",
    "short": b"QTINSEG1",
    "zeros": bytes(1 << 16),
    "noise": bytes(range(256)) * 400,
    "head": b"QTINSEG1" + b"\xff" * 5000,
}


def test_odd_files_beside_the_segments(runtime, start_daemon, inspect):
    for number, data in enumerate(ODD_FILES.values()):
        (runtime / f"{900000 + number}-1.qiseg").write_bytes(data)
    os.mkfifo(runtime / "900100-1.qiseg", 0o600)
    os.mkdir(runtime / "900101-1.qiseg", 0o700)
    os.symlink("/dev/zero", runtime / "900102-1.qiseg")
    os.symlink("900102-1.qiseg", runtime / "900103-1.qiseg")
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(runtime / "900104-1.qiseg"))
    start_daemon()
    with Peer(runtime).enter("observe") as tool:
        tool.send("CRASHES", 7)
        assert tool.until("RESULT")[2].get("value") == []
    for name in sorted(os.listdir(runtime)):
        if name.endswith(".qiseg"):
            shown = inspect("crash", str(runtime / name))
            assert shown.returncode not in (0, 1), name
            assert re.match(r"qtinter-inspect: .*\n\Z", shown.stderr), shown.stderr
    listener.close()
    assert inspect("crash").returncode in (0, 3)
