"""What reads one tool call: the interface, and what all readers do once the name is known.

Above: `_marked` and `_harmony` recognise where a call may begin and hand every character to a reader until its
`verdict` is no longer OPEN. Nothing is emitted before it is certain that the text is a call of a known tool; from then
on the arguments stream. Below: `JsonStream` keeps them legal; `MemberFilter` leaves out what the schema forbids.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import Final, Protocol

import attrs

from pensieve_core import JsonObject
from pensieve_gguf.parsers._events import EventBuffer
from pensieve_gguf.parsers._json_stream import JsonStream
from pensieve_gguf.parsers._members import MemberFilter
from pensieve_gguf.parsers._tagging import Tags

__all__ = ["CallReader", "JsonArguments", "OpenCall", "Reader", "Verdict"]

_REMEMBERED: Final = 256
"""Characters of arguments that are kept as they were written: who wants them asks within a few tokens."""


@attrs.frozen(kw_only=True)
class OpenCall:
    """A call that has begun: one whose arguments are not whole, or what stands behind the mark of a call."""

    number: int
    """1 is the answer's first call."""
    name: str
    """Empty before the arguments."""
    text: str
    """The arguments so far as the model wrote them, never empty; before them, all behind the mark."""
    tags: Tags | None = None
    """What stands around its parameters; None: they are JSON, or not known yet."""


class Verdict(enum.Enum):
    """What a reader makes of the text so far."""

    OPEN = enum.auto()
    REFUSED = enum.auto()
    """No call; nothing was emitted."""
    CLOSED = enum.auto()
    """A call, and it is over; characters after it are in `unread`."""


class CallReader(Protocol):
    """Reads one call. `started`: events have been emitted. `whole`: the arguments are complete."""

    verdict: Verdict
    started: bool
    whole: bool
    unread: str

    @property
    def opened(self) -> OpenCall | None:
        """The call, soon after its arguments have begun."""
        ...

    @property
    def broken(self) -> bool:
        """Whether it is refused although it was meant to be a call of a known tool."""
        ...

    def feed(self, text: str) -> None:
        """Take more text: one character at a time until `started`."""
        ...

    def finish(self) -> None:
        """No more text will come: close the call if it started, else refuse unless it is complete."""
        ...


class Reader:
    """Emits a call and its arguments."""

    def __init__(self, tools: Mapping[str, JsonObject], events: EventBuffer) -> None:
        self.verdict = Verdict.OPEN
        self.started = False
        self.whole = False
        self.unread = ""
        self._tools = tools
        self._events = events
        self._members = MemberFilter({})
        self._called = ""
        self._written = ""

    @property
    def opened(self) -> OpenCall | None:
        """The call, soon after its arguments have begun."""
        if not self.started or self.whole or not 0 < len(self._written) <= _REMEMBERED:
            return None
        return OpenCall(number=self._events.calls, name=self._called, text=self._written)

    @property
    def broken(self) -> bool:
        """Whether it is refused although it was meant to be a call of a known tool: once named, it has started."""
        return False

    def _start(self, name: str) -> None:
        self.started = True
        self._called = name
        self._members = MemberFilter(self._tools[name])
        self._events.start_call(name)

    def _note(self, text: str) -> None:
        """Keep what the model wrote of the arguments."""
        if len(self._written) <= _REMEMBERED:
            self._written += text

    def _emit(self, arguments: str) -> None:
        """Emit more of the arguments, which are legal JSON already."""
        self._events.arguments(self._members.feed(arguments))

    def _end(self, unread: str = "") -> None:
        """The text of the call ends before `unread`."""
        self.unread = unread
        self.verdict = Verdict.CLOSED if self.started else Verdict.REFUSED


class JsonArguments(Reader):
    """A reader of calls whose arguments are JSON, or nearly so."""

    def __init__(self, tools: Mapping[str, JsonObject], events: EventBuffer) -> None:
        super().__init__(tools, events)
        self._value = JsonStream()

    def _stream(self, text: str) -> None:
        """Take more of the arguments as the model wrote them."""
        self._note(text)
        self._pass(text)

    def _pass(self, text: str) -> None:
        """Pass more of the arguments on."""
        self._value.feed(text)
        self._emit(self._value.take())
        self.whole = self._value.finished

    def _close(self) -> None:
        """Complete the arguments by force."""
        self._value.close()
        self._emit(self._value.take())
        self.whole = True
