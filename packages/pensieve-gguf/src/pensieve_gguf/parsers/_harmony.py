"""The machine for gpt-oss, which says everything in messages on channels.

    <|channel|>analysis<|message|>reasoning<|end|>
    <|start|>assistant<|channel|>commentary to=functions.NAME <|constrain|>json<|message|>{…}<|call|>
    <|start|>assistant<|channel|>final<|message|>the answer<|return|>

Theory of operation. The prompt ends where a header begins. A header says what its message is: a call when it names a
tool of the request as recipient, reasoning on the channel `analysis`, else text. The marks are no part of anything.

    HEADER ──<|message|>──▶ THINKING, ARGUMENTS or TEXT ──<|end|>, <|call|>, <|start|>…──▶ HEADER

What does not begin like a header is text at once, and text is read as everybody else's (`_marked`), should the model
call in another way. Some of the marks never reach the text, being control tokens that are hidden or end the turn.

Above: `_parser` makes it. Below: `_marked` for text, `_reading` for arguments.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import Final

from pensieve_core import JsonObject
from pensieve_gguf.parsers._events import WHITE_SPACE, EventBuffer, ParsedEvent
from pensieve_gguf.parsers._marked import MarkedParser
from pensieve_gguf.parsers._reading import JsonArguments, OpenCall, Verdict
from pensieve_gguf.parsers._tagging import overlap
from pensieve_gguf.parsers._tags import NAMESPACE

__all__ = ["HarmonyParser"]

_MESSAGE: Final = "<|message|>"
_CHANNEL: Final = "<|channel|>"
_START: Final = "<|start|>"
_ENDS: Final = ("<|end|>", "<|call|>", "<|return|>", _START)
_HEADER_MARK: Final = re.compile("|".join(map(re.escape, (_MESSAGE, *_ENDS))))
_BODY_MARK: Final = re.compile("|".join(map(re.escape, (_CHANNEL, *_ENDS))))
_BEGINNINGS: Final = (_CHANNEL, *_ENDS, "assistant", "to=")
"""With one of these a header begins, white space aside."""
_MAX_HEADER: Final = 512
_RECIPIENT: Final = re.compile(r"to=([^\s<]+)")
_ON_CHANNEL: Final = re.compile(r"<\|channel\|>\s*(\w+)")
_PARAGRAPH: Final = "\n\n"


class _At(enum.Enum):
    HEADER = enum.auto()
    THINKING = enum.auto()
    ARGUMENTS = enum.auto()
    TEXT = enum.auto()
    DONE = enum.auto()


class _Arguments(JsonArguments):
    """The body of a call. Nothing is emitted before it is certain that it is an object, or empty."""

    def __init__(self, tools: Mapping[str, JsonObject], events: EventBuffer, name: str) -> None:
        super().__init__(tools, events)
        self._name = name

    def feed(self, text: str) -> None:
        if not self.started:
            text = text.lstrip(WHITE_SPACE)
            if text and not text.startswith("{"):
                self._end(text)
            elif text:
                self._start(self._name)
        if self.started and not self.whole:
            self._stream(text)

    def finish(self) -> None:
        """The message ends here."""
        if not self.started:
            self._start(self._name)
            self._stream("{")
        if not self.whole:
            self._close()


class HarmonyParser:
    """Invariant: `_held` is text read that may still be a header, or part of a mark.

    Args:
        tools: Name → parameters of those that may be called.
        events: Where everything goes.
        make_text: Makes what reads a message of text.
        opens_thinking: The prompt ended within reasoning.
        continues: The prompt ended within an answer.
        parallel: Several calls may be made.
    """

    def __init__(
        self,
        tools: Mapping[str, JsonObject],
        events: EventBuffer,
        make_text: Callable[[], MarkedParser],
        *,
        opens_thinking: bool,
        continues: bool,
        parallel: bool,
    ) -> None:
        self._tools = tools
        self._events = events
        self._make_text = make_text
        self._parallel = parallel
        self._held = ""
        self._text = make_text()
        self._arguments = _Arguments(tools, events, "")
        self._at = _At.TEXT if continues else _At.HEADER
        self._spoken = False
        """The message before this one was text."""
        if opens_thinking:
            self._at = _At.THINKING

    @property
    def called(self) -> bool:
        """At least one call has been started."""
        return self._events.calls > 0

    @property
    def done(self) -> bool:
        """Nothing further can count."""
        return self._at is _At.DONE

    @property
    def thinking(self) -> bool:
        """The text stands within a block of reasoning."""
        return self._at is _At.THINKING

    @property
    def holds(self) -> bool:
        """What was read last may be part of a call or of a header."""
        return self._at is not _At.TEXT or bool(self._held) or self._text.holds

    @property
    def broken(self) -> int:
        """How many calls of known tools could not be read to their end, in this message."""
        return self._text.broken

    @property
    def opened(self) -> OpenCall | None:
        """The call that the text stands in."""
        if self._at is _At.ARGUMENTS:
            return self._arguments.opened
        if self._at is _At.TEXT:
            return self._text.opened
        _, mark, name = self._held.rpartition(f"to={NAMESPACE}")
        return OpenCall(number=self._events.calls + 1, name="", text=name) if mark and name else None

    def feed(self, text: str) -> tuple[ParsedEvent, ...]:
        """Take what the model produced next."""
        self._held += text
        while self._held and self._at is not _At.DONE and self._advance():
            pass
        return self._events.take()

    def finish(self) -> tuple[ParsedEvent, ...]:
        """Return the rest."""
        if self._at is not _At.HEADER:
            self._take(self._held)
            self._end_message()
        elif not _may_be_header(self._held, whole=False):
            self._text.push(self._held)
            self._end_text()
        self._held = ""
        self._events.flush()
        return self._events.take()

    def _advance(self) -> bool:
        """Take something off the front of what is held; tell whether there may be more to take."""
        if self._at is _At.HEADER:
            return self._read_header()
        match = _BODY_MARK.search(self._held)
        if match is None:
            certain = len(self._held) - max(overlap(self._held, mark) for mark in (_CHANNEL, *_ENDS))
            self._take(self._held[:certain])
            self._held = self._held[certain:]
            return False
        self._take(self._held[: match.start()])
        self._end_message()
        # A channel belongs to the next header.
        self._held = self._held[match.start() if match[0] == _CHANNEL else match.end() :]
        return True

    def _read_header(self) -> bool:
        match = _HEADER_MARK.search(self._held)
        header = self._held if match is None else self._held[: match.start()]
        if not _may_be_header(header, whole=match is not None):
            self._begin_text()
            return True
        if match is None:
            return False
        self._held = self._held[match.end() :]
        if match[0] == _MESSAGE:
            self._begin_message(header)
        return True

    def _begin_message(self, header: str) -> None:
        recipient = _RECIPIENT.search(header)
        name = recipient[1].removeprefix(NAMESPACE) if recipient else ""
        channels = _ON_CHANNEL.findall(header)
        if name in self._tools:
            self._arguments = _Arguments(self._tools, self._events, name)
            self._at = _At.ARGUMENTS
        elif channels and channels[-1] == "analysis":
            self._at = _At.THINKING
        else:
            self._begin_text()

    def _begin_text(self) -> None:
        if self._spoken:
            self._events.text(_PARAGRAPH)
        self._text = self._make_text()
        self._at = _At.TEXT

    def _take(self, text: str) -> None:
        """Take a piece of the message's body."""
        if self._at is _At.THINKING:
            self._events.thinking(text)
        elif self._at is _At.ARGUMENTS:
            self._take_arguments(text)
        elif self._at is _At.TEXT:
            self._text.push(text)
            self._finish_if_done(whole=self._text.done)

    def _take_arguments(self, text: str) -> None:
        self._arguments.feed(text)
        if self._arguments.verdict is Verdict.REFUSED:
            self._begin_text()
            self._text.push(self._arguments.unread)
        self._finish_if_done(whole=self._arguments.whole)

    def _finish_if_done(self, *, whole: bool) -> None:
        if whole and not self._parallel:
            self._at = _At.DONE

    def _end_message(self) -> None:
        match self._at:
            case _At.DONE:
                return
            case _At.THINKING:
                self._events.end_thinking()
            case _At.ARGUMENTS:
                self._arguments.finish()
            case _:
                self._end_text()
        self._spoken = self._at is _At.TEXT
        enough = self._at is _At.ARGUMENTS and not self._parallel
        self._at = _At.DONE if enough else _At.HEADER

    def _end_text(self) -> None:
        self._text.end()


def _may_be_header(text: str, *, whole: bool) -> bool:
    """Tell whether `text` is a header, or what comes may make it one."""
    begun = text.lstrip(WHITE_SPACE)
    if whole:
        return not begun or (begun.startswith(_BEGINNINGS) and len(text) <= _MAX_HEADER)
    certain = len(text) - max(overlap(text, mark) for mark in (_MESSAGE, *_ENDS))
    known = begun.startswith(_BEGINNINGS) or any(beginning.startswith(begun) for beginning in _BEGINNINGS)
    return known and certain <= _MAX_HEADER
