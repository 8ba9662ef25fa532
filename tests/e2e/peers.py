"""Peers that are made by hand: to break rules one at a time."""

import os
import socket
import time

from qtinter.inspect import wire

PATIENCE = 60


class Peer:
    """A connection to a daemon's socket."""

    def __init__(self, runtime, hello=True):
        self.runtime = str(runtime)
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(PATIENCE)
        self.socket.connect(os.path.join(self.runtime, "qtinterd.sock"))
        self.decoder = wire.Decoder()
        self.early = []
        self.hello = self.next()[2] if hello else None

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.socket.close()

    def raw(self, data):
        """Sends bytes; what the daemon takes no more is not an error here."""
        try:
            self.socket.sendall(data)
        except OSError:
            pass

    def send(self, *name_and_seq, **fields):
        self.raw(wire.encode(*name_and_seq, **fields))

    def next(self):
        """The next message; None: the daemon closed the connection."""
        while not self.early:
            try:
                data = self.socket.recv(65536)
            except ConnectionError:
                data = b""
            if not data:
                return None
            self.early += self.decoder.feed(data)
        return self.early.pop(0)

    def until(self, name):
        while True:
            message = self.next()
            assert message is not None, f"closed while waiting for {name}"
            if message[0] == name:
                return message

    def rest(self):
        """Everything up to the end of the connection: it must end."""
        messages = []
        while True:
            message = self.next()
            if message is None:
                return messages
            messages.append(message)

    def authenticate(self, role, key=None, client="peer 1", **changes):
        nonce = os.urandom(32)
        key = wire.read_key(self.runtime) if key is None else key
        proof = wire.client_proof(key, self.hello["nonce"], nonce, role)
        fields = {
            "major": 1,
            "minor": 0,
            "role": role,
            "client": client,
            "nonce": nonce,
            "hmac": proof,
        }
        self.send("AUTH", 1, **dict(fields, **changes))

    def enter(self, role, **more):
        self.authenticate(role, **more)
        self.until("WELCOME")
        return self


def process_fields(pid, runtime, **changes):
    fields = {
        "pid": pid,
        "start": 1,
        "name": "fake",
        "segment": os.path.join(str(runtime), f"{pid}-1.qiseg"),
        "mono0": time.monotonic_ns(),
        "wall0": time.time_ns(),
        "level": 2,
        "control": False,
        "versions": {"qtinter": "0"},
    }
    return dict(fields, **changes)


class FakeApplication(Peer):
    def __init__(self, runtime, pid=None, **changes):
        super().__init__(runtime)
        self.pid = os.getpid() if pid is None else pid
        self.enter("app")
        self.send("PROCESS", **process_fields(self.pid, runtime, **changes))

    def snapshot(self, rows=()):
        self.send("SNAP_BEGIN", rows=len(rows))
        if rows:
            self.send("STATE", ts=time.monotonic_ns(), rows=list(rows))
        self.send("SNAP_END")
        return self
