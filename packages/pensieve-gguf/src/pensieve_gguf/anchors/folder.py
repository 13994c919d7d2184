"""A folder that is ours alone: the only module that touches files by name.

All names are resolved against one open directory, so that nobody can swap a parent for a link in between; links are
not followed. Folder 0700, files 0600: they hold prompts. A shell: it decides nothing but whether the folder is ours.
Methods are few and small, so that a test can make the N-th of them fail, or the process die in it.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import secrets
import stat
from collections.abc import Iterator
from io import FileIO
from pathlib import Path
from typing import Self

__all__ = ["FolderRefusedError", "PrivateFolder"]

_MARKER = "CACHEDIR.TAG"  # tools for backups leave out what holds one: https://bford.info/cachedir/
_MARK = b"Signature: 8a477f597d28d172789f06886806bc55\n# Pensieve anchors"
_MARKER_TEXT = _MARK + b": saved prefixes, safe to remove with `pensieve-server cache clear`.\n"
_DRAFT = re.compile(r"\.[0-9a-f]{16}\.part")
_NEW = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_GROWING = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
_OLD = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_OTHERS = 0o077
_CLOSED = -1


class FolderRefusedError(Exception):
    """The folder is not ours to use. The message says why."""


class PrivateFolder:
    """An open folder. Use `open`; close it with `close`."""

    def __init__(self, path: Path, handle: int) -> None:
        self.path = path
        self._handle = handle

    @classmethod
    def open(cls, path: Path) -> Self:
        """Open the folder at `path` for reading and writing; it is made when it is not there.

        Raises:
            FolderRefusedError: it is another user's, or holds files that are not ours.
            OSError: it cannot be made, is a link, or cannot be written to.
        """
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        return cls._opened(path, writing=True)

    @classmethod
    def open_existing(cls, path: Path) -> Self:
        """Open the folder at `path` as it is, to look or to clear.

        Raises:
            FolderRefusedError: it is another user's, or has no marker of ours.
            OSError: it is not there, or cannot be read.
        """
        return cls._opened(path, writing=False)

    @classmethod
    def _opened(cls, path: Path, *, writing: bool) -> Self:
        with contextlib.ExitStack() as undo:
            folder = cls(path, os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC))
            undo.callback(folder.close)
            folder._check_owner()
            if writing:
                folder._adopt()
            elif not folder._marked():
                raise FolderRefusedError(f"{path} has no marker of ours ({_MARKER})")
            undo.pop_all()
        return folder

    def close(self) -> None:
        """Let go of the folder; whatever is tried in it from now on fails. Idempotent."""
        handle, self._handle = self._handle, _CLOSED
        if handle != _CLOSED:
            os.close(handle)

    # -- looking -------------------------------------------------------------------------------------------------

    def names(self) -> set[str]:
        """Return the names of all files."""
        return set(os.listdir(self._handle))  # noqa: PTH208 - pathlib knows paths only, not descriptors

    def facts(self, name: str) -> os.stat_result | None:
        """Return the size of a file, and as `st_mtime` when it was written or last `touched`; None: there is none."""
        try:
            return os.stat(name, dir_fd=self._handle, follow_symlinks=False)
        except FileNotFoundError:
            return None

    def free_bytes(self) -> int:
        """Return how much may still be written to this disk by us."""
        found = os.fstatvfs(self._handle)
        return found.f_bavail * found.f_frsize

    def read(self, name: str) -> FileIO:
        """Open a file for reading.

        Raises:
            OSError: it is not there, is a link, or is no regular file.
        """
        handle = os.open(name, _OLD, dir_fd=self._handle)
        if not stat.S_ISREG(os.fstat(handle).st_mode):
            os.close(handle)
            raise OSError(f"{name} is no regular file")
        return os.fdopen(handle, "rb", buffering=0)

    def read_ahead(self, name: str) -> None:
        """Let the system read a file into its own memory, where it does such things; nobody waits for it."""
        if hasattr(os, "posix_fadvise"):
            with self.read(name) as file:
                os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_WILLNEED)

    # -- changing: each of these may fail or be the last thing that the process does ------------------------------

    def create(self) -> tuple[str, int]:
        """Create a draft, a file with a name that nobody looks for; return name and descriptor.

        It is locked for as long as the descriptor is open: that is how others know that its writer lives. Who tidies up
        between the creation and the lock takes it for abandoned and removes it, with the lock in hand; then there is
        another.
        """
        while True:
            name = f".{secrets.token_hex(8)}.part"
            handle = os.open(name, _NEW, 0o600, dir_fd=self._handle)
            try:
                self.lock(handle)
            except OSError:
                os.close(handle)
                self.remove(name)
                raise
            if os.fstat(handle).st_nlink:
                return name, handle
            os.close(handle)

    def append(self, name: str, data: bytes) -> None:
        """Write `data` behind all that is in a file, which is made when it is not there.

        Raises:
            OSError: it is a link, or the disk is full or broken; part of it may have been written.
        """
        handle = os.open(name, _GROWING, 0o600, dir_fd=self._handle)
        try:
            self.write(handle, memoryview(data))
        finally:
            os.close(handle)

    def lock(self, handle: int) -> None:
        """Show that the writer of a draft lives, until the descriptor is closed."""
        fcntl.flock(handle, fcntl.LOCK_EX)

    @contextlib.contextmanager
    def draft(self) -> Iterator[tuple[str, int]]:
        """Create a draft; whatever happens, nothing of it is left that was not published."""
        name, handle = self.create()
        try:
            yield name, handle
        finally:
            os.close(handle)
            self.remove(name)

    def write(self, handle: int, data: memoryview) -> None:
        """Write all of `data`."""
        while data:
            data = data[os.write(handle, data) :]

    def seal(self, handle: int) -> None:
        """Wait until what was written is on the disk."""
        os.fsync(handle)

    def publish(self, draft: str, name: str) -> None:
        """Give the draft its name, in place of what may have had it."""
        os.replace(draft, name, src_dir_fd=self._handle, dst_dir_fd=self._handle)

    def settle(self) -> None:
        """Wait until names, too, are on the disk."""
        os.fsync(self._handle)

    def touch(self, name: str, used_at: float) -> None:
        """Note that the file was of use."""
        os.utime(name, (used_at, used_at), dir_fd=self._handle, follow_symlinks=False)

    def remove(self, name: str) -> None:
        """Remove a file, if it is there; of a link, the link."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(name, dir_fd=self._handle)

    def reserve_name(self, name: str) -> None:
        """Create `name`, empty and private, unless it is there.

        Raises:
            OSError: it is a link.
        """
        os.close(os.open(name, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600, dir_fd=self._handle))

    # -- drafts of the dead --------------------------------------------------------------------------------------

    def remove_abandoned_drafts(self) -> None:
        """Remove drafts whose writers are gone. Those of living writers stay."""
        for name in self.names():
            if _DRAFT.fullmatch(name):
                self._remove_if_abandoned(name)

    def _remove_if_abandoned(self, name: str) -> None:
        # Locked: its writer lives. Gone: published meanwhile, or removed.
        with contextlib.suppress(BlockingIOError, FileNotFoundError), self.read(name) as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self.remove(name)

    # -- whose it is ---------------------------------------------------------------------------------------------

    def _check_owner(self) -> None:
        if os.fstat(self._handle).st_uid != os.geteuid():
            raise FolderRefusedError(f"{self.path} belongs to another user")

    def _adopt(self) -> None:
        """Mark the folder as ours when it is empty, and see whether it can be written to."""
        foreign = [name for name in self.names() if not _DRAFT.fullmatch(name)]
        if foreign and not self._marked():
            raise FolderRefusedError(f"{self.path} holds files that are not ours, such as {min(foreign)}")
        if os.fstat(self._handle).st_mode & _OTHERS:
            os.fchmod(self._handle, 0o700)
        with self.draft() as (name, handle):
            self.write(handle, memoryview(_MARKER_TEXT))
            self.publish(name, _MARKER)

    def _marked(self) -> bool:
        try:
            with self.read(_MARKER) as file:
                return file.read(len(_MARK)) == _MARK
        except FileNotFoundError:
            return False
