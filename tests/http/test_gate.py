from __future__ import annotations

import asyncio
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import OverloadedError, Priority
from pensieve_http.gate import Gate


class Visitor:
    """Enters a gate, stays until told to leave."""

    def __init__(self, gate: Gate, priority: Priority = Priority.MAIN) -> None:
        self.inside = False
        self._release = asyncio.Event()
        self.task = asyncio.ensure_future(self._visit(gate, priority))

    async def _visit(self, gate: Gate, priority: Priority) -> None:
        async with gate.place(priority):
            self.inside = True
            try:
                await self._release.wait()
            finally:
                self.inside = False

    def leave(self) -> None:
        self._release.set()


async def _settle() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def _arrive(gate: Gate, *priorities: Priority) -> list[Visitor]:
    visitors = []
    for priority in priorities:
        visitors.append(Visitor(gate, priority))
        await _settle()
    return visitors


async def _end(*visitors: Visitor) -> None:
    for visitor in visitors:
        visitor.task.cancel()
    await asyncio.gather(*(visitor.task for visitor in visitors), return_exceptions=True)


async def test_a_full_queue_is_refused_at_once_with_a_time_to_come_back() -> None:
    gate = Gate(places=1, queue=1)
    visitors = await _arrive(gate, Priority.MAIN, Priority.MAIN)
    with pytest.raises(OverloadedError) as refusal:
        async with gate.place():
            pytest.fail("let in")
    assert refusal.value.retry_after_s <= 60  # Claude Code gives up above it (design 4)
    await _end(*visitors)


async def test_those_who_wait_enter_by_priority_and_then_by_arrival() -> None:
    gate = Gate(places=1, queue=9)
    first, background, agent, main, second_main = await _arrive(
        gate, Priority.MAIN, Priority.BACKGROUND, Priority.AGENT, Priority.MAIN, Priority.MAIN
    )
    for leaving, entering in [(first, main), (main, second_main), (second_main, agent), (agent, background)]:
        leaving.leave()
        await _settle()
        assert entering.inside
    await _end(background)
    assert (gate.running, gate.waiting) == (0, 0)


async def test_one_who_gives_up_waiting_takes_no_place() -> None:
    gate = Gate(places=1, queue=2)
    inside, impatient, patient = await _arrive(gate, *[Priority.MAIN] * 3)
    await _end(impatient)
    assert gate.waiting == 1
    inside.leave()
    await _settle()
    assert patient.inside
    await _end(patient)
    assert gate.running == 0


async def test_a_place_given_to_one_who_is_cancelled_in_that_moment_goes_to_the_next() -> None:
    gate = Gate(places=1, queue=2)
    inside, unlucky, lucky = await _arrive(gate, *[Priority.MAIN] * 3)
    inside.leave()
    while not inside.task.done():
        await asyncio.sleep(0)
        if gate.waiting == 1:  # the place has just been handed over; `unlucky` has not run yet
            unlucky.task.cancel()
    await _settle()
    assert unlucky.task.cancelled()
    assert lucky.inside
    await _end(lucky)
    assert (gate.running, gate.waiting) == (0, 0)


@given(priorities=st.lists(st.sampled_from(Priority), max_size=12), gone=st.sets(st.integers(0, 11)))
def test_the_order_of_entry_does_not_depend_on_who_gave_up(priorities: list[Priority], gone: set[int]) -> None:
    asyncio.run(_check_order(priorities, gone))


async def _check_order(priorities: list[Priority], gone: set[int]) -> None:
    gate = Gate(places=1, queue=len(priorities))
    (first,) = await _arrive(gate, Priority.MAIN)
    waiting = await _arrive(gate, *priorities)
    await _end(*(visitor for number, visitor in enumerate(waiting) if number in gone))
    staying = [number for number in range(len(waiting)) if number not in gone]
    before = first
    for number in sorted(staying, key=lambda number: (priorities[number], number)):
        before.leave()
        await _settle()
        assert waiting[number].inside
        before = waiting[number]
    await _end(before)


Action = tuple[str, int]
_ACTIONS = st.lists(st.tuples(st.sampled_from(["arrive", "leave", "cancel", "settle"]), st.integers(0, 9)), max_size=40)


@given(actions=_ACTIONS, places=st.integers(1, 3), queue=st.integers(0, 3))
def test_whatever_visitors_do_no_place_is_lost_and_no_limit_exceeded(
    actions: list[Action], places: int, queue: int
) -> None:
    asyncio.run(_play(actions, places, queue))


async def _play(actions: list[Action], places: int, queue: int) -> None:
    gate, visitors = Gate(places=places, queue=queue), list[Visitor]()
    for name, number in actions:
        if name == "arrive":
            visitors.append(Visitor(gate, Priority(number % 3)))
        elif name == "settle":
            await _settle()
        elif visitors:
            visitor = visitors[number % len(visitors)]
            act: Callable[[], object] = visitor.leave if name == "leave" else visitor.task.cancel
            act()
        assert gate.running <= places
        assert gate.waiting <= queue
    await _settle()
    assert gate.running == sum(visitor.inside for visitor in visitors)
    assert gate.waiting == 0 or gate.running == places
    await _end(*visitors)
    assert (gate.running, gate.waiting) == (0, 0)
