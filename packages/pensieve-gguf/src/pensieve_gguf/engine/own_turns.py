"""What the model said, token for token, so that its next prompt repeats it.

A client sends an answer back as text, and a tool call as JSON: rendered and tokenised anew they would differ from what
was sampled, in a space, in the order of keys, or only in where one token ends and the next begins; and the prefix in
the KV cache would end there. So the words of every answer and their tokens are remembered, and stand in for the turn,
unless the client has changed anything in it. Calls are found by their id; plain text by all that was said before it.

What a template leaves out of older turns, reasoning as a rule, stays left out: then the turn is not what was sampled,
and the prefix ends at it. That is the template's wish, and nothing can be done about it here.

Pure; bounded. Above: the prompts.
"""

from __future__ import annotations

import hashlib
import json
from array import array
from collections.abc import Callable, Iterable
from typing import Final, assert_never

import attrs

from pensieve_core import (
    GenerationEvent,
    ImagePart,
    JsonValue,
    Part,
    Role,
    TextPart,
    TextProduced,
    ThinkingPart,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolReferencePart,
    ToolResultPart,
    Turn,
)
from pensieve_gguf.engine.lru import Lru

__all__ = ["Gist", "Opening", "OwnTurn", "OwnTurns", "opening_of"]

_MAX_BYTES: Final = 16 << 20
"""Some 10,000 turns of Claude Code's usual 222 tokens."""


@attrs.frozen(kw_only=True)
class Gist:
    """What a client must have left as it was."""

    text: str
    thinking: str
    calls: tuple[tuple[ToolCallId, str, str], ...]


@attrs.frozen(kw_only=True)
class Opening:
    """What an answer comes after."""

    conversation: str
    """A digest of the turns before the answer's own."""
    begun: str = ""
    """What the client had written of the answer; the model went on with it."""
    space: str = ""
    """The white space at the end of the prompt. Some templates put more of it before an answer that is history."""


@attrs.frozen(kw_only=True)
class OwnTurn:
    """An answer of the model."""

    words: str
    """All text as sampled, reasoning and calls included."""
    tokens: array[int]
    """The tokens of `words`; without the one that ends a turn, which is the template's to write."""
    opening: Opening
    """What stood before the words."""
    gist: Gist
    arguments: dict[ToolCallId, str]
    """By call, as sampled."""

    @property
    def calls(self) -> bool:
        """Whether it called tools."""
        return bool(self.gist.calls)

    @property
    def thought(self) -> bool:
        """Whether it reasoned."""
        return bool(self.gist.thinking)

    @property
    def bytes(self) -> int:
        """What it takes, in bytes; roughly."""
        return 1_000 + 4 * (len(self.words) + len(self.tokens))


class OwnTurns:
    """The latest answers. Written by the engine thread, read by the prompts thread.

    Args:
        max_bytes: What they may take together.
        noted: Called with each one that is noted.
    """

    def __init__(self, max_bytes: int = _MAX_BYTES, noted: Callable[[OwnTurn], None] = lambda _: None) -> None:
        self._turns: Lru[str, OwnTurn] = Lru(max_bytes)
        self._noted = noted

    def note(self, words: str, tokens: array[int], events: Iterable[GenerationEvent], opening: Opening) -> None:
        """Remember that `tokens`, which read as `words`, were told to the client as `events`."""
        told = _Told.of(events)
        gist = told.gist(opening.begun)
        if gist is None or not words.strip() or not told.is_all_of(words) or (told.thinking and opening.begun):
            return
        turn = OwnTurn(words=words, tokens=tokens, opening=opening, gist=gist, arguments=told.arguments)
        self.put(turn)
        self._noted(turn)

    def put(self, turn: OwnTurn) -> None:
        """Remember a turn that was noted before, in this process or in another."""
        self._turns.put(_key(turn.gist, turn.opening.conversation), turn, turn.bytes)

    def recall(self, turns: tuple[Turn, ...]) -> dict[int, OwnTurn]:
        """Return the answers among `turns` that the model gave and nobody changed, by their position."""
        found = {}
        for position, (turn, conversation) in enumerate(zip(turns, _conversations(turns), strict=False)):
            if turn.role is Role.ASSISTANT:
                gist = _gist_of_turn(turn)
                own = self._turns.get(_key(gist, conversation))
                if own is not None and own.gist == gist:
                    found[position] = own
        return found

    def spelling(self, first_call: ToolCallId, call: ToolCallId) -> str | None:
        """Return the arguments of `call` as sampled. The turn that made it began with `first_call`."""
        own = self._turns.get(first_call)
        return None if own is None else own.arguments.get(call)


def opening_of(turns: tuple[Turn, ...], text: str) -> Opening | None:
    """Return what the answer to `turns` comes after; None when its turn was begun with more than a text.

    Args:
        turns: Of the request.
        text: The prompt that was rendered from them.
    """
    space = text[len(text.rstrip()) :]
    *before, conversation = _conversations(turns)
    if not turns or turns[-1].role is not Role.ASSISTANT:
        return Opening(conversation=conversation, space=space)
    match turns[-1].parts:
        case (TextPart(text=begun),):
            return Opening(conversation=before[-1], begun=begun, space=space)
        case _:
            return None


def _key(gist: Gist, conversation: str) -> str:
    """Return the id of the first call, which nobody else has, or what takes its place."""
    if gist.calls:
        return gist.calls[0][0]
    return f"{conversation} {hashlib.blake2b(gist.text.encode('utf-8', 'replace'), digest_size=16).hexdigest()}"


def _conversations(turns: tuple[Turn, ...]) -> list[str]:
    """Return digests of the first 0, 1, … turns. Reasoning does not count: clients drop it, as templates do."""
    digest = hashlib.blake2b(digest_size=16)
    digests = [digest.hexdigest()]
    for turn in turns:
        said = [turn.role.value, *(_said(part) for part in turn.parts)]
        digest.update(_canonical([words for words in said if words is not None]).encode())
        digests.append(digest.hexdigest())
    return digests


def _said(part: Part) -> JsonValue:
    match part:
        case TextPart(text=text):
            return text
        case ToolCallPart(id=call_id, name=name, arguments=arguments):
            return [call_id, name, arguments]
        case ToolResultPart(call_id=call_id, content=content, is_error=is_error):
            return [call_id, is_error, *(_said(item) for item in content)]
        case ToolReferencePart(name=name):
            return [name]
        case ImagePart(data=data):
            return [hashlib.blake2b(data).hexdigest()]
        case ThinkingPart():
            return None
        case _:
            assert_never(part)


@attrs.define
class _Told:
    """What a client was told, put together."""

    text: str = ""
    thinking: str = ""
    calls: list[ToolCallStarted] = attrs.field(factory=list)
    arguments: dict[ToolCallId, str] = attrs.field(factory=dict)

    @classmethod
    def of(cls, events: Iterable[GenerationEvent]) -> _Told:
        told = cls()
        for event in events:
            told.add(event)
        return told

    def add(self, event: GenerationEvent) -> None:
        match event:
            case TextProduced():
                self.text += event.text
            case ThinkingProduced():
                self.thinking += event.text
            case ToolCallStarted():
                self.calls.append(event)
                self.arguments[event.id] = ""
            case ToolCallArguments():
                self.arguments[self.calls[-1].id] += event.fragment
            case _:
                pass

    def gist(self, begun: str) -> Gist | None:
        try:
            parsed = [_canonical(json.loads(self.arguments[call.id] or "{}")) for call in self.calls]
        except ValueError:
            return None
        calls = tuple((call.id, call.name, text) for call, text in zip(self.calls, parsed, strict=True))
        return Gist(text=(begun + self.text).strip(), thinking=self.thinking.strip(), calls=calls)

    def is_all_of(self, words: str) -> bool:
        """Tell whether the client knows all that matters of `words`; not if it was told of no call that is in them."""
        if self.calls:
            return True
        text = self.text.strip()
        return words.rstrip().endswith(text) if self.thinking else words.strip() == text


def _gist_of_turn(turn: Turn) -> Gist:
    calls = [part for part in turn.parts if isinstance(part, ToolCallPart)]
    return Gist(
        text="".join(part.text for part in turn.parts if isinstance(part, TextPart)).strip(),
        thinking="".join(part.text for part in turn.parts if isinstance(part, ThinkingPart)).strip(),
        calls=tuple((call.id, call.name, _canonical(call.arguments)) for call in calls),
    )


def _canonical(value: JsonValue) -> str:
    return json.dumps(value, sort_keys=True)
