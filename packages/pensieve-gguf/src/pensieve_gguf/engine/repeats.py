"""Catches a model that makes the very call again that was just answered. Pure.

Small models do that for ever (seen with Qwen2.5-Coder-1.5B under Claude Code: five times `ls`, five times the same
answer, and no word to the user; page after page of a file that has but one). Such an answer is taken back before anyone
has seen it, and sampled once more without the token that it began with. A call that comes after any text, or that
differs, or after the user has spoken, goes through.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

from pensieve_core import (
    GenerationEvent,
    GenerationRequest,
    Role,
    TextPart,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolResultPart,
    Turn,
)

__all__ = ["RepeatGuard", "answered_calls"]

_REMINDER = "<system-reminder>"
_SAME_RESULTS = 2
_SAME_TOOL = 3

Spelling: TypeAlias = Callable[[ToolCallId, ToolCallId], str | None]


class RepeatGuard:
    """Holds the events of a first call back while it may turn out to be one of `answered`.

    Args:
        answered: Calls that must not come again: name and arguments without white space. No arguments: any.
    """

    def __init__(self, answered: frozenset[tuple[str, str]]) -> None:
        self._answered = answered
        self._held: list[GenerationEvent] = []
        self._name = ""
        self._arguments = ""
        self._open = bool(answered)
        self.hit = False
        """Whether the answer repeats an answered call; nothing of it has been let out."""

    def feed(self, events: tuple[GenerationEvent, ...]) -> tuple[GenerationEvent, ...]:
        """Take the answer's next events; return those that may go out."""
        for event in events:
            if self._open:
                self._look_at(event)
        self._held.extend(events)
        return () if self._open else self._release()

    def finish(self) -> tuple[GenerationEvent, ...]:
        """Return what is held: the answer is over."""
        self._open = False
        return () if self.hit else self._release()

    def _look_at(self, event: GenerationEvent) -> None:
        if isinstance(event, ToolCallStarted) and not self._name:
            self._name = event.name
        elif isinstance(event, ToolCallArguments) and self._name:
            self._arguments += _bare(event.fragment)
        else:
            self._open = False
        self._open = self._open and any(
            name == self._name and arguments.startswith(self._arguments) for name, arguments in self._answered
        )
        self.hit = self._open and (self._name, self._arguments) in self._answered

    def _release(self) -> tuple[GenerationEvent, ...]:
        held, self._held = tuple(self._held), []
        return held


def answered_calls(request: GenerationRequest, spelling: Spelling) -> frozenset[tuple[str, str]]:
    """Return the calls that must not come again at once, as name and arguments without white space.

    Since the user last spoke: those of the model's latest turn, and those that have brought the same result twice. And
    any call of a tool whose last three calls, the latest of all, have brought the same result: its arguments are "".

    Args:
        request: The conversation.
        spelling: First call of a turn and a call of it → the arguments as the model wrote them: clients reorder keys.
    """
    spoken = max((i for i, turn in enumerate(request.turns) if _speaks(turn)), default=-1)
    turns = request.turns[spoken + 1 :]
    results = {part.call_id: part for turn in turns for part in turn.parts if isinstance(part, ToolResultPart)}
    calls = [[part for part in turn.parts if isinstance(part, ToolCallPart)] for turn in turns]
    answered = [[call for call in made if call.id in results] for made in calls if made]
    seen = Counter((call.name, _sorted(call), results[call.id].content) for made in answered for call in made)
    repeats = {
        (call.name, _bare(spelling(made[0].id, call.id) or json.dumps(call.arguments, ensure_ascii=False)))
        for made in answered
        for call in made
        if made is answered[-1] or seen[call.name, _sorted(call), results[call.id].content] >= _SAME_RESULTS
    }
    latest = [(call.name, results[call.id].content) for made in answered for call in made][-_SAME_TOOL:]
    stuck = {(latest[0][0], "")} if len(latest) == _SAME_TOOL and len(set(latest)) == 1 else set[tuple[str, str]]()
    return frozenset(repeats | stuck)


def _speaks(turn: Turn) -> bool:
    texts = [part.text for part in turn.parts if isinstance(part, TextPart)]
    return turn.role is Role.USER and any(text.strip() and not text.startswith(_REMINDER) for text in texts)


def _sorted(call: ToolCallPart) -> str:
    return json.dumps(call.arguments, sort_keys=True)


def _bare(arguments: str) -> str:
    return "".join(arguments.split())
