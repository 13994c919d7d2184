"""`ps`, `load` and `unload` against a real server with a scripted engine; and what they say when there is none."""

from __future__ import annotations

import io
import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.main import main
from pensieve_cli.model_commands.commands import LoadModel
from pensieve_cli.model_commands.engine_report import (
    EngineReport,
    arrival,
    converter,
    engine_line,
    engine_lines,
    read_engine,
    read_table,
)
from pensieve_cli.model_commands.engines import run
from pensieve_cli.printing import print_lines
from pensieve_cli.settings import ListenSettings, Settings
from pensieve_core import EngineResidency, MemoryUse, ModelId, Residency, ResidencyState

CheckJson = Callable[[str, str], Any]
_BOUND_S = 10.0
_NOW = 1_800_000_000.0


def _engine(model: str, state: ResidencyState, **more: Any) -> EngineResidency:
    return EngineResidency(model=ModelId(model), state=state, **more)


_BUSY = _engine(
    "qwen [7b]",
    ResidencyState.READY,
    memory_bytes=5_200_000_000,
    requests=2,
    waiting=1,
    last_used_at=_NOW - 300,
    unloads_at=_NOW + 1_200,
)


def _printed(report: EngineReport) -> list[str]:
    stream = io.StringIO()
    print_lines(engine_lines(report, _NOW), stream)
    return stream.getvalue().splitlines()


def _report(*engines: EngineResidency, memory: MemoryUse | None = None) -> EngineReport:
    return EngineReport.of("http://127.0.0.1:8000", Residency(memory=memory or MemoryUse(), engines=engines))


def test_the_table_has_a_row_for_each_model_in_memory() -> None:
    memory = MemoryUse(budget_bytes=16_000_000_000, used_bytes=5_300_000_000)
    loading = _engine("small", ResidencyState.LOADING, progress=0.4, pinned=True)
    head, first, second, sums = _printed(_report(_BUSY, loading, _engine("x", ResidencyState.UNLOADED), memory=memory))
    assert head.split() == ["MODEL", "STATE", "MEMORY", "REQUESTS", "LAST", "USED", "UNLOADS"]
    assert " ".join(first.split()) == "qwen [7b] ready 5.2 GB 2 and 1 waiting 5 min ago in 20 min"
    assert " ".join(second.split()) == "small loading (40%), pinned 0 never"
    assert sums == "5.3 GB of 16.0 GB set aside"


def test_what_lies_on_the_gpu_is_told_beside_what_lies_in_ram() -> None:
    memory = MemoryUse(budget_bytes=16 * 10**9, used_bytes=10**9, gpu_budget_bytes=24 * 10**9, gpu_used_bytes=7 * 10**9)
    engine = _engine("m", ResidencyState.READY, memory_bytes=10**9, gpu_bytes=7 * 10**9)
    _, row, *sums = _printed(_report(engine, memory=memory))
    assert "1.0 GB + 7.0 GB on the GPU" in row
    assert sums == ["1.0 GB of 16.0 GB set aside", "7.0 GB of 24.0 GB set aside on the GPU"]
    assert engine_line(engine).endswith("is ready, 1.0 GB, 7.0 GB on the GPU")


def test_the_last_words_of_a_model_that_failed_are_told() -> None:
    assert _printed(_report(_engine("m", ResidencyState.FAILED, detail="no room [here]")))[-1] == "m: no room [here]"


def test_nothing_in_memory_is_told_with_what_to_do() -> None:
    (line,) = _printed(_report(_engine("m", ResidencyState.UNLOADED)))
    assert "load MODEL" in line


def test_one_engine_is_told_in_a_sentence() -> None:
    assert engine_line(_engine("m", ResidencyState.READY, memory_bytes=10**9, pinned=True)).endswith(
        "is ready, 1.0 GB, pinned"
    )
    assert engine_line(_engine("m", ResidencyState.FAILED, detail="torn")).endswith("is failed: torn")


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b'{"engines": [{}]}', b'{"engines": 1}', b"{}"])
def test_what_is_no_table_is_refused(body: bytes) -> None:
    with pytest.raises(ValueError, match="not ours"):
        read_table(body)


def test_what_a_newer_server_adds_is_ignored() -> None:
    assert read_table(b'{"engines": [{"model": "m", "state": "ready", "new": 1}], "more": 2}').engines[0].model == "m"


def test_times_are_rfc_3339_on_the_wire_and_seconds_here() -> None:
    told = converter().unstructure(_BUSY)
    assert (told["last_used_at"], told["loaded_at"]) == ("2027-01-15T07:55:00Z", None)
    assert read_engine(json.dumps(told).encode()) == _BUSY


def test_a_model_is_loaded_listed_and_unloaded(
    start_server: Callable[..., Any], capsys: pytest.CaptureFixture[str], check_json: CheckJson
) -> None:
    server = start_server()
    port = ("--port", server.url.rpartition(":")[2])
    assert main(["load", "tiny", "--pin", *port]) == 0
    told = capsys.readouterr()
    assert "tiny is ready" in told.out
    assert "is loading" in told.err
    assert main(["ps", "--json", *port]) == 0
    found = check_json("ps", capsys.readouterr().out)
    assert found["server"] == server.url
    assert [(engine["model"], engine["state"]) for engine in found["engines"]] == [("tiny", "ready")]
    assert main(["load", "tiny", "--json", *port]) == 0
    assert check_json("load", capsys.readouterr().out)["state"] == "ready"
    assert main(["unload", "tiny", "--json", *port]) == 0
    assert check_json("unload", capsys.readouterr().out)["state"] == "unloaded"


def test_nothing_is_said_to_load_where_there_is_no_server(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["load", "tiny", "--port", "1"]) == ExitCode.NO_SERVER
    assert "is loading" not in capsys.readouterr().err


def test_what_the_server_does_not_know_is_an_exit_code(
    start_server: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    port = start_server().url.rpartition(":")[2]
    assert main(["load", "nobody/here", "--port", port]) == ExitCode.NOT_FOUND
    assert "nobody/here" in capsys.readouterr().err


def test_a_key_is_asked_for(start_server: Callable[..., Any], capsys: pytest.CaptureFixture[str]) -> None:
    port = start_server("--api-key", "sk-mine").url.rpartition(":")[2]
    assert main(["ps", "--port", port]) == ExitCode.USAGE
    assert "--api-key" in capsys.readouterr().err
    assert main(["ps", "--port", port, "--api-key", "sk-mine"]) == 0


@pytest.mark.parametrize("words", [["ps"], ["load", "tiny"], ["unload", "tiny"]])
def test_where_no_server_answers_there_is_an_exit_code_for_that(
    words: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([*words, "--port", "1"]) == ExitCode.NO_SERVER
    assert "start one with pensieve-server" in capsys.readouterr().err
    assert main([*words, "--port", "0"]) == ExitCode.USAGE


class Keyboard(io.StringIO):
    """A person's terminal."""

    def isatty(self) -> bool:
        return True


@contextmanager
def _loading(*states: dict[str, object], refusal: str | None = None) -> Iterator[Settings]:
    """A server whose model is one state further each time that somebody looks, and loaded or refused after the last."""
    told, looked = iter(states), threading.Event()

    class Handler(_Quiet):
        def do_GET(self) -> None:
            if self.path == "/engines":
                self.answer(200, {"engines": []})
            elif state := next(told, None):
                self.answer(200, {"model": "qwen", **state})
            else:
                looked.set()
                self.send_error(503)

        def do_POST(self) -> None:
            assert looked.wait(_BOUND_S)
            if refusal is None:
                self.answer(200, {"model": "qwen", "state": "ready", "memory_bytes": 10**9})
            else:
                self.answer(400, {"error": {"message": refusal}})

    with _server(Handler) as port:
        yield Settings(listen=ListenSettings(port=port))


def _load(settings: Settings, errors: io.StringIO, **more: bool) -> str:
    output = io.StringIO()
    command = LoadModel(settings=settings, model="coder", **{"pin": False, "json": False, **more})
    assert run(command, output, errors) is ExitCode.OK
    return output.getvalue()


_STATES: tuple[dict[str, object], ...] = (
    {"state": "unloaded", "waiting": 1},
    {"state": "loading", "waiting": 1},
    {"state": "loading", "waiting": 1, "progress": 0.5},
)


def test_a_terminal_shows_how_much_of_a_model_is_loaded() -> None:
    with _loading(*_STATES) as settings:
        screen = Keyboard()
        assert "qwen is ready, 1.0 GB" in _load(settings, screen)
    shown = [line for line in screen.getvalue().split("\r\x1b[K") if line]
    assert shown == [
        "pensieve-server: coder is loading …",
        "pensieve-server: coder waits for others to make room …",
        "pensieve-server: [------------------------]   0%  coder is loading …",
        "pensieve-server: [############------------]  50%  coder is loading …",
    ]
    assert screen.getvalue().endswith("\r\x1b[K"), "nothing of it stays"


def test_into_a_pipe_each_state_is_a_line_and_json_is_as_ever(check_json: CheckJson) -> None:
    with _loading(*_STATES) as settings:
        pipe = io.StringIO()
        assert json.loads(_load(settings, pipe, json=True))["state"] == "ready"
    assert pipe.getvalue().splitlines() == [
        "pensieve-server: coder is loading",
        "pensieve-server: coder waits for others to make room",
        "pensieve-server: coder is loading",
    ]


def test_a_refusal_is_told_once_the_bar_is_gone() -> None:
    with _loading(*_STATES, refusal="no room") as settings, pytest.raises(CommandError, match="no room"):
        _load(settings, Keyboard())


@pytest.mark.parametrize(
    ("state", "words", "share"),
    [
        (_engine("m", ResidencyState.LOADING, progress=0.25), "m is loading", 0.25),
        (_engine("m", ResidencyState.UNLOADED, waiting=2), "m waits for others to make room", None),
        (_engine("m", ResidencyState.UNLOADED), "m is loading", None),
        (_engine("m", ResidencyState.DRAINING), "m is leaving, and comes back", None),
        (_engine("org/m", ResidencyState.READY, progress=1.0), "m is loading", 1.0),
    ],
)
def test_what_is_waited_for_is_told(state: EngineResidency, words: str, share: float | None) -> None:
    assert arrival(state, "m") == (words, share)


@contextmanager
def _stranger(status: int, body: bytes) -> Iterator[str]:
    class Handler(_Quiet):
        def do_GET(self) -> None:
            self.write(status, body)

    with _server(Handler) as port:
        yield str(port)


class _Quiet(BaseHTTPRequestHandler):
    """Answers, and logs nothing."""

    def answer(self, status: int, document: object) -> None:
        self.write(status, json.dumps(document).encode())

    def write(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@contextmanager
def _server(handler: type[_Quiet]) -> Iterator[int]:
    server = ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        thread.join(_BOUND_S)
        server.server_close()


@pytest.mark.parametrize(
    ("status", "body", "code", "told"),
    [
        (404, b'{"error": {"message": "no such endpoint"}}', ExitCode.NO_SERVER, "of another version"),
        (501, b"<html>", ExitCode.NO_SERVER, "no server of ours"),
        (200, b"<html>", ExitCode.NO_SERVER, "no server of ours"),
        (500, b"<html>", ExitCode.FAILURE, "status 500"),
        (529, json.dumps({"error": {"message": "no room"}}).encode(), ExitCode.FAILURE, "no room"),
    ],
)
def test_what_is_no_server_of_ours_or_refuses_is_told(
    status: int, body: bytes, code: ExitCode, told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    with _stranger(status, body) as port:
        assert main(["ps", "--port", port]) == code
    assert told in capsys.readouterr().err
