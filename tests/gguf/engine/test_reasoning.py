"""Ours: design 3, `thinking`: "budget enforced", to the token."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence as Tokens
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import Thinking, ThinkingProduced
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.engine.reasoning import Reasoning, closing_mark
from pensieve_gguf.llama import TokenIds

MARK = (7, 8, 9)
WORD = 1


def run(reasoning: Reasoning, wishes: Tokens[int], *, begun: bool) -> list[int]:
    """Take what is forced, else what is wished; 5 opens a block of reasoning, the mark's tokens in a row close it."""
    taken: list[int] = []
    reasons = begun
    for wish in wishes:
        token = wish if reasoning.forced is None else reasoning.forced
        taken.append(token)
        reasons = (reasons or token == 5) and tuple(taken[-len(MARK) :]) != MARK
        reasoning.follow(token, reasons=reasons)
    return taken


def test_without_a_budget_nothing_is_forced() -> None:
    reasoning = Reasoning(None, MARK, begun=True)
    assert run(reasoning, [WORD] * 50, begun=True) == [WORD] * 50
    assert reasoning.tokens == 50


def test_the_mark_comes_when_there_is_just_enough_left_for_it() -> None:
    reasoning = Reasoning(10, MARK, begun=True)
    assert run(reasoning, [WORD] * 10, begun=True) == [WORD] * 7 + list(MARK)
    cut_short = [reasoning.cut_short]
    assert run(reasoning, [WORD] * 4, begun=False) == [WORD] * 4
    assert [*cut_short, reasoning.cut_short] == [True, False]
    assert reasoning.tokens == 10


def test_reasoning_that_ends_by_itself_is_left_alone() -> None:
    reasoning = Reasoning(10, MARK, begun=True)
    wishes = [WORD, *MARK, *[WORD] * 20]
    assert run(reasoning, wishes, begun=True) == wishes
    assert reasoning.tokens == 4


@pytest.mark.parametrize("budget", [0, 1, 3])
def test_a_budget_smaller_than_the_mark_is_the_mark_alone(budget: int) -> None:
    """`thinking: disabled`, and a template that opens a block of reasoning all the same."""
    assert run(Reasoning(budget, MARK, begun=True), [WORD] * 5, begun=True) == [*MARK, WORD, WORD]


def test_a_block_that_the_model_opens_unasked_is_closed_at_once() -> None:
    assert run(Reasoning(0, MARK), [WORD, 5, WORD, WORD, WORD, WORD], begun=False) == [WORD, 5, *MARK, WORD]


def test_a_mark_that_the_parser_sees_late_is_not_put_twice() -> None:
    """A stop sequence that begins as the mark does lets the parser wait."""
    reasoning = Reasoning(3, MARK, begun=True)
    for token in MARK:
        assert reasoning.forced == token
        reasoning.follow(token, reasons=True)
    assert reasoning.forced is None
    reasoning.follow(WORD, reasons=True)
    reasoning.follow(WORD, reasons=False)
    assert reasoning.tokens == 3


@given(budget=st.integers(0, 40), wishes=st.lists(st.sampled_from([WORD, 5, *MARK]), max_size=60), begun=st.booleans())
def test_no_more_is_spent_than_budget_or_marks(budget: int, wishes: list[int], begun: bool) -> None:  # noqa: FBT001 - hypothesis passes by name
    reasoning = Reasoning(budget, MARK, begun=begun)
    taken = run(reasoning, wishes, begun=begun)
    blocks = begun + taken.count(5)
    assert reasoning.tokens <= max(budget, 0) + blocks * (len(MARK) + 1)
    if blocks == 1 and budget > len(MARK):
        assert reasoning.tokens <= budget


class Spelling:
    """One token a letter."""

    def tokenize(self, text: str, *, add_bos: bool = True) -> TokenIds:
        assert not add_bos
        return np.frombuffer(text.encode(), dtype=np.uint8).astype(np.int32)


@pytest.mark.parametrize(
    ("template", "mark"), [("", "</think>"), ("…<think>…", "</think>"), ("…[THINK]…[/THINK]…", "[/THINK]")]
)
def test_the_mark_is_that_of_the_template(template: str, mark: str) -> None:
    assert bytes(closing_mark(Spelling(), template)).decode() == mark


BEGUN = "<think>\n1, 2, 3, 4, 5, 6,"
"""SmolLM2 has no reasoning of its own, but goes on with one that has begun: it counts beyond 300."""


@pytest.mark.model
@pytest.mark.parametrize("budget", [16, 33, 100])
async def test_a_model_reasons_for_as_many_tokens_as_it_may(engine: GgufEngine, client: Any, budget: int) -> None:
    thinking = Thinking(enabled=True, budget_tokens=budget)
    request = client.request("Count in digits.", BEGUN, thinking=thinking, max_tokens=budget + 8)
    answer = await client.ask(engine, request)
    assert answer.finish.usage.thinking_tokens == budget
    assert answer.text
    assert "think>" not in answer.text
    thought = "".join(event.text for event in answer.events if isinstance(event, ThinkingProduced))
    assert thought.startswith(" 7, 8,")
    assert "think>" not in thought


@pytest.mark.model
async def test_without_a_budget_the_model_reasons_on(engine: GgufEngine, client: Any) -> None:
    request = client.request("Count in digits.", BEGUN, thinking=Thinking(enabled=True), max_tokens=60)
    answer = await client.ask(engine, request)
    assert answer.finish.usage.thinking_tokens == 60
    assert answer.text == ""


@pytest.mark.model
async def test_two_that_reason_at_once_have_each_a_budget_of_its_own(engine: GgufEngine, client: Any) -> None:
    requests = [
        client.request("Count.", BEGUN, thinking=Thinking(enabled=True, budget_tokens=budget), max_tokens=60)
        for budget in (20, 40)
    ]
    answers = await asyncio.gather(*(client.ask(engine, request) for request in requests))
    assert [answer.finish.usage.thinking_tokens for answer in answers] == [20, 40]
