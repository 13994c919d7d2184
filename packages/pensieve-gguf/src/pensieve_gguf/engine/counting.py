"""What a step adds to the counters. Above: the loop, once it has sampled."""

from __future__ import annotations

from collections.abc import Sequence as Several

from pensieve_gguf.engine.steps import Row, Step
from pensieve_gguf.engine.vitals import Vitals

__all__ = ["count_step"]


def count_step(vitals: Vitals, step: Step, sampled: Several[int]) -> None:
    """Count a step that was decoded; `sampled`: how many tokens were drawn after each of its rows."""
    vitals.decodes += 1
    for row, tokens in zip(step.rows, sampled, strict=True):
        _count_row(vitals, row, tokens)


def _count_row(vitals: Vitals, row: Row, sampled: int) -> None:
    accepted = max(0, sampled - 1)
    vitals.tokens_sampled += sampled
    vitals.tokens_drafted += len(row.draft)
    vitals.drafts_accepted += accepted
    if row.by_model:
        vitals.guesses_drafted += len(row.draft)
        vitals.guesses_accepted += accepted
    if row.sequence.answering:
        vitals.decode_steps += 1
    else:
        vitals.tokens_prefilled += row.stop - row.start
