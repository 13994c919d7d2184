"""Server-sent events, read back."""

from __future__ import annotations

from typing import Any

import attrs
import orjson

__all__ = ["EventReader", "ServerSentEvent"]


@attrs.frozen
class ServerSentEvent:
    """One event of a stream."""

    name: str
    """Its `event:` line."""
    data: Any
    """Its `data:` line, parsed."""


class EventReader:
    """Takes a stream in any pieces, and returns the events that are complete.

    As strict as a test should be: each event is one `event:` line, one `data:` line of JSON, and an empty line.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, piece: bytes) -> list[ServerSentEvent]:
        """Take more of the stream. Raises ValueError when it is no such event."""
        *frames, self._rest = (self._rest + piece).split(b"\n\n")
        return [_parse(frame) for frame in frames]


def _parse(frame: bytes) -> ServerSentEvent:
    event, data = frame.split(b"\n")
    if not (event.startswith(b"event: ") and data.startswith(b"data: ")):
        raise ValueError(f"not an event with name and data: {frame!r}")
    return ServerSentEvent(event.removeprefix(b"event: ").decode(), orjson.loads(data.removeprefix(b"data: ")))
