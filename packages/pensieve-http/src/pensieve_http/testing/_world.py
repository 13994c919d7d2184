"""The whole application over an engine that plays scripts, on a clock that a test moves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import TypedDict

import attrs
import structlog
from starlette.types import ASGIApp
from structlog.testing import LogCapture
from structlog.typing import EventDict, FilteringBoundLogger

from pensieve_core import Clock, ModelDescriptor, RequestId
from pensieve_http.app import create_app, create_batch_runner
from pensieve_http.batches.runner import BatchRunner
from pensieve_http.drain import Drain
from pensieve_http.settings import HttpSettings
from pensieve_http.storage import BatchStore, Database, Storage
from pensieve_http.testing._bridge import AppClient
from pensieve_inference import EngineProvider, ModelCatalog
from pensieve_inference.testing import (
    FakeClock,
    InMemoryCatalog,
    InMemoryFileStore,
    Script,
    ScriptedEngine,
    ScriptedProvider,
)

__all__ = ["SoleClaim", "World", "build_world", "captured_log"]


@attrs.frozen(kw_only=True)
class World:
    """An application and all that it was given."""

    app: ASGIApp
    client: AppClient
    engine: ScriptedEngine
    clock: FakeClock
    drain: Drain
    storage: Storage
    batches: BatchRunner
    """To be run by the test."""
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
    storage: Storage | None = None,
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
        storage: Instead of one in memory.
        window: Of the client: how many messages the application may send ahead of the test.
    """
    clock = FakeClock()
    log, capture = captured_log()
    engine = ScriptedEngine(*scripts, model=model, clock=clock, max_running=max_running)
    drain = Drain(clock)
    settings = settings or HttpSettings(signing_key=bytes(32))
    storage = storage or _in_memory(settings, clock)
    of_both = _OfBoth(
        catalog=catalog or InMemoryCatalog(engine.description.model),
        engines=provider(engine),
        settings=settings,
        clock=clock,
        drain=drain,
        storage=storage,
        log=log,
    )
    app = create_app(**of_both, new_id=_numbered_ids())
    return World(
        app=app,
        client=AppClient(app, window=window),
        engine=engine,
        clock=clock,
        drain=drain,
        storage=storage,
        batches=create_batch_runner(**of_both, claim=SoleClaim()),
        log=capture.entries,
    )


class _OfBoth(TypedDict):
    """What the application and the runner of batches have in common."""

    catalog: ModelCatalog
    engines: EngineProvider
    settings: HttpSettings
    clock: Clock
    drain: Drain
    storage: Storage
    log: FilteringBoundLogger


class SoleClaim:
    """`Claim` where there is nobody else."""

    def take(self) -> bool:
        """Return True."""
        return True

    def release(self) -> None:
        """Do nothing."""


def _in_memory(settings: HttpSettings, clock: Clock) -> Storage:
    return Storage(
        files=InMemoryFileStore(clock=clock, limits=settings.file_limits),
        batches=BatchStore(Database(None), clock, limits=settings.batch_limits),
    )


def captured_log() -> tuple[FilteringBoundLogger, LogCapture]:
    """Return a log, and where its entries go."""
    capture, everything = LogCapture(), structlog.make_filtering_bound_logger(0)
    log: FilteringBoundLogger = structlog.wrap_logger(None, processors=[capture], wrapper_class=everything)
    return log, capture


def _numbered_ids() -> Callable[[], RequestId]:
    numbers = itertools.count(1)
    return lambda: RequestId(f"req_{next(numbers):04}")
