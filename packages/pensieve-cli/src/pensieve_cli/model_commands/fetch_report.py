"""How a pull is told: a bar on a terminal, lines into a pipe, JSON for programs. No I/O but writing.

The JSON is one object a line, each with a `type`: what is planned, how far it is (once a second), what was verified,
and last `pulled`. Keys may be added, never changed.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Protocol, TextIO, assert_never

import cattrs.preconf.json

from pensieve_cli.wording import bar, counted, duration, megabytes
from pensieve_registry.hub import Advanced, Planned, Pulled, PullEvent, Retrying, Speed, Verified, Waiting

__all__ = ["FetchPrinter", "JsonPrinter", "LinePrinter", "progress_line"]

_BAR_EVERY_S, _LINE_EVERY_S, _JSON_EVERY_S = 0.2, 5.0, 1.0
_CLEAR = "\r\x1b[K"


class _Report(Protocol):
    """An attrs class."""

    @property
    def __attrs_attrs__(self) -> tuple[object, ...]: ...


class FetchPrinter(Protocol):
    """Who tells."""

    def on_event(self, event: PullEvent) -> None:
        """Tell what happened, unless the same was told a moment ago."""
        ...

    def finish(self, pulled: Pulled, words: str) -> None:
        """Tell that it is here. `words`: what the user called it."""
        ...

    def close(self) -> None:
        """Leave the terminal as it should be, however it ended."""
        ...


class LinePrinter:
    """For people: one line that moves on a terminal, several lines elsewhere."""

    def __init__(self, output: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._output = output
        self._clock = clock
        self._moves = output.isatty()
        self._speed = Speed()
        self._told_at = clock()
        self._on_line = False

    def on_event(self, event: PullEvent) -> None:
        """Tell what happened, unless the same was told a moment ago."""
        match event:
            case Planned():
                files = counted(len(event.files), "file")
                self._say(f"{event.repository}: {files}, {megabytes(event.total_bytes)} ({event.reason})")
            case Advanced():
                self._advance(event)
            case Verified():
                self._say(f"verified {event.file}")
            case Retrying():
                self._say(f"{event.file}: {event.reason}; going on in {event.pause_s:.0f} s")
            case Waiting():
                self._say(f"{event.file}: another program is fetching it; waiting for that")
            case _:
                assert_never(event)

    def finish(self, pulled: Pulled, words: str) -> None:
        """Tell that it is here."""
        self._say(f"{words} is here, whole and checked: {pulled.quantization}, {megabytes(pulled.size_bytes)}")
        self._say(f"  {pulled.path}")
        self._say("A server that runs finds it, too, as soon as somebody asks for it by its name.")

    def close(self) -> None:
        """End the moving line."""
        self._say(None)

    def _advance(self, event: Advanced) -> None:
        now = self._clock()
        self._speed.observe(now, event.fetched_bytes)
        if now - self._told_at < (_BAR_EVERY_S if self._moves else _LINE_EVERY_S):
            return
        self._told_at = now
        line = progress_line(event, self._speed)
        if not self._moves:
            self._say(line)
            return
        self._output.write(f"{_CLEAR}{line}")
        self._output.flush()
        self._on_line = True

    def _say(self, line: str | None) -> None:
        if self._on_line:
            self._output.write(_CLEAR)
        self._on_line = False
        if line is not None:
            self._output.write(f"{line}\n")
        self._output.flush()


class JsonPrinter:
    """For programs: one object a line."""

    def __init__(self, output: TextIO, clock: Callable[[], float] = time.monotonic) -> None:
        self._output = output
        self._clock = clock
        self._told_at = clock()
        self._converter = cattrs.preconf.json.make_converter()

    def on_event(self, event: PullEvent) -> None:
        """Tell it; how far it is, once a second."""
        if isinstance(event, Advanced):
            if self._clock() - self._told_at < _JSON_EVERY_S:
                return
            self._told_at = self._clock()
        self.write(event)

    def finish(self, pulled: Pulled, words: str) -> None:  # noqa: ARG002 - people want words
        """Tell that it is here."""
        projector = None if pulled.projector is None else str(pulled.projector)
        self.write(pulled, type="pulled", path=str(pulled.path), projector=projector)

    def close(self) -> None:
        """Nothing is open."""

    def write(self, report: _Report, **more: str | None) -> None:
        """Write one object; `more` are keys beside its fields, or in place of them."""
        fields = {**self._converter.unstructure(report), **more}
        self._output.write(self._converter.dumps(fields, ensure_ascii=False) + "\n")
        self._output.flush()


def progress_line(event: Advanced, speed: Speed) -> str:
    """Return "[######------------------]  25%  1.2 of 4.7 GB  23 MB/s  2 min 30 s left"."""
    share = event.done_bytes / event.total_bytes if event.total_bytes else 1.0
    parts = [bar(share), f"{megabytes(event.done_bytes)} of {megabytes(event.total_bytes)}"]
    rate, left_s = speed.bytes_per_s, speed.left_s(event.total_bytes - event.done_bytes)
    if rate is not None:
        parts.append(f"{megabytes(int(rate))}/s")
    if left_s is not None:
        parts.append(f"{duration(left_s)} left")
    return "  ".join(parts)
