"""What reached the model: the log of `plays` (tests/e2e/plugin), read back."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import attrs
import cattrs.preconf.json

__all__ = ["Asked", "read_requests"]

_converter = cattrs.preconf.json.make_converter()


@attrs.frozen(kw_only=True)
class Asked:
    """One request."""

    kind: Literal["turn", "title", "summary"]
    cue: str | None
    """The last words of a play that the user said."""
    results: int
    """Tools that have answered since."""
    session: str | None
    agent: str | None
    priority: int
    tools: tuple[str, ...]
    turns: tuple[tuple[str, str], ...]
    """Role and text of each; a turn of results has no text."""
    shown: tuple[tuple[bool, str], ...]
    """Every result: whether it is an error, and its text."""
    images: int

    def says(self, words: str) -> bool:
        """Some turn holds `words`."""
        return any(words in text for _, text in self.turns)


def read_requests(log: Path) -> tuple[Asked, ...]:
    """Return the requests so far, the first first."""
    lines = log.read_text("utf-8").splitlines() if log.exists() else []
    return tuple(_converter.loads(line, Asked) for line in lines)
