"""What is to be done to the KV cache before the next decode, and in which order. Values only.

Above: the engine loop, which carries them out. Below: checkpoints; `residents` decides on them.
"""

from __future__ import annotations

from array import array
from typing import TypeAlias

import attrs

from pensieve_gguf.engine.checkpoints import Checkpoint

__all__ = ["Change", "Cut", "Elsewhere", "Evict", "Idle", "Placement", "Rewind", "Save", "Share"]


@attrs.frozen
class Cut:
    """Forget what `slot` holds from `length` on."""

    slot: int
    length: int


@attrs.frozen
class Evict:
    """Forget what the idle `slot` holds from `length` on, to make room: the last chance to save it elsewhere."""

    slot: int
    length: int
    tokens: array[int] = attrs.field(repr=lambda tokens: f"<{len(tokens)}>")
    """What `slot` holds, from the first token on."""


@attrs.frozen
class Share:
    """Let `target` hold the first `length` cells of `source`, too."""

    source: int
    target: int
    length: int


@attrs.frozen
class Rewind:
    """Let `slot`, which holds more, be what it was when `checkpoint` was made."""

    slot: int
    checkpoint: Checkpoint


@attrs.frozen
class Save:
    """Make a checkpoint of `slot`, which holds exactly `tokens`."""

    slot: int
    tokens: array[int] = attrs.field(repr=lambda tokens: f"<{len(tokens)}>")


@attrs.frozen
class Idle:
    """What a slot holds that nobody is using."""

    slot: int
    tokens: array[int] = attrs.field(repr=lambda tokens: f"<{len(tokens)}>")
    """Computed, all of them."""
    start: int = 0
    """The cells before are held by others, too, and stay; only what follows is to be carried away."""


@attrs.frozen(kw_only=True)
class Elsewhere:
    """What of a prompt could be loaded into the cache."""

    length: int
    """Its first so many tokens."""
    cells: int = 0
    """So many are taken for a moment, if what is loaded is longer and cut back."""
    behind: int = 0
    """It lacks so many tokens, which are in the cache: it is put behind what is shared."""


Change: TypeAlias = Cut | Evict | Rewind | Share


@attrs.frozen(kw_only=True)
class Placement:
    """Where a prompt goes, and how much of it is already there once the moves are made, in their order."""

    slot: int
    reused: int
    moves: tuple[Change, ...]
    restores: bool = False
    """The first `reused` tokens are to be loaded from elsewhere before the slot is used."""
    held: int = 0
    """So many of those that are loaded the slot holds before."""
    parts: int = 0
    """Where the prompt and another one part, if that is further than what is reused."""
