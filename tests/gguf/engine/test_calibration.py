"""Ours: design 2, "Batch assembly": t(n) is calibrated at start."""

from __future__ import annotations

import itertools
from typing import Any, cast

import pytest

from pensieve_gguf.engine.calibration import calibrate
from pensieve_gguf.llama import Rows


class TickingContext:
    """Takes one tick of its clock for a decode of any size."""

    def __init__(self, cells: int, batch_tokens: int) -> None:
        self.cells = cells
        self.batch_tokens = batch_tokens
        self.held = 0
        self.cleared = False
        self.decodes = 0

    def decode(self, rows: list[Rows]) -> None:
        (row,) = rows
        self.decodes += 1
        assert row.start == self.held
        assert len(row.tokens) <= self.batch_tokens
        self.held += len(row.tokens)
        assert self.held <= self.cells

    def clear(self) -> None:
        self.cleared = True


@pytest.mark.parametrize(
    ("tick_s", "cells", "batch_tokens", "chunks"),
    [
        (0.01, 512, 512, [16, 128]),
        (1.0, 512, 512, [16]),
        (0.01, 100, 512, [16]),
        (0.01, 512, 64, [16]),
        (0.01, 8, 512, []),
    ],
    ids=["fast", "slow", "few cells", "small batch", "hardly any cells"],
)
def test_what_a_row_and_a_prompt_token_cost_is_measured_as_far_as_that_is_quick(
    tick_s: float, cells: int, batch_tokens: int, chunks: list[int]
) -> None:
    context, ticks = TickingContext(cells, batch_tokens), itertools.count()
    times = calibrate(cast("Any", context), lambda: next(ticks) * tick_s)
    assert [time.prefilled for time in times if time.prefilled] == chunks
    assert [time.streaming for time in times if not time.prefilled] == [1, 1]
    assert all(time.elapsed_s == pytest.approx(tick_s) for time in times)
    assert context.cleared


@pytest.mark.parametrize("decodes", range(5))
def test_whoever_asks_meanwhile_does_not_wait_for_the_rest(decodes: int) -> None:
    """After a restart the first request comes as soon as the model is there. What was aborted is not learned."""
    context, ticks = TickingContext(512, 512), itertools.count()
    asked = iter([True] * decodes)
    times = calibrate(cast("Any", context), lambda: next(ticks) * 0.01, lambda: next(asked, False))
    assert len(times) == max(0, decodes - 1)
    assert context.decodes == (decodes + 1 if decodes else 0)
    assert context.cleared
