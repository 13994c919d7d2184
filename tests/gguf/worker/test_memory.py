"""Ours: what the fit predicts is what a worker takes, and no budget is exceeded.

The peak of a worker's resident memory, as Linux counts it (`VmHWM`, proc_pid_status(5)), after loading, and after
prompts of several sequences at once and a long one have left the cache for the shelf.
"""

from __future__ import annotations

import asyncio
import re
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil
import pytest

from pensieve_core import MemoryTerm, ModelBrokenError
from pensieve_gguf.memory_sum import total_bytes
from pensieve_gguf.worker import SupervisedEngine

pytestmark = [pytest.mark.model, pytest.mark.skipif(sys.platform != "linux", reason="the peak is read from /proc")]

MIB = 1 << 20
LONG, SHORT, PROMPTS = 2_000, 400, 4
KEPT_BYTES = 24 * MIB
"""Less than those prompts take, so that the shelf is full at the end."""


def peak_bytes() -> int:
    (worker,) = psutil.Process().children()
    status = Path(f"/proc/{worker.pid}/status").read_text("ascii")
    return int(re.findall(r"VmHWM:\s+(\d+) kB", status)[0]) << 10


def taken(terms: Sequence[MemoryTerm]) -> int:
    """Return what is taken from the start."""
    return total_bytes(term for term in terms if not term.at_most)


def words(tokens: int, seed: int) -> str:
    """Return as many words, none of which another seed begins with; SmolLM2 has 1.4 tokens for one of them."""
    return " ".join(f"{'abcdefg'[(number * seed) % 7]}{number}" for number in range(seed, seed + int(tokens / 3.6)))


@pytest.mark.timeout(300)
@pytest.mark.parametrize("budget", [640 * MIB, 2_048 * MIB], ids=lambda budget: f"{budget // MIB} MiB")
async def test_the_peak_is_within_ten_percent_of_the_prediction_and_within_the_budget(
    open_supervised: Any, client: Any, budget: int
) -> None:
    engine: SupervisedEngine = open_supervised(
        context_tokens=None, memory_bytes=budget, cache_ram_bytes=KEPT_BYTES, threads=2
    )
    await engine.start()
    terms = engine.description.memory
    try:
        loaded = peak_bytes()
        await client.ask(engine, client.request(words(LONG, 3), max_tokens=2))
        for base in (10, 20):
            asked = (client.request(words(SHORT, base + number), max_tokens=2) for number in range(PROMPTS))
            await asyncio.gather(*(client.ask(engine, request) for request in asked))
        busy = peak_bytes()
    finally:
        await engine.aclose()
    assert total_bytes(terms) <= budget
    assert loaded == pytest.approx(taken(terms), rel=0.1)
    assert busy == pytest.approx(total_bytes(terms), rel=0.1)
    assert busy <= budget


async def test_what_memory_does_not_hold_is_refused_with_the_sum_and_before_anything_is_loaded(
    open_supervised: Any,
) -> None:
    engine: SupervisedEngine = open_supervised(context_tokens=None, memory_bytes=100 * MIB)
    with pytest.raises(
        ModelBrokenError, match=r"it needs 0\.2\d GiB with a context of 2,048 tokens \(weights 0\.09 GiB"
    ):
        await engine.start()
    await engine.aclose()
