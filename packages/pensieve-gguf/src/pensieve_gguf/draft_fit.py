"""Whether a draft model fits beside its model. Pure.

One that was found by itself must cost the model nothing: neither context, nor layers on the GPU, nor the type of its
keys and values, nor rows of a batch; only room for further conversations. One that the user named may shorten the
context, and have its keys and values stored as `q8_0`. Neither takes the reserve that is kept on a GPU, nor keeps the
model from being loaded.

Above: `engine.loading`, and `show`. Below: `fit`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeAlias

import attrs

from pensieve_gguf.fit import (
    GPU_RESERVE_BYTES,
    CostOf,
    Fit,
    Memory,
    ModelSize,
    Wishes,
    fit_model,
    margin_bytes,
    shortage,
)
from pensieve_gguf.memory_sum import total_bytes

__all__ = ["DRAFT_KV_TYPE", "DraftCost", "draft_cost", "fit_with_draft"]

DRAFT_KV_TYPE = "f16"
"""Of its keys and values, few as they are."""
_BATCH_BYTES = 64 << 20
"""A draft model's compute buffers, where nobody has asked llama.cpp."""

DraftCost: TypeAlias = Callable[[int], int]
"""Says how many bytes it takes with so many cells, weights and all."""


def draft_cost(draft: ModelSize) -> DraftCost:
    """Return the cost of a draft model, as its metadata say."""
    return lambda cells: draft.weight_bytes + cells * draft.kv_bytes_per_token + _BATCH_BYTES


def fit_with_draft(
    fit: Fit,
    size: ModelSize,
    memory: Memory,
    wishes: Wishes,
    cost: CostOf | None,
    *,
    draft: DraftCost,
    named: bool,
    least_context: int = 0,
) -> Fit | None:
    """Return how to load a model with a draft model beside it, whose context is as long as that of a request.

    Args:
        fit: How to load it without.
        size: Of the model alone.
        memory: As it was fitted into.
        wishes: As it was fitted by.
        cost: Of its contexts.
        draft: Of the draft model.
        named: The user wants it, even if it shortens the context; layers and rows of a batch stay as they are.
        least_context: But not below this, if the model has so much without.

    Returns:
        None: there is no room for it.
    """
    beside = attrs.evolve(size, draft_bytes=draft(fit.context))
    kept = attrs.evolve(wishes, gpu_layers=fit.gpu_layers, batch_tokens=fit.batch_tokens) if named else wishes
    found = fit_model(beside, memory, kept, cost)
    if not _leaves_the_reserve(found, memory):
        return None
    if shortage(found, memory, attrs.evolve(wishes, context=None, cells=None, kept_bytes=None)) is not None:
        return None
    if found.context < min(least_context, fit.context):
        return None
    return found if named or (_costs_nothing(fit, found) and _is_at_ease(found, memory)) else None


def _costs_nothing(fit: Fit, found: Fit) -> bool:
    return _lasting(found) == _lasting(fit)


def _lasting(fit: Fit) -> tuple[object, ...]:
    """Return what nobody is to lose for guesses."""
    return fit.context, fit.kv_type, fit.gpu_layers, fit.batch_tokens


def _leaves_the_reserve(found: Fit, memory: Memory) -> bool:
    """Return whether the GPU holds what lies there, and what is kept for others; the fit itself asks only of RAM."""
    taken = sum(term.size_bytes for term in found.terms if term.on_gpu)
    return not found.gpu_layers or taken <= memory.gpu - GPU_RESERVE_BYTES


def _is_at_ease(found: Fit, memory: Memory) -> bool:
    return total_bytes(found.terms) <= memory.ram - margin_bytes(memory.ram)
