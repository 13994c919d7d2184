"""The response that streams: tasks, queue and socket around `LiveStream`. No decisions here.

    exchange ──pump──> queue ──writer──> send          the watch ticks, and times the writes
                                                       the listener waits for the client to leave

The first of writer, listener and watch to end ends the response, and takes the pump, and with it the generation,
along (`race`). So nothing waits for a blocked `send`: Hypercorn's blocks for ever once some 4 MB lie unread.
What becomes ready while a write is under way leaves in one piece with the next.

Starlette's own StreamingResponse is no match for this: it cancels by its ASGI version, knows no write timeout, and lets
the cancellation of a generator wait for `send`.
"""

from __future__ import annotations

import asyncio
from contextlib import aclosing

import attrs
from starlette.types import Receive, Scope, Send

from pensieve_core import Clock
from pensieve_http.drain import Drain
from pensieve_http.exchange import Exchange
from pensieve_http.live_stream import Failed, Item, LiveStream, Tick
from pensieve_http.race import client_left, race
from pensieve_http.record import Ending, record_of

__all__ = ["EventStreamResponse"]

_HEADERS = [
    (b"content-type", b"text/event-stream; charset=utf-8"),
    (b"cache-control", b"no-cache"),
    (b"x-accel-buffering", b"no"),
]
"""The last one tells nginx not to collect the stream."""

_SHORTEST_NAP_S = 0.01


@attrs.define(kw_only=True, eq=False)
class EventStreamResponse:
    """One streamed answer; an ASGI application to be called once."""

    exchange: Exchange
    live: LiveStream
    clock: Clock
    drain: Drain
    write_timeout_s: float
    """Checked when something else is due too, so a cut may come up to one ping interval late."""
    buffer: int
    """Happenings that wait for the writer before the generation is held up."""
    _queue: asyncio.Queue[Item] = attrs.field(init=False)
    _writing_since: float | None = attrs.field(init=False, default=None)
    _started: bool = attrs.field(init=False, default=False)

    def __attrs_post_init__(self) -> None:
        self._queue = asyncio.Queue(self.buffer)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Stream until all is told, the client has left, or it does not read.

        Raises:
            Exception: whatever prevented the start, before anything was sent.
        """
        ending = await race(
            self._write_all(send),
            _listen(receive),
            self._watch(),
            companions=[self._pump()],
        )
        record_of(scope).ending = ending

    async def _pump(self) -> None:
        try:
            with self.drain.hold():
                async with aclosing(self.exchange.happenings()) as happenings:
                    async for happening in happenings:
                        await self._queue.put(happening)
        except Exception as error:  # noqa: BLE001 - the request edge: the writer tells the client
            await self._queue.put(Failed(error))

    async def _write_all(self, send: Send) -> Ending:
        while not self.live.finished:
            items = await self._ready()
            piece = self.live.tell(items, self.clock.monotonic())
            if piece:
                await self._write(send, piece)
        self._writing_since = self.clock.monotonic()
        await send({"type": "http.response.body", "body": b""})
        return Ending.ANSWERED

    async def _ready(self) -> list[Item]:
        items = [await self._queue.get()]
        while not self._queue.empty():
            items.append(self._queue.get_nowait())
        return items

    async def _write(self, send: Send, piece: bytes) -> None:
        self._writing_since = self.clock.monotonic()
        if not self._started:
            self._started = True
            await send({"type": "http.response.start", "status": 200, "headers": list(_HEADERS)})
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        self._writing_since = None

    async def _watch(self) -> Ending:
        while not self._is_stuck():
            await self.clock.sleep(self._nap_s())
            if self._writing_since is None and self._queue.empty() and self.clock.monotonic() >= self.live.due_at:
                self._queue.put_nowait(Tick())
        return Ending.SLOW_READER

    def _is_stuck(self) -> bool:
        since = self._writing_since
        return since is not None and self.clock.monotonic() - since >= self.write_timeout_s

    def _nap_s(self) -> float:
        since = self._writing_since
        until = self.live.due_at if since is None else since + self.write_timeout_s
        return max(until - self.clock.monotonic(), _SHORTEST_NAP_S)


async def _listen(receive: Receive) -> Ending:
    await client_left(receive)
    return Ending.DISCONNECTED
