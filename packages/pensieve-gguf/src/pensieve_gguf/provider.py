"""Hands out engines: one supervised worker per model, loaded when first asked for."""

from __future__ import annotations

import asyncio

import psutil
import structlog

from pensieve_core import (
    Clock,
    EngineDescription,
    EnginePhase,
    EngineStatus,
    ModelDescriptor,
    ModelId,
    OverloadedError,
)
from pensieve_gguf.settings import GgufSettings
from pensieve_gguf.worker import SupervisedEngine

__all__ = ["GgufProvider", "create_provider"]

_log = structlog.get_logger(__name__)
_RESERVE_BYTES = 1 << 30


class GgufProvider:
    """`EngineProvider` for GGUF files."""

    def __init__(self, settings: GgufSettings, clock: Clock) -> None:
        self._settings = settings
        self._clock = clock
        self._engines: dict[ModelId, SupervisedEngine] = {}
        self._loading = asyncio.Lock()
        self._closed = False

    async def engine(self, model: ModelDescriptor) -> SupervisedEngine:
        """Return the engine of `model`, loading it when it is not there."""
        self._check_open()
        engine = self._engines.get(model.id)
        if engine is None or engine.status.phase is EnginePhase.COLD:
            engine = await self._open(model)
        await engine.start()
        return engine

    def loaded(self, model: ModelId) -> EngineDescription | None:
        """Return what is known of a loaded engine."""
        engine = self._engines.get(model)
        return engine.description if engine is not None and engine.status.phase is EnginePhase.READY else None

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Return the state of every engine that was ever asked for."""
        return tuple(engine.status for engine in self._engines.values())

    async def aclose(self) -> None:
        """Close all engines."""
        self._closed = True
        await asyncio.gather(*(engine.aclose() for engine in self._engines.values()))

    async def _open(self, model: ModelDescriptor) -> SupervisedEngine:
        async with self._loading:
            if model.id not in self._engines:
                await self._make_room(model)
                self._check_open()  # again: it may have waited for the lock, or for room
                self._engines[model.id] = SupervisedEngine(model, self._settings, self._clock)
            return self._engines[model.id]

    def _check_open(self) -> None:
        if self._closed:
            msg = "the server is closing"
            raise OverloadedError(msg)

    async def _make_room(self, model: ModelDescriptor) -> None:
        """Unload idle engines while memory does not hold the newcomer."""
        for model_id, engine in list(self._engines.items()):
            if psutil.virtual_memory().available >= model.size_bytes + _RESERVE_BYTES:
                return
            if not engine.busy:
                _log.info("engine_unloaded", model=model_id, to_make_room_for=model.id)
                del self._engines[model_id]
                await engine.aclose()


def create_provider(settings: GgufSettings, clock: Clock) -> GgufProvider:
    """Return the provider that `pensieve.engines` registers as `gguf`."""
    return GgufProvider(settings, clock)
