"""Ours: design 2, "Limits and memory"."""

from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.fit import ContextCost, Fit, Memory, ModelSize, Wishes, fit_model, shortage
from pensieve_gguf.memory_sum import total_bytes

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


def test_with_little_to_spare_prompts_outside_the_cache_come_before_more_cells_which_take_half_of_the_rest() -> None:
    """4 GiB free: 0.5 nobody's, 1 of weights, 56 MiB of process; a quarter of what is left is for prompts outside."""
    left = 2.5 * GIB - (56 << 20)
    fitting = int(left * 3 / 4) // (28 * KIB) // 256 * 256
    fitted = fit(ram=4)
    assert fitted.kept_bytes == pytest.approx(left / 4, abs=8)
    assert fitted.cells == 32_768 + (fitting - 32_768) // 2 // 256 * 256


def test_with_less_memory_the_context_is_what_fits_beside_the_weights_and_what_else_there_is() -> None:
    """4 GiB free, of which the sum leaves 2,504 MiB for the context and prompts outside: they get an eighth."""
    fitted = fit(attrs.evolve(SMALL, kv_bytes_per_token=128 * KIB), ram=4, kv_type="f16")
    assert (fitted.context, fitted.cells) == (17_408, 17_408)
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


def test_the_note_names_each_term_and_the_sum() -> None:
    size = attrs.evolve(SMALL, weight_bytes=GIB * 3 // 2, vocabulary=49_152, projector_bytes=GIB // 2)
    note = fit(size, cells=32_768, kept_bytes=GIB, keeps_on_disk=True).note
    for part in (
        "32,768 cells (28 KiB a token, f16)",
        "weights 1.50 GiB + projector 0.50 GiB + KV cache 0.88 GiB + process and vocabulary 0.11 GiB = 2.98 GiB",
        "at most 1.00 GiB for prompts outside the cache and 1.61 GiB for copies for the disk",
        "16.0 GiB free",
    ):
        assert part in note


def test_buffers_that_grow_with_the_context_are_counted_beside_it() -> None:
    """Ours: llama.cpp's mask of 512 rows takes a KiB a cell, a third of the cells of a small model."""

    def cost(*, cells: int, kv_type: str, batch_tokens: int) -> ContextCost:
        return ContextCost(cache=cells * 28 * KIB, compute=cells * batch_tokens * 2 + GIB // 2)

    plain, buffered = (fit_model(SMALL, Memory(ram=3 * GIB), Wishes(kv_type="f16"), cost) for cost in (None, cost))
    assert buffered.context < plain.context
    assert {term.name: term.size_bytes for term in buffered.terms}["compute buffers"] > GIB // 2
    assert "compute buffers" in buffered.note


def test_what_is_kept_of_prompts_is_what_the_user_asked_for() -> None:
    assert fit(kept_bytes=123).kept_bytes == 123
    assert fit(kept_bytes=0, ram=2.2).kept_bytes == 0
    assert fit().kept_bytes == 2 * GIB


def test_copies_for_the_disk_have_room_where_there_is_a_disk_tier_alone() -> None:
    assert fit().copy_bytes == 0
    assert fit(ram=64, keeps_on_disk=True).copy_bytes == 2 * GIB
    tight = fit(ram=3, keeps_on_disk=True)
    assert tight.copy_bytes == pytest.approx(tight.kept_bytes, abs=2)


def test_a_type_that_the_model_cannot_have_is_not_chosen_to_save_memory() -> None:
    """Of heads 8 wide llama.cpp makes no q8_0."""

    def cost(*, cells: int, kv_type: str, batch_tokens: int) -> ContextCost:
        return ContextCost(cache=cells * 128 * KIB if kv_type == "f16" else 1 << 62)

    fitted = fit_model(SMALL, Memory(ram=3 * GIB), Wishes(), cost)
    assert fitted.kv_type == "f16"
    assert 2_048 < fitted.context < 32_768


# -- too little ----------------------------------------------------------------------------------------------------


def told(size: ModelSize = SMALL, *, ram: float, is_limit: bool = False, **wishes: Any) -> str | None:
    memory = Memory(ram=int(ram * GIB), is_limit=is_limit)
    return shortage(fit_model(size, memory, Wishes(**wishes)), memory, Wishes(**wishes))


def test_too_little_memory_is_told_with_what_is_needed_and_what_can_be_done() -> None:
    reason = told(ram=1)
    assert reason is not None
    for part in ("needs 1.08 GiB", "context of 2,048 tokens", "weights 1.00 GiB", "1.00 GiB are free", "smaller model"):
        assert part in reason
    assert "shorter" not in reason  # there is no shorter one


def test_enough_is_no_shortage() -> None:
    assert told(ram=4) is None


def test_who_asks_for_more_than_is_free_is_not_stopped() -> None:
    """Only he knows what else he will close."""
    assert told(ram=1, context=32_768) is None


def test_a_limit_that_was_set_is_kept_whatever_else_was_asked_for() -> None:
    reason = told(ram=2, is_limit=True, context=65_536, cells=70_000, kept_bytes=GIB)
    assert reason is not None
    for part in (
        "2.00 GiB may be used",
        "a shorter context, fewer cells, less for prompts outside the cache, or give it more memory",
    ):
        assert part in reason
    f16 = told(ram=2, is_limit=True, context=65_536, kv_type="f16")
    assert f16 is not None
    assert "q8_0" in f16


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
    disk=st.booleans(),
)
def test_an_own_choice_is_within_the_model(size: ModelSize, ram: int, gpu: int, kv: str | None, *, disk: bool) -> None:
    fitted = fit_model(size, Memory(ram=ram, gpu=gpu), Wishes(kv_type=kv, keeps_on_disk=disk))
    assert 0 < fitted.context <= size.trained
    assert fitted.context <= fitted.cells <= 4 * size.trained
    assert 0 <= fitted.gpu_layers <= size.layers + 1
    assert sum(term.size_bytes for term in fitted.terms if term.on_gpu) <= gpu or fitted.context <= 2_048


@given(
    size=sizes,
    ram=st.integers(0, 64 * GIB),
    compute=st.integers(0, 1 << 13),
    kept=st.none() | st.integers(0, 8 * GIB),
    disk=st.booleans(),
)
def test_the_sum_is_within_memory_or_the_shortage_is_told(
    size: ModelSize, ram: int, compute: int, kept: int | None, *, disk: bool
) -> None:
    def cost(*, cells: int, kv_type: str, batch_tokens: int) -> ContextCost:
        per_token = size.kv_bytes_per_token * (17 if kv_type == "q8_0" else 32) // 32
        return ContextCost(cache=cells * per_token, compute=batch_tokens * (cells + compute))

    memory, wishes = Memory(ram=ram, is_limit=True), Wishes(kept_bytes=kept, keeps_on_disk=disk)
    fitted = fit_model(size, memory, wishes, cost)
    assert (total_bytes(fitted.terms) <= ram) == (shortage(fitted, memory, wishes) is None)
    if fitted.context > 2_048 and kept is None:
        assert total_bytes(fitted.terms) + min(GIB, ram // 8) <= ram
