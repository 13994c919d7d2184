"""The stream of one answer as bytes: happenings and the passing of time go in, server-sent events come out.

    UNSTARTED --Opened, or patience runs out--> STARTED --message_stop, error--> FINISHED

A failure in UNSTARTED is raised: it still can become a status. In STARTED it becomes an `error` event. Patience is
short while there is no engine, for loading may take minutes; once there is one it is longer, for an engine refuses
within moments, and Claude Code compacts a prompt that is too long when a status says so.

A machine without clock, task or socket; `sse` is the shell around it.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TypeAlias, assert_never

import attrs

from pensieve_http.answer import Answer
from pensieve_http.exchange import EngineFound, Happening
from pensieve_http.signs_of_life import Sign, SignsOfLife
from pensieve_protocol import ApiError, IllegalTransition, StreamEvent, encode_sse

__all__ = ["Failed", "Item", "LiveStream", "Tick"]


@attrs.frozen
class Failed:
    """No more happenings will come, because of this."""

    error: Exception


@attrs.frozen
class Tick:
    """Time has passed: look whether something is due."""


Item: TypeAlias = Happening | Failed | Tick


@attrs.define(kw_only=True, eq=False)
class LiveStream:
    """Turns items into the bytes to write."""

    answer: Answer
    """What the client is told."""
    signs: SignsOfLife
    """When to break a silence."""
    start_by: float
    """When to start without waiting any longer, on the monotonic clock."""
    admission_patience_s: float
    """How long an engine, once there is one, may take to admit or refuse."""
    thinking: bool
    """Whether the answer may begin with thinking: says which block is opened to keep a long wait alive."""
    translate: Callable[[Exception], ApiError]
    """Returns what the client is told of an exception."""
    encode: Callable[[StreamEvent], bytes] = encode_sse
    """Writes an event in the words of the door that the client came in by."""

    @property
    def finished(self) -> bool:
        """The last event has been told."""
        return self.answer.stream.finished

    @property
    def due_at(self) -> float:
        """When the next `Tick` is wanted, on the monotonic clock."""
        return self.signs.due_at if self.answer.started else self.start_by

    def tell(self, items: Iterable[Item], now: float) -> bytes:
        """Return the events for all of `items` in one piece; empty when there is nothing to say.

        Raises:
            Exception: that of a `Failed`, while the stream is not started.
        """
        return b"".join(self.encode(event) for item in items if not self.finished for event in self._events(item, now))

    def _events(self, item: Item, now: float) -> tuple[StreamEvent, ...]:
        match item:
            case EngineFound():
                self.start_by = now + self.admission_patience_s
                return ()
            case Tick():
                events, content = self._due(now), False
            case Failed(error=error):
                events, content = self._failure(error), True
            case _:
                events, content = self._tell(item, now), True
        if events:
            self.signs.wrote(now, content=content)
        return events

    def _tell(self, happening: Happening, now: float) -> tuple[StreamEvent, ...]:
        try:
            return self.answer.tell(happening, now)
        except IllegalTransition as error:  # the engine's events make no answer: our bug, but the client's stream
            return self._failure(error)

    def _due(self, now: float) -> tuple[StreamEvent, ...]:
        if not self.answer.started:
            return self.answer.start_early() if now >= self.start_by else ()
        sign = self.signs.due(now)
        match sign:
            case Sign.PING:
                return self.answer.stream.ping()
            case Sign.KEEP_ALIVE:
                return self.answer.stream.keep_alive(thinking=self.thinking)
            case None:
                return ()
            case _:
                assert_never(sign)

    def _failure(self, error: Exception) -> tuple[StreamEvent, ...]:
        if not self.answer.started:
            raise error
        return self.answer.fail(self.translate(error))
