"""Writing what is seen to a file: PNG, or SVG where there is QtSvg."""

from __future__ import annotations

import os
from typing import Any

from .qt import QtCore, QtGui, svg_generator


def export(widget: Any, path: str) -> None:
    """Write a widget, as it is shown, to a file; its name's end says what it is.

    :raises ValueError: the name ends neither in .png nor in .svg.
    :raises ImportError: SVG is wanted, and QtSvg is not there.
    :raises OSError: the file cannot be written.
    """
    ending = os.path.splitext(path)[1].lower()
    if ending == ".png":
        if not widget.grab().save(path, "PNG"):
            raise OSError(f"{path} cannot be written")
    elif ending == ".svg":
        _export_svg(widget, path)
    else:
        raise ValueError(f"{path}: the name must end in .png or .svg")


def _export_svg(widget: Any, path: str) -> None:
    generator = svg_generator()()
    generator.setFileName(path)
    generator.setSize(widget.size())
    generator.setViewBox(QtCore.QRect(QtCore.QPoint(0, 0), widget.size()))
    generator.setTitle(widget.accessibleName() or widget.window().windowTitle())
    painter = QtGui.QPainter()
    if not painter.begin(generator):
        raise OSError(f"{path} cannot be written")
    try:
        paint = getattr(widget, "paint", None)
        if paint is not None:  # it paints itself: shapes and texts, no pixels
            paint(painter)
        else:
            widget.render(painter, QtCore.QPoint())
    finally:
        painter.end()
    if not os.path.getsize(path):
        raise OSError(f"{path} cannot be written")
