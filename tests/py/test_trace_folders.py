"""The folder of a test with several processes, in the views."""

import sys

import pytest

import qtinter.trace

pytestmark = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="inspection is on Linux only so far"
)


@pytest.fixture
def folder(run_isolated, tmp_path):
    """Two processes, one after the other."""
    for name in ("trace.qtrace", "trace-p1.qtrace"):
        path = tmp_path / "test" / name
        path.parent.mkdir(exist_ok=True)
        env = {"QTINTER_TRACE_ID": name, "QTINTER_INSPECT": None}
        done = run_isolated("recorded.py", "plain", path, env=env)
        assert done.returncode == 0, done.stderr
    return path.parent


def opened(folder):
    """The recordings; the second begins after the end of the first."""
    trace = qtinter.trace.open(folder)
    (other,) = trace.others
    assert other.zero > trace.zero
    return trace


def tasks(process):
    return [task["name"] for task in process.tasks(True)]


def test_terminal(folder):
    pytest.importorskip("rich")
    from qtinter.inspect.tui import files
    from qtinter.inspect.tui.viewer import Viewer

    trace = opened(folder)
    source = files.open_file(str(folder))
    pids = [each.info["pid"] for each in (trace, *trace.others)]
    assert list(source.processes) == pids
    assert source.pid == source.followed == pids[0]
    viewer = Viewer(source)
    changed = []
    source.listen(lambda change: changed.append((change.what, change.pid)))
    source.go_to(0)
    assert changed == [("snapshot", pid) for pid in pids]
    assert [tasks(process) for process in source.processes.values()] == [
        tasks(trace.snapshot(0)),
        tasks(trace.others[0].snapshot(0)),
    ]
    assert viewer.process is source.processes[pids[0]]


def test_window(folder):
    from qtinter.inspect.gui import files

    trace = opened(folder)
    first, second = files.open_files(str(folder))
    assert first.pid == trace.info["pid"]
    assert second.pid == trace.others[0].info["pid"]
    assert "is of another trace" in first.problem
    assert second.problem == ""
    (only,) = files.open_files(str(folder), trace.duration / 2)
    assert only.pid == first.pid  # the other one had not begun
    path = str(folder / "trace-p1.qtrace")
    assert [each.pid for each in files.open_files(path)] == [second.pid]


def test_a_folder_without_recordings(tmp_path):
    from qtinter.inspect.gui import files

    with pytest.raises(ValueError, match=r"there is no .*[^x]$"):
        files.open_files(str(tmp_path))


def test_the_folder_of_a_session(folder):
    """It says what would do."""
    with pytest.raises(ValueError, match=r"such as test$"):
        qtinter.trace.open(folder.parent)
