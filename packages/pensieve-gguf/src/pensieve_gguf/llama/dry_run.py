"""What a context would take, told by llama.cpp itself: it plans one for a model without weights, and allocates nothing.

That costs 3 to 15 ms (SmolLM2, the 1.5B coder), and is right for windows, recurrent states and every architecture that
llama.cpp knows. It tells the figures in its log alone, so that is where they are read.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

import attrs
from llama_cpp import llama_cpp as lib

from pensieve_gguf.llama.context import ContextShape, context_params
from pensieve_gguf.llama.library import heard, last_words
from pensieve_gguf.llama.model import LoadError, Model

__all__ = ["ContextBytes", "context_bytes", "read_sizes"]

_MIB = 1 << 20
_MOST_ROWS = (1 << 31) - 1
_CACHE = re.compile(r": size = +([\d.]+) MiB \(")
"""`llama_kv_cache: size =  180.00 MiB (  8192 cells,  30 layers, …`; one for each kind of layer."""
_BUFFER = re.compile(r"(compute|output) buffer size = +([\d.]+) MiB")


@attrs.frozen(kw_only=True)
class ContextBytes:
    """What a context takes, in bytes, wherever it lies."""

    cache: int
    """Keys and values; windows and states of its sequences included."""
    compute: int
    """What a batch is computed in."""
    output: int
    """The logits of the rows that are sampled."""

    @property
    def total(self) -> int:
        """All of it."""
        return self.cache + self.compute + self.output


def context_bytes(model: Model, shape: ContextShape) -> ContextBytes | None:
    """Return what a context of this shape would take. None: llama.cpp does not say.

    Args:
        model: Loaded with `dry`.
        shape: See there.

    Raises:
        LoadError: llama.cpp could make no such context.
    """
    if shape.batch_tokens > _MOST_ROWS:  # without weights llama.cpp aborts on what is left of it in 32 bits
        raise LoadError(f"a batch of {shape.batch_tokens} rows is more than llama.cpp can count")
    with heard(b"MiB") as lines:
        handle = lib.llama_init_from_model(model.handle, context_params(shape))
    if not handle:
        raise LoadError(last_words() or "llama.cpp could not plan the context")
    lib.llama_free(handle)
    return read_sizes(lines)


def read_sizes(lines: Iterable[str]) -> ContextBytes | None:
    """Read what llama.cpp logged while it made a context. None: no figures are in there."""
    text = "".join(lines)
    buffers = _BUFFER.findall(text)
    cache = [float(size) for size in _CACHE.findall(text)]
    if not (buffers and cache):
        return None
    of = {kind: sum(float(size) for name, size in buffers if name == kind) for kind in ("compute", "output")}
    return ContextBytes(cache=_bytes(sum(cache)), compute=_bytes(of["compute"]), output=_bytes(of["output"]))


def _bytes(mebibytes: float) -> int:
    return round(mebibytes * _MIB)
