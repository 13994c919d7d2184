"""What a model will take whose file is not here yet: the fit's questions, answered from a few numbers. Pure.

Once the file is here, its metadata and llama.cpp's dry run answer instead (`engine.loading`). What is said here of the
cache is what those say; of buffers it is an upper bound. Above: whoever recommends a model. Below: `fit`.
"""

from __future__ import annotations

import attrs

from pensieve_gguf.fit import USEFUL_CONTEXT, ContextCost, CostOf, Fit, Memory, ModelSize, Wishes
from pensieve_gguf.memory_sum import total_bytes

__all__ = ["ModelShape", "cost_by_shape", "is_of_use", "size_by_shape"]

_KEYS_AND_VALUES, _F16_BYTES, _F32_BYTES = 2, 2, 4
_Q8_0 = 17 / 32  # 34 bytes for 32 values of 2 bytes each
_MOST_ROWS = 512
"""llama.cpp computes a larger batch in parts of so many rows."""
_ROW_BYTES = 512 << 10
"""What one row of a batch takes of buffers. llama.cpp says 70 to 466 KiB of the shapes in our catalog."""
_SAMPLED_ROWS = 64
"""Rows whose logits are kept: one for each sequence, and drafts. 49 with our settings."""


@attrs.frozen(kw_only=True)
class ModelShape:
    """A model, before its file is here."""

    weight_bytes: int
    trained: int
    """Tokens of context that it was trained for."""
    layers: int
    cached_layers: int
    """Those that keep keys and values of every token."""
    kv_heads: int
    head_size: int
    vocabulary: int
    """Words."""
    state_bytes: int = 0
    """What each sequence takes in the other layers."""

    @property
    def layer_bytes(self) -> int:
        """Keys and values of one token in one layer, at f16."""
        return _KEYS_AND_VALUES * _F16_BYTES * self.kv_heads * self.head_size


def size_by_shape(shape: ModelShape) -> ModelSize:
    """Return what its metadata would say: they count every layer as one that keeps all tokens."""
    return ModelSize(
        weight_bytes=shape.weight_bytes,
        kv_bytes_per_token=shape.layer_bytes * shape.layers,
        layers=shape.layers,
        trained=shape.trained,
        vocabulary=shape.vocabulary,
    )


def cost_by_shape(shape: ModelShape, *, sequences: int) -> CostOf:
    """Return what llama.cpp would say of its contexts.

    Args:
        shape: The model's.
        sequences: That keep their place (`GgufSettings.slots_with_state`), if each has a state; one more copies them.
    """

    def cost(*, cells: int, kv_type: str, batch_tokens: int) -> ContextCost:
        rows = min(batch_tokens, _MOST_ROWS)
        mask = _F16_BYTES * rows * cells
        logits = _F32_BYTES * _SAMPLED_ROWS * shape.vocabulary
        per_token = shape.layer_bytes * shape.cached_layers * (_Q8_0 if kv_type == "q8_0" else 1)
        return ContextCost(
            cache=round(cells * per_token) + (sequences + 1) * shape.state_bytes,
            compute=rows * _ROW_BYTES + shape.state_bytes + mask + logits,
        )

    return cost


def is_of_use(fit: Fit, size: ModelSize, memory: Memory, wishes: Wishes) -> bool:
    """Whether memory holds all of it, with a context that is long enough for Claude Code, as far as it can have one."""
    enough = min(USEFUL_CONTEXT, size.trained, wishes.context or size.trained)
    on_gpu = sum(term.size_bytes for term in fit.terms if term.on_gpu)
    return fit.context >= enough and total_bytes(fit.terms) <= memory.ram and on_gpu <= memory.gpu
