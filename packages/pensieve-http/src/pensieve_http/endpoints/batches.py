"""`/v1/messages/batches`: make, look at, list, cancel and delete batches, and read their results.

Nothing is computed here: batches are kept, and `batches.runner` runs them. Above: the routes. Below: a `BatchStore`.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Sequence
from contextlib import aclosing
from typing import Literal

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response
from starlette.types import Receive, Scope, Send

from pensieve_core import Clock
from pensieve_http.batches.machine import BatchPhase, IllegalMoveError, RequestState
from pensieve_http.body import BodyReader
from pensieve_http.operation import JSON_LINES, Body, ClientHeaders, Endpoint, Operation
from pensieve_http.pieces import PiecesResponse
from pensieve_http.storage.batch_store import Batch, BatchStore, NewBatch, NotEndedError, UnknownBatchError
from pensieve_protocol import (
    BatchCanceledResult,
    BatchCreateRequest,
    BatchExpiredResult,
    DeletedMessageBatch,
    MessageBatch,
    MessageBatchIndividualResponse,
    MessageBatchPage,
    PageQuery,
    RequestCounts,
    RequestError,
    Terms,
    api_error,
    check_version,
    dump_json,
    parse_batch_create_request,
    parse_betas,
    parse_page_query,
    rfc3339,
)

__all__ = ["Batches"]


@attrs.frozen(kw_only=True)
class BatchPath:
    """Which batch."""

    message_batch_id: str


CREATE_BATCH = Operation(
    name="create_batch",
    summary="Keep many requests, to be answered when there is nothing better to do",
    headers=ClientHeaders,
    takes=Body(type=BatchCreateRequest),
    answers={200: (Body(type=MessageBatch),)},
)
LIST_BATCHES = Operation(
    name="list_batches",
    summary="List batches, the newest first, page by page",
    query=PageQuery,
    headers=ClientHeaders,
    answers={200: (Body(type=MessageBatchPage),)},
)
RETRIEVE_BATCH = Operation(
    name="retrieve_batch",
    summary="Tell how far a batch is",
    path=BatchPath,
    headers=ClientHeaders,
    answers={200: (Body(type=MessageBatch),)},
    errors=(404,),
)
CANCEL_BATCH = Operation(
    name="cancel_batch",
    summary="End a batch before its time; what is answered stays answered",
    path=BatchPath,
    headers=ClientHeaders,
    answers={200: (Body(type=MessageBatch),)},
    errors=(404, 409),
)
DELETE_BATCH = Operation(
    name="delete_batch",
    summary="Forget a batch that has ended, and its results",
    path=BatchPath,
    headers=ClientHeaders,
    answers={200: (Body(type=DeletedMessageBatch),)},
    errors=(404, 409),
)
BATCH_RESULTS = Operation(
    name="batch_results",
    summary="Give the results of a batch that has ended, one a line",
    path=BatchPath,
    headers=ClientHeaders,
    answers={200: (Body(type=MessageBatchIndividualResponse, media_type=JSON_LINES),)},
    errors=(404, 409),
)


@attrs.frozen(kw_only=True, eq=False)
class Batches:
    """All endpoints of batches."""

    store: BatchStore
    reader: BodyReader
    clock: Clock
    write_timeout_s: float

    def endpoints(self) -> Sequence[Endpoint]:
        """Return all of them."""
        of_all, of_one = "/v1/messages/batches", "/v1/messages/batches/{message_batch_id}"
        page, one, cancel, delete = map(request_response, (self.page, self.one, self.cancel, self.delete))
        return [
            Endpoint(method="POST", path=of_all, app=self.create, operation=CREATE_BATCH),
            Endpoint(method="GET", path=of_all, app=page, operation=LIST_BATCHES),
            Endpoint(method="GET", path=of_one, app=one, operation=RETRIEVE_BATCH),
            Endpoint(method="DELETE", path=of_one, app=delete, operation=DELETE_BATCH),
            Endpoint(method="POST", path=f"{of_one}/cancel", app=cancel, operation=CANCEL_BATCH),
            Endpoint(method="GET", path=f"{of_one}/results", app=self.results, operation=BATCH_RESULTS),
        ]

    async def create(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`POST /v1/messages/batches`, an ASGI application."""
        request = Request(scope)
        version, betas = request.headers.get("anthropic-version"), request.headers.getlist("anthropic-beta")
        terms = Terms(version=version, betas=parse_betas(betas))
        body = await self.reader.read(scope, receive)
        new = await asyncio.to_thread(_parsed, body, terms)  # tens of megabytes take their time
        response = _json(_wire(await self.store.create(new), request))
        await response(scope, receive, send)

    async def page(self, request: Request) -> Response:
        """`GET /v1/messages/batches`."""
        check_version(request.headers.get("anthropic-version"))
        query = parse_page_query(request.query_params)
        page = await self.store.page(after=query.after_id or None, before=query.before_id or None, limit=query.limit)
        data = tuple(_wire(batch, request) for batch in page.batches)
        first, last = (data[0].id, data[-1].id) if data else (None, None)
        return _json(MessageBatchPage(data=data, has_more=page.has_more, first_id=first, last_id=last))

    async def one(self, request: Request) -> Response:
        """`GET /v1/messages/batches/{id}`."""
        return _json(_wire(await self._find(request), request))

    async def cancel(self, request: Request) -> Response:
        """`POST /v1/messages/batches/{id}/cancel`."""
        found = await self._find(request)
        try:
            return _json(_wire(await self.store.cancel(found.id), request))
        except IllegalMoveError:
            msg = "the batch has ended, and cannot be canceled any more"
            raise _refused(msg) from None

    async def delete(self, request: Request) -> Response:
        """`DELETE /v1/messages/batches/{id}`."""
        found = await self._find(request)
        try:
            await self.store.remove(found.id)
        except NotEndedError as error:
            raise _refused(str(error)) from None
        return _json(DeletedMessageBatch(id=found.id))

    async def results(self, scope: Scope, receive: Receive, send: Send) -> None:
        """`GET /v1/messages/batches/{id}/results`, an ASGI application."""
        batch = await self._find(Request(scope))
        if batch.phase is not BatchPhase.ENDED:
            raise _refused(f"the batch is {batch.phase}; its results can be read when it has ended")
        if batch.archived_at is not None:
            raise RequestError(api_error(404, f"the results of this batch are gone since {rfc3339(batch.archived_at)}"))
        response = PiecesResponse(
            pieces=self._lines(batch.id),
            headers={"content-type": JSON_LINES},
            clock=self.clock,
            write_timeout_s=self.write_timeout_s,
        )
        await response(scope, receive, send)

    async def _lines(self, batch_id: str) -> AsyncGenerator[bytes, None]:
        async with aclosing(self.store.results(batch_id)) as results:
            async for custom_id, state, result in results:
                yield b'{"custom_id":%b,"result":%b}\n' % (dump_json(custom_id), result or _unanswered(state))

    async def _find(self, request: Request) -> Batch:
        check_version(request.headers.get("anthropic-version"))
        try:
            return await self.store.batch(request.path_params["message_batch_id"])
        except UnknownBatchError as error:
            raise RequestError(api_error(404, str(error))) from None


def _parsed(body: bytes, terms: Terms) -> NewBatch:
    batch = parse_batch_create_request(body, terms)
    return NewBatch(
        api_version=terms.version,
        betas=terms.betas,
        requests=[(request.custom_id, dump_json(request.params)) for request in batch.requests],
    )


def _wire(batch: Batch, request: Request) -> MessageBatch:
    readable = batch.phase is BatchPhase.ENDED and batch.archived_at is None
    path = f"/v1/messages/batches/{batch.id}/results"
    return MessageBatch(
        id=batch.id,
        processing_status=_status(batch.phase),
        request_counts=_counts(batch),
        created_at=rfc3339(batch.created_at),
        expires_at=rfc3339(batch.expires_at),
        ended_at=_time(batch.ended_at),
        cancel_initiated_at=_time(batch.cancel_initiated_at),
        archived_at=_time(batch.archived_at),
        results_url=str(request.url.replace(path=path, query="")) if readable else None,
    )


def _status(phase: BatchPhase) -> Literal["in_progress", "canceling", "ended"]:
    statuses: dict[BatchPhase, Literal["in_progress", "canceling", "ended"]] = {
        BatchPhase.IN_PROGRESS: "in_progress",
        BatchPhase.CANCELING: "canceling",
        BatchPhase.ENDED: "ended",
    }
    return statuses[phase]


def _counts(batch: Batch) -> RequestCounts:
    """Return the counts as the SDK describes them: "zero until processing of the entire Message Batch has ended"."""
    if batch.phase is not BatchPhase.ENDED:
        return RequestCounts(processing=sum(batch.counts.values()))
    return RequestCounts(
        succeeded=batch.counts.get(RequestState.SUCCEEDED, 0),
        errored=batch.counts.get(RequestState.ERRORED, 0),
        canceled=batch.counts.get(RequestState.CANCELED, 0),
        expired=batch.counts.get(RequestState.EXPIRED, 0),
    )


def _unanswered(state: RequestState) -> bytes:
    return dump_json(BatchCanceledResult() if state is RequestState.CANCELED else BatchExpiredResult())


def _time(unix_seconds: float | None) -> str | None:
    return None if unix_seconds is None else rfc3339(unix_seconds)


def _refused(message: str) -> RequestError:
    """Return the error of what contradicts the batch's state; the SDKs would try a 409 again at once."""
    return RequestError(api_error(409, message, retryable=False))


def _json(body: object) -> Response:
    return Response(dump_json(body), media_type="application/json")
