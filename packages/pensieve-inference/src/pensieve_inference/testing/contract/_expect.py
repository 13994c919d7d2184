"""How a check says that a contract is broken."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

__all__ = ["ContractBrokenError", "check_name", "expect", "soon"]

T = TypeVar("T")


class ContractBrokenError(AssertionError):
    """An implementation does not do what its Protocol promises. The message says which promise."""


def expect(kept: bool, promise: str) -> None:  # noqa: FBT001 - reads as `expect(x == y, "…")`
    """Raise `ContractBrokenError` unless the promise is kept."""
    if not kept:
        raise ContractBrokenError(promise)


async def soon(awaitable: Awaitable[T], *, within_s: float, promise: str) -> T:
    """Await something that must not hang."""
    try:
        return await asyncio.wait_for(awaitable, within_s)
    except TimeoutError:
        msg = f"{promise}, within {within_s:g} s"
        raise ContractBrokenError(msg) from None


def check_name(check: Callable[..., object]) -> str:
    """Return a check's sentence: `parametrize`'s `ids`."""
    return str(getattr(check, "__name__", check)).replace("_", " ")
