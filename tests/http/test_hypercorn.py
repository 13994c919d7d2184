"""Over a real loopback socket, under the server that is used: what no in-process client can show."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import attrs
import hypercorn.asyncio
import orjson
import structlog
from hypercorn.config import Config
from starlette.types import ASGIApp
from structlog.testing import LogCapture
from structlog.typing import EventDict

from pensieve_core import TextProduced
from pensieve_http import Drain, HttpSettings, create_app
from pensieve_inference import SystemClock
from pensieve_inference.testing import InMemoryCatalog, Script, ScriptedEngine, ScriptedProvider, Wait, say

Body = Callable[..., dict[str, Any]]

_LONG = Wait(1_000)


@attrs.frozen(kw_only=True)
class Served:
    """An application behind Hypercorn."""

    port: int
    engine: ScriptedEngine
    drain: Drain
    log: list[EventDict]

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def until(self, condition: Callable[[], object]) -> None:
        async with asyncio.timeout(10):
            while not condition():  # noqa: ASYNC110 - the condition is another task's, across a socket
                await asyncio.sleep(0.01)

    def endings(self) -> list[str]:
        return [line["ending"] for line in self.log if line["event"] == "request_finished"]


@asynccontextmanager
async def _serve(script: Script, settings: HttpSettings | None = None) -> AsyncIterator[Served]:
    clock, capture, engine = SystemClock(), LogCapture(), ScriptedEngine(script)
    drain = Drain(clock)
    wrapper = structlog.make_filtering_bound_logger(0)
    app = create_app(
        catalog=InMemoryCatalog(),
        engines=ScriptedProvider(engine),
        settings=settings or HttpSettings(),
        clock=clock,
        drain=drain,
        log=structlog.wrap_logger(None, processors=[capture], wrapper_class=wrapper),
    )
    listener = socket.create_server(("127.0.0.1", 0))
    async with _hypercorn(app, listener):
        yield Served(port=listener.getsockname()[1], engine=engine, drain=drain, log=capture.entries)


@asynccontextmanager
async def _hypercorn(app: ASGIApp, listener: socket.socket) -> AsyncIterator[None]:
    config, stop = Config(), asyncio.Event()
    config.bind = [f"fd://{listener.fileno()}"]
    config.graceful_timeout = 0.1
    config.errorlog = None
    serving = asyncio.ensure_future(
        hypercorn.asyncio.serve(app, config, shutdown_trigger=stop.wait)  # type: ignore[arg-type] # its own ASGI types
    )
    try:
        yield
    finally:
        stop.set()
        async with asyncio.timeout(10):
            await serving
        with contextlib.suppress(OSError):  # Hypercorn closes the descriptor that it was given
            listener.close()


def _post(body: dict[str, Any], path: str = "/v1/messages") -> bytes:
    content = orjson.dumps(body)
    head = f"POST {path} HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
    return head.encode() + b"content-length: %d\r\n\r\n" % len(content) + content


async def _read_reply(reader: asyncio.StreamReader) -> tuple[int, Any]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode().lower().split("\r\n")
    length = next(int(line.split(":")[1]) for line in head if line.startswith("content-length:"))
    return int(head[0].split(" ")[1]), orjson.loads(await reader.readexactly(length))


async def test_message_start_and_the_first_words_arrive_while_the_engine_still_works(body: Body) -> None:
    async with _serve([TextProduced(text="first words"), _LONG]) as served, asyncio.timeout(10):
        reader, writer = await served.connect()
        writer.write(_post(body(stream=True)))
        head = await reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200")
        await reader.readuntil(b"event: message_start\n")
        await reader.readuntil(b"first words")
        assert served.engine.running
        writer.close()
        await served.until(lambda: not served.engine.running)
        await served.until(served.endings)
    assert served.endings() == ["disconnected"]


async def test_a_json_client_that_hangs_up_takes_its_generation_along(body: Body) -> None:
    # Hypercorn never cancels a handler that has not begun to answer.
    async with _serve([_LONG]) as served:
        _, writer = await served.connect()
        writer.write(_post(body()))
        await served.until(lambda: served.engine.running)
        writer.close()
        await served.until(lambda: not served.engine.running)
        await served.until(served.endings)
    assert served.endings() == ["disconnected"]


async def test_a_reader_that_stops_reading_is_cut_though_send_blocks(body: Body) -> None:
    # Measured: Hypercorn's send blocks for ever once about 4 MB lie in the kernel's buffers.
    flood = [TextProduced(text="x" * 100_000)] * 1_000
    settings = HttpSettings(write_timeout_s=0.3, ping_interval_s=0.1)
    async with _serve(flood, settings) as served:
        _, writer = await served.connect()
        writer.write(_post(body(stream=True)))
        await served.until(served.endings)
        assert served.endings() == ["slow_reader"]
        assert not served.engine.running
        writer.transport.abort()


async def test_a_body_that_is_too_large_gets_its_413_while_it_is_still_being_sent() -> None:
    async with _serve(say("ok"), HttpSettings(max_body_bytes=100_000, linger_s=5)) as served, asyncio.timeout(20):
        reader, writer = await served.connect()
        writer.write(b"POST /v1/messages HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n")
        writer.write(b"content-length: 20000000\r\n\r\n")
        for _ in range(200):
            writer.write(b"x" * 100_000)
            await writer.drain()
        status, error = await _read_reply(reader)
        assert (status, error["error"]["type"]) == (413, "request_too_large")
        await served.until(served.endings)
        assert served.endings() == ["answered"]
        writer.close()


async def test_a_connection_lives_through_refusals_and_serves_the_next_request(body: Body) -> None:
    async with _serve(say("Hello")) as served, asyncio.timeout(10):
        reader, writer = await served.connect()
        for _ in range(30):
            writer.write(_post({"model": 5}))
            assert (await _read_reply(reader))[0] == 400
        writer.write(_post(body()))
        status, message = await _read_reply(reader)
        assert (status, message["content"][0]["text"]) == (200, "Hello")
        writer.close()


async def test_headers_that_come_in_one_packet_are_limited() -> None:
    async with _serve(say("ok")) as served, asyncio.timeout(10):
        reader, writer = await served.connect()
        writer.write(b"GET /healthz HTTP/1.1\r\nhost: localhost\r\nx-long: " + b"y" * 40_000 + b"\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 431")
        writer.close()


async def test_a_drain_ends_the_last_stream_with_an_error_and_then_the_server_stops(body: Body) -> None:
    async with _serve([TextProduced(text="half"), _LONG]) as served, asyncio.timeout(10):
        reader, writer = await served.connect()
        writer.write(_post(body(stream=True)))
        await reader.readuntil(b"half")
        served.drain.begin(0.1)
        await reader.readuntil(b"event: error")
        await reader.readuntil(b"the server is shutting down")
        await served.drain.wait_idle()
        writer.close()
    assert not served.engine.running
