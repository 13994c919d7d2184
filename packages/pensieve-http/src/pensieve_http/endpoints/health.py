"""Is the process alive, can it answer, which version is it. Open to everybody, and telling nothing of requests."""

from __future__ import annotations

import attrs
from starlette.requests import Request
from starlette.responses import Response

from pensieve_core import EnginePhase, EngineStatus, ModelId
from pensieve_http.drain import Drain
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


@attrs.frozen(kw_only=True, eq=False)
class Health:
    """The probes' endpoints."""

    catalog: ModelCatalog
    engines: EngineProvider
    drain: Drain
    version: str

    async def root(self, _request: Request) -> Response:
        """`GET /`, `HEAD /`: Claude Code knocks here first."""
        return _json({"name": "pensieve-server", "version": self.version, "api": "/v1/messages"})

    async def healthz(self, _request: Request) -> Response:
        """`GET /healthz`: the event loop turns."""
        return _json({"status": "ok"})

    async def readyz(self, _request: Request) -> Response:
        """`GET /readyz`: 200, or 503 with the reason; either way all engines."""
        statuses = self.engines.statuses()
        found = self._readiness(statuses)
        body = {"status": "ready" if found.ready else "unavailable", "reason": found.reason, "engines": statuses}
        return _json(body, status=200 if found.ready else 503)

    async def version_of_server(self, _request: Request) -> Response:
        """`GET /version`."""
        return _json({"name": "pensieve-server", "version": self.version, "api_versions": API_VERSIONS})

    def _readiness(self, statuses: tuple[EngineStatus, ...]) -> Readiness:
        if self.drain.draining:
            return Readiness(ready=False, reason="the server is shutting down")
        models = self.catalog.models()
        return readiness(models[0].id if models else None, statuses)


def _json(body: object, *, status: int = 200) -> Response:
    return Response(dump_json(body), status_code=status, media_type="application/json")
