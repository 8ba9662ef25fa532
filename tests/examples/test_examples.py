"""Every example runs for real, in a process of its own, as the binding under test.

``driver.py`` says how a test gets hold of the example's windows, ``scenarios.py`` what
it does with them.
"""

import json
import os
import pathlib
import re
import subprocess
import sys

import pytest

HERE = pathlib.Path(__file__).resolve().parent
EXAMPLES = HERE.parents[1] / "examples"

# The README has these two; they name PyQt6.
VERBATIM = ("sleep.py", "color.py")

# What a user of another binding has to write instead.
SPELLINGS = {
    "PySide2": [("from PyQt6 ", "from PySide2 "), (".exec()", ".exec_()")],
    "PySide6": [("from PyQt6 ", "from PySide6 ")],
    "PyQt5": [("from PyQt6 ", "from PyQt5 ")],
    "PyQt6": [],
}

# What Qt says of windows of a fixed or minimum size (offscreen platform), and, in Qt 5,
# where nobody has logged in.
NOISE = re.compile(
    r"This plugin does not support propagateSizeHints\(\)\n"
    r"|QStandardPaths: XDG_RUNTIME_DIR not set, defaulting to .*\n"
)


def check_quiet_success(result):
    stderr = NOISE.sub("", result.stderr)
    if result.returncode != 0 or stderr:
        pytest.fail(
            f"exit status {result.returncode}\n"
            f"stdout: {result.stdout}\nstderr: {stderr}",
            pytrace=False,
        )


@pytest.fixture(scope="session")
def examples(binding, tmp_path_factory):
    """The folder of the examples, as they are written for the binding."""
    folder = tmp_path_factory.mktemp("examples")
    for path in EXAMPLES.glob("*.py"):
        text = path.read_text(encoding="utf-8")
        for ours, theirs in SPELLINGS[binding]:
            text = text.replace(ours, theirs)
        (folder / path.name).write_text(text, encoding="utf-8")
    return folder


@pytest.fixture
def play(run_isolated, examples):
    """Runs an example with a scenario; gives what the example wrote.

    Anything but the exit status 0 and a silent stderr is a failure.
    """

    def play(name, scenario, *arguments, env=None):
        env = {"PYTHONWARNINGS": "always::ResourceWarning", **(env or {})}
        result = run_isolated(
            HERE / "driver.py",
            examples / name,
            scenario,
            *arguments,
            env=env,
            timeout=120,
        )
        check_quiet_success(result)
        return result.stdout

    return play


@pytest.fixture
def server():
    """The addresses of a running examples/http_server.py."""
    process = subprocess.Popen(
        [sys.executable, EXAMPLES / "http_server.py"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        try:
            yield json.loads(process.stdout.readline())
            process.stdin.close()
            assert process.wait(timeout=60) == 0
        finally:
            process.kill()


def test_verbatim_examples_are_those_of_the_readme():
    readme = (EXAMPLES.parent / "README.md").read_text(encoding="utf-8")
    for name in VERBATIM:
        assert (EXAMPLES / name).read_text(encoding="utf-8") in readme


def test_examples_name_no_binding():
    """But the two of the README: the others are run as they are, save for exec()."""
    named = [
        path.name
        for path in sorted(EXAMPLES.glob("*.py"))
        if re.search(r"(import|from) (PyQt|PySide)\d", path.read_text(encoding="utf-8"))
    ]
    assert named == sorted(VERBATIM)


def test_every_example_is_played():
    """A new example needs a test here: this one names what is missing."""
    played = pathlib.Path(__file__).read_text(encoding="utf-8")
    helpers = {"http_demo.py", "http_server.py"}  # run by those of http_window.py
    examples = {path.name for path in EXAMPLES.glob("*.py")} - helpers
    assert examples
    assert [name for name in sorted(examples) if f'play("{name}"' not in played] == []


# --- the README's examples -----------------------------------------------------------


def test_sleep(play):
    assert play("sleep.py", "sleep") == ""


def test_color_accepted(play):
    assert play("color.py", "color_accepted") == "#336699\n"


def test_color_rejected(play):
    assert play("color.py", "color_rejected") == ""


# --- windows -------------------------------------------------------------------------


def test_clock(play):
    play("clock.py", "clock")


@pytest.mark.parametrize(
    "scenario",
    ["stopwatch", "stopwatch_cancelled_at_once", "stopwatch_closed_while_running"],
)
def test_stopwatch(play, scenario):
    play("stopwatch.py", scenario)


def test_modal_dialog(play):
    play("modal_dialog.py", "modal_dialog")


def test_signal_stream(play):
    play("signal_stream.py", "signal_stream")


@pytest.mark.parametrize(
    "scenario", ["worker_thread", "worker_thread_closed_while_counting"]
)
def test_worker_thread(play, scenario):
    play("worker_thread.py", scenario)


# --- subprocess viewer ---------------------------------------------------------------


def test_subprocess_output(play, tmp_path):
    os.mkfifo(tmp_path / "gate")
    code = (
        "import sys; sys.stdout.reconfigure(encoding='utf-8')\n"
        "print('ready: é', flush=True)\n"
        "with open('gate') as gate: print('error:', gate.read(), file=sys.stderr)\n"
        "sys.exit(3)"
    )
    play("subprocess_viewer.py", "subprocess_output", sys.executable, "-c", code)


def test_subprocess_killed(play):
    code = "while True: print('without end')"
    play("subprocess_viewer.py", "subprocess_killed", sys.executable, "-c", code)


def test_subprocess_cannot_run(play):
    play("subprocess_viewer.py", "subprocess_cannot_run")


def test_subprocess_closed_while_running(play):
    play("subprocess_viewer.py", "subprocess_closed_while_running")


# --- HTTP window ---------------------------------------------------------------------


@pytest.fixture
def trusted(server, tmp_path):
    """The environment in which the server's certificate is trusted."""
    path = tmp_path / "ca.pem"
    path.write_text(server["ca"], encoding="ascii")
    return {"SSL_CERT_FILE": str(path)}


def test_http_downloads(play, server, trusted):
    http, https = server["http"], server["https"]
    urls = [
        f"{http}/bytes/0",
        f"{http}/bytes/1000",
        f"{https}/bytes/1000",
        f"{https}/bytes/300000?chunked=1",
        f"{http}/bytes/3000000",
        f"{https}/bytes/3000000",
        f"{https}/bytes/100000?seconds=1",
    ]
    play("http_window.py", "http_downloads", *urls, env=trusted)


# aiohttp does not wait for the end of TLS when a download is cancelled, so the loop may
# close before a transport does.
TRANSPORTS_LEFT = {"PYTHONWARNINGS": "ignore::ResourceWarning"}


def test_http_cancelled(play, server, trusted):
    path = "/bytes/1000000?seconds=60"
    urls = [server["http"] + path, server["https"] + path]
    env = {**trusted, **TRANSPORTS_LEFT}
    play("http_window.py", "http_cancelled", *urls, env=env)


def test_http_closed_while_downloading(play, server, trusted):
    path = "/bytes/1000000?seconds=60"
    urls = [server["http"] + path, server["https"] + path]
    env = {**trusted, **TRANSPORTS_LEFT}
    play("http_window.py", "http_closed_while_downloading", *urls, env=env)


def test_http_failures(play, server):
    urls = [
        "http://127.0.0.1:1/",  # a privileged port that nobody listens on
        f"{server['http']}/missing",
        f"{server['https']}/bytes/1000",
        "nonsense",
        f"{server['http']}/bytes/1000",
    ]
    play("http_window.py", "http_failures", *urls)


def test_http_demo(tmp_path, examples, binding, host_name):
    """The command behind ./dev demo."""
    result = subprocess.run(
        [sys.executable, examples / "http_window.py", "--demo"],
        cwd=tmp_path,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
    )
    check_quiet_success(result)
    title, *lines = result.stdout.splitlines()
    assert title == "qtinter demo: concurrent downloads in a Qt window"
    report = {line[2:20].strip(): line[21:] for line in lines}
    assert report["requests"] == "7 HTTP, 7 HTTPS, all at once"
    assert report["verified"].startswith("14 of 14 bodies")
    mib = 1 << 20
    size = 2 * (1024 + 65536 + (1 + 1 + 2 + 4 + 12) * mib)
    assert report["bytes"] == f"{size:,}"
    assert " ms between two ticks" in report["longest GUI pause"]
    assert " wakeups" in report["loop"]
    assert " turns" in report["loop"]
    assert report["host"] == f"{host_name}, guest mode"
    assert binding in report["versions"]
