"""Where the model's own words stand in a rendered prompt.

A template cannot tell where it puts a turn. So the words of the turns to be replayed go into it between two marks, made
of characters that nobody else has used, and are looked for in what comes out: between the marks, or, of a turn with
reasoning (which goes in as the client sent it, so that the template can leave it out), right before the last one. Words
that did not come out as they went in are not replayed: then the turn stays what the template made of it.

Pure. Above: the prompts.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping

import attrs

from pensieve_core import GenerationRequest, TextPart, ThinkingPart, Turn
from pensieve_gguf.engine.guard import escaped, free_characters
from pensieve_gguf.engine.own_turns import OwnTurn

__all__ = ["Signs", "Span", "spans", "visible_words", "with_words"]


@attrs.frozen(kw_only=True)
class Signs:
    """Three characters that mean nothing to anyone else."""

    begins: str
    ends: str
    breaks: str

    @classmethod
    def for_(cls, request: GenerationRequest, own: Iterable[OwnTurn]) -> Signs:
        """Choose what stands nowhere in `request` or in the words of these turns."""
        begins, ends, breaks = free_characters(request, (turn.words for turn in own), 3)
        return cls(begins=begins, ends=ends, breaks=breaks)

    def before(self, position: int) -> str:
        """Return the mark before the words of the turn at `position`."""
        return f"{self.begins}{position}{self.begins}"

    def behind(self, position: int) -> str:
        """Return the mark behind them."""
        return f"{self.ends}{position}{self.ends}"

    @property
    def unwanted(self) -> re.Pattern[str]:
        """Finds all that is no part of the prompt."""
        marks = "|".join(f"{sign}[0-9]+{sign}" for sign in (self.begins, self.ends))
        return re.compile(f"{marks}|{self.breaks}|{re.escape(escaped(self.breaks))}")


@attrs.frozen
class Span:
    """A piece of a rendered text, in characters; with the turn whose tokens stand for it, if any."""

    start: int
    stop: int
    own: OwnTurn | None = None


def with_words(
    request: GenerationRequest, own: Mapping[int, OwnTurn], signs: Signs, closers: tuple[str, ...]
) -> GenerationRequest:
    """Return `request` with the own turns' words in place of their text and calls, between marks.

    Args:
        request: The client's.
        own: By the position of the turn.
        signs: What the marks are made of.
        closers: What ends reasoning in the words of this model.
    """
    turns = [
        _with_words(turn, own[position], (signs.before(position), signs.behind(position)), closers)
        if position in own
        else turn
        for position, turn in enumerate(request.turns)
    ]
    return attrs.evolve(request, turns=tuple(turns))


def _with_words(turn: Turn, own: OwnTurn, marks: tuple[str, str], closers: tuple[str, ...]) -> Turn:
    marked = any(part.cache_mark for part in turn.parts if not isinstance(part, ThinkingPart))
    before, behind = marks
    if own.thought:
        thoughts = [part for part in turn.parts if isinstance(part, ThinkingPart)]
        spoken = TextPart(text=f"{visible_words(own.words, closers)}{behind}", cache_mark=marked)
        return attrs.evolve(turn, parts=(*thoughts, spoken))
    return attrs.evolve(
        turn, parts=(TextPart(text=f"{own.opening.begun}{before}{own.words}{behind}", cache_mark=marked),)
    )


def visible_words(words: str, closers: tuple[str, ...]) -> str | None:
    """Return what follows the reasoning; None when that did not end."""
    ends = [(words.index(closer) + len(closer)) for closer in closers if closer in words]
    return words[min(ends) :] if ends else None


def spans(text: str, own: Mapping[int, OwnTurn], signs: Signs, as_rendered: Callable[[str], str]) -> Iterator[Span]:
    """Return all of `text`, in order: own turns, and what is between them.

    Args:
        text: What the template made of a request `with_words`.
        own: By the position of the turn.
        signs: What the marks are made of.
        as_rendered: What the guard made of words before they were rendered.
    """
    position = 0
    for match in re.finditer(f"{signs.ends}([0-9]+){signs.ends}", text):
        turn = own[int(match[1])]
        start = _start(text[position : match.start()], turn, signs.before(int(match[1])), as_rendered(turn.words))
        if start is not None:
            yield Span(position, position + start)
            yield Span(position + start, match.end(), turn)
            position = match.end()
    yield Span(position, len(text))


def _start(text: str, own: OwnTurn, before: str, words: str) -> int | None:
    """Return where the words begin that `text` ends with, or the mark before them; None when it ends otherwise."""
    if text.endswith(before + words):
        start = len(text) - len(before + words)
        return start - _doubled(text[:start], own)
    return len(text) - len(words) if own.thought and text.endswith(words) else None


def _doubled(text: str, own: OwnTurn) -> int:
    """Return the length of the white space that the template put after `text` and that the model had said itself.

    GLM's puts a line break between header and answer once the answer is history; in the prompt, that was left to the
    model.
    """
    space = text[len(text.rstrip()) :]
    said = space.removeprefix(own.opening.space)
    return len(said) if space.startswith(own.opening.space) and own.words.startswith(said) else 0
