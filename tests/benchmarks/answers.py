"""Whether two greedy answers are the same, and whether they had a reason to part. Pure.

They need not be the same: llama.cpp's sums depend on the shape of the batch that a token is computed in and on the
cells that it looks over, so reuse, chunks and company move logits, and where two tokens are nearly equally likely the
other one may win. With SmolLM2 in Q4_1 the logits after a prompt of 639 tokens, which llama.cpp alone computed in other
chunks, moved by up to 1.04 (measured). An answer that parts where the two tokens are further apart than that is wrong.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs
from prompts import first_difference

__all__ = ["NEAR_TIE", "Agreement", "Margin", "agreement", "agreements", "summary"]

NEAR_TIE = 1.0
"""Logits."""

Margin: TypeAlias = Callable[[Sequence[int], int | None, int | None], float]
"""(what both answers begin with, one's next token, the other's) → how many logits the first is ahead. None: the end."""


@attrs.frozen(kw_only=True)
class Agreement:
    """Two answers side by side."""

    length: int
    """Tokens of the first answer."""
    parts_at: int | None = None
    """The first token that differs; None: there is none."""
    margin: float = 0.0
    """How many logits the first answer's token is ahead there."""

    @property
    def identical(self) -> bool:
        """Whether they are the same."""
        return self.parts_at is None

    @property
    def excused(self) -> bool:
        """Whether they are the same, or part at a near tie."""
        return abs(self.margin) <= NEAR_TIE

    @property
    def words(self) -> str:
        """For a table."""
        if self.parts_at is None:
            return "same"
        return f"parts at token {self.parts_at} of {self.length}, margin {self.margin:.2f}"


def agreement(answer: Sequence[int], other: Sequence[int], margin: Margin) -> Agreement:
    """Compare two answers, token by token."""
    at = first_difference(answer, other)
    if at is None:
        return Agreement(length=len(answer))
    one, two = (tokens[at] if at < len(tokens) else None for tokens in (answer, other))
    return Agreement(length=len(answer), parts_at=at, margin=margin(answer[:at], one, two))


def agreements(
    answers: Sequence[Sequence[int]], others: Sequence[Sequence[int]], prompts: Sequence[Sequence[int]], margin: Margin
) -> tuple[Agreement, ...]:
    """Compare answers to `prompts`, pair by pair, all in tokens; `margin` is asked after prompt and answer so far."""
    return tuple(
        agreement(one, other, functools.partial(_after, prompt, margin))
        for one, other, prompt in zip(answers, others, prompts, strict=True)
    )


def _after(prompt: Sequence[int], margin: Margin, begun: Sequence[int], one: int | None, other: int | None) -> float:
    return margin([*prompt, *begun], one, other)


def summary(agreements: Sequence[Agreement]) -> str:
    """Say how many are the same, how many are excused, and how far the worst is off."""
    same = sum(one.identical for one in agreements)
    ties = sum(one.excused for one in agreements) - same
    worst = max((abs(one.margin) for one in agreements), default=0.0)
    return f"{same} of {len(agreements)} the same, {ties} part at a near tie; largest margin {worst:.2f} logits"
