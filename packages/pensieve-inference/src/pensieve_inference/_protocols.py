"""The Protocols between the layers: each shaped by what its consumer needs.

Above: `pensieve_http` serves requests through them. Below: `pensieve_gguf` and `pensieve_registry` implement
them, as may a stranger's package. They are joined in `pensieve_cli.composition` and nowhere else.

Methods that cannot wait are plain `def`; `async` means that the call may wait.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Protocol, runtime_checkable

from pensieve_core import (
    EngineDescription,
    EngineStatus,
    GenerationEvent,
    GenerationRequest,
    ModelDescriptor,
    ModelId,
    PromptUsage,
    Residency,
)

__all__ = ["EngineLoader", "EngineProvider", "Generation", "InferenceEngine", "ModelCatalog"]


@runtime_checkable
class Generation(Protocol):
    """One admitted request: an async iterator of events that ends after `GenerationFinished`.

    Iterate once, inside `contextlib.aclosing`. An exception out of the iteration is terminal, too:
    `EngineFailedError`, `RequestRefusedError` or `ModelBrokenError`.
    """

    @property
    def prompt(self) -> PromptUsage:
        """The prompt in tokens, known since admission."""
        ...

    def __aiter__(self) -> AsyncIterator[GenerationEvent]:
        """Return the iterator; `self`, usually."""
        ...

    async def __anext__(self) -> GenerationEvent:
        """Wait for the next event."""
        ...

    def cancel(self) -> None:
        """Stop the work within one engine step and end the iteration. Safe to call at any time, repeatedly."""
        ...

    async def aclose(self) -> None:
        """Cancel unless finished, and release everything that is held. Idempotent."""
        ...


@runtime_checkable
class InferenceEngine(Protocol):
    """One loaded model that generates for many clients at once."""

    @property
    def description(self) -> EngineDescription:
        """What was loaded, and how it was fitted."""
        ...

    async def generate(self, request: GenerationRequest) -> Generation:
        """Admit `request`: render and tokenise its prompt, and queue it. Returns before any computation.

        Raises:
            PromptTooLongError: the prompt does not fit into the context.
            RequestRefusedError: this engine can never serve the request (an image without a projector…).
            OverloadedError: the queue is full, or the engine is closing.
            EngineFailedError: the engine died, and a new one could not be started.
        """
        ...

    async def count_tokens(self, request: GenerationRequest) -> int:
        """Count the prompt exactly as `generate` would be charged for it.

        Raises: as `generate`, save for `PromptTooLongError`.
        """
        ...

    async def aclose(self) -> None:
        """End running generations with `OverloadedError`, and free the model. Idempotent."""
        ...


@runtime_checkable
class EngineProvider(Protocol):
    """Hands out running engines, loading them as needed. Plugins name a factory of one in `pensieve.engines`."""

    async def engine(self, model: ModelDescriptor) -> InferenceEngine:
        """Return the engine of `model`, waiting for it to load. Concurrent callers share one load.

        Raises:
            ModelBrokenError: it cannot be loaded.
            OverloadedError: the provider is closing.
        """
        ...

    def loaded(self, model: ModelId) -> EngineDescription | None:
        """Return what is known of a loaded engine; None when it is not loaded."""
        ...

    def statuses(self) -> tuple[EngineStatus, ...]:
        """Return the state of every engine that was ever asked for."""
        ...

    async def aclose(self) -> None:
        """Close all engines. Idempotent."""
        ...


@runtime_checkable
class EngineLoader(Protocol):
    """What an `EngineProvider` offers besides, if it can be told what to hold in memory.

    A provider need not be one: `loader_of` makes do with what every provider can.
    """

    def residency(self) -> Residency:
        """Return which models are in memory, and what each takes. Computes nothing worth mentioning."""
        ...

    async def load(self, model: ModelDescriptor, *, pin: bool | None = None) -> None:
        """Return when `model` is in memory, waiting for room as a request would. `pin` None: as it was.

        Raises:
            ModelBrokenError: it cannot be loaded.
            OverloadedError: there will be no room for it as things stand, or the provider is closing.
        """
        ...

    async def unload(self, model: ModelId) -> None:
        """Take the pin off `model`, let its running answers end for a bounded time, and return when it is gone.

        Nothing happens to a model that is not loaded. Who asks for it afterwards has it loaded again.

        Raises:
            RequestRefusedError: engines of this kind cannot be unloaded.
        """
        ...


@runtime_checkable
class ModelCatalog(Protocol):
    """Knows which models there are, and by which names."""

    def models(self) -> tuple[ModelDescriptor, ...]:
        """Return all servable models, the default one first."""
        ...

    def aliases(self) -> Mapping[str, ModelId]:
        """Return the listed aliases; `resolve` may accept more (`claude-*`)."""
        ...

    def resolve(self, name: str) -> ModelDescriptor:
        """Return the model that `name` (an id or an alias) stands for.

        Raises:
            ModelNotFoundError: nobody knows the name.
        """
        ...
