"""What fits into free memory: context, cells, KV type, GPU layers, batch. A sum that is shown, not hidden. Pure.

What the user asked for is honoured as it is, for only he knows what else he will close. For the rest, in this order:
all layers on the GPU; keys and values at f16; the context that the model was trained for; cells for several such
conversations. When memory does not hold it all, the last goes first.
"""

from __future__ import annotations

import attrs

__all__ = ["Fit", "Memory", "ModelSize", "Wishes", "fit_model"]

_GRANULE = 256  # llama.cpp pads the context to multiples of this
_SMALLEST = 2_048
_USEFUL = 32_768
"""Claude Code starts at some 25,000 tokens: below this, `q8_0` is the better half of a choice."""
_CONVERSATIONS = 4
"""Conversations of full length that the cells hold at most: agents, and the one that waits for them."""
_POOL_SHARE = 0.5
"""Of what is left once one full context fits: the rest of the machine lives there, too."""
# Kept free for compute buffers and the rest of the machine.
_RESERVE_BYTES = 1 << 30
_TIGHT_BYTES = 3 << 30
_KV_SIZE = {"f16": 1.0, "q8_0": 17 / 32}  # q8_0: 34 bytes for 32 values of 2 bytes each
_BATCH, _SMALL_BATCH, _GPU_BATCH = 512, 128, 2_048
_GIB = 1 << 30


@attrs.frozen(kw_only=True)
class ModelSize:
    """What a model takes."""

    weight_bytes: int
    kv_bytes_per_token: int
    """At f16."""
    layers: int
    trained: int
    """Tokens of context that it was trained for."""


@attrs.frozen(kw_only=True)
class Memory:
    """What can be had without swapping, in bytes."""

    ram: int
    gpu: int = 0
    """Of all GPUs together; 0: there is none."""


@attrs.frozen(kw_only=True)
class Wishes:
    """What the user asked for; None: fit it."""

    context: int | None = None
    cells: int | None = None
    kv_type: str | None = None
    gpu_layers: int | None = None
    """-1: all."""
    batch_tokens: int | None = None


@attrs.frozen(kw_only=True)
class Fit:
    """How a model is loaded."""

    context: int
    """Tokens that one request may take, prompt and answer."""
    cells: int
    """KV cells, shared by all sequences; at least `context`."""
    kv_type: str
    gpu_layers: int
    """The output layer counts as one."""
    batch_tokens: int
    note: str
    """The sum, in a sentence."""


def fit_model(size: ModelSize, memory: Memory, wishes: Wishes) -> Fit:
    """Choose how to load a model."""
    layers = _layers(size, memory, wishes)
    room = _room(size, memory, layers)
    kv_type = wishes.kv_type or _kv_type(size, room, wishes)
    per_token = _per_token(size, kv_type)
    context = wishes.context or min(size.trained, max(_SMALLEST, _whole(room // per_token)))
    fit = Fit(
        context=context,
        cells=_cells(size, wishes, context, room // per_token),
        kv_type=kv_type,
        gpu_layers=layers,
        batch_tokens=wishes.batch_tokens or _batch(room, whole_on_gpu=layers == size.layers + 1),
        note="",
    )
    return attrs.evolve(fit, note=_note(size, memory, wishes, fit))


def _layers(size: ModelSize, memory: Memory, wishes: Wishes) -> int:
    """Return how many layers go onto the GPU: each takes its weights, and its part of the keys and values."""
    everything = size.layers + 1
    if not memory.gpu or wishes.gpu_layers == 0:
        return 0
    if wishes.gpu_layers is not None:
        return everything if wishes.gpu_layers < 0 else min(wishes.gpu_layers, everything)
    context = wishes.context or min(size.trained, _USEFUL)
    cached = context * _per_token(size, wishes.kv_type or "q8_0")
    each = (size.weight_bytes + cached) / everything
    return min(everything, max(0, int((memory.gpu - _RESERVE_BYTES) / max(1.0, each))))


def _room(size: ModelSize, memory: Memory, layers: int) -> int:
    """Return the bytes that are left for keys and values where they will lie."""
    everything = size.layers + 1
    on_gpu = size.weight_bytes * layers // everything
    ram = memory.ram - (size.weight_bytes - on_gpu) - _RESERVE_BYTES
    if layers == 0:
        return max(0, ram)
    gpu = memory.gpu - on_gpu - _RESERVE_BYTES
    if layers == everything:
        return max(0, gpu)
    # Each side holds the keys and values of its own layers.
    return max(0, min(gpu * everything // layers, ram * everything // (everything - layers)))


def _kv_type(size: ModelSize, room: int, wishes: Wishes) -> str:
    wanted = wishes.context or min(size.trained, _USEFUL)
    return "f16" if room >= wanted * _per_token(size, "f16") else "q8_0"


def _cells(size: ModelSize, wishes: Wishes, context: int, fitting: int) -> int:
    if wishes.cells or wishes.context:  # who says how long a request may be has a limit in mind
        return max(context, wishes.cells or 0)
    spare = _whole(int((fitting - context) * _POOL_SHARE))
    return context + max(0, min(spare, (_CONVERSATIONS - 1) * size.trained))


def _batch(room: int, *, whole_on_gpu: bool) -> int:
    if room <= _TIGHT_BYTES:
        return _SMALL_BATCH
    return _GPU_BATCH if whole_on_gpu else _BATCH


def _per_token(size: ModelSize, kv_type: str) -> int:
    return max(1, round(size.kv_bytes_per_token * _KV_SIZE[kv_type]))


def _whole(cells: int) -> int:
    return cells // _GRANULE * _GRANULE


def _note(size: ModelSize, memory: Memory, wishes: Wishes, fit: Fit) -> str:
    per_token = _per_token(size, fit.kv_type)
    free = f"{memory.ram / _GIB:.1f} GiB free"
    if fit.gpu_layers:
        there = f"{fit.gpu_layers} of {size.layers + 1} layers there"
        free = f"{memory.gpu / _GIB:.1f} GiB free on the GPU ({there}) and {free}"
    return (
        f"context {fit.context:,} tokens ({_reason(fit.context, wishes.context, size.trained)}), {fit.cells:,} cells:"
        f" weights {size.weight_bytes / _GIB:.2f} GiB + KV cache {fit.cells * per_token / _GIB:.2f} GiB"
        f" ({per_token / 1024:.0f} KiB a token, {fit.kv_type}) of {free}"
    )


def _reason(context: int, wanted: int | None, trained: int) -> str:
    if wanted:
        return "as asked" if wanted <= trained else f"as asked; the model was trained for {trained:,} only"
    if context == trained:
        return "all that the model was trained for"
    return f"what memory holds; the model was trained for {trained:,}"
