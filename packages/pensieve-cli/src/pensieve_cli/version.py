"""Which Pensieve this is."""

from __future__ import annotations

import importlib.metadata

__all__ = ["version"]


def version() -> str:
    """Return the version of the installed distribution; all seven packages have the same."""
    return importlib.metadata.version("pensieve-cli")
