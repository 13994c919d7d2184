"""Keeps what a client says apart from what only the template may say: control tokens.

A file that an agent reads may hold `<|im_end|>`; put into a prompt as it is, it would end the turn there, and what
follows would be taken for anybody's words. So wherever such a spelling stands in a request, it is broken by a mark of
ours before the template sees it. What is whole in the rendered text is the template's own; the marks are taken out when
the text is cut at it. An honest request has no such spelling, and stays as it is.

What the assistant said may hold the control tokens that an answer shows (`<think>`, `[TOOL_CALLS]`): they mean
to the template what the model meant. Not those that frame messages (gpt-oss's `<|channel|>`): with them it could speak
for others.

Pure. Above: the prompts. Knows requests and spellings, no template and no tokens.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, TypeAlias

import attrs

from pensieve_core import (
    GenerationRequest,
    JsonValue,
    Part,
    RequestRefusedError,
    ResultPart,
    Role,
    TextPart,
    ThinkingPart,
    Tool,
    ToolCallPart,
    ToolReferencePart,
    ToolResultPart,
    Turn,
)
from pensieve_gguf.engine.fragments import any_of, cuttable
from pensieve_gguf.llama import Special

__all__ = ["Guard", "escaped", "free_characters"]

_Rewrite: TypeAlias = Callable[[str], str]

_FRAME: Final = re.compile("channel|message")

_PRIVATE: Final = range(0xE000, 0xF900)
"""Unicode's private use area. Fonts with icons use some of it, so none of it is taken for granted."""
_PRIVATE_USE: Final = re.compile("[\ue000-\uf8ff]")
_ESCAPED: Final = re.compile(r"\\u([ef][0-9a-f]{3})", re.IGNORECASE)


class Guard:
    """Breaks the spellings of control tokens.

    Args:
        specials: All control tokens of the vocabulary, by their spelling.
    """

    def __init__(self, specials: Mapping[str, Special]) -> None:
        cut = cuttable(specials)
        self._any = any_of(cut)
        self._hidden = any_of(text for text, special in cut.items() if not special.shown or _FRAME.search(text))

    def is_needed(self, request: GenerationRequest) -> bool:
        """Tell whether there is anything to break; in what the assistant said, also where there is perhaps not."""
        return any(self._any.search(text) for text in _texts(request))

    def broken(self, request: GenerationRequest, mark: str) -> GenerationRequest:
        """Return `request` with `mark` after the first character of each spelling that is not to be a token."""

        def client(text: str) -> str:
            return _broken(text, self._any, mark)

        def own(text: str) -> str:
            return self.broken_words(text, mark)

        return attrs.evolve(
            request,
            turns=tuple(_turn(turn, client, own) for turn in request.turns),
            tools=tuple(_tool(tool, client) for tool in request.tools),
        )

    def broken_words(self, words: str, mark: str) -> str:
        """Return what the assistant said as it stands in a broken request."""
        return _broken(words, self._hidden, mark)


def free_characters(request: GenerationRequest, further: Iterable[str], count: int) -> tuple[str, ...]:
    """Return private-use characters that stand nowhere in `request` or `further`, not even escaped as JSON does it.

    The same for equal arguments, so that prompts stay what they were.

    Raises:
        RequestRefusedError: somebody used them all.
    """
    taken: set[str] = set()
    for text in (*_texts(request), *further):
        if not text.isascii():
            taken.update(_PRIVATE_USE.findall(text))
        if "\\u" in text:
            taken.update(chr(int(digits, 16)) for digits in _ESCAPED.findall(text))
    free = tuple(character for code in _PRIVATE[: count + len(taken)] if (character := chr(code)) not in taken)
    if len(free) < count:
        reason = "the request uses all of Unicode's private use area, U+E000 to U+F8FF"
        raise RequestRefusedError(reason)
    return free[:count]


def escaped(character: str) -> str:
    """Return a character as JSON in ASCII has it: some templates print arguments that way."""
    return json.dumps(character)[1:-1]


def _broken(text: str, pattern: re.Pattern[str], mark: str) -> str:
    return pattern.sub(lambda match: f"{match[0][0]}{mark}{match[0][1:]}", text)


# All texts of a request.


def _texts(request: GenerationRequest) -> Iterator[str]:
    for tool in request.tools:
        yield from (tool.name, tool.description)
        yield from _texts_in(tool.parameters)
    for turn in request.turns:
        for part in turn.parts:
            yield from _texts_of(part)


def _texts_of(part: Part) -> Iterator[str]:
    match part:
        case TextPart(text=text) | ThinkingPart(text=text) | ToolReferencePart(name=text):
            yield text
        case ToolCallPart(name=name, arguments=arguments):
            yield name
            yield from _texts_in(arguments)
        case ToolResultPart(content=content):
            for item in content:
                yield from _texts_of(item)
        case _:
            pass


def _texts_in(value: JsonValue) -> Iterator[str]:
    if isinstance(value, str):
        yield value
    elif isinstance(value, Mapping):
        for key, item in value.items():
            yield key
            yield from _texts_in(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _texts_in(item)


# All texts of a request, rewritten.


def _turn(turn: Turn, client: _Rewrite, own: _Rewrite) -> Turn:
    rewrite = own if turn.role is Role.ASSISTANT else client
    return attrs.evolve(turn, parts=tuple(_part(part, client, rewrite) for part in turn.parts))


def _part(part: Part, client: _Rewrite, rewrite: _Rewrite) -> Part:
    match part:
        case TextPart() | ThinkingPart():
            return attrs.evolve(part, text=rewrite(part.text))
        case ToolCallPart():
            arguments = {client(key): _json(value, client) for key, value in part.arguments.items()}
            return attrs.evolve(part, name=client(part.name), arguments=arguments)
        case ToolResultPart():
            return attrs.evolve(part, content=tuple(_result(item, client) for item in part.content))
        case ToolReferencePart():
            return attrs.evolve(part, name=client(part.name))
        case _:
            return part


def _result(part: ResultPart, client: _Rewrite) -> ResultPart:
    match part:
        case TextPart():
            return attrs.evolve(part, text=client(part.text))
        case ToolReferencePart():
            return attrs.evolve(part, name=client(part.name))
        case _:
            return part


def _tool(tool: Tool, client: _Rewrite) -> Tool:
    parameters = {client(key): _json(value, client) for key, value in tool.parameters.items()}
    return attrs.evolve(tool, name=client(tool.name), description=client(tool.description), parameters=parameters)


def _json(value: JsonValue, client: _Rewrite) -> JsonValue:
    if isinstance(value, str):
        return client(value)
    if isinstance(value, Mapping):
        return {client(key): _json(item, client) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_json(item, client) for item in value]
    return value
