"""What a step takes on a machine that is not there: linear in the tokens, and in what they attend to."""

from __future__ import annotations

import attrs

from pensieve_gguf.engine.steps import Step

__all__ = ["Machine"]


@attrs.frozen(kw_only=True)
class Machine:
    """Rates in tokens/s. The defaults were measured with a 1.5B model on two cores."""

    prefill_start: float = 80.0
    """At the start of a prompt."""
    prefill_later: float = 36.0
    """By token `later`."""
    later: int = 12_000
    decode: float = 25.0
    """At the start; on so few cores n rows take n times as long as one."""

    def seconds(self, step: Step) -> float:
        """Return how long `step` takes."""
        attention = (1 / self.prefill_later - 1 / self.prefill_start) / self.later
        total = 0.0
        for row in step.rows:
            tokens = row.stop - row.start
            first = 1 / (self.decode if row.sequence.answering else self.prefill_start)
            total += tokens * (first + attention * (row.start + row.stop) / 2)
        return total
