"""The one way in which loading fails that another model can mend, by making room."""

from __future__ import annotations

from pensieve_gguf.footprint import Footprint

__all__ = ["TooLittleMemoryError"]


class TooLittleMemoryError(Exception):
    """The model would be loaded, or loaded better, if it might take what it `needs`."""

    def __init__(self, needs: Footprint) -> None:
        super().__init__(f"it takes {needs.ram:,} bytes of RAM and {needs.gpu:,} of the GPU, and may not")
        self.needs = needs
