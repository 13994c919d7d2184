"""Which projector a model is shown images by."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from pensieve_core import ModelDescriptor
from pensieve_registry import FileSource, FolderSource, GgufHeaderError, LocalCatalog, check_projector
from pensieve_registry.testing import write_chat_model

PROJECTOR: dict[str, Any] = {
    "general.architecture": "clip",
    "general.type": "mmproj",
    "clip.has_vision_encoder": True,
    "clip.projector_type": "internvl",
    "clip.vision.projection_dim": 64,
}


def write_model(path: Path, **metadata: Any) -> Path:
    return write_chat_model(path, {"llama.embedding_length": 64, **metadata})


def write_projector(path: Path, **metadata: Any) -> Path:
    return write_chat_model(path, {**PROJECTOR, **metadata})


def only(folder: Path) -> ModelDescriptor:
    (model,) = LocalCatalog([FolderSource(folder)]).models()
    return model


@pytest.mark.parametrize(
    ("model", "projector"),
    [
        ("SmolVLM-500M-Instruct-Q8_0", "mmproj-SmolVLM-500M-Instruct-f16"),
        ("SmolVLM-500M-Instruct-Q8_0", "mmproj-F16"),
        ("SmolVLM-500M-Instruct-Q8_0", "mmproj-model-bf16"),
        ("SmolVLM-500M-Instruct-UD-IQ2_XS", "SmolVLM-500M-Instruct-mmproj-Q8_0"),
        ("llava-v1.6-mistral-7b.Q4_K_M", "llava-v1.6-mmproj-f16"),
    ],
)
def test_a_projector_beside_a_model_is_its_own(tmp_path: Path, model: str, projector: str) -> None:
    """The names under which publishers put both into one folder."""
    write_model(tmp_path / f"{model}.gguf")
    path = write_projector(tmp_path / f"{projector}.gguf")
    found = only(tmp_path)
    assert (found.projector, found.capabilities.images) == (path, True)


def test_a_file_that_the_user_named_has_the_projector_in_its_folder(tmp_path: Path) -> None:
    model = write_model(tmp_path / "a.gguf")
    path = write_projector(tmp_path / "mmproj.gguf")
    assert LocalCatalog([FileSource(model)]).models()[0].projector == path


@pytest.mark.parametrize(
    ("name", "metadata"),
    [
        ("mmproj-other-model", {}),
        ("a-projector", {}),
        ("mmproj-narrow", {"clip.vision.projection_dim": 32}),
        ("mmproj-f16", {"clip.vision.projection_dim": 32}),
        ("mmproj-f16", {"clip.has_vision_encoder": False}),
        ("mmproj-f16", {"clip.projector_type": "gemma3"}),
        ("mmproj-f16", {"general.architecture": "llama", "general.type": "model"}),
    ],
    ids=["another's name", "no name of one", "both", "another width", "for sound", "seen at once", "no projector"],
)
def test_what_is_another_models_is_not_taken(tmp_path: Path, name: str, metadata: dict[str, Any]) -> None:
    model = write_model(tmp_path / "ada-7b.gguf")
    write_projector(tmp_path / f"{name}.gguf", **metadata)
    (found,) = LocalCatalog([FileSource(model)]).models()
    assert (found.projector, found.capabilities.images) == (None, False)


@pytest.mark.parametrize(("folder", "seen"), [("UD-Q4_K_XL", True), ("BF16", True), ("ada", False), ("v2", False)])
def test_a_projector_may_lie_above_a_folder_of_one_quantisation(tmp_path: Path, folder: str, seen: bool) -> None:  # noqa: FBT001
    """How publishers of large models do it: each quantisation in a folder, the projectors above."""
    write_model(tmp_path / folder / "ada-7b.gguf")
    path = write_projector(tmp_path / "mmproj-F16.gguf")
    assert only(tmp_path).projector == (path if seen else None)


def test_a_projector_that_is_named_for_nothing_is_known_by_its_header(tmp_path: Path) -> None:
    write_model(tmp_path / "ada-7b-Q4_0.gguf", **{"general.name": "Ada 7B"})
    path = write_projector(tmp_path / "eyes.gguf", **{"general.name": "Ada 7B"})
    write_projector(tmp_path / "more-eyes.gguf", **{"general.name": "Bob 7B"})
    assert only(tmp_path).projector == path


def test_a_file_with_a_lying_header_is_not_taken(tmp_path: Path) -> None:
    write_model(tmp_path / "ada-7b.gguf")
    (tmp_path / "mmproj-f16.gguf").write_bytes(b"GGUF" + bytes(20))
    assert only(tmp_path).projector is None


def test_a_model_with_positions_in_two_dimensions_cannot_see_yet(tmp_path: Path) -> None:
    """M-RoPE, as of Qwen2-VL: the engine refuses its images, so the list of models must not promise them."""
    write_model(tmp_path / "ada-7b.gguf", **{"llama.rope.dimension_sections": 16})
    write_projector(tmp_path / "mmproj-f16.gguf")
    assert not only(tmp_path).capabilities.images


def test_of_several_the_one_that_names_the_model_goes_first_then_16_bits(tmp_path: Path) -> None:
    write_model(tmp_path / "ada-7b-Q4_0.gguf")
    for name in ("mmproj-f16", "mmproj-ada-7b-BF16", "mmproj-ada-7b-Q8_0"):
        write_projector(tmp_path / f"{name}.gguf")
    best = write_projector(tmp_path / "mmproj-ada-7b-F16.gguf")
    assert only(tmp_path).projector == best


def test_a_projector_that_belongs_to_a_model_is_not_left_out(tmp_path: Path) -> None:
    write_model(tmp_path / "ada-7b.gguf")
    write_projector(tmp_path / "mmproj-f16.gguf")
    stray = write_projector(tmp_path / "mmproj-bob.gguf")
    catalog = LocalCatalog([FolderSource(tmp_path)])
    assert [left.path for left in catalog.left_out] == [stray]


def test_the_user_can_name_a_projector_for_the_default_model(tmp_path: Path) -> None:
    for name in ("ada", "bob"):
        write_model(tmp_path / f"{name}.gguf")
    given = write_projector(tmp_path / "elsewhere" / "eyes.gguf")
    catalog = LocalCatalog([FolderSource(tmp_path)], default="bob", projector=given)
    assert catalog.resolve("claude-x").id == "bob"
    assert catalog.resolve("bob").projector == given
    assert catalog.resolve("bob").capabilities.images
    assert catalog.resolve("ada").projector is None


def test_where_there_is_no_model_there_is_nothing_to_see_with(tmp_path: Path) -> None:
    assert LocalCatalog([FolderSource(tmp_path)], projector=tmp_path / "p.gguf").models() == ()


def test_only_a_projector_passes_for_one(tmp_path: Path) -> None:
    check_projector(write_projector(tmp_path / "eyes.gguf"))
    with pytest.raises(GgufHeaderError, match="no projector"):
        check_projector(write_model(tmp_path / "a.gguf"))
    with pytest.raises(GgufHeaderError):
        check_projector(tmp_path / "missing.gguf")
