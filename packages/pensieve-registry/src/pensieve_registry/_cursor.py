"""Walking forward through the bytes of a header, never past its end.

Knows bounds, integers and strings; knows no GGUF structure (that is `_header`). It reads the file in chunks rather than
mapping it: a mapped file that another process truncates ends ours with SIGBUS.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from pensieve_registry._errors import GgufHeaderError

__all__ = ["HEADER_LIMIT", "STRINGS_LIMIT", "HeaderCursor"]

HEADER_LIMIT = 128 * 1024 * 1024
"""Bytes of header read at most: the largest vocabularies (262k tokens and their merges) take under 20 MB."""
STRINGS_LIMIT = 1 << 22
"""Strings in arrays skipped at most, in all of a header; large vocabularies have under a million."""

_CHUNK = 1024 * 1024
_LENGTH = struct.Struct("<Q")


class HeaderCursor:
    """A position in a file that only moves forward.

    Invariant: `position <= len(buffer) <= size`; the buffer holds the file from its start.

    Args:
        file: Open at its start.
        size: Its length in bytes; nothing is read behind it.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._buffer = bytearray()
        self._strings_left = STRINGS_LIMIT
        self.size = size
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bytes between here and the end of the file."""
        return self.size - self.position

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes."""
        start = self.position
        self.skip(count)
        return bytes(self._buffer[start : self.position])

    def number(self, layout: struct.Struct) -> int | float:
        """Return the number that lies here in `layout`."""
        start = self.position
        self.skip(layout.size)
        value: int | float = layout.unpack_from(self._buffer, start)[0]
        return value

    def length(self) -> int:
        """Return a 64-bit count or length."""
        return int(self.number(_LENGTH))

    def skip(self, count: int) -> None:
        """Move `count` bytes on."""
        self._reach(self.position + count)
        self.position += count

    def skip_strings(self, count: int) -> None:
        """Move behind `count` strings without making any: a vocabulary has hundreds of thousands."""
        self._strings_left -= count
        if self._strings_left < 0:
            raise GgufHeaderError(f"more than {STRINGS_LIMIT} strings in arrays")
        buffer, position = self._buffer, self.position
        for _ in range(count):
            if position + _LENGTH.size > len(buffer):
                self._reach(position + _LENGTH.size)
            position += _LENGTH.size + _LENGTH.unpack_from(buffer, position)[0]
        self._reach(position)
        self.position = position

    def _reach(self, end: int) -> None:
        """Have the buffer hold everything before `end`."""
        if end <= len(self._buffer):
            return
        if end > self.size:
            raise GgufHeaderError(f"ends at {end} beyond the file's {self.size} bytes")
        if end > HEADER_LIMIT:
            raise GgufHeaderError(f"the header is longer than {HEADER_LIMIT} bytes")
        self._buffer += self._file.read(min(self.size, end + _CHUNK) - len(self._buffer))
        if end > len(self._buffer):
            raise GgufHeaderError(f"the file shrank to {len(self._buffer)} bytes while it was read")
