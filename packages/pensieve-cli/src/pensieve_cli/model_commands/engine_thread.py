"""One engine for a program that is not asynchronous: its loop runs in a thread of its own.

So the terminal may wait for a person as long as it likes while the engine's signs of life are heard. Ctrl-C reaches the
main thread alone, wherever it waits here.
"""

from __future__ import annotations

import asyncio
import contextlib
import queue
import threading
from collections.abc import Coroutine, Generator
from typing import Any, TypeVar

from pensieve_core import EngineDescription, GenerationEvent, GenerationRequest, ModelDescriptor
from pensieve_inference import EngineProvider, InferenceEngine

__all__ = ["EngineThread"]

_Result = TypeVar("_Result")


class EngineThread:
    """The engine of one model. Use it in `with`; what it needs is closed at the end, loaded or not."""

    def __init__(self, provider: EngineProvider, model: ModelDescriptor) -> None:
        """Take over `provider`; nothing is loaded yet."""
        self._provider = provider
        self._model = model
        self._engine: InferenceEngine | None = None
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="engine loop", daemon=True)

    def __enter__(self) -> EngineThread:
        """Start the thread."""
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        """Close the engine, and wait for the thread."""
        try:
            self._wait(self._provider.aclose())
        finally:
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join()
            self._loop.close()

    def load(self) -> EngineDescription:
        """Load the model, and return what was loaded.

        Raises:
            ModelBrokenError: it cannot be loaded.
        """
        return self._loaded().description

    def count_tokens(self, request: GenerationRequest) -> int:
        """Count the prompt; raises as `InferenceEngine.count_tokens`."""
        return self._wait(self._loaded().count_tokens(request))

    def answer(self, request: GenerationRequest) -> Generator[GenerationEvent, None, None]:
        """Yield the events of a generation; closing the generator ends it. Raises as the generation."""
        inbox: queue.SimpleQueue[GenerationEvent | None] = queue.SimpleQueue()
        pumping = asyncio.run_coroutine_threadsafe(_pump(self._loaded(), request, inbox), self._loop)
        pumping.add_done_callback(lambda _: inbox.put(None))
        try:
            while (event := inbox.get()) is not None:
                yield event
            pumping.result()
        finally:
            pumping.cancel()

    def _loaded(self) -> InferenceEngine:
        if self._engine is None:
            self._engine = self._wait(self._provider.engine(self._model))
        return self._engine

    def _wait(self, work: Coroutine[Any, Any, _Result]) -> _Result:
        waiting = asyncio.run_coroutine_threadsafe(work, self._loop)
        try:
            return waiting.result()
        except KeyboardInterrupt:
            waiting.cancel()
            raise


async def _pump(
    engine: InferenceEngine, request: GenerationRequest, inbox: queue.SimpleQueue[GenerationEvent | None]
) -> None:
    async with contextlib.aclosing(await engine.generate(request)) as generation:
        async for event in generation:
            inbox.put(event)
