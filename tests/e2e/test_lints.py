"""Findings in real programs: each is made by faults.py, and by nothing else."""

import os
import subprocess
import sys

import pytest

from qtinter.inspect import connect

pytestmark = pytest.mark.usefixtures("daemon")

FAULTS = [
    "QI104", "QI201", "QI202", "QI203", "QI204", "QI206", "QI303", "QI305", "QI403",
    "QI501", "QI502", "QI505", "QI507",
]  # fmt: skip

# What else is true of what the program does then.
WITH_IT = {
    "QI202": {"QI201"},
    "QI501": {"QI504", "QI105"},
    "QI502": {"QI101", "QI504", "QI105"},
    "QI104": {"QI101", "QI504", "QI105"},
}


async def found(feed, ident):
    """All findings that appear until this one does."""
    seen = {}
    async for change in feed:
        if change.what == "lint" and change.data["active"]:
            seen.setdefault(change.data["id"], []).append(change.data)
            if change.data["id"] == ident:
                return seen
    raise AssertionError("the daemon went away")


@pytest.mark.parametrize("ident", FAULTS)
def test_a_fault_is_found(application, known, run, ident):
    known(application)

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            assert await feed.request("LINTS", pid=application.pid) == []
            application.send(f"fault {ident}")
            return await found(feed, ident)

    seen = run(follow())
    assert seen.keys() - WITH_IT.get(ident, set()) == {ident}
    if ident == "QI201":
        assert [lint["text"] for lint in seen[ident]] == [
            "slot 2 (Receiver.on_number): 2 calls are pending at once"
        ]


def test_a_program_without_faults(application, known, run):
    known(application)

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            for _ in range(20):
                application.ask("tasks 100")
                application.ask("state")
            return await feed.request("LINTS", pid=application.pid)

    assert run(follow()) == []


PROJECT = """
[tool.qtinter.lints]
QI201 = "off"
QI202 = { limit = 2, severity = "E" }
"""


@pytest.mark.skipif(sys.version_info < (3, 11), reason="reads TOML without a package")
def test_the_table_of_the_project(known, run, tmp_path, start_application):
    (tmp_path / "pyproject.toml").write_text(PROJECT)
    application = known(start_application("--project", str(tmp_path)))

    async def follow():
        async with connect() as feed:
            await feed.subscribe(application.pid)
            application.send("fault QI201")
            return await found(feed, "QI202")

    seen = run(follow())
    assert {lint["severity"] for lint in seen["QI202"]} == {"E"}
    assert seen.keys() == {"QI202"}


def test_a_table_that_is_wrong_stops_no_program(tmp_path):
    (tmp_path / "pyproject.toml").write_text('[tool.qtinter.lints]\nQI999 = "off"\n')
    script = tmp_path / "main.py"
    script.write_text("import qtinter.inspect\nprint(qtinter.inspect.is_enabled())\n")
    result = subprocess.run(
        [sys.executable, str(script)],
        env=dict(os.environ, QTINTER_INSPECT="1"),
        capture_output=True,
        text=True,
        check=True,
    )
    if sys.version_info >= (3, 11):
        assert "there is no finding 'QI999'" in result.stderr
        assert result.stdout == "False\n"
