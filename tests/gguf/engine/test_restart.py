"""Ours: design 2, "Disk tier". What one engine computed the next one knows, after a restart; and nobody else does."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from pensieve_core import GenerationRequest, PrefillProgressed, TextPart
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.engine.tree import common_prefix

pytestmark = pytest.mark.model

OpenEngine = Callable[..., GgufEngine]
HEAD = "You are a lighthouse keeper. " + " ".join(
    f"Rule {number}: ships of line {number} keep left." for number in range(60)
)
COUNTING = ("Count in digits.", "1, 2, 3, 4, 5, 6,")
"""What no rounding answers otherwise: batches of another size, or cells at other places, make near ties fall."""
PATIENCE_S = 30.0


@contextlib.asynccontextmanager
async def opened(open_engine: OpenEngine, **knobs: Any) -> AsyncIterator[GgufEngine]:
    engine = open_engine(context_tokens=2_048, **knobs)
    try:
        yield engine
    finally:
        async with asyncio.timeout(PATIENCE_S):
            await engine.aclose()


def marked(request: GenerationRequest) -> GenerationRequest:
    """Return `request` with a cache mark at the end of its system text."""
    head, *rest = request.turns
    part = head.parts[0]
    assert isinstance(part, TextPart)
    return attrs.evolve(request, turns=(attrs.evolve(head, parts=(attrs.evolve(part, cache_mark=True),)), *rest))


def damage(folder: Path) -> None:
    """Flip a bit of each anchor in `folder`."""
    for anchor in folder.glob("*.anchor"):
        content = bytearray(anchor.read_bytes())
        content[-1000] ^= 1
        anchor.write_bytes(content)


async def saved(engine: GgufEngine) -> None:
    """Wait until a prefix was handed over, and is written."""
    assert engine._anchors is not None
    async with asyncio.timeout(PATIENCE_S):
        while not engine.vitals.anchors_saved:  # noqa: ASYNC110 - the engine thread tells nobody
            await asyncio.sleep(0.01)
    assert await asyncio.to_thread(engine._anchors.flush, PATIENCE_S)


async def test_after_a_restart_a_known_head_is_read_and_not_computed(
    open_engine: OpenEngine, client: Any, tmp_path: Path
) -> None:
    async with opened(open_engine, cache_folder=tmp_path) as engine:
        first = await client.ask(engine, marked(client.request("Who are you?", system=HEAD)))
        await saved(engine)
    question = marked(client.request(*COUNTING, system=HEAD))
    async with opened(open_engine, cache_folder=tmp_path) as engine:
        again = await client.ask(engine, question)
        assert engine.vitals.anchors_read == 1
    async with opened(open_engine) as engine:
        fresh = await client.ask(engine, question)
    usage = again.finish.usage
    assert first.finish.usage.cached_tokens == 0
    assert usage.prompt_tokens - usage.cached_tokens < 0.06 * usage.prompt_tokens
    assert again.text == fresh.text


async def test_after_a_restart_another_folders_head_is_computed_from_where_it_parts(
    open_engine: OpenEngine, client: Any, tmp_path: Path
) -> None:
    rules = HEAD.split(". ")
    part = len(rules) * 7 // 10
    elsewhere = ". ".join([*rules[:part], "You are in another folder", *rules[part:]])
    async with opened(open_engine, cache_folder=tmp_path) as engine:
        await client.ask(engine, marked(client.request("Who are you?", system=HEAD)))
        here = engine._prompts.prepare(client.request(*COUNTING, system=HEAD)).tokens
    question = marked(client.request(*COUNTING, system=elsewhere))
    async with opened(open_engine, cache_folder=tmp_path) as engine:
        there = engine._prompts.prepare(question).tokens
        again = await client.ask(engine, question)
        assert engine.vitals.anchors_read == 1
    async with opened(open_engine) as engine:
        fresh = await client.ask(engine, question)
    shared = common_prefix(here, there)
    assert 0.6 < shared / len(there) < 0.8
    assert again.finish.usage.cached_tokens >= shared - 16
    assert again.text == fresh.text


async def test_a_conversation_goes_on_after_a_restart_with_new_tokens_only(
    open_engine: OpenEngine, client: Any, tmp_path: Path
) -> None:
    async with opened(open_engine, cache_folder=tmp_path) as engine:  # closed right after the answer
        first = await client.ask(engine, client.request("Who are you?", system=HEAD, max_tokens=24))
    resumed = client.request("Who are you?", first.text, *COUNTING, system=HEAD)
    async with opened(open_engine, cache_folder=tmp_path) as engine:
        again = await client.ask(engine, resumed)
    async with opened(open_engine) as engine:
        fresh = await client.ask(engine, resumed)
    usage = first.finish.usage
    assert again.finish.usage.cached_tokens >= usage.prompt_tokens + usage.generated_tokens - 4
    assert again.text == fresh.text


async def test_what_is_cancelled_while_the_disk_is_read_leaves_the_engine_as_it_was(
    open_engine: OpenEngine, client: Any, tmp_path: Path
) -> None:
    async with opened(open_engine, cache_folder=tmp_path) as engine:
        await client.ask(engine, marked(client.request("Who are you?", system=HEAD)))
        await saved(engine)
    async with opened(open_engine, cache_folder=tmp_path) as engine:
        generation = await engine.generate(marked(client.request("And now?", system=HEAD)))
        await generation.aclose()
        answer = await client.ask(engine, marked(client.request("And then?", system=HEAD)))
        assert answer.finish.usage.cached_tokens > 500


async def test_a_damaged_file_is_computed_again(open_engine: OpenEngine, client: Any, tmp_path: Path) -> None:
    async with opened(open_engine, cache_folder=tmp_path) as engine:
        await client.ask(engine, marked(client.request("Who are you?", system=HEAD)))
        await saved(engine)
    damage(tmp_path)
    async with opened(open_engine, cache_folder=tmp_path) as engine:
        answer = await client.ask(engine, marked(client.request("Who are you?", system=HEAD)))
        assert answer.finish.usage.cached_tokens == 0
        assert engine.vitals.anchors_read == 0


async def test_other_cells_are_another_identity(open_engine: OpenEngine, client: Any, tmp_path: Path) -> None:
    async with opened(open_engine, cache_folder=tmp_path) as engine:
        await client.ask(engine, marked(client.request("Who are you?", system=HEAD)))
        await saved(engine)
    async with opened(open_engine, cache_folder=tmp_path, kv_type="q8_0") as engine:
        answer = await client.ask(engine, marked(client.request("Who are you?", system=HEAD)))
        assert answer.finish.usage.cached_tokens == 0


async def test_a_folder_that_cannot_be_used_costs_nothing_but_the_disk_tier(
    open_engine: OpenEngine, client: Any, tmp_path: Path
) -> None:
    (tmp_path / "file").write_text("in the way")
    async with opened(open_engine, cache_folder=tmp_path / "file") as engine:
        answer = await client.ask(engine, client.request("Who are you?"))
        assert answer.finish.usage.generated_tokens > 0


@pytest.mark.parametrize("leaves", [False, True], ids=["by the engine", "by its client"])
async def test_what_was_computed_of_a_request_that_was_cut_short_is_read_by_the_next_engine(
    open_engine: OpenEngine, client: Any, tmp_path: Path, *, leaves: bool
) -> None:
    """A model may have to make room in the middle of a prompt, a person may press Esc: the next turn goes on there."""
    question = client.request("Tell me of the ships.", system=HEAD, max_tokens=1_000)
    async with opened(open_engine, cache_folder=tmp_path, batch_tokens=64) as engine:
        generation = await engine.generate(question)
        async for event in generation:
            if isinstance(event, PrefillProgressed) and event.processed_tokens >= 700:
                break
        if leaves:
            await generation.aclose()
    async with opened(open_engine, cache_folder=tmp_path, batch_tokens=64) as engine:
        again = await client.ask(engine, attrs.evolve(question, max_tokens=4))
        assert engine.vitals.anchors_read == 1
    assert again.finish.usage.cached_tokens >= 640


async def test_an_engine_that_may_not_save_saves_nothing(open_engine: OpenEngine, client: Any, tmp_path: Path) -> None:
    engine = open_engine(context_tokens=2_048, cache_folder=tmp_path)
    await client.ask(engine, client.request("Who are you?", system=HEAD))
    async with asyncio.timeout(PATIENCE_S):
        await engine.aclose(save_s=0.0)
    assert not list(tmp_path.glob("*.anchor"))
