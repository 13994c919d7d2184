"""What is worth knowing of one request: gathered while it is served, and logged once.

Never in here: bodies, prompts, keys. Above: the middleware makes it and logs it. Beside: whoever learns a fact
writes it down (`record_of(scope)`).
"""

from __future__ import annotations

import enum
import hashlib

import attrs
from starlette.types import Scope

from pensieve_core import (
    AnswerProgressed,
    GenerationFinished,
    ModelId,
    Origin,
    PrefillProgressed,
    PromptUsage,
    RequestId,
)

__all__ = ["Ending", "Progress", "RequestRecord", "record_of"]

RECORD_KEY = "pensieve.record"

_HASH_DIGITS = 12
_PATH_LENGTH = 200
_NAME_LENGTH = 50
_NAMES = 10


class Ending(enum.StrEnum):
    """How the exchange with the client came to its end."""

    ANSWERED = "answered"
    """Completely; be it with an error."""
    DISCONNECTED = "disconnected"
    """The client left before."""
    SLOW_READER = "slow_reader"
    """The client took nothing for too long, and was cut off."""
    CANCELLED = "cancelled"
    """The server stopped in the middle."""


@attrs.frozen(kw_only=True)
class Progress:
    """How far prompt or answer are, and since when."""

    tokens: int
    from_tokens: int
    """How many there were at the first word on it…"""
    since: float
    """… and when that was, on the monotonic clock."""
    now: float
    """When the last word came."""

    @property
    def tokens_per_s(self) -> float | None:
        """The speed since the first word; None before the second."""
        seconds, tokens = self.now - self.since, self.tokens - self.from_tokens
        return round(tokens / seconds, 1) if seconds > 0 and tokens >= 0 else None


@attrs.define(kw_only=True)
class RequestRecord:
    """The facts of one request. Times are seconds since `started_at`, on the monotonic clock."""

    id: RequestId
    method: str
    path: str
    route: str | None = None
    """The path of the endpoint, its parameters unfilled; None while no endpoint was found."""
    started_at: float
    status: int | None = None
    ttfb_s: float | None = None
    """To the response's head."""
    ttft_s: float | None = None
    """To the first piece of an answer."""
    key_name: str | None = None
    requested_model: str | None = None
    model: ModelId | None = None
    stream: bool | None = None
    origin: Origin = attrs.field(factory=Origin)
    prompt: PromptUsage | None = None
    prefill: Progress | None = None
    """Of the prompt; what was cached is included."""
    answer: Progress | None = None
    finished: GenerationFinished | None = None
    stop_reason: str | None = None
    error_type: str | None = None
    unknown_fields: tuple[str, ...] = ()
    """Names of request fields that were ignored."""
    cache_break: str | None = None
    """Why less was cached than the session's last prompt had; None: all of it was."""
    first_differing_token: int | None = None
    foreign_thinking: int = 0
    """Blocks of reasoning that came back without a signature of this installation, or changed."""
    ending: Ending = Ending.ANSWERED

    @property
    def session_hash(self) -> str | None:
        """What stands for the session: it must not be named."""
        return _hashed(self.origin.session)

    @property
    def agent_hash(self) -> str | None:
        """The same for a subagent."""
        return _hashed(self.origin.agent)

    def note_progress(self, progress: PrefillProgressed, now: float) -> None:
        """More of the prompt is computed."""
        self.prefill = _further(self.prefill, progress.processed_tokens, now)

    def note_answer(self, progress: AnswerProgressed, now: float) -> None:
        """More of the answer is generated."""
        self.answer = _further(self.answer, progress.generated_tokens, now)

    def line(self, now: float) -> dict[str, object]:
        """Return the canonical log line's keys; what is not known is left out."""
        facts = {
            "request_id": self.id,
            "method": self.method,
            "path": self.path[:_PATH_LENGTH],
            "status": self.status,
            "ending": self.ending.value,
            "disconnected": self.ending in (Ending.DISCONNECTED, Ending.SLOW_READER),
            "duration_s": _rounded(now - self.started_at),
            "ttfb_s": _rounded(self.ttfb_s),
            "ttft_s": _rounded(self.ttft_s),
            "key": self.key_name,
            "requested_model": self.requested_model,
            "model": self.model,
            "stream": self.stream,
            "session": self.session_hash,
            "agent": self.agent_hash,
            "stop_reason": self.stop_reason,
            "error_type": self.error_type,
            "cache_break": self.cache_break,
            "first_differing_token": self.first_differing_token,
            "foreign_thinking": self.foreign_thinking or None,
            "unknown_fields": [name[:_NAME_LENGTH] for name in self.unknown_fields[:_NAMES]] or None,
        }
        return {key: value for key, value in {**facts, **self._cost()}.items() if value is not None}

    def _cost(self) -> dict[str, object]:
        if self.finished is None:
            return {} if self.prompt is None else {"prompt_tokens": self.prompt.prompt_tokens}
        usage, timings = self.finished.usage, self.finished.timings
        return {
            "prompt_tokens": usage.prompt_tokens,
            "cached_tokens": usage.cached_tokens,
            "generated_tokens": usage.generated_tokens,
            "thinking_tokens": usage.thinking_tokens,
            "prefilled_tokens": timings.prefilled_tokens,
            "decode_steps": timings.decode_steps,
            "queue_s": _rounded(timings.queue_s),
            "prefill_s": _rounded(timings.prefill_s),
            "decode_s": _rounded(timings.decode_s),
        }


def record_of(scope: Scope) -> RequestRecord:
    """Return the record that the outermost middleware put into `scope`."""
    record: RequestRecord = scope[RECORD_KEY]
    return record


def _further(before: Progress | None, tokens: int, now: float) -> Progress:
    before = before or Progress(tokens=tokens, from_tokens=tokens, since=now, now=now)
    return attrs.evolve(before, tokens=tokens, now=now)


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 4)


def _hashed(identifier: str | None) -> str | None:
    if identifier is None:
        return None
    return hashlib.sha256(identifier.encode()).hexdigest()[:_HASH_DIGITS]
