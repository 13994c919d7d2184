"""Where the end of a text stood before, and what came after it there. Pure; one per generation.

An answer that edits a file, quotes it or calls the same tool again repeats tokens of its prompt, or its own, and what
follows the first few of them is mostly known. This is the prompt lookup of A. Saxena (2023), with an index in place of
the scan: taking a token costs the same however long the text is.

Above: the drafter, which decides how far to trust it. It knows tokens by number and nothing of their meaning.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable

__all__ = ["PromptLookup"]

_GRAM = 2  # after a change an answer is on its way again so soon; how often that misleads, the drafter learns
_TOKEN_BITS = 21  # the largest vocabularies have 2 ** 18 tokens
_GRAM_MASK = (1 << _GRAM * _TOKEN_BITS) - 1
_NOWHERE = -1
# Of the places that the same gram stands before, so many are compared, the latest first.
_PLACES = 32
# Places whose last tokens agree for so long are taken to be equally good.
_LONGEST_MATCH = 32


class PromptLookup:
    """A text that grows, and a place in it that is followed.

    The followed place is where the last tokens stood before; as long as what comes is what came there, it moves on.
    When it is not, another one is looked for: that of the longest match, of equally long ones the most recent.

    Memory: some 150 bytes a token.
    """

    def __init__(self) -> None:
        self._tokens = array("i")
        self._gram = 0
        """The last `_GRAM` tokens in one number."""
        self._latest: dict[int, int] = {}
        """Gram → the last position that it stood before."""
        self._earlier = array("i")
        """Position → the position before it that the same gram stood before."""
        self._place = _NOWHERE
        self.matched = 0
        """So many tokens before the followed place are the last ones of the text, or more; 0: none is followed."""

    def __len__(self) -> int:
        return len(self._tokens)

    def extend(self, tokens: Iterable[int]) -> None:
        """Take tokens that nobody predicts: the prompt."""
        for token in tokens:
            self._index(token)
        self._place, self.matched = _NOWHERE, 0

    def push(self, token: int) -> None:
        """Take the next token: the followed place moves on, or is lost."""
        hit = self._place != _NOWHERE and self._tokens[self._place] == token
        self._index(token)
        if hit:
            self._place += 1
            self.matched += 1
        else:
            self._place, self.matched = self._longest_match()

    def predict(self, count: int) -> list[int]:
        """Return the tokens that come next if all goes on as it did at the followed place; at most `count`."""
        if self._place == _NOWHERE:
            return []
        predicted = self._tokens[self._place : self._place + count].tolist()
        while len(predicted) < count:  # the place is near the end: what is predicted there is followed, too
            predicted.append(predicted[self._place - len(self._tokens) + len(predicted)])
        return predicted

    def _index(self, token: int) -> None:
        position = len(self._tokens)
        self._earlier.append(self._latest.get(self._gram, _NOWHERE) if position >= _GRAM else _NOWHERE)
        if position >= _GRAM:
            self._latest[self._gram] = position
        self._tokens.append(token)
        self._gram = (self._gram << _TOKEN_BITS | token) & _GRAM_MASK

    def _longest_match(self) -> tuple[int, int]:
        best, longest = _NOWHERE, 0
        place = self._latest.get(self._gram, _NOWHERE) if len(self._tokens) >= _GRAM else _NOWHERE
        for _ in range(_PLACES):
            if place == _NOWHERE or longest >= _LONGEST_MATCH:
                break
            length = self._match(place)
            if length > longest:
                best, longest = place, length
            place = self._earlier[place]
        return best, longest

    def _match(self, place: int) -> int:
        """Return how many tokens before `place` are the last ones of the text."""
        tokens, end = self._tokens, len(self._tokens)
        length = _GRAM
        longest = min(place, _LONGEST_MATCH)
        while length < longest and tokens[place - 1 - length] == tokens[end - 1 - length]:
            length += 1
        return length
