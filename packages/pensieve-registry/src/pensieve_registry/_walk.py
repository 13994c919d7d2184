"""Looking through folders for GGUF files.

Knows links, limits and folders that cannot be read; knows nothing of what is in a file. A walk always ends, finds every
file once, and raises nothing.
"""

from __future__ import annotations

import contextlib
import errno
import os
from collections.abc import Iterator
from pathlib import Path

import attrs

__all__ = ["Unreadable", "is_model_file", "listed", "walk"]

_SUFFIX = ".gguf"
_DEPTH_LIMIT = 8
_ENTRIES_LIMIT = 20_000
"""Files and folders looked at in one walk."""
_ABSENT = frozenset({errno.ENOENT, errno.ENOTDIR})
"""A place that does not exist, or not any more, is empty, and no problem."""


@attrs.frozen(kw_only=True)
class Unreadable:
    """A place that could not be looked at, or not completely."""

    path: Path
    reason: str


def is_model_file(path: Path) -> bool:
    """Return whether this is a file that is named like a GGUF and not hidden; or one of which nobody may know."""
    if path.suffix.lower() != _SUFFIX or path.name.startswith("."):
        return False
    try:
        return path.is_file()
    except OSError:  # reading it will say what is wrong
        return True


def listed(folder: Path) -> tuple[list[Path], list[Unreadable]]:
    """Return what lies in `folder`, sorted; and the folder itself when it cannot be read."""
    entries, problems = _entries(folder)
    return [Path(entry.path) for entry in entries], problems


def walk(folder: Path) -> Iterator[Path | Unreadable]:
    """Yield the GGUF files below `folder`, and the folders that cannot be read. Links are followed, hidden folders not.

    A folder is looked at once, by whichever way it was reached first: so links can go in circles.
    """
    looked_at, waiting, seen = 0, [(folder, 0)], set[tuple[int, int]]()
    while waiting:
        place, depth = waiting.pop()
        if not _is_new(place, seen):
            continue
        entries, problems = _entries(place)
        yield from problems
        looked_at += len(entries)
        if looked_at > _ENTRIES_LIMIT:
            yield Unreadable(path=place, reason=f"more than {_ENTRIES_LIMIT} files and folders: the rest is left out")
            return
        yield from (path for entry in entries if is_model_file(path := Path(entry.path)))
        if depth < _DEPTH_LIMIT:
            waiting += [(Path(entry.path), depth + 1) for entry in reversed(entries) if _is_open_folder(entry)]


def _entries(folder: Path) -> tuple[list[os.DirEntry[str]], list[Unreadable]]:
    try:
        with os.scandir(folder) as entries:
            return sorted(entries, key=lambda entry: entry.name), []
    except OSError as error:
        return [], [] if error.errno in _ABSENT else [_unreadable(folder, error)]


def _is_new(folder: Path, seen: set[tuple[int, int]]) -> bool:
    try:
        status = folder.stat()
    except OSError:
        return True  # listing it says what is wrong
    identity = status.st_dev, status.st_ino
    known = identity in seen
    seen.add(identity)
    return not known


def _is_open_folder(entry: os.DirEntry[str]) -> bool:
    with contextlib.suppress(OSError):  # a link that leads nowhere, or where nobody may look
        return not entry.name.startswith(".") and entry.is_dir()
    return False


def _unreadable(folder: Path, error: OSError) -> Unreadable:
    return Unreadable(path=folder, reason=f"cannot be read: {error.strerror or error}")
