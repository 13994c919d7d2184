"""The disk tier as the engine sees it: which saved prefix a prompt begins with, and where a state goes to be saved.

Three threads meet here and none waits for the disk: prompts are looked up in the prompts thread, states are read in a
thread of their own, and written in the writer's. Above: the engine and its loop. Below: `pensieve_gguf.anchors`.
"""

from __future__ import annotations

import contextlib
import functools
import re
import shutil
from array import array
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import llama_cpp
import structlog

from pensieve_core import Clock, EngineDescription, ModelDescriptor
from pensieve_gguf.anchors import (
    AnchorIdentity,
    AnchorStore,
    AnchorWriter,
    Limits,
    State,
    default_budget,
    fingerprint,
)
from pensieve_gguf.engine.candidates import (
    IN_VAIN_ON_CPU,
    IN_VAIN_ON_GPU,
    Candidates,
    Loaded,
    candidates_for,
    load_best,
)
from pensieve_gguf.engine.keeping import Keep
from pensieve_gguf.engine.turn_journal import TurnJournal
from pensieve_gguf.llama import Context, library_folder, state_version
from pensieve_gguf.settings import GgufSettings

__all__ = ["Anchoring", "open_anchoring", "open_turn_journal"]

_log = structlog.get_logger(__name__)
_AHEAD_BYTES = 1 << 30
"""The system reads so much of what was used last while the model gets ready; it may forget it when memory is short."""
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")


class Anchoring:
    """Finds, reads and saves anchors of one model.

    Args:
        store: Closed by `close`.
        longest: Tokens that there are cells for.
        in_part: Whether a state can be cut back, and so serves a prompt that only begins like it.
        in_vain: Tokens that are read and cut off for the cost of computing one.
        copy_bytes: What waits to be written takes so much RAM at most.
    """

    def __init__(self, store: AnchorStore, *, longest: int, in_part: bool, in_vain: int, copy_bytes: int) -> None:
        self._store = store
        self._copy_bytes = copy_bytes
        self._longest = longest
        self._in_part = in_part
        self._in_vain = in_vain
        self._writer = AnchorWriter(store, queue_bytes=copy_bytes)
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="anchors")
        self._reader.submit(store.read_ahead, _AHEAD_BYTES)

    def find(self, prompt: array[int]) -> Candidates | None:
        """Return what begins like `prompt`, as far as the index knows. None: nothing does."""
        return candidates_for(self._store, prompt, longest=self._longest, in_part=self._in_part)

    def read(
        self, candidates: Candidates, prompt: array[int], at_least: int, then: Callable[[Loaded | None], None]
    ) -> None:
        """Read the best of `candidates`; `then` is called in another thread, with None if none spares `at_least`."""
        load = functools.partial(load_best, at_least=at_least, in_part=self._in_part, in_vain=self._in_vain)
        future = self._reader.submit(load, self._store, candidates, prompt)
        future.add_done_callback(lambda done: then(_result(done)))

    def wants(self, keep: Keep, state_bytes: int) -> bool:
        """Whether a state of this size would be saved: asked before it is copied out."""
        return state_bytes <= self._copy_bytes and self._store.wants(
            keep.tokens, state_bytes, kind=keep.kind, conversation=keep.conversation
        )

    def save(self, keep: Keep, state: State) -> bool:
        """Save `state`, when there is time. False: too much is waiting to be written already."""
        return self._writer.offer(keep.tokens, state, kind=keep.kind, conversation=keep.conversation)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is written; False: it took longer."""
        return self._writer.flush(timeout_s)

    def close(self, within_s: float) -> None:
        """Write what can be written `within_s` seconds, and close the folder."""
        self._reader.shutdown(cancel_futures=True)
        self._writer.close(within_s)
        self._store.close()


def open_anchoring(
    context: Context, description: EngineDescription, settings: GgufSettings, clock: Clock, copy_bytes: int
) -> Anchoring | None:
    """Open the disk tier of a loaded model. None: it is off, or the folder cannot be used.

    `copy_bytes`: what waits to be written takes so much RAM at most.
    """
    folder = settings.cache_folder
    if folder is None:
        return None
    budget = _budget(folder) if settings.cache_disk_bytes is None else settings.cache_disk_bytes
    try:
        identity = _identity(context, description)
    except OSError as error:  # the model's file has gone since it was loaded
        _log.warning("anchors_disabled", folder=str(folder), reason=str(error))
        return None
    store = AnchorStore.open(folder, identity, limits=Limits(budget_bytes=budget), clock=clock.time)
    if store is None:
        return None
    return Anchoring(
        store,
        longest=context.cells,
        in_part=context.model.forgets_partially,
        in_vain=IN_VAIN_ON_GPU if description.gpu_layers else IN_VAIN_ON_CPU,
        copy_bytes=copy_bytes,
    )


def open_turn_journal(description: EngineDescription, settings: GgufSettings) -> TurnJournal | None:
    """Open what is kept of the model's own answers; they outlive a new llama.cpp. None: as `open_anchoring`."""
    if settings.cache_folder is None or settings.cache_disk_bytes == 0:
        return None
    with contextlib.suppress(OSError):  # the model's file has gone since it was loaded
        model = description.model
        return TurnJournal.open(settings.cache_folder, fingerprint(_shards(model.path))[:32] + _change(model))
    return None


def _result(done: Future[Loaded | None]) -> Loaded | None:
    with contextlib.suppress(Exception):  # what a disk can do the store has told already
        return done.result()
    return None


def _budget(folder: Path) -> int:
    there = next((parent for parent in (folder, *folder.parents) if parent.exists()), None)
    return 0 if there is None else default_budget(shutil.disk_usage(there).free)


def _identity(context: Context, description: EngineDescription) -> AnchorIdentity:
    libraries = sorted(path for path in library_folder().iterdir() if "llama" in path.name or "ggml" in path.name)
    return AnchorIdentity(
        label=description.model.id,
        model=fingerprint(_shards(description.model.path)),
        build=f"{llama_cpp.__version__} {fingerprint(libraries)}",
        state_version=state_version(),
        key_type=context.shape.kv_type,
        value_type=context.shape.kv_type,
        flash_attention=True,  # llama.cpp's own choice, made of the build, the model and the device: all are in here
        layout=f"unified, of windows what is in sight, {description.gpu_layers} layers on a GPU"
        + _change(description.model)
        + _eyes(description),
    )


def _change(model: ModelDescriptor) -> str:
    """Return what distinguishes a model with an adapter from others: nothing computed by one is of use to another."""
    if model.applied is None:
        return ""
    return f"-{fingerprint([model.applied.adapter.path])[:32]}x{model.applied.scale:g}"


def _eyes(description: EngineDescription) -> str:
    """Return what distinguishes the embeddings that images became."""
    model = description.model
    sees = model.projector is not None and model.capabilities.images
    return f", images by {fingerprint([model.projector])}" if sees and model.projector is not None else ""


def _shards(first: Path) -> list[Path]:
    """Return all files of a model that may be split."""
    split = _SHARD.search(first.name)
    return sorted(first.parent.glob(f"{first.name[: split.start()]}-*-of-{split[1]}.gguf")) if split else [first]
