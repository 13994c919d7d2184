"""Which files go when a model goes: a plan, and what carries it out. Asks nobody and knows no catalog.

Ours are the models folder and the Hugging Face cache, the store that downloads go to. Everything else belongs to
another program or to the user; it is refused here, with a word on how it is removed there.

The cache's layout, as huggingface_hub documents it: `models--<owner>--<name>/snapshots/<revision>/<file>` links to
`blobs/<hash>`, and one blob may stand behind several links. A file goes with its links in all revisions; its blob goes
when no link is left.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import attrs

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode

__all__ = ["Removal", "plan_removal", "remove", "repository_folder"]

_CACHE = "Hugging Face cache"
_ELSEWHERE = {
    "LM Studio": "it is LM Studio's: delete it there, under My Models",
    "Ollama": "it is Ollama's: ollama rm NAME removes it",
    "installed package": "it came in a Python package: uninstall that, with the tool that installed it",
}
_YOURS = (
    "it lies outside the models folder and the Hugging Face cache, the places that are ours: delete {path} yourself"
)


@attrs.frozen(kw_only=True)
class Removal:
    """What goes with one model."""

    model: str
    paths: tuple[Path, ...]
    """Files and links."""
    freed_bytes: int
    """Of the files; a link frees nothing."""
    repositories: frozenset[Path] = frozenset()
    """Folders of the cache that may be empty then."""


def plan_removal(model: str, files: Sequence[Path], *, source: str, models_folder: Path) -> Removal:
    """Return what is to be removed so that `files` are gone.

    Args:
        model: The model's id.
        files: Its own files, as the catalog found them.
        source: Where the catalog found them, in its words.
        models_folder: Ours, there or not.

    Raises:
        CommandError: one of them is not ours.
    """
    repositories = {file: repository_folder(file) if source == _CACHE else None for file in files}
    paths = {path: None for file in files for path in _paths(model, file, source, repositories[file], models_folder)}
    return Removal(
        model=model,
        paths=tuple(paths),
        freed_bytes=sum(path.lstat().st_size for path in paths if _counts(path)),
        repositories=frozenset(filter(None, repositories.values())),
    )


def remove(removal: Removal) -> None:
    """Remove what was planned, links before the files behind them, and folders of the cache that are empty then.

    Raises:
        CommandError: the system does not let us; what is gone by then stays gone.
    """
    try:
        for path in removal.paths:
            path.unlink(missing_ok=True)
        for repository in removal.repositories:
            _tidy(repository)
    except OSError as error:
        raise CommandError(f"{removal.model} could not be removed: {error}", ExitCode.FAILURE) from error


def _paths(model: str, file: Path, source: str, repository: Path | None, models_folder: Path) -> Iterator[Path]:
    if repository is not None:
        yield from _of_cache(file, repository)
    elif source not in _ELSEWHERE and _really_within(file, models_folder):
        yield file
    else:
        reason = _ELSEWHERE.get(source, _YOURS.format(path=file))
        raise CommandError(f"{model} is not removed: {reason}", ExitCode.REFUSED)


def _of_cache(file: Path, repository: Path) -> Iterator[Path]:
    if not file.is_symlink():  # where the system has no links, snapshots hold the files themselves
        yield file
        return
    blob = file.resolve()
    behind = [link for link in _links(repository) if link.resolve() == blob]
    same = [link for link in behind if link.name == file.name]
    yield from same
    if len(same) == len(behind) and _really_within(blob, repository / "blobs"):
        yield blob


def _links(repository: Path) -> Iterable[Path]:
    return (path for path in sorted((repository / "snapshots").rglob("*")) if path.is_symlink())


def repository_folder(file: Path) -> Path | None:
    """Return the repository's folder in the cache that `file` is a part of; None: it lies elsewhere."""
    named = (folder for folder in file.absolute().parents if folder.name.startswith("models--"))
    return next((folder for folder in named if _really_within(file, folder / "snapshots")), None)


def _really_within(file: Path, folder: Path) -> bool:
    """Return whether `file`, itself a link perhaps, lies in `folder` when the links on the way are followed."""
    return file.parent.resolve().is_relative_to(folder.resolve())


def _counts(path: Path) -> bool:
    return path.exists() and not path.is_symlink() and path.stat().st_nlink == 1


def _tidy(repository: Path) -> None:
    """Remove empty snapshots, and the repository when it holds no file any more."""
    snapshots = repository / "snapshots"
    for folder in sorted((path for path in snapshots.rglob("*") if path.is_dir()), reverse=True):
        if not any(folder.iterdir()):
            folder.rmdir()
    if not any(snapshots.glob("*")) and not any((repository / "blobs").glob("*")):
        shutil.rmtree(repository)
