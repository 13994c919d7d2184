"""What steps cost on this machine, measured once a model is loaded: the first prompt beside a stream needs to know.

It warms up, too: the weights are in memory, the threads and the GPU are awake before the first request.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable

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


def calibrate(context: Context, clock: Callable[[], float]) -> tuple[StepTime, ...]:
    """Decode a few tokens of no meaning in slot 0 of an empty context, and forget them."""
    run = _Run(context, clock)
    run.timed(1)
    times: list[StepTime] = []
    for chunk in _CHUNKS:
        if chunk <= context.batch_tokens and run.end + chunk + _SINGLE_ROWS <= context.cells:
            times.append(StepTime(streaming=0, prefilled=chunk, elapsed_s=run.timed(chunk)))
        if times and times[-1].elapsed_s > _ENOUGH_S:
            break
    times += [StepTime(streaming=1, prefilled=0, elapsed_s=run.timed(1)) for _ in range(_SINGLE_ROWS)]
    context.clear()
    return tuple(times)


@attrs.define
class _Run:
    context: Context
    clock: Callable[[], float]
    end: int = 0

    def timed(self, tokens: int) -> float:
        began = self.clock()
        ids = array("i", [_TOKEN]) * tokens
        self.context.decode([Rows(slot=0, start=self.end, tokens=ids, wants_logits=True)])
        self.end += tokens
        return self.clock() - began
