"""Recording the tests of one process, and keeping what is to be kept.

The recording is the ring of the process's segment (:mod:`qtinter.inspect`), in memory;
nothing is read from it or written anywhere until a test fails or asks.
"""

from __future__ import annotations

import faulthandler
import io
import os
import pathlib
import threading
import time
import traceback
import urllib.parse
from typing import TYPE_CHECKING, Any, Dict, Generator, List, Optional, Tuple

import pytest

from qtinter import _core, inspect

from . import MODES, option

# What reads and judges recordings is imported when there is one to be read: most
# suites never need it.
if TYPE_CHECKING:
    from qtinter.trace import Trace

    from . import Entry
    from ._looptrace import LoopTrace

FORMATS = ("qtrace", "perfetto", "html", "chrome", "jsonl", "csv")
SEVERITIES = ("E", "W", "none")
_RECORD_BYTES = 32
_STACK_LINES = 12
_LEVEL_OF_EVENTS = 2  # below it nothing is known that could be judged
CHILDREN = "children"  # of the folder for segments
_CLEAN = ("tasks", "slots", "waits", "timers", "exceptions", "ignore", "allow_gaps")

# What each test calls: globals are found a good deal faster than what a module has.
# Some systems have no inspection; there none of them is called.
_now = time.monotonic_ns
_access, _F_OK = os.access, os.F_OK
_mark: Any = getattr(_core, "inspect_mark", None)
_is_open: Any = getattr(_core, "inspect_is_open", None)
_level_now: Any = getattr(_core, "inspect_level", None)
_segment_path: Any = getattr(_core, "inspect_segment_path", None)


class Settings:
    """What options and ini say.

    :raises ValueError: one of them cannot be understood; the message says how to.
    """

    def __init__(self, config: pytest.Config) -> None:
        self.mode: str = option(config, "qtrace")
        self.mode_given = config.getoption("qtrace") is not None
        self.level = _level(option(config, "qtrace_level"))
        self.ring = _records(option(config, "qtrace_ring"))
        self.formats = _formats(option(config, "qtrace_format"))
        self.fail = _severity(option(config, "qtrace_fail"))
        self.fail_given = config.getoption("qtrace_fail") is not None
        self.ignore: List[str] = list(option(config, "qtrace_ignore"))
        self.budget: Dict[str, float] = {}
        budget = option(config, "qtrace_budget")
        if budget:
            from . import _checks

            self.budget = _checks.budget_of(budget)
        self.budget_given = config.getoption("qtrace_budget") is not None
        baseline = option(config, "qtrace_baseline")
        self.baseline = os.path.join(str(config.rootpath), baseline) if baseline else ""
        if self.baseline and not os.path.isdir(self.baseline):
            raise ValueError(f"qtrace-baseline={baseline}: there is no such folder")
        self.limits: List[Any] = []
        limits = option(config, "qtrace_compare_fail")
        if config.getoption("qtrace_compare_fail") and not baseline:
            raise ValueError(
                "qtrace-compare-fail: compare with what? Add --qtrace-baseline=DIR"
            )
        if limits:
            from . import _checks

            self.limits = _checks.limits_of(limits)
        self.timeout_dump: bool = option(config, "qtrace_timeout_dump")
        self.update: bool = option(config, "qtrace_update")

    def demand(self) -> bool:
        """Whether something is demanded of tests without a mark."""
        compares = self.baseline and self.limits
        return bool(self.budget or self.fail != "none" or compares)


def _level(value: Any) -> int:
    if str(value) not in ("1", "2", "3", "4"):
        raise ValueError(f"qtrace-level={value}: write 1, 2, 3 or 4")
    return int(value)


def _formats(text: str) -> List[str]:
    found = [name.strip() for name in text.split(",") if name.strip()]
    for name in found:
        if name not in FORMATS:
            raise ValueError(f"qtrace-format={text}: there are {', '.join(FORMATS)}")
    return found


def _severity(value: str) -> str:
    if value not in SEVERITIES:
        raise ValueError(f"qtrace-fail={value}: write E, W or none")
    return value


def _records(text: str) -> int:
    """How many records a ring of a size has: the next power of two."""
    units = {"kib": 1 << 10, "mib": 1 << 20, "": 1}
    number = text.strip().rstrip("KMiBkmb")
    unit = text.strip()[len(number) :].lower()
    if not number.isdigit() or unit not in units or int(number) == 0:
        raise ValueError(f"qtrace-ring={text}: write a size such as 8MiB")
    wanted = max(1024, int(number) * units[unit] // _RECORD_BYTES)
    return min(1 << (wanted - 1).bit_length(), 1 << 24)


class Test:
    """One run of one test; made for each, so it has slots, which are the fastest."""

    __slots__ = (
        "allow_gaps", "began", "budget", "called", "clean", "fail", "failed", "folder",
        "ignore", "is_checked", "item", "level", "mode", "problems", "raised",
        "segment", "texts", "timer",
    )  # fmt: skip

    def __init__(
        self, item: pytest.Item, settings: Settings, marks: List[pytest.Mark]
    ) -> None:
        self.item = item
        self.began: int = _now()
        self.called = 0  # ns; when its call phase began
        self.segment = ""
        self.failed = False
        self.raised: Optional[BaseException] = None  # by us
        self.folder = ""
        self.texts: Optional[Tuple[str, str]] = None  # of when it failed first
        self.clean: Optional[Dict[str, Any]] = None
        self.allow_gaps = False
        self.timer: Optional[threading.Timer] = None
        self.is_checked = False  # there are demands on it
        self.problems: List[str] = []
        self.mode = settings.mode
        self.level = settings.level
        self.fail = settings.fail
        self.ignore = settings.ignore
        self.budget = settings.budget
        for mark in marks:
            _MARKS[mark.name](self, mark, settings)

    @property
    def suffix(self) -> str:
        count = getattr(self.item, "execution_count", 1)
        return f"-rerun{count - 1}" if count > 1 else ""


def _mark_qtrace(test: Test, mark: pytest.Mark, settings: Settings) -> None:
    unknown = set(mark.kwargs) - {"mode", "level"}
    mode = mark.args[0] if mark.args else mark.kwargs.get("mode")
    if unknown or len(mark.args) > 1 or mode not in (None, *MODES):
        raise ValueError(f"mark qtrace takes a mode of {', '.join(MODES)} and level=")
    if mode is not None and not settings.mode_given:
        test.mode = mode
    test.level = _level(mark.kwargs.get("level", test.level))


def _mark_budget(test: Test, mark: pytest.Mark, settings: Settings) -> None:
    from . import _checks

    limits = dict(mark.kwargs)
    test.allow_gaps = bool(limits.pop("allow_gaps", False))
    own = {}
    for name, value in limits.items():
        figure = _checks.figure_name(name)
        own[figure] = _checks.limit_of(figure, value)
    suite = settings.budget
    test.budget = {**own, **suite} if settings.budget_given else {**suite, **own}


def _mark_clean(test: Test, mark: pytest.Mark, settings: Settings) -> None:
    unknown = set(mark.kwargs) - set(_CLEAN)
    if unknown or mark.args:
        raise ValueError(f"mark loop_clean takes {', '.join(_CLEAN)}")
    test.clean = dict(mark.kwargs)


def _mark_ignore(test: Test, mark: pytest.Mark, settings: Settings) -> None:
    before = settings.ignore if mark.kwargs.get("extend", True) else []
    test.ignore = [*before, *mark.args]


def _mark_fail(test: Test, mark: pytest.Mark, settings: Settings) -> None:
    severity = _severity(str(mark.args[0]) if mark.args else "")
    if not settings.fail_given:
        test.fail = severity


_MARKS = {
    "qtrace": _mark_qtrace,
    "loop_budget": _mark_budget,
    "loop_clean": _mark_clean,
    "qtrace_ignore": _mark_ignore,
    "qtrace_fail": _mark_fail,
}


class Marks:
    """Our marks of tests; those of folders, modules and classes are looked for once."""

    def __init__(self) -> None:
        self._of: Dict[Any, List[pytest.Mark]] = {}
        self._parent: Any = None  # of the last test
        self._above: List[pytest.Mark] = []

    def of(self, node: Any) -> List[pytest.Mark]:
        """The closest mark of each kind."""
        if node.parent is not self._parent:  # tests come with their siblings
            self._parent, self._above = node.parent, self._of_parent(node.parent)
        above = self._above
        for mark in node.own_markers:
            if mark.name in _MARKS:
                return self._with_own(node, above)
        return above

    def _with_own(self, node: Any, above: List[pytest.Mark]) -> List[pytest.Mark]:
        own = [mark for mark in node.own_markers if mark.name in _MARKS]
        names = {mark.name for mark in own}
        found = list({mark.name: mark for mark in reversed(own)}.values())
        return found + [mark for mark in above if mark.name not in names]

    def _of_parent(self, node: Any) -> List[pytest.Mark]:
        if node is None:
            return []
        found = self._of.get(node)
        if found is None:
            above = self._of_parent(node.parent)
            found = self._of[node] = self._with_own(node, above)
        return found


class Plugin:
    """The hooks that see tests, while qtinter is there.

    It has slots: pluggy's dir() gives a plugin a dictionary, in which Python 3.11 finds
    nothing at the first go any more.
    """

    __slots__ = (
        "_checker", "_children", "_demands", "_ends_after", "_ends_at", "_hears",
        "_marks", "_ours", "_stack", "entry", "error", "settings", "test",
    )  # fmt: skip

    def __init__(self, entry: Entry) -> None:
        self.entry = entry
        self.test: Optional[Test] = None
        self.error = ""
        self._marks = Marks()
        self._checker: Optional[Checker] = None  # from the first demand on
        self._demands = False  # of all tests
        self._ours = False  # it was we who have enabled inspection
        self._ends_after = 0.0  # seconds; by pytest-timeout
        self._ends_at = 0.0
        self._stack: Optional[io.FileIO] = None
        try:
            self.settings = Settings(entry.config)
            self._demands = self.settings.demand()
        except ValueError as exc:
            self.error = str(exc)
        # Where programs that tests start are recorded; qtinter.trace._child reads it.
        self._children = ""
        if not hasattr(_core, "inspect_open"):
            entry.trouble = "this system has no inspection yet"
        self._hears = Made(self) if _tells_late(entry.config) else Logged(self)
        entry.config.pluginmanager.register(self._hears, "qtinter-hears")

    def close(self) -> None:
        self.entry.config.pluginmanager.unregister(self._hears)
        if self._checker is not None:
            self.entry.config.pluginmanager.unregister(self._checker)
        if self._stack is not None:
            self._stack.close()
        if self._children:
            os.environ.pop("QTINTER_TRACE_DIR", None)
            if not self.entry.trace_id:
                os.environ.pop("QTINTER_TRACE_ID", None)
        if self._ours and inspect.is_enabled():
            inspect.disable()

    # --- a test begins

    def begin(self, item: pytest.Item) -> None:
        """Begin to watch a test; nothing happens where it is switched off."""
        if self.error:
            pytest.exit(
                f"qtinter: {self.error}", returncode=pytest.ExitCode.USAGE_ERROR
            )
        if self.test is not None and self.test.item is item and not self.test.called:
            return  # begun when qtinter was imported
        marks = self._marks.of(item)
        try:
            test = Test(item, self.settings, marks)
        except ValueError as exc:
            raise pytest.UsageError(f"{item.nodeid}: {exc}") from None
        self.test = None
        if self.entry.trouble:
            return
        asks = "looptrace" in getattr(item, "fixturenames", ())
        demanded = (marks or self._demands) and self._is_demanded(test)
        if asks or demanded:
            test.level = max(test.level, _LEVEL_OF_EVENTS)
        if (test.mode != "off" or asks) and self._enable(test):
            self.test = test
            if demanded:
                self._demand(test)
            _mark("test setup")
            if self.settings.timeout_dump:
                self._arm(item)
                self._start_timer(test)

    def _enable(self, test: Test) -> bool:
        if not self._children:
            # Not before there is a test: the workers of xdist are no programs of one.
            self._children = os.path.join(self.entry.staging_folder(), CHILDREN)
            os.environ["QTINTER_TRACE_DIR"] = self._children
            os.environ["QTINTER_TRACE_ID"] = self.entry.session().trace_id
        if not _is_open():
            try:
                # A worker's is where the process that started it finds it.
                inspect.enable(
                    level=test.level,
                    connect=False,
                    ring=self.settings.ring,
                    directory=self.entry.staging if self.entry.worker else None,
                )
            except (OSError, RuntimeError) as exc:
                self.entry.trouble = str(exc)  # no reason for a test to fail
                return False
            self._ours = True
        elif self._ours and _level_now() != test.level:
            inspect.enable(level=test.level)
        test.segment = _segment_path()
        return True

    # --- its phases
    #
    # These run for each test: there are as few of them as possible, and none of them is
    # a wrapper, which costs four times as much.

    @pytest.hookimpl(tryfirst=True)
    def pytest_runtest_teardown(self) -> None:
        if self.test is not None:
            _mark("test teardown")

    @pytest.hookimpl(tryfirst=True)  # as pytest_runtest_logreport, see Logged
    def reported(self, report: pytest.TestReport) -> None:
        """A phase of the test is over, or a subtest of it: what came of it is known."""
        test = self.test
        if test is None:
            return
        if report.outcome == "failed":  # perhaps by another plugin
            test.failed = True
            if test.mode != "off":
                self._add_section(test, report)
        when = report.when
        if when == "setup":
            if report.outcome == "passed":
                test.called = _now()
                _mark("test call")
        elif when == "teardown":
            self._finish(test, report)

    # --- demands

    def _is_demanded(self, test: Test) -> bool:
        """Whether something is demanded of the test."""
        settings = self.settings
        return bool(
            test.budget
            or test.clean is not None
            or test.fail != "none"
            or (settings.baseline and settings.limits)
        )

    def _demand(self, test: Test) -> None:
        """Has the test checked at its end."""
        test.is_checked = True
        if self._checker is None:
            self._checker = Checker(self)
            self.entry.config.pluginmanager.register(self._checker, "qtinter-checker")

    def check(self, test: Test) -> Optional[AssertionError]:
        """What the test is to be failed for, although it has passed."""
        settings = self.settings
        from . import _checks

        trace = self.trace(test, test.called)
        if trace is None:
            return None

        def where() -> str:
            return self.folder_of(test)

        try:
            if test.budget:
                budgeted = trace.with_gaps() if test.allow_gaps else trace
                _checks.check_budget(budgeted, test.budget, where)
            if settings.baseline and settings.limits:
                from ._folders import slug

                baseline = _checks.baseline_of(
                    settings.baseline, slug(test.item.nodeid)
                )
                _checks.check_changes(trace, baseline, settings.limits, where)
            if test.clean is not None:
                clean = dict(test.clean)
                allowed = clean.pop("allow_gaps", False)
                judged = trace.with_gaps() if allowed else trace
                _checks.check_clean(judged, where, **clean)
            if test.fail != "none":
                _checks.check_findings(trace, test.fail, test.ignore, where)
        except AssertionError as exc:  # LoopTraceError and TraceIncomplete
            return exc
        return None

    # --- reading

    def trace(self, test: Test, since: int = 0) -> Optional[Trace]:
        """What was recorded of a test so far; None if inspection was switched off.

        :param since: ns; by default the beginning of the test.
        """
        if not inspect.is_enabled() or inspect.segment_path() != test.segment:
            return None
        from qtinter.trace import Trace
        from qtinter.trace._source import SegmentSource

        try:
            source = SegmentSource(test.segment, since or test.began)
        except (OSError, ValueError) as exc:
            test.problems.append(str(exc))
            return None
        # Its times are those of the test, also where only a part is read.
        root = Trace(source, test.began)
        return root if not since else root._part(since, None)

    def looptrace(self, item: pytest.Item) -> LoopTrace:
        from ._looptrace import LoopTrace

        if self.test is None or self.test.item is not item:
            self.begin(item)
        if self.test is None:
            pytest.fail(f"no loop traces: {self.entry.trouble}", pytrace=False)
        return LoopTrace(self, self.test)

    # --- keeping

    def folder_of(self, test: Test) -> str:
        """The folder of a test, made if it is not there; "" if that is not possible."""
        if not test.folder and test.mode != "off":
            worker = f"-{self.entry.worker}" if self.entry.worker else ""
            try:
                session = self.entry.session()
                test.folder = session.make(test.item.nodeid, worker + test.suffix)
            except OSError as exc:
                test.problems.append(f"no trace is kept: {exc}")
        return test.folder

    def _add_section(self, test: Test, report: pytest.TestReport) -> None:
        from ._kept import TITLE, texts_of

        lines = [self.folder_of(test)]
        stack = self._stack_lines()
        trace = self.trace(test)
        if trace is None:
            lines.append("inspection was switched off while the test ran")
        else:
            texts = texts_of(trace)
            test.texts = test.texts or texts
            lines.append(texts_of(trace, len(stack))[0] if stack else texts[0])
        lines += stack
        report.sections.append((TITLE, "\n".join(filter(None, lines))))

    def _stack_lines(self) -> List[str]:
        stack = self._stack_text()
        if not stack:
            return []
        lines = stack.rstrip().split("\n")
        return ["stack when the time was up:", *lines[:_STACK_LINES]]

    def _finish(self, test: Test, report: pytest.TestReport) -> None:
        """Decides whether a test is kept; its teardown is over."""
        if (
            test.mode == "retain-on-failure"
            and not test.failed
            and not test.folder
            and self._stack is None
        ):
            self._end(test)  # as most do
            return
        try:
            if self._is_kept(test):
                self._keep(test)
                if test.folder:
                    self.entry.kept.append(test.folder)
                    test.item.user_properties.append(("qtrace", test.folder))
                    report.user_properties.append(("qtrace", test.folder))
                    _link_in_html(test, report)
                if test.problems:
                    from ._kept import TITLE

                    report.sections.append((TITLE, "\n".join(test.problems)))
        finally:
            self._end(test)

    def _end(self, test: Test) -> None:
        self.test = None
        if test.timer is not None:
            test.timer.cancel()
        if _access(self._children, _F_OK):
            from . import _kept

            _kept.remove_children(self._children)
        if self._stack is not None:
            faulthandler.cancel_dump_traceback_later()
            self._stack.truncate(0)
            self._stack.seek(0)

    def _is_kept(self, test: Test) -> bool:
        if test.mode == "off":
            return False
        if test.failed or test.folder or test.mode == "on" or self._stack_text():
            return True
        if test.mode != "retain-on-warning":
            return False
        from . import _checks

        trace = self.trace(test)
        return trace is not None and bool(_checks.findings(trace, "W", test.ignore))

    def _keep(self, test: Test) -> None:
        folder = self.folder_of(test)
        if not folder:
            return
        from . import _kept

        try:
            # First what takes no time: a time limit may end the process meanwhile.
            stack = self._stack_text()
            if stack:
                with open(os.path.join(folder, "stack.txt"), "w") as file:
                    file.write(stack)
            trace = self.trace(test)
            if trace is not None:
                path = self.save(test, trace, os.path.join(folder, "trace"))
                # As it was when the test failed: its teardown may have ended all.
                texts = test.texts or _kept.texts_of(trace)
                _kept.write_texts(trace, folder, texts)
                test.problems += _kept.write_formats(
                    path, folder, self.settings.formats
                )
            test.problems += _kept.write_children(
                self._children, folder, self.entry.session().trace_id
            )
        except (OSError, ValueError) as exc:
            test.problems.append(f"the trace could not be written: {exc}")

    def save(self, test: Test, trace: Trace, path: str) -> str:
        """Write the recording of a test; the path with its ending.

        :raises OSError: it cannot be written.
        """
        from . import _kept

        core: Any = _core
        run = self.entry.session().trace_id
        trace_id = _kept.id_of(run, self.folder_of(test)) if test.folder else run
        if hasattr(core, "inspect_save_trace"):
            first = next((record[0] for record in trace.raw_records()), 0)
            core.inspect_save_trace(path + ".qtrace", first, trace_id)
            return path + ".qtrace"
        copy = os.path.join(self.entry.staging_folder(), f"copy-{os.getpid()}.dump")
        inspect.dump(copy)
        try:
            return _kept.write_segment(copy, path, trace_id)
        finally:
            os.unlink(copy)

    # --- time limits

    def _arm(self, item: pytest.Item) -> None:
        """Has the stack written when the test has taken too long, GIL or not."""
        seconds = _limit_of(item)
        if not seconds:
            return
        if self._stack is None:
            path = os.path.join(self.entry.staging_folder(), "stack.txt")
            self._stack = io.FileIO(path, "w+")
        leaves = False
        try:
            leaves = bool(item.config.getini("faulthandler_exit_on_timeout"))
        except (KeyError, ValueError):
            pass  # this pytest does not have it
        faulthandler.dump_traceback_later(
            seconds - _margin(seconds), exit=leaves, file=self._stack
        )

    def _stack_text(self) -> str:
        if self._stack is None:
            return ""
        self._stack.seek(0)
        return self._stack.read().decode("utf-8", "backslashreplace")

    @pytest.hookimpl(wrapper=True, optionalhook=True)
    def pytest_timeout_set_timer(
        self, item: pytest.Item, settings: Any
    ) -> Generator[None, Any, Any]:
        """pytest-timeout will end the process: the trace is to be written before."""
        result = yield
        ends = settings.method == "thread" and settings.timeout
        self._ends_after = float(settings.timeout) if ends else 0.0
        self._ends_at = time.monotonic() + self._ends_after
        if self.test is not None:  # only its function is limited
            self._start_timer(self.test)
        return result

    def _start_timer(self, test: Test) -> None:
        if self._ends_after and self.settings.timeout_dump and test.timer is None:
            from . import _kept  # noqa: F401 - now, and not when the time is up

            spare = min(2.0, self._ends_after * 0.3)
            seconds = max(0.0, self._ends_at - time.monotonic() - spare)
            test.timer = threading.Timer(seconds, self._keep_now, (test,))
            test.timer.daemon = True
            test.timer.start()

    def _keep_now(self, test: Test) -> None:
        """[thread of the timer]"""
        if self._stack is not None and not self._stack_text():
            faulthandler.dump_traceback(self._stack)
        self._keep(test)

    def pytest_keyboard_interrupt(self, excinfo: Any) -> None:
        test = self.test
        if test is None or not self.settings.timeout_dump:
            return
        self._keep(test)
        if test.folder:
            self.entry.kept.append(test.folder)
            stack = "".join(traceback.format_tb(excinfo.tb))
            path = os.path.join(test.folder, "stack.txt")
            with open(path, "w", encoding="utf-8", errors="backslashreplace") as file:
                file.write(f"Traceback (most recent call last):\n{stack}")
        self._end(test)


class Checker:
    """Fails tests that have passed but do not meet what is demanded of them."""

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_call(self, item: pytest.Item) -> Generator[None, Any, Any]:
        result = yield  # a test that fails leaves from here
        test = self._plugin.test
        if (
            test is not None
            and test.is_checked
            and not getattr(item, "_excinfo", None)  # of unittest
        ):
            test.raised = self._plugin.check(test)
            if test.raised is not None:
                raise test.raised
        return result

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self, call: pytest.CallInfo[None]
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        test = self._plugin.test
        if (
            test is not None
            and call.excinfo is not None
            and call.excinfo.value is test.raised
        ):
            # The message is what counts, and not where the plugin raised it.
            report.longrepr = call.excinfo.getrepr(style="value")
        return report


class Logged:
    """Hears of each phase when pytest tells all plugins, which is right after it.

    A report has its final outcome by then, and nobody has looked at it yet.
    """

    __slots__ = ("pytest_runtest_logreport",)

    def __init__(self, plugin: Plugin) -> None:
        self.pytest_runtest_logreport = plugin.reported


class Made:
    """Hears of each phase as soon as there is a report of it.

    For protocols that tell the plugins only when the whole test has been run, such as
    that of pytest-rerunfailures: its state would be gone.
    """

    def __init__(self, plugin: Plugin) -> None:
        self._plugin = plugin

    @pytest.hookimpl(wrapper=True)
    def pytest_runtest_makereport(
        self,
    ) -> Generator[None, pytest.TestReport, pytest.TestReport]:
        report = yield
        self._plugin.reported(report)
        return report


def _tells_late(config: pytest.Config) -> bool:
    """Whether tests are run in another way than pytest's own."""
    return any(
        not getattr(implementation.plugin, "__name__", "").startswith("_pytest.")
        and not (implementation.hookwrapper or implementation.wrapper)
        for implementation in config.hook.pytest_runtest_protocol.get_hookimpls()
    )


def _link_in_html(test: Test, report: Any) -> None:
    """Has the row of a test in pytest-html's report link to its folder, or its page."""
    config = test.item.config
    path = config.getoption("htmlpath", None)
    if not path or not config.pluginmanager.hasplugin("html"):
        return
    import pytest_html
    from pytest_html import extras

    page = os.path.join(test.folder, "trace.html")
    there = page if os.path.exists(page) else test.folder
    start = os.path.dirname(os.path.join(config.invocation_params.dir, path))
    target = pathlib.PurePath(os.path.relpath(there, start)).as_posix()
    link = extras.url(urllib.parse.quote(target), name="loop trace")
    # Renamed in pytest-html 4; for Python 3.7 there is 3.2.
    name = "extra" if pytest_html.__version__.startswith(("2.", "3.")) else "extras"
    setattr(report, name, [*getattr(report, name, []), link])


def _margin(seconds: float) -> float:
    """How long before a time limit what is to be seen of it is written."""
    return min(0.5, seconds * 0.1)


def _limit_of(item: pytest.Item) -> float:
    """Seconds that a test may take, by pytest-timeout or pytest itself; 0: any."""
    mark = item.get_closest_marker("timeout")
    config = item.config
    given: List[Any] = []
    if mark is not None:
        given += [*mark.args[:1], mark.kwargs.get("timeout")]
    given += [config.getoption("timeout", None), os.environ.get("PYTEST_TIMEOUT")]
    for name in ("timeout", "faulthandler_timeout"):
        try:
            given.append(config.getini(name))
        except (KeyError, ValueError):
            pass  # there is no such plugin
    for value in given:
        try:
            if value and float(value) > 0:
                return float(value)
        except ValueError:
            pass  # for its owner to complain about
    return 0.0
