"""Counters and signs of life of one engine thread."""

from __future__ import annotations

import attrs

__all__ = ["Vitals"]


@attrs.define(kw_only=True)
class Vitals:
    """Written by the engine thread, read by anyone."""

    decodes: int = 0
    tokens_prefilled: int = 0
    tokens_sampled: int = 0
    evictions: int = 0
    preemptions: int = 0
    shelved: int = 0
    """Prefixes that went from the KV cache to RAM."""
    restored: int = 0
    """Prefixes that came back from there."""
    empty_turns_refused: int = 0
    repeated_calls_refused: int = 0
    tokens_refused: int = 0
    """Sampled, and not admitted by a constraint: drawn once more."""
    constraints_failed: int = 0
    """Answers that are not what was demanded of them, though the model ended them itself."""
    decoding_since: float | None = None
    """When the running decode began, on the loop's clock; None between decodes."""
