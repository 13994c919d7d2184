"""What steps cost on this machine, measured once a model is loaded: the first prompt beside a stream needs to know.

It warms up, too: the weights are in memory, the threads and the GPU are awake before the first request. But a request
that is there already does not wait for it: it is alone, and what its own steps cost is learned as well.
"""

from __future__ import annotations

import itertools
from array import array
from collections.abc import Callable, Iterator

import attrs

from pensieve_gguf.llama import Context, Rows

__all__ = ["StepTime", "calibrate"]

_CHUNKS = (16, 128)
_ENOUGH_S = 0.05
"""After a chunk that took so long no larger one is tried: the model is being waited for."""
_SINGLE_ROWS = 2
_TOKEN = 0


@attrs.frozen(kw_only=True)
class StepTime:
    """How long a decode took."""

    streaming: int
    """Rows that computed a sampled token."""
    prefilled: int
    """Rows that computed a prompt's."""
    elapsed_s: float


def calibrate(
    context: Context, clock: Callable[[], float], wanted: Callable[[], bool] = lambda: True
) -> tuple[StepTime, ...]:
    """Decode a few tokens of no meaning in slot 0 of an empty context, and forget them.

    Args:
        context: Nobody else uses it.
        clock: Seconds.
        wanted: Asked before and after each decode; once it says no, nothing more is measured. The decode may be
            aborted then.
    """
    times = list(itertools.takewhile(lambda _: wanted(), _measured(_Run(context, clock)))) if wanted() else []
    context.clear()
    return tuple(times)


def _measured(run: _Run) -> Iterator[StepTime]:
    """Yield what single rows cost, and then what chunks do; the first decode only wakes the machine."""
    run.timed(1)
    for _ in range(_SINGLE_ROWS):
        yield StepTime(streaming=1, prefilled=0, elapsed_s=run.timed(1))
    for chunk in _CHUNKS:
        if not run.has_room(chunk):
            return
        elapsed_s = run.timed(chunk)
        yield StepTime(streaming=0, prefilled=chunk, elapsed_s=elapsed_s)
        if elapsed_s > _ENOUGH_S:
            return


@attrs.define
class _Run:
    context: Context
    clock: Callable[[], float]
    end: int = 0

    def has_room(self, tokens: int) -> bool:
        return tokens <= self.context.batch_tokens and self.end + tokens <= self.context.cells

    def timed(self, tokens: int) -> float:
        began = self.clock()
        ids = array("i", [_TOKEN]) * tokens
        self.context.decode([Rows(slot=0, start=self.end, tokens=ids, wants_logits=True)])
        self.end += tokens
        return self.clock() - began
