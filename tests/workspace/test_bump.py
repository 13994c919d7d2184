from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copied_tree(tmp_path: Path) -> Path:
    """The parts of the tree that know versions."""
    for file in ("tools/bump.py", "pyproject.toml", *(str(f.relative_to(ROOT)) for f in _members())):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    return tmp_path


def _members() -> list[Path]:
    return sorted(ROOT.glob("packages/*/pyproject.toml"))


def _bump(tree: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, str(tree / "tools" / "bump.py"), *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)


def test_all_versions_and_pins_change_and_nothing_else(copied_tree: Path) -> None:
    before = {file: file.read_text() for file in copied_tree.rglob("pyproject.toml")}
    assert _bump(copied_tree, "9.8.7rc1").returncode == 0
    for file, text in before.items():
        after = file.read_text()
        assert tomllib.loads(after)["project"]["version"] == "9.8.7rc1"
        assert not re.findall(r'"pensieve-[a-z\[\]]+==(?!9\.8\.7rc1")', after)
        current = tomllib.loads(text)["project"]["version"]
        assert after.replace("9.8.7rc1", current) == text


@pytest.mark.parametrize("arguments", [(), ("",), ("one",), ("1.2",), ("1.2.3", "4.5.6")])
def test_what_is_no_version_changes_nothing(copied_tree: Path, arguments: tuple[str, ...]) -> None:
    before = (copied_tree / "pyproject.toml").read_text()
    done = _bump(copied_tree, *arguments)
    assert done.returncode == 2
    assert "make bump VERSION=" in done.stderr
    assert (copied_tree / "pyproject.toml").read_text() == before
