"""Which adapters and which draft model belong to a model."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from pensieve_core import DraftModel, ModelDescriptor, ModelId
from pensieve_registry import FileSource, FolderSource, LocalCatalog
from pensieve_registry.testing import chat_model, write_chat_model

TOKENS = ["<s>", "a", "b"]
BASE = {"general.base_model.count": 1, "general.base_model.0.name": "Ada 7B Instruct"}
QUERY = "blk.0.attn_q.weight"
CHANGES: dict[str, Sequence[int]] = {f"{QUERY}.lora_a": (32, 4), f"{QUERY}.lora_b": (4, 16)}


def write_model(path: Path, metadata: Mapping[str, Any] | None = None, *, rows: int = 16) -> Path:
    shapes = {"token_embd.weight": (32, 8), QUERY: (32, rows)}
    return write_chat_model(path, {"tokenizer.ggml.tokens": TOKENS, **(metadata or {})}, shapes=shapes)


def write_adapter(
    path: Path, metadata: Mapping[str, Any] | None = None, *, shapes: Mapping[str, Sequence[int]] = CHANGES
) -> Path:
    adapter: dict[str, Any] = {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 16.0}
    return write_chat_model(path, {**adapter, **(metadata or {})}, shapes=shapes)


def models(folder: Path) -> dict[str, ModelDescriptor]:
    return {model.id: model for model in LocalCatalog([FolderSource(folder)]).models()}


def adapters(model: ModelDescriptor) -> list[str]:
    return [adapter.name for adapter in model.adapters]


def test_an_adapter_belongs_to_the_model_that_its_header_names_wherever_it_lies(tmp_path: Path) -> None:
    write_model(tmp_path / "a" / "ada-7b-instruct.Q4_K_M.gguf")
    write_model(tmp_path / "a" / "bob-7b-instruct.gguf")
    path = write_adapter(tmp_path / "loras" / "SQL.gguf", BASE)
    found = models(tmp_path)
    (adapter,) = found["ada-7b-instruct.q4_k_m"].adapters
    assert (adapter.name, adapter.path, adapter.size_bytes) == ("sql", path, path.stat().st_size)
    assert found["bob-7b-instruct"].adapters == ()
    assert LocalCatalog([FolderSource(tmp_path)]).left_out == ()


@pytest.mark.parametrize(
    "base",
    [
        {"general.base_model.count": 1, "general.base_model.0.repo_url": "https://huggingface.co/ada/Ada-7B-Instruct"},
        {"general.base_model.count": 1, "general.base_model.0.name": "unsloth/ada-7b-instruct-bnb-4bit"},
        {"general.base_model.count": 2, "general.base_model.0.name": "Bob", "general.base_model.1.name": "Ada"},
    ],
)
def test_a_base_is_known_by_its_name_or_its_repository(tmp_path: Path, base: dict[str, Any]) -> None:
    write_model(tmp_path / "m" / "x.gguf", {"general.name": "Ada 7B Instruct"})
    write_adapter(tmp_path / "loras" / "sql.gguf", base)
    assert adapters(models(tmp_path)["x"]) == ["sql"]


def test_an_adapter_that_names_no_base_belongs_to_the_models_beside_it(tmp_path: Path) -> None:
    write_model(tmp_path / "a" / "ada.gguf")
    write_model(tmp_path / "b" / "bob.gguf")
    write_adapter(tmp_path / "a" / "sql.gguf")
    found = models(tmp_path)
    assert (adapters(found["ada"]), adapters(found["bob"])) == (["sql"], [])


def test_a_file_that_the_user_named_has_the_adapters_in_its_folder(tmp_path: Path) -> None:
    model = write_model(tmp_path / "ada.gguf")
    write_adapter(tmp_path / "sql.gguf")
    assert adapters(LocalCatalog([FileSource(model)]).models()[0]) == ["sql"]


@pytest.mark.parametrize(
    ("metadata", "shapes"),
    [
        ({"general.architecture": "qwen2"}, CHANGES),
        ({}, {**CHANGES, f"{QUERY}.lora_a": (16, 4)}),
        ({}, {**CHANGES, f"{QUERY}.lora_b": (4, 32)}),
        ({}, {**CHANGES, f"{QUERY}.lora_b": (5, 16)}),
        ({}, {"blk.9.attn_q.weight.lora_a": (32, 4), "blk.9.attn_q.weight.lora_b": (4, 16)}),
        ({}, {f"{QUERY}.lora_a": (32, 4)}),
    ],
    ids=["architecture", "rows", "columns", "ranks", "another layer", "half a pair"],
)
def test_what_cannot_be_added_to_a_model_is_no_adapter_of_it(
    tmp_path: Path, metadata: dict[str, Any], shapes: Mapping[str, Sequence[int]]
) -> None:
    """llama.cpp makes the same comparisons, and the model does not load when one fails."""
    write_model(tmp_path / "ada-7b-instruct.gguf")
    write_adapter(tmp_path / "sql.gguf", {**BASE, **metadata}, shapes=shapes)
    catalog = LocalCatalog([FolderSource(tmp_path)])
    assert catalog.models()[0].adapters == ()
    assert [left.reason for left in catalog.left_out] == ["a LoRA adapter, which changes another model"]


def test_an_adapter_of_embeddings_lies_the_other_way_round(tmp_path: Path) -> None:
    write_model(tmp_path / "ada.gguf")
    name = "token_embd.weight"
    write_adapter(tmp_path / "right.gguf", shapes={f"{name}.lora_a": (4, 8), f"{name}.lora_b": (4, 32)})
    write_adapter(tmp_path / "wrong.gguf", shapes={f"{name}.lora_a": (32, 4), f"{name}.lora_b": (4, 8)})
    assert adapters(models(tmp_path)["ada"]) == ["right"]


def test_adapters_are_sorted_by_name_and_a_rank_of_one_is_one(tmp_path: Path) -> None:
    write_model(tmp_path / "ada.gguf")
    write_adapter(tmp_path / "b.gguf", shapes={f"{QUERY}.lora_a": (32,), f"{QUERY}.lora_b": (1, 16)})
    write_adapter(tmp_path / "a.gguf")
    assert adapters(models(tmp_path)["ada"]) == ["a", "b"]


def test_a_model_that_went_bad_after_it_was_listed_has_no_adapters(tmp_path: Path) -> None:
    """The card still tells of the sound file: nothing that a look at the folder tells has changed."""
    path = write_model(tmp_path / "ada.gguf")
    catalog, status = LocalCatalog([FolderSource(tmp_path)]), path.stat()
    catalog.scan()
    with path.open("r+b") as file:
        file.write(b"JUNK")
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))
    write_adapter(tmp_path / "sql.gguf")
    catalog.scan()
    assert catalog.models()[0].adapters == ()


def test_an_adapter_without_changes_is_none(tmp_path: Path) -> None:
    write_model(tmp_path / "ada.gguf")
    draft = attrs.evolve(chat_model({"general.type": "adapter"}), tensors=(), data=b"")
    (tmp_path / "empty.gguf").write_bytes(draft.encode())
    assert models(tmp_path)["ada"].adapters == ()


def test_a_much_smaller_model_of_the_same_tokens_drafts(tmp_path: Path) -> None:
    write_model(tmp_path / "Qwen3-8B.gguf", rows=400)
    small = write_model(tmp_path / "Qwen3-0.6B.gguf")
    found = models(tmp_path)
    assert found["qwen3-8b"].draft == DraftModel(
        id=ModelId("qwen3-0.6b"), path=small, size_bytes=small.stat().st_size, parameters=768
    )
    assert found["qwen3-0.6b"].draft is None


@pytest.mark.parametrize(
    ("name", "metadata", "rows"),
    [
        ("qwen3-0.6b", {"tokenizer.ggml.tokens": ["<s>", "b", "a"]}, 16),
        ("qwen3-4b", {}, 200),
        ("bob-0.6b", {"general.architecture": "bob", "bob.context_length": 8}, 16),
        ("qwen3-embedding-0.6b", {"llama.pooling_type": 3}, 16),
        ("qwen3-0.6b", {"llama.ssm.state_size": 16}, 16),
    ],
    ids=["other tokens", "hardly smaller", "another family", "no generator", "recurrent"],
)
def test_what_could_not_guess_or_would_not_pay_is_no_draft(
    tmp_path: Path, name: str, metadata: dict[str, Any], rows: int
) -> None:
    write_model(tmp_path / "qwen3-8b.gguf", rows=400)
    write_model(tmp_path / f"{name}.gguf", metadata, rows=rows)
    assert models(tmp_path)["qwen3-8b"].draft is None


@pytest.mark.parametrize("key", ["lfm2.shortconv.l_cache", "lfm2.ssm.conv_kernel", "lfm2.wkv.head_size"])
def test_for_a_model_with_recurrent_layers_nothing_guesses(tmp_path: Path, key: str) -> None:
    """LFM2-350M and LFM2-2.6B: what their states have taken in cannot be taken back."""
    plain = {"general.architecture": "lfm2", "lfm2.context_length": 8}
    for name, rows in (("lfm2-2.6b", 400), ("lfm2-350m", 16)):
        write_model(tmp_path / f"{name}.gguf", plain, rows=rows)
    assert models(tmp_path)["lfm2-2.6b"].draft is not None
    write_model(tmp_path / "lfm2-2.6b.gguf", {**plain, key: 3}, rows=400)
    assert models(tmp_path)["lfm2-2.6b"].draft is None


def test_without_tokens_nothing_is_known_of_the_vocabulary(tmp_path: Path) -> None:
    for name, rows in (("qwen3-8b", 400), ("qwen3-0.6b", 16)):
        write_chat_model(tmp_path / f"{name}.gguf", shapes={QUERY: (32, rows)})
    assert models(tmp_path)["qwen3-8b"].draft is None


def test_one_family_may_have_several_architectures(tmp_path: Path) -> None:
    """Qwen3-30B-A3B is `qwen3moe`, Qwen3-0.6B is `qwen3`; their tokens are the same."""
    write_model(tmp_path / "Qwen3-30B.gguf", {"general.architecture": "moe", "moe.context_length": 8}, rows=400)
    write_model(tmp_path / "Qwen3-0.6B.gguf")
    draft = models(tmp_path)["qwen3-30b"].draft
    assert draft is not None
    assert draft.id == "qwen3-0.6b"


def test_a_named_draft_goes_first_then_the_nearest_kin_then_the_smallest(tmp_path: Path) -> None:
    big = write_model(tmp_path / "ada-coder-30b.gguf", rows=800)
    ranking = ["ada-draft-1b", "ada-coder-1b", "ada-2b", "ada-3b"]
    for rows, name in enumerate(ranking, start=20):
        write_model(tmp_path / f"{name}.gguf", rows=rows)
    while ranking:
        draft = models(tmp_path)[big.stem].draft
        assert draft is not None
        assert draft.id == ranking.pop(0)
        draft.path.unlink()


def test_a_named_draft_is_nobodys_default(tmp_path: Path) -> None:
    """It may be asked for by its name, as any model; but who asks for none wants a model that is meant to answer."""
    write_model(tmp_path / "mine" / "ada-30b-DRAFT-1b.gguf", {"tokenizer.chat_template": "{{ tools }}"})
    write_model(tmp_path / "theirs" / "bob.gguf")
    catalog = LocalCatalog([FolderSource(tmp_path / "mine"), FolderSource(tmp_path / "theirs")])
    assert [model.id for model in catalog.models()] == ["bob", "ada-30b-draft-1b"]


def test_a_head_that_drafts_is_no_model_to_talk_to(tmp_path: Path) -> None:
    write_model(tmp_path / "m-eagle3.gguf", {"general.architecture": "eagle3", "eagle3.context_length": 8})
    (left_out,) = LocalCatalog([FolderSource(tmp_path)]).left_out
    assert left_out.reason == "a draft head, which guesses ahead for another model by reading that model's inner state"
