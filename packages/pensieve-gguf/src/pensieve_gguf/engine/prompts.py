"""The way from a request to the token ids of its prompt.

    request ─▶ own turns recalled ─▶ guarded ─▶ rendered by the template ─▶ spliced, cut ─▶ token ids

What the model itself said stands in the rendered text between two marks; there, its very tokens are put in. What is
left is cut at the control tokens that the template wrote, and each fragment's tokens are remembered, so that a warm
conversation pays for its new tail only. `generate` and `count_tokens` both come this way.

Not for several threads at once, save `remembering`'s result. Above: the engine. Below: `own_turns`, `replay`,
`guard`, `fragments`, and the template, which knows of none of them.
"""

from __future__ import annotations

import functools
import re
from array import array
from collections.abc import Callable, Iterator, Sequence
from typing import Final, Protocol, TypeAlias

import attrs

from pensieve_core import GenerationEvent, GenerationRequest, RequestRefusedError, Turn
from pensieve_gguf.engine.answer import Pieces
from pensieve_gguf.engine.fragments import Fragment, Fragments, Vocabulary
from pensieve_gguf.engine.guard import Guard
from pensieve_gguf.engine.own_turns import Opening, OwnTurn, OwnTurns, opening_of
from pensieve_gguf.engine.pictures import Marked, Picture, Pictures
from pensieve_gguf.engine.replay import Signs, spans, visible_words, with_words
from pensieve_gguf.engine.sequence import ImageSpan
from pensieve_gguf.parsers import think_tags
from pensieve_gguf.templates import ChatTemplate, RenderedPrompt

__all__ = ["Prompt", "Prompts", "Remember", "Words"]

Remember: TypeAlias = Callable[[str, Sequence[GenerationEvent], Sequence[int]], None]
"""Takes an answer that is done: its words, what the client was told, and the sampled tokens."""

_UNSEEN: Final = 64
"""At most so many tokens at the end of an answer are no part of it: the spelling of a stop sequence."""

_VISIBLE: Final = " "
"""Breaks a spelling for good, where a template does not let private-use characters through."""


class Words(Vocabulary, Pieces, Protocol):
    """A vocabulary in both directions."""


@attrs.frozen(kw_only=True)
class Prompt:
    """A prompt, ready to compute."""

    rendered: RenderedPrompt
    """As the template made it; its text has our marks in it."""
    tokens: array[int]
    marks: tuple[int, ...]
    """Tokens before each cache mark, ascending."""
    head_tokens: int
    """Tokens before the last mark among tools and system text; 0: there is none."""
    images: tuple[ImageSpan, ...] = ()
    """Where its tokens stand for images."""
    opening: Opening | None
    """How its answer will be found again; None when it will not."""

    @property
    def marked_tokens(self) -> int:
        """Tokens before the last cache mark."""
        return self.marks[-1] if self.marks else 0


@attrs.frozen(kw_only=True)
class _Draft:
    """A rendered prompt with our marks in it."""

    rendered: RenderedPrompt
    own: dict[int, OwnTurn]
    signs: Signs
    marked: Marked
    broken_by: str
    """What stands in the spellings that are not to be tokens."""


@attrs.frozen
class _Pictured(Fragment):
    """The mark of an image, and what stands for it."""

    picture: Picture


class Prompts:
    """Makes prompts.

    Args:
        vocabulary: Of the model.
        template: Of the model.
        own_turns: What the model said.
        pictures: What images become. None: they are refused.
    """

    def __init__(
        self, vocabulary: Words, template: ChatTemplate, own_turns: OwnTurns, pictures: Pictures | None = None
    ) -> None:
        self._pictures = pictures or Pictures(None)
        self._vocabulary = vocabulary
        self._template = template
        self._own_turns = own_turns
        self._fragments = Fragments(vocabulary)
        self._guard = Guard(vocabulary.specials)
        self._closers = tuple(think_tags(template.source).values())

    def prepare(self, request: GenerationRequest) -> Prompt:
        """Return the prompt of `request`.

        Raises:
            RequestRefusedError: an image cannot be seen, or the conversation holds each of the characters that mean
                nothing.
        """
        draft = self._draft(self._pictures.marked(request), request.turns)
        rendered = draft.rendered
        fragments = list(self._spliced(draft))
        tokens = array("i")
        pictured: list[tuple[int, Picture]] = []
        for fragment in fragments:
            if isinstance(fragment, _Pictured):
                pictured.append((len(tokens), fragment.picture))
            tokens.extend(fragment.tokens)
        _check_pictures(draft.marked, [picture for _, picture in pictured])
        first = self._vocabulary.first_token
        inserted = first is not None and tokens[:1] != array("i", [first])
        if first is not None and inserted:
            tokens.insert(0, first)

        def until(offset: int) -> int:
            return sum(self._before(offset, fragment, draft) for fragment in fragments) + inserted if offset else 0

        return Prompt(
            rendered=rendered,
            tokens=tokens,
            marks=tuple(until(mark) for mark in rendered.marks),
            head_tokens=until(rendered.head),
            images=tuple(span for offset, picture in pictured for span in picture.spans(offset + inserted)),
            opening=opening_of(request.turns, rendered.text),
        )

    def _before(self, offset: int, fragment: Fragment, draft: _Draft) -> int:
        """Return how many tokens of `fragment` stand before `offset`."""
        if fragment.stop <= offset:
            return len(fragment.tokens)
        if fragment.start >= offset:
            return 0
        return len(self._fragments.tokens(draft.signs.unwanted.sub("", draft.rendered.text[fragment.start : offset])))

    def remembering(self, prompt: Prompt) -> Remember | None:
        """Return what takes the answer to `prompt`, in any thread, to repeat it in later prompts."""
        return None if prompt.opening is None else functools.partial(self._remember, prompt.opening)

    def _remember(self, opening: Opening, words: str, told: Sequence[GenerationEvent], sampled: Sequence[int]) -> None:
        tokens = _tokens_of(words, sampled, self._vocabulary)
        if tokens is not None:
            self._own_turns.note(words, tokens, told, opening)

    # -- text ----------------------------------------------------------------------------------------------------

    def _draft(self, marked: Marked, turns: tuple[Turn, ...]) -> _Draft:
        """Render with as many own turns as the template lets pass: to some, a call is no text (Mistral, gpt-oss).

        Args:
            marked: What is rendered.
            turns: As they came, by which own turns are known.
        """
        drafts = (self._written(marked, own) for own in _fewer_and_fewer(self._replayable(turns)))
        fullest = next(drafts)
        if fullest.rendered.in_form or not fullest.own:
            return fullest
        return next((draft for draft in drafts if draft.rendered.in_form), fullest)

    def _replayable(self, turns: tuple[Turn, ...]) -> dict[int, OwnTurn]:
        """Return own turns whose words can stand for them; a call at the very end would become a text to go on with."""
        if not self._template.takes_words:
            return {}
        calls_before = len(turns) - 1 if self._template.takes_calls_as_words else 0
        return {
            position: own
            for position, own in self._own_turns.recall(turns).items()
            if not (own.calls and position >= calls_before)
            and not (own.thought and visible_words(own.words, self._closers) is None)
        }

    def _written(self, marked: Marked, own: dict[int, OwnTurn]) -> _Draft:
        request = marked.request
        signs = Signs.for_(request, own.values())
        rendered, broken_by = self._rendered(with_words(request, own, signs, self._closers), signs.breaks)
        return _Draft(rendered=rendered, own=own, signs=signs, marked=marked, broken_by=broken_by)

    def _rendered(self, request: GenerationRequest, breaks: str) -> tuple[RenderedPrompt, str]:
        """Return the prompt, and what breaks the spellings in it that the client is not to use.

        A template may do anything with what it is given. Should it make whole again what was broken, the prompt would
        have other control tokens than it has when there is nothing to make whole.
        """
        if not self._guard.is_needed(request):
            return self._template.render(request), ""
        guarded = self._template.render(self._guard.broken(request, breaks))
        harmless = self._template.render(self._guard.broken(request, _VISIBLE))
        if self._fragments.specials_in(guarded.text) == self._fragments.specials_in(harmless.text):
            return guarded, breaks
        return harmless, _VISIBLE

    # -- tokens --------------------------------------------------------------------------------------------------

    def _spliced(self, draft: _Draft) -> Iterator[Fragment]:
        unwanted = draft.signs.unwanted

        def as_rendered(words: str) -> str:
            return self._guard.broken_words(words, draft.broken_by)

        for span in spans(draft.rendered.text, draft.own, draft.signs, as_rendered):
            if span.own is None:
                yield from self._cut(draft, unwanted, span.start, span.stop)
            else:
                yield Fragment(span.start, span.stop, span.own.tokens)

    def _cut(self, draft: _Draft, unwanted: re.Pattern[str], start: int, stop: int) -> Iterator[Fragment]:
        text, marked = draft.rendered.text, draft.marked
        for match in marked.pattern.finditer(text, start, stop) if marked.pictures else ():
            yield from self._fragments.cut(text, unwanted, start, match.start())
            picture = marked.pictures[int(match[1])]
            yield _Pictured(match.start(), match.end(), picture.tokens, picture)
            start = match.end()
        yield from self._fragments.cut(text, unwanted, start, stop)


def _check_pictures(marked: Marked, found: list[Picture]) -> None:
    """Hold that a template puts each image where it stands, and once.

    Raises:
        RequestRefusedError: it does otherwise.
    """
    if found != list(marked.pictures):
        reason = "the chat template of this model does not let images through"
        raise RequestRefusedError(reason)


def _fewer_and_fewer(own: dict[int, OwnTurn]) -> Iterator[dict[int, OwnTurn]]:
    """Return all of them, those without calls, none."""
    yield own
    yield {position: turn for position, turn in own.items() if not turn.calls}
    yield {}


def _tokens_of(words: str, sampled: Sequence[int], vocabulary: Words) -> array[int] | None:
    """Return those of the sampled tokens that make up `words`; None when a word ends within a token.

    The others are the end of the turn, and what was held back as a stop sequence.
    """
    tokens = array("i", sampled)
    while tokens and vocabulary.is_end(tokens[-1]):
        tokens.pop()
    data = b"".join(vocabulary.piece(token) for token in tokens)
    for _ in range(_UNSEEN):
        text = data.decode("utf-8", "replace")
        if text == words:
            return tokens
        if len(text) < len(words):
            return None
        data = data[: len(data) - len(vocabulary.piece(tokens.pop()))]
    return None
