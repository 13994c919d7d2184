"""Hypercorn as we set it up, over real sockets."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, MutableMapping
from contextlib import asynccontextmanager
from typing import Any

import h2.config
import h2.connection
import h2.events
import pytest

from pensieve_cli.http_server import HttpServer, Receive, Scope, Send
from pensieve_cli.listener import Listener, open_listener
from pensieve_cli.settings import ListenSettings

_BOUND_S = 10.0


async def _greet(scope: Scope, receive: Receive, send: Send) -> None:
    if scope["type"] != "http":
        raise RuntimeError
    start: MutableMapping[str, Any] = {
        "type": "http.response.start",
        "status": 200,
        "headers": [(b"content-length", b"2")],
    }
    await send(start)
    await send({"type": "http.response.body", "body": b"hi"})


@asynccontextmanager
async def _served() -> AsyncIterator[tuple[Listener, HttpServer, asyncio.Task[None]]]:
    listener = open_listener(ListenSettings(port=0))
    server = HttpServer(_greet, listener.socket)
    serving = asyncio.create_task(server.run())
    try:
        yield listener, server, serving
    finally:
        server.stop()
        await asyncio.wait((serving,), timeout=_BOUND_S)
        listener.socket.close()


async def _exchange(listener: Listener, request: bytes) -> bytes:
    reader, writer = await asyncio.open_connection(listener.address, listener.port)
    try:
        writer.write(request)
        async with asyncio.timeout(_BOUND_S):
            return await reader.read()
    finally:
        writer.close()


async def test_it_serves_http_1_and_does_not_say_what_it_is() -> None:
    async with _served() as (listener, _, _):
        answer = await _exchange(listener, b"GET / HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 200")
    assert answer.endswith(b"\r\n\r\nhi")
    assert b"hypercorn" not in answer.lower()


async def test_http_2_in_clear_text_is_refused() -> None:
    """Ours: Hypercorn accepts it by prior knowledge and by upgrade, and cannot be told not to."""
    client = h2.connection.H2Connection(h2.config.H2Configuration(client_side=True))
    client.initiate_connection()
    fields = [(":method", "GET"), (":path", "/"), (":scheme", "http"), (":authority", "localhost")]
    client.send_headers(1, fields, end_stream=True)
    async with _served() as (listener, _, _):
        reader, writer = await asyncio.open_connection(listener.address, listener.port)
        writer.write(client.data_to_send())
        status = await asyncio.wait_for(_h2_status(client, reader), _BOUND_S)
        writer.close()
    assert status == b"505"


async def _h2_status(client: h2.connection.H2Connection, reader: asyncio.StreamReader) -> bytes | str:
    while data := await reader.read(65536):
        for event in client.receive_data(data):
            if isinstance(event, h2.events.ResponseReceived):
                return dict(event.headers)[b":status"]
    pytest.fail("the server closed the connection without an answer")


async def test_stopping_closes_idle_connections_and_the_socket() -> None:
    async with _served() as (listener, server, serving):
        reader, writer = await asyncio.open_connection(listener.address, listener.port)
        writer.write(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n")
        async with asyncio.timeout(_BOUND_S):
            await reader.readuntil(b"hi")
            server.stop()
            assert await reader.read() == b""
            await serving
        assert listener.socket.fileno() == -1
        writer.close()


async def test_a_half_sent_request_holds_up_the_end_until_it_is_cancelled() -> None:
    """What `go_down` is there for; on Python 3.11 Hypercorn gives up by itself."""
    async with _served() as (listener, server, serving):
        _, writer = await asyncio.open_connection(listener.address, listener.port)
        writer.write(b"POST / HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nhalf")
        await asyncio.sleep(0)
        server.stop()
        await asyncio.wait((serving,), timeout=3)
        serving.cancel()
        await asyncio.wait((serving,), timeout=_BOUND_S)
        assert serving.done()
        writer.close()
