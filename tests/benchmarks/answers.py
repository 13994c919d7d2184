"""Whether two greedy answers are the same, and where they part. Pure.

They need not be: llama.cpp's sums depend on the shape of the batch that a token is computed in, so reuse, chunks and
company move logits in the last digits, and where two tokens are nearly equally likely the other one may win.
"""

from __future__ import annotations

from collections.abc import Sequence

import attrs
from prompts import first_difference

__all__ = ["Agreement", "agreement"]


@attrs.frozen(kw_only=True)
class Agreement:
    """Two answers side by side."""

    parts_at: int | None
    """The first token that differs; None: there is none."""
    length: int
    """Tokens of the first answer."""

    @property
    def identical(self) -> bool:
        """Whether they are the same."""
        return self.parts_at is None

    @property
    def words(self) -> str:
        """For a table."""
        return "same" if self.parts_at is None else f"differs at token {self.parts_at} of {self.length}"


def agreement(answer: Sequence[int], other: Sequence[int]) -> Agreement:
    """Compare two answers, token by token."""
    return Agreement(parts_at=first_difference(answer, other), length=len(answer))
