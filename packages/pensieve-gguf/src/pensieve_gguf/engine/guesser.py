"""Who guesses by means of a smaller model: what the draft policy needs of it.

Above: the drafts, which decide when it is asked. `DraftModel` is the real one.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

import attrs

from pensieve_gguf.engine.drafter import Guess
from pensieve_gguf.engine.sequence import Sequence

__all__ = ["CaughtUp", "Guesser", "Guesses"]


@attrs.frozen(kw_only=True)
class Guesses:
    """What came of asking."""

    by_sequence: Mapping[Sequence, Guess]
    """Those that were asked for may be missing."""
    steps: int = 0
    """Decodes of the draft model; each holds a row for every sequence that is still guessed for."""
    elapsed_s: float = 0.0


@attrs.frozen(kw_only=True)
class CaughtUp:
    """Known tokens that the draft model has computed."""

    tokens: int = 0
    elapsed_s: float = 0.0


class Guesser(Protocol):
    """A model that follows some sequences, and guesses what they say. It computes; nothing that it does can fail."""

    def behind(self, sequence: Sequence) -> int | None:
        """Return how many known tokens it has not computed; the last one always. None: it cannot follow."""
        ...

    def catch_up(self, sequence: Sequence, most: int) -> CaughtUp:
        """Compute so many known tokens at most, the last one not among them."""
        ...

    def guess(self, asked: Mapping[Sequence, int], *, floor: float) -> Guesses:
        """Guess up to so many tokens for each of some sequences.

        It ends where not all of them are right with a probability of `floor`.
        """
        ...

    def release(self, sequence: Sequence) -> None:
        """Follow `sequence` no more: it has ended."""
        ...
