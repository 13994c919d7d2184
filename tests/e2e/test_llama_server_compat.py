"""llama.cpp's own tests of its Anthropic endpoint, unchanged, against Pensieve.

The file comes out of the source archive of the pinned llama-cpp-python, fetched at test time into `.build/e2e`. What
fails, and why, is told in `docs/llama-server-compat.md`, and that page is what this test holds.
"""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import xml.etree.ElementTree as ET
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.e2e, pytest.mark.model, pytest.mark.timeout(900)]

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
BUILD = ROOT / ".build" / "e2e"
THEIRS = "vendor/llama.cpp/tools/server/tests/unit/test_compat_anthropic.py"
NOT_RUN = ("test_anthropic_thinking_with_reasoning_model", "test_anthropic_vision_base64_with_multimodal_model")
"""They download models; tests talk to loopback alone."""


def pinned(name: str) -> str:
    """Return a value of the script that builds llama-server from the same archive."""
    script = (ROOT / "tests" / "benchmarks" / "build-llama-server.sh").read_text(encoding="utf-8")
    found = re.search(rf"^{name}=(\S+)$", script, re.MULTILINE)
    assert found
    return found[1]


@pytest.fixture(scope="session")
def archive() -> Path:
    """The source archive, checked; $SDIST may name one that is there already."""
    version = pinned("VERSION")
    path = Path(os.environ.get("SDIST", BUILD / f"llama_cpp_python-{version}.tar.gz"))
    if not path.exists():
        _download(version)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == pinned("SHA256")
    return path


def _download(version: str) -> None:
    uv = shutil.which("uv") or str(ROOT / ".build" / "uv" / "bin" / "uv")
    only_source = ["--no-deps", "--no-binary", "llama-cpp-python", f"llama-cpp-python=={version}"]
    command = [uv, "tool", "run", "pip", "download", "--quiet", "--dest", str(BUILD), *only_source]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr


def explained() -> set[str]:
    """Return the tests that the page says fail."""
    page = (ROOT / "docs" / "llama-server-compat.md").read_text(encoding="utf-8")
    return set(re.findall(r"^\| `(test_\w+)` \|", page, re.MULTILINE))


def played(folder: Path, url: str) -> dict[str, bool]:
    """Run their tests, which lie in `folder`, and return which passed."""
    report = folder / "report.xml"
    plain = ["-c", os.devnull, "--rootdir", str(folder), "-p", "no:cacheprovider", f"--junitxml={report}"]
    left_out = f"not ({' or '.join(NOT_RUN)})"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-W", "ignore", *plain, "-k", left_out, str(folder)],
        cwd=folder,
        env={**os.environ, "PENSIEVE_URL": url, "PYTHONPATH": str(folder)},
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode in (0, 1), done.stdout + done.stderr
    cases = ET.parse(report).iter("testcase")
    return {case.attrib["name"]: case.find("failure") is None and case.find("error") is None for case in cases}


def test_what_fails_of_llama_servers_tests_is_explained(
    archive: Path,
    start_shared_server: Callable[..., Any],
    starter_model: Path,
    tmp_path: Path,
    record_property: Callable[[str, object], None],
) -> None:
    named = tmp_path / "models" / "test.gguf"  # they ask for the model "test"
    named.parent.mkdir()
    named.symlink_to(starter_model)
    theirs = tmp_path / "theirs"
    theirs.mkdir()
    with tarfile.open(archive) as source:
        file = source.extractfile(f"llama_cpp_python-{pinned('VERSION')}/{THEIRS}")
        assert file is not None
        (theirs / "test_compat_anthropic.py").write_bytes(file.read())
    shutil.copy(HERE / "llama_server" / "server_preset.py", theirs / "utils.py")
    outcomes = played(theirs, start_shared_server("--model", str(named), "--ctx", "4096").url)
    record_property("figure", f"{sum(outcomes.values())} of {len(outcomes)} pass")
    assert len(outcomes) >= 27
    assert {name for name, passed in outcomes.items() if not passed} == explained()
