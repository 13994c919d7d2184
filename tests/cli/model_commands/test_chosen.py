"""The model that a command means."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from pensieve_cli.errors import CommandError
from pensieve_cli.exit_codes import ExitCode
from pensieve_cli.model_commands.chosen import catalog_for, chosen_for, chosen_model
from pensieve_cli.settings import ModelSettings, Settings
from pensieve_core import ModelDescriptor, ModelNotFoundError
from pensieve_inference.testing import InMemoryCatalog, ScriptedProvider, make_descriptor
from pensieve_registry import LocalCatalog, SeveralModelsError
from pensieve_registry.testing import write_chat_model

_Q4_K_M, _Q8_0 = 15, 7


@pytest.fixture
def fetched(own_world: Path) -> None:
    """A repository in the hub's cache, of which two quantisations were fetched."""
    snapshot = Path(os.environ["HF_HUB_CACHE"]) / "models--Owner--Small-GGUF" / "snapshots" / "abc"
    for name, recipe in (("Q4_K_M", _Q4_K_M), ("Q8_0", _Q8_0)):
        write_chat_model(snapshot / f"Small-{name}.gguf", {"general.file_type": recipe})


def _chosen(model: str) -> str:
    return catalog_for(Settings(), model).models()[0].id


@pytest.mark.parametrize(
    ("reference", "model"),
    [
        ("Owner/Small-GGUF:Q8_0", "small-q8_0"),
        ("owner/small-gguf:q4_k_m", "small-q4_k_m"),
        ("Owner/Small-GGUF:Small-Q8_0.gguf", "small-q8_0"),
        ("https://huggingface.co/Owner/Small-GGUF/blob/main/Small-Q4_K_M.gguf", "small-q4_k_m"),
        ("small:Q8_0", "small-q8_0"),
        ("small-q8_0", "small-q8_0"),
        ("small-q8", "small-q8_0"),
    ],
)
def test_a_repository_and_a_quantisation_mean_what_was_fetched(reference: str, model: str, fetched: None) -> None:
    assert _chosen(reference) == model


@pytest.mark.parametrize(
    "reference", ["Owner/Small-GGUF:Q5_K_M", "Owner/Other-GGUF", "small:Q2_K", "Owner/Small-GGUF:x.gguf"]
)
def test_what_was_not_fetched_is_told(reference: str, fetched: None) -> None:
    with pytest.raises(ModelNotFoundError):
        _chosen(reference)


def test_a_repository_of_several_models_needs_a_quantisation(fetched: None) -> None:
    with pytest.raises(SeveralModelsError, match="small-q4_k_m, small-q8_0"):
        _chosen("Owner/Small-GGUF")


def test_where_there_is_no_model_it_is_told_what_to_do() -> None:
    with pytest.raises(CommandError, match="folder models/") as refused:
        chosen_model(LocalCatalog([]))
    assert refused.value.exit_code is ExitCode.NOT_FOUND


class _Elsewhere(ScriptedProvider, InMemoryCatalog):
    """An engine that has models of its own."""

    def __init__(self, *models: ModelDescriptor) -> None:
        ScriptedProvider.__init__(self)
        InMemoryCatalog.__init__(self, *models)


def test_an_engine_with_models_of_its_own_is_asked_for_them() -> None:
    first, second = (make_descriptor(name) for name in ("first", "second"))
    engines = _Elsewhere(first, second)
    assert chosen_for(Settings(), None, engines) == first
    assert chosen_for(Settings(), "second", engines) == second
    assert chosen_for(Settings(model=ModelSettings(model="second")), None, engines) == second


@pytest.mark.parametrize("name", ["nobody", "no body", "a//b"])
def test_any_other_name_is_the_catalogs_business(name: str, fetched: None) -> None:
    with pytest.raises(ModelNotFoundError):
        _chosen(name)


def test_a_scale_behind_a_colon_is_no_quantisation(own_world: Path) -> None:
    matrix = "blk.0.attn_q.weight"
    write_chat_model(own_world / "models" / "tiny.gguf", shapes={matrix: (32, 8)})
    write_chat_model(
        own_world / "models" / "poet.gguf",
        {"general.type": "adapter", "adapter.type": "lora", "adapter.lora.alpha": 16.0},
        shapes={f"{matrix}.lora_a": (32, 4), f"{matrix}.lora_b": (4, 8)},
    )
    assert _chosen("tiny+poet:0.5") == "tiny+poet:0.5"


def test_a_tag_of_ollamas_is_no_quantisation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    blob = "sha256-" + "a" * 64
    manifest = tmp_path / "ollama" / "manifests" / "registry.ollama.ai" / "library" / "qwen" / "1.5b"
    manifest.parent.mkdir(parents=True)
    layer = {"mediaType": "application/vnd.ollama.image.model", "digest": blob.replace("-", ":")}
    manifest.write_text(json.dumps({"layers": [layer]}))
    write_chat_model(tmp_path / "ollama" / "blobs" / blob)
    monkeypatch.setenv("OLLAMA_MODELS", str(tmp_path / "ollama"))
    assert _chosen("qwen:1.5b") == "qwen-1.5b"
