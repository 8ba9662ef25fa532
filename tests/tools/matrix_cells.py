"""The cells of the test matrix and what is known of them, for nox and ./dev matrix.

A cell is one Python, binding and host.  Its outcome is a dict, kept as JSON in
build/matrix/results, with either

    unavailable   why there is nothing to test: no interpreter, no wheel of the binding
    error         why nothing was tested although there should be something
    suites        counts of each suite, as run_suites.py --summary writes them, with its
                  date and commit; suites of earlier runs stay while Python, binding and
                  Qt are the same

and, as far as known, date, commit, system, python, binding_version, qt_version and
qt_headers (the Qt that the native host was compiled against).
"""

import json
import pathlib
import subprocess
import time

ROOT = pathlib.Path(__file__).resolve().parents[2]
WORK = ROOT / "build" / "matrix"

# Python and bindings as packages of this machine's system, not wheels from the index.
SYSTEM = "system"
PYTHONS = ("3.7", "3.8", "3.9", "3.10", "3.11", "3.12", "3.13", "3.14", "3.15", SYSTEM)
# Tested in a Debian sid tree if this machine has no interpreter of its own.
SID_PYTHONS = ("3.14", "3.15")
BINDINGS = ("PyQt6", "PySide6", "PyQt5", "PySide2")
HOSTS = ("native", "binding")
# "variants": py with Qt's own dispatcher instead of GLib's, and with an inspector.
SUITES = ("py", "variants", "examples", "asyncio")


def result_file(python, binding, host):
    return WORK / "results" / f"{python}-{binding}-{host}.json"


def write_result(key, outcome):
    """Stores the outcome of a cell (python, binding, host) and returns it."""
    path = result_file(*key)
    path.parent.mkdir(parents=True, exist_ok=True)
    stamp = {"date": time.strftime("%Y-%m-%d", time.gmtime()), "commit": commit()}
    outcome = dict(outcome, **stamp)
    if "suites" in outcome:
        outcome["suites"] = [dict(suite, **stamp) for suite in outcome["suites"]]
        outcome["suites"] += suites_kept(key, outcome)
    path.write_text(json.dumps(outcome, indent=1, sort_keys=True) + "\n")
    return outcome


def set_aside(key):
    """Before a run: there is no result until this one writes its own."""
    path = result_file(*key)
    if path.exists():
        path.replace(path.with_suffix(".earlier"))


def suites_kept(key, outcome):
    """What earlier runs of the cell found, of suites that did not run this time."""
    path = result_file(*key).with_suffix(".earlier")
    earlier = json.loads(path.read_text()) if path.exists() else {}
    versions = ("python", "binding_version", "qt_version")
    if any(earlier.get(name) != outcome.get(name) for name in versions):
        return []
    new = {suite["name"] for suite in outcome["suites"]}
    return [suite for suite in earlier.get("suites", ()) if suite["name"] not in new]


def read_result(key):
    """The stored outcome of a cell, None if there is none."""
    path = result_file(*key)
    return json.loads(path.read_text()) if path.exists() else None


def commit():
    """Short name of the checkout's commit, "+" for local changes; "" without git."""
    command = ["git", "describe", "--always", "--dirty=+", "--exclude=*"]
    try:
        run = subprocess.run(
            command,
            cwd=str(ROOT),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
    except OSError:
        return ""
    return run.stdout.strip() if run.returncode == 0 else ""


def failures(outcome):
    """How many tests of a cell failed."""
    return sum(suite["failed"] for suite in outcome.get("suites", ()))


def has_failed(outcome):
    """Is the cell's outcome one that should make the command fail?"""
    if "unavailable" in outcome:
        return False
    problems = [suite["problem"] for suite in outcome.get("suites", ())]
    return bool("error" in outcome or failures(outcome) or any(problems))
