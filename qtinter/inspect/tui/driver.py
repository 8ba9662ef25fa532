"""Textual on a terminal that was taken before: what is drawn there stays at first."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from .first import ENTER

if TYPE_CHECKING:
    from textual.driver import Driver

    from .first import Taken


def driver_for(taken: Taken) -> type[Driver]:
    """The class of a driver that goes on with this terminal."""
    from textual.drivers.linux_driver import LinuxDriver

    class TakenDriver(LinuxDriver):
        def __init__(self, *arguments: Any, **options: Any) -> None:
            super().__init__(*arguments, **options)
            self._is_entered = True  # the other screen, which entering would clear

        def start_application_mode(self) -> None:
            is_first, taken.is_handed_on = not taken.is_handed_on, True
            super().start_application_mode()  # type: ignore[no-untyped-call]
            if is_first:
                self.attrs_before = taken.before

        def write(self, data: str) -> None:
            if data == ENTER and self._is_entered:
                self._is_entered = False
                return
            super().write(data)

    return TakenDriver
