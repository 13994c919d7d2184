"""Ours: what the figures of the scenario `memory` are held against."""

from __future__ import annotations

import pytest
from scenarios.memory import Taken, judge, table

from pensieve_core import MemoryTerm

MIB = 1 << 20
TERMS = (
    MemoryTerm(name="weights", size_bytes=900 * MIB),
    MemoryTerm(name="KV cache", size_bytes=100 * MIB),
    MemoryTerm(name="prompts outside the cache", size_bytes=200 * MIB, at_most=True),
)


def taken(*, loaded: int = 1_000, busy: int = 1_200, disk: bool = False) -> Taken:
    return Taken(
        budget=2_048 * MIB, disk=disk, context=8_192, cells=9_216, terms=TERMS, loaded=loaded * MIB, busy=busy * MIB
    )


@pytest.mark.parametrize(
    ("run", "kept"),
    [
        (taken(), [True, True, True]),
        (taken(loaded=1_099, busy=1_081), [True, True, True]),
        (taken(loaded=1_101), [False, True, True]),
        (taken(loaded=899), [False, True, True]),
        (taken(busy=1_321), [True, False, True]),
        (taken(busy=2_049), [True, False, False]),
    ],
)
def test_a_peak_is_within_ten_percent_of_the_prediction_and_within_the_budget(run: Taken, kept: list[bool]) -> None:
    assert [claim.holds for claim in judge([taken(), run])] == kept


def test_with_a_disk_tier_the_budget_alone_is_judged() -> None:
    """What is copied at a moment nobody can foretell."""
    assert all(claim.holds for claim in judge([taken(), taken(busy=1_700, disk=True)]))
    assert not judge([taken(), taken(busy=2_100, disk=True)])[-1].holds


def test_a_row_shows_prediction_and_peak() -> None:
    (row,) = table([taken(busy=1_260, disk=True)]).rows
    assert row == ("2 GiB, disk", "8,192", "9,216", "1,000", "1,000 (+0.0%)", "1,200", "1,260 (+5.0%)")
