"""How many KV cells fit: a sum that is shown, not a guess that is hidden. Pure."""

from __future__ import annotations

import attrs

__all__ = ["Fit", "fit_context"]

_GRANULE = 256  # llama.cpp pads the context to multiples of this
_SMALLEST = 2_048
# Kept free for compute buffers and the rest of the machine.
_RESERVE_BYTES = 1 << 30
_KV_SIZE = {"f16": 1.0, "q8_0": 17 / 32}  # q8_0: 34 bytes for 32 values of 2 bytes each
_GIB = 1 << 30


@attrs.frozen(kw_only=True)
class Fit:
    """The fitted context."""

    cells: int
    note: str
    """The sum, in a sentence."""


def fit_context(
    *,
    wanted: int | None,
    trained: int,
    kv_bytes_per_token: int,
    kv_type: str,
    weight_bytes: int,
    available_bytes: int,
) -> Fit:
    """Choose the context.

    Args:
        wanted: What the user asked for; honoured as it is, for only he knows what else he will close.
        trained: The model's own context, in tokens.
        kv_bytes_per_token: At f16.
        kv_type: `f16` or `q8_0`.
        weight_bytes: What the weights will take of `available_bytes`.
        available_bytes: Memory that can be had without swapping.
    """
    per_token = max(1, round(kv_bytes_per_token * _KV_SIZE[kv_type]))
    room = (available_bytes - weight_bytes - _RESERVE_BYTES) // per_token
    fitting = max(_SMALLEST, room // _GRANULE * _GRANULE)
    cells = wanted or min(trained, fitting)
    reason = _reason(cells, wanted, trained)
    return Fit(
        cells=cells,
        note=(
            f"context {cells:,} tokens ({reason}): weights {weight_bytes / _GIB:.2f} GiB"
            f" + KV cache {cells * per_token / _GIB:.2f} GiB ({per_token / 1024:.0f} KiB a token, {kv_type})"
            f" of {available_bytes / _GIB:.1f} GiB free"
        ),
    )


def _reason(cells: int, wanted: int | None, trained: int) -> str:
    if wanted:
        return "as asked" if wanted <= trained else f"as asked; the model was trained for {trained:,} only"
    if cells == trained:
        return "all that the model was trained for"
    return f"what memory holds; the model was trained for {trained:,}"
