"""Which sequences get how long a draft. Pure.

A step may compute, after the last known token of a sequence, tokens that are only guessed: a draft. After each of them
a token is sampled as if they had come one by one, and as soon as one is not the guessed one, the rest is in vain. So
drafts change how many tokens a step brings, and never which.

What a draft costs depends on the machine, what it brings on the text. Both are learned, and the draft is as long as
brings the most tokens a second: often it is empty.

Above: the scheduler, which puts drafts into steps. Below: the drafters, and the costs of steps.
"""

from __future__ import annotations

from collections.abc import Sequence as Several

from pensieve_gguf.engine.drafter import NO_DRAFT, Draft
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.step_costs import StepCosts

__all__ = ["MOST_DRAFTED", "DraftPolicy"]

MOST_DRAFTED = 31
"""Longer drafts gain little, and the logits after each token of them are kept."""
# Few different widths, so that the costs of each are seen often.
_LENGTHS = (1, 2, 3, 5, 7, 11, 15, 23, 31)
_MEMORY = 0.7
# So much faster a draft must promise to be: of several guesses the best one is mostly too good.
_MARGIN = 1.05


class DraftPolicy:
    """Decides the drafts of a step.

    Args:
        costs: What steps cost; learns here.
        longest: Tokens that a sequence may have.
        most: Tokens drafted in one step, of all sequences together.
    """

    def __init__(self, costs: StepCosts, *, longest: int, most: int = MOST_DRAFTED) -> None:
        self._costs = costs
        self._longest = longest
        self._most = most

    def plan(self, answering: Several[Sequence], room: int) -> list[tuple[int, ...]]:
        """Return a draft for each sequence of a step that holds one row of each, and nothing else.

        Args:
            answering: The sequences.
            room: Rows that the batch has left.
        """
        rows, useful = len(answering), float(len(answering))
        room = min(room, self._most, self._costs.widest - rows)
        drafts: list[tuple[int, ...]] = []
        for sequence in answering:
            draft = self._best(sequence, room, rows, useful)
            drafts.append(draft.tokens)
            room -= len(draft.tokens)
            rows += len(draft.tokens)
            useful += draft.expected[-1] if draft.expected else 0.0
        return drafts

    def note(self, sequence: Sequence, rows: int, elapsed_s: float) -> None:
        """Learn from a step of `rows`, all of `sequence`, which answers."""
        drafter = sequence.drafter
        if drafter is None:
            return
        if rows == 1:
            before = elapsed_s if drafter.single_s is None else drafter.single_s
            drafter.single_s = _MEMORY * before + (1 - _MEMORY) * elapsed_s
            self._costs.note(1, 1.0)
        elif drafter.single_s:
            self._costs.note(rows, elapsed_s / drafter.single_s)

    def _best(self, sequence: Sequence, room: int, rows: int, useful: float) -> Draft:
        """Return the draft that brings the most tokens a second to a step of `rows` that brings `useful` tokens."""
        left = min(self._longest - len(sequence.tokens), sequence.max_tokens - sequence.generated) - 1
        most = min(room, left)
        drafter = sequence.drafter
        if drafter is None or most <= 0 or (rows == 1 and drafter.single_s is None):
            return NO_DRAFT
        draft = drafter.draft(most)
        if not draft.tokens:
            return draft
        best, rate = 0, _MARGIN * useful / self._costs.of(rows)
        for length in _LENGTHS:
            if length > len(draft.tokens):
                break
            faster = (useful + draft.expected[length - 1]) / self._costs.of(rows + length)
            if faster > rate:
                best, rate = length, faster
        return draft.cut(best)
