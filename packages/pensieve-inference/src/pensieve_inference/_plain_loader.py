"""Loading and unloading, of providers that know nothing of memory: as much of it as every provider can do."""

from __future__ import annotations

import attrs

from pensieve_core import (
    EnginePhase,
    EngineResidency,
    EngineStatus,
    ModelDescriptor,
    ModelId,
    RequestRefusedError,
    Residency,
    ResidencyState,
)
from pensieve_inference._protocols import EngineLoader, EngineProvider

__all__ = ["PlainLoader", "loader_of"]

_STATES = {
    EnginePhase.COLD: ResidencyState.UNLOADED,
    EnginePhase.LOADING: ResidencyState.LOADING,
    EnginePhase.READY: ResidencyState.READY,
    EnginePhase.BROKEN: ResidencyState.FAILED,
    EnginePhase.CLOSED: ResidencyState.UNLOADED,
}


def loader_of(provider: EngineProvider) -> EngineLoader:
    """Return `provider` itself if it is an `EngineLoader`, else one that makes do with it."""
    return provider if isinstance(provider, EngineLoader) else PlainLoader(provider)


@attrs.frozen
class PlainLoader:
    """`EngineLoader` over any provider: it loads by asking for the engine, and cannot pin or unload."""

    provider: EngineProvider

    def residency(self) -> Residency:
        """Return the states that the provider tells of."""
        return Residency(engines=tuple(_residency(status) for status in self.provider.statuses()))

    async def load(self, model: ModelDescriptor, *, pin: bool | None = None) -> None:
        """Ask for the engine.

        Raises:
            RequestRefusedError: it was to be pinned.
        """
        if pin:
            msg = "engines of this kind cannot be pinned"
            raise RequestRefusedError(msg)
        await self.provider.engine(model)

    async def unload(self, model: ModelId) -> None:
        """Refuse, unless there is nothing to do."""
        states = {engine.model: engine.state for engine in self.residency().engines}
        if states.get(model, ResidencyState.UNLOADED) is not ResidencyState.UNLOADED:
            msg = "engines of this kind cannot be unloaded"
            raise RequestRefusedError(msg)


def _residency(status: EngineStatus) -> EngineResidency:
    return EngineResidency(
        model=status.model, state=_STATES[status.phase], progress=status.progress, detail=status.detail
    )
