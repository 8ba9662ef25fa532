"""A project whose asynchronous tests run inside Qt."""

import pytest

from qtinter.bindings import QtCore


@pytest.fixture(scope="session", autouse=True)
def application():
    return QtCore.QCoreApplication.instance() or QtCore.QCoreApplication([])
