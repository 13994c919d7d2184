"""ASGI without a socket.

Starlette's TestClient and httpx's ASGITransport hand over a response when it is complete; a stream tested through
them is none. Here the application's `send` reaches the test message by message, blocks when the test does not read
(as Hypercorn's does), and the test may leave at any time.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import unquote

import attrs
import orjson
from starlette.datastructures import Headers
from starlette.types import ASGIApp, Message, Scope

from pensieve_http.testing._events import EventReader, ServerSentEvent

__all__ = ["AppClient", "Connection", "Reply"]

T = TypeVar("T")

_PATIENCE_S = 5.0
"""Real seconds that any wait of a test may take."""


@attrs.frozen(kw_only=True)
class Reply:
    """A complete response."""

    status: int
    headers: Headers
    body: bytes

    def json(self) -> Any:  # noqa: ANN401 - JSON is what it is
        """Return the parsed body."""
        return orjson.loads(self.body)

    def events(self) -> list[ServerSentEvent]:
        """Return the body as server-sent events."""
        return EventReader().feed(self.body)


class Connection:
    """One request under way. Every wait is bounded by 5 real seconds and then raises TimeoutError.

    Args:
        app:
            Starts to serve at once.
        scope:
            The request's head.
        window:
            How many messages the application may send ahead of the test.
    """

    def __init__(self, app: ASGIApp, scope: Scope, *, window: int) -> None:
        self._requests: asyncio.Queue[Message] = asyncio.Queue()
        self._responses: asyncio.Queue[Message] = asyncio.Queue(window)
        self._left = asyncio.Event()
        self._reader = EventReader()
        self._events: list[ServerSentEvent] = []
        self._head: Message | None = None
        self._ended = False
        self._serving = asyncio.ensure_future(_call(app, scope, self._receive, self._send))

    def upload(self, piece: bytes, *, more: bool = False) -> None:
        """Send a piece of the request's body."""
        self._requests.put_nowait({"type": "http.request", "body": piece, "more_body": more})

    def disconnect(self) -> None:
        """Leave. What the application sends from now on is swallowed, as Hypercorn does it."""
        self._left.set()
        self._requests.put_nowait({"type": "http.disconnect"})
        while not self._responses.empty():
            self._responses.get_nowait()

    async def served(self) -> None:
        """Wait until the application has returned; raise what it raised."""
        await _bounded(asyncio.shield(self._serving))

    @property
    def silent(self) -> bool:
        """Nothing has come that the test has not taken."""
        return self._responses.empty() and not self._events

    async def status(self) -> int:
        """Wait for the response's head and return its status."""
        return int((await self._wait_for_head())["status"])

    async def headers(self) -> Headers:
        """Wait for the response's head and return its headers."""
        return Headers(raw=list((await self._wait_for_head())["headers"]))

    async def piece(self) -> bytes:
        """Wait for the next message of the body; empty at its end."""
        await self._wait_for_head()
        if self._ended:
            return b""
        message = await _bounded(self._responses.get())
        self._ended = not message.get("more_body", False)
        return bytes(message.get("body", b""))

    async def event(self) -> ServerSentEvent:
        """Wait for the next server-sent event. Raises EOFError at the end of the stream."""
        while not self._events:
            piece = await self.piece()
            if not piece and self._ended:
                raise EOFError
            self._events.extend(self._reader.feed(piece))
        return self._events.pop(0)

    async def events(self) -> AsyncIterator[ServerSentEvent]:
        """Yield the events up to the end of the stream."""
        while True:
            try:
                yield await self.event()
            except EOFError:
                return

    async def reply(self) -> Reply:
        """Wait for the whole response."""
        status, headers = await self.status(), await self.headers()
        body = bytearray()
        while not self._ended:
            body += await self.piece()
        return Reply(status=status, headers=headers, body=bytes(body))

    async def _wait_for_head(self) -> Message:
        if self._head is None:
            self._head = await _bounded(self._first())
        return self._head

    async def _first(self) -> Message:
        first = asyncio.ensure_future(self._responses.get())
        try:
            await asyncio.wait((first, self._serving), return_when=asyncio.FIRST_COMPLETED)
            if not first.done():
                await self._serving
                raise EOFError
            return first.result()
        finally:
            first.cancel()

    async def _receive(self) -> Message:
        if self._left.is_set() and self._requests.empty():
            return {"type": "http.disconnect"}
        return await self._requests.get()

    async def _send(self, message: Message) -> None:
        if self._left.is_set():
            await asyncio.sleep(0)  # an application that only sends must not keep the loop for itself
            return
        put = asyncio.ensure_future(self._responses.put(message))
        left = asyncio.ensure_future(self._left.wait())
        try:
            await asyncio.wait((put, left), return_when=asyncio.FIRST_COMPLETED)
        finally:
            put.cancel()
            left.cancel()


class AppClient:
    """Sends requests to an ASGI application.

    Args:
        app:
            Any ASGI application.
        headers:
            Sent with every request, unless a request has its own of that name.
        window:
            How many messages an application may send ahead; small windows make slow readers.
    """

    def __init__(self, app: ASGIApp, *, headers: Mapping[str, str] | None = None, window: int = 1_000) -> None:
        self._app = app
        self._headers = {"host": "localhost", "content-type": "application/json", **(headers or {})}
        self._window = window

    @asynccontextmanager
    async def open(
        self,
        method: str,
        target: str,
        *,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncIterator[Connection]:
        """Send a request; leave at the end of the block, and wait until the application has noticed.

        Without `json` and `body` the request's body stays open, for `Connection.upload`.
        """
        connection = Connection(self._app, self._scope(method, target, headers or {}), window=self._window)
        if json is not None or body is not None:
            connection.upload(orjson.dumps(json) if body is None else body)
        try:
            yield connection
        finally:
            connection.disconnect()
            await connection.served()

    async def request(
        self,
        method: str,
        target: str,
        *,
        json: object = None,
        body: bytes | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Send a request and return the whole response."""
        whole = b"" if json is None and body is None else body
        async with self.open(method, target, json=json, body=whole, headers=headers) as connection:
            return await connection.reply()

    async def get(self, target: str, *, headers: Mapping[str, str] | None = None) -> Reply:
        """GET `target`."""
        return await self.request("GET", target, headers=headers)

    async def post(
        self, target: str, json: object = None, *, body: bytes | None = None, headers: Mapping[str, str] | None = None
    ) -> Reply:
        """POST `json`, or `body` as it is."""
        return await self.request("POST", target, json=json, body=body, headers=headers)

    def _scope(self, method: str, target: str, headers: Mapping[str, str]) -> Scope:
        path, _, query = target.partition("?")
        sent = {name: value for name, value in {**self._headers, **headers}.items() if value}
        return {
            "type": "http",
            "asgi": {"version": "3.0", "spec_version": "2.1"},
            "http_version": "1.1",
            "method": method,
            "scheme": "http",
            "path": unquote(path),
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "root_path": "",
            "headers": [(name.lower().encode(), value.encode("latin-1")) for name, value in sent.items()],
            "client": ("127.0.0.1", 50_000),
            "server": ("127.0.0.1", 80),
            "state": {},
            "extensions": {},
        }


async def _call(app: ASGIApp, scope: Scope, receive: Any, send: Any) -> None:  # noqa: ANN401 - ASGI's own types
    await app(scope, receive, send)


async def _bounded(wait: Coroutine[Any, Any, T] | asyncio.Future[T]) -> T:
    async with asyncio.timeout(_PATIENCE_S):
        return await wait
