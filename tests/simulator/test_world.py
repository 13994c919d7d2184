"""Ours: sessions played over the scheduler, against a clock."""

from __future__ import annotations

import os
from array import array
from pathlib import Path
from typing import Any, Protocol

import pytest
from simulator.machine import Machine
from simulator.oracle import Oracle
from simulator.policies import Policy, residents_of
from simulator.traces import Trace, read_traces
from simulator.world import Outcome, Setting, simulate

from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.steps import Row, Step


class Recording(Protocol):
    def request(self, blocks: list[list[int]], *, prompt: int, answer: int = 10, pause_s: float = 0.0) -> Any: ...

    def subagent(self, name: str, requests: list[Any], *, lasted_s: float = 0.0) -> Any: ...

    def session(self, name: str, requests: list[Any], *, tools: int = 64) -> Any: ...

    def conversation(self, name: str, turns: int, *, begins: int = 1, pause_s: float = 1.0) -> Any: ...

    def read(self, *sessions: Any) -> list[Trace]: ...


def played(traces: list[Trace], policy: Policy = Policy.WORTH, *, cells: int = 100_000, sessions: int = 1) -> Outcome:
    setting = Setting(cells=cells, longest=100_000, sessions=sessions)
    residents = residents_of(policy, slots=48, cells=cells)
    outcome = simulate(traces, residents, setting)
    residents.check()
    assert residents.idle == residents.slots_in_use, "a sequence did not end"
    assert residents.cells_in_use <= cells
    assert len(outcome.ttft_s) == outcome.requests
    return outcome


def step(*rows: tuple[int, int, bool]) -> Step:
    built = []
    for start, stop, answers in rows:
        tokens = array("i", range(stop))
        sequence = Sequence(
            key=1, tokens=tokens, prompt_tokens=stop - answers, max_tokens=9, computed=stop - 1 if answers else start
        )
        built.append(Row(sequence=sequence, start=start, stop=stop, samples=True))
    return Step(moves=(), rows=tuple(built))


def test_a_step_takes_as_long_as_its_tokens_and_what_they_attend_to() -> None:
    machine = Machine(prefill_start=80.0, prefill_later=40.0, later=10_000, decode=25.0)
    assert machine.seconds(step((0, 80, False))) == pytest.approx(1.004)
    assert machine.seconds(step((9_960, 10_040, False))) == pytest.approx(2.0)
    assert machine.seconds(step((0, 1, True), (0, 1, True))) == pytest.approx(0.08, rel=0.01)


def test_a_conversation_that_fits_is_reused_as_the_oracle_would(recording: Recording) -> None:
    outcome = played(recording.read(recording.conversation("one", 5)))
    assert (outcome.requests, outcome.evictions, outcome.preemptions, outcome.no_room) == (5, 0, 0, 0)
    assert outcome.reused == outcome.reusable
    assert outcome.of_oracle == pytest.approx(1.0)
    assert outcome.effort == pytest.approx(1.0)
    assert outcome.decode_steps == 5 * 19  # the last token of an answer is not computed


def test_the_clock_knows_prefill_decode_and_pauses(recording: Recording) -> None:
    (trace,) = recording.read(
        recording.session("one", [recording.request([[1, 2]], prompt=160, answer=26, pause_s=100.0)])
    )
    outcome = played([trace])
    assert outcome.ttft_s == [pytest.approx(160 / 80, rel=0.01)]
    assert outcome.simulated_s == pytest.approx(100 + 160 / 80 + 25 / 25, rel=0.02)


def test_a_second_user_waits_for_nobody(recording: Recording) -> None:
    traces = recording.read(*(recording.conversation(str(n), 3, begins=n, pause_s=500.0) for n in range(1, 5)))
    alone, together = played(traces), played(traces, sessions=4)
    assert (alone.requests, together.requests) == (12, 12)
    assert together.simulated_s < alone.simulated_s / 3


def test_agents_run_at_once_and_their_parent_waits(recording: Recording) -> None:
    agents = [recording.subagent(name, [recording.request([[50, 53]], prompt=256, answer=50)]) for name in "abc"]
    (trace,) = recording.read(
        recording.session(
            "one",
            [
                recording.request([[1, 2]], prompt=128),
                recording.subagent("idle", []),
                *agents,
                recording.request([[1, 4]], prompt=256),
            ],
        )
    )
    outcome = played([trace])
    assert outcome.requests == 5
    assert outcome.decode_steps == 2 * 9 + 3 * 49


def test_a_prompt_that_is_too_long_is_refused_and_not_counted(recording: Recording) -> None:
    (trace,) = recording.read(recording.conversation("one", 5))
    outcome = played([trace], cells=600)
    assert outcome.requests == 3


def test_sessions_that_do_not_fit_together_push_each_other_out(recording: Recording) -> None:
    traces = recording.read(*(recording.conversation(str(n), 6, begins=n) for n in range(1, 5)))
    outcome = played(traces, cells=1_500, sessions=4)
    assert outcome.evictions > 0
    assert outcome.evicted > 0
    assert 0.0 < outcome.hit_ratio < outcome.oracle_ratio
    assert outcome.effort > 1.0


def test_long_answers_that_nobody_foresaw_end_all_the_same(recording: Recording) -> None:
    """Room is kept for 256 tokens of each answer; these take 900."""
    requests = [recording.request([[n, n + 3]], prompt=256, answer=900) for n in (1, 101)]
    traces = recording.read(
        *(recording.session(str(n), [request], tools=64 * n) for n, request in enumerate(requests, start=1))
    )
    for policy in Policy:
        outcome = played(traces, policy, cells=1_600, sessions=2)
        assert outcome.requests == 2
        assert outcome.no_room == outcome.preemptions == 1


def test_the_same_traces_give_the_same_figures(synthetic: Path) -> None:
    traces = read_traces(synthetic)
    for policy in Policy:
        assert played(traces, policy, cells=8_192, sessions=2) == played(traces, policy, cells=8_192, sessions=2)


def test_quantiles_are_those_of_what_was_measured() -> None:
    outcome = Outcome(ttft_s=[4.0, 1.0, 3.0, 2.0])
    assert [outcome.ttft_quantile(part) for part in (0.0, 0.5, 0.99)] == [1.0, 3.0, 4.0]


def test_the_oracle_remembers_prompts_and_answers() -> None:
    oracle = Oracle()
    assert oracle.reusable(array("i", range(10)), [50, 51]) == 0
    assert oracle.reusable(array("i", [*range(10), 50, 51, 52]), []) == 12
    assert oracle.reusable(array("i", [0, 1, 2, 99]), []) == 3


@pytest.mark.skipif("PENSIEVE_TRACES" not in os.environ, reason="PENSIEVE_TRACES names no recorded traces")
def test_on_recorded_sessions_ours_beats_slots() -> None:
    traces = read_traces(Path(os.environ["PENSIEVE_TRACES"]))[1::6]
    ours = played(traces, cells=131_072, sessions=4)
    slots = played(traces, Policy.LRU_SLOTS_16, cells=131_072, sessions=4)
    assert ours.hit_ratio > slots.hit_ratio
