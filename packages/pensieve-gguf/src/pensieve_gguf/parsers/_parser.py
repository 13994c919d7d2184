"""The output parser: what a model says, as text, reasoning and tool calls.

    parser = make_parser(template_source, request, opens_thinking=False, new_call_id=fresh_id)
    for piece in pieces: events = parser.feed(piece)
    events = parser.finish()

Above: the engine, which stops when `done`. Below: one machine for each way of speaking.
"""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Protocol

from pensieve_core import GenerationRequest, Role, ToolCallId, ToolChoiceMode
from pensieve_gguf.parsers._dialect import Dialect, dialect_of
from pensieve_gguf.parsers._events import EventBuffer, ParsedEvent
from pensieve_gguf.parsers._harmony import HarmonyParser
from pensieve_gguf.parsers._marked import MarkedParser
from pensieve_gguf.parsers._reading import OpenCall
from pensieve_gguf.parsers._tags import think_tags

__all__ = ["OutputParser", "make_parser"]


class OutputParser(Protocol):
    """Model text in, events out. Pure, synchronous; one per generation."""

    @property
    def called(self) -> bool:
        """At least one tool call has been started: the finish reason is TOOL_CALLS if the model ends its turn."""
        ...

    @property
    def done(self) -> bool:
        """Nothing further can count (one call was allowed and is whole): generation may stop."""
        ...

    @property
    def thinking(self) -> bool:
        """The text stands within a block of reasoning."""
        ...

    @property
    def opened(self) -> OpenCall | None:
        """The call that the text stands in: after its mark and a brace, and again when its arguments have just begun.

        None elsewhere, and some hundred characters later.
        """
        ...

    @property
    def holds(self) -> bool:
        """What was read last is not told yet, for it may be part of a call."""
        ...

    @property
    def broken(self) -> int:
        """How many calls of known tools could not be read to their end: they are text."""
        ...

    def feed(self, text: str) -> tuple[ParsedEvent, ...]:
        """Take what the model produced next; return what is certain now."""
        ...

    def finish(self) -> tuple[ParsedEvent, ...]:
        """Return the rest: no more text will come. An open call is closed to legal JSON."""
        ...


def make_parser(
    template_source: str,
    request: GenerationRequest,
    *,
    opens_thinking: bool,
    new_call_id: Callable[[], ToolCallId],
) -> OutputParser:
    """Return the parser for one generation.

    Args:
        template_source: The model's chat template; says which reasoning tags it knows.
        request: Its tools are the only ones that can be called; none when `tool_choice` is NONE.
        opens_thinking: The prompt ended inside an open block of reasoning.
        new_call_id: Names each call.
    """
    callable_now = request.tool_choice.mode is not ToolChoiceMode.NONE
    tools = {tool.name: tool.parameters for tool in request.tools} if callable_now else {}
    continues = bool(request.turns) and request.turns[-1].role is Role.ASSISTANT
    events = EventBuffer(new_call_id, continues=continues, may_call=bool(tools))
    harmony = dialect_of(template_source) is Dialect.HARMONY
    make_marked = functools.partial(
        MarkedParser,
        tools,
        {} if harmony else think_tags(template_source),
        events,
        opens_thinking=opens_thinking and not harmony,
        parallel=request.tool_choice.parallel,
    )
    if not harmony:
        return make_marked()
    return HarmonyParser(
        tools,
        events,
        make_marked,
        opens_thinking=opens_thinking,
        continues=continues,
        parallel=request.tool_choice.parallel,
    )
