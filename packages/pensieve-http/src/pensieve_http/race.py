"""One primitive: several coroutines run, the first to end decides, and nothing outlives the call.

Hypercorn never cancels a handler when its client leaves; so every answer is raced against the client's leaving.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any, NoReturn, TypeVar

from starlette.types import Receive

from pensieve_http.errors import ClientGoneError

__all__ = ["client_gone", "client_left", "race"]

T = TypeVar("T")


async def race(
    *contenders: Coroutine[Any, Any, T],
    companions: Sequence[Coroutine[Any, Any, object]] = (),
) -> T:
    """Run all; return (or raise) what the first contender to end did; cancel the others and wait for them.

    Of contenders that end in the same step, the one named first counts. Companions are cancelled with the rest but
    decide nothing. Cancelling the caller cancels all.
    """
    running = [asyncio.ensure_future(contender) for contender in contenders]
    beside = [asyncio.ensure_future(companion) for companion in companions]
    try:
        await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        return next(task for task in running if task.done()).result()
    finally:
        for task in (*beside, *running):
            task.cancel()
        await asyncio.gather(*beside, *running, return_exceptions=True)


async def client_left(receive: Receive) -> None:
    """Return when the client has closed its connection; swallow whatever it sends before."""
    while (await receive())["type"] != "http.disconnect":
        pass


async def client_gone(receive: Receive) -> NoReturn:
    """Wait as `client_left`, for answers that nobody wants any more then. Raises `ClientGoneError`."""
    await client_left(receive)
    raise ClientGoneError
