"""The one way in which loading fails that another model can mend, by making room."""

from __future__ import annotations

__all__ = ["TooLittleMemoryError"]


class TooLittleMemoryError(Exception):
    """The model would be loaded if it might take `needed_bytes` of RAM."""

    def __init__(self, needed_bytes: int) -> None:
        super().__init__(f"it takes {needed_bytes:,} bytes, and may not")
        self.needed_bytes = needed_bytes
