"""Where GGUF files lie on this machine.

A source only lists paths; whether they are any good is found out later. None of them follows a name that a file or a
server chose. All of them are bounded: pointing one at `/` is slow for a moment, not for ever.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, runtime_checkable

__all__ = ["FileSource", "FolderSource", "HuggingFaceCacheSource", "InstalledDistributionSource", "ModelSource"]

_SUFFIX = ".gguf"
_DEPTH_LIMIT = 8
_ENTRIES_LIMIT = 20_000
"""Files and folders looked at in one folder source."""


@runtime_checkable
class ModelSource(Protocol):
    """A place where models are. Satisfy it to teach the catalog another one."""

    @property
    def name(self) -> str:
        """Words for people: "models folder"."""
        ...

    def find(self) -> Iterable[Path]:
        """Return paths of GGUF files, in any order; of a split model any or all of the shards.

        A place that does not exist holds no files, and that is no error. May block on the disk.
        """
        ...


class FileSource:
    """One file that the user named. It is returned even when it does not exist, so that the user hears of it."""

    def __init__(self, path: Path, *, name: str = "given file") -> None:
        self.name = name
        self._path = path

    def find(self) -> Iterable[Path]:
        """Return the path."""
        return (self._path,)


class FolderSource:
    """A folder and the folders in it, links included; what starts with a dot is left alone."""

    def __init__(self, folder: Path, *, name: str = "models folder") -> None:
        self.name = name
        self._folder = folder

    def find(self) -> Iterable[Path]:
        """Return the GGUF files below the folder, sorted."""
        return sorted(_walk(self._folder))


class HuggingFaceCacheSource:
    """What `hf download` (and every library like it) has put into the shared cache.

    The cache's layout: `models--<owner>--<name>/snapshots/<revision>/<file>`, where the file links into `blobs/`. The
    path in the snapshot is what is returned, for only there do shards have their names. Of a repository's revisions
    the one that `refs/main` names comes first.
    """

    def __init__(self, folder: Path, *, name: str = "Hugging Face cache") -> None:
        self.name = name
        self._folder = folder

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> HuggingFaceCacheSource:
        """Return the source of the folder that huggingface_hub would use: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME."""
        hub = environment.get("HF_HUB_CACHE")
        if hub:
            return cls(Path(hub).expanduser())
        cache = Path(environment.get("XDG_CACHE_HOME") or "~/.cache")
        home = Path(environment.get("HF_HOME") or cache / "huggingface")
        return cls(home.expanduser() / "hub")

    def find(self) -> Iterable[Path]:
        """Return the GGUF files of all snapshots."""
        for repository in sorted(self._folder.glob("models--*")):
            for snapshot in _snapshots(repository):
                yield from sorted(_walk(snapshot))


class InstalledDistributionSource:
    """GGUF files inside installed Python packages: how the starter model comes."""

    def __init__(self, *, name: str = "installed package", path: Sequence[str] | None = None) -> None:
        """Look in the folders of `path`; None: where Python imports from."""
        self.name = name
        self._path = path

    def find(self) -> Iterable[Path]:
        """Return the GGUF files that packages have on record.

        A record is searched as text first: parsing all records of an environment takes ten times as long as this.
        """
        folders = sys.path if self._path is None else self._path
        for distribution in importlib.metadata.distributions(path=list(folders)):
            if _SUFFIX in (distribution.read_text("RECORD") or ""):
                for file in distribution.files or ():
                    if file.suffix == _SUFFIX:
                        yield Path(str(distribution.locate_file(file)))


def _snapshots(repository: Path) -> list[Path]:
    main = _text(repository / "refs" / "main")
    snapshots = sorted(repository.glob("snapshots/*"))
    return sorted(snapshots, key=lambda snapshot: snapshot.name != main)


def _text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError):
        return ""


def _walk(folder: Path) -> Iterator[Path]:
    """Yield the GGUF files below `folder`. Links are followed: the depth ends a circle of them."""
    entries = 0
    for place, folders, files in os.walk(folder, followlinks=True):
        depth = len(Path(place).relative_to(folder).parts)
        folders[:] = sorted(name for name in folders if depth < _DEPTH_LIMIT and not name.startswith("."))
        entries += len(folders) + len(files)
        yield from (path for name in files if _is_model_file(path := Path(place, name)))
        if entries > _ENTRIES_LIMIT:
            return


def _is_model_file(path: Path) -> bool:
    return path.suffix.lower() == _SUFFIX and not path.name.startswith(".") and path.is_file()
