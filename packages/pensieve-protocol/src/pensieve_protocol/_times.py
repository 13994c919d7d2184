"""Points in time, as the wire has them."""

from __future__ import annotations

import datetime as dt

__all__ = ["rfc3339"]


def rfc3339(unix_seconds: float) -> str:
    """Return RFC 3339, UTC, in whole seconds."""
    return dt.datetime.fromtimestamp(int(unix_seconds), dt.UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
