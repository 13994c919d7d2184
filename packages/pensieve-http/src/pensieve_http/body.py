"""Reads a request's body within limits: of size, before and after decoding, and of time.

`BodyDecoder` is the machine, `BodyReader` the shell around it. Hypercorn limits neither size nor time.
"""

from __future__ import annotations

import zlib

import attrs
from starlette.datastructures import Headers
from starlette.types import Receive, Scope

from pensieve_core import Clock
from pensieve_http.errors import ClientGoneError
from pensieve_http.race import race
from pensieve_protocol import ApiError, RequestError, api_error

__all__ = ["BodyDecoder", "BodyReader"]

_GZIP = 16 + zlib.MAX_WBITS


class BodyDecoder:
    """Takes the body in pieces and returns it whole; raises as soon as it is known to be too large or broken.

    Args:
        encoding:
            The `content-encoding`: "" or "identity", or "gzip".
        max_bytes:
            Bound on the body as sent, and on the body as decoded: a gzip bomb ends at this size.
    """

    def __init__(self, encoding: str, *, max_bytes: int) -> None:
        if encoding not in ("", "identity", "gzip"):
            raise RequestError(api_error(400, f"content-encoding: expected identity or gzip, got {encoding[:100]}"))
        self._gzip = zlib.decompressobj(_GZIP) if encoding == "gzip" else None
        self._max_bytes = max_bytes
        self._received = 0
        self._decoded = bytearray()

    def feed(self, piece: bytes) -> None:
        """Take the next piece.

        Raises:
            RequestError: 413, or 400 when it is not gzip.
        """
        self._received += len(piece)
        self._decoded += self._decode(piece)
        if max(self._received, len(self._decoded)) > self._max_bytes:
            raise RequestError(_too_large(self._max_bytes))

    def finish(self) -> bytes:
        """Return the body.

        Raises:
            RequestError: 400, when the gzip data ends before its end or goes on after it.
        """
        if self._gzip is not None and (not self._gzip.eof or self._gzip.unused_data):
            raise RequestError(_not_gzip())
        return bytes(self._decoded)

    def _decode(self, piece: bytes) -> bytes:
        if self._gzip is None:
            return piece
        room = self._max_bytes - len(self._decoded) + 1
        try:
            return self._gzip.decompress(piece, room)
        except zlib.error:
            raise RequestError(_not_gzip()) from None


@attrs.frozen(kw_only=True)
class BodyReader:
    """Reads bodies of at most `max_bytes` in at most `timeout_s` seconds."""

    clock: Clock
    max_bytes: int
    timeout_s: float

    async def read(self, scope: Scope, receive: Receive) -> bytes:
        """Return the decoded body.

        Raises:
            RequestError: 413, 408 or 400.
            ClientGoneError: the client left before it had sent all.
        """
        headers = Headers(scope=scope)
        if _announces_more(headers.get("content-length", ""), self.max_bytes):
            raise RequestError(_too_large(self.max_bytes))
        decoder = BodyDecoder(headers.get("content-encoding", "").strip().lower(), max_bytes=self.max_bytes)
        return await race(_fill(decoder, receive), self._run_out())

    async def _run_out(self) -> bytes:
        await self.clock.sleep(self.timeout_s)
        message = f"the request's body did not arrive within {self.timeout_s:g} s"
        raise RequestError(ApiError(status=408, type="timeout_error", message=message))


async def _fill(decoder: BodyDecoder, receive: Receive) -> bytes:
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise ClientGoneError
        decoder.feed(message.get("body", b""))
        if not message.get("more_body", False):
            return decoder.finish()


def _announces_more(content_length: str, max_bytes: int) -> bool:
    digits = content_length.lstrip("0")
    return digits.isdecimal() and (len(digits) > len(str(max_bytes)) or int(digits) > max_bytes)


def _too_large(max_bytes: int) -> ApiError:
    return api_error(413, f"the request's body exceeds {max_bytes} bytes")


def _not_gzip() -> ApiError:
    return api_error(400, "content-encoding: the body is not one complete gzip member")
