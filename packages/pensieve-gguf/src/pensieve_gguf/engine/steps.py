"""A step, as the scheduler decides it, and what it does when a step found no room. Values only.

Above: the scheduler, which makes them, and the loop, which carries them out. Below: the moves in the cache.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs

from pensieve_gguf.engine.checkpoints import Checkpoint
from pensieve_gguf.engine.moves import Change, Cut, Evict, Save
from pensieve_gguf.engine.sequence import Sequence
from pensieve_gguf.engine.shelf import Shelved

__all__ = ["Evicted", "Exhausted", "Move", "Preempted", "Relief", "Restore", "Row", "Step", "Undrafted"]


@attrs.frozen
class Restore:
    """Let `slot` hold the first `length` tokens of what is on the shelf."""

    slot: int
    shelved: Shelved
    length: int
    checkpoint: Checkpoint | None = None
    """What leads back to `length`, where a state that was loaded cannot be cut."""
    held: int = 0
    """So many tokens the slot holds before; the state is of the end of a prefix, and is put behind them."""


Move: TypeAlias = Change | Restore | Save


@attrs.frozen(kw_only=True)
class Row:
    """Tokens `start` to `stop` of one sequence; `samples`: a token is drawn after the last of them."""

    sequence: Sequence
    start: int
    stop: int
    samples: bool
    draft: tuple[int, ...] = ()
    """Guessed tokens that follow: a token is drawn after each of them, too, as long as it is the guessed one."""
    by_model: bool = False
    """Whether a draft model has guessed them."""


@attrs.frozen(kw_only=True)
class Step:
    """One decode: the moves to make in the cache before, and the rows."""

    moves: tuple[Move, ...]
    rows: tuple[Row, ...]
    has_images: bool = False
    """Some of the rows are parts of images."""

    @property
    def tokens(self) -> int:
        """Rows of the batch."""
        return sum([row.stop - row.start + len(row.draft) for row in self.rows])

    @property
    def drafted(self) -> int:
        """Of these, rows of tokens that are guessed."""
        return sum([len(row.draft) for row in self.rows])


@attrs.frozen
class Evicted:
    """An idle prefix was forgotten, or the end of one; its cells are still to be cut."""

    cut: Cut | Evict


@attrs.frozen
class Preempted:
    """A running sequence gave cells up, which are still to be cut; it waits, and is placed anew."""

    sequence: Sequence
    cut: Cut | Evict


@attrs.frozen
class Undrafted:
    """The next step goes without drafts."""


@attrs.frozen
class Exhausted:
    """This sequence alone fills the cache: it cannot go on."""

    sequence: Sequence


Relief: TypeAlias = Evicted | Undrafted | Preempted | Exhausted
