"""What a cell of an idle prefix is worth: what it costs to compute it again, times how likely that is to be needed.

The figures were fitted to one half of a sample of real traffic and judged by the other half: `docs/benchmarks`.
Above: `residents`, which evicts what is worth least. Below: the runs of the tree.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TypeAlias

import attrs

from pensieve_core import Priority
from pensieve_gguf.engine.tree import Run

__all__ = ["Appraisal", "Worth"]

Appraisal: TypeAlias = Callable[[Run, float], float]
"""(run, now) → what one cell at its end is worth; more is kept longer. Only the order counts."""

_LIKELIHOOD: Mapping[Priority, float] = {
    Priority.MAIN: 1.0,
    Priority.AGENT: 0.5,
    Priority.BACKGROUND: 0.02,
    Priority.BATCH: 0.02,
}
"""A title or a suggestion asks once; an agent ends, and a conversation goes on."""


@attrs.frozen(kw_only=True)
class Worth:
    """Recompute cost times likelihood of reuse: by depth, by how long ago, by whom."""

    attention_doubles_at: float = 10_000.0
    """Tokens before a cell that make it twice as dear as the first (80 → 40 tokens/s on two cores, 1.5B)."""
    patience_s: float = 60.0
    """Unused for so long, a run is half as likely to be used again: pauses between turns have a heavy tail."""
    left: float = 0.02
    """How likely a conversation comes back to what it has left behind, against its going on."""
    marked: float = 4.0
    """How much likelier a prefix up to a cache mark is to be used again than what follows it."""

    def __call__(self, run: Run, now: float) -> float:
        """Appraise the last cell of `run`."""
        cost = 1.0 + run.stop / self.attention_doubles_at
        age_s = max(0.0, now - run.use.at)
        likelihood = _LIKELIHOOD[run.use.priority] / (1.0 + age_s / self.patience_s)
        return cost * likelihood * (self.left if run.left else 1.0) * (self.marked if run.marked else 1.0)
