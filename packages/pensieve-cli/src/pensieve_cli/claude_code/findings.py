"""From facts to findings: what is well, what is not, and what to do. Pure; the doctor gathers the facts and prints.

Each finding is one line, and one more when there is something to do: all of them fit on a screen.
"""

from __future__ import annotations

import enum
from collections.abc import Iterator, Sequence

import attrs

from pensieve_cli.claude_code.launch import Target, profile_for
from pensieve_cli.errors import CommandError
from pensieve_cli.server_status import Answering, Break, Engine, Locked, Nobody, Port, Stranger
from pensieve_cli.wording import FIRST_MODEL, megabytes

__all__ = ["Facts", "Finding", "Level", "Machine", "RoundTrip", "findings"]

_SHOWN_BREAKS = 3


class Level(enum.StrEnum):
    """How much a finding matters."""

    OK = "ok"
    NOTE = "note"
    """Works; could be better."""
    PROBLEM = "problem"


@attrs.frozen(kw_only=True)
class Finding:
    """One line."""

    name: str
    level: Level
    text: str
    advice: str | None = None


@attrs.frozen(kw_only=True)
class Machine:
    """What the engine was built for, and what this machine has."""

    engine: str
    used: tuple[str, ...]
    """CPU features, by llama.cpp's names."""
    present: tuple[str, ...]
    """Of those that it has code for; empty where the system does not tell."""
    gpus: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class RoundTrip:
    """One small request, answered."""

    status: int
    seconds: float
    said: str = ""


@attrs.frozen(kw_only=True)
class Facts:
    """All that was gathered. None: it could not be, or there was nobody to ask."""

    url: str
    version: str
    machine: Machine | None
    model: str | None
    model_bytes: int
    available_bytes: int
    port: Port
    keys: int
    claude: str | None
    """Its path."""
    claude_version: str | None
    round_trip: RoundTrip | None


def findings(facts: Facts) -> tuple[Finding, ...]:
    """Return what there is to say, in the order in which a start would meet it."""
    return (
        *_of_machine(facts.machine, facts.version),
        _of_memory(facts),
        _of_port(facts),
        _of_key(facts),
        _of_claude(facts),
        *_of_server(facts),
    )


def _of_machine(machine: Machine | None, version: str) -> Iterator[Finding]:
    if machine is None:
        advice = "install it again: make install"
        yield Finding(name="engine", level=Level.PROBLEM, text=f"Pensieve {version}; llama.cpp fails", advice=advice)
        return
    yield Finding(name="engine", level=Level.OK, text=f"Pensieve {version}, {machine.engine}")
    yield _of_cpu(machine)
    yield Finding(name="GPU", level=Level.OK, text=", ".join(machine.gpus) or "none that llama.cpp was built for")


def _of_cpu(machine: Machine) -> Finding:
    unused = [feature for feature in machine.present if feature not in machine.used]
    used = ", ".join(feature for feature in machine.used if feature in machine.present) or ", ".join(machine.used)
    if not unused:
        return Finding(name="CPU", level=Level.OK, text=f"uses {used}; leaves none unused")
    return Finding(
        name="CPU",
        level=Level.NOTE,
        text=f"uses {used}; does not use {', '.join(unused)}",
        advice="compile llama.cpp on this very machine: uv sync --reinstall-package llama-cpp-python",
    )


def _of_memory(facts: Facts) -> Finding:
    fitted = _engine(facts)
    if fitted is not None and fitted.notes:
        return Finding(name="memory", level=Level.OK, text=fitted.notes[0])
    if facts.model is None:
        return Finding(name="memory", level=Level.PROBLEM, text="no model was found", advice=FIRST_MODEL)
    text = f"{facts.model} takes {megabytes(facts.model_bytes)} of {megabytes(facts.available_bytes)} available"
    if facts.model_bytes < facts.available_bytes:
        return Finding(name="memory", level=Level.OK, text=text)
    advice = "choose a smaller model or quantization: pensieve-server list"
    return Finding(name="memory", level=Level.PROBLEM, text=text, advice=advice)


def _of_port(facts: Facts) -> Finding:
    match facts.port:
        case Answering(status=status):
            reason = "" if status.ready else f"; not ready: {status.reason}"
            text = f"{facts.url}: Pensieve {status.version}, process {status.pid}{reason}"
            return Finding(name="server", level=Level.OK if status.ready else Level.NOTE, text=text)
        case Nobody():
            advice = "pensieve-server claude starts one; so does pensieve-server"
            return Finding(name="server", level=Level.NOTE, text=f"{facts.url}: nothing listens", advice=advice)
        case Locked():
            advice = "give its key: --api-key or --api-key-file"
            return Finding(name="server", level=Level.PROBLEM, text=f"{facts.url}: wants a key", advice=advice)
        case Stranger(said=said):
            advice = "choose another --port, or stop what listens there"
            text = f"{facts.url}: not this pensieve-server ({said})"
            return Finding(name="server", level=Level.PROBLEM, text=text, advice=advice)


def _of_key(facts: Facts) -> Finding:
    text = f"{facts.keys} of the settings" if facts.keys else "none is needed"
    return Finding(name="key", level=Level.OK, text=text)


def _of_claude(facts: Facts) -> Finding:
    if facts.claude is None:
        advice = "npm install -g @anthropic-ai/claude-code"
        return Finding(name="Claude Code", level=Level.PROBLEM, text="not found", advice=advice)
    text = f"{facts.claude_version or 'does not tell its version'}, {facts.claude}"
    return Finding(name="Claude Code", level=Level.OK if facts.claude_version else Level.NOTE, text=text)


def _of_server(facts: Facts) -> Iterator[Finding]:
    engine = _engine(facts)
    if engine is not None and engine.context_tokens is not None:
        yield _of_context(facts.url, engine.model, engine.context_tokens)
    if facts.round_trip is not None:
        yield _of_round_trip(facts.round_trip)
    if isinstance(facts.port, Answering):
        yield from _of_cache(facts.port.status.cache_breaks)


def _of_context(url: str, model: str, context_tokens: int) -> Finding:
    target = Target(url=url, token=None, model=model, context_tokens=context_tokens)
    try:
        profile = profile_for(target).value
    except CommandError as error:
        return Finding(name="context", level=Level.PROBLEM, text=error.message)
    return Finding(name="context", level=Level.OK, text=f"{context_tokens:,} tokens: Claude Code's {profile} prompt")


def _of_round_trip(trip: RoundTrip) -> Finding:
    text = f"{trip.status} in {trip.seconds:.2f} s"
    if trip.status == 200:  # noqa: PLR2004 - HTTP's own
        return Finding(name="round trip", level=Level.OK, text=text)
    log = "look into the server's log"
    return Finding(name="round trip", level=Level.PROBLEM, text=f"{text}: {trip.said}", advice=log)


def _of_cache(breaks: Sequence[Break]) -> Iterator[Finding]:
    if not breaks:
        yield Finding(name="cache", level=Level.OK, text="no conversation lost its beginning")
    for found in breaks[:_SHOWN_BREAKS]:
        text = f"{found.cause.replace('_', ' ')}: {_what_is_left(found)}"
        yield Finding(name="cache", level=Level.NOTE, text=text, advice=_CURES.get(found.cause))


def _what_is_left(found: Break) -> str:
    if found.first_differing_token is None:
        return f"{found.cached_tokens:,} of {found.previous_prompt_tokens:,} tokens were left"
    return f"token {found.first_differing_token:,} differs, of {found.previous_prompt_tokens:,} that were there"


_CURES = {
    "system_changed": "start with pensieve-server claude: it keeps what changes out of the system text",
    "tools_changed": "MCP servers and plugins that come and go change the tools: keep them fixed in a session",
    "messages_changed": "normal after /compact, /rewind and an edited message",
    "model_changed": "/model within a session computes its prompt anew",
    "settings_changed": "thinking and effort are part of the prompt: choose them before the session",
    "rendered_anew": "the model's chat template writes this history otherwise than it did: please report it",
    "not_kept": "it had to go: fewer sessions at a time, more --cells or --cache-ram-bytes",
}


def _engine(facts: Facts) -> Engine | None:
    if not isinstance(facts.port, Answering):
        return None
    return facts.port.status.engine(facts.port.status.default_model)
