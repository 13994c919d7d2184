"""What lies in a folder of anchors, for people; and how to be rid of it. Needs no model, and may run beside servers."""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import attrs

from pensieve_gguf.anchors.files import anchor_names, found_anchors, read_head
from pensieve_gguf.anchors.folder import PrivateFolder
from pensieve_gguf.anchors.format import AnchorKind, NotAnAnchorError
from pensieve_gguf.anchors.index import Index
from pensieve_gguf.anchors.journal import JOURNAL_SUFFIX

__all__ = ["Cleared", "ListedAnchor", "Survey", "clear_folder", "survey_folder"]


@attrs.frozen(kw_only=True)
class ListedAnchor:
    """One file, as it describes itself."""

    name: str
    model: str
    """The label of the identity that it was saved for."""
    kind: AnchorKind
    tokens: int
    file_bytes: int
    created_at: float
    used_at: float
    """Unix seconds."""


@attrs.frozen(kw_only=True)
class Survey:
    """All that lies in a folder."""

    anchors: tuple[ListedAnchor, ...]
    """Those that are whole as far as their headers tell, the last used first."""
    total_bytes: int
    """Of all files, index and drafts too."""
    free_bytes: int
    """What may still be written to this disk."""


@attrs.frozen(kw_only=True)
class Cleared:
    """What was removed."""

    anchors: int
    file_bytes: int


def survey_folder(path: Path) -> Survey:
    """Look at the folder at `path`, and change nothing.

    Raises:
        FileNotFoundError: nothing was ever saved there.
        FolderRefusedError: it is not a folder of anchors.
        OSError: it cannot be read.
    """
    with contextlib.closing(PrivateFolder.open_existing(path)) as folder:
        listed = sorted(_listed(folder), key=lambda anchor: (-anchor.used_at, anchor.name))
        sizes = [facts.st_size for name in folder.names() if (facts := folder.facts(name))]
        return Survey(anchors=tuple(listed), total_bytes=sum(sizes), free_bytes=folder.free_bytes())


def clear_folder(path: Path, *, unused_since: float | None = None) -> Cleared:
    """Remove the anchors in the folder at `path`: all, or those that nobody has used since then (Unix seconds).

    Journals go with them.

    Servers that run meanwhile find them gone, which is no error to them. Drafts of living writers stay.

    Raises: as `survey_folder`.
    """
    with contextlib.closing(PrivateFolder.open_existing(path)) as folder:
        folder.remove_abandoned_drafts()
        gone = dict(_removed(folder, anchor_names(folder), unused_since))
        journals = {name for name in folder.names() if name.endswith(JOURNAL_SUFFIX)}
        size = sum(gone.values()) + sum(dict(_removed(folder, journals, unused_since)).values())
        with contextlib.suppress(sqlite3.Error), contextlib.closing(_index(folder)) as index:
            index.remove(gone)
        return Cleared(anchors=len(gone), file_bytes=size)


def _listed(folder: PrivateFolder) -> Iterator[ListedAnchor]:
    for name in anchor_names(folder):
        with contextlib.suppress(NotAnAnchorError, OSError):
            header, facts = read_head(folder, name).header, folder.facts(name)
            yield ListedAnchor(
                name=name,
                model=header.label,
                kind=header.kind,
                tokens=header.length,
                file_bytes=header.file_bytes,
                created_at=header.created_at,
                used_at=facts.st_mtime if facts else header.created_at,
            )


def _removed(folder: PrivateFolder, names: set[str], unused_since: float | None) -> Iterator[tuple[str, int]]:
    """Remove files, whole or torn, and yield their names and sizes."""
    for name in names:
        facts = folder.facts(name)
        if facts and (unused_since is None or facts.st_mtime < unused_since):
            folder.remove(name)
            yield name, facts.st_size


def _index(folder: PrivateFolder) -> Index:
    return Index(folder, lambda: found_anchors(folder, anchor_names(folder)))
