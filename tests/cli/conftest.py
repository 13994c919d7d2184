"""Commands run as a user would run them, away from the developer's own settings and models."""

from __future__ import annotations

import logging
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import coverage
import pytest
import structlog

from pensieve_registry.testing import write_chat_model

ROOT = Path(__file__).parents[2]
PROGRAM = Path(sys.executable).with_name("pensieve-server")
BOUND_S = 60.0

RunCommand = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture(autouse=True)
def own_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Run every test in an empty folder, with no settings but its own."""
    for name in os.environ:
        if name.startswith("PENSIEVE_"):
            monkeypatch.delenv(name)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config"))
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
    measured = {"COVERAGE_PROCESS_START": str(ROOT / "pyproject.toml"), "COVERAGE_FILE": str(ROOT / ".coverage")}
    return {**os.environ, **(measured if coverage.Coverage.current() else {})}


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
def model_file(tmp_path: Path) -> Path:
    """A sound GGUF file without weights, outside of all folders that are looked through."""
    return write_chat_model(tmp_path / "elsewhere" / "tiny.gguf")
