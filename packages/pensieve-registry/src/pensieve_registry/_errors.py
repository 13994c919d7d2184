"""What can be wrong with a model file.

    PensieveError
    └── GgufHeaderError   the file must not reach native code

There is one class, for there is one way to handle it: the file is left out, and the user is told why.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from pensieve_core import PensieveError

__all__ = ["GgufHeaderError", "within"]


class GgufHeaderError(PensieveError):
    """The header lies, is cut off, or asks for more than any real model does.

    Attributes:
        reason: what is wrong.
        places: the path to it, outermost first: `("shard 'm-00002-of-00002.gguf'", "tensor 'output.weight'")`.
    """

    def __init__(self, reason: str, places: tuple[str, ...] = ()) -> None:
        super().__init__(": ".join([*places, reason]))
        self.reason = reason
        self.places = places


@contextmanager
def within(place: str) -> Iterator[None]:
    """Put `place` in front of the path of any `GgufHeaderError` that is raised inside."""
    try:
        yield
    except GgufHeaderError as error:
        raise GgufHeaderError(error.reason, (place, *error.places)) from None
