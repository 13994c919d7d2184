"""One request of a batch, answered by the way that `POST /v1/messages` takes, and at the lowest priority.

What that endpoint would answer with an error is here a result, too. Only what may be better later is none: an
overloaded engine, a server that goes down.
"""

from __future__ import annotations

from collections.abc import Callable

import attrs
from structlog.typing import FilteringBoundLogger

from pensieve_core import Clock, Origin, OverloadedError, Priority, RequestId, SessionId
from pensieve_http.batches.machine import RequestEvent
from pensieve_http.endpoints.messages import Messages
from pensieve_http.errors import ErrorTranslator
from pensieve_http.record import RECORD_KEY, RequestRecord
from pensieve_http.storage.batch_store import PendingRequest
from pensieve_protocol import (
    ApiError,
    BatchErroredResult,
    BatchSucceededResult,
    Terms,
    dump_json,
    error_event,
    parse_messages_request,
)

__all__ = ["BatchAnswerer"]


@attrs.frozen(kw_only=True, eq=False)
class BatchAnswerer:
    """Answers requests of batches; logs one line for each."""

    messages: Messages
    translator: ErrorTranslator
    clock: Clock
    log: FilteringBoundLogger
    new_id: Callable[[], RequestId]
    strict: bool

    async def answer(self, request: PendingRequest) -> tuple[RequestEvent, bytes]:
        """Return how it went, and the `result` of its line.

        Raises:
            OverloadedError: not now; it is to be tried again.
        """
        record = self._record(request)
        try:
            return RequestEvent.ANSWERED, await self._succeeded(request, record)
        except OverloadedError as error:
            record.error_type = self._translated(error, record).type
            raise
        except Exception as error:  # noqa: BLE001 - the request edge
            refusal = self._translated(error, record)
            record.error_type = refusal.type
            return RequestEvent.FAILED, dump_json(BatchErroredResult(error=error_event(refusal, record.id)))
        finally:
            self.log.info("batch_request_finished", **record.line(self.clock.monotonic()))

    async def _succeeded(self, request: PendingRequest, record: RequestRecord) -> bytes:
        terms = Terms(version=request.api_version, betas=request.betas, strict=self.strict)
        accepted = await self.messages.intake.accept(parse_messages_request, request.params, terms, record)
        return dump_json(BatchSucceededResult(message=await self.messages.whole(accepted)))

    def _record(self, request: PendingRequest) -> RequestRecord:
        batch_id = request.candidate.batch_id
        return RequestRecord(
            id=self.new_id(),
            method="BATCH",
            path=f"/v1/messages/batches/{batch_id}",
            started_at=self.clock.monotonic(),
            origin=Origin(session=SessionId(batch_id), priority=Priority.BATCH),
        )

    def _translated(self, error: Exception, record: RequestRecord) -> ApiError:
        return self.translator.translate(error, {"method": record.method, "path": record.path, RECORD_KEY: record})
