"""Whether two greedy answers are the same, and whether they had a reason to part. Pure.

They need not be the same: llama.cpp's sums depend on the shape of the batch that a token is computed in and on the
cells that it looks over, so reuse, chunks and company move logits, and where two tokens are nearly equally likely the
other one may win. With SmolLM2 in Q4_1 the logits after a prompt of 639 tokens, which llama.cpp alone computed in other
chunks, moved by up to 1.04 (measured). So an answer that parts is read by the model once more, in a context of its own:
where one of its tokens is further below the likeliest than that, it is wrong. Where they part is not enough: an answer
on a lost prefix may begin at a near tie, too (seen).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeAlias

import attrs
from prompts import first_difference

__all__ = ["NEAR_TIE", "Agreement", "Judge", "agreement", "agreements", "summary"]

NEAR_TIE = 1.0
"""Logits."""

Judge: TypeAlias = Callable[[Sequence[int], Sequence[int]], float]
"""(prompt, answer) → how many logits the answer's unlikeliest token is below the likeliest in its place."""


@attrs.frozen(kw_only=True)
class Agreement:
    """Two answers side by side."""

    length: int
    """Tokens of the first answer."""
    parts_at: int | None = None
    """The first token that differs; None: there is none."""
    shortfall: float = 0.0
    """How many logits the other answer's worst token is below the likeliest in its place."""

    @property
    def identical(self) -> bool:
        """Whether they are the same."""
        return self.parts_at is None

    @property
    def excused(self) -> bool:
        """Whether they are the same, or the other one took nothing but near ties."""
        return self.shortfall <= NEAR_TIE

    @property
    def words(self) -> str:
        """For a table."""
        if self.parts_at is None:
            return "same"
        return f"parts at token {self.parts_at} of {self.length}, short by {self.shortfall:.2f}"


def agreement(prompt: Sequence[int], answer: Sequence[int], other: Sequence[int], judge: Judge) -> Agreement:
    """Compare two answers to one prompt, all in tokens; `judge` is asked of `other` when it differs."""
    at = first_difference(answer, other)
    if at is None:
        return Agreement(length=len(answer))
    return Agreement(length=len(answer), parts_at=at, shortfall=judge(prompt, other))


def agreements(
    prompts: Sequence[Sequence[int]], answers: Sequence[Sequence[int]], others: Sequence[Sequence[int]], judge: Judge
) -> tuple[Agreement, ...]:
    """Compare answers pair by pair."""
    return tuple(agreement(*trio, judge) for trio in zip(prompts, answers, others, strict=True))


def summary(found: Sequence[Agreement]) -> str:
    """Say how many are the same, how many are excused, and how far the worst is off."""
    same = sum(one.identical for one in found)
    ties = sum(one.excused for one in found) - same
    worst = max((one.shortfall for one in found), default=0.0)
    return f"{same} of {len(found)} the same, {ties} took near ties only; largest shortfall {worst:.2f} logits"
