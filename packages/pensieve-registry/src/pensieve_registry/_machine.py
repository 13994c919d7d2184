"""How much of a machine the weights of a model may take of which nothing is known but their size. Pure."""

from __future__ import annotations

import attrs

__all__ = ["Machine"]

_GB = 10**9
_SHARE_OF_MEMORY, _SHARE_OF_GPU = 0.75, 0.92
"""Of a machine's memory, what a model may take beside other programs; of a GPU's, beside the screen."""
_SMALLEST_GPU_GB = 6.0
"""A smaller one holds no model worth having all of on it."""


@attrs.frozen(kw_only=True)
class Machine:
    """Its memory, in bytes."""

    memory_bytes: int | None
    """None: it could not be found out."""
    gpu_bytes: int = 0
    """Of the largest GPU that the engine can use."""

    @property
    def room_bytes(self) -> int | None:
        """Return what a model may take, weights and context. None: nobody knows."""
        if self.gpu_bytes >= _SMALLEST_GPU_GB * _GB:
            return int(self.gpu_bytes * _SHARE_OF_GPU)
        return None if self.memory_bytes is None else int(self.memory_bytes * _SHARE_OF_MEMORY)
