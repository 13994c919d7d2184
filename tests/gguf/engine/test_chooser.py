"""Ours: the sampler's draw stands unless it may not; then it draws once more from what may."""

from __future__ import annotations

from array import array
from collections.abc import Sequence as Tokens
from typing import Any, cast

import attrs
import numpy as np
import pytest

from pensieve_gguf.constraints import Guide, Plan
from pensieve_gguf.engine.chooser import Chooser
from pensieve_gguf.engine.vitals import Vitals

END = 9


class TenTokens:
    end_tokens = frozenset({END})

    def is_end(self, token: int) -> bool:
        return token == END


class Likely:
    """A context with ten tokens, the first of `wishes` the likeliest."""

    def __init__(self, *wishes: int) -> None:
        self.model = TenTokens()
        self.row = np.zeros(10, np.float32)
        for rank, token in enumerate(wishes):
            self.row[token] = 10 - rank
        self.drawn = 0

    def sample(self, sampler: object, index: int) -> int:
        self.drawn += 1
        return int(self.row.argmax())

    def logits(self, index: int) -> Any:
        return self.row

    def forbid(self, index: int, tokens: Tokens[int]) -> None:
        self.row[list(tokens)] = -np.inf


@attrs.define
class Only:
    """Admits these tokens."""

    tokens: set[int]
    masked: set[int] | None = None
    """What the mask leaves, if that is not the same."""
    satisfied: bool = False
    ended: bool = False
    failed: str = ""

    def begun(self, text: str = "") -> Only:
        return self

    def admits(self, token: int) -> bool:
        return token in self.tokens

    def mask(self, logits: Any) -> None:
        kept = self.tokens if self.masked is None else self.masked
        logits[[token for token in range(10) if token not in kept]] = -np.inf

    def accept(self, token: int) -> bool:
        return True

    def forced(self) -> list[int]:
        return []


@attrs.frozen
class Said:
    generated: int


@attrs.frozen
class Held:
    guide: Guide | None
    forced: int | None = None
    cut_short: bool = False


def choose(
    context: Likely,
    only: Only | None = None,
    *,
    generated: int = 1,
    may_be_empty: bool = False,
    not_first: Tokens[int] = (),
    forced: int | None = None,
    cut_short: bool = False,
) -> tuple[int, Vitals, Guide | None]:
    @attrs.frozen
    class Asked:
        sequence: Said
        answer: Held
        may_be_empty: bool
        not_first: frozenset[int]
        sampler: None = None

    guide = None if only is None else Guide(Plan(whole=only))
    vitals = Vitals()
    job = Asked(Said(generated), Held(guide, forced, cut_short), may_be_empty, frozenset(array("i", not_first)))
    token = Chooser(cast("Any", context), vitals, longest=100).choose(cast("Any", job), 0)
    return token, vitals, guide


@pytest.mark.parametrize("generated", [0, 1])
def test_what_the_sampler_draws_is_taken(generated: int) -> None:
    context = Likely(4)
    assert choose(context, generated=generated)[0] == 4
    assert context.drawn == 1


@pytest.mark.parametrize("generated", [0, 1])
def test_a_draw_that_is_admitted_stands_and_no_mask_is_made(generated: int) -> None:
    context = Likely(4, 5)
    token, vitals, _ = choose(context, Only({4, 5}), generated=generated)
    assert token == 4
    assert np.isfinite(context.row).all()
    assert vitals.tokens_refused == 0


@pytest.mark.parametrize("generated", [0, 1])
def test_a_draw_that_is_refused_is_made_once_more_from_what_is_admitted(generated: int) -> None:
    token, vitals, _ = choose(Likely(4, 5, 6), Only({6, 5}), generated=generated)
    assert token == 5
    assert vitals.tokens_refused == 1


def test_where_the_answer_may_end_a_refused_draw_ends_it() -> None:
    """After a call the model wants to chat: that is no reason to make it call again."""
    token, _, guide = choose(Likely(4), Only({6, END}, satisfied=True))
    assert token == END
    assert guide is not None
    assert guide.failure == ""


def test_where_nothing_is_admitted_the_draw_stands_and_the_constraint_is_given_up() -> None:
    token, _, guide = choose(Likely(4), Only(set(), masked={7}))
    assert token == 4
    assert guide is not None
    assert "nothing that may be sampled" in guide.failure
    assert guide.admits(4)


@pytest.mark.parametrize(("may_be_empty", "token"), [(True, END), (False, 3)])
def test_an_answer_ends_before_it_begins_only_where_it_may(*, may_be_empty: bool, token: int) -> None:
    chosen, vitals, _ = choose(Likely(END, 3), generated=0, may_be_empty=may_be_empty)
    assert chosen == token
    assert vitals.empty_turns_refused == (not may_be_empty)


def test_an_answer_does_not_begin_again_as_a_refused_one_did() -> None:
    assert choose(Likely(4, 5, 6), generated=0, not_first=[4, 5])[0] == 6
    assert choose(Likely(4, 5, 6), generated=1, not_first=[4, 5])[0] == 4


@pytest.mark.parametrize("generated", [0, 1])
def test_what_must_come_is_not_drawn(generated: int) -> None:
    """The mark that ends reasoning whose budget is used up."""
    context = Likely(4)
    assert choose(context, Only({5}), generated=generated, forced=3)[0] == 3
    assert context.drawn == 0


def test_an_answer_whose_reasoning_was_cut_short_does_not_end_there() -> None:
    chosen, vitals, _ = choose(Likely(END, 3), not_first=[3], may_be_empty=True, cut_short=True)
    assert chosen == 3
    assert vitals.empty_turns_refused == 1
