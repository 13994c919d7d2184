"""One model that was asked for: where it is between the file and the memory, and who wants it.

            ask                    loaded                 another needs the room,
    ABSENT ----> LOADING ----------------------> READY    or it is told to go
      ^             |  failed                      | ^       |
      |             +------> BROKEN                | +-------+  nobody needs the room any more
      |                        |  told to try      v         |
      +------------------------+---- LEAVING <-- DRAINING ---+
              its process is gone

A model that was stopped while it loaded, or that asks for more room than it was given, goes back from LOADING. A value
with its moves; the planner decides which.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping
from typing import NewType

import attrs

from pensieve_core import ModelId, PensieveError
from pensieve_gguf.footprint import Footprint

__all__ = ["IllegalPhaseError", "Phase", "Tenant", "Ticket"]

Ticket = NewType("Ticket", int)
"""Stands for one request; smaller ones asked earlier."""


class Phase(enum.Enum):
    """Where a model is."""

    ABSENT = enum.auto()
    LOADING = enum.auto()
    READY = enum.auto()
    DRAINING = enum.auto()
    """Nobody is let in any more; running requests may end."""
    LEAVING = enum.auto()
    """Its process saves what it has, and ends."""
    BROKEN = enum.auto()


_MOVES: Mapping[Phase, frozenset[Phase]] = {
    Phase.ABSENT: frozenset({Phase.LOADING}),
    Phase.LOADING: frozenset({Phase.READY, Phase.ABSENT, Phase.BROKEN}),
    Phase.READY: frozenset({Phase.DRAINING, Phase.BROKEN}),
    Phase.DRAINING: frozenset({Phase.READY, Phase.LEAVING, Phase.BROKEN}),
    Phase.LEAVING: frozenset({Phase.ABSENT}),
    Phase.BROKEN: frozenset({Phase.ABSENT}),
}


class IllegalPhaseError(Exception):
    """A model was moved where it cannot go from where it is: a bug of the caller."""


@attrs.define(kw_only=True, eq=False)
class Tenant:
    """A model and those who want it. Times are monotonic seconds.

    Invariant: it holds memory exactly in LOADING, READY, DRAINING and LEAVING.
    """

    model: ModelId
    known: Footprint
    """With less it is not loaded: what its file says."""
    told: Footprint = attrs.field(factory=Footprint)
    """With less it was not loaded: what its engine said, when it was allowed less."""
    told_beside: int = 0
    """Bytes of the GPU that it could have had then."""
    makes_do: bool = False
    """Its engine found less of the GPU than there should be: it is loaded with what it finds."""
    phase: Phase = Phase.ABSENT
    footprint: Footprint = attrs.field(factory=Footprint)
    """Set aside for it: what it was allowed while it loads, what it takes once it is there."""
    pinned: bool = False
    dismissed: bool = False
    """It is to go, whether or not another needs the room."""
    waiting: list[Ticket] = attrs.field(factory=list)
    running: set[Ticket] = attrs.field(factory=set)
    error: PensieveError | None = None
    """Why it is broken."""
    ready_at: float | None = None
    last_used_at: float | None = None
    leaves_by: float = 0.0
    """When its running requests are cut short, while it drains."""

    @property
    def least(self) -> Footprint:
        """With less it is not loaded, as far as is known."""
        return self.known.most(self.told)

    @property
    def holds_memory(self) -> bool:
        """Whether memory is set aside for it."""
        return self.phase not in (Phase.ABSENT, Phase.BROKEN)

    @property
    def makes_way(self) -> bool:
        """Whether its memory will be free soon."""
        return self.phase in (Phase.DRAINING, Phase.LEAVING)

    @property
    def used_at(self) -> float:
        """When it was last used, or came; the beginning of time if neither."""
        return max(self.last_used_at or 0.0, self.ready_at or 0.0)

    def move(self, phase: Phase) -> None:
        """Go there.

        Raises:
            IllegalPhaseError: there is no way.
        """
        if phase not in _MOVES[self.phase]:
            raise IllegalPhaseError(f"{self.model} cannot go from {self.phase.name} to {phase.name}")
        self.phase = phase
        if not self.holds_memory:
            self.footprint = Footprint()
            self.dismissed = False
            self.ready_at = None
