"""The tokens that probably come next in one generation, and how probably. Pure.

Above: the draft policy, which decides how many of them are computed, and whether a draft model is asked. Below: the
prompt lookup.
"""

from __future__ import annotations

from array import array
from bisect import bisect_right
from itertools import accumulate
from operator import mul
from typing import Protocol

import attrs

from pensieve_gguf.engine.prompt_lookup import PromptLookup

__all__ = ["NO_DRAFT", "Draft", "DraftSource", "Drafter", "Guess"]

# So many of the newest tokens of a prompt are indexed: 10 MB, and 15 ms of the engine thread.
_LOOKED_UP = 1 << 16
# How often a guess is right after a match of so many tokens, before anything is known of the answer.
# Those of the Qwen coder to tests/benchmarks/edits: 0.54, 0.74, 0.89, 0.97, 0.99; prose repeats less.
_MATCHES = (2, 3, 4, 8, 16)
_ODDS = (0.4, 0.6, 0.8, 0.95, 0.98)
_ODDS_WEIGHT = 4.0
_ODDS_MEMORY = 0.95
_FORCED = len(_ODDS)
# A text that must come can often be spelt in several tokens.
_FORCED_ODDS = 0.9
# How often a draft model's guess is right that it finds so probable: it is taken at its word, and then learned.
_PROBABILITIES = (0.6, 0.75, 0.9, 0.97)
_GUESS_ODDS = (0.5, 0.65, 0.8, 0.92, 0.98)
_FIRST_GUESS = _FORCED + 1
# How often there is a guess that is right, for each that is asked for. Good draft models have 0.7 to 0.9.
_ASKED = _FIRST_GUESS + len(_GUESS_ODDS)
_ASKED_ODDS = 0.85
_DOUBTED = -1


class DraftSource(Protocol):
    """Knows tokens that must come next: a constraint knows the skeleton that it enforces."""

    def forced(self) -> list[int]:
        """Return the tokens that come next where there is no choice; empty where there is one."""
        ...


@attrs.frozen
class Draft:
    """Tokens that probably come next."""

    tokens: tuple[int, ...]
    expected: tuple[float, ...]
    """How many of the first 1, 2, 3… of them will be right, on average."""
    guessed: bool = False
    """Whether the draft model has guessed them."""

    def cut(self, length: int) -> Draft:
        """Return the first `length` tokens."""
        return Draft(self.tokens[:length], self.expected[:length], self.guessed)


NO_DRAFT = Draft((), ())


@attrs.frozen
class Guess:
    """What a draft model finds likeliest, token by token."""

    tokens: tuple[int, ...]
    probabilities: tuple[float, ...]
    """How likely each of them is, given those before it."""


class Drafter:
    """Guesses what one generation will say.

    It guesses even when its drafts are not computed, and sees what came instead: so it knows what they would bring.

    Args:
        tokens: The known tokens of the sequence, prompt first; shared, and read only.
        prompt_tokens: How many of them are the prompt.
        since: From where on they may be repeated: what stands for an image never comes again.
        source: Tokens that must come are drafted before those that are likely to.
    """

    def __init__(
        self, tokens: array[int], prompt_tokens: int, source: DraftSource | None = None, *, since: int = 0
    ) -> None:
        self._tokens = tokens
        self._prompt_tokens = prompt_tokens
        self._source = source
        self._since = since
        self._forced: list[int] = []
        self._guessed: list[tuple[int, int]] = []
        """Tokens that the draft model has guessed and that did not come yet, each with its kind."""
        self._right = [_ODDS_WEIGHT * odds for odds in (*_ODDS, _FORCED_ODDS, *_GUESS_ODDS, _ASKED_ODDS)]
        self._tried = [_ODDS_WEIGHT] * len(self._right)
        self.single_s: float | None = None
        """How long a step takes in which this sequence alone has a single row. It grows with the sequence."""
        self.restart()

    def restart(self) -> None:
        """Forget the text: tokens of it were taken back. What was learned of the odds stays."""
        self._lookup: PromptLookup | None = None
        self._seen = 0
        self._forced.clear()
        self._guessed.clear()

    def draft(self, most: int) -> Draft:
        """Return up to `most` tokens that probably come next."""
        lookup = self._catch_up()
        if self._source is not None:
            self._forced = list(self._source.forced())
        if self._forced:
            tokens = self._forced[:most]
            kinds = [_FORCED] * len(tokens)
        elif not lookup.matched:
            return NO_DRAFT
        else:
            tokens = lookup.predict(most)
            kinds = [_kind(lookup.matched + ahead) for ahead in range(len(tokens))]
        return Draft(tuple(tokens), self._expected(kinds))

    def promise(self, length: int) -> float:
        """Return how many of so many guesses of the draft model will be there and right, on average."""
        return self._expected([_ASKED] * length)[-1]

    def guessed(self, guess: Guess, asked: int) -> Draft:
        """Return what the draft model has guessed, and learn from what comes how far it can be trusted.

        Args:
            guess: For what comes next.
            asked: How many tokens were asked for: with fewer, it doubted the next.
        """
        self._catch_up()  # nothing may have been drafted in this step: what was guessed before is for what came since
        kinds = [_FIRST_GUESS + bisect_right(_PROBABILITIES, one) for one in guess.probabilities]
        self._guessed = list(zip(guess.tokens, kinds, strict=True))
        if len(kinds) < asked:
            self._guessed.append((_DOUBTED, _ASKED))
        return Draft(guess.tokens, self._expected(kinds), guessed=True)

    def _expected(self, kinds: list[int]) -> tuple[float, ...]:
        odds = accumulate((self._right[kind] / self._tried[kind] for kind in kinds), mul)
        return tuple(accumulate(odds))

    def _catch_up(self) -> PromptLookup:
        """Take what was sampled since, and learn how good the guesses were."""
        if self._lookup is None:
            self._lookup = PromptLookup()
            self._lookup.extend(self._tokens[max(self._since, self._prompt_tokens - _LOOKED_UP) : self._prompt_tokens])
            self._seen = self._prompt_tokens
        for token in self._tokens[self._seen :]:
            self._learn(self._lookup, token)
            self._lookup.push(token)
        self._seen = len(self._tokens)
        return self._lookup

    def _learn(self, lookup: PromptLookup, token: int) -> None:
        if self._forced:
            self._note(_FORCED, right=self._forced.pop(0) == token)
        elif lookup.matched:
            self._note(_kind(lookup.matched), right=lookup.predict(1) == [token])
        if self._guessed:
            self._learn_of_guess(token)

    def _learn_of_guess(self, token: int) -> None:
        guess, kind = self._guessed.pop(0)
        right = guess == token
        if kind != _ASKED:
            self._note(kind, right=right)
        self._note(_ASKED, right=right)
        if not right:
            self._guessed.clear()

    def _note(self, kind: int, *, right: bool) -> None:
        self._right[kind] = _ODDS_MEMORY * self._right[kind] + right
        self._tried[kind] = _ODDS_MEMORY * self._tried[kind] + 1
        if kind == _FORCED and not right:
            self._forced.clear()


def _kind(matched: int) -> int:
    """Return which of the odds hold after a match of so many tokens."""
    return bisect_right(_MATCHES, matched) - 1
