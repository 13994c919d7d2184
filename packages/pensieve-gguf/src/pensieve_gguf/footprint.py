"""What a model takes of memory, or may take: bytes of RAM, and of all GPUs together. A value with its arithmetic."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

__all__ = ["Footprint", "total"]


@attrs.frozen(kw_only=True)
class Footprint:
    """So much of each."""

    ram: int = 0
    gpu: int = 0

    def __add__(self, other: Footprint) -> Footprint:
        return Footprint(ram=self.ram + other.ram, gpu=self.gpu + other.gpu)

    def __sub__(self, other: Footprint) -> Footprint:
        """Return what is left; nothing is the least."""
        return Footprint(ram=max(0, self.ram - other.ram), gpu=max(0, self.gpu - other.gpu))

    def __bool__(self) -> bool:
        """Whether it is anything."""
        return self.ram > 0 or self.gpu > 0

    def fits(self, room: Footprint) -> bool:
        """Whether `room` holds it, in RAM and on the GPUs."""
        return not self - room

    def most(self, other: Footprint) -> Footprint:
        """Return the smallest room that holds either."""
        return Footprint(ram=max(self.ram, other.ram), gpu=max(self.gpu, other.gpu))

    def common(self, other: Footprint) -> Footprint:
        """Return what both have."""
        return Footprint(ram=min(self.ram, other.ram), gpu=min(self.gpu, other.gpu))


def total(footprints: Iterable[Footprint]) -> Footprint:
    """Return all of them together."""
    return sum(footprints, start=Footprint())
