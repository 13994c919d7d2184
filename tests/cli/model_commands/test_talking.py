"""`pensieve-server run`: piped, asked once, and as a chat in a terminal of its own."""

from __future__ import annotations

import contextlib
import io
import os
import pty
import select
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from pensieve_cli.command_line import parse
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.model_commands.commands import Talk
from pensieve_cli.model_commands.talking import run
from pensieve_cli.server_client import ServerClient
from pensieve_cli.server_status import Answering
from pensieve_cli.terminal import Terminal

_BOUND_S = 60.0
_PROGRAM = Path(sys.executable).with_name("pensieve-server")
_IN_TERMINAL = (
    "import fcntl, os, sys, termios\n"
    "os.setsid(); fcntl.ioctl(0, termios.TIOCSCTTY, 0); os.execv(sys.argv[1], sys.argv[1:])"
)
"""Makes what stands on its input the terminal of a session of its own: so Ctrl-C is a signal."""
_NOWHERE = ("--port", "1")
_SHORT = ("--max-tokens", "10")
"""The scripted engine answers "0 1 2 3 "."""

CheckJson = Callable[[str, str], Any]
Own = tuple[tuple[str, ...], dict[str, str]]
Ask = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def ask(environment: dict[str, str], scripted_engine: Own) -> Ask:
    """Run `pensieve-server run` with something piped in."""

    def ask(*words: str, piped: str = "", **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [_PROGRAM, "run", *words],
            env={**environment, **scripted_engine[1], **variables},
            input=piped,
            capture_output=True,
            text=True,
            timeout=_BOUND_S,
            check=False,
        )

    return ask


def test_a_server_that_runs_is_asked(ask: Ask, start_server: Callable[..., Any]) -> None:
    port = start_server().url.rpartition(":")[2]
    done = ask("Hello!", *_SHORT, "--port", port)
    assert (done.returncode, done.stdout, done.stderr) == (0, "0 1 2 3 \n", "")
    assert ask(*_SHORT, "--port", port, piped="Hello!").stdout == "0 1 2 3 \n"
    assert ask("tiny", "Hello!", *_SHORT, "--port", port).stdout == "0 1 2 3 \n"


def test_without_a_server_an_engine_is_loaded(ask: Ask, scripted_engine: Own) -> None:
    done = ask("Explain", *_SHORT, *_NOWHERE, *scripted_engine[0], piped="a file")
    assert (done.returncode, done.stdout) == (0, "0 1 2 3 \n")
    assert "tiny is loading" in done.stderr


def test_json_has_the_final_message(
    ask: Ask, start_server: Callable[..., Any], scripted_engine: Own, check_json: CheckJson
) -> None:
    server = start_server()
    done = ask("Hello!", "--json", *_SHORT, "--port", server.url.rpartition(":")[2])
    asked = check_json("run", done.stdout)
    assert (asked["text"], asked["stop_reason"], asked["server"]) == ("0 1 2 3 ", "end_turn", server.url)
    own = check_json("run", ask("Hello!", "--json", *_SHORT, *_NOWHERE, *scripted_engine[0]).stdout)
    assert (own["text"], own["server"], own["model"]) == ("0 1 2 3 ", None, "tiny")
    assert own["prompt_tokens"] == asked["prompt_tokens"]


def test_what_cannot_be_asked_is_an_exit_code(ask: Ask, start_server: Callable[..., Any], scripted_engine: Own) -> None:
    port = start_server("--api-key", "sk-mine").url.rpartition(":")[2]
    assert ask("Hello!", "--port", port).returncode == ExitCode.USAGE
    assert ask("--port", port, "--api-key", "sk-mine").returncode == ExitCode.USAGE
    assert ask("nobody", "Hello!", "--port", port, "--api-key", "sk-mine").returncode == ExitCode.NOT_FOUND
    assert ask("Hello!", "--model", "nobody", *_NOWHERE).returncode == ExitCode.NOT_FOUND
    assert ask("missing.gguf", "Hello!", *_NOWHERE).returncode == ExitCode.NOT_FOUND
    broken = ask("Hello!", *_NOWHERE, *scripted_engine[0], CLI_SCRIPT="broken")
    assert broken.returncode == ExitCode.FAILURE
    assert "it was made so" in broken.stderr


def test_a_port_that_is_any_is_no_servers(ask: Ask, scripted_engine: Own) -> None:
    done = ask("Hello!", *_SHORT, "--port", "0", *scripted_engine[0])
    assert (done.returncode, done.stdout) == (0, "0 1 2 3 \n")
    assert "is loading" in done.stderr


def test_a_file_is_loaded_here_even_while_a_server_runs(
    ask: Ask, start_server: Callable[..., Any], model_file: Path
) -> None:
    port = start_server().url.rpartition(":")[2]
    done = ask(str(model_file), "Hello!", *_SHORT, "--port", port, "--engine", "scripted")
    assert (done.returncode, done.stdout) == (0, "0 1 2 3 \n")
    assert "is loading" in done.stderr


def test_a_reader_who_leaves_is_no_error(start_server: Callable[..., Any], environment: dict[str, str]) -> None:
    port = start_server().url.rpartition(":")[2]
    command = f"{_PROGRAM} run 'Count.' --port {port} | head -c 4; exit ${{PIPESTATUS[0]}}"
    done = subprocess.run(
        ["bash", "-c", command], env=environment, capture_output=True, text=True, timeout=_BOUND_S, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


class _Keyboard(io.StringIO):
    def isatty(self) -> bool:
        return True


def _chat(typed: str, *words: str) -> tuple[str, str]:
    command = parse(["run", *words], files=())
    assert isinstance(command, Talk)
    output, told = io.StringIO(), io.StringIO()
    assert run(command, Terminal(answers=_Keyboard(typed), output=output), told) is ExitCode.OK
    return output.getvalue(), told.getvalue()


def test_a_chat_goes_on_where_it_was_until_the_end_of_input(start_server: Callable[..., Any]) -> None:
    server = start_server()
    output, told = _chat("one\n\ntwo three\n", *_SHORT, "--port", server.url.rpartition(":")[2])
    assert output == ">>> 0 1 2 3 \n>>> >>> 0 1 2 3 \n>>> \n"
    port = ServerClient(url=server.url).port()
    assert isinstance(port, Answering)
    second, first = port.status.answered
    assert second.prompt_tokens > first.prompt_tokens + 4, "it holds the first question, its answer, and itself"
    assert told.splitlines()[0] == f"tiny answers, {server.url}. Ctrl-C ends an answer, Ctrl-D the chat."
    assert told.count("tok/s") == 2


class _Person:
    """Types into a pseudo-terminal and reads what stands on it."""

    def __init__(self, command: list[str], environment: dict[str, str]) -> None:
        self._side, theirs = pty.openpty()
        self.process = subprocess.Popen(
            [sys.executable, "-c", _IN_TERMINAL, *command], stdin=theirs, stdout=theirs, stderr=theirs, env=environment
        )
        os.close(theirs)
        self.seen = ""

    def types(self, text: str) -> None:
        os.write(self._side, text.encode())

    def reads_until(self, text: str, *, typing: str = "") -> None:
        """Read until `text` comes; while nothing does, type `typing` each second."""
        deadline = time.monotonic() + _BOUND_S
        start = len(self.seen)
        while text not in self.seen[start:]:
            self.types(typing)
            while select.select([self._side], [], [], 1.0)[0]:
                self.seen += os.read(self._side, 4_096).decode("utf-8", "replace")
                if text in self.seen[start:]:
                    return
            assert time.monotonic() < deadline, self.seen

    def leaves(self, *, typing: str) -> int:
        """Type `typing` each second until the process ends, and return its exit code."""
        deadline = time.monotonic() + _BOUND_S
        while time.monotonic() < deadline:
            self.types(typing)
            with contextlib.suppress(subprocess.TimeoutExpired):
                return self.process.wait(1.0)
        pytest.fail(self.seen)

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(_BOUND_S)
        os.close(self._side)


@pytest.fixture
def person(start_server: Callable[..., Any], environment: dict[str, str]) -> Iterator[_Person]:
    port = start_server().url.rpartition(":")[2]
    command = [str(_PROGRAM), "run", "--port", port]
    with contextlib.closing(_Person(command, {**environment, "TERM": "xterm"})) as person:
        yield person


def test_in_a_terminal_ctrl_c_ends_the_answer_and_ctrl_d_the_chat(person: _Person) -> None:
    person.reads_until(">>> ")
    person.types("count\n")
    person.reads_until("2 3 ")
    person.types("\x03")
    person.reads_until(">>> ")
    assert person.process.poll() is None
    # What is typed before readline looks for keys is noticed with the next one, or lost: a person types it again.
    person.reads_until("Ctrl-D leaves", typing="\x03")
    assert person.leaves(typing="\x04") == 0
