"""A line of text that is being typed."""

from __future__ import annotations


class LineEdit:
    """The text, and where in it the next character goes.

    :ivar before: the text at the begin, to return to.
    """

    def __init__(self, text: str = "") -> None:
        self.before = text
        self.text = text
        self.place = len(text)

    def insert(self, text: str) -> None:
        self.text = self.text[: self.place] + text + self.text[self.place :]
        self.place += len(text)

    def press(self, key: str, character: str | None) -> bool:
        """Take in a key; whether the text is another one."""
        before = self.text
        if key == "backspace" and self.place:
            self.text = self.text[: self.place - 1] + self.text[self.place :]
            self.place -= 1
        elif key == "delete":
            self.text = self.text[: self.place] + self.text[self.place + 1 :]
        elif key == "left":
            self.place = max(0, self.place - 1)
        elif key == "right":
            self.place = min(len(self.text), self.place + 1)
        elif key in ("home", "ctrl+a"):
            self.place = 0
        elif key in ("end", "ctrl+e"):
            self.place = len(self.text)
        elif key == "ctrl+u":
            self.text, self.place = self.text[self.place :], 0
        elif key != "backspace" and character is not None:
            self.insert(character)
        return self.text != before

    def parts(self) -> tuple[str, str, str]:
        """What is before the cursor, under it and behind it."""
        return (
            self.text[: self.place],
            self.text[self.place : self.place + 1] or " ",
            self.text[self.place + 1 :],
        )
