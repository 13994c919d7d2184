"""The machine of batches: no request gets a second result, whatever happens in whichever order."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable, Coroutine
from typing import Any

import attrs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from pensieve_http.batches.machine import (
    BatchEvent,
    BatchPhase,
    Candidate,
    IllegalMoveError,
    OpenBatch,
    RequestEvent,
    RequestState,
    next_phase,
    next_state,
    plan,
)
from pensieve_http.settings import HttpSettings
from pensieve_http.storage import BatchStore, Database
from pensieve_http.storage.batch_store import NewBatch, NotEndedError
from pensieve_inference.testing import FakeClock

ENDS = [state for state in RequestState if state is not RequestState.PENDING]


@pytest.mark.parametrize("event", RequestEvent)
def test_a_request_has_one_result_and_no_other(event: RequestEvent) -> None:
    assert next_state(RequestState.PENDING, event) in ENDS
    for state in ENDS:
        with pytest.raises(IllegalMoveError, match=event.name):
            next_state(state, event)


def test_a_batch_ends_once() -> None:
    assert next_phase(BatchPhase.IN_PROGRESS, BatchEvent.CANCEL) is BatchPhase.CANCELING
    assert next_phase(BatchPhase.CANCELING, BatchEvent.CANCEL) is BatchPhase.CANCELING
    for phase in (BatchPhase.IN_PROGRESS, BatchPhase.CANCELING):
        assert next_phase(phase, BatchEvent.SETTLED) is BatchPhase.ENDED
    for event in BatchEvent:
        with pytest.raises(IllegalMoveError, match="a batch that is ended"):
            next_phase(BatchPhase.ENDED, event)


NOW = 100.0
BATCHES = st.lists(
    st.builds(
        OpenBatch,
        id=st.sampled_from("abc"),
        phase=st.sampled_from([BatchPhase.IN_PROGRESS, BatchPhase.CANCELING]),
        expires_at=st.sampled_from([NOW - 1, NOW, NOW + 1]),
    ),
    unique_by=lambda batch: batch.id,
)


@given(batches=BATCHES, data=st.data(), places=st.integers(0, 4))
def test_a_plan_starts_the_next_of_what_may_run_and_no_more_than_there_are_places(
    batches: list[OpenBatch], data: st.DataObject, places: int
) -> None:
    every = [Candidate(batch_id=batch.id, position=n) for batch in batches for n in range(3)]
    running = data.draw(st.sets(st.sampled_from(every), max_size=4)) if every else set()
    todo = plan(batches, every, running=running, places=places, now=NOW)
    over = {batch.id for batch in batches if batch.phase is BatchPhase.CANCELING or batch.expires_at <= NOW}
    assert todo.end.keys() == over
    going_on = [one for one in running if one.batch_id not in over]
    assert len(todo.start) <= max(0, places - len(going_on))
    startable = [one for one in every if one.batch_id not in over and one not in running]
    assert list(todo.start) == startable[: max(0, places - len(going_on))]


@attrs.define
class Model:
    """What must be true of one batch."""

    states: list[RequestState]
    expires_at: float
    canceling: bool = False
    running: set[int] = attrs.field(factory=set)

    @property
    def phase(self) -> BatchPhase:
        if RequestState.PENDING not in self.states:
            return BatchPhase.ENDED
        return BatchPhase.CANCELING if self.canceling else BatchPhase.IN_PROGRESS


class BatchMachine(RuleBasedStateMachine):
    """Clients, the runner and crashes, in any order, against the store and a model of it."""

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.Runner()
        self.clock = FakeClock(start=1_000.0)
        self.database = Database(None)
        self.store = BatchStore(self.database, self.clock, limits=HttpSettings().batch_limits)
        self.models: dict[str, Model] = {}
        self.names = itertools.count()

    def do(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run(work)

    def having(self, holds: Callable[[Model], bool]) -> list[str]:
        return sorted(batch_id for batch_id, model in self.models.items() if holds(model))

    @precondition(lambda self: len(self.models) < 4)
    @rule(count=st.integers(1, 4))
    def create(self, count: int) -> None:
        requests = [(f"r{next(self.names)}", b"{}") for _ in range(count)]
        batch = self.do(self.store.create(NewBatch(api_version=None, betas=(), requests=requests)))
        self.models[batch.id] = Model([RequestState.PENDING] * count, batch.expires_at)

    @rule(places=st.integers(1, 3))
    def run_a_round(self, places: int) -> None:
        """As `BatchRunner._round` does."""
        running = {Candidate(batch_id=name, position=n) for name, one in self.models.items() for n in one.running}
        batches = self.do(self.store.open_batches())
        pending = self.do(self.store.pending(places + len(running)))
        todo = plan(batches, pending, running=running, places=places, now=self.clock.time())
        for batch_id, event in todo.end.items():
            self.do(self.store.end(batch_id, event))
            model = self.models[batch_id]
            model.running.clear()
            end = next_state(RequestState.PENDING, event)
            model.states = [end if state is RequestState.PENDING else state for state in model.states]
        for one in todo.start:
            self.models[one.batch_id].running.add(one.position)

    @precondition(lambda self: self.having(lambda model: bool(model.running)))
    @rule(data=st.data(), event=st.sampled_from([RequestEvent.ANSWERED, RequestEvent.FAILED]))
    def answer(self, data: st.DataObject, event: RequestEvent) -> None:
        batch_id = data.draw(st.sampled_from(self.having(lambda model: bool(model.running))))
        model = self.models[batch_id]
        position = data.draw(st.sampled_from(sorted(model.running)))
        self.do(self.store.settle(Candidate(batch_id=batch_id, position=position), event, b"result"))
        model.running.remove(position)
        model.states[position] = next_state(RequestState.PENDING, event)

    @rule()
    def crash(self) -> None:
        """What runs is forgotten; nothing else is."""
        for model in self.models.values():
            model.running.clear()

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def cancel(self, data: st.DataObject) -> None:
        batch_id = data.draw(st.sampled_from(sorted(self.models)))
        model = self.models[batch_id]
        if model.phase is BatchPhase.ENDED:
            with pytest.raises(IllegalMoveError):
                self.do(self.store.cancel(batch_id))
        else:
            self.do(self.store.cancel(batch_id))
            model.canceling = True

    @precondition(lambda self: self.models)
    @rule(data=st.data())
    def remove(self, data: st.DataObject) -> None:
        batch_id = data.draw(st.sampled_from(sorted(self.models)))
        if self.models[batch_id].phase is BatchPhase.ENDED:
            self.do(self.store.remove(batch_id))
            del self.models[batch_id]
        else:
            with pytest.raises(NotEndedError):
                self.do(self.store.remove(batch_id))

    @precondition(lambda self: self.having(lambda model: model.phase is BatchPhase.ENDED))
    @rule(data=st.data(), event=st.sampled_from(RequestEvent))
    def answer_again(self, data: st.DataObject, event: RequestEvent) -> None:
        batch_id = data.draw(st.sampled_from(self.having(lambda model: model.phase is BatchPhase.ENDED)))
        with pytest.raises(IllegalMoveError):
            self.do(self.store.settle(Candidate(batch_id=batch_id, position=0), event, b"another result"))

    @rule(seconds=st.sampled_from([60.0, 23 * 3_600.0]))
    def wait(self, seconds: float) -> None:
        self.do(self.clock.advance(seconds))

    @invariant()
    def the_store_is_as_the_model_says(self) -> None:
        for batch_id, model in self.models.items():
            batch = self.do(self.store.batch(batch_id))
            assert batch.phase is model.phase
            assert batch.counts == {state: model.states.count(state) for state in set(model.states)}
            assert (batch.ended_at is not None) == (model.phase is BatchPhase.ENDED)
            states = [state for _, state, _ in self.do(_all(self.store, batch_id))]
            assert states == model.states

    def teardown(self) -> None:
        self.do(self.database.aclose())
        self.loop.close()


async def _all(store: BatchStore, batch_id: str) -> list[tuple[str, RequestState, bytes | None]]:
    return [result async for result in store.results(batch_id)]


BatchMachine.TestCase.settings = settings(max_examples=30, stateful_step_count=25)
TestBatchMachine = BatchMachine.TestCase
