"""Ours: design 2, "Sliding-window, recurrent and hybrid models". Real models of each kind, tiny and random.

What is reused says nothing of what was meant, so every answer is compared with that of an engine that knows nothing.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from pensieve_core import GenerationRequest, ModelDescriptor, Role, TextPart, Turn
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine import GgufEngine
from pensieve_inference import SystemClock

pytestmark = pytest.mark.model

KINDS = ("recurrent", "hybrid", "windowed")
PATIENCE_S = 30.0
SPACING = 64
"""Tokens between two checkpoints; so many may be computed again."""
HEAD = "You are a lighthouse keeper. " + " ".join(f"Rule {number}: ships keep left." for number in range(30))
STORY = " ".join(f"On day {number} the fog came in from the sea." for number in range(12))


@pytest.fixture(scope="module", params=KINDS)
def model(request: pytest.FixtureRequest, tiny_models: Any) -> ModelDescriptor:
    model = getattr(tiny_models, request.param)
    assert isinstance(model, ModelDescriptor)
    return model


def load(model: ModelDescriptor, **knobs: Any) -> GgufEngine:
    settings = attrs.evolve(GgufSettings(context_tokens=2_048, threads=1, batch_tokens=256), **knobs)
    return GgufEngine.load(model, settings, SystemClock())


@contextlib.asynccontextmanager
async def opened(model: ModelDescriptor, **knobs: Any) -> AsyncIterator[GgufEngine]:
    engine = load(model, **knobs)
    try:
        yield engine
        assert engine.ended is None
        assert engine.vitals.astray == 0
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await engine.aclose()


@pytest.fixture(scope="module")
def forgetful(model: ModelDescriptor) -> Iterator[GgufEngine]:
    """An engine that is emptied before each request."""
    engine = load(model, cache_ram_bytes=0)
    yield engine
    asyncio.run(engine.aclose())


async def uncached(engine: GgufEngine, client: Any, request: GenerationRequest) -> Any:
    """Return the answer of an engine that knows nothing: what it knew has gone, prefix by prefix."""
    while (cut := engine._loop._scheduler.evict()) is not None:  # nobody computes
        engine._loop._cells.make(cut)
    answer = await client.ask(engine, request)
    assert answer.finish.usage.cached_tokens == 0
    return answer


def then(request: GenerationRequest, said: str, asked: str) -> GenerationRequest:
    """Return the next turn."""
    turns = (
        Turn(role=Role.ASSISTANT, parts=(TextPart(text=said),)),
        Turn(role=Role.USER, parts=(TextPart(text=asked),)),
    )
    return attrs.evolve(request, turns=(*request.turns, *turns))


def marked(request: GenerationRequest) -> GenerationRequest:
    """Return `request` with a cache mark at the end of its system text."""
    head, *rest = request.turns
    part = head.parts[0]
    assert isinstance(part, TextPart)
    return attrs.evolve(request, turns=(attrs.evolve(head, parts=(attrs.evolve(part, cache_mark=True),)), *rest))


async def test_a_conversation_computes_what_is_new(model: ModelDescriptor, forgetful: GgufEngine, client: Any) -> None:
    """What the model said comes back as it was sampled: nothing is to be gone back for."""
    request = client.request(STORY, system=HEAD)
    async with opened(model) as engine:
        known = 0
        for number in range(4):
            answer = await client.ask(engine, request)
            assert answer.text == (await uncached(forgetful, client, request)).text
            usage = answer.finish.usage
            assert usage.cached_tokens >= known - 1
            known = usage.prompt_tokens + usage.generated_tokens
            request = then(request, answer.text, f"{number}. {STORY}")


async def test_an_answer_that_was_altered_costs_no_more_than_what_follows_the_last_checkpoint(
    model: ModelDescriptor, forgetful: GgufEngine, client: Any
) -> None:
    request = client.request(STORY, system=HEAD)
    async with opened(model) as engine:
        before = 0
        for number in range(4):
            answer = await client.ask(engine, request)
            assert answer.text == (await uncached(forgetful, client, request)).text
            assert answer.finish.usage.cached_tokens >= before
            before = answer.finish.usage.prompt_tokens - SPACING
            request = then(request, f"Something else, {number}.", STORY)
        assert engine.vitals.tokens_prefilled < answer.finish.usage.prompt_tokens + 3 * SPACING


async def test_what_parts_after_the_head_begins_with_it(
    model: ModelDescriptor, forgetful: GgufEngine, client: Any
) -> None:
    """Where two prompts part a checkpoint is made; the third one needs it."""
    async with opened(model) as engine:
        for question in ("Who are you? " + STORY, "Where is the boat? " + STORY, "What now? " + STORY):
            request = client.request(question, system=HEAD)
            answer = await client.ask(engine, request)
            assert answer.text == (await uncached(forgetful, client, request)).text
        head = await engine.count_tokens(client.request("", system=HEAD))
        assert answer.finish.usage.cached_tokens >= head - SPACING
        assert engine.vitals.checkpoints > 0


async def test_siblings_side_by_side_compute_their_head_once(
    model: ModelDescriptor, forgetful: GgufEngine, client: Any
) -> None:
    requests = [marked(client.request(f"{name}: {STORY}", system=HEAD)) for name in ("Ann", "Bob", "Cid")]
    async with opened(model, batch_tokens=64) as engine:
        async with asyncio.timeout(PATIENCE_S):
            answers = await asyncio.gather(*(client.ask(engine, request) for request in requests))
        for request, answer in zip(requests, answers, strict=True):
            assert answer.text == (await uncached(forgetful, client, request)).text
        head = await engine.count_tokens(client.request("", system=HEAD))
        assert sum(answer.finish.usage.cached_tokens >= head - SPACING for answer in answers) == len(requests) - 1


async def test_what_is_cancelled_leaves_the_others_as_they_were(
    model: ModelDescriptor, forgetful: GgufEngine, client: Any
) -> None:
    """A decode is stopped in the middle; what it did to the states of others is undone."""
    stays = client.request(STORY, system=HEAD, max_tokens=40)
    async with opened(model, batch_tokens=32) as engine:
        async with client.open(engine, stays) as generation:
            for number in range(6):
                async with client.open(engine, client.request(f"{number} {STORY}", system=HEAD)) as other:
                    async with asyncio.timeout(PATIENCE_S):
                        await anext(other)
            answer = await client.rest(generation)
        assert answer.text == (await uncached(forgetful, client, stays)).text


async def test_the_cap_in_ram_holds_and_no_answer_is_wrong_for_it(
    model: ModelDescriptor, forgetful: GgufEngine, client: Any
) -> None:
    cap = 60_000
    async with opened(model, cache_ram_bytes=cap, max_resident=3, max_running=2) as engine:
        for number in (0, 1, 2, 3, 0, 1, 2, 3):
            request = client.request(f"{number} {STORY}", system=HEAD)
            answer = await client.ask(engine, request)
            assert engine._loop._cells._shelf.bytes_used <= cap
            assert answer.text == (await uncached(forgetful, client, request)).text


async def test_after_a_restart_a_head_is_read_from_the_disk(
    model: ModelDescriptor, forgetful: GgufEngine, client: Any, tmp_path: Path
) -> None:
    questions = ("Who are you?", "Where is the boat?")
    first, second = (marked(client.request(text, system=HEAD + STORY + STORY)) for text in questions)
    async with opened(model, cache_folder=tmp_path) as engine:
        await client.ask(engine, first)
        assert engine._anchors is not None
        async with asyncio.timeout(PATIENCE_S):
            while not engine.vitals.anchors_saved:  # noqa: ASYNC110 - the engine thread tells nobody
                await asyncio.sleep(0.01)
        assert await asyncio.to_thread(engine._anchors.flush, PATIENCE_S)
    async with opened(model, cache_folder=tmp_path) as engine:
        answer = await client.ask(engine, second)
        assert engine.vitals.anchors_read == 1
    assert answer.text == (await uncached(forgetful, client, second)).text
    assert answer.finish.usage.cached_tokens > 500
