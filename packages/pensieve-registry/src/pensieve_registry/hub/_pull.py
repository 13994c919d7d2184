"""A model from the hub into the shared cache: plan, room, files side by side, check, name.

Above: commands. Below: `_client` asks the hub, `_transfer` fetches one file, `_store` knows the cache. Blocks; call
`pull` from the main thread, for it answers Ctrl-C.
"""

from __future__ import annotations

import contextlib
import queue
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

from pensieve_registry._errors import GgufHeaderError
from pensieve_registry._projectors import check_projector
from pensieve_registry._references import HubRef
from pensieve_registry._shards import read_gguf_model
from pensieve_registry.hub._choice import Choice, Room, choose
from pensieve_registry.hub._client import Hub, UnavailableError
from pensieve_registry.hub._errors import PullError, PullStoppedError
from pensieve_registry.hub._progress import Advanced, Planned, PullEvent, Retrying, Verified, Waiting
from pensieve_registry.hub._repository import RemoteFile, RemoteRepository
from pensieve_registry.hub._store import HubStore
from pensieve_registry.hub._transfer import Patience, Transfer, has_its_hash

__all__ = ["OnEvent", "Plan", "Pulled", "plan_pull", "pull"]

OnEvent: TypeAlias = Callable[[PullEvent], None]

_RESERVE_BYTES = 64 * 1024 * 1024
"""Left free on the disk: a disk that is full to the last byte makes other programs fail."""
_AT_ONCE = 4
_FAREWELL_S = 3.0
"""How long threads may take to notice that they are to stop; what they leave is resumable in any case."""


@attrs.frozen(kw_only=True)
class Plan:
    """What a pull will do."""

    repository: RemoteRepository
    choice: Choice
    files: tuple[RemoteFile, ...]
    """In the order in which they get their names: the projector, then the shards, the first one last."""

    @property
    def total_bytes(self) -> int:
        """All files together."""
        return sum(file.size_bytes for file in self.files)


@attrs.frozen(kw_only=True)
class Pulled:
    """A model that is here, whole and checked."""

    repository: str
    commit: str
    quantization: str
    reason: str
    path: Path
    """What an engine is given: the file, or the first shard, in the shared cache."""
    projector: Path | None
    files: tuple[str, ...]
    size_bytes: int
    fetched_bytes: int
    """What came through the network; 0 when all of it was here."""


def plan_pull(
    hub: Hub,
    store: HubStore,
    ref: HubRef,
    *,
    room: Room | None = None,
    pinned: str | None = None,
    patience: Patience | None = None,
) -> Plan:
    """Return what `ref` means at the hub, or, offline, in the cache.

    Args:
        hub: Asked once, and again when it is busy.
        store: Where it will go.
        ref: The wish.
        room: Tells what weights may take on this machine; asked only when that decides.
        pinned: The SHA-256 that the model's first file must have.
        patience: How often a busy hub is asked again.

    Raises:
        NotAtHubError, NoSuchQuantizationError: see there.
        PullError: the hub does not answer, there is no room, or the file is not the pinned one.
        UnsafeFileNameError: the repository holds a file that must not reach a disk.
    """
    repository = _repository(hub, store, ref, patience or Patience())
    choice = choose(repository, quantization=ref.quantization, file=ref.file, room=room)
    first = choice.variant.first
    if pinned is not None and first.sha256 != pinned:
        raise PullError(f"{first.name} at the hub is not the file that the catalog knows: its hash differs")
    projector = repository.projector(choice.variant)
    files = (*([projector] if projector else []), *reversed(choice.variant.files))
    plan = Plan(repository=repository, choice=choice, files=files)
    _check_room(store, plan)
    return plan


def pull(
    plan: Plan,
    hub: Hub,
    store: HubStore,
    *,
    on_event: OnEvent,
    stop: threading.Event | None = None,
    patience: Patience | None = None,
) -> Pulled:
    """Fetch what is missing, check all of it, and give it its names.

    `on_event` is called from several threads, one at a time.

    Raises:
        PullStoppedError: Ctrl-C, or `stop` was set.
        PullError: it did not work; nothing unchecked has a final name.
        BrokenPipeError: `on_event` did; what has come is kept.
    """
    ledger = _Ledger(plan.total_bytes, on_event)
    ledger.tell(_planned(plan))
    transfer = Transfer(
        source=hub, repository=plan.repository, stop=stop or threading.Event(), patience=patience or Patience()
    )
    crew = _Crew(plan, store, ledger, transfer)
    try:
        store.make(plan.repository.repository)
        crew.work()
        _publish(plan, store, crew.fetched)
    except BrokenPipeError:  # nobody listens to `on_event` any more; no disk says that
        raise
    except OSError as error:
        raise PullError(f"{store.folder}: {error.strerror or error}", resumable=True) from error
    return _pulled(plan, store, ledger.fetched_bytes)


def _repository(hub: Hub, store: HubStore, ref: HubRef, patience: Patience) -> RemoteRepository:
    known = store.known(ref) if hub.offline else None
    if known is not None:
        return known
    for pause_s in patience.pauses_s:
        try:
            return hub.repository(ref)
        except UnavailableError as error:
            threading.Event().wait(max(pause_s, error.retry_after_s))
    return hub.repository(ref)


def _check_room(store: HubStore, plan: Plan) -> None:
    missing = sum(_missing_bytes(store, plan.repository.repository, file) for file in plan.files)
    free = store.free_bytes()
    if missing and missing + _RESERVE_BYTES > free:
        raise PullError(
            f"it needs {missing / 10**9:.2f} GB more in {store.folder}, and {free / 10**9:.2f} GB are free there; "
            "HF_HUB_CACHE names another folder"
        )


def _missing_bytes(store: HubStore, repository: str, file: RemoteFile) -> int:
    if store.blob(repository, file).exists():
        return 0
    with contextlib.suppress(FileNotFoundError):
        return max(file.size_bytes - store.partial(repository, file).stat().st_size, 0)
    return file.size_bytes


def _planned(plan: Plan) -> Planned:
    return Planned(
        repository=plan.repository.repository,
        commit=plan.repository.commit,
        files=tuple(file.name for file in plan.files),
        total_bytes=plan.total_bytes,
        reason=plan.choice.reason,
    )


def _publish(plan: Plan, store: HubStore, fetched: Sequence[RemoteFile]) -> None:
    def check(paths: tuple[Path, ...]) -> None:
        if len(paths) > len(plan.choice.variant.files):
            check_projector(paths[0])
        read_gguf_model(paths[-1])

    try:
        store.publish(plan.repository, plan.files, check)
    except GgufHeaderError as error:
        for file in fetched:
            store.blob(plan.repository.repository, file).unlink(missing_ok=True)
        name = plan.choice.variant.first.name
        raise PullError(f"{name} came whole, and is no model that can be run: {error.message}; removed") from error


def _pulled(plan: Plan, store: HubStore, fetched_bytes: int) -> Pulled:
    shards = len(plan.choice.variant.files)
    return Pulled(
        repository=plan.repository.repository,
        commit=plan.repository.commit,
        quantization=plan.choice.variant.quantization,
        reason=plan.choice.reason,
        path=store.pointer(plan.repository, plan.choice.variant.first.name),
        projector=store.pointer(plan.repository, plan.files[0].name) if len(plan.files) > shards else None,
        files=tuple(file.name for file in plan.files),
        size_bytes=plan.total_bytes,
        fetched_bytes=fetched_bytes,
    )


class _Ledger:
    """The sums of all threads. Invariant: whoever changes them, or tells of them, holds the lock."""

    def __init__(self, total_bytes: int, on_event: OnEvent) -> None:
        self._lock = threading.Lock()
        self._total_bytes = total_bytes
        self._on_event = on_event
        self._done_bytes = 0
        self.fetched_bytes = 0

    def tell(self, event: PullEvent) -> None:
        with self._lock:
            self._on_event(event)

    def moved(self, done_bytes: int, fetched_bytes: int) -> None:
        with self._lock:
            self._done_bytes += done_bytes
            self.fetched_bytes += fetched_bytes
            now = Advanced(done_bytes=self._done_bytes, total_bytes=self._total_bytes, fetched_bytes=self.fetched_bytes)
            self._on_event(now)


@attrs.frozen(kw_only=True)
class _FileMeter:
    """What one file's transfer tells, put into the ledger."""

    file: RemoteFile
    ledger: _Ledger

    def moved(self, done_bytes: int, fetched_bytes: int) -> None:
        self.ledger.moved(done_bytes, fetched_bytes)

    def retrying(self, reason: str, pause_s: float) -> None:
        self.ledger.tell(Retrying(file=self.file.name, reason=reason, pause_s=pause_s))


class _Crew:
    """Threads that fetch files side by side. The first error ends them all."""

    def __init__(self, plan: Plan, store: HubStore, ledger: _Ledger, transfer: Transfer) -> None:
        self._repository = plan.repository.repository
        self._transfer = transfer
        self._store = store
        self._ledger = ledger
        self._stop = transfer.stop
        self._left: queue.SimpleQueue[RemoteFile] = queue.SimpleQueue()
        for file in plan.files:
            self._left.put(file)
        self._errors: list[Exception] = []
        self._hands = min(len(plan.files), _AT_ONCE)
        self.fetched: list[RemoteFile] = []

    def work(self) -> None:
        """Fetch all files.

        Raises:
            PullError: the first that any of them met.
        """
        threads = [threading.Thread(target=self._run, daemon=True) for _ in range(self._hands)]
        for thread in threads:
            thread.start()
        try:
            _join(threads)
        except KeyboardInterrupt:
            self._stop.set()
            _join(threads, _FAREWELL_S)
            raise PullStoppedError from None
        if self._errors:
            raise self._errors[0]

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                self._fetch(self._left.get_nowait())
        except queue.Empty:
            return
        except Exception as error:  # noqa: BLE001 - an edge: what a thread raises is raised again by `work`
            self._errors.append(error)
            self._stop.set()
        else:
            self._errors.append(PullStoppedError())

    def _fetch(self, file: RemoteFile) -> None:
        meter = _FileMeter(file=file, ledger=self._ledger)
        name = self._repository
        with self._store.lock(name, file, stop=self._stop, on_wait=lambda: self._ledger.tell(Waiting(file=file.name))):
            blob = self._store.blob(name, file)
            if not self._is_here(blob, file, meter):
                self._transfer.fetch(file, self._store.partial(name, file), blob, meter)
                self.fetched.append(file)
        self._ledger.tell(Verified(file=file.name, sha256=file.sha256))

    def _is_here(self, blob: Path, file: RemoteFile, meter: _FileMeter) -> bool:
        """Return whether the blob is there and right; one that is wrong, whoever made it, is removed."""
        if not blob.exists():
            return False
        read: list[int] = []

        def count(size: int) -> None:
            read.append(size)
            meter.moved(size, 0)

        if has_its_hash(blob, file, self._stop, count):
            return True
        blob.unlink()
        meter.moved(-sum(read), 0)
        return False


def _join(threads: Sequence[threading.Thread], limit_s: float | None = None) -> None:
    """Wait in short steps, so that Ctrl-C gets through on every system."""
    for thread in threads:
        if limit_s is not None:
            thread.join(limit_s)
        while limit_s is None and thread.is_alive():
            thread.join(0.2)
