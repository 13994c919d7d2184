"""What is copied out of the KV cache for the disk, and when: once nobody waits for the engine. Pure.

The head of a prompt (tools and system text, up to its cache mark) is what the next conversation begins with, so it is
due as soon as the engine has nothing else to do, and a breath later: copying it takes longer than an agent's next
request is away, and would delay its first token. A turn, prompt and answer, is of use only to its own conversation, and
the next turn makes it stale: it is due a moment after the model has handed over to a person; where the next turn will
follow by itself, for the model called a tool, once nothing was asked for a while. Whether either is worth its bytes the
store knows.

Above: the disk tier, which has it copied. Below: `pensieve_gguf.anchors`, which keeps.
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
_BREATH_S = 0.25
_MOMENT_S = 1.0
_QUIET_S = 10.0
_REMEMBERED = 64

_Key = TypeVar("_Key")
_Kept = TypeVar("_Kept")


@attrs.frozen(kw_only=True)
class Keep:
    """Copy out the state after exactly these tokens."""

    tokens: array[int]
    kind: AnchorKind
    conversation: str


@attrs.frozen
class _Turn:
    keep: Keep
    patience_s: float
    """It is due when nothing was asked for so long."""


class Keeping:
    """Prefixes that are to be kept, of the latest conversations."""

    def __init__(self) -> None:
        self._heads: OrderedDict[bytes, Keep] = OrderedDict()
        self._turns: OrderedDict[str, _Turn] = OrderedDict()
        self._quiet_since = 0.0

    def note(self, tokens: array[int], *, head: int, conversation: str, goes_on: bool, now: float) -> None:
        """Note that a turn was answered.

        Args:
            tokens: All that is computed of it. The first `head` of them are the prompt's head.
            head: See there.
            conversation: Whose turn it is; "" when that is not known.
            goes_on: The model called a tool: the next turn will follow by itself.
            now: Monotonic seconds.
        """
        self._quiet_since = now
        if head >= _SHORTEST:
            keep = Keep(tokens=tokens[:head], kind=AnchorKind.HEAD, conversation=conversation)
            _remember(self._heads, keep.tokens.tobytes(), keep)
        if len(tokens) >= _SHORTEST:
            turn = Keep(tokens=tokens, kind=AnchorKind.TURN, conversation=conversation)
            _remember(self._turns, conversation, _Turn(turn, _QUIET_S if goes_on else _MOMENT_S))

    def due_in(self, now: float) -> float | None:
        """Return in how many seconds something is due, if nothing is asked until then. None: there is nothing."""
        patiences = [_BREATH_S] if self._heads else [turn.patience_s for turn in self._turns.values()]
        return max(0.0, self._quiet_since + min(patiences) - now) if patiences else None

    def take(self, now: float) -> Keep | None:
        """Return what is due, once."""
        if self._heads and now >= self._quiet_since + _BREATH_S:
            return self._heads.popitem(last=False)[1]
        due = [name for name, turn in self._turns.items() if now >= self._quiet_since + turn.patience_s]
        return self._turns.pop(due[-1]).keep if due else None

    def take_any(self) -> Keep | None:
        """Return what would be due at last, the latest first: there is no later."""
        return self.take(float("inf"))


def _remember(kept: OrderedDict[_Key, _Kept], key: _Key, keep: _Kept) -> None:
    kept.pop(key, None)
    kept[key] = keep
    while len(kept) > _REMEMBERED:
        kept.popitem(last=False)
