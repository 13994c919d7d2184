"""When a silent stream has to say something, and what.

Claude Code 2.1.197, at its default settings, hangs up on a stream after 300 s without content, however many pings
come; an empty delta every 10 s keeps it waiting (design 4, tried). So pings for the short waits, and once a wait
is long, `MessageStream.keep_alive`. A machine; time is passed in.
"""

from __future__ import annotations

import enum

__all__ = ["Sign", "SignsOfLife"]


class Sign(enum.Enum):
    """What to say."""

    PING = "ping"
    KEEP_ALIVE = "keep_alive"


class SignsOfLife:
    """Watches how long a stream has been silent.

    Args:
        now:
            When the waiting began, on the monotonic clock.
        interval_s:
            The longest silence.
        keep_alive_after_s:
            The longest wait without content in which pings will do.
    """

    def __init__(self, now: float, *, interval_s: float, keep_alive_after_s: float) -> None:
        self._interval_s = interval_s
        self._keep_alive_after_s = keep_alive_after_s
        self._last_word = now
        self._last_content = now

    @property
    def due_at(self) -> float:
        """When the next sign is due, unless something is written before."""
        return self._last_word + self._interval_s

    def due(self, now: float) -> Sign | None:
        """Return the sign that is due at `now`."""
        if now < self.due_at:
            return None
        return Sign.PING if now - self._last_content < self._keep_alive_after_s else Sign.KEEP_ALIVE

    def wrote(self, now: float, *, content: bool) -> None:
        """Note that something was written; `content` means more than a sign of life."""
        self._last_word = now
        if content:
            self._last_content = now
