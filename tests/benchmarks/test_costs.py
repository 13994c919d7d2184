"""What the scenarios on reuse conclude from counters: folders, agents, restart, cancel."""

from __future__ import annotations

from collections.abc import Callable

from client import Timeline
from scenarios import agents, cancel, folders, restart
from scenarios.conversation import TurnCost

MakeTimeline = Callable[..., Timeline]


def test_a_second_folder_may_compute_sixteen_shared_tokens(timeline: MakeTimeline) -> None:
    def second(computed: int) -> folders.Second:
        asked = timeline(computed=computed, cached=3_000 - computed)
        return folders.Second(kind="flags", server="pensieve", asked=asked)

    def again(computed: int) -> list[tuple[str, bool]]:
        claims = folders.judge([second(computed)], {"flags": 2_556})  # 444 of 3,000 differ
        return [(claim.measured, claim.holds) for claim in claims]

    assert again(460) == [("16", True)]
    assert again(461) == [("17", False)]
    assert folders.table([second(460)]).rows[0][2:5] == ("3000", "2540", "460")


def test_agents_are_judged_by_their_sum_and_by_the_last(timeline: MakeTimeline) -> None:
    first = timeline(computed=2_400, stamps=(20.0, 30.0))
    cheap, dear, late = timeline(computed=200), timeline(computed=201), timeline(computed=200, stamps=(45.1,))

    def crew(*asked: Timeline, kind: str = "short") -> agents.Crew:
        return agents.Crew(server="pensieve", kind=kind, asked=asked)

    def holds(last: Timeline) -> list[bool]:
        return [claim.holds for claim in agents.judge([crew(first, cheap, cheap, last)])]

    assert [holds(last) for last in (cheap, dear, late)] == [[True, True], [False, True], [True, False]]
    assert len(agents.judge([crew(first, dear, dear, dear, kind="recorded")])) == 1, "its sum is what it has to be"
    (row,) = agents.table([crew(first, cheap)]).rows
    assert row == ("pensieve", "short", "2400/200", "2400/200", "2,600", "1.0 s", "20.0 s")


def test_a_restart_is_judged_by_what_of_the_head_was_computed_and_by_how_soon_it_answers(
    timeline: MakeTimeline,
) -> None:
    cold = timeline(computed=3_100, stamps=(40.0,))

    def lives(cached: int, ttft: float, kind: str = "short") -> restart.Lives:
        after = timeline(cached=cached, computed=3_100 - cached, stamps=(ttft,))
        return restart.Lives(server="pensieve", kind=kind, head=3_000, cold=cold, warm=after, restarted=after)

    def holds(cached: int, ttft: float, kind: str = "short") -> list[bool]:
        return [claim.holds for claim in restart.judge([lives(cached, ttft, kind)])]

    assert holds(2_911, 2.0) == [True, True]
    assert holds(2_910, 2.0) == [False, True]
    assert holds(3_050, 2.1) == [True, False]  # more than the head may be cached: it counts as all of it
    assert holds(3_000, 9.0, "recorded") == [True], "its own part takes its time"
    assert [row[2] for row in restart.table([lives(0, 40.0)]).rows] == ["cold", "warm", "restarted"]


def test_a_resumed_conversation_is_judged_by_what_it_computes_again() -> None:
    def holds(again: int) -> bool:
        turns = [TurnCost(prompt=1_000, cached=0, new=1_000), TurnCost(prompt=1_300, cached=1_200 - again, new=100)]
        return restart.judge_resumed(turns).holds

    assert [holds(8), holds(9)] == [True, False]


def test_leaving_is_judged_by_what_the_next_one_waits_and_by_what_is_kept(timeline: MakeTimeline) -> None:
    def leaving(next_s: float, cached: int) -> cancel.Leaving:
        return cancel.Leaving(
            server="pensieve",
            whole=timeline(computed=3_000, stamps=(10.0,)),
            left_after_s=6.0,
            lone=timeline(stamps=(0.2,)),
            next=timeline(stamps=(next_s,)),
            again=timeline(cached=cached, computed=3_000 - cached),
        )

    def holds(next_s: float, cached: int) -> list[bool]:
        return [claim.holds for claim in cancel.judge(leaving(next_s, cached))]

    assert leaving(0.1, 900).could_be_kept == 1_800
    assert holds(0.1, 900) == [True, True]
    assert holds(0.71, 900) == [False, True]
    assert holds(0.7, 899) == [True, False]
    assert cancel.table([leaving(0.7, 900)]).rows[0][-2:] == ("900", "2100")
