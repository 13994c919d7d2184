"""Ours: engines are loaded when they are asked for, share the machine, and go with the provider."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from pensieve_core import EnginePhase, ModelBrokenError, ModelDescriptor, ModelId, OverloadedError
from pensieve_gguf import GgufProvider, GgufSettings, create_provider
from pensieve_inference import EngineProvider, SystemClock

pytestmark = pytest.mark.model

PATIENCE_S = 60.0
MORE_THAN_THERE_IS = 1 << 60


@contextlib.asynccontextmanager
async def provided() -> AsyncIterator[GgufProvider]:
    provider = create_provider(GgufSettings(context_tokens=256, threads=1), SystemClock())
    async with asyncio.timeout(PATIENCE_S):
        try:
            yield provider
        finally:
            await provider.aclose()


def another(model: ModelDescriptor, **changes: Any) -> ModelDescriptor:
    """Return the same file under another name."""
    return attrs.evolve(model, id=ModelId("another"), **changes)


def workers() -> list[psutil.Process]:
    return psutil.Process().children()


async def test_it_is_what_the_layer_above_asks_for() -> None:
    async with provided() as provider:
        assert isinstance(provider, EngineProvider)
        assert provider.statuses() == ()


async def test_a_model_is_loaded_once_for_all_who_ask_at_once(smollm2: ModelDescriptor, client: Any) -> None:
    async with provided() as provider:
        engines = await asyncio.gather(*(provider.engine(smollm2) for _ in range(5)))
        assert len(set(map(id, engines))) == 1
        assert len(workers()) == 1
        assert provider.loaded(smollm2.id) == engines[0].description
        assert (await client.ask(engines[0], client.counting(7))).text


async def test_what_is_not_loaded_is_not_described(smollm2: ModelDescriptor) -> None:
    async with provided() as provider:
        assert provider.loaded(smollm2.id) is None
        loading = asyncio.create_task(provider.engine(smollm2))
        while not provider.statuses():  # noqa: ASYNC110 - one round of the event loop
            await asyncio.sleep(0)
        assert provider.loaded(smollm2.id) is None
        await loading


async def test_models_run_side_by_side_when_memory_holds_them(smollm2: ModelDescriptor) -> None:
    async with provided() as provider:
        await asyncio.gather(provider.engine(smollm2), provider.engine(another(smollm2)))
        assert [status.phase for status in provider.statuses()] == [EnginePhase.READY, EnginePhase.READY]
        assert len(workers()) == 2


async def test_an_idle_model_makes_room_for_one_that_is_asked_for(smollm2: ModelDescriptor) -> None:
    async with provided() as provider:
        idle = await provider.engine(smollm2)
        await provider.engine(another(smollm2, size_bytes=MORE_THAN_THERE_IS))
        assert idle.status.phase is EnginePhase.CLOSED
        assert [status.model for status in provider.statuses()] == ["another"]
        assert len(workers()) == 1


async def test_a_model_that_made_room_comes_back_when_asked_for(smollm2: ModelDescriptor, client: Any) -> None:
    async with provided() as provider:
        await provider.engine(smollm2)
        await provider.engine(another(smollm2, size_bytes=MORE_THAN_THERE_IS))
        assert (await client.ask(await provider.engine(smollm2), client.counting(7))).text


async def test_a_model_at_work_does_not_make_room(smollm2: ModelDescriptor, client: Any) -> None:
    async with provided() as provider:
        busy = await provider.engine(smollm2)
        async with client.open(busy, client.endless()) as generation:
            await provider.engine(another(smollm2, size_bytes=MORE_THAN_THERE_IS))
            assert busy.status.phase is EnginePhase.READY
            assert await anext(generation)


async def test_a_model_that_others_wait_for_does_not_make_room(smollm2: ModelDescriptor) -> None:
    async with provided() as provider:
        waiting = asyncio.create_task(provider.engine(smollm2))
        while not workers():  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.001)
        await provider.engine(another(smollm2, size_bytes=MORE_THAN_THERE_IS))
        assert (await waiting).status.phase is EnginePhase.READY


async def test_a_broken_file_is_told_each_time_and_in_the_status(smollm2: ModelDescriptor, tmp_path: Path) -> None:
    path = tmp_path / "broken.gguf"
    path.write_bytes(b"GGUF" * 100)
    async with provided() as provider:
        for _ in range(2):
            with pytest.raises(ModelBrokenError, match="another"):
                await provider.engine(another(smollm2, path=path))
        (status,) = provider.statuses()
        assert status.phase is EnginePhase.BROKEN
        assert "broken.gguf" in status.detail
        assert provider.loaded(ModelId("another")) is None


async def test_a_closed_provider_refuses(smollm2: ModelDescriptor) -> None:
    async with provided() as provider:
        await provider.engine(smollm2)
        await provider.aclose()
        assert workers() == []
        with pytest.raises(OverloadedError):
            await provider.engine(smollm2)


async def test_closing_while_one_is_waited_for_leaves_nothing(smollm2: ModelDescriptor) -> None:
    async with provided() as provider:
        first = asyncio.create_task(provider.engine(smollm2))
        while not workers():  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.001)
        async with provider._loading:  # somebody is making room
            second = asyncio.create_task(provider.engine(another(smollm2)))
            await asyncio.sleep(0)
            await provider.aclose()
        for waiting in (first, second):
            with pytest.raises(OverloadedError):
                await waiting
    assert workers() == []
