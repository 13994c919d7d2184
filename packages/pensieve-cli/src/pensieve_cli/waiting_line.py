"""What is going on, on one line of a terminal that is written over; elsewhere each text once, and nothing twice."""

from __future__ import annotations

import re
from typing import TextIO

from pensieve_cli.wording import bar

__all__ = ["WaitingLine"]

_CLEAR = "\r\x1b[K"
_PERCENT = re.compile(r" \(\d+%\)")


class WaitingLine:
    """Texts on `stream`."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._shown = ""

    def show(self, text: str, share: float | None = None) -> None:
        """Show `text` until something else is shown. `share`: how much is done, 0 to 1; a terminal has a bar of it."""
        if self._stream.isatty():
            done = "" if share is None else f"{bar(share)}  "
            self._write(f"{_CLEAR}pensieve-server: {done}{text} …")
        elif (kind := _PERCENT.sub("", text)) != self._shown:
            self._shown = kind
            self._write(f"pensieve-server: {kind}\n")

    def say(self, text: str) -> None:
        """Say `text` for good."""
        self.clear()
        self._write(f"pensieve-server: {text}\n")

    def clear(self) -> None:
        """Take away what is shown."""
        if self._stream.isatty():
            self._write(_CLEAR)

    def _write(self, text: str) -> None:
        self._stream.write(text)
        self._stream.flush()
