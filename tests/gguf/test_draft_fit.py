"""Ours: what a draft model may cost the model that it guesses for: nothing, unless the user named it."""

from __future__ import annotations

from pensieve_gguf.draft_fit import draft_cost, fit_with_draft
from pensieve_gguf.fit import Fit, Memory, ModelSize, Wishes, fit_model

GIB = 1 << 30
LARGE = ModelSize(weight_bytes=4 * GIB, kv_bytes_per_token=56 << 10, layers=28, trained=32_768)
SMALL = ModelSize(weight_bytes=GIB // 2, kv_bytes_per_token=12 << 10, layers=24, trained=32_768)


def beside(memory: Memory, *, wishes: Wishes | None = None, named: bool = False) -> tuple[Fit, Fit | None]:
    """Return how the larger one is loaded alone, and with the smaller one."""
    wished = wishes or Wishes()
    alone = fit_model(LARGE, memory, wished)
    return alone, fit_with_draft(alone, LARGE, memory, wished, None, draft=draft_cost(SMALL), named=named)


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
