"""From a tree of exceptions to the sentence that a client reads: `messages.0.content.1.text: field required`.

Detection is elsewhere (`_converter`, `_rules`); here is presentation alone, as in cattrs' own `v.py`. Pure.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import TypeAlias

import attrs
from cattrs import BaseValidationError, ClassValidationError, IterableValidationError

__all__ = ["InvalidValueError", "Path", "Problem", "problems", "sentence"]

Path: TypeAlias = tuple[str | int, ...]

_SHOWN = 3
"""Problems named in one message; the first is what matters, more helps, all of a broken client's do not."""


class InvalidValueError(ValueError):
    """One value is not acceptable. `below` leads from where it was raised to where it is to be reported."""

    def __init__(self, message: str, *, below: Path = ()) -> None:
        super().__init__(message)
        self.message = message
        self.below = below


@attrs.frozen
class Problem:
    """What is wrong, and where in the JSON."""

    path: Path
    message: str

    def __str__(self) -> str:
        place = ".".join(map(str, self.path))
        return f"{place}: {self.message}" if place else self.message


def problems(error: Exception, path: Path = ()) -> Iterator[Problem]:
    """Yield the leaves of an error tree, in the order of the request's fields."""
    match error:
        case ClassValidationError() | IterableValidationError():
            yield from _problems_below(error, path)
        case KeyError():
            yield Problem(path, "field required")
        case InvalidValueError(message=message, below=below):
            yield Problem(path + below, message)
        case _:
            raise error


def sentence(found: Iterable[Problem]) -> str:
    """Return one message for all problems; the first few in full."""
    shown = [str(problem) for problem in found]
    rest = len(shown) - _SHOWN
    return "; ".join(shown[:_SHOWN]) + (f" (and {rest} more)" if rest > 0 else "")


def _problems_below(tree: BaseValidationError, path: Path) -> Iterator[Problem]:
    for error in tree.exceptions:
        yield from problems(error, path + _step(error))


def _step(error: Exception) -> Path:
    """Return where `error` hangs in its parent: cattrs says so in a note, a field's name or an item's index."""
    steps = (getattr(note, "name", getattr(note, "index", None)) for note in getattr(error, "__notes__", ()))
    return tuple(step for step in steps if step is not None)
