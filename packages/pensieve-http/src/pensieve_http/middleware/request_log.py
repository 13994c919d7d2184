"""Request ids, the one canonical log line per request, and its part in the metrics.

Outermost: everything further in finds the request's record in the scope and writes into it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.typing import FilteringBoundLogger

from pensieve_core import Clock, RequestId
from pensieve_http.activity import Activity
from pensieve_http.metrics import Metrics
from pensieve_http.record import RECORD_KEY, Ending, RequestRecord

__all__ = ["RequestLog"]

_QUIET_PATHS = frozenset({"/healthz", "/readyz", "/metrics", "/status"})
"""Probes and status lines call them every few seconds: their lines are for debugging."""
_LOOKED_AT = "/engines"
"""Likewise, when it is read: `pensieve-server load` does while it waits."""


class RequestLog:
    """Gives each request an id and a record, sends the id, and counts and logs the record at the end.

    `activity` is told of both ends.

    The header is `request-id`; OpenAI's clients look for `x-request-id`.
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        new_id: Callable[[], RequestId],
        clock: Clock,
        log: FilteringBoundLogger,
        metrics: Metrics,
        activity: Activity,
    ) -> None:
        self._app = app
        self._new_id = new_id
        self._clock = clock
        self._log = log
        self._metrics = metrics
        self._activity = activity

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        record = self._record(scope)
        scope[RECORD_KEY] = record
        self._activity.began(record)
        try:
            await self._app(scope, receive, self._noting(record, send))
        except asyncio.CancelledError:
            record.ending = Ending.CANCELLED
            raise
        finally:
            now = self._clock.monotonic()
            self._metrics.note(record, now)
            self._activity.ended(record, now)
            self._write(record, record.line(now))

    def _record(self, scope: Scope) -> RequestRecord:
        now = self._clock.monotonic()
        return RequestRecord(id=self._new_id(), method=scope["method"], path=scope["path"], started_at=now)

    def _noting(self, record: RequestRecord, send: Send) -> Send:
        async def noting_send(message: Message) -> None:
            if message["type"] == "http.response.start":
                record.status = message["status"]
                record.ttfb_s = self._clock.monotonic() - record.started_at
                headers = MutableHeaders(scope=message)
                headers["request-id"] = headers["x-request-id"] = record.id
            await send(message)

        return noting_send

    def _write(self, record: RequestRecord, line: Mapping[str, object]) -> None:
        looks = record.method == "GET" and record.path.startswith(_LOOKED_AT)
        if looks or record.path in _QUIET_PATHS:
            self._log.debug("request_finished", **line)
        else:
            self._log.info("request_finished", **line)
