"""What the model said, word for word, so that its next prompt repeats it.

A client sends a tool call back as JSON; rendered anew it would differ from what was sampled in a space or in the order
of keys, and the prefix in the KV cache would end there. So the text of every turn that called a tool is remembered by
the id of its first call, and stands in for the turn, unless the client has changed anything in it. Pure; bounded.
"""

from __future__ import annotations

import json
from collections import OrderedDict
from collections.abc import Iterable
from typing import TypeAlias

import attrs

from pensieve_core import (
    GenerationEvent,
    Role,
    TextPart,
    TextProduced,
    ThinkingPart,
    ThinkingProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    Turn,
)

__all__ = ["OwnTurns"]

_REMEMBERED = 1_000

_Gist: TypeAlias = tuple[str, bool, tuple[tuple[ToolCallId, str, str], ...]]
"""Text, whether there was thinking, and the calls: what a client must have left as it was."""


@attrs.frozen
class _OwnTurn:
    gist: _Gist
    words: str
    arguments: dict[ToolCallId, str]


class OwnTurns:
    """The latest turns that called tools. Written by the engine thread, read by the prompts thread."""

    def __init__(self) -> None:
        self._by_call: OrderedDict[ToolCallId, _OwnTurn] = OrderedDict()

    def note(self, words: str, events: Iterable[GenerationEvent]) -> None:
        """Remember that `words`, as sampled, were told to the client as `events`."""
        told = _Told.of(events)
        if not told.calls or (gist := told.gist()) is None:
            return
        self._by_call[told.calls[0].id] = _OwnTurn(gist, words, told.arguments)
        while len(self._by_call) > _REMEMBERED:
            self._by_call.popitem(last=False)

    def restore(self, turns: tuple[Turn, ...]) -> tuple[Turn, ...]:
        """Return `turns` with the model's own words in place of the calls that it made and nobody changed."""
        return tuple(self._restored(turn) for turn in turns)

    def spelling(self, first_call: ToolCallId, call: ToolCallId) -> str | None:
        """Return the arguments of `call` as sampled. The turn that made it began with `first_call`."""
        own = self._by_call.get(first_call)
        return None if own is None else own.arguments.get(call)

    def _restored(self, turn: Turn) -> Turn:
        calls = [part for part in turn.parts if isinstance(part, ToolCallPart)]
        own = self._by_call.get(calls[0].id) if turn.role is Role.ASSISTANT and calls else None
        if own is None or own.gist != _gist_of_turn(turn):
            return turn
        marked = any(part.cache_mark for part in turn.parts if not isinstance(part, ThinkingPart))
        return attrs.evolve(turn, parts=(TextPart(text=own.words, cache_mark=marked),))


@attrs.define
class _Told:
    """What a client was told, put together."""

    text: str = ""
    thought: bool = False
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
                self.thought = True
            case ToolCallStarted():
                self.calls.append(event)
                self.arguments[event.id] = ""
            case ToolCallArguments():
                self.arguments[self.calls[-1].id] += event.fragment
            case _:
                pass

    def gist(self) -> _Gist | None:
        try:
            parsed = [_canonical(json.loads(self.arguments[call.id] or "{}")) for call in self.calls]
        except ValueError:
            return None
        calls = tuple((call.id, call.name, text) for call, text in zip(self.calls, parsed, strict=True))
        return self.text.strip(), self.thought, calls


def _gist_of_turn(turn: Turn) -> _Gist:
    text = "".join(part.text for part in turn.parts if isinstance(part, TextPart))
    thought = any(isinstance(part, ThinkingPart) for part in turn.parts)
    calls = [part for part in turn.parts if isinstance(part, ToolCallPart)]
    return text.strip(), thought, tuple((call.id, call.name, _canonical(call.arguments)) for call in calls)


def _canonical(arguments: object) -> str:
    return json.dumps(arguments, sort_keys=True)
