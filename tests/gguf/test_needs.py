"""Ours: what others have to make room for, so that a model is loaded well."""

from __future__ import annotations

from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.fit import Fit, Memory, ModelSize, Wishes, fit_model, shortage
from pensieve_gguf.footprint import Footprint
from pensieve_gguf.memory_sum import total_bytes
from pensieve_gguf.needs import needs

GIB, KIB = 1 << 30, 1 << 10
SMALL = ModelSize(weight_bytes=GIB, kv_bytes_per_token=28 * KIB, layers=28, trained=32_768)
LARGE = ModelSize(weight_bytes=12 * GIB, kv_bytes_per_token=48 * KIB, layers=24, trained=131_072)


def needed(ram: float, least: int, **wishes: Any) -> Footprint | None:
    return needs(SMALL, Memory(ram=int(ram * GIB)), Wishes(**wishes), least_context=least)


def fit(ram: float, size: ModelSize = SMALL, gpu: float = 0) -> Fit:
    return fit_model(size, Memory(ram=int(ram * GIB), gpu=int(gpu * GIB)), Wishes())


def test_who_may_have_a_context_that_is_long_enough_needs_no_more() -> None:
    assert needed(16, 32_768) is None
    assert needed(2.0, 4_096) is None


def test_what_is_needed_for_a_longer_context_is_told_to_a_hundredth() -> None:
    """Weights, cells at q8_0, the process, and a fifth or so for prompts outside the cache and for nobody."""
    more = needed(1.5, 32_768)
    assert more is not None
    assert 1.5 * GIB < more.ram < 2.2 * GIB
    assert more.gpu == 0
    assert fit(more.ram / GIB).context == 32_768
    assert fit(0.97 * more.ram / GIB).context < 32_768


def test_no_model_needs_more_than_it_was_trained_for_or_than_the_user_asked_for() -> None:
    assert needed(1.5, 1_000_000) == needed(1.5, 32_768)
    assert needed(16, 32_768, context=4_096) is None


@given(st.integers(1, 8 * GIB), st.integers(256, 32_768), st.sampled_from([None, "f16", "q8_0"]))
def test_what_is_needed_is_enough_and_more_than_there_is(ram: int, least: int, kv: str | None) -> None:
    wishes = Wishes(kv_type=kv)
    more = needs(SMALL, Memory(ram=ram), wishes, least_context=least)
    limited = Memory(ram=ram if more is None else more.ram, is_limit=True)
    fitted = fit_model(SMALL, limited, wishes)
    assert fitted.context >= least
    assert shortage(fitted, limited, wishes) is None
    assert more is None or more.ram > ram


# -- on a GPU ------------------------------------------------------------------------------------------------------


def on_gpu(gpu: float, most: float, *, ram: float = 32, least: int = 32_768, **wishes: Any) -> Footprint | None:
    memory = Memory(ram=int(ram * GIB), gpu=int(gpu * GIB))
    return needs(LARGE, memory, Wishes(**wishes), least_context=least, gpu_most=int(most * GIB))


def test_a_model_that_would_lie_on_the_gpu_if_others_left_needs_them_to() -> None:
    """RAM would hold it, but a CPU would compute it. Weights, 0.8 GiB of cells, and the reserve."""
    more = on_gpu(3, most=24)
    assert more is not None
    assert 13.8 * GIB < more.gpu < 14.1 * GIB
    assert 0 < more.ram < GIB, "the RAM that it had is not what it needs"
    assert fit(32, LARGE, more.gpu / GIB).gpu_layers == 25
    assert fit(32, LARGE, 0.97 * more.gpu / GIB).gpu_layers < 25


def test_who_lies_on_the_gpu_as_far_as_it_ever_can_needs_no_more() -> None:
    assert on_gpu(16, most=24) is None
    assert on_gpu(8, most=8) is None
    assert on_gpu(8, most=0) is None


def test_what_the_user_wants_in_ram_needs_nothing_of_the_gpu() -> None:
    assert on_gpu(3, most=24, gpu_layers=0) is None


def test_what_the_gpu_does_not_hold_has_to_fit_into_ram() -> None:
    more = on_gpu(8, most=8, ram=2)
    assert more is not None
    assert more.gpu == 8 * GIB
    assert 5 * GIB < more.ram < 9 * GIB


def test_a_context_that_no_gpu_of_this_machine_holds_is_not_waited_for() -> None:
    """It had all that it was trained for while it lay in RAM."""
    assert on_gpu(15, most=15, least=131_072) is None
    more = on_gpu(14, most=15, least=131_072)
    assert more is not None
    assert 14 * GIB < more.gpu <= 15 * GIB


@given(
    st.integers(1, 40 * GIB),
    st.integers(0, 30 * GIB),
    st.integers(0, 30 * GIB),
    st.sampled_from([2_048, 32_768, 1 << 17]),
)
def test_with_what_it_needs_a_model_needs_no_more(ram: int, gpu: int, most: int, least: int) -> None:
    wishes = Wishes()
    more = needs(LARGE, Memory(ram=ram, gpu=gpu), wishes, least_context=least, gpu_most=most)
    had = more or Footprint(ram=ram, gpu=gpu)
    assert more is None or not more.fits(Footprint(ram=ram, gpu=gpu))
    assert had.gpu >= gpu
    assert had.gpu <= max(gpu, most)
    assert needs(LARGE, Memory(ram=had.ram, gpu=had.gpu), wishes, least_context=least, gpu_most=most) is None
    fitted = fit_model(LARGE, Memory(ram=had.ram, gpu=had.gpu, is_limit=True), wishes)
    assert total_bytes(fitted.terms) <= had.ram
    best = fit_model(LARGE, Memory(ram=1 << 45, gpu=max(gpu, most)), wishes)
    assert fitted.gpu_layers == best.gpu_layers


@given(st.integers(0, 1 << 17))
def test_a_fit_that_knows_its_cells_is_asked_for_as_many(cells: int) -> None:
    wishes = Wishes(cells=cells or None)
    more = needs(attrs.evolve(SMALL, trained=8_192), Memory(ram=1), wishes, least_context=8_192)
    assert more is not None
    assert more.ram >= GIB + cells * 28 * KIB * 17 // 32
