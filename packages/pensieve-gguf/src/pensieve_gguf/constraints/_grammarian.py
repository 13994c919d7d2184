"""From a request to its plan: which constraints it needs, compiled, and kept for the requests that follow.

What cannot be compiled is loosened as little as possible, and that is said in the log; a request is never refused for
a schema. Runs in the prompts thread, for compiling takes 1 to 10 ms a grammar, and the vocabulary a second once.

Decided here: arguments of a call that the model began unasked are held to the tool's schema, strict or not. Non-strict
ones keep their members' order, and any name that the schema does not refuse (`loose_arguments`); so nothing that the
model could rightly say becomes impossible, and wrong types, missing members and broken JSON do.

Above: the engine. Below: `_schemas`, `_grammars`, `_dialects` (pure), `_vocabulary` (llguidance).
"""

from __future__ import annotations

import functools
import json
from collections import OrderedDict
from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeVar

import structlog

from pensieve_core import (
    GenerationRequest,
    JsonObject,
    JsonValue,
    Role,
    TextPart,
    Tool,
    ToolChoiceMode,
    ToolReferencePart,
    ToolResultPart,
)
from pensieve_gguf.constraints._dialects import spelling_of
from pensieve_gguf.constraints._grammars import (
    CallableTool,
    answers,
    closed,
    document,
    headers,
    loose_arguments,
    strict_arguments,
    tagged_arguments,
    tagged_or_json_arguments,
)
from pensieve_gguf.constraints._guide import HEADER, MARKED_HEADER, Plan
from pensieve_gguf.constraints._schemas import mend
from pensieve_gguf.constraints._vocabulary import Constraint, Vocabulary
from pensieve_gguf.parsers import Tags, think_tags

__all__ = ["Grammarian"]

_log = structlog.get_logger(__name__)

_KEPT: Final = 500
"""Schemas and constraints that are remembered; Claude Code with a few MCP servers has a hundred tools, of two each."""
_FORCED: Final = frozenset({ToolChoiceMode.ANY, ToolChoiceMode.TOOL})
_ANY_OBJECT: Final[JsonObject] = {"type": "object"}

Value = TypeVar("Value")


class Grammarian:
    """Makes plans. One thread at a time.

    Args:
        make_vocabulary: Called when the first constraint is needed, for it takes a second.
        template_source: The model's chat template.
        renders_tools: The template presents tools itself.
        soon: Has something done in the thread of the plans, once it has time: constraints of tools that are new, unless
            they are strict, and forms of calls that are not the model's own, when the first such call has begun.
        ready: Whether `make_vocabulary` returns at once. As long as it does not, only those plans wait for it that
            demand something of the answer's first token.
    """

    def __init__(
        self,
        make_vocabulary: Callable[[], Vocabulary],
        template_source: str,
        *,
        renders_tools: bool,
        soon: Callable[[Callable[[], None]], object] = lambda do: do(),
        ready: Callable[[], bool] = lambda: True,
    ) -> None:
        self._make_vocabulary = make_vocabulary
        self._ready = ready
        self._soon = soon
        self._owed: list[Callable[[], None]] = []
        """What fills plans that were given away."""
        self._spelling = spelling_of(template_source, renders_tools=renders_tools)
        self._think_tags = think_tags(template_source)
        self._schemas: OrderedDict[str, JsonValue] = OrderedDict()
        self._constraints: OrderedDict[str, Constraint | None] = OrderedDict()

    def plan(self, request: GenerationRequest, *, opens_thinking: bool = False) -> Plan | None:
        """Return the constraints of `request`; None when it needs none.

        Args:
            request: A request.
            opens_thinking: Its prompt ends within a block of reasoning.
        """
        tools = () if request.tool_choice.mode is ToolChoiceMode.NONE else _offered(request)
        if request.tool_choice.mode in _FORCED or request.output_schema is not None:
            whole = self._whole(request, tools)
            if whole is not None:
                openers = self._think_tokens() if request.thinking.enabled else frozenset[int]()
                return Plan(whole=whole, opens_thinking=opens_thinking, think_tokens=openers)
        if not tools:
            return None
        calls: dict[str, Constraint] = {}
        fill = functools.partial(self._fill, calls, request, tools)
        foreign = _Foreign({tool.name: tool for tool in tools}, self._arguments, self._soon)
        plan = Plan(calls=calls, tags=self._spelling.tags, foreign=foreign)
        if not self._ready():
            self._owed.append(fill)
            return plan
        if any(tool.strict for tool in tools) or all(map(self._is_compiled, tools)):
            fill()
            return plan if calls else None
        # Twelve tools take 0.1 s, and no call begins before the prompt is computed: the first byte does not wait.
        self._soon(fill)
        return plan

    def get_ready(self) -> None:
        """Make the vocabulary, before a request has to wait for it, and what waits for it in plans given away."""
        _ = self._vocabulary
        while self._owed:
            self._owed.pop()()

    def _fill(self, calls: dict[str, Constraint], request: GenerationRequest, tools: tuple[Tool, ...]) -> None:
        for tool in tools:
            _add(calls, tool.name, self._arguments(tool, self._spelling.tags))
        _add(calls, HEADER, self._header(request.tools, marked=False))
        if self._spelling.reasoning is None:  # else a call is a message of its own, and stands in the middle of none
            _add(calls, MARKED_HEADER, self._header(tools, marked=True))

    def _header(self, tools: tuple[Tool, ...], *, marked: bool) -> Constraint | None:
        names = [tool.name for tool in tools]
        return self._first_that_compiles(
            [headers(names, self._spelling, self._vocabulary.special, marked=marked)], "header"
        )

    @functools.cached_property
    def _vocabulary(self) -> Vocabulary:
        return self._make_vocabulary()

    def _think_tokens(self) -> frozenset[int]:
        tokens = map(self._vocabulary.special, self._think_tags)
        return frozenset(token for token in tokens if token is not None)

    def _whole(self, request: GenerationRequest, tools: tuple[Tool, ...]) -> Constraint | None:
        """Return the constraint of the whole answer; None when nothing can be demanded of it."""
        forced = request.tool_choice.mode in _FORCED
        schema = None if forced or request.output_schema is None else self._sound(request.output_schema, "output")
        if schema is None and not tools:
            return None
        exact = [CallableTool(name=tool.name, schema=closed(self._sound_arguments(tool))) for tool in tools]
        coarse = [CallableTool(name=tool.name, schema=_ANY_OBJECT) for tool in tools]
        constraint = self._first_that_compiles(
            (
                answers(
                    schema=schema,
                    tools=given,
                    spelling=self._spelling,
                    parallel=request.tool_choice.parallel,
                    special=self._vocabulary.special,
                    may_think=request.thinking.enabled,
                )
                for given in (exact, coarse)
            ),
            "answer",
        )
        return None if constraint is None else constraint.begun(self._begun(request, forced=forced))

    def _begun(self, request: GenerationRequest, *, forced: bool) -> str:
        """Return what the answer begins with already."""
        prefill = "" if forced else _prefill(request)
        return f"{self._spelling.answer}{prefill}" if prefill else ""

    def _arguments(self, tool: Tool, tags: Tags | None) -> Constraint | None:
        return _remembered(self._constraints, _key(tool, tags), functools.partial(self._make_arguments, tool, tags))

    def _is_compiled(self, tool: Tool) -> bool:
        return _key(tool, self._spelling.tags) in self._constraints

    def _make_arguments(self, tool: Tool, tags: Tags | None) -> Constraint | None:
        schema = self._sound_arguments(tool)
        if tags is not None:
            special, write = self._vocabulary.special, tagged_arguments
            if tags != self._spelling.tags:
                write = tagged_or_json_arguments
            return self._first_that_compiles(
                (write(given, tags, special) for given in (schema, _ANY_OBJECT)), tool.name
            )
        preferred = [] if tool.strict else [loose_arguments(schema)]
        ladder = (*preferred, strict_arguments(schema), strict_arguments(_ANY_OBJECT))
        return self._first_that_compiles(ladder, tool.name)

    def _first_that_compiles(self, grammars: Iterable[str], of: str) -> Constraint | None:
        for grammar in grammars:
            constraint = _remembered(self._constraints, grammar, functools.partial(self._compile, grammar, of))
            if constraint is not None:
                return constraint
        return None

    def _compile(self, grammar: str, of: str) -> Constraint | None:
        constraint = self._vocabulary.compile(grammar)
        if constraint.failed:
            _log.warning("grammar_refused", of=of, reason=constraint.failed[:500])
            return None
        if constraint.approximations:
            _log.warning("grammar_approximate", of=of, reasons=constraint.approximations)
        return constraint

    def _sound_arguments(self, tool: Tool) -> JsonValue:
        """Return the sound part of a tool's schema; it always demands an object."""
        key = json.dumps([tool.parameters])
        return _remembered(self._schemas, key, functools.partial(self._demanding, tool))

    def _demanding(self, tool: Tool) -> JsonValue:
        schema = self._sound(tool.parameters, tool.name)
        if not isinstance(schema, Mapping):
            return _ANY_OBJECT
        demanding = {**schema, "type": "object"}
        return demanding if self._is_sound(demanding) else _ANY_OBJECT

    def _sound(self, schema: JsonObject, of: str) -> JsonValue:
        return _remembered(self._schemas, json.dumps(schema), functools.partial(self._mend, schema, of))

    def _mend(self, schema: JsonObject, of: str) -> JsonValue:
        mended = mend(schema, self._is_sound)
        if mended.dropped:
            _log.warning("schema_mended", of=of, dropped=mended.dropped[:20])
        return mended.schema

    def _is_sound(self, schema: JsonValue) -> bool:
        return schema is True or (isinstance(schema, Mapping) and not self._vocabulary.fault(document(schema)))


class _Foreign:
    """Constraints of calls that are not in the model's own form. They are there a moment after the first question."""

    def __init__(
        self,
        tools: Mapping[str, Tool],
        make: Callable[[Tool, Tags | None], Constraint | None],
        soon: Callable[[Callable[[], None]], object],
    ) -> None:
        self._tools = tools
        self._make = make
        self._soon = soon
        self._made: dict[tuple[str, Tags | None], Constraint | None] = {}

    def __call__(self, name: str, tags: Tags | None) -> Constraint | None:
        if name in self._tools and (name, tags) not in self._made:
            self._made[name, tags] = None
            self._soon(functools.partial(self._fill, name, tags))
        return self._made.get((name, tags))

    def _fill(self, name: str, tags: Tags | None) -> None:
        self._made[name, tags] = self._make(self._tools[name], tags)


def _key(tool: Tool, tags: Tags | None) -> str:
    return json.dumps([tool.parameters, tool.strict, tags and tags.key])


def _add(calls: dict[str, Constraint], name: str, constraint: Constraint | None) -> None:
    if constraint is not None:
        calls[name] = constraint


def _remembered(memory: OrderedDict[str, Value], key: str, make: Callable[[], Value]) -> Value:
    """Return what is remembered of `key`, or else what `make` returns; the oldest is forgotten."""
    if key not in memory:
        memory[key] = make()
        if len(memory) > _KEPT:
            memory.popitem(last=False)
    memory.move_to_end(key)
    return memory[key]


def _offered(request: GenerationRequest) -> tuple[Tool, ...]:
    """Return the tools that the model may call: the one demanded, or all of which it has been told."""
    if request.tool_choice.mode is ToolChoiceMode.TOOL:
        return tuple(tool for tool in request.tools if tool.name == request.tool_choice.name)
    told = _told_later(request) if any(tool.deferred for tool in request.tools) else frozenset[str]()
    return tuple(tool for tool in request.tools if not tool.deferred or tool.name in told)


def _told_later(request: GenerationRequest) -> frozenset[str]:
    parts = [part for turn in request.turns for part in turn.parts]
    within = [part for result in parts if isinstance(result, ToolResultPart) for part in result.content]
    return frozenset(part.name for part in (*parts, *within) if isinstance(part, ToolReferencePart))


def _prefill(request: GenerationRequest) -> str:
    """Return what the answer begins with already."""
    last = request.turns[-1] if request.turns else None
    if last is None or last.role is not Role.ASSISTANT or not last.parts:
        return ""
    part = last.parts[-1]
    return part.text if isinstance(part, TextPart) else ""
