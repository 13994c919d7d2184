"""The disk tier as the engine sees it: which saved prefix a prompt begins with, and where a state goes to be saved.

Three threads meet here and none waits for the disk: prompts are looked up in the prompts thread, states are read in a
thread of their own, and written in the writer's. Above: the engine and its loop. Below: `pensieve_gguf.anchors`.
"""

from __future__ import annotations

import contextlib
import re
import shutil
from array import array
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path

import llama_cpp
import structlog

from pensieve_core import Clock, EngineDescription
from pensieve_gguf.anchors import (
    Anchor,
    AnchorIdentity,
    AnchorStore,
    AnchorWriter,
    Limits,
    State,
    default_budget,
    fingerprint,
)
from pensieve_gguf.engine.keeping import Keep
from pensieve_gguf.llama import Context, library_folder, state_version
from pensieve_gguf.settings import GgufSettings

__all__ = ["Anchoring", "open_anchoring"]

_log = structlog.get_logger(__name__)
_SHARD = re.compile(r"-\d{5}-of-(\d{5})\.gguf$")
_LAST_WRITE_S = 2.0


class Anchoring:
    """Finds, reads and saves anchors of one model.

    Args:
        store: Closed by `close`.
    """

    def __init__(self, store: AnchorStore) -> None:
        self._store = store
        self._writer = AnchorWriter(store)
        self._reader = ThreadPoolExecutor(max_workers=1, thread_name_prefix="anchors")

    def find(self, prompt: array[int]) -> Anchor | None:
        """Return the longest anchor that `prompt` begins with; one token is always left to compute."""
        return self._store.longest(prompt[:-1])

    def read(self, anchor: Anchor, tokens: array[int], then: Callable[[State | None], None]) -> None:
        """Read the state of `anchor`; `then` is called in another thread, with None if it is of no use."""
        future = self._reader.submit(self._store.load, anchor, tokens)
        future.add_done_callback(lambda done: then(_result(done)))

    def wants(self, keep: Keep, state_bytes: int) -> bool:
        """Whether a state of this size would be saved: asked before it is copied out."""
        return self._store.wants(keep.tokens, state_bytes, kind=keep.kind, conversation=keep.conversation)

    def save(self, keep: Keep, state: State) -> bool:
        """Save `state`, when there is time. False: too much is waiting to be written already."""
        return self._writer.offer(keep.tokens, state, kind=keep.kind, conversation=keep.conversation)

    def flush(self, timeout_s: float) -> bool:
        """Wait until all is written; False: it took longer."""
        return self._writer.flush(timeout_s)

    def close(self) -> None:
        """Write what can be written in a moment, and close the folder."""
        self._reader.shutdown(cancel_futures=True)
        self._writer.close(_LAST_WRITE_S)
        self._store.close()


def open_anchoring(
    context: Context, description: EngineDescription, settings: GgufSettings, clock: Clock
) -> Anchoring | None:
    """Open the disk tier of a loaded model. None: it is off, or the folder cannot be used."""
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
    return None if store is None else Anchoring(store)


def _result(done: Future[State | None]) -> State | None:
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
        layout=f"unified, sliding windows kept whole, {description.gpu_layers} layers on a GPU",
    )


def _shards(first: Path) -> list[Path]:
    """Return all files of a model that may be split."""
    split = _SHARD.search(first.name)
    return sorted(first.parent.glob(f"{first.name[: split.start()]}-*-of-{split[1]}.gguf")) if split else [first]
