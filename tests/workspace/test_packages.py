"""The seven packages are released together, and each is usable on its own."""

from __future__ import annotations

import importlib
import tomllib
from pathlib import Path
from typing import Any

import pytest

PACKAGES = sorted((Path(__file__).parents[2] / "packages").glob("pensieve-*"))


def _pyproject(folder: Path) -> dict[str, Any]:
    return tomllib.loads((folder / "pyproject.toml").read_text(encoding="utf-8"))


def _siblings(pyproject: dict[str, Any]) -> dict[str, str]:
    """Return the requirements on our own packages: name → version part."""
    extras = pyproject["project"].get("optional-dependencies", {}).values()
    requirements = [*pyproject["project"].get("dependencies", []), *(one for extra in extras for one in extra)]
    ours = [requirement for requirement in requirements if requirement.startswith("pensieve-")]
    pins = [requirement.partition("==") for requirement in ours]
    return {name.partition("[")[0]: f"=={version}" for name, _, version in pins}


def test_there_are_seven() -> None:
    names = {folder.name.removeprefix("pensieve-") for folder in PACKAGES}
    assert names == {"cli", "core", "gguf", "http", "inference", "protocol", "registry"}


def test_all_have_the_roots_version() -> None:
    root = _pyproject(PACKAGES[0].parents[1])["project"]["version"]
    assert {_pyproject(folder)["project"]["version"] for folder in PACKAGES} == {root}


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_siblings_are_pinned_and_come_from_the_workspace(folder: Path) -> None:
    """Ours: a wheel forgets that a sibling came from the workspace; the pin is what it keeps."""
    pyproject = _pyproject(folder)
    siblings = _siblings(pyproject)
    version = pyproject["project"]["version"]
    assert set(siblings.values()) <= {f"=={version}"}
    sources = pyproject.get("tool", {}).get("uv", {}).get("sources", {})
    ours = {name: source for name, source in sources.items() if name.startswith("pensieve-")}
    assert ours == {name: {"workspace": True} for name in siblings}


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_each_says_what_it_is_and_is_typed(folder: Path) -> None:
    module = folder.name.replace("-", "_")
    pyproject = _pyproject(folder)
    assert (folder / "README.md").read_text(encoding="utf-8").startswith(f"# {folder.name}\n")
    assert (folder / "src" / module / "py.typed").exists()
    assert "Typing :: Typed" in pyproject["project"]["classifiers"]
    assert "build-system" in pyproject  # without one, uv silently does not install a member


@pytest.mark.parametrize("folder", PACKAGES, ids=lambda folder: folder.name)
def test_each_names_what_it_offers(folder: Path) -> None:
    module = importlib.import_module(folder.name.replace("-", "_"))
    assert module.__all__, "nothing is public"
    assert list(module.__all__) == sorted(set(module.__all__))
    assert [name for name in module.__all__ if not hasattr(module, name)] == []
    assert module.__doc__
