"""What a server says of its engines at `/engines`, and what `ps`, `load` and `unload` print of it. Values and text.

Fields that a newer server adds are ignored; those that an older one lacks have defaults.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterator
from typing import TypeVar

import attrs
import cattrs.preconf.json
from rich.console import RenderableType
from rich.markup import escape

from pensieve_cli.printing import table
from pensieve_cli.wording import lately, megabytes, soon

__all__ = [
    "Engine",
    "EngineReport",
    "EngineTable",
    "Memory",
    "arrival",
    "engine_line",
    "engine_lines",
    "read_engine",
    "read_table",
]

_Read = TypeVar("_Read")
_OUT_OF_MEMORY = "unloaded"


@attrs.frozen(kw_only=True)
class Memory:
    """What all models together may take, and what they take: of RAM, and of all GPUs."""

    budget_bytes: int | None = None
    used_bytes: int | None = None
    gpu_budget_bytes: int | None = None
    gpu_used_bytes: int | None = None


@attrs.frozen(kw_only=True)
class Engine:
    """One model and its place in memory. Times are RFC 3339."""

    model: str
    state: str
    """unloaded, loading, ready, draining or failed."""
    memory_bytes: int | None = None
    """What is set aside for it, of RAM."""
    gpu_bytes: int | None = None
    """Likewise of the GPUs."""
    resident_bytes: int | None = None
    """What its process takes."""
    pinned: bool = False
    requests: int = 0
    waiting: int = 0
    progress: float = 0.0
    detail: str = ""
    loaded_at: str | None = None
    last_used_at: str | None = None
    unloads_at: str | None = None


@attrs.frozen(kw_only=True)
class EngineTable:
    """What `GET /engines` answers."""

    memory: Memory = Memory()
    engines: tuple[Engine, ...]


@attrs.frozen(kw_only=True)
class EngineReport:
    """All that `ps` prints: models that are in memory, on their way, or failed."""

    server: str
    memory: Memory
    engines: tuple[Engine, ...]

    @classmethod
    def of(cls, server: str, found: EngineTable) -> EngineReport:
        """Return the report of the server at the URL `server`."""
        held = tuple(engine for engine in found.engines if engine.state != _OUT_OF_MEMORY)
        return cls(server=server, memory=found.memory, engines=held)


def read_table(body: bytes) -> EngineTable:
    """Read the body of `GET /engines`.

    Raises:
        ValueError: it is none.
    """
    return _read(body, EngineTable)


def read_engine(body: bytes) -> Engine:
    """Read the body of `POST /engines/{model}/load` or `…/unload`; raises as `read_table`."""
    return _read(body, Engine)


def engine_lines(report: EngineReport, now: float) -> Iterator[RenderableType]:
    """Yield a table of what is in memory, and how much of it all take. `now`: Unix seconds."""
    if report.engines:
        columns = ("MODEL", "STATE", "MEMORY", "REQUESTS", "LAST USED", "UNLOADS")
        yield table(columns, (_row(engine, now) for engine in report.engines), right=("MEMORY", "REQUESTS"))
    else:
        yield f"No model is loaded on {report.server}. The first request for one loads it; so does load MODEL."
    yield from _sums(report.memory)
    yield from (f"[red]{escape(e.model)}[/red]: {escape(e.detail)}" for e in report.engines if e.detail)


def engine_line(engine: Engine) -> str:
    """Return what has become of one engine, in a sentence."""
    facts = [engine.state]
    if engine.state != _OUT_OF_MEMORY:
        facts.extend(_memory(engine))
    if engine.pinned:
        facts.append("pinned")
    detail = f": {engine.detail}" if engine.detail else ""
    return f"[bold]{escape(engine.model)}[/bold] is {escape(', '.join(facts) + detail)}"


def arrival(engine: Engine, name: str) -> tuple[str, float | None]:
    """Return what is going on while somebody waits for a model, and how much of it is loaded, 0 to 1.

    Args:
        engine: How it stands.
        name: What the model was called.
    """
    match engine.state:
        case "loading" | "ready":
            return f"{name} is loading", engine.progress
        case "unloaded" if engine.waiting:
            return f"{name} waits for others to make room", None
        case "draining":
            return f"{name} is leaving, and comes back", None
        case _:
            return f"{name} is loading", None


def _sums(memory: Memory) -> Iterator[str]:
    if memory.budget_bytes is not None:
        yield f"{megabytes(memory.used_bytes or 0)} of {megabytes(memory.budget_bytes)} set aside"
    if memory.gpu_budget_bytes is not None:
        yield f"{megabytes(memory.gpu_used_bytes or 0)} of {megabytes(memory.gpu_budget_bytes)} set aside on the GPU"


def _memory(engine: Engine) -> Iterator[str]:
    """Yield what is set aside for one."""
    if engine.memory_bytes is not None:
        yield megabytes(engine.memory_bytes)
    if engine.gpu_bytes is not None:
        yield f"{megabytes(engine.gpu_bytes)} on the GPU"


def _read(body: bytes, kind: type[_Read]) -> _Read:
    try:
        return cattrs.preconf.json.make_converter().loads(body, kind)
    except (cattrs.BaseValidationError, KeyError, TypeError, ValueError) as error:
        msg = "its /engines is not ours"
        raise ValueError(msg) from error


def _row(engine: Engine, now: float) -> tuple[str, ...]:
    state = f"loading ({engine.progress:.0%})" if engine.state == "loading" else engine.state
    requests = f"{engine.requests} and {engine.waiting} waiting" if engine.waiting else str(engine.requests)
    return (
        engine.model,
        f"{state}, pinned" if engine.pinned else state,
        " + ".join(_memory(engine)),
        requests,
        "" if engine.last_used_at is None else lately(now - _seconds(engine.last_used_at)),
        "never" if engine.unloads_at is None else soon(_seconds(engine.unloads_at) - now),
    )


def _seconds(time: str) -> float:
    return dt.datetime.fromisoformat(time).timestamp()
