"""How each template is told whether its model should reason, and how hard.

A table of the variables that templates read, each with what a request's wish means in its terms. A variable that a
template does not mention is not set; where two are mentioned, both are. Pure; of a template it knows the text alone.
Above: `_template` renders with them.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final, TypeAlias

from pensieve_core import Effort, Thinking

__all__ = ["thinking_variables", "thinking_words"]

_Meaning: TypeAlias = Callable[[str, Thinking], object]
"""From a template's text and a wish to a variable's value; None: the template's own default will do."""

_LEVELS: Final = {
    Effort.LOW: ("low",),
    Effort.MEDIUM: ("medium", "high"),
    Effort.HIGH: ("high",),
    Effort.XHIGH: ("max", "high"),
    Effort.MAX: ("max", "high"),
}
"""What a level may be called, the best first; the last is known to all."""
_OFF: Final = ("no_think", "none", "minimal")
"""What the absence of reasoning may be called; where it has no name, it is the lowest level."""


def thinking_variables(source: str, thinking: Thinking) -> dict[str, object]:
    """Return what a template with this text is given so that its model reasons as `thinking` asks for."""
    meanings = {name: meaning(source, thinking) for name, meaning in _VARIABLES.items() if name in source}
    return {name: value for name, value in meanings.items() if value is not None}


def thinking_words(source: str, thinking: Thinking) -> str:
    """Return what is to stand in the system text instead, for templates that look for it there; else nothing.

    Qwen3 understands these words, too, but its template has a variable.
    """
    if "/no_think" not in source or _READS_VARIABLE.search(source):
        return ""
    return "/think" if thinking.enabled else "/no_think"


_READS_VARIABLE: Final = re.compile(r"(?<![.\w])enable_thinking\b(?!\s*=[^=])")
"""An attribute of that name, or an argument, is the template's own."""


def _enabled(_source: str, thinking: Thinking) -> bool:
    return thinking.enabled


def _level(source: str, thinking: Thinking) -> str | None:
    off = [word for word in _OFF if _names(source, word)]
    if not thinking.enabled:
        return (*off, "low")[0]
    if thinking.effort is None:
        # Who can be told not to reason may not do it unless told.
        return "high" if off else None
    levels = _LEVELS[thinking.effort]
    return next((level for level in levels if _names(source, level)), levels[-1])


def _names(source: str, word: str) -> bool:
    """Tell whether a template has `word` in quotes."""
    return f"'{word}'" in source or f'"{word}"' in source


def _budget(_source: str, thinking: Thinking) -> int | None:
    return thinking.budget_tokens if thinking.enabled else 0


def _mode(_source: str, thinking: Thinking) -> str:
    return "enabled" if thinking.enabled else "disabled"


_VARIABLES: Final[dict[str, _Meaning]] = {
    "enable_thinking": _enabled,  # Qwen3, GLM, Gemma, SmolLM3, Nemotron 3
    "thinking": _enabled,  # DeepSeek V3.1 and later, Granite, Kimi K3
    "reasoning_effort": _level,  # gpt-oss, Hunyuan, Cohere, Solar, DeepSeek V4
    "thinking_effort": _level,  # Kimi K3
    "thinking_budget": _budget,  # Seed-OSS
    "thinking_mode": _mode,  # MiniMax M3
}
