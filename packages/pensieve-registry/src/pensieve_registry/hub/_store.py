"""The shared cache of the hub, in its own layout, so that other programs see what we fetch and we see what they did.

    models--<owner>--<name>/blobs/<hash>               a file's bytes; here only what has the hash that is its name
    models--<owner>--<name>/blobs/<hash>.incomplete    what has come so far (as huggingface_hub wrote it before 2.0)
    models--<owner>--<name>/snapshots/<commit>/<file>  a relative link to a blob: the name under which a model is found
    models--<owner>--<name>/refs/<revision>            the commit that a branch was at
    .locks/models--<owner>--<name>/<hash>.lock         held by whoever fetches that blob, us or huggingface_hub

A model appears all at once and last of all: the links are made aside, the header check reads through them, then they
are renamed into place, the first shard at the end. Knows paths; where bytes come from is `_transfer`'s business.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import threading
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import filelock

from pensieve_registry._references import HubFile, HubRef, UnsafeFileNameError, checked_file_name
from pensieve_registry.hub._errors import PullStoppedError
from pensieve_registry.hub._repository import RemoteFile, RemoteRepository

__all__ = ["HubStore"]

_MAIN = "main"
_POLL_S = 0.2
_SUFFIX = ".gguf"
_TAG = (
    "Signature: 8a477f597d28d172789f06886806bc55\n"
    "# This folder is a cache: backup programs may pass it over (https://bford.info/cachedir/).\n"
)


class HubStore:
    """One cache folder, there or not yet.

    Args:
        folder: As `HuggingFaceCacheSource` looks for it: `HF_HUB_CACHE`, else `hub` in `HF_HOME`.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def blob(self, repository: str, file: RemoteFile) -> Path:
        """Return where the file's bytes are, or will be."""
        return self._repository(repository) / "blobs" / file.oid

    def partial(self, repository: str, file: RemoteFile) -> Path:
        """Return where they are gathered."""
        return self._repository(repository) / "blobs" / f"{file.oid}.incomplete"

    def pointer(self, repository: RemoteRepository, name: HubFile) -> Path:
        """Return the path under which programs find the file."""
        return self._repository(repository.repository) / "snapshots" / repository.commit / name

    def free_bytes(self) -> int:
        """Return how much room its disk has."""
        existing = next(path for path in (self.folder, *self.folder.absolute().parents) if path.exists())
        return shutil.disk_usage(existing).free

    def make(self, repository: str) -> None:
        """Create the folders of a repository, and mark the cache as one."""
        (self._repository(repository) / "blobs").mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileExistsError), (self.folder / "CACHEDIR.TAG").open("x", encoding="utf-8") as tag:
            tag.write(_TAG)

    @contextmanager
    def lock(
        self, repository: str, file: RemoteFile, *, stop: threading.Event, on_wait: Callable[[], None]
    ) -> Iterator[None]:
        """Hold the lock of a blob. The system releases it when the process ends, however that happens.

        Raises:
            PullStoppedError: `stop` was set while another program held it.
        """
        path = self.folder / ".locks" / self._repository(repository).name / f"{file.oid}.lock"
        path.parent.mkdir(parents=True, exist_ok=True)
        lock = filelock.FileLock(path, mode=0o664)
        _acquire(lock, stop, on_wait)
        try:
            yield
        finally:
            lock.release()

    def publish(
        self, repository: RemoteRepository, files: Sequence[RemoteFile], check: Callable[[tuple[Path, ...]], None]
    ) -> None:
        """Give verified blobs their names, in the given order, after `check` has passed on links to them.

        Mutates the snapshot's folder and `refs`; when `check` raises, neither.
        """
        aside = self._repository(repository.repository) / f".new-{uuid.uuid4().hex}"
        try:
            staged = tuple(self._link(aside / repository.commit / file.name, repository, file) for file in files)
            check(staged)
            for path, file in zip(staged, files, strict=True):
                pointer = self.pointer(repository, file.name)
                pointer.parent.mkdir(parents=True, exist_ok=True)
                path.replace(pointer)
            self._write_ref(repository, aside)
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def known(self, ref: HubRef) -> RemoteRepository | None:
        """Return what is here of a repository, without asking anybody; None: nothing."""
        commit = self._commit(ref)
        snapshot = self._repository(ref.repository) / "snapshots" / commit if commit else None
        if commit is None or snapshot is None or not snapshot.is_dir():
            return None
        files = [_local_file(path, snapshot) for path in sorted(snapshot.rglob("*")) if _is_model_file(path)]
        return RemoteRepository(
            repository=ref.repository, revision=ref.revision, commit=commit, files=tuple(filter(None, files))
        )

    def _repository(self, repository: str) -> Path:
        owner, _, name = repository.partition("/")
        return self.folder / f"models--{owner}--{name}"

    def _link(self, path: Path, repository: RemoteRepository, file: RemoteFile) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        blob = self.blob(repository.repository, file)
        try:
            path.symlink_to(os.path.relpath(blob, path.parent))
        except OSError:  # a system where links take a privilege
            path.hardlink_to(blob)
        return path

    def _commit(self, ref: HubRef) -> str | None:
        folder = self._repository(ref.repository)
        revision = ref.revision or _MAIN
        if (folder / "snapshots" / revision).is_dir():
            return revision
        try:
            commit = (folder / "refs" / revision).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError):
            return None
        return commit if commit.isalnum() else None

    def _write_ref(self, repository: RemoteRepository, aside: Path) -> None:
        """Write it aside first: whatever lies in `refs` is taken for a revision."""
        revision = repository.revision or _MAIN
        if revision == repository.commit:
            return
        ref = self._repository(repository.repository) / "refs" / revision
        ref.parent.mkdir(parents=True, exist_ok=True)
        new = aside / "ref"
        new.write_text(repository.commit, encoding="utf-8")
        new.replace(ref)


def _acquire(lock: filelock.BaseFileLock, stop: threading.Event, on_wait: Callable[[], None]) -> None:
    told = False
    while not stop.is_set():
        try:
            lock.acquire(timeout=_POLL_S)
        except filelock.Timeout:
            if not told:
                on_wait()
            told = True
        else:
            return
    raise PullStoppedError


def _is_model_file(path: Path) -> bool:
    return path.suffix.lower() == _SUFFIX and path.is_file()


def _local_file(path: Path, snapshot: Path) -> RemoteFile | None:
    """Return a file that is here; its blob's name is its hash. None: it came from elsewhere."""
    blob = path.resolve()
    try:
        name = checked_file_name(path.relative_to(snapshot).as_posix())
    except UnsafeFileNameError:
        return None
    if blob.parent.name != "blobs":
        return None
    return RemoteFile(name=name, size_bytes=path.stat().st_size, oid=blob.name)
