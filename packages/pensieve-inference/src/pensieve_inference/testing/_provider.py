"""A provider of the one engine that plays scripts."""

from __future__ import annotations

import attrs

from pensieve_core import (
    EngineDescription,
    EnginePhase,
    EngineResidency,
    EngineStatus,
    ModelDescriptor,
    ModelId,
    OverloadedError,
    PensieveError,
    Residency,
    ResidencyState,
)
from pensieve_inference._protocols import InferenceEngine
from pensieve_inference.testing._engine import ScriptedEngine

__all__ = ["ScriptedProvider"]


class ScriptedProvider:
    """`EngineProvider` that always hands out the same engine, and `EngineLoader` that only pretends.

    Args:
        engine: What `engine()` returns.
        error: When given, what `engine()` raises instead.
    """

    def __init__(self, engine: ScriptedEngine | None = None, *, error: PensieveError | None = None) -> None:
        self._engine = engine or ScriptedEngine()
        self._error = error
        self._residents: dict[ModelId, EngineResidency] = {}
        self.closed = False

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        """Return the engine, or raise the error."""
        await self.load(model)
        return self._engine

    def loaded(self, model: ModelId) -> EngineDescription | None:
        """Return the engine's description for its own model."""
        description = self._engine.description
        return description if description.model.id == model else None

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Return one status: broken when an error was given, else ready."""
        phase = EnginePhase.BROKEN if self._error else EnginePhase.READY
        detail = self._error.message if self._error else ""
        return (EngineStatus(model=self._engine.description.model.id, phase=phase, progress=1.0, detail=detail),)

    def residency(self) -> Residency:
        """Return what was loaded and unloaded. Nobody counts memory."""
        return Residency(engines=tuple(self._residents.values()))

    async def load(self, model: ModelDescriptor, *, pin: bool | None = None) -> None:
        """Note the model as loaded, or raise the error."""
        if self.closed:
            msg = "the provider is closing"
            raise OverloadedError(msg)
        before = self._residents.get(model.id, EngineResidency(model=model.id, state=ResidencyState.UNLOADED))
        state = ResidencyState.FAILED if self._error else ResidencyState.READY
        detail = self._error.message if self._error else ""
        pinned = before.pinned if pin is None else pin
        self._residents[model.id] = attrs.evolve(before, state=state, pinned=pinned, progress=1.0, detail=detail)
        if self._error is not None:
            raise self._error

    async def unload(self, model: ModelId) -> None:
        """Note the model as unloaded, if it was ever loaded."""
        if model in self._residents:
            self._residents[model] = EngineResidency(model=model, state=ResidencyState.UNLOADED)

    async def aclose(self) -> None:
        """Close the engine."""
        self.closed = True
        await self._engine.aclose()
