"""Which models are in memory, and what each of them takes: values of whoever holds several within a budget."""

from __future__ import annotations

import enum

import attrs

from pensieve_core._ids import ModelId

__all__ = ["EngineResidency", "MemoryUse", "Residency", "ResidencyState"]


class ResidencyState(enum.StrEnum):
    """What holds a model's memory now.

    UNLOADED → LOADING → READY → DRAINING → UNLOADED, and LOADING → FAILED where it cannot be loaded. A model that
    drains lets nobody in any more, ends its running answers, and leaves.
    """

    UNLOADED = "unloaded"
    LOADING = "loading"
    READY = "ready"
    DRAINING = "draining"
    FAILED = "failed"


@attrs.frozen(kw_only=True)
class MemoryUse:
    """What all models together may take, and what they take."""

    budget_bytes: int | None = None
    """Of RAM; None: nobody counts."""
    used_bytes: int = 0
    """What is set aside for those that are in memory: a prediction, made before each was loaded."""
    gpu_budget_bytes: int | None = None
    """Of all GPUs together; None: there is none, or nobody counts."""
    gpu_used_bytes: int = 0


@attrs.frozen(kw_only=True)
class EngineResidency:
    """One model that was asked for. Times are Unix seconds."""

    model: ModelId
    state: ResidencyState
    memory_bytes: int | None = None
    """What is set aside for it of the RAM; None: nothing is, or nobody counts."""
    gpu_bytes: int | None = None
    """What is set aside for it on the GPUs; None: nothing is, or nobody counts."""
    resident_bytes: int | None = None
    """What its process takes of the RAM by now; None: it has none, or nobody looks."""
    pinned: bool = False
    """It is not unloaded to make room, nor for being idle."""
    requests: int = 0
    """At work."""
    waiting: int = 0
    """Requests that wait for it to be loaded."""
    progress: float = 0.0
    """Of loading, 0 to 1."""
    detail: str = ""
    """Its last words when it has failed."""
    loaded_at: float | None = None
    last_used_at: float | None = None
    unloads_at: float | None = None
    """When it will be unloaded for being idle, if nobody asks for it; None: it will not."""


@attrs.frozen(kw_only=True)
class Residency:
    """All of it, at one moment."""

    memory: MemoryUse = MemoryUse()
    engines: tuple[EngineResidency, ...] = ()
    """Those that were ever asked for."""
