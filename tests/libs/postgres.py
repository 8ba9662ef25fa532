"""A PostgreSQL server of our own: a new cluster that listens on a Unix socket only.

PostgreSQL refuses to be run by root; then its programs run as another user.
"""

import contextlib
import os
import pathlib
import pwd
import shutil
import signal
import subprocess
import tempfile
import time

DEBIAN = pathlib.Path("/usr/lib/postgresql")
PORT = 5432  # part of the socket's name; no TCP port is opened
START_TIMEOUT = 60  # seconds


class NotInstalledError(Exception):
    """The programs of PostgreSQL were not found."""


def programs():
    """Folder of initdb and postgres, of the newest version there is."""
    found = sorted(
        DEBIAN.glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]), reverse=True
    )
    if found:
        return found[0].parent
    initdb = shutil.which("initdb")
    if initdb is None:
        raise NotInstalledError(
            f"no initdb in {DEBIAN}/*/bin nor on PATH (Debian: apt-get install "
            "postgresql)"
        )
    return pathlib.Path(initdb).resolve().parent


def account():
    """(uid, gid) under which the server runs, or None: under our own."""
    if os.getuid() != 0:
        return None
    for name in ("postgres", "nobody"):
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return entry.pw_uid, entry.pw_gid
    raise NotInstalledError("root needs another user to run PostgreSQL: none found")


def _become(identity):
    """What a child does before exec; signal: Ctrl+C at the tests is not for it."""

    def become():
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        if identity is not None:
            os.setgroups([])
            os.setgid(identity[1])
            os.setuid(identity[0])

    return become


@contextlib.contextmanager
def running():
    """Gives the folder with the server's socket; user and database are "postgres"."""
    folder = tempfile.mkdtemp(prefix="qtinter-pg-")  # short: socket names are limited
    identity = account()
    try:
        if identity is not None:
            os.chown(folder, *identity)
        with _server(pathlib.Path(folder), identity):
            yield folder
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _server(folder, identity):
    options = {
        "cwd": str(folder),
        "preexec_fn": _become(identity),
        "stdin": subprocess.DEVNULL,
        "stderr": subprocess.STDOUT,
    }
    data = folder / "data"
    with open(folder / "log", "w+") as log:
        options["stdout"] = log
        command = [programs() / "initdb", "-D", data, "-U", "postgres"]
        command += ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
        subprocess.run([str(part) for part in command], check=True, **options)
        command = [programs() / "postgres", "-D", data, "-k", folder, "-p", PORT]
        # Nothing here needs to survive a power cut.
        for setting in ("listen_addresses=", "fsync=off", "jit=off"):
            command += ["-c", setting]
        server = subprocess.Popen([str(part) for part in command], **options)
        try:
            _wait_until_ready(server, folder)
            yield
        finally:
            server.send_signal(signal.SIGQUIT)  # ends without a checkpoint
            server.wait(START_TIMEOUT)


def _wait_until_ready(server, folder):
    """Waits until the server says "ready" in its file postmaster.pid."""
    deadline = time.monotonic() + START_TIMEOUT
    pid_file = folder / "data" / "postmaster.pid"
    while server.poll() is None and time.monotonic() < deadline:
        lines = pid_file.read_text().splitlines() if pid_file.exists() else []
        if len(lines) > 7 and lines[7].strip() == "ready":
            return
        time.sleep(0.02)  # there is nothing to wait on: the server tells by this file
    raise RuntimeError("PostgreSQL did not start: " + (folder / "log").read_text())
