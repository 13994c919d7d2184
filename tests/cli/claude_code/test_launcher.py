"""The launcher as a user starts it: real processes, a `claude` that writes down how it was called."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from pensieve_cli.claude_code.launcher import find_claude, run
from pensieve_cli.command_line import StartClaudeCode, parse
from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.main import main
from pensieve_cli.server_client import ServerClient
from pensieve_cli.server_status import Answering, Nobody
from pensieve_cli.waiting_line import WaitingLine
from pensieve_registry.testing import write_chat_model

_BOUND_S = 60.0
_CLAUDE = f"""#!{sys.executable}
import json, os, sys, time
notes = os.environ["CLAUDE_NOTES"]
with open(notes + ".part", "w") as part:
    json.dump({{"arguments": sys.argv[1:], "environment": dict(os.environ), "pid": os.getpid()}}, part)
os.replace(notes + ".part", notes)
if "--wait" in sys.argv:
    time.sleep(60)
sys.exit(int(os.environ.get("CLAUDE_CODE", "0")))
"""
_Run = Callable[..., subprocess.CompletedProcess[str]]


@attrs.frozen(kw_only=True)
class Home:
    """A `claude` on the PATH, a home folder, a free port, and the servers that were started on it."""

    folder: Path
    port: int
    variables: dict[str, str]
    options: tuple[str, ...]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    def notes(self) -> dict[str, Any]:
        noted: dict[str, Any] = json.loads((self.folder / "notes").read_text())
        return noted

    def server(self) -> psutil.Process | None:
        port = ServerClient(url=self.url).port()
        try:
            return psutil.Process(port.status.pid) if isinstance(port, Answering) else None
        except psutil.NoSuchProcess:  # it was going down
            return None

    def end(self) -> None:
        if (server := self.server()) is not None:
            server.terminate()
            server.wait(_BOUND_S)


@pytest.fixture
def home(
    tmp_path: Path, scripted_engine: tuple[tuple[str, ...], dict[str, str]], environment: dict[str, str]
) -> Iterator[Home]:
    folder = tmp_path / "home"
    (folder / "bin").mkdir(parents=True)
    claude = folder / "bin" / "claude"
    claude.write_text(_CLAUDE)
    claude.chmod(0o755)
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    options, variables = scripted_engine
    made = Home(
        folder=folder,
        port=port,
        options=("--port", str(port), *options),
        variables={
            **variables,
            "PATH": f"{folder / 'bin'}{os.pathsep}{os.environ['PATH']}",
            "HOME": str(folder),
            "XDG_STATE_HOME": str(tmp_path / "state"),
            "CLAUDE_NOTES": str(folder / "notes"),
        },
    )
    yield made
    made.end()


def test_a_server_is_started_and_claude_code_is_pointed_at_it(home: Home, run_command: _Run) -> None:
    done = run_command("claude", *home.options, "--", "-p", "Say hello.", **home.variables)
    assert done.returncode == 0, done.stderr
    assert done.stdout == ""
    assert "stays" in done.stderr
    assert home.notes()["arguments"][-2:] == ["-p", "Say hello."]
    assert home.notes()["environment"]["ANTHROPIC_BASE_URL"] == home.url
    assert home.notes()["environment"]["ANTHROPIC_MODEL"] == "tiny"
    server = home.server()
    assert server is not None
    assert "--idle-exit-seconds 3600" in " ".join(server.cmdline())


def test_a_server_that_nobody_asks_any_more_ends_by_itself_when_the_user_said(home: Home, run_command: _Run) -> None:
    assert run_command("claude", *home.options, "--idle-exit-seconds", "6", **home.variables).returncode == 0
    server = home.server()
    assert server is not None
    server.wait(_BOUND_S)
    log = Path(home.variables["XDG_STATE_HOME"]) / "pensieve" / f"server-{home.port}.log"
    assert "nobody has asked for 6 s" in log.read_text()


def test_the_second_session_uses_the_server_of_the_first(home: Home, run_command: _Run) -> None:
    run_command("claude", *home.options, **home.variables)
    first = home.server()
    done = run_command("claude", *home.options, **home.variables)
    assert home.server() == first
    assert "stays" not in done.stderr


def test_settings_that_a_server_was_not_started_with_are_told_to_be_in_vain(home: Home, run_command: _Run) -> None:
    options = (*home.options, "--drain-seconds", "2")
    run_command("claude", *options, **home.variables)
    server = home.server()
    assert server is not None
    same, other = (
        run_command("claude", *home.options, *given, **home.variables).stderr
        for given in (("--drain-seconds=2",), ("--drain-seconds", "1"))
    )
    assert "keeps the settings" not in same
    assert f"keeps the settings that it was started with; for others, kill {server.pid} and try again" in other


def test_nothing_is_written_into_the_users_home(home: Home, run_command: _Run) -> None:
    before = sorted(home.folder.rglob("*"))
    run_command("claude", *home.options, **home.variables)
    assert sorted(home.folder.rglob("*")) == sorted([*before, home.folder / "notes"])


def test_the_exit_code_is_claude_codes_own(home: Home, run_command: _Run) -> None:
    assert run_command("claude", *home.options, **home.variables, CLAUDE_CODE="7").returncode == 7


def test_claude_code_takes_the_launchers_place_and_ctrl_c_spares_the_server(
    home: Home, environment: dict[str, str]
) -> None:
    """In its place: signals and job control are its own. A terminal's Ctrl-C goes to the whole group."""
    command = [str(Path(sys.executable).with_name("pensieve-server")), "claude", *home.options, "--", "--wait"]
    process = subprocess.Popen(command, env={**environment, **home.variables}, start_new_session=True)
    try:
        _until(lambda: (home.folder / "notes").exists() and home.server() is not None)
        assert home.notes()["pid"] == process.pid
        os.killpg(process.pid, signal.SIGINT)
        assert process.wait(_BOUND_S) != 0
    finally:
        process.kill()
        process.wait(_BOUND_S)
    assert home.server() is not None


def _until(true: Callable[[], bool]) -> None:
    deadline = time.monotonic() + _BOUND_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.02)


def test_print_env_starts_the_server_and_prints_exports(home: Home, run_command: _Run) -> None:
    done = run_command("claude", *home.options, "--print-env", **home.variables)
    assert done.returncode == 0
    assert f"export ANTHROPIC_BASE_URL={home.url}\n" in done.stdout
    assert done.stdout.splitlines()[-1].startswith("# claude ")
    assert not (home.folder / "notes").exists()
    assert home.server() is not None


def test_a_server_that_cannot_start_is_told_with_its_last_words(home: Home, run_command: _Run) -> None:
    done = run_command("claude", *home.options, **home.variables, CLI_SCRIPT="bug")
    assert done.returncode == ExitCode.FAILURE
    assert "ended before it listened" in done.stderr
    assert "ZeroDivisionError" in done.stderr


def test_a_model_that_cannot_be_loaded_is_told_before_claude_code_starts(home: Home, run_command: _Run) -> None:
    done = run_command("claude", *home.options, **home.variables, CLI_SCRIPT="broken")
    assert done.returncode == ExitCode.FAILURE
    assert "it was made so" in done.stderr
    assert not (home.folder / "notes").exists()
    _until(lambda: home.server() is None)  # else it would answer the next try


def test_a_server_that_others_use_meanwhile_is_left_to_them(
    home: Home, environment: dict[str, str], own_world: Path
) -> None:
    """The first session starts the server, and its model cannot be loaded; the second one works on that server."""
    write_chat_model(own_world / "models" / "small.gguf")
    command = [str(Path(sys.executable).with_name("pensieve-server")), "claude", *home.options]
    variables = {**environment, **home.variables, "CLI_SCRIPT": "yields"}
    first = subprocess.Popen(command, env=variables, stderr=subprocess.PIPE, text=True)
    try:
        _until(lambda: home.server() is not None)
        assert ServerClient(url=home.url).count_tokens("small", bound_s=_BOUND_S).status == HTTPStatus.OK
        _, told = first.communicate(timeout=_BOUND_S)
    finally:
        first.kill()
        first.communicate(timeout=_BOUND_S)
    assert first.returncode == ExitCode.FAILURE
    assert "it made room" in told
    assert f"the server on {home.url} goes on, for others may use it" in told
    assert ServerClient(url=home.url).count_tokens("small", bound_s=_BOUND_S).status == HTTPStatus.OK


def test_a_model_that_the_server_alone_knows_by_that_name_is_loaded(
    home: Home, run_command: _Run, start_server: Callable[..., Any], own_world: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The models folder is that of where the server was started; Claude Code is started elsewhere."""
    write_chat_model(own_world / "models" / "some-model-q4_k_m.gguf")
    port = start_server().url.rpartition(":")[2]
    monkeypatch.chdir(home.folder)
    done = run_command("claude", "--port", port, "--model", "some", **home.variables)
    assert done.returncode == 0, done.stderr
    assert home.notes()["environment"]["ANTHROPIC_MODEL"] == "some-model-q4_k_m"


def test_a_reference_to_several_models_is_told_as_such(home: Home, run_command: _Run) -> None:
    snapshot = Path(os.environ["HF_HUB_CACHE"]) / "models--Owner--Small-GGUF" / "snapshots" / "abc"
    for quantization in ("Q4_K_M", "Q8_0"):
        write_chat_model(snapshot / f"Small-{quantization}.gguf")
    done = run_command("claude", *home.options[:2], "--model", "Owner/Small-GGUF", **home.variables)
    assert done.returncode == ExitCode.NOT_FOUND
    assert "Owner/Small-GGUF means several: small-q4_k_m, small-q8_0" in done.stderr
    assert isinstance(ServerClient(url=home.url).port(), Nobody)


def test_without_claude_code_it_is_told_how_to_get_it(home: Home, run_command: _Run) -> None:
    nothing = {**home.variables, "PATH": "/usr/bin:/bin", "HOME": "/nowhere"}
    done = run_command("claude", *home.options, **nothing)
    assert done.returncode == ExitCode.NOT_FOUND
    assert "npm install" in done.stderr
    assert isinstance(ServerClient(url=home.url).port(), Nobody)


def test_claude_code_is_found_where_its_installers_put_it(tmp_path: Path) -> None:
    assert find_claude({"PATH": "", "HOME": str(tmp_path)}) is None
    program = tmp_path / ".claude" / "local" / "claude"
    program.parent.mkdir(parents=True)
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    assert find_claude({"PATH": "", "HOME": str(tmp_path)}) == str(program)


def test_a_port_that_is_any_is_refused(capsys: pytest.CaptureFixture[str], home: Home, own_path: None) -> None:
    assert main(["claude", "--port", "0"]) == ExitCode.USAGE
    assert "--port 0" in capsys.readouterr().err


@pytest.fixture
def own_path(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in home.variables.items():
        monkeypatch.setenv(name, value)


class _Server(HTTPServer):
    """A server whose `/status` is as the test says, and which knows no model by name."""

    status: Any = None
    counted: threading.Event


class _Handler(BaseHTTPRequestHandler):
    server: _Server

    def do_GET(self) -> None:
        if self.path == "/status":
            self._answer(200 if isinstance(self.server.status, dict) else self.server.status)
        elif self.path == "/engines/known":
            self._answer(200)
        else:
            self._answer(404, {"error": {"message": "model: nobody (available: known)"}})

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers["content-length"]))
        engine = {"model": "known", "phase": "ready", "context_tokens": 64_000}
        self.server.status = {**self.server.status, "engines": [engine]}
        self._answer(200)

    def _answer(self, status: int, answer: object = None) -> None:
        body = json.dumps(answer or self.server.status).encode()
        self.send_response(status)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def fake_server() -> Iterator[_Server]:
    server = _Server(("127.0.0.1", 0), _Handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield server
    server.shutdown()
    thread.join(10)
    server.server_close()


def _command(server: _Server, *more: str) -> StartClaudeCode:
    command = parse(["claude", "--port", str(server.server_address[1]), *more], files=())
    assert isinstance(command, StartClaudeCode)
    return command


class _Executed:
    """Notes what would have been executed."""

    def __call__(self, program: str, arguments: tuple[str, ...], environment: Any) -> None:
        self.program, self.arguments, self.environment = program, arguments, environment


_STATUS = {"version": "1", "pid": 1, "default_model": "known"}


def test_a_model_that_runs_nowhere_yet_is_loaded_first(fake_server: _Server, own_path: None) -> None:
    fake_server.status = _STATUS
    executed, errors = _Executed(), io.StringIO()
    assert run(_command(fake_server, "--lean", "--", "-c"), errors=errors, execute=executed) == ExitCode.OK
    assert executed.arguments[0] == executed.program
    assert executed.arguments[-1] == "-c"
    assert executed.environment["ANTHROPIC_MODEL"] == "known"
    assert "four tools" in errors.getvalue()


def test_a_claude_code_that_cannot_be_run_is_told(fake_server: _Server, own_path: None) -> None:
    """npm leaves a few lines of text where the program should be, when its postinstall was skipped."""

    def refuse(*_: object) -> None:
        raise OSError(errno.ENOEXEC, os.strerror(errno.ENOEXEC))

    fake_server.status = _STATUS
    with pytest.raises(CommandError, match=r"cannot be run \(Exec format error\). Install it anew"):
        run(_command(fake_server), errors=io.StringIO(), execute=refuse)


def test_a_model_that_the_server_does_not_know_is_told(fake_server: _Server, own_path: None) -> None:
    fake_server.status = _STATUS
    with pytest.raises(CommandError, match=r"says: model: nobody \(available: known\); .* choose another --port"):
        run(_command(fake_server, "--model", "nobody"), errors=io.StringIO())


@pytest.mark.parametrize(("status", "told"), [(401, "--api-key"), (404, "/status: 404"), ([], "not ours")])
def test_another_server_on_the_port_is_told(fake_server: _Server, own_path: None, status: Any, told: str) -> None:
    fake_server.status = status if isinstance(status, int) else {"a": 1}
    with pytest.raises(CommandError, match=re.escape(told)):
        run(_command(fake_server), errors=io.StringIO())


def test_something_that_speaks_no_http_is_told(own_path: None) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening:
        thread = threading.Thread(target=_hang_up, args=(listening,))
        thread.start()
        command = parse(["claude", "--port", str(listening.getsockname()[1])], files=())
        assert isinstance(command, StartClaudeCode)
        with pytest.raises(CommandError, match="taken by something"):
            run(command, errors=io.StringIO())
        thread.join(10)


def _hang_up(listening: socket.socket) -> None:
    connection, _ = listening.accept()
    with connection:
        connection.recv(65_536)
        connection.sendall(b"220 mail\r\n")


def test_a_key_of_the_settings_is_shown_to_the_server_and_handed_on(fake_server: _Server, own_path: None) -> None:
    fake_server.status = {**_STATUS, "engines": [{"model": "known", "phase": "ready", "context_tokens": 64_000}]}
    executed = _Executed()
    run(_command(fake_server, "--api-key", "sk-mine"), errors=io.StringIO(), execute=executed)
    assert executed.environment["ANTHROPIC_AUTH_TOKEN"] == "sk-mine"


class _Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_terminal_shows_one_line_and_clears_it() -> None:
    terminal = _Terminal()
    line = WaitingLine(terminal)
    line.show("m is loading (40%)")
    line.show("m is loading (50%)")
    line.clear()
    assert terminal.getvalue().count("\n") == 0
    assert terminal.getvalue().endswith("\r\x1b[K")


def test_a_file_gets_each_text_once_whatever_the_percentage() -> None:
    output = io.StringIO()
    line = WaitingLine(output)
    for percent in (10, 20, 30):
        line.show(f"m is loading ({percent}%)")
    assert output.getvalue() == "pensieve-server: m is loading\n"
