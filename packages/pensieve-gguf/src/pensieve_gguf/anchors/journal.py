"""Records beside the anchors that outlive the process: appended one by one, believed only with their checksums.

    16 hexadecimal digits of XXH3, a space, the record, a line feed

A record is bytes without a line feed. Several processes may append to one file; what one of them tore, or wrote while
another began the file anew, is a record less. A shell; knows nothing of what the records say.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Self

import structlog
import xxhash

from pensieve_gguf.anchors.folder import FolderRefusedError, PrivateFolder

__all__ = ["JOURNAL_SUFFIX", "Journal"]

_log = structlog.get_logger(__name__)

JOURNAL_SUFFIX = ".journal"
_DIGITS = 16


class Journal:
    """One file of records. Use `open`; one thread at a time.

    Args:
        folder: Closed by `close`.
        name: The file's.
        most_bytes: A file that is larger is begun anew, with the last half of it.
    """

    def __init__(self, folder: PrivateFolder, name: str, most_bytes: int) -> None:
        self._folder = folder
        self._name = name
        self._most_bytes = most_bytes

    @classmethod
    def open(cls, path: Path, name: str, *, most_bytes: int) -> Self | None:
        """Open the folder at `path`. None: it cannot be used, and the log says why."""
        try:
            return cls(PrivateFolder.open(path), name + JOURNAL_SUFFIX, most_bytes)
        except (OSError, FolderRefusedError) as error:
            _log.warning("journal_disabled", folder=str(path), reason=str(error))
            return None

    def close(self) -> None:
        """Let go of the folder."""
        self._folder.close()

    def records(self) -> list[bytes]:
        """Return the records that are whole, in the order in which they were appended."""
        try:
            data = self._content()
            records = list(_whole(data))
            if len(data) > self._most_bytes or (data and not data.endswith(b"\n")):
                self._begin_anew(records)
        except OSError as error:
            _log.warning("journal_not_read", reason=str(error))
            return []
        return records

    def append(self, record: bytes) -> None:
        """Add a record; it is safe from the end of the process, not from that of the machine."""
        try:
            self._folder.append(self._name, _line(record))
        except OSError as error:
            _log.warning("journal_not_written", reason=str(error))

    def _content(self) -> bytes:
        with contextlib.suppress(FileNotFoundError), self._folder.read(self._name) as file:
            return file.readall() or b""
        return b""

    def _begin_anew(self, records: list[bytes]) -> None:
        """Write the last records into another file, which takes the place of this one."""
        room, kept = self._most_bytes // 2, list[bytes]()
        for line in map(_line, reversed(records)):
            room -= len(line)
            if room < 0:
                break
            kept.append(line)
        with self._folder.draft() as (draft, handle):
            self._folder.write(handle, memoryview(b"".join(reversed(kept))))
            self._folder.seal(handle)
            self._folder.publish(draft, self._name)


def _line(record: bytes) -> bytes:
    return b"%b %b\n" % (xxhash.xxh3_64_hexdigest(record).encode(), record)


def _whole(data: bytes) -> Iterator[bytes]:
    for line in data.split(b"\n"):
        told, _, record = line.partition(b" ")
        if len(told) == _DIGITS and told == xxhash.xxh3_64_hexdigest(record).encode():
            yield record
