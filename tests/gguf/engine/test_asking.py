"""Ours: design 2, "Drafts": a draft model is asked where its guesses pay for its own steps, too."""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.engine.drafter import Drafter, Guess
from pensieve_gguf.engine.drafts import MOST_DRAFTED, DraftPolicy
from pensieve_gguf.engine.guesser import CaughtUp, Guesses
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.step_costs import GivenCosts, LearnedCosts, StepCosts

_keys = itertools.count(1)
ALPHABET = "abcdefghijklmnopqrstuvwxyz"
GPU = {1: 0.010, 8: 0.011, 64: 0.020}
CPU = {1: 0.010, 64: 0.640}


class Oracle:
    """Guesses that the alphabet goes on.

    Args:
        sure: Of each guess.
        behind: How many tokens it has not computed; None: it does not follow.
        step_s: Seconds of one of its steps.
        token_s: Seconds of a token that it catches up with.
    """

    def __init__(
        self, *, sure: float = 0.95, behind: int | None = 1, step_s: float = 0.001, token_s: float = 0.0001
    ) -> None:
        self.sure = sure
        self.lag = behind
        self.step_s = step_s
        self.token_s = token_s
        self.asked: list[list[int]] = []
        self.caught_up: list[int] = []
        self.released: list[int] = []
        self.floors: list[float] = []

    def behind(self, sequence: Sequence) -> int | None:
        return self.lag

    def catch_up(self, sequence: Sequence, most: int) -> CaughtUp:
        assert self.lag is not None
        done = min(most, self.lag - 1)
        self.lag -= done
        self.caught_up.append(done)
        return CaughtUp(tokens=done, elapsed_s=done * self.token_s)

    def guess(self, asked: Mapping[Sequence, int], *, floor: float) -> Guesses:
        self.asked.append(list(asked.values()))
        self.floors.append(floor)
        given: dict[Sequence, Guess] = {}
        for sequence, count in asked.items():
            right = self.sure
            while right >= floor and len(given.get(sequence, Guess((), ())).tokens) < count:
                before = given.get(sequence, Guess((), ()))
                token = ord(going_on(sequence, len(before.tokens)))
                given[sequence] = Guess((*before.tokens, token), (*before.probabilities, self.sure))
                right *= self.sure
        steps = max(asked.values())
        return Guesses(by_sequence=given, steps=steps, elapsed_s=steps * self.step_s)

    def release(self, sequence: Sequence) -> None:
        self.released.append(sequence.key)


def going_on(sequence: Sequence, ahead: int) -> str:
    last = ALPHABET.index(chr(sequence.tokens[-1]))
    return ALPHABET[(last + 1 + ahead) % 26]


def sequence(said: str = "k", *, prompt: str = "?", max_tokens: int = 1_000) -> Sequence:
    """Return a sequence whose prompt suggests nothing."""
    one = Sequence(
        key=next(_keys), tokens=array("i", map(ord, prompt)), prompt_tokens=len(prompt), max_tokens=max_tokens
    )
    one.tokens.extend(map(ord, said))
    one.drafter = Drafter(one.tokens, one.prompt_tokens)
    one.drafter.single_s = 0.010
    return one


def policy(guesser: Oracle, costs: StepCosts, *, longest: int = 50_000) -> DraftPolicy:
    machine = DraftPolicy(costs, longest=longest, guesser=guesser)
    machine.note_several(1, 0.010)
    return machine


def planned(machine: DraftPolicy, *several: Sequence, room: int = 500) -> list[str]:
    return ["".join(map(chr, draft.tokens)) for draft in machine.plan(several, room)]


def test_where_rows_and_guesses_cost_little_the_model_guesses_far_ahead() -> None:
    oracle = Oracle()
    (draft,) = planned(policy(oracle, GivenCosts(GPU, guess=0.05)), sequence("k"))
    assert draft.startswith("lmnop")
    assert oracle.asked == [[len(draft)]]


def test_guesses_are_marked_as_such() -> None:
    machine = policy(Oracle(), GivenCosts(GPU, guess=0.05))
    assert [draft.guessed for draft in machine.plan([sequence()], 500)] == [True]
    assert [draft.guessed for draft in machine.plan([sequence("k", max_tokens=2)], 500)] == [False]


def test_where_two_rows_cost_two_steps_the_model_is_not_asked() -> None:
    """On two cores decoding n rows costs almost n times one row (measured, design 2)."""
    oracle = Oracle(sure=0.99)
    assert planned(policy(oracle, GivenCosts(CPU, guess=0.01)), sequence()) == [""]
    assert oracle.asked == []


def test_where_a_guess_costs_nearly_a_step_the_model_is_not_asked() -> None:
    """Rows may cost nothing: the cost of guessing is in the reckoning."""
    oracle = Oracle()
    assert planned(policy(oracle, GivenCosts(GPU, guess=0.85)), sequence()) == [""]
    assert oracle.asked == []


def test_the_more_a_guess_costs_the_fewer_are_asked_for_and_the_surer_they_must_be() -> None:
    asked, floors = [], []
    for cost in (0.02, 0.1, 0.25, 0.5):
        oracle = Oracle()
        planned(policy(oracle, GivenCosts(GPU, guess=cost)), sequence())
        asked.append(oracle.asked[0][0])
        floors.append(oracle.floors[0])
    assert asked == sorted(asked, reverse=True)
    assert asked[0] > asked[-1] >= 1
    assert floors == sorted(floors)
    assert 0.1 <= floors[0] < floors[-1] <= 0.9


def test_what_the_text_repeats_is_not_guessed_where_that_does_as_well() -> None:
    """What is looked up costs no step."""
    oracle = Oracle()
    one = sequence("klmnop", prompt=ALPHABET * 3)
    (draft,) = policy(oracle, GivenCosts(GPU, guess=0.5)).plan([one], 500)
    assert (draft.guessed, chr(draft.tokens[0])) == (False, "q")
    assert oracle.asked == []


def test_a_guess_that_is_too_doubtful_once_it_is_there_gives_way_to_what_was_known() -> None:
    class Silent(Oracle):
        def guess(self, asked: Mapping[Sequence, int], *, floor: float) -> Guesses:
            super().guess(asked, floor=floor)
            return Guesses(by_sequence={one: Guess((), ()) for one in asked}, steps=1)

    oracle = Silent()
    one = sequence("?kl", prompt=ALPHABET)
    (draft,) = policy(oracle, GivenCosts({1: 1.0, 64: 2.0}, guess=0.02)).plan([one], 500)
    assert oracle.asked, "it promised more than a match of two tokens"
    assert not draft.guessed
    assert "".join(map(chr, draft.tokens)).startswith("mnopqrstuvwxyz")


def test_a_model_that_guesses_wrong_is_soon_asked_for_less_and_then_no_more() -> None:
    oracle, one = Oracle(sure=0.9), sequence()
    machine = policy(oracle, GivenCosts(GPU, guess=0.1))
    for _ in range(40):
        machine.plan([one], 500)
        one.tokens.append(ord("a"))  # never what comes next
    first, last = oracle.asked[0][0], oracle.asked[-1][0]
    assert first > last
    assert len(oracle.asked) < 20


def test_it_is_asked_anew_in_the_next_answer() -> None:
    oracle = Oracle()
    machine = policy(oracle, GivenCosts(GPU, guess=0.1))
    for one in (sequence(), sequence()):
        for _ in range(30):
            machine.plan([one], 500)
            one.tokens.append(ord("a"))
        before = len(oracle.asked)
    planned(machine, sequence())
    assert len(oracle.asked) == before + 1


def test_one_step_of_the_model_serves_all_sequences() -> None:
    oracle = Oracle()
    drafts = planned(policy(oracle, GivenCosts(GPU, guess=0.1)), sequence("c"), sequence("m"), room=12)
    assert [len(asked) for asked in oracle.asked] == [2]
    assert sum(map(len, drafts)) <= 12
    assert all(drafts)
    assert (drafts[0][0], drafts[1][0]) == ("d", "n")


def test_before_it_is_known_how_long_a_step_takes_nobody_is_asked() -> None:
    oracle = Oracle()
    machine = DraftPolicy(GivenCosts(GPU, guess=0.05), longest=1_000, guesser=oracle)
    one = sequence()
    assert one.drafter is not None
    one.drafter.single_s = None
    assert planned(machine, one) == [""]
    assert planned(machine, one, sequence()) == ["", ""]
    assert oracle.asked == []


def test_how_long_a_single_row_takes_is_learned_from_wide_steps_too() -> None:
    """Where several answer from the start, and their texts repeat, no step has a single row of each."""
    oracle = Oracle()
    machine = DraftPolicy(GivenCosts(GPU, guess=0.05), longest=1_000, guesser=oracle)
    machine.note_several(8, 0.011)
    assert all(planned(machine, sequence(), sequence()))


def test_a_sequence_that_it_cannot_follow_is_left_alone() -> None:
    oracle = Oracle(behind=None)
    assert planned(policy(oracle, GivenCosts(GPU, guess=0.05)), sequence()) == [""]
    assert not oracle.asked
    assert not oracle.caught_up


def test_a_sequence_without_a_drafter_is_not_guessed_for() -> None:
    one, oracle = sequence(), Oracle()
    one.drafter = None
    assert planned(policy(oracle, GivenCosts(GPU, guess=0.05)), one) == [""]
    assert oracle.asked == []


# -- catching up -------------------------------------------------------------------------------------------------------


def test_a_long_prompt_is_caught_up_with_in_parts_that_a_stream_can_bear() -> None:
    """As prefill beside a stream: a step may take three times as long."""
    oracle, one = Oracle(behind=20_001), sequence()
    machine = policy(oracle, GivenCosts(GPU, guess=0.05, catch_up=0.001))
    steps = 0
    while not oracle.asked:
        assert planned(machine, one)[0] == "" or oracle.asked
        steps += 1
    assert steps == 11
    assert max(oracle.caught_up) == 2_000
    assert sum(oracle.caught_up) == 20_000


def test_catching_up_that_an_answer_cannot_pay_back_is_not_begun() -> None:
    """A CPU's draft model would compute a prompt of 20,000 tokens for a minute."""
    oracle, one = Oracle(behind=20_001), sequence()
    machine = policy(oracle, GivenCosts(GPU, guess=0.05, catch_up=0.06))
    assert planned(machine, one) == [""]
    assert oracle.caught_up == []


def test_an_answer_that_may_only_be_short_pays_back_less() -> None:
    done = []
    for max_tokens in (10, 1_000):
        oracle = Oracle(behind=3_000)
        planned(policy(oracle, GivenCosts(GPU, guess=0.05, catch_up=0.01)), sequence(max_tokens=max_tokens))
        done.append(bool(oracle.caught_up))
    assert done == [False, True]


def test_one_sequence_catches_up_at_a_time() -> None:
    oracle = Oracle(behind=5_000)
    machine = policy(oracle, GivenCosts(GPU, guess=0.05, catch_up=0.001))
    planned(machine, sequence(), sequence(), sequence())
    assert len(oracle.caught_up) == 1


def test_what_costs_nothing_is_caught_up_with_at_once() -> None:
    oracle, one = Oracle(behind=47), sequence("k", prompt="?" * 46)
    planned(policy(oracle, GivenCosts(GPU)), one)
    assert oracle.caught_up == [46]


# -- learning ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("seconds", "guess_s", "asked"), [(GPU, 0.001, True), (GPU, 0.012, False), (CPU, 0.001, False)]
)
def test_what_pays_is_learned_from_the_steps_themselves(
    seconds: dict[int, float], guess_s: float, *, asked: bool
) -> None:
    clock, oracle, one = GivenCosts(seconds), Oracle(step_s=guess_s), sequence()
    machine = policy(oracle, LearnedCosts(0.1))
    for _ in range(100):
        (draft,) = machine.plan([one], 500)
        rows = 1 + len(draft.tokens)
        for _ in range(rows):
            one.tokens.append(ord(going_on(one, 0)))
        machine.note(one, rows, clock.of(rows) * seconds[1])
        one.drafter, before = Drafter(one.tokens, len(one.tokens)), one.drafter  # nothing to look up
        assert before is not None
        one.drafter.single_s = before.single_s
    assert (len(oracle.asked) > 50) == asked


def test_the_draft_models_own_measurements_are_its_first_costs() -> None:
    costs = LearnedCosts(0.25)
    machine = policy(Oracle(), costs)
    machine.note_draft_model(rows=1, elapsed_s=0.002)
    machine.note_draft_model(rows=128, elapsed_s=0.0128)
    assert (costs.guess, costs.catch_up) == pytest.approx((0.2, 0.01))


def test_without_a_measure_of_the_larger_models_steps_the_draft_models_teach_nothing() -> None:
    costs = LearnedCosts(0.25)
    DraftPolicy(costs, longest=100, guesser=Oracle()).note_draft_model(rows=1, elapsed_s=0.002)
    assert costs.guess == 0.25


def test_without_a_draft_model_there_is_nothing_to_learn_or_to_forget() -> None:
    machine = DraftPolicy(GivenCosts(GPU), longest=100)
    machine.note_several(2, 0.01)
    machine.note_draft_model(rows=1, elapsed_s=0.01)
    machine.forget(sequence())
    assert planned(machine, sequence()) == [""]


def test_a_sequence_that_has_ended_is_followed_no_more() -> None:
    oracle, one = Oracle(), sequence()
    policy(oracle, GivenCosts(GPU)).forget(one)
    assert oracle.released == [one.key]


@given(
    said=st.lists(st.text("abc", min_size=1, max_size=30), min_size=1, max_size=5),
    room=st.integers(0, 60),
    sure=st.floats(0.05, 1.0),
    behind=st.none() | st.integers(1, 100),
    guess=st.floats(0, 2),
    max_tokens=st.integers(30, 60),
)
def test_whatever_is_guessed_drafts_fit(
    *, said: list[str], room: int, sure: float, behind: int | None, guess: float, max_tokens: int
) -> None:
    machine = policy(Oracle(sure=sure, behind=behind), GivenCosts(GPU, guess=guess, catch_up=guess / 16), longest=80)
    several = [sequence(one, prompt="abcabcbca", max_tokens=max_tokens) for one in said]
    for _ in range(3):
        drafts = [draft.tokens for draft in machine.plan(several, room)]
        assert len(drafts) == len(several)
        assert sum(map(len, drafts)) <= min(room, MOST_DRAFTED)
        for one, draft in zip(several, drafts, strict=True):
            assert not draft or one.generated + len(draft) + 1 <= max_tokens
            assert not draft or len(one.tokens) + len(draft) + 1 <= 80
            one.tokens.append(ord("a"))
