"""Readers of one tool call each: the JSON object of Hermes, Qwen and most others, and DeepSeek's marked-up form.

Above: `_parser` recognises where a call may begin and hands every character to a reader until its `verdict` is no
longer OPEN. Nothing is emitted before it is certain that the text is a call of a known tool; from then on the
arguments stream. Below: `JsonStream` keeps the arguments legal; `MemberFilter` leaves out what the tool's schema
forbids.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, Protocol, cast

import attrs
import orjson

from pensieve_core import JsonObject
from pensieve_gguf.parsers._events import WHITE_SPACE, EventBuffer
from pensieve_gguf.parsers._json_stream import JsonStream
from pensieve_gguf.parsers._members import MemberFilter
from pensieve_gguf.parsers._tags import DEEPSEEK_SEPARATORS, FENCE_END

__all__ = ["CallReader", "DeepSeekCall", "JsonCall", "OpenCall", "Verdict"]

_NAME_KEYS: Final = frozenset({"name", "function", "tool", "tool_name"})
_ARGUMENT_KEYS: Final = frozenset({"arguments", "parameters", "input", "args", "tool_input"})
_IDLE_KEYS: Final = frozenset({"id", "type", "index", "call_id", "tool_call_id"})
"""Allowed beside name and arguments. Any other key, as "description", says that this is no call (a tool's schema,
say, which small models like to repeat)."""

_MAX_HEADER: Final = 256
"""Characters before DeepSeek's arguments; no tool's name is longer (64 in the Messages API)."""


_REMEMBERED: Final = 256
"""Characters of arguments that are kept as they were written: who wants them asks within a few tokens."""


@attrs.frozen(kw_only=True)
class OpenCall:
    """A call that has begun: one whose arguments are not whole, or what stands in braces after the mark of a call."""

    number: int
    """1 is the answer's first call."""
    name: str
    """Empty before the arguments."""
    text: str
    """The arguments so far as the model wrote them; before them, all from the first brace on."""


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

    def feed(self, text: str) -> None:
        """Take more text: one character at a time until `started`."""
        ...

    def finish(self) -> None:
        """No more text will come: close the call if it started, else refuse unless it is complete."""
        ...


class _Reader:
    """What both readers do once the name is known: emit the call and stream its arguments."""

    def __init__(self, tools: Mapping[str, JsonObject], events: EventBuffer) -> None:
        self.verdict = Verdict.OPEN
        self.started = False
        self.whole = False
        self.unread = ""
        self._tools = tools
        self._events = events
        self._value = JsonStream()
        self._members = MemberFilter({})
        self._called = ""
        self._written = ""

    @property
    def opened(self) -> OpenCall | None:
        """The call, soon after its arguments have begun."""
        if not self.started or self.whole or len(self._written) > _REMEMBERED:
            return None
        return OpenCall(number=self._events.calls, name=self._called, text=self._written)

    def _start(self, name: str) -> None:
        self.started = True
        self._called = name
        self._members = MemberFilter(self._tools[name])
        self._events.start_call(name)

    def _stream(self, text: str) -> None:
        """Pass more of the arguments on."""
        if len(self._written) <= _REMEMBERED:
            self._written += text
        self._value.feed(text)
        self._emit(self._value.take())
        self.whole = self._value.finished

    def _close(self) -> None:
        """Complete the arguments by force."""
        self._value.close()
        self._emit(self._value.take())
        self.whole = True

    def _emit(self, arguments: str) -> None:
        """Emit more of the arguments, which are legal JSON already."""
        self._events.arguments(self._members.feed(arguments))

    def _end(self, unread: str = "") -> None:
        """The text of the call ends before `unread`."""
        self.unread = unread
        self.verdict = Verdict.CLOSED if self.started else Verdict.REFUSED


class _At(enum.Enum):
    KEY = enum.auto()
    READING_KEY = enum.auto()
    COLON = enum.auto()
    VALUE = enum.auto()
    READING_VALUE = enum.auto()
    ARGUMENTS = enum.auto()
    AFTER_VALUE = enum.auto()


class JsonCall(_Reader):
    """`{"name": …, "arguments": {…}}`, in any order, also below "function"; the first brace has been read.

    Args:
        tools: Name → parameters of those that may be called.
        events: Where the call goes.
        bare_name: A name without arguments is a call, too (true inside tags: nothing else stands there).
    """

    def __init__(self, tools: Mapping[str, JsonObject], events: EventBuffer, *, bare_name: bool) -> None:
        super().__init__(tools, events)
        self._bare_name = bare_name
        self._at = _At.KEY
        self._depth = 1
        self._key = ""
        self._name: str | None = None
        self._arguments: str | None = None
        """Legal JSON, when it came before the name or as a string."""

    def feed(self, text: str) -> None:
        """Take more text; what comes after the call is `unread`."""
        while text and self.verdict is Verdict.OPEN:
            if self._at is _At.ARGUMENTS:
                text = self._argue(text)
            else:
                self._STEPS[self._at](self, text[0])
                text = text[1:]
        self.unread += text

    def finish(self) -> None:
        """Close what is open."""
        if self._at is _At.ARGUMENTS:
            self._close()
        elif self._at is _At.AFTER_VALUE and self._arguments is not None:
            self._conclude()
        self._end()

    def _key_or_end(self, char: str) -> None:
        if char in WHITE_SPACE or char == ",":
            return
        if char == "}":
            self._close_brace()
        elif char == "{" and not self._key:
            # Qwen2.5-Coder's template shows calls in double braces (a slip), and so it writes them.
            self._depth += 1
        elif char in "\"'":
            self._begin_value(_At.READING_KEY, char)
        else:
            self._end(char)

    def _begin_value(self, at: _At, char: str) -> None:
        self._at = at
        self._value = JsonStream()
        self._read(char)

    def _read(self, char: str) -> None:
        """Read a key, or a value that is not streamed."""
        self._value.feed(char)
        if self._value.finished:
            take = self._take_key if self._at is _At.READING_KEY else self._take_value
            take(self._value.take())
            self.feed(self._value.unread)

    def _take_key(self, text: str) -> None:
        self._key = cast("str", orjson.loads(text))
        self._at = _At.COLON
        if not self.started and self._key not in _NAME_KEYS | _ARGUMENT_KEYS | _IDLE_KEYS:
            self._end()

    def _colon(self, char: str) -> None:
        if char == ":":
            self._at = _At.VALUE
        else:
            self._end(char)

    def _begin(self, char: str) -> None:
        """Begin the value of `_key`."""
        if char in WHITE_SPACE:
            return
        if self._key == "function" and char == "{" and not self.started:
            self._depth += 1
            self._at = _At.KEY
        elif self._key in _ARGUMENT_KEYS and char == "{" and self._name is not None and not self.started:
            self._at = _At.ARGUMENTS
            self._value = JsonStream()
            self._start(self._name)
            self._stream(char)
        else:
            self._begin_value(_At.READING_VALUE, char)

    def _take_value(self, text: str) -> None:
        self._at = _At.AFTER_VALUE
        if self.started or self._key in _IDLE_KEYS:
            return
        value = orjson.loads(text or "[]")  # nothing at all is as wrong as a list
        if self._key in _ARGUMENT_KEYS:
            self._arguments = _arguments_object(value, text)
            acceptable = self._arguments is not None
        else:
            self._name = value if isinstance(value, str) and value in self._tools else None
            acceptable = self._name is not None
        if not acceptable:
            self._end()

    def _argue(self, text: str) -> str:
        """Stream the arguments; return what comes after them."""
        self._stream(text)
        if self.whole:
            self._at = _At.AFTER_VALUE
        return self._value.unread

    def _after_value(self, char: str) -> None:
        if char == ",":
            self._at = _At.KEY
        elif char == "}":
            self._close_brace()
        elif char not in WHITE_SPACE:
            self._end(char)

    def _close_brace(self) -> None:
        self._at = _At.AFTER_VALUE
        self._depth -= 1
        if self._depth == 0:
            self._conclude()
            self._end()

    def _conclude(self) -> None:
        """Emit a call whose arguments did not stream, if it is complete."""
        if self.started or self._name is None:
            return
        if self._arguments is None and self._bare_name:
            self._arguments = "{}"
        if self._arguments is not None:
            self._start(self._name)
            self._emit(self._arguments)
            self.whole = True

    _STEPS: ClassVar[Mapping[_At, Callable[[JsonCall, str], None]]] = {
        _At.KEY: _key_or_end,
        _At.READING_KEY: _read,
        _At.COLON: _colon,
        _At.VALUE: _begin,
        _At.READING_VALUE: _read,
        _At.AFTER_VALUE: _after_value,
    }


def _arguments_object(value: object, text: str) -> str | None:
    """Return the JSON text of an object, given `value` and its `text`: an object, one in a string, null or ""."""
    match value:
        case dict():
            return text
        case None | "":
            return "{}"
        case str():
            return _unwrapped(value)
        case _:
            return None


def _unwrapped(text: str) -> str | None:
    stream = JsonStream()
    stream.feed(text.strip())
    stream.close()
    repaired = stream.take()
    return repaired if repaired.startswith("{") and not stream.unread else None


class DeepSeekCall(_Reader):
    """A DeepSeek call after the mark of its beginning, in both published forms.

    R1 and V3: `function`, a separator, `NAME`, a line break, and the arguments in a json fence.
    V3.1: `NAME`, a separator, `{arguments}`.
    """

    def __init__(self, tools: Mapping[str, JsonObject], events: EventBuffer) -> None:
        super().__init__(tools, events)
        self._header = ""
        self._separated = False

    def feed(self, text: str) -> None:
        """Take more text: one character at a time until `started`."""
        if self.started:
            self._stream(text)
            if self.whole:
                self._end(self._value.unread)
        elif text == "{":
            self._begin(text)
        elif len(self._header) < _MAX_HEADER:
            self._header += text
        else:
            self._end()

    def finish(self) -> None:
        """Close what is open."""
        if self.started:
            self._close()
        self._end()

    def _begin(self, char: str) -> None:
        """The arguments begin; the header says whose they are."""
        name = _header_name(self._header, self._tools)
        if name is None:
            self._end(char)
        else:
            self._start(name)
            self._stream(char)


def _header_name(header: str, tools: Mapping[str, JsonObject]) -> str | None:
    """Return the tool that a DeepSeek header (all before the arguments) names."""
    separator = next((mark for mark in DEEPSEEK_SEPARATORS if mark in header), None)
    before, _, after = header.partition(separator) if separator else ("", "", header)
    after = after.strip().removesuffix("json").removesuffix(FENCE_END).strip()
    # Behind the separator there is a name (R1, V3) or nothing at all (V3.1).
    name = after or before.strip()
    return name if name in tools else None
