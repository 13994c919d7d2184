"""When a server that nobody asks ends by itself: the one that `pensieve-server claude` started and left running.

Every HTTP request counts, a status line's, too: while a Claude Code that shows one is open, the server stays. Above:
`serving`, which goes down as after a signal. Below: any ASGI application.
"""

from __future__ import annotations

from collections.abc import Callable

from pensieve_cli.http_server import AsgiApp, Receive, Scope, Send
from pensieve_core import Clock

__all__ = ["Attendance"]


class Attendance:
    """An ASGI application around another: notes who is served, and since when nobody is.

    Args:
        app: Serves.
        clock: The time.
        working: Whether there is work that no HTTP request waits for: batches.
    """

    def __init__(self, app: AsgiApp, clock: Clock, working: Callable[[], bool] = lambda: False) -> None:
        self._app = app
        self._clock = clock
        self._working = working
        self._served = 0
        self._left_at = clock.monotonic()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":  # the lifespan is no guest
            await self._app(scope, receive, send)
            return
        self._served += 1
        try:
            await self._app(scope, receive, send)
        finally:
            self._served -= 1
            self._left_at = self._clock.monotonic()

    @property
    def idle_s(self) -> float:
        """For how many seconds nobody has been there. Looking while there is work counts as being there."""
        now = self._clock.monotonic()
        if self._served or self._working():
            self._left_at = now
        return now - self._left_at

    async def until_idle(self, seconds: float) -> None:
        """Return when nobody was there for so long; 0: never."""
        while seconds == 0 or self.idle_s < seconds:
            await self._clock.sleep(max(seconds - self.idle_s, 1.0) if seconds else _A_DAY_S)


_A_DAY_S = 86_400.0
