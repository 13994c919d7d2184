"""Ours: a model is served with a LoRA adapter by an engine of its own, and shares with no other what was computed."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import numpy as np
import pytest

from gguf import GGUFWriter
from pensieve_core import AppliedAdapter, LoraAdapter, ModelDescriptor, ModelId
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.llama import LoadError
from pensieve_inference import SystemClock

pytestmark = pytest.mark.model

WIDTH, RANK = 576, 4
HEAD = "You are the keeper of a lighthouse, and answer in few words. " * 60
"""Some 800 tokens: enough to be kept on the disk."""


def write_adapter(path: Path, *, width: int = WIDTH) -> LoraAdapter:
    """Write changes to the queries of SmolLM2's first layers: random, and strong enough to be heard."""
    writer = GGUFWriter(path, "llama")
    writer.add_type("adapter")
    writer.add_string("adapter.type", "lora")
    writer.add_float32("adapter.lora.alpha", 16.0)
    random = np.random.default_rng(3)
    for layer in range(8):
        for name, shape in (("a", (RANK, width)), ("b", (width, RANK))):
            values = random.standard_normal(shape, dtype=np.float32) * 0.2
            writer.add_tensor(f"blk.{layer}.attn_q.weight.lora_{name}", values)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return LoraAdapter(name=path.stem, path=path, size_bytes=path.stat().st_size)


Adapted = Callable[[float], ModelDescriptor]


@pytest.fixture(scope="module")
def adapted(smollm2: ModelDescriptor, tmp_path_factory: pytest.TempPathFactory) -> Adapted:
    adapter = write_adapter(tmp_path_factory.mktemp("adapters") / "keeper.gguf")

    def adapted(scale: float) -> ModelDescriptor:
        applied = AppliedAdapter(adapter=adapter, scale=scale)
        return attrs.evolve(smollm2, id=ModelId(f"smollm2+keeper:{scale:g}"), adapters=(adapter,), applied=applied)

    return adapted


def load(model: ModelDescriptor, **knobs: Any) -> GgufEngine:
    return GgufEngine.load(model, GgufSettings(**{"context_tokens": 2_048, "threads": 1, **knobs}), SystemClock())


async def told(model: ModelDescriptor, client: Any) -> str:
    engine = load(model)
    try:
        return str((await client.ask(engine, client.request("Tell me about ships.", max_tokens=24))).text)
    finally:
        await engine.aclose()


async def test_an_adapter_changes_what_is_said_as_strongly_as_it_is_scaled(
    smollm2: ModelDescriptor, adapted: Adapted, client: Any
) -> None:
    plain = await told(smollm2, client)
    assert await told(adapted(0.0), client) == plain
    assert await told(adapted(1.0), client) != plain


async def test_the_adapter_is_a_term_of_the_sum_and_named_in_a_note(adapted: Adapted) -> None:
    model = adapted(0.5)
    engine = load(model)
    description = engine.description
    await engine.aclose()
    assert {term.name: term.size_bytes for term in description.memory}["adapter"] == model.adapters[0].size_bytes
    assert "Changed by the LoRA adapter keeper, scaled by 0.5." in description.notes


async def test_what_lies_on_the_disk_serves_the_same_model_with_the_same_adapter_alone(
    smollm2: ModelDescriptor, adapted: Adapted, client: Any, tmp_path: Path
) -> None:
    request = client.request("Hello!", system=HEAD, max_tokens=2)

    async def cached(model: ModelDescriptor) -> int:
        engine = load(model, cache_folder=tmp_path)
        answered = await client.ask(engine, request)
        await asyncio.wait_for(engine.aclose(), 60)  # what it has, it saves
        return int(answered.finish.usage.cached_tokens)

    assert await cached(smollm2) == 0
    assert await cached(smollm2) > 500
    assert await cached(adapted(1.0)) == 0
    assert await cached(adapted(0.5)) == 0
    assert await cached(adapted(1.0)) > 500


def test_an_adapter_of_another_shape_is_refused_and_leaves_nothing_behind(
    smollm2: ModelDescriptor, tmp_path: Path
) -> None:
    adapter = write_adapter(tmp_path / "wide.gguf", width=WIDTH * 2)
    with pytest.raises(LoadError):
        load(attrs.evolve(smollm2, applied=AppliedAdapter(adapter=adapter)))


def test_an_adapter_that_is_none_is_refused(smollm2: ModelDescriptor, tmp_path: Path) -> None:
    path = tmp_path / "none.gguf"
    path.write_bytes(b"GGUF" * 10)
    with pytest.raises(LoadError):
        load(attrs.evolve(smollm2, applied=AppliedAdapter(adapter=LoraAdapter(name="none", path=path, size_bytes=40))))
