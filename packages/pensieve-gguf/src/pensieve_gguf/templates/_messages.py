"""A conversation as the list of messages that chat templates take, in a given form.

    turns ─▶ utterances ─▶ re-roled, merged ─▶ tools as text ─▶ alternating ─▶ calls arranged ─▶ messages

Each arrow is a pure function that looks at neighbours only, so that a conversation that grows keeps the messages it
had. Nothing is dropped save empty texts. Images are refused: there is no projector yet.

Above: `_template` renders the messages. It knows no Jinja.
"""

from __future__ import annotations

import hashlib
import itertools
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from pensieve_core import (
    GenerationRequest,
    ImagePart,
    JsonValue,
    RequestRefusedError,
    ResultPart,
    Role,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolChoiceMode,
    ToolReferencePart,
    ToolResultPart,
)
from pensieve_gguf.templates._canonical import canonical_arguments, to_json, tool_definition
from pensieve_gguf.templates._forms import ArgumentsForm, CallsForm, Form, SystemForm, ToolsForm
from pensieve_gguf.templates._hermes import call_text, describe_found, describe_tools, response_text

__all__ = [
    "Call",
    "Conversation",
    "Message",
    "Result",
    "Said",
    "converse",
    "reference_text",
    "result_text",
    "visible_tools",
    "with_system_words",
]

Message: TypeAlias = dict[str, JsonValue]
"""What a template sees: `role`, `content`, and for calls and results OpenAI's further keys."""

_PARAGRAPH: Final = "\n\n"
_REMINDER: Final = "system-reminder"
"""The tag in which Claude Code itself puts system text into user turns."""


@attrs.frozen(kw_only=True)
class Call:
    """A tool call, ready to print."""

    id: str
    name: str
    arguments: dict[str, JsonValue]


@attrs.frozen(kw_only=True)
class Said:
    """Text and calls of one role; only the assistant reasons and calls."""

    role: Role
    text: str = ""
    calls: tuple[Call, ...] = ()
    reasoning: str = ""


@attrs.frozen(kw_only=True)
class Result:
    """What came of a call, and in forms that alternate, what the user said right after it."""

    id: str
    name: str
    text: str


Utterance: TypeAlias = Said | Result


@attrs.frozen(kw_only=True)
class Conversation:
    """What goes into a template."""

    messages: tuple[Message, ...]
    tools: tuple[dict[str, JsonValue], ...]
    """Empty when the form describes them as text."""


def converse(request: GenerationRequest, form: Form) -> Conversation:
    """Bring the conversation and the tools of `request` into `form`.

    Raises:
        RequestRefusedError: it holds an image.
    """
    tools = tuple(tool_definition(tool) for tool in visible_tools(request))
    utterances = tuple(_utterances(request))
    if form.tools is ToolsForm.HERMES:
        utterances = _with_tools_described(utterances, tools)
        tools = ()
    utterances = tuple(_merged(_reroled(utterances, form.system)))
    if form.tools is ToolsForm.HERMES:
        utterances = tuple(_merged(_spelled_out(utterances)))
    if form.alternating:
        utterances = tuple(_alternating(utterances))
    arranged = _arranged(utterances, form.calls)
    return Conversation(messages=tuple(_message(utterance, form) for utterance in arranged), tools=tools)


def with_system_words(conversation: Conversation, words: str) -> Conversation:
    """Return `conversation` with `words` at the end of its leading system text, if there are any."""
    if not words:
        return conversation
    first, *others = conversation.messages or ({},)
    if first.get("role") != Role.SYSTEM.value:
        leading: Message = {"role": Role.SYSTEM.value, "content": words}
        return attrs.evolve(conversation, messages=(leading, *conversation.messages))
    said: Message = {**first, "content": f"{first['content']}\n{words}"}
    return attrs.evolve(conversation, messages=(said, *others))


def visible_tools(request: GenerationRequest) -> tuple[Tool, ...]:
    """Return the tools that the model is told of in the head: none if it must not call any, and no deferred ones."""
    if request.tool_choice.mode is ToolChoiceMode.NONE:
        return ()
    return tuple(tool for tool in request.tools if not tool.deferred)


def result_text(part: ToolResultPart, tools: Mapping[str, Tool]) -> str:
    """Return a tool's result as text; an error says that it is one. `tools` are those of the request, by name."""
    text = _PARAGRAPH.join(filter(None, (_plain(item, tools) for item in part.content)))
    return f"Error: {text}" if part.is_error and not text.startswith("Error") else text


def reference_text(name: str, tools: Mapping[str, Tool]) -> str:
    """Return what is said where a tool was found; in full if it is deferred, for the head does not have it then.

    It depends on the tool alone and on nothing else in the request, so that history keeps its bytes.
    """
    tool = tools.get(name)
    if tool is None or not tool.deferred:
        return f"The tool {name} is available."
    return describe_found(name, tool_definition(tool))


def _plain(part: ResultPart, tools: Mapping[str, Tool]) -> str:
    match part:
        case TextPart(text=text):
            return text
        case ToolReferencePart(name=name):
            return reference_text(name, tools)
        case ImagePart():
            reason = "this model cannot see images: no projector is loaded"
            raise RequestRefusedError(reason)


# Turns to utterances.


def _utterances(request: GenerationRequest) -> Iterator[Utterance]:
    tools = {tool.name: tool for tool in request.tools}
    names = {part.id: part.name for turn in request.turns for part in turn.parts if isinstance(part, ToolCallPart)}
    for turn in request.turns:
        for part in turn.parts:
            match part:
                case TextPart(text="") | ThinkingPart(text=""):
                    continue
                case TextPart(text=text):
                    yield Said(role=turn.role, text=text)
                case ThinkingPart(text=text):
                    yield Said(role=turn.role, reasoning=text)
                case ImagePart() | ToolReferencePart():
                    yield Said(role=turn.role, text=_plain(part, tools))
                case ToolCallPart():
                    schema = tools[part.name].parameters if part.name in tools else {}
                    arguments = canonical_arguments(part.arguments, schema)
                    call = Call(id=_short_id(part.id), name=part.name, arguments=arguments)
                    yield Said(role=turn.role, calls=(call,))
                case ToolResultPart():
                    name = names.get(part.call_id, "")
                    yield Result(id=_short_id(part.call_id), name=name, text=result_text(part, tools))


def _short_id(call_id: str) -> str:
    """Nine letters and digits: Mistral's templates insist, and the others print fewer tokens."""
    return hashlib.sha256(call_id.encode()).hexdigest()[:9]


# System turns.


def _with_tools_described(
    utterances: Sequence[Utterance], tools: Sequence[dict[str, JsonValue]]
) -> tuple[Utterance, ...]:
    """Put the description of `tools` after the leading system text."""
    if not tools:
        return tuple(utterances)
    leading = _count_leading_system(utterances)
    described = Said(role=Role.SYSTEM, text=describe_tools(tools))
    return (*utterances[:leading], described, *utterances[leading:])


def _count_leading_system(utterances: Sequence[Utterance]) -> int:
    positions = (i for i, said in enumerate(utterances) if not (isinstance(said, Said) and said.role is Role.SYSTEM))
    return next(positions, len(utterances))


def _reroled(utterances: Sequence[Utterance], form: SystemForm) -> Iterator[Utterance]:
    """Make user turns of the system turns that may not stand where they do; they are never moved."""
    leading = _count_leading_system(utterances)
    for position, said in enumerate(utterances):
        if not (isinstance(said, Said) and said.role is Role.SYSTEM):
            yield said
        elif position < leading and form is SystemForm.AS_USER:
            yield Said(role=Role.USER, text=said.text)
        elif position < leading or form is SystemForm.IN_PLACE:
            yield said
        else:
            yield Said(role=Role.USER, text=_as_reminder(said.text))


def _as_reminder(text: str) -> str:
    return text if text.lstrip().startswith(f"<{_REMINDER}>") else f"<{_REMINDER}>\n{text}\n</{_REMINDER}>"


# Tools as text.


def _spelled_out(utterances: Iterable[Utterance]) -> Iterator[Said]:
    for is_result, group in itertools.groupby(utterances, key=lambda utterance: isinstance(utterance, Result)):
        if is_result:
            yield Said(role=Role.USER, text=response_text(utterance.text for utterance in group))
        else:
            yield from (_with_calls_spelled_out(said) for said in group if isinstance(said, Said))


def _with_calls_spelled_out(said: Said) -> Said:
    calls = [call_text(call.name, call.arguments) for call in said.calls]
    return attrs.evolve(said, text="\n".join(filter(None, [said.text, *calls])), calls=())


# Neighbours.


def _merged(utterances: Iterable[Utterance]) -> Iterator[Utterance]:
    """Join what one role says without a break; text after a call begins anew."""
    last: Said | None = None
    for utterance in utterances:
        if isinstance(utterance, Said) and last is not None and _joins(last, utterance):
            last = _join(last, utterance)
            continue
        if last is not None:
            yield last
        last = utterance if isinstance(utterance, Said) else None
        if isinstance(utterance, Result):
            yield utterance
    if last is not None:
        yield last


def _joins(last: Said, said: Said) -> bool:
    return last.role is said.role and not (last.calls and (said.text or said.reasoning))


def _join(last: Said, said: Said) -> Said:
    return Said(
        role=last.role,
        text=_PARAGRAPH.join(filter(None, (last.text, said.text))),
        calls=last.calls + said.calls,
        reasoning=_PARAGRAPH.join(filter(None, (last.reasoning, said.reasoning))),
    )


def _alternating(utterances: Iterable[Utterance]) -> Iterator[Utterance]:
    """Let results carry the user text that follows them."""
    result: Result | None = None
    for utterance in utterances:
        if result is not None and isinstance(utterance, Said) and utterance.role is Role.USER:
            result = attrs.evolve(result, text=_PARAGRAPH.join(filter(None, (result.text, utterance.text))))
            continue
        if result is not None:
            yield result
        result = utterance if isinstance(utterance, Result) else None
        if isinstance(utterance, Said):
            yield utterance
    if result is not None:
        yield result


# Calls.

_APART: Final = frozenset({CallsForm.APART, CallsForm.SINGLE_APART})
_SINGLE: Final = frozenset({CallsForm.SINGLE, CallsForm.SINGLE_APART})


def _arranged(utterances: Sequence[Utterance], form: CallsForm) -> Iterator[Utterance]:
    if form in _APART:
        utterances = [piece for utterance in utterances for piece in _apart(utterance)]
    return _one_by_one(utterances) if form in _SINGLE else iter(utterances)


def _apart(utterance: Utterance) -> Iterator[Utterance]:
    """Put the text before the calls into a message of its own."""
    if isinstance(utterance, Result) or not utterance.calls:
        yield utterance
        return
    if utterance.text:
        yield Said(role=utterance.role, text=utterance.text)
    # Gemma and gpt-oss print the reasoning that led to a call, and no other.
    yield attrs.evolve(utterance, text="")


def _one_by_one(utterances: Sequence[Utterance]) -> Iterator[Utterance]:
    """Give each call a message of its own, and let the first result that names it follow at once."""
    answers: dict[str, int] = {}
    for position, utterance in enumerate(utterances):
        if isinstance(utterance, Result):
            answers.setdefault(utterance.id, position)
    moved: set[int] = set()
    for position, utterance in enumerate(utterances):
        if isinstance(utterance, Said):
            for single in _singles(utterance):
                yield single
                ahead = {answers.get(call.id, 0) for call in single.calls} - moved - set(range(position))
                yield from (utterances[answer] for answer in ahead)
                moved |= ahead
        elif position not in moved:
            yield utterance


def _singles(said: Said) -> Iterator[Said]:
    """Return a message for each call; the first has the text."""
    yield attrs.evolve(said, calls=said.calls[:1])
    yield from (Said(role=said.role, calls=(call,)) for call in said.calls[1:])


def _message(utterance: Utterance, form: Form) -> Message:
    match utterance:
        case Result(id=call_id, name=name, text=text):
            return {"role": "tool", "tool_call_id": call_id, "name": name, "content": text}
        case Said(calls=()):
            return _with_reasoning({"role": utterance.role.value, "content": utterance.text}, utterance, form)
        case Said(text=text, calls=calls):
            message: Message = {"role": utterance.role.value, "content": text or form.absent_content}
            message["tool_calls"] = [_tool_call(call, form.arguments) for call in calls]
            return _with_reasoning(message, utterance, form)


def _with_reasoning(message: Message, said: Said, form: Form) -> Message:
    """Add the reasoning where the templates that print it look for it; the others drop it."""
    return {**message, form.reasoning_key: said.reasoning} if said.reasoning else message


def _tool_call(call: Call, form: ArgumentsForm) -> dict[str, JsonValue]:
    arguments = call.arguments if form is ArgumentsForm.OBJECT else to_json(call.arguments)
    return {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": arguments}}
