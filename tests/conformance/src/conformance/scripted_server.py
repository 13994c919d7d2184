"""The server on a real socket, as it is used, over an engine that plays scripts; and a client that checks all it gets.

Hypercorn runs as `pensieve-server` runs it, on a free port of loopback. Every message and every event that comes back
is validated against the types of the official SDK, whatever a test asks about it.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, Protocol

import attrs
import httpx2
import pydantic
import structlog
from anthropic import types
from structlog.testing import LogCapture
from structlog.typing import EventDict

from pensieve_cli.http_server import HttpServer
from pensieve_cli.listener import open_listener
from pensieve_cli.settings import ListenSettings
from pensieve_core import GenerationRequest, ModelDescriptor, Part
from pensieve_http import Drain, HttpSettings, create_app, create_batch_runner
from pensieve_http.storage import BatchStore, Database, Storage
from pensieve_http.testing import EventReader, ServerSentEvent, SoleClaim
from pensieve_inference import EngineProvider, SystemClock
from pensieve_inference.testing import (
    InMemoryCatalog,
    InMemoryFileStore,
    Script,
    ScriptedEngine,
    ScriptedProvider,
    make_descriptor,
)

__all__ = ["Client", "ScriptedServer", "Serve", "checked_events", "checked_message", "scripted_server"]

BOUND_S = 90.0
"""No request of these tests takes longer; the longest, which fills a model's window, takes 12 s on a core alone."""

_EVENT: pydantic.TypeAdapter[object] = pydantic.TypeAdapter(types.RawMessageStreamEvent)
_NOT_IN_THE_UNION = frozenset({"ping", "error"})
"""The SDK handles these two before its types come in."""

Json = dict[str, Any]


def checked_message(body: Json) -> Json:
    """Return `body`, a message that keeps what the SDK's type promises."""
    types.Message.model_validate(body)
    assert body["stop_reason"] is not None
    return body


def checked_events(found: list[ServerSentEvent]) -> list[Json]:
    """Return the payloads of `found`: each has its own name, and keeps what the SDK's type promises."""
    for event in found:
        assert event.name == event.data["type"]
        if event.name not in _NOT_IN_THE_UNION:
            _EVENT.validate_python(event.data)
    return [event.data for event in found]


@attrs.frozen(kw_only=True)
class Client:
    """Speaks to one server. Fields are put over a small valid request; `...` takes a field out."""

    http: httpx2.AsyncClient

    @staticmethod
    def body(**fields: Any) -> Json:
        """Return the body of a request."""
        small = {"model": "claude-x", "max_tokens": 100, "messages": [{"role": "user", "content": "Say hello"}]}
        return {name: value for name, value in {**small, **fields}.items() if value is not ...}

    async def post(
        self, path: str = "/v1/messages", *, headers: Mapping[str, str] | None = None, **fields: Any
    ) -> httpx2.Response:
        """Post a request, and return whatever comes back."""
        return await self.http.post(path, json=self.body(**fields), headers=headers)

    async def ask(self, **fields: Any) -> Json:
        """Return the message that answers a request."""
        reply = await self.post(**fields)
        assert reply.status_code == 200, reply.text
        return checked_message(reply.json())

    async def stream(self, **fields: Any) -> list[Json]:
        """Return all events of a streamed answer."""
        reply = await self.post(stream=True, **fields)
        assert reply.status_code == 200, reply.text
        return checked_events(EventReader().feed(reply.content))

    async def count(self, **fields: Any) -> int:
        """Return what count_tokens says of a request."""
        reply = await self.post("/v1/messages/count_tokens", **{"max_tokens": ..., **fields})
        assert reply.status_code == 200, reply.text
        body = reply.json()
        assert list(body) == ["input_tokens"]
        return int(body["input_tokens"])

    async def refusal(self, status: int = 400, **fields: Any) -> str:
        """Return the message of the error that answers a request."""
        reply = await self.post(**fields)
        assert reply.status_code == status, reply.text
        message: str = reply.json()["error"]["message"]
        return message


@attrs.frozen(kw_only=True)
class ScriptedServer(Client):
    """A running server, and what it was given."""

    url: str
    engine: ScriptedEngine
    drain: Drain
    log: list[EventDict]

    @property
    def told(self) -> GenerationRequest:
        """Return what the engine was asked last."""
        return self.engine.requests[-1]

    def parts(self) -> list[Part]:
        """Return all parts of the last prompt, in their order."""
        return [part for turn in self.told.turns for part in turn.parts]

    async def line_of(self, message: Json) -> EventDict:
        """Return the canonical log line of the request that `message` answers; it may come after the answer."""
        wanted = message["id"].replace("msg_", "req_")
        async with asyncio.timeout(BOUND_S):
            while not (found := [line for line in self.log if line.get("request_id") == wanted]):  # noqa: ASYNC110 - as below
                await asyncio.sleep(0.001)
        return found[-1]

    async def until_idle(self) -> None:
        """Wait until the engine has let go of everything."""
        async with asyncio.timeout(BOUND_S):
            while self.engine.running:  # noqa: ASYNC110 - another task's state, across a socket
                await asyncio.sleep(0.01)


class Serve(Protocol):
    """The fixture `serve`; see `scripted_server`."""

    async def __call__(self, *scripts: Script, **knobs: Any) -> ScriptedServer:
        """Return a server that runs until the test ends."""
        ...


@asynccontextmanager
async def scripted_server(
    *scripts: Script,
    settings: HttpSettings | None = None,
    model: ModelDescriptor | None = None,
    catalog: InMemoryCatalog | None = None,
    engine: ScriptedEngine | None = None,
    provider: EngineProvider | None = None,
    **parts: Any,
) -> AsyncIterator[ScriptedServer]:
    """Run a server that plays `scripts`, one per request, the last again and again.

    Args:
        scripts: What the engine plays.
        settings: Of the application.
        model: Of engine and catalog.
        catalog: Instead of one that holds `model` alone.
        engine: Instead of one that plays `scripts`.
        provider: Instead of one that hands out the engine.
        parts: Further arguments of `create_app`.
    """
    clock, capture = SystemClock(), LogCapture()
    engine = engine or ScriptedEngine(*scripts, model=model or make_descriptor())
    drain, settings = Drain(clock), settings or HttpSettings()
    database = Database(None)
    storage = Storage(
        files=InMemoryFileStore(clock=clock, limits=settings.file_limits),
        batches=BatchStore(database, clock, limits=settings.batch_limits),
    )
    both: dict[str, Any] = {
        "catalog": catalog or InMemoryCatalog(engine.description.model),
        "engines": provider or ScriptedProvider(engine),
        "settings": settings,
        "clock": clock,
        "drain": drain,
        "storage": storage,
        "log": structlog.wrap_logger(
            None, processors=[capture], wrapper_class=structlog.make_filtering_bound_logger(0)
        ),
    }
    app = create_app(**both, **parts)
    listener = open_listener(ListenSettings(port=0))
    server = HttpServer(app, listener.socket)
    running = asyncio.ensure_future(server.run())
    batches = asyncio.ensure_future(create_batch_runner(**both, claim=SoleClaim()).run())
    try:
        async with httpx2.AsyncClient(base_url=listener.url, timeout=BOUND_S) as http:
            yield ScriptedServer(http=http, url=listener.url, engine=engine, drain=drain, log=capture.entries)
    finally:
        batches.cancel()
        await asyncio.wait((batches,))
        await database.aclose()
        await engine.aclose()
        server.stop()
        await _ended(running)


async def _ended(running: asyncio.Future[None]) -> None:
    with contextlib.suppress(TimeoutError, asyncio.CancelledError):
        async with asyncio.timeout(BOUND_S):
            await running
