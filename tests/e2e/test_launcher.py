"""The real Claude Code through `pensieve-server claude`, from a stopped machine to the answer."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs
import psutil
import pytest

from pensieve_cli.server_client import ServerClient
from pensieve_cli.server_status import Answering

pytestmark = [pytest.mark.e2e, pytest.mark.timeout(400)]

BOUND_S = 180.0
SERVER = Path(sys.executable).with_name("pensieve-server")


@attrs.frozen(kw_only=True)
class Launcher:
    """`pensieve-server claude` in a home of its own, on a port of its own."""

    claude_code: Any
    port: int

    def run(self, *words: str, **variables: str) -> subprocess.CompletedProcess[str]:
        home = self.claude_code.home
        folders = {f"XDG_{kind}_HOME": str(home / kind) for kind in ("CONFIG", "CACHE", "DATA", "STATE")}
        own = {"PATH": f"{self.claude_code.program.parent}{os.pathsep}{os.environ['PATH']}", "HOME": str(home)}
        return subprocess.run(
            [SERVER, "claude", "--port", str(self.port), *words],
            cwd=self.claude_code.work,
            env={**own, **folders, "DISABLE_AUTOUPDATER": "1", **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )

    def server(self) -> psutil.Process | None:
        port = ServerClient(url=f"http://127.0.0.1:{self.port}").port()
        return psutil.Process(port.status.pid) if isinstance(port, Answering) else None

    def stop_server(self) -> None:
        if (server := self.server()) is not None:
            server.terminate()
            server.wait(60)

    def await_end(self) -> None:
        deadline = time.monotonic() + 60
        while self.server() is not None:
            assert time.monotonic() < deadline, "the server stays"
            time.sleep(0.05)

    def answers(self) -> list[dict[str, Any]]:
        log = self.claude_code.home / "STATE" / "pensieve" / f"server-{self.port}.log"
        lines = [json.loads(line) for line in log.read_text().splitlines() if line.startswith("{")]
        return [line for line in lines if line.get("event") == "request_finished" and "prefilled_tokens" in line]


@pytest.fixture
def launcher(claude_code: Any) -> Iterator[Launcher]:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    made = Launcher(claude_code=claude_code, port=port)
    yield made
    made.stop_server()


def test_one_command_from_nothing_to_an_answer(
    launcher: Launcher, scripted_server_settings: Callable[..., Any]
) -> None:
    arguments, variables = scripted_server_settings("hello")
    said = launcher.run(*arguments, "--", "-p", "Say hello.", **variables)
    assert said.returncode == 0, said.stdout + said.stderr
    assert said.stdout.strip() == "Hello from the script."


@pytest.mark.model
def test_after_a_restart_less_than_a_twentieth_of_the_prompt_is_computed(
    launcher: Launcher,
    terse: Mapping[str, str],
    starter_model: Path,
    record_property: Callable[[str, object], None],
) -> None:
    words = ("--model", str(starter_model), "--", "-p", "Say hello.")
    launcher.run(*words, **terse)
    launcher.stop_server()
    launcher.run(*words, **terse)
    answer = launcher.answers()[0]
    record_property("figure", f"{answer['prefilled_tokens']} of {answer['prompt_tokens']} tokens computed")
    assert answer["prefilled_tokens"] < 0.05 * answer["prompt_tokens"]


@pytest.mark.model
@pytest.mark.parametrize(
    ("given", "told"),
    [
        (("--memory-budget", "60MB"), "and 0.06 GiB may be used: take a smaller model"),
        (("--ctx", "1024"), "Claude Code needs 2,048 at the very least"),
    ],
)
def test_a_model_that_does_not_fit_says_so_and_leaves_nothing_behind(
    launcher: Launcher, starter_model: Path, given: tuple[str, ...], told: str
) -> None:
    said = launcher.run("--model", str(starter_model), *given, "--", "-p", "Say hello.")
    assert said.returncode != 0
    assert told in said.stderr
    assert "{" not in said.stderr, "a sentence, no envelope"
    assert said.stdout == ""
    launcher.await_end()
