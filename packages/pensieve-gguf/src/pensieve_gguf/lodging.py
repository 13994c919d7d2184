"""One model's place in memory: its engine while it has one, and what is remembered of it while it has none.

A model that comes back is loaded as it was: with the same type of keys and values, for the states on the disk are of no
other use, and with a context no shorter, for its sessions count on it. Above: the provider, which says when.
"""

from __future__ import annotations

import asyncio
from typing import Protocol

import attrs
import psutil

from pensieve_core import (
    Clock,
    EngineDescription,
    EnginePhase,
    EngineResidency,
    EngineStatus,
    ModelBrokenError,
    ModelDescriptor,
    PensieveError,
    ResidencyState,
)
from pensieve_gguf.fit import GPU_RESERVE_BYTES, USEFUL_CONTEXT
from pensieve_gguf.footprint import Footprint
from pensieve_gguf.leases import LoadedEngine
from pensieve_gguf.memory_sum import total_bytes
from pensieve_gguf.settings import GgufSettings
from pensieve_gguf.tenancy import Load, Phase, Tenant
from pensieve_gguf.too_little_memory import TooLittleMemoryError
from pensieve_gguf.worker.messages import Loaded

__all__ = ["LodgedEngine", "Lodging", "OpenEngine"]

_STATES = {
    Phase.ABSENT: ResidencyState.UNLOADED,
    Phase.LOADING: ResidencyState.LOADING,
    Phase.READY: ResidencyState.READY,
    Phase.DRAINING: ResidencyState.DRAINING,
    Phase.LEAVING: ResidencyState.DRAINING,
    Phase.BROKEN: ResidencyState.FAILED,
}


class LodgedEngine(LoadedEngine, Protocol):
    """An engine that loads its model when told to, in a process of its own: `SupervisedEngine`."""

    @property
    def loaded(self) -> Loaded:
        """What was loaded; known once `start` has returned."""
        ...

    @property
    def given_up(self) -> ModelBrokenError | None:
        """Why it will never serve again, if so."""
        ...

    @property
    def worker_pid(self) -> int | None:
        """The process that holds the model now."""
        ...

    async def start(self) -> None:
        """Load the model; see `SupervisedEngine.start`."""
        ...

    async def aclose(self, *, save_s: float | None = None) -> None:
        """End it; see `SupervisedEngine.aclose`."""
        ...


class OpenEngine(Protocol):
    """Makes an engine that is not started yet."""

    def __call__(self, model: ModelDescriptor, settings: GgufSettings, clock: Clock) -> LodgedEngine:
        """Return it."""
        ...


class Lodging:
    """A model, with or without an engine."""

    def __init__(self, model: ModelDescriptor) -> None:
        self.model = model
        self.engine: LodgedEngine | None = None
        self.vacant = asyncio.Event()
        """Nothing is being loaded or closed, and no engine runs."""
        self.vacant.set()
        self._last: Loaded | None = None
        """What was loaded last; a worker that took the place of a dead one may have done with less."""

    def least(self, *, gpu: int) -> Footprint:
        """Return what it takes at least: its weights are as large as its file. `gpu`: so much may lie there."""
        return Footprint(ram=max(1, self.model.size_bytes - gpu))

    @property
    def running(self) -> LodgedEngine:
        """The engine, where it is known that there is one."""
        assert self.engine is not None  # noqa: S101 - the planner lets nobody in before
        return self.engine

    @property
    def status(self) -> EngineStatus:
        """The engine's state."""
        if self.engine is None:
            return EngineStatus(model=self.model.id, phase=EnginePhase.COLD)
        return self.engine.status

    @property
    def loaded(self) -> EngineDescription | None:
        """What is known of the engine, while it is ready."""
        ready = self.engine is not None and self.status.phase is EnginePhase.READY
        return self.running.loaded.description if ready else None

    def describe(self) -> EngineDescription:
        """Return what was loaded last."""
        assert self._last is not None  # noqa: S101 - asked by those who have been let in once
        return self.loaded or self._last.description

    @property
    def footprint(self) -> Footprint:
        """What the engine takes at most, as it predicted; nothing: it does not say."""
        terms = () if self._last is None else self._last.description.memory
        on_gpu = sum(term.size_bytes for term in terms if term.on_gpu)
        return Footprint(ram=total_bytes(terms), gpu=on_gpu + GPU_RESERVE_BYTES if on_gpu else 0)

    @property
    def resident_bytes(self) -> int | None:
        """What the worker takes of the RAM now."""
        pid = None if self.engine is None else self.engine.worker_pid
        try:
            return None if pid is None else psutil.Process(pid).memory_info().rss
        except psutil.Error:  # it has just died
            return None

    async def open(self, settings: GgufSettings, clock: Clock, open_engine: OpenEngine) -> None:
        """Load the model. It was absent before.

        Raises:
            TooLittleMemoryError: it takes more than `settings` allow.
            ModelBrokenError, OverloadedError: it cannot be loaded; then the engine's `status` says why, too.
        """
        self.vacant.clear()
        engine = self.engine = open_engine(self.model, settings, clock)
        try:
            await engine.start()
        except TooLittleMemoryError:
            await self.close()
            raise
        except PensieveError:
            self.vacant.set()
            raise
        self._last = engine.loaded

    def allowed(self, settings: GgufSettings, step: Load, *, alone: bool) -> GgufSettings:
        """Return how the model is to be loaded when it may take so much.

        With less than a useful context, or of the GPU, it is not loaded, unless it is `alone`: nobody else could make
        room.
        """
        wanted = settings.context_tokens or min(self.model.context_tokens, USEFUL_CONTEXT)
        before = None if self._last is None else self._last.description.context_tokens
        return attrs.evolve(
            settings,
            memory_bytes=None if settings.memory_budget_bytes is None else step.room.ram,
            gpu_memory_bytes=None if settings.gpu_memory_budget_bytes is None else step.room.gpu,
            gpu_most_bytes=step.reachable.gpu,
            least_context=None if alone else before or wanted,
            kv_type=settings.kv_type or (None if self._last is None else self._last.kv_type),
        )

    async def close(self, *, save_s: float | None = None) -> None:
        """End the engine, which saves first what it has not yet; its requests hear of it."""
        if self.engine is not None:
            await self.engine.aclose(save_s=save_s)
            self.engine = None
        self.vacant.set()

    def residency(self, tenant: Tenant, *, unloads_at: float | None, ago: float) -> EngineResidency:
        """Return what is told of the model. `ago`: what makes Unix seconds of monotonic ones."""
        return EngineResidency(
            model=self.model.id,
            state=_STATES[tenant.phase],
            memory_bytes=tenant.footprint.ram or None,
            gpu_bytes=tenant.footprint.gpu or None,
            resident_bytes=self.resident_bytes,
            pinned=tenant.pinned,
            requests=len(tenant.running),
            waiting=len(tenant.waiting),
            progress=self.status.progress,
            detail=self.status.detail,
            loaded_at=None if tenant.ready_at is None else tenant.ready_at + ago,
            last_used_at=None if tenant.last_used_at is None else tenant.last_used_at + ago,
            unloads_at=None if unloads_at is None else unloads_at + ago,
        )
