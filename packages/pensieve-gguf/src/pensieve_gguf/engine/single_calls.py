"""Small models call one tool at a time. Pure.

What a call brings decides what comes next, and a small model does not wait for it: in the same answer it reads a file
and edits what it believes to stand there, which fails, and then does so again, word for word (seen with
Qwen2.5-Coder-1.5B under Claude Code, until its time was over). So the answer ends with its first call. Whoever demands
calls (`tool_choice` any or tool) gets as many as are allowed. Above: the engine.
"""

from __future__ import annotations

from typing import Final

import attrs

from pensieve_core import GenerationRequest, ToolChoiceMode

__all__ = ["paced"]

_SMALL: Final = 4_000_000_000


def paced(request: GenerationRequest, parameters: int | None) -> GenerationRequest:
    """Return `request`, for a model of so many `parameters`; where these are not known, it is taken for a large one."""
    if parameters is None or parameters >= _SMALL or request.tool_choice.mode is not ToolChoiceMode.AUTO:
        return request
    return attrs.evolve(request, tool_choice=attrs.evolve(request.tool_choice, parallel=False))
