"""Walking forward through the bytes of a header, never past its end.

Knows bounds, integers and strings; knows no GGUF structure (that is `_header`). It reads the file in pieces rather than
mapping it: a mapped file that another process truncates ends ours with SIGBUS. What is skipped is not read at all, so
that memory is one piece, whatever the file says.
"""

from __future__ import annotations

import struct
from typing import BinaryIO

from pensieve_registry._errors import GgufHeaderError

__all__ = ["HEADER_LIMIT", "STRINGS_LIMIT", "TAKEN_LIMIT", "HeaderCursor"]

HEADER_LIMIT = 128 * 1024 * 1024
"""Bytes of header at most: the largest vocabularies (262k tokens and their merges) take under 20 MB."""
STRINGS_LIMIT = 1 << 21
"""Strings in arrays skipped at most, in all of a header: the largest vocabularies have 780,000, merges included."""
TAKEN_LIMIT = 8 * 1024 * 1024
"""Bytes of names and texts kept at most: templates of 50 kB are long. As Python's text they may take four times it."""

_PIECE = 1024 * 1024
_LENGTH = struct.Struct("<Q")


class HeaderCursor:
    """A position in a file that only moves forward.

    Invariant: `position <= size`; `piece` holds the bytes of the file from `start` on, `start <= position`.

    Args:
        file: Open, and able to seek.
        size: Its length in bytes; nothing is read behind it.
    """

    def __init__(self, file: BinaryIO, size: int) -> None:
        self._file = file
        self._piece = b""
        self._start = 0
        self._strings_left = STRINGS_LIMIT
        self._taken_left = TAKEN_LIMIT
        self.size = size
        self.position = 0

    @property
    def remaining(self) -> int:
        """Bytes between here and the end of the file."""
        return self.size - self.position

    def take(self, count: int) -> bytes:
        """Return the next `count` bytes. They come into memory at once: the caller has bounded `count`."""
        self._taken_left -= count
        if self._taken_left < 0:
            raise GgufHeaderError(f"holds more than {TAKEN_LIMIT} bytes of names and texts")
        self._have(count)
        begin = self.position - self._start
        self.position += count
        return self._piece[begin : begin + count]

    def number(self, layout: struct.Struct) -> int | float:
        """Return the number that lies here in `layout`."""
        self._have(layout.size)
        value: int | float = layout.unpack_from(self._piece, self.position - self._start)[0]
        self.position += layout.size
        return value

    def length(self) -> int:
        """Return a 64-bit count or length."""
        return int(self.number(_LENGTH))

    def skip(self, count: int) -> None:
        """Move `count` bytes on, without reading them."""
        self._check_end(self.position + count)
        self.position += count

    def skip_strings(self, count: int) -> None:
        """Move behind `count` strings without making any: a vocabulary has hundreds of thousands."""
        self._strings_left -= count
        if self._strings_left < 0:
            raise GgufHeaderError(f"more than {STRINGS_LIMIT} strings in arrays")
        while count:
            self._have(_LENGTH.size)
            count -= self._skip_in_piece(count)
            self._check_end(self.position)

    def again(self, start: int, end: int) -> bytes:
        """Return the bytes from `start` to `end`, which the cursor has passed. The caller has bounded their number."""
        return self._read(start, end - start)

    def _skip_in_piece(self, count: int) -> int:
        """Move on string by string, `count` at most, while their lengths lie in the piece; return how many."""
        piece, unpack = self._piece, _LENGTH.unpack_from
        place, last = self.position - self._start, len(self._piece) - _LENGTH.size
        for done in range(count):
            if place > last:
                self.position = self._start + place
                return done
            place += _LENGTH.size + unpack(piece, place)[0]
        self.position = self._start + place
        return count

    def _have(self, count: int) -> None:
        """Have the piece hold the next `count` bytes."""
        end = self.position + count
        if self._start + len(self._piece) < end:
            self._check_end(end)
            self._piece = self._read(self.position, min(max(count, _PIECE), self.remaining))
            self._start = self.position
            if len(self._piece) < count:
                raise GgufHeaderError(f"the file shrank to {self.position + len(self._piece)} bytes while it was read")

    def _read(self, start: int, count: int) -> bytes:
        self._file.seek(start)
        return self._file.read(count)

    def _check_end(self, end: int) -> None:
        if end > self.size:
            raise GgufHeaderError(f"ends at {end} beyond the file's {self.size} bytes")
        if end > HEADER_LIMIT:
            raise GgufHeaderError(f"the header is longer than {HEADER_LIMIT} bytes")
