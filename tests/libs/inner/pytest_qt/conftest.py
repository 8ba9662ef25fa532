"""What a project that tests its asynchronous slots with pytest-qt needs of qtinter."""

import pytest

import qtinter


@pytest.fixture
def attached(qapp):
    """asyncio is attached to Qt: it runs whenever qtbot lets Qt run."""
    with qtinter.using_asyncio_from_qt() as loop:
        yield loop


@pytest.fixture
def window(qtbot):
    """A window with a button and a label."""
    from qtinter.bindings import QtWidgets

    window = QtWidgets.QWidget()
    layout = QtWidgets.QVBoxLayout(window)
    window.button = QtWidgets.QPushButton("press")
    window.label = QtWidgets.QLabel("")
    layout.addWidget(window.button)
    layout.addWidget(window.label)
    qtbot.addWidget(window)
    window.show()
    return window
