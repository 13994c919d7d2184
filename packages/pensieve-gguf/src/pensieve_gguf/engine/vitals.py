"""Counters and signs of life of one engine thread."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import attrs

__all__ = ["GuessFigures", "Vitals"]


@attrs.define(kw_only=True)
class GuessFigures:
    """What a draft model has computed."""

    steps: int = 0
    """Decodes that each guessed a token, for one sequence or several."""
    prefilled: int = 0
    """Known tokens, to catch up."""
    astray: int = 0
    """Sequences that were not in its cache as they should have been: a bug, found before it could cost guesses."""


@attrs.define(kw_only=True)
class Vitals:
    """Written by the engine thread, read by anyone."""

    decodes: int = 0
    tokens_prefilled: int = 0
    tokens_sampled: int = 0
    decode_steps: int = 0
    """Steps in which a sequence answered, for each of them. Without drafts every one brings a token."""
    tokens_drafted: int = 0
    """Guessed tokens that were computed…"""
    drafts_accepted: int = 0
    """… and those of them that were then sampled."""
    guesses_drafted: int = 0
    """Of the tokens drafted, those that the draft model guessed…"""
    guesses_accepted: int = 0
    """… and those of them that were then sampled."""
    guesser: GuessFigures = attrs.field(factory=GuessFigures)
    evictions: int = 0
    preemptions: int = 0
    shelved: int = 0
    """Prefixes that went from the KV cache to RAM."""
    restored: int = 0
    """Prefixes that came back from there."""
    checkpoints: int = 0
    """Of models that cannot be cut back: how often a way back was kept…"""
    rewound: int = 0
    """… and how often it was taken."""
    anchors_saved: int = 0
    """Prefixes that were handed over to be written to the disk."""
    anchors_read: int = 0
    astray: int = 0
    """Prefixes that were not in the cache as they should have been: a bug, found before it could do harm."""
    resets: int = 0
    """How often everything was forgotten because what was known of the cache contradicted itself: a bug, likewise."""
    empty_turns_refused: int = 0
    repeated_calls_refused: int = 0
    broken_calls_refused: int = 0
    """Calls that could not be read, taken back and demanded once more."""
    tokens_refused: int = 0
    """Sampled, and not admitted by a constraint: drawn once more."""
    constraints_failed: int = 0
    """Answers that are not what was demanded of them, though the model ended them itself."""
    decoding_since: float | None = None
    """When the running decode, or whatever else native code does, began, on the loop's clock; None in between."""

    @contextlib.contextmanager
    def decoding(self, since: float) -> Iterator[None]:
        """Let it be seen that native code may be running: a process in which it hangs is ended from outside."""
        self.decoding_since = since
        try:
            yield
        finally:
            self.decoding_since = None
