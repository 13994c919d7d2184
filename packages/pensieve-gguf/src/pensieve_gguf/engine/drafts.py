"""Which sequences get how long a draft. A machine.

A step may compute, after the last known token of a sequence, tokens that are only guessed: a draft. After each of them
a token is sampled as if they had come one by one, and as soon as one is not the guessed one, the rest is in vain. So
drafts change how many tokens a step brings, and never which.

What a draft costs depends on the machine, what it brings on the text. Both are learned, and the draft is as long as
brings the most tokens a second: often it is empty. What must come, and what has come before, is found for nothing; a
draft model may guess in its place.

Above: the scheduler, which puts drafts into steps. Below: the drafters, who asks the draft model, and the costs of
steps.
"""

from __future__ import annotations

from collections.abc import Sequence as Several

from pensieve_gguf.engine.asking import Asking
from pensieve_gguf.engine.drafter import NO_DRAFT, Draft
from pensieve_gguf.engine.guesser import Guesser
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.step_costs import StepCosts
from pensieve_gguf.engine.tally import LENGTHS, Tally

__all__ = ["MOST_DRAFTED", "DraftPolicy"]

MOST_DRAFTED = LENGTHS[-1]
"""Longer drafts gain little, and the logits after each token of them are kept."""
_MEMORY = 0.7


class DraftPolicy:
    """Decides the drafts of a step.

    Args:
        costs: What steps cost; learns here.
        longest: Tokens that a sequence may have.
        most: Tokens drafted in one step, of all sequences together.
        guesser: A draft model. None: there is none.
    """

    def __init__(
        self, costs: StepCosts, *, longest: int, most: int = MOST_DRAFTED, guesser: Guesser | None = None
    ) -> None:
        self._costs = costs
        self._longest = longest
        self._most = most
        self._asking = None if guesser is None else Asking(guesser, costs, self._left)

    def plan(self, answering: Several[Sequence], room: int) -> list[Draft]:
        """Return a draft for each sequence of a step that holds one row of each, and nothing else.

        Args:
            answering: The sequences.
            room: Rows that the batch has left.
        """
        room = min(room, self._most, self._costs.widest - len(answering))
        tally, drafts = Tally.of(self._costs, len(answering), room), list[Draft]()
        for sequence in answering:
            drafts.append(tally.best(self._known(sequence, tally.room, alone=tally.rows == 1)))
            tally.take(drafts[-1])
        if self._asking is None or room <= 0:
            return drafts
        return self._asking.improved(answering, drafts, room)

    def note(self, sequence: Sequence, rows: int, elapsed_s: float) -> None:
        """Learn from a step of `rows`, all of `sequence`, which answers."""
        drafter = sequence.drafter
        if drafter is None:
            return
        if rows == 1:
            drafter.single_s = _blend(drafter.single_s, elapsed_s)
            self._costs.note(1, 1.0)
            self.note_several(1, elapsed_s)
        elif drafter.single_s:
            self._costs.note(rows, elapsed_s / drafter.single_s)

    def note_several(self, rows: int, elapsed_s: float) -> None:
        """Learn from a step of so many rows, of several sequences that answer, or of one."""
        if self._asking is not None:
            self._asking.note(rows, elapsed_s)

    def note_draft_model(self, *, rows: int, elapsed_s: float) -> None:
        """Learn from a step of the draft model."""
        if self._asking is not None:
            self._asking.note_draft_model(rows=rows, elapsed_s=elapsed_s)

    def forget(self, sequence: Sequence) -> None:
        """Let the draft model follow `sequence` no more: it has ended."""
        if self._asking is not None:
            self._asking.forget(sequence)

    def _left(self, sequence: Sequence) -> int:
        """Return how many tokens may be drafted: a step brings one more."""
        return min(self._longest - len(sequence.tokens), sequence.max_tokens - sequence.generated) - 1

    def _known(self, sequence: Sequence, room: int, *, alone: bool) -> Draft:
        """Return what must come, or has come before."""
        drafter = sequence.drafter
        most = min(room, self._left(sequence))
        if drafter is None or most <= 0 or (alone and drafter.single_s is None):
            return NO_DRAFT
        return drafter.draft(most)


def _blend(before: float | None, now: float) -> float:
    return now if before is None else _MEMORY * before + (1 - _MEMORY) * now
