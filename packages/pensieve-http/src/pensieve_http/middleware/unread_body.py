"""Takes in what a client is still sending while its request is already answered.

A refusal that leaves the body unread has two bad ends. The server closes the connection under the client's pen, and
the client sees a reset where the 413 should be. And Hypercorn 0.18 queues body messages for the application, ten of
them; the eleventh blocks its reader, and the end of the response, which puts one more into that queue, blocks
for ever (`max_app_queue_size`, `h11.py::_close_stream`). So a response's end waits until the body is through, or the
client is gone, or patience has run out; and receiving goes on while it is written.
"""

from __future__ import annotations

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from pensieve_core import Clock
from pensieve_http.race import race

__all__ = ["UnreadBody"]


class UnreadBody:
    """Holds the end of a response back while its request is still coming in, for at most `linger_s` seconds."""

    def __init__(self, app: ASGIApp, *, clock: Clock, linger_s: float) -> None:
        self._app = app
        self._clock = clock
        self._linger_s = linger_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        inbox = _Inbox(receive)

        async def lingering_send(message: Message) -> None:
            if _is_last(message) and not inbox.complete:
                await send({**message, "more_body": True})
                await race(inbox.discard(), self._clock.sleep(self._linger_s))
                await race(_end(send), companions=[inbox.discard()])
            else:
                await send(message)

        await self._app(scope, inbox.receive, lingering_send)


class _Inbox:
    """`receive`, watched: has the whole request come in?"""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self.complete = False

    async def receive(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.disconnect" or not message.get("more_body", False):
            self.complete = True
        return message

    async def discard(self) -> None:
        while not self.complete:
            await self.receive()


def _is_last(message: Message) -> bool:
    return message["type"] == "http.response.body" and not message.get("more_body", False)


async def _end(send: Send) -> None:
    await send({"type": "http.response.body"})
