"""Ours: design 2, "Drafts": as long as brings the most tokens a second."""

from __future__ import annotations

import itertools
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.engine.drafter import Drafter
from pensieve_gguf.engine.drafts import MOST_DRAFTED, DraftPolicy
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.step_costs import GivenCosts, LearnedCosts, StepCosts

FREE = GivenCosts({1: 1.0, 64: 1.0})
"""Further rows cost nothing."""
PROPORTIONAL = GivenCosts({1: 1.0, 64: 64.0})
"""Two rows cost as much as two steps."""
ALPHABET = "abcdefghijklmnopqrstuvwxyz" * 4

_keys = itertools.count(1)


def sequence(prompt: str = ALPHABET, said: str = ALPHABET[:30], *, max_tokens: int = 1_000) -> Sequence:
    """Return a sequence that repeats its prompt, and has said so much of it."""
    one = Sequence(
        key=next(_keys), tokens=array("i", map(ord, prompt)), prompt_tokens=len(prompt), max_tokens=max_tokens
    )
    one.tokens.extend(map(ord, said))
    one.drafter = Drafter(one.tokens, one.prompt_tokens)
    one.drafter.single_s = 0.01
    return one


def policy(costs: StepCosts, *, longest: int = 10_000) -> DraftPolicy:
    return DraftPolicy(costs, longest=longest)


def lengths(costs: StepCosts, *sequences: Sequence, room: int = 500, longest: int = 10_000) -> list[int]:
    return [len(draft.tokens) for draft in policy(costs, longest=longest).plan(sequences, room)]


def test_where_further_rows_cost_nothing_drafts_are_long() -> None:
    (draft,) = policy(FREE).plan([sequence()], 500)
    assert "".join(map(chr, draft.tokens)) == (ALPHABET * 2)[30 : 30 + MOST_DRAFTED]


def test_where_two_rows_cost_two_steps_nothing_is_drafted() -> None:
    assert lengths(PROPORTIONAL, sequence()) == [0]


def test_a_draft_ends_where_the_next_step_up_is() -> None:
    """CUDA kernels for few rows end at 8."""
    assert lengths(GivenCosts({1: 1.0, 8: 1.1, 9: 8.0, 64: 9.0}), sequence()) == [7]


def test_what_nobody_knows_is_not_drafted() -> None:
    assert lengths(FREE, sequence(said="?!")) == [0]


def test_a_doubtful_guess_is_drafted_where_it_costs_little_and_not_where_it_costs_much() -> None:
    doubtful = sequence(said="?ab")
    assert lengths(GivenCosts({1: 1.0, 64: 2.0}), doubtful)[0] > 0
    assert lengths(GivenCosts({1: 1.0, 64: 50.0}), doubtful) == [0]


def test_a_draft_does_not_reach_beyond_the_clients_limit() -> None:
    """A step brings one token more than was drafted."""
    assert lengths(FREE, sequence(max_tokens=30 + 6)) == [5]
    assert lengths(FREE, sequence(max_tokens=30 + 1)) == [0]


def test_a_draft_does_not_reach_beyond_the_context() -> None:
    one = sequence()
    assert lengths(FREE, one, longest=len(one.tokens) + 6) == [5]
    assert lengths(FREE, one, longest=len(one.tokens) + 1) == [0]


def test_a_draft_does_not_reach_beyond_the_batch() -> None:
    assert lengths(FREE, sequence(), room=3) == [3]
    assert lengths(FREE, sequence(), room=0) == [0]


def test_drafts_of_several_sequences_share_the_room() -> None:
    assert lengths(FREE, *(sequence() for _ in range(3)), room=16) == [15, 1, 0]


def test_many_answers_at_once_leave_less_for_drafts() -> None:
    costs = GivenCosts({1: 1.0, 16: 1.5, 64: 24.0})
    alone = lengths(costs, sequence())
    assert lengths(costs, *(sequence() for _ in range(16))) == [0] * 16
    assert alone[0] > 0


def test_the_first_step_of_an_answer_is_the_measure_of_the_others() -> None:
    one = sequence()
    assert one.drafter is not None
    one.drafter.single_s = None
    assert lengths(FREE, one) == [0]
    assert lengths(FREE, one, sequence())[0] > 0, "beside others it need not wait for it"


def test_a_sequence_without_a_drafter_is_left_alone() -> None:
    one = sequence()
    one.drafter = None
    assert lengths(FREE, one) == [0]
    policy(FREE).note(one, 1, 0.01)


@pytest.mark.parametrize(
    ("seconds", "drafted"),
    [({1: 0.010, 32: 0.013}, True), ({1: 0.010, 32: 0.32}, False)],
    ids=["like a GPU", "like a CPU"],
)
def test_what_pays_is_learned_from_the_steps_themselves(seconds: dict[int, float], *, drafted: bool) -> None:
    clock, machine, one = GivenCosts(seconds), policy(LearnedCosts()), sequence()
    widths = []
    for _ in range(100):
        (draft,) = machine.plan([one], 500)
        widths.append(len(draft.tokens))
        machine.note(one, 1 + len(draft.tokens), clock.of(1 + len(draft.tokens)) * seconds[1])
    assert widths[:2] == ([1, 3] if drafted else [1, 0])
    assert (sum(widths) > 2_000) == drafted
    assert drafted or sum(widths) == 1, "one try is enough"


def test_a_step_that_has_no_measure_teaches_nothing() -> None:
    costs, one = LearnedCosts(), sequence()
    assert one.drafter is not None
    one.drafter.single_s = None
    policy(costs).note(one, 4, 99.0)
    assert costs.widest == 2


def test_the_measure_grows_with_the_sequence() -> None:
    one = sequence()
    assert one.drafter is not None
    for _ in range(30):
        policy(LearnedCosts()).note(one, 1, 0.02)
    assert one.drafter.single_s == pytest.approx(0.02, rel=0.01)


@given(
    said=st.lists(st.text("abc", max_size=30), min_size=1, max_size=5),
    room=st.integers(0, 60),
    steps=st.lists(st.tuples(st.integers(1, 40), st.floats(0.001, 1.0)), max_size=10),
    max_tokens=st.integers(30, 60),
)
def test_whatever_was_seen_drafts_fit(
    said: list[str], room: int, steps: list[tuple[int, float]], max_tokens: int
) -> None:
    machine = policy(LearnedCosts(), longest=80)
    several = [sequence("abcabcbca", one, max_tokens=max_tokens) for one in said]
    for rows, elapsed_s in steps:
        machine.note(several[0], rows, elapsed_s)
    drafts = [draft.tokens for draft in machine.plan(several, room)]
    assert len(drafts) == len(several)
    assert sum(map(len, drafts)) <= min(room, MOST_DRAFTED)
    for one, draft in zip(several, drafts, strict=True):
        assert not draft or one.generated + len(draft) + 1 <= max_tokens
        assert not draft or len(one.tokens) + len(draft) + 1 <= 80
