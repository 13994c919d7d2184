"""Frames on the socket between supervisor and worker: a length of four bytes, big-endian, then JSON. Sans-IO.

Never pickle: what a worker sends is read by a process that must not be taken over (design 5).
"""

from __future__ import annotations

import struct

__all__ = ["FrameDecoder", "FrameError", "encode_frame"]

_LENGTH = struct.Struct(">I")
_LONGEST = 128 << 20  # a 32 MiB body of images, base64 in JSON, with room to spare


class FrameError(Exception):
    """The peer does not speak frames."""


def encode_frame(payload: bytes) -> bytes:
    """Return `payload` with its length in front."""
    return _LENGTH.pack(len(payload)) + payload


class FrameDecoder:
    """Cuts a byte stream into payloads, however it arrives."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[bytes]:
        """Take more bytes; return the payloads that they complete.

        Raises:
            FrameError: a length is beyond all reason.
        """
        self._buffer += data
        payloads: list[bytes] = []
        start = 0
        while (end := self._end_of_frame(start)) is not None:
            payloads.append(bytes(self._buffer[start + _LENGTH.size : end]))
            start = end
        del self._buffer[:start]
        return payloads

    @property
    def pending(self) -> int:
        """Bytes of a frame that is not complete yet."""
        return len(self._buffer)

    def _end_of_frame(self, start: int) -> int | None:
        if len(self._buffer) - start < _LENGTH.size:
            return None
        (length,) = _LENGTH.unpack_from(self._buffer, start)
        if length > _LONGEST:
            msg = f"a frame of {length} bytes"
            raise FrameError(msg)
        end = start + _LENGTH.size + int(length)
        return end if end <= len(self._buffer) else None
