"""What the scenarios with several clients, and those on equal answers, conclude: interference, tight, reuse, single."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import attrs
import pytest
from answers import NEAR_TIE, Agreement, agreements, summary
from client import Timeline
from hypothesis import given
from hypothesis import strategies as st
from prompts import first_difference
from scenarios import fleet, interference, reuse, single, tight

MakeTimeline = Callable[..., Timeline]


def test_gaps_that_a_prefill_touches_are_told_from_those_before(timeline: MakeTimeline) -> None:
    # the stream's pieces at 1, 2, 3, 7, 8 and 9 s; the other prompt is sent at 3.5 and answered at 7.5
    stream = timeline(sent_at=10.0, stamps=(1.0, 2.0, 3.0, 7.0, 8.0, 9.0))
    intruder = timeline(sent_at=13.5, stamps=(4.0, 5.0))
    found = interference.gaps("pensieve", stream, intruder)
    assert found.alone == (1.0, 1.0)
    assert found.during == (4.0, 1.0)
    assert found.lone_median == 1.0
    assert found.p99 == 4.0


def test_what_one_packet_brought_is_one_arrival() -> None:
    # what comes fast Pensieve sends together; a reader sees one jump
    assert interference.arrivals([1.0, 1.0002, 1.0004, 1.015, 1.0155, 2.0]) == [1.0, 1.015, 2.0]
    assert interference.arrivals([]) == []


def test_a_stream_is_judged_by_its_long_gaps(timeline: MakeTimeline) -> None:
    def found(longest: float) -> interference.Gaps:
        return interference.Gaps(server="pensieve", alone=(1.0,), during=(1.0, longest), intruder=timeline())

    assert [claim.holds for claim in interference.judge(found(4.0))] == [True]
    assert [claim.holds for claim in interference.judge(found(4.1))] == [False]
    assert interference.table([found(4.0)]).rows[0][1] == "1000.0 ms"


@given(st.lists(st.floats(0, 1e3), min_size=1), st.floats(0, 1))
def test_a_percentile_is_one_of_the_values_and_no_larger_than_the_largest(values: list[float], part: float) -> None:
    assert interference.percentile(values, part) in values
    assert interference.percentile(values, 1.0) == max(values)


def crowd(timeline: MakeTimeline, **changes: Any) -> tight.Crowd:
    usual = tight.Crowd(
        server="pensieve",
        asked=tuple(timeline(stamps=(2.0 * number + 1,)) for number in range(8)),
        alone=tuple(timeline(stamps=(1.0, 2.0)) for _ in range(8)),
        agreements=(Agreement(length=9),) * 7 + (Agreement(length=9, parts_at=3, shortfall=0.5),),
        afterwards=timeline(computed=2_000),
    )
    return attrs.evolve(usual, **changes)


def test_a_crowd_that_is_served_well_fulfils_all_claims(timeline: MakeTimeline) -> None:
    assert [claim.holds for claim in tight.judge(crowd(timeline))] == [True] * 4
    last = tight.table([crowd(timeline)]).rows[-1]
    assert last == ("8", "15.0", "end_turn", "parts at token 3 of 9, short by 0.50")


def test_each_way_of_failing_a_crowd_is_noticed(timeline: MakeTimeline) -> None:
    served = crowd(timeline).asked

    def holds(**changes: Any) -> list[bool]:
        return [claim.holds for claim in tight.judge(crowd(timeline, **changes))]

    assert holds(asked=(*served[:7], "529: busy")) == [False, True, True, True]
    assert holds(agreements=(Agreement(length=9, parts_at=0, shortfall=2.0),)) == [True, False, True, True]
    assert holds(asked=(*served[:7], timeline(stamps=(24.1,)))) == [True, True, False, True]
    assert holds(afterwards="no room") == [True, True, True, False]
    assert holds(asked=("gone",) * 8) == [False, True, False, True]
    assert tight.table([crowd(timeline, asked=("gone",) * 8)]).rows[0] == ("1", "", "gone", "")


TOKENS = st.lists(st.integers(0, 3), max_size=6)


@given(TOKENS, TOKENS)
def test_two_lists_part_where_they_first_differ(left: list[int], right: list[int]) -> None:
    position = first_difference(left, right)
    if position is None:
        assert left == right
    else:
        assert left[:position] == right[:position]
        assert left[position : position + 1] != right[position : position + 1]


def test_an_answer_that_parts_is_read_once_more_and_others_are_not() -> None:
    read: list[tuple[list[int], list[int]]] = []

    def judge(prompt: Sequence[int], answer: Sequence[int]) -> float:
        read.append((list(prompt), list(answer)))
        return 0.25

    same, parted, ended = agreements([[7]] * 3, [[1, 2, 3]] * 3, [[1, 2, 3], [1, 9, 3], [1, 2]], judge)
    assert (same.words, same.identical) == ("same", True)
    assert parted.words == "parts at token 1 of 3, short by 0.25"
    assert ended.parts_at == 2
    assert read == [([7], [1, 9, 3]), ([7], [1, 2])]


def test_only_near_ties_excuse() -> None:
    near, far = (Agreement(length=9, parts_at=2, shortfall=short) for short in (NEAR_TIE, NEAR_TIE + 0.01))
    assert [near.excused, far.excused, Agreement(length=9).excused] == [True, False, True]
    assert summary([near, far, Agreement(length=9)]) == (
        "1 of 3 the same, 1 took near ties only; largest shortfall 1.01 logits"
    )


def test_reuse_is_judged_way_by_way() -> None:
    near, far = Agreement(length=9, parts_at=2, shortfall=0.1), Agreement(length=9, parts_at=2, shortfall=3.0)
    good = reuse.Way(name="good", cached=(5,) * 10, agreements=(near,) * 10)
    bad = reuse.Way(name="bad", cached=(6,) * 10, agreements=(*good.agreements[:9], far))
    assert [claim.holds for claim in reuse.judge([good, bad])] == [True, False]
    assert reuse.table([good, bad]).rows[9] == ("10", "5", near.words, "6", far.words)


def test_prompts_of_a_pair_begin_alike_and_pairs_do_not() -> None:
    pairs = reuse.prompts()
    assert len({first[:12] for first, _ in pairs}) == 10
    for first, second in pairs:
        assert first != second
        assert (first_difference(first.encode(), second.encode()) or 0) > 1_000


def test_the_ratio_says_how_much_better_the_first_server_is() -> None:
    ours, theirs = single.Figures("ours"), single.Figures("theirs")
    for name in ("prefill tok/s", "decode tok/s", "decode tok/s, 3k prefix kept idle", "cold TTFT s", "warm TTFT s"):
        ours.readings[name] = [2.0, 2.0, 100.0]
        theirs.readings[name] = [4.0]
    ratios = [row[-1] for row in single.table([ours, theirs]).rows]
    assert ratios == ["0.50", "0.50", "0.50", "2.00", "2.00"]


def asked(timeline: MakeTimeline, *, first_byte_s: float = 0.01, step_s: float = 0.01) -> fleet.Asked:
    """Return what a server answered that takes `step_s` for a token."""
    stamps = tuple(0.5 + step_s * number for number in range(11))
    one = attrs.evolve(timeline(stamps=stamps, output=11), first_byte_s=first_byte_s)
    return fleet.Asked(cold=[one], warm=[one] * 3, fleets=[[one] * 8])


def test_a_fleet_is_judged_by_its_speed_and_by_its_first_byte(timeline: MakeTimeline) -> None:
    fair = asked(timeline)
    assert fair.alone == pytest.approx(100.0)
    assert fair.together == pytest.approx(880.0)
    assert [claim.holds for claim in fleet.judge(fair, fair)] == [True] * 4
    assert [claim.holds for claim in fleet.judge(asked(timeline, step_s=0.011), fair)] == [False, False, True, True]
    assert [claim.holds for claim in fleet.judge(asked(timeline, first_byte_s=0.2), fair)] == [True, True, False, True]
    assert len(fleet.table(fair, fair).rows) == 9
