"""What can go wrong when a model is fetched.

    PensieveError
    └── PullError                     it did not come; the message says whether what was fetched is kept
        ├── NotAtHubError             no such repository, revision or file, or no right to see it
        ├── NoSuchQuantizationError   the repository does not have it, or has it twice; `choices` are those there are
        └── PullStoppedError          the user asked for it

`resumable` says that asking again goes on where this ended.
"""

from __future__ import annotations

from collections.abc import Sequence

from pensieve_core import PensieveError

__all__ = ["NoSuchQuantizationError", "NotAtHubError", "PullError", "PullStoppedError"]


class PullError(PensieveError):
    """The model is not here, and no part of it stands under its final name without having been checked."""

    def __init__(self, message: str, *, resumable: bool = False) -> None:
        super().__init__(message)
        self.resumable = resumable


class NotAtHubError(PullError):
    """The hub does not have it, or not for us."""


class NoSuchQuantizationError(PullError):
    """It has to be said more exactly which file is meant."""

    def __init__(self, message: str, choices: Sequence[str]) -> None:
        super().__init__(f"{message}; there are: {', '.join(choices)}" if choices else message)
        self.choices = tuple(choices)


class PullStoppedError(PullError):
    """Stopped from outside, in good order."""

    def __init__(self) -> None:
        super().__init__("stopped", resumable=True)
