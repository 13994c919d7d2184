"""The memory that an engine takes, term by term: the sum, and how it is said to people. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pensieve_core import MemoryTerm

__all__ = ["said", "total_bytes"]

_GIB = 1 << 30


def total_bytes(terms: Iterable[MemoryTerm]) -> int:
    """Return the RAM that all terms take together, once each has grown to what it may become."""
    return sum(term.size_bytes for term in terms if not term.on_gpu)


def said(terms: Sequence[MemoryTerm]) -> str:
    """Return "weights 1.04 GiB + KV cache … = 1.60 GiB, and at most 0.50 GiB for …"."""
    taken = [term for term in terms if not term.at_most]
    growing = [term for term in terms if term.at_most]
    text = f"{' + '.join(map(_term, taken))} = {_gib(sum(term.size_bytes for term in taken))}"
    if growing:
        text += ", and at most " + " and ".join(f"{_gib(term.size_bytes)} for {term.name}" for term in growing)
    return text


def _term(term: MemoryTerm) -> str:
    return f"{term.name} {_gib(term.size_bytes)}{' on the GPU' if term.on_gpu else ''}"


def _gib(size_bytes: int) -> str:
    return f"{size_bytes / _GIB:.2f} GiB"
