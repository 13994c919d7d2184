"""Which form does a template want? Found out by trial, not by looking for names in its source.

A conversation with everything that Claude Code sends (parallel calls, a reminder after results, calls without text) is
rendered in one form after the other; the first in which nothing is lost, spoilt or out of order is the template's.
A template's own way of writing tools is used only if our parser reads it back, for a model answers as it was shown,
and if it leaves the beginning of a growing prompt alone.

Pure. Above: `_template` asks once per model. Below: `_messages` for the forms, `pensieve_gguf.parsers` for the reading.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Iterator
from typing import Final

import attrs

from pensieve_core import (
    GenerationRequest,
    JsonValue,
    ModelId,
    Part,
    RequestId,
    Role,
    TextPart,
    Tool,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolResultPart,
    Turn,
)
from pensieve_gguf.parsers import make_parser
from pensieve_gguf.templates._environment import TemplateFailedError
from pensieve_gguf.templates._forms import Form, ToolsForm, candidates
from pensieve_gguf.templates._messages import Conversation, Message, converse

__all__ = ["Render", "calls_are_words", "suitable_form", "texts_in_order"]

Render = Callable[[Conversation], str]
"""Renders a conversation, without a generation prompt. Raises: TemplateFailedError."""


def suitable_form(render: Render, source: str) -> Form | None:
    """Return the most faithful form that `render` accepts; None when there is none.

    Args:
        render: Renders with the template.
        source: The template's text, by which the parser for its model is chosen.
    """
    return next((form for form in candidates() if _fits(render, form, source)), None)


def calls_are_words(render: Render, form: Form) -> bool:
    """Tell whether the words of a call, put into a message as its text, leave all that is around them as it was.

    Not so where a template looks for the call that a result belongs to: Gemma's prints no result without one, and
    Kimi's counts calls.
    """
    try:
        native = render(converse(_CALL_AFTER_CALL, form))
        spoken = render(converse(attrs.evolve(_CALL_AFTER_CALL, turns=tuple(_spoken_turns())), form))
    except TemplateFailedError:
        return False
    # Some put white space before an answer, and none before a call.
    around = [piece.rstrip() for piece in spoken.split(_WORDS)]
    framed = native.startswith(around[0]) and native.rstrip().endswith(around[-1])
    return framed and texts_in_order(native, around)


def _spoken_turns() -> Iterator[Turn]:
    for turn in _CALL_AFTER_CALL.turns:
        called = any(isinstance(part, ToolCallPart) for part in turn.parts)
        yield _turn(Role.ASSISTANT, _WORDS) if called else turn


def texts_in_order(text: str, pieces: Iterable[str]) -> bool:
    """Tell whether all pieces stand in `text`, one after the other."""
    position = 0
    for piece in pieces:
        found = text.find(piece, position)
        if found < 0:
            return False
        position = found + len(piece)
    return True


def _fits(render: Render, form: Form, source: str) -> bool:
    """Tell whether the probes come through whole in `form`."""
    try:
        whole = all(_comes_through(render, converse(probe, form)) for probe in (_WITH_TOOLS, _WITHOUT_TOOLS))
        return whole and (form.tools is ToolsForm.HERMES or _may_be_native(render, form, source))
    except TemplateFailedError:
        return False


def _may_be_native(render: Render, form: Form, source: str) -> bool:
    """Tell whether the template's own way with tools serves us."""
    return _reads_back(render(converse(_ONE_CALL, form)), source) and _keeps_its_beginning(render, form)


def _keeps_its_beginning(render: Render, form: Form) -> bool:
    """Tell whether what was rendered stays when the conversation grows.

    Mistral's older templates put the tools before the last user turn: each question would cost a prefill of them all.
    """
    whole = render(converse(_WITH_TOOLS, form))
    for position, turn in enumerate(_WITH_TOOLS.turns):
        if turn.role is Role.ASSISTANT:
            earlier = converse(attrs.evolve(_WITH_TOOLS, turns=_WITH_TOOLS.turns[:position]), form)
            *_, last = _pieces(earlier.messages[-1])
            asked, end, _ = render(earlier).rpartition(last)
            if not whole.startswith(asked + end):
                return False
    return True


def _comes_through(render: Render, conversation: Conversation) -> bool:
    text = render(conversation)
    return (
        texts_in_order(text, [piece for message in conversation.messages for piece in _pieces(message)])
        and all(mark in text for mark in _tool_marks(conversation))
        and not any(spoilt in text for spoilt in _SPOILT)
        and text.count("None") <= _count_none_when_blank(render, conversation)
    )


def _pieces(message: Message) -> Iterator[str]:
    """Return what a message must leave in the text, in order."""
    content = message["content"]
    if isinstance(content, str):
        yield content
    for call in _items(message.get("tool_calls")):
        yield from _argument_values(call)


def _items(value: JsonValue) -> list[JsonValue]:
    return value if isinstance(value, list) else []


def _argument_values(call: JsonValue) -> list[str]:
    """Return the values of a call's arguments: unlike their keys, all dialects print them as they are."""
    match call:
        case {"function": {"arguments": str(text)}}:
            return list(json.loads(text).values())
        case {"function": {"arguments": dict(arguments)}}:
            return [str(value) for value in arguments.values()]
    return []


def _tool_marks(conversation: Conversation) -> tuple[str, ...]:
    return (_TOOL.name, _TOOL.description, _KEY) if conversation.tools else ()


def _count_none_when_blank(render: Render, conversation: Conversation) -> int:
    """Count what a template that prints absent content as the word "None" would print more often."""
    if all(message["content"] is not None for message in conversation.messages):
        return render(conversation).count("None")
    blank = tuple({**message, "content": message["content"] or ""} for message in conversation.messages)
    return render(attrs.evolve(conversation, messages=blank)).count("None")


def _reads_back(text: str, source: str) -> bool:
    """Tell whether our parser finds the probe's call in what the template made of it."""
    answer = text[text.rfind(_QUESTION) + len(_QUESTION) :]
    parser = make_parser(source, _ONE_CALL, opens_thinking=False, new_call_id=lambda: ToolCallId("probe"))
    events = (*parser.feed(answer), *parser.finish())
    names = [event.name for event in events if isinstance(event, ToolCallStarted)]
    arguments = "".join(event.fragment for event in events if isinstance(event, ToolCallArguments))
    return names == [_TOOL.name] and json.loads(arguments) == {_KEY: "argument one"}


# The probes.

_KEY: Final = "probe_key"
_QUESTION: Final = "Which question?"

_SPOILT: Final = (f"'{_KEY}'", f'\\"{_KEY}', f"&#34;{_KEY}")
"""Python's way of printing a dict, JSON within JSON, and HTML: the template expected arguments of the other type."""

_TOOL: Final = Tool(
    name="probe_tool",
    description="Does what probes do.",
    parameters={"type": "object", "properties": {_KEY: {"type": "string"}}, "required": [_KEY]},
)


def _call(number: str) -> ToolCallPart:
    return ToolCallPart(id=ToolCallId(number), name=_TOOL.name, arguments={_KEY: f"argument {number}"})


def _result(number: str) -> ToolResultPart:
    return ToolResultPart(call_id=ToolCallId(number), content=(TextPart(text=f"Result {number}."),))


def _turn(role: Role, *parts: Part | str) -> Turn:
    return Turn(role=role, parts=tuple(TextPart(text=part) if isinstance(part, str) else part for part in parts))


def _probe(*turns: Turn, tools: tuple[Tool, ...] = ()) -> GenerationRequest:
    return GenerationRequest(id=RequestId("probe"), model=ModelId("probe"), turns=turns, tools=tools, max_tokens=1)


_WITH_TOOLS: Final = _probe(
    _turn(Role.SYSTEM, "System one."),
    _turn(Role.USER, "Question one."),
    _turn(Role.ASSISTANT, "Answer one.", _call("one"), _call("two")),
    _turn(Role.USER, _result("one"), _result("two"), "Question two."),
    _turn(Role.SYSTEM, "System two."),
    _turn(Role.ASSISTANT, _call("three")),
    _turn(Role.USER, _result("three")),
    _turn(Role.ASSISTANT, "Answer two."),
    _turn(Role.USER, "Question three."),
    tools=(_TOOL,),
)

_WITHOUT_TOOLS: Final = _probe(
    _turn(Role.USER, "Question one."),
    _turn(Role.SYSTEM, "System one."),
    _turn(Role.ASSISTANT, "Answer one."),
    _turn(Role.USER, "Question two."),
)

_WORDS: Final = "Words that stand for a call."
_CALL_AFTER_CALL: Final = _probe(
    _turn(Role.USER, "Question one."),
    _turn(Role.ASSISTANT, _call("one")),
    _turn(Role.USER, _result("one")),
    _turn(Role.ASSISTANT, _call("two")),
    _turn(Role.USER, _result("two")),
    _turn(Role.ASSISTANT, "Answer one."),
    _turn(Role.USER, "Question two."),
    tools=(_TOOL,),
)

_ONE_CALL: Final = _probe(
    _turn(Role.USER, _QUESTION),
    _turn(Role.ASSISTANT, _call("one")),
    tools=(_TOOL,),
)
