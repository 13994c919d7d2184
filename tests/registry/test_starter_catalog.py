"""`models/catalog.toml` and the folder's README say the same as the code."""

import re
import tomllib
from pathlib import Path
from typing import Any

import pytest

MODELS = Path(__file__).parents[2] / "models"
ENTRIES: list[dict[str, Any]] = tomllib.loads((MODELS / "catalog.toml").read_text(encoding="utf-8"))["model"]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry["name"])
def test_every_entry_says_what_a_download_needs(entry: dict[str, Any]) -> None:
    assert set(entry) == {"name", "repository", "file", "quantization", "size_gb", "note"}
    assert re.fullmatch(r"[a-z0-9][a-z0-9.-]*", entry["name"])
    assert re.fullmatch(r"[\w-]+/[\w.-]+-GGUF", entry["repository"])
    assert re.fullmatch(r"[\w.-]+\.gguf", entry["file"])
    assert entry["quantization"].lower() in entry["file"].lower()
    assert 0 < entry["size_gb"] < 100
    assert entry["note"].endswith(".")


def test_names_are_unique_and_sorted_by_size() -> None:
    names = [entry["name"] for entry in ENTRIES]
    sizes = [entry["size_gb"] for entry in ENTRIES]
    assert len(set(names)) == len(names)
    assert sizes == sorted(sizes)


def test_the_readme_names_every_entry() -> None:
    readme = (MODELS / "README.md").read_text(encoding="utf-8")
    assert [entry["name"] for entry in ENTRIES if f"`{entry['name']}`" not in readme] == []
