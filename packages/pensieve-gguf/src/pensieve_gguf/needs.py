"""What a model needs to be loaded well, where others could make room for it. Pure.

Well: as much of it on the GPU as there would be without the others, and a context that is long enough. Above:
`engine.loading`, in whose stead another model may leave. Below: `fit`.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs

from pensieve_gguf.fit import CostOf, Memory, ModelSize, Wishes, fit_model
from pensieve_gguf.footprint import Footprint
from pensieve_gguf.memory_sum import total_bytes

__all__ = ["needs"]

_PLENTY = 1 << 50
"""More RAM than there is."""
_SEARCHED = 100
"""What is needed is found to a hundredth."""


def needs(
    size: ModelSize,
    memory: Memory,
    wishes: Wishes,
    cost: CostOf | None = None,
    *,
    least_context: int,
    gpu_most: int = 0,
) -> Footprint | None:
    """Return with how much memory the model would be loaded well. None: with `memory` as it is.

    Args:
        size: The model's.
        memory: What it may take.
        wishes: The user's.
        cost: As for `fit_model`.
        least_context: What it is to have, or all that it was trained for, or all that a GPU of `gpu_most` holds.
        gpu_most: What of the GPUs it could have without the others.
    """
    most = max(memory.gpu, gpu_most)
    least = min(least_context, size.trained, wishes.context or size.trained)
    layers = 0
    if most:
        best = fit_model(size, Memory(ram=_PLENTY, gpu=most, is_limit=True), wishes, cost)
        least, layers = min(least, best.context), best.gpu_layers
    question = _Question(size=size, wishes=wishes, cost=cost, context=least, layers=layers)
    gpu = _smallest(lambda gpu: question.answered(_PLENTY, gpu), memory.gpu, most=most)
    has_ram = question.answered(memory.ram, gpu)
    if has_ram and gpu == memory.gpu:
        return None
    low, high = (0, memory.ram) if has_ram else (memory.ram, _PLENTY)
    return Footprint(ram=_smallest(lambda ram: question.answered(ram, gpu), low, most=high), gpu=gpu)


@attrs.frozen(kw_only=True)
class _Question:
    """Whether some memory is enough."""

    size: ModelSize
    wishes: Wishes
    cost: CostOf | None
    context: int
    layers: int

    def answered(self, ram: int, gpu: int) -> bool:
        fit = fit_model(self.size, Memory(ram=ram, gpu=gpu, is_limit=True), self.wishes, self.cost)
        return fit.context >= self.context and fit.gpu_layers >= self.layers and total_bytes(fit.terms) <= ram


def _smallest(suffices: Callable[[int], bool], low: int, *, most: int) -> int:
    """Return the smallest number from `low` to `most` that suffices, to a hundredth; `most` does."""
    high = low
    while high < most and not suffices(high):
        low, high = high, min(most, 2 * high + 1)
    while high - low > high // _SEARCHED:
        middle = (low + high) // 2
        low, high = (low, middle) if suffices(middle) else (middle, high)
    return high
