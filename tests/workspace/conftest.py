"""The tree as it stands in git."""

from __future__ import annotations

import subprocess
from pathlib import Path

import attrs
import pytest

ROOT = Path(__file__).parents[2]


@attrs.frozen(kw_only=True)
class Workspace:
    """Where things are."""

    root: Path
    packages: tuple[Path, ...]
    """The seven folders below `packages/`."""

    def tracked(self) -> list[Path]:
        """Return all files that git tracks, or would if somebody added them."""
        command = ["git", "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
        listed = subprocess.run(command, cwd=self.root, capture_output=True, text=True, timeout=60, check=True)
        return [path for name in listed.stdout.split("\0") if name and (path := self.root / name).is_file()]

    def sources(self) -> list[Path]:
        """Return all modules of all packages."""
        return sorted(path for package in self.packages for path in (package / "src").rglob("*.py"))


@pytest.fixture(scope="session")
def workspace() -> Workspace:
    """The checkout that these tests belong to."""
    return Workspace(root=ROOT, packages=tuple(sorted((ROOT / "packages").glob("pensieve-*"))))
