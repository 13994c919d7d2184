"""What an upstream's refusals mean to whoever asked us, in either dialect. Pure.

The statuses are HTTP's and the same everywhere; that a prompt is too long is told in words alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from pensieve_core import (
    EngineFailedError,
    OverloadedError,
    PensieveError,
    PromptTooLongError,
    RequestRefusedError,
)

__all__ = ["failure", "refusal"]

_TOO_LONG = tuple(
    re.compile(pattern)
    for pattern in (
        r"prompt is too long: (?P<prompt>\d+) tokens > (?P<most>\d+) maximum",  # Anthropic, Pensieve
        r"maximum context length is (?P<most>\d+) tokens\D+(?P<prompt>\d+)",  # OpenAI, vLLM
        r"\((?P<prompt>\d+) tokens\) exceeds the available context size \((?P<most>\d+) tokens\)",  # llama-server
    )
)
_LONGEST_WAIT_S = 60
_REFUSED = frozenset({400, 413, 422})
_BUSY = frozenset({429, 503, 529})
_BUSY_TYPES = frozenset({"overloaded_error", "rate_limit_error"})


def refusal(status: int, message: str, retry_after: str = "") -> PensieveError:
    """Return what a status other than 200 means. `retry_after`: the header's value."""
    for pattern in _TOO_LONG:
        found = pattern.search(message)
        if found and int(found["prompt"]) > int(found["most"]):
            return PromptTooLongError(int(found["prompt"]), int(found["most"]))
    if status in _REFUSED:
        return RequestRefusedError(f"the upstream refuses: {message}")
    if status in _BUSY:
        wait = min(int(retry_after), _LONGEST_WAIT_S) if retry_after.isdecimal() else 5
        return OverloadedError(f"the upstream is busy: {message}", wait)
    return EngineFailedError(f"the upstream answered {status}: {message}")


def failure(error: Mapping[str, Any]) -> PensieveError:
    """Return what an error in the middle of a stream means."""
    message = f"the upstream: {error.get('message')}"
    return OverloadedError(message) if error.get("type") in _BUSY_TYPES else EngineFailedError(message)
