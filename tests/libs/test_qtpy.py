"""qtpy: one choice of binding for the whole program."""

import pytest


@pytest.mark.parametrize(
    "spelling", [str.lower, str.upper, str], ids=["lower", "upper", "name"]
)
def test_qt_api_alone_decides(run_program, binding, host_name, spelling):
    api = spelling(binding)
    lines = run_program(
        "qtpy_program.py", env={"QT_API": api, "QTINTERBINDING": None}
    ).splitlines()
    assert lines[0] == f"{binding} {binding} ['{binding}']"
    assert lines[1] == f"[0, 1, 2] {host_name}"


def test_qtpy_s_choice_beats_our_variable(run_program, binding):
    """One binding is imported, qtpy's; QTINTERBINDING names another."""
    other = "PySide6" if binding != "PySide6" else "PyQt6"
    lines = run_program(
        "qtpy_program.py", env={"QT_API": binding.lower(), "QTINTERBINDING": other}
    ).splitlines()
    assert lines[0] == f"{binding} {binding} ['{binding}']"
