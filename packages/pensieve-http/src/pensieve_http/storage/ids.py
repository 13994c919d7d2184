"""Ids that sort by age: a page's cursor is then a position, whether what it names is still there or not."""

from __future__ import annotations

import secrets

__all__ = ["next_id"]

_TIME_DIGITS = 12
"""Milliseconds of Unix time in hexadecimal digits: enough until the year 10889."""
_RANDOM_BYTES = 6


def next_id(prefix: str, now_s: float, last: str | None) -> str:
    """Return a fresh id that is greater than `last`, of the same prefix, even if the clock went back."""
    milliseconds = int(now_s * 1_000)
    if last is not None:
        start = len(prefix) + 1
        milliseconds = max(milliseconds, int(last[start : start + _TIME_DIGITS], 16) + 1)
    return f"{prefix}_{milliseconds:0{_TIME_DIGITS}x}{secrets.token_hex(_RANDOM_BYTES)}"
