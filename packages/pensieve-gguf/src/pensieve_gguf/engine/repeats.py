"""Catches a model that makes the very call again that was just answered. Pure.

Small models do that for ever (seen with Qwen2.5-Coder-1.5B under Claude Code: five times `ls`, five times the same
answer, and no word to the user; page after page of a file that has but one). Such an answer is taken back before anyone
has seen it, and sampled once more without the token that it began with. After text it cannot be taken back; when text
and call are both a repeat, the text ends the turn. Anything that differs, or comes after the user has spoken, goes
through.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from typing import TypeAlias

import attrs

from pensieve_core import (
    GenerationEvent,
    GenerationRequest,
    Role,
    TextPart,
    TextProduced,
    ToolCallArguments,
    ToolCallId,
    ToolCallPart,
    ToolCallStarted,
    ToolResultPart,
    Turn,
)

__all__ = ["Repeat", "RepeatGuard", "answered_calls"]

_REMINDER = "<system-reminder>"
_SAME_RESULTS = 2
_SAME_TOOL = 3

Spelling: TypeAlias = Callable[[ToolCallId, ToolCallId], str | None]


@attrs.frozen
class Repeat:
    """What must not come again at once."""

    name: str
    arguments: str
    """As the model wrote them, without white space. Empty: any."""
    text: str = ""
    """The words before the call, without white space around them."""


class RepeatGuard:
    """Holds the first call of an answer back while it may turn out to be a repeat. Text is never held.

    Args:
        repeats: What must not come again.
    """

    def __init__(self, repeats: frozenset[Repeat]) -> None:
        self._repeats = repeats
        self._held: list[GenerationEvent] = []
        self._text = ""
        self._name = ""
        self._arguments = ""
        self._open = bool(repeats)
        self._hit = False

    @property
    def refused(self) -> bool:
        """Whether the answer is nothing but a repeat; nothing of it has been let out."""
        return self._hit and not self._text

    @property
    def ended(self) -> bool:
        """Whether the answer is over, because after its text there comes a repeat, which was not let out."""
        return self._hit and bool(self._text)

    def feed(self, events: tuple[GenerationEvent, ...]) -> tuple[GenerationEvent, ...]:
        """Take the answer's next events; return those that may go out."""
        if not self._open and not self._held:
            return events  # as nearly always
        told: list[GenerationEvent] = []
        for event in events:
            if self._open:
                self._look_at(event)
            self._held.append(event)
            if not (self._open and self._name):
                told.extend(self._release())
        return tuple(told)

    def finish(self) -> tuple[GenerationEvent, ...]:
        """Return what is held: the answer is over."""
        self._open = False
        return () if self._hit else self._release()

    def _look_at(self, event: GenerationEvent) -> None:
        if isinstance(event, TextProduced) and not self._name:
            self._text = (self._text + event.text).lstrip()
        elif isinstance(event, ToolCallStarted) and not self._name:
            self._name = event.name
        elif isinstance(event, ToolCallArguments) and self._name:
            self._arguments += _bare(event.fragment)
        else:
            self._open = False
        self._open = self._open and any(self._may_become(repeat) for repeat in self._repeats)
        self._hit = self._open and Repeat(self._name, self._arguments, self._text.rstrip()) in self._repeats

    def _may_become(self, repeat: Repeat) -> bool:
        if not self._name:
            return repeat.text.startswith(self._text.rstrip())
        same = repeat.name == self._name and repeat.text == self._text.rstrip()
        return same and repeat.arguments.startswith(self._arguments)

    def _release(self) -> tuple[GenerationEvent, ...]:
        held, self._held = tuple(self._held), []
        return held


def answered_calls(request: GenerationRequest, spelling: Spelling) -> frozenset[Repeat]:
    """Return what must not come again at once, of all that happened since the user last spoke.

    A call of the model's latest turn; a call that has brought the same result twice; any call of a tool whose last
    three calls, the latest of all, have brought the same result; and a call that has brought the same result twice
    after the very same words.

    Args:
        request: The conversation.
        spelling: First call of a turn and a call of it → the arguments as the model wrote them: clients reorder keys.
    """
    spoken = max((i for i, turn in enumerate(request.turns) if _speaks(turn)), default=-1)
    turns = request.turns[spoken + 1 :]
    results = {part.call_id: part.content for turn in turns for part in turn.parts if isinstance(part, ToolResultPart)}
    made = [call for turn in turns for call in _calls_of(turn, spelling) if call.id in results]
    again = Counter((call.repeat, results[call.id]) for call in made)
    after_words = Counter((call.after_words, results[call.id]) for call in made if call.after_words.text)
    latest = [(call.repeat.name, results[call.id]) for call in made][-_SAME_TOOL:]
    stuck = len(latest) == _SAME_TOOL and len(set(latest)) == 1
    return frozenset(
        [call.repeat for call in made if call.first == made[-1].first]
        + [repeat for (repeat, _), times in (again + after_words).items() if times >= _SAME_RESULTS]
        + ([Repeat(latest[0][0], "")] if stuck else [])
    )


@attrs.frozen
class _Made:
    id: ToolCallId
    first: ToolCallId
    """The first call of its turn."""
    repeat: Repeat
    after_words: Repeat
    """The same, with the text of its turn."""


def _calls_of(turn: Turn, spelling: Spelling) -> list[_Made]:
    calls = [part for part in turn.parts if isinstance(part, ToolCallPart)]
    text = "".join(part.text for part in turn.parts if isinstance(part, TextPart)).strip()
    made = []
    for call in calls:
        written = spelling(calls[0].id, call.id) or json.dumps(call.arguments, ensure_ascii=False)
        repeat = Repeat(call.name, _bare(written))
        made.append(_Made(call.id, calls[0].id, repeat, attrs.evolve(repeat, text=text)))
    return made


def _speaks(turn: Turn) -> bool:
    texts = [part.text for part in turn.parts if isinstance(part, TextPart)]
    return turn.role is Role.USER and any(text.strip() and not text.startswith(_REMINDER) for text in texts)


def _bare(arguments: str) -> str:
    return "".join(arguments.split())
