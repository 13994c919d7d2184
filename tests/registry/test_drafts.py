"""Ours: which draft model a user names, and for whom."""

from __future__ import annotations

from pathlib import Path

import pytest

from pensieve_core import DraftModel, ModelNotFoundError
from pensieve_registry import FolderSource, GgufHeaderError, LocalCatalog, check_draft_model
from pensieve_registry.testing import write_chat_model

LARGE, SMALL = {"w": (32, 64)}, {"w": (32, 16)}
TOKENS = {"tokenizer.ggml.tokens": ["<s>", "a", "b"]}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Two models that "ada-small" is paired with, and another one."""
    folder = tmp_path / "models"
    for name in ("ada-large", "ada-medium"):
        write_chat_model(folder / f"{name}.gguf", TOKENS, shapes=LARGE)
    write_chat_model(folder / "ada-small.gguf", TOKENS, shapes=SMALL)
    write_chat_model(folder / "other.gguf", shapes=SMALL)
    return folder


def drafts(folder: Path, wanted: str | None) -> dict[str, DraftModel | None]:
    catalog = LocalCatalog([FolderSource(folder)], default="ada-large", draft=wanted)
    return {model.id: model.draft for model in catalog.models()}


def named(found: dict[str, DraftModel | None]) -> dict[str, str | None]:
    return {model: None if draft is None else draft.id for model, draft in found.items()}


def test_without_a_word_each_model_has_the_one_that_was_paired(folder: Path) -> None:
    found = drafts(folder, None)
    assert named(found) == {"ada-large": "ada-small", "ada-medium": "ada-small", "ada-small": None, "other": None}
    assert {draft.named for draft in found.values() if draft is not None} == {False}


def test_one_that_is_named_is_the_default_models_alone(folder: Path) -> None:
    paired, found = drafts(folder, None), drafts(folder, "ada-medium")
    assert named(found) == named(paired) | {"ada-large": "ada-medium"}
    draft = found["ada-large"]
    assert draft is not None
    assert (draft.path, draft.size_bytes, draft.named) == (
        folder / "ada-medium.gguf",
        (folder / "ada-medium.gguf").stat().st_size,
        True,
    )


def test_one_may_be_named_by_its_file_wherever_that_lies(folder: Path, tmp_path: Path) -> None:
    elsewhere = write_chat_model(tmp_path / "elsewhere" / "tiny.gguf", shapes=SMALL)
    draft = drafts(folder, str(elsewhere))["ada-large"]
    assert draft is not None
    assert (draft.id, draft.path, draft.parameters, draft.named) == ("tiny", elsewhere, 32 * 16, True)


@pytest.mark.parametrize("wanted", ["none", "None "])
def test_none_is_for_all_models(folder: Path, wanted: str) -> None:
    assert set(named(drafts(folder, wanted)).values()) == {None}


@pytest.mark.parametrize("wanted", ["gone.gguf", "nobody"])
def test_one_that_is_gone_leaves_the_default_model_without(folder: Path, wanted: str) -> None:
    """Files come and go while a server runs; at its start a user is told."""
    assert drafts(folder, wanted)["ada-large"] is None
    with pytest.raises(GgufHeaderError if wanted.endswith("gguf") else ModelNotFoundError):
        check_draft_model(wanted, LocalCatalog([FolderSource(folder)]).resolve)


def test_without_models_there_is_nobody_to_guess_for(tmp_path: Path) -> None:
    assert LocalCatalog([FolderSource(tmp_path)], draft="nobody").models() == ()


def test_what_is_no_model_cannot_guess(folder: Path, tmp_path: Path) -> None:
    eyes = write_chat_model(tmp_path / "eyes.gguf", {"general.architecture": "clip", "general.type": "mmproj"})
    catalog = LocalCatalog([FolderSource(folder)])
    with pytest.raises(GgufHeaderError):
        check_draft_model(str(eyes), catalog.resolve)
    for wanted in ("none", "ada-small", str(folder / "other.gguf")):
        check_draft_model(wanted, catalog.resolve)
