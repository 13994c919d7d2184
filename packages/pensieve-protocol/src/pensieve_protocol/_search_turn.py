"""An answer in several generations: between them the server runs the searches that the model asked for.

    generate ──search calls alone──> search, and generate again with what was found
        └──────anything else──────> the end, with the usage and the time of all of them

What a search finds is known as soon as its call is complete, and told at once. Calls of the client's own tools beside
it end the answer as ever. The next generation's prompt goes on where this one's ended: what is found is described in
the result, and nothing before it changes. A turn without searches is one generation, passed on as it is.

A pure machine. Above: `pensieve_http` hands `request` to an engine and feeds what comes. Below: `_tool_search`.
"""

from __future__ import annotations

import json
from typing import Final, Literal, TypeAlias, TypeVar, assert_never, cast

import attrs

from pensieve_core import (
    AnswerProgressed,
    FinishReason,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    JsonObject,
    Part,
    PrefillProgressed,
    Role,
    TextPart,
    TextProduced,
    Thinking,
    ThinkingPart,
    ThinkingProduced,
    Timings,
    Tool,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolChoice,
    ToolChoiceMode,
    ToolReferencePart,
    ToolResultPart,
    Turn,
    Usage,
)
from pensieve_protocol._tool_search import SearchFailed, SearchResult, ToolSearch, ToolsFound

__all__ = ["SearchTurn", "Searched", "ServerCallStarted", "TurnEvent", "search_result_part"]

_Figures = TypeVar("_Figures", Usage, Timings)
_MOST_ROUNDS: Final = 10
"""Generations with searches. Afterwards the model must do without them; Anthropic's API would pause the turn there."""


@attrs.frozen(kw_only=True)
class ServerCallStarted:
    """The model began to call a tool that the server runs; its arguments follow as those of any call."""

    type: Literal["server_call_started"] = "server_call_started"
    id: ToolCallId
    name: str


@attrs.frozen(kw_only=True)
class Searched:
    """What came of that call."""

    type: Literal["searched"] = "searched"
    call_id: ToolCallId
    result: SearchResult


TurnEvent: TypeAlias = GenerationEvent | ServerCallStarted | Searched


@attrs.define
class _Call:
    id: ToolCallId
    name: str
    text: str = ""

    def arguments(self) -> JsonObject | None:
        """Return what was given; None when it was cut off."""
        try:
            value = json.loads(self.text or "{}")
        except ValueError:
            return None
        return cast("JsonObject", value) if isinstance(value, dict) else None


class SearchTurn:
    """One answer.

    Args:
        request: The first generation's.
        search: What can be searched; None: nothing.
    """

    def __init__(self, request: GenerationRequest, search: ToolSearch | None) -> None:
        self.request: GenerationRequest | None = request
        """To be generated; None when the answer is complete."""
        self._asked = request
        self._search = search
        self._parts: list[Part] = []
        self._results: list[ToolResultPart] = []
        self._found: tuple[str, ...] = ()
        self._call: _Call | None = None
        self._rounds = 0
        self._usage = Usage(prompt_tokens=0)
        self._timings = Timings()

    @property
    def begun(self) -> bool:
        """Whether a generation has ended already."""
        return self._rounds > 0

    def feed(self, event: GenerationEvent) -> tuple[TurnEvent, ...]:
        """Take the engine's next event; return what the client is to be told."""
        match event:
            case ToolCallStarted(id=call_id, name=name):
                before = self._close_call()
                self._call = _Call(call_id, name)
                own = self._search is not None and name in self._search.kinds
                return (*before, ServerCallStarted(id=call_id, name=name) if own else event)
            case ToolCallArguments(fragment=fragment) if self._call is not None:
                self._call.text += fragment
                return (event,)
            case TextProduced(text=text):
                before = self._close_call()
                self._parts.append(TextPart(text=text))
                return (*before, event)
            case ThinkingProduced(text=text):
                before = self._close_call()
                self._parts.append(ThinkingPart(text=text))
                return (*before, event)
            case GenerationFinished():
                return self._finish(event)
            case PrefillProgressed() | AnswerProgressed() | ToolCallArguments():
                return (event,)
            case _:
                assert_never(event)

    def overflow(self) -> GenerationFinished:
        """End here: what was found does not fit into the context any more."""
        self.request = None
        return GenerationFinished(reason=FinishReason.CONTEXT_FULL, usage=self._usage, timings=self._timings)

    def _close_call(self) -> tuple[TurnEvent, ...]:
        """Note the call that is complete now; run it, if it is a search."""
        call, self._call = self._call, None
        arguments = None if call is None else call.arguments()
        if call is None or arguments is None:
            return ()
        self._parts.append(ToolCallPart(id=call.id, name=call.name, arguments=arguments))
        if self._search is None or call.name not in self._search.kinds:
            return ()
        result = self._search.run(call.name, arguments)
        self._results.append(search_result_part(call.id, result))
        self._found += result.names if isinstance(result, ToolsFound) else ()
        return (Searched(call_id=call.id, result=result),)

    def _finish(self, event: GenerationFinished) -> tuple[TurnEvent, ...]:
        told = self._close_call() if event.reason is FinishReason.TOOL_CALLS else ()
        self._usage = _added(self._usage, event.usage)
        self._timings = _added(self._timings, event.timings)
        self._rounds += 1
        calls = sum(isinstance(part, ToolCallPart) for part in self._parts)
        left = self._asked.max_tokens - self._usage.generated_tokens
        goes_on = event.reason is FinishReason.TOOL_CALLS and self._results and calls == len(self._results)
        if goes_on and left > 0:
            self.request = self._next(self.request or self._asked, left)
            self._parts, self._results = [], []
            return told
        self.request = None
        reason = FinishReason.MAX_TOKENS if goes_on else event.reason
        return (*told, attrs.evolve(event, reason=reason, usage=self._usage, timings=self._timings))

    def _next(self, request: GenerationRequest, left: int) -> GenerationRequest:
        tools = request.tools if self._search is None else self._next_tools(self._search, request.tools)
        return attrs.evolve(
            request,
            turns=(
                *request.turns,
                Turn(role=Role.ASSISTANT, parts=tuple(_joined(self._parts))),
                Turn(role=Role.USER, parts=tuple(self._results)),
            ),
            tools=tools,
            tool_choice=self._next_choice(request.tool_choice),
            thinking=self._next_thinking(),
            max_tokens=left,
        )

    def _next_tools(self, search: ToolSearch, tools: tuple[Tool, ...]) -> tuple[Tool, ...]:
        """What was found is there from now on; after many rounds nothing more can be searched for."""
        known = {tool.name for tool in tools}
        tools += tuple(tool for tool in search.found(self._found) if tool.name not in known)
        if self._rounds < _MOST_ROUNDS:
            return tools
        return tuple(tool for tool in tools if tool.name not in search.kinds)

    def _next_choice(self, choice: ToolChoice) -> ToolChoice:
        """A search that was demanded was made."""
        demanded = choice.mode is ToolChoiceMode.TOOL and self._search is not None and choice.name in self._search.kinds
        return ToolChoice(parallel=choice.parallel) if demanded else choice

    def _next_thinking(self) -> Thinking:
        """One budget is for the whole answer."""
        thinking = self._asked.thinking
        if thinking.budget_tokens is None:
            return thinking
        return attrs.evolve(thinking, budget_tokens=max(0, thinking.budget_tokens - self._usage.thinking_tokens))


def search_result_part(call_id: ToolCallId, result: SearchResult) -> ToolResultPart:
    """Return what the model is told of a search."""
    match result:
        case SearchFailed(message=message):
            return ToolResultPart(call_id=call_id, content=(TextPart(text=message),), is_error=True)
        case ToolsFound(names=()):
            return ToolResultPart(call_id=call_id, content=(TextPart(text="No tool was found."),))
        case ToolsFound(names=names):
            return ToolResultPart(call_id=call_id, content=tuple(ToolReferencePart(name=name) for name in names))
        case _:
            assert_never(result)


def _joined(parts: list[Part]) -> list[Part]:
    """Return `parts` with neighbouring fragments of text put together, as a client would send them back."""
    joined: list[Part] = []
    for part in parts:
        match joined[-1:], part:
            case [TextPart(text=head)], TextPart(text=tail):
                joined[-1] = TextPart(text=head + tail)
            case [ThinkingPart(text=head)], ThinkingPart(text=tail):
                joined[-1] = ThinkingPart(text=head + tail)
            case _:
                joined.append(part)
    return joined


def _added(one: _Figures, other: _Figures) -> _Figures:
    fields = attrs.fields_dict(type(one))
    return type(one)(**{name: getattr(one, name) + getattr(other, name) for name in fields})
