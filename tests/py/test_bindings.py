"""Which binding qtinter uses."""

import re

import pytest

UNSET = {"QTINTERBINDING": None, "QT_API": None}


@pytest.fixture
def resolve(run_isolated):
    def run(*imports, **variables):
        result = run_isolated(
            "resolve_binding.py", *imports, env=dict(UNSET, **variables)
        )
        assert result.returncode == 0, result.stderr
        return result.stdout.strip()

    return run


def other_than(binding):
    return "PySide2" if binding != "PySide2" else "PyQt5"


def test_the_imported_binding_wins(resolve, binding):
    """B3: the environment does not count, whatever it holds."""
    expected = binding + ".QtCore"
    assert resolve(binding) == expected
    assert resolve(binding, QTINTERBINDING="rubbish") == expected
    assert resolve(binding + ".QtCore", QT_API="pyqt5") == expected


def test_the_variable_chooses(resolve, binding):
    """B4."""
    assert resolve(QTINTERBINDING=binding) == binding + ".QtCore"


def test_qt_api_is_the_second_choice(resolve, binding):
    """1.5, pain 50: QT_API in any case, if QTINTERBINDING is unset or empty."""
    assert resolve(QT_API=binding.upper()) == binding + ".QtCore"
    assert resolve(QT_API=binding.lower(), QTINTERBINDING="") == binding + ".QtCore"
    assert (
        resolve(QT_API=other_than(binding), QTINTERBINDING=binding)
        == binding + ".QtCore"
    )


@pytest.mark.parametrize("variables", [{}, {"QTINTERBINDING": ""}, {"QT_API": "gtk"}])
def test_nothing_imported_and_nothing_set(resolve, binding, variables):
    """B5, with what is installed and how to choose."""
    text = resolve(**variables)
    assert text.startswith(
        "ImportError: no Qt binding is imported and QTINTERBINDING is not set"
    )
    assert f"{binding} " in text.partition("Installed:")[2]
    assert re.search(r"/(site|dist)-packages", text), "where it is"


def test_unsupported_value(resolve, binding):
    """B6; B4: the spelling counts."""
    for value in ("Qt", binding.lower()):
        text = resolve(QTINTERBINDING=value)
        assert f"unsupported QTINTERBINDING value '{value}'" in text
        assert "PyQt5, PyQt6, PySide2, PySide6" in text


def test_a_binding_that_is_not_installed(resolve, binding):
    """1.6: the error names the variable, the binding and what is installed."""
    other = other_than(binding)
    text = resolve("missing:" + other, QTINTERBINDING=other)
    assert f"cannot import {other}, which QTINTERBINDING names" in text
    assert f"{binding} " in text.partition("Installed:")[2]


def test_several_imported(resolve, binding):
    """B7."""
    other = other_than(binding)
    text = resolve(binding, "fake:" + other)
    assert "more than one Qt bindings are imported: [" in text
    assert repr(binding) in text
    assert repr(other) in text
    assert "Set QTINTERBINDING" in text


def test_the_environment_breaks_the_tie(resolve, binding):
    """1.5: QTINTERBINDING, or else QT_API, decides between imported bindings."""
    fake = "fake:" + other_than(binding)
    expected = binding + ".QtCore"
    assert resolve(binding, fake, QTINTERBINDING=binding) == expected
    assert resolve(binding, fake, QT_API=binding.lower()) == expected
    text = resolve(binding, fake, QTINTERBINDING="Qt")
    assert "more than one Qt bindings are imported" in text
    assert "QTINTERBINDING is 'Qt', which is not one of them" in text


def test_failure_is_not_remembered_and_success_is(run_isolated, binding):
    """B8."""
    result = run_isolated("retry_binding.py", env={"QTINTERBINDING": binding})
    assert (result.returncode, result.stdout) == (0, "ok\n"), result.stderr


def test_what_needs_no_binding(run_isolated):
    """P1, B1, B2: and asyncsignal, which needs one, says how to choose."""
    result = run_isolated("without_binding.py", env=UNSET)
    assert result.returncode == 0, result.stderr
    assert "no Qt binding is imported" in result.stdout
    assert "Installed: none" in result.stdout


def test_names_of_the_module(app, binding):
    """B9, V5."""
    import qtinter.bindings

    assert qtinter.bindings.QtCore.__name__ == binding + ".QtCore"
    gui = qtinter.bindings.QtGui
    assert gui.__name__ == binding + ".QtGui"
    with pytest.raises(AttributeError, match="__nothing__"):
        qtinter.bindings.__nothing__  # noqa: B018
    with pytest.raises(ImportError):
        qtinter.bindings.QtNothing  # noqa: B018
    got = []
    receiver = qtinter.bindings._QiSlotObject(lambda *args: got.append(args))
    receiver.slot(1, 2)
    assert got == [(1, 2)]
