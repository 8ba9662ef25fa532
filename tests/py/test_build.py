"""What is in the installed package, and how its modules are linked."""

import importlib.machinery
import importlib.util
import pathlib
import re
import shutil
import subprocess
import sys

import pytest

import qtinter

PACKAGE = pathlib.Path(qtinter.__file__).parent
TESTS = pathlib.Path(__file__).resolve().parents[1]

on_linux = pytest.mark.skipif(
    not sys.platform.startswith("linux"), reason="reads ELF files"
)
needs_binutils = pytest.mark.skipif(
    shutil.which("nm") is None or shutil.which("readelf") is None,
    reason="nm and readelf are not installed",
)


def native_module(name):
    """The one file of the extension module qtinter.<name>, or None."""
    found = [
        path
        for suffix in importlib.machinery.EXTENSION_SUFFIXES
        for path in PACKAGE.glob(name + suffix)
    ]
    return found[0] if found else None


@pytest.fixture(scope="module")
def check_symbols():
    spec = importlib.util.spec_from_file_location(
        "check_symbols", TESTS / "tools" / "check_symbols.py"
    )
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


NATIVE_HOSTS = {"_qtglue": "6", "_qtglue5": "5"}  # and the Qt they are for


@pytest.fixture(params=["_core", *NATIVE_HOSTS])
def module_file(request):
    path = native_module(request.param)
    if path is None and request.param in NATIVE_HOSTS:
        qt = NATIVE_HOSTS[request.param]
        pytest.skip(f"the native host was not built: no Qt {qt} headers")
    assert path is not None
    return path


def test_package_holds_types_and_no_sources():
    assert (PACKAGE / "py.typed").is_file()
    assert (PACKAGE / "_core.pyi").is_file()
    assert not (PACKAGE / "_native").exists()


def test_version_is_that_of_the_distribution():
    metadata = pytest.importorskip("importlib.metadata", reason="3.7 has none")
    assert re.fullmatch(r"\d+\.\d+\.\d+", qtinter.__version__)
    assert metadata.version("qtinter") == qtinter.__version__


@on_linux
@needs_binutils
def test_modules_export_only_their_init_function(check_symbols, module_file):
    assert check_symbols.violations(module_file) == []


@on_linux
@needs_binutils
def test_symbol_check_sees_a_foreign_symbol(check_symbols, tmp_path):
    """The check itself: a library with other names in it is refused."""
    import _ctypes

    library = pathlib.Path(getattr(_ctypes, "__file__", sys.executable))
    copy = tmp_path / "_core.so"
    shutil.copy(library, copy)
    result = subprocess.run(
        [sys.executable, str(TESTS / "tools" / "check_symbols.py"), str(copy)],
        stdout=subprocess.PIPE,
        text=True,
    )
    assert result.returncode == 1
    assert "does not export PyInit__core" in result.stdout


@on_linux
@needs_binutils
@pytest.mark.parametrize(("name", "qt"), NATIVE_HOSTS.items())
def test_glue_binds_to_the_loaded_qt(check_symbols, name, qt):
    module = native_module(name)
    if module is None:
        pytest.skip(f"the native host was not built: no Qt {qt} headers")
    needed = check_symbols.needed_libraries(module)
    core = f"libQt{qt}Core.so.{qt}"
    assert {name for name in needed if name.startswith("libQt")} == {core}
    assert not any(name.startswith("libpython") for name in needed)


@on_linux
@needs_binutils
def test_core_needs_neither_qt_nor_cxx(check_symbols):
    needed = check_symbols.needed_libraries(native_module("_core"))
    foreign = ("libQt", "libstdc++", "libc++", "libpython")
    assert not [name for name in needed if name.startswith(foreign)]
