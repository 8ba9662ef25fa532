"""Where traces of tests are kept: ``DIR/<session>/<test>/``."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import time

_OTHER = re.compile(r"[^A-Za-z0-9._-]+")
_SESSION = re.compile(r"\d{8}T\d{6}Z-")
_LONGEST = 120
_KEPT_OF_LONG = 80
_COMMIT = re.compile(r"[0-9a-f]{40}\Z")


def slug(nodeid: str) -> str:
    """A name for a folder that any system takes, of at most 120 bytes.

    Other ids may have the same one; :meth:`Session.make` sees to that.
    """
    text = _OTHER.sub("-", nodeid).strip(".-") or "test"
    if len(text) > _LONGEST:
        text = f"{text[:_KEPT_OF_LONG]}-{digest(nodeid)}"
    return text


def digest(nodeid: str) -> str:
    data = nodeid.encode("utf-8", "backslashreplace")
    return hashlib.sha256(data).hexdigest()[:8]


def commit(folder: str) -> str:
    """Seven digits of the commit that is checked out there, read without git; or ""."""
    try:
        while not os.path.exists(os.path.join(folder, ".git")):
            parent = os.path.dirname(folder)
            if parent == folder:
                return ""
            folder = parent
        git = os.path.join(folder, ".git")
        if os.path.isfile(git):  # a worktree: "gitdir: PATH"
            git = os.path.join(folder, _read(git).partition(":")[2].strip())
        head = _read(os.path.join(git, "HEAD"))
        if not head.startswith("ref:"):
            return head[:7] if _COMMIT.match(head) else ""
        ref = head[4:].strip()
        common = os.path.join(git, "commondir")
        if os.path.exists(common):
            git = os.path.normpath(os.path.join(git, _read(common)))
        loose = os.path.join(git, ref)
        if os.path.exists(loose):
            return _read(loose)[:7]
        with open(os.path.join(git, "packed-refs"), encoding="utf-8") as file:
            for line in file:
                if line.rstrip().endswith(" " + ref):
                    return line[:7]
    except (OSError, UnicodeDecodeError):
        pass  # what the folder is called is no reason to fail
    return ""


def _read(path: str) -> str:
    with open(path, encoding="utf-8") as file:
        return file.readline().strip()


def session_name(rootdir: str) -> str:
    """Name of a session's folder: when, what is checked out, and a part of its own.

    The last part keeps suites apart that are started in the same second.
    """
    when = time.strftime("%Y%m%dT%H%M%SZ", time.gmtime())
    parts = [when, commit(rootdir), os.urandom(3).hex()]
    return "-".join(part for part in parts if part)


class Session:
    """The folder of one run of the suite, which its processes share.

    It is made when the first trace is kept.

    :param directory: of all sessions
    :param name: see :func:`session_name`
    :param trace_id: QTINTER_TRACE_ID of its processes; by default, the name
    """

    def __init__(self, directory: str, name: str, trace_id: str = "") -> None:
        self.directory = directory
        self.name = name
        self.trace_id = trace_id or name
        self.path = os.path.join(directory, name)

    def make(self, nodeid: str, suffix: str = "") -> str:
        """Make a folder for a test, which nobody else has.

        :param suffix: what else tells it apart: worker and rerun.
        :raises OSError: it cannot be made.
        """
        os.makedirs(self.path, exist_ok=True)
        self._link()
        base = slug(nodeid)
        names = [base, f"{base[:_LONGEST]}-{digest(nodeid)}"]
        count = 1
        while True:
            if not names:
                count += 1
                names = [f"{base}-{digest(nodeid)}-{count}"]
            path = os.path.join(self.path, names.pop(0) + suffix)
            try:
                os.mkdir(path)
            except FileExistsError:
                continue
            return path

    def _link(self) -> None:
        """Ignores the folder in git, and lets ``latest`` be this session."""
        try:
            ignore = os.path.join(self.directory, ".gitignore")
            if not os.path.exists(ignore):
                with open(ignore, "w", encoding="utf-8") as file:
                    file.write("*\n")
            link = os.path.join(self.directory, "latest")
            if os.path.islink(link) and os.readlink(link) == self.name:
                return
            new = f"{link}-{self.name}-{os.getpid()}"
            os.symlink(self.name, new)
            os.replace(new, link)
        except OSError:
            pass  # there are systems without links; the folder is what counts

    def prune(self, keep: int) -> None:
        """Remove the oldest sessions; this one and ``keep - 1`` before it stay."""
        try:
            names = sorted(filter(_SESSION.match, os.listdir(self.directory)))
        except OSError:
            return
        before = [name for name in names if name < self.name]
        for name in before[: max(0, len(before) - max(keep, 1) + 1)]:
            shutil.rmtree(os.path.join(self.directory, name), ignore_errors=True)
