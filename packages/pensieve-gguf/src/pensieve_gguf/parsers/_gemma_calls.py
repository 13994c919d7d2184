"""The reader of Gemma's calls, which are nearly JSON: bare keys, and a token for quotes.

    Gemma 4         <|tool_call>call:NAME{key:<|"|>text<|"|>,count:3}<tool_call|>
    FunctionGemma   <start_function_call>call:NAME{key:<escape>text<escape>}<end_function_call>

Text between such quotes needs no escapes and has none. The mark before the call has been read.

Above: `_marked`. Below: `JsonStream`, which knows bare keys; `_reading`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import orjson

from pensieve_core import JsonObject
from pensieve_gguf.parsers._events import EventBuffer
from pensieve_gguf.parsers._reading import JsonArguments, OpenCall
from pensieve_gguf.parsers._tagging import overlap

__all__ = ["GemmaCall"]

_PREFIX: Final = "call:"


class GemmaCall(JsonArguments):
    """One call.

    Args:
        tools: Name → parameters of those that may be called.
        events: Where the call goes.
        quote: What stands before and behind a text.
    """

    def __init__(self, tools: Mapping[str, JsonObject], events: EventBuffer, quote: str) -> None:
        super().__init__(tools, events)
        self._quote = quote
        self._header = ""
        self._beginnings = tuple(f"{_PREFIX}{name}{{" for name in tools)
        self._buffer = ""
        """Read, and perhaps the beginning of a quote."""
        self._quoted = False

    @property
    def opened(self) -> OpenCall | None:
        """Nothing: arguments that are no JSON can be held to no schema."""
        return None

    def feed(self, text: str) -> None:
        """Take more text: one character at a time until `started`."""
        if self.started:
            self._read_arguments(text)
        else:
            self._header += text
            self._read_header()

    def finish(self) -> None:
        """Close what is open."""
        if self.started:
            self._pass(_escaped(self._buffer) if self._quoted else self._buffer)
            self._close()
        self._end()

    def _read_header(self) -> None:
        header = self._header.lstrip()
        if header in self._beginnings:
            self._start(header.removeprefix(_PREFIX).removesuffix("{"))
            self._pass("{")
        elif not any(beginning.startswith(header) for beginning in self._beginnings):
            self._end()

    def _read_arguments(self, text: str) -> None:
        text = f"{self._buffer}{text}"
        self._buffer = ""
        while not self.whole:
            piece, quote, rest = text.partition(self._quote)
            if not quote:
                self._read_piece(text)
                return
            self._pass(self._escape(piece))
            self._quoted = not self._quoted
            if not self.whole:
                self._pass('"')
            text = rest
        unread = self._value.unread.removesuffix('"')  # for which the quote stood
        self._end(f"{unread}{self._quote}{text}")

    def _read_piece(self, text: str) -> None:
        """Take what has no whole quote in it."""
        certain = len(text) - overlap(text, self._quote)
        self._pass(self._escape(text[:certain]))
        self._buffer = text[certain:]
        if self.whole:
            self._end(self._value.unread + self._buffer)

    def _escape(self, text: str) -> str:
        return _escaped(text) if self._quoted else text


def _escaped(text: str) -> str:
    return orjson.dumps(text).decode()[1:-1]
