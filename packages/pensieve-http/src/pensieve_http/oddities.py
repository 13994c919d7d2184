"""What clients send that nobody here knows: said once in the log, and not with each of their requests.

A machine. Above: the intake. Names come from outside: they are cut, and there is an end to how many are remembered.
"""

from __future__ import annotations

from collections.abc import Iterable

from structlog.typing import FilteringBoundLogger

__all__ = ["Oddities"]

_LONGEST = 80
_MOST = 1_000


class Oddities:
    """Remembers what it has said.

    Args:
        log: Where it is said.
    """

    def __init__(self, log: FilteringBoundLogger) -> None:
        self._log = log
        self._said: set[tuple[str, str]] = set()

    def note(self, kind: str, names: Iterable[str]) -> None:
        """Say that these names, of a `kind` (`field`, `beta`), are ignored, unless it was said."""
        for name in names:
            one = (kind, name[:_LONGEST])
            if one not in self._said and len(self._said) < _MOST:
                self._said.add(one)
                self._log.info("unknown_ignored", kind=kind, name=one[1])
