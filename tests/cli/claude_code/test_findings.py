from __future__ import annotations

from typing import Any, get_args

import attrs
import pytest

from pensieve_cli.claude_code.findings import Facts, Finding, Level, Machine, RoundTrip, findings
from pensieve_cli.server_status import Answering, Break, Engine, Locked, Nobody, ServerStatus, Stranger
from pensieve_http.cache_breaks import BreakCause

_MACHINE = Machine(engine="llama.cpp (1)", used=("AVX2", "OPENMP"), present=("AVX2",))
_ENGINE = Engine(model="m", phase="ready", context_tokens=32_768, notes=("context 32,768 tokens",))
_STATUS = ServerStatus(version="1", pid=7, default_model="m", ready=True, engines=(_ENGINE,))
_WELL = Facts(
    url="http://127.0.0.1:8000",
    version="1",
    machine=_MACHINE,
    model="m",
    model_bytes=10**9,
    available_bytes=10**10,
    port=Answering(status=_STATUS),
    keys=0,
    claude="/bin/claude",
    claude_version="2.1.330 (Claude Code)",
    round_trip=RoundTrip(status=200, seconds=0.25),
)


def _finding(name: str, **changes: Any) -> Finding:
    return next(found for found in findings(attrs.evolve(_WELL, **changes)) if found.name == name)


def _with_status(**changes: Any) -> Answering:
    return Answering(status=attrs.evolve(_STATUS, **changes))


def test_where_all_is_well_there_is_nothing_to_do() -> None:
    found = findings(_WELL)
    assert {(finding.level, finding.advice) for finding in found} == {(Level.OK, None)}
    assert [finding.name for finding in found] == [
        *("engine", "CPU", "GPU", "memory", "server", "key", "Claude Code", "context", "round trip", "cache")
    ]


def test_it_fits_on_a_screen_whatever_is_wrong() -> None:
    breaks = [Break(cause="not_kept", first_differing_token=1, prompt_tokens=9, previous_prompt_tokens=8)] * 8
    found = findings(attrs.evolve(_WELL, port=_with_status(cache_breaks=tuple(breaks)), claude=None))
    assert len(found) + sum(finding.advice is not None for finding in found) <= 24


def test_a_feature_of_the_cpu_that_is_not_used_is_named_with_the_cure() -> None:
    found = _finding("CPU", machine=attrs.evolve(_MACHINE, present=("AVX2", "AVX512")))
    assert (found.level, "does not use AVX512" in found.text) == (Level.NOTE, True)
    assert "reinstall" in (found.advice or "")


@pytest.mark.parametrize(
    ("name", "changes", "level", "told"),
    [
        ("engine", {"machine": None}, Level.PROBLEM, "fails"),
        ("memory", {"port": Nobody()}, Level.OK, "m takes 1.0 GB of 10.0 GB"),
        ("memory", {"port": Nobody(), "available_bytes": 10**8}, Level.PROBLEM, "of 100 MB"),
        ("memory", {"port": Nobody(), "model": None}, Level.PROBLEM, "no model"),
        ("server", {"port": Nobody()}, Level.NOTE, "nothing listens"),
        ("server", {"port": Locked()}, Level.PROBLEM, "wants a key"),
        ("server", {"port": Stranger(said="a printer")}, Level.PROBLEM, "a printer"),
        ("server", {"port": _with_status(ready=False, reason="m is loading")}, Level.NOTE, "m is loading"),
        ("key", {"keys": 2}, Level.OK, "2 of the settings"),
        ("Claude Code", {"claude": None}, Level.PROBLEM, "not found"),
        ("Claude Code", {"claude_version": None}, Level.NOTE, "does not tell"),
        ("context", {}, Level.OK, "lean prompt"),
        ("context", {"port": _with_status(engines=(attrs.evolve(_ENGINE, context_tokens=512),))}, Level.PROBLEM, "512"),
        ("round trip", {"round_trip": RoundTrip(status=529, seconds=1.0, said="busy")}, Level.PROBLEM, "busy"),
    ],
)
def test_what_is_wrong_is_told(name: str, changes: dict[str, Any], level: Level, told: str) -> None:
    found = _finding(name, **changes)
    assert found.level is level
    assert told in found.text


def test_a_problem_always_says_what_to_do() -> None:
    nothing: dict[str, Any] = {"machine": None, "model": None, "claude": None, "port": Locked(), "round_trip": None}
    found = findings(attrs.evolve(_WELL, **nothing))
    assert all(finding.advice for finding in found if finding.level is Level.PROBLEM)


@pytest.mark.parametrize("cause", sorted(set(get_args(BreakCause)) - {"not_kept"}))
def test_a_break_of_the_cache_names_its_token_and_a_cure(cause: str) -> None:
    broken = Break(cause=cause, first_differing_token=1_234, prompt_tokens=9_000, previous_prompt_tokens=8_000)
    found = _finding("cache", port=_with_status(cache_breaks=(broken,)))
    assert found.text.startswith(cause.replace("_", " "))
    assert "token 1,234 differs" in found.text
    assert found.advice


def test_what_was_not_kept_has_no_differing_token() -> None:
    broken = Break(cause="not_kept", cached_tokens=3_000, prompt_tokens=9_000, previous_prompt_tokens=8_000)
    found = _finding("cache", port=_with_status(cache_breaks=(broken,)))
    assert found.text == "not kept: 3,000 of 8,000 tokens were left"
    assert found.advice
