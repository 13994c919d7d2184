"""Never run: mypy reads it (`make types`). The unions of the core can be matched without a rest."""

from typing import assert_never, assert_type

from pensieve_core import (
    AnswerProgressed,
    GenerationEvent,
    GenerationFinished,
    ImagePart,
    Part,
    PrefillProgressed,
    ResultPart,
    TextPart,
    TextProduced,
    ThinkingPart,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallPart,
    ToolCallStarted,
    ToolReferencePart,
    ToolResultPart,
)


def every_event(event: GenerationEvent) -> str:
    match event:
        case PrefillProgressed(processed_tokens=count):
            return str(assert_type(count, int))
        case AnswerProgressed(generated_tokens=count):
            return str(count)
        case TextProduced(text=text) | ThinkingProduced(text=text):
            return assert_type(text, str)
        case ToolCallStarted(name=name):
            return name
        case ToolCallArguments(fragment=fragment):
            return fragment
        case GenerationFinished(reason=reason):
            return reason
        case _:
            assert_never(event)


def every_part(part: Part) -> str:
    match part:
        case TextPart(text=text) | ThinkingPart(text=text):
            return text
        case ImagePart(data=data):
            return assert_type(data, bytes).hex()
        case ToolCallPart(name=name) | ToolReferencePart(name=name):
            return name
        case ToolResultPart(content=content):
            assert_type(content, tuple[ResultPart, ...])
            return "".join(every_part(inner) for inner in content)
        case _:
            assert_never(part)


def tags_tell_members_apart(part: ResultPart) -> str:
    if part.type == "text":
        return assert_type(part, TextPart).text
    if part.type == "image":
        return assert_type(part, ImagePart).media_type
    return assert_type(part, ToolReferencePart).name
