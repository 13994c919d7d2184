r"""The reader of a call whose name stands bare before JSON arguments.

    Mistral       [TOOL_CALLS]NAME[ARGS]{…}        also with [CALL_ID]123456789 after the name
    Kimi K2       <|tool_call_begin|>functions.NAME:0<|tool_call_argument_begin|>{…}
    DeepSeek V3   <|tool▁call▁begin|>function<|tool▁sep|>NAME⏎```json⏎{…}⏎```      with full-width bars
    DeepSeek V3.1 <|tool▁call▁begin|>NAME<|tool▁sep|>{…}                          likewise

The mark has been read. All up to the first brace is the header; the last of its words that is a tool's name names it.

Above: `_marked`. Below: `_reading`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from pensieve_core import JsonObject
from pensieve_gguf.parsers._events import EventBuffer
from pensieve_gguf.parsers._reading import JsonArguments
from pensieve_gguf.parsers._tags import FENCE_END, HEADER_SEPARATORS, NAMESPACE

__all__ = ["NamedCall"]

_MAX_HEADER: Final = 256
"""Characters; no tool's name is longer (128 in the Messages API)."""
_SEPARATOR: Final = re.compile("|".join([*map(re.escape, HEADER_SEPARATORS), f"{FENCE_END}(?:json)?"]))
_KIND: Final = "function"
"""What stands where a name could, in R1 and V3."""
_INDEX: Final = re.compile(r":\d+$")


class NamedCall(JsonArguments):
    """A call by name."""

    def __init__(self, tools: Mapping[str, JsonObject], events: EventBuffer) -> None:
        super().__init__(tools, events)
        self._header = ""
        self._beginnings = (_KIND, *tools, *(f"{NAMESPACE}{name}" for name in tools))

    def feed(self, text: str) -> None:
        """Take more text: one character at a time until `started`."""
        if self.started:
            self._stream(text)
            if self.whole:
                self._end(self._value.unread)
        elif text == "{":
            self._begin(text)
        else:
            self._header += text
            if len(self._header) > _MAX_HEADER or not self._may_name_a_tool():
                self._end()

    def finish(self) -> None:
        """Close what is open."""
        if self.started:
            self._close()
        self._end()

    def _may_name_a_tool(self) -> bool:
        header = self._header.lstrip()
        return header.startswith(self._beginnings) or any(name.startswith(header) for name in self._beginnings)

    def _begin(self, char: str) -> None:
        """The arguments begin; the header says whose they are."""
        words = (_INDEX.sub("", word.strip().removeprefix(NAMESPACE)) for word in _SEPARATOR.split(self._header))
        named = [word for word in words if word in self._tools]
        if named:
            self._start(named[-1])
            self._stream(char)
        else:
            self._end(char)
