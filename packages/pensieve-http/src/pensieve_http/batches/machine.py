"""The states of a batch and of its requests, and what is to be done next. Machines without clock, disk or engine.

A batch:

    IN_PROGRESS --cancel--> CANCELING --settled--> ENDED          IN_PROGRESS --settled--> ENDED

One of its requests:

    PENDING --answered--> SUCCEEDED    --failed--> ERRORED    --cancelled--> CANCELED    --expired--> EXPIRED

A request that is being computed is pending still: only its result is kept. So a request whose server dies runs again,
and one that has a result never does. A batch is settled when none of its requests is pending.
"""

from __future__ import annotations

import enum
from collections.abc import Collection, Mapping, Sequence

import attrs

__all__ = [
    "BatchEvent",
    "BatchPhase",
    "Candidate",
    "IllegalMoveError",
    "OpenBatch",
    "Plan",
    "RequestEvent",
    "RequestState",
    "next_phase",
    "next_state",
    "plan",
]


class BatchPhase(enum.StrEnum):
    """Where a batch is in its life; the wire's `processing_status`."""

    IN_PROGRESS = "in_progress"
    CANCELING = "canceling"
    ENDED = "ended"


class BatchEvent(enum.Enum):
    """What happens to a batch."""

    CANCEL = enum.auto()
    """A client wants no more of it."""
    SETTLED = enum.auto()
    """Nothing of it is pending."""


class RequestState(enum.StrEnum):
    """What has become of a request; but for PENDING the wire's types of results."""

    PENDING = "pending"
    SUCCEEDED = "succeeded"
    ERRORED = "errored"
    CANCELED = "canceled"
    EXPIRED = "expired"


class RequestEvent(enum.Enum):
    """What happens to a request."""

    ANSWERED = enum.auto()
    FAILED = enum.auto()
    CANCELLED = enum.auto()
    EXPIRED = enum.auto()


class IllegalMoveError(Exception):
    """The table knows no such move: a bug, or two runners of one batch."""


_PHASES: Mapping[tuple[BatchPhase, BatchEvent], BatchPhase] = {
    (BatchPhase.IN_PROGRESS, BatchEvent.CANCEL): BatchPhase.CANCELING,
    (BatchPhase.CANCELING, BatchEvent.CANCEL): BatchPhase.CANCELING,
    (BatchPhase.IN_PROGRESS, BatchEvent.SETTLED): BatchPhase.ENDED,
    (BatchPhase.CANCELING, BatchEvent.SETTLED): BatchPhase.ENDED,
}
_STATES: Mapping[tuple[RequestState, RequestEvent], RequestState] = {
    (RequestState.PENDING, RequestEvent.ANSWERED): RequestState.SUCCEEDED,
    (RequestState.PENDING, RequestEvent.FAILED): RequestState.ERRORED,
    (RequestState.PENDING, RequestEvent.CANCELLED): RequestState.CANCELED,
    (RequestState.PENDING, RequestEvent.EXPIRED): RequestState.EXPIRED,
}


def next_phase(phase: BatchPhase, event: BatchEvent) -> BatchPhase:
    """Return where `event` leads; raise `IllegalMoveError` when it cannot happen."""
    try:
        return _PHASES[phase, event]
    except KeyError:
        raise IllegalMoveError(f"{event.name} cannot happen to a batch that is {phase}") from None


def next_state(state: RequestState, event: RequestEvent) -> RequestState:
    """Return where `event` leads; raise `IllegalMoveError` when it cannot happen."""
    try:
        return _STATES[state, event]
    except KeyError:
        raise IllegalMoveError(f"{event.name} cannot happen to a request that is {state}") from None


@attrs.frozen(kw_only=True)
class OpenBatch:
    """A batch that has not ended."""

    id: str
    phase: BatchPhase
    expires_at: float
    """Unix seconds."""


@attrs.frozen(kw_only=True)
class Candidate:
    """A request that is pending, running or not."""

    batch_id: str
    position: int


@attrs.frozen(kw_only=True)
class Plan:
    """What is to be done now, in this order."""

    end: Mapping[str, RequestEvent]
    """Batches that are over, and what happens to those of their requests that are still pending, running ones too."""
    start: tuple[Candidate, ...]
    """Requests to run."""


def plan(
    batches: Sequence[OpenBatch],
    pending: Sequence[Candidate],
    *,
    running: Collection[Candidate],
    places: int,
    now: float,
) -> Plan:
    """Return what is to be done.

    Args:
        batches: All that have not ended.
        pending: Requests of these, in the order in which they are to be run; at least `places` of them, if there are.
        running: Which of them are being computed.
        places: How many may be computed at a time.
        now: Unix seconds.
    """
    over = {batch.id: event for batch in batches if (event := _ending(batch, now)) is not None}
    busy = sum(one.batch_id not in over for one in running)
    waiting = [one for one in pending if one.batch_id not in over and one not in running]
    return Plan(end=over, start=tuple(waiting[: max(0, places - busy)]))


def _ending(batch: OpenBatch, now: float) -> RequestEvent | None:
    if batch.phase is BatchPhase.CANCELING:
        return RequestEvent.CANCELLED
    return RequestEvent.EXPIRED if batch.expires_at <= now else None
