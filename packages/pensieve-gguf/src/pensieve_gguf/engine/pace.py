"""How much prefill a step may hold beside answers that stream. Pure; learns what steps cost.

A step without prefill takes as long as the machine takes for one token of each answer: what its client would see if it
were alone. With prefill it may take `stretch` times as long, no more, unless nobody sees that: so the gap between two
tokens stays in proportion on every machine. Nobody streams: as much as the batch holds, unless that takes too long.

Above: the scheduler, which says what it computed and how long that took.
"""

from __future__ import annotations

__all__ = ["Pace"]

_MEMORY = 0.7
# Even when nobody streams a step ends in time for the next look at the mailbox, and for the watchdog.
_LONGEST_STEP_S = 10.0
_USUAL_S = 1e-3
_ROW_IN_TOKENS = 16  # what a lone row costs, until it was seen
# Text arrives in pieces of 33 ms anyhow (`courier`); on a CPU a few rows at a time cost twice as much as many.
_UNSEEN_S = 0.09
_SMALLEST_COST_S = 1e-9  # a clock may be too coarse to see a step


class Pace:
    """Budgets of prompt tokens.

    Args:
        batch_tokens: Rows of one step at most.
        stretch: How many times as long as without prefill a step may take while anyone streams; > 1.
    """

    def __init__(self, *, batch_tokens: int, stretch: float) -> None:
        self._batch_tokens = batch_tokens
        self._stretch = stretch
        self._decode_s: dict[int, float] = {}
        """Streaming rows → seconds of a step that holds nothing else."""
        self._prefill_s: float | None = None
        """Seconds that one prompt token adds to a step."""

    @property
    def prefill_s(self) -> float:
        """Seconds that one prompt token adds to a step; a guess, before there was one."""
        return _USUAL_S if self._prefill_s is None else self._prefill_s

    def budget(self, streaming: int) -> int:
        """Return how many prompt tokens fit beside `streaming` rows: one at least, if the batch has a row left."""
        room = self._batch_tokens - streaming
        if self._prefill_s is None:
            return room
        decode_s = self._decodes_s(streaming)
        longest_s = max(self._stretch * decode_s, _UNSEEN_S) if streaming else _LONGEST_STEP_S
        return min(room, max(1, int((longest_s - decode_s) / self._prefill_s)))

    def note(self, *, streaming: int, prefilled: int, elapsed_s: float) -> None:
        """Learn from a step of `streaming` rows and `prefilled` prompt tokens."""
        if prefilled:
            cost = max((elapsed_s - self._decodes_s(streaming)) / prefilled, _SMALLEST_COST_S)
            self._prefill_s = _blend(self._prefill_s, cost)
        elif streaming:
            self._decode_s[streaming] = _blend(self._decode_s.get(streaming), elapsed_s)

    def _decodes_s(self, streaming: int) -> float:
        """Return what a step of `streaming` rows costs, in seconds; of unseen numbers of rows the nearest is taken."""
        if not streaming:
            return 0.0
        if not self._decode_s:
            return _ROW_IN_TOKENS * self.prefill_s
        nearest = min(self._decode_s, key=lambda rows: abs(rows - streaming))
        return self._decode_s[nearest]


def _blend(before: float | None, now: float) -> float:
    return now if before is None else _MEMORY * before + (1 - _MEMORY) * now
