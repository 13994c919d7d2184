"""What is kept, and what has to go. Pure: no files, time passed in."""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from attrs.validators import ge

from pensieve_gguf.anchors.format import AnchorKind
from pensieve_gguf.anchors.index import Anchor

__all__ = ["Limits", "default_budget", "victims"]

_MOST_BY_DEFAULT = 20 * 10**9
_SHARE_OF_DISK = 10
_WORTH = {AnchorKind.HEAD: 8.0, AnchorKind.TURN: 1.0}
"""A head that nobody used for eight hours is worth as much as a turn that nobody used for one: many conversations
begin with it, and only one goes on from a turn."""
_FRESH_S = 60.0


@attrs.frozen(kw_only=True)
class Limits:
    """How much may be kept and written. Sizes in bytes."""

    budget_bytes: int = attrs.field(validator=ge(0))
    """Of all anchors in the folder, whoever wrote them. 0: nothing is kept."""
    bytes_per_hour: int = attrs.field(default=8 * 10**9, validator=ge(0))
    """Written by all processes together, within any hour: disks wear, and a peer wrote 137 GB in one session."""
    reserve_bytes: int = attrs.field(default=10**9, validator=ge(0))
    """Left free on the disk for others; when they take it, anchors make room with the next one."""
    most_anchors: int = attrs.field(default=512, validator=ge(1))
    """In the folder: each costs a microsecond of every search."""
    near_tokens: int = attrs.field(default=16, validator=ge(0))
    """A prefix that differs from a kept one by so few tokens is not worth a file of its own."""


def default_budget(free_bytes: int, kept_bytes: int = 0) -> int:
    """Return 20 GB or a tenth of what could be free, whichever is less."""
    return min(_MOST_BY_DEFAULT, (free_bytes + kept_bytes) // _SHARE_OF_DISK)


def victims(
    anchors: Sequence[Anchor], *, bytes_needed: int, places_needed: int, now: float
) -> tuple[Anchor, ...] | None:
    """Choose what to remove, the least valuable first. None: even all of `anchors` would not be enough."""
    chosen: list[Anchor] = []
    for anchor in sorted(anchors, key=lambda anchor: (_value(anchor, now), anchor.used_at, anchor.name)):
        if bytes_needed <= 0 and places_needed <= 0:
            break
        chosen.append(anchor)
        bytes_needed -= anchor.file_bytes
        places_needed -= 1
    return None if bytes_needed > 0 or places_needed > 0 else tuple(chosen)


def _value(anchor: Anchor, now: float) -> float:
    """Return how likely it is to be of use, on no particular scale: it falls with the time since the last use."""
    return _WORTH[anchor.kind] / (max(0.0, now - anchor.used_at) + _FRESH_S)
