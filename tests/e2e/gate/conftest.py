"""Stages for the rows of the gate: which Claude Codes, which servers; and the table at the end.

$PENSIEVE_GATE_VERSIONS names the versions: exact ones, `latest` (what npm has today) or `pinned` (package.json).
A row that is quick is run with the first of them by `make e2e` and `make cov`, too.
"""

from __future__ import annotations

import itertools
import json
import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
from release_gate.stage import Stage
from release_gate.table import Outcome, as_json, as_table

PACKAGE = "@anthropic-ai/claude-code"
PINNED: str = json.loads((Path(__file__).parents[1] / "package.json").read_text("utf-8"))["dependencies"][PACKAGE]
VERSIONS = os.environ.get("PENSIEVE_GATE_VERSIONS", "pinned 2.1.197").split()
AMPLE = 100_000
REGISTRY_S = 60.0

Play = Callable[..., Stage]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--gate-json", metavar="FILE", help="write the gate's table to FILE, as JSON")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """Make one test of each row and version."""
    row = metafunc.definition.get_closest_marker("row")
    if row is None:
        return
    first = [pytest.mark.e2e] if row.kwargs.get("quick") else []
    versions = [pytest.param(version, marks=first if i == 0 else []) for i, version in enumerate(VERSIONS)]
    metafunc.parametrize("version", versions, scope="session")


@pytest.fixture(scope="session")
def version_number(version: str) -> str:
    """The version that is meant, in figures."""
    match version:
        case "pinned":
            return PINNED
        case "latest":
            return _newest()
        case _:
            return version


def _newest() -> str:
    npm = shutil.which("npm") or pytest.fail("npm is not installed; without it the newest Claude Code is not found")
    asked = [npm, "view", PACKAGE, "version"]
    return subprocess.run(asked, capture_output=True, text=True, timeout=REGISTRY_S, check=True).stdout.strip()


@pytest.fixture
def claude_code(
    version_number: str,
    npm_packages: Callable[[bytes], Path],
    make_claude_code: Callable[[Path], Any],
    request: pytest.FixtureRequest,
    record_property: Callable[[str, object], None],
) -> Any:
    """Claude Code in this row's version; overrides that of the folder above."""
    row = request.node.get_closest_marker("row")
    record_property("gate", {"row": row.args[0], "version": version_number})
    if version_number == PINNED:
        return make_claude_code(request.getfixturevalue("node_modules"))
    wanted = {"private": True, "dependencies": {PACKAGE: version_number}}
    return make_claude_code(npm_packages(json.dumps(wanted).encode()))


@pytest.fixture
def play(
    claude_code: Any,
    start_server: Callable[..., Any],
    scripted_server_settings: Callable[..., Any],
    tmp_path: Path,
) -> Play:
    """Open a stage whose model plays what the test has written."""
    numbers = itertools.count()

    def opened(plays: Mapping[str, Sequence[Mapping[str, Any]]], *more: str, ctx: int = AMPLE) -> Stage:
        folder = tmp_path / f"stage-{next(numbers)}"
        folder.mkdir()
        log, script = folder / "requests.jsonl", folder / "plays.json"
        script.write_text(json.dumps(plays), "utf-8")
        variables = {"SCRIPTED_PLAYS": str(script), "SCRIPTED_LOG": str(log)}
        arguments, environment = scripted_server_settings("plays", **variables)
        server = start_server(*arguments, "--ctx", str(ctx), *more, **environment)
        return Stage(claude_code=claude_code, server=server, log=log)

    return opened


@pytest.fixture
def free_port() -> str:
    """A port that a server can have, leave, and have again."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return str(free.getsockname()[1])


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter, config: pytest.Config) -> None:
    """Show the table, where rows were run."""
    outcomes = list(_outcomes(terminalreporter))
    if not outcomes:
        return
    terminalreporter.section("release gate")
    for line in as_table(outcomes):
        terminalreporter.write_line(line)
    file = config.getoption("--gate-json", default=None)
    if file:
        Path(file).write_text(as_json(outcomes), "utf-8")


def _outcomes(reporter: pytest.TerminalReporter) -> Iterator[Outcome]:
    for result in ("passed", "failed", "error", "skipped"):
        for report in reporter.getreports(result):
            for name, value in getattr(report, "user_properties", ()):
                if name == "gate":
                    yield Outcome(**value, result=result, seconds=report.duration)
