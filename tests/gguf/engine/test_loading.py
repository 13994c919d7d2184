"""Ours: how a file is to be loaded, decided before it is. Devices are pretended."""

from __future__ import annotations

from pathlib import Path

import attrs
import psutil
import pytest

from pensieve_core import DraftModel, ModelDescriptor, ModelId
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine.draft_loading import DraftPlan, open_draft
from pensieve_gguf.engine.loading import free_memory, plan_file
from pensieve_gguf.fit import Memory
from pensieve_gguf.llama import Abort, Gpu
from pensieve_gguf.too_little_memory import TooLittleMemoryError

GIB, MIB = 1 << 30, 1 << 20
SETTINGS = GgufSettings()


def two_gpus() -> tuple[Gpu, Gpu]:
    return tuple(Gpu(name=name, free_bytes=free * GIB, total_bytes=24 * GIB) for name, free in (("a", 3), ("b", 9)))  # type: ignore[return-value]


def test_what_is_free_on_all_gpus_together_may_be_taken() -> None:
    memory = free_memory(SETTINGS, two_gpus)
    assert memory.gpu == 12 * GIB
    assert not memory.is_limit
    assert 0 < memory.ram <= psutil.virtual_memory().total


def test_what_was_set_is_a_limit_and_no_promise() -> None:
    limited = attrs.evolve(SETTINGS, memory_bytes=5 * GIB, gpu_memory_bytes=4 * GIB)
    assert free_memory(limited, two_gpus) == Memory(ram=5 * GIB, gpu=4 * GIB, is_limit=True)
    assert free_memory(attrs.evolve(SETTINGS, gpu_memory_bytes=40 * GIB), two_gpus).gpu == 12 * GIB
    assert free_memory(attrs.evolve(SETTINGS, gpu_memory_bytes=0), two_gpus).gpu == 0


@pytest.mark.model
def test_a_model_that_others_keep_off_the_gpu_says_what_it_needs_there(smollm2: ModelDescriptor) -> None:
    """The starter: 92 MiB of weights, 96 of 8,192 cells at q8_0, and a GiB of reserve. In RAM, the process alone."""
    sharing = attrs.evolve(SETTINGS, least_context=8_192, gpu_most_bytes=8 * GIB)
    with pytest.raises(TooLittleMemoryError, match="of the GPU") as short:
        plan_file(smollm2, sharing, Memory(ram=16 * GIB, gpu=GIB))
    assert 0.1 * GIB < short.value.needs.ram < 0.12 * GIB
    assert 1_200 * MIB < short.value.needs.gpu < 1_230 * MIB
    fit = plan_file(smollm2, sharing, Memory(ram=16 * GIB, gpu=short.value.needs.gpu)).fit
    assert (fit.gpu_layers, fit.context) == (31, 8_192)


@pytest.mark.model
def test_a_model_that_nobody_makes_room_for_takes_what_there_is(smollm2: ModelDescriptor) -> None:
    for settings in (SETTINGS, attrs.evolve(SETTINGS, least_context=8_192)):
        assert plan_file(smollm2, settings, Memory(ram=16 * GIB, gpu=GIB)).fit.gpu_layers == 0


def guided(model: ModelDescriptor, path: Path, *, named: bool = False) -> ModelDescriptor:
    draft = DraftModel(id=ModelId("small"), path=path, size_bytes=1, parameters=1, named=named)
    return attrs.evolve(model, draft=draft)


@pytest.mark.model
def test_a_named_draft_model_may_shorten_the_context_and_a_paired_one_may_not(smollm2: ModelDescriptor) -> None:
    memory = Memory(ram=650 * MIB)
    assert plan_file(smollm2, SETTINGS, memory).fit.context == 8_192
    paired = plan_file(guided(smollm2, smollm2.path), SETTINGS, memory)
    assert (paired.draft, paired.fit.context) == (None, 8_192)
    assert paired.note is not None
    named = plan_file(guided(smollm2, smollm2.path, named=True), SETTINGS, memory)
    assert named.draft is not None
    assert 2_048 <= named.fit.context < 8_192


@pytest.mark.model
def test_a_model_that_comes_back_has_a_context_no_shorter_whatever_was_named(smollm2: ModelDescriptor) -> None:
    """Its sessions count on it."""
    again = attrs.evolve(SETTINGS, least_context=8_192)
    plan = plan_file(guided(smollm2, smollm2.path, named=True), again, Memory(ram=650 * MIB))
    assert (plan.draft, plan.fit.context) == (None, 8_192)


@pytest.mark.model
def test_a_draft_model_that_goes_bad_while_its_model_is_loaded_is_left_out(
    smollm2: ModelDescriptor, tmp_path: Path
) -> None:
    descriptor = guided(smollm2, tmp_path / "gone.gguf")
    alone = plan_file(smollm2, SETTINGS, Memory(ram=GIB)).fit
    plan = DraftPlan(fit=alone, alone=alone, draft=descriptor.draft)
    draft, note = open_draft(descriptor, plan, SETTINGS, mapped=True, abort=Abort())
    assert draft is None
    assert note is not None
    assert note.startswith("No draft model: gone.gguf cannot guess for ")
