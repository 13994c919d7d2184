"""Where models are found, and that no tree of folders can hold the search up."""

import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from pensieve_registry import (
    FileSource,
    FolderSource,
    HuggingFaceCacheSource,
    InstalledDistributionSource,
    LmStudioSource,
    ModelSource,
    OllamaSource,
)

HUB = "models--Qwen--Qwen3-8B-GGUF"


def touch(path: Path) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.touch()
    return path


@pytest.mark.parametrize(
    "make",
    [
        FileSource,
        FolderSource,
        HuggingFaceCacheSource,
        LmStudioSource,
        OllamaSource,
        lambda path: InstalledDistributionSource(path=[str(path)]),
    ],
)
def test_every_source_satisfies_the_protocol(make: Callable[[Path], object], tmp_path: Path) -> None:
    assert isinstance(make(tmp_path), ModelSource)


def test_a_given_file_is_found_even_when_it_is_missing(tmp_path: Path) -> None:
    """Ours: the scan then says why it cannot be served."""
    assert list(FileSource(tmp_path / "none.gguf").find()) == [tmp_path / "none.gguf"]


def test_a_folder_is_searched_with_its_folders(tmp_path: Path) -> None:
    found = [touch(tmp_path / name) for name in ("a.gguf", "deep/er/c.gguf", "z.GGUF")]
    for other in ("readme.md", "a.gguf.part", ".hidden.gguf", ".cache/b.gguf"):
        touch(tmp_path / other)
    (tmp_path / "folder.gguf").mkdir()
    (tmp_path / "dangling.gguf").symlink_to(tmp_path / "nowhere")
    assert list(FolderSource(tmp_path).find()) == sorted(found)


@pytest.mark.parametrize("make", [FolderSource, HuggingFaceCacheSource, LmStudioSource, OllamaSource])
def test_a_place_that_does_not_exist_holds_nothing(make: Callable[[Path], ModelSource], tmp_path: Path) -> None:
    assert list(make(tmp_path / "none").find()) == []


def blob(hub: Path, revision: str, name: str) -> Path:
    """Put a file into the cache as huggingface_hub does: content in blobs, a link in the snapshot."""
    content = touch(hub / HUB / "blobs" / f"{revision}-{name}")
    link = hub / HUB / "snapshots" / revision / name
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(content)
    return link


def test_the_cache_is_searched_by_snapshots(tmp_path: Path) -> None:
    link = blob(tmp_path, "abc", "q4.gguf")
    touch(tmp_path / "datasets--x--y" / "snapshots" / "abc" / "no.gguf")
    assert list(HuggingFaceCacheSource(tmp_path).find()) == [link]


def test_the_revision_that_main_names_comes_first(tmp_path: Path) -> None:
    old, new = blob(tmp_path, "aaa", "q4.gguf"), blob(tmp_path, "bbb", "q4.gguf")
    main = touch(tmp_path / HUB / "refs" / "main")
    main.write_text("bbb\n")
    assert list(HuggingFaceCacheSource(tmp_path).find()) == [new, old]
    main.write_bytes(b"\xff")
    assert list(HuggingFaceCacheSource(tmp_path).find()) == [old, new]


@pytest.mark.parametrize(
    ("environment", "expected"),
    [
        ({"HF_HUB_CACHE": "/a/hub", "HF_HOME": "/b"}, "/a/hub"),
        ({"HF_HOME": "/b", "XDG_CACHE_HOME": "/c"}, "/b/hub"),
        ({"XDG_CACHE_HOME": "/c"}, "/c/huggingface/hub"),
        ({}, "~/.cache/huggingface/hub"),
        ({"HF_HUB_CACHE": "~/hub"}, "~/hub"),
    ],
)
def test_the_cache_is_where_huggingface_hub_has_it(environment: dict[str, str], expected: str) -> None:
    """https://huggingface.co/docs/huggingface_hub/package_reference/environment_variables."""
    assert HuggingFaceCacheSource.from_environment(environment)._folder == Path(expected).expanduser()


def test_both_folders_of_lm_studio_are_searched(tmp_path: Path) -> None:
    new = touch(tmp_path / ".lmstudio" / "models" / "Qwen" / "Qwen3-8B-GGUF" / "q4.gguf")
    old = touch(tmp_path / ".cache" / "lm-studio" / "models" / "Qwen" / "Qwen2-7B-GGUF" / "q4.gguf")
    assert list(LmStudioSource.of_user(tmp_path).find()) == [new, old]


@pytest.mark.parametrize(
    ("pointer", "home"),
    [(b"{tmp}/elsewhere\n", "elsewhere"), (b"not/absolute", ".lmstudio"), (b"\xff", ".lmstudio"), (b"", ".lmstudio")],
)
def test_lm_studio_may_have_another_home(tmp_path: Path, pointer: bytes, home: str) -> None:
    """A file in the user's home says where, since LM Studio 0.3.6."""
    (tmp_path / ".lmstudio-home-pointer").write_bytes(pointer.replace(b"{tmp}", bytes(tmp_path)))
    model = touch(tmp_path / home / "models" / "me" / "mine" / "m.gguf")
    assert list(LmStudioSource.of_user(tmp_path).find()) == [model]


def install(site: Path, name: str, files: list[str], *, recorded: bool = True) -> None:
    info = site / f"{name}-1.0.dist-info"
    touch(info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    for file in files:
        touch(site / file)
    if recorded:
        (info / "RECORD").write_text("".join(f"{file},,\n" for file in files))


def test_models_in_installed_packages_are_found(tmp_path: Path) -> None:
    install(tmp_path, "starter", ["starter/m.gguf", "starter/__init__.py"])
    install(tmp_path, "plain", ["plain/__init__.py"])
    install(tmp_path, "names_it", ["names_it/about.gguf.txt"])
    install(tmp_path, "unrecorded", ["unrecorded/x.gguf"], recorded=False)
    assert list(InstalledDistributionSource(path=[str(tmp_path)]).find()) == [tmp_path / "starter" / "m.gguf"]


@pytest.mark.model
def test_the_starter_model_is_found_where_python_imports_from() -> None:
    found = [path for path in InstalledDistributionSource().find() if path.name.startswith("SmolLM2")]
    assert [path.is_file() for path in found] == [True]
    assert any(found[0].is_relative_to(folder) for folder in sys.path if folder)
