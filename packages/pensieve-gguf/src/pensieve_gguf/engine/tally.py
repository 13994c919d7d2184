"""A step as it is being planned: how many rows, how many tokens they will bring, and at what cost. A machine.

Above: the draft policy, which adds one draft after the other. Below: the costs of steps.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from pensieve_gguf.engine.drafter import Draft
from pensieve_gguf.engine.step_costs import StepCosts

__all__ = ["FASTER", "LENGTHS", "Tally"]

LENGTHS = (1, 2, 3, 5, 7, 11, 15, 23, 31)
"""Of drafts. Few different widths, so that the costs of each are seen often."""
FASTER = 1.05
"""So much faster a draft must promise to be: of several guesses the best one is mostly too good."""

_LOWEST_FLOOR, _HIGHEST_FLOOR = 0.1, 0.9


@attrs.define
class Tally:
    """Adds up. Rates are in tokens per single row's time."""

    costs: StepCosts
    answering: int
    """Rows that compute a token that was sampled: one for each sequence."""
    rows: int
    """Of the batch, so far."""
    useful: float
    """Tokens that they will bring."""
    room: int
    """Rows that may be added."""
    asked: int = 0
    """Steps of the draft model before."""

    @classmethod
    def of(cls, costs: StepCosts, answering: int, room: int) -> Tally:
        """Return a step of one row for each sequence."""
        return cls(costs, answering, answering, float(answering), room)

    def rate(self, rows: int = 0, useful: float = 0.0, *, asked: int = 0) -> float:
        """Return what the step brings with so many rows more, after so many steps of the draft model for them."""
        before = max(self.asked, asked) * self.costs.guess
        return (self.useful + useful) / (self.costs.of(self.rows + rows) + before)

    @property
    def floor(self) -> float:
        """How probable it must be that a further guess is right, for the sake of its row and of its own step."""
        drafted = self.rows - self.answering
        row = (self.costs.of(self.rows) - self.costs.of(self.answering)) / max(1, drafted)
        return min(_HIGHEST_FLOOR, max(_LOWEST_FLOOR, self.rate() * (row + self.costs.guess)))

    def best(self, draft: Draft) -> Draft:
        """Return as much of `draft` as brings the most tokens a second."""
        best, rate = 0, FASTER * self.rate()
        for length in LENGTHS:
            if length > min(len(draft.tokens), self.room):
                break
            faster = self.rate(length, draft.expected[length - 1])
            if faster > rate:
                best, rate = length, faster
        return draft.cut(best)

    def best_asked(self, promise: Callable[[int], float], most: int, usual: float) -> tuple[int, float]:
        """Return how many guesses to ask for, and the rate with them; 0: none, for nothing beats the `usual` rate.

        Args:
            promise: How many of so many will be right.
            most: Guesses that have room.
            usual: The rate without.
        """
        best, rate = 0, FASTER * max(usual, self.rate())
        for length in LENGTHS:
            if length > most:
                break
            faster = self.rate(length, promise(length), asked=length)
            if faster > rate:
                best, rate = length, faster
        return best, rate

    def take(self, draft: Draft) -> None:
        """Add a draft."""
        if draft.tokens:
            self._add(len(draft.tokens), draft.expected[-1])

    def ask(self, length: int, promised: float) -> None:
        """Add what the draft model will be asked for: one step of it serves all sequences."""
        self._add(length, promised)
        self.asked = max(self.asked, length)

    def _add(self, rows: int, useful: float) -> None:
        self.rows += rows
        self.useful += useful
        self.room -= rows
