"""Writing what is seen to a file: PNG, or SVG where there is QtSvg."""

from __future__ import annotations

import os
import re
from typing import Any

from .qt import QtCore, QtGui, QtWidgets, svg_generator

_RESOLUTION = 96  # dots in an inch, so that a pixel of ours is one of a browser


def export(widget: Any, path: str) -> None:
    """Write a widget, as it is shown, to a file; its name's end says what it is.

    :raises ValueError: the name ends neither in .png nor in .svg.
    :raises ImportError: SVG is wanted, and QtSvg is not there.
    :raises OSError: the file cannot be written.
    """
    ending = os.path.splitext(path)[1].lower()
    # Of what scrolls, what is seen of it.
    area = widget.viewport() if hasattr(widget, "viewport") else widget
    if ending == ".png":
        if not area.grab().save(path, "PNG"):
            raise OSError(f"{path} cannot be written")
    elif ending == ".svg":
        _export_svg(widget, area, path)
    else:
        raise ValueError(f"{path}: the name must end in .png or .svg")


def _export_svg(widget: Any, area: Any, path: str) -> None:
    generator = svg_generator()()
    generator.setFileName(path)
    generator.setResolution(_RESOLUTION)
    generator.setSize(area.size())
    generator.setViewBox(QtCore.QRect(QtCore.QPoint(0, 0), area.size()))
    generator.setTitle(widget.accessibleName() or widget.window().windowTitle())
    painter = QtGui.QPainter()
    if not painter.begin(generator):
        raise OSError(f"{path} cannot be written")
    try:
        if hasattr(widget, "paint"):  # it paints itself: shapes and texts, no pixels
            widget.paint(painter)
        else:
            # SVG of Qt clips nothing, as tables and texts need it: those are a picture.
            painter.drawPixmap(area.rect(), area.grab())
            for part in widget.findChildren(QtWidgets.QAbstractScrollArea):
                if hasattr(part, "paint") and part.isVisible():
                    painter.save()
                    origin = part.viewport().mapTo(area, QtCore.QPoint(0, 0))
                    painter.translate(QtCore.QPointF(origin))
                    part.paint(painter)
                    painter.restore()
    finally:
        painter.end()
    if not os.path.getsize(path):
        raise OSError(f"{path} cannot be written")
    _name_font(path, QtGui.QFontInfo(widget.font()).family())


def _name_font(path: str, family: str) -> None:
    """Says which font it was, where Qt has a name of its own, such as "Sans Serif"."""
    with open(path, "rb+") as file:
        names = f'font-family="{family}, sans-serif"'.encode()
        text = re.sub(rb'font-family="[^"]*"', lambda _: names, file.read())
        file.seek(0)
        file.write(text)
        file.truncate()
