"""Where GGUF files lie on this machine.

A source only lists paths; whether they are any good is found out later. None of them follows a name that a file or a
server chose, none of them writes, and none of them raises: a folder that cannot be read is an `Unreadable` among what
it finds. All of them are bounded: pointing one at `/` is slow for a moment, not for ever. Ollama's is in `_ollama`.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import itertools
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Protocol, TypeAlias, runtime_checkable

import attrs

from pensieve_registry._walk import Unreadable, listed, walk

__all__ = [
    "FileSource",
    "FolderSource",
    "Found",
    "FoundFile",
    "HuggingFaceCacheSource",
    "InstalledDistributionSource",
    "LmStudioSource",
    "ModelSource",
]

_SUFFIX = ".gguf"
_POINTER_BYTES = 4096


@attrs.frozen(kw_only=True)
class FoundFile:
    """A file of which the source knows more than its path."""

    path: Path
    name: str | None = None
    """What people call it, where the file's own name says nothing."""
    projector: Path | None = None
    """That the source says belongs to it."""
    adapters: tuple[Path, ...] = ()
    """As `projector`."""


Found: TypeAlias = Path | FoundFile | Unreadable


@runtime_checkable
class ModelSource(Protocol):
    """A place where models are. Satisfy it to teach the catalog another one."""

    @property
    def name(self) -> str:
        """Words for people: "models folder"."""
        ...

    def find(self) -> Iterable[Found]:
        """Return GGUF files, in any order; of a split model any or all of the shards. Paths are enough.

        A place that does not exist holds no files, and that is no problem; one that cannot be read is an `Unreadable`.
        May block on the disk.
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

    def find(self) -> Iterable[Path | Unreadable]:
        """Return the GGUF files below the folder, in the order of their names."""
        return sorted(walk(self._folder), key=_place)


class LmStudioSource:
    """What LM Studio has downloaded: `models/<publisher>/<repository>/<file>` in its home, which a file may point to.

    Its home is `~/.lmstudio`, or what `~/.lmstudio-home-pointer` says; older versions used `~/.cache/lm-studio`. Both
    are searched, for an update leaves the models where they were.
    """

    def __init__(self, *folders: Path, name: str = "LM Studio") -> None:
        self.name = name
        self._folders = folders

    @classmethod
    def of_user(cls, home: Path) -> LmStudioSource:
        """Return the source of the user with this home directory."""
        pointed = _text(home / ".lmstudio-home-pointer")
        studio = Path(pointed) if Path(pointed).is_absolute() else home / ".lmstudio"
        return cls(studio / "models", home / ".cache" / "lm-studio" / "models")

    def find(self) -> Iterable[Path | Unreadable]:
        """Return the GGUF files in both folders."""
        return itertools.chain.from_iterable(sorted(walk(folder), key=_place) for folder in self._folders)


class HuggingFaceCacheSource:
    """What `hf download` (and every library like it) has put into the shared cache.

    The cache's layout: `models--<owner>--<name>/snapshots/<revision>/<file>`, where the file links into `blobs/`. The
    path in the snapshot is what is returned, for only there do shards have their names. Of a repository's revisions
    the one that `refs/main` names comes first.
    """

    def __init__(self, folder: Path, *, name: str = "Hugging Face cache") -> None:
        self.name = name
        self._folder = folder

    @property
    def folder(self) -> Path:
        """Where the cache is, there or not."""
        return self._folder

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> HuggingFaceCacheSource:
        """Return the source of the folder that huggingface_hub would use: HF_HUB_CACHE, HF_HOME, XDG_CACHE_HOME."""
        hub = environment.get("HF_HUB_CACHE")
        if hub:
            return cls(Path(hub).expanduser())
        cache = Path(environment.get("XDG_CACHE_HOME") or "~/.cache")
        home = Path(environment.get("HF_HOME") or cache / "huggingface")
        return cls(home.expanduser() / "hub")

    def find(self) -> Iterable[Path | Unreadable]:
        """Return the GGUF files of all snapshots."""
        repositories, problems = listed(self._folder)
        yield from problems
        for repository in repositories:
            if repository.name.startswith("models--"):
                yield from _in_snapshots(repository)


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


def _place(found: Path | Unreadable) -> Path:
    return found.path if isinstance(found, Unreadable) else found


def _in_snapshots(repository: Path) -> Iterator[Path | Unreadable]:
    main = _text(repository / "refs" / "main")
    snapshots, problems = listed(repository / "snapshots")
    yield from problems
    for snapshot in sorted(snapshots, key=lambda snapshot: snapshot.name != main):
        yield from sorted(walk(snapshot), key=_place)


def _text(path: Path) -> str:
    """Return the few words of a file; nothing when it is no file that has any."""
    with contextlib.suppress(OSError, UnicodeDecodeError):
        if path.is_file():
            with path.open(encoding="utf-8") as file:
                return file.read(_POINTER_BYTES).strip()
    return ""
