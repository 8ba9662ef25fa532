"""The plugin of pytest that keeps what event loops did in tests that failed.

It is there in every pytest process where qtinter is installed, so this module imports
nothing but pytest; the rest comes with qtinter, when something imports that.  See
docs/traces.md.
"""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING, Any, Iterator

import pluggy
import pytest

if TYPE_CHECKING:
    from ._looptrace import LoopTrace
    from ._plugin import Plugin

_PLUGGY = tuple(map(int, pluggy.__version__.split(".")[:2]))

MODES = ("off", "on", "retain-on-failure", "retain-on-warning")
_MARKERS = (
    "loop_budget(max_step='50ms', max_lag='100ms', max_tasks=200, max_nested=1): fail "
    "if the event loop did worse than that while the test ran",
    "loop_clean(tasks=True, slots=True, waits=True, timers=False, exceptions=True): "
    "fail if something that the test started is pending at its end",
    "qtrace(mode, level=3): what is recorded of this test, and when it is kept",
    "qtrace_ignore(*ids, extend=True): findings that do not matter in this test",
    "qtrace_fail(severity): fail if there are findings of this severity: E, W or none",
)
# name: (default, help); "" stands for not given.
_OPTIONS = {
    "qtrace": (
        "retain-on-failure",
        "keep a recording of what event loops did: of no test (off), of each (on), of "
        "those that fail, or also of those with findings (retain-on-warning)",
    ),
    "qtrace-dir": (".qtinter/traces", "folder for recordings, from the root folder"),
    "qtrace-keep": ("3", "how many sessions are kept in it"),
    "qtrace-format": (
        "qtrace",
        "qtrace, and after commas: perfetto, html, chrome, jsonl, csv",
    ),
    "qtrace-level": ("3", "what is recorded, 1 to 4; see docs/inspect.md"),
    "qtrace-ring": ("8MiB", "how much is remembered of a test"),
    "qtrace-fail": ("none", "fail tests with findings of severity E or W"),
    "qtrace-budget": ("", "fail tests that exceed it: 'max_step<50ms,p99_lag<20ms'"),
    "qtrace-baseline": ("", "folder of a session (--qtrace=on) to compare with"),
    "qtrace-compare-fail": ("", "fail tests that got worse: 'p99_step:+20%%'"),
}
_FLAGS = {
    "qtrace-timeout-dump": "when a test takes too long, write stack and recording",
    "qtrace-update": "write the shapes that looptrace.assert_shape() compares with",
}


_ERRORS = {
    "LoopBudgetError": "_checks",
    "LoopCleanError": "_checks",
    "LoopLintError": "_checks",
    "LoopShapeError": "_checks",
    "LoopTraceError": "_checks",
    "LoopWaitError": "_looptrace",
}


def __getattr__(name: str) -> Any:
    if name in _ERRORS:
        import importlib

        return getattr(importlib.import_module(f".{_ERRORS[name]}", __name__), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")


def pytest_addoption(
    parser: pytest.Parser, pluginmanager: pytest.PytestPluginManager
) -> None:
    _import_as_others(pluginmanager)
    group = parser.getgroup("qtrace", "recordings of event loops (qtinter)")
    for name, (default, text) in _OPTIONS.items():
        ini = name.replace("-", "_")
        told = text.replace("%%", "%")
        text += f" (default: {default})" if default else ""
        group.addoption(f"--{name}", dest=ini, default=None, help=text)
        parser.addini(ini, f"--{name}: {told}", default=default)
    group.addoption(
        "--qtrace-ignore", dest="qtrace_ignore", action="append", default=None,
        metavar="ID", help="a finding that does not matter, such as QI206; repeatable",
    )  # fmt: skip
    parser.addini("qtrace_ignore", "--qtrace-ignore: ids", type="args", default=[])
    for name, text in _FLAGS.items():
        ini = name.replace("-", "_")
        group.addoption(
            f"--{name}", dest=ini, action="store_true", default=None, help=text
        )
        parser.addini(ini, f"--{name}: {text}", type="bool", default=False)


def _import_as_others(pluginmanager: pytest.PytestPluginManager) -> None:
    """Have qtinter imported in the usual way, which takes a third less time.

    pytest rewrites the assertions of all that comes with a plugin, which is for plugins
    that assert something; and reads what it has rewritten byte by byte.
    """
    marked = getattr(pluginmanager.rewrite_hook, "_must_rewrite", None)
    if isinstance(marked, set):  # else they are rewritten, to no harm
        marked -= {"qtinter", "pytest_qtinter"}


def option(config: pytest.Config, name: str) -> Any:
    """What was given on the command line, or else in the ini file, or the default."""
    given = config.getoption(name)
    return config.getini(name) if given is None else given


def pytest_configure(config: pytest.Config) -> None:
    for marker in _MARKERS:
        config.addinivalue_line("markers", marker)
    # A pytest that a traced test has started keeps its own recordings.
    if os.environ.pop("QTINTER_TRACE_DIR", None) is not None:
        os.environ.pop("QTINTER_TRACE_ID", None)
    mode = option(config, "qtrace")
    if mode not in MODES:
        raise pytest.UsageError(f"qtrace={mode}: choose one of {', '.join(MODES)}")
    keep = str(option(config, "qtrace_keep"))
    if not keep.isdecimal() or int(keep) == 0:
        raise pytest.UsageError(f"qtrace-keep={keep}: write a number, 1 or more")
    config.pluginmanager.register(Entry(config), "qtinter-entry")


def pytest_unconfigure(config: pytest.Config) -> None:
    entry = config.pluginmanager.unregister(name="qtinter-entry")
    if entry is not None:
        entry.close()


@pytest.fixture
def looptrace(request: pytest.FixtureRequest) -> Iterator[LoopTrace]:
    """What event loops did in this test so far; see docs/traces.md."""
    entry = request.config.pluginmanager.get_plugin("qtinter-entry")
    if entry is None:
        raise pytest.UsageError("looptrace needs the plugin pytest_qtinter")
    trace = entry.start().looptrace(request.node)
    yield trace
    trace.close()


def qtinter_imported() -> None:
    """Called by qtinter when it has been imported, perhaps by a test that runs."""
    if Entry.current is not None and Entry.current.records:
        Entry.current.start()


class Entry:
    """Waits for qtinter to be imported; keeps what all processes of a suite share."""

    __slots__ = (
        "_outer", "_own_staging", "config", "item", "kept", "plugin", "records",
        "session_name", "staging", "trace_id", "trouble", "worker",
    )  # fmt: skip

    current: Entry | None = None

    def __init__(self, config: pytest.Config) -> None:
        self.config = config
        self.plugin: Plugin | None = None
        self.item: pytest.Item | None = None  # that is run, or was last
        self.kept: list[str] = []  # folders
        self.trouble = ""  # why nothing can be recorded
        self._outer = Entry.current
        Entry.current = self
        worker = getattr(config, "workerinput", {})
        self.worker: str = worker.get("workerid", "")
        self.session_name: str = worker.get("qtrace_session", "")
        self.staging: str = worker.get("qtrace_staging", "")
        self.trace_id = os.environ.get("QTINTER_TRACE_ID", "")  # given from outside
        self._own_staging = ""
        # Not given, it can be asked for by a mark.
        self.records = config.getoption("qtrace") != "off" and _PLUGGY >= (1, 2)
        if self.records and "qtinter" in sys.modules:
            self.start()

    def start(self) -> Plugin:
        """Begins to record; imports qtinter if nobody has."""
        if self.plugin is None:
            if _PLUGGY < (1, 2):
                raise pytest.UsageError("loop traces need pluggy 1.2 or newer")
            from ._plugin import Plugin

            self.plugin = Plugin(self)
            self.config.pluginmanager.register(self.plugin, "qtinter-trace")
            if self.item is not None:
                self.plugin.begin(self.item)
        return self.plugin

    def close(self) -> None:
        Entry.current = self._outer
        if self.plugin is not None:
            self.config.pluginmanager.unregister(self.plugin)
            self.plugin.close()
            self.plugin = None
        if self._own_staging:
            import shutil

            shutil.rmtree(self._own_staging, ignore_errors=True)

    def session(self) -> Any:
        """The folder of this run; the same in all processes of a suite."""
        from ._folders import Session, session_name

        root = str(self.config.rootpath)
        if not self.session_name:
            self.session_name = session_name(root)
        directory = os.path.join(root, str(option(self.config, "qtrace_dir")))
        return Session(directory, self.session_name, self.trace_id)

    def staging_folder(self) -> str:
        """A private folder for segments, which is removed at the end."""
        if not self.staging:
            import tempfile

            base = os.environ.get("XDG_RUNTIME_DIR")
            base = base if base and os.path.isdir(base) else None
            self.staging = tempfile.mkdtemp(prefix="qtrace-", dir=base)
            self._own_staging = self.staging
        return self.staging

    # --- hooks

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_setup(self, item: pytest.Item) -> None:
        self.item = item
        if self.plugin is not None:
            self.plugin.begin(item)

    @pytest.hookimpl(trylast=True)
    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.trouble and terminalreporter.stats.get("failed"):
            terminalreporter.write_line(f"qtrace: nothing is recorded: {self.trouble}")
        if not self.kept:
            return
        where = os.path.dirname(self.kept[0])
        many = "1 trace" if len(self.kept) == 1 else f"{len(self.kept)} traces"
        terminalreporter.write_line(
            f"qtrace: {many} kept in {self._short(where)}; "
            f"open: qtinter-inspect replay {self._short(self.kept[0])}"
        )

    def _short(self, path: str) -> str:
        relative = os.path.relpath(path, str(self.config.invocation_params.dir))
        return path if relative.startswith("..") else relative

    def pytest_sessionfinish(self) -> None:
        if self.kept and not self.worker:
            self.session().prune(int(option(self.config, "qtrace_keep")))

    @pytest.hookimpl(optionalhook=True)
    def pytest_configure_node(self, node: Any) -> None:
        """xdist starts a worker: it gets what it has to share."""
        if not self.records:
            return
        if not self.config.pluginmanager.has_plugin("qtinter-kept"):
            self.config.pluginmanager.register(_Collector(self.kept), "qtinter-kept")
        folder = os.path.join(self.staging_folder(), str(node.gateway.id))
        os.makedirs(folder, mode=0o700, exist_ok=True)
        self.session()
        node.workerinput["qtrace_session"] = self.session_name
        node.workerinput["qtrace_staging"] = folder

    @pytest.hookimpl(optionalhook=True)
    def pytest_handlecrashitem(self, crashitem: str, report: Any) -> None:
        """A worker died while it ran a test: its segment says what it did."""
        folder = report.node.workerinput.get("qtrace_staging")
        if folder and self.records:
            from ._salvage import salvage

            salvage(
                self.session(), crashitem, str(report.node.gateway.id), folder, report
            )


class _Collector:
    """Hears from the workers of xdist what they have kept."""

    def __init__(self, kept: list[str]) -> None:
        self._kept = kept

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        for name, value in report.user_properties:
            if name == "qtrace" and value not in self._kept:
                self._kept.append(str(value))
