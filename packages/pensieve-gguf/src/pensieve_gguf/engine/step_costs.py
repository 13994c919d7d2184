"""What a decode costs by the number of its rows, relative to one row. Pure.

On a GPU eight rows take about as long as one, for all wait for the same weights; on a CPU several times as long. That
decides whether drafts pay.

Above: the drafts. It knows neither tokens nor sequences.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from typing import Protocol

import attrs

__all__ = ["GivenCosts", "LearnedCosts", "StepCosts"]

_FIRST_TRY = 2  # where drafts do not pay it costs a step, and less if the guess was right
# Until a wider step was seen: half a step for a further row. So it is tried where half of the guesses are right.
_GUESS = ((1, 1.0), (3, 2.0))
_REMEMBERED_STEPS = 1_024
_MEMORY = 0.7


class StepCosts(Protocol):
    """Relative costs of decodes."""

    @property
    def widest(self) -> int:
        """Rows of the widest step that may be tried."""
        ...

    def of(self, rows: int) -> float:
        """Return how long a step of `rows` takes; a single row takes 1."""
        ...

    def note(self, rows: int, cost: float) -> None:
        """Learn from a step of `rows` that took `cost` times as long as one of a single row."""
        ...


class GivenCosts:
    """Costs that were measured before: for figures and tests.

    Args:
        measured: Rows → seconds; a single row and another number among them.
    """

    def __init__(self, measured: Mapping[int, float]) -> None:
        self._points = sorted((rows, seconds / measured[1]) for rows, seconds in measured.items())
        self.widest = self._points[-1][0]

    def of(self, rows: int) -> float:
        """See `StepCosts`."""
        return _on_the_line(self._points, rows)

    def note(self, rows: int, cost: float) -> None:
        """Learn nothing."""


@attrs.define
class _Reading:
    cost: float
    age: int = 0
    """Steps since it was last refreshed."""


class LearnedCosts:
    """Costs as they are seen. What was not seen for long is forgotten, so that it is tried again."""

    def __init__(self) -> None:
        self._readings: dict[int, _Reading] = {}

    @property
    def widest(self) -> int:
        """Twice what is known."""
        return max(_FIRST_TRY, 2 * max(self._readings, default=0))

    def of(self, rows: int) -> float:
        """See `StepCosts`; on straight lines between the known widths, and beyond the last."""
        known = sorted((width, reading.cost) for width, reading in self._readings.items())
        return _on_the_line([(1, 1.0), *known] if known else _GUESS, rows)

    def note(self, rows: int, cost: float) -> None:
        """See `StepCosts`."""
        if rows == 1 and not self._readings:
            return  # as nearly always
        for reading in self._readings.values():
            reading.age += 1
        if rows > 1:
            before = self._readings.get(rows)
            settled = cost if before is None else _MEMORY * before.cost + (1 - _MEMORY) * cost
            self._readings[rows] = _Reading(settled)
        self._readings = {width: one for width, one in self._readings.items() if one.age < _REMEMBERED_STEPS}


def _on_the_line(points: Sequence[tuple[int, float]], rows: int) -> float:
    """Return the cost at `rows`, between two of `points`, or beyond the last two of them; never less than one row's."""
    (left, low), (right, high) = next(((a, b) for a, b in pairwise(points) if rows <= b[0]), (points[-2], points[-1]))
    return max(1.0, low + (high - low) * (rows - left) / (right - left))
