"""Ours: recorded sizes and hashes become prompts of which equal parts are equal."""

from __future__ import annotations

import json
import lzma
from pathlib import Path
from typing import Any, Protocol

import pytest
from hypothesis import given
from hypothesis import strategies as st
from simulator.traces import Trace, read_traces

from pensieve_gguf.engine.tree import common_prefix


class Recording(Protocol):
    def request(self, blocks: list[list[int]], *, prompt: int, answer: int = 10, pause_s: float = 0.0) -> Any: ...

    def subagent(self, name: str, requests: list[Any], *, lasted_s: float = 0.0) -> Any: ...

    def session(self, name: str, requests: list[Any], *, tools: int = 64) -> Any: ...

    def read(self, *sessions: Any) -> list[Trace]: ...


def test_equal_blocks_become_equal_tokens(recording: Recording) -> None:
    (trace,) = recording.read(
        recording.session(
            "one", [recording.request([[1, 4]], prompt=260), recording.request([[1, 2], [9, 12]], prompt=390)]
        )
    )
    first, second = trace.main.asks
    assert (len(first.prompt()), len(second.prompt())) == (260, 390)
    assert common_prefix(first.prompt(), second.prompt()) == 128


def test_the_next_prompt_begins_with_this_one_and_its_answer(recording: Recording) -> None:
    """The engine replays its own turns as the very tokens it sampled (design 2)."""
    (trace,) = recording.read(
        recording.session(
            "one",
            [recording.request([[1, 2]], prompt=150, answer=30), recording.request([[1, 4]], prompt=270)],
        )
    )
    first, second = trace.main.asks
    assert [*first.prompt(), *first.answer()] == list(second.prompt()[:180])


def test_an_answer_that_does_not_come_again_in_full_is_never_seen_again(recording: Recording) -> None:
    (trace,) = recording.read(
        recording.session(
            "one",
            [recording.request([[1, 2]], prompt=150, answer=200), recording.request([[1, 4]], prompt=270)],
        )
    )
    first, second = trace.main.asks
    assert list(first.prompt()) == list(second.prompt()[:150])
    assert not set(first.answer()) & set(second.prompt())
    assert len(first.answer()) == 200


def test_a_prompt_that_was_cut_leaves_a_rest_that_nobody_shares(recording: Recording) -> None:
    (trace,) = recording.read(
        recording.session("one", [recording.request([[1, 2]], prompt=150), recording.request([[1, 2]], prompt=140)])
    )
    first, second = trace.main.asks
    assert common_prefix(first.prompt(), second.prompt()) == 128


def test_traces_share_the_tools_if_these_are_of_one_size_and_nothing_else(recording: Recording) -> None:
    requests = [recording.request([[1, 4]], prompt=256)]
    one, two, three = recording.read(
        recording.session("one", requests, tools=130),
        recording.session("two", requests, tools=130),
        recording.session("three", requests, tools=200),
    )
    first, second, third = (trace.main.asks[0].prompt() for trace in (one, two, three))
    assert common_prefix(first, second) == 128
    assert common_prefix(first, third) == 0


def test_a_prompt_with_other_tools_does_not_share_them(recording: Recording) -> None:
    (trace,) = recording.read(
        recording.session("one", [recording.request([[1, 4]], prompt=256), recording.request([[7, 9]], prompt=192)])
    )
    first, second = trace.main.asks
    assert common_prefix(first.prompt(), second.prompt()) == 0


def test_agents_belong_to_the_request_that_follows_them(recording: Recording) -> None:
    """A parent waits for its agents; what is left of the pause is its own."""
    nobody = recording.subagent("idle", [])
    one = recording.subagent("a", [recording.request([[50, 52]], prompt=192)], lasted_s=4.0)
    (trace,) = recording.read(
        recording.session(
            "one",
            [
                recording.request([[1, 2]], prompt=128),
                one,
                nobody,
                recording.request([[1, 4]], prompt=256, pause_s=6.0),
                recording.subagent("late", []),
            ],
        )
    )
    first, second = trace.main.asks
    assert (first.waits_for, first.pause_s) == ((), 0.0)
    assert [agent.name for agent in second.waits_for] == ["main/a", "main/idle"]
    assert second.pause_s == pytest.approx(2.0)
    assert second.waits_for[1].asks == ()


def test_a_request_without_blocks_and_without_an_answer_is_played_all_the_same(recording: Recording) -> None:
    (trace,) = recording.read(recording.session("one", [recording.request([[1, 2]], prompt=128)]))
    assert trace.name == "one"
    (trace,) = recording.read(
        recording.session("one", [recording.request([], prompt=5, answer=0), recording.request([[1, 2]], prompt=128)])
    )
    assert (len(trace.main.asks[0].prompt()), len(trace.main.asks[0].answer())) == (5, 1)


def test_traces_may_be_compressed(recording: Recording, tmp_path: Path) -> None:
    path = tmp_path / "traces.jsonl.xz"
    raw = recording.session("packed", [recording.request([[1, 2]], prompt=128)])
    path.write_bytes(lzma.compress(json.dumps(raw).encode()))
    assert [trace.name for trace in read_traces(path)] == ["packed"]


def test_the_shipped_traces_have_branches_and_agents(synthetic: Path) -> None:
    traces = read_traces(synthetic)
    asks = [ask for trace in traces for ask in trace.main.asks]
    assert len(asks) > 20
    assert any(ask.waits_for for ask in asks)


@given(bounds=st.tuples(st.integers(0, 200), st.integers(0, 200)).map(sorted))
def test_parts_of_a_prompt_are_what_the_whole_says(bounds: list[int]) -> None:
    start, stop = bounds
    path = Path(__file__).parents[1] / "benchmarks" / "simulator" / "synthetic.jsonl"
    ask = read_traces(path)[0].main.asks[0]
    whole = [*ask.prompt(), *ask.answer()]
    offset = ask.prompt_tokens - 100
    assert ask.tokens(start, stop).tolist() == whole[start:stop]
    assert ask.tokens(offset + start, offset + stop).tolist() == whole[offset + start : offset + stop]
