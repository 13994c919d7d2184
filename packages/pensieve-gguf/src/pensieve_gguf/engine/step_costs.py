"""What a decode costs by the number of its rows, and what one of the draft model does, relative to one row. Pure.

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
# A GPU computes so many tokens of a prompt in the time of one that is sampled, and more. That is too good for a CPU,
# but a first try is short.
_PREFILLED = 16
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

    @property
    def guess(self) -> float:
        """How long a step of the draft model takes."""
        ...

    @property
    def catch_up(self) -> float:
        """How long the draft model takes for a token that is known already."""
        ...

    def note(self, rows: int, cost: float) -> None:
        """Learn from a step of `rows` that took `cost` times as long as one of a single row."""
        ...

    def note_guess(self, cost: float) -> None:
        """Learn that a step of the draft model took so long."""
        ...

    def note_catch_up(self, cost: float) -> None:
        """Learn that the draft model took so long for a known token."""
        ...


class GivenCosts:
    """Costs that were measured before: for figures and tests.

    Args:
        measured: Rows → seconds; a single row and another number among them.
        guess: Of a step of the draft model, relative to a single row.
        catch_up: Of a token that the draft model catches up with, likewise.
    """

    def __init__(self, measured: Mapping[int, float], *, guess: float = 0.0, catch_up: float = 0.0) -> None:
        self.guess, self.catch_up = guess, catch_up
        self._points = sorted((rows, seconds / measured[1]) for rows, seconds in measured.items())
        self.widest = self._points[-1][0]

    def of(self, rows: int) -> float:
        """See `StepCosts`."""
        return _on_the_line(self._points, rows)

    def note(self, rows: int, cost: float) -> None:
        """Learn nothing."""

    def note_guess(self, cost: float) -> None:
        """Learn nothing."""

    def note_catch_up(self, cost: float) -> None:
        """Learn nothing."""


@attrs.define
class _Reading:
    cost: float
    age: int = 0
    """Steps since it was last refreshed."""


class LearnedCosts:
    """Costs as they are seen. What was not seen for long is forgotten, so that it is tried again.

    Args:
        guess: What a step of the draft model is taken to cost until one was seen: its part of the model's weights, for
            a decode waits for these.
    """

    def __init__(self, guess: float = 1.0) -> None:
        self._readings: dict[int, _Reading] = {}
        self._first_guess = guess
        self._guess: _Reading | None = None
        self._catch_up: _Reading | None = None

    @property
    def widest(self) -> int:
        """Twice what is known."""
        return max(_FIRST_TRY, 2 * max(self._readings, default=0))

    @property
    def guess(self) -> float:
        """See `StepCosts`."""
        return self._first_guess if self._guess is None else self._guess.cost

    @property
    def catch_up(self) -> float:
        """See `StepCosts`."""
        return self.guess / _PREFILLED if self._catch_up is None else self._catch_up.cost

    def of(self, rows: int) -> float:
        """See `StepCosts`; on straight lines between the known widths, and beyond the last."""
        known = sorted((width, reading.cost) for width, reading in self._readings.items())
        return _on_the_line([(1, 1.0), *known] if known else _GUESS, rows)

    def note(self, rows: int, cost: float) -> None:
        """See `StepCosts`."""
        if rows == 1 and not (self._readings or self._guess or self._catch_up):
            return  # as nearly always
        self._grow_older()
        if rows > 1:
            self._readings[rows] = _blend(self._readings.get(rows), cost)

    def note_guess(self, cost: float) -> None:
        """See `StepCosts`."""
        self._guess = _blend(self._guess, cost)

    def note_catch_up(self, cost: float) -> None:
        """See `StepCosts`."""
        self._catch_up = _blend(self._catch_up, cost)

    def _grow_older(self) -> None:
        self._readings = {width: older for width, one in self._readings.items() if (older := _older(one)) is not None}
        self._guess, self._catch_up = _older(self._guess), _older(self._catch_up)


def _older(reading: _Reading | None) -> _Reading | None:
    """Return `reading` a step later; None: there is none any more."""
    if reading is None or reading.age + 1 >= _REMEMBERED_STEPS:
        return None
    return _Reading(reading.cost, reading.age + 1)


def _blend(before: _Reading | None, cost: float) -> _Reading:
    return _Reading(cost if before is None else _MEMORY * before.cost + (1 - _MEMORY) * cost)


def _on_the_line(points: Sequence[tuple[int, float]], rows: int) -> float:
    """Return the cost at `rows`, between two of `points`, or beyond the last two of them; never less than one row's."""
    (left, low), (right, high) = next(((a, b) for a, b in pairwise(points) if rows <= b[0]), (points[-2], points[-1]))
    return max(1.0, low + (high - low) * (rows - left) / (right - left))
