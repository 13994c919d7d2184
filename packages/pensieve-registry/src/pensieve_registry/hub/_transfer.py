"""One file from the hub to the disk: goes on where an earlier attempt ended, and ends with the right bytes or an error.

What is gathered lies under a name that no program reads. Whatever lies there already is hashed first, so no note of
how far an earlier process came is needed, or trusted. The file gets its name, which is its hash, only when its bytes
have that hash.
"""

from __future__ import annotations

import errno
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from io import FileIO
from pathlib import Path
from typing import Protocol

import attrs

from pensieve_registry.hub._client import Body, HubSource, UnavailableError
from pensieve_registry.hub._errors import PullError, PullStoppedError
from pensieve_registry.hub._repository import RemoteFile, RemoteRepository

__all__ = ["Meter", "Patience", "Transfer", "has_its_hash"]

_CHUNK_BYTES = 1024 * 1024
_DISK_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@attrs.frozen(kw_only=True)
class Patience:
    """How often a broken connection is taken up again."""

    pauses_s: tuple[float, ...] = (1.0, 2.0, 5.0, 10.0, 20.0)
    """The pause before each further attempt. A byte that arrives starts the count anew."""


class Meter(Protocol):
    """Who is told how it goes. Called from the transfer's thread."""

    def moved(self, done_bytes: int, fetched_bytes: int) -> None:
        """So many more bytes of the file are here (less than none: they go again); so many came from the hub."""
        ...

    def retrying(self, reason: str, pause_s: float) -> None:
        """It goes on after a pause."""
        ...


@attrs.frozen(kw_only=True)
class Transfer:
    """How files of one repository are fetched."""

    source: HubSource
    repository: RemoteRepository
    stop: threading.Event
    """Ends it within one chunk, or one pause."""
    patience: Patience = Patience()

    def fetch(self, file: RemoteFile, partial: Path, blob: Path, meter: Meter) -> None:
        """Make `blob` from `partial` and the hub. The caller holds the lock of the blob.

        Raises:
            PullStoppedError: `stop` was set.
            PullError: the disk is full, the hub gave up, or the bytes are not those that it promised.
        """
        with _Partial(partial, file, meter) as gathered:
            found = gathered.recover(self.stop)
            self._complete(gathered)
            if found and not gathered.is_right():
                gathered.restart()  # what lay there was not what it should have been
                self._complete(gathered)
            if not gathered.is_right():
                gathered.restart()
                raise PullError(f"{file.name}: the bytes that came do not have the hash that the hub tells; discarded")
            gathered.become(blob)

    def _complete(self, gathered: _Partial) -> None:
        """Fetch what is missing, with pauses when nothing comes."""
        failures = 0
        while not gathered.is_whole():
            before = gathered.length
            try:
                self._take_up(gathered)
                reason, wish_s = "the connection ended early", 0.0
            except UnavailableError as error:
                reason, wish_s = error.message, error.retry_after_s
            failures = 0 if gathered.length > before else failures + 1
            if not gathered.is_whole():
                self._pause(gathered, reason, failures, wish_s)

    def _pause(self, gathered: _Partial, reason: str, failures: int, wish_s: float) -> None:
        pauses = self.patience.pauses_s
        if failures > len(pauses):
            raise PullError(f"{gathered.file.name}: {reason}; tried {failures} times", resumable=True)
        pause_s = max(wish_s, pauses[max(failures - 1, 0)] if pauses else 0.0)
        gathered.meter.retrying(reason, pause_s)
        if self.stop.wait(pause_s):
            raise PullStoppedError

    def _take_up(self, gathered: _Partial) -> None:
        with self.source.open(self.repository, gathered.file.name, gathered.length) as body:
            self._receive(gathered, body)

    def _receive(self, gathered: _Partial, body: Body) -> None:
        if body.offset != gathered.length:
            gathered.restart()
        for chunk in body.chunks:
            if self.stop.is_set():
                raise PullStoppedError
            gathered.append(chunk)


def has_its_hash(path: Path, file: RemoteFile, stop: threading.Event, on_bytes: Callable[[int], None]) -> bool:
    """Return whether the bytes at `path` are the file's.

    Raises:
        PullStoppedError: `stop` was set.
    """
    if path.stat().st_size != file.size_bytes:
        return False
    digest = _digest(file)
    with path.open("rb") as content:
        while chunk := content.read(_CHUNK_BYTES):
            if stop.is_set():
                raise PullStoppedError
            digest.update(chunk)
            on_bytes(len(chunk))
    return digest.hexdigest() == file.oid


def _digest(file: RemoteFile) -> hashlib._Hash:
    if file.sha256 is not None:
        return hashlib.sha256()
    return hashlib.sha1(f"blob {file.size_bytes}\0".encode(), usedforsecurity=False)  # what git itself does


class _Partial:
    """A file in the making. Invariant: `length` bytes are in it, and in the digest."""

    def __init__(self, path: Path, file: RemoteFile, meter: Meter) -> None:
        self.file = file
        self.meter = meter
        self.length = 0
        self._path = path
        self._digest = _digest(file)
        self._content: FileIO

    def __enter__(self) -> _Partial:
        with _explained(self.file):
            self._content = FileIO(os.open(self._path, os.O_RDWR | os.O_CREAT, 0o666), "r+")
        return self

    def __exit__(self, *_: object) -> None:
        self._content.close()

    def recover(self, stop: threading.Event) -> bool:
        """Take what lies there into the digest; return whether there was anything."""
        while chunk := self._content.read(_CHUNK_BYTES):
            if stop.is_set():
                raise PullStoppedError
            self._count(chunk, fetched=False)
        if self.length > self.file.size_bytes:
            self.restart()
        return self.length > 0

    def restart(self) -> None:
        """Throw all of it away."""
        self._content.seek(0)
        self._content.truncate()
        self.meter.moved(-self.length, 0)
        self.length, self._digest = 0, _digest(self.file)

    def append(self, chunk: bytes) -> None:
        """Write `chunk` at the end.

        Raises:
            PullError: there is no room; or more came than the file is long, which is then thrown away.
        """
        if self.length + len(chunk) > self.file.size_bytes:
            self.restart()
            raise PullError(f"{self.file.name}: more came than the hub said there is; discarded")
        with _explained(self.file):
            written = 0
            while written < len(chunk):  # near the end of a disk, a part of it may be written
                written += self._content.write(chunk[written:]) or 0
        self._count(chunk, fetched=True)

    def is_whole(self) -> bool:
        """Return whether nothing is missing."""
        return self.length == self.file.size_bytes

    def is_right(self) -> bool:
        """Return whether the bytes are the file's."""
        return self._digest.hexdigest() == self.file.oid

    def become(self, blob: Path) -> None:
        """Get the final name."""
        with _explained(self.file):
            os.fsync(self._content.fileno())
            self._path.replace(blob)

    def _count(self, chunk: bytes, *, fetched: bool) -> None:
        self.length += len(chunk)
        self._digest.update(chunk)
        self.meter.moved(len(chunk), len(chunk) if fetched else 0)


@contextmanager
def _explained(file: RemoteFile) -> Iterator[None]:
    """Say what a refusal of the disk means for the pull."""
    try:
        yield
    except OSError as error:
        reason = "the disk is full" if error.errno in _DISK_FULL else f"the disk refuses it ({error.strerror})"
        raise PullError(f"{file.name}: {reason}; what has come is kept", resumable=True) from error
