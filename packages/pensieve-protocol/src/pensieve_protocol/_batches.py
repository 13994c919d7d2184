"""`/v1/messages/batches`: many requests at once, and what becomes of them. Pure.

The wire is the specification: the official SDK's `types/messages/`. The `params` of each request stay as they came:
they are read when their turn comes, and what is wrong with one is its own result and no error of the batch.
"""

from __future__ import annotations

from typing import Annotated, Literal, TypeAlias

import attrs

from pensieve_core import JsonObject
from pensieve_protocol._constraints import Length, Matches
from pensieve_protocol._errors import ErrorEvent, invalid_request
from pensieve_protocol._messages import Message
from pensieve_protocol._parse import check_version, parse_object
from pensieve_protocol._terms import Terms

__all__ = [
    "BatchCanceledResult",
    "BatchCreateRequest",
    "BatchErroredResult",
    "BatchExpiredResult",
    "BatchRequest",
    "BatchResult",
    "BatchSucceededResult",
    "DeletedMessageBatch",
    "MessageBatch",
    "MessageBatchIndividualResponse",
    "MessageBatchPage",
    "ProcessingStatus",
    "RequestCounts",
    "parse_batch_create_request",
]

MAX_BATCH_REQUESTS = 100_000
"""https://docs.claude.com/en/docs/build-with-claude/batch-processing, "Batch limitations"."""

ProcessingStatus: TypeAlias = Literal["in_progress", "canceling", "ended"]


@attrs.frozen(kw_only=True)
class BatchRequest:
    """One of many requests."""

    custom_id: Annotated[str, Matches("[a-zA-Z0-9_-]{1,64}")]
    """Unique in its batch; its result is known by it."""
    params: JsonObject
    """As the body of `POST /v1/messages`; `stream` means nothing here."""


@attrs.frozen(kw_only=True)
class BatchCreateRequest:
    """All of them."""

    requests: Annotated[tuple[BatchRequest, ...], Length(MAX_BATCH_REQUESTS)]


@attrs.frozen(kw_only=True)
class RequestCounts:
    """How many requests came to which end. All are processing until the whole batch has ended."""

    processing: int = 0
    succeeded: int = 0
    errored: int = 0
    canceled: int = 0
    expired: int = 0


@attrs.frozen(kw_only=True)
class MessageBatch:
    """One batch. Times are RFC 3339, UTC."""

    id: str
    type: Literal["message_batch"] = "message_batch"
    processing_status: ProcessingStatus
    request_counts: RequestCounts
    created_at: str
    expires_at: str
    """What has not been answered by then is not answered any more."""
    ended_at: str | None
    cancel_initiated_at: str | None
    archived_at: str | None
    """Since then its results are gone."""
    results_url: str | None
    """Known when it has ended."""


@attrs.frozen(kw_only=True)
class MessageBatchPage:
    """A page of batches, the newest first."""

    data: tuple[MessageBatch, ...]
    has_more: bool
    """Whether there are more in the direction that was asked for."""
    first_id: str | None
    last_id: str | None


@attrs.frozen(kw_only=True)
class DeletedMessageBatch:
    """A batch that is gone, with its results."""

    id: str
    type: Literal["message_batch_deleted"] = "message_batch_deleted"


@attrs.frozen(kw_only=True)
class BatchSucceededResult:
    """The answer."""

    type: Literal["succeeded"] = "succeeded"
    message: Message


@attrs.frozen(kw_only=True)
class BatchErroredResult:
    """The error that `POST /v1/messages` would have answered."""

    type: Literal["errored"] = "errored"
    error: ErrorEvent


@attrs.frozen(kw_only=True)
class BatchCanceledResult:
    """The batch was cancelled before this request was answered."""

    type: Literal["canceled"] = "canceled"


@attrs.frozen(kw_only=True)
class BatchExpiredResult:
    """The batch expired before this request was answered."""

    type: Literal["expired"] = "expired"


BatchResult: TypeAlias = BatchSucceededResult | BatchErroredResult | BatchCanceledResult | BatchExpiredResult


@attrs.frozen(kw_only=True)
class MessageBatchIndividualResponse:
    """One line of the results. They are in the order of the requests."""

    custom_id: str
    result: BatchResult


def parse_batch_create_request(body: bytes, terms: Terms) -> BatchCreateRequest:
    """Return the batch in `body`.

    Raises:
        RequestError: 400; it is no batch, or two of its requests have the same id.
    """
    check_version(terms.version)
    batch = parse_object(body, BatchCreateRequest)
    seen: set[str] = set()
    for index, request in enumerate(batch.requests):
        if request.custom_id in seen:
            raise invalid_request(f"requests.{index}.custom_id: must be unique, got {request.custom_id!r} again")
        seen.add(request.custom_id)
    return batch
