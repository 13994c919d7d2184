"""A smaller model of the same vocabulary that guesses ahead: its context, and what it computes there.

It has a context of its own, and is computed in the engine thread between two steps. What it cannot do costs its guesses
and nothing else. Above: the draft policy, which decides when it is asked, and for how much. Below: the slots, which
know what the context holds.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Sequence as Several

import attrs
import structlog

from pensieve_gguf.engine.calibration import StepTime, calibrate
from pensieve_gguf.engine.draft_slots import DraftSlots
from pensieve_gguf.engine.drafter import Guess
from pensieve_gguf.engine.guesser import CaughtUp, Guesses
from pensieve_gguf.engine.moves import Cut, Share
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.vitals import GuessFigures
from pensieve_gguf.llama import Context, DecodeError, DecodeOutcome, Rows

__all__ = ["DraftModel"]

_log = structlog.get_logger(__name__)


@attrs.define(eq=False)
class _Line:
    """A sequence that is being guessed for."""

    sequence: Sequence
    slot: int
    start: int
    pending: array[int]
    """To be computed next."""
    wanted: int
    tokens: list[int] = attrs.field(factory=list)
    probabilities: list[float] = attrs.field(factory=list)
    all_right: float = 1.0
    """The probability of that."""

    @property
    def rows(self) -> Rows:
        return Rows(slot=self.slot, start=self.start, tokens=self.pending, wants_logits=True)


class DraftModel:
    """`Guesser` over a context of its own. Belongs to the engine thread.

    Args:
        context: Of the smaller model, empty; closed by whoever made it.
        figures: Counters.
        clock: Monotonic seconds.
        vocabulary: Tokens that the larger model knows; the smaller one may have some more.
    """

    def __init__(self, context: Context, figures: GuessFigures, clock: Callable[[], float], *, vocabulary: int) -> None:
        self._context = context
        self._figures = figures
        self._clock = clock
        self._vocabulary = vocabulary
        self.slots = DraftSlots(context.shape.sequences)
        """What the context holds; to be looked at, and changed here alone."""
        self._failed = False
        """Whether llama.cpp gave up on it."""

    def calibrate(self, wanted: Callable[[], bool]) -> tuple[StepTime, ...]:
        """Measure what its steps cost, before anything else; see `calibration`. One that fails guesses no more."""
        try:
            return calibrate(self._context, self._clock, wanted)
        except DecodeError as error:
            self._fail(error)
            return ()

    def behind(self, sequence: Sequence) -> int | None:
        """See `Guesser`."""
        if self._failed or sequence.images or not self._has_room(len(sequence.tokens)):
            return None
        return self.slots.behind(sequence)

    def catch_up(self, sequence: Sequence, most: int) -> CaughtUp:
        """See `Guesser`."""
        began = self._clock()
        slot, start = self._placed(sequence)
        stop = min(start + min(most, self._context.batch_tokens), len(sequence.tokens) - 1)
        tokens = self._known(sequence, start, stop)
        if not tokens or self._decoded([Rows(slot=slot, start=start, tokens=tokens, wants_logits=False)]) is None:
            return CaughtUp()
        self._figures.prefilled += len(tokens)
        return CaughtUp(tokens=len(tokens), elapsed_s=self._clock() - began)

    def guess(self, asked: Mapping[Sequence, int], *, floor: float) -> Guesses:
        """See `Guesser`. All are guessed for together."""
        began, steps = self._clock(), 0
        lines = list(self._lines(asked))
        going = lines
        while going:
            last = self._decoded([line.rows for line in going])
            if last is None:
                break
            steps += 1
            going = [line for line, index in zip(going, last, strict=True) if self._goes_on(line, index, floor)]
        self._figures.steps += steps
        guesses = {line.sequence: Guess(tuple(line.tokens), tuple(line.probabilities)) for line in lines}
        return Guesses(by_sequence=guesses, steps=steps, elapsed_s=self._clock() - began)

    def release(self, sequence: Sequence) -> None:
        """See `Guesser`."""
        self.slots.release(sequence)

    def _has_room(self, length: int) -> bool:
        return length < self._context.cells

    def _lines(self, asked: Mapping[Sequence, int]) -> Iterable[_Line]:
        """Yield those that are guessed for, as many as a batch can begin with."""
        room = self._context.batch_tokens
        for sequence, wanted in asked.items():
            if self.behind(sequence) is None:  # it was given up since: catching up with another one failed
                continue
            slot, start = self._placed(sequence)
            pending = self._known(sequence, start, len(sequence.tokens))
            room -= len(pending)
            if room >= 0 and pending:
                space = self._context.cells - len(sequence.tokens)
                yield _Line(sequence, slot, start, pending, min(wanted, space))

    def _placed(self, sequence: Sequence) -> tuple[int, int]:
        """Return where `sequence` is followed, and how much of it is there."""
        followed = self.slots.follow(sequence)
        for move in followed.moves:
            self._make(move)
        if self._context.holds(followed.slot, followed.start):
            return followed.slot, followed.start
        self._figures.astray += 1
        _log.error("draft_cells_astray", slot=followed.slot, expected=followed.start)
        self._make(self.slots.lose(followed.slot))
        return followed.slot, 0

    def _make(self, move: Cut | Share) -> None:
        if isinstance(move, Cut):
            self._context.cut(move.slot, move.length)
        else:
            self._context.share(move.source, move.target, move.length)

    def _known(self, sequence: Sequence, start: int, stop: int) -> array[int]:
        """Return known tokens; none where the smaller model does not know all of them: it cannot follow then."""
        tokens = sequence.tokens[start:stop]
        if tokens and max(tokens) >= self._context.model.vocabulary_size:
            self.slots.give_up(sequence)
            return array("i")
        return tokens

    def _goes_on(self, line: _Line, index: int, floor: float) -> bool:
        """Take what is likeliest after batch row `index`; return whether there is more to guess."""
        token, probability = self._context.likeliest(index)
        line.all_right *= probability
        if line.all_right < floor or token >= self._vocabulary:
            return False
        line.tokens.append(token)
        line.probabilities.append(probability)
        line.start += len(line.pending)
        line.pending = array("i", [token])
        return len(line.tokens) < line.wanted and not self._context.model.is_end(token)

    def _decoded(self, rows: Several[Rows]) -> list[int] | None:
        """Compute `rows`, and note it. None: that could not be; what they are of is as it was."""
        try:
            outcome, last = self._context.decode(rows)
        except DecodeError as error:
            self._fail(error)
            return None
        if outcome is DecodeOutcome.DONE:
            for row in rows:
                self.slots.hold(row.slot, row.tokens)
            return last
        for row in rows:
            self._context.cut(row.slot, row.start)
        room = self.slots.make_room() if outcome is DecodeOutcome.NO_ROOM else None
        if room is not None:
            self._make(room)
        return None

    def _fail(self, error: DecodeError) -> None:
        _log.warning("draft_model_failed", reason=str(error))
        self._failed = True
