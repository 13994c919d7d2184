"""Ours: with drafts a real model says what it says without, in fewer steps (design 2, "Drafts").

Sums over batches of another shape are rounded otherwise, by some 0.1 in the logits: two tokens that are all but equally
likely may change places. So the answers here are ones that no rounding can change (see `Client.counting`).
`tests/benchmarks/drafted.py --against-none` counts how often others change.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from typing import Any

import attrs
import pytest

from pensieve_core import (
    FinishReason,
    ModelDescriptor,
    Sampling,
    Tool,
    ToolCallArguments,
    ToolCallStarted,
    ToolChoice,
    ToolChoiceMode,
)
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.engine.step_costs import GivenCosts
from pensieve_inference import SystemClock

pytestmark = pytest.mark.model

ALWAYS = {1: 1.0, 64: 1.0}
"""Further rows cost nothing: as much is drafted as can be."""
SHORT = {1: 1.0, 3: 1.0, 4: 90.0}
"""Two tokens are drafted at most."""


def arguments_of(answer: Any) -> str:
    return "".join(event.fragment for event in answer.events if isinstance(event, ToolCallArguments))


def copying(client: Any, **knobs: Any) -> Any:
    """Return a request whose answer stands in its prompt, and that no rounding can change: numbers, in order."""
    numbers = ", ".join(map(str, range(1, 61)))
    return client.request(f"Count in digits, like this: {numbers}.", "1, 2, 3, 4, 5,", **{"max_tokens": 60, **knobs})


@contextlib.asynccontextmanager
async def opened(
    model: ModelDescriptor, costs: Mapping[int, float] | None = None, **knobs: Any
) -> AsyncIterator[GgufEngine]:
    """Open an engine that drafts as `costs` say; by itself where there are none."""
    settings = GgufSettings(**{"context_tokens": 1_024, "threads": 1, **knobs})
    engine = GgufEngine.load(model, settings, SystemClock(), costs=GivenCosts(costs) if costs else None)
    try:
        yield engine
    finally:
        async with asyncio.timeout(30):
            await engine.aclose()


@pytest.mark.parametrize(
    ("costs", "steps"), [(None, 60), (SHORT, 30), (ALWAYS, 15)], ids=["learned", "short", "forced"]
)
async def test_greedy_answers_are_the_same_cached_or_not_with_drafts_and_without(
    smollm2: ModelDescriptor, client: Any, costs: dict[int, float] | None, steps: int
) -> None:
    async with opened(smollm2, drafts=False) as plain:
        expected = await client.ask(plain, copying(client))
    assert expected.text.startswith(" 6, 7, 8, 9, 10, 11, 12, 13, 14, 15")
    assert expected.finish.timings.decode_steps == 59
    assert plain.vitals.tokens_drafted == 0
    async with opened(smollm2, costs) as engine:
        for cached in (False, True):
            answer = await client.ask(engine, copying(client))
            assert answer.text == expected.text
            assert answer.finish.reason is FinishReason.MAX_TOKENS
            assert answer.finish.usage.generated_tokens == 60
            assert (answer.finish.usage.cached_tokens > 0) == cached
            assert answer.finish.timings.decode_steps < steps


async def test_the_turn_after_a_drafted_answer_finds_it_in_the_cache(smollm2: ModelDescriptor, client: Any) -> None:
    """What was drafted in vain is gone, and what was right is there."""
    async with opened(smollm2, ALWAYS) as engine, opened(smollm2, drafts=False) as plain:
        told = []
        for one in (engine, plain):
            request = client.counting(31, max_tokens=30)
            first = await client.ask(one, request)
            more = attrs.evolve(request.turns[1].parts[0], text=request.turns[1].parts[0].text + first.text)
            turns = (request.turns[0], attrs.evolve(request.turns[1], parts=(more,)))
            second = await client.ask(one, attrs.evolve(request, turns=turns, max_tokens=12))
            assert second.finish.usage.cached_tokens == second.finish.usage.prompt_tokens - 1
            told.append((first.text, second.text))
        assert told[0] == told[1]
        assert engine.vitals.tokens_drafted > engine.vitals.drafts_accepted > 0


async def test_a_seed_draws_the_same_tokens_with_drafts_and_without(smollm2: ModelDescriptor, client: Any) -> None:
    """The chain draws once a position, in order, drafted or not."""
    sampling = Sampling(temperature=0.3, top_p=0.9, seed=11)
    told = []
    for knobs in ({"costs": ALWAYS}, {"drafts": False}):
        async with opened(smollm2, **knobs) as engine:
            told.append(await client.ask(engine, client.counting(31, max_tokens=40, sampling=sampling)))
    drafted, plain = told
    assert drafted.text == plain.text
    assert drafted.finish.timings.decode_steps < plain.finish.timings.decode_steps


async def test_a_stop_sequence_in_the_middle_of_a_draft_ends_the_answer(smollm2: ModelDescriptor, client: Any) -> None:
    async with opened(smollm2, ALWAYS) as engine:
        answer = await client.ask(engine, client.counting(31, max_tokens=60, stop_sequences=("40",)))
        assert answer.text == " 31, 32, 33, 34, 35, 36, 37, 38, 39, "
        assert answer.finish.stop_sequence == "40"


async def test_several_drafted_answers_at_once_do_not_mix(smollm2: ModelDescriptor, client: Any) -> None:
    async with opened(smollm2, ALWAYS) as engine:
        answers = await asyncio.gather(
            *(client.ask(engine, client.counting(start, max_tokens=40)) for start in (31, 51, 71))
        )
        for start, answer in zip((31, 51, 71), answers, strict=True):
            assert answer.text.startswith(f" {start}, {start + 1}, {start + 2}, {start + 3}")
        assert engine.vitals.drafts_accepted > 0


async def test_in_a_tiny_context_drafts_give_way(smollm2: ModelDescriptor, client: Any) -> None:
    async with opened(smollm2, ALWAYS, context_tokens=256) as engine:
        answers = await asyncio.gather(
            *(client.ask(engine, client.counting(start, max_tokens=60)) for start in (31, 51, 71))
        )
        for start, answer in zip((31, 51, 71), answers, strict=True):
            assert answer.text.startswith(f" {start}, {start + 1}, {start + 2}, {start + 3}")


LAMP = Tool(
    name="measure_the_temperature_of_the_lamp_of_a_lighthouse",
    parameters={
        "type": "object",
        "properties": {
            "temperature_scale": {"const": "degrees Celsius above the freezing point of water"},
            "hot": {"type": "boolean"},
        },
        "required": ["temperature_scale", "hot"],
    },
)


async def test_what_a_constraint_forces_is_drafted(smollm2: ModelDescriptor, client: Any) -> None:
    """54 steps without drafts, 17 with those that the prompt suggests, 6 with what must come."""
    request = client.request(
        "How hot is the lamp?", tools=(LAMP,), tool_choice=ToolChoice(mode=ToolChoiceMode.ANY), max_tokens=200
    )
    async with opened(smollm2, drafts=False) as plain:
        expected = await client.ask(plain, request)
    async with opened(smollm2, ALWAYS) as engine:
        answer = await client.ask(engine, request)
    assert [type(event) for event in expected.events].count(ToolCallStarted) >= 1
    assert arguments_of(answer) == arguments_of(expected)
    assert answer.finish.usage.generated_tokens == expected.finish.usage.generated_tokens
    assert answer.finish.timings.decode_steps < expected.finish.timings.decode_steps / 5
