"""What the engine thread is told by others. Values only. Above: the loop."""

from __future__ import annotations

from typing import TypeAlias

import attrs

from pensieve_core import PensieveError
from pensieve_gguf.engine.candidates import Loaded
from pensieve_gguf.engine.job import Job

__all__ = ["Cancel", "Close", "Fetched", "Mail", "Submit"]


@attrs.frozen
class Submit:
    """Somebody asks."""

    job: Job


@attrs.frozen
class Fetched:
    """The disk was asked for the beginning of a prompt."""

    job: Job
    loaded: Loaded | None


@attrs.frozen
class Cancel:
    """Whoever asked has gone."""

    key: int


@attrs.frozen
class Close:
    """All is over."""

    error: PensieveError
    save_s: float
    """How long what is not saved yet may be saved."""


Mail: TypeAlias = Submit | Fetched | Cancel | Close
