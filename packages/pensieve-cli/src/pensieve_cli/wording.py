"""Numbers as people read them; shared by the banner and the table of models."""

from __future__ import annotations

__all__ = ["counted", "megabytes"]


def megabytes(size_bytes: int) -> str:
    """Return "98 MB" or "1.1 GB": powers of ten, as files are labelled."""
    if size_bytes < 10**9:
        return f"{size_bytes / 10**6:.0f} MB"
    return f"{size_bytes / 10**9:.1f} GB"


def counted(count: int, noun: str) -> str:
    """Return "1 sequence" or "4 sequences"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"
