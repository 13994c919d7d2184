"""The templates of real models, which llama.cpp ships within the engine's source distribution.

Looked for in $PENSIEVE_TEMPLATES_DIR, then in the cache of the test models; else that distribution is downloaded once,
by the machine's own pip. Where there is no network, the tests that need them are skipped.
"""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import tarfile
import tempfile
from pathlib import Path

import pytest

ENGINE = "llama-cpp-python"
WITHIN = "/vendor/llama.cpp/models/templates/"
CACHE = Path.home() / ".cache/pensieve-test-models"
DOWNLOAD_S = 90.0
"""Less than a test may take, so that a slow network is no failure."""


@pytest.fixture(scope="session")
def templates_folder() -> Path:
    """Return a folder with `*.jinja`, named after their models."""
    if given := os.environ.get("PENSIEVE_TEMPLATES_DIR"):
        return Path(given)
    version = importlib.metadata.version(ENGINE)
    folder = CACHE / f"llama-cpp-templates-{version}"
    if not folder.exists():
        with tempfile.TemporaryDirectory() as scratch:
            extract(download(version, Path(scratch)), folder)
    return folder


def download(version: str, scratch: Path) -> Path:
    """Return the source distribution, or skip."""
    asked = ["uv", "tool", "run", "pip", "download", "--quiet", "--no-deps", "--no-binary", ":all:"]
    asked += ["--dest", str(scratch), f"{ENGINE}=={version}"]
    try:
        subprocess.run(asked, check=True, timeout=DOWNLOAD_S, capture_output=True)
    except (OSError, subprocess.SubprocessError) as exc:
        pytest.skip(f"the templates of llama.cpp cannot be downloaded: {exc}")
    return next(scratch.glob("*.tar.gz"))


def extract(archive: Path, folder: Path) -> None:
    """Put the templates in `archive` into `folder`, all or none."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(archive) as tar, tempfile.TemporaryDirectory(dir=folder.parent) as scratch:
        ready = Path(scratch) / "templates"
        ready.mkdir()
        for member in tar:
            content = tar.extractfile(member) if WITHIN in member.name and member.name.endswith(".jinja") else None
            if content is not None:
                (ready / Path(member.name).name).write_bytes(content.read())
        ready.rename(folder)
