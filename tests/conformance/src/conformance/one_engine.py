"""A provider of one engine that is loaded already."""

from __future__ import annotations

from pensieve_core import EngineDescription, EnginePhase, EngineStatus, ModelDescriptor, ModelId
from pensieve_inference import InferenceEngine

__all__ = ["OneEngine"]


class OneEngine:
    """`EngineProvider` that hands out `engine`; closed by its owner."""

    def __init__(self, engine: InferenceEngine) -> None:
        self._engine = engine

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        """Return the engine."""
        return self._engine

    def loaded(self, model: ModelId) -> EngineDescription | None:
        """Return its description."""
        return self._engine.description

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Return that it is ready."""
        return (EngineStatus(model=self._engine.description.model.id, phase=EnginePhase.READY, progress=1.0),)

    async def aclose(self) -> None:
        """Leave the engine open."""
