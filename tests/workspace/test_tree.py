"""What holds for every file: sizes, hosts, targets."""

from __future__ import annotations

import ast
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import pytest

_LONGEST_FUNCTION = 60
_LONGEST_MODULE = 400
_LINK = re.compile(r"\]\((?!https?:|#)([^)#\s]*[./][^)#\s]*)")
"""The file that a link in Markdown leads to."""


class Workspace(Protocol):
    """What `conftest.py` gives."""

    root: Path

    def tracked(self) -> list[Path]: ...

    def sources(self) -> list[Path]: ...


def _functions(source: Path) -> Iterator[tuple[str, int]]:
    for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            assert node.end_lineno
            yield f"{source.name}:{node.lineno} {node.name}", node.end_lineno - node.lineno + 1


def test_no_function_is_longer_than_60_lines(workspace: Workspace) -> None:
    """Ours, after h11 and nano-vllm: what is longer has a second thing to say."""
    lengths = dict(found for source in workspace.sources() for found in _functions(source))
    assert len(lengths) > 100
    assert [name for name, length in lengths.items() if length > _LONGEST_FUNCTION] == []


def test_no_module_is_longer_than_400_lines(workspace: Workspace) -> None:
    lengths = {source: len(source.read_text(encoding="utf-8").splitlines()) for source in workspace.sources()}
    assert {str(source): length for source, length in lengths.items() if length >= _LONGEST_MODULE} == {}


def test_no_module_is_a_drawer_for_everything(workspace: Workspace) -> None:
    drawers = {"utils", "util", "helpers", "helper", "common", "misc", "manager", "service"}
    assert [source for source in workspace.sources() if source.stem.strip("_") in drawers] == []


def test_no_file_names_the_host_of_a_registry(workspace: Workspace) -> None:
    """Ours: where packages come from is the business of each machine. uv.lock records it by itself."""
    hosts = [
        ".".join(parts)
        for parts in (
            ("pypi", "org"),
            ("pythonhosted", "org"),
            ("registry", "npmjs", "org"),
            ("registry", "yarnpkg", "com"),
            ("deb", "debian", "org"),
            ("archive", "ubuntu", "com"),
            ("index", "crates", "io"),
            ("proxy", "golang", "org"),
        )
    ]
    pattern = re.compile("|".join(map(re.escape, hosts)).encode())
    files = [path for path in workspace.tracked() if path.name != "uv.lock"]
    assert len(files) > 50
    assert [str(path) for path in files if pattern.search(path.read_bytes())] == []


def test_every_decision_has_a_number_of_its_own(workspace: Workspace) -> None:
    pages = sorted((workspace.root / "docs" / "adr").glob("0*.md"))
    numbers = [int(page.name[:4]) for page in pages]
    assert numbers == list(range(1, len(pages) + 1))
    for page, number in zip(pages, numbers, strict=True):
        assert page.read_text("utf-8").startswith(f"# {number}. ")


def test_every_link_between_our_pages_leads_somewhere(workspace: Workspace) -> None:
    pages = [path for path in workspace.tracked() if path.suffix == ".md"]
    links = {(page, link) for page in pages for link in _LINK.findall(page.read_text("utf-8"))}
    assert len(links) > 20
    assert sorted(f"{page.name}: {link}" for page, link in links if not (page.parent / link).exists()) == []


def test_every_target_of_the_makefile_is_explained_and_phony(workspace: Workspace) -> None:
    text = (workspace.root / "Makefile").read_text(encoding="utf-8")
    targets = re.findall(r"^([a-z][a-z0-9-]*):(?!=)(.*)$", text, re.MULTILINE)
    assert [name for name, rest in targets if " ## " not in rest] == []
    phony = re.search(r"^\.PHONY: (.*)$", text, re.MULTILINE)
    assert phony
    assert phony[1].split() == [name for name, _ in targets]


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not installed")
def test_make_alone_shows_the_targets(workspace: Workspace) -> None:
    done = subprocess.run(["make"], cwd=workspace.root, capture_output=True, text=True, timeout=60, check=True)
    for target in ("help", "install", "serve", "test", "lint", "types", "cov", "e2e", "build", "bump"):
        assert re.search(rf"^  {target} +[A-Z]", done.stdout, re.MULTILINE)


def test_ci_calls_targets_and_nothing_else(workspace: Workspace) -> None:
    script = workspace.root / ".ci" / "run"
    assert script.stat().st_mode & 0o111
    commands = [line for line in script.read_text(encoding="utf-8").splitlines() if line and not line.startswith("#")]
    assert commands[0] == "set -euo pipefail"
    targets = [line.removeprefix("make ") for line in commands[2:]]
    makefile = (workspace.root / "Makefile").read_text(encoding="utf-8")
    assert [target for target in targets if not re.search(rf"^{target}:", makefile, re.MULTILINE)] == []
