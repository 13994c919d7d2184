from __future__ import annotations

from typing import Any

import attrs
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pensieve_cli.claude_code.readiness import Go, Load, Start, StartUp, Wait
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.server_status import (
    Answered,
    Answering,
    Engine,
    Locked,
    Nobody,
    Port,
    ServerStatus,
    Stranger,
    read_status,
)


def _start_up(model: str | None = None) -> StartUp:
    return StartUp(url="http://127.0.0.1:8000", model=model)


def _answering(*engines: Engine, default: str | None = "m", **more: Any) -> Answering:
    return Answering(status=ServerStatus(version="1", pid=7, default_model=default, engines=engines, **more))


_LOADING = Engine(model="m", phase="loading", progress=0.4)
_READY = Engine(model="m", phase="ready", context_tokens=4_096)


def test_a_server_is_started_once_and_waited_for() -> None:
    start_up = _start_up()
    assert start_up.next(Nobody()) == Start()
    assert isinstance(start_up.next(Nobody()), Wait)
    assert start_up.next(_answering(_LOADING)) == Wait(saying="m is loading (40%)")
    assert start_up.next(_answering(_READY)) == Go(model="m", context_tokens=4_096, pid=7)


def test_a_server_that_runs_is_used_at_once() -> None:
    assert _start_up().next(_answering(_READY)) == Go(model="m", context_tokens=4_096, pid=7)


def test_a_model_that_nobody_asked_for_is_loaded_once() -> None:
    start_up, port = _start_up("other"), _answering(_READY)
    assert start_up.next(port) == Load(model="other")
    assert isinstance(start_up.next(port), Wait)


def test_a_model_is_looked_for_by_the_id_that_the_server_gives_the_name() -> None:
    start_up = _start_up("a-name")
    assert start_up.next(_answering(_LOADING)) == Load(model="a-name")
    start_up.known_as("m")
    assert start_up.next(_answering(_READY)) == Go(model="m", context_tokens=4_096, pid=7)


_OTHER = Engine(model="other", phase="ready", context_tokens=4_096)
_BROKEN = Engine(model="m", phase="broken")
_ANSWERED = Answered(prompt_tokens=1, cached_tokens=0, generated_tokens=1)


@pytest.mark.parametrize(
    ("port", "alone"),
    [
        (Nobody(), True),  # it does not listen yet
        (_answering(), True),
        (_answering(_BROKEN), True),
        (_answering(_BROKEN, attrs.evolve(_OTHER, phase="closed")), True),
        (_answering(_BROKEN, _OTHER), False),
        (_answering(_BROKEN, attrs.evolve(_OTHER, phase="loading")), False),
        (_answering(_READY, answered=(_ANSWERED,)), False),
        (Answering(status=ServerStatus(version="1", pid=8)), False),
        (Locked(), False),
        (Stranger(said="no answer in time"), False),
    ],
)
@pytest.mark.parametrize("model", [None, "m"])
def test_a_server_of_our_own_that_others_use_is_not_ours_alone(model: str | None, port: Port, *, alone: bool) -> None:
    assert _start_up(model).is_ours_alone(port, pid=7) is alone


def test_a_load_that_fails_is_an_error_with_the_servers_words() -> None:
    start_up, port = _start_up("other"), _answering(_READY)
    start_up.next(port)
    with pytest.raises(CommandError, match="bad magic"):
        start_up.next(port, refusal="bad magic")


def test_a_server_that_goes_down_is_waited_out_and_replaced() -> None:
    start_up = _start_up()
    assert isinstance(start_up.next(_answering(_READY, draining=True)), Wait)
    assert start_up.next(Nobody()) == Start()


def test_a_server_that_lost_the_race_for_the_port_is_no_error_when_the_winner_answers() -> None:
    start_up = _start_up()
    start_up.next(Nobody())
    assert isinstance(start_up.next(_answering(_READY), server_ended=True), Go)


@pytest.mark.parametrize(
    ("port", "ended", "code", "told"),
    [
        (Nobody(), True, ExitCode.FAILURE, "ended"),
        (Locked(), False, ExitCode.USAGE, "--api-key"),
        (Stranger(said="a printer"), False, ExitCode.FAILURE, "a printer"),
        (_answering(default=None), False, ExitCode.NOT_FOUND, "no model"),
        (_answering(Engine(model="m", phase="broken", detail="bad magic")), False, ExitCode.FAILURE, "bad magic"),
    ],
)
def test_what_leads_to_nothing_is_an_error_that_says_why(port: Port, *, ended: bool, code: ExitCode, told: str) -> None:
    with pytest.raises(CommandError, match=told) as raised:
        _start_up().next(port, server_ended=ended)
    assert raised.value.exit_code is code


_PORTS = st.sampled_from([Nobody(), _answering(), _answering(_LOADING), _answering(_READY)])


@given(st.lists(_PORTS, max_size=30))
def test_whatever_is_seen_nothing_is_started_or_loaded_twice(ports: list[Port]) -> None:
    start_up = _start_up()
    steps = [start_up.next(port) for port in ports]
    assert sum(isinstance(step, Start) for step in steps) <= 1
    assert sum(isinstance(step, Load) for step in steps) <= 1
    assert all(isinstance(step, Go) == (port == _answering(_READY)) for step, port in zip(steps, ports, strict=True))


def test_a_status_is_read_whatever_a_newer_server_adds() -> None:
    body = b'{"version": "1", "pid": 7, "new": 1, "engines": [{"model": "m", "phase": "ready", "new": 2}]}'
    assert read_status(body).engine("m") == Engine(model="m", phase="ready")


@pytest.mark.parametrize("body", [b"", b"<html>", b"[]", b"{}", b'{"version": "1", "pid": "x"}', b"\xff"])
def test_what_is_no_status_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not ours"):
        read_status(body)
