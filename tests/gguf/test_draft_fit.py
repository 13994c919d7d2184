"""Ours: what a draft model may cost the model that it guesses for: nothing, unless the user named it."""

from __future__ import annotations

import attrs
import pytest

from pensieve_gguf.draft_fit import draft_cost, fit_with_draft
from pensieve_gguf.fit import GPU_RESERVE_BYTES, Fit, Memory, ModelSize, Wishes, fit_model

GIB = 1 << 30
LARGE = ModelSize(weight_bytes=4 * GIB, kv_bytes_per_token=56 << 10, layers=28, trained=32_768)
SMALL = ModelSize(weight_bytes=GIB // 2, kv_bytes_per_token=12 << 10, layers=24, trained=32_768)
LARGER = attrs.evolve(LARGE, weight_bytes=4 * GIB + GIB * 2 // 5)


def beside(
    memory: Memory, *, size: ModelSize = LARGE, wishes: Wishes | None = None, named: bool = False
) -> tuple[Fit, Fit | None]:
    """Return how the larger one is loaded alone, and with the smaller one."""
    wished = wishes or Wishes()
    alone = fit_model(size, memory, wished)
    return alone, fit_with_draft(alone, size, memory, wished, None, draft=draft_cost(SMALL), named=named)


def term(fit: Fit, name: str) -> tuple[int, bool]:
    (found,) = [one for one in fit.terms if one.name == name]
    return found.size_bytes, found.on_gpu


def test_where_there_is_room_a_draft_model_is_a_term_of_the_sum() -> None:
    alone, both = beside(Memory(ram=16 * GIB))
    assert both is not None
    assert both.context == alone.context == 32_768
    assert term(both, "draft model") == (GIB // 2 + 32_768 * (12 << 10) + (64 << 20), False)
    assert "draft model 0.94 GiB" in both.note
    assert "of 16.0 GiB free" in both.note


def test_one_that_was_found_by_itself_does_not_shorten_the_context() -> None:
    for ram in (6 * GIB, 5 * GIB, 5 * GIB - GIB // 3):
        alone, both = beside(Memory(ram=ram))
        assert both is None
    assert alone.context == 2_048, "of which there is not less"


def test_one_that_was_named_may_shorten_it() -> None:
    alone, both = beside(Memory(ram=6 * GIB + GIB // 2), named=True)
    assert both is not None
    assert 16_384 < both.context < alone.context == 32_768


def test_one_that_leaves_no_room_for_the_model_is_left_out_even_if_it_was_named() -> None:
    memory = Memory(ram=4 * GIB + 700 * (1 << 20))
    assert beside(memory, named=True)[1] is None
    assert beside(memory, named=True, wishes=Wishes(context=8_192))[1] is None


def test_on_a_gpu_it_lies_there_and_takes_no_layer_of_the_model_from_it() -> None:
    alone, both = beside(Memory(ram=16 * GIB, gpu=12 * GIB))
    assert both is not None
    assert both.gpu_layers == alone.gpu_layers == 29
    assert term(both, "draft model")[1]
    alone, both = beside(Memory(ram=16 * GIB, gpu=6 * GIB + GIB // 2))
    assert both is None


def on_gpu(fit: Fit) -> int:
    return sum(one.size_bytes for one in fit.terms if one.on_gpu)


@pytest.mark.parametrize("gpu", [8 * GIB + GIB // 2, 9 * GIB, 9 * GIB + GIB // 3])
def test_one_that_was_found_by_itself_does_not_make_batches_smaller(gpu: int) -> None:
    """A prompt would be computed in parts of 128 tokens in place of 2,048."""
    alone, both = beside(Memory(ram=16 * GIB, gpu=gpu), size=LARGER)
    assert alone.batch_tokens == 2_048
    assert both is None
    alone, both = beside(Memory(ram=16 * GIB, gpu=12 * GIB), size=LARGER)
    assert both is not None
    assert both.batch_tokens == 2_048


def test_one_that_was_named_takes_neither_rows_of_a_batch_nor_layers() -> None:
    alone, both = beside(Memory(ram=16 * GIB, gpu=6 * GIB + GIB // 2), named=True)
    assert both is not None
    assert both.context < alone.context
    assert (both.gpu_layers, both.batch_tokens) == (alone.gpu_layers, alone.batch_tokens) == (29, 128)
    alone, both = beside(Memory(ram=16 * GIB, gpu=9 * GIB), size=LARGER, named=True)
    assert both is not None
    assert (both.gpu_layers, both.batch_tokens) == (alone.gpu_layers, alone.batch_tokens) == (29, 2_048)


def test_where_some_layers_have_no_room_on_the_gpu_a_named_one_takes_no_more_of_them() -> None:
    alone, both = beside(Memory(ram=16 * GIB, gpu=5 * GIB + GIB // 2), named=True)
    assert 20 < alone.gpu_layers < 29
    assert both is None, "what is left for layers is less than it takes"


@pytest.mark.parametrize("named", [False, True])
def test_layers_that_were_asked_for_do_not_let_it_take_the_reserve(named: bool) -> None:  # noqa: FBT001 - a parameter
    everything = Wishes(context=32_768, kv_type="f16", gpu_layers=-1)
    memory = Memory(ram=16 * GIB, gpu=7 * GIB + GIB // 3)
    alone, both = beside(memory, wishes=everything, named=named)
    assert on_gpu(alone) <= memory.gpu - GPU_RESERVE_BYTES
    assert both is None
    roomy = attrs.evolve(memory, gpu=9 * GIB)
    _, both = beside(roomy, wishes=everything, named=named)
    assert both is not None
    assert on_gpu(both) <= roomy.gpu - GPU_RESERVE_BYTES


def test_with_layers_that_were_asked_for_a_named_one_that_leaves_no_room_for_any_context_is_left_out() -> None:
    alone, both = beside(Memory(ram=16 * GIB, gpu=6 * GIB - GIB // 10), wishes=Wishes(gpu_layers=-1), named=True)
    assert alone.context > 16_384
    assert both is None
