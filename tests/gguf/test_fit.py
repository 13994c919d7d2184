"""Ours: design 2, "Limits and memory"."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.fit import Fit, Memory, ModelSize, Wishes, fit_model

GIB = 1 << 30
KIB = 1 << 10
SMALL = ModelSize(weight_bytes=GIB, kv_bytes_per_token=28 * KIB, layers=28, trained=32_768)
DEEPSEEK = ModelSize(weight_bytes=4 * GIB, kv_bytes_per_token=512 * KIB, layers=32, trained=16_384)


def fit(size: ModelSize = SMALL, *, ram: float = 16, gpu: float = 0, **wishes: Any) -> Fit:
    return fit_model(size, Memory(ram=int(ram * GIB), gpu=int(gpu * GIB)), Wishes(**wishes))


def test_with_memory_enough_the_context_is_what_the_model_was_trained_for() -> None:
    fitted = fit()
    assert (fitted.context, fitted.kv_type, fitted.gpu_layers, fitted.batch_tokens) == (32_768, "f16", 0, 512)
    assert "all that the model was trained for" in fitted.note


def test_with_memory_to_spare_the_cells_hold_several_conversations() -> None:
    assert fit().cells == 4 * 32_768


def test_with_little_to_spare_the_cells_take_half_of_it() -> None:
    """4 GiB free, 1 of weights, 1 kept free: 74,898 tokens fit; one context, and half of what is left."""
    assert fit(ram=4).cells == 32_768 + (74_898 - 32_768) // 2 // 256 * 256


def test_with_less_memory_the_context_is_what_fits_beside_the_weights_and_a_reserve() -> None:
    """4 GiB free, 1 GiB of weights, 1 GiB kept free: 2 GiB hold 16,384 tokens of 128 KiB."""
    fitted = fit(attrs.evolve(SMALL, kv_bytes_per_token=128 * KIB), ram=4, kv_type="f16")
    assert (fitted.context, fitted.cells) == (16_384, 16_384)
    assert "what memory holds" in fitted.note
    assert "32,768" in fitted.note


def test_keys_and_values_are_halved_before_the_context_is() -> None:
    """Claude Code starts at some 25,000 tokens."""
    fitted = fit(attrs.evolve(SMALL, kv_bytes_per_token=128 * KIB), ram=5)
    assert fitted.kv_type == "q8_0"
    assert fitted.context == 32_768


def test_q8_0_holds_almost_twice_as_much() -> None:
    """Design 2: `q8_0` takes 0.53 of f16."""
    full, half = (fit(DEEPSEEK, ram=9, kv_type=kv_type).context for kv_type in ("f16", "q8_0"))
    assert half / full == pytest.approx(1 / 0.53, rel=0.04)


def test_what_the_user_asked_for_is_what_he_gets() -> None:
    fitted = fit(ram=0, context=20_000, cells=30_000, kv_type="q8_0", batch_tokens=64)
    assert (fitted.context, fitted.cells, fitted.kv_type, fitted.batch_tokens) == (20_000, 30_000, "q8_0", 64)
    assert "as asked" in fitted.note


def test_the_cells_hold_one_full_request_at_least() -> None:
    assert fit(context=20_000, cells=10_000).cells == 20_000


def test_the_user_is_told_when_he_asked_for_more_than_the_model_knows() -> None:
    fitted = fit(context=65_536)
    assert fitted.context == 65_536
    assert "trained for 32,768 only" in fitted.note


def test_a_tight_machine_gets_a_small_batch() -> None:
    assert fit(ram=4).batch_tokens == 128


def test_the_note_shows_the_sum() -> None:
    note = fit(attrs.evolve(SMALL, weight_bytes=GIB * 3 // 2), cells=32_768).note
    for part in ("weights 1.50 GiB", "KV cache 0.88 GiB", "28 KiB a token, f16", "16.0 GiB free", "32,768 cells"):
        assert part in note


# -- on a GPU ------------------------------------------------------------------------------------------------------


def test_a_model_that_fits_lies_on_the_gpu_as_a_whole() -> None:
    fitted = fit(DEEPSEEK, gpu=80)
    assert (fitted.gpu_layers, fitted.batch_tokens) == (33, 2_048)
    assert fitted.cells == 4 * 16_384
    assert "80.0 GiB free on the GPU (33 of 33 layers there)" in fitted.note


def test_of_a_model_that_does_not_fit_the_gpu_holds_as_many_layers_as_it_can() -> None:
    """Each of 33 takes 4/33 GiB of weights and 4.25/33 GiB of keys and values; 5 GiB hold 20."""
    assert fit(DEEPSEEK, gpu=6).gpu_layers == 20


def test_a_gpu_that_is_full_already_computes_nothing() -> None:
    assert fit(DEEPSEEK, gpu=0.5).gpu_layers == 0


@pytest.mark.parametrize(("asked", "given"), [(-1, 33), (0, 0), (10, 10), (99, 33)])
def test_as_many_layers_as_the_user_asked_for(asked: int, given: int) -> None:
    assert fit(DEEPSEEK, gpu=80, gpu_layers=asked).gpu_layers == given


def test_without_a_gpu_no_layer_is_on_one_whatever_was_asked() -> None:
    assert fit(gpu_layers=-1).gpu_layers == 0


sizes = st.builds(
    ModelSize,
    weight_bytes=st.integers(0, 64 * GIB),
    kv_bytes_per_token=st.integers(0, 1 << 20),
    layers=st.integers(1, 100),
    trained=st.integers(1, 1 << 20),
)


@given(
    size=sizes,
    ram=st.integers(0, 256 * GIB),
    gpu=st.just(0) | st.integers(0, 256 * GIB),
    kv=st.sampled_from(["f16", None]),
)
def test_an_own_choice_is_within_the_model_and_within_memory(
    size: ModelSize, ram: int, gpu: int, kv: str | None
) -> None:
    fitted = fit_model(size, Memory(ram=ram, gpu=gpu), Wishes(kv_type=kv))
    assert 0 < fitted.context <= size.trained
    assert fitted.context <= fitted.cells <= 4 * size.trained
    assert 0 <= fitted.gpu_layers <= size.layers + 1
    smallest = min(
        size.trained, 2_048
    )  # below that nothing works; llama.cpp says so itself when memory is really short
    assert (
        fitted.cells == smallest or size.weight_bytes + GIB + fitted.cells * size.kv_bytes_per_token // 2 <= ram + gpu
    )
