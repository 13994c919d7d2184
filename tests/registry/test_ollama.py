"""Ollama's store is read as it lies on the disk; there is no interface that promises it."""

from __future__ import annotations

import hashlib
import json
import os
from pathlib import Path
from typing import Any

import pytest

from pensieve_registry import FoundFile, LocalCatalog, OllamaSource, Unreadable
from pensieve_registry.testing import chat_model, write_chat_model

SEEING: dict[str, Any] = {"llama.embedding_length": 64}
EYES: dict[str, Any] = {
    "general.architecture": "clip",
    "clip.has_vision_encoder": True,
    "clip.projector_type": "internvl",
    "clip.vision.projection_dim": 64,
}


def put(store: Path, content: bytes) -> str:
    """Put a blob into the store as Ollama does, and return its digest."""
    digest = hashlib.sha256(content).hexdigest()
    (store / "blobs").mkdir(parents=True, exist_ok=True)
    (store / "blobs" / f"sha256-{digest}").write_bytes(content)
    return f"sha256:{digest}"


def layer(kind: str, digest: str) -> dict[str, Any]:
    return {"mediaType": f"application/vnd.ollama.image.{kind}", "digest": digest, "size": 1}


def manifest(store: Path, place: str, *layers: Any) -> Path:
    path = store / "manifests" / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({"schemaVersion": 2, "layers": layers}))
    return path


def found(store: Path) -> list[FoundFile | Unreadable]:
    return list(OllamaSource(store).find())


@pytest.mark.parametrize(
    ("place", "name", "model_id"),
    [
        ("registry.ollama.ai/library/qwen2.5-coder/1.5b", "qwen2.5-coder:1.5b", "qwen2.5-coder-1.5b"),
        ("registry.ollama.ai/library/smollm2/latest", "smollm2", "smollm2"),
        ("registry.ollama.ai/ada/mine/q8", "ada/mine:q8", "ada-mine-q8"),
        ("hf.co/bartowski/Llama-3.2-1B-GGUF/Q4_K_M", "hf.co/bartowski/Llama-3.2-1B-GGUF:Q4_K_M", None),
        ("localhost:5000/library/own/latest", "localhost:5000/library/own", "localhost-5000-library-own"),
    ],
)
def test_a_model_is_called_as_ollama_calls_it(tmp_path: Path, place: str, name: str, model_id: str | None) -> None:
    manifest(tmp_path, place, layer("model", put(tmp_path, chat_model().encode())), layer("license", "sha256:0"))
    (model,) = LocalCatalog([OllamaSource(tmp_path)]).models()
    assert (model.display_name, model.source) == (name, "Ollama")
    assert model.id == (model_id or "hf.co-bartowski-llama-3.2-1b-gguf-q4_k_m")
    assert LocalCatalog([OllamaSource(tmp_path)]).resolve(name) == model


def test_two_tags_of_one_file_are_one_model(tmp_path: Path) -> None:
    digest = put(tmp_path, chat_model().encode())
    for tag in ("1.5b", "latest"):
        manifest(tmp_path, f"registry.ollama.ai/library/qwen/{tag}", layer("model", digest))
    assert [model.id for model in LocalCatalog([OllamaSource(tmp_path)]).models()] == ["qwen-1.5b"]


def test_a_projector_belongs_to_the_model_of_its_manifest(tmp_path: Path) -> None:
    """All blobs lie in one folder under names that say nothing, so only the manifest can tell."""
    model, eyes = put(tmp_path, chat_model(SEEING).encode()), put(tmp_path, chat_model(EYES).encode())
    manifest(tmp_path, "registry.ollama.ai/library/llava/7b", layer("model", model), layer("projector", eyes))
    (only,) = LocalCatalog([OllamaSource(tmp_path)]).models()
    assert (only.projector, only.capabilities.images) == (tmp_path / "blobs" / eyes.replace(":", "-"), True)


def test_what_is_named_as_a_projector_and_is_none_is_not_taken(tmp_path: Path) -> None:
    model, other = put(tmp_path, chat_model(SEEING).encode()), put(tmp_path, chat_model().encode())
    manifest(tmp_path, "registry.ollama.ai/library/llava/7b", layer("model", model), layer("projector", other))
    assert LocalCatalog([OllamaSource(tmp_path)]).models()[0].projector is None


def test_a_digest_becomes_no_path_of_its_own(tmp_path: Path) -> None:
    """A manifest may have come from anywhere; CVE-2024-37032 was a digest of this kind."""
    write_chat_model(tmp_path / "secret.gguf")
    for number, digest in enumerate(
        ["sha256:../../secret.gguf", "../secret.gguf", "sha256:" + "0" * 63 + "/", 7, None]
    ):
        manifest(tmp_path / "store", f"registry.ollama.ai/library/evil/{number}", layer("model", digest))  # type: ignore[arg-type]
    assert found(tmp_path / "store") == []


def test_a_blob_that_is_missing_is_a_problem_under_its_name(tmp_path: Path) -> None:
    manifest(tmp_path, "registry.ollama.ai/library/gone/latest", layer("model", "sha256:" + "0" * 64))
    (problem,) = LocalCatalog([OllamaSource(tmp_path)]).problems
    assert problem.reason == "gone: cannot be read: No such file or directory"


@pytest.mark.parametrize("content", ["", "{", "[" * 100_000, "\xff", "{" * 2_000_000])
def test_a_manifest_that_is_none_is_a_problem_and_hides_nothing(tmp_path: Path, content: str) -> None:
    bad = manifest(tmp_path, "registry.ollama.ai/library/bad/latest")
    bad.write_text(content)
    manifest(tmp_path, "registry.ollama.ai/library/good/latest", layer("model", put(tmp_path, chat_model().encode())))
    catalog = LocalCatalog([OllamaSource(tmp_path)])
    assert [problem.path for problem in catalog.problems] == [bad]
    assert [model.id for model in catalog.models()] == ["good"]


@pytest.mark.parametrize("content", ["[]", "7", "{}", '{"layers": 7}', '{"layers": [7, {}]}'])
def test_a_manifest_of_another_shape_is_passed_over(tmp_path: Path, content: str) -> None:
    """Models of tensors in many blobs have manifests, too, and are none for us."""
    manifest(tmp_path, "registry.ollama.ai/library/other/latest").write_text(content)
    assert found(tmp_path) == []


@pytest.mark.timeout(10)
def test_what_is_no_file_is_passed_over(tmp_path: Path) -> None:
    folder = tmp_path / "manifests" / "registry.ollama.ai" / "library" / "m"
    (folder / "folder").mkdir(parents=True)
    os.mkfifo(folder / "pipe")
    (folder / "loop").symlink_to(folder / "loop")
    assert found(tmp_path) == []


def test_a_store_that_cannot_be_read_is_a_problem(tmp_path: Path) -> None:
    """A name of more than 255 bytes: whoever runs the tests may be root, who may read everything else."""
    store = tmp_path / ("x" * 300)
    assert [type(entry) for entry in found(store)] == [Unreadable]


@pytest.mark.parametrize(
    ("environment", "folders"),
    [
        ({"OLLAMA_MODELS": "/data/ollama"}, ["/data/ollama"]),
        ({}, ["/home/ada/.ollama/models", "/usr/share/ollama/.ollama/models", "/var/lib/ollama/models"]),
    ],
)
def test_the_store_is_where_ollama_has_it(environment: dict[str, str], folders: list[str]) -> None:
    source = OllamaSource.from_environment(environment, Path("/home/ada"))
    assert [str(folder) for folder in source._folders] == folders


def test_an_adapter_belongs_to_the_model_of_its_manifest(tmp_path: Path) -> None:
    """`ADAPTER` in a Modelfile. It names no base model, and every blob lies beside every other."""
    shapes = {"blk.9.w.lora_a": (32, 4), "blk.9.w.lora_b": (4, 8)}
    lora = put(tmp_path, chat_model({"general.type": "adapter"}, shapes=shapes).encode())
    layers = layer("model", put(tmp_path, chat_model().encode())), layer("adapter", lora)
    other = layer("adapter", put(tmp_path, chat_model({"general.name": "no adapter"}).encode()))
    manifest(tmp_path, "registry.ollama.ai/ada/sql/latest", *layers, other)
    (model,) = LocalCatalog([OllamaSource(tmp_path)]).models()
    assert [adapter.path for adapter in model.adapters] == [tmp_path / "blobs" / lora.replace(":", "-")]
