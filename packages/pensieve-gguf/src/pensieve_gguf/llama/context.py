"""A context: the KV cache and the computation. One thread only, the engine's.

Every index is checked here: a wrong one is a C assert, and the process is gone.
"""

from __future__ import annotations

import ctypes
import enum
from collections.abc import Sequence
from typing import TypeAlias

import attrs
import numpy as np
from llama_cpp import llama_cpp as lib

from pensieve_gguf.llama.batch import Batch, Rows
from pensieve_gguf.llama.library import last_words
from pensieve_gguf.llama.model import LoadError, Model
from pensieve_gguf.llama.sampler import Sampler

__all__ = [
    "Abort",
    "Context",
    "ContextShape",
    "DecodeError",
    "DecodeOutcome",
    "Logits",
    "Rows",
    "State",
    "context_params",
]

State = np.ndarray[tuple[int], np.dtype[np.uint8]]
"""What a slot holds, as llama.cpp serialises it, shape (bytes,). Good for the same model, build and settings only."""

Logits: TypeAlias = np.ndarray[tuple[int], np.dtype[np.float32]]
"""One value per token of the vocabulary; what is -inf is not sampled."""

_KV_TYPES = {"f16": lib.GGML_TYPE_F16, "q8_0": lib.GGML_TYPE_Q8_0}
_TO_THE_END = -1
_LARGEST_BATCH = 2**31 - 1
_MICROBATCH = 512
"""Rows that are computed at once; larger batches are cut, and on a GPU the parts follow each other without a pause."""


class DecodeOutcome(enum.Enum):
    """What `llama_decode` said, when it was not fatal."""

    DONE = 0
    NO_ROOM = 1
    """No KV cells for the batch; nothing was computed."""
    ABORTED = 2
    """The abort flag was up; some rows may have been computed."""


_OUTCOMES = {outcome.value: outcome for outcome in DecodeOutcome}


class DecodeError(Exception):
    """`llama_decode` failed for good; the context must not be used any more."""


@attrs.frozen(kw_only=True)
class ContextShape:
    """The sizes of a context."""

    cells: int
    """KV cells, shared by all sequences."""
    sequences: int
    """Sequence ids: 0 … sequences - 1."""
    batch_tokens: int
    """Rows of one decode at most."""
    threads: int
    kv_type: str = "f16"
    drafted: int = 0
    """Tokens drafted in one decode at most: the logits after each of them are kept, too."""
    whole_windows: bool = False
    """Of sliding windows all is kept: it costs cells, and a sequence can be cut back however far."""


class Abort:
    r"""A flag that stops a running decode, from any thread and without Python.

    llama.cpp asks its callback between nodes of the graph. The callback here is libc's `strlen` over a
    two-byte buffer: "" reads as 0 (go on), "\x01" as 1 (stop). No GIL is needed while it computes.
    """

    def __init__(self) -> None:
        self._flag = ctypes.create_string_buffer(2)
        strlen = ctypes.CDLL(None).strlen
        self.callback = ctypes.cast(strlen, lib.ggml_abort_callback)
        self.data = ctypes.cast(self._flag, ctypes.c_void_p)

    def raise_flag(self) -> None:
        """Stop the running decode, or the next one."""
        self._flag[0] = b"\x01"

    def clear(self) -> None:
        """Let decodes run."""
        self._flag[0] = b"\x00"


def context_params(shape: ContextShape) -> lib.llama_context_params:
    """Return what llama.cpp is told of a context of this shape."""
    params = lib.llama_context_default_params()
    params.n_ctx = shape.cells
    params.n_batch = shape.batch_tokens
    params.n_ubatch = min(shape.batch_tokens, _MICROBATCH)
    params.n_seq_max = shape.sequences
    params.n_outputs_max = shape.sequences + shape.drafted
    params.n_threads = params.n_threads_batch = shape.threads
    params.type_k = params.type_v = _KV_TYPES[shape.kv_type]
    params.kv_unified = True
    params.swa_full = shape.whole_windows  # else only what is in sight is kept: checkpoints lead back
    params.no_perf = True
    return params


class Context:
    """The KV cache of one model, and decodes into it.

    Args:
        model: The model.
        shape: The sizes.
        abort: Stops its decodes; may be that of another context in the same thread. None: one of its own.

    Raises:
        LoadError: there is not enough memory.
    """

    def __init__(self, model: Model, shape: ContextShape, abort: Abort | None = None) -> None:
        if shape.batch_tokens > _LARGEST_BATCH:  # llama.cpp would see what its 32 bits hold, and abort
            raise LoadError(f"a batch of {shape.batch_tokens} tokens")
        self.model = model
        self.shape = shape
        self.abort = abort or Abort()
        params = context_params(shape)
        params.abort_callback = self.abort.callback
        params.abort_callback_data = self.abort.data
        handle = lib.llama_init_from_model(model.handle, params)
        if not handle:
            raise LoadError(last_words() or "llama.cpp could not allocate the context")
        self._handle = handle
        self._memory = lib.llama_get_memory(handle)
        self._window = 0 if shape.whole_windows else model.window
        self._has_state = model.has_state
        self.cells: int = lib.llama_n_ctx(handle)
        # llama.cpp takes no larger batch than its context, and a larger one is a C assert.
        self.batch_tokens: int = lib.llama_n_batch(handle)
        """Rows of one decode at most; may be fewer than the shape says."""
        self._row_type = ctypes.c_float * model.vocabulary_size
        self._views: dict[int, np.ndarray[tuple[int], np.dtype[np.float32]]] = {}
        self._batch = Batch(self.batch_tokens, self.cells)

    def close(self) -> None:
        """Free the KV cache."""
        if self._handle:
            lib.llama_free(self._handle)
            self._handle = None

    def adapt(self, adapters: ctypes.Array[ctypes.c_void_p], scales: ctypes.Array[ctypes.c_float]) -> None:
        """Compute with `adapters` from now on, each scaled by its own of `scales`.

        Raises:
            LoadError: llama.cpp would not.
        """
        if lib.llama_set_adapters_lora(self._handle, adapters, len(adapters), scales):
            raise LoadError(last_words() or "llama.cpp would not compute with the adapter")

    def decode(self, rows: Sequence[Rows]) -> tuple[DecodeOutcome, list[int]]:
        """Compute `rows` into the cache.

        Returns:
            The outcome, and for each of `rows` the batch index of its last token: where its logits lie.

        Raises:
            DecodeError: llama.cpp gave up; its words are in the message.
        """
        if sum(row.drafted for row in rows) > self.shape.drafted:
            msg = f"more than {self.shape.drafted} drafted tokens"
            raise IndexError(msg)
        last = self._batch.fill(rows, self.shape.sequences, self.model.vocabulary_size)
        return self._decoded(self._batch.struct), last

    def decode_with_images(self, rows: Sequence[Rows]) -> tuple[DecodeOutcome, list[int]]:
        """Compute `rows`, some of which have embeddings: those first, for one batch cannot hold both kinds.

        As `decode`; without room for all, nothing stays computed. The index of a row that is not sampled means nothing.
        """
        images = [row for row in rows if row.embeddings is not None]
        others = [row for row in rows if row.embeddings is None]
        outcome, last = DecodeOutcome.DONE, list[int]()
        for row in images:
            self._batch.fill_embedded(row, self.shape.sequences)
            outcome = self._decoded(self._batch.embedded)
            if outcome is not DecodeOutcome.DONE:
                break
        if others and outcome is DecodeOutcome.DONE:
            outcome, last = self.decode(others)
        if outcome is DecodeOutcome.NO_ROOM:
            for row in images:
                self.cut(row.slot, row.start)
        indices = iter(last)
        return outcome, [next(indices, 0) if row.embeddings is None else 0 for row in rows]

    def _decoded(self, batch: lib.llama_batch) -> DecodeOutcome:
        code = lib.llama_decode(self._handle, batch)
        outcome = _OUTCOMES.get(code)
        if outcome is None:
            msg = f"llama_decode answered {code}: {last_words()}"
            raise DecodeError(msg)
        lib.llama_synchronize(self._handle)  # a GPU computes on when `llama_decode` returns: this call took as long
        return outcome

    def sample(self, sampler: Sampler, index: int) -> int:
        """Draw the token after batch row `index`."""
        if sampler.greedy:
            # A chain would copy the vocabulary into candidates first: 20 times the cost.
            return int(self.logits(index).argmax())
        return int(lib.llama_sampler_sample(sampler.handle, self._handle, index))

    def forbid(self, index: int, tokens: Sequence[int]) -> None:
        """Make `tokens` impossible in the logits of batch row `index`; in place."""
        self.logits(index)[np.asarray(tokens)] = -np.inf

    def likeliest(self, index: int) -> tuple[int, float]:
        """Return the likeliest token after batch row `index`, and its probability at temperature 1."""
        logits = self.logits(index)
        token = int(logits.argmax())
        return token, float(1 / np.exp(logits - logits[token]).sum())

    def logits(self, index: int) -> Logits:
        """Return a view on the logits after batch row `index`, good until the next decode. To write is to constrain."""
        row = lib.llama_get_logits_ith(self._handle, index)
        address = ctypes.addressof(row.contents)
        view = self._views.get(address)
        if view is None:  # llama.cpp keeps its buffer, so there is one for each row of a batch
            cells = self._row_type.from_address(address)
            view = self._views[address] = np.ndarray(
                (self.model.vocabulary_size,), np.float32, buffer=memoryview(cells)
            )
        return view

    # -- memory: sequence ids are slots --------------------------------------------------------------------------

    def cut(self, slot: int, length: int) -> bool:
        """Forget what `slot` holds from position `length` on. False: this model cannot go back so far.

        What the slot holds then is of no use: it is to be rewound, or emptied.
        """
        done = bool(lib.llama_memory_seq_rm(self._memory, self._checked(slot), length, _TO_THE_END))
        return done and (not self._window or not length or self._sees_enough(slot, length))

    def share(self, source: int, target: int, length: int, *, start: int = 0) -> None:
        """Let `target` hold the first `length` cells of `source`, too. No cell is copied, save those of windows.

        `start`: not those before that position; only where the model forgets partially.
        Where the model does not forget partially, `target` is to be rewound unless `length` is all that `source` holds.
        """
        lib.llama_memory_seq_cp(self._memory, self._checked(source), self._checked(target), start, length)
        if self._window and self.holds(source, length):
            # llama.cpp takes the cells of a window that has passed for others, but not while two slots hold them.
            self._load(target, self.checkpoint(source), lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)

    def holds(self, slot: int, length: int) -> bool:
        """Whether `slot` holds positions 0 to `length` - 1, and no more, as far as llama.cpp says."""
        last = lib.llama_memory_seq_pos_max(self._memory, self._checked(slot))
        return bool(last == length - 1 and (not length or self._has_state or self._sees_enough(slot, length)))

    def _sees_enough(self, slot: int, length: int) -> bool:
        first = lib.llama_memory_seq_pos_min(self._memory, slot)
        return bool(0 <= first <= (self.model.window_start(length) if self._window else 0))

    def state_bytes(self, slot: int) -> int:
        """Return the size of `state(slot)`."""
        return self._size(slot, lib.LLAMA_STATE_SEQ_FLAGS_NONE)

    def state(self, slot: int) -> State:
        """Copy out what `slot` holds: some 5 GB/s, and three times as long where memory is touched first."""
        return self._copy(slot, lib.LLAMA_STATE_SEQ_FLAGS_NONE)

    def restore(self, slot: int, state: State) -> bool:
        """Let `slot` hold what `state` was taken of. False: there is no room, or llama.cpp refused it; it is empty."""
        return self._load(slot, state, lib.LLAMA_STATE_SEQ_FLAGS_NONE)

    def checkpoint_bytes(self, slot: int) -> int:
        """Return the size of `checkpoint(slot)`."""
        return self._size(slot, lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)

    def checkpoint(self, slot: int) -> State:
        """Copy out that part of what `slot` holds that cannot be cut back: recurrent states, and windows."""
        return self._copy(slot, lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY)

    def rewind(self, slot: int, checkpoint: State, length: int) -> bool:
        """Let `slot`, which holds more, hold the first `length` tokens, after which `checkpoint` was taken.

        False: there is no room, or llama.cpp refused it; the slot is empty.
        """
        if self._load(slot, checkpoint, lib.LLAMA_STATE_SEQ_FLAGS_PARTIAL_ONLY):
            self.cut(slot, length)
            if self.holds(slot, length):
                return True
        self.cut(slot, 0)
        return False

    def _size(self, slot: int, flags: int) -> int:
        return int(lib.llama_state_seq_get_size_ext(self._handle, self._checked(slot), flags))

    def _copy(self, slot: int, flags: int) -> State:
        state = np.empty(self._size(slot, flags), np.uint8)
        written = lib.llama_state_seq_get_data_ext(self._handle, _bytes(state), len(state), self._checked(slot), flags)
        return state[:written]

    def _load(self, slot: int, state: State, flags: int) -> bool:
        taken = lib.llama_state_seq_set_data_ext(self._handle, _bytes(state), len(state), self._checked(slot), flags)
        if taken != len(state):
            self.cut(slot, 0)
        return bool(taken == len(state))

    def clear(self) -> None:
        """Forget everything."""
        lib.llama_memory_clear(self._memory, False)  # noqa: FBT003 - a C function takes no keywords

    def _checked(self, slot: int) -> int:
        if not 0 <= slot < self.shape.sequences:
            msg = f"slot {slot} of {self.shape.sequences}"
            raise IndexError(msg)
        return slot


def _bytes(state: State) -> ctypes._Pointer:  # type: ignore[type-arg]
    return state.ctypes.data_as(ctypes.POINTER(ctypes.c_uint8))
