"""Numbers as people read them, and what several commands say in the same words."""

from __future__ import annotations

__all__ = ["FIRST_MODEL", "bar", "counted", "duration", "lately", "megabytes", "soon"]

FIRST_MODEL = (
    "pensieve-server pull fetches one that suits this machine; or put a GGUF file into the folder models/, or name one"
    " with --model FILE"
)
"""What to do where there is no model."""

_BAR_WIDTH = 24
_MINUTE_S, _HOUR_S, _DAY_S = 60, 3_600, 86_400


def megabytes(size_bytes: int) -> str:
    """Return "98 MB" or "1.1 GB": powers of ten, as files are labelled."""
    if size_bytes < 10**9:
        return f"{size_bytes / 10**6:.0f} MB"
    return f"{size_bytes / 10**9:.1f} GB"


def bar(share: float) -> str:
    """Return "[######------------------]  25%": how much of something is done, 0 to 1."""
    return f"[{'#' * int(share * _BAR_WIDTH):-<{_BAR_WIDTH}}] {share:4.0%}"


def counted(count: int, noun: str) -> str:
    """Return "1 sequence" or "4 sequences"."""
    return f"{count:,} {noun}" if count == 1 else f"{count:,} {noun}s"


def lately(seconds: float) -> str:
    """Return how long ago something was: "now", "5 min ago", "3 h ago" or "12 days ago"."""
    if seconds < _MINUTE_S:
        return "now"
    if seconds < _HOUR_S:
        return f"{seconds // _MINUTE_S:.0f} min ago"
    if seconds < 2 * _DAY_S:
        return f"{seconds // _HOUR_S:.0f} h ago"
    return f"{seconds // _DAY_S:.0f} days ago"


def duration(seconds: float) -> str:
    """Return "12 s", "2 min 30 s" or "3 h 5 min"."""
    whole = int(seconds)
    if whole < _MINUTE_S:
        return f"{whole} s"
    if whole < _HOUR_S:
        return f"{whole // _MINUTE_S} min {whole % _MINUTE_S} s"
    return f"{whole // _HOUR_S} h {whole % _HOUR_S // _MINUTE_S} min"


def soon(seconds: float) -> str:
    """Return when something will be: "now", "in 5 min", "in 3 h" or "in 12 days"."""
    said = lately(max(0.0, seconds))
    return said if said == "now" else f"in {said.removesuffix(' ago')}"
