"""The reader of a call that is one JSON object: that of Hermes, Qwen, Llama and most others.

Above: `_marked` recognises the first brace. Below: `_reading` for what all readers do.
"""

from __future__ import annotations

import enum
from collections.abc import Callable, Mapping
from typing import ClassVar, Final, cast

import orjson

from pensieve_core import JsonObject
from pensieve_gguf.parsers._events import WHITE_SPACE, EventBuffer
from pensieve_gguf.parsers._json_stream import JsonStream
from pensieve_gguf.parsers._reading import JsonArguments, Verdict

__all__ = ["JsonCall"]

_NAME_KEYS: Final = frozenset({"name", "function", "tool", "tool_name"})
_ARGUMENT_KEYS: Final = frozenset({"arguments", "parameters", "input", "args", "tool_input"})
_IDLE_KEYS: Final = frozenset({"id", "type", "index", "call_id", "tool_call_id"})
"""Allowed beside name and arguments. Any other key, as "description", says that this is no call (a tool's schema,
say, which small models like to repeat)."""


class _At(enum.Enum):
    KEY = enum.auto()
    READING_KEY = enum.auto()
    COLON = enum.auto()
    VALUE = enum.auto()
    READING_VALUE = enum.auto()
    ARGUMENTS = enum.auto()
    AFTER_VALUE = enum.auto()


class JsonCall(JsonArguments):
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

    @property
    def broken(self) -> bool:
        """Whether it is refused in spite of a tool's name and nothing but a call's keys: as `"arguments": [`."""
        refused = self.verdict is Verdict.REFUSED and self._name is not None and self._depth > 0
        return refused and self._key in _NAME_KEYS | _ARGUMENT_KEYS

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
