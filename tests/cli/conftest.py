"""Commands run as a user would run them, away from the developer's own settings and models."""

from __future__ import annotations

import json
import logging
import os
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import attrs
import coverage
import jsonschema
import pytest
import structlog

from pensieve_registry.testing import write_chat_model

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("pensieve-server")
SCHEMAS = Path(__file__).parent / "schemas"
BOUND_S = 60.0

RunCommand = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in an empty folder, with no settings but its own."""
    for name in os.environ:
        if name.startswith("PENSIEVE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "hub"))
    monkeypatch.setenv("COLUMNS", "120")
    here = tmp_path / "here"
    here.mkdir()
    monkeypatch.chdir(here)
    return here


@pytest.fixture(autouse=True)
def own_logging() -> Iterator[None]:
    """Undo what `configure_logs` does to the process."""
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    structlog.reset_defaults()


@pytest.fixture
def environment() -> dict[str, str]:
    """The variables of a command that is started; its coverage counts when ours does."""
    measuring = coverage.Coverage.current()
    if measuring is None:
        return dict(os.environ)
    data_file = ROOT / str(measuring.get_option("run:data_file"))
    return {**os.environ, "COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"), "COVERAGE_FILE": str(data_file)}


@pytest.fixture
def run_command(environment: dict[str, str]) -> RunCommand:
    """Run `pensieve-server` to its end."""

    def run(*arguments: str, **variables: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [PROGRAM, *arguments],
            env={**environment, **variables},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=BOUND_S,
            check=False,
        )

    return run


@pytest.fixture
def check_json() -> Callable[[str, str], Any]:
    """Hold what a command has printed against the schema of that name in `schemas/`, and return it read."""

    def check(schema: str, printed: str) -> Any:
        document = json.loads(printed)
        jsonschema.validate(document, json.loads((SCHEMAS / f"{schema}.json").read_text("utf-8")))
        return document

    return check


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    """A sound GGUF file without weights, outside of all folders that are looked through."""
    return write_chat_model(tmp_path / "elsewhere" / "tiny.gguf")


@attrs.frozen(kw_only=True)
class RunningServer:
    """A `pensieve-server` with the scripted engine, as a process of its own."""

    process: subprocess.Popen[str]
    url: str
    log: Path
    """Its stderr: one JSON record a line."""

    def records(self) -> list[dict[str, Any]]:
        """Return what it has logged so far."""
        return [json.loads(line) for line in self.log.read_text().splitlines()]

    def end(self) -> int:
        """Wait for its end."""
        return self.process.wait(BOUND_S)


StartServer = Callable[..., RunningServer]


@pytest.fixture
def scripted_engine(tmp_path: Path, model_file: Path) -> tuple[tuple[str, ...], dict[str, str]]:
    """Arguments and variables with which a server finds the engine of `plugin/`, as it would find a stranger's."""
    info = tmp_path / "site" / "cli_scripted_engine-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: cli-scripted-engine\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[pensieve.engines]\nscripted = cli_scripted_engine:create_provider\n")
    path = os.pathsep.join([str(info.parent), str(Path(__file__).parent / "plugin")])
    return ("--engine", "scripted", "--model", str(model_file)), {"PYTHONPATH": path}


@pytest.fixture
def start_server(
    tmp_path: Path, environment: dict[str, str], scripted_engine: tuple[tuple[str, ...], dict[str, str]]
) -> Iterator[StartServer]:
    """Start servers on free ports; those that still run after the test are killed."""
    arguments, variables = scripted_engine
    with ExitStack() as stack:

        def start(*more: str, **script: str) -> RunningServer:
            log = tmp_path / f"stderr-{uuid.uuid4().hex}"
            process = subprocess.Popen(
                [PROGRAM, "--port", "0", *arguments, *more],
                env={**environment, **variables, **script},
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=stack.enter_context(log.open("w")),
                text=True,
            )
            stack.callback(_kill, process)
            assert process.stdout
            first_line = process.stdout.readline()
            assert "http://" in first_line, log.read_text()
            return RunningServer(process=process, url=f"http://{first_line.rpartition('http://')[2].strip()}", log=log)

        yield start


def _kill(process: subprocess.Popen[str]) -> None:
    if process.poll() is None:
        process.kill()
    process.communicate(timeout=BOUND_S)
