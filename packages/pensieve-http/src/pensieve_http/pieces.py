"""A response whose body comes in pieces from somewhere that takes time, to a client who may be slow or leave."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import aclosing

import attrs
from starlette.types import Receive, Scope, Send

from pensieve_core import Clock
from pensieve_http.race import client_left, race
from pensieve_http.record import Ending, record_of

__all__ = ["PiecesResponse"]


@attrs.frozen(kw_only=True, eq=False)
class PiecesResponse:
    """One such response; an ASGI application to be called once."""

    pieces: AsyncGenerator[bytes, None]
    headers: Mapping[str, str]
    clock: Clock
    write_timeout_s: float
    """A client that takes nothing for so long is cut off."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send all, unless the client leaves or does not read.

        Raises:
            Exception: what the first piece raised; nothing is sent then.
        """
        async with aclosing(self.pieces):
            record_of(scope).ending = await race(self._send_all(send), _left(receive))

    async def _send_all(self, send: Send) -> Ending:
        piece = await anext(self.pieces, b"")
        headers = [(name.encode("latin-1"), value.encode("latin-1")) for name, value in self.headers.items()]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        while piece:
            if not await race(_sent(send, piece), self._timed_out()):
                return Ending.SLOW_READER
            piece = await anext(self.pieces, b"")
        await send({"type": "http.response.body", "body": b""})
        return Ending.ANSWERED

    async def _timed_out(self) -> bool:
        await self.clock.sleep(self.write_timeout_s)
        return False


async def _sent(send: Send, piece: bytes) -> bool:
    await send({"type": "http.response.body", "body": piece, "more_body": True})
    return True


async def _left(receive: Receive) -> Ending:
    await client_left(receive)
    return Ending.DISCONNECTED
