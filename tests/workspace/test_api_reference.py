"""docs/api.md is what the server says of itself."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]


@pytest.fixture
def copied_tool(tmp_path: Path) -> Path:
    """The generator, where it writes into a folder of the test's."""
    (tmp_path / "tools").mkdir()
    (tmp_path / "docs").mkdir()
    tool = tmp_path / "tools" / "api_reference.py"
    tool.write_bytes((ROOT / "tools" / "api_reference.py").read_bytes())
    return tool


def test_the_api_reference_is_what_the_server_says_of_itself(copied_tool: Path) -> None:
    """When this fails: `make docs`."""
    subprocess.run([sys.executable, copied_tool], check=True, timeout=60)
    written = (copied_tool.parents[1] / "docs" / "api.md").read_text(encoding="utf-8")
    assert (ROOT / "docs" / "api.md").read_text(encoding="utf-8") == written
    assert "### POST /v1/messages\n" in written
