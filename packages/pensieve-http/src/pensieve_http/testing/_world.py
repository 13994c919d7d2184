"""The whole application over an engine that plays scripts, on a clock that a test moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import attrs
import structlog
from starlette.types import ASGIApp
from structlog.testing import LogCapture
from structlog.typing import EventDict, FilteringBoundLogger

from pensieve_core import ModelDescriptor, RequestId
from pensieve_http.app import create_app
from pensieve_http.drain import Drain
from pensieve_http.settings import HttpSettings
from pensieve_http.testing._bridge import AppClient
from pensieve_inference import EngineProvider, FileStore, ModelCatalog
from pensieve_inference.testing import (
    FakeClock,
    InMemoryCatalog,
    InMemoryFileStore,
    Script,
    ScriptedEngine,
    ScriptedProvider,
)

__all__ = ["World", "build_world"]


@attrs.frozen(kw_only=True)
class World:
    """An application and all that it was given."""

    app: ASGIApp
    client: AppClient
    engine: ScriptedEngine
    clock: FakeClock
    drain: Drain
    files: FileStore
    log: list[EventDict]
    """Every log entry so far."""

    def lines(self) -> list[EventDict]:
        """Return the canonical request lines so far."""
        return [entry for entry in self.log if entry["event"] == "request_finished"]


def build_world(
    *scripts: Script,
    settings: HttpSettings | None = None,
    model: ModelDescriptor | None = None,
    catalog: ModelCatalog | None = None,
    provider: Callable[[ScriptedEngine], EngineProvider] = ScriptedProvider,
    max_running: int = 64,
    files: FileStore | None = None,
    window: int = 1_000,
) -> World:
    """Return a world in which the engine plays `scripts`.

    Args:
        scripts: One per request; the last is repeated.
        settings: Of the application.
        model: Of engine and catalog.
        catalog: Instead of one that holds `model` alone.
        provider: Makes the provider of the engine.
        max_running: Of the engine; further requests are refused.
        files: Instead of a store in memory.
        window: Of the client: how many messages the application may send ahead of the test.
    """
    clock, capture = FakeClock(), LogCapture()
    engine = ScriptedEngine(*scripts, model=model, clock=clock, max_running=max_running)
    drain = Drain(clock)
    limits = (settings or HttpSettings()).file_limits
    files = files or InMemoryFileStore(clock=clock, limits=limits)
    app = create_app(
        catalog=catalog or InMemoryCatalog(engine.description.model),
        engines=provider(engine),
        settings=settings or HttpSettings(signing_key=bytes(32)),
        clock=clock,
        drain=drain,
        files=files,
        log=_captured(capture),
        new_id=_numbered_ids(),
    )
    client = AppClient(app, window=window)
    return World(app=app, client=client, engine=engine, clock=clock, drain=drain, files=files, log=capture.entries)


def _captured(capture: LogCapture) -> FilteringBoundLogger:
    everything = structlog.make_filtering_bound_logger(0)
    log: FilteringBoundLogger = structlog.wrap_logger(None, processors=[capture], wrapper_class=everything)
    return log


def _numbered_ids() -> Callable[[], RequestId]:
    numbers = itertools.count(1)
    return lambda: RequestId(f"req_{next(numbers):04}")
