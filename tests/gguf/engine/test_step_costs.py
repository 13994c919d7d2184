"""Ours: design 2, "Drafts": how long they are adapts to t(n)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.engine.step_costs import GivenCosts, LearnedCosts


def test_given_costs_are_relative_to_one_row_and_lie_on_lines_between_what_was_measured() -> None:
    costs = GivenCosts({1: 0.010, 4: 0.011, 8: 0.015})
    assert [costs.of(rows) for rows in (1, 4, 6, 8, 12)] == pytest.approx([1.0, 1.1, 1.3, 1.5, 1.9])
    assert costs.widest == 8


def test_given_costs_do_not_change() -> None:
    costs = GivenCosts({1: 1.0, 8: 1.0})
    costs.note(8, 100.0)
    assert costs.of(8) == 1.0


def test_given_costs_of_a_draft_model_do_not_change_either() -> None:
    costs = GivenCosts({1: 1.0, 8: 1.0}, guess=0.2, catch_up=0.01)
    costs.note_guess(9.0)
    costs.note_catch_up(9.0)
    assert (costs.guess, costs.catch_up) == (0.2, 0.01)


def test_a_draft_model_is_taken_to_cost_its_part_of_the_weights_until_it_is_seen_and_forgotten_when_it_is_not() -> None:
    costs = LearnedCosts(0.25)
    assert (costs.guess, costs.catch_up) == (0.25, 0.25 / 16)
    costs.note_guess(0.1)
    assert (costs.guess, costs.catch_up) == (0.1, 0.1 / 16)
    costs.note_guess(0.2)
    costs.note_catch_up(0.004)
    assert [costs.guess, costs.catch_up] == pytest.approx([0.13, 0.004])
    for _ in range(1_024):
        costs.note(1, 1.0)
    assert (costs.guess, costs.catch_up) == (0.25, 0.25 / 16)


def test_before_anything_is_known_a_further_row_costs_half_a_step_and_few_are_tried() -> None:
    costs = LearnedCosts()
    assert [costs.of(rows) for rows in (1, 2, 4)] == [1.0, 1.5, 2.5]
    assert costs.widest == 2


def test_what_is_seen_is_believed_and_steps_twice_as_wide_are_tried() -> None:
    costs = LearnedCosts()
    costs.note(4, 1.03)
    assert costs.of(4) == pytest.approx(1.03)
    assert costs.of(8) == pytest.approx(1.07)
    assert costs.widest == 8


def test_a_single_outlier_is_smoothed() -> None:
    costs = LearnedCosts()
    for cost in (1.0, 1.0, 11.0):
        costs.note(4, cost)
    assert costs.of(4) == pytest.approx(4.0)


def test_what_was_not_seen_for_long_is_forgotten_and_tried_again() -> None:
    """A machine that was busy when drafts were tried may be idle now."""
    costs = LearnedCosts()
    costs.note(4, 4.0)
    costs.note(8, 8.0)
    for _ in range(1_023):
        costs.note(1, 1.0)
        costs.note(8, 8.0)
    assert costs.of(4) == pytest.approx(4.0)
    assert costs.widest == 16
    for _ in range(1_024):
        costs.note(1, 1.0)
    assert costs.of(4) == 2.5
    assert costs.widest == 2


def test_a_wide_step_that_looks_cheaper_than_a_single_row_is_not_believed() -> None:
    costs = LearnedCosts()
    costs.note(4, 0.4)
    assert costs.of(4) == 1.0


@given(
    noted=st.lists(st.tuples(st.integers(1, 64), st.floats(0.01, 100.0)), max_size=40),
    rows=st.integers(1, 64),
)
def test_no_step_is_cheaper_than_a_single_row(noted: list[tuple[int, float]], rows: int) -> None:
    costs = LearnedCosts()
    for width, cost in noted:
        costs.note(width, cost)
    assert costs.of(1) == 1.0
    assert costs.of(rows) >= 1.0
    assert costs.widest >= 2
