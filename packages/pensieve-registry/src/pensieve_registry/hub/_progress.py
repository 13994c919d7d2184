"""How far a pull is: what is told, and how fast it goes. Pure."""

from __future__ import annotations

from collections import deque
from typing import Literal, TypeAlias

import attrs

__all__ = ["Advanced", "Planned", "PullEvent", "Retrying", "Speed", "Verified", "Waiting"]

_WINDOW_S = 10.0


@attrs.frozen(kw_only=True)
class Planned:
    """What will be fetched; the first event."""

    type: Literal["planned"] = "planned"
    repository: str
    commit: str
    files: tuple[str, ...]
    total_bytes: int
    reason: str
    """Why this quantisation."""


@attrs.frozen(kw_only=True)
class Advanced:
    """Some more is here. Often: a listener that prints decides how often it looks."""

    type: Literal["advanced"] = "advanced"
    done_bytes: int
    """Of all files, what is here, fetched now or found. It falls when something has to be fetched again."""
    total_bytes: int
    fetched_bytes: int
    """What came through the network during this pull."""


@attrs.frozen(kw_only=True)
class Verified:
    """A file is whole, and its hash is the hub's."""

    type: Literal["verified"] = "verified"
    file: str
    sha256: str | None


@attrs.frozen(kw_only=True)
class Retrying:
    """The connection broke or the hub was busy; it goes on after a pause."""

    type: Literal["retrying"] = "retrying"
    file: str
    reason: str
    pause_s: float


@attrs.frozen(kw_only=True)
class Waiting:
    """Another program is fetching the same file; its result will be used."""

    type: Literal["waiting"] = "waiting"
    file: str


PullEvent: TypeAlias = Planned | Advanced | Verified | Retrying | Waiting


class Speed:
    """Bytes a second over the last ten seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def observe(self, now: float, fetched_bytes: int) -> None:
        """Note how many bytes there are at `now` (monotonic seconds)."""
        self._seen.append((now, fetched_bytes))
        while len(self._seen) > 2 and now - self._seen[0][0] > _WINDOW_S:  # noqa: PLR2004 - two make a rate
            self._seen.popleft()

    @property
    def bytes_per_s(self) -> float | None:
        """None: too early to say."""
        if not self._seen:
            return None
        (start, first), (end, last) = self._seen[0], self._seen[-1]
        return (last - first) / (end - start) if end > start else None

    def left_s(self, missing_bytes: int) -> float | None:
        """Return how long `missing_bytes` will take; None: nobody knows."""
        speed = self.bytes_per_s
        return missing_bytes / speed if speed else None
