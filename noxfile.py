"""The test matrix: a session for each Python and binding, run for each host.

    ./dev matrix [--python 3.12] [--binding PyQt6] [--host native]

finds the interpreters, chooses sessions, and prints the table of their results.  Alone:

    nox -s "cell-3.12(PyQt6)" -- --host native

A cell has a virtual environment with the binding's wheels, and qtinter as a wheel that
is built once for each Python.  Environments and wheels are kept for the next run.  A
cell of a Python that only the Debian sid tree has runs there, with Debian's bindings;
one of the Python "system" has the interpreter and the binding of the system's packages.
"""

import argparse
import json
import os
import pathlib
import subprocess
import sys
import time

import nox

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent / "tests" / "tools"))

import matrix_cells as cells

nox.options.sessions = ["cell"]

SID_TREE = str(cells.ROOT / "tests" / "tools" / "debian-sid.sh")
SYSTEM_PYTHON = "/usr/bin/python3"
QML6 = (
    "qml6-module-qtqml",
    "qml6-module-qtqml-models",
    "qml6-module-qtqml-workerscript",
)
QML5 = ("qml-module-qtqml",)
SYSTEM_PACKAGES = {  # of Debian and Ubuntu
    "PyQt6": ("python3-pyqt6", "python3-pyqt6.qtquick", *QML6),
    "PyQt5": ("python3-pyqt5", "python3-pyqt5.qtquick", *QML5),
    "PySide2": ("python3-pyside2.qtqml", "python3-pyside2.qtwidgets", *QML5),
    "PySide6": ("python3-pyside6.qtqml", "python3-pyside6.qtwidgets", *QML6),
}
PARAMETERS = [nox.param(binding, id=binding) for binding in cells.BINDINGS]

# What a wheel is made of; anything newer than the wheel makes a new one.
SOURCES = ("CMakeLists.txt", "pyproject.toml", "README.md", "LICENSE")
SOURCES += ("client", "daemon", "proto", "qtinter")


class Unavailable(Exception):
    """The cell has nothing to test; the argument says why."""


class Broken(Exception):
    """The cell could not be tested; the argument says why."""


# --- where commands run ---------------------------------------------------------------


class Here:
    """Runs a cell's commands with the Python of the session's environment."""

    def __init__(self, session, python, binding):
        self.session = session
        self.python = "python"
        self.folder = cells.WORK / python
        self.logs = cells.WORK / "logs" / f"{python}-{binding}"
        self.logs.mkdir(parents=True, exist_ok=True)

    def path(self, path):
        """The name that a path of ours has for the cell's commands."""
        return str(path)

    def command(self, command):
        return command

    def run(self, name, *command):
        """Runs a command; its output goes to the file that is returned.

        :raises CommandFailed: see :meth:`why` for its words.
        """
        log = self.logs / (name + ".log")
        with open(log, "w") as output:
            self.session.run(
                *self.command(command),
                external=True,
                stdout=output,
                stderr=subprocess.STDOUT,
                # pip looks for a newer pip otherwise, and its notice is no reason.
                env={"PIP_DISABLE_PIP_VERSION_CHECK": "1"},
            )
        return log

    def why(self, name):
        """The first error that a failed command printed, or its last line."""
        log = self.logs / (name + ".log")
        lines = [line.strip() for line in log.read_text(errors="replace").splitlines()]
        lines = [line for line in lines if line] or ["it printed nothing"]
        errors = [line for line in lines if line.lower().startswith("error:")]
        return f"{errors[-1] if errors else lines[-1]}"


class System(Here):
    """Runs a cell's commands with the Python that the system's packages belong to."""

    def __init__(self, session, python, binding):
        super().__init__(session, python, binding)
        self.python = self.path(self.folder / "venv" / "bin" / "python")


class Sid(Here):
    """Runs a cell's commands in the Debian sid tree."""

    def __init__(self, session, python, binding):
        super().__init__(session, python, binding)
        self.folder = cells.WORK / ("sid-" + python)
        self.python = self.path(self.folder / "venv" / "bin" / "python")

    def path(self, path):
        return str(pathlib.Path("/checkout") / path.relative_to(cells.ROOT))

    def command(self, command):
        return ("sh", SID_TREE, "run", *command)


# --- preparing a cell -----------------------------------------------------------------


def newest_source():
    files = [cells.ROOT / name for name in SOURCES]
    for folder in [path for path in files if path.is_dir()]:
        files += [path for path in folder.rglob("*") if "__pycache__" not in path.parts]
    return max(path.stat().st_mtime for path in files if path.is_file())


def built_wheel(place, *options):
    """The wheel of qtinter for the cell's Python, built if it is not up to date."""
    folder = place.folder / "wheel"
    found = sorted(folder.glob("qtinter-*.whl"))
    if found and found[-1].stat().st_mtime > newest_source():
        return found[-1]
    for old in found:
        old.unlink()
    began = time.time()
    try:
        place.run(
            "build",
            *(place.python, "-m", "pip", "wheel", "-v", "--no-deps", *options),
            *("-C", "build-dir=" + place.path(place.folder / "build")),
            *("-w", place.path(folder), place.path(cells.ROOT)),
        )
    except nox.command.CommandFailed:
        reason = place.why("build")
        raise Broken(f"qtinter could not be built: {reason}") from None
    (wheel,) = folder.glob("qtinter-*.whl")
    # What changed while it was built may not be in it.
    os.utime(wheel, (began, began))
    return wheel


def test_requirements():
    """What the tests need beside a binding."""
    lines = (cells.ROOT / "tests" / "requirements.txt").read_text().splitlines()
    lines = [line.split("#")[0].strip() for line in lines]
    return [line for line in lines if line and not line.startswith(cells.BINDINGS)]


def install_wheels(place, binding):
    """qtinter and the binding from wheels, as a user installs them."""
    install = (place.python, "-m", "pip", "install", "--quiet")
    # Options of `pip wheel` above came with 23.1.
    place.run("pip", *install, "--upgrade", "pip>=23.1")
    wheel = built_wheel(place)
    try:
        place.run(
            "binding",
            *install,
            "--only-binary=:all:",
            f"{place.path(wheel)}[{binding}]",
        )
    except nox.command.CommandFailed:
        raise Unavailable(f"pip: {place.why('binding')}") from None
    install_requirements(place)
    install_qtinter(place, wheel)


def install_requirements(place):
    install = (place.python, "-m", "pip", "install", "--quiet")
    try:
        place.run("requirements", *install, *test_requirements())
    except nox.command.CommandFailed:
        reason = place.why("requirements")
        raise Broken(f"what the tests need is missing: {reason}") from None


def install_qtinter(place, wheel):
    install = (place.python, "-m", "pip", "install", "--quiet")
    # The version stays the same while qtinter is developed.
    again = ("--no-deps", "--no-index", "--force-reinstall")
    place.run("qtinter", *install, *again, place.path(wheel))


def find_packaged(place, interpreter, binding, where):
    """Fails unless the interpreter is there and imports the binding."""
    try:
        place.run("interpreter", interpreter, "--version")
        place.run("binding", interpreter, "-c", f"import {binding}.QtCore")
    except nox.command.CommandFailed:
        name = "binding" if (place.logs / "binding.log").exists() else "interpreter"
        raise Unavailable(f"not {where}: {place.why(name)}") from None


def make_environment(place, interpreter):
    """A virtual environment that sees the packages of the interpreter."""
    folder = place.folder / "venv"
    if not (folder / "bin" / "pip").exists():
        venv = ("-m", "venv", "--system-site-packages", place.path(folder))
        place.run("venv", interpreter, *venv)


def install_in_system(place, binding):
    """qtinter from a wheel, the binding from the system, the tests' needs from pip."""
    if os.access("/usr/bin/apt-get", os.X_OK) and os.geteuid() == 0:
        install = ("apt-get", "install", "-y", "--no-install-recommends")
        try:
            place.run("packages", *install, "python3-venv", *SYSTEM_PACKAGES[binding])
        except nox.command.CommandFailed:
            # A distribution without the binding; the import below tells.
            place.session.warn(f"apt-get: {place.why('packages')}")
    find_packaged(place, SYSTEM_PYTHON, binding, "among the system's packages")
    make_environment(place, SYSTEM_PYTHON)
    install = (place.python, "-m", "pip", "install", "--quiet")
    place.run("pip", *install, "--upgrade", "pip>=23.1")
    wheel = built_wheel(place)
    install_requirements(place)
    install_qtinter(place, wheel)


def install_in_sid(place, python, binding):
    """qtinter from a wheel, the binding and what the tests need from Debian."""
    try:
        place.session.run("sh", SID_TREE, "create", external=True)
    except nox.command.CommandFailed:
        raise Unavailable("the Debian sid tree could not be made") from None
    interpreter = "/usr/bin/python" + python
    find_packaged(place, interpreter, binding, "in Debian sid")
    make_environment(place, interpreter)
    wheel = built_wheel(place, "--no-build-isolation", "--no-index")
    install_qtinter(place, wheel)


# --- running a cell -------------------------------------------------------------------


def run_host(place, python, binding, host, suites):
    """Runs the suites in one cell and stores the outcome, which it returns."""
    folder = cells.WORK / "cells" / f"{python}-{binding}-{host}"
    folder.mkdir(parents=True, exist_ok=True)
    summary = folder / "summary.json"
    if summary.exists():
        summary.unlink()
    tools = cells.ROOT / "tests" / "tools"
    about = {}
    try:
        log = place.run(
            f"describe-{host}",
            *(place.python, place.path(tools / "describe_cell.py"), binding),
        )
        about = json.loads(log.read_text().splitlines()[-1])
    except nox.command.CommandFailed:
        reason = place.why(f"describe-{host}")
        error = {"error": f"{binding} does not load: {reason}"}
        return cells.write_result((python, binding, host), error)
    command = [place.python, place.path(tools / "run_suites.py")]
    command += ["--build-dir", place.path(folder), "--summary", place.path(summary)]
    command += ["--cell", f"{binding}/{host}", "--suites", ",".join(suites)]
    place.session.run(*place.command(command), external=True, success_codes=[0, 1])
    if summary.exists():
        about["suites"] = json.loads(summary.read_text())
    if not about.get("suites"):
        about["error"] = "the runner of the suites ran nothing"
    return cells.write_result((python, binding, host), about)


def run_cells(place, python, binding, install):
    """Installs, runs all hosts that were asked for, and fails if one of them does."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", action="append", choices=cells.HOSTS)
    parser.add_argument("--suite", action="append", choices=cells.SUITES)
    wanted = parser.parse_args(place.session.posargs)
    hosts = wanted.host or cells.HOSTS
    try:
        install()
    except Unavailable as exc:
        for host in hosts:
            cells.write_result((python, binding, host), {"unavailable": str(exc)})
        place.session.skip(str(exc))
    except Broken as exc:
        for host in hosts:
            cells.write_result((python, binding, host), {"error": str(exc)})
        place.session.error(str(exc))
    outcomes = [
        run_host(place, python, binding, host, wanted.suite or cells.SUITES)
        for host in hosts
    ]
    if any(map(cells.has_failed, outcomes)):
        place.session.error(f"Python {python}, {binding}: see {cells.WORK}/cells")


@nox.session(python=list(cells.PYTHONS), venv_backend="venv", reuse_venv=True)
@nox.parametrize("binding", PARAMETERS)
def cell(session, binding):
    """A binding from the package index, on an interpreter of this machine."""
    place = Here(session, session.python, binding)
    run_cells(place, session.python, binding, lambda: install_wheels(place, binding))


@nox.session(python=False)
@nox.parametrize("binding", PARAMETERS)
@nox.parametrize("version", [nox.param(v, id=v) for v in cells.SID_PYTHONS])
def sid(session, version, binding):
    """A binding and an interpreter of Debian sid."""
    place = Sid(session, version, binding)
    run_cells(place, version, binding, lambda: install_in_sid(place, version, binding))


@nox.session(python=False)
@nox.parametrize("binding", PARAMETERS)
def system(session, binding):
    """The interpreter and a binding of this machine's packages."""
    place = System(session, cells.SYSTEM, binding)
    run_cells(place, cells.SYSTEM, binding, lambda: install_in_system(place, binding))
