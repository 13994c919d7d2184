"""What a server says of itself at `GET /status`, and what may be behind a port instead. Values, and one reader.

Knows no sockets (`server_client` does). Fields that a newer server adds are ignored.
"""

from __future__ import annotations

from typing import TypeAlias

import attrs
import cattrs.preconf.json

__all__ = [
    "Answered",
    "Answering",
    "Break",
    "Engine",
    "Locked",
    "Nobody",
    "Port",
    "ServerStatus",
    "Stranger",
    "Totals",
    "read_status",
]


@attrs.frozen(kw_only=True)
class Engine:
    """One loaded model, or one that is about to be."""

    model: str
    phase: str
    """cold, loading, ready, broken or closed."""
    progress: float = 0.0
    detail: str = ""
    engine: str | None = None
    context_tokens: int | None = None
    max_sequences: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    notes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Answered:
    """One of the last answers."""

    prompt_tokens: int
    cached_tokens: int
    generated_tokens: int
    prefill_tokens_per_s: float | None = None
    decode_tokens_per_s: float | None = None


@attrs.frozen(kw_only=True)
class Break:
    """A prompt that did not go on where its session's last one ended."""

    cause: str
    first_differing_token: int | None = None
    """None: none differs, it was not kept."""
    cached_tokens: int = 0
    prompt_tokens: int
    previous_prompt_tokens: int


@attrs.frozen(kw_only=True)
class Totals:
    """Sums over all answers."""

    answers: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0


@attrs.frozen(kw_only=True)
class ServerStatus:
    """All of it that we use."""

    version: str
    pid: int
    default_model: str | None = None
    ready: bool = False
    reason: str | None = None
    draining: bool = False
    engines: tuple[Engine, ...] = ()
    answered: tuple[Answered, ...] = ()
    totals: Totals = Totals()
    cache_breaks: tuple[Break, ...] = ()

    def engine(self, model: str | None) -> Engine | None:
        """Return the engine of `model`, if anybody has asked for it."""
        return next((engine for engine in self.engines if engine.model == model), None)


@attrs.frozen(kw_only=True)
class Answering:
    """A server of ours."""

    status: ServerStatus


@attrs.frozen(kw_only=True)
class Nobody:
    """Nothing listens."""


@attrs.frozen(kw_only=True)
class Locked:
    """A server of ours that wants another key than the one it was shown."""


@attrs.frozen(kw_only=True)
class Stranger:
    """Something listens and is not a server of ours, or too old a one."""

    said: str


Port: TypeAlias = Answering | Nobody | Locked | Stranger


def read_status(body: bytes) -> ServerStatus:
    """Read the answer's body.

    Raises:
        ValueError: it is none.
    """
    try:
        return cattrs.preconf.json.make_converter().loads(body, ServerStatus)
    except (cattrs.BaseValidationError, KeyError, TypeError, ValueError) as error:
        msg = "its /status is not ours"
        raise ValueError(msg) from error
