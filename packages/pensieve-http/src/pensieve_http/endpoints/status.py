"""`GET /status`: which models are loaded, and what they are doing; for a status line and for `doctor`.

Asked for every second, so it computes nothing and loads nothing. Behind the key, for it tells of requests: figures
and hashes, no texts.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response

from pensieve_core import Clock, EngineDescription, EnginePhase, EngineStatus, MemoryTerm, ModelId
from pensieve_http.activity import Activity, AnsweredRequest, RunningRequest, Totals
from pensieve_http.cache_breaks import CacheBreak
from pensieve_http.endpoints.health import Health
from pensieve_http.operation import JSON, Body, Endpoint, Operation
from pensieve_inference import EngineProvider
from pensieve_protocol import dump_json

__all__ = ["EngineReport", "Status", "StatusReport"]


@attrs.frozen(kw_only=True)
class EngineReport:
    """One engine: its state, and what was fitted once it is loaded."""

    model: ModelId
    phase: EnginePhase
    progress: float
    """Of loading, 0 to 1."""
    detail: str
    """Its last words when it is broken."""
    engine: str | None = None
    """Name and version; this and what follows are known once it is loaded."""
    context_tokens: int | None = None
    max_sequences: int | None = None
    threads: int | None = None
    gpu_layers: int | None = None
    notes: tuple[str, ...] = ()
    memory: tuple[MemoryTerm, ...] = ()
    """What it was predicted to take, term by term; empty where the engine does not know."""


@attrs.frozen(kw_only=True)
class StatusReport:
    """What `GET /status` answers."""

    version: str
    pid: int
    """Of the server's process."""
    default_model: ModelId | None
    ready: bool
    reason: str | None
    """Why it is not."""
    draining: bool
    """It is going down, and lets nobody in."""
    engines: tuple[EngineReport, ...]
    """Every engine that was ever asked for."""
    running: tuple[RunningRequest, ...]
    """The oldest first."""
    answered: tuple[AnsweredRequest, ...]
    """The last ones, the newest first."""
    totals: Totals
    cache_breaks: tuple[CacheBreak, ...]
    """The last prompts that did not go on where their session's last one ended, the newest first."""


GET_STATUS = Operation(
    name="get_status",
    summary="Say which models are loaded, what is running, how far it is, and what the cache was good for",
    answers={200: (Body(type=StatusReport),)},
)


@attrs.frozen(kw_only=True, eq=False)
class Status:
    """The endpoint."""

    health: Health
    engines: EngineProvider
    activity: Activity
    clock: Clock
    version: str

    def endpoints(self) -> Sequence[Endpoint]:
        """Return it."""
        return [Endpoint(method="GET", path="/status", app=request_response(self.status), operation=GET_STATUS)]

    async def status(self, _request: Request) -> Response:
        """`GET /status`."""
        return Response(dump_json(self.report()), media_type=JSON)

    def report(self) -> StatusReport:
        """Return what is known now."""
        now, statuses = self.clock.monotonic(), self.engines.statuses()
        readiness = self.health.readiness(statuses)
        return StatusReport(
            version=self.version,
            pid=os.getpid(),
            default_model=self.health.default_model,
            ready=readiness.ready,
            reason=readiness.reason,
            draining=self.health.drain.draining,
            engines=tuple(_engine(status, self.engines.loaded(status.model)) for status in statuses),
            running=self.activity.running(now),
            answered=self.activity.answered(now),
            totals=self.activity.totals,
            cache_breaks=self.activity.breaks.last(),
        )


def _engine(status: EngineStatus, loaded: EngineDescription | None) -> EngineReport:
    report = EngineReport(model=status.model, phase=status.phase, progress=status.progress, detail=status.detail)
    if loaded is None:
        return report
    return attrs.evolve(
        report,
        engine=loaded.engine,
        context_tokens=loaded.context_tokens,
        max_sequences=loaded.max_sequences,
        threads=loaded.threads,
        gpu_layers=loaded.gpu_layers,
        notes=loaded.notes,
        memory=loaded.memory,
    )
