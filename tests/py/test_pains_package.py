"""What users of such loops ran into: names, requirements, documents, frozen programs.

Ids are those of tests/statements.ini.
"""

import importlib.util
import os
import pathlib
import re
import subprocess
import sys

import pytest

import qtinter

CHECKOUT = pathlib.Path(__file__).resolve().parents[2]
DOCS = CHECKOUT / "docs"

# Those of the Python qtinter.
NAMES = [
    "QiBaseEventLoop",
    "QiBaseSelectorEventLoop",
    "QiDefaultEventLoop",
    "QiDefaultEventLoopPolicy",
    "QiLoopMode",
    "QiSelectorEventLoop",
    "QiSelectorEventLoopPolicy",
    "asyncsignal",
    "asyncsignalstream",
    "asyncslot",
    "modal",
    "multisignal",
    "new_event_loop",
    "run_task",
    "using_asyncio_from_qt",
    "using_qt_from_asyncio",
]

NEW_NAMES = [
    "QiRunner",
    "SenderDestroyedError",
    "__version__",
    "default_loop_factory",
    "run",
    "signalwait",
]

WINDOWS_NAMES = [
    "QiBaseProactorEventLoop",
    "QiProactorEventLoop",
    "QiProactorEventLoopPolicy",
]


def project_table(name):
    """The lines of a table of pyproject.toml (no parser before Python 3.11)."""
    text = (CHECKOUT / "pyproject.toml").read_text(encoding="utf-8")
    found = re.search(rf"^\[{re.escape(name)}\]$(.*?)(?=^\[)", text, re.M | re.S)
    return found.group(1)


# --- names ---------------------------------------------------------------------------


def test_public_names():
    """P3, 1.1/a-g: these are there, and no others."""
    allowed = {*NAMES, *NEW_NAMES, *WINDOWS_NAMES, "inspect", "trace"}
    assert {*NAMES, *NEW_NAMES} <= set(qtinter.__all__) <= allowed
    # What __all__ names exists; policies as long as asyncio has some.
    for name in qtinter.__all__:
        if not name.endswith("Policy") or sys.version_info < (3, 16):
            assert getattr(qtinter, name) is not None
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        qtinter.nothing  # noqa: B018


@pytest.mark.skipif(sys.platform == "win32", reason="the default there is another one")
def test_defaults_of_the_platform():
    """P4, 1.1/f: a selector loop on Unix."""
    assert qtinter.QiDefaultEventLoop is qtinter.QiSelectorEventLoop
    assert qtinter.default_loop_factory is qtinter.new_event_loop
    if sys.version_info < (3, 16):
        assert qtinter.QiDefaultEventLoopPolicy is qtinter.QiSelectorEventLoopPolicy


def test_importing_warns_of_nothing(tmp_path):
    """1.1/j: with all warnings errors, the import is silent; the policies are lazy."""
    code = (
        "import qtinter; assert 'QiDefaultEventLoopPolicy' not in vars(qtinter); "
        "qtinter.new_event_loop().close()"
    )
    result = subprocess.run(
        [sys.executable, "-W", "error", "-c", code],
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=60,
    )
    assert (result.returncode, result.stdout) == (0, "")


# --- requirements --------------------------------------------------------------------


def test_old_pythons_are_refused():
    """P2: by the installer, which goes by this line."""
    found = re.search(
        r'^requires-python = ">=3\.(\d+)"$', project_table("project"), re.M
    )
    assert 7 <= int(found.group(1)) <= sys.version_info.minor


def test_no_dependency_and_an_extra_for_each_binding():
    """P8."""
    assert re.search(r"^dependencies = \[\]$", project_table("project"), re.M)
    extras = project_table("project.optional-dependencies")
    names = set(re.findall(r"^(\w+) = \[", extras, re.M))
    assert names >= {"PyQt5", "PyQt6", "PySide2", "PySide6"}


# --- documents -----------------------------------------------------------------------


def test_the_index_of_the_documents():
    """Every page is in docs/README.md, and every link leads somewhere."""
    index = (DOCS / "README.md").read_text(encoding="utf-8")
    pages = {path.name for path in DOCS.glob("*.md")} - {"README.md"}
    assert pages
    assert [page for page in sorted(pages) if f"({page})" not in index] == []
    for path in [CHECKOUT / "README.md", *DOCS.glob("*.md")]:
        text = re.sub(r"^```.*?^```", "", path.read_text("utf-8"), flags=re.M | re.S)
        for target in re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", text):
            assert (path.parent / target).exists(), f"{path.name}: {target}"


def test_the_change_of_asyncsignal_is_documented():
    """1.2/c."""
    page = (DOCS / "coming-from-python-qtinter.md").read_text(encoding="utf-8")
    assert "astuple=True" in page
    assert "0.11 gave a tuple always" in page


def recipe(title):
    """The program under a heading of docs/recipes.md."""
    text = (DOCS / "recipes.md").read_text(encoding="utf-8")
    section = text.split(f"\n## {title}\n", 1)[1].split("\n## ", 1)[0]
    return re.search(r"^```python\n(.*?)^```", section, re.M | re.S).group(1)


@pytest.fixture
def run_recipe(tmp_path, run_isolated, binding):
    """run_recipe(title, code): what the recipe and then the code print."""

    def run(title, code):
        script = tmp_path / "recipe.py"
        text = recipe(title)
        if binding == "PySide2":  # which also waits forever for a run() that raised
            text = text.replace(".exec()", ".exec_()")
        script.write_text(text + "\n\n" + code, encoding="utf-8")
        # Qt 5 says so when it has to choose the folder itself.
        result = run_isolated(script, env={"XDG_RUNTIME_DIR": str(tmp_path)})
        assert (result.returncode, result.stderr) == (0, "")
        return result.stdout.split()

    return run


def test_recipe_for_closing_a_window(run_recipe):
    """Pains 6 and 11: the window closes when its asynchronous work is done."""
    code = """
class Test(Window):
    async def save(self):
        print("saving")
        QtCore.QTimer.singleShot(0, self.close)  # impatience changes nothing
        await asyncio.sleep(0.01)
        print("saved")

    def hideEvent(self, event):
        print("hidden")

app = QtWidgets.QApplication([])
window = Test()
window.show()
QtCore.QTimer.singleShot(0, window.close)
with qtinter.using_asyncio_from_qt():
    (app.exec if hasattr(app, "exec") else app.exec_)()
"""
    output = run_recipe("Finish work before a window closes", code)
    assert output == ["saving", "saved", "hidden"]


def test_recipe_for_threads(run_recipe):
    """Pain 32: a loop in a Python thread and one in a QThread, without a policy."""
    code = """
app = QtCore.QCoreApplication([])
thread = threading.Thread(target=work_in_a_python_thread)
thread.start()
thread.join()
worker = Worker()
worker.start()
worker.wait()
"""
    output = run_recipe("A loop in each thread", code)
    assert output == ["python", "thread", "QThread"]


# --- frozen programs -----------------------------------------------------------------

FROZEN = """
import asyncio, sys
from {binding} import QtCore
import qtinter

async def main():
    timer = QtCore.QTimer()
    timer.start(1)
    await qtinter.asyncsignal(timer.timeout)
    print("frozen", getattr(sys, "frozen", False), asyncio.get_running_loop().host_name)
    app.quit()

app = QtCore.QCoreApplication([])
with qtinter.using_asyncio_from_qt() as loop:
    task = loop.create_task(main())
    (app.exec if hasattr(app, "exec") else app.exec_)()
    task.result()
"""


@pytest.mark.slow
def test_a_program_frozen_by_pyinstaller(tmp_path, binding, host_name):
    """Pain 55: no hook, no option: it runs from the folder that PyInstaller made."""
    if host_name == "native":
        pytest.skip("frozen programs have the binding host; tested with that one")
    if importlib.util.find_spec("PyInstaller") is None:
        pytest.skip("PyInstaller is not installed")
    if "asan" in os.environ.get("LD_PRELOAD", ""):
        pytest.skip("AddressSanitizer cannot be loaded into what PyInstaller makes")
    (tmp_path / "program.py").write_text(FROZEN.format(binding=binding))
    package_folder = str(pathlib.Path(qtinter.__file__).parents[1])
    command = [sys.executable, "-m", "PyInstaller", "--log-level", "ERROR"]
    command += ["--paths", package_folder, "program.py"]
    built = subprocess.run(
        command,
        cwd=str(tmp_path),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        timeout=600,
    )
    assert built.returncode == 0, built.stdout
    result = subprocess.run(
        [str(tmp_path / "dist" / "program" / "program")],
        cwd="/",
        env={"LC_ALL": "C.UTF-8"},  # in other locales Qt prints a warning
        capture_output=True,
        text=True,
        timeout=120,
    )
    assert (result.returncode, result.stderr) == (0, "")
    assert result.stdout == "frozen True binding\n"
