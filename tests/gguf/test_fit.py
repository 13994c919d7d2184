"""Ours: design 2, "Limits and memory"."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.fit import Fit, fit_context

GIB = 1 << 30
KIB = 1 << 10


def fit(
    *,
    wanted: int | None = None,
    trained: int = 32_768,
    kv_bytes_per_token: int = 28 * KIB,
    kv_type: str = "f16",
    weight_bytes: int = GIB,
    available_bytes: int = 16 * GIB,
) -> Fit:
    return fit_context(
        wanted=wanted,
        trained=trained,
        kv_bytes_per_token=kv_bytes_per_token,
        kv_type=kv_type,
        weight_bytes=weight_bytes,
        available_bytes=available_bytes,
    )


def test_with_memory_enough_the_context_is_what_the_model_was_trained_for() -> None:
    fitted = fit()
    assert fitted.cells == 32_768
    assert "all that the model was trained for" in fitted.note


def test_with_less_memory_the_context_is_what_fits_beside_the_weights_and_a_reserve() -> None:
    """4 GiB free, 1 GiB of weights, 1 GiB kept free: 2 GiB hold 16,384 tokens of 128 KiB."""
    fitted = fit(kv_bytes_per_token=128 * KIB, available_bytes=4 * GIB)
    assert fitted.cells == 16_384
    assert "what memory holds" in fitted.note
    assert "32,768" in fitted.note


def test_q8_0_holds_almost_twice_as_much() -> None:
    """Design 2: `q8_0` takes 0.53 of f16."""
    full = fit(kv_bytes_per_token=512 * KIB, available_bytes=6 * GIB).cells
    half = fit(kv_bytes_per_token=512 * KIB, available_bytes=6 * GIB, kv_type="q8_0").cells
    assert half / full == pytest.approx(1 / 0.53, rel=0.02)


def test_what_the_user_asked_for_is_what_he_gets() -> None:
    fitted = fit(wanted=20_000, available_bytes=0)
    assert fitted.cells == 20_000
    assert "as asked" in fitted.note


def test_the_user_is_told_when_he_asked_for_more_than_the_model_knows() -> None:
    fitted = fit(wanted=65_536)
    assert fitted.cells == 65_536
    assert "trained for 32,768 only" in fitted.note


def test_the_note_shows_the_sum() -> None:
    note = fit(weight_bytes=GIB * 3 // 2, available_bytes=16 * GIB).note
    assert "weights 1.50 GiB" in note
    assert "KV cache 0.88 GiB" in note
    assert "28 KiB a token, f16" in note
    assert "16.0 GiB free" in note


@given(
    trained=st.integers(1, 1 << 20),
    per_token=st.integers(0, 1 << 20),
    weights=st.integers(0, 64 * GIB),
    available=st.integers(0, 256 * GIB),
    kv_type=st.sampled_from(["f16", "q8_0"]),
)
def test_an_own_choice_is_within_the_model_and_within_memory(
    trained: int, per_token: int, weights: int, available: int, kv_type: str
) -> None:
    cells = fit(
        trained=trained,
        kv_bytes_per_token=per_token,
        kv_type=kv_type,
        weight_bytes=weights,
        available_bytes=available,
    ).cells
    assert 0 < cells <= trained
    smallest = min(trained, 2_048)  # below that nothing works; llama.cpp says so itself when memory is really short
    assert cells == smallest or weights + GIB + cells * per_token // 2 <= available
