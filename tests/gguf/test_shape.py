"""Ours: what is foreseen of a model without its file is what llama.cpp says once there is one, or a little more."""

from __future__ import annotations

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_core import ModelDescriptor
from pensieve_gguf import GgufSettings
from pensieve_gguf.fit import Memory, Wishes, fit_model
from pensieve_gguf.llama import ContextShape, Model, context_bytes
from pensieve_gguf.shape import ModelShape, cost_by_shape, is_of_use, size_by_shape

MIB, GIB = 1 << 20, 1 << 30
SEQUENCES = GgufSettings().slots_with_state
SMOLLM2 = ModelShape(
    weight_bytes=96_576_768, trained=8_192, layers=30, cached_layers=30, kv_heads=3, head_size=64, vocabulary=49_152
)
QWEN_9B = ModelShape(
    weight_bytes=5_680_522_464,
    trained=262_144,
    layers=32,
    cached_layers=8,
    kv_heads=4,
    head_size=256,
    vocabulary=248_320,
    state_bytes=52_690_944,
)
QWEN_27B = attrs.evolve(QWEN_9B, layers=64, cached_layers=16, state_bytes=156_893_184)
QWEN_14B = attrs.evolve(QWEN_9B, layers=48, cached_layers=48, kv_heads=8, head_size=128, state_bytes=0)
GPT_OSS = attrs.evolve(QWEN_9B, layers=24, cached_layers=12, kv_heads=8, head_size=64, state_bytes=3_145_728)


@pytest.mark.parametrize(
    ("shape", "kv_type", "batch_tokens", "cells", "said_mib"),
    [
        (QWEN_9B, "f16", 128, 2_048, (918, 105)),
        (QWEN_9B, "q8_0", 512, 131_072, (3_030, 285)),
        (QWEN_27B, "f16", 512, 32_768, (4_592, 239)),
        (QWEN_27B, "q8_0", 128, 32_768, (3_632, 153)),
        (QWEN_14B, "q8_0", 128, 2_048, (204, 87)),
        (QWEN_14B, "f16", 512, 131_072, (24_576, 290)),
        (GPT_OSS, "f16", 128, 32_768, (822, 54)),
        (GPT_OSS, "f16", 512, 131_072, (3_138, 243)),
    ],
)
def test_the_cost_of_a_context_is_what_llama_cpp_says_of_such_a_shape(
    shape: ModelShape, kv_type: str, batch_tokens: int, cells: int, said_mib: tuple[int, int]
) -> None:
    """llama.cpp 0.3.36, in dry runs of files with these shapes and a hole for weights; 17 sequences, 31 drafts."""
    cache_mib, compute_mib = said_mib
    cost = cost_by_shape(shape, sequences=SEQUENCES)(cells=cells, kv_type=kv_type, batch_tokens=batch_tokens)
    assert cost.cache / MIB == pytest.approx(cache_mib, rel=0.02)
    assert compute_mib <= cost.compute / MIB <= compute_mib + 270


@pytest.mark.model
def test_of_the_starter_model_it_is_what_its_file_says(smollm2: ModelDescriptor) -> None:
    model = Model(smollm2.path, dry=True, gpu_layers=0)
    size = size_by_shape(SMOLLM2)
    assert (size.kv_bytes_per_token, size.layers) == (model.kv_bytes_per_token, model.layers)
    assert (size.trained, size.vocabulary) == (model.trained_context, model.vocabulary_size)
    for kv_type in ("f16", "q8_0"):
        shape = ContextShape(cells=8_192, sequences=49, batch_tokens=128, threads=1, kv_type=kv_type, drafted=31)
        said = context_bytes(model, shape)
        assert said is not None
        cost = cost_by_shape(SMOLLM2, sequences=SEQUENCES)(cells=8_192, kv_type=kv_type, batch_tokens=128)
        assert cost.cache == pytest.approx(said.cache, rel=0.001)
        assert said.compute + said.output <= cost.compute <= said.compute + said.output + 80 * MIB
    model.close()


def of_use(shape: ModelShape, *, ram: float, gpu: float = 0, wishes: Wishes | None = None) -> bool:
    memory, wished = Memory(ram=int(ram * GIB), gpu=int(gpu * GIB)), wishes or Wishes()
    size = size_by_shape(shape)
    fit = fit_model(size, memory, wished, cost_by_shape(shape, sequences=SEQUENCES))
    return is_of_use(fit, size, memory, wished)


def test_a_model_is_of_use_where_claude_codes_first_prompt_has_room_beside_it() -> None:
    """States alone take 0.9 GB, and 32,768 tokens half a GB more at q8_0."""
    assert of_use(QWEN_9B, ram=10)
    assert not of_use(QWEN_9B, ram=7.5)


def test_on_a_gpu_ram_need_hold_the_process_alone() -> None:
    assert of_use(QWEN_9B, ram=2, gpu=16)
    assert not of_use(QWEN_9B, ram=0.2, gpu=16)


def test_a_part_of_a_model_on_the_gpu_leaves_the_rest_to_ram() -> None:
    assert of_use(QWEN_27B, ram=32, gpu=4)
    assert not of_use(attrs.evolve(QWEN_27B, weight_bytes=30 * GIB), ram=16, gpu=4)


def test_who_asks_for_a_short_context_finds_a_model_of_use_that_has_it() -> None:
    assert of_use(QWEN_9B, ram=7.5, wishes=Wishes(context=2_048))


def test_a_model_that_was_trained_for_little_is_of_use_with_all_of_it() -> None:
    assert of_use(SMOLLM2, ram=2)


def test_what_was_asked_for_does_not_fit_by_being_asked_for() -> None:
    """The loader honours it, for only the user knows what else he will close; it is not recommended."""
    assert not of_use(QWEN_9B, ram=10, wishes=Wishes(context=262_144, kv_type="f16"))


@given(st.integers(0, 64 * GIB), st.integers(0, 64 * GIB), st.sampled_from([QWEN_9B, QWEN_14B, SMOLLM2]))
def test_more_memory_never_makes_a_model_useless(less: int, more: int, shape: ModelShape) -> None:
    less, more = sorted((less, more))
    assert of_use(shape, ram=more / GIB) or not of_use(shape, ram=less / GIB)
