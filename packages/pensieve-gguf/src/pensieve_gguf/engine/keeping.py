"""What is copied out of the KV cache for the disk, and when: once nobody waits for the engine. Pure.

The head of a prompt (tools and system text, up to its cache mark) is what the next conversation begins with, so it is
due as soon as the engine has nothing else to do. A turn is of use only to its own conversation, and the next turn makes
it stale, so it is due once nothing was asked for a while. Whether either is worth its bytes the store knows.

Above: the loop, which copies. Below: `pensieve_gguf.anchors`, which keeps.
"""

from __future__ import annotations

from array import array
from collections import OrderedDict
from typing import TypeVar

import attrs

from pensieve_gguf.anchors import AnchorKind

__all__ = ["Keep", "Keeping"]

_SHORTEST = 512
"""Tokens; less is computed again in a moment."""
_QUIET_S = 10.0
_REMEMBERED = 64

_Key = TypeVar("_Key")


@attrs.frozen(kw_only=True)
class Keep:
    """Copy out the state after exactly these tokens."""

    tokens: array[int]
    kind: AnchorKind
    conversation: str


class Keeping:
    """Prefixes that are to be kept, of the latest conversations."""

    def __init__(self) -> None:
        self._heads: OrderedDict[bytes, Keep] = OrderedDict()
        self._turns: OrderedDict[str, Keep] = OrderedDict()
        self._quiet_since = 0.0

    def note(self, tokens: array[int], *, head: int, conversation: str, now: float) -> None:
        """Note that a turn was answered: `tokens` are computed, the first `head` of them are the prompt's head."""
        self._quiet_since = now
        if head >= _SHORTEST:
            keep = Keep(tokens=tokens[:head], kind=AnchorKind.HEAD, conversation=conversation)
            _remember(self._heads, keep.tokens.tobytes(), keep)
        if len(tokens) >= _SHORTEST:
            _remember(self._turns, conversation, Keep(tokens=tokens, kind=AnchorKind.TURN, conversation=conversation))

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds something is due, if nothing is asked until then. None: there is nothing."""
        if self._heads:
            return 0.0
        return max(0.0, self._quiet_since + _QUIET_S - now) if self._turns else None

    def take(self, now: float) -> Keep | None:
        """Return what is due, once."""
        if self._heads:
            return self._heads.popitem(last=False)[1]
        if self._turns and now >= self._quiet_since + _QUIET_S:
            return self._turns.popitem(last=True)[1]
        return None


def _remember(kept: OrderedDict[_Key, Keep], key: _Key, keep: Keep) -> None:
    kept.pop(key, None)
    kept[key] = keep
    while len(kept) > _REMEMBERED:
        kept.popitem(last=False)
