"""How long the model may reason: from `thinking` and `output_config.effort` to core's `Thinking`. Pure.

Anthropic's models see for themselves how much reasoning a task is worth; a GGUF model that likes to reason does so
until it is stopped. So `adaptive` has a budget here, which grows with the effort, and leaves room for the answer.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final, assert_never

from pensieve_core import Effort, Thinking
from pensieve_protocol._requests import (
    AdaptiveThinking,
    BetweenToolsThinking,
    DisabledThinking,
    EnabledThinking,
    ThinkingConfig,
)

__all__ = ["thinking"]

_BUDGETS: Final[Mapping[Effort, int | None]] = {
    Effort.LOW: 0,
    Effort.MEDIUM: 2_048,
    Effort.HIGH: 8_192,
    Effort.XHIGH: 16_384,
    Effort.MAX: None,
}
"""In tokens. On two cores a small model says 25 of them in a second: 8,192 are five minutes and a half."""

_FOR_THE_ANSWER: Final = 4
"""One in so many of `max_tokens` is kept for what comes after adaptive reasoning."""


def thinking(config: ThinkingConfig | None, effort: str | None, max_tokens: int | None) -> Thinking:
    """Return the wish.

    Args:
        config: `thinking` of the request. None: a template does what it does by default.
        effort: `output_config.effort`; a level that is not known counts as none, and none as Anthropic's own: high.
        max_tokens: Of the request; None where nothing is generated.
    """
    level = Effort(effort) if effort in set(Effort) else None
    match config:
        case EnabledThinking(budget_tokens=budget):
            return Thinking(enabled=True, budget_tokens=budget, effort=level)
        case AdaptiveThinking():
            # Low effort: none at all, which is what "as you see fit" means there.
            enabled = level is not Effort.LOW
            return Thinking(enabled=enabled, budget_tokens=_adaptive_budget(level, max_tokens), effort=level)
        case DisabledThinking() | BetweenToolsThinking():
            return Thinking(budget_tokens=0, effort=level)
        case None:
            return Thinking(effort=level)
        case _:
            assert_never(config)


def _adaptive_budget(effort: Effort | None, max_tokens: int | None) -> int | None:
    room = None if max_tokens is None else max_tokens - max_tokens // _FOR_THE_ANSWER
    budgets = (_BUDGETS[effort or Effort.HIGH], room)
    return min((budget for budget in budgets if budget is not None), default=None)
