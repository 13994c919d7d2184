"""Amounts of memory, as people write them."""

from __future__ import annotations

import re
from collections.abc import Sequence

from cyclopts import Token

__all__ = ["parse_size", "read_size"]

_SIZE = re.compile(r"\s*(\d+(?:\.\d+)?)\s*(?:([kmgt])(i?))?b?\s*", re.IGNORECASE)
_POWERS = {"k": 1, "m": 2, "g": 3, "t": 4}


def parse_size(text: str) -> int:
    """Return the bytes of "8GB" (8,000,000,000), "8GiB" (8,589,934,592), "512M" or "1000".

    Raises:
        ValueError: it is none of these.
    """
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f"expected an amount of memory like 8GB or 7.5GiB, got {text!r}")
    number, unit, binary = found.groups()
    return int(float(number) * (1_024 if binary else 1_000) ** _POWERS.get((unit or "").lower(), 0))


def read_size(_type: object, tokens: Sequence[Token]) -> int:
    """Return the bytes that a flag, a variable or a line of the settings file says: cyclopts's converter."""
    return parse_size(tokens[0].value)
