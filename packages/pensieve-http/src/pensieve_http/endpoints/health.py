"""Is the process alive, can it answer, which version is it: open to everybody. And for who has a key: its metrics."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import attrs
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import request_response

from pensieve_core import EnginePhase, EngineStatus, ModelId
from pensieve_http.drain import Drain
from pensieve_http.metrics import CONTENT_TYPE, Metrics
from pensieve_http.operation import TEXT, Body, Endpoint, Operation
from pensieve_inference import EngineProvider, ModelCatalog
from pensieve_protocol import API_VERSIONS, dump_json

__all__ = ["Health", "Readiness", "readiness"]


@attrs.frozen(kw_only=True)
class Readiness:
    """Whether a request would be answered soon, and if not, why."""

    ready: bool
    reason: str | None = None


def readiness(default: ModelId | None, statuses: tuple[EngineStatus, ...]) -> Readiness:
    """Judge the engines. An engine that nobody asked for yet is loaded on demand, and no obstacle.

    The default model decides, if it was ever asked for: most names mean it. Otherwise one engine that is ready is
    enough.
    """
    if default is None:
        return Readiness(ready=False, reason="no model is installed")
    decisive = [status for status in statuses if status.model == default] or list(statuses)
    if any(status.phase is EnginePhase.READY for status in decisive):
        return Readiness(ready=True)
    obstacles = [_obstacle(status) for status in decisive if status.phase in _OBSTACLES]
    return Readiness(ready=not obstacles, reason="; ".join(obstacles) or None)


_OBSTACLES = (EnginePhase.LOADING, EnginePhase.BROKEN)


def _obstacle(status: EngineStatus) -> str:
    if status.phase is EnginePhase.LOADING:
        return f"model {status.model} is loading ({status.progress:.0%})"
    return f"model {status.model} is broken: {status.detail or 'no details'}"


@attrs.frozen(kw_only=True)
class ServerName:
    """What `GET /` answers."""

    name: Literal["pensieve-server"] = "pensieve-server"
    version: str
    api: str = "/v1/messages"


@attrs.frozen(kw_only=True)
class ServerVersion:
    """What `GET /version` answers."""

    name: Literal["pensieve-server"] = "pensieve-server"
    version: str
    api_versions: tuple[str, ...] = API_VERSIONS
    """Accepted values of the header `anthropic-version`."""


@attrs.frozen(kw_only=True)
class Alive:
    """What `GET /healthz` answers, as long as it answers."""

    status: Literal["ok"] = "ok"


@attrs.frozen(kw_only=True)
class ReadinessReport:
    """What `GET /readyz` answers."""

    status: Literal["ready", "unavailable"]
    reason: str | None
    engines: tuple[EngineStatus, ...]
    """Every engine that was ever asked for."""


@attrs.frozen(kw_only=True, eq=False)
class Health:
    """The probes' endpoints."""

    catalog: ModelCatalog
    engines: EngineProvider
    drain: Drain
    metrics: Metrics
    version: str

    def endpoints(self) -> Sequence[Endpoint]:
        """Return them all."""
        return [
            Endpoint(method="GET", path=path, app=request_response(answer), operation=operation)
            for path, answer, operation in (
                ("/", self.root, _ROOT),
                ("/healthz", self.healthz, _HEALTHZ),
                ("/readyz", self.readyz, _READYZ),
                ("/version", self.version_of_server, _VERSION),
                ("/metrics", self.counts, _METRICS),
            )
        ]

    async def root(self, _request: Request) -> Response:
        """`GET /`, `HEAD /`: Claude Code knocks here first."""
        return _json(ServerName(version=self.version))

    async def healthz(self, _request: Request) -> Response:
        """`GET /healthz`: the event loop turns."""
        return _json(Alive())

    async def readyz(self, _request: Request) -> Response:
        """`GET /readyz`: 200, or 503 with the reason; either way all engines."""
        statuses = self.engines.statuses()
        found = self.readiness(statuses)
        report = ReadinessReport(
            status="ready" if found.ready else "unavailable", reason=found.reason, engines=statuses
        )
        return _json(report, status=200 if found.ready else 503)

    async def version_of_server(self, _request: Request) -> Response:
        """`GET /version`."""
        return _json(ServerVersion(version=self.version))

    async def counts(self, _request: Request) -> Response:
        """`GET /metrics`; asks for a key like the API, for it tells how much the server is used."""
        return Response(self.metrics.exposition(), media_type=CONTENT_TYPE)

    @property
    def default_model(self) -> ModelId | None:
        """The model that is meant by most names; None: there is no model."""
        models = self.catalog.models()
        return models[0].id if models else None

    def readiness(self, statuses: tuple[EngineStatus, ...]) -> Readiness:
        """Judge the server as it is now."""
        if self.drain.draining:
            return Readiness(ready=False, reason="the server is shutting down")
        return readiness(self.default_model, statuses)


_ROOT = Operation(
    name="get_root",
    summary="Say what answers here",
    answers={200: (Body(type=ServerName),)},
)
_HEALTHZ = Operation(
    name="get_health",
    summary="Say that the process is alive",
    answers={200: (Body(type=Alive),)},
)
_READYZ = Operation(
    name="get_readiness",
    summary="Say whether a request would be answered soon; if not, why",
    answers={200: (Body(type=ReadinessReport),), 503: (Body(type=ReadinessReport),)},
)
_VERSION = Operation(
    name="get_version",
    summary="Say which version this is",
    answers={200: (Body(type=ServerVersion),)},
)
_METRICS = Operation(
    name="get_metrics",
    summary="Tell what was counted, in Prometheus' text format",
    answers={200: (Body(type=str, media_type=TEXT),)},
)


def _json(body: object, *, status: int = 200) -> Response:
    return Response(dump_json(body), status_code=status, media_type="application/json")
