"""Writes tests/c/data/application.frames: what an application sends to a daemon.

The application is this process with inspection on; the daemon is a few lines that
authenticate, ask for everything and keep the bytes.  The file holds the frames after
WELCOME; tests/c/test_mirror.c replays them without Qt, Python or a socket.
"""

import asyncio
import os
import pathlib
import sys
import tempfile
import threading

import msgpack

import qtinter
import qtinter.inspect
from qtinter.inspect import wire

TARGET = pathlib.Path(__file__).resolve().parent.parent / "c" / "data"


async def sleeper():
    await asyncio.sleep(3600)


async def waiter(task):
    await task


async def short():
    for _ in range(3):
        await asyncio.sleep(0)


class FakeDaemon:
    """One connection, on a thread of its own."""

    def __init__(self, directory):
        import socket

        self.path = os.path.join(directory, "qtinterd.sock")
        self.listener = socket.socket(socket.AF_UNIX)
        self.listener.bind(self.path)
        self.listener.listen(1)
        self.directory = directory
        self.recorded = b""
        self.names = []
        self.changed = threading.Condition()
        self.thread = threading.Thread(target=self.serve)
        self.thread.start()

    def serve(self):
        peer, _ = self.listener.accept()
        peer.settimeout(20)
        nonce = os.urandom(32)
        peer.sendall(
            wire.encode(
                "HELLO", magic="QTI", major=1, minor=0, server="recorder", nonce=nonce
            )
        )
        decoder = wire.Decoder()
        messages = []
        while not messages:
            messages = decoder.feed(peer.recv(65536))
        theirs = messages[0][2]["nonce"]
        key = wire.read_key(self.directory)
        peer.sendall(
            wire.encode(
                "WELCOME",
                messages[0][1],
                session=1,
                role="app",
                minor=0,
                clock=0,
                hmac=wire.server_proof(key, nonce, theirs),
            )
        )
        peer.sendall(wire.encode("SET_RATE", hz=50, events=True, stall=0))
        while True:
            data = peer.recv(65536)
            if not data:
                return
            with self.changed:
                self.recorded += data
                self.names += [name for name, _, _ in decoder.feed(data)]
                self.changed.notify_all()

    def wait_for(self, name):
        with self.changed:
            if not self.changed.wait_for(lambda: name in self.names, 10):
                raise SystemExit(f"no {name} came")


def without_paths(frames):
    """The same frames with the last part of each path only."""

    def clean(value):
        if isinstance(value, list):
            return [clean(item) for item in value]
        if isinstance(value, dict):
            return {key: clean(item) for key, item in value.items()}
        if isinstance(value, str) and value.startswith("/"):
            return os.path.basename(value)
        return value

    out = b""
    while frames:
        size = int.from_bytes(frames[:4], "little")
        value = msgpack.unpackb(frames[4 : 4 + size], strict_map_key=False)
        frames = frames[4 + size :]
        payload = msgpack.packb(clean(value))
        out += len(payload).to_bytes(4, "little") + payload
    return out


async def application(daemon):
    loop = asyncio.get_running_loop()
    alpha = loop.create_task(sleeper(), name="alpha")
    beta = loop.create_task(waiter(alpha), name="beta")
    await asyncio.sleep(0.05)
    await loop.run_in_executor(None, daemon.wait_for, "SNAP_END")
    await loop.create_task(short(), name="short-lived")
    await asyncio.sleep(0.2)  # two rounds of the sender
    qtinter.inspect.disable()
    daemon.thread.join(10)
    alpha.cancel()
    await asyncio.gather(alpha, beta, return_exceptions=True)


def main():
    with tempfile.TemporaryDirectory(prefix="qi") as directory:
        # Nothing of this machine shall be in the file.
        os.chmod(directory, 0o700)
        os.environ["QTINTER_RUNTIME_DIR"] = directory
        daemon = FakeDaemon(directory)
        qtinter.inspect.enable(level=2, name="recorded", directory=directory)
        from PyQt6 import QtCore

        app = QtCore.QCoreApplication([])
        loop = qtinter.new_event_loop()
        try:
            loop.run_until_complete(application(daemon))
        finally:
            loop.close()
            del app
    frames = without_paths(daemon.recorded)
    TARGET.mkdir(exist_ok=True)
    (TARGET / "application.frames").write_bytes(frames)
    print(len(frames), "bytes", file=sys.stderr)


if __name__ == "__main__":
    main()
