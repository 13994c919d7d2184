"""Checkpoints: what cannot be cut back of a state, copied out where a prompt is likely to come again.

A recurrent layer holds one state, not a cell for each token, and a sliding window forgets what it has passed. Such a
model cannot go back within what it has computed, save to where a copy was made: its prefixes end at checkpoints. The
cells of its other layers are not copied; they stay where they are, shared or on the shelf, and without them a
checkpoint is of no use.

Above: `residents` and `shelf`, which look for them, the scheduler, which plans them. Below: nothing. Pure bookkeeping.
"""

from __future__ import annotations

from array import array
from collections.abc import Iterable
from typing import TypeAlias

import attrs
import numpy as np

from pensieve_gguf.engine.tree import common_prefix

__all__ = ["Checkpoint", "Checkpoints", "plan_checkpoints"]

_State: TypeAlias = np.ndarray[tuple[int], np.dtype[np.uint8]]

_BACK = 16
"""Tokens. So far before its end a prompt is likely to be known again: templates put a few between the user's last word
and the answer's first one, and the next turn may have others there (llama-server goes back by 4). And so far before two
prompts part, for what they begin to say may have its first tokens in common by chance."""
_SPACING = 64
"""Tokens; fewer are computed again in a moment."""
_GAP = 4_096
"""Tokens between checkpoints of a long prompt, at least: for whoever leaves in the middle, or parts there."""
_GAPS = 4
"""Checkpoints of a prompt that only fill gaps: they must not push out those where marks stand."""


@attrs.define(kw_only=True, eq=False)
class Checkpoint:
    """The part of a state that cannot be cut back, after exactly `tokens`."""

    tokens: array[int]
    state: _State
    used_at: float
    """Seconds on the engine's clock."""

    @property
    def length(self) -> int:
        """How many tokens led to it."""
        return len(self.tokens)


class Checkpoints:
    """Checkpoints by the tokens that led to them. Bounded by the shelf, whose bytes they share."""

    def __init__(self) -> None:
        self._kept: list[Checkpoint] = []
        """The longest first."""

    def __len__(self) -> int:
        return len(self._kept)

    @property
    def bytes_used(self) -> int:
        """Size of all of them."""
        return sum(len(one.state) for one in self._kept)

    @property
    def oldest(self) -> Checkpoint | None:
        """What was not used for longest."""
        return min(self._kept, key=lambda one: one.used_at, default=None)

    def longest(self, prompt: array[int], limit: int) -> Checkpoint | None:
        """Return the longest checkpoint of what `prompt` begins with, of `limit` tokens at most."""
        limit = min(limit, len(prompt))
        return next((one for one in self._kept if one.length <= limit and _begins(prompt, one.tokens)), None)

    def put(self, checkpoint: Checkpoint) -> None:
        """Keep `checkpoint`, in place of one of the same tokens."""
        others = (one for one in self._kept if one.tokens != checkpoint.tokens)
        self._kept = sorted((*others, checkpoint), key=lambda one: -one.length)

    def discard(self, checkpoint: Checkpoint) -> None:
        """Forget `checkpoint`."""
        self._kept = [one for one in self._kept if one is not checkpoint]


def plan_checkpoints(
    marks: Iterable[int],
    prompt_tokens: int,
    *,
    reused: int,
    latest: int = 0,
    parts: int = 0,
    spacing: int = _SPACING,
    back: int = _BACK,
) -> tuple[int, ...]:
    """Return at which lengths of a prompt checkpoints are to be made, the last one first.

    Args:
        marks: Where cache marks stand.
        prompt_tokens: Its length.
        reused: So many tokens are computed already; it is too late for a checkpoint of less.
        latest: Length of the longest checkpoint that there is; what follows it closely needs none.
        parts: Where it parts from another prompt: where two do, a third one may.
        spacing: Tokens; fewer are computed again in a moment.
        back: So many tokens before its end, and before it parts, a prompt is surely known again.
    """
    planned: list[int] = []
    gap = max(_GAP, prompt_tokens // _GAPS)
    for wanted in sorted({*marks, parts - back, prompt_tokens - back}):
        if wanted < latest + spacing or wanted >= prompt_tokens:
            continue
        planned.extend(range(latest + gap, wanted - spacing, gap))
        planned.append(wanted)
        latest = wanted
    return tuple(length for length in reversed(planned) if length > reused)


def _begins(prompt: array[int], tokens: array[int]) -> bool:
    length = len(tokens)
    return prompt[length - 1] == tokens[-1] and common_prefix(prompt, tokens, 0, length) == length
