"""Which entry of the curated catalog suits this machine, and why. Pure.

It chooses; what a model takes, and whether that fits, the engine's own fit says (`Foresee`), which whoever wires the
two hands in. Above: `pensieve-server pull`. Below: the catalog's entries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

import attrs

from pensieve_registry._curated import CuratedModel

__all__ = ["Foresee", "Foreseen", "Recommendation", "recommend"]

_GB = 10**9
_ACTIVE_LIMIT_B = 10.0
"""Billions of parameters that a CPU can read for every token and still be followed with patience."""
_WORTH_A_GPU_B = 4.0
"""Billions of parameters: a smaller model is not preferred to a better one for lying on the GPU as a whole."""


@attrs.frozen(kw_only=True)
class Foreseen:
    """How a model would be loaded now. All bytes are where its weights lie: of the GPU, of RAM, or of both together."""

    fits: bool
    """Memory holds it, with a context that is of use to Claude Code, or with all that it was trained for."""
    whole_on_gpu: bool
    context_tokens: int
    """What one request would have, prompt and answer."""
    weights_bytes: int
    context_bytes: int
    """Keys and values, and what a batch is computed in."""
    further_bytes: int
    """All else that it takes there, once it has grown to what it may become."""
    free_bytes: int
    """What is free for all of it."""

    @property
    def left_bytes(self) -> int:
        """What stays free; less than nothing, where it does not fit."""
        return self.free_bytes - self.weights_bytes - self.context_bytes - self.further_bytes


class Foresee(Protocol):
    """Says how a model would be loaded that is not here yet: by the engine's fit."""

    def __call__(self, model: CuratedModel) -> Foreseen:
        """Return it."""
        ...


@attrs.frozen(kw_only=True)
class Recommendation:
    """A model, how it would be loaded, and the sentence that says why it is this one."""

    model: CuratedModel
    foreseen: Foreseen
    reason: str


def recommend(models: Sequence[CuratedModel], foresee: Foresee) -> Recommendation:
    """Return the largest recommended model that fits, and that is quick enough where a CPU has to read it.

    One that lies on the GPU as a whole goes before a larger one that does not, unless it is a toy. When nothing fits,
    it is the smallest.
    """
    seen = {model: foresee(model) for model in models if model.recommended}
    fitting = [model for model, found in seen.items() if found.fits and _is_quick(model, found)]
    on_gpu = [model for model in fitting if seen[model].whole_on_gpu and model.parameters_b >= _WORTH_A_GPU_B]
    smallest = min(seen, key=_size)
    chosen = max(on_gpu or fitting, key=_size, default=smallest)
    return Recommendation(model=chosen, foreseen=seen[chosen], reason=_why(chosen, seen[chosen]))


def _is_quick(model: CuratedModel, found: Foreseen) -> bool:
    return found.whole_on_gpu or model.active_b <= _ACTIVE_LIMIT_B


def _size(model: CuratedModel) -> int:
    return model.size_bytes


def _why(model: CuratedModel, found: Foreseen) -> str:
    free = f"{_gb(found.free_bytes)} GB that are free {'on the GPU' if found.whole_on_gpu else 'on this machine'} now"
    if not found.fits:
        return f"no model fits into the {free}; {model.name} takes the least: {_sums(found)}"
    purpose = " for buffers and the screen" if found.whole_on_gpu else ""
    return f"it is the best that fits into the {free}: {_sums(found)} leave {_gb(found.left_bytes)}{purpose}"


def _sums(found: Foreseen) -> str:
    weights = f"{_gb(found.weights_bytes)} GB of weights"
    context = f"{_gb(found.context_bytes)} for a context of {found.context_tokens:,} tokens"
    if not found.further_bytes:
        return f"{weights} and {context}"
    return f"{weights}, {context}, and {_gb(found.further_bytes)} at most for all else"


def _gb(size_bytes: int) -> str:
    return f"{size_bytes / _GB:.1f}"
