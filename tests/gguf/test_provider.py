"""Ours: engines are loaded when they are asked for, share the memory, and go with the provider. With a real model."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from pensieve_core import EnginePhase, ModelBrokenError, ModelDescriptor, ModelId, OverloadedError, ResidencyState
from pensieve_gguf import GgufProvider, GgufSettings, create_provider
from pensieve_gguf.leases import LeasedEngine
from pensieve_inference import SystemClock
from pensieve_inference.testing.contract import (
    ENGINE_CHECKS,
    LOADER_CHECKS,
    MAX_TOKENS_CHECKS,
    EngineCase,
    EngineCheck,
    LoaderCase,
    LoaderCheck,
    check_name,
)

pytestmark = pytest.mark.model

PATIENCE_S = 60.0


SETTINGS = GgufSettings(context_tokens=256, threads=1, residence_s=0.0)
ONE_OF_TWO = 300 << 20
"""SmolLM2 takes some 230 MiB with 256 cells."""


@contextlib.asynccontextmanager
async def provided(settings: GgufSettings = SETTINGS) -> AsyncIterator[GgufProvider]:
    provider = create_provider(settings, SystemClock())
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


def states(provider: GgufProvider) -> dict[ModelId, ResidencyState]:
    return {engine.model: engine.state for engine in provider.residency().engines}


@pytest.mark.parametrize("check", LOADER_CHECKS, ids=check_name)
async def test_keeps_the_loader_contract(check: LoaderCheck, smollm2: ModelDescriptor) -> None:
    async def fresh() -> GgufProvider:
        return create_provider(SETTINGS, SystemClock())

    await check(LoaderCase(open_loader=fresh, model=smollm2, patience_s=PATIENCE_S))


@pytest.mark.parametrize("check", [*ENGINE_CHECKS, *MAX_TOKENS_CHECKS], ids=check_name)
async def test_what_it_hands_out_keeps_the_engine_contract(
    check: EngineCheck, smollm2: ModelDescriptor, client: Any
) -> None:
    async with contextlib.AsyncExitStack() as stack:

        class Sole(LeasedEngine):
            """Closes its provider: to the contract an engine is all there is."""

            async def aclose(self) -> None:
                await provider.aclose()

        provider = await stack.enter_async_context(provided(attrs.evolve(SETTINGS, context_tokens=512, max_running=3)))

        async def fresh() -> LeasedEngine:
            engine = await provider.engine(smollm2)
            return Sole(lambda: provider.lease(smollm2), lambda: engine.description)

        await check(EngineCase(open_engine=fresh, request=client.request))


async def test_a_model_is_loaded_once_for_all_who_ask_at_once(smollm2: ModelDescriptor, client: Any) -> None:
    async with provided() as provider:
        engines = await asyncio.gather(*(provider.engine(smollm2) for _ in range(5)))
        assert len(workers()) == 1
        assert provider.loaded(smollm2.id) == engines[0].description
        assert (await client.ask(engines[0], client.counting(7))).text


async def test_models_run_side_by_side_when_memory_holds_them(smollm2: ModelDescriptor) -> None:
    async with provided() as provider:
        await asyncio.gather(provider.engine(smollm2), provider.engine(another(smollm2)))
        assert [status.phase for status in provider.statuses()] == [EnginePhase.READY, EnginePhase.READY]
        assert len(workers()) == 2


async def test_what_an_engine_takes_is_told_beside_what_was_set_aside(smollm2: ModelDescriptor) -> None:
    async with provided() as provider:
        await provider.engine(smollm2)
        (engine,) = provider.residency().engines
        assert engine.memory_bytes is not None
        assert engine.resident_bytes is not None
        assert 50 << 20 < engine.resident_bytes < engine.memory_bytes
        assert provider.residency().memory.used_bytes == engine.memory_bytes


async def test_an_idle_model_makes_room_and_comes_back_when_asked(smollm2: ModelDescriptor, client: Any) -> None:
    async with provided(attrs.evolve(SETTINGS, memory_budget_bytes=ONE_OF_TWO)) as provider:
        kept = await provider.engine(smollm2)
        await provider.engine(another(smollm2))
        assert states(provider) == {smollm2.id: ResidencyState.UNLOADED, "another": ResidencyState.READY}
        assert len(workers()) == 1
        assert (await client.ask(kept, client.counting(7))).text
        assert states(provider) == {smollm2.id: ResidencyState.READY, "another": ResidencyState.UNLOADED}


async def test_a_model_at_work_ends_its_answer_before_it_makes_room(smollm2: ModelDescriptor, client: Any) -> None:
    async with provided(attrs.evolve(SETTINGS, memory_budget_bytes=ONE_OF_TWO)) as provider:
        busy = await provider.engine(smollm2)
        async with client.open(busy, client.endless()) as generation:
            waiting = asyncio.ensure_future(provider.engine(another(smollm2)))
            await client.first_text(generation)
            assert states(provider)[smollm2.id] is not ResidencyState.UNLOADED
            assert not waiting.done()
        await waiting
        assert states(provider)[smollm2.id] is ResidencyState.UNLOADED


async def test_what_memory_will_never_hold_is_refused_with_the_figures(smollm2: ModelDescriptor) -> None:
    async with provided(attrs.evolve(SETTINGS, memory_budget_bytes=120 << 20)) as provider:
        with pytest.raises(ModelBrokenError, match=r"it needs .* GiB"):
            await provider.engine(smollm2)


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


async def test_a_closed_provider_refuses_and_leaves_nothing(smollm2: ModelDescriptor) -> None:
    async with provided() as provider:
        await provider.engine(smollm2)
        loading = asyncio.ensure_future(provider.engine(another(smollm2)))
        while len(workers()) < 2:  # noqa: ASYNC110 - nothing to wait on
            await asyncio.sleep(0.001)
        await provider.aclose()
        assert workers() == []
        for late in (loading, provider.engine(smollm2)):
            with pytest.raises(OverloadedError):
                await late
