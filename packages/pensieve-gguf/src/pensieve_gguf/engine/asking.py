"""When a draft model is asked, for whom and for how much. A machine.

A guess costs a step of the draft model, one for all sequences that are guessed for, and before the first one the model
has to compute the whole text so far. So it is asked where what it promises pays for its own steps, too; and it catches
up where what it would save until the answer ends pays for that. It promises what it has kept so far.

Above: the draft policy, which knows what can be drafted for nothing. Below: the guesser, and the costs of steps.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from collections.abc import Sequence as Several

import attrs

from pensieve_gguf.engine.drafter import Draft
from pensieve_gguf.engine.guesser import Guesser, Guesses
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.step_costs import StepCosts
from pensieve_gguf.engine.tally import Tally

__all__ = ["Asking"]

_AT_HAND = 16
"""So many known tokens the draft model computes along with its first guess."""
_USUAL_ANSWER = 222
"""Tokens that clients take of an answer: until then catching up has to pay."""
_CATCH_UP = 2.0
"""Steps' time that the draft model may take for catching up before a step: as prefill beside a stream."""
_CHEAPEST = 1e-6
"""Of the costs of a token to catch up with: all of any prompt is cheap then."""
_MEMORY = 0.7


@attrs.frozen(kw_only=True)
class _Wish:
    """What the draft model is to be asked for."""

    length: int
    promised: float
    """Guesses that will be right."""
    behind: int
    """Tokens that it has to compute before."""
    pays_to_catch_up: bool
    """Whether that takes less time than it will save until the answer ends."""


class Asking:
    """Asks a draft model where that pays.

    Args:
        guesser: The draft model.
        costs: What its steps and the others cost; learns here of the former.
        left: Says how many tokens may be drafted for a sequence.
    """

    def __init__(self, guesser: Guesser, costs: StepCosts, left: Callable[[Sequence], int]) -> None:
        self._guesser = guesser
        self._costs = costs
        self._left = left
        self._single_s: float | None = None
        """How long a step of a single row takes, of whichever sequence."""

    def improved(self, answering: Several[Sequence], drafts: list[Draft], room: int) -> list[Draft]:
        """Return `drafts`, or what the draft model guesses in place of some of them.

        Args:
            answering: The sequences of a step that holds one row of each, and nothing else.
            drafts: What is drafted for nothing, for each of them.
            room: Rows that may be drafted.
        """
        tally = Tally.of(self._costs, len(answering), room)
        asked = self._ask_for(answering, drafts, tally)
        if not asked:
            return drafts
        guesses = self._guesser.guess(asked, floor=tally.floor)
        if guesses.steps and self._single_s:
            self._costs.note_guess(guesses.elapsed_s / guesses.steps / self._single_s)
        return _chosen(Tally.of(self._costs, len(answering), room), answering, drafts, asked, guesses)

    def note(self, rows: int, elapsed_s: float) -> None:
        """Learn how long a single row takes, from a step of so many."""
        single_s = elapsed_s / self._costs.of(rows)
        before = single_s if self._single_s is None else self._single_s
        self._single_s = _MEMORY * before + (1 - _MEMORY) * single_s

    def note_draft_model(self, *, rows: int, elapsed_s: float) -> None:
        """Learn from a step of the draft model: one row is like a guess, several are like catching up."""
        if not self._single_s:
            return
        if rows == 1:
            self._costs.note_guess(elapsed_s / self._single_s)
        else:
            self._costs.note_catch_up(elapsed_s / rows / self._single_s)

    def forget(self, sequence: Sequence) -> None:
        """Follow `sequence` no more: it has ended."""
        self._guesser.release(sequence)

    def _ask_for(self, answering: Several[Sequence], drafts: list[Draft], tally: Tally) -> dict[Sequence, int]:
        """Return how many guesses are worth while for whom; `tally` takes these, and the other drafts.

        Who is worth it, but far behind, catches up: one at a time, so that a step is so much longer and no more.
        """
        asked, lagging = dict[Sequence, int](), list[Sequence]()
        for sequence, draft in zip(answering, drafts, strict=True):
            wish = self._wish(sequence, draft, tally)
            if wish is not None and wish.behind <= _AT_HAND:
                asked[sequence] = wish.length
                tally.ask(wish.length, wish.promised)
            else:
                tally.take(draft)
                lagging += [sequence] if wish is not None and wish.pays_to_catch_up else []
        for sequence in lagging[:1]:
            self._catch_up(sequence, len(answering))
        return asked

    def _wish(self, sequence: Sequence, draft: Draft, tally: Tally) -> _Wish | None:
        """Return what would do better than the known `draft`; None: nothing, or the draft model cannot follow."""
        drafter, left = sequence.drafter, self._left(sequence)
        if drafter is None or not (drafter.single_s if tally.rows == 1 else self._single_s):
            return None  # how long a single row takes is the measure of all
        usual = max(tally.rate(), tally.rate(len(draft.tokens), draft.expected[-1]) if draft.tokens else 0.0)
        length, rate = tally.best_asked(drafter.promise, min(tally.room, left), usual)
        behind = self._guesser.behind(sequence) if length else None
        if behind is None:
            return None
        saved = min(_USUAL_ANSWER, left) * tally.useful * (1 / usual - 1 / rate)
        return _Wish(
            length=length,
            promised=drafter.promise(length),
            behind=behind,
            pays_to_catch_up=behind * self._costs.catch_up < saved,
        )

    def _catch_up(self, sequence: Sequence, rows: int) -> None:
        allowed = _CATCH_UP * self._costs.of(rows) / max(self._costs.catch_up, _CHEAPEST)
        caught_up = self._guesser.catch_up(sequence, max(_AT_HAND, int(allowed)))
        if caught_up.tokens and self._single_s:
            self._costs.note_catch_up(caught_up.elapsed_s / caught_up.tokens / self._single_s)


def _chosen(
    tally: Tally,
    answering: Several[Sequence],
    drafts: list[Draft],
    asked: Mapping[Sequence, int],
    guesses: Guesses,
) -> list[Draft]:
    """Return as much of the guesses as pays, now that they are there; where none does, what was known before."""
    chosen = list[Draft]()
    for sequence, draft in zip(answering, drafts, strict=True):
        best, guess, drafter = draft.cut(max(0, tally.room)), guesses.by_sequence.get(sequence), sequence.drafter
        if guess is not None and drafter is not None:
            guessed = tally.best(drafter.guessed(guess, asked[sequence]))
            best = guessed if guessed.tokens else best
        chosen.append(best)
        tally.take(best)
    return chosen
