"""What a server says of its engines at `/engines`, and what `ps`, `load` and `unload` print of it. Values and text.

The values are core's, as the server has them; on the wire and in `--json` their times are RFC 3339. Fields that a newer
server adds are ignored; those that an older one lacks have defaults.
"""

from __future__ import annotations

import datetime as dt
import json
from collections.abc import Iterator
from typing import TypeVar, assert_never

import attrs
import cattrs.preconf.json
from cattrs.gen import make_dict_structure_fn, make_dict_unstructure_fn, override
from cattrs.preconf.json import JsonConverter
from rich.console import RenderableType
from rich.markup import escape

from pensieve_cli.printing import table
from pensieve_cli.wording import lately, megabytes, soon
from pensieve_core import EngineResidency, MemoryUse, Residency, ResidencyState

__all__ = [
    "EngineReport",
    "arrival",
    "converter",
    "engine_line",
    "engine_lines",
    "read_engine",
    "read_table",
]

_Read = TypeVar("_Read")


@attrs.frozen(kw_only=True)
class EngineReport:
    """All that `ps` prints: models that are in memory, on their way, or failed."""

    server: str
    memory: MemoryUse
    engines: tuple[EngineResidency, ...]

    @classmethod
    def of(cls, server: str, found: Residency) -> EngineReport:
        """Return the report of the server at the URL `server`."""
        held = tuple(engine for engine in found.engines if engine.state is not ResidencyState.UNLOADED)
        return cls(server=server, memory=found.memory, engines=held)


def read_table(body: bytes) -> Residency:
    """Read the body of `GET /engines`.

    Raises:
        ValueError: it is none.
    """
    return _read(body, Residency, needs="engines")


def read_engine(body: bytes) -> EngineResidency:
    """Read the body of `POST /engines/{model}/load` or `…/unload`; raises as `read_table`."""
    return _read(body, EngineResidency, needs="model")


def converter() -> JsonConverter:
    """Return what turns engines into the wire form, and back."""
    made = cattrs.preconf.json.make_converter()
    time = override(struct_hook=_read_time, unstruct_hook=_told_time)
    made.register_structure_hook(
        EngineResidency,
        make_dict_structure_fn(EngineResidency, made, loaded_at=time, last_used_at=time, unloads_at=time),
    )
    made.register_unstructure_hook(
        EngineResidency,
        make_dict_unstructure_fn(EngineResidency, made, loaded_at=time, last_used_at=time, unloads_at=time),
    )
    return made


def engine_lines(report: EngineReport, now: float) -> Iterator[RenderableType]:
    """Yield a table of what is in memory, and how much of it all take. `now`: Unix seconds."""
    if report.engines:
        columns = ("MODEL", "STATE", "MEMORY", "REQUESTS", "LAST USED", "UNLOADS")
        yield table(columns, (_row(engine, now) for engine in report.engines), right=("MEMORY", "REQUESTS"))
    else:
        yield f"No model is loaded on {report.server}. The first request for one loads it; so does load MODEL."
    yield from _sums(report.memory)
    yield from (f"[red]{escape(e.model)}[/red]: {escape(e.detail)}" for e in report.engines if e.detail)


def engine_line(engine: EngineResidency) -> str:
    """Return what has become of one engine, in a sentence."""
    facts: list[str] = [engine.state]
    if engine.state is not ResidencyState.UNLOADED:
        facts.extend(_memory(engine))
    if engine.pinned:
        facts.append("pinned")
    detail = f": {engine.detail}" if engine.detail else ""
    return f"[bold]{escape(engine.model)}[/bold] is {escape(', '.join(facts) + detail)}"


def arrival(engine: EngineResidency, name: str) -> tuple[str, float | None]:
    """Return what is going on while somebody waits for a model, and how much of it is loaded, 0 to 1.

    Args:
        engine: How it stands.
        name: What the model was called.
    """
    match engine.state:
        case ResidencyState.LOADING | ResidencyState.READY:
            return f"{name} is loading", engine.progress
        case ResidencyState.UNLOADED if engine.waiting:
            return f"{name} waits for others to make room", None
        case ResidencyState.DRAINING:
            return f"{name} is leaving, and comes back", None
        case ResidencyState.UNLOADED | ResidencyState.FAILED:
            return f"{name} is loading", None
        case _:
            assert_never(engine.state)


def _sums(memory: MemoryUse) -> Iterator[str]:
    if memory.budget_bytes is not None:
        yield f"{megabytes(memory.used_bytes or 0)} of {megabytes(memory.budget_bytes)} set aside"
    if memory.gpu_budget_bytes is not None:
        yield f"{megabytes(memory.gpu_used_bytes or 0)} of {megabytes(memory.gpu_budget_bytes)} set aside on the GPU"


def _memory(engine: EngineResidency) -> Iterator[str]:
    """Yield what is set aside for one."""
    if engine.memory_bytes is not None:
        yield megabytes(engine.memory_bytes)
    if engine.gpu_bytes is not None:
        yield f"{megabytes(engine.gpu_bytes)} on the GPU"


def _read(body: bytes, kind: type[_Read], *, needs: str) -> _Read:
    try:
        document = json.loads(body)
        document[needs]
        return converter().structure(document, kind)
    except (cattrs.BaseValidationError, KeyError, TypeError, ValueError) as error:
        msg = "its /engines is not ours"
        raise ValueError(msg) from error


def _row(engine: EngineResidency, now: float) -> tuple[str, ...]:
    state = f"loading ({engine.progress:.0%})" if engine.state is ResidencyState.LOADING else engine.state
    requests = f"{engine.requests} and {engine.waiting} waiting" if engine.waiting else str(engine.requests)
    return (
        engine.model,
        f"{state}, pinned" if engine.pinned else state,
        " + ".join(_memory(engine)),
        requests,
        "" if engine.last_used_at is None else lately(now - engine.last_used_at),
        "never" if engine.unloads_at is None else soon(engine.unloads_at - now),
    )


def _read_time(time: str | None, _: object) -> float | None:
    return None if time is None else dt.datetime.fromisoformat(time).timestamp()


def _told_time(seconds: float | None) -> str | None:
    return None if seconds is None else dt.datetime.fromtimestamp(seconds, dt.UTC).isoformat().replace("+00:00", "Z")
