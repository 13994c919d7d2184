# ruff: noqa: INP001 - a script, no part of a package
"""Give the workspace another version: `python tools/bump.py 0.2.0`.

All seven packages and the root have one version, and pin each other to it. Edits the `pyproject.toml` files as text,
so that comments and order stay. `make bump` calls this, and updates the lock file afterwards.
"""

from __future__ import annotations

import re
import sys
from pathlib import Path

__all__ = ["bumped", "main"]

_OWN = re.compile(r'^version = "[^"]+"$', re.MULTILINE)
_SIBLING = re.compile(r'("pensieve-[a-z]+(?:\[[a-z,]+\])?)==[^"]+"')
_VERSION = re.compile(r"\d+\.\d+\.\d+((a|b|rc)\d+)?")


def bumped(pyproject: str, version: str) -> str:
    """Return the text of a `pyproject.toml` with `version` for itself and in the pins of its siblings."""
    own = _OWN.sub(f'version = "{version}"', pyproject, count=1)
    return _SIBLING.sub(rf'\1=={version}"', own)


def main(arguments: list[str], root: Path) -> int:
    """Rewrite the files below `root`, and return the exit code."""
    if len(arguments) != 1 or not _VERSION.fullmatch(arguments[0]):
        sys.stderr.write("Which version? make bump VERSION=0.2.0\n")
        return 2
    for file in (root / "pyproject.toml", *sorted(root.glob("packages/*/pyproject.toml"))):
        file.write_text(bumped(file.read_text(encoding="utf-8"), arguments[0]), encoding="utf-8")
        sys.stdout.write(f"{file.relative_to(root)}: {arguments[0]}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], Path(__file__).parents[1]))
