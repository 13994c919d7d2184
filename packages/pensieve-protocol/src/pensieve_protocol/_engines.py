"""`/engines`, and what `/v1/models` says beside Anthropic's own fields: which models are in memory. Ours. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import attrs

from pensieve_core import EngineResidency, MemoryUse, ModelId, Residency, ResidencyState
from pensieve_protocol._parse import parse_object
from pensieve_protocol._times import rfc3339

__all__ = [
    "EngineInfo",
    "EngineList",
    "LoadEngineRequest",
    "LocalModel",
    "engine_info",
    "engine_list",
    "local_model",
    "parse_load_engine_request",
]

EngineState = Literal["unloaded", "loading", "ready", "draining", "failed"]
_STATES: dict[ResidencyState, EngineState] = {
    ResidencyState.UNLOADED: "unloaded",
    ResidencyState.LOADING: "loading",
    ResidencyState.READY: "ready",
    ResidencyState.DRAINING: "draining",
    ResidencyState.FAILED: "failed",
}


@attrs.frozen(kw_only=True)
class LoadEngineRequest:
    """How a model is to be loaded. The body may be left out."""

    pin: bool | None = None
    """Whether it is to stay, whoever else asks for room. null: as it was."""


@attrs.frozen(kw_only=True)
class EngineInfo:
    """One model of the catalog: whether it is in memory, and what it takes there. Times are RFC 3339, UTC."""

    model: ModelId
    state: EngineState
    """`draining`: it lets nobody in any more, ends its running answers, and leaves."""
    memory_bytes: int | None
    """What is set aside for it, predicted before it was loaded; null: nothing is, or nobody counts."""
    gpu_bytes: int | None
    """Likewise of all GPUs together."""
    resident_bytes: int | None
    """What its process takes of the RAM by now; null: it has none, or nobody looks."""
    pinned: bool
    """It is not unloaded to make room, nor for being idle."""
    requests: int
    """At work."""
    waiting: int
    """Requests that wait for it to be loaded."""
    progress: float
    """Of loading, 0 to 1."""
    detail: str
    """Its last words when it has failed."""
    loaded_at: str | None
    last_used_at: str | None
    unloads_at: str | None
    """When it will be unloaded for being idle, if nobody asks for it; null: it will not."""


@attrs.frozen(kw_only=True)
class EngineList:
    """What is in memory."""

    memory: MemoryUse
    engines: tuple[EngineInfo, ...]
    """All models of the catalog, loaded or not, and any other that is in memory still."""


@attrs.frozen(kw_only=True)
class LocalModel:
    """What no hosted model has: a place in memory, or none."""

    state: EngineState
    pinned: bool
    memory_bytes: int | None


def engine_list(residency: Residency, models: Iterable[ModelId]) -> EngineList:
    """Return what is in memory, and which of `models` are not."""
    known = {engine.model: engine for engine in residency.engines}
    listed = {model: known.get(model, _never_asked_for(model)) for model in models} | known
    return EngineList(memory=residency.memory, engines=tuple(engine_info(engine) for engine in listed.values()))


def engine_info(residency: EngineResidency) -> EngineInfo:
    """Return the wire form."""
    return EngineInfo(
        model=residency.model,
        state=_STATES[residency.state],
        memory_bytes=residency.memory_bytes,
        gpu_bytes=residency.gpu_bytes,
        resident_bytes=residency.resident_bytes,
        pinned=residency.pinned,
        requests=residency.requests,
        waiting=residency.waiting,
        progress=residency.progress,
        detail=residency.detail,
        loaded_at=_time(residency.loaded_at),
        last_used_at=_time(residency.last_used_at),
        unloads_at=_time(residency.unloads_at),
    )


def local_model(residency: Residency, model: ModelId) -> LocalModel:
    """Return what `/v1/models` says of `model`."""
    found = next((engine for engine in residency.engines if engine.model == model), _never_asked_for(model))
    return LocalModel(state=_STATES[found.state], pinned=found.pinned, memory_bytes=found.memory_bytes)


def parse_load_engine_request(body: bytes) -> LoadEngineRequest:
    """Return the request in `body`; an empty one asks for nothing special.

    Raises:
        RequestError: 400; it is malformed.
    """
    return parse_object(body, LoadEngineRequest) if body else LoadEngineRequest()


def _never_asked_for(model: ModelId) -> EngineResidency:
    return EngineResidency(model=model, state=ResidencyState.UNLOADED)


def _time(unix_seconds: float | None) -> str | None:
    return None if unix_seconds is None else rfc3339(unix_seconds)
