"""Ours: what a draft model computes in its context, and that nothing it does harms anyone."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Sequence as Several
from typing import Any, cast

from structlog.testing import capture_logs

from pensieve_core import ImagePart
from pensieve_gguf.engine.draft_model import DraftModel
from pensieve_gguf.engine.guesser import CaughtUp, Guesses
from pensieve_gguf.engine.sequence import ImageSpan, Sequence
from pensieve_gguf.engine.vitals import GuessFigures
from pensieve_gguf.llama import ContextShape, DecodeError, DecodeOutcome, Rows

END, VOCABULARY = 200, 256
_keys = itertools.count(1)


class CountingModel:
    """Finds the next number likeliest."""

    vocabulary_size = VOCABULARY

    def is_end(self, token: int) -> bool:
        return token == END


class CountingContext:
    """A context over `CountingModel`.

    Args:
        outcomes: What the first decodes answer; an exception is raised.
        sure: Of each guess.
    """

    def __init__(
        self, *outcomes: DecodeOutcome | Exception, sure: float = 0.9, cells: int = 400, batch: int = 64
    ) -> None:
        self.model = CountingModel()
        self.cells = cells
        self.batch_tokens = batch
        self.shape = ContextShape(cells=cells, sequences=6, batch_tokens=batch, threads=1)
        self.sure = sure
        self.slots: dict[int, list[int]] = {slot: [] for slot in range(6)}
        self.decoded: list[int] = []
        self._outcomes = list(outcomes)
        self._last: list[int] = []

    def decode(self, rows: Several[Rows]) -> tuple[DecodeOutcome, list[int]]:
        outcome = self._outcomes.pop(0) if self._outcomes else DecodeOutcome.DONE
        if isinstance(outcome, Exception):
            raise outcome
        assert sum(len(row.tokens) for row in rows) <= self.batch_tokens
        for row in rows if outcome is not DecodeOutcome.NO_ROOM else ():
            assert len(self.slots[row.slot]) == row.start
            self.slots[row.slot].extend(row.tokens)
        self.decoded.append(len(rows))
        self._last = [row.tokens[-1] for row in rows]
        return outcome, list(range(len(rows)))

    def likeliest(self, index: int) -> tuple[int, float]:
        return self._last[index] + 1, self.sure

    def cut(self, slot: int, length: int) -> bool:
        del self.slots[slot][length:]
        return True

    def share(self, source: int, target: int, length: int) -> None:
        assert not self.slots[target]
        self.slots[target] = self.slots[source][:length]

    def holds(self, slot: int, length: int) -> bool:
        return len(self.slots[slot]) == length


def sequence(*tokens: int, images: tuple[ImageSpan, ...] = ()) -> Sequence:
    return Sequence(
        key=next(_keys), tokens=array("i", tokens), prompt_tokens=len(tokens), max_tokens=100, images=images
    )


def over(context: CountingContext, *, vocabulary: int = VOCABULARY) -> tuple[DraftModel, GuessFigures]:
    figures, seconds = GuessFigures(), itertools.count()
    model = DraftModel(cast("Any", context), figures, lambda: float(next(seconds)), vocabulary=vocabulary)
    return model, figures


def matches(model: DraftModel, context: CountingContext) -> bool:
    """Whether the context holds what is known of it, and nothing else."""
    return {slot: model.slots.held(slot).tolist() for slot in context.slots} == context.slots


def test_it_guesses_token_by_token_from_what_is_known() -> None:
    context, one = CountingContext(), sequence(1, 2, 3)
    model, figures = over(context)
    guesses = model.guess({one: 4}, floor=0.1)
    assert guesses.by_sequence[one].tokens == (4, 5, 6, 7)
    assert guesses.by_sequence[one].probabilities == (0.9,) * 4
    assert (guesses.steps, guesses.elapsed_s) == (4, 1.0)
    assert figures.steps == 4
    assert context.slots[0] == [1, 2, 3, 4, 5, 6], "the last guess is not computed"
    assert matches(model, context)


def test_after_a_wrong_guess_it_computes_what_came_instead() -> None:
    context, one = CountingContext(), sequence(1, 2, 3)
    model, _ = over(context)
    model.guess({one: 4}, floor=0.1)
    one.tokens.extend((4, 50))
    assert model.behind(one) == 1
    assert model.guess({one: 2}, floor=0.1).by_sequence[one].tokens == (51, 52)
    assert context.slots[0] == [1, 2, 3, 4, 50, 51]
    assert matches(model, context)


def test_it_ends_where_all_its_guesses_together_are_too_doubtful() -> None:
    context, one = CountingContext(sure=0.7), sequence(1)
    guess = over(context)[0].guess({one: 8}, floor=0.4).by_sequence[one]
    assert guess.tokens == (2, 3), "0.7 ** 3 is less than 0.4"


def test_it_ends_with_the_answer() -> None:
    one = sequence(END - 2)
    assert over(CountingContext())[0].guess({one: 8}, floor=0.1).by_sequence[one].tokens == (END - 1, END)


def test_it_does_not_guess_what_the_larger_model_does_not_know() -> None:
    """Vocabularies are padded differently."""
    one = sequence(97)
    guess = over(CountingContext(), vocabulary=100)[0].guess({one: 8}, floor=0.1).by_sequence[one]
    assert guess.tokens == (98, 99)


def test_what_it_does_not_know_itself_it_does_not_compute() -> None:
    context, one = CountingContext(), sequence(1, 300, 3)
    model, _ = over(context)
    assert model.guess({one: 8}, floor=0.1).by_sequence == {}
    assert context.decoded == []
    assert model.behind(one) is None, "or it would be tried again in every step"


def test_one_with_a_token_that_it_does_not_know_is_followed_up_to_there_and_no_farther() -> None:
    """Whoever else lags behind waits for it no longer."""
    context, one = CountingContext(batch=4), sequence(1, 2, 3, 4, 300, 3)
    model, _ = over(context)
    assert [model.catch_up(one, 4).tokens for _ in range(2)] == [4, 0]
    assert model.behind(one) is None
    assert matches(model, context)


def test_several_are_guessed_for_in_the_same_steps() -> None:
    context, ones = CountingContext(), [sequence(10), sequence(20), sequence(30)]
    guesses = over(context)[0].guess(dict(zip(ones, (3, 1, 2), strict=True)), floor=0.1)
    assert [guesses.by_sequence[one].tokens for one in ones] == [(11, 12, 13), (21,), (31, 32)]
    assert context.decoded == [3, 2, 1]


def test_it_catches_up_with_a_part_and_leaves_the_last_token() -> None:
    context, one = CountingContext(), sequence(*range(100))
    model, figures = over(context)
    for behind, done in ((100, 40), (60, 59)):
        assert model.behind(one) == behind
        assert model.catch_up(one, 40 if done == 40 else 64) == CaughtUp(tokens=done, elapsed_s=1.0)
    assert model.behind(one) == 1
    assert model.catch_up(one, 40) == CaughtUp()
    assert figures.prefilled == 99
    assert model.guess({one: 1}, floor=0.1).by_sequence[one].tokens == (100,)


def test_no_batch_is_larger_than_the_context_takes() -> None:
    context, ones = CountingContext(batch=32), [sequence(*range(20)), sequence(*range(50, 70)), sequence(7)]
    model, _ = over(context)
    guesses = model.guess(dict.fromkeys(ones, 1), floor=0.1)
    assert list(guesses.by_sequence) == [ones[0]]
    assert model.catch_up(sequence(*range(100)), 90).tokens == 32


def test_an_image_is_nothing_that_it_could_compute() -> None:
    span = ImageSpan(start=1, stop=2, image=ImagePart(media_type="image/png", data=b""), digest=b"", piece=0)
    assert over(CountingContext())[0].behind(sequence(1, -5, 2, images=(span,))) is None


def test_a_sequence_longer_than_its_context_is_not_followed() -> None:
    model, _ = over(CountingContext(cells=10))
    assert model.behind(sequence(*range(10))) is None
    one = sequence(*range(8))
    assert model.behind(one) == 8
    assert model.guess({one: 8}, floor=0.1).by_sequence[one].tokens == (8, 9)


def test_without_room_the_idle_go_and_the_next_step_tries_again() -> None:
    context = CountingContext(DecodeOutcome.DONE, DecodeOutcome.NO_ROOM)
    idle, one = sequence(9, 9, 9), sequence(1, 2, 3)
    model, _ = over(context)
    model.guess({idle: 1}, floor=0.1)
    model.release(idle)
    assert model.guess({one: 2}, floor=0.1).by_sequence[one].tokens == ()
    assert matches(model, context)
    assert context.slots[0] == []
    assert model.guess({one: 2}, floor=0.1).by_sequence[one].tokens == (4, 5)
    assert matches(model, context)


def test_where_it_is_aborted_nobody_loses_a_place_and_the_next_step_tries_again() -> None:
    """A flag may come late: whoever was to be stopped has gone."""
    context = CountingContext(DecodeOutcome.DONE, DecodeOutcome.ABORTED)
    idle, one = sequence(9, 9, 9), sequence(1, 2, 3)
    model, _ = over(context)
    model.guess({idle: 1}, floor=0.1)
    model.release(idle)
    assert model.guess({one: 2}, floor=0.1).by_sequence[one].tokens == ()
    assert matches(model, context)
    assert context.slots[0] == [9, 9, 9]
    assert model.guess({one: 2}, floor=0.1).by_sequence[one].tokens == (4, 5)
    assert matches(model, context)


def test_who_was_given_up_while_another_caught_up_is_not_guessed_for() -> None:
    context = CountingContext(DecodeOutcome.DONE, DecodeOutcome.NO_ROOM)
    asked, lagging = sequence(1, 2, 3), sequence(*range(50))
    model, _ = over(context)
    model.guess({asked: 1}, floor=0.1)
    assert model.catch_up(lagging, 20) == CaughtUp()
    assert model.behind(asked) is None, "it alone held anything"
    assert model.guess({asked: 1}, floor=0.1).by_sequence == {}
    model.release(asked)
    assert matches(model, context)
    assert model.behind(asked) == 3


def test_a_context_that_failed_while_one_caught_up_is_not_computed_with_again() -> None:
    context, asked, lagging = CountingContext(DecodeError("no graph")), sequence(1, 2), sequence(*range(50))
    model, _ = over(context)
    with capture_logs() as logs:
        assert model.catch_up(lagging, 20) == CaughtUp()
    assert model.guess({asked: 1}, floor=0.1) == Guesses(by_sequence={}, elapsed_s=1.0)
    assert context.decoded == []
    assert len(logs) == 1


def test_without_room_and_alone_it_is_given_up() -> None:
    context, one = CountingContext(DecodeOutcome.DONE, DecodeOutcome.NO_ROOM), sequence(1, 2, 3)
    model, _ = over(context)
    assert model.guess({one: 4}, floor=0.1).by_sequence[one].tokens == (4,), "what was guessed before counts"
    assert model.behind(one) is None
    assert matches(model, context)


def test_without_room_when_nothing_is_held_there_is_nothing_to_give_up() -> None:
    context, one = CountingContext(DecodeOutcome.NO_ROOM), sequence(1, 2, 3)
    model, _ = over(context)
    assert model.catch_up(one, 2) == CaughtUp()
    assert model.behind(one) == 3


def test_a_model_that_fails_guesses_no_more_and_says_so_once() -> None:
    context, one = CountingContext(DecodeError("a graph that cannot be computed")), sequence(1, 2, 3)
    model, _ = over(context)
    with capture_logs() as logs:
        guesses = model.guess({one: 2}, floor=0.1)
    assert guesses == Guesses(by_sequence=guesses.by_sequence, elapsed_s=1.0)
    assert guesses.by_sequence[one].tokens == ()
    assert [(log["event"], log["reason"]) for log in logs] == [
        ("draft_model_failed", "a graph that cannot be computed")
    ]
    assert model.behind(one) is None


def test_agents_share_a_head() -> None:
    context, first, second = CountingContext(), sequence(*range(50), 90), sequence(*range(50), 70)
    model, figures = over(context)
    for one in (first, second):
        model.catch_up(one, 60)
        model.guess({one: 1}, floor=0.1)
    assert figures.prefilled == 50, "once"
    assert context.slots[1] == [*range(50), 70]
    assert matches(model, context)


def test_cells_that_are_not_there_are_computed_again() -> None:
    context, one = CountingContext(), sequence(1, 2, 3, 4)
    model, figures = over(context)
    model.guess({one: 1}, floor=0.1)
    del context.slots[0][1:]
    with capture_logs() as logs:
        assert model.guess({one: 1}, floor=0.1).by_sequence[one].tokens == (5,)
    assert [(log["event"], log["slot"], log["expected"]) for log in logs] == [("draft_cells_astray", 0, 3)]
    assert figures.astray == 1
    assert context.slots[0] == [1, 2, 3, 4]
