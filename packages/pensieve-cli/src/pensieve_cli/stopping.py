"""How the server goes down: in order, within bounds, whatever hangs.

    first signal    nobody is let in any more; running answers go on until the deadline, then end with an error;
                    the HTTP server stops; the engines are closed
    second signal   all of that at once, without waiting for answers
    third signal    the process ends on the spot
    a hang          the process ends on the spot when the time for all of the above is over, from a thread that needs
                    neither the event loop nor the interpreter

Each step has a bound of its own: on Python 3.12 and later Hypercorn 0.18 waits for open connections for ever.
"""

from __future__ import annotations

import asyncio
import faulthandler
import os
import signal
import sys
from collections.abc import Coroutine, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any, Protocol

import attrs
import structlog

from pensieve_cli.exit_codes import ExitCode

__all__ = ["Closable", "Drainable", "HardEnd", "Patience", "ProcessEnd", "Signals", "Stoppable", "go_down"]

_log = structlog.stdlib.get_logger(__name__)

_CANCELLATION_S = 0.2
"""For what is cancelled to clean up."""


@attrs.frozen(kw_only=True)
class Patience:
    """How long each step of going down may take, in seconds."""

    drain_s: float
    """For running answers, before they are ended."""
    farewell_s: float = 5.0
    """For the last bytes of ended answers: a client that does not read gets no more."""
    server_s: float = 3.0
    """For the HTTP server, once nothing runs."""
    engines_s: float = 10.0
    """For the engines."""
    hurry_s: float = 2.0
    """For the engines after a second signal."""
    spare_s: float = 5.0

    @property
    def total_s(self) -> float:
        """When it takes longer, something hangs."""
        return self.drain_s + self.farewell_s + self.server_s + self.engines_s + self.spare_s

    @property
    def total_hurried_s(self) -> float:
        """The same after a second signal."""
        return self.hurry_s + self.spare_s


class Drainable(Protocol):
    """What lets running answers end (`pensieve_http.Drain`)."""

    def begin(self, deadline_s: float) -> None:
        """Refuse new requests, and end the running ones after `deadline_s`."""
        ...

    async def wait_idle(self) -> None:
        """Return when no request is in flight."""
        ...


class Stoppable(Protocol):
    """A server that runs in a task of its own (`HttpServer`)."""

    def stop(self) -> None:
        """Let that task come to its end."""
        ...


class Closable(Protocol):
    """What holds processes and memory (`EngineProvider`)."""

    async def aclose(self) -> None:
        """Give them back."""
        ...


class HardEnd(Protocol):
    """The last resort."""

    def arm(self, seconds: float) -> None:
        """End the process after `seconds`, whatever it does; replaces what was armed before."""
        ...

    def disarm(self) -> None:
        """Let the process live."""
        ...


class ProcessEnd:
    """`HardEnd` by a thread of C code; before the end it writes to stderr where each thread of Python hangs."""

    def arm(self, seconds: float) -> None:
        """End the process with exit code 1 after `seconds`."""
        faulthandler.dump_traceback_later(seconds, exit=True, file=sys.__stderr__ or 2)

    def disarm(self) -> None:
        """Let the process live."""
        faulthandler.cancel_dump_traceback_later()


class Signals:
    """SIGINT and SIGTERM, counted while `caught`. Belongs to the main thread and its event loop."""

    def __init__(self) -> None:
        self.first = asyncio.Event()
        self.second = asyncio.Event()
        self._count = 0

    @contextmanager
    def caught(self) -> Iterator[None]:
        """Take the signals over from whoever had them; give them back afterwards."""
        loop = asyncio.get_running_loop()

        def arrived(number: int, _frame: FrameType | None) -> None:
            self._count += 1
            if self._count > 2:  # noqa: PLR2004 - the third
                os._exit(128 + number)
            loop.call_soon_threadsafe((self.first, self.second)[self._count - 1].set)

        before = {number: signal.signal(number, arrived) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


async def go_down(
    *,
    drain: Drainable,
    server: Stoppable,
    serving: asyncio.Task[None],
    engines: Closable,
    hurry: asyncio.Event,
    patience: Patience,
    hard_end: HardEnd,
) -> ExitCode:
    """Go down in good order; when `hurry` is set, at once. Never raises, and ends within `patience`.

    Leaves `hard_end` armed: what comes afterwards (the event loop's own end) may hang as well.
    """
    hard_end.arm(patience.total_s)
    gently = asyncio.ensure_future(_gently(drain, server, serving, engines, patience))
    hurried = asyncio.ensure_future(hurry.wait())
    await asyncio.wait((gently, hurried), return_when=asyncio.FIRST_COMPLETED)
    hurried.cancel()
    if gently.done():
        _log.info("server_stopped")
        return ExitCode.OK
    hard_end.arm(patience.total_hurried_s)
    await _cut(gently)
    await _cut(serving)
    await _within(patience.hurry_s, "engines", engines.aclose())
    _log.warning("server_interrupted")
    return ExitCode.INTERRUPTED


async def _gently(
    drain: Drainable, server: Stoppable, serving: asyncio.Task[None], engines: Closable, patience: Patience
) -> None:
    await _within(patience.drain_s + patience.farewell_s, "answers", _last_answers(drain, patience.drain_s))
    server.stop()
    await _within(patience.server_s, "server", _end_of(serving))
    await _within(patience.engines_s, "engines", engines.aclose())


async def _last_answers(drain: Drainable, deadline_s: float) -> None:
    _log.info("drain_began", deadline_s=deadline_s)
    drain.begin(deadline_s)
    await drain.wait_idle()


async def _end_of(serving: asyncio.Task[None]) -> None:
    """Wait for the end of `serving`; a caller who gives up cancels it. Raises what ended it, if anything did."""
    try:
        await asyncio.wait((serving,))
    finally:
        await _cut(serving)
    serving.result()


async def _cut(task: asyncio.Future[None]) -> None:
    task.cancel()
    await asyncio.wait((task,), timeout=_CANCELLATION_S)


async def _within(seconds: float, step: str, work: Coroutine[Any, Any, None]) -> None:
    """Wait for `work`; past its time it is cancelled. However it ends, the next step is taken all the same."""
    working = asyncio.ensure_future(work)
    try:
        await asyncio.wait((working,), timeout=seconds)
    finally:
        await _cut(working)
    if working.cancelled() or not working.done():
        _log.warning("stopping_step_cut_short", step=step, bound_s=seconds)
    elif error := working.exception():
        _log.error("stopping_step_failed", step=step, exc_info=error)
