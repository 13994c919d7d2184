"""What the server is doing, and what it did last: the requests behind `GET /status`.

A machine without clock or task. Above: the request log tells it when requests begin and end, `endpoints.status` asks.
Below: the records, into which others write meanwhile. It keeps figures, never texts; of sessions their hashes.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Mapping
from typing import Literal, TypeAlias

import attrs

from pensieve_core import GenerationFinished, ModelId, Priority, RequestId, Usage
from pensieve_http.cache_breaks import CacheBreaks
from pensieve_http.record import RequestRecord

__all__ = ["Activity", "AnsweredRequest", "RequestPhase", "RunningRequest", "Totals"]

_KEPT = 32
"""Answers that are remembered: enough that a busy session's own is among them."""

RequestPhase: TypeAlias = Literal["waiting", "prefill", "decode"]
Role: TypeAlias = Literal["main", "agent", "background"]
"""Who asked: the session, a subagent, or what nobody waits for (titles, suggestions, batches)."""
_ROLES: Mapping[Priority, Role] = {
    Priority.MAIN: "main",
    Priority.AGENT: "agent",
    Priority.BACKGROUND: "background",
    Priority.BATCH: "background",
}


@attrs.frozen(kw_only=True)
class RunningRequest:
    """A request that is being answered."""

    request_id: RequestId
    session: str | None
    """The first 12 hex digits of its sha256, as in the log."""
    agent: str | None
    """The same of a subagent's id; None for the session itself."""
    role: Role
    model: ModelId
    phase: RequestPhase
    prompt_tokens: int | None
    """None: not counted yet."""
    processed_tokens: int
    """Of these, those in the cache or computed by now."""
    prefill_tokens_per_s: float | None
    generated_tokens: int
    """Of the answer, so far: a few less than there are."""
    decode_tokens_per_s: float | None
    age_s: float


@attrs.frozen(kw_only=True)
class AnsweredRequest:
    """A request whose answer is complete."""

    request_id: RequestId
    session: str | None
    agent: str | None
    role: Role
    model: ModelId
    prompt_tokens: int
    cached_tokens: int
    """Of the prompt, those that needed no computation."""
    generated_tokens: int
    prefill_tokens_per_s: float | None
    decode_tokens_per_s: float | None
    """None: too little was computed to say."""
    ended_s_ago: float = 0.0
    """Seconds since its end."""


@attrs.frozen(kw_only=True)
class Totals:
    """Sums over all answers since the start."""

    answers: int = 0
    prompt_tokens: int = 0
    cached_tokens: int = 0
    generated_tokens: int = 0


@attrs.frozen
class _Ended:
    request: AnsweredRequest
    at: float


class Activity:
    """Requests between their beginning and their end, and the last answers. Times are on the monotonic clock."""

    def __init__(self) -> None:
        self._running: dict[RequestId, RequestRecord] = {}
        self._ended: deque[_Ended] = deque(maxlen=_KEPT)
        self.totals = Totals()
        self.breaks = CacheBreaks()

    def began(self, record: RequestRecord) -> None:
        """A request is there."""
        self._running[record.id] = record

    def ended(self, record: RequestRecord, now: float) -> None:
        """It is over, answered or not."""
        self._running.pop(record.id, None)
        self.breaks.ended(record)
        if record.finished is not None and record.model is not None:
            self._ended.appendleft(_Ended(_answered(record, record.model, record.finished), now))
            self.totals = _added(self.totals, record.finished.usage)

    def running(self, now: float) -> tuple[RunningRequest, ...]:
        """Return those that will be answered by a model, the oldest first."""
        return tuple(
            _running(record, record.model, now)
            for record in self._running.values()
            if record.model is not None and record.stream is not None
        )

    def answered(self, now: float) -> tuple[AnsweredRequest, ...]:
        """Return the last answers, the newest first."""
        return tuple(attrs.evolve(ended.request, ended_s_ago=round(now - ended.at, 3)) for ended in self._ended)


def _running(record: RequestRecord, model: ModelId, now: float) -> RunningRequest:
    prefill, answer = record.prefill, record.answer
    return RunningRequest(
        request_id=record.id,
        session=record.session_hash,
        agent=record.agent_hash,
        role=_ROLES[record.origin.priority],
        model=model,
        phase=_phase(record),
        prompt_tokens=None if record.prompt is None else record.prompt.prompt_tokens,
        processed_tokens=0 if prefill is None else prefill.tokens,
        prefill_tokens_per_s=None if prefill is None else prefill.tokens_per_s,
        generated_tokens=0 if answer is None else answer.tokens,
        decode_tokens_per_s=None if answer is None else answer.tokens_per_s,
        age_s=round(now - record.started_at, 3),
    )


def _phase(record: RequestRecord) -> RequestPhase:
    if record.ttft_s is not None or record.answer is not None:
        return "decode"
    return "waiting" if record.prompt is None else "prefill"


def _answered(record: RequestRecord, model: ModelId, finished: GenerationFinished) -> AnsweredRequest:
    usage, timings = finished.usage, finished.timings
    return AnsweredRequest(
        request_id=record.id,
        session=record.session_hash,
        agent=record.agent_hash,
        role=_ROLES[record.origin.priority],
        model=model,
        prompt_tokens=usage.prompt_tokens,
        cached_tokens=usage.cached_tokens,
        generated_tokens=usage.generated_tokens,
        prefill_tokens_per_s=_rate(timings.prefilled_tokens, timings.prefill_s),
        decode_tokens_per_s=_rate(usage.generated_tokens - 1, timings.decode_s),
    )


def _rate(tokens: int, seconds: float) -> float | None:
    return round(tokens / seconds, 1) if tokens > 0 and seconds > 0 else None


def _added(totals: Totals, usage: Usage) -> Totals:
    return Totals(
        answers=totals.answers + 1,
        prompt_tokens=totals.prompt_tokens + usage.prompt_tokens,
        cached_tokens=totals.cached_tokens + usage.cached_tokens,
        generated_tokens=totals.generated_tokens + usage.generated_tokens,
    )
