"""The reader of a call whose parameters stand between tags, one by one.

    Qwen3-Coder   <function=NAME>⏎<parameter=KEY>⏎value⏎</parameter>⏎</function>
    GLM 4.5       <tool_call>NAME⏎<arg_key>KEY</arg_key>⏎<arg_value>value</arg_value>⏎</tool_call>

Theory of operation. What is read waits in `_buffer` until it is certain what it is; `_STEPS` takes it off the front.

    NAME ──▶ BETWEEN ──▶ KEY ──▶ BEFORE ──▶ VALUE ──▶ BETWEEN … ──▶ closed
                └──{──▶ JSON

JSON in place of the first parameter is understood (Functionary, Llama's own `<function=…>`).

Above: `_marked`. Below: `_tags` for where a value ends, `_tagged_values` for what it is, `_reading`.
"""

from __future__ import annotations

import enum
import re
from collections.abc import Callable, Mapping
from typing import ClassVar, Final

import attrs
import orjson

from pensieve_core import JsonObject, JsonValue
from pensieve_gguf.parsers._events import WHITE_SPACE, EventBuffer
from pensieve_gguf.parsers._reading import JsonArguments, OpenCall, Verdict
from pensieve_gguf.parsers._tagged_values import TaggedValue
from pensieve_gguf.parsers._tagging import Tags, end_of_value, may_become

__all__ = ["TaggedCall"]

_MAX_KEY: Final = 256
"""Characters; no parameter's name is longer."""


class _At(enum.Enum):
    NAME = enum.auto()
    BETWEEN = enum.auto()
    KEY = enum.auto()
    BEFORE = enum.auto()
    VALUE = enum.auto()
    JSON = enum.auto()


class TaggedCall(JsonArguments):
    """One call; what stands before its name has been read.

    Args:
        tools: Name → parameters of those that may be called.
        events: Where the call goes.
        tags: Whose.
    """

    def __init__(self, tools: Mapping[str, JsonObject], events: EventBuffer, tags: Tags) -> None:
        super().__init__(tools, events)
        self._tags = tags
        self._at = _At.NAME
        self._buffer = ""
        self._properties: Mapping[str, JsonValue] = {}
        self._parameter_name = ""
        self._parameter = TaggedValue({})
        self._fresh = True
        """Nothing of the value has been read."""
        self._filled = False
        """A parameter has been emitted."""

    @property
    def opened(self) -> OpenCall | None:
        """The call, and how it is written."""
        opened = super().opened
        return None if opened is None else attrs.evolve(opened, tags=self._tags)

    def feed(self, text: str) -> None:
        """Take more text: one character at a time until `started`."""
        if self.started:
            self._note(text)
        self._buffer += text
        while self.verdict is Verdict.OPEN and self._STEPS[self._at](self):
            pass

    def finish(self) -> None:
        """Close what is open."""
        if self._at is _At.VALUE:
            self._end_value(self._tags.closers.sub("", self._buffer))
        if self._at is _At.JSON:
            self._close()
        elif self.started and not self.whole:
            self._complete()
        self._end()

    # -- steps: each returns whether it took something, so that there may be more to do --------------------------

    def _name(self) -> bool:
        name, ended = self._name_so_far()
        if ended and name.strip() in self._tools:
            self._buffer = self._buffer[len(name) + len(self._tags.after_name) :]
            self._begin(name.strip())
            return True
        if ended or not any(tool.startswith(name.strip()) for tool in self._tools):
            self._end()
        return False

    def _name_so_far(self) -> tuple[str, bool]:
        """Return the name, and whether it is all of it."""
        if self._tags.after_name:
            name, end, _ = self._buffer.partition(self._tags.after_name)
            return name, bool(end)
        name = re.split(r"[<\n]", self._buffer, maxsplit=1)[0]
        return name, len(name) < len(self._buffer)

    def _begin(self, name: str) -> None:
        self._start(name)
        properties = self._tools[name].get("properties")
        self._properties = properties if isinstance(properties, Mapping) else {}
        self._note(self._buffer)
        self._at = _At.BETWEEN

    def _between(self) -> bool:
        self._buffer = self._buffer.lstrip(WHITE_SPACE)
        text = self._buffer
        if text.startswith(self._tags.key):
            self._buffer = text[len(self._tags.key) :]
            self._at = _At.KEY
        elif text.startswith(self._tags.end):
            self._complete()
            self._end(text[len(self._tags.end) :])
        elif text.startswith("{") and not self._filled:
            self._at = _At.JSON
        elif not may_become(text, self._tags.key, self._tags.end):
            self._complete()
            self._end(text)
        else:
            return False
        return True

    def _key(self) -> bool:
        key, end, rest = self._buffer.partition(self._tags.after_key)
        if len(key) > _MAX_KEY or "\n" in key:
            self._complete()
            self._end(self._buffer)
        elif end:
            self._buffer = rest
            self._parameter_name = key.strip().strip("\"'")
            self._at = _At.BEFORE
        return bool(end)

    def _before_value(self) -> bool:
        text = self._buffer.lstrip(WHITE_SPACE) if self._tags.value else self._buffer
        if may_become(text, self._tags.value):
            return False
        self._buffer = text.removeprefix(self._tags.value)
        self._begin_value()
        return True

    def _begin_value(self) -> None:
        """Only now is it certain that there is one."""
        name = self._parameter_name
        self._emit(f"{',' if self._filled else '{'}{orjson.dumps(name).decode()}:")
        self._filled = True
        self._fresh = True
        self._parameter = TaggedValue(self._properties.get(name, {}))
        self._at = _At.VALUE

    def _value_text(self) -> bool:
        """Pass on what is surely part of the value; end it where it ends."""
        ended, certain, rest = end_of_value(self._buffer, self._tags)
        if ended:
            self._end_value(self._buffer[:certain])
        else:
            self._pass_value(self._buffer[:certain])
        self._buffer = self._buffer[rest:]
        return ended

    def _pass_value(self, text: str) -> None:
        if text and self._fresh:
            text = self._tags.without_first_break(text)
            self._fresh = False
        self._emit(self._parameter.feed(text))

    def _end_value(self, text: str) -> None:
        self._pass_value(text)
        self._emit(self._parameter.finish())
        self._at = _At.BETWEEN

    def _json(self) -> bool:
        text, self._buffer = self._buffer, ""
        self._pass(text)
        if self.whole:
            self._end(self._value.unread)
        return False

    # -- ends ----------------------------------------------------------------------------------------------------

    def _complete(self) -> None:
        if not self._filled:
            self._emit("{")
        self._emit("}")
        self.whole = True

    _STEPS: ClassVar[Mapping[_At, Callable[[TaggedCall], bool]]] = {
        _At.NAME: _name,
        _At.BETWEEN: _between,
        _At.KEY: _key,
        _At.BEFORE: _before_value,
        _At.VALUE: _value_text,
        _At.JSON: _json,
    }
