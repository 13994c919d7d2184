"""What fits into memory: context, cells, KV type, GPU layers, batch, prompts kept in RAM. A sum that is shown. Pure.

What the user asked for is honoured as it is, for only he knows what else he will close. For the rest, in this order:
all layers on the GPU; keys and values at f16; the context that the model was trained for, or what is of use; prompts
that had to leave the cache; cells for several conversations. When memory does not hold it all, the last goes first.

What a context takes others tell (`CostOf`): llama.cpp knows. Above: `engine.loading`. Below: `memory_sum`, the words.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import attrs

from pensieve_core import MemoryTerm
from pensieve_gguf.memory_sum import said, total_bytes

__all__ = [
    "GPU_RESERVE_BYTES",
    "USEFUL_CONTEXT",
    "ContextCost",
    "CostOf",
    "Fit",
    "Memory",
    "ModelSize",
    "Wishes",
    "cost_by_metadata",
    "fit_model",
    "margin_bytes",
    "shortage",
]

_GRANULE = 256  # llama.cpp pads the context to multiples of this
_SMALLEST = 2_048
USEFUL_CONTEXT = 32_768
"""Tokens. Claude Code starts at some 25,000: below this, `q8_0` is the better half of a choice."""
_CONVERSATIONS = 4
"""Conversations of full length that the cells hold at most: agents, and the one that waits for them."""
_POOL_SHARE = 0.5
"""Of what is left once one full context fits: the rest of the machine lives there, too."""
_GIB = 1 << 30
GPU_RESERVE_BYTES = _GIB
"""Kept free on a GPU for compute buffers and for others."""
_MARGIN_SHARE, _MARGIN_BYTES = 8, _GIB
"""An eighth of RAM, a GiB at most, is nobody's: the prediction may be wrong, and others grow."""
_TIGHT_BYTES = 3 * _GIB
_KV_SIZE = {"f16": 1.0, "q8_0": 17 / 32}  # q8_0: 34 bytes for 32 values of 2 bytes each
_BATCH, _SMALL_BATCH, _GPU_BATCH = 512, 128, 2_048
_PROCESS_BYTES = 56 << 20
_BYTES_PER_WORD = 1_100
"""Python with its libraries, and what they know of a vocabulary: llama.cpp's table, that of the constraints, pieces.
Measured: 106 MiB with 49,152 words (SmolLM2), 214 MiB with 151,936 (Qwen)."""
_KEPT_BYTES = 2 * _GIB
_COPY_BYTES = 2 * _GIB
_KEPT_SHARES = 8, 4
"""Of what the model leaves free, prompts outside the cache get at least the first part and at most the second."""


@attrs.frozen(kw_only=True)
class ModelSize:
    """What a model takes."""

    weight_bytes: int
    kv_bytes_per_token: int
    """At f16, as the metadata say: an upper bound where layers differ."""
    layers: int
    trained: int
    """Tokens of context that it was trained for."""
    vocabulary: int = 0
    """Words."""
    projector_bytes: int = 0
    adapter_bytes: int = 0
    draft_bytes: int = 0
    """Of a draft model with its context; where the model has layers on the GPU, there."""


@attrs.frozen(kw_only=True)
class Memory:
    """What may be used, in bytes."""

    ram: int
    gpu: int = 0
    """Of all GPUs together; 0: there is none."""
    is_limit: bool = False
    """`ram` was set by the user, and must not be exceeded, whatever else he wishes; else it is what is free."""


@attrs.frozen(kw_only=True)
class Wishes:
    """What the user asked for; None: fit it."""

    context: int | None = None
    cells: int | None = None
    kv_type: str | None = None
    gpu_layers: int | None = None
    """-1: all."""
    batch_tokens: int | None = None
    kept_bytes: int | None = None
    """RAM for prompts that had to leave the cache."""
    keeps_on_disk: bool = False


@attrs.frozen(kw_only=True)
class ContextCost:
    """What a context takes, in bytes."""

    cache: int
    compute: int = 0
    """Buffers for a batch, logits included; 0 where a reserve is kept for them."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.cache + self.compute


class CostOf(Protocol):
    """Tells what a context would take; of one that cannot be made, more than there is."""

    def __call__(self, *, cells: int, kv_type: str, batch_tokens: int) -> ContextCost:
        """Return it. More cells never take less."""
        ...


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
    kept_bytes: int
    """For prompts that had to leave the cache."""
    copy_bytes: int
    """For copies on their way to the disk; 0: nothing is kept there."""
    terms: tuple[MemoryTerm, ...] = ()
    note: str = ""
    """The sum, in a sentence."""


def cost_by_metadata(size: ModelSize) -> CostOf:
    """Return what tells the cost of the cells alone, from what the metadata say of the model."""

    def cost(*, cells: int, kv_type: str, batch_tokens: int) -> ContextCost:  # noqa: ARG001 - of a protocol
        return ContextCost(cache=cells * _per_token(size, kv_type))

    return cost


def fit_model(size: ModelSize, memory: Memory, wishes: Wishes, cost: CostOf | None = None) -> Fit:
    """Choose how to load a model. `cost`: of a context in RAM; None: as the metadata say. A GPU's is always theirs."""
    layers = _layers(size, memory, wishes)
    cost_of = cost_by_metadata(size) if cost is None or layers else cost
    ram = max(0, memory.ram - total_bytes(_fixed(size, layers)) - margin_bytes(memory.ram))
    room = _Room(size=size, memory=memory, layers=layers, ram=ram)
    batch = wishes.batch_tokens or _batch(room.for_context(0), whole_on_gpu=layers == size.layers + 1)
    context_cost = _Priced(cost_of, batch)
    useful = context_cost.least(wishes.context or min(size.trained, USEFUL_CONTEXT), wishes.kv_type)
    kept, copied = _kept(ram, ram - useful if not layers else ram, wishes)
    free = room.for_context(kept + copied)
    kv_type = wishes.kv_type or _kv_type(size, free, wishes, context_cost)
    context = wishes.context or _context(size, lambda cells: context_cost(cells, kv_type).total <= free)
    cells = _cells(size, wishes, context, lambda cells: context_cost(cells, kv_type).total <= free)
    fit = Fit(
        context=context,
        cells=cells,
        kv_type=kv_type,
        gpu_layers=layers,
        batch_tokens=batch,
        kept_bytes=kept,
        copy_bytes=copied,
    )
    fit = attrs.evolve(fit, terms=_terms(size, fit, context_cost(cells, kv_type)))
    return attrs.evolve(fit, note=_note(size, memory, wishes, fit))


def shortage(fit: Fit, memory: Memory, wishes: Wishes) -> str | None:
    """Return what is needed and what can be done, if memory does not hold the fit. None: it does, or the user knows."""
    needed = total_bytes(fit.terms)
    chosen_by_user = wishes.context or wishes.cells or wishes.kept_bytes
    if needed <= memory.ram or (chosen_by_user and not memory.is_limit) or fit.gpu_layers:
        return None
    there = "may be used" if memory.is_limit else "are free"
    return (
        f"it needs {_gib(needed)} with a context of {fit.context:,} tokens ({said(fit.terms)}), and {_gib(memory.ram)}"
        f" {there}: take a smaller model or a smaller quantisation of it, {_less(fit, wishes)}or give it more memory"
    )


def _less(fit: Fit, wishes: Wishes) -> str:
    """Return what the user could have asked less of, with a comma behind each."""
    asked = {
        "a shorter context, ": fit.context > _SMALLEST,
        "fewer cells, ": fit.cells > fit.context,
        "keys and values of type q8_0, ": fit.kv_type != "q8_0",
        "less for prompts outside the cache, ": bool(wishes.kept_bytes),
    }
    return "".join(words for words, helps in asked.items() if helps)


@attrs.frozen
class _Priced:
    """The cost of contexts, once the batch is known."""

    cost: CostOf
    batch: int

    def __call__(self, cells: int, kv_type: str) -> ContextCost:
        return self.cost(cells=cells, kv_type=kv_type, batch_tokens=self.batch)

    def least(self, cells: int, kv_type: str | None) -> int:
        """Return the bytes of a context with the type that takes the least, unless one is wished for."""
        return min(self(cells, kind).total for kind in ([kv_type] if kv_type else _KV_SIZE))


@attrs.frozen(kw_only=True)
class _Room:
    """Where keys and values may lie."""

    size: ModelSize
    memory: Memory
    layers: int
    ram: int
    """Bytes that are left beside the weights."""

    def for_context(self, kept: int) -> int:
        """Return the bytes for a context, while `kept` bytes of RAM are for other things."""
        everything = self.size.layers + 1
        ram = max(0, self.ram - kept)
        if self.layers == 0:
            return ram
        gpu = max(0, _gpu_bytes(self.size, self.memory) - self.size.weight_bytes * self.layers // everything)
        if self.layers == everything:
            return gpu
        # Each side holds the keys and values of its own layers.
        return min(gpu * everything // self.layers, ram * everything // (everything - self.layers))


def _layers(size: ModelSize, memory: Memory, wishes: Wishes) -> int:
    """Return how many layers go onto the GPU: each takes its weights, and its part of the keys and values."""
    everything = size.layers + 1
    if not memory.gpu or wishes.gpu_layers == 0:
        return 0
    if wishes.gpu_layers is not None:
        return everything if wishes.gpu_layers < 0 else min(wishes.gpu_layers, everything)
    context = wishes.context or min(size.trained, USEFUL_CONTEXT)
    cached = context * _per_token(size, wishes.kv_type or "q8_0")
    each = (size.weight_bytes + cached) / everything
    return min(everything, max(0, int(_gpu_bytes(size, memory) / max(1.0, each))))


def _gpu_bytes(size: ModelSize, memory: Memory) -> int:
    return memory.gpu - GPU_RESERVE_BYTES - size.draft_bytes


def _fixed(size: ModelSize, layers: int) -> tuple[MemoryTerm, ...]:
    """Return what is taken whatever the context."""
    on_gpu = size.weight_bytes * layers // (size.layers + 1)
    terms = (
        MemoryTerm(name="weights", size_bytes=on_gpu, on_gpu=True),
        MemoryTerm(name="weights", size_bytes=size.weight_bytes - on_gpu),
        MemoryTerm(name="adapter", size_bytes=size.adapter_bytes, on_gpu=bool(layers)),
        MemoryTerm(name="projector", size_bytes=size.projector_bytes, on_gpu=bool(layers)),
        MemoryTerm(name="draft model", size_bytes=size.draft_bytes, on_gpu=bool(layers)),
        MemoryTerm(name="process and vocabulary", size_bytes=_PROCESS_BYTES + size.vocabulary * _BYTES_PER_WORD),
    )
    return tuple(term for term in terms if term.size_bytes)


def _terms(size: ModelSize, fit: Fit, cost: ContextCost) -> tuple[MemoryTerm, ...]:
    *weights, process = _fixed(size, fit.gpu_layers)
    on_gpu = cost.cache * fit.gpu_layers // (size.layers + 1)
    further = (
        MemoryTerm(name="KV cache", size_bytes=on_gpu, on_gpu=True),
        MemoryTerm(name="KV cache", size_bytes=cost.cache - on_gpu),
        MemoryTerm(name="compute buffers", size_bytes=cost.compute),
        process,
        MemoryTerm(name="prompts outside the cache", size_bytes=fit.kept_bytes, at_most=True),
        MemoryTerm(name="copies for the disk", size_bytes=fit.copy_bytes, at_most=True),
    )
    return (*weights, *(term for term in further if term.size_bytes))


def margin_bytes(ram: int) -> int:
    """Return how much of the RAM is not planned for."""
    return min(_MARGIN_BYTES, ram // _MARGIN_SHARE)


def _kept(ram: int, spare: int, wishes: Wishes) -> tuple[int, int]:
    """Return the bytes for prompts that had to leave the cache, and for copies on their way to the disk.

    Args:
        ram: What the model leaves free.
        spare: What a useful context leaves of that.
        wishes: The user's.
    """
    least, most = (ram // share for share in _KEPT_SHARES)
    both = max(least, min(most, spare))
    copied = min(_COPY_BYTES, both // 2) if wishes.keeps_on_disk else 0
    kept = min(_KEPT_BYTES, both - copied) if wishes.kept_bytes is None else wishes.kept_bytes
    return kept, copied


def _kv_type(size: ModelSize, room: int, wishes: Wishes, cost: _Priced) -> str:
    wanted = wishes.context or min(size.trained, USEFUL_CONTEXT)
    full = cost(wanted, "f16").total
    return "f16" if full <= room or full <= cost(wanted, "q8_0").total else "q8_0"


def _context(size: ModelSize, fits: Callable[[int], bool]) -> int:
    return min(size.trained, max(_SMALLEST, _largest(size.trained, fits)))


def _cells(size: ModelSize, wishes: Wishes, context: int, fits: Callable[[int], bool]) -> int:
    if wishes.cells or wishes.context:  # who says how long a request may be has a limit in mind
        return max(context, wishes.cells or 0)
    most = (_CONVERSATIONS - 1) * size.trained
    fitting = _largest(context + int(most / _POOL_SHARE), fits)
    return context + max(0, min(_whole(int((fitting - context) * _POOL_SHARE)), most))


def _largest(limit: int, fits: Callable[[int], bool]) -> int:
    """Return the largest number of cells up to `limit` that fits; 0: none does. Whole granules, or `limit` itself."""
    if fits(limit):
        return limit
    low, high = 0, limit // _GRANULE + 1
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle * _GRANULE) else (low, middle)
    return low * _GRANULE


def _batch(room: int, *, whole_on_gpu: bool) -> int:
    if room <= _TIGHT_BYTES:
        return _SMALL_BATCH
    return _GPU_BATCH if whole_on_gpu else _BATCH


def _per_token(size: ModelSize, kv_type: str) -> int:
    return max(1, round(size.kv_bytes_per_token * _KV_SIZE[kv_type]))


def _whole(cells: int) -> int:
    return cells // _GRANULE * _GRANULE


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.2f} GiB"


def _note(size: ModelSize, memory: Memory, wishes: Wishes, fit: Fit) -> str:
    caches = sum(term.size_bytes for term in fit.terms if term.name == "KV cache")
    there = f"{memory.ram / _GIB:.1f} GiB {'that may be used' if memory.is_limit else 'free'}"
    if fit.gpu_layers:
        layers = f"{fit.gpu_layers} of {size.layers + 1} layers there"
        there = f"{memory.gpu / _GIB:.1f} GiB free on the GPU ({layers}) and {there}"
    return (
        f"context {fit.context:,} tokens ({_reason(fit.context, wishes.context, size.trained)}), {fit.cells:,} cells"
        f" ({caches / fit.cells / 1024:.0f} KiB a token, {fit.kv_type}): {said(fit.terms)}, of {there}"
    )


def _reason(context: int, wanted: int | None, trained: int) -> str:
    if wanted:
        return "as asked" if wanted <= trained else f"as asked; the model was trained for {trained:,} only"
    if context == trained:
        return "all that the model was trained for"
    return f"what memory holds; the model was trained for {trained:,}"
