"""Ours: design 2, "Batch assembly". A stream's gaps stay in proportion to what they are without prefill beside it."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from pensieve_gguf.engine.pace import Pace


def learned(*, decode_s: float = 0.1, prefill_s: float = 0.01) -> Pace:
    """Return the pace of a machine with these costs of one row and of one prompt token."""
    pace = Pace(batch_tokens=512, stretch=3.0)
    pace.note(streaming=1, prefilled=0, elapsed_s=decode_s)
    pace.note(streaming=0, prefilled=100, elapsed_s=100 * prefill_s)
    return pace


def test_before_anything_is_known_the_batch_is_filled() -> None:
    pace = Pace(batch_tokens=512, stretch=3.0)
    assert (pace.budget(0), pace.budget(2)) == (512, 510)


def test_beside_a_stream_a_step_takes_so_many_times_as_long_and_no_longer() -> None:
    assert learned(decode_s=0.1, prefill_s=0.01).budget(1) == 20


def test_beside_a_fast_stream_a_step_takes_as_long_as_nobody_sees() -> None:
    """Measured: SmolLM2 beside a stream prefilled 3,040 tokens in 56 s, four at a time; alone it takes 8.5 s."""
    assert learned(decode_s=0.01, prefill_s=0.001).budget(1) == 80


def test_when_nobody_streams_the_batch_is_filled_unless_that_takes_too_long() -> None:
    assert learned(prefill_s=0.001).budget(0) == 512
    assert learned(prefill_s=0.1).budget(0) == 100


def test_prefill_goes_on_however_slow_the_machine_is() -> None:
    assert learned(decode_s=0.001, prefill_s=5.0).budget(1) == 1
    assert learned(prefill_s=50.0).budget(0) == 1


def test_what_the_streams_cost_is_not_charged_to_prefill() -> None:
    pace = learned(decode_s=0.1, prefill_s=0.01)
    for _ in range(50):
        pace.note(streaming=1, prefilled=10, elapsed_s=0.1 + 10 * 0.02)
    assert pace.budget(1) == 10


def test_of_an_unseen_number_of_streams_the_nearest_is_taken() -> None:
    pace = learned(decode_s=0.1, prefill_s=0.01)
    pace.note(streaming=8, prefilled=0, elapsed_s=0.4)
    assert (pace.budget(2), pace.budget(7)) == (20, 80)


def test_a_step_that_held_nothing_teaches_nothing() -> None:
    pace = learned()
    pace.note(streaming=0, prefilled=0, elapsed_s=9.0)
    assert pace.budget(1) == 20


@given(
    streaming=st.integers(0, 511),
    notes=st.lists(st.tuples(st.integers(0, 64), st.integers(0, 512), st.floats(0, 1_000)), max_size=20),
)
def test_the_budget_is_never_empty_and_never_more_than_the_batch_has_left(
    streaming: int, notes: list[tuple[int, int, float]]
) -> None:
    pace = Pace(batch_tokens=512, stretch=3.3)
    for rows, prefilled, elapsed_s in notes:
        pace.note(streaming=rows, prefilled=prefilled, elapsed_s=elapsed_s)
    assert 1 <= pace.budget(streaming) <= 512 - streaming
